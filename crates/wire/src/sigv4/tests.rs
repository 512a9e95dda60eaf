use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Timestamp;
use proptest::prelude::*;
use serde::Deserialize;

use super::*;
use crate::percent;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const KEY: &str = "AKIDEXAMPLE";

fn now() -> Timestamp {
    Timestamp::parse_iso8601("2026-11-21T08:22:07Z").unwrap()
}

fn signer(service: &'static str) -> Signer<'static> {
    let credentials = Credentials { access_key_id: KEY, secret_access_key: SECRET, session_token: None };
    Signer { credentials, region: "us-east-1", service }
}

/// A request that owns its parts, so that tests can damage them.
#[derive(Debug, Clone, Deserialize)]
struct Request {
    #[serde(default)]
    name: String,
    service: String,
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    #[serde(deserialize_with = "from_base64")]
    body: Vec<u8>,
    unsigned_payload: bool,
    presigned: bool,
    token: Option<String>,
}

#[derive(Deserialize)]
struct Fixture {
    vectors: Vec<Request>,
}

fn from_base64<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(from)?).map_err(serde::de::Error::custom)
}

/// Requests that botocore signed; fixtures/sigv4/generate.py makes them.
fn vectors() -> Vec<Request> {
    let text = include_str!("../../fixtures/sigv4/botocore.json");
    serde_json::from_str::<Fixture>(text).unwrap().vectors
}

impl Request {
    fn with_parts<T>(&self, use_parts: impl FnOnce(&RequestParts<'_>) -> T) -> T {
        let headers: Vec<_> = self.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        use_parts(&RequestParts {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &headers,
        })
    }

    fn rules(&self) -> Rules {
        match self.service.as_str() {
            "s3" => Rules::S3,
            _ if self.unsigned_payload => Rules::UNSIGNED_BODY,
            _ => Rules::SIGNED_BODY,
        }
    }

    fn verify_at(&self, now: Timestamp) -> Result<Claim, AuthFault> {
        self.with_parts(|parts| {
            let claim = Claim::parse(parts)?;
            let known = claim.access_key_id == KEY && claim.session_token == self.token;
            claim.verify(SECRET, parts, &self.body, now, self.rules())?;
            if known { Ok(claim) } else { Err(AuthFault::UnknownKey) }
        })
    }

    fn verify(&self) -> Result<Claim, AuthFault> {
        self.verify_at(now())
    }

    fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.into()));
    }

    fn edit(&mut self, name: &str, edit: impl FnOnce(&str) -> String) {
        let slot = self.headers.iter_mut().find(|(n, _)| n.eq_ignore_ascii_case(name)).unwrap();
        slot.1 = edit(&slot.1);
    }
}

/// A plain EC2 request, signed by us at `now()`.
fn signed() -> Request {
    let mut request = Request {
        name: "ours".into(),
        service: "ec2".into(),
        method: "POST".into(),
        path: "/".into(),
        query: String::new(),
        headers: vec![("Host".into(), "127.0.0.1:4566".into()), ("X-Amz-Note".into(), "n".into())],
        body: b"Action=DescribeRegions&Version=2016-11-15".to_vec(),
        unsigned_payload: false,
        presigned: false,
        token: None,
    };
    let added = request.with_parts(|parts| signer("ec2").headers(parts, Some(&request.body), now())).unwrap();
    request.headers.extend(added);
    request
}

fn presigned(expires_seconds: u32) -> Request {
    let mut request = signed();
    request.method = "GET".into();
    request.headers = vec![("Host".into(), "127.0.0.1:4566".into())];
    request.body.clear();
    request.query = "Action=DescribeRegions&Version=2016-11-15".into();
    request.presigned = true;
    let sign = |parts: &RequestParts<'_>| signer("ec2").presigned_query(parts, expires_seconds, now());
    request.query = request.with_parts(sign).unwrap();
    request
}

fn is_incomplete(result: &Result<Claim, AuthFault>) -> bool {
    matches!(result, Err(AuthFault::Incomplete(_)))
}

#[test]
fn botocore_requests_verify() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 37);
    for request in &vectors {
        let claim = request.verify();
        let claim = claim.unwrap_or_else(|fault| panic!("{}: {fault}", request.name));
        assert_eq!(claim.scope.service, request.service);
        assert_eq!(matches!(claim.form, Form::Presigned { .. }), request.presigned);
    }
}

