//! The scripted model server: sockets, threads, what is shared among them.
//!
//! One thread accepts, one thread a connection serves. Everything ends when the handle is dropped.

mod certificate;
mod connection;
mod http;
mod reply;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tempfile::TempDir;

use crate::{Exchange, Script, TestkitError};

/// Connections served at a time; more are closed at once.
const MAX_CONNECTIONS: usize = 256;

/// Bytes of bodies kept as ground truth. Of later bodies only sizes and hashes are kept.
const MAX_KEPT_BYTES: usize = 512 << 20;

/// Exchanges kept as ground truth; later ones are only counted.
const MAX_KEPT_EXCHANGES: usize = 100_000;

/// How long [`ModelServer::truth`] waits for answers that are on their way.
const SETTLE: Duration = Duration::from_secs(5);

/// How often a thread that waits looks whether the server stops.
const POLL: Duration = Duration::from_millis(20);

/// A scripted model on loopback. It stops when dropped.
#[derive(Debug)]
pub struct ModelServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
    folder: TempDir,
    ca_pem_path: PathBuf,
}

impl ModelServer {
    /// Starts a server that follows this script. Its certificate authority is made anew each time.
    ///
    /// # Errors
    /// If there is no loopback socket, thread or temporary folder to be had.
    pub fn start(script: Script) -> Result<Self, TestkitError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(TestkitError::Listen)?;
        let address = listener.local_addr().map_err(TestkitError::Listen)?;
        let identity = certificate::make()?;
        let (folder, ca_pem_path) = certificate::publish(&identity.ca_pem)?;
        let shared = Arc::new(Shared::new(script, identity.config));
        let accepting = thread::Builder::new()
            .name("model-server".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || accept(&listener, &shared)
            })
            .map_err(TestkitError::Thread)?;
        Ok(Self {
            address,
            shared,
            accepting: Some(accepting),
            folder,
            ca_pem_path,
        })
    }

    /// `https://127.0.0.1:<port>`, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A PEM file with the authority that signed the server's certificate. Anyone on the machine can read it.
    #[must_use]
    pub fn ca_pem_path(&self) -> &Path {
        &self.ca_pem_path
    }

    /// A folder that anyone on the machine can read and that goes with the server.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Every exchange in which a model was asked, in the order in which they ended. Waits for answers that
    /// are on their way, as the client knows of an answer's end before the server does.
    #[must_use]
    pub fn truth(&self) -> Vec<Exchange> {
        self.shared.settled().exchanges.clone()
    }

    /// Exchanges that are missing from [`Self::truth`] because there were too many.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        lock(&self.shared.record).forgotten
    }

    /// Requests that asked no model, and were answered with status 404, or echoed (`POST /echo`).
    #[must_use]
    pub fn other_requests(&self) -> u64 {
        self.shared.other_requests.load(Ordering::Relaxed)
    }

    /// Ends all connections and waits for the threads.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that waits in accept.
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// What the threads of one server share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) script: Script,
    config: Arc<ServerConfig>,
    stopping: AtomicBool,
    numbers: AtomicU64,
    other_requests: AtomicU64,
    record: Mutex<Record>,
    settled: Condvar,
    /// Faults served so far, by turn.
    faults: Mutex<HashMap<usize, u32>>,
}

#[derive(Debug, Default)]
struct Record {
    exchanges: Vec<Exchange>,
    kept_bytes: usize,
    forgotten: u64,
    in_flight: usize,
}

