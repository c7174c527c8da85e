//! The file header and the two tables that it points to.

use super::{MAX_SECTION_NAME_BYTES, MAX_SECTIONS, MAX_SEGMENTS, Machine, Section};
use crate::LocateError;
use crate::bytes::{c_string_at, u16_at, u32_at, u64_at};
use crate::source::{Source, read_up_to};

pub(super) const PT_LOAD: u32 = 1;
pub(super) const PT_DYNAMIC: u32 = 2;
pub(super) const PT_NOTE: u32 = 4;
pub(super) const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
pub(super) const PF_X: u32 = 1;
pub(super) const PF_W: u32 = 2;

const SHF_EXECINSTR: u64 = 4;
const FILE_HEADER_BYTES: usize = 64;
const PROGRAM_HEADER_BYTES: usize = 56;
const SECTION_HEADER_BYTES: usize = 64;
/// More of the table of section names than this is not read.
const MAX_SECTION_NAMES_BYTES: usize = 256 << 10;

/// What the first 64 bytes say.
pub(super) struct FileHeader {
    pub(super) machine: Machine,
    pub(super) fixed_addresses: bool,
    program_offset: u64,
    program_count: usize,
    section_offset: u64,
    section_count: usize,
    section_names: usize,
}

/// A program header.
pub(super) struct Program {
    pub(super) kind: u32,
    pub(super) flags: u32,
    pub(super) offset: u64,
    pub(super) address: u64,
    pub(super) file_bytes: u64,
}

impl FileHeader {
    /// Reads the header and refuses what is no 64-bit little-endian program or library of a known processor.
    pub(super) fn read(source: &dyn Source) -> Result<Self, LocateError> {
        let bytes = read_up_to(source, 0, FILE_HEADER_BYTES)?;
        if bytes.get(..4) != Some(b"\x7fELF") {
            return Err(LocateError::NotElf);
        }
        let truncated = LocateError::Malformed("the file ends within its header");
        Self::parse(&bytes).unwrap_or(Err(truncated))
    }

    fn parse(bytes: &[u8]) -> Option<Result<Self, LocateError>> {
        if bytes.get(4..6)? != [2, 1] {
            return Some(Err(LocateError::Unsupported(
                "not a 64-bit little-endian file",
            )));
        }
        let machine = match u16_at(bytes, 18)? {
            62 => Machine::X86_64,
            183 => Machine::Aarch64,
            _ => return Some(Err(LocateError::Unsupported("an unknown processor"))),
        };
        let fixed_addresses = match u16_at(bytes, 16)? {
            2 => true,
            3 => false,
            _ => {
                return Some(Err(LocateError::Unsupported(
                    "neither a program nor a shared library",
                )));
            }
        };
        Some(Ok(Self {
            machine,
            fixed_addresses,
            program_offset: u64_at(bytes, 32)?,
            program_count: usize::from(u16_at(bytes, 56)?),
            section_offset: u64_at(bytes, 40)?,
            section_count: usize::from(u16_at(bytes, 60)?),
            section_names: usize::from(u16_at(bytes, 62)?),
        }))
    }

    /// Reads the program headers.
    pub(super) fn programs(&self, source: &dyn Source) -> Result<Vec<Program>, LocateError> {
        let count = self.program_count.min(MAX_SEGMENTS);
        let table = read_up_to(source, self.program_offset, count * PROGRAM_HEADER_BYTES)?;
        Ok(table
            .chunks_exact(PROGRAM_HEADER_BYTES)
            .filter_map(program)
            .collect())
    }

    /// Reads the section headers with their names. A file without usable ones has none.
    pub(super) fn sections(&self, source: &dyn Source) -> Result<Vec<Section>, LocateError> {
        if self.section_offset == 0 {
            return Ok(Vec::new());
        }
        let count = self.section_count.min(MAX_SECTIONS);
        let table = read_up_to(source, self.section_offset, count * SECTION_HEADER_BYTES)?;
        let headers: Vec<&[u8]> = table.chunks_exact(SECTION_HEADER_BYTES).collect();
        let names = match headers
            .get(self.section_names)
            .and_then(|h| section(h, &[]))
        {
            Some(names) => {
                let wanted = usize::try_from(names.byte_count).unwrap_or(MAX_SECTION_NAMES_BYTES);
                read_up_to(source, names.offset, wanted.min(MAX_SECTION_NAMES_BYTES))?
            }
            None => Vec::new(),
        };
        Ok(headers.iter().filter_map(|h| section(h, &names)).collect())
    }
}

fn program(header: &[u8]) -> Option<Program> {
    Some(Program {
        kind: u32_at(header, 0)?,
        flags: u32_at(header, 4)?,
        offset: u64_at(header, 8)?,
        address: u64_at(header, 16)?,
        file_bytes: u64_at(header, 32)?,
    })
}

fn section(header: &[u8], names: &[u8]) -> Option<Section> {
    let name = usize::try_from(u32_at(header, 0)?).ok()?;
    let name = c_string_at(names, name, MAX_SECTION_NAME_BYTES).unwrap_or_default();
    Some(Section {
        name: String::from_utf8_lossy(name).into_owned(),
        kind: u32_at(header, 4)?,
        address: u64_at(header, 16)?,
        offset: u64_at(header, 24)?,
        byte_count: u64_at(header, 32)?,
        link: u32_at(header, 40)?,
        executable: u64_at(header, 8)? & SHF_EXECINSTR != 0,
    })
}
