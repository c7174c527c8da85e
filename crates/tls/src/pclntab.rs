//! Go's own table of functions. The runtime needs it, so that stripping a program does not remove it.
//!
//! Its form changed with Go 1.16, 1.18 and 1.20; and 1.26 stopped to write in it where the code begins.

use std::collections::HashMap;

use memchr::memmem;

use crate::LocateError;
use crate::bytes::{u32_at, u64_at};
use crate::elf::Elf;
use crate::scan::Scanner;

/// More functions than this are not looked at; the largest known programs have a tenth of it.
const MAX_FUNCTIONS: usize = 4 << 20;
/// More of a part of the table than this is not read.
const MAX_TABLE_BYTES: usize = 64 << 20;
/// More than this many functions of one name are not kept.
const MAX_MATCHES: usize = 64;
/// Where `text` is in the runtime's `moduledata`, whose first word is the table's address.
const TEXT_IN_MODULE_BYTES: u64 = 176;

/// A form of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Go 1.16 and 1.17.
    Go116,
    /// Go 1.18 and 1.19.
    Go118,
    /// Go 1.20 and later.
    Go120,
}

/// The table of one program.
pub(crate) struct Pclntab<'a> {
    elf: &'a Elf<'a>,
    address: u64,
    pub(crate) form: Form,
    function_count: usize,
    names: u64,
    names_bytes: usize,
    functions: u64,
    text_candidates: Vec<u64>,
}

