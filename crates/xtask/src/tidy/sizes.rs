//! How large files may grow.

use super::{Breach, Rule};
use crate::repo::Repo;

pub(super) const RULES: &[Rule] = &[
    ("file-length", file_length),
    ("operation-length", operation_length),
    ("inline-tests", inline_tests),
    ("blob-size", blob_size),
];

const LINES_MAX: usize = 800;
const OPERATION_LINES_MAX: usize = 300;
const INLINE_TEST_LINES_MAX: usize = 300;
const BLOB_BYTES_MAX: usize = 200 * 1024;

fn is_code(path: &str) -> bool {
    [".rs", ".py", ".sh", ".js", ".css", ".html"].iter().any(|end| path.ends_with(end)) || path == "Makefile"
}

fn file_length(repo: &Repo) -> Vec<Breach> {
    let code = repo.texts().filter(|(path, _)| is_code(path));
    code.filter_map(|(path, text)| {
        let count = text.lines().count();
        (count > LINES_MAX).then(|| Breach::of(path, format!("{count} lines, at most {LINES_MAX}: split it")))
    })
    .collect()
}

fn operation_length(repo: &Repo) -> Vec<Breach> {
    const FOLDERS: [&str; 2] = ["crates/control/src/operations/", "crates/control/src/block_operations/"];
    let is_operation = |path: &str| {
        FOLDERS.iter().any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest != "mod.rs"))
    };
    let operations = repo.product().filter(|source| is_operation(&source.path));
    operations
        .filter_map(|source| {
            let tests: usize = source.test_modules.iter().map(|(_, count)| count).sum();
            let count = source.line_count - tests;
            (count > OPERATION_LINES_MAX).then(|| {
                Breach::of(
                    &source.path,
                    format!("{count} lines without tests: a concept is missing in model"),
                )
            })
        })
        .collect()
}

fn inline_tests(repo: &Repo) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for source in &repo.sources {
        for (line, count) in source.test_modules.iter().filter(|(_, count)| *count > INLINE_TEST_LINES_MAX) {
            breaches.push(Breach::on(
                &source.path,
                *line,
                format!("{count} lines of tests: move them to tests.rs"),
            ));
        }
    }
    breaches
}

fn blob_size(repo: &Repo) -> Vec<Breach> {
    let large =
        repo.files.iter().filter(|(path, bytes)| bytes.len() > BLOB_BYTES_MAX && *path != "Cargo.lock");
    large
        .map(|(path, bytes)| Breach::of(path, format!("{} bytes, at most {BLOB_BYTES_MAX}", bytes.len())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repo::planted;

    fn lines(count: usize) -> String {
        "// line\n".repeat(count)
    }

    #[test]
    fn long_files_are_found() {
        let at = |path: &str, count: usize| file_length(&planted(&[(path, lines(count).as_str())])).len();
        assert_eq!((at("crates/a/src/b.rs", LINES_MAX), at("crates/a/src/b.rs", LINES_MAX + 1)), (0, 1));
        assert_eq!((at("demo/run.sh", LINES_MAX + 1), at("docs/a.md", LINES_MAX + 1)), (1, 0));
    }

    #[test]
    fn long_operations_are_found_and_their_tests_not_counted() {
        let path = "crates/control/src/operations/copy_image.rs";
        let text = lines(OPERATION_LINES_MAX) + "#[cfg(test)]\nmod tests {\n}\n";
        assert_eq!(operation_length(&planted(&[(path, text.as_str())])), []);
        let long = text + "// one more\n";
        for path in [path, "crates/control/src/operations/copy_image/mod.rs"] {
            assert_eq!(operation_length(&planted(&[(path, long.as_str())])).len(), 1);
        }
        assert_eq!(
            operation_length(&planted(&[("crates/control/src/operations/mod.rs", long.as_str())])),
            []
        );
    }

    #[test]
    fn long_inline_tests_are_found() {
        let module = |count: usize| format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(count - 3));
        let at = |count| inline_tests(&planted(&[("crates/a/src/b.rs", module(count).as_str())])).len();
        assert_eq!((at(INLINE_TEST_LINES_MAX), at(INLINE_TEST_LINES_MAX + 1)), (0, 1));
    }

    #[test]
    fn large_blobs_are_found() {
        let text = "x".repeat(BLOB_BYTES_MAX + 1);
        assert_eq!(blob_size(&planted(&[("a.bin", text.as_str()), ("Cargo.lock", text.as_str())])).len(), 1);
    }
}
