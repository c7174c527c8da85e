//! One watched session from its first process to its report.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use agentsight_decode::cost::PRICE_TABLE;
use agentsight_decode::records::{file_totals, socket_totals};
use agentsight_model::document::SessionDocument;
use agentsight_model::{Event, EventBody, ProcessKey, SessionStart, Severity, SocketId};
use agentsight_probe::launch::{self, CommandLine, RunAs, Running};
use agentsight_probe::process::{RunningProcess, describe};
use agentsight_probe::{ProbeError, Sensor, Totals, clock, forecast};
use agentsight_store::{Mode, Store};
use anyhow::Context as _;

use super::judge::{self, Judge};
use super::settings::Settings;
use super::{Pipeline, PipelineOptions};
use crate::cli::WatchArgs;
use crate::failure::{FAILURE, FOUND, Failure, NOT_FOUND, NOT_RUNNABLE};
use crate::sinks::Sinks;
use crate::{failure, report, terminal};

/// Longest time between two looks at the rings. Bulk records do not wake us.
const POLL: Duration = Duration::from_millis(10);
const SWEEP_EVERY: Duration = Duration::from_millis(250);
/// All processes of one session carry this label; the field has room for more than one tree.
const LABEL: u32 = 1;

/// The file in the store that keeps what was found in programs and libraries. It can be removed at any time.
const ANALYSES: &str = "tls-analyses";

/// What is watched.
pub(crate) enum Subject {
    /// A command that we start.
    Command(CommandLine),
    /// Processes that run.
    Processes(Vec<u32>),
}

/// Watches the subject to its end, prints the report, and gives the exit code.
pub(crate) fn watch(subject: &Subject, arguments: &WatchArgs) -> anyhow::Result<ExitCode> {
    let settings = Settings::read(arguments)?;
    let rules = judge::load(&arguments.rules, &arguments.findings)?;
    let mut sensor = Sensor::load()?;
    let mut store = Store::open(&arguments.store.store, Mode::Write)?;
    sensor.remember_in(&arguments.store.store.join(ANALYSES));
    let json = arguments.json.as_deref().map(JsonOutput::open);
    let json = json.transpose()?;
    let user = RunAs::sudo_caller()?;

    launch::note_signals().context("failed to take over the signals")?;
    let (mut tree, held) = match subject {
        Subject::Command(line) => {
            foresee(&mut sensor, line);
            let held = launch::hold(line, user.as_ref()).context("failed to start a process")?;
            (sensor.watch_tree(held.pid(), LABEL)?, Some(held))
        }
        Subject::Processes(pids) => {
            let mut tree = Vec::new();
            for &pid in pids {
                tree.extend(sensor.watch_tree(pid, LABEL)?);
            }
            (tree, None)
        }
    };
    tree.dedup();
    let root = tree.first().map(|process| process.key).unwrap_or_default();

    let mut start = session_start(subject, user, &sensor, !arguments.no_content);
    start.prices = settings.prices;
    let id = start.id.clone();
    let sinks = Sinks::open(&arguments.findings, &id, &start.host)?;
    let judging = (arguments.quiet, start.clock, sinks);
    let options = PipelineOptions {
        directory: store.session_dir(&id)?,
        judge: Judge::new(rules, &arguments.rules, &arguments.findings, judging),
        content: !arguments.no_content,
        redaction_key: redaction_key(&arguments.store.store)?,
        own_patterns: settings.patterns,
    };
    let mut pipeline = Pipeline::begin(options, clock::now(), root, start)?;

    // The command and our other threads have been started: they keep the priority that they have.
    agentsight_probe::put_reader_first();
    let mut session = Watched {
        sensor: &mut sensor,
        pipeline: &mut pipeline,
        root,
        last_sweep: Instant::now(),
        warned: false,
    };
    let outcome = match (held, subject) {
        (Some(held), Subject::Command(line)) => match held.release() {
            Ok(mut running) => Ok(Outcome::Ended(session.follow_command(&mut running)?)),
            Err(error) => Err(not_runnable(&line.argv, &error)),
        },
        _ => {
            session.announce(&tree);
            session.follow_processes()?;
            Ok(Outcome::Left)
        }
    };
    let wound_up = session.wind_up();
    let status = match &outcome {
        Ok(Outcome::Ended(status)) => launch::code_and_signal(*status),
        _ => (None, None),
    };
    let recorded = wound_up
        .and_then(|()| Ok(sensor.control().counters()?))
        .and_then(|counters| pipeline.end(clock::now(), root, &counters, status))
        .and_then(|(document, head)| file_away(&mut store, &document, &head).map(|()| document))
        .and_then(|document| hand_over(&document, arguments, json).map(|()| document));
    let failed = arguments.findings.fail_on.is_some_and(|severity| {
        let document = recorded.as_ref().ok();
        document.is_some_and(|document| worst(document) >= Some(severity))
    });
    conclude(outcome, recorded.map(|_| ()), failed)
}