/// A function of a Go program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GoFunction {
    pub(crate) name: String,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl<'a> Pclntab<'a> {
    /// Finds the table of a Go program, by its section or else by its first bytes.
    pub(crate) fn find(
        elf: &'a Elf<'a>,
        scanner: &Scanner<'_>,
    ) -> Result<Option<Self>, LocateError> {
        for name in [".gopclntab", ".data.rel.ro.gopclntab"] {
            if let Some(section) = elf.section(name)
                && let Some(table) = Self::read(elf, scanner, section.address)?
            {
                return Ok(Some(table));
            }
        }
        if !elf.is_go {
            return Ok(None);
        }
        let quantum = match elf.machine {
            crate::Machine::X86_64 => 1,
            crate::Machine::Aarch64 => 4,
        };
        for first in [0xf1, 0xf0, 0xfa] {
            let magic = [first, 0xff, 0xff, 0xff, 0, 0, quantum, 8];
            for address in scanner.find_data(&magic)? {
                if let Some(table) = Self::read(elf, scanner, address)? {
                    return Ok(Some(table));
                }
            }
        }
        Ok(None)
    }

    fn read(
        elf: &'a Elf<'a>,
        scanner: &Scanner<'_>,
        address: u64,
    ) -> Result<Option<Self>, LocateError> {
        let header = elf.read_memory(address, 72)?;
        let Some(mut table) = Self::parse(elf, address, &header) else {
            return Ok(None);
        };
        if table.form != Form::Go116 {
            table.text_candidates = table.find_text(scanner, u64_at(&header, 24))?;
        }
        Ok(Some(table))
    }

    fn parse(elf: &'a Elf<'a>, address: u64, header: &[u8]) -> Option<Self> {
        let form = match u32_at(header, 0)? {
            0xffff_fffa => Form::Go116,
            0xffff_fff0 => Form::Go118,
            0xffff_fff1 => Form::Go120,
            _ => return None,
        };
        if !matches!(header.get(4..8)?, [0, 0, 1 | 2 | 4, 8]) {
            return None;
        }
        let first = if form == Form::Go116 { 24 } else { 32 };
        let part = |index: usize| address.checked_add(u64_at(header, first + 8 * index)?);
        let (names, after_names, functions) = (part(0)?, part(1)?, part(4)?);
        let names_bytes = usize::try_from(after_names.checked_sub(names)?).ok()?;
        let function_count = usize::try_from(u64_at(header, 8)?).ok()?;
        (function_count <= MAX_FUNCTIONS).then_some(Self {
            elf,
            address,
            form,
            function_count,
            names,
            names_bytes: names_bytes.min(MAX_TABLE_BYTES),
            functions,
            text_candidates: vec![0],
        })
    }

    /// Addresses that the table's distances may be counted from, the most trustworthy first.
    fn find_text(
        &self,
        scanner: &Scanner<'_>,
        in_header: Option<u64>,
    ) -> Result<Vec<u64>, LocateError> {
        let mut candidates: Vec<u64> = in_header.into_iter().collect();
        let own = self.address..self.address.saturating_add(1);
        let modules = scanner
            .find_pointers(std::slice::from_ref(&own))?
            .into_iter();
        let fields = modules.map(|(module, _)| module.saturating_add(TEXT_IN_MODULE_BYTES));
        candidates.extend(scanner.pointers_at(&fields.collect())?.into_values());
        candidates.extend(self.elf.section(".text").map(|section| section.address));
        candidates.retain(|address| self.elf.is_code(*address));
        candidates.dedup();
        Ok(candidates)
    }

    /// Functions whose name ends with one of `endings`, each read as if the code began at each address
    /// where it may: what is no function there must be told by its code.
    pub(crate) fn functions(&self, endings: &[&str]) -> Result<Vec<Vec<GoFunction>>, LocateError> {
        let wanted = self.name_offsets(endings)?;
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = self.elf.read_memory(self.functions, MAX_TABLE_BYTES)?;
        let mut found: Vec<Vec<GoFunction>> = vec![Vec::new(); self.text_candidates.len()];
        for index in 0..self.function_count {
            let Some((start, end, name_offset)) = self.function(&bytes, index) else {
                break;
            };
            let Some(name) = wanted.get(&name_offset) else {
                continue;
            };
            for (text, functions) in self.text_candidates.iter().zip(&mut found) {
                if functions.len() < MAX_MATCHES {
                    functions.push(GoFunction {
                        name: name.clone(),
                        start: text.saturating_add(start),
                        end: text.saturating_add(end),
                    });
                }
            }
        }
        Ok(found)
    }

    /// Names that end with one of `endings`, by their offset in the table of names.
    fn name_offsets(&self, endings: &[&str]) -> Result<HashMap<u32, String>, LocateError> {
        let names = self.elf.read_memory(self.names, self.names_bytes)?;
        let mut offsets = HashMap::new();
        for ending in endings {
            let needle = [ending.as_bytes(), &[0]].concat();
            for at in memmem::find_iter(&names, &needle).take(MAX_MATCHES) {
                let start = memchr::memrchr(0, names.get(..at).unwrap_or_default());
                let start = start.map_or(0, |nul| nul + 1);
                let name = names.get(start..at + ending.len()).unwrap_or_default();
                if let Ok(offset) = u32::try_from(start) {
                    offsets.insert(offset, String::from_utf8_lossy(name).into_owned());
                }
            }
        }
        Ok(offsets)
    }

    /// Start, end and offset of the name of the function at `index`.
    fn function(&self, bytes: &[u8], index: usize) -> Option<(u64, u64, u32)> {
        let (start, record, end, name_at) = if self.form == Form::Go116 {
            let at = index.checked_mul(16)?;
            let (start, record) = (u64_at(bytes, at)?, u64_at(bytes, at + 8)?);
            (start, record, u64_at(bytes, at + 16)?, 8)
        } else {
            let at = index.checked_mul(8)?;
            let (start, record) = (u32_at(bytes, at)?, u32_at(bytes, at + 4)?);
            (
                u64::from(start),
                u64::from(record),
                u64::from(u32_at(bytes, at + 8)?),
                4,
            )
        };
        let record = usize::try_from(record).ok()?;
        let name = u32_at(bytes, record.checked_add(name_at)?)?;
        Some((start, end, name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::testing::image;
    use crate::{Machine, Options};

    const TABLE: u64 = 0x50_0000;
    const TEXT: u64 = 0x40_1000;

    /// A table of three functions, and behind it room for their records.
    fn table(form: Form) -> Vec<u8> {
        let names = b"main.main\0crypto/tls.(*Conn).Read\0runtime.main\0";
        let name_offsets = [0_u32, 10, 34];
        let (magic, words, wide) = match form {
            Form::Go116 => (0xffff_fffa_u32, 7, true),
            Form::Go118 => (0xffff_fff0, 8, false),
            Form::Go120 => (0xffff_fff1, 8, false),
        };
        let names_at = 8 + 8 * words;
        let functions_at = (names_at + names.len()).next_multiple_of(8);
        let mut header = vec![3, 1];
        if form != Form::Go116 {
            header.push(TEXT as usize);
        }
        header.push(names_at);
        header.extend([functions_at; 4]);
        let mut bytes = magic.to_le_bytes().to_vec();
        bytes.extend([0, 0, 1, 8]);
        for word in header {
            bytes.extend((word as u64).to_le_bytes());
        }
        bytes.extend(names);
        bytes.resize(functions_at, 0);
        let entry_bytes = if wide { 16 } else { 8 };
        let records_at = 4 * entry_bytes;
        let mut records = Vec::new();
        for (index, name) in name_offsets.iter().enumerate() {
            let (start, record) = (0x100 * index as u64, (records_at + records.len()) as u64);
            if wide {
                bytes.extend((TEXT + start).to_le_bytes());
                bytes.extend(record.to_le_bytes());
                records.extend((TEXT + start).to_le_bytes());
            } else {
                bytes.extend((start as u32).to_le_bytes());
                bytes.extend((record as u32).to_le_bytes());
                records.extend((start as u32).to_le_bytes());
            }
            records.extend(name.to_le_bytes());
            records.resize(records.len().next_multiple_of(8), 0);
        }
        if wide {
            bytes.extend((TEXT + 0x300).to_le_bytes());
        } else {
            bytes.extend(0x300_u32.to_le_bytes());
        }
        bytes.resize(functions_at + records_at, 0);
        bytes.extend(records);
        bytes
    }

    fn functions(bytes: &[u8]) -> Option<Vec<Vec<GoFunction>>> {
        let file = image(
            Machine::X86_64,
            &[(TEXT, 5, &[0xcc; 0x400]), (TABLE, 4, bytes)],
        );
        let source = file.as_slice();
        let elf = Elf::open(&source).unwrap();
        let scanner = Scanner::new(&elf, &Options::default());
        let table = Pclntab::read(&elf, &scanner, TABLE).unwrap()?;
        Some(table.functions(&["tls.(*Conn).Read"]).unwrap())
    }

    #[test]
    fn functions_are_found_in_tables_of_every_form() {
        for form in [Form::Go116, Form::Go118, Form::Go120] {
            let expected = GoFunction {
                name: "crypto/tls.(*Conn).Read".to_owned(),
                start: TEXT + 0x100,
                end: TEXT + 0x200,
            };
            assert_eq!(
                functions(&table(form)),
                Some(vec![vec![expected]]),
                "{form:?}"
            );
        }
    }

    #[test]
    fn tables_that_are_cut_or_claim_too_much_are_harmless() {
        for form in [Form::Go116, Form::Go120] {
            let whole = table(form);
            for cut in 0..whole.len() {
                let _ = functions(&whole[..cut]);
            }
            for word in 0..8 {
                for value in [0, u64::MAX, 1 << 40, TABLE] {
                    let mut bytes = whole.clone();
                    bytes[8 + 8 * word..16 + 8 * word].copy_from_slice(&value.to_le_bytes());
                    let _ = functions(&bytes);
                }
            }
        }
    }
}
