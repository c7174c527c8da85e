//! The little of ELF that the locator needs: what is loaded where, and which names are given to it.
//!
//! Program headers are what the kernel obeys, so they decide what is code and where an address lies in the
//! file. Section headers are only the linker's word: they are used where they agree, and a file without
//! them, or with wrong ones, is still read.

mod header;
mod symbols;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use symbols::SymbolIndex;

use serde::Serialize;

use crate::bytes::{u32_at, u64_at};
use crate::source::{Source, read_up_to};
use crate::{LocateError, hex};

/// Program headers beyond this number are ignored; linkers make about a dozen.
const MAX_SEGMENTS: usize = 128;
/// Section headers beyond this number are ignored; linked files have a few dozen.
const MAX_SECTIONS: usize = 4096;
/// Section names longer than this are of no interest here.
const MAX_SECTION_NAME_BYTES: usize = 64;
/// More of a note segment than this is not read.
const MAX_NOTE_BYTES: usize = 64 << 10;
/// More of the dynamic section than this is not read.
const MAX_DYNAMIC_BYTES: usize = 64 << 10;

/// The processor that a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Machine {
    /// AMD64.
    X86_64,
    /// ARM, 64 bits.
    Aarch64,
}

impl Machine {
    /// The name used in JSON and on the screen.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }
}

/// A range of the file that is loaded into memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) address: u64,
    pub(crate) offset: u64,
    /// Bytes that come from the file, cut to what the file really has.
    pub(crate) byte_count: u64,
    pub(crate) executable: bool,
    pub(crate) writable: bool,
}

impl Segment {
    /// Whether `address` lies in the part that comes from the file.
    pub(crate) fn contains(&self, address: u64) -> bool {
        address
            .checked_sub(self.address)
            .is_some_and(|distance| distance < self.byte_count)
    }
}

/// A section, as the linker describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) kind: u32,
    pub(crate) address: u64,
    pub(crate) offset: u64,
    pub(crate) byte_count: u64,
    pub(crate) link: u32,
    pub(crate) executable: bool,
}

/// Values of the dynamic section that are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dynamic {
    pub(crate) symbol_table: Option<u64>,
    pub(crate) string_table: Option<u64>,
    pub(crate) string_table_bytes: Option<u64>,
    pub(crate) gnu_hash: Option<u64>,
    pub(crate) hash: Option<u64>,
    pub(crate) soname: Option<u64>,
    pub(crate) rela: Option<u64>,
    pub(crate) rela_bytes: Option<u64>,
}

/// An ELF file, opened.
pub(crate) struct Elf<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) byte_count: u64,
    pub(crate) machine: Machine,
    /// Whether addresses are fixed at link time, so that code may hold them as immediate values.
    pub(crate) fixed_addresses: bool,
    pub(crate) segments: Vec<Segment>,
    pub(crate) sections: Vec<Section>,
    pub(crate) dynamic: Dynamic,
    pub(crate) build_id: Option<String>,
    /// Whether Go's linker made it.
    pub(crate) is_go: bool,
    /// Address of the header of the unwind table, from the program headers.
    pub(crate) unwind_header: Option<u64>,
}

impl<'a> Elf<'a> {
    /// Reads the headers.
    pub(crate) fn open(source: &'a dyn Source) -> Result<Self, LocateError> {
        let byte_count = source.byte_count()?;
        let header = header::FileHeader::read(source)?;
        let programs = header.programs(source)?;
        let mut elf = Self {
            source,
            byte_count,
            machine: header.machine,
            fixed_addresses: header.fixed_addresses,
            segments: Vec::new(),
            sections: header.sections(source)?,
            dynamic: Dynamic::default(),
            build_id: None,
            is_go: false,
            unwind_header: None,
        };
        for program in &programs {
            elf.add_program(program);
        }
        if elf.segments.is_empty() {
            return Err(LocateError::Malformed("no segment is loaded from the file"));
        }
        for program in &programs {
            match program.kind {
                header::PT_DYNAMIC => elf.dynamic = elf.read_dynamic(program)?,
                header::PT_NOTE => elf.read_notes(program)?,
                _ => {}
            }
        }
        Ok(elf)
    }

    fn add_program(&mut self, program: &header::Program) {
        match program.kind {
            header::PT_LOAD => {
                let available = self.byte_count.saturating_sub(program.offset);
                let byte_count = program.file_bytes.min(available);
                // An address that wraps around is none that a process can have.
                if byte_count > 0 && program.address.checked_add(byte_count).is_some() {
                    self.segments.push(Segment {
                        address: program.address,
                        offset: program.offset,
                        byte_count,
                        executable: program.flags & header::PF_X != 0,
                        writable: program.flags & header::PF_W != 0,
                    });
                }
            }
            header::PT_GNU_EH_FRAME => self.unwind_header = Some(program.address),
            _ => {}
        }
    }

    fn read_dynamic(&self, program: &header::Program) -> Result<Dynamic, LocateError> {
        let wanted = usize::try_from(program.file_bytes).unwrap_or(MAX_DYNAMIC_BYTES);
        let bytes = read_up_to(self.source, program.offset, wanted.min(MAX_DYNAMIC_BYTES))?;
        let mut dynamic = Dynamic::default();
        for entry in bytes.chunks_exact(16) {
            let (Some(tag), Some(value)) = (u64_at(entry, 0), u64_at(entry, 8)) else {
                break;
            };
            let slot = match tag {
                0 => break,
                4 => &mut dynamic.hash,
                5 => &mut dynamic.string_table,
                6 => &mut dynamic.symbol_table,
                7 => &mut dynamic.rela,
                8 => &mut dynamic.rela_bytes,
                10 => &mut dynamic.string_table_bytes,
                14 => &mut dynamic.soname,
                0x6fff_fef5 => &mut dynamic.gnu_hash,
                _ => continue,
            };
            *slot = Some(value);
        }
        Ok(dynamic)
    }

