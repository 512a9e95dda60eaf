//! What is stored is damaged in every way, and must be refused or right.

use std::collections::BTreeMap;
use std::sync::Arc;

use blockstore::Domain;
use bytes::Bytes;
use object_store::path::Path;

use crate::chance::Chance;
use crate::life::{Verdict, chain, open_store, same};
use crate::model::Snapshot;
use crate::run::runtime;
use crate::sim::Sim;
use crate::store::SimStore;
use crate::world::World;

/// Damages at the end of a history, one at a time.
const DAMAGES: usize = 12;

type Objects = BTreeMap<Path, Bytes>;

/// Damages copies of the world's objects, and reads every snapshot from each copy.
pub(crate) fn inflict(world: &World) -> Verdict {
    let (sim, objects) = (&world.sim, world.objects.objects());
    let snapshots = world.snapshots.borrow().clone();
    let mut chance = sim.fork();
    for _ in 0..DAMAGES {
        let Some((what, damaged)) = damage(&objects, &mut chance) else { continue };
        sim.note(format_args!("damage: {what}"));
        sim.count(|counts| counts.damages += 1);
        // A world of its own: without weather, and nobody dies in it.
        let quiet = Sim::quiet();
        let store = SimStore::with(&quiet, damaged);
        let seen = runtime().block_on(look(store, &quiet, &snapshots, chance.next()));
        let is_noticed = seen.map_err(|e| format!("damage: {what}: {e}"))?;
        sim.count(|counts| {
            let count = if is_noticed { &mut counts.refused } else { &mut counts.harmless };
            *count += 1;
        });
    }
    Ok(())
}

/// One damage to one object, of a kind that is chosen first: there are few of some.
fn damage(objects: &Objects, chance: &mut Chance) -> Option<(String, Objects)> {
    let kinds = ["pack", "node", "snap", "gc", "map", "store"];
    let kind = kinds[chance.index(kinds.len())];
    let all: Vec<&Path> = objects.keys().collect();
    let of_kind: Vec<&Path> = all.iter().copied().filter(|path| path.as_ref().starts_with(kind)).collect();
    let path = (*of_kind.get(chance.index(of_kind.len()))?).clone();
    let mut damaged = objects.clone();
    let mut bytes = objects.get(&path)?.to_vec();
    let at = chance.index(bytes.len());
    let how = match chance.below(6) {
        0..2 => {
            bytes[at] ^= 1 << chance.below(8);
            format!("a bit of byte {at} flipped")
        }
        2 => {
            bytes.truncate(at);
            format!("cut to {at} bytes")
        }
        3 => {
            let to = (at + 64).min(bytes.len());
            bytes[at..to].fill(0);
            format!("zeros from byte {at}")
        }
        4 => {
            damaged.remove(&path);
            return Some((format!("{path} deleted"), damaged));
        }
        _ => {
            let other = all[chance.index(all.len())];
            bytes = objects.get(other)?.to_vec();
            format!("holds {other}")
        }
    };
    damaged.insert(path.clone(), bytes.into());
    Some((format!("{path}: {how}"), damaged))
}

/// Whether anybody noticed. What is served must be right, whoever noticed.
async fn look(
    store: SimStore,
    sim: &Arc<Sim>,
    snapshots: &crate::model::Snapshots,
    seed: u64,
) -> Verdict<bool> {
    let Ok(domains) = open_store(Arc::new(store), seed, Arc::clone(sim) as _).await else { return Ok(true) };
    let mut is_noticed = false;
    for (key, snapshot) in snapshots {
        let domain = &domains[snapshot.domain];
        let (is_whole, error) = read(domain, key, snapshot).await?;
        let verified = domain.verify(&snapshot.root).await;
        if let (false, Ok(_)) = (is_whole, &verified) {
            return Err(format!("{key} cannot be read ({error}), and is verified all the same"));
        }
        is_noticed |= !is_whole || verified.is_err() || domain.load(key).await.is_err();
    }
    Ok(is_noticed)
}

/// Reads the snapshot by its root. False where it was refused, and why.
async fn read(domain: &Domain, key: &str, snapshot: &Snapshot) -> Verdict<(bool, String)> {
    let attempt = async {
        let reader = domain.reader(&snapshot.root).await?;
        let mut bytes = vec![0xee; snapshot.content.len()];
        reader.read_at(0, &mut bytes).await.map(|()| bytes)
    };
    match attempt.await {
        Ok(bytes) => {
            same("read of a damaged store", &bytes, &snapshot.content)?;
        }
        Err(e) => return Ok((false, chain(&e))),
    }
    if let Ok(root) = domain.load(key).await
        && root != snapshot.root
    {
        return Err(format!("{key} names another root"));
    }
    Ok((true, String::new()))
}
