//! What must be absent from which room.

use super::{Breach, Rule};
use crate::repo::Repo;
use crate::source::{Said, Source};

pub(super) const RULES: &[Rule] = &[
    ("pure", pure),
    ("sql", sql),
    ("xml", xml),
    ("signatures", signatures),
    ("opaque-keys", opaque_keys),
    ("operations-io", operations_io),
    ("processes", processes),
    ("durable", durable),
    ("lint-exceptions", lint_exceptions),
    ("server-semantics", server_semantics),
];

/// Every said thing of `select` in product sources outside `rooms` that `wanted` picks.
fn outside<'a>(
    repo: &'a Repo,
    rooms: &'a [&'a str],
    select: impl Fn(&'a Source) -> &'a [Said] + 'a,
    wanted: impl Fn(&str) -> bool + 'a,
) -> impl Iterator<Item = (&'a Source, &'a Said)> {
    let sources = repo.product().filter(|source| !rooms.iter().any(|room| source.is_in(room)));
    sources.flat_map(move |source| {
        let found: Vec<_> = select(source).iter().filter(|said| wanted(&said.text)).collect();
        found.into_iter().map(move |said| (source, said))
    })
}

fn is_under(path: &str, prefixes: &[&str]) -> bool {
    let under = |prefix: &str| {
        path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    prefixes.iter().any(|prefix| under(prefix))
}

/// Nouns and policies are decided without waiting for anything.
fn pure(repo: &Repo) -> Vec<Breach> {
    const IO: &[&str] = &[
        "tokio",
        "futures",
        "std::fs",
        "std::net::TcpStream",
        "std::net::TcpListener",
        "std::net::UdpSocket",
        "std::env",
        "std::process",
        "std::os",
        "std::thread",
        "rustix",
    ];
    let mut breaches = Vec::new();
    for source in repo.product().filter(|source| source.is_in("model") || source.is_in("policy")) {
        for said in source.paths.iter().filter(|said| is_under(&said.text, IO)) {
            breaches.push(Breach::at(source, said, "this crate does no IO"));
        }
        for &line in &source.asyncs {
            breaches.push(Breach::on(&source.path, line, "this crate has no async"));
        }
    }
    breaches
}

/// SQL text and the engine's driver stay in metastore.
fn sql(repo: &Repo) -> Vec<Breach> {
    let text = outside(repo, &["metastore"], |s| &s.strings, is_sql);
    let driver = outside(
        repo,
        &["metastore"],
        |s| &s.paths,
        |path| is_under(path, &["rusqlite", "sqlx", "tokio_postgres"]),
    );
    text.chain(driver).map(|(source, said)| Breach::at(source, said, "SQL belongs to metastore")).collect()
}

fn is_sql(text: &str) -> bool {
    let text = format!(" {} ", text.to_ascii_uppercase().split_whitespace().collect::<Vec<_>>().join(" "));
    let both = |first: &str, second: &str| text.contains(first) && text.contains(second);
    both(" SELECT ", " FROM ")
        || both(" UPDATE ", " SET ")
        || both(" INSERT ", " INTO ")
        || both(" DELETE ", " FROM ")
        || both(" CREATE ", " TABLE ")
}

/// The metadata service answers errors as EC2's does: with a small page of XHTML.
const ERROR_PAGES: &[&str] = &["crates/machine/src/metadata/"];

/// XML is written and read in wire.
fn xml(repo: &Repo) -> Vec<Breach> {
    let found = outside(repo, &["wire", "wire-derive", "xtask"], |s| &s.strings, is_xml);
    let found = found.filter(|(source, _)| !ERROR_PAGES.iter().any(|place| source.path.starts_with(place)));
    found.map(|(source, said)| Breach::at(source, said, "XML belongs to wire")).collect()
}

fn is_xml(text: &str) -> bool {
    let closes = text.split("</").skip(1).any(|rest| {
        let name: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
        !name.is_empty() && rest.get(name.len()..).is_some_and(|after| after.starts_with('>'))
    });
    closes || text.contains("<?xml") || text.contains("http://ec2.amazonaws.com/doc/")
}

/// Requests are signed and signatures verified in wire.
fn signatures(repo: &Repo) -> Vec<Breach> {
    let words = ["AWS4-HMAC", "aws4_request", "X-Amz-Signature"];
    let text = outside(
        repo,
        &["wire", "xtask"],
        |s| &s.strings,
        move |text| words.iter().any(|word| text.contains(word)),
    );
    let code = outside(repo, &["wire"], |s| &s.paths, |path| is_under(path, &["hmac"]));
    text.chain(code).map(|(source, said)| Breach::at(source, said, "signatures belong to wire")).collect()
}

/// The block store is told keys and domains, never what they belong to.
fn opaque_keys(repo: &Repo) -> Vec<Breach> {
    const PREFIXES: &[&str] = &["ami-", "snap-", "vol-", "arn:", "aki-"];
    const NOUNS: &[&str] = &["ImageId", "SnapshotId", "VolumeId", "InstanceId", "AccountId", "Region"];
    let mut breaches = Vec::new();
    for source in repo.product().filter(|source| source.is_in("blockstore")) {
        for said in source.strings.iter().filter(|said| PREFIXES.iter().any(|p| said.text.starts_with(p))) {
            breaches.push(Breach::at(source, said, "blockstore knows no AWS id"));
        }
        let nouns = source.paths.iter().filter(|said| NOUNS.contains(&last(&said.text)));
        breaches.extend(nouns.map(|said| Breach::at(source, said, "blockstore knows opaque keys only")));
    }
    breaches
}

fn last(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path)
}

