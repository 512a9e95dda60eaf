//! `katagami gc` and `katagami store stat`: what is in the snapshot store, and freeing what nobody needs.

use std::io::IsTerminal as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use blockstore::{Collected, Repacked};
use clap::{Args, Subcommand, ValueEnum};
use control::{DomainUsage, Repack};
use indicatif::{HumanBytes, ProgressBar};
use serde::{Deserialize, Serialize};

use crate::admin::{Reply, Request};
use crate::administrator::{self, Progress};
use crate::data_dir::DataDir;
use crate::error::{Error, Result};
use crate::options::existing_data;

/// Free the space of deleted snapshots and images
#[derive(Debug, Args)]
#[command(after_help = "\
A server collects by itself: what nothing needs goes about a day after it was deleted. Without
--now this is one round of that. It also rewrites packs that are mostly dead. Rewriting all makes
what stays a tenth smaller, takes a core second for 20 MB, and makes random reads slower.

Examples:
  katagami gc
  katagami gc --now --retire 0
  katagami gc --repack all")]
pub struct GcOptions {
    /// Do not wait an hour before something dead is condemned
    #[arg(long)]
    now: bool,
    /// How long what is condemned is kept [default: 86400]
    #[arg(long, value_name = "SECONDS")]
    retire: Option<u64>,
    /// First rewrite packs: those that are mostly dead (sparse), or all
    #[arg(long, value_name = "WHICH", hide_possible_values = true)]
    repack: Option<RepackWhich>,
    /// Go on deleting after an alarm; see the runbook first
    #[arg(long)]
    acknowledge: bool,
    /// The server's data directory [default: $XDG_DATA_HOME/katagami]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RepackWhich {
    Sparse,
    All,
}

/// Look at the snapshot store of this host
#[derive(Debug, Args)]
pub struct StoreOptions {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    /// Show what is stored, what is needed, and what will go
    Stat {
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// The server's data directory [default: $XDG_DATA_HOME/katagami]
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
    },
}

/// What the collector found and did in one storage domain. Bytes are of stored objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CollectedDomain {
    domain: String,
    live_bytes: u64,
    dead_bytes: u64,
    retired_bytes: u64,
    condemned_objects: u64,
    deleted_objects: u64,
    deleted_bytes: u64,
    is_alarmed: bool,
    /// Of old packs, and of the new ones that took their place.
    repacked_bytes: u64,
    repacked_to_bytes: u64,
}

impl CollectedDomain {
    pub(crate) fn of(domain: String, found: &Collected, repacked: Option<Repacked>) -> Self {
        let repacked = repacked.unwrap_or_default();
        Self {
            domain,
            repacked_bytes: repacked.bytes,
            repacked_to_bytes: repacked.new_bytes,
            live_bytes: found.live_bytes,
            dead_bytes: found.dead_bytes,
            retired_bytes: found.retired_bytes,
            condemned_objects: found.condemned_objects,
            deleted_objects: found.deleted_objects,
            deleted_bytes: found.deleted_bytes,
            is_alarmed: found.is_alarmed,
        }
    }

