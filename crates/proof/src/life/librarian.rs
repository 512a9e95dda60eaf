//! Snapshots in all the ways they are used: read, compared, verified, copied, deleted.

use blockstore::{BLOCK_BYTES, Domain, Root};

use super::{Life, Verdict};
use crate::model::Snapshot;
use crate::world::BLOCK;

const SNAPSHOTS_MAX: usize = 14;

impl Life<'_> {
    /// Works in the library while there are operations to do.
    pub(super) async fn keep_library(&self) -> Verdict {
        while self.world.budget.get() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5 + self.sim.below(60))).await;
            self.sim.pass().await;
            let Some((key, snapshot)) = self.world.any_snapshot() else { continue };
            self.sim.count(|counts| counts.operations += 1);
            self.is_library_busy.set(true);
            let is_full = self.world.snapshots.borrow().len() > SNAPSHOTS_MAX;
            match self.sim.below(10) {
                _ if is_full => self.delete_snapshot(&key, &snapshot).await?,
                0..3 => self.check_snapshot(&key, &snapshot).await?,
                3..5 => self.compare(&key, &snapshot).await?,
                5..7 => self.copy(&key, &snapshot).await?,
                7 => self.delete_snapshot(&key, &snapshot).await?,
                8 => self.verify(&key, &snapshot).await?,
                _ => self.reopen_store().await?,
            }
            self.is_library_busy.set(false);
        }
        Ok(())
    }

    async fn check_snapshot(&self, key: &str, snapshot: &Snapshot) -> Verdict {
        self.sim.note(format_args!("check {key}"));
        let domain = self.reader(snapshot.domain);
        let root = self.persist("load a snapshot", || domain.load(key)).await?;
        self.check_root("a snapshot", snapshot.domain, &root, &snapshot.content).await
    }

    async fn verify(&self, key: &str, snapshot: &Snapshot) -> Verdict {
        self.sim.note(format_args!("verify {key}"));
        let domain = self.reader(snapshot.domain);
        self.persist("verify a snapshot", || domain.verify(&snapshot.root)).await.map(drop)
    }

    /// What the store says differs between two snapshots is what differs between their contents.
    async fn compare(&self, key: &str, snapshot: &Snapshot) -> Verdict {
        let Some((other_key, other)) = self.world.any_snapshot() else { return Ok(()) };
        if other.domain != snapshot.domain {
            return Ok(());
        }
        self.sim.note(format_args!("compare {key} and {other_key}"));
        let domain = self.reader(snapshot.domain);
        let diff = async || domain.diff(&snapshot.root, &other.root, BLOCK_BYTES, 0, usize::MAX).await;
        let found = self.persist("compare snapshots", diff).await?;
        let expected = different_blocks(&snapshot.content, &other.content);
        if found == expected {
            return Ok(());
        }
        Err(format!("{key} and {other_key} differ in blocks {expected:?}, and the store says {found:?}"))
    }

    async fn copy(&self, key: &str, snapshot: &Snapshot) -> Verdict {
        let target = 1 - snapshot.domain;
        let copy_key = format!("copy-{}", self.world.number());
        self.sim.note(format_args!("copy {key} as {copy_key}"));
        let (from, to) = (self.domain(snapshot.domain), self.domain(target));
        let base = self.copied_base(snapshot);
        let copy = || copy_once(&from, &to, &snapshot.root, base.as_ref(), &copy_key);
        let root = self.persist("copy a snapshot", copy).await?;
        self.check_root("a copied snapshot", target, &root, &snapshot.content).await?;
        self.world.publish(&copy_key, &snapshot.content, target, root);
        self.sim.count(|counts| counts.copies += 1);
        Ok(())
    }

    /// Another snapshot, and one of the same content in the other domain.
    fn copied_base(&self, snapshot: &Snapshot) -> Option<(Root, Root)> {
        let snapshots = self.world.snapshots.borrow();
        let alive = || snapshots.values().filter(|other| !other.is_deleted);
        let pairs =
            alive().filter(|a| a.domain == snapshot.domain && a.content.len() <= snapshot.content.len());
        let mut pairs = pairs.filter_map(|a| {
            let copy = alive().find(|b| b.domain != a.domain && b.content == a.content)?;
            Some((a.root.clone(), copy.root.clone()))
        });
        pairs.next()
    }

    pub(super) async fn delete_snapshot(&self, key: &str, snapshot: &Snapshot) -> Verdict {
        self.sim.note(format_args!("delete {key}"));
        if let Some(snapshot) = self.world.snapshots.borrow_mut().get_mut(key) {
            snapshot.is_deleted = true;
        }
        let domain = self.domain(snapshot.domain);
        self.persist("delete a snapshot", || domain.retract(key)).await?;
        self.world.snapshots.borrow_mut().remove(key);
        self.sim.count(|counts| counts.deletions += 1);
        Ok(())
    }

    /// Every snapshot that was promised, from a store that was opened anew.
    pub(super) async fn check_library(&self) -> Verdict {
        self.reopen_store().await?;
        let snapshots = self.world.snapshots.borrow().clone();
        for (key, snapshot) in snapshots {
            self.check_snapshot(&key, &snapshot).await?;
            self.verify(&key, &snapshot).await?;
        }
        Ok(())
    }
}

async fn copy_once(
    from: &Domain,
    to: &Domain,
    root: &Root,
    base: Option<&(Root, Root)>,
    key: &str,
) -> blockstore::Result<Root> {
    let (copy, _) = to.copy_from(from, root, base.map(|(from, to)| (from, to))).await?;
    match to.publish(key, &copy, None).await {
        Err(e) if e.kind() == blockstore::ErrorKind::Conflict => to.load(key).await,
        done => done.map(|()| copy),
    }
}

fn different_blocks(a: &[u8], b: &[u8]) -> Vec<u64> {
    let zeros = [0; BLOCK];
    let block = |of: &[u8], number: usize| {
        let bytes = of.get(number * BLOCK..(number + 1) * BLOCK);
        bytes.map_or(zeros.to_vec(), <[u8]>::to_vec)
    };
    let count = a.len().max(b.len()) / BLOCK;
    (0..count).filter(|number| block(a, *number) != block(b, *number)).map(|number| number as u64).collect()
}
