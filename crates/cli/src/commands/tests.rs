use clap::{CommandFactory as _, Parser};

use super::*;

#[derive(Debug, Parser)]
#[command(name = "katagami")]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[test]
fn the_definition_is_consistent() {
    Line::command().debug_assert();
}

#[test]
fn a_push_that_could_only_fail_after_the_upload_is_refused_before_it() {
    let parse = |more: &[&str]| Line::try_parse_from([&["katagami", "push", "disk.raw"], more].concat());
    for wrong in [
        &["--name", "ab"][..],
        &["--name", ""],
        &["--name", "web", "--boot-mode", "bios"],
        &["--name", "web", "--architecture", "mips"],
    ] {
        assert!(parse(wrong).is_err(), "{wrong:?}");
    }
    parse(&["--name", "web", "--boot-mode", "uefi", "--architecture", "arm64"]).unwrap();
}
