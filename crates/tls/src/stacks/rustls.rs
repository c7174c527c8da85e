//! rustls, whatever does its cryptography.
//!
//! Rust keeps the place in the source of everything that may panic, and the path has the version in it:
//!
//! - out: `OutboundChunks::copy_to_vec` puts the plaintext of every record into one vector. It is the first
//!   function of `outbound.rs` that may panic;
//! - in: `AeadAlgorithm::decrypter` in `tls13.rs` of each provider makes the object that decrypts; it may
//!   panic, too, and refers to the object's table of functions.
//!
//! How structures are laid out is the compiler's choice. What is used here holds for rustls 0.23.

use std::collections::BTreeSet;

use super::{Function, Inspection, StackEntry, version};
use crate::LocateError;
use crate::bytes::{u32_at, u64_at};
use crate::elf::Machine;
use crate::report::{
    Attach, Confidence, Convention, Hook, HookKind, Moment, Operand, Stack, StackReport, Success,
};

/// rustls.
pub(super) const ENTRY: StackEntry = StackEntry {
    stack: Stack::Rustls,
    symbols: &[],
    constants: &[CRATE, OUTBOUND, RING, AWS_LC],
    inspect,
};

pub(super) const CRATE: &[u8] = b"/rustls-";
pub(super) const OUTBOUND: &[u8] = b"/src/msgs/message/outbound.rs";
const RING: &[u8] = b"/src/crypto/ring/tls13.rs";
const AWS_LC: &[u8] = b"/src/crypto/aws_lc_rs/tls13.rs";
/// Name of the provider that uses AWS-LC.
pub(super) const AWS_LC_PROVIDER: &str = "aws-lc-rs";
/// Name, file, and how many kinds of decrypters the file has: AWS-LC has one of its own for AES.
const PROVIDERS: &[(&str, &[u8], usize)] = &[("ring", RING, 1), (AWS_LC_PROVIDER, AWS_LC, 2)];
/// The longest path of a source file that is believed.
const MAX_PATH_BYTES: u64 = 512;
/// Bytes of the authentication tag behind every record.
const TAG_BYTES: u8 = 16;
/// Functions of a trait object's table that are looked at.
const VTABLE_WORDS: u64 = 8;
/// Tables beyond this number are not looked at; a function refers to a few.
const MAX_TABLES: usize = 256;
/// The largest object that a trait object's table is believed to be of.
const MAX_OBJECT_BYTES: u64 = 64 << 10;
/// Versions whose layout is known.
const KNOWN_VERSIONS: &str = "0.23.";

fn inspect(inspection: &mut Inspection<'_>) -> Result<Option<StackReport>, LocateError> {
    let version = version::after(inspection, CRATE)?;
    if version.is_none() && inspection.constant(OUTBOUND).is_empty() {
        return Ok(None);
    }
    let mut report = StackReport::new(
        Stack::Rustls,
        vec!["paths of rustls' source files".to_owned()],
    );
    report.version = version;
    if report
        .version
        .as_deref()
        .is_some_and(|version| !version.starts_with(KNOWN_VERSIONS))
    {
        report.miss(
            "rustls",
            format!("layout is known of versions {KNOWN_VERSIONS}x only"),
        );
        return Ok(Some(report));
    }
    search(inspection, &mut report)?;
    Ok(Some(report))
}

/// A place in the source, as the compiler keeps it for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Location {
    address: u64,
    line: u32,
}

fn search(inspection: &mut Inspection<'_>, report: &mut StackReport) -> Result<(), LocateError> {
    let files: Vec<&[u8]> = [OUTBOUND]
        .into_iter()
        .chain(PROVIDERS.iter().map(|p| p.1))
        .collect();
    let locations = locations(inspection, &files)?;
    let targets: Vec<u64> = locations.iter().flatten().map(|l| l.address).collect();
    let functions = inspection.functions_referring(&targets)?;
    let outbound = locations.first().map_or(&[][..], Vec::as_slice);
    let copy = search_copy(inspection, outbound, &functions, report);
    for (provider, locations) in PROVIDERS.iter().zip(locations.iter().skip(1)) {
        if !locations.is_empty() {
            let makers: Vec<&Function> = functions
                .iter()
                .filter(|f| {
                    locations
                        .iter()
                        .any(|l| f.references.contains_key(&l.address))
                })
                .collect();
            search_decrypters(inspection, provider, &makers, copy, report)?;
        }
    }
    if report.hooks.is_empty() && report.missing.is_empty() {
        report.miss(
            "rustls",
            "no place in its source is kept that leads to its functions",
        );
    }
    Ok(())
}

