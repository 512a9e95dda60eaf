//! Pages: `MaxResults`, and tokens that continue exactly the listing that gave them.
//!
//! A token holds the place where the next page begins, authenticated together with the account,
//! region, action and all other parameters of the request. Nothing is stored, a token of one caller
//! says nothing to another, and a listing goes on rightly while items come and go.

use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use model::{Code, Fault};
use sha2::Sha256;

use crate::FromQuery;

/// Parameters that choose the page and not what is listed: left out of the digest in [`Listing`].
pub const PARAMETERS: &[&str] = &["MaxResults", "NextToken"];

const MAC_BYTES: usize = 16;

/// Longer tokens are none of ours.
const TOKEN_BYTES_MAX: usize = 1024;

/// `MaxResults` and `NextToken`, to be flattened into a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, FromQuery)]
pub struct Paging {
    pub max_results: Option<i32>,
    pub next_token: Option<String>,
}

impl Paging {
    /// EC2 does not page a listing of named resources: `ids` is the parameter that names them.
    pub fn refuse_with_ids(&self, ids: &str, given: bool) -> Result<(), Fault> {
        if given && self.max_results.is_some() {
            let message = format!("The parameter {ids} cannot be used with the parameter maxResults");
            return Err(Fault::new(Code::InvalidParameterCombination, message));
        }
        Ok(())
    }

    /// How many items a page holds at most; None when the caller wants all. `bounds` is mostly
    /// [`model::limits::PAGE_RESULTS`].
    pub fn size(&self, bounds: &RangeInclusive<u32>) -> Result<Option<usize>, Fault> {
        let Some(given) = self.max_results else { return Ok(None) };
        match u32::try_from(given) {
            Ok(size) if bounds.contains(&size) => Ok(usize::try_from(size).ok()),
            _ => {
                let (least, most) = (bounds.start(), bounds.end());
                let message = format!(
                    "Value ( {given} ) for parameter maxResults is invalid. \
                     Expecting a value between {least} and {most}."
                );
                Err(Fault::new(Code::InvalidMaxResults, message))
            }
        }
    }
}

/// One listing of one caller: what its tokens are bound to.
#[derive(Clone, Copy)]
pub struct Listing<'a> {
    /// Secret of the service.
    pub key: &'a [u8; 32],
    pub account: &'a str,
    pub region: &'a str,
    pub action: &'a str,
    /// Of all parameters but [`PARAMETERS`] and the common ones: `Params::digest`.
    pub query: [u8; 32],
}

impl std::fmt::Debug for Listing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listing").field("action", &self.action).finish_non_exhaustive()
    }
}

/// Some of the items, and how to go on; no token on the last page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next_token: Option<String>,
}

/// The part of a listing that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The key of the last item that was given before.
    pub after: Option<String>,
    /// How many items the page holds at most; None for all that are left.
    pub size: Option<usize>,
}

impl Listing<'_> {
    /// The page that `paging` asks for out of all items. `key_of` gives each item a name of its own,
    /// by which the listing is sorted.
    pub fn page<T>(
        &self,
        paging: &Paging,
        bounds: &RangeInclusive<u32>,
        mut items: Vec<T>,
        key_of: impl Fn(&T) -> String,
    ) -> Result<Page<T>, Fault> {
        let window = self.window(paging, bounds)?;
        items.sort_by_cached_key(&key_of);
        if let Some(after) = &window.after {
            let passed = items.partition_point(|item| key_of(item) <= *after);
            items.drain(..passed);
        }
        Ok(self.cut(&window, items, key_of))
    }

    /// For a listing that is not read as a whole: where its page begins, and what it holds.
    pub fn window(&self, paging: &Paging, bounds: &RangeInclusive<u32>) -> Result<Window, Fault> {
        let size = paging.size(bounds)?;
        let after = paging.next_token.as_deref().map(|token| self.open(token)).transpose()?;
        Ok(Window { after, size })
    }

    /// The page of a window, out of items that are sorted by their keys and begin where it does. One more
    /// than its size, if there is one, tells that the listing goes on.
    pub fn cut<T>(&self, window: &Window, mut items: Vec<T>, key_of: impl Fn(&T) -> String) -> Page<T> {
        let size = window.size.unwrap_or(usize::MAX);
        let more = items.len() > size;
        items.truncate(size);
        let last = items.last().filter(|_| more);
        let next_token = last.map(|item| self.seal(&key_of(item)));
        Page { items, next_token }
    }

    /// A token for `place`, such as the key of the last item given.
    pub fn seal(&self, place: &str) -> String {
        let mac = self.mac(place).finalize().into_bytes();
        let mut bytes = mac.get(..MAC_BYTES).unwrap_or_default().to_vec();
        bytes.extend_from_slice(place.as_bytes());
        STANDARD.encode(bytes)
    }

    /// The place in a token that this listing gave.
    pub fn open(&self, token: &str) -> Result<String, Fault> {
        let opened = (token.len() <= TOKEN_BYTES_MAX).then(|| self.try_open(token)).flatten();
        opened.ok_or_else(|| Fault::new(Code::InvalidNextToken, "The token is not valid for this request"))
    }

    fn try_open(&self, token: &str) -> Option<String> {
        let bytes = STANDARD.decode(token).ok()?;
        let (mac, place) = bytes.split_at_checked(MAC_BYTES)?;
        let place = std::str::from_utf8(place).ok()?;
        self.mac(place).verify_truncated_left(mac).ok()?;
        Some(place.to_owned())
    }

    fn mac(&self, place: &str) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key).expect("HMAC takes keys of any length");
        for part in [self.account, self.region, self.action, place] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.chain_update(self.query)
    }
}

