//! The workloads. Each runs in a process of its own, measures itself and writes the result to a file.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::UsageWho;
use serde_json::json;

use super::{children_cpu, cpu_of, read_json, server};
use crate::failure::Failure;

pub(super) const TLS_ECHO: &str = "tls-echo";

/// Every workload.
pub(super) const NAMES: &[&str] = &["exec-burst", "open-burst", TLS_ECHO];

/// Floods, for `bench storm`.
pub(super) const STORMS: &[&str] = &[
    "exec-storm",
    "process-tree",
    "open-storm",
    "write-storm",
    "connect-storm",
];

const EXECS: usize = 10_000;
const STORM_WORKERS: usize = 4;
const STORM_EXECS: usize = 100_000;
const STORM_OPENS: usize = 1_000_000;
const STORM_WRITES: usize = 1_000_000;
const STORM_CONNECTS: usize = 200_000;
const TREE_PROCESSES: usize = 10_000;
/// Addresses to connect to: each has some 28,000 ports to connect from, which rest after use.
const STORM_ADDRESSES: usize = 16;
const TREE_CHILDREN: usize = 10;
/// One burst of 50,000 is over in a tenth of a second, too short to compare: this is ten of them.
const OPENS: usize = 500_000;
const FILES: usize = 1_000;
const ECHOES: usize = 3_000;
const ECHO_BYTES: usize = 16 << 10;

const TLS_ECHO_SCRIPT: &str = include_str!("tls_echo.py");

/// What a workload measured of itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) wall: Duration,
    /// Of itself and its children, user and system.
    pub(super) cpu: Duration,
}

impl Measured {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let result = read_json(path)?;
        let duration = |key: &str| {
            let nanoseconds = result.get(key).and_then(serde_json::Value::as_u64);
            nanoseconds
                .map(Duration::from_nanos)
                .ok_or_else(|| Failure::new(format!("{} names no {key}", path.display())))
        };
        Ok(Self {
            wall: duration("wall_ns")?,
            cpu: duration("cpu_ns")?,
        })
    }
}

/// Runs a workload and writes what it measured to `result_file`.
pub(crate) fn run(name: &str, result_file: &str) -> Result<(), Failure> {
    let work: fn(&Path) -> std::io::Result<()> = match name {
        "exec-burst" => |_| exec_burst(),
        "open-burst" => open_burst,
        TLS_ECHO => |_| tls_echo(),
        "exec-storm" => |_| exec_storm(),
        "process-tree" => |_| process_tree(),
        "open-storm" => open_storm,
        "write-storm" => write_storm,
        "connect-storm" => |_| connect_storm(),
        _ => return Err(Failure::usage(format!("no such workload: {name}\n"))),
    };
    let failed = |error: std::io::Error| Failure::new(format!("{name}: {error}"));
    let files =
        Files::make(matches!(name, "open-burst" | "open-storm" | "write-storm")).map_err(failed)?;
    let cpu = || cpu_of(UsageWho::RUSAGE_SELF).saturating_add(children_cpu());
    let (begun, cpu_before) = (Instant::now(), cpu());
    work(&files.folder).map_err(failed)?;
    let result = json!({
        "wall_ns": u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX),
        "cpu_ns": u64::try_from(cpu().saturating_sub(cpu_before).as_nanos()).unwrap_or(u64::MAX),
    });
    fs::write(result_file, result.to_string()).map_err(failed)
}

fn exec_burst() -> std::io::Result<()> {
    let mut command = Command::new("/bin/true");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    for _ in 0..EXECS {
        if !command.status()?.success() {
            return Err(std::io::Error::other("/bin/true is false"));
        }
    }
    Ok(())
}

/// Runs `work` in so many threads, and gives the first failure.
fn in_threads(
    count: usize,
    work: impl Fn(usize) -> std::io::Result<()> + Sync,
) -> std::io::Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|number| {
                let work = &work;
                scope.spawn(move || work(number))
            })
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|_| Err(std::io::Error::other("a worker panicked")))
        })
    })
}

