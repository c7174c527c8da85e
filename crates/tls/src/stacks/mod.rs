//! One file per TLS stack. To add one: write the file, and add it to [`STACKS`].

mod boringssl;
mod libssl;
mod openssl;

use std::collections::HashSet;

use crate::elf::{Elf, SymbolIndex};
use crate::report::{Stack, StackReport};
use crate::{LocateError, Options};

/// What a stack's file provides.
pub(crate) struct StackEntry {
    /// The stack.
    #[cfg_attr(not(test), expect(dead_code, reason = "names the file"))]
    pub(crate) stack: Stack,
    /// Names of functions that it wants to look up.
    pub(crate) symbols: &'static [&'static str],
    /// Looks for the stack; nothing if the file holds no trace of it.
    pub(crate) inspect: fn(&Inspection<'_>) -> Option<StackReport>,
}

/// Every stack that is looked for.
pub(crate) const STACKS: &[StackEntry] = &[openssl::ENTRY, boringssl::ENTRY];

/// A file under inspection: what was read of it already, for all stacks to use.
pub(crate) struct Inspection<'a> {
    pub(crate) elf: &'a Elf<'a>,
    pub(crate) symbols: SymbolIndex,
}

impl<'a> Inspection<'a> {
    /// Reads what every stack needs.
    pub(crate) fn new(elf: &'a Elf<'a>, _options: &Options) -> Result<Self, LocateError> {
        let wanted: HashSet<&str> = STACKS.iter().flat_map(|s| s.symbols).copied().collect();
        Ok(Self {
            elf,
            symbols: SymbolIndex::read(elf, &wanted)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    /// Files that serve several stacks.
    const SHARED: &[&str] = &["mod", "libssl"];

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
}
