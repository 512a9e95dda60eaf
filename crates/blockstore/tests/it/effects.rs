//! Names are given to durable bytes only, and are durable when a call returns: read off the system calls.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use blockstore::{Store, durable};
use object_store::path::Path as Location;
use object_store::{ObjectStoreExt, PutPayload};

const CALLS: &str = "trace=fsync,fdatasync,rename,renameat,renameat2,link,linkat,mkdir,mkdirat";
/// Tells this test that it is the traced one.
const TRACED: &str = "EFFECTS_IN";

#[test]
fn names_are_durable_and_so_is_what_they_name() {
    if let Some(dir) = std::env::var_os(TRACED) {
        return work(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    trace_myself(&trace, &dir.path().join("data"));
    let text = std::fs::read_to_string(trace).unwrap();
    let done = check(&text, &dir.path().join("data"));
    assert!(done > 12, "too little was traced to mean anything:\n{text}");
}

#[expect(clippy::disallowed_methods, reason = "a tracer needs a process that it can trace")]
fn trace_myself(trace: &Path, data: &Path) {
    let mut strace = std::process::Command::new("strace");
    let words: [&OsStr; 6] =
        ["-f".as_ref(), "-y".as_ref(), "-e".as_ref(), CALLS.as_ref(), "-o".as_ref(), trace.as_ref()];
    strace.args(words).arg(std::env::current_exe().unwrap()).env(TRACED, data);
    let traced = strace.args(["--exact", "effects::names_are_durable_and_so_is_what_they_name"]).output();
    let traced = traced.expect("strace is installed by scripts/setup-system.sh");
    assert!(traced.status.success(), "{}", String::from_utf8_lossy(&traced.stdout));
}

/// Every way to make something durable, each in a directory of its own: a later sync must not stand in for
/// an earlier one.
fn work(dir: &Path) {
    durable::create_dir_all(&dir.join("made/one/by/one")).unwrap();
    durable::write_file(&dir.join("written/below/file"), b"one", 0o600).unwrap();
    durable::create_file(&dir.join("created/below/file"), b"one", 0o600).unwrap();
    assert!(durable::create_file(&dir.join("created/below/file"), b"two", 0o600).is_err());
    let store = Store::local(&dir.join("new/store")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for location in ["store", "pack/d/aa/one", "pack/d/bb/two", "node/d/cc/three"] {
            store.put(&Location::from(location), PutPayload::from_static(b"bytes")).await.unwrap();
        }
    });
}

/// How many names were made, all of them durable.
fn check(trace: &str, data: &Path) -> usize {
    let mut threads: Vec<&str> = trace.lines().filter_map(|line| line.split(' ').next()).collect();
    threads.sort_unstable();
    threads.dedup();
    threads.into_iter().map(|thread| check_thread(trace, thread, data)).sum()
}

/// The calls of one thread, in their order. One that another thread's broke in two counts where it began.
fn check_thread(trace: &str, thread: &str, data: &Path) -> usize {
    let (mut synced, mut unsynced_names, mut names) = (HashSet::new(), HashSet::new(), 0);
    for line in trace.lines().filter(|line| line.split(' ').next() == Some(thread)) {
        // A name that was taken is as good as made: the caller takes it as safe.
        if line.contains(" = -1 ") && !(line.contains("link") && line.contains("EEXIST")) {
            continue;
        }
        let paths: Vec<PathBuf> =
            line.split(['"', '<', '>']).map(PathBuf::from).filter(|path| path.starts_with(data)).collect();
        let Some(last) = paths.last() else { continue };
        if line.contains("sync(") {
            synced.insert(last.clone());
            unsynced_names.remove(last);
            continue;
        }
        if !line.contains("mkdir") {
            assert!(synced.contains(&paths[0]), "its bytes are not durable when it gets its name: {line}");
        }
        names += 1;
        unsynced_names.insert(last.parent().unwrap().to_owned());
    }
    unsynced_names.retain(|dir| dir.starts_with(data));
    assert!(unsynced_names.is_empty(), "names in {unsynced_names:?} are not durable:\n{trace}");
    names
}