#[test]
fn our_signatures_are_those_of_botocore() {
    let ours = |v: &Request| v.service == "ec2" && v.token.is_none();
    let chosen: Vec<_> = vectors().into_iter().filter(ours).collect();
    assert_eq!(chosen.len(), 9);
    for vector in chosen {
        let mut bare = vector.clone();
        let theirs = bare.with_parts(|parts| parts.header("authorization").unwrap().map(str::to_owned));
        let claim = bare.verify().unwrap();
        bare.headers.retain(|(name, _)| {
            let name = name.to_ascii_lowercase();
            name != "x-amz-date" && claim.signed_headers.contains(&name)
        });
        let signer = Signer { region: &claim.scope.region, ..signer("ec2") };
        if let Some(theirs) = theirs {
            let ours = bare.with_parts(|parts| signer.headers(parts, Some(&bare.body), now())).unwrap();
            assert_eq!(ours.last(), Some(&("authorization".to_owned(), theirs)), "{}", vector.name);
        } else {
            let (plain, _) = vector.query.split_once("&X-Amz-Algorithm").unwrap();
            bare.query = plain.into();
            let ours = bare.with_parts(|parts| signer.presigned_query(parts, 604_800, now())).unwrap();
            let signature = |query: &str| query.rsplit_once("X-Amz-Signature=").unwrap().1.to_owned();
            assert_eq!(signature(&ours), signature(&vector.query), "{}", vector.name);
        }
    }
}

/// What a request says to those who act on it, apart from spelling: a mutant with the same meaning
/// is the same request.
fn meaning(request: &Request) -> impl PartialEq + use<> {
    let path: Vec<String> = if request.service == "s3" {
        request
            .path
            .split('/')
            .map(|part| percent::decode_path(part.as_bytes()).unwrap_or_default())
            .collect()
    } else {
        let mut kept = Vec::new();
        for part in request.path.split('/').filter(|part| !["", "."].contains(part)) {
            if part == ".." {
                kept.pop();
            } else {
                kept.push(part.to_owned());
            }
        }
        kept
    };
    let mut query: Vec<_> = request
        .query
        .split('&')
        .map(|piece| percent::decode_form(piece.replacen('=', "\0", 1).as_bytes()))
        .collect();
    query.sort();
    let mut headers: Vec<_> =
        request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
    headers.sort();
    (request.method.clone(), path, query, headers, request.body.clone())
}

fn bit_flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut damaged = bytes.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        damaged
    })
}

/// Every request that differs from `request` in one bit of what its signature covers. Bytes that
/// are not UTF-8 never get as far as the verifier.
fn mutants(request: &Request) -> Vec<Request> {
    let claim = request.verify().unwrap();
    let mut mutants = Vec::new();
    let mut flip = |text: &str, apply: &dyn Fn(&mut Request, String)| {
        for damaged in bit_flips(text.as_bytes()).filter_map(|bytes| String::from_utf8(bytes).ok()) {
            mutants.push(request.clone());
            apply(mutants.last_mut().unwrap(), damaged);
        }
    };
    flip(&request.method, &|m, text| m.method = text);
    flip(&request.path, &|m, text| m.path = text);
    flip(&request.query, &|m, text| m.query = text);
    for (i, (name, value)) in request.headers.iter().enumerate() {
        let lower = name.to_ascii_lowercase();
        if lower == "authorization" || claim.signed_headers.contains(&lower) {
            flip(name, &|m, text| m.headers[i].0 = text);
            flip(value, &|m, text| m.headers[i].1 = text);
        }
    }
    if !(request.unsigned_payload || request.presigned && request.service == "s3") {
        mutants.extend(bit_flips(&request.body).map(|body| Request { body, ..request.clone() }));
    }
    mutants
}

#[test]
fn every_one_bit_mutant_of_what_is_covered_is_refused() {
    let mut tried = BTreeMap::new();
    let ours = [signed(), presigned(900)];
    for request in vectors().into_iter().filter(|v| v.token.is_none()).chain(ours) {
        let original = meaning(&request);
        for mutant in mutants(&request).into_iter().filter(|mutant| meaning(mutant) != original) {
            assert!(mutant.verify().is_err(), "{}: accepted {mutant:?}", request.name);
            *tried.entry(request.presigned).or_insert(0) += 1;
        }
    }
    assert!(tried[&false] > 20_000 && tried[&true] > 10_000, "{tried:?}");
}

#[test]
fn a_wrong_secret_is_a_mismatch_and_no_signature_is_missing() {
    let request = signed();
    request.with_parts(|parts| {
        let claim = Claim::parse(parts).unwrap();
        let wrong = claim.verify("wrong", parts, &request.body, now(), Rules::SIGNED_BODY);
        assert_eq!(wrong, Err(AuthFault::Mismatch));
    });
    let mut unsigned = signed();
    unsigned.headers.truncate(2);
    assert_eq!(unsigned.verify(), Err(AuthFault::Missing));
    assert_eq!(model::Fault::from(AuthFault::Missing).code, model::Code::MissingAuthenticationToken);
}

