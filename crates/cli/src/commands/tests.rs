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
