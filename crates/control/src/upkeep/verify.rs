//! Re-hashes everything that images, snapshots and volumes need, and names who loses which bytes.

use std::collections::BTreeSet;
use std::str::FromStr;

use blockstore::{DomainSecret, Store, Verification};
use futures::{StreamExt, stream};
use metastore::Metastore;
use model::{Clock, Fault, ImageId, SnapshotId, VolumeId};
use serde::{Deserialize, Serialize};

use super::inventory::{Holding, Users, inventory};
use crate::failure::Failure;

/// What to verify.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    All,
    Image(ImageId),
    Snapshot(SnapshotId),
    Volume(VolumeId),
}

impl FromStr for Target {
    type Err = Fault;

    fn from_str(id: &str) -> Result<Self, Fault> {
        if id.starts_with(SnapshotId::PREFIX) {
            id.parse().map(Self::Snapshot)
        } else if id.starts_with(VolumeId::PREFIX) {
            id.parse().map(Self::Volume)
        } else {
            id.parse().map(Self::Image)
        }
    }
}

/// How far a verification is: packs are what takes time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub packs_done: u64,
    pub packs: u64,
    /// Bytes of blocks, decoded and hashed.
    pub decoded_bytes: u64,
}

/// An object of the store that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedObject {
    pub object: String,
    /// `missing`, `damaged` or `unreadable`.
    pub defect: String,
    pub cause: String,
}

/// Bytes of a disk that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedRange {
    pub offset_bytes: u64,
    pub len_bytes: u64,
    /// The object to blame.
    pub object: String,
}

/// Who shares a damaged disk, and what of it is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected {
    #[serde(flatten)]
    pub users: Users,
    pub ranges: Vec<DamagedRange>,
}

/// What a verification has read, and what it found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub images: u64,
    pub snapshots: u64,
    pub volumes: u64,
    pub packs: u64,
    pub node_packs: u64,
    /// Bytes of packs as they are stored.
    pub stored_bytes: u64,
    /// Bytes of blocks, decoded and hashed.
    pub decoded_bytes: u64,
    pub elapsed_ms: u64,
    pub damaged_objects: Vec<DamagedObject>,
    pub affected: Vec<Affected>,
}

impl Report {
    pub fn is_damaged(&self) -> bool {
        !self.damaged_objects.is_empty()
    }
}

/// Reads from the object store, and goes on after damage. Several packs are read at once; each once.
pub async fn verify(
    metastore: &Metastore,
    store: &Store,
    clock: &dyn Clock,
    target: &Target,
    mut tell: impl FnMut(Progress) + Send,
) -> Result<Report, Failure> {
    let started = clock.monotonic();
    let holdings = inventory(metastore, target).await?;
    let mut report = Report::default();
    count_users(&mut report, &holdings);
    let mut begun = Vec::new();
    let mut progress = Progress::default();
    for holding in &holdings {
        let domain = store.domain(&holding.domain.domain, &DomainSecret::new(holding.domain.secret));
        let roots: Vec<_> = holding.roots.iter().map(|(root, _)| root.clone()).collect();
        let verification = Verification::begin(&domain, &roots).await?;
        progress.packs += verification.packs().len() as u64;
        begun.push((domain, verification));
    }
    for (holding, (domain, mut verification)) in holdings.iter().zip(begun) {
        check_packs(&mut verification, &mut progress, &mut tell).await;
        add(&mut report, holding, verification.report().await);
        check_names(&mut report, holding, &domain).await;
    }
    if report.is_damaged() {
        forget_deleted(metastore, &mut report).await?;
    }
    report.elapsed_ms =
        u64::try_from(clock.monotonic().saturating_sub(started).as_millis()).unwrap_or(u64::MAX);
    Ok(report)
}

/// Names matter when the database is lost.
pub(super) async fn check_names(report: &mut Report, holding: &Holding, domain: &blockstore::Domain) {
    for (root, users) in &holding.roots {
        for snapshot in &users.snapshots {
            let named = domain.check_name(snapshot.snapshot_id.as_str(), root).await;
            report.damaged_objects.extend(named.map(DamagedObject::from));
        }
    }
}

