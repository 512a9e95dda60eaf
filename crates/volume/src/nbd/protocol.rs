//! The numbers of the NBD protocol and the shapes of its messages.

/// Commands and options larger than these are hostile or broken.
pub(super) const REQUEST_BYTES_MAX: u32 = 32 << 20;
pub(super) const OPTION_BYTES_MAX: u32 = 64 << 10;
pub(super) const BLOCK_BYTES_MIN: u32 = 512;
pub(super) const BLOCK_BYTES_PREFERRED: u32 = 4096;

pub(super) const GREETING: &[u8; 8] = b"NBDMAGIC";
pub(super) const OPTION_MAGIC: &[u8; 8] = b"IHAVEOPT";
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;
pub(super) const REQUEST_HEADER_BYTES: usize = 28;

pub(super) mod handshake_flag {
    pub(in super::super) const FIXED_NEWSTYLE: u16 = 1;
    pub(in super::super) const NO_ZEROES: u16 = 2;
}

pub(super) mod option {
    pub(in super::super) const EXPORT_NAME: u32 = 1;
    pub(in super::super) const ABORT: u32 = 2;
    pub(in super::super) const LIST: u32 = 3;
    pub(in super::super) const INFO: u32 = 6;
    pub(in super::super) const GO: u32 = 7;
    pub(in super::super) const STRUCTURED_REPLY: u32 = 8;
    pub(in super::super) const LIST_META_CONTEXT: u32 = 9;
    pub(in super::super) const SET_META_CONTEXT: u32 = 10;
}

pub(super) mod option_reply {
    pub(in super::super) const ACK: u32 = 1;
    pub(in super::super) const SERVER: u32 = 2;
    pub(in super::super) const INFO: u32 = 3;
    pub(in super::super) const META_CONTEXT: u32 = 4;
    pub(in super::super) const ERR_UNSUPPORTED: u32 = (1 << 31) + 1;
    pub(in super::super) const ERR_INVALID: u32 = (1 << 31) + 3;
    pub(in super::super) const ERR_UNKNOWN: u32 = (1 << 31) + 6;
}

pub(super) mod info {
    pub(in super::super) const EXPORT: u16 = 0;
    pub(in super::super) const NAME: u16 = 1;
    pub(in super::super) const BLOCK_SIZE: u16 = 3;
}

pub(super) mod export_flag {
    const HAS_FLAGS: u16 = 1;
    const READ_ONLY: u16 = 1 << 1;
    const SEND_FLUSH: u16 = 1 << 2;
    const SEND_FUA: u16 = 1 << 3;
    const SEND_TRIM: u16 = 1 << 5;
    const SEND_WRITE_ZEROES: u16 = 1 << 6;
    const SEND_DF: u16 = 1 << 7;
    const CAN_MULTI_CONN: u16 = 1 << 8;
    const SEND_CACHE: u16 = 1 << 10;
    const SEND_FAST_ZERO: u16 = 1 << 11;

    /// One log covers all connections, so that a flush on one covers the writes of all.
    pub(in super::super) const fn all(read_only: bool) -> u16 {
        let both = HAS_FLAGS | SEND_DF | CAN_MULTI_CONN | SEND_CACHE | SEND_FLUSH;
        if read_only {
            return both | READ_ONLY;
        }
        both | SEND_FUA | SEND_TRIM | SEND_WRITE_ZEROES | SEND_FAST_ZERO
    }
}

pub(super) mod errno {
    pub(in super::super) const PERM: u32 = 1;
    pub(in super::super) const IO: u32 = 5;
    pub(in super::super) const INVALID: u32 = 22;
    pub(in super::super) const NO_SPACE: u32 = 28;
}

pub(super) mod command_flag {
    pub(in super::super) const FUA: u16 = 1;
    pub(in super::super) const REQUEST_ONE: u16 = 1 << 3;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Read,
    Write,
    Disconnect,
    Flush,
    Trim,
    Cache,
    WriteZeroes,
    BlockStatus,
    Unknown,
}

impl Command {
    const fn from_number(number: u16) -> Self {
        match number {
            0 => Self::Read,
            1 => Self::Write,
            2 => Self::Disconnect,
            3 => Self::Flush,
            4 => Self::Trim,
            5 => Self::Cache,
            6 => Self::WriteZeroes,
            7 => Self::BlockStatus,
            _ => Self::Unknown,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) flags: u16,
    pub(super) command: Command,
    pub(super) cookie: u64,
    pub(super) offset_bytes: u64,
    pub(super) len_bytes: u32,
}

impl Request {
    /// None when the stream is out of step, after which nothing on it can be trusted.
    pub(super) fn parse(header: [u8; REQUEST_HEADER_BYTES]) -> Option<Self> {
        let mut fields = Fields(&header);
        (fields.u32()? == REQUEST_MAGIC).then_some(())?;
        Some(Self {
            flags: fields.u16()?,
            command: Command::from_number(fields.u16()?),
            cookie: fields.u64()?,
            offset_bytes: fields.u64()?,
            len_bytes: fields.u32()?,
        })
    }
}

/// Big-endian fields, front to back; None past the end.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.bytes(2)?.try_into().ok()?))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.bytes(8)?.try_into().ok()?))
    }

    /// A string after its length.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        let len = self.u32()?;
        std::str::from_utf8(self.bytes(usize::try_from(len).ok()?)?).ok()
    }
}

pub(super) fn option_reply(option: u32, kind: u32, payload: &[&[u8]]) -> Vec<u8> {
    let payload = payload.concat();
    let mut reply = Vec::with_capacity(20 + payload.len());
    reply.extend_from_slice(&OPTION_REPLY_MAGIC.to_be_bytes());
    reply.extend_from_slice(&option.to_be_bytes());
    reply.extend_from_slice(&kind.to_be_bytes());
    reply.extend_from_slice(&wire_len(payload.len()));
    reply.extend_from_slice(&payload);
    reply
}

/// A string's length and bytes.
pub(super) fn wire_len(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()
}

pub(super) fn simple_reply(replies: &mut Vec<u8>, cookie: u64, error: u32) {
    replies.extend_from_slice(&SIMPLE_REPLY_MAGIC.to_be_bytes());
    replies.extend_from_slice(&error.to_be_bytes());
    replies.extend_from_slice(&cookie.to_be_bytes());
}

pub(super) mod chunk {
    pub(in super::super) const NONE: u16 = 0;
    pub(in super::super) const OFFSET_DATA: u16 = 1;
    pub(in super::super) const BLOCK_STATUS: u16 = 5;
    pub(in super::super) const ERROR: u16 = (1 << 15) + 1;
}

/// Begins the only chunk of a structured reply, whose payload of `payload_bytes` the caller appends.
pub(super) fn structured_reply(replies: &mut Vec<u8>, cookie: u64, kind: u16, payload_bytes: usize) {
    const DONE: u16 = 1;
    replies.extend_from_slice(&STRUCTURED_REPLY_MAGIC.to_be_bytes());
    replies.extend_from_slice(&DONE.to_be_bytes());
    replies.extend_from_slice(&kind.to_be_bytes());
    replies.extend_from_slice(&cookie.to_be_bytes());
    replies.extend_from_slice(&wire_len(payload_bytes));
}