#[test]
fn a_session_token_is_handed_on_and_covered() {
    let mut request = signed();
    request.headers.truncate(1);
    let mut signer = signer("ec2");
    signer.credentials.session_token = Some("token/+=");
    let added = request.with_parts(|parts| signer.headers(parts, Some(&request.body), now())).unwrap();
    request.headers.extend(added);
    request.token = Some("token/+=".into());
    assert_eq!(request.verify().unwrap().session_token.as_deref(), Some("token/+="));
    request.set("x-amz-security-token", "another");
    assert_eq!(request.verify(), Err(AuthFault::Mismatch));
    request.headers.retain(|(name, _)| name != "x-amz-security-token");
    assert!(is_incomplete(&request.verify()));
}

#[test]
fn unsigned_and_doubled_headers_are_refused() {
    for (name, value) in [("X-Amz-Target", "Other.Action"), ("x-amz-security-token", "t")] {
        let mut request = signed();
        request.headers.push((name.into(), value.into()));
        assert!(is_incomplete(&request.verify()), "{name}");
    }
    for name in ["Host", "x-amz-date", "X-AMZ-NOTE", "authorization"] {
        let mut request = signed();
        let value = request.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).unwrap().1.clone();
        request.headers.push((name.into(), value));
        assert!(is_incomplete(&request.verify()), "{name}");
    }
    let mut folded = signed();
    folded.set("x-amz-note", "n\r\n x");
    assert!(is_incomplete(&folded.verify()));
    let mut without_host = signed();
    without_host.headers.remove(0);
    assert!(is_incomplete(&without_host.verify()));
}

#[test]
fn games_with_the_list_of_signed_headers_are_refused() {
    let games = [
        "host",
        "x-amz-date;x-amz-note",
        "host;x-amz-date",
        "host;x-amz-date;x-amz-note;",
        ";host;x-amz-date;x-amz-note",
        "host;;x-amz-date;x-amz-note",
        "host;host;x-amz-date;x-amz-note",
        "x-amz-note;x-amz-date;host",
        "Host;x-amz-date;x-amz-note",
        "host;not-there;x-amz-date;x-amz-note",
        "host;x-amz-date;x-amz-note\n",
        "",
    ];
    for game in games {
        let mut request = signed();
        request.edit("authorization", |text| text.replace("host;x-amz-date;x-amz-note", game));
        let result = request.verify();
        assert!(is_incomplete(&result), "{game:?}: {result:?}");
    }
}

#[test]
fn damaged_authorization_headers_are_refused() {
    let edits: &[(&str, &str)] = &[
        ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"),
        ("AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256"),
        ("aws4_request", "aws4_request/x"),
        ("/ec2/", "/"),
        ("/ec2/", "//"),
        ("20261121", "20261122"),
        ("Credential=", "Credential=x, Credential="),
        ("Signature=", "Signature=00, Signature="),
        ("Signature=", "Signature=0"),
        ("Signature=", "Extra=1, Signature="),
        (", Signature=", ", "),
    ];
    for (from, to) in edits {
        let mut request = signed();
        request.edit("authorization", |text| text.replacen(from, to, 1));
        assert!(is_incomplete(&request.verify()), "{from} -> {to}");
    }
    let mut upper = signed();
    upper.edit("authorization", |text| {
        let (start, signature) = text.rsplit_once('=').unwrap();
        format!("{start}={}", signature.to_ascii_uppercase())
    });
    assert!(is_incomplete(&upper.verify()));
    for (from, to) in [("/ec2/", "/sts/"), ("us-east-1", "us-west-2")] {
        let mut other = signed();
        other.edit("authorization", |text| text.replacen(from, to, 1));
        assert_eq!(other.verify(), Err(AuthFault::Mismatch));
    }
}

#[test]
fn a_header_and_a_query_signature_together_are_refused() {
    let mut both = presigned(60);
    both.headers = signed().headers;
    assert!(is_incomplete(&both.verify()));
    let mut stray = signed();
    stray.query = "X-Amz-Signature=00".into();
    assert!(is_incomplete(&stray.verify()));
}

#[test]
fn the_clock_may_be_fifteen_minutes_off_either_way() {
    let request = signed();
    let at = |offset_ms: i64| request.verify_at(Timestamp(now().0 + offset_ms)).map(drop);
    let edge = i64::try_from(SKEW_MAX.as_millis()).unwrap();
    assert_eq!([at(edge), at(-edge)], [Ok(()), Ok(())]);
    assert_eq!([at(edge + 1), at(-edge - 1)], [Err(AuthFault::Expired); 2]);
}

