//! Where findings are sent as they come: a web server, the system's log.
//!
//! A sink has a thread and a queue of its own. Handing a finding over never waits: what does not fit into the
//! queue is counted and told at the end. So no server, however slow, holds up the watching.

mod syslog;
mod webhook;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use agentsight_policy::Found;
use anyhow::Context as _;
use serde_json::{Value, json};

pub(crate) use syslog::DEFAULT_SOCKET;

use crate::cli::FindingArgs;
use crate::report::count;
use crate::terminal;

/// Findings that wait for one sink.
const QUEUE: usize = 1_024;
/// Time that a sink has at the end of a session for what waits.
const LINGER: Duration = Duration::from_secs(5);

/// Sends one finding; what went wrong is told once.
type Send = Box<dyn FnMut(&Value) -> anyhow::Result<()> + std::marker::Send>;

/// All sinks of a session.
#[derive(Default)]
pub(crate) struct Sinks {
    session: String,
    host: String,
    open: Vec<Sink>,
}

struct Sink {
    name: &'static str,
    queue: SyncSender<Arc<Value>>,
    done: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
    failed: Arc<AtomicU64>,
    overflowed: u64,
}

impl Sinks {
    /// Opens what was asked for.
    pub(crate) fn open(arguments: &FindingArgs, session: &str, host: &str) -> anyhow::Result<Self> {
        let mut sinks = Self {
            session: session.to_owned(),
            host: host.to_owned(),
            open: Vec::new(),
        };
        if let Some(url) = &arguments.webhook {
            sinks.add("webhook", webhook::sender(url)?)?;
        }
        if let Some(socket) = &arguments.syslog {
            sinks.add("syslog", syslog::sender(socket)?)?;
        }
        Ok(sinks)
    }

    fn add(&mut self, name: &'static str, send: Send) -> anyhow::Result<()> {
        let (queue, findings) = sync_channel(QUEUE);
        let (tell_done, done) = mpsc::channel();
        let failed = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&failed);
        let thread = std::thread::Builder::new()
            .name(format!("agentsight-{name}"))
            .spawn(move || {
                drain(name, &findings, send, &counter);
                // Nobody listens if the session did not wait.
                let _ = tell_done.send(());
            })
            .with_context(|| format!("failed to start the {name} sink"))?;
        self.open.push(Sink {
            name,
            queue,
            done,
            thread,
            failed,
            overflowed: 0,
        });
        Ok(())
    }

    /// Hands a finding to every sink. Never waits.
    pub(crate) fn send(&mut self, found: &Found, time: &str) {
        if self.open.is_empty() {
            return;
        }
        let message = Arc::new(self.message(found, time));
        for sink in &mut self.open {
            if sink.queue.try_send(Arc::clone(&message)).is_err() {
                sink.overflowed = sink.overflowed.saturating_add(1);
            }
        }
    }

    fn message(&self, found: &Found, time: &str) -> Value {
        json!({
            "session": self.session,
            "host": self.host,
            "time": time,
            "process": found.process,
            "finding": found.finding,
        })
    }

    /// Waits a little for what is queued, and says what could not be sent.
    pub(crate) fn close(&mut self) {
        for sink in self.open.drain(..) {
            drop(sink.queue);
            let in_time = sink.done.recv_timeout(LINGER) != Err(RecvTimeoutError::Timeout);
            if in_time {
                let _ = sink.thread.join();
            }
            let failed = sink.failed.load(Ordering::Relaxed);
            let lost = failed.saturating_add(sink.overflowed);
            if lost > 0 || !in_time {
                let lost = count(lost, "finding", "findings");
                let late = if in_time { "" } else { ", and it still waits" };
                terminal::warn(&format!(
                    "{} could not be sent to the {}{late}; the ledger has all",
                    lost, sink.name
                ));
            }
        }
    }
}

