//! The time service at 169.254.169.123: one NTP answer a question, from the host's clock.

use model::Timestamp;

pub(crate) const PORT: u16 = 123;
const MESSAGE_LEN: usize = 48;
const MODE_CLIENT: u8 = 3;
const MODE_SERVER: u8 = 4;
/// Below the servers that the host itself follows.
const STRATUM: u8 = 4;
/// The clock's resolution as a power of two in seconds: -10, about a millisecond.
const PRECISION: u8 = 0xf6;
const REFERENCE: [u8; 4] = *b"HOST";
/// From 1900, where NTP begins, to 1970.
const UNIX_EPOCH_SECONDS: i64 = 2_208_988_800;

/// The answer to one client message (RFC 5905); None for anything else.
pub(crate) fn answer(question: &[u8], now: Timestamp) -> Option<[u8; MESSAGE_LEN]> {
    let question = question.first_chunk::<MESSAGE_LEN>()?;
    let [first, _, poll, ..] = *question;
    if first & 0x07 != MODE_CLIENT {
        return None;
    }
    let now = ntp_timestamp(now);
    let parts: [&[u8]; 7] = [
        // The client's version, and no warning of a leap second.
        &[first & 0x38 | MODE_SERVER, STRATUM, poll, PRECISION],
        // Delay and dispersion of the root: unknown, taken as none.
        &[0; 8],
        &REFERENCE,
        &now,
        // When the client sent its question, in its own words.
        question.last_chunk::<8>()?,
        &now,
        &now,
    ];
    parts.concat().try_into().ok()
}

/// Seconds since 1900 and their fraction, in 32 bits each.
fn ntp_timestamp(at: Timestamp) -> [u8; 8] {
    let seconds = at.as_secs() + UNIX_EPOCH_SECONDS;
    let fraction = (at.as_millis().rem_euclid(1000) << 32) / 1000;
    // The seconds wrap around in 2036, as the format has it.
    ((seconds << 32) | fraction).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_its_own_time_back_and_the_hosts() {
        let mut question = [0; MESSAGE_LEN];
        question[0] = 0x23;
        question[40..].copy_from_slice(b"origints");
        let now = Timestamp::parse_iso8601("2026-11-21T08:22:07.500Z").unwrap();
        let answer = answer(&question, now).unwrap();
        assert_eq!(answer[..4], [0x24, STRATUM, 0, PRECISION]);
        assert_eq!(&answer[24..32], b"origints");
        let seconds = u32::from_be_bytes(answer[40..44].try_into().unwrap());
        assert_eq!(i64::from(seconds) - UNIX_EPOCH_SECONDS, now.as_secs());
        assert_eq!(answer[44..], [0x80, 0, 0, 0]);
    }

    #[test]
    fn only_client_messages_are_answered() {
        assert_eq!(answer(&[0x23; 47], Timestamp(0)), None);
        assert_eq!(answer(&[0x24; 48], Timestamp(0)), None);
    }
}
