//! Which programs a command will run, as far as its files tell.
//!
//! Probes are attached when a program starts, but finding the functions of one that is new to us takes
//! part of a second, and some agents talk to their model sooner. What can be foreseen is looked at before
//! the command starts: its program, a script's interpreter, and the native program that an npm package
//! brings along for its launcher script.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::images::open_regular;

/// Folder entries looked at in an npm package.
const MAX_ENTRIES: usize = 20_000;
/// A native program with a TLS library of its own is larger than this.
const MIN_PROGRAM_BYTES: u64 = 1 << 20;
/// Longest first line of a script that the kernel reads (`BINPRM_BUF_SIZE`).
const MAX_SHEBANG_BYTES: usize = 256;

/// The files that are likely to be run by a command whose program is `name`, started in `cwd`.
#[must_use]
pub fn programs(name: &OsStr, cwd: &Path, search: Option<&OsStr>) -> Vec<PathBuf> {
    let Some(program) = resolve(name, cwd, search) else {
        return Vec::new();
    };
    let mut programs = interpreters(&program, search);
    if !programs.is_empty() {
        programs.extend(packaged(&program));
    }
    programs.push(program);
    programs
}

/// The file behind a command's name, with links followed.
fn resolve(name: &OsStr, cwd: &Path, search: Option<&OsStr>) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return fs::canonicalize(cwd.join(name)).ok();
    }
    std::env::split_paths(search?)
        .map(|folder| cwd.join(folder).join(name))
        .find(|path| {
            fs::metadata(path)
                .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        })
        .and_then(|path| fs::canonicalize(path).ok())
}

/// A script's interpreter, and the program that `env` finds for it.
fn interpreters(script: &Path, search: Option<&OsStr>) -> Vec<PathBuf> {
    let mut head = [0; MAX_SHEBANG_BYTES];
    let count = open_regular(script)
        .and_then(|(mut file, _)| file.read(&mut head).ok())
        .unwrap_or(0);
    let line = head[..count]
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    let Some(line) = line.strip_prefix(b"#!") else {
        return Vec::new();
    };
    let words: Vec<&OsStr> = line
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .map(OsStr::from_bytes)
        .collect();
    words
        .iter()
        // `env -S NAME=value program`
        .filter(|word| !word.as_bytes().starts_with(b"-") && !word.as_bytes().contains(&b'='))
        .take(2)
        .filter_map(|word| resolve(word, Path::new("/"), search))
        .collect()
}

/// Native programs of the npm package that a script belongs to. Such a package has one package for each
/// platform beside it, whose name begins with its own.
fn packaged(script: &Path) -> Vec<PathBuf> {
    let mut package = script;
    let scope = loop {
        let Some(parent) = package.parent() else {
            return Vec::new();
        };
        let is_scope = |path: &Path| {
            path.file_name()
                .is_some_and(|name| name == "node_modules" || name.as_bytes().starts_with(b"@"))
        };
        if is_scope(parent) {
            break parent;
        }
        package = parent;
    };
    let Some(name) = package.file_name() else {
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = entries(scope)
        .filter(|path| {
            path.is_dir()
                && path
                    .file_name()
                    .is_some_and(|other| other.as_bytes().starts_with(name.as_bytes()))
        })
        .collect();
    let mut programs = Vec::new();
    let mut looked_at = 0;
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            looked_at += 1;
            if looked_at > MAX_ENTRIES {
                return programs;
            }
            let Ok(file) = fs::symlink_metadata(&path) else {
                continue;
            };
            if file.is_dir() {
                folders.push(path);
            } else if file.is_file()
                && file.permissions().mode() & 0o111 != 0
                && file.len() >= MIN_PROGRAM_BYTES
            {
                programs.push(path);
            }
        }
    }
    programs
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn executable(path: &Path, content: &[u8]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_launcher_leads_to_its_interpreter_and_its_native_program() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let node = root.join("bin/node");
        executable(&node, b"\x7fELF");
        let scope = root.join("lib/node_modules/@openai");
        let script = scope.join("codex/bin/codex.js");
        executable(&script, b"#!/usr/bin/env node\n");
        let native = scope.join("codex-linux-x64/vendor/codex");
        executable(&native, &vec![0; 1 << 20]);
        executable(&scope.join("other/large"), &vec![0; 1 << 20]);
        std::os::unix::fs::symlink(&script, root.join("bin/codex")).unwrap();

        let search = root.join("bin").into_os_string();
        let found = programs(OsStr::new("codex"), Path::new("/"), Some(&search));
        assert!(found.contains(&node), "{found:?}");
        assert!(found.contains(&native), "{found:?}");
        assert!(found.contains(&script), "{found:?}");
        assert!(!found.iter().any(|path| path.ends_with("other/large")));
    }

    #[test]
    fn a_pipe_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(open_regular(&pipe).is_none());
        assert_eq!(programs(pipe.as_os_str(), Path::new("/"), None).len(), 1);
    }

    #[test]
    fn a_program_is_found_by_path_and_a_missing_one_is_none() {
        let found = programs(OsStr::new("./sh"), Path::new("/bin"), None);
        assert_eq!(found.len(), 1);
        assert!(programs(OsStr::new("no-such-program"), Path::new("/"), None).is_empty());
    }
}
