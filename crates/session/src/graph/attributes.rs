//! Attributes of actions, named as OpenTelemetry names them; ours begin with `agentsight.`.

use agentsight_model::{FileRef, NetworkProtocol, RpcCall};
use serde_json::{Map, Value};

use super::document::Clock;
use super::files::Totals;
use super::network::{HttpRecord, NetworkRecord};
use super::processes::{ExecRecord, ProcessRecord};

pub(super) fn attributes(
    pairs: impl IntoIterator<Item = (&'static str, Value)>,
) -> Map<String, Value> {
    pairs
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Attributes of a request, by the conventions for MCP and JSON-RPC (semantic conventions 1.39).
pub(super) fn rpc_attributes(call: &RpcCall) -> Map<String, Value> {
    let is = |method: &str| call.method == method;
    let name = |wanted: bool| call.name.clone().filter(|_| wanted);
    let is_mcp = call.protocol == "mcp";
    attributes([
        ("rpc.system.name", call.protocol.clone().into()),
        ("rpc.method", call.method.clone().into()),
        (
            "mcp.method.name",
            is_mcp.then(|| call.method.clone()).into(),
        ),
        (
            "mcp.protocol.version",
            call.revision.clone().filter(|_| is_mcp).into(),
        ),
        ("gen_ai.tool.name", name(is("tools/call")).into()),
        ("gen_ai.prompt.name", name(is("prompts/get")).into()),
        (
            "mcp.resource.uri",
            name(call.method.starts_with("resources/")).into(),
        ),
        (
            "jsonrpc.request.id",
            call.request_id
                .as_ref()
                .map(|id| match id {
                    Value::String(id) => id.clone(),
                    id => id.to_string(),
                })
                .into(),
        ),
        (
            "rpc.response.status_code",
            call.error
                .as_ref()
                .map(|error| error.code.to_string())
                .into(),
        ),
        ("network.transport", call.transport.clone().into()),
        ("agentsight.rpc.id", call.id.clone().into()),
        ("agentsight.rpc.status", call.status.as_str().into()),
        (
            "agentsight.server.process",
            call.server.map(|server| server.to_string()).into(),
        ),
        ("agentsight.request_bytes", call.request.bytes.into()),
        (
            "agentsight.response_bytes",
            call.response.as_ref().map(|response| response.bytes).into(),
        ),
    ])
}

pub(super) fn fork_attributes(child: &ProcessRecord) -> Map<String, Value> {
    attributes([
        ("process.pid", child.parent.map(|parent| parent.tgid).into()),
        ("agentsight.child.process", child.key.to_string().into()),
        ("agentsight.child.pid", child.key.tgid.into()),
    ])
}

pub(super) fn exec_attributes(process: &ProcessRecord, exec: &ExecRecord) -> Map<String, Value> {
    let filename =
        Some(exec.filename.as_str()).filter(|name| !name.is_empty() && *name != exec.exe.path);
    attributes([
        ("process.pid", process.key.tgid.into()),
        (
            "process.parent_pid",
            process.parent.map(|parent| parent.tgid).into(),
        ),
        ("process.executable.path", exec.exe.path.clone().into()),
        ("process.command_args", exec.argv.clone().into()),
        ("process.working_directory", exec.cwd.clone().into()),
        ("process.real_user.id", exec.uid.into()),
        ("agentsight.process.filename", filename.into()),
        (
            "agentsight.process.executable.deleted",
            exec.exe_deleted.then_some(true).into(),
        ),
        (
            "agentsight.process.args_cut",
            exec.argv_cut.then_some(true).into(),
        ),
    ])
}

pub(super) fn exit_attributes(process: &ProcessRecord) -> Map<String, Value> {
    let Some((_, _, exit)) = &process.exit else {
        return Map::new();
    };
    attributes([
        ("process.pid", process.key.tgid.into()),
        ("process.exit.code", exit.code.into()),
        ("agentsight.process.exit_signal", exit.signal.into()),
        ("agentsight.process.user_ns", exit.resources.user_ns.into()),
        (
            "agentsight.process.system_ns",
            exit.resources.system_ns.into(),
        ),
        (
            "agentsight.process.max_rss_bytes",
            exit.resources.max_rss_bytes.into(),
        ),
    ])
}

pub(super) fn file_attributes(path: &str, file: &FileRef) -> Map<String, Value> {
    let known = |number: u64| (number != 0).then_some(number);
    attributes([
        ("file.path", path.into()),
        (
            "file.inode",
            known(file.ino).map(|inode| inode.to_string()).into(),
        ),
        (
            "file.mode",
            known(u64::from(file.mode))
                .map(|mode| format!("{:04o}", mode & 0o7777))
                .into(),
        ),
        ("agentsight.file.device", known(file.dev).into()),
        (
            "agentsight.file.path_cut",
            file.path_cut.then_some(true).into(),
        ),
    ])
}

pub(super) fn use_attributes(attributes: &mut Map<String, Value>, kind: &str, totals: &Totals) {
    match kind {
        "file.read" => {
            attributes.insert("agentsight.bytes".into(), totals.read_bytes.into());
        }
        "file.write" => {
            attributes.insert("agentsight.bytes".into(), totals.written_bytes.into());
        }
        "file.open" => {
            let access = match (totals.access.read, totals.access.write) {
                (true, true) => "read-write",
                (false, true) => "write",
                _ => "read",
            };
            attributes.insert("agentsight.file.access".into(), access.into());
        }
        _ => {}
    }
}

pub(super) fn network_attributes(record: &NetworkRecord) -> Map<String, Value> {
    let endpoint = &record.endpoint;
    let transport = match endpoint.protocol {
        NetworkProtocol::Tcp => "tcp",
        NetworkProtocol::Udp => "udp",
    };
    let is_ipv6 = endpoint
        .peer
        .or(endpoint.local)
        .is_some_and(|address| address.is_ipv6());
    let port = |port: u16| (port != 0).then_some(port);
    let measured = record.closed > 0;
    attributes([
        ("network.transport", transport.into()),
        ("network.type", if is_ipv6 { "ipv6" } else { "ipv4" }.into()),
        (
            "network.peer.address",
            endpoint.peer.map(|peer| peer.ip().to_string()).into(),
        ),
        (
            "network.peer.port",
            endpoint.peer.and_then(|peer| port(peer.port())).into(),
        ),
        (
            "network.local.address",
            endpoint.local.map(|local| local.ip().to_string()).into(),
        ),
        (
            "network.local.port",
            endpoint.local.and_then(|local| port(local.port())).into(),
        ),
        ("agentsight.count", record.count.into()),
        (
            "agentsight.network.sent_bytes",
            measured.then_some(record.sent_bytes).into(),
        ),
        (
            "agentsight.network.received_bytes",
            measured.then_some(record.received_bytes).into(),
        ),
    ])
}

pub(super) fn http_attributes(record: &HttpRecord, clock: Clock) -> Map<String, Value> {
    let first = &record.exchange;
    let grpc = first.grpc.as_ref();
    attributes([
        ("rpc.system", grpc.map(|_| "grpc").into()),
        ("rpc.service", grpc.map(|call| call.service.clone()).into()),
        ("rpc.method", grpc.map(|call| call.method.clone()).into()),
        (
            "rpc.grpc.status_code",
            grpc.and_then(|call| call.status).into(),
        ),
        ("http.request.method", first.method.clone().into()),
        ("server.address", first.host.clone().into()),
        ("url.path", first.target.clone().into()),
        ("http.response.status_code", first.status.into()),
        ("agentsight.count", record.count.into()),
        ("http.request.body.size", record.request_bytes.into()),
        ("http.response.body.size", record.response_bytes.into()),
        ("agentsight.last_time", clock.text(record.last).into()),
    ])
}
