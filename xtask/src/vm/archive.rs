//! The guests' file system: the product, its tests, a shell, the libraries that these need, and `/init`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cpio::Cpio;
use super::output_of;
use crate::failure::Failure;

const INIT: &str = include_str!("../../vm/init.sh");

/// Packs it: `programs` and `texts` with their paths in the guest.
pub(super) fn root(
    busybox: &Path,
    programs: &[(PathBuf, String)],
    texts: &[(PathBuf, &str)],
    scratch: &Path,
) -> Result<Vec<u8>, Failure> {
    let mut archive = Cpio::default();
    for folder in ["proc", "sys", "dev", "tmp", "root", "etc"] {
        archive.folder(folder);
    }
    // The kernel opens it before there is anything else in `/dev`.
    archive.device("dev/console", (5, 1));
    archive.program("etc/greeting", b"hello\n");
    archive.program("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n");
    archive.program("init", INIT.as_bytes());
    archive.program("bin/busybox", &read(busybox)?);
    let mut libraries = BTreeMap::new();
    for (program, path) in programs {
        for library in libraries_of(program)? {
            let bytes = read(&library)?;
            libraries.insert(library.to_string_lossy().into_owned(), bytes);
        }
        archive.program(path, &stripped(program, scratch)?);
    }
    for (text, path) in texts {
        archive.program(path, &read(text)?);
    }
    for (path, bytes) in &libraries {
        archive.program(path.trim_start_matches('/'), bytes);
    }
    Ok(archive.finish())
}

/// A program without its debug information, which is most of it and would fill the guest's memory.
fn stripped(program: &Path, scratch: &Path) -> Result<Vec<u8>, Failure> {
    let copy = scratch.join("stripped");
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(&copy).arg(program);
    output_of(&mut strip).map_err(Failure::new)?;
    let bytes = read(&copy)?;
    let _ = fs::remove_file(&copy);
    Ok(bytes)
}

/// The shared libraries that the dynamic linker would load, itself included.
fn libraries_of(program: &Path) -> Result<Vec<PathBuf>, Failure> {
    let listed = output_of(Command::new("ldd").arg(program)).map_err(Failure::new)?;
    Ok(paths_in(&String::from_utf8_lossy(&listed)))
}

fn paths_in(ldd: &str) -> Vec<PathBuf> {
    ldd.lines()
        .filter_map(|line| {
            line.split_ascii_whitespace()
                .find(|word| word.starts_with('/'))
        })
        .map(PathBuf::from)
        .collect()
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path)
        .map_err(|error| Failure::new(format!("failed to read {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_read_from_what_ldd_says() {
        let said = "\tlinux-vdso.so.1 (0x00007ffd)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f00)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f01)\n";
        let expected = [
            "/lib/x86_64-linux-gnu/libc.so.6",
            "/lib64/ld-linux-x86-64.so.2",
        ];
        assert_eq!(paths_in(said), expected.map(PathBuf::from));
        assert!(paths_in("\tstatically linked\n").is_empty());
    }
}
