//! Files that name their TLS functions: every offset is compared with what `nm` says.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;

use agentsight_tls::{HookKind, Options, Stack, locate, maybe_tls};

/// File and the stack whose functions it names.
const FILES: &[(&str, Stack)] = &[
    ("/usr/bin/node", Stack::OpenSsl),
    ("/usr/lib/x86_64-linux-gnu/libssl.so.3", Stack::OpenSsl),
    ("/usr/lib/aarch64-linux-gnu/libssl.so.3", Stack::OpenSsl),
];

/// The addresses of defined functions, by name without version.
fn nm(path: &str, arguments: &[&str]) -> BTreeMap<String, u64> {
    let output = Command::new("nm").args(arguments).arg(path).output();
    let Ok(output) = output else {
        return BTreeMap::new();
    };
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = u64::from_str_radix(words.next()?, 16).ok()?;
            let kind = words.next()?;
            let name = words.next()?.split('@').next()?;
            kind.eq_ignore_ascii_case("t")
                .then(|| (name.to_owned(), address))
        })
        .collect()
}

#[test]
fn hooks_are_where_nm_says() {
    for (path, stack) in FILES {
        let names = nm(path, &["-D"]);
        if !Path::new(path).exists() || names.is_empty() {
            println!("skipped: no {path}, or no nm");
            continue;
        }
        let file = File::open(path).unwrap();
        assert!(maybe_tls(&file).unwrap(), "{path}");
        let located = locate(&file, &Options::symbols_only()).unwrap();
        let report = located.stacks.iter().find(|r| r.stack == *stack).unwrap();
        assert!(!located.is_blind(), "{path}");
        for hook in &report.hooks {
            assert_eq!(names.get(&hook.function), Some(&hook.address), "{path}");
        }
        for kind in [
            HookKind::ReadReturn,
            HookKind::ReadEx,
            HookKind::WriteReturn,
            HookKind::WriteEx,
            HookKind::Handshake,
            HookKind::Free,
            HookKind::SetFd,
        ] {
            let count = report.hooks.iter().filter(|h| h.kind == kind).count();
            assert_eq!(count, 1, "{path}: {kind:?}");
        }
    }
}

#[test]
fn programs_without_tls_are_dismissed() {
    for path in [
        "/bin/true",
        "/bin/sh",
        "/usr/lib/x86_64-linux-gnu/libc.so.6",
    ] {
        let Ok(file) = File::open(path) else {
            println!("skipped: no {path}");
            continue;
        };
        assert!(!maybe_tls(&file).unwrap(), "{path}");
        assert!(
            locate(&file, &Options::default())
                .unwrap()
                .stacks
                .is_empty()
        );
    }
}

#[test]
fn what_is_no_elf_file_is_refused() {
    for bytes in [&b""[..], b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x01\x01"] {
        assert!(locate(bytes, &Options::default()).is_err());
        assert!(maybe_tls(bytes).is_err());
    }
}

/// What a program inlines has no name: there the hooked function must be one of these.
const MOVING: &[(&str, &[&str])] = &[
    ("SSL_read", &["SSL_read"]),
    ("SSL_write", &["SSL_write"]),
    ("ssl_read_internal", &["ssl_read_internal", "SSL_read_ex"]),
    (
        "ssl_write_internal",
        &["ssl_write_internal", "SSL_write_ex", "SSL_write_ex2"],
    ),
    (
        "SSL_do_handshake",
        &["SSL_do_handshake", "SSL_connect", "SSL_accept"],
    ),
    ("SSL_set_fd", &["SSL_set_fd"]),
];

#[test]
fn what_the_code_shows_is_what_the_names_say() {
    for (path, stack) in FILES {
        let names = nm(path, &["-D"]);
        if !Path::new(path).exists() || names.is_empty() {
            println!("skipped: no {path}, or no nm");
            continue;
        }
        let located = locate(&File::open(path).unwrap(), &Options::code_only()).unwrap();
        let report = located.stacks.iter().find(|r| r.stack == *stack).unwrap();
        assert!(!located.is_blind(), "{path}");
        for hook in &report.hooks {
            let (_, expected) = MOVING
                .iter()
                .find(|(name, _)| *name == hook.function)
                .unwrap();
            let named: Vec<u64> = expected
                .iter()
                .filter_map(|name| names.get(*name))
                .copied()
                .collect();
            // A library does not export what is internal; then there is nothing to compare with.
            let is_hidden = hook.function.ends_with("_internal") && named.len() < expected.len();
            assert!(
                named.contains(&hook.address) || is_hidden,
                "{path}: {} at {:#x}",
                hook.function,
                hook.address
            );
        }
    }
}
