//! One ring: a thread that takes requests from it and puts answers into it.
//!
//! Only this thread touches the ring and the guest's memory. What can be answered without waiting is answered
//! at once; the rest goes to the runtime, whose answers come back over a channel.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use model::Clock;
use rustix::event::{EventfdFlags, PollFd, PollFlags};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use virtio_queue::{Queue, QueueOwnedT as _, QueueT as _};
use vm_memory::{Bytes as _, GuestAddressSpace as _, GuestMemoryMmap};

use super::engine::{Engine, Outcome, Work};
use super::memory::SharedMemory;
use super::protocol::Status;
use super::request::{Descriptor, Kind, Request, Segment, Spares, parse};

/// Requests taken before the guest is told about those that are answered.
const BATCH: usize = 32;
/// Bytes of requests that a ring has given to the runtime; one more request may go beyond.
const WAITING_BYTES_MAX: u64 = 64 << 20;
/// A guest that asks again within this is waited for without sleeping.
const POLL_MAX: Duration = Duration::from_micros(50);
const POLL_MIN: Duration = Duration::from_micros(4);
/// Looks at the ring between two looks at the clock.
const LOOKS_PER_TIME: u32 = 16;
/// How long a ring that is stopped waits for its requests before it fails them.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(3);
const BUFFERS_KEPT_MAX: usize = 64;
const BUFFER_BYTES_KEPT_MAX: usize = 256 << 10;

/// What a ring needs to run.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) queue: Queue,
    pub(super) memory: SharedMemory,
    pub(super) kick: File,
    pub(super) call: Call,
    pub(super) engine: Arc<Engine>,
    pub(super) runtime: Handle,
    pub(super) clock: Arc<dyn Clock>,
}

/// Where the guest is told about answers; QEMU puts another one in while the ring runs.
pub(super) type Call = Arc<Mutex<Option<File>>>;

/// A ring that runs.
#[derive(Debug)]
pub(super) struct Running {
    thread: JoinHandle<u16>,
    bell: Arc<Bell>,
    unwanted: CancellationToken,
}

impl Running {
    pub(super) fn start(setup: Setup) -> io::Result<Self> {
        let bell = Arc::new(Bell::new()?);
        let unwanted = CancellationToken::new();
        let worker = Worker::new(setup, Arc::clone(&bell), unwanted.clone());
        let thread = std::thread::Builder::new().name("ring".to_owned()).spawn(move || worker.run())?;
        Ok(Self { thread, bell, unwanted })
    }

    /// Takes no more requests, sees to it that those taken are answered, and returns where the next would be.
    pub(super) fn stop(self) -> Option<u16> {
        self.unwanted.cancel();
        self.bell.ring();
        let ended = self.thread.join();
        if ended.is_err() {
            tracing::error!("a ring of a disk ended in a panic");
        }
        ended.ok()
    }
}

/// Wakes a ring's thread, if it sleeps.
#[derive(Debug)]
struct Bell {
    event: File,
    is_listening: AtomicBool,
    has_rung: AtomicBool,
}

impl Bell {
    fn new() -> io::Result<Self> {
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            event: File::from(event),
            is_listening: AtomicBool::new(false),
            has_rung: AtomicBool::new(false),
        })
    }

    /// Called after the news are where the thread looks for them.
    fn ring(&self) {
        self.has_rung.store(true, Ordering::SeqCst);
        if self.is_listening.swap(false, Ordering::SeqCst) {
            notify(&self.event);
        }
    }
}

/// Adds one to an event counter. It fails only where the counter is full and so heard anyway, or where the
/// other side gave something that is no counter, to its own harm.
fn notify(mut event: &File) {
    if let Err(error) = event.write(&1_u64.to_ne_bytes()) {
        tracing::debug!(%error, "an event was not taken");
    }
}

/// Waits for new requests without sleeping as long as that has lately paid.
#[derive(Debug, Default)]
struct Patience {
    window: Duration,
}

impl Patience {
    /// After a wait of this length, polled or slept, for the next request.
    fn learn(&mut self, waited: Duration) {
        if waited > POLL_MAX {
            self.window = Duration::ZERO;
        } else if waited > self.window {
            self.window = (self.window * 2).clamp(POLL_MIN, POLL_MAX);
        }
    }
}

type Answer = (u64, Outcome);

struct Worker {
    setup: Setup,
    bell: Arc<Bell>,
    unwanted: CancellationToken,
    answers: (Sender<Answer>, Receiver<Answer>),
    /// Requests that wait for the runtime, by a number of their own: heads are the guest's to repeat.
    waiting: HashMap<u64, Request>,
    waiting_bytes: u64,
    next_number: u64,
    spares: Spares,
    buffers: Vec<Vec<u8>>,
    patience: Patience,
    is_quiet: bool,
    is_broken: bool,
}

