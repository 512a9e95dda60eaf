//! Tokens: one opens one block of one content for a week, another continues one listing.

use std::time::Duration;

use model::Timestamp;
use sha2::{Digest, Sha256};
use wire::page::Listing;

use super::content::Content;
use super::cx::BlockCx;
use crate::failure::BlockFailure;

/// How long a block token opens its block.
const BLOCK_TOKEN_LIFETIME: Duration = Duration::from_hours(7 * 24);

/// Bound to what the block's bytes follow from, so that no other block answers to it.
const BLOCK_TOKEN: &str = "block token";

impl BlockCx<'_> {
    /// When block tokens that are made now end.
    pub(crate) fn block_token_expiry(&self) -> Timestamp {
        self.now().plus(BLOCK_TOKEN_LIFETIME)
    }

    pub(crate) fn block_token(&self, content: &Content, block_index: u32, expiry: Timestamp) -> String {
        self.block_listing(content, block_index).seal(&expiry.as_secs().to_string())
    }

    pub(crate) fn check_block_token(
        &self,
        content: &Content,
        block_index: u32,
        token: &str,
    ) -> Result<(), BlockFailure> {
        let opened = self.block_listing(content, block_index).open(token).ok();
        let expiry: i64 = opened.and_then(|text| text.parse().ok()).ok_or_else(BlockFailure::block_token)?;
        if self.now().as_secs() < expiry { Ok(()) } else { Err(BlockFailure::block_token_expired()) }
    }

    /// A token for the page that begins with a block.
    pub(crate) fn page_token(&self, of: &[&Content], block_index: u32) -> String {
        self.page_listing(of).seal(&block_index.to_string())
    }

    /// Where a page begins: a token goes before what the caller says otherwise.
    pub(crate) fn page_start(
        &self,
        of: &[&Content],
        token: Option<&str>,
        starting_block_index: Option<u32>,
    ) -> Result<u32, BlockFailure> {
        let Some(token) = token else { return Ok(starting_block_index.unwrap_or(0)) };
        let opened = self.page_listing(of).open(token).ok();
        opened.and_then(|text| text.parse().ok()).ok_or_else(BlockFailure::page_token)
    }

    fn block_listing(&self, content: &Content, block_index: u32) -> Listing<'_> {
        self.listing(BLOCK_TOKEN, digest(&[content], &block_index.to_be_bytes()))
    }

    fn page_listing(&self, of: &[&Content]) -> Listing<'_> {
        self.listing(self.action(), digest(of, &[]))
    }

    fn listing<'l>(&'l self, action: &'l str, query: [u8; 32]) -> Listing<'l> {
        Listing {
            key: &self.dispatcher.env.token_key,
            account: self.caller.account.as_str(),
            region: self.caller.region.as_str(),
            action,
            query,
        }
    }
}

fn digest(of: &[&Content], rest: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for content in of {
        digest.update(content.snapshot.snapshot_id.as_str());
        digest.update([0]);
        digest.update(content.root.to_string());
        digest.update([0]);
    }
    digest.update(rest);
    digest.finalize().into()
}
