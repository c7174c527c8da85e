//! Bulk: every byte of it, in order, none lost.

use std::time::Duration;

use crate::builds;
use crate::support::PYTHON;
use crate::talk::{Talk, script, skip, text};

const PATIENCE: Duration = Duration::from_secs(300);

#[track_caller]
fn posts(client: &[&str], count: usize, bytes: usize) {
    println!("{client:?}: {count} posts of {bytes} bytes");
    let talk = Talk::with_answer("Received.", count, bytes);
    talk.run(client).patience(PATIENCE).end().ok();
    let recorded = talk.assert_recorded();
    let seen = recorded.document.coverage.tls.plaintext_bytes;
    assert!(seen > (count * bytes) as u64, "{seen} bytes of plaintext");
}

#[test]
#[ignore = "needs root"]
fn four_threads_with_a_hundred_posts_of_200_kb_each() {
    posts(&[PYTHON, &script("post.py"), "threads"], 400, 200_000);
}

#[test]
#[ignore = "needs root"]
fn twenty_posts_of_600_kb() {
    let clients: [&[&str]; 2] = [
        &[PYTHON, &script("post.py"), "one"],
        &["node", &script("post.mjs"), "https"],
    ];
    for client in clients {
        posts(client, 20, 600_000);
    }
}

#[test]
#[ignore = "needs root"]
fn twenty_posts_of_600_kb_by_clients_with_the_library_inside() {
    let clients = [
        (builds::static_openssl(), "one"),
        (builds::go(false), "parallel"),
        (builds::rustls("ring"), "one"),
        (builds::rustls("aws-lc-rs"), "one"),
    ];
    for (program, mode) in clients {
        match program {
            Ok(program) => posts(&[&text(&program), mode], 20, 600_000),
            Err(reason) => skip("a client with the library inside", &reason),
        }
    }
}