#[test]
fn presigned_requests_live_as_long_as_they_say_and_at_most_a_week() {
    let request = presigned(60);
    assert!(request.verify_at(now().plus(Duration::from_mins(1))).is_ok());
    let late = now().plus(Duration::from_millis(60_001));
    assert_eq!(request.verify_at(late), Err(AuthFault::Expired));
    let early = Timestamp(now().0 - 15 * 60_000 - 1);
    assert_eq!(request.verify_at(early), Err(AuthFault::Expired));
    assert!(presigned(PRESIGNED_SECONDS_MAX).verify().is_ok());
    assert!(is_incomplete(&presigned(PRESIGNED_SECONDS_MAX + 1).verify()));
    for text in ["+60", "-1", "", "6e1", "99999999999"] {
        let mut odd = presigned(60);
        odd.query = odd.query.replace("X-Amz-Expires=60", &format!("X-Amz-Expires={text}"));
        assert!(is_incomplete(&odd.verify()), "{text}");
    }
}

#[test]
fn presigned_parts_must_be_there_and_once() {
    let whole = presigned(60);
    for piece in whole.query.split('&').filter(|piece| piece.starts_with("X-Amz-")) {
        let mut lacking = whole.clone();
        lacking.query = whole.query.split('&').filter(|p| p != &piece).collect::<Vec<_>>().join("&");
        assert!(is_incomplete(&lacking.verify()), "without {piece}");
        let mut doubled = whole.clone();
        doubled.query = format!("{}&{piece}", whole.query);
        assert!(is_incomplete(&doubled.verify()), "twice {piece}");
    }
    let mut more = whole;
    more.query.push_str("&DryRun=true");
    assert_eq!(more.verify(), Err(AuthFault::Mismatch));
}

#[test]
fn a_body_may_be_left_out_only_where_the_rules_say() {
    let mut request = signed();
    request.headers.truncate(1);
    let added = request.with_parts(|parts| signer("ec2").headers(parts, None, now())).unwrap();
    request.headers.extend(added);
    assert!(is_incomplete(&request.verify()));
    request.unsigned_payload = true;
    assert!(request.verify().is_ok());

    let mut claimed = signed();
    claimed.headers.truncate(1);
    claimed.headers.push(("x-amz-content-sha256".into(), sha256_hex(&claimed.body)));
    let sign = |parts: &RequestParts<'_>| signer("ec2").headers(parts, Some(&claimed.body), now());
    let added = claimed.with_parts(sign).unwrap();
    claimed.headers.extend(added);
    assert!(claimed.verify().is_ok());
    claimed.body.push(b' ');
    assert_eq!(claimed.verify(), Err(AuthFault::Mismatch));
}

proptest! {
    #[test]
    fn parsing_any_headers_and_query_never_panics(
        authorization in "(AWS4-HMAC-SHA256 )?[ -~é]{0,120}",
        query in "(X-Amz-[A-Za-z]{0,12}=[%0-9A-Za-z/;+&]{0,20}&?){0,8}",
        path in "[ -~é/%.]{0,30}",
    ) {
        let headers = [("host", "h"), ("x-amz-date", "20261121T082207Z"), ("authorization", authorization.as_str())];
        for headers in [&headers[..], &headers[..1]] {
            let parts = RequestParts { method: "GET", path: &path, query: &query, headers };
            if let Ok(claim) = Claim::parse(&parts) {
                prop_assert!(claim.verify(SECRET, &parts, b"", now(), Rules::S3).is_err());
            }
        }
    }

    #[test]
    fn any_request_we_sign_verifies(
        path in "(/[a-zA-Z0-9._~%-]{0,8}){0,4}",
        pairs in proptest::collection::vec(("[a-zA-Z0-9 +/=é*~-]{1,8}", "[a-zA-Z0-9 &+/=é*~-]{0,8}"), 0..5),
        value in "[ -~]{0,20}",
        body in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let query: Vec<_> =
            pairs.iter().map(|(n, v)| format!("{}={}", percent::encode(n), percent::encode(v))).collect();
        let mut request = signed();
        request.path = path;
        request.query = query.join("&");
        request.headers.truncate(1);
        request.headers.push(("X-Thing".into(), value));
        request.body = body;
        let added = request.with_parts(|parts| signer("ec2").headers(parts, Some(&request.body), now())).unwrap();
        request.headers.extend(added);
        prop_assert!(request.verify().is_ok());
    }
}