/// An operation has its transaction and nothing else. The ones that put a question to a machine after
/// it say so with `ASKS_HOST`, and may name the port.
fn operations_io(repo: &Repo) -> Vec<Breach> {
    const IO: &[&str] = &[
        "blockstore",
        "object_store",
        "metastore::Metastore",
        "tokio",
        "std::fs",
        "std::net::TcpStream",
        "std::net::TcpListener",
        "std::net::UdpSocket",
        "std::process",
        "hyper",
        "crate::spine::runner",
        "crate::spine::job::Io",
    ];
    const PORTS: &[&str] = &["crate::ports", "super::ports"];
    let mut breaches = Vec::new();
    for source in repo.product().filter(|source| source.path.starts_with("crates/control/src/operations/")) {
        let asks_host = source.names.iter().any(|name| name.text == "ASKS_HOST");
        let forbidden = source.paths.iter().filter(|said| {
            is_under(&said.text, IO)
                || (last(&said.text) == "Host" && is_under(&said.text, PORTS) && !asks_host)
        });
        breaches
            .extend(forbidden.map(|said| Breach::at(source, said, "an operation does no IO: enqueue a job")));
    }
    breaches
}

/// Who may start a process. The tools of the repository drive cargo and git.
fn processes(repo: &Repo) -> Vec<Breach> {
    const STARTS: &[&str] = &["std::process::Command", "tokio::process", "std::process::Child"];
    let rooms = &["hypervisor", "machine", "xtask"];
    let found = outside(repo, rooms, |s| &s.paths, |path| is_under(path, STARTS));
    found
        .map(|(source, said)| Breach::at(source, said, "only hypervisor and machine start processes"))
        .collect()
}

/// The only places that make bytes durable or put them in place by renaming, each with its reason.
const DURABLE: &[(&str, &str)] = &[
    ("crates/blockstore/src/durable.rs", "stored bytes"),
    ("crates/volume/src/disk.rs", "the write log, whose flush is one fdatasync"),
    ("crates/volume/src/durable.rs", "the volume's own small files"),
    ("crates/metastore/src/engine/sqlite", "the folder that holds the database"),
    ("crates/machine/src/console.rs", "turning over the console log, which nothing depends on"),
];

fn durable(repo: &Repo) -> Vec<Breach> {
    const CALLS: &[&str] = &["rename", "fsync", "fdatasync", "syncfs", "sync_all", "sync_data", "persist"];
    let mut breaches = Vec::new();
    for source in
        repo.product().filter(|source| !DURABLE.iter().any(|(place, _)| source.path.starts_with(place)))
    {
        let methods = source
            .methods
            .iter()
            .filter(|said| matches!(said.text.as_str(), "sync_all" | "sync_data" | "persist"));
        let paths = source
            .paths
            .iter()
            .filter(|said| is_file_system(&said.text) && CALLS.contains(&last(&said.text)));
        let found = methods.chain(paths);
        breaches.extend(
            found.map(|said| Breach::at(source, said, "only blockstore::durable makes stored bytes durable")),
        );
    }
    breaches
}

fn is_file_system(path: &str) -> bool {
    is_under(path, &["std::fs", "fs", "tokio::fs", "rustix::fs"])
        || matches!(path, "File::sync_all" | "File::sync_data")
}

/// Where the lint against clocks, randomness, the environment, processes and renames may be put aside.
const ADAPTERS: &[&str] = &[
    "crates/model/src/clock.rs",
    "crates/model/src/id_gen.rs",
    "crates/blockstore/src/durable.rs",
    "crates/hypervisor/src/",
    "crates/machine/src/",
    "crates/cli/src/config",
    "crates/server/src/config",
    "crates/katagami/src/",
    "crates/xtask/src/",
];

fn lint_exceptions(repo: &Repo) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in repo.product().filter(|source| !ADAPTERS.iter().any(|place| source.path.starts_with(place)))
    {
        let found = source.attributes.iter().filter(|said| said.text.contains("clippy::disallowed_methods"));
        breaches
            .extend(found.map(|said| Breach::at(source, said, "only the adapters may put this lint aside")));
    }
    breaches
}

