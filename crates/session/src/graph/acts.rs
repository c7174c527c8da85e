//! Acts on processes, names, the kernel and the channels between processes.
//!
//! Equal acts of one process are one record with a count; the ends of channels carry their byte totals.

use std::collections::HashMap;

use agentsight_model::{
    Channel, ChannelKind, EventBody, FileRef, FileUse, IpcPipe, KTime, KernelAct, ProcessKey,
};
use serde_json::{Map, Value};

use super::attributes::{attributes, file_attributes};
use super::budget::Budget;

/// Everything that one process did in one way to one object.
#[derive(Clone, Debug)]
pub(crate) struct ActRecord {
    pub(crate) seq: u64,
    pub(crate) kind: &'static str,
    pub(crate) process: ProcessKey,
    pub(crate) first: KTime,
    pub(crate) last: KTime,
    pub(crate) count: u64,
    pub(crate) attributes: Map<String, Value>,
    /// The file that it is about, where it is about one, and whether it changes it.
    pub(crate) file: Option<(String, bool)>,
}

/// One end of a channel in use by one process.
#[derive(Clone, Debug)]
pub(crate) struct ChannelRecord {
    pub(crate) seq: u64,
    pub(crate) process: ProcessKey,
    pub(crate) first: KTime,
    pub(crate) last: KTime,
    pub(crate) pipe: IpcPipe,
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
}

/// The acts of a session.
#[derive(Debug, Default)]
pub(crate) struct ActTable {
    records: Vec<ActRecord>,
    index: HashMap<(ProcessKey, &'static str, String), usize>,
    channels: Vec<ChannelRecord>,
    channel_uses: HashMap<(ProcessKey, u64), usize>,
    channel_ends: HashMap<(ProcessKey, Channel), usize>,
}

impl ActTable {
    pub(crate) fn records(&self) -> &[ActRecord] {
        &self.records
    }

    pub(crate) fn channels(&self) -> &[ChannelRecord] {
        &self.channels
    }

    /// Takes an act. `body` is one of those that [`describe`] knows; others are left alone.
    pub(super) fn act(
        &mut self,
        seq: u64,
        time: KTime,
        process: ProcessKey,
        body: &EventBody,
        budget: &mut Budget,
    ) {
        if let EventBody::IpcPipe(pipe) = body {
            self.channel(seq, time, process, pipe, budget);
            return;
        }
        let kind = body.kind();
        let Some(attributes) = describe(body) else {
            return;
        };
        let identity = Value::Object(attributes.clone()).to_string();
        if let Some(&known) = self.index.get(&(process, kind, identity.clone())) {
            if let Some(record) = self.records.get_mut(known) {
                record.count = record.count.saturating_add(1);
                record.last = record.last.max(time);
            }
            return;
        }
        if !budget.record(kind) {
            return;
        }
        self.index
            .insert((process, kind, identity), self.records.len());
        self.records.push(ActRecord {
            seq,
            kind,
            process,
            first: time,
            last: time,
            count: 1,
            attributes,
            file: file_of(body),
        });
    }

    fn channel(
        &mut self,
        seq: u64,
        time: KTime,
        process: ProcessKey,
        pipe: &IpcPipe,
        budget: &mut Budget,
    ) {
        let end = (process, pipe.channel.clone());
        let position = match self.channel_ends.get(&end) {
            Some(&known) => {
                if let Some(record) = self.channels.get_mut(known) {
                    record.pipe.access.read |= pipe.access.read;
                    record.pipe.access.write |= pipe.access.write;
                }
                known
            }
            None if budget.record("ipc.pipe") => {
                self.channels.push(ChannelRecord {
                    seq,
                    process,
                    first: time,
                    last: time,
                    pipe: pipe.clone(),
                    read_bytes: 0,
                    written_bytes: 0,
                });
                let position = self.channels.len().saturating_sub(1);
                self.channel_ends.insert(end, position);
                position
            }
            None => return,
        };
        self.channel_uses.insert((process, pipe.use_id), position);
    }