/// One more than there are cores: while these decode, one reads.
async fn check_packs(
    verification: &mut Verification,
    progress: &mut Progress,
    tell: &mut (impl FnMut(Progress) + Send),
) {
    let at_once = std::thread::available_parallelism().map_or(2, usize::from) + 1;
    let mut findings = Vec::new();
    let checks = &*verification;
    let mut checked =
        stream::iter(checks.packs()).map(|pack| checks.check_pack(pack)).buffer_unordered(at_once);
    while let Some(finding) = checked.next().await {
        progress.packs_done += 1;
        progress.decoded_bytes += finding.decoded_bytes();
        tell(*progress);
        findings.push(finding);
    }
    drop(checked);
    for finding in findings {
        verification.note(finding);
    }
}

pub(super) fn count_users(report: &mut Report, holdings: &[Holding]) {
    let users = || holdings.iter().flat_map(|holding| &holding.roots).map(|(_, users)| users);
    let images: BTreeSet<_> = users().flat_map(|users| &users.images).map(|image| &image.image_id).collect();
    let volumes: BTreeSet<_> =
        users().flat_map(|users| &users.volumes).map(|volume| &volume.volume_id).collect();
    report.images = images.len() as u64;
    report.volumes = volumes.len() as u64;
    report.snapshots = users().map(|users| users.snapshots.len() as u64).sum();
}

pub(super) fn add(report: &mut Report, holding: &Holding, found: blockstore::VerifyReport) {
    report.packs += found.stats.packs;
    report.node_packs += found.stats.node_packs;
    report.stored_bytes += found.stats.pack_bytes;
    report.decoded_bytes += found.stats.decoded_bytes;
    for ((_, users), ranges) in holding.roots.iter().zip(&found.roots) {
        let ranges: Vec<_> = ranges
            .iter()
            .map(|range| DamagedRange {
                offset_bytes: range.offset_bytes,
                len_bytes: range.len_bytes,
                object: found.objects.get(range.object).map(|bad| bad.path.clone()).unwrap_or_default(),
            })
            .collect();
        if !ranges.is_empty() {
            report.affected.push(Affected { users: users.clone(), ranges });
        }
    }
    report.damaged_objects.extend(found.objects.into_iter().map(DamagedObject::from));
}

impl From<blockstore::BadObject> for DamagedObject {
    fn from(bad: blockstore::BadObject) -> Self {
        let defect = match bad.defect {
            blockstore::Defect::Missing => MISSING,
            blockstore::Defect::Damaged => "damaged",
            blockstore::Defect::Unreadable => "unreadable",
        };
        Self { object: bad.path, defect: defect.to_owned(), cause: bad.cause }
    }
}

const MISSING: &str = "missing";