enum Taken {
    Nothing,
    HandedBack,
    Request(Request),
}

/// The memory is not what the ring said it was, or the ring says what no driver would.
struct BrokenRing;

impl Worker {
    fn new(setup: Setup, bell: Arc<Bell>, unwanted: CancellationToken) -> Self {
        Self {
            setup,
            bell,
            unwanted,
            answers: channel(),
            waiting: HashMap::new(),
            waiting_bytes: 0,
            next_number: 0,
            spares: Spares::default(),
            buffers: Vec::new(),
            patience: Patience::default(),
            is_quiet: false,
            is_broken: false,
        }
    }

    fn run(mut self) -> u16 {
        let runtime = self.setup.runtime.clone();
        let _entered = runtime.enter();
        let shared = self.setup.memory.clone();
        while !self.unwanted.is_cancelled() {
            let memory = shared.memory();
            match self.turn(&memory) {
                Ok(true) => {}
                Ok(false) => {
                    drop(memory);
                    self.wait(&shared);
                }
                Err(BrokenRing) => self.give_up(),
            }
        }
        self.drain(&shared.memory());
        self.setup.queue.next_avail()
    }

    /// One round of answers and requests; false when there was nothing to do.
    fn turn(&mut self, memory: &GuestMemoryMmap) -> Result<bool, BrokenRing> {
        let mut answered = self.take_answers(memory)?;
        if self.is_broken {
            return Ok(answered);
        }
        self.hush(memory)?;
        let mut taken = 0;
        while taken < BATCH && self.has_room() {
            answered |= match self.take(memory)? {
                Taken::Nothing => break,
                Taken::HandedBack => true,
                Taken::Request(request) => self.begin(memory, request)?,
            };
            taken += 1;
        }
        if answered && self.setup.queue.needs_notification(memory).map_err(|_| BrokenRing)? {
            self.call();
        }
        Ok(answered || taken > 0)
    }

    /// The guest need not tell about new requests while this thread looks for them.
    fn hush(&mut self, memory: &GuestMemoryMmap) -> Result<(), BrokenRing> {
        if !self.is_quiet {
            self.setup.queue.disable_notification(memory).map_err(|_| BrokenRing)?;
            self.is_quiet = true;
        }
        Ok(())
    }

    fn call(&self) {
        let call = self.setup.call.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = &*call {
            notify(event);
        }
    }

    /// A ring has as many requests as it has descriptors; who repeats heads waits.
    fn has_room(&self) -> bool {
        self.waiting.len() < usize::from(self.setup.queue.size()) && self.waiting_bytes < WAITING_BYTES_MAX
    }

    /// The next request; a chain that cannot be answered goes back to the guest as it is.
    fn take(&mut self, memory: &GuestMemoryMmap) -> Result<Taken, BrokenRing> {
        let chain = self.setup.queue.iter(memory).map_err(|_| BrokenRing)?.next();
        let Some(chain) = chain else { return Ok(Taken::Nothing) };
        let head = chain.head_index();
        let descriptors = chain.map(|descriptor| Descriptor {
            segment: Segment { address: descriptor.addr(), len_bytes: descriptor.len() },
            is_writable: descriptor.is_write_only(),
            has_next: descriptor.has_next(),
        });
        if let Some(request) = parse(head, descriptors, memory, &mut self.spares) {
            return Ok(Taken::Request(request));
        }
        self.setup.queue.add_used(memory, head, 0).map_err(|_| BrokenRing)?;
        Ok(Taken::HandedBack)
    }

    /// Answers a request, or gives it to the runtime; true when it is answered.
    fn begin(&mut self, memory: &GuestMemoryMmap, request: Request) -> Result<bool, BrokenRing> {
        match request.kind {
            Kind::Read => {
                let Some(offset_bytes) = request.place() else {
                    return self.answer(memory, request, Status::IoError, &[]);
                };
                let mut data = self.buffer(request.data_bytes);
                match self.setup.engine.read_now(offset_bytes, &mut data) {
                    Ok(true) => {
                        let answered = self.answer(memory, request, Status::Ok, &data);
                        self.keep(data);
                        answered
                    }
                    Ok(false) => {
                        self.hand_over(request, Work { kind: Kind::Read, offset_bytes, data });
                        Ok(false)
                    }
                    Err(_) => self.answer(memory, request, Status::IoError, &[]),
                }
            }
            Kind::GetId => {
                let engine = Arc::clone(&self.setup.engine);
                self.answer(memory, request, Status::Ok, engine.serial())
            }
            Kind::Flush => {
                self.attempt(memory, request, Work { kind: Kind::Flush, offset_bytes: 0, data: Vec::new() })
            }
            Kind::Write | Kind::Discard | Kind::WriteZeroes => self.begin_change(memory, request),
            Kind::Unknown => self.answer(memory, request, Status::Unsupported, &[]),
        }
    }

