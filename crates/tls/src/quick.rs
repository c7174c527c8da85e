//! The check that keeps ordinary programs cheap: most files that a process maps hold no TLS code.

use memchr::memmem;

use crate::elf::Elf;
use crate::scan::Scanner;
use crate::source::{Source, read_up_to};
use crate::stacks::TRACES;
use crate::{LocateError, Options};

/// Names that a file with TLS functions has in one of its string tables.
const NAMES: &[&[u8]] = &[
    b"SSL_read\0",
    b"SSL_write\0",
    b"SSL_ImportFD\0",
    b"gnutls_record_send\0",
    b"PR_Write\0",
    b"mbedtls_ssl_write\0",
    b"wolfSSL_write\0",
    b"s2n_send\0",
    b"JNI_CreateJavaVM\0",
    b"graal_create_isolate\0",
];
/// More of a string table than this is not looked at: who has that much is worth a full look.
const MAX_STRINGS_BYTES: u64 = 32 << 20;
/// No known TLS stack has less code than this.
const MIN_CODE_BYTES: u64 = 128 << 10;
const SHT_STRTAB: u32 = 3;

/// Whether a file may hold TLS functions. A wrong "yes" costs a full look, a wrong "no" costs plaintext;
/// so it says "yes" where it is not sure. Costs microseconds for small programs and libraries, and reads
/// a program's constants once.
///
/// # Errors
/// The file is no ELF file that is understood here, or it could not be read.
pub fn maybe_tls<S: Source>(source: S) -> Result<bool, LocateError> {
    let elf = Elf::open(&source)?;
    if elf.is_go || names_tls(&elf)? {
        return Ok(true);
    }
    let code_bytes: u64 = elf
        .segments
        .iter()
        .filter(|s| s.executable)
        .map(|s| s.byte_count)
        .sum();
    if code_bytes < MIN_CODE_BYTES {
        return Ok(false);
    }
    Scanner::new(&elf, &Options::default()).holds_any(TRACES)
}

/// Whether a string table holds the name of a TLS function.
fn names_tls(elf: &Elf<'_>) -> Result<bool, LocateError> {
    let mut tables: Vec<(u64, u64)> = elf
        .sections
        .iter()
        .filter(|section| section.kind == SHT_STRTAB)
        .map(|section| (section.offset, section.byte_count))
        .collect();
    // What the dynamic linker reads counts, whatever the sections say.
    let dynamic = elf
        .dynamic
        .string_table
        .and_then(|address| elf.file_offset(address));
    if let (Some(offset), Some(byte_count)) = (dynamic, elf.dynamic.string_table_bytes)
        && !tables.contains(&(offset, byte_count))
    {
        tables.push((offset, byte_count));
    }
    for (offset, byte_count) in tables {
        if byte_count > MAX_STRINGS_BYTES {
            return Ok(true);
        }
        let wanted = usize::try_from(byte_count).unwrap_or(usize::MAX);
        let strings = read_up_to(elf.source, offset, wanted)?;
        if NAMES
            .iter()
            .any(|name| memmem::find(&strings, name).is_some())
        {
            return Ok(true);
        }
    }
    Ok(false)
}
