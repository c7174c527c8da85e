//! Loads and attaches the kernel programs, reads their rings, and is the only way back into the kernel.
//!
//! Everything that needs root, libbpf or `unsafe` lives here and nowhere else. The crate hands on raw
//! records in the order of their times; it does not look into them, but for the few that tell it to
//! attach probes to a new image or that a process ended.
//!
//! ```no_run
//! # fn main() -> Result<(), agentsight_probe::ProbeError> {
//! let mut sensor = agentsight_probe::Sensor::load()?;
//! sensor.watch_tree(4711, 1)?;
//! sensor.poll(std::time::Duration::from_millis(10), None, &mut |record: &[u8]| {
//!     println!("{} bytes", record.len());
//! })?;
//! # Ok(())
//! # }
//! ```

mod cache;
pub mod capability;
pub mod cgroup;
pub mod clock;
mod control;
mod error;
pub mod forecast;
mod hold;
mod hooks;
mod images;
pub mod launch;
mod plan;
pub mod process;
mod rings;
mod sensor;
mod syscalls;
pub mod verifier;

pub use capability::Capabilities;
pub use control::{KernelControl, KernelCounters};
pub use error::ProbeError;
pub use images::{AttachedImage, ImageReport};
pub use sensor::{Sensor, Totals};

/// Bytes of a memory page.
#[must_use]
pub fn page_bytes() -> u64 {
    // SAFETY: sysconf has no preconditions.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    u64::try_from(bytes).unwrap_or(4096)
}

/// How much sooner than others the thread that reads the rings gets its turn: as auditd's `priority_boost`.
const READER_NICE: libc::c_int = -10;

/// Lets this thread go before others that want the CPU: it reads what they write, and what it is too late for is
/// lost. Threads and processes that it starts from then on are like it. Without the privilege nothing changes.
pub fn put_reader_first() {
    // SAFETY: setpriority takes numbers; 0 is the calling thread (setpriority(2), C library/kernel differences).
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, READER_NICE) };
}

/// Columns of the terminal behind standard error, if it is one.
#[must_use]
pub fn terminal_columns() -> Option<usize> {
    // SAFETY: all zeroes is a valid winsize.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: the request takes a pointer to a winsize, which is valid for writing.
    let result = unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}
