//! Every parser over random, mutated and hostile bytes: it refuses or gives something possible,
//! and never panics. The parts that seals protect are called without their seals.

use bytes::Bytes;
use proptest::prelude::*;

use super::collection::{Alarm, Collection, ObjectId, Retired};
use super::node::{ChildRef, Leaf, Node, NodePack, NodePackBuilder, NodeRef, PackRef, Run, TreeHead};
use super::pack::{Directory, PackBuilder, PackTable, Packed};
use super::snapshot::Snapshot;
use super::store::StoreHeader;
use super::trailer::{Kind, Trailer};
use super::*;
use crate::keys::{DomainKeys, DomainSecret};

fn keys() -> DomainKeys {
    DomainKeys::derive("d", &DomainSecret::new([3; 32]))
}

fn pack_trailer(count: u32) -> [u8; 64] {
    Trailer {
        kind: Kind::Pack,
        salt: [1; 32],
        epoch: 0,
        directory_bytes: 100,
        count,
        unit_log2: FRAME_SLOTS_LOG2,
        directory_is_compressed: false,
    }
    .encode()
}

fn record() -> Collection {
    let at = |ms| model::Timestamp::from_millis(ms);
    let (pack, node_pack) = (ObjectId::Pack(PackId([1; 32])), ObjectId::NodePack(NodePackId([2; 32])));
    Collection {
        epoch: 3,
        at: at(1_795_248_000_123),
        suspects: [(pack, at(1_795_248_000_000))].into(),
        retired: [(node_pack, Retired { at: at(1_795_240_000_000), epoch: 2 })].into(),
        alarm: Some(Alarm { at: at(5), objects: vec![pack, node_pack] }),
    }
}

/// What the first program that collected wrote. Readable for ever.
#[test]
fn a_collection_record_of_version_1_is_read() {
    let bytes = include_bytes!("../../../../tests/formats/collection-v1/0000000000000003");
    assert_eq!(Collection::parse(&keys(), 3, bytes).unwrap(), record());
    assert!(Collection::parse(&keys(), 4, bytes).is_err(), "the record of another epoch");
    let other = DomainKeys::derive("e", &DomainSecret::new([3; 32]));
    assert!(Collection::parse(&other, 3, bytes).is_err(), "the record of another domain");
}

fn blocks(count: usize) -> Vec<u8> {
    (0..count * BLOCK_BYTES).map(|i| (i / 5 % 251).to_le_bytes()[0]).collect()
}

fn ids(count: usize) -> Vec<BlockId> {
    (0..count).map(|i| BlockId([i.to_le_bytes()[0]; 32])).collect()
}

/// A node pack of two leaves and a root, and its parts before sealing.
fn node_pack() -> (NodePackId, Bytes) {
    let keys = keys();
    let mut builder = NodePackBuilder::new(&keys, [5; 32]);
    let pack = PackRef { id: PackId([1; 32]), table_in: None };
    let other = PackRef { id: PackId([2; 32]), table_in: Some(NodePackId([8; 32])) };
    builder.add_pack(&pack, None);
    builder.add_pack(&other, None);
    let run = |start, len, pack, slot| Run { start, len, pack, slot };
    let leaf = Leaf {
        packs: vec![pack, other],
        runs: vec![run(0, 7, 0, 3), run(9, 1000, 1, 70), run(1023, 1, 0, 10)],
    };
    let first = builder.push_leaf(&keys, leaf);
    let second =
        builder.push_leaf(&keys, Leaf { packs: vec![other], runs: vec![run(1, 1, 0, u32::MAX - 1)] });
    let far = NodeRef { pack: NodePackId([8; 32]), number: 900 };
    let children = [(0, ChildRef::Here(first)), (7, ChildRef::There(far)), (255, ChildRef::Here(second))];
    builder.push_inner(&keys, 1, &children);
    builder.build(&keys, Some(&TreeHead { size_bytes: 1 << 30, height: 1, present_blocks: 1009 }))
}

#[test]
fn a_node_pack_gives_back_what_was_put_in() {
    let (id, bytes) = node_pack();
    let keys = keys();
    let pack = NodePack::parse(&keys, id, &bytes).unwrap();
    assert_eq!(pack.head, Some(TreeHead { size_bytes: 1 << 30, height: 1, present_blocks: 1009 }));
    let Node::Leaf(leaf) = pack.node(&keys, 0, 0).unwrap() else { panic!("a leaf") };
    assert_eq!((leaf.blocks(), leaf.runs[1].start, leaf.runs[2].slot), (1008, 9, 10));
    assert_eq!(leaf.packs[1].table_in, Some(NodePackId([8; 32])));
    let Node::Inner(children) = pack.node(&keys, 2, 1).unwrap() else { panic!("an inner node") };
    assert_eq!(children[1], (7, NodeRef { pack: NodePackId([8; 32]), number: 900 }));
    assert_eq!(children[2], (255, NodeRef { pack: id, number: 1 }));
    assert!(
        pack.node(&keys, 2, 0).is_err() && pack.node(&keys, 2, 2).is_err() && pack.node(&keys, 3, 0).is_err()
    );
}

