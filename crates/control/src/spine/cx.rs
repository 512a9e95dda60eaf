//! What an operation sees: the caller, the transaction behind look-ups, and the effects.

use std::ops::RangeInclusive;

use metastore::Tx;
use wire::page::{Listing, Page, Paging, Window};

use model::{AccountId, AvailabilityZone, Region, ResourceType, Tag, Timestamp};

use super::env::Env;
use super::granted::Creation;
use super::write::Write;
use crate::failure::Failure;

/// Who calls, and where.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) account: AccountId,
    pub(crate) region: Region,
    pub(crate) request_id: String,
}

/// What is asked, apart from by whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(in crate::spine) action: &'static str,
    /// Digest of the parameters that choose what is listed; page tokens are bound to it.
    pub(in crate::spine) query: [u8; 32],
    pub(in crate::spine) dry_run: bool,
}

/// The context of one run of one operation. Look-ups are in `spine::resources`, one file a noun.
#[derive(Debug)]
pub(crate) struct Cx<'t> {
    pub(in crate::spine) tx: &'t mut Tx,
    pub(in crate::spine) caller: &'t Caller,
    pub(in crate::spine) env: &'t Env,
    asked: Asked,
    pub(in crate::spine) enqueued: bool,
}

impl<'t> Cx<'t> {
    pub(in crate::spine) fn new(tx: &'t mut Tx, caller: &'t Caller, env: &'t Env, asked: Asked) -> Self {
        Self { tx, caller, env, asked, enqueued: false }
    }

    pub(crate) fn account(&self) -> &AccountId {
        &self.caller.account
    }

    pub(crate) fn region(&self) -> Region {
        self.caller.region
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.env.clock.now()
    }

    pub(crate) fn env(&self) -> &Env {
        self.env
    }

    /// The zone that a caller without a wish gets.
    pub(crate) fn first_zone(&self) -> AvailabilityZone {
        self.region().zones().next().expect("every region has zones")
    }

    /// Whether the caller may create a resource of this kind carrying `tags`.
    pub(crate) fn may_create(&self, resource_type: ResourceType, tags: &[Tag]) -> Result<Creation, Failure> {
        super::resources::tags::check_new_tags(tags)?;
        Ok(Creation { owner_id: self.caller.account.clone(), resource_type, tags: tags.to_vec() })
    }

    /// One page of a listing that is sorted by `key`.
    pub(crate) fn page<T>(
        &self,
        items: Vec<T>,
        paging: &Paging,
        key: impl Fn(&T) -> String,
    ) -> Result<Page<T>, Failure> {
        self.page_within(&model::limits::PAGE_RESULTS, items, paging, key)
    }

    /// The same for an action whose pages have other bounds than most.
    pub(crate) fn page_within<T>(
        &self,
        bounds: &RangeInclusive<u32>,
        items: Vec<T>,
        paging: &Paging,
        key: impl Fn(&T) -> String,
    ) -> Result<Page<T>, Failure> {
        Ok(self.listing().page(paging, bounds, items, key)?)
    }

    /// Where the page begins and what it holds, for a listing that is not read as a whole.
    pub(crate) fn window(&self, paging: &Paging) -> Result<Window, Failure> {
        Ok(self.listing().window(paging, &model::limits::PAGE_RESULTS)?)
    }

    /// The page of a window, out of items that begin where it does, sorted by `key`.
    pub(crate) fn cut<T>(&self, window: &Window, items: Vec<T>, key: impl Fn(&T) -> String) -> Page<T> {
        self.listing().cut(window, items, key)
    }

    fn listing(&self) -> Listing<'_> {
        Listing {
            key: &self.env.token_key,
            account: self.caller.account.as_str(),
            region: self.caller.region.as_str(),
            action: self.asked.action,
            query: self.asked.query,
        }
    }

    /// Ends a dry run; otherwise the only way to a writer.
    pub(crate) fn commit_point(&mut self) -> Result<Write<'_, 't>, Failure> {
        if self.asked.dry_run { Err(Failure::dry_run()) } else { Ok(Write::new(self)) }
    }
}
