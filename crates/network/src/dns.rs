//! DNS: the instance's own names are answered here, everything else is carried to the host's
//! resolvers unread.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::config::{Config, METADATA_IP};
use crate::frame;
use crate::port::Shared;
use crate::switch::Unwanted;

pub(crate) const PORT: u16 = 53;
/// For each resolver, before the next is asked. Guests ask again after five seconds.
const RESOLVER_TIMEOUT: Duration = Duration::from_secs(3);
/// A guest that holds a connection open without asking.
const STREAM_IDLE: Duration = Duration::from_secs(30);
const MESSAGE_BYTES_MAX: usize = 65_535;
const HEADER_LEN: usize = 12;
const NAME_BYTES_MAX: usize = 253;
const TTL_SECONDS: u32 = 60;
const TYPE_A: u16 = 1;
const TYPE_PTR: u16 = 12;
const TYPE_ANY: u16 = 255;
const CLASS_IN: u16 = 1;
const SERVER_FAILURE: u8 = 2;
/// "Response, recursion available."
const FLAG_RESPONSE: u8 = 0x80;
const FLAG_AUTHORITATIVE: u8 = 0x04;
const FLAG_RECURSION_AVAILABLE: u8 = 0x80;
/// A name that is the question's own, at its fixed place.
const POINTER_TO_QUESTION: [u8; 2] = [0xc0, 0x0c];

/// Answers one UDP query, now or later.
pub(crate) fn begin(
    shared: &Arc<Shared>,
    to: SocketAddrV4,
    guest_port: u16,
    query: &[u8],
) -> Result<(), Unwanted> {
    if let Some(answer) = own_answer(&shared.config, query) {
        reply(shared, to, guest_port, &answer);
        return Ok(());
    }
    let slot = Arc::clone(&shared.lookups).try_acquire_owned().map_err(|_| Unwanted::ByLimit)?;
    let (shared_too, query) = (Arc::clone(shared), query.to_vec());
    shared.spawn(async move {
        if let Some(answer) = look_up(&shared_too, &query).await {
            reply(&shared_too, to, guest_port, &answer);
        }
        drop(slot);
    });
    Ok(())
}

fn reply(shared: &Shared, from: SocketAddrV4, guest_port: u16, answer: &[u8]) {
    let to = (shared.config.private_ip, guest_port);
    shared.send(frame::udp(shared.guest(), (*from.ip(), from.port()), to, answer));
}

/// The first resolver's answer, or a server failure; None for what is not a query at all.
async fn look_up(shared: &Shared, query: &[u8]) -> Option<Vec<u8>> {
    for resolver in &shared.config.resolvers {
        match timeout(RESOLVER_TIMEOUT, ask(*resolver, query)).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => tracing::debug!(%error, %resolver, "a resolver failed"),
            Err(_) => tracing::debug!(%resolver, "a resolver did not answer"),
        }
    }
    failure(query)
}

async fn ask(resolver: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr =
        if resolver.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(resolver).await?;
    socket.send(query).await?;
    let mut answer = Vec::with_capacity(MESSAGE_BYTES_MAX);
    loop {
        answer.clear();
        socket.recv_buf(&mut answer).await?;
        if answer.get(..2) == query.get(..2) {
            return Ok(answer);
        }
    }
}

/// Answers queries on a TCP connection of the guest, each behind its length.
pub(crate) async fn serve_stream(shared: Arc<Shared>, mut stream: DuplexStream) {
    while let Ok(Ok(query)) = timeout(STREAM_IDLE, read_message(&mut stream)).await {
        let answer = match own_answer(&shared.config, &query) {
            Some(answer) => Some(answer),
            None => look_up_on_stream(&shared, &query).await,
        };
        let Some(answer) = answer else { return };
        if write_message(&mut stream, &answer).await.is_err() {
            return;
        }
    }
}