    /// Takes the totals of a channel's end. Returns whether it was one.
    pub(super) fn totals(&mut self, process: ProcessKey, usage: &FileUse) -> bool {
        let Some(&position) = self.channel_uses.get(&(process, usage.use_id)) else {
            return false;
        };
        if let Some(record) = self.channels.get_mut(position) {
            record.last = record.last.max(usage.last);
            record.pipe.access.read |= usage.access.read;
            record.pipe.access.write |= usage.access.write;
            // Totals of one use only grow; a second use of the same end is rare enough to be taken for it.
            record.read_bytes = record.read_bytes.max(usage.read_bytes);
            record.written_bytes = record.written_bytes.max(usage.written_bytes);
        }
        true
    }
}

fn file_of(body: &EventBody) -> Option<(String, bool)> {
    let (file, changes) = match body {
        EventBody::FileLink(link) => (&link.file, true),
        EventBody::FileAttributes(change) => (&change.file, true),
        EventBody::FileTruncate(truncate) => (&truncate.file, true),
        EventBody::FileMap(map) => (&map.file, map.shared && map.write),
        EventBody::FilePass(pass) => (&pass.file, false),
        _ => return None,
    };
    (!file.path.is_empty()).then(|| (file.path.clone(), changes))
}

fn described(file: &FileRef) -> Map<String, Value> {
    if file.path.is_empty() {
        return Map::new(); // memory that is no file's
    }
    file_attributes(&file.path, file)
}

fn with(
    mut base: Map<String, Value>,
    more: impl IntoIterator<Item = (&'static str, Value)>,
) -> Map<String, Value> {
    base.extend(attributes(more));
    base
}

fn known(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

/// The name of a kind of channel in attributes.
pub(super) fn channel_name(kind: ChannelKind) -> &'static str {
    match kind {
        ChannelKind::Pipe => "pipe",
        ChannelKind::Unix => "unix",
        ChannelKind::Terminal => "terminal",
    }
}

/// Attributes of an act; `None` for events that are no acts.
fn describe(body: &EventBody) -> Option<Map<String, Value>> {
    Some(match body {
        EventBody::ProcessSignal(signal) => attributes([
            ("agentsight.signal", signal.signal.into()),
            ("agentsight.target.pid", signal.target.tgid.into()),
            (
                "agentsight.target.process",
                signal.target.to_string().into(),
            ),
            ("agentsight.target.comm", signal.target_comm.clone().into()),
        ]),
        EventBody::ProcessTrace(trace) => attributes([
            ("agentsight.operation", trace.operation.clone().into()),
            ("agentsight.target.pid", trace.target.tgid.into()),
            ("agentsight.errno", trace.error.into()),
        ]),
        EventBody::ProcessCredentials(now) => attributes([
            ("agentsight.operation", now.operation.clone().into()),
            ("process.real_user.id", now.uid.into()),
            ("process.user.id", now.euid.into()),
            ("process.real_group.id", now.gid.into()),
            ("process.group.id", now.egid.into()),
            (
                "agentsight.capabilities",
                format!("{:016x}", now.capabilities).into(),
            ),
        ]),
        EventBody::FileLink(link) => with(
            described(&link.file),
            [
                (
                    "file.symbolic_link.target_path",
                    Value::from(link.target.clone()),
                ),
                ("agentsight.file.symbolic", link.symbolic.into()),
            ],
        ),
        EventBody::FileAttributes(change) => with(
            described(&change.file),
            [
                (
                    "agentsight.operation",
                    Value::from(change.operation.clone()),
                ),
                (
                    "file.owner.id",
                    change.owner.map(|(uid, _)| uid.to_string()).into(),
                ),
                (
                    "file.group.id",
                    change.owner.map(|(_, gid)| gid.to_string()).into(),
                ),
                ("agentsight.file.attribute", change.attribute.clone().into()),
            ],
        ),
        EventBody::FileTruncate(truncate) => with(
            described(&truncate.file),
            [("file.size", Value::from(truncate.length))],
        ),
        EventBody::FileMap(map) => with(
            described(&map.file),
            [
                ("agentsight.map.shared", Value::from(map.shared)),
                ("agentsight.map.write", map.write.into()),
                ("agentsight.map.execute", map.execute.into()),
            ],
        ),
        EventBody::FilePass(pass) => with(
            described(&pass.file),
            [
                ("agentsight.channel", Value::from(pass.channel.clone())),
                ("agentsight.pass.received", pass.received.into()),
            ],
        ),
        EventBody::KernelBpf(act)
        | EventBody::KernelMount(act)
        | EventBody::KernelNamespace(act)
        | EventBody::KernelModule(act)
        | EventBody::KernelIoUring(act) => kernel_attributes(act),
        EventBody::NetworkDns(dns) => attributes([
            ("dns.question.name", dns.question.clone().into()),
            ("agentsight.dns.type", dns.record_type.clone().into()),
            ("agentsight.dns.response", dns.response.clone().into()),
            (
                "dns.answers",
                Some(&dns.addresses)
                    .filter(|addresses| !addresses.is_empty())
                    .map(|addresses| {
                        addresses
                            .iter()
                            .map(ToString::to_string)
                            .collect::<Vec<_>>()
                    })
                    .into(),
            ),
            (
                "server.address",
                dns.server.map(|server| server.ip().to_string()).into(),
            ),
        ]),
        EventBody::NetworkUnix(unix) => attributes([
            ("network.transport", "unix".into()),
            ("network.peer.address", unix.path.clone().into()),
            (
                "agentsight.peer.pid",
                unix.peer.map(|peer| peer.tgid).into(),
            ),
            (
                "agentsight.channel.peer",
                known(unix.channel.peer_ino).into(),
            ),
        ]),
        EventBody::NetworkSocket(socket) => attributes([
            ("network.type", socket.family.clone().into()),
            ("agentsight.socket.type", socket.socket_type.into()),
            ("agentsight.socket.protocol", socket.protocol.into()),
            ("agentsight.errno", socket.error.into()),
        ]),
        _ => return None,
    })
}

fn kernel_attributes(act: &KernelAct) -> Map<String, Value> {
    let file = act.file.as_ref().map(described).unwrap_or_default();
    with(
        file,
        [
            ("agentsight.operation", Value::from(act.operation.clone())),
            ("agentsight.name", act.name.clone().into()),
            ("agentsight.errno", act.error.into()),
            (
                "agentsight.arguments",
                Some(&act.arguments)
                    .filter(|arguments| !arguments.is_empty())
                    .cloned()
                    .into(),
            ),
        ],
    )
}

/// Attributes of a channel's end.
pub(super) fn channel_attributes(record: &ChannelRecord) -> Map<String, Value> {
    let pipe = &record.pipe;
    attributes([
        ("agentsight.channel", channel_name(pipe.channel.kind).into()),
        ("agentsight.channel.inode", pipe.channel.ino.into()),
        (
            "agentsight.channel.peer",
            known(pipe.channel.peer_ino).into(),
        ),
        (
            "agentsight.channel.path",
            Some(pipe.path.as_str())
                .filter(|path| !path.is_empty())
                .into(),
        ),
        ("agentsight.read_bytes", record.read_bytes.into()),
        ("agentsight.written_bytes", record.written_bytes.into()),
    ])
}
