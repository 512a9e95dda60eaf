//! `cargo xtask prove`: builds the simulation of crates/proof and runs it. Its options are passed on.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::repo::command;

pub(crate) fn run(options: &[&str]) -> Result<()> {
    let args = [&["run", "-q", "--locked", "-p", "proof", "--"], options].concat();
    let status = command(Path::new("."), "cargo", &args).status().context("start cargo")?;
    ensure!(status.success(), "the simulation ended with {status}");
    Ok(())
}