async fn look_up_on_stream(shared: &Shared, query: &[u8]) -> Option<Vec<u8>> {
    for resolver in &shared.config.resolvers {
        if let Ok(Ok(answer)) = timeout(RESOLVER_TIMEOUT, ask_on_stream(*resolver, query)).await {
            return Some(answer);
        }
    }
    failure(query)
}

async fn ask_on_stream(resolver: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    write_message(&mut stream, query).await?;
    read_message(&mut stream).await
}

async fn read_message(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(stream: &mut (impl AsyncWriteExt + Unpin), message: &[u8]) -> io::Result<()> {
    let len = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes(), message].concat()).await?;
    stream.flush().await
}

/// What a query asks, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct Question<'a> {
    header: &'a [u8; HEADER_LEN],
    /// The question's bytes: name, type, class.
    bytes: &'a [u8],
    /// In lower case, labels joined by dots, without a dot at the end.
    name: String,
    kind: u16,
    class: u16,
}

/// The question of a plain query with exactly one; None for anything else.
fn question(query: &[u8]) -> Option<Question<'_>> {
    let (header, rest) = query.split_first_chunk::<HEADER_LEN>()?;
    let [_, _, flags, _, 0, 1, ..] = header else { return None };
    // Not a response, and the operation is "query".
    if flags & 0xf8 != 0 {
        return None;
    }
    let (name, after) = name(rest)?;
    let ([k0, k1, c0, c1], _) = after.split_first_chunk::<4>()?;
    let bytes = rest.get(..rest.len() - after.len() + 4)?;
    let (kind, class) = (u16::from_be_bytes([*k0, *k1]), u16::from_be_bytes([*c0, *c1]));
    Some(Question { header, bytes, name, kind, class })
}

fn name(mut bytes: &[u8]) -> Option<(String, &[u8])> {
    let mut name = String::new();
    loop {
        let (len, rest) = bytes.split_first()?;
        // The upper two bits mark compression, which has no place in a question.
        let (label, rest) = rest.split_at_checked(usize::from(*len)).filter(|_| *len < 64)?;
        if label.is_empty() {
            return Some((name, rest));
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(std::str::from_utf8(label).ok()?);
        name.make_ascii_lowercase();
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
        bytes = rest;
    }
}

/// The answer to a question about the instance itself or its neighbours' standard names.
fn own_answer(config: &Config, query: &[u8]) -> Option<Vec<u8>> {
    let question = question(query).filter(|question| question.class == CLASS_IN)?;
    let (kind, data) = if question.name == reverse_name(config.private_ip) {
        (TYPE_PTR, wire_name(&full_name(config)))
    } else {
        (TYPE_A, address_of(config, &question.name)?.octets().to_vec())
    };
    // The name exists whatever is asked about it, so another type gets an empty answer.
    let answers = question.kind == kind || question.kind == TYPE_ANY;
    Some(response(&question, answers.then_some((kind, data.as_slice()))))
}

fn address_of(config: &Config, name: &str) -> Option<Ipv4Addr> {
    if name == config.hostname.to_ascii_lowercase() || name == full_name(config) {
        return Some(config.private_ip);
    }
    if name == "instance-data" || name == "instance-data.ec2.internal" {
        return Some(METADATA_IP);
    }
    let host = name.strip_suffix(&config.domain_name.to_ascii_lowercase())?.strip_suffix('.')?;
    let address = host.strip_prefix("ip-")?.replace('-', ".").parse().ok()?;
    config.subnet().contains(address).then_some(address)
}

fn full_name(config: &Config) -> String {
    format!("{}.{}", config.hostname, config.domain_name).to_ascii_lowercase()
}

fn reverse_name(ip: Ipv4Addr) -> String {
    let [a, b, c, d] = ip.octets();
    format!("{d}.{c}.{b}.{a}.in-addr.arpa")
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = label.as_bytes().get(..63).unwrap_or(label.as_bytes());
        bytes.push(u8::try_from(label.len()).unwrap_or(0));
        bytes.extend(label);
    }
    bytes.push(0);
    bytes
}

