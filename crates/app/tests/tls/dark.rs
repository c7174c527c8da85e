//! TLS that nobody can read is said to be so, at once; nothing is claimed of it.

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::thread;

use agentsight_model::document::Finding;
use serde_json::Value;

use crate::builds::static_openssl;
use crate::support::{PYTHON, Recorded, Site};
use crate::talk::{Talk, script, skip, text};

/// Longest time from a connection's first bytes to the finding.
const AT_ONCE_S: f64 = 1.0;

/// A server that takes whatever comes and answers once with bytes like those of a server's handshake.
fn sink() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = [0; 4096];
        let mut is_first = true;
        while stream.read(&mut bytes).is_ok_and(|count| count > 0) {
            if is_first {
                stream
                    .write_all(b"\x16\x03\x03\x00\x04\x02\x00\x00\x00")
                    .unwrap();
                is_first = false;
            }
        }
    });
    port
}

#[track_caller]
fn only_finding(recorded: &Recorded) -> (&Finding, &Value) {
    let findings = recorded.document.findings.iter();
    let dark: Vec<&Finding> = findings
        .filter(|finding| finding.rule == "dark-tls")
        .collect();
    let [finding] = dark.as_slice() else {
        panic!("not one finding: {:?}", recorded.document.findings);
    };
    let [dark] = recorded.document.coverage.tls.dark_connections.as_slice() else {
        panic!(
            "not one dark connection: {:?}",
            recorded.document.coverage.tls
        );
    };
    assert_eq!(recorded.document.llm_calls, []);
    (finding, dark)
}

/// Seconds since the epoch of a time in the document.
fn seconds(time: &str) -> f64 {
    let time: jiff::Timestamp = time.parse().unwrap();
    time.as_nanosecond() as f64 / 1e9
}

fn strange(mode: &str) -> (Recorded, f64) {
    let site = Site::new();
    let port = sink().to_string();
    let ended = site
        .run([PYTHON, &script("strange.py"), mode, &port])
        .end()
        .ok();
    let hello: f64 = ended.text().trim().parse().unwrap();
    (site.recorded(), hello)
}

#[test]
#[ignore = "needs root"]
fn a_record_layer_of_its_own_is_dark_within_a_second() {
    for mode in ["plain", "encrypted-hello"] {
        let (recorded, hello) = strange(mode);
        let (finding, dark) = only_finding(&recorded);
        let after = seconds(&finding.time) - hello;
        println!("{mode}: found {after:.3} s after the hello");
        assert!((0.0..AT_ONCE_S).contains(&after), "{mode}: after {after} s");
        assert_eq!(dark["server_name"], "strange.example");
        assert_eq!(dark["alpn"], serde_json::json!(["h2", "http/1.1"]));
        assert_eq!(dark["encrypted_hello"], mode == "encrypted-hello");
        assert!(dark["executable"].as_str().unwrap().contains("python"));
        assert!(dark["sent_bytes"].as_u64().unwrap() > 2_000);
        assert_eq!(recorded.document.coverage.tls.plaintext_bytes, 0);
    }
}

/// What gives OpenSSL's functions away in a file without symbols.
const ANCHORS: [&str; 3] = ["SSL_read", "SSL_write", "ssl_lib.c"];

/// A copy of a program in which the anchors read otherwise.
fn without_anchors(program: &Path, copy: &Path) {
    let mut bytes = std::fs::read(program).unwrap();
    for anchor in ANCHORS {
        let anchor = anchor.as_bytes();
        let mut found = 0;
        for at in 0..bytes.len() - anchor.len() {
            if bytes[at..].starts_with(anchor) {
                bytes[at..at + anchor.len()].fill(b'z');
                found += 1;
            }
        }
        assert!(found > 0, "no {anchor:?}");
    }
    std::fs::write(copy, bytes).unwrap();
    std::fs::set_permissions(copy, std::fs::metadata(program).unwrap().permissions()).unwrap();
}

#[track_caller]
fn is_dark(count: usize, bytes: usize) {
    let program = match static_openssl() {
        Ok(program) => program,
        Err(reason) => return skip("a client with OpenSSL inside", &reason),
    };
    let talk = Talk::new(count, bytes);
    let patched = talk.site.path("patched");
    without_anchors(&program, &patched);
    talk.run(&[&text(&patched), "one"]).end().ok();
    assert_eq!(talk.server.truth().len(), count);
    let recorded = talk.site.recorded();
    let (_, dark) = only_finding(&recorded);
    assert_eq!(dark["executable"], text(&patched));
    println!("reason: {}", dark["reason"]);
    assert!(dark["reason"].as_str().unwrap().contains("patched"));
    assert_eq!(recorded.document.coverage.tls.plaintext_bytes, 0);
}

#[test]
#[ignore = "needs root"]
fn a_program_whose_functions_cannot_be_found_is_dark() {
    is_dark(4, 20_000);
}

#[test]
#[ignore = "needs root"]
fn one_small_request_is_dark_too() {
    is_dark(1, 20);
}

#[test]
#[ignore = "needs root"]
fn quic_is_named() {
    let site = Site::new();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port().to_string();
    site.run([PYTHON, &script("strange.py"), "quic", &port])
        .end()
        .ok();
    let recorded = site.recorded();
    let (_, dark) = only_finding(&recorded);
    assert!(dark["reason"].as_str().unwrap().starts_with("QUIC"));
}

#[test]
#[ignore = "needs root"]
fn who_takes_probes_out_of_its_memory_is_dark_and_probed_again() {
    let talk = Talk::new(10, 40_000);
    let mut command = vec![PYTHON.to_owned(), script("unprobe.py")];
    command.extend([talk.server.url(), talk.ca()]);
    command.extend(talk.bodies().iter().map(|body| text(body)));
    let ended = talk.site.run(command).end().ok();
    // Otherwise the test says nothing.
    assert_eq!(ended.text().trim(), "2", "probes were found and taken out");
    let recorded = talk.site.recorded();
    let findings = &recorded.document.findings;
    let dark = findings
        .iter()
        .find(|finding| finding.rule == "dark-tls")
        .unwrap_or_else(|| panic!("no finding: {findings:?}"));
    println!("{}", dark.title);
    let [dark] = recorded.document.coverage.tls.dark_connections.as_slice() else {
        panic!("not one dark connection");
    };
    let reason = dark["reason"].as_str().unwrap();
    assert!(reason.contains("only"), "{reason}");
    // The last one came over a connection of its own, when the probes were back.
    let truth = talk.server.truth();
    let last = &truth.last().unwrap().request.sha256;
    let calls = &recorded.document.llm_calls;
    assert!(
        calls.iter().any(|call| call.request.body.sha256 == *last),
        "{} calls of {}",
        calls.len(),
        truth.len()
    );
}
