use model::SeededIdGen;
use proptest::prelude::*;

use super::*;

fn ed25519() -> &'static str {
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINV27X8nTRGhbxMNyEWKwxtxtgRJR3uCPgHFqwt1XI+q me@x"
}

#[test]
fn new_keys_differ_and_a_seed_repeats() {
    let ids = SeededIdGen::new(1);
    let one = generate(KeyType::Ed25519, &ids);
    let two = generate(KeyType::Ed25519, &ids);
    assert_ne!(one.public_key, two.public_key);
    let again = generate(KeyType::Ed25519, &SeededIdGen::new(1));
    assert_eq!((again.private_key_pem, again.fingerprint), (one.private_key_pem, one.fingerprint));
}

#[test]
fn a_new_rsa_key_is_one_that_others_can_use() {
    let key = rsa::generate(&SeededIdGen::new(3));
    // Reading it checks that the numbers belong together and have the right sizes.
    let pair = ring::rsa::KeyPair::from_der(&key.pkcs1()).unwrap();
    assert_eq!(pair.public().modulus_len(), 256);
    assert!(ring::rsa::KeyPair::from_pkcs8(&key.pkcs8()).is_ok());
    let new = new_rsa(&key);
    assert!(new.private_key_pem.starts_with("-----BEGIN RSA PRIVATE KEY-----\nMII"));
    assert!(new.private_key_pem.ends_with("\n-----END RSA PRIVATE KEY-----\n"));
    assert!(new.private_key_pem.lines().all(|line| line.len() <= 64));
    assert_eq!(new.fingerprint.len(), 20 * 3 - 1);
    let line = new.public_key.line("my-key");
    assert!(
        line.starts_with("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ") && line.ends_with(" my-key"),
        "{line}"
    );
    assert_eq!(PublicKey::parse(line.as_bytes()), Ok(new.public_key));
}

#[test]
fn a_new_ed25519_key_is_an_openssh_file() {
    let new = generate(KeyType::Ed25519, &SeededIdGen::new(5));
    let inner = new.private_key_pem.strip_prefix("-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
    let inner = inner.strip_suffix("\n-----END OPENSSH PRIVATE KEY-----\n").unwrap();
    let file = STANDARD.decode(inner.replace('\n', "")).unwrap();
    let PublicKey::Ed25519(point) = &new.public_key else { unreachable!() };
    assert!(file.starts_with(b"openssh-key-v1\0\0\0\0\x04none\0\0\0\x04none\0\0\0\0\0\0\0\x01"));
    // Once in the open part, twice in the private one.
    assert_eq!(file.windows(32).filter(|window| *window == point).count(), 3);
    assert_eq!(file.last_chunk::<4>().map(|tail| tail[3] - tail[2]), Some(1), "padding counts upwards");
}

#[test]
fn fingerprints_are_those_that_ec2_shows() {
    let key = PublicKey::parse(ed25519().as_bytes()).unwrap();
    assert_eq!(key.key_type(), KeyType::Ed25519);
    // `ssh-keygen -l`, with the padding that it leaves out.
    assert_eq!(imported_fingerprint(&key), "tP9FbgQwMz8dHjWYz/w3CuAXdo5FZEjMowBPr4fYyTc=");
    // `openssl rsa -in key.pem -pubout -outform DER | openssl md5 -c`
    assert_eq!(imported_fingerprint(&PublicKey::parse(RSA_1024.as_bytes()).unwrap()), RSA_1024_MD5);
}

const RSA_1024: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDeG3GaAnymUs73IzHVpdFPN7h1ELwEAUWQ38QbHsN1oWlpfKXoe/\
    CqScz2UdTc5VCSiJ7Iei03WX761/ngxsohAWvRxfOHkD/rXHobke6EzYcBucstkBKKaJq++Tz9V9EvPwJi/NX/9kvU\
    C6CTOIuXzuEu0KCQUzjRZ+KB8m/NJw== me@x";
const RSA_1024_MD5: &str = "18:0a:39:f8:76:fc:82:e5:40:f6:c2:a4:b5:48:51:68";

#[test]
fn what_is_no_usable_public_key_is_refused_with_the_reason() {
    let cases: &[(&[u8], &str)] = &[
        (b"", "key type"),
        (b"ssh-rsa", "key type"),
        (b"\xff\xfe", "text"),
        (b"ssh-rsa !!!", "base64"),
        (b"ssh-rsa AAAA\nssh-rsa AAAA", "line"),
        (b"ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAINV27X8nTRGhbxMNyEWKwxtxtgRJR3uCPgHFqwt1XI+q", "type it names"),
        (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINV27X8nTRGhbxMNyEWKwxtxtgRJR3uCPgHFqwt1", "cut off"),
        (b"ssh-dss AAAAB3NzaC1kc3MAAAAA", "only ssh-rsa"),
        (b"-----BEGIN PUBLIC KEY-----", "base64"),
    ];
    for (text, why) in cases {
        let fault = PublicKey::parse(text).unwrap_err().to_string();
        assert!(fault.contains(why), "{}: {fault}", String::from_utf8_lossy(text));
    }
    assert!(PublicKey::parse(&vec![b'a'; 20_000]).is_err());
    let short = PublicKey::Rsa { modulus: vec![0xc1; 64], exponent: vec![1, 0, 1] };
    assert!(PublicKey::parse(short.line("x").as_bytes()).unwrap_err().to_string().contains("bits"));
    let even = PublicKey::Rsa { modulus: vec![0xc2; 256], exponent: vec![1, 0, 1] };
    assert!(PublicKey::parse(even.line("x").as_bytes()).unwrap_err().to_string().contains("numbers"));
}

proptest! {
    #[test]
    fn every_key_reads_back_from_its_line(
        mut modulus in prop::collection::vec(any::<u8>(), 128..=512),
        point in any::<[u8; 32]>(),
        comment in "[ -~]{0,40}",
    ) {
        modulus[0] |= 0x80;
        *modulus.last_mut().unwrap() |= 1;
        for key in [PublicKey::Rsa { modulus, exponent: vec![1, 0, 1] }, PublicKey::Ed25519(point)] {
            prop_assert_eq!(PublicKey::parse(key.line(&comment).as_bytes()), Ok(key));
        }
    }

    #[test]
    fn nothing_that_is_read_is_read_otherwise_than_it_is_written(
        blob in prop::collection::vec(any::<u8>(), 0..80),
        change in 0_usize..83,
    ) {
        let mut known = STANDARD.decode(ed25519().split(' ').nth(1).unwrap()).unwrap();
        let at = change % known.len();
        known[at] ^= blob.first().copied().unwrap_or(1);
        for bytes in [blob, known] {
            for name in ["ssh-rsa", "ssh-ed25519"] {
                let text = format!("{name} {}", STANDARD.encode(&bytes));
                if let Ok(key) = PublicKey::parse(text.as_bytes()) {
                    let line = key.line("");
                    prop_assert_eq!(line.trim_end(), text);
                }
            }
        }
    }

    #[test]
    fn random_bytes_never_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(key) = PublicKey::parse(&bytes) {
            prop_assert!(key.line("x").is_ascii());
        }
    }
}
