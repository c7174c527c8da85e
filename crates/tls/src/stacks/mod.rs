//! One file per TLS stack. To add one: write the file, and add it to [`STACKS`].

mod awslc;
mod boringssl;
mod errors;
mod gnutls;
mod go;
mod jsse;
mod libssl;
mod mbedtls;
mod named;
mod nss;
mod openssl;
mod rustls;
mod s2n;
mod version;
mod wolfssl;

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::code::{Routine, Start, Starts};
use crate::elf::{Elf, SymbolIndex};
use crate::report::{Confidence, Stack, StackReport};
use crate::scan::Scanner;
use crate::{LocateError, Options};

/// Bytes before a hit that are read to find where its string begins.
const MAX_STRING_BYTES: u64 = 512;

/// What a stack's file provides.
pub(crate) struct StackEntry {
    /// The stack.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "a test compares it with the file's name")
    )]
    pub(crate) stack: Stack,
    /// Names of functions that it wants to look up.
    pub(crate) symbols: &'static [&'static str],
    /// Constants that show the stack's presence, or that lead to its functions.
    pub(crate) constants: &'static [&'static [u8]],
    /// Looks for the stack; nothing if the file holds no trace of it.
    pub(crate) inspect: fn(&mut Inspection<'_>) -> Result<Option<StackReport>, LocateError>,
}

/// Every stack that is looked for.
pub(crate) const STACKS: &[StackEntry] = &[
    openssl::ENTRY,
    boringssl::ENTRY,
    awslc::ENTRY,
    rustls::ENTRY,
    go::ENTRY,
    gnutls::ENTRY,
    nss::ENTRY,
    mbedtls::ENTRY,
    wolfssl::ENTRY,
    s2n::ENTRY,
    jsse::ENTRY,
];

/// Constants of which a program without symbols has at least one, if it has a stack that can be found
/// without symbols. Go programs are told by their notes.
pub(crate) const TRACES: &[&[u8]] = &[
    openssl::SOURCE,
    boringssl::SOURCE,
    awslc::SOURCE,
    rustls::CRATE,
    rustls::OUTBOUND,
    gnutls::ASSERTION,
];

/// A file under inspection: what was read of it already, for all stacks to use.
pub(crate) struct Inspection<'a> {
    pub(crate) elf: &'a Elf<'a>,
    pub(crate) symbols: SymbolIndex,
    pub(crate) scanner: Scanner<'a>,
    pub(crate) starts: Starts<'a>,
    constants: HashMap<&'static [u8], Vec<u64>>,
}

/// A function of the file, and why it is of interest.
pub(crate) struct Function {
    pub(crate) start: Start,
    pub(crate) routine: Routine,
    /// Addresses of constants that its code forms, with where it does.
    pub(crate) references: BTreeMap<u64, Vec<u64>>,
}

impl<'a> Inspection<'a> {
    /// Reads what every stack needs.
    pub(crate) fn new(elf: &'a Elf<'a>, options: &Options) -> Result<Self, LocateError> {
        let wanted: HashSet<&str> = STACKS.iter().flat_map(|s| s.symbols).copied().collect();
        let scanner = Scanner::new(elf, options);
        let needles: Vec<&'static [u8]> =
            STACKS.iter().flat_map(|s| s.constants).copied().collect();
        let hits = if options.search_code {
            scanner.find_constants(&needles)?
        } else {
            Vec::new()
        };
        let symbols = if options.use_symbols {
            SymbolIndex::read(elf, &wanted)?
        } else {
            SymbolIndex::default()
        };
        Ok(Self {
            elf,
            symbols,
            scanner,
            starts: Starts::new(elf)?,
            constants: needles.into_iter().zip(hits).collect(),
        })
    }

