//! Tables of what the AWS command line does with the same variables and files.

use super::*;

const CONFIG: &str = "\
[default]
region = eu-west-1
endpoint_url = http://config:1
[profile dev]
region = us-west-2
services = local
[services local]
ec2 =
  endpoint_url = http://ec2:2/
[profile nokey]
credential_process = /bin/true
";

const CREDENTIALS: &str = "\
[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key = s1
[dev]
aws_access_key_id = AKIADEV
aws_secret_access_key = s2
aws_session_token = t2
";

const LOCAL: &str = "\
[default]
aws_access_key_id = AKIALOCAL
aws_secret_access_key = s3
endpoint_url = http://local:3
";

type Variables<'a> = &'a [(&'a str, &'a str)];

fn files(config: &str, credentials: &str) -> Files {
    Files {
        config: ini::parse(config),
        credentials: ini::parse(credentials),
        local_config: Profiles::new(),
        local_credentials: ini::parse(LOCAL),
    }
}

fn environment(variables: Variables<'_>) -> Environment {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn resolved(connection: &Connection, variables: Variables<'_>, files: &Files) -> [String; 4] {
    let settings = resolve::settings(connection, &environment(variables), files).unwrap();
    [settings.access_key.id, settings.region, settings.ec2_endpoint, settings.ebs_endpoint]
}

fn by_profile(name: &str) -> Connection {
    Connection { profile: Some(name.into()), ..Connection::default() }
}

const KEY: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "AKIAENV"), ("AWS_SECRET_ACCESS_KEY", "s")];

#[test]
fn variables_and_profiles_have_the_order_of_the_aws_command_line() {
    let none = Connection::default();
    let table: &[(&Connection, Variables<'_>, [&str; 4])] = &[
        (&none, &[], ["AKIADEFAULT", "eu-west-1", "http://config:1", "http://config:1"]),
        (&none, &KEY, ["AKIAENV", "eu-west-1", "http://config:1", "http://config:1"]),
        (
            &none,
            &[("AWS_REGION", "us-east-1"), ("AWS_DEFAULT_REGION", "eu-central-1")],
            ["AKIADEFAULT", "us-east-1", "http://config:1", "http://config:1"],
        ),
        (&none, &[("AWS_PROFILE", "dev")], ["AKIADEV", "us-west-2", "http://ec2:2", "http://127.0.0.1:4566"]),
        (
            &none,
            &[("AWS_PROFILE", "dev"), KEY[0], KEY[1]],
            ["AKIAENV", "us-west-2", "http://ec2:2", "http://127.0.0.1:4566"],
        ),
        (
            &by_profile("dev"),
            &[KEY[0], KEY[1], ("AWS_ENDPOINT_URL", "http://env:4")],
            ["AKIADEV", "us-west-2", "http://env:4", "http://env:4"],
        ),
        (
            &none,
            &[("AWS_ENDPOINT_URL", "http://env:4"), ("AWS_ENDPOINT_URL_EBS", "http://ebs:5")],
            ["AKIADEFAULT", "eu-west-1", "http://env:4", "http://ebs:5"],
        ),
        (
            &none,
            &[("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"), ("AWS_ENDPOINT_URL", "http://env:4")],
            ["AKIADEFAULT", "eu-west-1", "http://127.0.0.1:4566", "http://127.0.0.1:4566"],
        ),
    ];
    let files = files(CONFIG, CREDENTIALS);
    for (connection, variables, expected) in table {
        assert_eq!(resolved(connection, variables, &files), *expected, "{connection:?} {variables:?}");
    }
}

#[test]
fn flags_go_before_everything() {
    let flags = Connection {
        endpoint: Some("http://flag:9/".into()),
        profile: None,
        region: Some("ap-southeast-2".into()),
    };
    let variables = [("AWS_ENDPOINT_URL", "http://env:4"), ("AWS_REGION", "us-east-1")];
    let found = resolved(&flags, &variables, &files(CONFIG, CREDENTIALS));
    assert_eq!(found, ["AKIADEFAULT", "ap-southeast-2", "http://flag:9", "http://flag:9"]);
}

#[test]
fn without_files_of_the_user_the_local_server_is_found() {
    let found = resolved(&Connection::default(), &[], &files("", ""));
    assert_eq!(found, ["AKIALOCAL", "us-east-1", "http://local:3", "http://local:3"]);
}

#[test]
fn what_cannot_be_resolved_is_refused_with_a_hint() {
    let files = files(CONFIG, CREDENTIALS);
    let refused = |name| resolve::settings(&by_profile(name), &environment(&[]), &files).unwrap_err();
    assert_eq!(refused("nobody").kind(), ErrorKind::Usage);
    let nokey = refused("nokey");
    assert_eq!(nokey.kind(), ErrorKind::Denied);
    assert!(nokey.hint().unwrap().contains("credential_process"), "{nokey:?}");
}

#[test]
fn secrets_do_not_show() {
    let settings =
        resolve::settings(&by_profile("dev"), &environment(&[]), &files(CONFIG, CREDENTIALS)).unwrap();
    let shown = format!("{settings:?}");
    assert!(shown.contains("AKIADEV") && !shown.contains("s2") && !shown.contains("t2"), "{shown}");
}

#[test]
fn files_are_found_through_the_variables_and_the_home_directory() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    std::fs::write(home.path().join(".aws/config"), CONFIG).unwrap();
    std::fs::write(home.path().join("keys"), CREDENTIALS).unwrap();
    let variables = [
        ("HOME", home.path().to_str().unwrap()),
        ("AWS_SHARED_CREDENTIALS_FILE", "~/keys"),
        ("AWS_PROFILE", "dev"),
    ];
    let settings = Settings::load(&Connection::default(), &environment(&variables)).unwrap();
    assert_eq!((settings.region.as_str(), settings.access_key.id.as_str()), ("us-west-2", "AKIADEV"));
}
