//! Passes over whole segments, piece by piece, so that a file of any size needs a few megabytes.
//!
//! Nothing is decoded here: a pass looks for the bytes that an instruction of interest must have and leaves
//! it to [`crate::code`] to show that there is such an instruction.

mod patterns;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use memchr::memmem;

use crate::bytes::u64_at;
use crate::elf::{Elf, Machine, Segment};
use crate::source::read_up_to;
use crate::{LocateError, Options};

/// Bytes of a segment that are held at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Places of one needle beyond this number are ignored: an anchor is rare, or it is no anchor.
const MAX_HITS_PER_NEEDLE: usize = 256;
/// References, calls or pointers beyond this number are ignored. The largest known program has 5,000 calls into
/// the parts that are looked at.
const MAX_HITS: usize = 1 << 18;
const RELOCATION_BYTES: usize = 24;

/// Passes over the segments of one file, within a budget of bytes.
pub(crate) struct Scanner<'a> {
    elf: &'a Elf<'a>,
    left_bytes: Cell<u64>,
    cut_short: Cell<bool>,
}

/// An operand in the code that is the address of something looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reference {
    /// Address of a byte within the instruction.
    pub(crate) at: u64,
    /// What the operand is the address of.
    pub(crate) target: u64,
}

/// What looks like a direct call or jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Call {
    /// Where it goes.
    pub(crate) target: u64,
    /// Address of the instruction.
    pub(crate) at: u64,
    /// Whether it is a jump: the last call of a function, or a part of a loop.
    pub(crate) is_jump: bool,
}

/// A piece of a segment. Finds that begin in `bytes[own..]` belong to the piece that follows.
struct Chunk<'b> {
    address: u64,
    bytes: &'b [u8],
    own: usize,
}

impl Chunk<'_> {
    fn address_of(&self, position: usize) -> u64 {
        self.address.saturating_add(position as u64)
    }
}

impl<'a> Scanner<'a> {
    /// A scanner with the whole budget of `options`.
    pub(crate) fn new(elf: &'a Elf<'a>, options: &Options) -> Self {
        Self {
            elf,
            left_bytes: Cell::new(options.max_scanned_bytes),
            cut_short: Cell::new(false),
        }
    }

