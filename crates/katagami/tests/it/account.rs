use crate::rig::{Server, run, stderr, stdout};

#[test]
fn accounts_are_made_with_and_without_a_server() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().to_str().unwrap();
    let create = |name: &str| run(home.path(), &["account", "create", name, "--data", data]);
    let alone = create("alone");
    assert!(alone.status.success(), "{alone:?}");
    let account_id = stdout(&alone).trim();
    assert!(account_id.len() == 12 && account_id.bytes().all(|b| b.is_ascii_digit()), "{account_id}");
    let server = Server::start(home.path(), &[]);
    let beside = create("beside");
    assert!(beside.status.success(), "{beside:?}");
    for taken in ["alone", "beside", "default"] {
        let again = create(taken);
        assert_eq!(again.status.code(), Some(5), "{again:?}");
        assert!(stderr(&again).contains("credentials"), "{again:?}");
    }
    assert_eq!(create("not a name").status.code(), Some(2));
    let credentials = std::fs::read_to_string(home.path().join("credentials")).unwrap();
    for profile in ["default", "alone", "beside"] {
        assert!(credentials.contains(&format!("[{profile}]\naws_access_key_id = AKIA")), "{credentials}");
        // Its key is good: the refusal is about the instance, not about the caller.
        let unknown = server.client(profile, &["forwards", "i-0123456789abcdef0"]);
        assert_eq!(unknown.status.code(), Some(3), "{unknown:?}");
    }
}

#[test]
fn a_wrong_key_is_denied() {
    let home = tempfile::tempdir().unwrap();
    let server = Server::start(home.path(), &[]);
    let mut command = crate::rig::katagami(
        home.path(),
        &["forwards", "i-0123456789abcdef0", "--endpoint", &server.endpoint],
    );
    command.env("AWS_ACCESS_KEY_ID", "AKIAXXXXXXXXXXXXXXXX").env("AWS_SECRET_ACCESS_KEY", "x");
    let denied = command.output().unwrap();
    assert_eq!(denied.status.code(), Some(4), "{denied:?}");
}
