//! Where TLS reads and writes are in an ELF file.
//!
//! [`locate`] answers, for one file, which TLS stacks it holds and at which file offsets plaintext can be
//! read, with the evidence for each offset; or it says why there is none. It needs no root, runs nothing
//! and attaches nothing: the crate `probe` does that with the answer.
//!
//! Every byte of the file may come from an attacker. A file that makes no sense is an error or is reported
//! as a blind spot; it never ends in a panic, and work and memory are bounded. An offset is offered only if
//! it is the function's first instruction beyond doubt, as a probe in the middle of an instruction would
//! break the watched program.
//!
//! ```
//! # fn main() -> Result<(), agentsight_tls::LocateError> {
//! let file = std::fs::File::open("/proc/self/exe")?;
//! let located = agentsight_tls::locate(&file, &agentsight_tls::Options::default())?;
//! for (stack, hook) in located.hooks() {
//!     println!("{stack} {} at {:#x}", hook.function, hook.file_offset);
//! }
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )
)]

mod bytes;
mod code;
mod convention;
mod describe;
mod elf;
mod error;
mod pclntab;
mod quick;
mod report;
mod rust;
mod scan;
mod source;
mod stacks;
mod unwind;

use std::fmt::Write;

pub use convention::{Convention, Moment, Operand, Success, Trailer};
pub use describe::describe;
pub use elf::Machine;
pub use error::LocateError;
pub use quick::maybe_tls;
pub use report::{
    Attach, Confidence, Direction, Hook, HookKind, Located, Missing, Stack, StackReport,
};
pub use source::Source;

/// How hard to look.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// Whether to believe symbols. Without, functions that have a name are searched like all others.
    pub use_symbols: bool,
    /// Whether to search code for functions that no symbol names.
    pub search_code: bool,
    /// How many bytes all passes over the file may read together. One pass over code and constants of the
    /// largest known program reads 300 MB.
    pub max_scanned_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            use_symbols: true,
            search_code: true,
            max_scanned_bytes: 4 << 30,
        }
    }
}

impl Options {
    /// Looks at symbols only.
    #[must_use]
    pub fn symbols_only() -> Self {
        Self {
            search_code: false,
            ..Self::default()
        }
    }

    /// Does not look at symbols.
    #[must_use]
    pub fn code_only() -> Self {
        Self {
            use_symbols: false,
            ..Self::default()
        }
    }
}

/// Finds the TLS functions of an ELF file.
///
/// `source` is `&[u8]` or `&File`. A file that holds no TLS code has an answer without stacks.
///
/// # Errors
/// The file is no ELF file that is understood here, or it could not be read.
pub fn locate<S: Source>(source: S, options: &Options) -> Result<Located, LocateError> {
    let elf = elf::Elf::open(&source)?;
    let mut inspection = stacks::Inspection::new(&elf, options)?;
    let mut found: Vec<StackReport> = Vec::new();
    for entry in stacks::STACKS {
        found.extend((entry.inspect)(&mut inspection)?);
    }
    for report in &mut found {
        report.hooks.sort_by_key(|hook| hook.file_offset);
    }
    if inspection.is_cut_short() {
        found.iter_mut().for_each(stacks::withdraw_unproven);
    }
    stacks::mark_superseded(&mut found);
    Ok(Located {
        machine: elf.machine,
        build_id: elf.build_id.clone(),
        file_bytes: elf.byte_count,
        stacks: found,
        limits: inspection.limits(),
    })
}

/// Lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