#[test]
fn frames_of_every_fill_come_back_and_stay_in_their_place() {
    let keys = keys();
    let mut builder = PackBuilder::new(&keys, [6; 32]);
    let noise: Vec<u8> = blake3::Hasher::new().finalize_xof().take_bytes(3 * BLOCK_BYTES);
    builder.push(&Packed::pack(Effort::Usual, &blocks(32)), &ids(32));
    builder.push(&Packed::pack(Effort::Usual, &noise), &ids(3));
    builder.push(&Packed::pack(Effort::Usual, &noise), &ids(3));
    let built = builder.build(&keys);
    let table = &built.directory.table;
    assert_eq!((table.frames[0].encoding, table.frames[1].encoding), (Encoding::Zstd, Encoding::Raw));
    let sealed = |number: usize| {
        let frame = &table.frames[number];
        built.bytes[usize::try_from(frame.offset).unwrap()..usize::try_from(frame.end()).unwrap()].to_vec()
    };
    assert_eq!(table.open_frame(0, sealed(0)).unwrap(), blocks(32));
    assert_eq!(table.open_frame(1, sealed(1)).unwrap(), noise);
    // The same bytes in the next frame are sealed otherwise, and are refused there.
    assert!(table.open_frame(1, sealed(2)).is_err());
    assert_eq!(table.frame_of(31).unwrap().0, 0);
    assert_eq!(table.frame_of(32).unwrap().0, 1);
    assert_eq!(table.frame_of(37).unwrap().0, 2);
    assert!(table.frame_of(38).is_err());
    let size = built.bytes.len() as u64;
    let tail = Directory::tail_bytes(built.bytes.last_chunk().unwrap(), size).unwrap();
    let tail = &built.bytes[built.bytes.len() - usize::try_from(tail).unwrap()..];
    let directory = Directory::parse(&keys, table.id, tail, size).unwrap();
    assert_eq!(directory.ids.len(), 38);
    assert!(Directory::parse(&keys, table.id, tail, size + 1).is_err());
}

trait TakeBytes {
    fn take_bytes(self, len: usize) -> Vec<u8>;
}

impl TakeBytes for blake3::OutputReader {
    fn take_bytes(mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes);
        bytes
    }
}

/// The plain directory of a real node pack, to be mutated.
fn plain_directory() -> Vec<u8> {
    let mut plain = vec![1];
    cursor::put_varint(&mut plain, 1 << 30);
    plain.push(1);
    cursor::put_varint(&mut plain, 9);
    cursor::put_varint(&mut plain, 1);
    plain.extend([8; 32]);
    cursor::put_varint(&mut plain, 3);
    plain.extend([1; 32]);
    plain.push(0);
    plain.extend([2; 32]);
    plain.push(2);
    let mut builder = PackBuilder::new(&keys(), [6; 32]);
    builder.push(&Packed::pack(Effort::Usual, &blocks(4)), &ids(4));
    let table = builder.build(&keys()).directory.table;
    plain.extend(table.id.0);
    plain.push(1);
    table.put_copy(&mut plain);
    cursor::put_varint(&mut plain, 1);
    plain.push(1);
    cursor::put_varint(&mut plain, 20);
    cursor::put_varint(&mut plain, 30);
    plain.extend([4; 32]);
    plain
}

fn mutated(original: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let len = original.len();
    (prop::collection::vec((0..len, any::<u8>()), 0..6), 0..=len, any::<bool>()).prop_map(
        move |(edits, cut, cuts)| {
            let mut bytes = original.clone();
            for (at, byte) in edits {
                bytes[at] = byte;
            }
            if cuts {
                bytes.truncate(cut);
            }
            bytes
        },
    )
}

#[test]
fn the_directory_that_gets_mutated_is_a_real_one() {
    let pack = NodePack::parse_plain(&keys(), &plain_directory(), &[0; 20]).unwrap();
    assert_eq!(pack.head.unwrap().present_blocks, 9);
}