    fn begin_change(&mut self, memory: &GuestMemoryMmap, request: Request) -> Result<bool, BrokenRing> {
        // The ranges of a discard say themselves where they are.
        let place = if request.kind == Kind::Write { request.place() } else { Some(0) };
        let is_short = request.kind == Kind::Write || request.data_bytes <= 4096;
        let Some(offset_bytes) = place.filter(|_| is_short) else {
            return self.answer(memory, request, Status::IoError, &[]);
        };
        let mut data = self.buffer(request.data_bytes);
        if request.fetch(memory, &mut data).is_none() {
            self.keep(data);
            return self.answer(memory, request, Status::IoError, &[]);
        }
        let kind = request.kind;
        self.attempt(memory, request, Work { kind, offset_bytes, data })
    }

    /// Runs the work as far as it goes at once, which is all the way where the page cache or the frame cache
    /// has what is needed.
    fn attempt(
        &mut self,
        memory: &GuestMemoryMmap,
        request: Request,
        work: Work,
    ) -> Result<bool, BrokenRing> {
        let mut performed = self.performed(work);
        match performed.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => {
                let data = if request.kind == Kind::Read { outcome.data.as_slice() } else { &[] };
                let answered = self.answer(memory, request, outcome.status, data);
                self.keep(outcome.data);
                answered
            }
            Poll::Pending => {
                self.wait_for(request, performed);
                Ok(false)
            }
        }
    }

    fn hand_over(&mut self, request: Request, work: Work) {
        let performed = self.performed(work);
        self.wait_for(request, performed);
    }

    fn performed(&self, work: Work) -> Pin<Box<dyn Future<Output = Outcome> + Send>> {
        let (engine, unwanted) = (Arc::clone(&self.setup.engine), self.unwanted.clone());
        Box::pin(async move { engine.perform(work, &unwanted).await })
    }

    fn wait_for(&mut self, request: Request, performed: Pin<Box<dyn Future<Output = Outcome> + Send>>) {
        let number = self.next_number;
        self.next_number += 1;
        self.waiting_bytes += request.data_bytes;
        self.waiting.insert(number, request);
        let (answers, bell) = (self.answers.0.clone(), Arc::clone(&self.bell));
        self.setup.runtime.spawn(async move {
            // A ring that has gone wants no answers.
            drop(answers.send((number, performed.await)));
            bell.ring();
        });
    }

    fn take_answers(&mut self, memory: &GuestMemoryMmap) -> Result<bool, BrokenRing> {
        let mut answered = false;
        if self.bell.has_rung.load(Ordering::Relaxed) {
            self.bell.has_rung.store(false, Ordering::SeqCst);
        }
        while !self.waiting.is_empty() {
            let Ok(answer) = self.answers.1.try_recv() else { break };
            answered |= self.take_answer(memory, answer)?;
        }
        Ok(answered)
    }

    fn take_answer(
        &mut self,
        memory: &GuestMemoryMmap,
        (number, outcome): Answer,
    ) -> Result<bool, BrokenRing> {
        let Some(request) = self.waiting.remove(&number) else { return Ok(false) };
        self.waiting_bytes -= request.data_bytes;
        let data = if request.kind == Kind::Read { outcome.data.as_slice() } else { &[] };
        let answered = self.answer(memory, request, outcome.status, data);
        self.keep(outcome.data);
        answered
    }

    /// Writes the data, then the status, then gives the descriptors back, which is when the guest may look.
    fn answer(
        &mut self,
        memory: &GuestMemoryMmap,
        request: Request,
        status: Status,
        data: &[u8],
    ) -> Result<bool, BrokenRing> {
        if self.is_broken {
            return Ok(false);
        }
        let data = if status == Status::Ok { data } else { &[] };
        let (status, written) = match request.deliver(memory, data) {
            Some(written) => (status, written),
            None => (Status::IoError, 0),
        };
        memory.write_slice(&[status as u8], request.status).map_err(|_| BrokenRing)?;
        self.setup.queue.add_used(memory, request.head, written + 1).map_err(|_| BrokenRing)?;
        self.spares.give(request.data);
        Ok(true)
    }

    fn buffer(&mut self, len_bytes: u64) -> Vec<u8> {
        let len = usize::try_from(len_bytes).unwrap_or_default();
        let mut buffer = self.buffers.pop().unwrap_or_default();
        buffer.resize(len, 0);
        buffer
    }

    fn keep(&mut self, buffer: Vec<u8>) {
        if self.buffers.len() < BUFFERS_KEPT_MAX && (1..=BUFFER_BYTES_KEPT_MAX).contains(&buffer.capacity()) {
            self.buffers.push(buffer);
        }
    }

    /// Until there is something to do: awake for a while if that has paid lately, then asleep.
    fn wait(&mut self, shared: &SharedMemory) {
        let began = self.setup.clock.monotonic();
        let mut waited = Duration::ZERO;
        while waited < self.patience.window && !self.is_broken {
            if self.has_news(shared) {
                return self.patience.learn(waited);
            }
            waited = self.setup.clock.monotonic().saturating_sub(began);
        }
        if self.sleep(shared).is_err() {
            self.give_up();
        }
        self.patience.learn(self.setup.clock.monotonic().saturating_sub(began));
    }

    fn has_news(&self, shared: &SharedMemory) -> bool {
        let memory = shared.memory();
        (0..LOOKS_PER_TIME).any(|_| {
            std::hint::spin_loop();
            self.has_requests(&memory)
        }) || self.unwanted.is_cancelled()
            || self.bell.has_rung.load(Ordering::Relaxed)
    }

    fn has_requests(&self, memory: &GuestMemoryMmap) -> bool {
        let found = self.setup.queue.avail_idx(memory, Ordering::Acquire);
        self.has_room() && found.is_ok_and(|index| index.0 != self.setup.queue.next_avail())
    }

    /// Sleeps until the guest kicks or the bell rings. Both are asked for first and looked for after, so that
    /// nothing that came in between is slept over.
    fn sleep(&mut self, shared: &SharedMemory) -> Result<(), BrokenRing> {
        self.bell.is_listening.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let mut has_requests = false;
        if !self.is_broken {
            let memory = shared.memory();
            has_requests = self.setup.queue.enable_notification(&*memory).map_err(|_| BrokenRing)?;
            self.is_quiet = false;
        }
        let early = self.answers.1.try_recv();
        if let Ok(answer) = early {
            let memory = shared.memory();
            if self.take_answer(&memory, answer)?
                && self.setup.queue.needs_notification(&*memory).map_err(|_| BrokenRing)?
            {
                self.call();
            }
            return Ok(());
        }
        if (has_requests && self.has_room()) || self.unwanted.is_cancelled() {
            return Ok(());
        }
        let heard = self.listen();
        self.bell.is_listening.store(false, Ordering::SeqCst);
        heard
    }

    fn listen(&self) -> Result<(), BrokenRing> {
        let mut events =
            [PollFd::new(&self.bell.event, PollFlags::IN), PollFd::new(&self.setup.kick, PollFlags::IN)];
        // A broken ring's guest has nothing to say, and one that must wait is looked at again after an answer.
        let heard = if self.is_broken || !self.has_room() { &mut events[..1] } else { &mut events[..] };
        match rustix::event::poll(heard, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return Err(BrokenRing),
        }
        let [bell, kick] = events.map(|event| !event.revents().is_empty());
        let mut count = [0; 8];
        if bell {
            drop((&self.bell.event).read(&mut count));
        }
        if kick && !matches!((&self.setup.kick).read(&mut count), Ok(8)) {
            return Err(BrokenRing);
        }
        Ok(())
    }

    fn give_up(&mut self) {
        if !self.is_broken {
            tracing::warn!("a guest broke the rules of a disk's ring, which is no longer served");
        }
        self.is_broken = true;
    }

    /// Answers what was taken: what is not done in time, with an error.
    fn drain(&mut self, memory: &GuestMemoryMmap) {
        let deadline = self.setup.clock.monotonic() + DRAIN_TIME_MAX;
        let had_waiting = !self.waiting.is_empty();
        while !self.waiting.is_empty() && !self.is_broken {
            let left = deadline.saturating_sub(self.setup.clock.monotonic());
            match self.answers.1.recv_timeout(left) {
                Ok(answer) => self.is_broken |= self.take_answer(memory, answer).is_err(),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        for (_, request) in std::mem::take(&mut self.waiting) {
            self.is_broken |= self.answer(memory, request, Status::IoError, &[]).is_err();
        }
        if had_waiting {
            self.call();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stays_awake_for_a_busy_guest_only() {
        let micros = Duration::from_micros;
        let mut patience = Patience::default();
        for expected in [4, 8, 16, 32, 32] {
            patience.learn(micros(20));
            assert_eq!(patience.window, micros(expected));
        }
        patience.learn(micros(40));
        assert_eq!(patience.window, POLL_MAX);
        patience.learn(micros(51));
        assert_eq!(patience.window, Duration::ZERO, "a guest that pauses costs nothing");
    }
}
