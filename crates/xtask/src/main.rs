//! The project's own tools: `cargo xtask tidy|codegen|coverage|bench|prove`.
//!
//! Reads the repository and the output of cargo and git; refuses to link any other crate of the
//! workspace, so that it still builds while they do not.

#![expect(clippy::print_stdout, reason = "a command-line tool: its report is its output")]

mod bench;
mod codegen;
mod coverage;
mod mutants;
mod prove;
mod repo;
mod source;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};
use repo::Repo;

const USAGE: &str = "usage: cargo xtask <command>
  tidy               check the rules that the compiler does not know
  codegen [--check]  write the registries of operations and jobs from their folders
  coverage [--check] write docs/api-coverage.md from the registry of operations
  bench [NAME]...    run the programs of bench/, print a table, write target/bench/results.json
  prove [OPTION]...  simulate crashes, faults and damage under a model (options: crates/proof/README.md)
  mutants [WORD]...  break the source in many places, one at a time, and look whether the tests notice";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["tidy"] => tidy::run(&Repo::open()?),
        ["codegen"] => codegen::write(&Repo::open()?),
        ["codegen", "--check"] => codegen::check(&Repo::open()?),
        ["coverage"] => coverage::write(&Repo::open()?),
        ["coverage", "--check"] => coverage::check(&Repo::open()?),
        ["bench", names @ ..] => bench::run(&Repo::open()?, names),
        ["mutants", words @ ..] => mutants::run(&Repo::open()?, words),
        ["prove", options @ ..] => prove::run(options),
        _ => bail!("{USAGE}"),
    }
}
