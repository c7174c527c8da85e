//! Passes over whole segments, piece by piece, so that a file of any size needs a few megabytes.
//!
//! Nothing is decoded here: a pass looks for the bytes that an instruction of interest must have and leaves
//! it to [`crate::code`] to show that there is such an instruction.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use memchr::{memchr_iter, memchr2_iter, memmem};

use crate::bytes::{array_at, u32_at, u64_at};
use crate::elf::{Elf, Machine, Segment};
use crate::source::read_up_to;
use crate::{LocateError, Options};

/// Bytes of a segment that are held at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// Places of one needle beyond this number are ignored: an anchor is rare, or it is no anchor.
const MAX_HITS_PER_NEEDLE: usize = 256;
/// References or calls beyond this number are ignored: twenty times what the largest known program has.
const MAX_HITS: usize = 1 << 16;
/// An address is formed within this many instructions, where it takes two of them.
const MAX_PAIR_DISTANCE: usize = 8;
/// How far behind its page an address may be, as two additions of 12 bits can reach.
const MAX_LOW_BYTES: u64 = 0x2000;
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
        let absolute = absolute_finders(self.elf, targets);
        for segment in self.elf.segments.iter().filter(|s| s.executable) {
            self.for_each_chunk(segment, 4 * MAX_PAIR_DISTANCE + 8, |chunk| {
                match self.elf.machine {
                    Machine::X86_64 => {
                        relative_references(chunk, targets, &mut found);
                        absolute_references(chunk, &absolute, &mut found);
                    }
                    Machine::Aarch64 => paired_references(chunk, targets, &mut found),
                }
            })?;
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
                    Machine::X86_64 => x86_calls(chunk, &mut keep),
                    Machine::Aarch64 => aarch64_calls(chunk, &mut keep),
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

/// `call` and `jmp` with a distance of 32 bits.
fn x86_calls(chunk: &Chunk<'_>, keep: &mut impl FnMut(u64, u64, bool)) {
    for at in memchr2_iter(0xe8, 0xe9, chunk.bytes) {
        let Some([code, distance @ ..]) = array_at::<5>(chunk.bytes, at) else {
            break;
        };
        if at < chunk.own {
            let distance = i64::from(i32::from_le_bytes(distance));
            let target = chunk.address_of(at + 5).wrapping_add_signed(distance);
            keep(chunk.address_of(at), target, code == 0xe9);
        }
    }
}

/// `bl` and `b`.
fn aarch64_calls(chunk: &Chunk<'_>, keep: &mut impl FnMut(u64, u64, bool)) {
    for (index, code) in chunk.bytes.chunks_exact(4).enumerate() {
        let code = u32_at(code, 0).unwrap_or(0);
        if code & 0x7c00_0000 == 0x1400_0000 && index * 4 < chunk.own {
            let distance = i64::from((code << 6).cast_signed() >> 6) * 4;
            let at = chunk.address_of(index * 4);
            keep(at, at.wrapping_add_signed(distance), code >> 31 == 0);
        }
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

/// `lea r64, [rip + distance]`.
fn relative_references(chunk: &Chunk<'_>, targets: &[u64], found: &mut Vec<Reference>) {
    for at in memchr_iter(0x8d, chunk.bytes) {
        let Some([mode, distance @ ..]) = array_at::<5>(chunk.bytes, at + 1) else {
            continue;
        };
        if mode & 0xc7 != 0x05 || at >= chunk.own {
            continue;
        }
        let next = chunk.address_of(at + 6);
        let target = next.wrapping_add_signed(i64::from(i32::from_le_bytes(distance)));
        if targets.binary_search(&target).is_ok() && found.len() < MAX_HITS {
            let at = chunk.address_of(at);
            found.push(Reference { at, target });
        }
    }
}

/// Immediate operands, where addresses are fixed and low enough to be such.
fn absolute_references(
    chunk: &Chunk<'_>,
    finders: &[(u64, memmem::Finder<'static>)],
    found: &mut Vec<Reference>,
) {
    for (target, finder) in finders {
        let hits = finder
            .find_iter(chunk.bytes)
            .take_while(|at| *at < chunk.own);
        let left = MAX_HITS.saturating_sub(found.len());
        found.extend(hits.take(left).map(|at| Reference {
            at: chunk.address_of(at),
            target: *target,
        }));
    }
}

fn absolute_finders(elf: &Elf<'_>, targets: &[u64]) -> Vec<(u64, memmem::Finder<'static>)> {
    if !elf.fixed_addresses || elf.machine != Machine::X86_64 {
        return Vec::new();
    }
    let low = targets
        .iter()
        .filter_map(|target| u32::try_from(*target).ok());
    low.map(|target| {
        let finder = memmem::Finder::new(&target.to_le_bytes()).into_owned();
        (u64::from(target), finder)
    })
    .collect()
}

/// `adrp x, page` with one or two `add x, x, low` close behind it.
fn paired_references(chunk: &Chunk<'_>, targets: &[u64], found: &mut Vec<Reference>) {
    for index in 0..chunk.own.div_ceil(4) {
        let Some(code) = u32_at(chunk.bytes, index * 4) else {
            break;
        };
        if code & 0x9f00_0000 != 0x9000_0000 {
            continue;
        }
        let at = chunk.address_of(index * 4);
        let pages = (code >> 5 & 0x7_ffff) << 2 | (code >> 29 & 3);
        let distance = i64::from((pages << 11).cast_signed() >> 11) << 12;
        let page = (at & !0xfff).wrapping_add_signed(distance);
        let first = targets.partition_point(|target| *target < page);
        if targets
            .get(first)
            .is_some_and(|target| *target - page < MAX_LOW_BYTES)
        {
            follow_adds(chunk, index, (code & 31, page), targets, found);
        }
    }
}

/// Follows the additions to `value` in `register` behind the instruction at `index`.
fn follow_adds(
    chunk: &Chunk<'_>,
    index: usize,
    (mut register, mut value): (u32, u64),
    targets: &[u64],
    found: &mut Vec<Reference>,
) {
    for later in index + 1..=index + MAX_PAIR_DISTANCE {
        let Some(code) = u32_at(chunk.bytes, later * 4) else {
            break;
        };
        if code & 0xffc0_0000 != 0x9100_0000 || code >> 5 & 31 != register {
            continue;
        }
        register = code & 31;
        value = value.wrapping_add(u64::from(code >> 10 & 0xfff));
        if targets.binary_search(&value).is_ok() && found.len() < MAX_HITS {
            let at = chunk.address_of(later * 4);
            found.push(Reference { at, target: value });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::testing::image;

    const CODE: u64 = 0x40_0000;
    const DATA: u64 = 0x800_0000;

    /// Runs `test` on a file of code and constants.
    fn scan<T>(
        machine: Machine,
        code: &[u8],
        data: &[u8],
        test: impl FnOnce(&Scanner<'_>) -> Result<T, LocateError>,
    ) -> T {
        let file = image(machine, &[(CODE, 5, code), (DATA, 4, data)]);
        let source = file.as_slice();
        let elf = Elf::open(&source).unwrap();
        let scanner = Scanner::new(&elf, &Options::default());
        let result = test(&scanner).unwrap();
        assert!(!scanner.is_cut_short());
        result
    }

    /// Places around the ends of chunks.
    fn places() -> impl Iterator<Item = usize> {
        [0, CHUNK_BYTES, 2 * CHUNK_BYTES]
            .into_iter()
            .flat_map(|end| (0..24).map(move |distance| (end + distance).saturating_sub(12)))
    }

    #[test]
    fn constants_are_found_once_wherever_chunks_end() {
        for at in places() {
            let mut data = vec![0; 2 * CHUNK_BYTES + 64];
            data[at..at + 8].copy_from_slice(b"ssl_lib.");
            let found = scan(Machine::X86_64, &[0; 16], &data, |scanner| {
                scanner.find_constants(&[b"ssl_lib.", b"absent"])
            });
            assert_eq!(found, [vec![DATA + at as u64], vec![]], "at {at}");
        }
    }

    #[test]
    fn pointers_are_found_at_their_alignment_only() {
        for at in places() {
            let mut data = vec![0; 2 * CHUNK_BYTES + 64];
            data[at..at + 8].copy_from_slice(&CODE.to_le_bytes());
            let found = scan(Machine::X86_64, &[0; 16], &data, |scanner| {
                scanner.find_pointers(&[5..6, CODE..CODE + 4, CODE + 8..CODE + 9])
            });
            let expected = if at % 8 == 0 {
                vec![(DATA + at as u64, CODE)]
            } else {
                Vec::new()
            };
            assert_eq!(found, expected, "at {at}");
        }
    }

    #[test]
    fn references_and_calls_are_found_wherever_chunks_end() {
        for at in places() {
            let mut code = vec![0x90; 2 * CHUNK_BYTES + 64];
            let next = CODE + at as u64 + 7;
            code[at..at + 3].copy_from_slice(&[0x48, 0x8d, 0x3d]);
            let distance = u32::try_from(DATA + 5 - next).unwrap();
            code[at + 3..at + 7].copy_from_slice(&distance.to_le_bytes());
            code[at + 7] = 0xe8;
            let back = (CODE + 32).wrapping_sub(next + 5) as u32;
            code[at + 8..at + 12].copy_from_slice(&back.to_le_bytes());
            let (references, calls) = scan(Machine::X86_64, &code, b"0123456789", |scanner| {
                let references = scanner.find_references(&[DATA, DATA + 5])?;
                Ok((
                    references,
                    scanner.find_calls(&[CODE + 32..CODE + 33, DATA..DATA + 1])?,
                ))
            });
            let reference = Reference {
                at: next - 6,
                target: DATA + 5,
            };
            assert_eq!(references, [reference], "at {at}");
            let call = Call {
                target: CODE + 32,
                at: next,
                is_jump: false,
            };
            assert_eq!(calls, [call], "at {at}");
        }
    }

    #[test]
    fn arm_addresses_may_take_two_or_three_instructions() {
        // adrp x1, DATA; nop; add x1, x1, #0x10; add x2, x1, #0x20; bl CODE + 0x40
        let page = u32::try_from((DATA - CODE) >> 12).unwrap();
        let adrp = 0x9000_0001 | (page & 3) << 29 | (page >> 2) << 5;
        let code: Vec<u8> = [adrp, 0xd503_201f, 0x9100_4021, 0x9100_8022, 0x9400_000c]
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .chain([0; 64])
            .collect();
        let (references, calls) = scan(Machine::Aarch64, &code, &[0; 64], |scanner| {
            let references = scanner.find_references(&[DATA + 0x10, DATA + 0x30])?;
            let entry = CODE + 0x40..CODE + 0x41;
            Ok((
                references,
                scanner.find_calls(std::slice::from_ref(&entry))?,
            ))
        });
        assert_eq!(
            references,
            [
                Reference {
                    at: CODE + 8,
                    target: DATA + 0x10
                },
                Reference {
                    at: CODE + 12,
                    target: DATA + 0x30
                },
            ]
        );
        let call = Call {
            target: CODE + 0x40,
            at: CODE + 16,
            is_jump: false,
        };
        assert_eq!(calls, [call]);
    }

    #[test]
    fn membership_in_ranges() {
        let ranges = [2..4, 8..9, 20..30];
        let inside: Vec<u64> = (0..40)
            .filter(|address| is_within(&ranges, *address))
            .collect();
        let expected: Vec<u64> = ranges.iter().cloned().flatten().collect();
        assert_eq!(inside, expected);
    }
}
