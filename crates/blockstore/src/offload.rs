//! Work that takes a while or waits for a disk, kept away from the tasks of an async runtime.

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinHandle;

/// Runs `work` to its end, whoever waits for it, on a thread of its own.
///
/// A runtime of one thread does it as a task of its own: there a second thread would make the order of
/// events a matter of chance, and simulations must replay.
pub fn offload<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        tokio::spawn(async move { work() })
    } else {
        tokio::task::spawn_blocking(work)
    }
}