/// Places in each of `files`.
fn locations(
    inspection: &Inspection<'_>,
    files: &[&[u8]],
) -> Result<Vec<Vec<Location>>, LocateError> {
    let mut hits: Vec<(u64, u64, usize)> = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let length = file.len() as u64;
        hits.extend(
            inspection
                .constant(file)
                .iter()
                .map(|at| (*at, at + length, index)),
        );
    }
    hits.sort_unstable();
    // Paths lie far enough apart, or their ranges are joined.
    let mut ranges: Vec<std::ops::Range<u64>> = Vec::new();
    for (at, _, _) in &hits {
        let range = at.saturating_sub(MAX_PATH_BYTES)..*at;
        match ranges.last_mut() {
            Some(last) if range.start <= last.end => last.end = range.end,
            _ => ranges.push(range),
        }
    }
    let mut locations = vec![Vec::new(); files.len()];
    for (address, path) in inspection.scanner.find_pointers(&ranges)? {
        let bytes = inspection.elf.read_memory(address, 24)?;
        let (Some(length), Some(line)) = (u64_at(&bytes, 8), u32_at(&bytes, 16)) else {
            continue;
        };
        let end = path.saturating_add(length);
        // The path's length may count a closing NUL.
        let hit = hits
            .iter()
            .find(|(_, hit_end, _)| end == *hit_end || end == hit_end.saturating_add(1));
        if let Some((_, _, index)) = hit
            && let Some(found) = locations.get_mut(*index)
        {
            found.push(Location { address, line });
        }
    }
    Ok(locations)
}

/// Finds `copy_to_vec`; returns its address.
fn search_copy(
    inspection: &Inspection<'_>,
    outbound: &[Location],
    functions: &[Function],
    report: &mut StackReport,
) -> Option<u64> {
    let name = "OutboundChunks::copy_to_vec";
    let Some(first) = outbound.iter().min_by_key(|location| location.line) else {
        report.miss(name, "nothing in outbound.rs may panic");
        return None;
    };
    let found: Vec<&Function> = functions
        .iter()
        .filter(|f| f.references.contains_key(&first.address))
        .collect();
    let [function] = found.as_slice() else {
        let reason = format!(
            "{} functions hold line {} of outbound.rs",
            found.len(),
            first.line
        );
        report.miss(name, reason);
        return None;
    };
    let address = function.start.address;
    let vector = || Operand::Argument(1);
    report.hooks.push(Hook {
        function: name.to_owned(),
        kind: HookKind::RecordSeal,
        file_offset: inspection.elf.file_offset(address)?,
        address,
        // A vector is {capacity, pointer, length}; what it holds at entry is the record's header.
        convention: Convention {
            buffer: Some(vector().load(8, Moment::Return)),
            length: Some(vector().load(16, Moment::Return)),
            skip_head: Some(vector().load(16, Moment::Entry)),
            ..Convention::of_object(Operand::Thread)
        },
        attach: Attach::Both,
        confidence: Confidence::Proven,
        evidence: vec![
            function.start.evidence.clone(),
            format!(
                "the one function that holds line {} of outbound.rs",
                first.line
            ),
        ],
    });
    Some(address)
}

/// Finds what `makers` make that decrypts.
fn search_decrypters(
    inspection: &Inspection<'_>,
    (provider, _, methods): &(&str, &[u8], usize),
    makers: &[&Function],
    copy: Option<u64>,
    report: &mut StackReport,
) -> Result<(), LocateError> {
    let name = format!("Tls13MessageDecrypter::decrypt ({provider})");
    let found = decrypters(inspection, makers, copy)?;
    let count = found
        .iter()
        .map(|(decrypt, _, _)| decrypt)
        .collect::<BTreeSet<_>>()
        .len();
    let mut seen = BTreeSet::new();
    for (decrypt, vtable, maker) in &found {
        if seen.insert(*decrypt)
            && let Some(file_offset) = inspection.elf.file_offset(*decrypt)
        {
            report.hooks.push(Hook {
                function: name.clone(),
                kind: HookKind::RecordOpen,
                file_offset,
                address: *decrypt,
                convention: decrypt_convention(inspection.elf.machine),
                attach: Attach::Both,
                confidence: if count <= *methods {
                    Confidence::Proven
                } else {
                    Confidence::Candidate
                },
                evidence: vec![
                    format!("function at {maker:#x} holds a place in tls13.rs of {provider}"),
                    format!("and refers to the table at {vtable:#x}, whose one method it is"),
                ],
            });
        }
    }
    if count == 0 {
        report.miss(
            &name,
            "no function of tls13.rs refers to a table with one method",
        );
    }
    Ok(())
}

