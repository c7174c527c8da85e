//! Symbols by name, from the dynamic symbol table and from the full one.

use std::collections::{BTreeMap, HashSet};

use super::{Elf, Section};
use crate::LocateError;
use crate::bytes::{c_string_at, u16_at, u32_at, u64_at};
use crate::source::read_up_to;

const SHT_SYMTAB: u32 = 2;
const SHT_DYNSYM: u32 = 11;
const SYMBOL_BYTES: usize = 24;
const STT_FUNC: u8 = 2;
/// A string table beyond this size is read in part; the largest known programs have a tenth of it.
const MAX_STRING_TABLE_BYTES: usize = 64 << 20;
/// Symbols are read in pieces of this many.
const SYMBOLS_PER_READ: usize = 16 << 10;
/// Symbols beyond this number are ignored; a program with all its debug symbols has a tenth of it.
const MAX_SYMBOLS: usize = 8 << 20;
/// Buckets of a hash table beyond this number are ignored.
const MAX_HASH_BUCKETS: usize = 1 << 20;
/// More than this many addresses of one name are not kept.
const MAX_SAME_NAME: usize = 8;

/// A function that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Symbol {
    pub(crate) address: u64,
    /// Which table named it.
    pub(crate) table: &'static str,
}

/// The functions of a file that have one of the wanted names.
#[derive(Debug, Default)]
pub(crate) struct SymbolIndex {
    by_name: BTreeMap<String, Vec<Symbol>>,
}

impl SymbolIndex {
    /// Looks for functions of the given names.
    pub(crate) fn read(elf: &Elf<'_>, wanted: &HashSet<&str>) -> Result<Self, LocateError> {
        let mut index = Self::default();
        for table in tables(elf)? {
            index.read_table(elf, &table, wanted)?;
        }
        Ok(index)
    }

    /// The addresses that `name` is given to, as a rule one.
    pub(crate) fn get(&self, name: &str) -> &[Symbol] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether `name` is defined in the file.
    pub(crate) fn contains(&self, name: &str) -> bool {
        !self.get(name).is_empty()
    }

    fn read_table(
        &mut self,
        elf: &Elf<'_>,
        table: &Table,
        wanted: &HashSet<&str>,
    ) -> Result<(), LocateError> {
        let strings = read_up_to(elf.source, table.strings_offset, table.strings_bytes)?;
        let longest = wanted.iter().map(|name| name.len()).max().unwrap_or(0);
        let mut read = 0;
        while read < table.symbol_count {
            let count = (table.symbol_count - read).min(SYMBOLS_PER_READ);
            let offset = table.offset.saturating_add((read * SYMBOL_BYTES) as u64);
            let bytes = read_up_to(elf.source, offset, count * SYMBOL_BYTES)?;
            if bytes.is_empty() {
                break;
            }
            for entry in bytes.chunks_exact(SYMBOL_BYTES) {
                if let Some((name, address)) = function(entry, &strings, longest)
                    && let Some(name) = wanted.get(name)
                    && elf.is_code(address)
                {
                    self.add(name, address, table.name);
                }
            }
            read += count;
        }
        Ok(())
    }

    fn add(&mut self, name: &str, address: u64, table: &'static str) {
        let symbols = self.by_name.entry(name.to_owned()).or_default();
        if symbols.len() < MAX_SAME_NAME && symbols.iter().all(|s| s.address != address) {
            symbols.push(Symbol { address, table });
        }
    }
}

/// Name and address of the function that `entry` defines, if it does.
fn function<'a>(entry: &[u8], strings: &'a [u8], longest: usize) -> Option<(&'a str, u64)> {
    let is_function = entry.get(4)? & 0xf == STT_FUNC;
    let is_defined = u16_at(entry, 6)? != 0;
    if !is_function || !is_defined {
        return None;
    }
    let name = c_string_at(strings, usize::try_from(u32_at(entry, 0)?).ok()?, longest)?;
    Some((std::str::from_utf8(name).ok()?, u64_at(entry, 8)?))
}

/// A symbol table and its strings, by file offset.
struct Table {
    name: &'static str,
    offset: u64,
    symbol_count: usize,
    strings_offset: u64,
    strings_bytes: usize,
}