/// The server carries bytes and wires rooms; what an error or a state means is control's.
fn server_semantics(repo: &Repo) -> Vec<Breach> {
    const MEANINGS: &[&str] = &["Code", "ImageState", "SnapshotState", "VolumeState", "InstanceState"];
    let mut breaches = Vec::new();
    for source in repo.product().filter(|source| source.is_in("server")) {
        let found =
            source.paths.iter().filter(|said| said.text.split("::").any(|word| MEANINGS.contains(&word)));
        breaches.extend(found.map(|said| Breach::at(source, said, "EC2 semantics belong to control")));
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::planted;

    /// The rule finds every bad text planted at `path`, and nothing in the good ones.
    fn check(rule: fn(&Repo) -> Vec<Breach>, path: &str, bad: &[&str], good: &[&str]) {
        for text in bad {
            assert!(!rule(&planted(&[(path, text)])).is_empty(), "not found in {path}: {text}");
        }
        for text in good {
            assert_eq!(rule(&planted(&[(path, text)])), [], "found in {path}: {text}");
        }
    }

    #[test]
    fn model_is_pure() {
        let bad = [
            "use std::fs;",
            "use tokio::sync::Mutex;",
            "async fn f() {}",
            "fn f() { std::net::TcpStream::connect(x); }",
        ];
        check(
            pure,
            "crates/model/src/image.rs",
            &bad,
            &["use std::fmt;", "#[cfg(test)] mod tests { use std::fs; }"],
        );
        check(pure, "crates/policy/src/lib.rs", &bad, &[]);
        check(pure, "crates/volume/src/lib.rs", &[], &bad);
    }

    #[test]
    fn sql_stays_in_metastore() {
        let bad = [
            r#"const A: &str = "select a\n from b";"#,
            "use rusqlite::Connection;",
            r#"fn f() { run!("UPDATE a SET b = 1") }"#,
        ];
        check(sql, "crates/control/src/a.rs", &bad, &[r#"const A: &str = "select an image";"#]);
        check(sql, "crates/metastore/src/a.rs", &[], &bad);
    }

    #[test]
    fn xml_and_signatures_stay_in_wire() {
        let markup = [r#"const A: &str = "<a></a>";"#, r#"const A: &str = "<?xml";"#];
        check(xml, "crates/server/src/a.rs", &markup, &[r#"const A: &str = "a </ b> <c";"#]);
        check(xml, "crates/wire/src/xml.rs", &[], &markup);
        let signing = ["use hmac::Mac;", r#"const A: &str = "AWS4-HMAC-SHA256";"#];
        check(signatures, "crates/cli/src/a.rs", &signing, &["use sha2::Sha256;"]);
        check(signatures, "crates/wire/src/sigv4.rs", &[], &signing);
    }

    #[test]
    fn blockstore_knows_no_ids() {
        let bad = [r#"const A: &str = "snap-";"#, "use model::SnapshotId;", "fn f(id: model::VolumeId) {}"];
        check(opaque_keys, "crates/blockstore/src/a.rs", &bad, &["use model::Clock;"]);
    }

    #[test]
    fn operations_have_no_io() {
        let bad = [
            "use blockstore::Store;",
            "use crate::ports::Host;",
            "async fn f() { tokio::fs::read(x).await }",
        ];
        let good = [
            "use crate::ports::Host; impl O for P { const ASKS_HOST: bool = true; }",
            "use crate::failure::Failure;",
        ];
        check(operations_io, "crates/control/src/operations/copy_image.rs", &bad, &good);
        check(operations_io, "crates/control/src/jobs/copy_image.rs", &[], &bad);
    }

    #[test]
    fn processes_start_in_two_rooms() {
        let bad = [
            "use std::process::Command;",
            "fn f() { tokio::process::Command::new(a); }",
            "use std::process::{Child, Stdio};",
        ];
        check(processes, "crates/server/src/a.rs", &bad, &["use std::process::ExitCode;"]);
        check(processes, "crates/machine/src/a.rs", &[], &bad);
    }

    #[test]
    fn durable_bytes_have_few_files() {
        let bad = [
            "fn f() { file.sync_all(); }",
            "fn f() { fs::rename(a, b); }",
            "use rustix::fs::fsync;",
            "fn f() { temp.persist(p) }",
        ];
        check(durable, "crates/server/src/a.rs", &bad, &["fn f() { serde::rename(a) }"]);
        check(durable, "crates/blockstore/src/durable.rs", &[], &bad);
    }

    #[test]
    fn lints_are_put_aside_in_adapters_only() {
        let bad = [
            r#"#[expect(clippy::disallowed_methods, reason = "r")] fn f() {}"#,
            "#![expect(clippy::disallowed_methods)]",
        ];
        check(lint_exceptions, "crates/control/src/a.rs", &bad, &["#[expect(dead_code)] fn f() {}"]);
        check(lint_exceptions, "crates/model/src/clock.rs", &[], &bad);
    }

    #[test]
    fn the_server_decides_nothing() {
        let bad = ["use model::Code;", "fn f() { if s == InstanceState::Running {} }"];
        check(server_semantics, "crates/server/src/a.rs", &bad, &["use model::InstanceId;"]);
    }
}
