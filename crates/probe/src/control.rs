//! The only way back into the kernel: typed writes to maps, and reads of what they count.

use std::collections::{BTreeMap, HashMap, HashSet};

use agentsight_model::{ChannelKind, ClassCounters, DropReason, EventClass, ProcessKey};
use agentsight_wire::{
    CHANNEL_PIPE, CHANNEL_TERMINAL, CHANNEL_UNIX, SOCKET_TLS, VERDICT_CAPTURE, VERDICT_IGNORE,
    channel_key, class_stats, file_use, file_use_key, scope, socket_use,
};
use libbpf_rs::{MapCore, MapFlags, MapMut};
use zerocopy::{FromBytes, IntoBytes};

use crate::ProbeError;
use agentsight_bpf::AgentsightSkel;

/// Counters of the kernel side, by class. `stored` is left at 0: the reader knows it.
pub type KernelCounters = BTreeMap<EventClass, ClassCounters>;

/// Typed access to the kernel side's maps.
pub struct KernelControl<'a> {
    skeleton: &'a AgentsightSkel<'static>,
}

/// Entries read from a map in one call.
const SWEEP_BATCH: u32 = 512;

impl<'a> KernelControl<'a> {
    pub(crate) fn new(skeleton: &'a AgentsightSkel<'static>) -> Self {
        Self { skeleton }
    }

    /// Watches a process; whatever it starts from then on is watched too.
    ///
    /// # Errors
    /// The table of watched processes is full.
    pub fn watch(&self, process: ProcessKey, label: u32) -> Result<(), ProbeError> {
        let value = scope {
            start_ns: process.start_ns,
            label,
            reserved: 0,
        };
        self.skeleton
            .maps
            .scopes
            .update(process.tgid.as_bytes(), value.as_bytes(), MapFlags::ANY)
            .map_err(ProbeError::kernel(format!(
                "watch process {}",
                process.tgid
            )))
    }

    /// Stops watching a process. Its descendants stay watched.
    pub fn unwatch(&self, process: ProcessKey) {
        // It may have ended in the meantime, which is as good.
        let _ = self.skeleton.maps.scopes.delete(process.tgid.as_bytes());
    }

    /// Has all of a flow captured from now on, or nothing more of it. `flow` is what
    /// [`ChannelData::flow`](agentsight_model::ChannelData::flow) names it. A flow that looks like JSON-RPC is
    /// captured for a mebibyte until this is called; of others only the head is.
    pub fn decide_flow(&self, kind: ChannelKind, flow: (u64, bool), capture: bool) {
        let (ino, sender_known) = flow;
        let key = channel_key {
            ino,
            channel: match kind {
                ChannelKind::Pipe => CHANNEL_PIPE,
                ChannelKind::Unix => CHANNEL_UNIX,
                ChannelKind::Terminal => CHANNEL_TERMINAL,
            },
            received: u32::from(!sender_known),
        };
        let verdict = if capture {
            VERDICT_CAPTURE
        } else {
            VERDICT_IGNORE
        };
        // The table forgets what was not used for the longest, so there always is room.
        let _ = self.skeleton.maps.channel_verdicts.update(
            key.as_bytes(),
            verdict.as_bytes(),
            MapFlags::ANY,
        );
    }

    /// Number of processes that are watched now.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn watched_count(&self) -> usize {
        self.skeleton.maps.scopes.keys().count()
    }

    /// What the kernel side produced and dropped so far.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn counters(&self) -> Result<KernelCounters, ProbeError> {
        let mut counters = KernelCounters::new();
        for class in EventClass::ALL {
            let key = u32::from(class as u8);
            let per_cpu = self
                .skeleton
                .maps
                .stats
                .lookup_percpu(key.as_bytes(), MapFlags::ANY)
                .map_err(ProbeError::kernel("read the kernel side's counters"))?
                .unwrap_or_default();
            let total = counters.entry(class).or_default();
            for bytes in per_cpu {
                let Ok((stats, _)) = class_stats::read_from_prefix(&bytes) else {
                    continue;
                };
                total.produced += stats.produced;
                for (reason, count) in DropReason::KERNEL.into_iter().zip(stats.dropped) {
                    if count > 0 {
                        *total.dropped.entry(reason).or_default() += count;
                    }
                }
            }
        }
        Ok(counters)
    }
}

