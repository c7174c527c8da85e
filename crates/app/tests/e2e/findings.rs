//! Rules: findings in the record, on standard error, in the exit code.

use std::fs;
use std::net::TcpListener;

use crate::support::{PYTHON, Site};

/// What the pack leaves out: connections to this machine.
const RULE: &str = "\
id: secret-to-this-machine
title: \"{process.name} has read a secret and connects to port {network.port}\"
severity: critical
on: network.connect
match: { label: secret }
where: network.is_loopback
";

#[test]
#[ignore = "needs root"]
fn a_secret_that_is_read_and_sent_is_found_told_and_fails_the_run() {
    let site = Site::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = port.local_addr().unwrap().port();
    fs::create_dir(site.work().join(".ssh")).unwrap();
    fs::write(site.work().join(".ssh/id_rsa"), "no key at all").unwrap();
    let rule = site.path("rule.yaml");
    fs::write(&rule, RULE).unwrap();
    // One process reads and writes a file; another reads that and sends it.
    let send = format!(
        "import socket; s = socket.create_connection(('127.0.0.1', {number})); s.send(open('copy', 'rb').read())"
    );
    let late = format!(
        "import time, socket; b = open('copy', 'rb').read(); s = socket.create_connection(('127.0.0.1', {number})); s.send(b)"
    );
    let script =
        format!("cp .ssh/id_rsa copy; {PYTHON} -c \"{send}\"; {PYTHON} -c \"{late}\"; exit 3");
    let ended = site
        .agentsight(["run", "--fail-on", "critical", "--rules"])
        .args([rule.as_os_str()])
        .args(["--", "/bin/sh", "-c", &script])
        .end()
        .with_code(5);
    let told = format!("has read a secret and connects to port {number}\n");
    assert!(
        ended
            .stderr
            .contains("agentsight: critical: secret-to-this-machine: ")
    );
    assert!(ended.stderr.contains(&told), "{}", ended.stderr);
    let recorded = site.recorded();
    assert_eq!(recorded.document.session.exit_code, Some(3));
    let mut own = recorded.document.findings.iter();
    let own = own
        .find(|finding| finding.rule == "secret-to-this-machine")
        .unwrap();
    assert_eq!(own.severity, "critical");
    assert_eq!(own.evidence[0]["kind"], "network.connect");
    // The rules in force are on record when they come and when the session ends.
    assert_eq!(recorded.count_records(&["policy"]), 2);
    assert!(recorded.count_records(&["finding"]) >= 2);
}

#[test]
#[ignore = "needs root"]
fn rules_that_nobody_can_carry_out_or_read_start_nothing() {
    let site = Site::new();
    let rule = site.path("rule.yaml");
    for (text, code, message) in [
        (
            RULE.replace("severity: critical\n", "severity: critical\neffect: kill\n"),
            1,
            "asks to kill, which this version cannot do",
        ),
        (
            RULE.replace("loopback", "lopback"),
            1,
            "did you mean `network.is_loopback`?",
        ),
    ] {
        fs::write(&rule, text).unwrap();
        let ended = site
            .agentsight(["run", "--rules"])
            .args([rule.as_os_str()])
            .args(["--", "/bin/sh", "-c", "touch ran"])
            .end()
            .with_code(code);
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
        assert!(!site.work().join("ran").exists());
    }
}