/// The severity of the worst finding.
fn worst(document: &SessionDocument) -> Option<Severity> {
    let severities = document.findings.iter();
    severities
        .filter_map(|finding| finding.severity.parse().ok())
        .max()
}

/// Puts an ended session into the index.
fn file_away(
    store: &mut Store,
    document: &SessionDocument,
    head: &agentsight_ledger::Head,
) -> anyhow::Result<()> {
    let directory = store.session_dir(&document.session.id)?;
    let blocks: Vec<_> = agentsight_ledger::blocks(&directory)?
        .filter_map(Result::ok)
        .collect();
    store
        .index_session(document, &blocks, Some(head))
        .context("failed to index the session; its ledger is complete")
}

/// The exit code. Watching never changes that of a command, unless `--fail-on` asks for it: what went wrong
/// with the record is told.
fn conclude(
    outcome: anyhow::Result<Outcome>,
    recorded: anyhow::Result<()>,
    failed: bool,
) -> anyhow::Result<ExitCode> {
    let outcome = outcome?;
    match (recorded, &outcome) {
        (Err(error), Outcome::Ended(_)) => terminal::tell(&failure::render(&error)),
        (recorded, _) => recorded?,
    }
    if failed {
        return Ok(ExitCode::from(FOUND));
    }
    Ok(outcome.exit_code())
}

/// Attaches to the programs that the command is about to run.
fn foresee(sensor: &mut Sensor, line: &CommandLine) {
    let Some(name) = line.argv.first() else {
        return;
    };
    let cwd = line
        .cwd
        .clone()
        .or_else(|| std::env::current_dir().ok())
        .unwrap_or_default();
    for program in forecast::programs(name, &cwd, std::env::var_os("PATH").as_deref()) {
        // What fails here is tried again, and told, when the program starts.
        let _ = sensor.consider_image(&program, &program);
    }
}

enum Outcome {
    Ended(ExitStatus),
    Left,
}

impl Outcome {
    fn exit_code(&self) -> ExitCode {
        let Self::Ended(status) = self else {
            return ExitCode::SUCCESS;
        };
        let (code, signal) = launch::code_and_signal(*status);
        let code = code.unwrap_or_else(|| 128 + signal.unwrap_or(0));
        ExitCode::from(u8::try_from(code).unwrap_or(FAILURE))
    }
}

fn not_runnable(argv: &[OsString], error: &std::io::Error) -> anyhow::Error {
    let name = argv
        .first()
        .map(|name| name.to_string_lossy())
        .unwrap_or_default();
    let found = error.kind() != std::io::ErrorKind::NotFound;
    let code = if found { NOT_RUNNABLE } else { NOT_FOUND };
    let failure = Failure::new(format!("failed to run `{name}`: {error}"), code);
    let failure = if found {
        failure
    } else {
        failure.hint("sudo may search other folders than your shell: try the full path, as `command -v` prints it")
    };
    failure.into()
}

/// A session while it is watched.
struct Watched<'a> {
    sensor: &'a mut Sensor,
    pipeline: &'a mut Pipeline,
    root: ProcessKey,
    last_sweep: Instant,
    warned: bool,
}

