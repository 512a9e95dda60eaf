//! What follows from a mark: a function over values, without IO.

use std::collections::BTreeMap;
use std::time::Duration;

use model::Timestamp;

use super::ledger::Uses;
use super::mark::Live;
use super::{Collected, Policy};
use crate::format::BLOCK_BYTES_U64;
use crate::format::collection::{Alarm, Collection, ObjectId, RECORD_OBJECTS_MAX, Retired};
use crate::format::relocation::RelocationMap;

/// How long a root may be in nobody's hands while it goes from a row to a reader or writer: a mark
/// that lets something be deleted began later than this after the condemnation.
const HANDOVER: Duration = Duration::from_secs(5);
/// Deletions of one round.
const DELETES_MAX: usize = 10_000;

/// What is known when a mark has ended.
pub(super) struct Facts<'a> {
    pub(super) now: Timestamp,
    /// When the mark began.
    pub(super) began: Timestamp,
    /// What it reached, where that is now.
    pub(super) live: &'a Live,
    pub(super) map: &'a RelocationMap,
    pub(super) objects: &'a BTreeMap<ObjectId, u64>,
    pub(super) policy: &'a Policy,
}

/// What is to be done.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) new: Collection,
    pub(super) condemned: Vec<ObjectId>,
    /// Retired objects that are needed after all.
    pub(super) resurrected: Vec<ObjectId>,
    pub(super) touched: Vec<ObjectId>,
    /// To be deleted.
    pub(super) expired: Vec<ObjectId>,
}

impl Plan {
    pub(super) fn make(old: &Collection, facts: &Facts<'_>, uses: &Uses<'_>) -> Self {
        let new = Collection {
            epoch: old.epoch + 1,
            at: facts.now,
            suspects: BTreeMap::new(),
            retired: BTreeMap::new(),
            alarm: old.alarm.clone(),
        };
        let touched = uses.touched.to_vec();
        let mut plan =
            Self { new, condemned: Vec::new(), resurrected: Vec::new(), touched, expired: Vec::new() };
        plan.keep_retired(old, facts, uses);
        plan.condemn(old, facts, uses);
        plan.expire(facts);
        plan
    }

    /// What was deleted leaves the record; what is needed is taken back.
    fn keep_retired(&mut self, old: &Collection, facts: &Facts<'_>, uses: &Uses<'_>) {
        for (object, retired) in &old.retired {
            let is_needed = facts.live.has(*object) || uses.claims(*object) || uses.touched.contains(object);
            if is_needed {
                self.resurrected.push(*object);
            } else if facts.objects.contains_key(object) {
                self.new.retired.insert(*object, *retired);
            }
        }
        if !self.resurrected.is_empty() {
            let alarm = self.new.alarm.get_or_insert_with(|| Alarm { at: facts.now, objects: Vec::new() });
            alarm.objects.extend(&self.resurrected);
            alarm.objects.sort_unstable();
            alarm.objects.dedup();
        }
    }

    fn condemn(&mut self, old: &Collection, facts: &Facts<'_>, uses: &Uses<'_>) {
        for object in facts.objects.keys() {
            let is_full = self.new.suspects.len() + self.new.retired.len() >= RECORD_OBJECTS_MAX;
            let is_used = facts.live.has(*object) || uses.claims(*object);
            if is_full || is_used || old.retired.contains_key(object) {
                continue;
            }
            // Whoever began before it was moved may come to read it where it was.
            let is_moved = matches!(object, ObjectId::Pack(pack) if facts.map.has(*pack));
            let is_awaited = is_moved && uses.are_older_than(facts.map.version);
            let suspected = old.suspects.get(object).filter(|_| !uses.have_claimed(*object));
            match suspected {
                Some(since) if facts.began.since(*since) >= facts.policy.dead_time && !is_awaited => {
                    self.condemned.push(*object);
                    let retired = Retired { at: facts.now, epoch: self.new.epoch };
                    self.new.retired.insert(*object, retired);
                }
                since => {
                    self.new.suspects.insert(*object, since.copied().unwrap_or(facts.began));
                }
            }
        }
    }

    fn expire(&mut self, facts: &Facts<'_>) {
        if self.new.alarm.is_some() {
            return;
        }
        let is_over = |retired: &Retired| {
            facts.now.since(retired.at) >= facts.policy.retire_time
                && facts.began.since(retired.at) >= HANDOVER
        };
        let over = self.new.retired.iter().filter(|(_, retired)| is_over(retired));
        self.expired = over.map(|(object, _)| *object).take(DELETES_MAX).collect();
    }

    /// Whether there is anything that the next round must know.
    pub(super) fn is_news(&self, old: &Collection) -> bool {
        (&self.new.suspects, &self.new.retired, &self.new.alarm) != (&old.suspects, &old.retired, &old.alarm)
    }

    pub(super) fn report(&self, domain: &str) {
        if let Some(object) = self.resurrected.first() {
            tracing::error!(
                domain,
                objects = self.resurrected.len(),
                first = %object,
                "retired objects are needed after all; nothing is deleted any more"
            );
        }
    }
}

impl Facts<'_> {
    /// The store as this record sees it.
    pub(super) fn count(&self, record: &Collection) -> Collected {
        let mut done = Collected {
            live_nodes: self.live.nodes(),
            live_block_bytes: self.live.slots() * BLOCK_BYTES_U64,
            is_alarmed: record.alarm.is_some(),
            epoch: record.epoch,
            ..Collected::default()
        };
        for (object, bytes) in self.objects {
            let (objects, total) = if self.live.has(*object) {
                (&mut done.live_objects, &mut done.live_bytes)
            } else if record.retired.contains_key(object) {
                (&mut done.retired_objects, &mut done.retired_bytes)
            } else {
                (&mut done.dead_objects, &mut done.dead_bytes)
            };
            *objects += 1;
            *total += bytes;
        }
        done
    }
}
