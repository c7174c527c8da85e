//! Which class of the kernel side's records a fact came from.

use agentsight_model::{EventBody, EventClass};

/// The class in which a fact that could not be written is counted as lost; `None` for what is no record's.
pub(super) fn class_of(body: &EventBody) -> Option<EventClass> {
    if matches!(body, EventBody::LlmContent(_) | EventBody::LlmSources(_)) {
        // Of a call, which is counted.
        return None;
    }
    // As the kernel side classes them (bpf/include/acts.h): acts are apart from the use of files and sockets.
    match body {
        EventBody::IpcPipe(_) => return Some(EventClass::Stdio),
        EventBody::ProcessSignal(_)
        | EventBody::ProcessTrace(_)
        | EventBody::ProcessCredentials(_)
        | EventBody::FileMap(_)
        | EventBody::FilePass(_)
        | EventBody::NetworkUnix(_)
        | EventBody::NetworkSocket(_) => return Some(EventClass::Security),
        _ => {}
    }
    match body.kind().split('.').next() {
        Some("kernel") => Some(EventClass::Security),
        Some("process") => Some(EventClass::Process),
        Some("file") => Some(EventClass::File),
        Some("network") => Some(EventClass::Network),
        Some("llm" | "http" | "stream") => Some(EventClass::Tls),
        Some("mcp" | "a2a" | "rpc") if is_over_http(body) => Some(EventClass::Tls),
        Some("mcp" | "a2a" | "rpc" | "channel") => Some(EventClass::Stdio),
        _ => None,
    }
}

fn is_over_http(body: &EventBody) -> bool {
    match body {
        EventBody::McpCall(call) | EventBody::A2aCall(call) | EventBody::RpcCall(call) => {
            call.endpoint.starts_with("http")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentsight_model::{FileLink, IpcPipe, KernelAct, NetworkDns, ProcessSignal};

    #[test]
    fn what_cannot_be_written_is_counted_in_the_class_of_its_record() {
        for (body, class) in [
            (EventBody::IpcPipe(IpcPipe::default()), EventClass::Stdio),
            (
                EventBody::ProcessSignal(ProcessSignal::default()),
                EventClass::Security,
            ),
            (
                EventBody::KernelBpf(KernelAct::default()),
                EventClass::Security,
            ),
            (EventBody::FileLink(FileLink::default()), EventClass::File),
            (
                EventBody::NetworkDns(NetworkDns::default()),
                EventClass::Network,
            ),
        ] {
            assert_eq!(class_of(&body), Some(class), "{}", body.kind());
        }
    }
}
