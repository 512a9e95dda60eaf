//! A host in memory: volumes are sparse maps, machines are states that tests move.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use control::ports::{
    ExitCause, FrozenExtent, Host, HostError, HostErrorKind, HostResult, MachineSpec, MachineStatus,
    Shutdown, VolumeSpec,
};
use model::{Clock, InstanceId, Timestamp};

use crate::gate::Gate;

const SECTOR: u64 = 512;
const SECTOR_BYTES: usize = 512;

/// The content of a volume by sector; absent is untouched, an empty vector is zeros.
type Sectors = BTreeMap<u64, Vec<u8>>;

#[derive(Debug, Clone, Default)]
struct FakeVolume {
    spec: Option<VolumeSpec>,
    sectors: Sectors,
    /// Which sectors changed since the freeze before, by freeze name, in the order of freezing.
    freezes: Vec<Freeze>,
    changed: BTreeSet<u64>,
}

#[derive(Debug, Clone)]
struct Freeze {
    name: String,
    /// None once it is released.
    content: Option<Sectors>,
    changed: BTreeSet<u64>,
}

#[derive(Debug, Clone)]
struct FakeMachine {
    spec: MachineSpec,
    status: MachineStatus,
    console: Vec<u8>,
    console_time: Timestamp,
    reboots: u32,
}

#[derive(Debug, Default)]
struct State {
    volumes: BTreeMap<String, FakeVolume>,
    machines: BTreeMap<InstanceId, FakeMachine>,
    /// Machines started from now on crash at once with this text.
    unbootable: Option<String>,
    /// Machines ignore the power button.
    deaf: bool,
    frozen_bytes_read: u64,
}

/// The host of a test's world.
#[derive(Debug)]
pub struct FakeHost {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    gate: Gate,
}

impl FakeHost {
    pub fn new(clock: Arc<dyn Clock>, gate: Gate) -> Self {
        Self { state: Mutex::default(), clock, gate }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the host")
    }

    /// Passes the gate, acts, passes it again: a killed caller may die before or after the effect.
    fn act<'a, T: Send + 'a>(
        &'a self,
        call: &'static str,
        act: impl FnOnce(&mut State) -> Result<T, HostError> + Send + 'a,
    ) -> HostResult<'a, T> {
        Box::pin(async move {
            self.gate.pass(call).await.map_err(|text| error(HostErrorKind::Unavailable, &text))?;
            let done = act(&mut self.state());
            self.gate.pass_done(call).await;
            done
        })
    }

    /// What a guest would do: writes to the volume of a machine, or of none.
    pub fn guest_write(&self, key: &str, offset_bytes: u64, data: &[u8]) {
        let mut state = self.state();
        let volume = state.volumes.get_mut(key).expect("the test names a volume that exists");
        write_sectors(volume, offset_bytes, data);
    }

    /// The guest switches itself off.
    pub fn guest_shutdown(&self, id: &InstanceId) {
        self.exit(id, ExitCause::GuestShutdown);
    }

    /// The machine's process dies.
    pub fn crash(&self, id: &InstanceId, text: &str) {
        let reason = model::StateReason::new("Server.InternalError", text);
        self.exit(id, ExitCause::Crashed(reason));
    }

    /// The machine's process and everything that it left are gone.
    pub fn vanish(&self, id: &InstanceId) {
        self.state().machines.remove(id);
    }

    fn exit(&self, id: &InstanceId, cause: ExitCause) {
        if let Some(machine) = self.state().machines.get_mut(id) {
            machine.status = MachineStatus::Exited { cause };
        }
    }

    pub fn console_append(&self, id: &InstanceId, text: &str) {
        let now = self.clock.now();
        if let Some(machine) = self.state().machines.get_mut(id) {
            machine.console.extend_from_slice(text.as_bytes());
            machine.console_time = now;
        }
    }

    pub fn set_unbootable(&self, why: Option<&str>) {
        self.state().unbootable = why.map(str::to_owned);
    }

    pub fn set_deaf(&self, deaf: bool) {
        self.state().deaf = deaf;
    }

    pub fn reboots(&self, id: &InstanceId) -> u32 {
        self.state().machines.get(id).map_or(0, |machine| machine.reboots)
    }

    pub fn machine_spec(&self, id: &InstanceId) -> Option<MachineSpec> {
        self.state().machines.get(id).map(|machine| machine.spec.clone())
    }

    pub fn is_running(&self, id: &InstanceId) -> bool {
        let state = self.state();
        state.machines.get(id).is_some_and(|m| matches!(m.status, MachineStatus::Running { .. }))
    }

    /// Names of frozen layers of a volume that nobody has released yet.
    pub fn held_freezes(&self, key: &str) -> Vec<String> {
        let state = self.state();
        let freezes = state.volumes.get(key).map(|volume| volume.freezes.as_slice()).unwrap_or_default();
        freezes.iter().filter(|f| f.content.is_some()).map(|f| f.name.clone()).collect()
    }

    /// Bytes of frozen layers that were read so far.
    pub fn frozen_bytes_read(&self) -> u64 {
        self.state().frozen_bytes_read
    }

    pub fn volume_keys(&self) -> Vec<String> {
        self.state().volumes.keys().cloned().collect()
    }

    pub fn machine_ids(&self) -> Vec<InstanceId> {
        self.state().machines.keys().cloned().collect()
    }

    pub fn volume_spec(&self, key: &str) -> Option<VolumeSpec> {
        self.state().volumes.get(key).and_then(|volume| volume.spec.clone())
    }
}

