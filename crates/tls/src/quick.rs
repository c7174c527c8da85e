//! The check that keeps ordinary programs cheap: most files that a process maps hold no TLS code.

use memchr::memmem;

use crate::LocateError;
use crate::elf::Elf;
use crate::source::{Source, read_up_to};

/// Names that a file with TLS functions has in one of its string tables.
const NAMES: &[&[u8]] = &[
    b"SSL_read\0",
    b"SSL_write\0",
    b"gnutls_record_send\0",
    b"PR_Write\0",
];
/// More of a string table than this is not looked at: who has that much is worth a full look.
const MAX_STRINGS_BYTES: u64 = 32 << 20;
const SHT_STRTAB: u32 = 3;

/// Whether a file may hold TLS functions. A wrong "yes" costs a full look, a wrong "no" costs plaintext;
/// so it says "yes" where it is not sure. Costs microseconds for ordinary programs and libraries.
///
/// # Errors
/// The file is no ELF file that is understood here, or it could not be read.
pub fn maybe_tls<S: Source>(source: S) -> Result<bool, LocateError> {
    let elf = Elf::open(&source)?;
    for section in elf.sections.iter().filter(|s| s.kind == SHT_STRTAB) {
        if section.byte_count > MAX_STRINGS_BYTES {
            return Ok(true);
        }
        let wanted = usize::try_from(section.byte_count).unwrap_or(usize::MAX);
        let strings = read_up_to(&source, section.offset, wanted)?;
        if NAMES
            .iter()
            .any(|name| memmem::find(&strings, name).is_some())
        {
            return Ok(true);
        }
    }
    Ok(elf.sections.is_empty())
}
