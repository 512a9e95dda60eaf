//! Fixed newstyle negotiation: from a fresh connection to an agreed way of transmission.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::Export;
use super::protocol::{
    BLOCK_BYTES_MIN, BLOCK_BYTES_PREFERRED, Fields, GREETING, OPTION_BYTES_MAX, OPTION_MAGIC,
    REQUEST_BYTES_MAX, export_flag, handshake_flag, info, option, option_reply, wire_len,
};

/// A client that asks for more than this before it begins is up to no good.
const OPTIONS_MAX: usize = 1000;
const ALLOCATION: &str = "base:allocation";
/// Our number for `base:allocation` on every connection.
pub(super) const ALLOCATION_ID: u32 = 1;

/// What was agreed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Agreed {
    pub(super) structured_replies: bool,
    pub(super) block_status: bool,
}

/// Negotiates; None when the client left or was sent away.
pub(super) async fn negotiate(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    export: &Export,
    size_bytes: u64,
) -> io::Result<Option<Agreed>> {
    let ours = handshake_flag::FIXED_NEWSTYLE | handshake_flag::NO_ZEROES;
    stream.write_all(&[GREETING, OPTION_MAGIC, ours.to_be_bytes().as_slice()].concat()).await?;
    let theirs = stream.read_u32().await?;
    if theirs & !u32::from(ours) != 0 {
        return Ok(None);
    }
    let no_zeroes = theirs & u32::from(handshake_flag::NO_ZEROES) != 0;
    let mut negotiation = Negotiation { export, size_bytes, no_zeroes, agreed: Agreed::default() };
    for _ in 0..OPTIONS_MAX {
        let Some((option, data)) = read_option(stream).await? else { return Ok(None) };
        let (reply, next) = negotiation.answer(option, &data);
        stream.write_all(&reply).await?;
        match next {
            Next::Option => {}
            Next::Transmission => return Ok(Some(negotiation.agreed)),
            Next::Close => return Ok(None),
        }
    }
    Ok(None)
}

async fn read_option(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(u32, Vec<u8>)>> {
    let mut magic = [0; 8];
    stream.read_exact(&mut magic).await?;
    let option = stream.read_u32().await?;
    let len = stream.read_u32().await?;
    if magic != *OPTION_MAGIC || len > OPTION_BYTES_MAX {
        return Ok(None);
    }
    let mut data = vec![0; len as usize];
    stream.read_exact(&mut data).await?;
    Ok(Some((option, data)))
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Option,
    Transmission,
    Close,
}

struct Negotiation<'a> {
    export: &'a Export,
    size_bytes: u64,
    no_zeroes: bool,
    agreed: Agreed,
}

impl Negotiation<'_> {
    fn answer(&mut self, option: u32, data: &[u8]) -> (Vec<u8>, Next) {
        let simple = |kind| (option_reply(option, kind, &[]), Next::Option);
        match option {
            option::EXPORT_NAME => self.export_name(data),
            option::ABORT => (option_reply(option, option_reply::ACK, &[]), Next::Close),
            option::LIST if data.is_empty() => (self.list(), Next::Option),
            option::INFO | option::GO => self.info(option, data),
            option::STRUCTURED_REPLY if data.is_empty() => {
                self.agreed.structured_replies = true;
                simple(option_reply::ACK)
            }
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => {
                let reply = self.meta_context(option, data);
                reply.map_or_else(|| simple(option_reply::ERR_INVALID), |reply| (reply, Next::Option))
            }
            option::LIST | option::STRUCTURED_REPLY => simple(option_reply::ERR_INVALID),
            _ => simple(option_reply::ERR_UNSUPPORTED),
        }
    }

    fn is_ours(&self, name: &str) -> bool {
        name.is_empty() || name == self.export.name
    }

    fn flags(&self) -> u16 {
        export_flag::all(self.export.read_only)
    }

    /// The old way, which has no error reply.
    fn export_name(&self, data: &[u8]) -> (Vec<u8>, Next) {
        if !std::str::from_utf8(data).is_ok_and(|name| self.is_ours(name)) {
            return (Vec::new(), Next::Close);
        }
        let mut reply = self.size_bytes.to_be_bytes().to_vec();
        reply.extend_from_slice(&self.flags().to_be_bytes());
        if !self.no_zeroes {
            reply.extend_from_slice(&[0; 124]);
        }
        (reply, Next::Transmission)
    }

    fn list(&self) -> Vec<u8> {
        let name = self.export.name.as_bytes();
        let mut reply = option_reply(option::LIST, option_reply::SERVER, &[&wire_len(name.len()), name]);
        reply.extend(option_reply(option::LIST, option_reply::ACK, &[]));
        reply
    }

    fn info(&self, option: u32, data: &[u8]) -> (Vec<u8>, Next) {
        let mut fields = Fields(data);
        let name = fields.text();
        let wanted: Option<Vec<u16>> =
            fields.u16().and_then(|count| (0..count).map(|_| fields.u16()).collect());
        let (Some(name), Some(wanted), []) = (name, wanted, fields.0) else {
            return (option_reply(option, option_reply::ERR_INVALID, &[]), Next::Option);
        };
        if !self.is_ours(name) {
            return (option_reply(option, option_reply::ERR_UNKNOWN, &[]), Next::Option);
        }
        let (size, flags) = (self.size_bytes.to_be_bytes(), self.flags().to_be_bytes());
        let item = |kind: u16, rest: &[&[u8]]| {
            option_reply(option, option_reply::INFO, &[&kind.to_be_bytes(), &rest.concat()])
        };
        let mut reply = item(info::EXPORT, &[&size, &flags]);
        if wanted.contains(&info::NAME) {
            reply.extend(item(info::NAME, &[self.export.name.as_bytes()]));
        }
        let sizes = [BLOCK_BYTES_MIN, BLOCK_BYTES_PREFERRED, REQUEST_BYTES_MAX].map(u32::to_be_bytes);
        reply.extend(item(info::BLOCK_SIZE, &[sizes.as_flattened()]));
        reply.extend(option_reply(option, option_reply::ACK, &[]));
        (reply, if option == option::GO { Next::Transmission } else { Next::Option })
    }

    fn meta_context(&mut self, option: u32, data: &[u8]) -> Option<Vec<u8>> {
        let mut fields = Fields(data);
        let name = fields.text()?;
        let count = fields.u32()?;
        // Each query has at least its length, so the data bounds the count.
        let mut queries = Vec::new();
        for _ in 0..count {
            queries.push(fields.text()?);
        }
        let set = option == option::SET_META_CONTEXT;
        if !fields.0.is_empty() || (set && !self.agreed.structured_replies) {
            return None;
        }
        if !self.is_ours(name) {
            return Some(option_reply(option, option_reply::ERR_UNKNOWN, &[]));
        }
        let matches = queries.iter().any(|query| *query == ALLOCATION || (!set && *query == "base:"));
        let found = matches || (!set && queries.is_empty());
        let mut reply = Vec::new();
        if found {
            let id = if set { ALLOCATION_ID } else { 0 }.to_be_bytes();
            reply.extend(option_reply(option, option_reply::META_CONTEXT, &[&id, ALLOCATION.as_bytes()]));
        }
        if set {
            self.agreed.block_status = found;
        }
        reply.extend(option_reply(option, option_reply::ACK, &[]));
        Some(reply)
    }
}
