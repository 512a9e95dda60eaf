//! Reads the whole store again and again, slowly, so that damage is found before somebody needs what is damaged.
//!
//! Where it is, when each domain was verified last and what was found are rows, so that a restart goes on.

use std::time::Duration;

use blockstore::{DomainSecret, Store, Verification};
use metastore::Metastore;
use model::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::inventory::{Holding, inventory};
use super::verify::{self, Report, Target};
use crate::failure::Failure;
use crate::spine::env::Env;

/// A domain is read through at most this often.
const PERIOD: Duration = Duration::from_hours(24);
/// Between looks for a domain that is due; the first comes when the start is over.
const PAUSE: Duration = Duration::from_mins(1);
/// Packs between two notes of where it is.
const PACKS_A_NOTE: usize = 64;
/// Lines of one round's damage in the log; the status has all.
const LINES_MAX: usize = 20;

/// How far the scrub of a domain is, and what the last look at each of its packs found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubState {
    pub domain: String,
    /// When the round that goes on now began.
    pub begun: Option<Timestamp>,
    /// The last pack that it has read.
    position: Option<String>,
    /// Packs that it found damaged.
    suspects: Vec<String>,
    /// Everything that was there at this time has been verified since.
    pub verified: Option<Timestamp>,
    /// What the last complete round found.
    pub report: Report,
}

#[derive(Debug, Clone)]
pub struct Scrub {
    pub metastore: Metastore,
    pub store: Store,
    pub env: Env,
    /// Of packs as they are stored. 0 switches it off.
    pub bytes_per_second: u64,
}

impl Scrub {
    /// Runs until stopped.
    pub async fn run(self, stop: CancellationToken) {
        if self.bytes_per_second == 0 {
            return;
        }
        loop {
            if stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
                return;
            }
            match stop.run_until_cancelled(self.round()).await {
                Some(Ok(())) => {}
                Some(Err(failure)) => {
                    let cause = failure.cause().map(|cause| crate::spine::dispatcher::chain(cause));
                    tracing::error!(%failure, cause, "scrub failed");
                }
                None => return,
            }
        }
    }

    /// Every domain that is due.
    pub(crate) async fn round(&self) -> Result<(), Failure> {
        let now = self.env.clock.now();
        for holding in inventory(&self.metastore, &Target::All).await? {
            let state = self.state(&holding.domain.domain).await?;
            let is_due = state.verified.is_none_or(|verified| now.since(verified) >= PERIOD);
            if is_due || state.begun.is_some() {
                self.domain(&holding, state).await?;
            }
        }
        Ok(())
    }

    async fn domain(&self, holding: &Holding, mut state: ScrubState) -> Result<(), Failure> {
        let name = &holding.domain.domain;
        let domain = self.store.domain(name, &DomainSecret::new(holding.domain.secret));
        let roots: Vec<_> = holding.roots.iter().map(|(root, _)| root.clone()).collect();
        let begun = *state.begun.get_or_insert(self.env.clock.now());
        let mut verification = Verification::begin(&domain, &roots).await?;
        let packs = verification.packs().into_iter().filter(|pack| {
            let key = pack.to_string();
            state.position.as_ref().is_none_or(|position| key > *position) || state.suspects.contains(&key)
        });
        for (number, pack) in packs.collect::<Vec<_>>().into_iter().enumerate() {
            let finding = verification.check_pack(pack).await;
            self.pace(finding.stored_bytes()).await;
            let key = pack.to_string();
            if !finding.is_whole() && !state.suspects.contains(&key) {
                state.suspects.push(key.clone());
            }
            verification.note(finding);
            // A suspect that was looked at again lies before the position.
            state.position = state.position.max(Some(key));
            if number % PACKS_A_NOTE == PACKS_A_NOTE - 1 {
                self.save(name, &state).await?;
            }
        }
        let mut report = Report::default();
        verify::add(&mut report, holding, verification.report().await);
        verify::check_names(&mut report, holding, &domain).await;
        verify::count_users(&mut report, std::slice::from_ref(holding));
        if report.is_damaged() {
            verify::forget_deleted(&self.metastore, &mut report).await?;
        }
        tell(name, &report);
        let verified = Some(begun);
        let done = ScrubState { domain: name.clone(), verified, report, ..ScrubState::default() };
        self.save(name, &done).await
    }

    /// Sleeps for as long as reading so much may take.
    async fn pace(&self, bytes: u64) {
        let ms = u128::from(bytes) * 1000 / u128::from(self.bytes_per_second);
        tokio::time::sleep(Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))).await;
    }

    async fn state(&self, domain: &str) -> Result<ScrubState, Failure> {
        let saved = self.metastore.read().await?.setting_get(&setting(domain)).await?;
        let state = saved.and_then(|text| serde_json::from_str(&text).ok());
        // What another version wrote, or nothing: the domain is read anew.
        Ok(state.unwrap_or_else(|| ScrubState { domain: domain.to_owned(), ..ScrubState::default() }))
    }

    async fn save(&self, domain: &str, state: &ScrubState) -> Result<(), Failure> {
        let text = serde_json::to_string(state).map_err(Failure::internal)?;
        let mut tx = self.metastore.write().await?;
        tx.setting_set(&setting(domain), &text).await?;
        Ok(tx.commit().await?)
    }
}