impl Watched<'_> {
    /// Records the processes that ran before we came.
    fn announce(&mut self, tree: &[RunningProcess]) {
        for process in tree {
            // One that has ended since has its exit in the record.
            if let Ok(seen) = describe(*process) {
                self.pipeline.fact(Event {
                    time: clock::now(),
                    process: process.key,
                    body: EventBody::ProcessSeen(Box::new(seen)),
                });
            }
        }
    }

    fn follow_command(&mut self, running: &mut Running) -> anyhow::Result<ExitStatus> {
        let mut blind = false;
        loop {
            if blind {
                std::thread::sleep(POLL);
            } else if let Err(error) = self.round(running.ended()) {
                blind = true;
                let text = "watching has failed, the command goes on unwatched";
                terminal::warn(&format!("{text}: {error:#}"));
            }
            if let Some(signal) = launch::signal_to_forward() {
                running.signal(signal);
            }
            if let Some(status) = running
                .try_wait()
                .context("failed to wait for the command")?
            {
                return Ok(status);
            }
        }
    }

    /// Until all of them have ended, or somebody ends us.
    fn follow_processes(&mut self) -> anyhow::Result<()> {
        while !launch::asked_to_end() && self.sensor.control().watched_count() > 0 {
            self.round(None)?;
        }
        Ok(())
    }

    fn round(&mut self, or_readable: Option<BorrowedFd<'_>>) -> anyhow::Result<()> {
        let pipeline = &mut *self.pipeline;
        let polled = self
            .sensor
            .poll(POLL, or_readable, &mut |bytes| pipeline.record(bytes));
        self.tolerate(polled)?;
        for verdict in self.pipeline.take_flow_verdicts() {
            self.sensor
                .control()
                .decide_flow(verdict.kind, verdict.flow, verdict.is_json_rpc);
        }
        if self.last_sweep.elapsed() >= SWEEP_EVERY {
            self.last_sweep = Instant::now();
            self.sweep()?;
            let counters = self.sensor.control().counters()?;
            self.pipeline.record_losses(&counters, clock::now());
        }
        if let Some(number) = self
            .pipeline
            .canary(Instant::now(), clock::now(), self.root)
        {
            self.sensor.sing(number);
        }
        for process in self.pipeline.take_lost() {
            let attached = self.sensor.attach_again(process.tgid);
            self.tolerate(attached)?;
        }
        self.pipeline.tick();
        self.warn_of_write_error();
        Ok(())
    }

    /// A probe that could not be attached makes us blind in one place; it does not end the watching.
    fn tolerate(&mut self, result: Result<(), ProbeError>) -> anyhow::Result<()> {
        match result {
            Err(ProbeError::Refused { action, source }) if action.starts_with("attach") => {
                terminal::warn(&format!("failed to {action}: {source}"));
                Ok(())
            }
            result => Ok(result?),
        }
    }

    /// The watched command goes on, whatever happens to our record of it.
    fn warn_of_write_error(&mut self) {
        if let Some(error) = self.pipeline.take_write_error() {
            if !self.warned {
                let text = "failed to write the ledger, the record has a gap";
                terminal::warn(&format!("{text}: {error:#}"));
            }
            self.warned = true;
        }
    }

    fn sweep(&mut self) -> anyhow::Result<()> {
        let mut events = Vec::new();
        let mut sockets = Vec::new();
        let mut open = Vec::new();
        self.sensor.sweep(&mut Totals {
            tls: &mut |_: ProcessKey, socket, totals| open.push((socket, totals.sent_bytes)),
            file: &mut |owner, totals| events.push(file_totals(owner, totals)),
            socket: &mut |owner, socket, totals| {
                sockets.extend(socket_totals(owner, socket, totals))
            },
        })?;
        for event in events.into_iter().chain(sockets) {
            self.pipeline.fact(event);
        }
        for (path, reason) in self.sensor.blind_images() {
            self.pipeline.blind_image(path, reason);
        }
        for (socket, sent_bytes) in open {
            self.pipeline
                .sent(clock::now(), SocketId(socket), sent_bytes);
        }
        Ok(())
    }

    /// Takes what is left after the subject has ended.
    fn wind_up(&mut self) -> anyhow::Result<()> {
        self.sensor.detach();
        let pipeline = &mut *self.pipeline;
        let drained = self.sensor.drain(&mut |bytes| pipeline.record(bytes));
        self.tolerate(drained)?;
        self.sweep()?;
        let mut sockets: Vec<Event> = Vec::new();
        self.sensor.last_sockets(&mut Totals {
            tls: &mut |_: ProcessKey, _, _| {},
            file: &mut |_: ProcessKey, _| {},
            socket: &mut |owner, socket, totals| {
                sockets.extend(socket_totals(owner, socket, totals))
            },
        })?;
        for event in sockets {
            self.pipeline.fact(event);
        }
        self.warn_of_write_error();
        Ok(())
    }
}

