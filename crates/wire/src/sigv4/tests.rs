use model::Timestamp;

use super::*;

const NOW: &str = "2026-11-21T08:22:07Z";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

fn now() -> Timestamp {
    Timestamp::parse_iso8601(NOW).unwrap()
}

fn signer() -> Signer<'static> {
    let credentials =
        Credentials { access_key_id: "AKIDEXAMPLE", secret_access_key: SECRET, session_token: None };
    Signer { credentials, region: "us-east-1", service: "ec2" }
}

#[test]
fn what_is_signed_verifies() {
    let body = b"Action=DescribeRegions&Version=2016-11-15";
    let headers = [("Host", "127.0.0.1:4566"), ("Content-Type", "application/x-www-form-urlencoded")];
    let bare = RequestParts { method: "POST", path: "/", query: "", headers: &headers };
    let added = signer().headers(&bare, Some(body), now()).unwrap();
    let all: Vec<_> =
        headers.iter().copied().chain(added.iter().map(|(n, v)| (n.as_str(), v.as_str()))).collect();
    let parts = RequestParts { headers: &all, ..bare };
    let claim = Claim::parse(&parts).unwrap();
    assert_eq!(claim.access_key_id, "AKIDEXAMPLE");
    assert_eq!(claim.verify(SECRET, &parts, body, now(), Rules::SIGNED_BODY), Ok(()));
    assert_eq!(claim.verify("other", &parts, body, now(), Rules::SIGNED_BODY), Err(AuthFault::Mismatch));
}