    fn read_notes(&mut self, program: &header::Program) -> Result<(), LocateError> {
        let wanted = usize::try_from(program.file_bytes).unwrap_or(MAX_NOTE_BYTES);
        let bytes = read_up_to(self.source, program.offset, wanted.min(MAX_NOTE_BYTES))?;
        let mut rest = bytes.as_slice();
        while let Some((note, after)) = next_note(rest) {
            match (note.name, note.kind) {
                (b"GNU\0", 3) if (1..=64).contains(&note.value.len()) => {
                    self.build_id.get_or_insert_with(|| hex(note.value));
                }
                (b"Go\0\0", 4) => self.is_go = true,
                _ => {}
            }
            rest = after;
        }
        Ok(())
    }

    /// Where in the file the byte at `address` is.
    pub(crate) fn file_offset(&self, address: u64) -> Option<u64> {
        let segment = self.segments.iter().find(|s| s.contains(address))?;
        segment
            .offset
            .checked_add(address.checked_sub(segment.address)?)
    }

    /// Whether code at `address` can be run.
    pub(crate) fn is_code(&self, address: u64) -> bool {
        self.segments
            .iter()
            .any(|segment| segment.executable && segment.contains(address))
    }

    /// Whether `address` is one of code, by the sections too if there are any: where constants share the
    /// code's segment, only these tell them apart.
    pub(crate) fn is_text(&self, address: u64) -> bool {
        let mut sections = self.sections.iter().filter(|s| s.executable).peekable();
        let by_segment = self.is_code(address);
        by_segment
            && (sections.peek().is_none()
                || sections.any(|section| {
                    let distance = address.checked_sub(section.address);
                    distance.is_some_and(|distance| distance < section.byte_count)
                }))
    }

    /// Whether `address` is in the file and is no code.
    pub(crate) fn is_data(&self, address: u64) -> bool {
        self.segments
            .iter()
            .any(|segment| !segment.executable && segment.contains(address))
    }

    /// Reads up to `byte_count` bytes at `address`, fewer where the segment ends before.
    pub(crate) fn read_memory(
        &self,
        address: u64,
        byte_count: usize,
    ) -> Result<Vec<u8>, LocateError> {
        let Some(segment) = self.segments.iter().find(|s| s.contains(address)) else {
            return Ok(Vec::new());
        };
        let distance = address.saturating_sub(segment.address);
        let left = segment.byte_count.saturating_sub(distance);
        let wanted = usize::try_from(left).map_or(byte_count, |left| left.min(byte_count));
        read_up_to(self.source, segment.offset.saturating_add(distance), wanted)
    }

    /// The first section of that name.
    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The name that a shared library gives itself.
    pub(crate) fn soname(&self) -> Result<Option<String>, LocateError> {
        let (Some(strings), Some(name)) = (self.dynamic.string_table, self.dynamic.soname) else {
            return Ok(None);
        };
        let bytes = self.read_memory(strings.saturating_add(name), MAX_SECTION_NAME_BYTES)?;
        let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok((!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned()))
    }
}

/// A note of the linker.
#[derive(Debug, PartialEq, Eq)]
struct Note<'n> {
    name: &'n [u8],
    kind: u32,
    value: &'n [u8],
}

/// The first note in `notes`, and what follows it.
fn next_note(notes: &[u8]) -> Option<(Note<'_>, &[u8])> {
    let name_bytes = usize::try_from(u32_at(notes, 0)?).ok()?;
    let value_bytes = usize::try_from(u32_at(notes, 4)?).ok()?;
    let value_at = 12_usize.checked_add(name_bytes.checked_next_multiple_of(4)?)?;
    let next = value_at.checked_add(value_bytes.checked_next_multiple_of(4)?)?;
    let note = Note {
        name: notes.get(12..value_at)?.get(..name_bytes)?,
        kind: u32_at(notes, 8)?,
        value: notes.get(value_at..)?.get(..value_bytes)?,
    };
    Some((note, notes.get(next..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(kind: u32, name: &[u8], value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(u32::try_from(name.len()).unwrap().to_le_bytes());
        bytes.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(name);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn notes_follow_each_other() {
        let mut notes = note(1, b"Go\0", b"whatever");
        notes.extend(note(3, b"GNU\0", &[0xab, 0xcd, 0xef]));
        let (first, rest) = next_note(&notes).unwrap();
        assert_eq!((first.name, first.value), (&b"Go\0"[..], &b"whatever"[..]));
        let (second, rest) = next_note(rest).unwrap();
        assert_eq!((second.kind, second.value), (3, &[0xab, 0xcd, 0xef][..]));
        assert_eq!(next_note(rest), None);
    }

    #[test]
    fn a_note_that_is_cut_or_of_impossible_size_is_none() {
        let mut bytes = note(3, b"GNU\0", &[1, 2, 3, 4]);
        for cut in 0..bytes.len() {
            assert_eq!(next_note(&bytes[..cut]), None, "cut at {cut}");
        }
        for field in [0, 4] {
            bytes[field..field + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            assert_eq!(next_note(&bytes), None);
        }
    }
}
