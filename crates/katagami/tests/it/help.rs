//! The help texts, as files to read: `UPDATE_GOLDEN=1` writes them anew.

use std::path::Path;

use crate::rig::{run, stdout};

const LINES_MAX: usize = 40;
const COLUMNS_MAX: usize = 100;

#[test]
#[expect(clippy::disallowed_methods, reason = "the switch for updating is for whoever runs the test")]
fn help_fits_a_screen_and_is_as_it_was_reviewed() {
    let home = tempfile::tempdir().unwrap();
    for (name, arguments) in [
        ("katagami", &["--help"][..]),
        ("serve", &["serve", "--help"]),
        ("account", &["account", "--help"]),
        ("account-create", &["account", "create", "--help"]),
        ("gc", &["gc", "--help"]),
        ("store", &["store", "--help"]),
        ("store-stat", &["store", "stat", "--help"]),
        ("verify", &["verify", "--help"]),
        ("rebuild", &["rebuild", "--help"]),
        ("push", &["push", "--help"]),
        ("forwards", &["forwards", "--help"]),
    ] {
        let output = run(home.path(), arguments);
        let text = stdout(&output);
        assert!(text.lines().count() <= LINES_MAX, "{name}:\n{text}");
        assert!(text.lines().all(|line| line.chars().count() <= COLUMNS_MAX), "{name}:\n{text}");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/help/{name}.txt"));
        if std::env::var("UPDATE_GOLDEN").is_ok() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&file).unwrap_or_default(), "{}", file.display());
    }
}

#[test]
fn mistakes_on_the_command_line_are_usage_errors() {
    let home = tempfile::tempdir().unwrap();
    for arguments in [
        &[][..],
        &["nonsense"],
        &["push"],
        &["forwards", "vol-1"],
        &["push", "x", "--name", "y", "--parallel", "0"],
    ] {
        assert_eq!(run(home.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
}
