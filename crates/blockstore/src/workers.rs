//! Threads for what is computation alone, as many as processors: hashing, compressing. More would only
//! push each other's tables out of the processor's cache.
//!
//! A runtime of one thread does the work as tasks of its own, for the reason that [`crate::offload`] gives.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind, Result};

type Job = Box<dyn FnOnce() + Send>;

/// What a worker gives back; an error where the work panicked.
pub(crate) type Working<T> = oneshot::Receiver<T>;

/// The threads end with the last handle on the store.
#[derive(Debug)]
pub(crate) struct Workers {
    jobs: Sender<Job>,
}

impl Workers {
    pub(crate) fn start(count: usize) -> Result<Self> {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..count.max(1) {
            let queue = Arc::clone(&queue);
            let spawned = std::thread::Builder::new().name("store".to_owned()).spawn(move || work(&queue));
            spawned.map_err(|e| Error::new(ErrorKind::Unavailable, "start a thread").with_source(e))?;
        }
        Ok(Self { jobs })
    }

    /// Begins the work at once, whether or not anybody waits for it.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Working<T> {
        let (sender, receiver) = oneshot::channel();
        let job = move || drop(sender.send(work()));
        if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
            drop(tokio::spawn(async move { job() }));
            return receiver;
        }
        // No thread is left only if all were ended from outside; the receiver then tells.
        self.jobs.send(Box::new(job)).ok();
        receiver
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        // The panic is told where it happened; whoever waits sees the sender gone.
        catch_unwind(AssertUnwindSafe(job)).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn work_that_panics_is_an_error_and_the_next_is_done() {
        let workers = Workers::start(1).unwrap();
        let bad: Working<()> = workers.run(|| panic!("for the test"));
        let good = workers.run(|| 7);
        assert!(bad.await.is_err());
        assert_eq!(good.await.unwrap(), 7);
    }
}
