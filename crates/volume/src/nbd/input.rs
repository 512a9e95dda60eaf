//! The bytes that a client sent, and the requests in them.

use std::ops::Range;

use super::protocol::{Command, REQUEST_BYTES_MAX, REQUEST_HEADER_BYTES, Request};

/// Room for many small requests; larger ones get what they need while they are there.
const INPUT_BYTES: usize = 256 << 10;

#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    /// What is there and not yet looked at.
    unread: Range<usize>,
    /// Bytes of the first of these requests, as far as known.
    wanted: usize,
}

/// What comes next of the conversation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A request, and where its payload is.
    Request(Request, Range<usize>),
    /// It is not all there yet.
    More,
    /// The client says goodbye, or nothing sensible.
    End,
}

impl Input {
    pub(super) fn next(&mut self) -> Next {
        self.wanted = REQUEST_HEADER_BYTES;
        let unread = self.bytes.get(self.unread.clone()).unwrap_or_default();
        let Some((header, _)) = unread.split_first_chunk() else { return Next::More };
        let Some(request) = Request::parse(*header) else { return Next::End };
        let payload_bytes = match request.command {
            Command::Disconnect => return Next::End,
            // A payload that is too large to hold cannot be skipped at a reasonable price either.
            Command::Write if request.len_bytes > REQUEST_BYTES_MAX => return Next::End,
            Command::Write => request.len_bytes as usize,
            Command::Read
            | Command::Flush
            | Command::Trim
            | Command::Cache
            | Command::WriteZeroes
            | Command::BlockStatus
            | Command::Unknown => 0,
        };
        self.wanted += payload_bytes;
        if unread.len() < self.wanted {
            return Next::More;
        }
        let payload = self.unread.start + REQUEST_HEADER_BYTES..self.unread.start + self.wanted;
        self.unread.start = payload.end;
        Next::Request(request, payload)
    }

    /// Valid until the next call of [`Self::room`].
    pub(super) fn payload(&self, at: Range<usize>) -> &[u8] {
        self.bytes.get(at).unwrap_or_default()
    }

    /// Where further bytes go: never empty, and enough for the request that is not all there.
    pub(super) fn room(&mut self) -> &mut [u8] {
        let is_cramped =
            self.bytes.len() - self.unread.start < self.wanted || self.unread.end == self.bytes.len();
        if self.unread.is_empty() || is_cramped {
            self.bytes.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
        }
        let len = INPUT_BYTES.max(self.wanted);
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        } else if self.unread.is_empty() && self.bytes.len() > len {
            self.bytes.truncate(len);
            self.bytes.shrink_to_fit();
        }
        self.bytes.get_mut(self.unread.end..).unwrap_or_default()
    }

    /// So many bytes were put into the room.
    pub(super) fn received(&mut self, count: usize) {
        self.unread.end += count;
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn request(command: u16, len: u32) -> Vec<u8> {
        let parts: [&[u8]; 6] = [
            &0x2560_9513_u32.to_be_bytes(),
            &0_u16.to_be_bytes(),
            &command.to_be_bytes(),
            &7_u64.to_be_bytes(),
            &0_u64.to_be_bytes(),
            &len.to_be_bytes(),
        ];
        parts.concat()
    }

    proptest! {
        #[test]
        fn requests_are_the_same_however_they_are_cut(
            lens in vec(prop_oneof![0_u32..9000, 200_000_u32..700_000], 1..12),
            cuts in vec(1_usize..100_000, 1..20),
        ) {
            let mut sent = Vec::new();
            for (number, len) in lens.iter().enumerate() {
                sent.extend(request(1, *len));
                sent.extend(std::iter::repeat_n(u8::try_from(number).unwrap(), *len as usize));
                sent.extend(request(0, *len));
            }
            let (mut input, mut found) = (Input::default(), Vec::new());
            let mut rest = sent.as_slice();
            for cut in cuts.iter().cycle() {
                loop {
                    match input.next() {
                        Next::Request(request, payload) => found.push((request, input.payload(payload).to_vec())),
                        Next::More => break,
                        Next::End => panic!("the end of a sensible conversation"),
                    }
                }
                if rest.is_empty() {
                    break;
                }
                let room = input.room();
                prop_assert!(!room.is_empty());
                let count = room.len().min(*cut).min(rest.len());
                room[..count].copy_from_slice(&rest[..count]);
                input.received(count);
                rest = &rest[count..];
            }
            prop_assert_eq!(found.len(), 2 * lens.len());
            for (number, (pair, len)) in found.chunks(2).zip(&lens).enumerate() {
                prop_assert_eq!((pair[0].0.command, pair[1].0.command), (Command::Write, Command::Read));
                prop_assert_eq!(pair[0].1.len(), *len as usize);
                prop_assert!(pair[0].1.iter().all(|byte| usize::from(*byte) == number));
                prop_assert_eq!(pair[1].1.len(), 0);
            }
        }

        #[test]
        fn any_bytes_end_the_conversation_or_wait_for_more(bytes in vec(any::<u8>(), 0..200)) {
            let mut input = Input::default();
            input.room()[..bytes.len()].copy_from_slice(&bytes);
            input.received(bytes.len());
            let wanted = if bytes.len() < REQUEST_HEADER_BYTES { Next::More } else { Next::End };
            prop_assert_eq!(input.next(), wanted);
        }
    }
}
