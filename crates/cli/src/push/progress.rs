//! How far an upload is, on standard error.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::ui;

const BAR: &str = "{bar:32} {percent:>3}%  {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left";

/// The form that it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    Bar,
    Lines,
    Json,
    Nothing,
}

#[derive(Debug)]
pub(crate) struct Progress {
    show: Show,
    state: Arc<State>,
    ticker: Option<JoinHandle<()>>,
    client: Client,
    started: Duration,
}

#[derive(Debug)]
struct State {
    total_bytes: u64,
    sent_bytes: AtomicU64,
    skipped_bytes: AtomicU64,
    bar: ProgressBar,
}

impl Progress {
    pub(crate) fn start(show: Show, total_bytes: u64, client: &Client) -> Self {
        let bar = if show == Show::Bar { bar(total_bytes) } else { ProgressBar::hidden() };
        let state = Arc::new(State {
            total_bytes,
            sent_bytes: AtomicU64::new(0),
            skipped_bytes: AtomicU64::new(0),
            bar,
        });
        let every = match show {
            Show::Lines => Some(Duration::from_secs(10)),
            Show::Json => Some(Duration::from_secs(1)),
            Show::Bar | Show::Nothing => None,
        };
        let ticker = every.map(|every| tokio::spawn(tick(show, Arc::clone(&state), every)));
        Self { show, state, ticker, started: client.monotonic(), client: client.clone() }
    }

    pub(crate) fn sent(&self, bytes: u64) {
        self.state.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.state.bar.inc(bytes);
    }

    pub(crate) fn skipped(&self, bytes: u64) {
        self.state.skipped_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.state.bar.inc(bytes);
    }

    /// The last word.
    pub(crate) fn finish(self, name: &str, is_complete: bool) {
        if let Some(ticker) = &self.ticker {
            ticker.abort();
        }
        self.state.bar.finish_and_clear();
        if self.show == Show::Json {
            ui::note(&self.state.json());
        } else if self.show != Show::Nothing && is_complete {
            let elapsed = self.client.monotonic().saturating_sub(self.started);
            ui::note(&format!("{name}: {}", self.state.summary(elapsed)));
        }
    }
}

async fn tick(show: Show, state: Arc<State>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        ui::note(&if show == Show::Json { state.json() } else { state.line() });
    }
}

impl State {
    fn counts(&self) -> (u64, u64) {
        (self.sent_bytes.load(Ordering::Relaxed), self.skipped_bytes.load(Ordering::Relaxed))
    }

    fn line(&self) -> String {
        let (sent, skipped) = self.counts();
        let done = sent.saturating_add(skipped).min(self.total_bytes);
        let percent = u128::from(done) * 100 / u128::from(self.total_bytes.max(1));
        format!("{percent:>3}% of {}, {} sent", HumanBytes(self.total_bytes), HumanBytes(sent))
    }

    fn json(&self) -> String {
        let (sent, skipped) = self.counts();
        json!({"total_bytes": self.total_bytes, "sent_bytes": sent, "zero_bytes": skipped}).to_string()
    }

    fn summary(&self, elapsed: Duration) -> String {
        let (sent, skipped) = self.counts();
        let millis = elapsed.as_millis().max(1);
        let rate = u64::try_from(u128::from(sent) * 1000 / millis).unwrap_or(u64::MAX);
        format!(
            "{} sent in {}.{} s ({}/s); {} of zeros not sent",
            HumanBytes(sent),
            millis / 1000,
            millis % 1000 / 100,
            HumanBytes(rate),
            HumanBytes(skipped),
        )
    }
}

fn bar(total_bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total_bytes).with_style(style)
}