/// What was deleted while the verification ran may well be gone.
pub(super) async fn forget_deleted(metastore: &Metastore, report: &mut Report) -> Result<(), Failure> {
    let now = inventory(metastore, &Target::All).await?;
    let users = || now.iter().flat_map(|holding| &holding.roots).map(|(_, users)| users);
    let snapshots: BTreeSet<_> =
        users().flat_map(|users| &users.snapshots).map(|used| &used.snapshot_id).collect();
    let images: BTreeSet<_> = users().flat_map(|users| &users.images).map(|used| &used.image_id).collect();
    let volumes: BTreeSet<_> = users().flat_map(|users| &users.volumes).map(|used| &used.volume_id).collect();
    report.affected.retain_mut(|affected| {
        affected.users.snapshots.retain(|used| snapshots.contains(&used.snapshot_id));
        affected.users.images.retain(|used| images.contains(&used.image_id));
        affected.users.volumes.retain(|used| volumes.contains(&used.volume_id));
        !affected.users.is_empty()
    });
    let blamed: BTreeSet<_> =
        report.affected.iter().flat_map(|affected| &affected.ranges).map(|range| &range.object).collect();
    report.damaged_objects.retain(|bad| {
        let named = bad.object.rsplit('/').next().and_then(|name| name.parse::<SnapshotId>().ok());
        bad.defect != MISSING
            || blamed.contains(&bad.object)
            || named.is_some_and(|id| snapshots.contains(&id))
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use testkit::World;

    use super::*;

    const FRAME: usize = 256 << 10;

    fn noise(world: &World, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        world.ids().fill(&mut bytes);
        bytes
    }

    async fn verified(world: &World, target: Target) -> Report {
        let mut told = Progress::default();
        let clock: &dyn Clock = world.clock.as_ref();
        let report = verify(&world.metastore, &world.store, clock, &target, |now| told = now).await.unwrap();
        assert_eq!((told.packs_done, told.packs), (report.packs, report.packs));
        report
    }

    fn names(affected: &Affected) -> Vec<&str> {
        affected.users.images.iter().map(|image| image.name.as_str()).collect()
    }

    fn spans(affected: &Affected) -> Vec<(u64, u64)> {
        affected.ranges.iter().map(|range| (range.offset_bytes, range.len_bytes)).collect()
    }

    /// Two images of which the second has all of the first and a frame more; the packs in the order they came.
    async fn two_images(world: &World) -> (String, String, Vec<String>) {
        let (first, more) = (noise(world, 2 * FRAME), noise(world, FRAME));
        let one = world.seed_image("one", &first).await;
        let mut packs = Vec::new();
        let mut collect = async || {
            world
                .tamper("pack", |path, bytes| {
                    if !packs.iter().any(|known| known == path) {
                        packs.push(path.to_owned());
                    }
                    Some(bytes)
                })
                .await;
        };
        collect().await;
        let two = world.seed_image("two", &[first, more].concat()).await;
        collect().await;
        assert_eq!(packs.len(), 2);
        (one, two, packs)
    }

    async fn flip(world: &World, pack: &str, at: usize) {
        let change = |path: &str, mut bytes: Vec<u8>| {
            if path == pack {
                bytes[at] ^= 1;
            }
            Some(bytes)
        };
        world.tamper("pack", change).await;
    }

    #[tokio::test]
    async fn all_is_well_and_each_pack_is_read_once() {
        let world = World::new().await;
        let (one, _, _) = two_images(&world).await;
        let report = verified(&world, Target::All).await;
        assert!(!report.is_damaged() && report.affected.is_empty(), "{report:?}");
        assert_eq!((report.images, report.snapshots, report.packs), (2, 2, 2));
        assert_eq!(report.decoded_bytes, 3 * FRAME as u64);
        let report = verified(&world, one.parse().unwrap()).await;
        assert_eq!((report.images, report.snapshots, report.packs), (1, 1, 1));
        let unknown: Target = "ami-00000000".parse().unwrap();
        let clock: &dyn Clock = world.clock.as_ref();
        let refused = verify(&world.metastore, &world.store, clock, &unknown, |_| {}).await.unwrap_err();
        assert!(refused.message.contains("ami-00000000"), "{refused}");
    }

    #[tokio::test]
    async fn damage_names_everybody_who_shares_it_and_nobody_else() {
        let world = World::new().await;
        let (one, two, packs) = two_images(&world).await;
        flip(&world, &packs[1], 10).await;
        let report = verified(&world, Target::All).await;
        assert_eq!(report.affected.len(), 1);
        assert_eq!(names(&report.affected[0]), ["two"]);
        assert_eq!(spans(&report.affected[0]), [(2 * FRAME as u64, FRAME as u64)]);
        assert_eq!(report.affected[0].ranges[0].object, packs[1]);
        assert!(!verified(&world, one.parse().unwrap()).await.is_damaged());

        flip(&world, &packs[0], 10).await;
        let report = verified(&world, Target::All).await;
        let mut told: Vec<_> = report.affected.iter().map(|it| (names(it), spans(it))).collect();
        told.sort();
        let (frame, third) = ((0, FRAME as u64), (2 * FRAME as u64, FRAME as u64));
        assert_eq!(told, [(vec!["one"], vec![frame]), (vec!["two"], vec![frame, third])]);
        let blamed: BTreeSet<_> = report.damaged_objects.iter().map(|bad| bad.object.clone()).collect();
        assert_eq!(blamed, packs.iter().cloned().collect());
        assert_eq!(verified(&world, two.parse().unwrap()).await.affected.len(), 1);
    }

    #[tokio::test]
    async fn volumes_and_lost_names_are_told() {
        let world = World::new().await;
        let snapshot = world.seed_snapshot(1, &noise(&world, FRAME)).await;
        let volume = world.seed_volume(1, Some(&snapshot)).await;
        world.tamper("snap", |_, _| None).await;
        let report = verified(&world, Target::All).await;
        assert!(report.affected.is_empty(), "no bytes are lost: {report:?}");
        let object = &report.damaged_objects[0];
        assert!(object.object.ends_with(snapshot.as_str()) && object.defect == "missing", "{object:?}");
        world.tamper("pack", |_, _| None).await;
        let report = verified(&world, volume.as_str().parse().unwrap()).await;
        assert_eq!(report.affected[0].users.volumes[0].volume_id, volume);
        assert_eq!(spans(&report.affected[0]), [(0, FRAME as u64)]);
    }
}
