//! Where effects pass: counts calls, fails one of them, or holds one for ever so that its caller can be killed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

/// What happens at one chosen passage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call fails without having had its effect.
    Fail,
    /// The caller never gets on; the harness then drops it, as a kill -9 would.
    Kill,
    /// The caller gets on when the test lets it: what happens meanwhile is a race that is won every time.
    Pause,
}

#[derive(Debug, Default)]
struct Inner {
    passages: AtomicU64,
    plan: Mutex<Option<(u64, Fault)>>,
    reached: Notify,
    resumed: Notify,
}

/// Shared by everything that has effects in one world. Each call passes twice: before and after its effect.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<Inner>);

impl Gate {
    /// Passages so far.
    pub fn count(&self) -> u64 {
        self.0.passages.load(Ordering::SeqCst)
    }

    /// Counts from zero again and plans a fault at the passage of that number, from 0.
    pub fn plan(&self, fault: Option<(u64, Fault)>) {
        self.0.passages.store(0, Ordering::SeqCst);
        *self.0.plan.lock().expect("the plan is only replaced") = fault;
    }

    /// Resolves when a planned kill is reached.
    pub async fn killed(&self) {
        self.0.reached.notified().await;
    }

    /// Resolves when a planned pause is reached.
    pub async fn paused(&self) {
        self.0.reached.notified().await;
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.0.resumed.notify_one();
    }

    fn next(&self) -> Option<Fault> {
        let number = self.0.passages.fetch_add(1, Ordering::SeqCst);
        let mut plan = self.0.plan.lock().expect("the plan is only replaced");
        let fault = plan.filter(|(at, _)| *at == number).map(|(_, fault)| fault);
        if fault.is_some() {
            *plan = None;
        }
        fault
    }

    /// The passage before the effect.
    pub async fn pass(&self, call: &'static str) -> Result<(), String> {
        match self.next() {
            None => Ok(()),
            Some(Fault::Fail) => Err(format!("planned failure of {call}")),
            Some(Fault::Kill) => self.hold().await,
            Some(Fault::Pause) => {
                self.pause().await;
                Ok(())
            }
        }
    }

    /// A read, which another may wait for too: a pause would hold that one up as well, and is left out.
    pub async fn pass_shared(&self, call: &'static str) -> Result<(), String> {
        match self.next() {
            None | Some(Fault::Pause) => Ok(()),
            Some(Fault::Fail) => Err(format!("planned failure of {call}")),
            Some(Fault::Kill) => self.hold().await,
        }
    }

    /// The passage after the effect, which can no longer fail.
    pub async fn pass_done(&self, _call: &'static str) {
        match self.next() {
            None | Some(Fault::Fail) => {}
            Some(Fault::Kill) => {
                let held: Result<(), String> = self.hold().await;
                debug_assert!(held.is_err(), "a held caller never returns");
            }
            Some(Fault::Pause) => self.pause().await,
        }
    }

    async fn pause(&self) {
        self.0.reached.notify_one();
        self.0.resumed.notified().await;
    }

    async fn hold(&self) -> Result<(), String> {
        self.0.reached.notify_one();
        std::future::pending().await
    }
}
