//! TLS servers in the tree: what they receive and answer is seen at their side as well.

use std::path::Path;
use std::process::Command;

use crate::support::{PYTHON, Site, texts};
use crate::talk::{script, skip, text};

/// How often the server says how much it got.
const ANSWER_SENTENCES: usize = 2000;

/// A certificate for the loopback address, made for this test alone.
fn make_certificate(folder: &Path) -> Result<(String, String), String> {
    let (certificate, key) = (
        text(&folder.join("cert.pem")),
        text(&folder.join("key.pem")),
    );
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ])
        .args([
            "-subj",
            "/CN=127.0.0.1",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-days",
            "2",
        ])
        .args(["-keyout", &key, "-out", &certificate])
        .output()
        .map_err(|error| format!("openssl: {error}"))?;
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    Ok((certificate, key))
}

#[test]
#[ignore = "needs root"]
fn a_server_and_its_clients_in_one_tree() {
    const COUNT: usize = 3;
    let site = Site::new();
    let (certificate, key) = match make_certificate(&site.work()) {
        Ok(pair) => pair,
        Err(reason) => return skip("a TLS server", &reason),
    };
    let port = text(&site.path("port"));
    let body = serde_json::json!({
        "model": "m", "max_tokens": 5,
        "messages": [{ "role": "user", "content": "x".repeat(100_000) }],
    });
    let body_file = site.work().join("body.json");
    std::fs::write(&body_file, body.to_string()).unwrap();
    let server = script("serve.py");
    let curl = format!(
        "curl -sSf -o /dev/null --cacert {certificate} --data-binary @{} \
         https://127.0.0.1:$(cat {port})/v1/messages",
        text(&body_file)
    );
    site.run_script(&format!(
        "{PYTHON} {server} {certificate} {key} {port} {COUNT} & \
         while ! [ -e {port} ]; do sleep 0.05; done; {}; wait $!",
        vec![curl; COUNT].join(" && ")
    ))
    .end()
    .ok();

    let recorded = site.recorded();
    recorded.assert_nothing_dropped();
    let tls = &recorded.document.coverage.tls;
    assert_eq!(tls.dark_connections, Vec::<serde_json::Value>::new());
    assert_eq!((tls.streams, tls.undecoded_streams), (2 * COUNT as u64, 0));
    // The calls are the clients'; at the server's side they are exchanges.
    let sent = body.to_string().len() as u64;
    let calls = &recorded.document.llm_calls;
    assert_eq!(calls.len(), COUNT);
    let mut answered = 0;
    for call in calls {
        assert!(call.complete, "{:?}", call.error);
        assert_eq!(call.request.body.sha256, calls[0].request.body.sha256);
        assert_eq!(call.request.body.bytes, sent);
        assert!(texts(call) == format!("That was {sent} bytes. ").repeat(ANSWER_SENTENCES));
        answered += call.response.body.bytes;
    }
    let [served] = recorded.actions("http.exchange").collect::<Vec<_>>()[..] else {
        panic!("the server's side is not one line");
    };
    let number = |attribute: &str| served.attributes[attribute].as_u64().unwrap();
    assert_eq!(number("agentsight.count"), COUNT as u64);
    assert_eq!(number("http.request.body.size"), sent * COUNT as u64);
    assert_eq!(number("http.response.body.size"), answered);
    assert!(calls.iter().all(|call| call.process != served.process));
}