/// The tables of a file. What the dynamic linker uses comes first, as it is what cannot lie.
fn tables(elf: &Elf<'_>) -> Result<Vec<Table>, LocateError> {
    let mut tables: Vec<Table> = dynamic_table(elf)?.into_iter().collect();
    if tables.is_empty() {
        tables.extend(section_table(elf, SHT_DYNSYM, ".dynsym"));
    }
    tables.extend(section_table(elf, SHT_SYMTAB, ".symtab"));
    Ok(tables)
}

fn section_table(elf: &Elf<'_>, kind: u32, name: &'static str) -> Option<Table> {
    let symbols = elf.sections.iter().find(|section| section.kind == kind)?;
    let strings = elf.sections.get(usize::try_from(symbols.link).ok()?)?;
    Some(Table {
        name,
        offset: symbols.offset,
        symbol_count: symbol_count(symbols),
        strings_offset: strings.offset,
        strings_bytes: bounded(strings.byte_count, MAX_STRING_TABLE_BYTES),
    })
}

fn symbol_count(symbols: &Section) -> usize {
    bounded(symbols.byte_count, MAX_SYMBOLS * SYMBOL_BYTES) / SYMBOL_BYTES
}

fn dynamic_table(elf: &Elf<'_>) -> Result<Option<Table>, LocateError> {
    let dynamic = &elf.dynamic;
    let (Some(symbols), Some(strings)) = (dynamic.symbol_table, dynamic.string_table) else {
        return Ok(None);
    };
    let (Some(offset), Some(strings_offset)) = (elf.file_offset(symbols), elf.file_offset(strings))
    else {
        return Ok(None);
    };
    let by_section = elf
        .sections
        .iter()
        .find(|section| section.kind == SHT_DYNSYM && section.address == symbols)
        .map(symbol_count);
    let count = match by_section {
        Some(count) => count,
        None => hashed_symbol_count(elf)?.unwrap_or(0),
    };
    let strings_bytes = dynamic.string_table_bytes.unwrap_or(0);
    Ok((count > 0).then_some(Table {
        name: ".dynsym",
        offset,
        symbol_count: count,
        strings_offset,
        strings_bytes: bounded(strings_bytes, MAX_STRING_TABLE_BYTES),
    }))
}

/// How many symbols there are, by the hash tables: the dynamic section does not say it.
fn hashed_symbol_count(elf: &Elf<'_>) -> Result<Option<usize>, LocateError> {
    if let Some(address) = elf.dynamic.hash {
        let header = elf.read_memory(address, 8)?;
        if let Some(count) = u32_at(&header, 4) {
            return Ok(Some(bounded(u64::from(count), MAX_SYMBOLS)));
        }
    }
    match elf.dynamic.gnu_hash {
        Some(address) => gnu_hash_symbol_count(elf, address),
        None => Ok(None),
    }
}

fn gnu_hash_symbol_count(elf: &Elf<'_>, address: u64) -> Result<Option<usize>, LocateError> {
    let header = elf.read_memory(address, 16)?;
    let (Some(bucket_count), Some(first_hashed), Some(bloom_words)) =
        (u32_at(&header, 0), u32_at(&header, 4), u32_at(&header, 8))
    else {
        return Ok(None);
    };
    let buckets_at = address.saturating_add(16 + 8 * u64::from(bloom_words));
    let bucket_bytes = bounded(u64::from(bucket_count), MAX_HASH_BUCKETS) * 4;
    let buckets = elf.read_memory(buckets_at, bucket_bytes)?;
    let last_chain = buckets.chunks_exact(4).filter_map(|b| u32_at(b, 0)).max();
    let Some(start) = last_chain.filter(|start| *start >= first_hashed) else {
        return Ok(Some(bounded(u64::from(first_hashed), MAX_SYMBOLS)));
    };
    let chain_at = buckets_at
        .saturating_add(4 * u64::from(bucket_count))
        .saturating_add(4 * u64::from(start - first_hashed));
    // The last chain ends at the first entry with its lowest bit set.
    let chain = elf.read_memory(chain_at, 64 << 10)?;
    let length = chain
        .chunks_exact(4)
        .position(|entry| entry.first().is_some_and(|b| b & 1 == 1));
    Ok(length.map(|length| bounded(u64::from(start) + length as u64 + 1, MAX_SYMBOLS)))
}

fn bounded(value: u64, limit: usize) -> usize {
    usize::try_from(value).map_or(limit, |value| value.min(limit))
}