#[cfg(test)]
mod tests {
    use model::limits::PAGE_RESULTS;
    use proptest::prelude::*;

    use super::*;

    const LISTING: Listing<'static> = Listing {
        key: &[7; 32],
        account: "111122223333",
        region: "us-east-1",
        action: "DescribeImages",
        query: [1; 32],
    };

    fn ask(max_results: Option<i32>, next_token: Option<String>) -> Paging {
        Paging { max_results, next_token }
    }

    fn keys(items: &[&'static str], paging: &Paging) -> Result<Page<&'static str>, Fault> {
        LISTING.page(paging, &(1..=3), items.to_vec(), |item| (*item).to_owned())
    }

    #[test]
    fn a_listing_goes_on_where_it_stopped_though_items_come_and_go() {
        let first = keys(&["d", "a", "c", "b"], &ask(Some(2), None)).unwrap();
        assert_eq!(first.items, ["a", "b"]);
        let second = keys(&["bb", "d", "a"], &ask(Some(3), first.next_token.clone())).unwrap();
        assert_eq!(second, Page { items: vec!["bb", "d"], next_token: None });
        let rest = keys(&["a", "b", "c"], &ask(None, first.next_token)).unwrap();
        assert_eq!(rest.items, ["c"]);
        assert_eq!(keys(&["a", "b"], &ask(Some(2), None)).unwrap().next_token, None);
        assert_eq!(keys(&["b", "a"], &ask(None, None)).unwrap().items, ["a", "b"]);
    }

    #[test]
    fn a_token_is_good_only_for_its_own_listing() {
        let token = LISTING.seal("ami-1");
        assert_eq!(LISTING.open(&token).as_deref(), Ok("ami-1"));
        let others = [
            Listing { key: &[8; 32], ..LISTING },
            Listing { account: "111122223334", ..LISTING },
            Listing { region: "us-west-2", ..LISTING },
            Listing { action: "DescribeVolumes", ..LISTING },
            Listing { query: [2; 32], ..LISTING },
        ];
        for other in others {
            assert_eq!(other.open(&token).unwrap_err().code, Code::InvalidNextToken);
        }
        assert_eq!(keys(&[], &ask(Some(2), Some("x".into()))).unwrap_err().code, Code::InvalidNextToken);
    }

    #[test]
    fn sizes_have_bounds() {
        for bad in [4, 0, -1, 1001, i32::MAX, i32::MIN] {
            assert_eq!(ask(Some(bad), None).size(&PAGE_RESULTS).unwrap_err().code, Code::InvalidMaxResults);
        }
        assert_eq!(ask(Some(5), None).size(&PAGE_RESULTS), Ok(Some(5)));
        assert_eq!(ask(None, None).size(&PAGE_RESULTS), Ok(None));
        let fault = ask(Some(5), None).refuse_with_ids("imagesSet", true).unwrap_err();
        assert_eq!(fault.message, "The parameter imagesSet cannot be used with the parameter maxResults");
        assert_eq!(ask(None, None).refuse_with_ids("imagesSet", true), Ok(()));
    }

    proptest! {
        #[test]
        fn damaged_tokens_are_refused(place in "[a-z0-9-]{0,30}", bit in any::<usize>()) {
            let mut bytes = STANDARD.decode(LISTING.seal(&place)).unwrap();
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(LISTING.open(&STANDARD.encode(bytes)).is_err());
        }

        #[test]
        fn any_text_is_refused_as_a_token(text in "\\PC{0,60}") {
            prop_assert!(LISTING.open(&text).is_err());
        }
    }
}
