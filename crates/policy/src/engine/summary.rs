//! An event in a few words, as evidence.

use agentsight_model::{EventBody, Evidence};

use crate::field::Field;
use crate::rule::shortened;
use crate::view::View;

pub(crate) fn evidence(seq: Option<u64>, view: &View<'_>) -> Evidence {
    Evidence {
        seq,
        time: view.event.time,
        process: view.event.process,
        kind: view.kind.name().to_owned(),
        summary: shortened(&summary(view)),
    }
}

fn summary(view: &View<'_>) -> String {
    if let Some(tool) = view.tool {
        return format!("{} {}", tool.name, tool.text);
    }
    match &view.event.body {
        EventBody::ProcessExec(_) => view.process.image.command.clone(),
        EventBody::ProcessSignal(signal) => {
            format!("signal {} to {}", signal.signal, signal.target_comm)
        }
        EventBody::ProcessTrace(trace) => format!("{} of {}", trace.operation, trace.target),
        EventBody::FileRename(rename) => format!("{} to {}", rename.from.path, rename.to.path),
        EventBody::FileLink(link) => format!("{} for {}", link.file.path, link.target),
        EventBody::NetworkDns(dns) => format!("{} {}", dns.record_type, dns.question),
        EventBody::NetworkUnix(unix) => unix.path.clone(),
        EventBody::NetworkSocket(socket) => socket.family.clone(),
        EventBody::HttpExchange(exchange) => {
            format!("{} {}{}", exchange.method, exchange.host, exchange.target)
        }
        EventBody::LlmCall(call) => {
            let model = call.model.as_deref().unwrap_or_default();
            format!("{model} at {}", call.endpoint)
        }
        EventBody::TlsConnection(_) => view.host().to_owned(),
        _ => match view.address() {
            Some(address) if view.host().is_empty() => address.to_string(),
            Some(address) => format!("{} ({address})", view.host()),
            None => {
                let operation = view.text(Field::Operation);
                let blank = if operation.is_empty() { "" } else { " " };
                format!("{operation}{blank}{}", view.path())
            }
        },
    }
}
