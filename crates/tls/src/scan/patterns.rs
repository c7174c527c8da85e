//! Bytes that instructions of interest must have.

use memchr::{memchr_iter, memchr2_iter, memmem};

use super::{Chunk, MAX_HITS, Reference};
use crate::bytes::{array_at, u32_at};
use crate::elf::{Elf, Machine};

/// An address is formed within this many instructions, where it takes several of them.
pub(super) const MAX_PAIR_DISTANCE: usize = 8;
/// How far behind its page an address may be, as two additions of 12 bits can reach.
const MAX_LOW_BYTES: u64 = 0x2000;

/// `call` and `jmp` with a distance of 32 bits.
pub(super) fn x86_calls(chunk: &Chunk<'_>, keep: &mut impl FnMut(u64, u64, bool)) {
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
pub(super) fn aarch64_calls(chunk: &Chunk<'_>, keep: &mut impl FnMut(u64, u64, bool)) {
    for (index, code) in chunk.bytes.chunks_exact(4).enumerate() {
        let code = u32_at(code, 0).unwrap_or(0);
        if code & 0x7c00_0000 == 0x1400_0000 && index * 4 < chunk.own {
            let distance = i64::from((code << 6).cast_signed() >> 6) * 4;
            let at = chunk.address_of(index * 4);
            keep(at, at.wrapping_add_signed(distance), code >> 31 == 0);
        }
    }
}

/// `lea r64, [rip + distance]`.
pub(super) fn relative_references(chunk: &Chunk<'_>, targets: &[u64], found: &mut Vec<Reference>) {
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
pub(super) fn absolute_references(
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

pub(super) fn absolute_finders(
    elf: &Elf<'_>,
    targets: &[u64],
) -> Vec<(u64, memmem::Finder<'static>)> {
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
pub(super) fn paired_references(chunk: &Chunk<'_>, targets: &[u64], found: &mut Vec<Reference>) {
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
