//! Clients that are installed: each over the TLS library that it came with.

use crate::support::PYTHON;
use crate::talk::{Talk, script, skip, text};

/// The Node that `PATH` leads to.
fn node() -> Option<String> {
    let found = std::process::Command::new("node")
        .args(["-p", "process.execPath"])
        .output()
        .ok()?;
    let path = String::from_utf8(found.stdout).ok()?;
    found.status.success().then(|| path.trim().to_owned())
}

fn is_installed(program: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(program).is_file())
}

#[test]
#[ignore = "needs root"]
fn curl_over_openssl() {
    let talk = Talk::new(6, 150_000);
    // All on one connection: `--next` begins another request.
    let mut command = vec!["curl".to_owned()];
    for (number, body) in talk.bodies().iter().enumerate() {
        if number > 0 {
            command.push("--next".to_owned());
        }
        command.extend(["-sSf", "-o", "/dev/null", "--cacert"].map(str::to_owned));
        command.extend([
            talk.ca(),
            "--data-binary".to_owned(),
            format!("@{}", text(body)),
            talk.endpoint(),
        ]);
    }
    talk.site.run(command).end().ok();
    let recorded = talk.assert_recorded();
    assert_eq!(recorded.document.coverage.tls.streams, 1);
}

#[test]
#[ignore = "needs root"]
fn wget_over_gnutls() {
    if !is_installed("wget") {
        return skip("wget over GnuTLS", "wget is not installed");
    }
    let talk = Talk::new(4, 150_000);
    let commands: Vec<String> = talk
        .bodies()
        .iter()
        .map(|body| {
            format!(
                "wget -q -O /dev/null --ca-certificate={} --post-file={} {}",
                talk.ca(),
                text(body),
                talk.endpoint()
            )
        })
        .collect();
    talk.site.run_script(&commands.join(" && ")).end().ok();
    let recorded = talk.assert_recorded();
    assert_eq!(recorded.document.coverage.tls.streams, 4);
}

#[track_caller]
fn python(mode: &str, streams: u64) {
    println!("python, {mode}");
    let talk = Talk::new(8, 120_000);
    talk.run(&[PYTHON, &script("post.py"), mode]).end().ok();
    let recorded = talk.assert_recorded();
    assert_eq!(recorded.document.coverage.tls.streams, streams, "{mode}");
}

#[test]
#[ignore = "needs root"]
fn python_over_openssl() {
    python("one", 1);
    python("many", 8);
}

#[test]
#[ignore = "needs root"]
fn python_threads_with_objects_of_their_own_and_with_one_for_all() {
    python("threads", 4);
    python("shared", 1);
}

#[test]
#[ignore = "needs root"]
fn python_through_a_memory_bio() {
    python("asyncio", 8);
}

#[test]
#[ignore = "needs root"]
fn node_by_https_and_by_fetch() {
    let Some(node) = node() else {
        return skip("Node", "node is not installed");
    };
    for mode in ["https", "parallel", "fetch"] {
        println!("node, {mode}");
        let talk = Talk::new(8, 120_000);
        talk.run(&[&node, &script("post.mjs"), mode]).end().ok();
        talk.assert_recorded();
    }
}