    /// Whether there was more to read, or more that was found, than the limits allow.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.cut_short.get()
    }

    fn note_limit(&self, found: usize) {
        if found >= MAX_HITS {
            self.cut_short.set(true);
        }
    }

    /// Where each needle is in data that cannot change; constants of code are there.
    pub(crate) fn find_constants(&self, needles: &[&[u8]]) -> Result<Vec<Vec<u64>>, LocateError> {
        let finders: Vec<_> = needles.iter().map(memmem::Finder::new).collect();
        let longest = needles.iter().map(|needle| needle.len()).max().unwrap_or(0);
        let mut hits = vec![Vec::new(); needles.len()];
        for segment in constant_segments(self.elf) {
            self.for_each_chunk(segment, longest, |chunk| {
                for (finder, hits) in finders.iter().zip(&mut hits) {
                    let left = MAX_HITS_PER_NEEDLE.saturating_sub(hits.len());
                    let found = finder
                        .find_iter(chunk.bytes)
                        .take_while(|at| *at < chunk.own);
                    hits.extend(found.take(left).map(|at| chunk.address_of(at)));
                }
            })?;
        }
        Ok(hits)
    }

    /// Whether one of the needles is in data that cannot change.
    pub(crate) fn holds_any(&self, needles: &[&[u8]]) -> Result<bool, LocateError> {
        let finders: Vec<_> = needles.iter().map(memmem::Finder::new).collect();
        let longest = needles.iter().map(|needle| needle.len()).max().unwrap_or(0);
        let mut holds = false;
        for segment in constant_segments(self.elf) {
            self.for_each_chunk(segment, longest, |chunk| {
                holds = holds || finders.iter().any(|f| f.find(chunk.bytes).is_some());
            })?;
        }
        Ok(holds)
    }

    /// Where a needle is in any data, constant or not.
    pub(crate) fn find_data(&self, needle: &[u8]) -> Result<Vec<u64>, LocateError> {
        let finder = memmem::Finder::new(needle);
        let mut hits = Vec::new();
        for segment in self.elf.segments.iter().filter(|s| !s.executable) {
            self.for_each_chunk(segment, needle.len(), |chunk| {
                let left = MAX_HITS_PER_NEEDLE.saturating_sub(hits.len());
                let found = finder
                    .find_iter(chunk.bytes)
                    .take_while(|at| *at < chunk.own);
                hits.extend(found.take(left).map(|at| chunk.address_of(at)));
            })?;
        }
        Ok(hits)
    }

    /// Pointers in data to an address in one of `ranges`, which are sorted and do not overlap: (address of
    /// the pointer, where it points to). The file has them in place, or has relocations that will put
    /// them there.
    pub(crate) fn find_pointers(
        &self,
        ranges: &[Range<u64>],
    ) -> Result<Vec<(u64, u64)>, LocateError> {
        let mut found = Vec::new();
        let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else {
            return Ok(found);
        };
        let all = first.start..last.end;
        let is_wanted = |value| all.contains(&value) && is_within(ranges, value);
        for segment in self.elf.segments.iter().filter(|s| !s.executable) {
            self.for_each_chunk(segment, 8, |chunk| {
                let skew = usize::from((chunk.address.wrapping_neg() & 7) as u8);
                let words = chunk.bytes.get(skew..).unwrap_or_default();
                for (index, word) in words.chunks_exact(8).enumerate() {
                    let position = skew + index * 8;
                    let value = u64_at(word, 0).unwrap_or(0);
                    if is_wanted(value) && position < chunk.own && found.len() < MAX_HITS {
                        found.push((chunk.address_of(position), value));
                    }
                }
            })?;
        }
        self.for_each_relocation(|at, value| {
            if is_wanted(value) && found.len() < MAX_HITS {
                found.push((at, value));
            }
        })?;
        self.note_limit(found.len());
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// The pointers that will be at `addresses` when the file is loaded.
    pub(crate) fn pointers_at(
        &self,
        addresses: &BTreeSet<u64>,
    ) -> Result<HashMap<u64, u64>, LocateError> {
        let mut pointers = HashMap::new();
        for address in addresses {
            let word = u64_at(&self.elf.read_memory(*address, 8)?, 0);
            pointers.extend(word.filter(|word| *word != 0).map(|word| (*address, word)));
        }
        self.for_each_relocation(|at, value| {
            if addresses.contains(&at) {
                pointers.insert(at, value);
            }
        })?;
        Ok(pointers)
    }

    /// Visits relocations that only add the address at which the file is loaded.
    fn for_each_relocation(&self, mut visit: impl FnMut(u64, u64)) -> Result<(), LocateError> {
        let (Some(address), Some(byte_count)) =
            (self.elf.dynamic.rela, self.elf.dynamic.rela_bytes)
        else {
            return Ok(());
        };
        let Some(offset) = self.elf.file_offset(address) else {
            return Ok(());
        };
        let relative = match self.elf.machine {
            Machine::X86_64 => 8,
            Machine::Aarch64 => 1027,
        };
        let table = Segment {
            address,
            offset,
            byte_count: byte_count.min(self.elf.byte_count.saturating_sub(offset)),
            executable: false,
            writable: false,
        };
        let mut next = 0;
        self.for_each_chunk(&table, RELOCATION_BYTES, |chunk| {
            // Entries may lie across the ends of chunks.
            while let Some(entry) = chunk.bytes.get(next..next + RELOCATION_BYTES) {
                if next >= chunk.own {
                    break;
                }
                let (at, kind, value) = (u64_at(entry, 0), u64_at(entry, 8), u64_at(entry, 16));
                if let (Some(at), Some(value)) = (at, value)
                    && kind == Some(relative)
                {
                    visit(at, value);
                }
                next += RELOCATION_BYTES;
            }
            next = next.saturating_sub(chunk.own);
        })
    }

    /// Operands in the code that are the address of one of `targets`, which are sorted.
    pub(crate) fn find_references(&self, targets: &[u64]) -> Result<Vec<Reference>, LocateError> {
        let mut found = Vec::new();
        if targets.is_empty() {
            return Ok(found);
        }
        let absolute = patterns::absolute_finders(self.elf, targets);
        for segment in self.elf.segments.iter().filter(|s| s.executable) {
            self.for_each_chunk(
                segment,
                4 * patterns::MAX_PAIR_DISTANCE + 8,
                |chunk| match self.elf.machine {
                    Machine::X86_64 => {
                        patterns::relative_references(chunk, targets, &mut found);
                        patterns::absolute_references(chunk, &absolute, &mut found);
                    }
                    Machine::Aarch64 => patterns::paired_references(chunk, targets, &mut found),
                },
            )?;
        }
        self.note_limit(found.len());
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// What looks like a direct call or jump into one of `ranges`, which are sorted and do not overlap.
    /// Sorted by target.
    pub(crate) fn find_calls(&self, ranges: &[Range<u64>]) -> Result<Vec<Call>, LocateError> {
        let mut found = Vec::new();
        let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else {
            return Ok(found);
        };
        let all = first.start..last.end;
        for segment in self.elf.segments.iter().filter(|s| s.executable) {
            self.for_each_chunk(segment, 8, |chunk| {
                let mut keep = |at, target, is_jump| {
                    let is_wanted = all.contains(&target) && is_within(ranges, target);
                    if is_wanted && found.len() < MAX_HITS {
                        found.push(Call {
                            target,
                            at,
                            is_jump,
                        });
                    }
                };
                match self.elf.machine {
                    Machine::X86_64 => patterns::x86_calls(chunk, &mut keep),
                    Machine::Aarch64 => patterns::aarch64_calls(chunk, &mut keep),
                }
            })?;
        }
        self.note_limit(found.len());
        found.sort_unstable();
        Ok(found)
    }

    fn for_each_chunk(
        &self,
        segment: &Segment,
        overlap: usize,
        mut visit: impl FnMut(&Chunk<'_>),
    ) -> Result<(), LocateError> {
        let mut done = 0;
        while done < segment.byte_count {
            let left = segment.byte_count - done;
            let own = usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
            let wanted = usize::try_from(left).map_or(CHUNK_BYTES + overlap, |left| {
                left.min(CHUNK_BYTES + overlap)
            });
            if self.left_bytes.get() < own as u64 {
                self.cut_short.set(true);
                return Ok(());
            }
            self.left_bytes.set(self.left_bytes.get() - own as u64);
            let offset = segment.offset.saturating_add(done);
            let bytes = read_up_to(self.elf.source, offset, wanted)?;
            visit(&Chunk {
                address: segment.address.saturating_add(done),
                bytes: &bytes,
                own,
            });
            done += own as u64;
        }
        Ok(())
    }
}

/// Where the linker puts constants: in segments of their own, or next to the code.
fn constant_segments<'s>(elf: &'s Elf<'_>) -> impl Iterator<Item = &'s Segment> {
    let is_pure = |s: &&Segment| !s.writable && !s.executable;
    // Headers alone are no place for constants: such a file keeps them in its code segment.
    let pure_bytes: u64 = elf
        .segments
        .iter()
        .filter(is_pure)
        .map(|s| s.byte_count)
        .sum();
    let code_bytes: u64 = elf
        .segments
        .iter()
        .filter(|s| s.executable)
        .map(|s| s.byte_count)
        .sum();
    let with_code = pure_bytes < code_bytes / 16;
    elf.segments
        .iter()
        .filter(move |s| !s.writable && (with_code || !s.executable))
}

fn is_within(ranges: &[Range<u64>], address: u64) -> bool {
    let after = ranges.partition_point(|range| range.start <= address);
    after
        .checked_sub(1)
        .and_then(|index| ranges.get(index))
        .is_some_and(|range| range.contains(&address))
}
