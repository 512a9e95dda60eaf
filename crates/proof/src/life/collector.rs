//! The collector of garbage, at work while all others are.

use std::time::Duration;

use blockstore::{Collected, ErrorKind, Policy, Repack};
use model::Clock;

use super::{Life, Verdict, chain};

const RETIRE_TIME: Duration = Duration::from_hours(2);
/// In the end: two marks that find it dead, one that finds it condemned, and one that looks back.
const LAST_ROUNDS: usize = 4;

impl Life<'_> {
    pub(super) async fn collect(&self) -> Verdict {
        let node_packs = 1 + self.sim.index(6);
        let policy = Policy { retire_time: RETIRE_TIME, node_packs, ..Policy::default() };
        while self.world.budget.get() > 0 {
            tokio::time::sleep(Duration::from_millis(self.sim.below(50))).await;
            self.sim.pass().await;
            let is_idle = self.world.slots.iter().all(|slot| slot.borrow().layers.is_empty());
            if is_idle && !self.is_library_busy.get() && self.sim.one_in(2) {
                // Nobody's request is under way for longer than the collector waits.
                self.world.rest();
            }
            let number = self.sim.index(2);
            if self.sim.one_in(2) {
                self.repack(number, &policy).await?;
            } else {
                self.round(number, &policy).await?;
            }
        }
        Ok(())
    }

    /// When time has gone by, nothing is left that nothing needs.
    pub(super) async fn collect_all(&self) -> Verdict {
        self.world.objects.deliver_all();
        self.sim.calm(true);
        let policy = Policy { retire_time: RETIRE_TIME, ..Policy::default() };
        for number in 0..2 {
            let mut found = Collected::default();
            for _ in 0..LAST_ROUNDS {
                self.sim.rest(2 * RETIRE_TIME);
                found = self.round(number, &policy).await?.unwrap_or_default();
            }
            if found.dead_objects + found.retired_objects > 0 {
                return Err(format!("garbage stays: {found:?}"));
            }
        }
        self.sim.calm(false);
        Ok(())
    }

    /// One batch of repacking, of any kind and size.
    async fn repack(&self, number: usize, policy: &Policy) -> Verdict {
        let domain = self.domain(number);
        let (read_at, roots) = (Clock::now(&**self.sim), self.world.roots());
        let what = if self.sim.one_in(2) { Repack::All } else { Repack::Sparse };
        let bytes_max = 1 << (12 + self.sim.below(8));
        let done = loop {
            let done = domain.repack(&roots, read_at, policy, what, bytes_max).await;
            self.sim.alive().await;
            match done {
                Ok(None) => {}
                Ok(Some(done)) => break done,
                Err(e) if matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Conflict) => return Ok(()),
                Err(e) => return Err(format!("repack: {}", chain(&e))),
            }
        };
        self.sim.note(format_args!("repacked {done:?}"));
        self.sim.count(|counts| {
            counts.repacked += u64::from(done.moved_blocks > 0);
            counts.moved += done.moved_blocks;
        });
        Ok(())
    }

    /// A round; None where the weather does not let it through.
    async fn round(&self, number: usize, policy: &Policy) -> Verdict<Option<Collected>> {
        let domain = self.domain(number);
        let (read_at, roots) = (Clock::now(&**self.sim), self.world.roots());
        let found = loop {
            let done = domain.collect(&roots, read_at, policy).await;
            self.sim.alive().await;
            match done {
                Ok(None) => {}
                Ok(Some(found)) => break found,
                Err(e) if matches!(e.kind(), ErrorKind::Unavailable | ErrorKind::Conflict) => {
                    return Ok(None);
                }
                Err(e) => return Err(format!("collect: {}", chain(&e))),
            }
        };
        self.sim.note(format_args!("collected {found:?}"));
        if found.is_alarmed {
            return Err("the collector took away what was needed, and noticed".to_owned());
        }
        self.sim.count(|counts| {
            counts.rounds += 1;
            counts.collected += found.deleted_objects;
        });
        Ok(Some(found))
    }
}