fn drain(name: &str, findings: &Receiver<Arc<Value>>, mut send: Send, failed: &AtomicU64) {
    let mut is_told = false;
    for finding in findings {
        if let Err(error) = send(&finding) {
            failed.fetch_add(1, Ordering::Relaxed);
            if !is_told {
                terminal::warn(&format!(
                    "failed to send a finding to the {name}: {error:#}"
                ));
            }
            is_told = true;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use agentsight_model::{Finding, KTime, ProcessKey};
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::os::unix::net::UnixDatagram;
    use std::time::Instant;

    pub(crate) fn found(title: &str) -> Found {
        Found {
            time: KTime(1),
            process: ProcessKey {
                tgid: 1,
                start_ns: 1,
            },
            finding: Finding {
                rule: "r".into(),
                title: title.into(),
                ..Finding::default()
            },
        }
    }

    /// A web server on loopback that gives the bodies of what is posted to it.
    pub(crate) fn server() -> (String, mpsc::Receiver<(Instant, Value)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let tell = tell.clone();
                std::thread::spawn(move || {
                    let mut stream = BufReader::new(stream.unwrap());
                    loop {
                        let mut length = 0;
                        let mut line = String::new();
                        while stream.read_line(&mut line).unwrap_or(0) > 2 {
                            let lower = line.to_lowercase();
                            if let Some(value) = lower.strip_prefix("content-length:") {
                                length = value.trim().parse().unwrap();
                            }
                            line.clear();
                        }
                        if line.is_empty() {
                            return;
                        }
                        let mut body = vec![0; length];
                        stream.read_exact(&mut body).unwrap();
                        let body = serde_json::from_slice(&body).unwrap();
                        let _ = tell.send((Instant::now(), body));
                        let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
                        stream.get_mut().write_all(answer).unwrap();
                    }
                });
            }
        });
        (url, told)
    }

    fn arguments(webhook: Option<String>, syslog: Option<std::path::PathBuf>) -> FindingArgs {
        FindingArgs {
            webhook,
            syslog,
            ..FindingArgs::default()
        }
    }

    #[test]
    fn a_webhook_gets_findings_as_json() {
        let (url, told) = server();
        let mut sinks = Sinks::open(&arguments(Some(url), None), "S", "h").unwrap();
        sinks.send(&found("one"), "T");
        sinks.close();
        let (_, body) = told.recv_timeout(LINGER).unwrap();
        assert_eq!(body["session"], "S");
        assert_eq!(body["finding"]["title"], "one");
    }

    #[test]
    fn the_system_log_gets_one_line_without_control_characters() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(LINGER)).unwrap();
        let mut sinks = Sinks::open(&arguments(None, Some(path)), "S", "h").unwrap();
        sinks.send(&found("a\n\x1b[2Jb"), "T");
        sinks.close();
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).unwrap();
        let text = std::str::from_utf8(&buffer[..length]).unwrap();
        assert!(text.starts_with("<86>agentsight["), "{text}");
        assert!(
            text.contains("r: ") && !text.chars().any(char::is_control),
            "{text:?}"
        );
    }

    #[test]
    fn a_server_that_does_not_answer_holds_nothing_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let mut sinks = Sinks::open(&arguments(Some(url), None), "S", "h").unwrap();
        let begin = Instant::now();
        for _ in 0..10 * QUEUE {
            sinks.send(&found("x"), "T");
        }
        assert!(begin.elapsed() < Duration::from_secs(2));
        assert!(sinks.open[0].overflowed > 8 * QUEUE as u64);
        drop(listener);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for url in ["", "example.net", "ftp://example.net", "http://"] {
            assert!(
                Sinks::open(&arguments(Some(url.into()), None), "S", "h").is_err(),
                "{url}"
            );
        }
        let missing = std::path::PathBuf::from("/no/such/socket");
        assert!(Sinks::open(&arguments(None, Some(missing)), "S", "h").is_err());
    }
}