    fn line(&self) -> String {
        let alarm = if self.is_alarmed { "; ALARM: nothing is deleted, see the runbook" } else { "" };
        let repacked = match self.repacked_bytes {
            0 => String::new(),
            bytes => {
                format!("repacked {} to {}, ", HumanBytes(bytes), HumanBytes(self.repacked_to_bytes))
            }
        };
        format!(
            "{}: {repacked}deleted {} in {} objects, retired {}, dead {}, live {}{alarm}",
            self.domain,
            HumanBytes(self.deleted_bytes),
            self.deleted_objects,
            HumanBytes(self.retired_bytes),
            HumanBytes(self.dead_bytes),
            HumanBytes(self.live_bytes),
        )
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoreUsage {
    domains: Vec<DomainLine>,
    /// What the files of the store take on the disk.
    disk_bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct DomainLine {
    domain: String,
    account_id: String,
    region: String,
    snapshots: u64,
    images: u64,
    /// Of all snapshots, as if each were stored by itself.
    logical_bytes: u64,
    /// Of the blocks that any snapshot needs, each once, before compression.
    unique_bytes: u64,
    live_bytes: u64,
    dead_bytes: u64,
    retired_bytes: u64,
    objects: u64,
    epoch: u64,
    is_alarmed: bool,
}

impl StoreUsage {
    pub(crate) fn of(domains: Vec<DomainUsage>, store: &Path) -> Result<Self> {
        let disk_bytes =
            disk_bytes(store).map_err(|e| Error::caused(format!("look through {}", store.display()), e))?;
        Ok(Self { domains: domains.into_iter().map(DomainLine::of).collect(), disk_bytes })
    }

    fn lines(&self) -> String {
        let mut lines: Vec<String> = self.domains.iter().map(DomainLine::line).collect();
        lines.push(format!("on disk: {}", HumanBytes(self.disk_bytes)));
        lines.join("\n")
    }
}

impl DomainLine {
    fn of(usage: DomainUsage) -> Self {
        let found = usage.found;
        Self {
            domain: usage.domain,
            account_id: usage.account_id.to_string(),
            region: usage.region.to_string(),
            snapshots: usage.snapshots,
            images: usage.images,
            logical_bytes: usage.logical_bytes,
            unique_bytes: found.live_block_bytes,
            live_bytes: found.live_bytes,
            dead_bytes: found.dead_bytes,
            retired_bytes: found.retired_bytes,
            objects: found.live_objects + found.dead_objects + found.retired_objects,
            epoch: found.epoch,
            is_alarmed: found.is_alarmed,
        }
    }

    fn line(&self) -> String {
        format!(
            "{}: {} images, {} snapshots of {}; stored: live {}, dead {}, retired {}",
            self.domain,
            self.images,
            self.snapshots,
            HumanBytes(self.logical_bytes),
            HumanBytes(self.live_bytes),
            HumanBytes(self.dead_bytes),
            HumanBytes(self.retired_bytes),
        )
    }
}

impl GcOptions {
    /// The lines to print.
    pub async fn run(self, default_data: Option<PathBuf>) -> Result<String> {
        let data = DataDir::open(&existing_data(self.data, default_data)?)?;
        let repack = self.repack.map(|which| match which {
            RepackWhich::Sparse => Repack::Sparse,
            RepackWhich::All => Repack::All,
        });
        let request = Request::StoreCollect {
            now: self.now,
            retire_secs: self.retire,
            acknowledge: self.acknowledge,
            repack,
        };
        let bar = spinner();
        let show = |progress: Progress| {
            let Progress::Repack(progress) = progress else { return };
            bar.set_message(format!("{}: {} moved", progress.domain, HumanBytes(progress.moved_bytes)));
        };
        let reply = administrator::ask_telling(&data, &request, &show).await?;
        bar.finish_and_clear();
        let Reply::Collected(domains) = reply else { return Err(reply.unexpected()) };
        let lines: Vec<String> = domains.iter().map(CollectedDomain::line).collect();
        Ok(lines.join("\n"))
    }
}

impl StoreOptions {
    /// The lines to print.
    pub async fn run(self, default_data: Option<PathBuf>) -> Result<String> {
        let StoreCommand::Stat { json, data } = self.command;
        let data = DataDir::open(&existing_data(data, default_data)?)?;
        let reply = administrator::ask(&data, &Request::StoreUsage).await?;
        let Reply::StoreUsage(usage) = reply else { return Err(reply.unexpected()) };
        if json {
            return serde_json::to_string(&usage).map_err(|e| Error::caused("write JSON", e));
        }
        Ok(usage.lines())
    }
}

fn spinner() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    ProgressBar::new_spinner()
}

/// What a directory and all below it take. What vanishes meanwhile takes nothing.
fn disk_bytes(dir: &Path) -> std::io::Result<u64> {
    const BLOCK_BYTES: u64 = 512;
    let mut total = 0;
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        let entries = match std::fs::read_dir(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            match entry.metadata() {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
                Ok(metadata) => {
                    total += metadata.blocks() * BLOCK_BYTES;
                    if metadata.is_dir() {
                        open.push(entry.path());
                    }
                }
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_at_any_depth_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let empty = disk_bytes(dir.path()).unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::fs::write(dir.path().join("a/b/c"), vec![1; 1 << 20]).unwrap();
        assert!(disk_bytes(dir.path()).unwrap() >= empty + (1 << 20));
        assert_eq!(disk_bytes(&dir.path().join("none")).unwrap(), 0);
    }
}