fn response(question: &Question<'_>, answer: Option<(u16, &[u8])>) -> Vec<u8> {
    let [id0, id1, flags, ..] = *question.header;
    let mut bytes = vec![id0, id1, flags | FLAG_RESPONSE | FLAG_AUTHORITATIVE, FLAG_RECURSION_AVAILABLE];
    bytes.extend([0, 1, 0, u8::from(answer.is_some()), 0, 0, 0, 0]);
    bytes.extend(question.bytes);
    if let Some((kind, data)) = answer {
        bytes.extend(POINTER_TO_QUESTION);
        bytes.extend(kind.to_be_bytes());
        bytes.extend(CLASS_IN.to_be_bytes());
        bytes.extend(TTL_SECONDS.to_be_bytes());
        bytes.extend(u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
        bytes.extend(data);
    }
    bytes
}

/// "No resolver could answer."
fn failure(query: &[u8]) -> Option<Vec<u8>> {
    let question = question(query)?;
    let mut bytes = response(&question, None);
    if let [_, _, flags, code, ..] = bytes.as_mut_slice() {
        *flags &= !FLAG_AUTHORITATIVE;
        *code |= SERVER_FAILURE;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tests::{config, dns_query};

    fn answer_data(name: &str, kind: u16) -> Option<Vec<u8>> {
        let query = dns_query(9, name, kind);
        let answer = own_answer(&config(), &query)?;
        assert_eq!(answer.get(..2), query.get(..2));
        assert_eq!(answer[2] & 0x80, 0x80);
        let count = answer[7];
        let data = answer[query.len()..].get(12..).unwrap_or_default().to_vec();
        assert_eq!(usize::from(count), usize::from(!data.is_empty()));
        Some(data)
    }

    #[test]
    fn own_names_are_answered_and_others_are_not() {
        let own = Some(vec![10, 0, 0, 5]);
        assert_eq!(answer_data("ip-10-0-0-5.us-east-1.compute.internal", TYPE_A), own);
        assert_eq!(answer_data("IP-10-0-0-5.US-EAST-1.compute.internal", TYPE_A), own);
        assert_eq!(answer_data("ip-10-0-0-5", TYPE_A), own);
        assert_eq!(answer_data("ip-10-0-0-77.us-east-1.compute.internal", TYPE_A), Some(vec![10, 0, 0, 77]));
        assert_eq!(answer_data("instance-data.ec2.internal", TYPE_A), Some(vec![169, 254, 169, 254]));
        assert_eq!(answer_data("ip-10-0-0-5", 28), Some(vec![]));
        assert_eq!(
            answer_data("5.0.0.10.in-addr.arpa", TYPE_PTR),
            Some(wire_name("ip-10-0-0-5.us-east-1.compute.internal"))
        );
        for foreign in ["example.com", "ip-10-9-0-5.us-east-1.compute.internal", "", "6.0.0.10.in-addr.arpa"]
        {
            assert_eq!(answer_data(foreign, TYPE_A), None, "{foreign}");
        }
    }

    #[test]
    fn failures_keep_the_question() {
        let query = dns_query(0x1234, "example.com", TYPE_A);
        let failed = failure(&query).unwrap();
        assert_eq!((failed[0], failed[1], failed[3] & 0xf), (0x12, 0x34, SERVER_FAILURE));
        assert_eq!(failed[12..], query[12..]);
        assert_eq!(failure(b"short"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(noise in prop::collection::vec(any::<u8>(), 0..300), len in 0usize..60) {
            drop(own_answer(&config(), &noise));
            drop(failure(&noise));
            let mut query = dns_query(1, "ip-10-0-0-5.us-east-1.compute.internal", TYPE_A);
            query.truncate(len);
            drop(own_answer(&config(), &query));
        }
    }
}
