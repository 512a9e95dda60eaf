//! `katagami verify`: works whether a server runs on the data directory or not.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;
use control::{ScrubState, VerifyReport, VerifyTarget};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::admin::{Reply, Request};
use crate::administrator::{self, Progress};
use crate::data_dir::DataDir;
use crate::error::{Error, Result};
use crate::options::existing_data;

/// What scripts see where bytes are damaged or missing.
const DAMAGED_EXIT_CODE: u8 = 6;
/// Ranges of one disk that the text shows; `--json` has all.
const RANGES_SHOWN_MAX: usize = 20;
const BAR: &str = "{bar:32} {percent:>3}%  {pos} of {len} packs  {msg}  {eta} left";

/// Check every stored byte that images need, and name what is damaged
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 all is whole, 6 something is damaged or missing, 1 it could not be verified.

Examples:
  katagami verify --all
  katagami verify ami-081cfb70ddda70fee --data /srv/katagami
  katagami verify --status
  katagami verify --all --json | jq '.affected[].images[].name'")]
pub struct VerifyOptions {
    /// The image, snapshot or volume to verify
    #[arg(value_name = "ID", required_unless_present_any = ["all", "status"])]
    id: Option<String>,
    /// Everything that the server keeps
    #[arg(long, conflicts_with = "id")]
    all: bool,
    /// Only tell when the server verified what by itself, and what it found
    #[arg(long, conflicts_with_all = ["id", "all"])]
    status: bool,
    /// Print one JSON object with everything that was found
    #[arg(long)]
    json: bool,
    /// The server's data directory [default: $XDG_DATA_HOME/katagami]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// What to print, and the exit code.
#[derive(Debug)]
pub struct Verdict {
    pub text: String,
    pub exit_code: u8,
}

impl VerifyOptions {
    pub async fn run(self, default_data: Option<PathBuf>) -> Result<Verdict> {
        let target = match &self.id {
            Some(id) => id.parse().map_err(|fault: model::Fault| Error::usage(fault.message))?,
            None => VerifyTarget::All,
        };
        let data = DataDir::open(&existing_data(self.data, default_data)?)?;
        if self.status {
            return status(&data, self.json).await;
        }
        let report = verify(&data, target).await?;
        let text = if self.json {
            serde_json::to_string(&report).map_err(|e| Error::caused("write the report", e))?
        } else {
            as_text(&report)
        };
        Ok(Verdict { text, exit_code: if report.is_damaged() { DAMAGED_EXIT_CODE } else { 0 } })
    }
}

async fn verify(data: &DataDir, target: VerifyTarget) -> Result<VerifyReport> {
    let bar = bar();
    let show = |progress: Progress| {
        let Progress::Verify(progress) = progress else { return };
        bar.set_length(progress.packs);
        bar.set_position(progress.packs_done);
        bar.set_message(HumanBytes(progress.decoded_bytes).to_string());
    };
    let reply = administrator::ask_telling(data, &Request::Verify { target }, &show).await?;
    bar.finish_and_clear();
    let Reply::Verified(report) = reply else { return Err(reply.unexpected()) };
    Ok(*report)
}

/// What the server's scrub has noted.
async fn status(data: &DataDir, is_json: bool) -> Result<Verdict> {
    let reply = administrator::ask(data, &Request::ScrubStatus).await?;
    let Reply::ScrubStatus(states) = reply else { return Err(reply.unexpected()) };
    let is_damaged = states.iter().any(|state| state.report.is_damaged());
    let text = if is_json {
        serde_json::to_string(&states).map_err(|e| Error::caused("write the status", e))?
    } else {
        states.iter().map(status_text).collect::<Vec<_>>().join("\n")
    };
    Ok(Verdict { text, exit_code: if is_damaged { DAMAGED_EXIT_CODE } else { 0 } })
}

fn status_text(state: &ScrubState) -> String {
    let verified =
        state.verified.map_or_else(|| "not verified yet".to_owned(), |at| format!("verified {at}"));
    let now = state.begun.map(|at| format!("; the next round began {at}")).unwrap_or_default();
    let found = match state.verified {
        Some(_) => format!("\n{}", as_text(&state.report)),
        None => String::new(),
    };
    format!("{}: {verified}{now}{found}", state.domain)
}

fn bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

fn as_text(report: &VerifyReport) -> String {
    let mut text = String::new();
    for bad in &report.damaged_objects {
        line(&mut text, &format!("{}: {} ({})", bad.defect, bad.object, bad.cause));
    }
    for affected in &report.affected {
        let users = &affected.users;
        for image in &users.images {
            line(
                &mut text,
                &format!("image {} \"{}\" of {} lost:", image.image_id, image.name, image.owner_id),
            );
        }
        for snapshot in &users.snapshots {
            line(&mut text, &format!("snapshot {} of {} lost:", snapshot.snapshot_id, snapshot.owner_id));
        }
        for volume in &users.volumes {
            line(&mut text, &format!("volume {} of {} lost:", volume.volume_id, volume.owner_id));
        }
        for range in affected.ranges.iter().take(RANGES_SHOWN_MAX) {
            line(
                &mut text,
                &format!("  {} bytes at {} ({})", range.len_bytes, range.offset_bytes, range.object),
            );
        }
        let more = affected.ranges.len().saturating_sub(RANGES_SHOWN_MAX);
        if more > 0 {
            line(&mut text, &format!("  and {more} ranges more: see --json"));
        }
    }
    text.push_str(&summary(report));
    text
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}

fn summary(report: &VerifyReport) -> String {
    // A scrub takes its time.
    let rate = u128::from(report.decoded_bytes) * 1000 / u128::from(report.elapsed_ms.max(1));
    let rate = match report.elapsed_ms {
        0 => String::new(),
        _ => format!(", {}/s", HumanBytes(u64::try_from(rate).unwrap_or(u64::MAX))),
    };
    let found = match (report.damaged_objects.len(), report.affected.len()) {
        (0, _) => "all is whole".to_owned(),
        (objects, 0) => format!("{objects} objects are damaged; no image lost any bytes"),
        (objects, disks) => format!("{objects} objects are damaged; {disks} disks lost bytes"),
    };
    format!(
        "{} images, {} snapshots, {} volumes: {found}; {} of blocks in {} packs checked{rate}",
        report.images,
        report.snapshots,
        report.volumes,
        HumanBytes(report.decoded_bytes),
        report.packs,
    )
}
