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
//! sensor.poll(std::time::Duration::from_millis(10), &mut |record: &[u8]| {
//!     println!("{} bytes", record.len());
//! })?;
//! # Ok(())
//! # }
//! ```

pub mod capability;
pub mod clock;
mod control;
mod error;
mod images;
pub mod launch;
pub mod process;
mod rings;
mod sensor;
mod skeleton;
mod syscalls;

pub use capability::Capabilities;
pub use control::{KernelControl, KernelCounters};
pub use error::ProbeError;
pub use images::{AttachedImage, ImageReport};
pub use sensor::{Sensor, Totals};

/// The linked object file of the kernel programs; for tests that read its BTF.
#[doc(hidden)]
pub const BPF_OBJECT_PATH: &str = env!("AGENTSIGHT_BPF_OBJECT");