impl Shared {
    fn new(script: Script, config: Arc<ServerConfig>) -> Self {
        Self {
            script,
            config,
            stopping: AtomicBool::new(false),
            numbers: AtomicU64::new(0),
            other_requests: AtomicU64::new(0),
            record: Mutex::default(),
            settled: Condvar::new(),
            faults: Mutex::default(),
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// A number that no other answer has.
    pub(crate) fn next_number(&self) -> u64 {
        self.numbers
            .fetch_add(1, Ordering::Relaxed)
            .saturating_add(1)
    }

    pub(crate) fn count_other_request(&self) {
        self.other_requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a fault that occurs `times` times is due when this turn is asked for.
    pub(crate) fn fault_is_due(&self, turn: usize, times: u32) -> bool {
        let mut faults = lock(&self.faults);
        let served = faults.entry(turn).or_insert(0);
        let due = *served < times;
        *served = served.saturating_add(1);
        due
    }

    /// Announces an exchange that [`Self::record`] will end.
    pub(crate) fn begin(&self) -> InFlight<'_> {
        let mut record = lock(&self.record);
        record.in_flight = record.in_flight.saturating_add(1);
        InFlight { shared: self }
    }

    fn keep(&self, mut exchange: Exchange) {
        let mut record = lock(&self.record);
        if record.exchanges.len() >= MAX_KEPT_EXCHANGES {
            record.forgotten = record.forgotten.saturating_add(1);
            return;
        }
        for body in [&mut exchange.request, &mut exchange.response] {
            let length = body.content.as_ref().map_or(0, Vec::len);
            if record.kept_bytes.saturating_add(length) > MAX_KEPT_BYTES {
                body.content = None;
            } else {
                record.kept_bytes = record.kept_bytes.saturating_add(length);
            }
        }
        record.exchanges.push(exchange);
    }

    fn settled(&self) -> MutexGuard<'_, Record> {
        let record = lock(&self.record);
        self.settled
            .wait_timeout_while(record, SETTLE, |record| record.in_flight > 0)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }
}

/// An exchange that is on its way. Dropping it without [`Self::end`] means that nothing came of it.
pub(crate) struct InFlight<'a> {
    shared: &'a Shared,
}

impl InFlight<'_> {
    /// Ends the exchange.
    pub(crate) fn end(self, exchange: Exchange) {
        self.shared.keep(exchange);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let mut record = lock(&self.shared.record);
        record.in_flight = record.in_flight.saturating_sub(1);
        self.shared.settled.notify_all();
    }
}

/// A poisoned lock means that another thread panicked; what it guards here is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Accepts until the server stops, then ends what still runs.
fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut running: Vec<(TcpStream, JoinHandle<()>)> = Vec::new();
    let mut number = 0_u64;
    for stream in listener.incoming() {
        if shared.is_stopping() {
            break;
        }
        running.retain(|(_, thread)| !thread.is_finished());
        let Ok(stream) = stream else {
            // Out of descriptors, most likely: others have to end first.
            thread::sleep(POLL);
            continue;
        };
        if running.len() >= MAX_CONNECTIONS {
            continue;
        }
        number = number.saturating_add(1);
        if let Ok(connection) = serve(stream, number, shared) {
            running.push(connection);
        }
    }
    for (stream, thread) in running {
        let _ = stream.shutdown(Shutdown::Both);
        let _ = thread.join();
    }
}

fn serve(
    stream: TcpStream,
    number: u64,
    shared: &Arc<Shared>,
) -> io::Result<(TcpStream, JoinHandle<()>)> {
    let peer = stream.peer_addr()?;
    let ours = stream.try_clone()?;
    let shared = Arc::clone(shared);
    let config = Arc::clone(&shared.config);
    let thread = thread::Builder::new()
        .name(format!("model-conn-{number}"))
        .spawn(move || {
            // A client that breaks the protocol or leaves is no failure of the server.
            let _ = connection::serve(stream, config, number, peer, &shared);
        })?;
    Ok((ours, thread))
}

/// Waits until the client closes, the server stops or the time is up.
pub(crate) fn hold(stream: &TcpStream, shared: &Shared, at_most: Duration) {
    let begun = Instant::now();
    let mut byte = [0_u8; 1];
    let _ = stream.set_read_timeout(Some(POLL));
    while !shared.is_stopping() && begun.elapsed() < at_most {
        match stream.peek(&mut byte) {
            Ok(0) => return,
            // Bytes that nobody will read; do not spin on them.
            Ok(_) => thread::sleep(POLL),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock
                        | io::ErrorKind::TimedOut
                        | io::ErrorKind::Interrupted
                ) => {}
            Err(_) => return,
        }
    }
}