/// `fn decrypt(&mut self, message, sequence) -> Result<..>`: the message is passed by its address. It is
/// {pointer, length, ..}, and is decrypted in place. Where the result goes is the first argument on AMD64,
/// and has a register of its own on ARM.
fn decrypt_convention(machine: Machine) -> Convention {
    let first = match machine {
        Machine::X86_64 => 1,
        Machine::Aarch64 => 0,
    };
    let message = || Operand::Argument(first + 1);
    Convention {
        buffer: Some(message().load(0, Moment::Entry)),
        length: Some(message().load(8, Moment::Entry)),
        skip_tail_bytes: TAG_BYTES,
        success: Success::Always,
        ..Convention::of_object(Operand::Argument(first))
    }
}

/// What decrypts among the methods of trait objects that `makers` refer to: (method, table, maker).
fn decrypters(
    inspection: &Inspection<'_>,
    makers: &[&Function],
    copy: Option<u64>,
) -> Result<BTreeSet<(u64, u64, u64)>, LocateError> {
    let mut tables: BTreeSet<(u64, u64)> = BTreeSet::new();
    for maker in makers {
        let constants = maker.routine.constants().into_iter();
        let is_table = |at: &u64| {
            at.is_multiple_of(8) && inspection.elf.is_data(*at) && tables.len() < MAX_TABLES
        };
        let found: Vec<u64> = constants.filter(is_table).collect();
        tables.extend(found.into_iter().map(|at| (at, maker.start.address)));
    }
    let words_of = |table: u64| (0..VTABLE_WORDS).map(move |index| table.saturating_add(8 * index));
    let wanted: BTreeSet<u64> = tables
        .iter()
        .flat_map(|(table, _)| words_of(*table))
        .collect();
    let pointers = inspection.scanner.pointers_at(&wanted)?;
    let mut found = BTreeSet::new();
    for (table, maker) in tables {
        let words: Vec<u64> = words_of(table)
            .map(|at| pointers.get(&at).copied().unwrap_or(0))
            .collect();
        let Some(method) = only_method(&words, |word| inspection.elf.is_text(word)) else {
            continue;
        };
        let routine = inspection.starts.routine(method)?;
        let encrypts = copy.is_some_and(|copy| routine.callees().contains(&copy));
        if routine.is_sound && !encrypts {
            found.insert((method, table, maker));
        }
    }
    Ok(found)
}

/// The method of a trait object's table `{drop, size, alignment, method}`, if what follows is no second one.
fn only_method(words: &[u64], is_code: impl Fn(u64) -> bool) -> Option<u64> {
    let [drop, size, alignment, method, rest @ ..] = words else {
        return None;
    };
    let is_head = |drop: u64, size: u64, alignment: u64| {
        (drop == 0 || is_code(drop))
            && (1..=MAX_OBJECT_BYTES).contains(&size)
            && !is_code(size)
            && alignment.is_power_of_two()
            && alignment <= 64
    };
    if !is_head(*drop, *size, *alignment) || !is_code(*method) {
        return None;
    }
    // Code behind it is a second method, unless it begins the next table.
    let next_begins =
        matches!(rest, [drop, size, alignment, ..] if is_head(*drop, *size, *alignment));
    let has_second = rest.first().is_some_and(|word| is_code(*word)) && !next_begins;
    (!has_second).then_some(*method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_one_method_are_told_from_others() {
        let is_code = |word: u64| (0x1000..0x2000).contains(&word);
        for (words, expected) in [
            // Alone, before data, before another table.
            (&[0x1000, 560, 16, 0x1100, 0, 0, 0, 0][..], Some(0x1100)),
            (&[0x1000, 560, 16, 0x1100, 0x9000, 5, 0, 0], Some(0x1100)),
            (&[0, 560, 16, 0x1100, 0x1010, 24, 8, 0x1200], Some(0x1100)),
            // Two methods; before another table.
            (&[0x1000, 560, 16, 0x1100, 0x1200, 0, 0, 0], None),
            (&[0x1000, 560, 16, 0x1100, 0x1200, 0x1300, 24, 8], None),
            // No table.
            (&[0x1000, 0x1010, 16, 0x1100, 0, 0, 0, 0], None),
            (&[0x1000, 560, 3, 0x1100, 0, 0, 0, 0], None),
            (&[0x9000, 560, 16, 0x1100, 0, 0, 0, 0], None),
            (&[0x1000, 560, 16, 0x9000, 0, 0, 0, 0], None),
            (&[0x1000, 560], None),
        ] {
            assert_eq!(only_method(words, is_code), expected, "{words:x?}");
        }
    }
}
