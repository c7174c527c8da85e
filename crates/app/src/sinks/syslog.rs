//! Findings to the system's log, in the form that syslog(3) writes to its socket.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::Send;
use crate::report::sanitize;

/// The socket of the system's log.
pub(crate) const DEFAULT_SOCKET: &str = "/dev/log";
/// Facility `authpriv` (RFC 5424, 6.2.1): messages of security.
const FACILITY: u8 = 10;
/// Longest time that a log which does not read may hold a message.
const TIMEOUT: Duration = Duration::from_secs(1);

pub(super) fn sender(path: &Path) -> anyhow::Result<Send> {
    let context = || format!("failed to reach the system's log at `{}`", path.display());
    let socket = UnixDatagram::unbound().with_context(context)?;
    socket.connect(path).with_context(context)?;
    socket
        .set_write_timeout(Some(TIMEOUT))
        .with_context(context)?;
    Ok(Box::new(move |finding| {
        socket.send(line(finding).as_bytes())?;
        Ok(())
    }))
}

/// Severities of RFC 5424: from 6, informational, to 2, critical.
fn priority(severity: &str) -> u8 {
    let level = match severity {
        "critical" => 2,
        "high" => 3,
        "medium" => 4,
        "low" => 5,
        _ => 6,
    };
    FACILITY * 8 + level
}

fn line(message: &Value) -> String {
    let finding = &message["finding"];
    let text = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
    let (severity, rule, title) = (
        text(&finding["severity"]),
        text(&finding["rule"]),
        text(&finding["title"]),
    );
    format!(
        "<{}>agentsight[{}]: {severity}: {rule}: {} (session {})",
        priority(&severity),
        std::process::id(),
        sanitize(&title),
        text(&message["session"]),
    )
}
