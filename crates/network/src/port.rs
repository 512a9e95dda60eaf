//! The handle of a port, and what its tasks share.

use std::net::SocketAddrV4;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use model::{Clock, IdGen};
use smoltcp::wire::EthernetAddress;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::config::{Config, Destination};
use crate::counters::{Count, Counters};
use crate::flows::Flows;
use crate::forward::{self, Forward};
use crate::frame::Frame;
use crate::link::{self, Frames};
use crate::metadata::MetadataStream;
use crate::rules::{Protocol, Rule};

/// TCP conversations of one machine, both directions together.
const TCP_FLOWS_MAX: usize = 1024;
/// UDP and echo conversations of one machine.
const DATAGRAM_FLOWS_MAX: usize = 1024;
/// Names being looked up at a time.
const LOOKUPS_MAX: usize = 256;
/// Frames waiting for the guest to take them.
const TO_GUEST_FRAMES: usize = 256;

/// The port's end of a machine's network. Clones are the same port, which ends with the last of them
/// or with [`Port::shutdown`].
#[derive(Debug, Clone)]
pub struct Port {
    shared: Arc<Shared>,
    ingress: Arc<watch::Sender<Vec<Rule>>>,
    forwards: watch::Receiver<Vec<Forward>>,
    _ends_with_last: Arc<DropGuard>,
}

/// What every task of a port knows.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    egress: RwLock<Option<Arc<[Rule]>>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdGen>,
    pub(crate) to_guest: mpsc::Sender<Frame>,
    pub(crate) metadata: mpsc::Sender<MetadataStream>,
    pub(crate) tcp: Arc<Flows>,
    pub(crate) datagrams: Arc<Flows>,
    pub(crate) lookups: Arc<Semaphore>,
    pub(crate) count: Count,
    pub(crate) tasks: TaskTracker,
    pub(crate) cancel: CancellationToken,
}

impl Port {
    /// Starts the port's tasks on the current runtime. Connections of the guest to the metadata
    /// address arrive at `metadata`; while that queue is full, they are refused.
    pub fn spawn(
        config: Config,
        frames: Frames,
        metadata: mpsc::Sender<MetadataStream>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdGen>,
    ) -> Self {
        let (to_guest, from_tasks) = mpsc::channel(TO_GUEST_FRAMES);
        let (ingress, ingress_changes) = watch::channel(config.ingress.clone());
        let (forwards_sender, forwards) = watch::channel(Vec::new());
        let shared = Arc::new(Shared {
            egress: RwLock::new(config.egress.clone().map(Arc::from)),
            config,
            clock,
            ids,
            to_guest,
            metadata,
            tcp: Flows::new(TCP_FLOWS_MAX),
            datagrams: Flows::new(DATAGRAM_FLOWS_MAX),
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            count: Count::default(),
            tasks: TaskTracker::new(),
            cancel: CancellationToken::new(),
        });
        shared.spawn(link::run(Arc::clone(&shared), frames, from_tasks));
        if let Some(public_ip) = shared.config.public_ip {
            shared.spawn(forward::run(Arc::clone(&shared), public_ip, ingress_changes, forwards_sender));
        }
        let ends_with_last = Arc::new(shared.cancel.clone().drop_guard());
        Self { shared, ingress: Arc::new(ingress), forwards, _ends_with_last: ends_with_last }
    }

    /// Replaces the ingress rules: ports that are newly allowed open, others close. Established
    /// connections stay.
    pub fn set_ingress(&self, rules: Vec<Rule>) {
        self.ingress.send_replace(rules);
    }

    /// Replaces the egress rules (None allows everything) for connections that begin from now on.
    pub fn set_egress(&self, rules: Option<Vec<Rule>>) {
        *self.shared.egress.write().unwrap_or_else(PoisonError::into_inner) = rules.map(Arc::from);
    }

    /// The guest's ports that are reserved on the host, by guest port; changes with the rules.
    pub fn forwards(&self) -> watch::Receiver<Vec<Forward>> {
        self.forwards.clone()
    }

    pub fn counters(&self) -> Counters {
        self.shared.count.read()
    }

    /// Ends every conversation and listener, and waits until all of it is gone.
    pub async fn shutdown(&self) {
        self.shared.cancel.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Shared {
    /// Runs a task until it is finished or the port ends.
    pub(crate) fn spawn<F>(&self, task: F)
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let cancel = self.cancel.clone();
        drop(self.tasks.spawn(async move { cancel.run_until_cancelled_owned(task).await }));
    }

    pub(crate) fn guest(&self) -> EthernetAddress {
        EthernetAddress(self.config.mac)
    }

    pub(crate) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    pub(crate) fn destination(&self, protocol: Protocol, to: SocketAddrV4) -> Destination {
        let egress = self.egress.read().unwrap_or_else(PoisonError::into_inner).clone();
        self.config.destination(egress.as_deref(), protocol, to)
    }

    /// Queues frames that nobody waits with: without room they are lost, as on any wire.
    pub(crate) fn send(&self, frames: impl IntoIterator<Item = Frame>) {
        for frame in frames {
            if self.to_guest.try_send(frame).is_err() {
                self.count.dropped_by_limit.add(1);
            }
        }
    }
}
