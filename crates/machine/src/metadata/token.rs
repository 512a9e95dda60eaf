//! Session tokens of the metadata service. Nothing is kept for a token: it carries its end, sealed with a key
//! that only this run of the machine knows.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use model::{Clock, IdGen};

/// End in milliseconds of the monotonic clock, random bytes, seal: 56 characters of base64.
const END_BYTES: usize = 8;
const NONCE_BYTES: usize = 10;
const SEAL_BYTES: usize = 24;
const TOKEN_BYTES: usize = END_BYTES + NONCE_BYTES + SEAL_BYTES;

#[derive(Debug)]
pub(crate) struct Tokens {
    key: Key,
}

struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Tokens {
    pub(crate) fn new(ids: &dyn IdGen) -> Self {
        Self { key: Key(model::id_gen::random_bytes(ids)) }
    }

    pub(crate) fn issue(&self, ttl: Duration, clock: &dyn Clock, ids: &dyn IdGen) -> String {
        let end_ms = u64::try_from((clock.monotonic() + ttl).as_millis()).unwrap_or(u64::MAX);
        let mut token = Vec::with_capacity(TOKEN_BYTES);
        token.extend(end_ms.to_be_bytes());
        token.extend(model::id_gen::random_bytes::<NONCE_BYTES>(ids));
        let seal = self.seal(&token);
        token.extend(seal);
        URL_SAFE.encode(token)
    }

    /// How long the token still lives; None for one that ended or that this machine did not issue.
    pub(crate) fn check(&self, token: &str, clock: &dyn Clock) -> Option<Duration> {
        let bytes: [u8; TOKEN_BYTES] = URL_SAFE.decode(token).ok()?.try_into().ok()?;
        let (body, seal) = bytes.split_last_chunk::<SEAL_BYTES>()?;
        if !constant_time_eq(&self.seal(body), seal) {
            return None;
        }
        let end = Duration::from_millis(u64::from_be_bytes(*body.first_chunk()?));
        end.checked_sub(clock.monotonic()).filter(|left| !left.is_zero())
    }

    fn seal(&self, body: &[u8]) -> [u8; SEAL_BYTES] {
        let hash = blake3::keyed_hash(&self.key.0, body);
        let mut seal = [0; SEAL_BYTES];
        seal.copy_from_slice(hash.as_bytes().first_chunk::<SEAL_BYTES>().unwrap_or(&[0; SEAL_BYTES]));
        seal
    }
}

fn constant_time_eq(a: &[u8; SEAL_BYTES], b: &[u8; SEAL_BYTES]) -> bool {
    a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use model::{ManualClock, SeededIdGen, Timestamp};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_lives_exactly_its_time_and_only_in_its_machine() {
        let (clock, ids) = (ManualClock::at(Timestamp(0)), SeededIdGen::new(1));
        let (mine, other) = (Tokens::new(&ids), Tokens::new(&ids));
        let token = mine.issue(Duration::from_secs(6), &clock, &ids);
        assert_eq!(token.len(), 56);
        assert_eq!(mine.check(&token, &clock), Some(Duration::from_secs(6)));
        assert_eq!(other.check(&token, &clock), None);
        clock.advance(Duration::from_millis(5999));
        assert_eq!(mine.check(&token, &clock), Some(Duration::from_millis(1)));
        clock.advance(Duration::from_millis(1));
        assert_eq!(mine.check(&token, &clock), None);
    }

    proptest! {
        #[test]
        fn no_changed_token_is_taken(position in 0_usize..56, to in "[A-Za-z0-9_-]", noise in "\\PC{0,80}") {
            let (clock, ids) = (ManualClock::at(Timestamp(0)), SeededIdGen::new(1));
            let tokens = Tokens::new(&ids);
            let token = tokens.issue(Duration::from_mins(1), &clock, &ids);
            let mut changed = token.clone();
            changed.replace_range(position..=position, &to);
            prop_assert_eq!(tokens.check(&changed, &clock).is_some(), changed == token);
            prop_assert_eq!(tokens.check(&noise, &clock), None);
        }
    }
}