proptest! {
    #[test]
    fn unsealed_directories_are_parsed_safely(plain in mutated(plain_directory()), nodes in 0usize..60) {
        if let Ok(pack) = NodePack::parse_plain(&keys(), &plain, &vec![0; nodes]) {
            for number in 0..4 {
                pack.node(&keys(), number, 0).ok();
            }
        }
    }

    #[test]
    fn unsealed_nodes_are_parsed_safely(plain in prop::collection::vec(0u8..9, 0..60), wild: Vec<u8>) {
        let pack = NodePack::parse_plain(&keys(), &plain_directory(), &[0; 20]).unwrap();
        for plain in [&plain, &wild] {
            if let Ok(Node::Leaf(leaf)) = pack.parse_plain_node(0, plain) {
                prop_assert!(leaf.blocks() <= LEAF_BLOCKS as u64);
                for run in &leaf.runs {
                    leaf.pack(run).unwrap();
                    prop_assert!(usize::from(run.start + run.len) <= LEAF_BLOCKS);
                    prop_assert!(run.slot.checked_add(u32::from(run.len)).is_some());
                }
            }
            if let Ok(Node::Inner(children)) = pack.parse_plain_node(1, plain) {
                prop_assert!(children.is_sorted_by(|a, b| a.0 < b.0));
            }
        }
    }

    #[test]
    fn unsealed_frame_tables_are_parsed_safely(rest in prop::collection::vec(any::<u8>(), 0..40), count in 0u32..300) {
        let plain = [&[0; 32][..], &rest].concat();
        if let Ok(table) = PackTable::parse(&keys(), &pack_trailer(count), &plain) {
            prop_assert_eq!(table.slots, count);
            for slot in 0..count {
                let (number, frame) = table.frame_of(slot).unwrap();
                prop_assert!(frame.first_slot <= slot && slot < frame.first_slot + u32::from(frame.slots));
                prop_assert_eq!(table.frame(number).unwrap(), frame);
            }
        }
    }

    #[test]
    fn sealed_objects_refuse_noise(bytes: Vec<u8>, trailer in mutated(pack_trailer(1).to_vec())) {
        let keys = keys();
        let bytes = [bytes, trailer].concat();
        prop_assert!(NodePack::parse(&keys, NodePackId([0; 32]), &bytes.clone().into()).is_err());
        if let Some(trailer) = bytes.last_chunk() {
            Directory::tail_bytes(trailer, bytes.len() as u64).ok();
        }
        prop_assert!(Directory::parse(&keys, PackId([0; 32]), &bytes, bytes.len() as u64).is_err());
        prop_assert!(Snapshot::parse(&keys, "k", &bytes).is_err());
        prop_assert!(StoreHeader::parse(&bytes).is_err());
        prop_assert!(Collection::parse(&keys, 1, &bytes).is_err());
    }

    #[test]
    fn unsealed_records_are_parsed_safely(plain in mutated(record().plain()), wild: Vec<u8>) {
        for plain in [&plain, &wild] {
            if let Ok(found) = Collection::parse_plain(3, plain) {
                prop_assert!(found.suspects.len() + found.retired.len() <= plain.len() / 34);
            }
        }
    }

    #[test]
    fn records_give_back_what_was_put_in(
        epoch: u64,
        objects in prop::collection::btree_map(any::<[u8; 32]>(), (any::<bool>(), 0i64..1 << 50, any::<u64>()), 0..40),
        alarm in prop::option::of(0i64..1 << 50),
    ) {
        let id = |bytes: [u8; 32]| if bytes[0].is_multiple_of(2) { ObjectId::Pack(PackId(bytes)) } else { ObjectId::NodePack(NodePackId(bytes)) };
        let mut record = Collection { epoch, ..Collection::default() };
        for (bytes, (is_retired, ms, condemned)) in &objects {
            let at = model::Timestamp::from_millis(*ms);
            if *is_retired {
                record.retired.insert(id(*bytes), Retired { at, epoch: *condemned });
            } else {
                record.suspects.insert(id(*bytes), at);
            }
        }
        record.alarm = alarm.map(|ms| Alarm {
            at: model::Timestamp::from_millis(ms),
            objects: objects.keys().map(|bytes| id(*bytes)).collect(),
        });
        let bytes = record.encode(&keys(), [4; 32]);
        prop_assert_eq!(Collection::parse(&keys(), epoch, &bytes).unwrap(), record);
    }

    #[test]
    fn compression_is_undone_and_bounded(bytes in prop::collection::vec(0u8..3, 0..9000), limit in 0usize..9000) {
        let len = bytes.len();
        let (encoding, stored) = compress(&bytes);
        prop_assert!(stored.len() <= len);
        match decompress(encoding, stored, limit) {
            Ok(plain) => prop_assert!(plain == bytes && len <= limit),
            Err(_) => prop_assert!(len > limit),
        }
    }

    #[test]
    fn snapshot_objects_give_back_what_was_put_in(root: [u8; 32], parent: Option<[u8; 32]>, size_bytes: u64, epoch: u64) {
        let snapshot = Snapshot { root: NodePackId(root), size_bytes, parent: parent.map(NodePackId), epoch };
        let bytes = snapshot.encode(&keys(), "k", [4; 32]);
        prop_assert_eq!(Snapshot::parse(&keys(), "k", &bytes).unwrap(), snapshot);
        prop_assert!(Snapshot::parse(&keys(), "l", &bytes).is_err());
    }
}
