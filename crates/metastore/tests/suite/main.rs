//! One suite over every engine: an engine is a way to open a fresh store.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a panic is how a test fails")]

mod accounts;
mod bookkeeping;
mod every_table;
mod images;
mod instances;
mod job_model;
mod jobs;
mod network;
mod nouns;
mod snapshots;
mod sqlite_files;
mod store;
mod tags;
mod volumes;

use std::sync::Arc;
use std::time::Duration;

use metastore::{Metastore, Tx};
use model::{AccountId, ManualClock, Region, SeededIdGen, Timestamp};

/// A fresh store and the effects that its test owns.
struct World {
    metastore: Metastore,
    clock: Arc<ManualClock>,
    ids: SeededIdGen,
    /// What has to live as long as the store.
    _place: Option<tempfile::TempDir>,
}

const START: Timestamp = Timestamp(1_790_000_000_000);

impl World {
    fn over(metastore: Metastore, clock: Arc<ManualClock>, place: Option<tempfile::TempDir>) -> Self {
        Self { metastore, clock, ids: SeededIdGen::new(7), _place: place }
    }

    async fn write(&self) -> Tx {
        self.metastore.write().await.unwrap()
    }

    async fn read(&self) -> Tx {
        self.metastore.read().await.unwrap()
    }

    fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(START))
}

fn account(n: u32) -> AccountId {
    format!("{n:012}").parse().unwrap()
}

fn tokyo() -> Region {
    "ap-northeast-1".parse().unwrap()
}

fn virginia() -> Region {
    "us-east-1".parse().unwrap()
}

async fn sqlite_file() -> World {
    let place = tempfile::tempdir().unwrap();
    let clock = clock();
    let path = place.path().join("meta/katagami.db");
    let metastore = Metastore::open(&path, clock.clone()).await.unwrap();
    World::over(metastore, clock, Some(place))
}

async fn sqlite_in_memory() -> World {
    let clock = clock();
    World::over(Metastore::in_memory(clock.clone()).await.unwrap(), clock, None)
}

/// Runs every test of the suite over one engine. A test that is not listed is unused code, which is an error.
macro_rules! metastore_test_suite {
    ($($engine:ident),*) => {$(
        mod $engine {
            metastore_test_suite! { @tests $engine,
                accounts: [names_and_ids_are_unique, access_keys_belong_to_accounts, domains_keep_their_secrets,
                    settings_are_replaced]
                bookkeeping: [client_tokens_remember_answers, audit_pages_in_order_and_purges_in_bounds,
                    upload_blocks_come_in_order]
                every_table: [a_row_in_every_table_is_read_dumped_and_reset]
                images: [an_image_round_trips, names_are_unique_in_an_owners_region, visible_images_are_owned_public_or_shared,
                    images_are_searched_by_their_keys, permissions_follow_the_noun, a_deleted_image_leaves_a_tombstone, images_are_found_by_snapshot,
                    updating_a_missing_image_is_not_found, ten_thousand_visible_images]
                instances: [an_instance_round_trips, addresses_are_held_until_termination, groups_are_in_use_until_termination,
                    instances_are_found_by_state, purged_instances_are_gone]
                job_model: [jobs_behave_as_the_model]
                jobs: [one_live_job_a_key, the_oldest_due_job_is_claimed_first, a_lease_that_ran_out_is_stolen_and_fences_the_loser,
                    another_step_starts_over, a_failed_step_counts_attempts, a_heartbeat_holds_the_claim,
                    a_settled_claim_cannot_settle_again, due_times_are_told, released_jobs_are_due_again,
                    numbers_are_not_reused_after_reset]
                network: [key_pairs_are_found_by_name, one_default_vpc_a_region, subnets_are_found_by_vpc,
                    security_groups_keep_their_rules]
                snapshots: [snapshots_are_found_by_owner_volume_and_upload]
                store: [a_dropped_transaction_leaves_nothing, a_reader_sees_one_moment, readers_do_not_wait_for_the_writer,
                    writers_take_turns_in_order, a_read_transaction_cannot_write, reset_keeps_what_it_is_told,
                    dumps_are_deterministic_and_hide_secrets, the_store_is_used_from_many_tasks]
                tags: [tags_are_put_replaced_and_deleted, tags_of_many_resources, tags_are_listed_by_account_and_region]
                volumes: [volumes_are_found_by_owner_and_instance]
            }
        }
    )*};
    (@tests $engine:ident, $($module:ident: [$($test:ident),* $(,)?])*) => {$($(
        #[tokio::test]
        async fn $test() {
            crate::$module::$test(crate::$engine().await).await;
        }
    )*)*};
}

metastore_test_suite!(sqlite_file, sqlite_in_memory);