fn exec_storm() -> std::io::Result<()> {
    in_threads(STORM_WORKERS, |_| {
        let mut command = Command::new("/bin/true");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        for _ in 0..STORM_EXECS / STORM_WORKERS {
            if !command.status()?.success() {
                return Err(std::io::Error::other("/bin/true is false"));
            }
        }
        Ok(())
    })
}

/// Shells that start shells, three levels of ten and a last one in the background, whose parents do not wait:
/// every second process is an orphan.
fn process_tree() -> std::io::Result<()> {
    let leaves = TREE_PROCESSES / (TREE_CHILDREN * TREE_CHILDREN) / 2;
    let leaf = format!("for i in $(seq {leaves}); do (/bin/true &) ; done");
    let script = format!(
        "for a in $(seq {TREE_CHILDREN}); do (for b in $(seq {TREE_CHILDREN}); do \
         (setsid sh -c '{leaf}' &) ; done; wait) & done; wait"
    );
    let status = Command::new("sh").args(["-c", &script]).status()?;
    // Orphans are nobody's to wait for: they are given the time to end.
    std::thread::sleep(Duration::from_secs(5));
    if status.success() {
        Ok(())
    } else {
        Err(std::io::Error::other("the tree's root failed"))
    }
}

fn open_storm(folder: &Path) -> std::io::Result<()> {
    let paths: Vec<PathBuf> = (0..FILES)
        .map(|number| folder.join(number.to_string()))
        .collect();
    in_threads(STORM_WORKERS, |_| {
        for path in paths.iter().cycle().take(STORM_OPENS / STORM_WORKERS) {
            drop(File::open(path)?);
        }
        Ok(())
    })
}

fn write_storm(folder: &Path) -> std::io::Result<()> {
    in_threads(STORM_WORKERS, |number| {
        let mut file = File::create(folder.join(format!("written-{number}")))?;
        for _ in 0..STORM_WRITES / STORM_WORKERS {
            file.write_all(b"x")?;
        }
        Ok(())
    })
}

fn connect_storm() -> std::io::Result<()> {
    let listener = TcpListener::bind(("0.0.0.0", 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    in_threads(STORM_WORKERS, |worker| {
        for number in 0..STORM_CONNECTS / STORM_WORKERS {
            let last = (worker + number * STORM_WORKERS) % STORM_ADDRESSES + 1;
            let address = Ipv4Addr::new(127, 0, 0, u8::try_from(last).unwrap_or(1));
            drop(TcpStream::connect((address, port))?);
        }
        Ok(())
    })
}

fn open_burst(folder: &Path) -> std::io::Result<()> {
    let paths: Vec<PathBuf> = (0..FILES)
        .map(|number| folder.join(number.to_string()))
        .collect();
    for path in paths.iter().cycle().take(OPENS) {
        drop(File::open(path)?);
    }
    Ok(())
}

fn tls_echo() -> std::io::Result<()> {
    for variable in [server::URL, server::CA] {
        if env::var_os(variable).is_none() {
            return Err(std::io::Error::other(format!("{variable} is not set")));
        }
    }
    let status = Command::new("python3")
        .args([
            "-c",
            TLS_ECHO_SCRIPT,
            &ECHOES.to_string(),
            &ECHO_BYTES.to_string(),
        ])
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(std::io::Error::other(format!(
            "the client ended with {status}"
        )))
    }
}

/// The files of the open burst, made before the clock runs.
struct Files {
    folder: PathBuf,
}

impl Files {
    fn make(wanted: bool) -> std::io::Result<Self> {
        let folder = env::temp_dir().join(format!("agentsight-workload-{}", std::process::id()));
        let files = Self { folder };
        if wanted {
            fs::create_dir(&files.folder)?;
            for number in 0..FILES {
                fs::write(files.folder.join(number.to_string()), b"x")?;
            }
        }
        Ok(files)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
