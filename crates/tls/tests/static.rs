//! Programs that carry OpenSSL: built here with the system's compiler and libraries, then stripped. Every
//! hook is compared with the symbols that the program had before.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use agentsight_tls::{Direction, Located, Options, Stack, locate, maybe_tls};

const CLIENT: &str = r#"
#include <openssl/ssl.h>
#include <string.h>
int main(int argc, char **argv) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    char buffer[4096];
    size_t count;
    SSL_set_fd(ssl, argc);
    SSL_write_ex(ssl, argv[0], strlen(argv[0]), &count);
    SSL_read_ex(ssl, buffer, sizeof buffer, &count);
#ifndef ONLY_EX
    SSL_connect(ssl);
    SSL_write(ssl, argv[0], strlen(argv[0]));
    SSL_read(ssl, buffer, sizeof buffer);
#endif
    SSL_free(ssl);
    return 0;
}
"#;

/// Arguments of the compiler, and of `strip`.
const BUILDS: &[(&str, &[&str], &[&str])] = &[
    ("static", &["-O2", "-static"], &["-s"]),
    (
        "static, without unwind data",
        &["-O2", "-static"],
        &["-s", "-R", ".eh_frame", "-R", ".eh_frame_hdr"],
    ),
    (
        "static, position-independent",
        &["-O2", "-static-pie"],
        &["-s"],
    ),
    ("own copy", &["-O2", "-pie"], &["-s"]),
    ("own copy, at a fixed address", &["-O1", "-no-pie"], &["-s"]),
    (
        "only the forms with _ex",
        &["-O2", "-DONLY_EX", "-Wl,--gc-sections"],
        &["-s"],
    ),
];

/// Where a static library of the system is.
fn library(name: &str) -> Option<PathBuf> {
    let output = Command::new("gcc")
        .arg(format!("-print-file-name={name}"))
        .output()
        .ok()?;
    let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    path.is_absolute().then_some(path)
}

fn run(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn symbols(path: &Path) -> BTreeMap<String, u64> {
    let output = Command::new("nm").arg(path).output().unwrap();
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let symbols = lines.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = u64::from_str_radix(words.next()?, 16).ok()?;
        Some((words.nth(1)?.to_owned(), address))
    });
    symbols.collect()
}

fn check(name: &str, located: &Located, symbols: &BTreeMap<String, u64>) {
    assert!(!located.is_blind(), "{name}");
    let report = located
        .stacks
        .iter()
        .find(|r| r.stack == Stack::OpenSsl)
        .unwrap();
    assert!(
        report
            .version
            .as_deref()
            .is_none_or(|v| v.starts_with(|c: char| c.is_ascii_digit())),
        "{name}"
    );
    for hook in &report.hooks {
        assert_eq!(
            symbols.get(&hook.function),
            Some(&hook.address),
            "{name}: {}",
            hook.function
        );
    }
    for direction in [Direction::Read, Direction::Write] {
        let count = report
            .hooks
            .iter()
            .filter(|h| h.kind.moves() == Some(direction))
            .count();
        assert_eq!(count, 1, "{name}: every byte is to be seen once");
    }
}

#[test]
fn stripped_programs_are_as_good_as_named_ones() {
    let (Some(ssl), Some(crypto)) = (library("libssl.a"), library("libcrypto.a")) else {
        println!("skipped: no gcc, or no static OpenSSL");
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("client.c");
    std::fs::write(&source, CLIENT).unwrap();
    for (index, (name, compiler, strip)) in BUILDS.iter().enumerate() {
        let named = directory.path().join(format!("named-{index}"));
        let stripped = directory.path().join(format!("stripped-{index}"));
        let mut gcc = Command::new("gcc");
        gcc.args(*compiler)
            .arg(&source)
            .arg("-o")
            .arg(&named)
            .args([&ssl, &crypto]);
        let built = run(&mut gcc)
            && run(Command::new("strip")
                .args(*strip)
                .arg(&named)
                .arg("-o")
                .arg(&stripped));
        if !built {
            println!("skipped: {name} cannot be built here");
            continue;
        }
        let file = File::open(&stripped).unwrap();
        assert!(maybe_tls(&file).unwrap(), "{name}");
        check(
            name,
            &locate(&file, &Options::default()).unwrap(),
            &symbols(&named),
        );
    }
}