/// Reads the maps in which the kernel side counts uses of files and sockets.
#[derive(Default)]
pub(crate) struct Sweeper {
    /// What was reported last of each entry that still is in its map.
    reported: HashMap<(u32, u64, u64), u64>,
    /// Processes that have ended, and whose entries can no longer change.
    ended: HashSet<ProcessKey>,
    /// Those that ended since the last sweep: records of theirs may still be on their way.
    ending: HashSet<ProcessKey>,
}

impl Sweeper {
    pub(crate) fn process_ended(&mut self, process: ProcessKey) {
        self.ending.insert(process);
    }

    /// Reports every entry that changed since it was last reported, and removes those of ended processes.
    /// Leaves out entries that were made after `until_ns`: the record that announces them is on its way.
    pub(crate) fn sweep(
        &mut self,
        skeleton: &AgentsightSkel<'static>,
        until_ns: u64,
        totals: &mut Totals<'_>,
    ) -> Result<(), ProbeError> {
        self.ended.extend(self.ending.drain());
        let mut gone: Vec<Vec<u8>> = Vec::new();
        for_each(
            &skeleton.maps.file_uses,
            |key_bytes, key: file_use_key, value: file_use| {
                let owner = ProcessKey {
                    tgid: key.tgid,
                    start_ns: value.start_ns,
                };
                if value.use_id > until_ns {
                    return;
                }
                let id = (key.tgid, key.dentry, key.mount);
                if self.changed(id, value.last_ns.max(value.use_id)) {
                    (totals.file)(owner, &value);
                }
                if self.ended.contains(&owner) {
                    gone.push(key_bytes.to_vec());
                    self.reported.remove(&id);
                }
            },
        )?;
        for key in gone.drain(..) {
            let _ = skeleton.maps.file_uses.delete(&key);
        }
        for_each(
            &skeleton.maps.socket_uses,
            |key_bytes, key: u64, value: socket_use| {
                let owner = ProcessKey {
                    tgid: value.tgid,
                    start_ns: value.start_ns,
                };
                if self.ended.contains(&owner) {
                    (totals.socket)(owner, key, &value);
                    gone.push(key_bytes.to_vec());
                } else if value.flags & SOCKET_TLS != 0 {
                    (totals.tls)(owner, key, &value);
                }
            },
        )?;
        for key in gone {
            let _ = skeleton.maps.socket_uses.delete(&key);
        }
        self.ended.clear();
        Ok(())
    }

    /// Reports the sockets that are still open when watching ends.
    pub(crate) fn last_sockets(
        skeleton: &AgentsightSkel<'static>,
        totals: &mut Totals<'_>,
    ) -> Result<(), ProbeError> {
        for_each(
            &skeleton.maps.socket_uses,
            |_, key: u64, value: socket_use| {
                let owner = ProcessKey {
                    tgid: value.tgid,
                    start_ns: value.start_ns,
                };
                (totals.socket)(owner, key, &value);
            },
        )
    }

    fn changed(&mut self, id: (u32, u64, u64), version: u64) -> bool {
        self.reported.insert(id, version) != Some(version)
    }
}

/// Where totals go.
pub struct Totals<'a> {
    /// An open socket that carries TLS.
    pub tls: &'a mut dyn FnMut(ProcessKey, u64, &socket_use),
    /// Running totals of a process's use of a file.
    pub file: &'a mut dyn FnMut(ProcessKey, &file_use),
    /// Final totals of a socket whose process ended, or that is open when watching ends.
    pub socket: &'a mut dyn FnMut(ProcessKey, u64, &socket_use),
}

/// Visits every entry of a map. Entries that are added or removed meanwhile may be missed or not.
fn for_each<K: FromBytes, V: FromBytes>(
    map: &MapMut<'_>,
    mut visit: impl FnMut(&[u8], K, V),
) -> Result<(), ProbeError> {
    let entries = map
        .lookup_batch(SWEEP_BATCH, MapFlags::ANY, MapFlags::ANY)
        .map_err(ProbeError::kernel("read the kernel side's totals"))?;
    for (key_bytes, value_bytes) in entries {
        if let (Ok((key, _)), Ok((value, _))) = (
            K::read_from_prefix(&key_bytes),
            V::read_from_prefix(&value_bytes),
        ) {
            visit(&key_bytes, key, value);
        }
    }
    Ok(())
}