fn error(kind: HostErrorKind, context: &str) -> HostError {
    HostError { kind, context: context.to_owned(), source: None }
}

fn freeze_volume(state: &mut State, key: &str, freeze: &str) -> Result<(), HostError> {
    let volume = state.volumes.get_mut(key).ok_or_else(|| missing("volume"))?;
    if volume.freezes.iter().all(|existing| existing.name != freeze) {
        let changed = std::mem::take(&mut volume.changed);
        let content = Some(volume.sectors.clone());
        volume.freezes.push(Freeze { name: freeze.to_owned(), content, changed });
    }
    Ok(())
}

fn missing(what: &str) -> HostError {
    error(HostErrorKind::NotFound, &format!("no such {what}"))
}

fn write_sectors(volume: &mut FakeVolume, offset_bytes: u64, data: &[u8]) {
    let is_whole = offset_bytes.is_multiple_of(SECTOR) && data.len().is_multiple_of(SECTOR_BYTES);
    assert!(is_whole, "tests write whole sectors");
    for (index, sector) in (offset_bytes / SECTOR..).zip(data.chunks(SECTOR_BYTES)) {
        let content = if sector.iter().all(|b| *b == 0) { Vec::new() } else { sector.to_vec() };
        volume.sectors.insert(index, content);
        volume.changed.insert(index);
    }
}

fn freeze_of<'a>(state: &'a State, key: &str, name: &str) -> Result<(&'a FakeVolume, usize), HostError> {
    let volume = state.volumes.get(key).ok_or_else(|| missing("volume"))?;
    let at = volume.freezes.iter().position(|freeze| freeze.name == name);
    at.map(|at| (volume, at)).ok_or_else(|| missing("freeze"))
}

fn extents(volume: &FakeVolume, content: &Sectors, from: usize, to: usize) -> Vec<FrozenExtent> {
    let freezes = volume.freezes.get(from..=to).unwrap_or_default();
    let changed: BTreeSet<u64> = freezes.iter().flat_map(|freeze| freeze.changed.iter().copied()).collect();
    let is_zero = |index: &u64| content.get(index).is_none_or(Vec::is_empty);
    let mut extents: Vec<FrozenExtent> = Vec::new();
    for index in changed {
        let (offset_bytes, zero) = (index * SECTOR, is_zero(&index));
        match extents.last_mut() {
            Some(last) if last.offset_bytes + last.len_bytes == offset_bytes && last.is_zero == zero => {
                last.len_bytes += SECTOR;
            }
            _ => extents.push(FrozenExtent { offset_bytes, len_bytes: SECTOR, is_zero: zero }),
        }
    }
    extents
}

fn content_at(volume: &FakeVolume, at: usize) -> Result<&Sectors, HostError> {
    let content = volume.freezes.get(at).and_then(|freeze| freeze.content.as_ref());
    content.ok_or_else(|| missing("frozen content"))
}

