//! `proof`: plays histories until the time is up, and reports.

#![expect(clippy::print_stdout, reason = "a command-line tool: its report is its output")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use model::{Clock, SystemClock};
use proof::{Failure, OPERATIONS, Played, Report, play, shrink};

const USAGE: &str =
    "usage: cargo xtask prove [--seconds N] [--seeds N] [--seed N] [--operations N] [--report FILE]
  --seconds N     play new seeds for so long (60)
  --seeds N       play no more than so many
  --seed N        begin with this one (1)
  --operations N  operations in a history (400)
  --report FILE   write the report as JSON too";

/// Every so manieth seed is played twice.
const REPLAY_EVERY: u64 = 10;

struct Settings {
    seconds: u64,
    seeds: u64,
    seed: u64,
    operations: usize,
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(settings) = parse(&args) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // A panic of the product is a finding, and is told with its history.
    std::panic::set_hook(Box::new(|_| {}));
    let report = prove(&settings);
    print!("{report}");
    let written = settings.report.map(|path| std::fs::write(path, format!("{:#}\n", report.json())));
    if let Some(Err(error)) = written {
        eprintln!("error: write the report: {error}");
        return ExitCode::FAILURE;
    }
    if report.failure.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(args: &[String]) -> Option<Settings> {
    let mut settings =
        Settings { seconds: 60, seeds: u64::MAX, seed: 1, operations: OPERATIONS, report: None };
    for pair in args.chunks(2) {
        let [name, value] = pair else { return None };
        match name.as_str() {
            "--seconds" => settings.seconds = value.parse().ok()?,
            "--seeds" => settings.seeds = value.parse().ok()?,
            "--seed" => settings.seed = value.parse().ok()?,
            "--operations" => settings.operations = value.parse().ok()?,
            "--report" => settings.report = Some(value.into()),
            _ => return None,
        }
    }
    Some(settings)
}

fn prove(settings: &Settings) -> Report {
    let clock = SystemClock::new();
    let end = Duration::from_secs(settings.seconds);
    let mut report = Report { first_seed: settings.seed, ..Report::default() };
    while report.seeds < settings.seeds && clock.monotonic() < end {
        let seed = settings.seed + report.seeds;
        match play(seed, settings.operations).and_then(|played| replay(seed, settings, &mut report, played)) {
            Ok(played) => report.counts.add(&played.counts),
            Err(failure) => {
                eprintln!("seed {seed} breaks a promise; looking for the shortest history that does");
                report.failure = Some(shrink(failure));
                return report;
            }
        }
        report.seeds += 1;
    }
    report
}

/// Now and then a history is played again, and must not differ in any event.
fn replay(seed: u64, settings: &Settings, report: &mut Report, played: Played) -> Result<Played, Failure> {
    if !report.seeds.is_multiple_of(REPLAY_EVERY) {
        return Ok(played);
    }
    let again = play(seed, settings.operations)?;
    report.replayed += 1;
    if again == played {
        return Ok(played);
    }
    let what = "the same seed gave another history".to_owned();
    Err(Failure { seed, operations: settings.operations, what, tail: Vec::new() })
}