    /// Whether a part of the file was not looked at.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.scanner.is_cut_short() || self.starts.is_cut_short()
    }

    /// What could not be looked at, and why.
    pub(crate) fn limits(&self) -> Vec<String> {
        let mut limits = Vec::new();
        if self.is_cut_short() {
            limits
                .push("the file holds more than is looked at: a part of it is unknown".to_owned());
        }
        limits
    }

    /// Where a constant of a [`StackEntry`] is.
    pub(crate) fn constant(&self, constant: &[u8]) -> &[u64] {
        self.constants.get(constant).map_or(&[], Vec::as_slice)
    }

    /// Where the strings begin that end with the hits of `constant`, with their text.
    pub(crate) fn string_starts(&self, constant: &[u8]) -> Result<Vec<(u64, String)>, LocateError> {
        let mut starts = Vec::new();
        for hit in self.constant(constant) {
            let from = hit.saturating_sub(MAX_STRING_BYTES);
            // A segment may begin in between.
            let from = if self.elf.file_offset(from).is_some() {
                from
            } else {
                *hit & !0xfff
            };
            let length = usize::try_from(hit.saturating_sub(from)).unwrap_or(0);
            let before = self.elf.read_memory(from, length + constant.len())?;
            let head = before.get(..length).unwrap_or_default();
            let start = memchr::memrchr(0, head).map_or(0, |nul| nul + 1);
            let text = before.get(start..).unwrap_or_default();
            let text = text.strip_suffix(&[0]).unwrap_or(text);
            starts.push((
                from.saturating_add(start as u64),
                String::from_utf8_lossy(text).into_owned(),
            ));
        }
        Ok(starts)
    }

    /// Functions that call the one at `target`.
    pub(crate) fn functions_calling(&mut self, target: u64) -> Result<Vec<Function>, LocateError> {
        let entry = target..target.saturating_add(1);
        let calls = self.scanner.find_calls(std::slice::from_ref(&entry))?;
        let sites: Vec<u64> = calls
            .iter()
            .filter(|call| !call.is_jump)
            .map(|c| c.at)
            .collect();
        let resolved = self.starts.resolve(&self.scanner, &sites)?.into_iter();
        let calling = resolved.filter(|(_, routine, _)| routine.callees().contains(&target));
        let functions = calling.map(|(start, routine, _)| Function {
            start,
            routine,
            references: BTreeMap::new(),
        });
        Ok(functions.collect())
    }

    /// Functions whose code forms one of the addresses `targets`.
    pub(crate) fn functions_referring(
        &mut self,
        targets: &[u64],
    ) -> Result<Vec<Function>, LocateError> {
        let mut sorted = targets.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let references = self.scanner.find_references(&sorted)?;
        let target_of: HashMap<u64, u64> = references.iter().map(|r| (r.at, r.target)).collect();
        let addresses: Vec<u64> = references.iter().map(|r| r.at).collect();
        let resolved = self.starts.resolve(&self.scanner, &addresses)?;
        let functions = resolved.into_iter().map(|(start, routine, held)| {
            let mut references: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
            for at in held {
                if let Some(target) = target_of.get(&at) {
                    references.entry(*target).or_default().push(at);
                }
            }
            Function {
                start,
                routine,
                references,
            }
        });
        Ok(functions.collect())
    }
}

/// Takes back the hooks that rest on there being no second candidate, as not all of the file was seen.
pub(crate) fn withdraw_unproven(report: &mut StackReport) {
    let (named, unproven) = std::mem::take(&mut report.hooks)
        .into_iter()
        .partition(|hook| hook.confidence == Confidence::Named);
    report.hooks = named;
    for hook in unproven {
        report.miss(
            &hook.function,
            "found, but a part of the file was not looked at",
        );
    }
}

/// Marks what the hooks of another report see, too: rustls seals and opens its records with AWS-LC, if that is
/// its provider. The interface of AWS-LC is the one that compilers do not change.
pub(crate) fn mark_superseded(reports: &mut [StackReport]) {
    let is_complete = |r: &StackReport| r.stack == Stack::AwsLc && !r.is_blind();
    if !reports.iter().any(is_complete) {
        return;
    }
    for report in reports.iter_mut().filter(|r| r.stack == Stack::Rustls) {
        rustls::mark_superseded(report);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Files that serve several stacks.
    const SHARED: &[&str] = &["mod", "named", "libssl", "errors", "version"];

    #[test]
    fn every_file_is_registered() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/stacks");
        let files: BTreeSet<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
            .filter(|name| !SHARED.contains(&name.as_str()))
            .collect();
        let registered: BTreeSet<String> = STACKS
            .iter()
            .map(|entry| entry.stack.as_str().replace('-', ""))
            .collect();
        for file in &files {
            assert!(
                registered.contains(file),
                "add to STACKS in src/stacks/mod.rs: `{file}::ENTRY,`"
            );
        }
        assert_eq!(files, registered);
    }

    #[test]
    fn the_names_of_stacks_are_those_in_json() {
        for entry in STACKS {
            let json = serde_json::to_string(&entry.stack).unwrap();
            assert_eq!(json.trim_matches('"'), entry.stack.as_str());
        }
    }
}