impl Host for FakeHost {
    fn volume_create(&self, spec: VolumeSpec) -> HostResult<'_, ()> {
        self.act("volume_create", move |state| {
            let volume = state.volumes.entry(spec.key.clone()).or_default();
            volume.spec = Some(spec);
            Ok(())
        })
    }

    fn volume_delete<'a>(&'a self, key: &'a str) -> HostResult<'a, ()> {
        self.act("volume_delete", move |state| {
            state.volumes.remove(key);
            Ok(())
        })
    }

    fn volume_write<'a>(&'a self, key: &'a str, offset_bytes: u64, data: Bytes) -> HostResult<'a, ()> {
        self.act("volume_write", move |state| {
            let volume = state.volumes.get_mut(key).ok_or_else(|| missing("volume"))?;
            write_sectors(volume, offset_bytes, &data);
            Ok(())
        })
    }

    fn volume_freeze<'a>(&'a self, key: &'a str, freeze: &'a str) -> HostResult<'a, ()> {
        self.act("volume_freeze", move |state| freeze_volume(state, key, freeze))
    }

    fn volumes_freeze<'a>(&'a self, freezes: &'a [(&'a str, &'a str)]) -> HostResult<'a, ()> {
        self.act("volumes_freeze", move |state| {
            freezes.iter().try_for_each(|(key, freeze)| freeze_volume(state, key, freeze))
        })
    }

    fn frozen_extents<'a>(
        &'a self,
        key: &'a str,
        freeze: &'a str,
        since: Option<&'a str>,
    ) -> HostResult<'a, Vec<FrozenExtent>> {
        self.act("frozen_extents", move |state| {
            let (volume, to) = freeze_of(state, key, freeze)?;
            let before = since.and_then(|since| volume.freezes.iter().position(|f| f.name == since));
            if before.is_some_and(|at| at > to) {
                return Err(error(HostErrorKind::Failed, "the layer to compare with is the later one"));
            }
            Ok(extents(volume, content_at(volume, to)?, before.map_or(0, |at| at + 1), to))
        })
    }

    fn frozen_read<'a>(
        &'a self,
        key: &'a str,
        freeze: &'a str,
        extent: FrozenExtent,
    ) -> HostResult<'a, Bytes> {
        self.act("frozen_read", move |state| {
            let (volume, at) = freeze_of(state, key, freeze)?;
            let content = content_at(volume, at)?;
            let first = extent.offset_bytes / SECTOR;
            let mut bytes = Vec::new();
            for index in first..first + extent.len_bytes / SECTOR {
                let mut sector = content.get(&index).cloned().unwrap_or_default();
                sector.resize(SECTOR_BYTES, 0);
                bytes.append(&mut sector);
            }
            state.frozen_bytes_read += extent.len_bytes;
            Ok(bytes.into())
        })
    }

    fn freeze_release<'a>(&'a self, key: &'a str, freeze: &'a str) -> HostResult<'a, ()> {
        self.act("freeze_release", move |state| {
            let volume = state.volumes.get_mut(key).ok_or_else(|| missing("volume"))?;
            for released in volume.freezes.iter_mut().filter(|existing| existing.name == freeze) {
                released.content = None;
            }
            Ok(())
        })
    }

    fn machine_start(&self, spec: MachineSpec) -> HostResult<'_, ()> {
        self.act("machine_start", move |state| {
            let id = spec.instance.instance_id.clone();
            let was_started = |m: &FakeMachine| m.spec.instance.generation >= spec.instance.generation;
            if state.machines.get(&id).is_some_and(was_started) {
                return Ok(());
            }
            let now = self.clock.now();
            let status = match &state.unbootable {
                Some(text) => MachineStatus::Exited {
                    cause: ExitCause::Crashed(model::StateReason::new("Server.InternalError", text.as_str())),
                },
                None => MachineStatus::Running { reachable_since: Some(now), accelerator: "fake".into() },
            };
            let console = b"fake guest\n".to_vec();
            state.machines.insert(id, FakeMachine { spec, status, console, console_time: now, reboots: 0 });
            Ok(())
        })
    }

    fn machine_status<'a>(&'a self, id: &'a InstanceId) -> HostResult<'a, MachineStatus> {
        self.act("machine_status", move |state| {
            Ok(state.machines.get(id).map_or(MachineStatus::Absent, |machine| machine.status.clone()))
        })
    }

    fn machine_stop<'a>(&'a self, id: &'a InstanceId, generation: u32, how: Shutdown) -> HostResult<'a, ()> {
        self.act("machine_stop", move |state| {
            let deaf = state.deaf && matches!(how, Shutdown::Graceful { .. });
            if let Some(machine) = state.machines.get_mut(id)
                && !deaf
                && machine.spec.instance.generation == generation
                && !matches!(machine.status, MachineStatus::Exited { .. })
            {
                machine.status = MachineStatus::Exited { cause: ExitCause::Stopped };
            }
            Ok(())
        })
    }

    fn machine_reboot<'a>(&'a self, id: &'a InstanceId) -> HostResult<'a, ()> {
        self.act("machine_reboot", move |state| {
            let machine = state.machines.get_mut(id).ok_or_else(|| missing("machine"))?;
            machine.reboots += 1;
            Ok(())
        })
    }

    fn machine_refresh(&self, spec: MachineSpec) -> HostResult<'_, ()> {
        self.act("machine_refresh", move |state| {
            if let Some(machine) = state.machines.get_mut(&spec.instance.instance_id) {
                machine.spec = spec;
            }
            Ok(())
        })
    }

    fn machine_forget<'a>(&'a self, id: &'a InstanceId) -> HostResult<'a, ()> {
        self.act("machine_forget", move |state| {
            state.machines.remove(id);
            Ok(())
        })
    }

    fn console_output<'a>(&'a self, id: &'a InstanceId) -> HostResult<'a, Option<(Timestamp, Vec<u8>)>> {
        self.act("console_output", move |state| {
            Ok(state.machines.get(id).map(|machine| (machine.console_time, machine.console.clone())))
        })
    }
}