/// When each domain was verified last, and what was found, by name.
pub async fn scrub_status(metastore: &Metastore) -> Result<Vec<ScrubState>, Failure> {
    let mut tx = metastore.read().await?;
    let mut states = Vec::new();
    for domain in tx.domains().await? {
        let saved = tx.setting_get(&setting(&domain.domain)).await?;
        let state = saved.and_then(|text| serde_json::from_str(&text).ok());
        states.push(state.unwrap_or(ScrubState { domain: domain.domain, ..ScrubState::default() }));
    }
    Ok(states)
}

fn setting(domain: &str) -> String {
    format!("scrub/{domain}")
}

fn tell(domain: &str, report: &Report) {
    for bad in report.damaged_objects.iter().take(LINES_MAX) {
        let (object, defect, cause) = (&bad.object, &bad.defect, &bad.cause);
        tracing::error!(domain, object, defect, cause, "the snapshot store is damaged");
    }
    for affected in report.affected.iter().take(LINES_MAX) {
        let images: Vec<_> = affected.users.images.iter().map(|image| image.image_id.as_str()).collect();
        let snapshots: Vec<_> =
            affected.users.snapshots.iter().map(|snapshot| snapshot.snapshot_id.as_str()).collect();
        let bytes: u64 = affected.ranges.iter().map(|range| range.len_bytes).sum();
        tracing::error!(domain, ?images, ?snapshots, bytes, "damage in the store costs bytes of a disk");
    }
    let (packs, bytes) = (report.packs, report.stored_bytes);
    tracing::info!(domain, packs, bytes, damaged = report.damaged_objects.len(), "scrubbed a domain");
}

#[cfg(test)]
mod tests {
    use testkit::World;

    use super::*;

    fn scrub(world: &World) -> Scrub {
        let (clock, ids) = (world.clock.clone(), world.ids.clone());
        let env = Env { clock, ids, token_key: [0; 32], domain_master: [0; 32], endpoint: String::new() };
        let (metastore, store) = (world.metastore.clone(), world.store.clone());
        Scrub { metastore, store, env, bytes_per_second: 10 << 30 }
    }

    async fn only(world: &World) -> ScrubState {
        scrub_status(&world.metastore).await.unwrap().remove(0)
    }

    #[tokio::test]
    async fn damage_is_kept_until_a_round_finds_it_gone() {
        let world = World::new().await;
        let image = world.seed_image("base", &vec![7; 64 << 10]).await;
        assert_eq!(only(&world).await.verified, None);
        let scrub = scrub(&world);
        scrub.round().await.unwrap();
        let first = only(&world).await;
        assert!(!first.report.is_damaged());
        assert_eq!((first.report.images, first.report.packs), (1, 1));
        let flip = |_: &str, mut bytes: Vec<u8>| {
            bytes[3] ^= 1;
            Some(bytes)
        };
        world.tamper("pack", flip).await;
        scrub.round().await.unwrap();
        assert_eq!(only(&world).await, first, "once a day is enough");
        world.clock.advance(PERIOD);
        scrub.round().await.unwrap();
        let found = only(&world).await;
        assert!(found.verified > first.verified && found.begun.is_none());
        assert_eq!(found.report.affected[0].users.images[0].image_id.as_str(), image);
        world.tamper("pack", flip).await;
        world.clock.advance(PERIOD);
        scrub.round().await.unwrap();
        assert!(!only(&world).await.report.is_damaged());
    }

    #[tokio::test]
    async fn a_round_goes_on_where_it_was_cut_off_and_keeps_what_it_had_found() {
        let world = World::new().await;
        let mut noise = vec![0; 64 << 10];
        for name in ["one", "two", "three"] {
            world.ids().fill(&mut noise);
            world.seed_image(name, &noise).await;
        }
        let scrub = scrub(&world);
        let holding = inventory(&world.metastore, &Target::All).await.unwrap().remove(0);
        let name = holding.domain.domain.clone();
        let domain = world.store.domain(&name, &DomainSecret::new(holding.domain.secret));
        let roots: Vec<_> = holding.roots.iter().map(|(root, _)| root.clone()).collect();
        let packs = Verification::begin(&domain, &roots).await.unwrap().packs();
        assert_eq!(packs.len(), 3);
        world.tamper("pack", |path, bytes| (!path.ends_with(&packs[0].to_string())).then_some(bytes)).await;
        let begun = world.env.clock.now();
        let half = ScrubState {
            domain: name.clone(),
            begun: Some(begun),
            position: Some(packs[1].to_string()),
            suspects: vec![packs[0].to_string()],
            ..ScrubState::default()
        };
        scrub.save(&name, &half).await.unwrap();
        world.clock.advance(Duration::from_mins(1));
        scrub.round().await.unwrap();
        let done = only(&world).await;
        assert_eq!((done.verified, done.report.packs), (Some(begun), 2));
        assert_eq!(done.report.damaged_objects[0].defect, "missing");
        assert_eq!(done.report.affected.len(), 1);
    }
}