fn session_start(
    subject: &Subject,
    user: Option<RunAs>,
    sensor: &Sensor,
    content: bool,
) -> SessionStart {
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    };
    let user = user.or_else(RunAs::current);
    SessionStart {
        id: ulid::Ulid::new().to_string(),
        agentsight_version: env!("CARGO_PKG_VERSION").to_owned(),
        command: match subject {
            Subject::Command(line) => line
                .argv
                .iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
            Subject::Processes(_) => Vec::new(),
        },
        cwd: match subject {
            Subject::Command(CommandLine { cwd: Some(cwd), .. }) => cwd.clone(),
            _ => std::env::current_dir().unwrap_or_default(),
        }
        .to_string_lossy()
        .into_owned(),
        uid: user.as_ref().map_or(0, |user| user.uid),
        user: user.map(|user| user.name).unwrap_or_default(),
        host: read("/proc/sys/kernel/hostname"),
        kernel: read("/proc/sys/kernel/osrelease"),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        clock: clock::wall_clock(),
        capabilities: sensor.capabilities().describe(),
        content,
        price_table: PRICE_TABLE.to_owned(),
        prices: Vec::new(),
    }
}

/// The store's key for the hashes that stand for secrets: made at first use, readable by its owner only.
fn redaction_key(store: &Path) -> anyhow::Result<[u8; 32]> {
    let path = store.join("redaction.key");
    let context = || format!("failed to use `{}`", path.display());
    if !path.exists() {
        make_key(store, &path).with_context(context)?;
    }
    let mut key = [0; 32];
    File::open(&path)
        .and_then(|mut file| file.read_exact(&mut key))
        .with_context(context)?;
    Ok(key)
}

/// The key appears whole or not at all, and only once: others may be looking for it, or making one.
fn make_key(store: &Path, path: &Path) -> std::io::Result<()> {
    let mut key = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let draft = store.join(format!("redaction.key.{}", ulid::Ulid::new()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(&key)?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Prints the report and writes the document, as asked.
fn hand_over(
    document: &SessionDocument,
    arguments: &WatchArgs,
    json: Option<JsonOutput>,
) -> anyhow::Result<()> {
    if !arguments.quiet {
        let options = report::ReportOptions {
            color: terminal::stderr_colour(),
            width: terminal::width(),
        };
        let text = report::render(document, &options);
        // The command's last line may have no end.
        let _ = write!(std::io::stderr().lock(), "\n{text}");
    }
    json.map_or(Ok(()), |output| output.write(document))
}

/// Where the document goes. A file is opened before the command runs: what cannot be written is told
/// before anything happens, and the command cannot put something else in its place.
enum JsonOutput {
    Stdout,
    File(File, PathBuf),
}

impl JsonOutput {
    fn open(path: &Path) -> anyhow::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        // What is there stays until there is something better.
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(|| format!("failed to write `{}`", path.display()))?;
        Ok(Self::File(file, path.to_owned()))
    }

    fn write(self, document: &SessionDocument) -> anyhow::Result<()> {
        let mut json = serde_json::to_string(document).context("failed to encode the session")?;
        json.push('\n');
        match self {
            Self::Stdout => terminal::print(&json).context("failed to write to standard output"),
            Self::File(mut file, path) => {
                // A pipe or device has no length.
                let is_regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
                let emptied = if is_regular { file.set_len(0) } else { Ok(()) };
                emptied
                    .and_then(|()| file.write_all(json.as_bytes()))
                    .with_context(|| format!("failed to write `{}`", path.display()))
            }
        }
    }
}
