//! A scripted model, requests to post to it, and the comparison of what was sent with what was recorded.

use std::fs;
use std::path::{Path, PathBuf};

use agentsight_model::BodyInfo;
use agentsight_model::document::Call;
use agentsight_testkit::{Body, Exchange, ModelServer, Script, Turn};
use serde_json::json;

use crate::support::{self, Recorded, Site};

/// Characters of the model's answer, in bytes more than 64 KiB.
const ANSWER_LINES: usize = 2500;

/// Where the clients' sources are.
pub(crate) fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/clients")
}

/// A client that is a script.
pub(crate) fn script(name: &str) -> String {
    text(&sources().join("scripts").join(name))
}

pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Says on which machine a part of a test says nothing, and why.
pub(crate) fn skip(what: &str, reason: &str) {
    println!("skipped: {what}: {reason}");
}

/// A model and the site of one session with it.
pub(crate) struct Talk {
    pub(crate) server: ModelServer,
    pub(crate) site: Site,
    bodies: Vec<PathBuf>,
}

impl Talk {
    /// A model that answers at length, and so many requests of about so many bytes. Every second one asks
    /// for a stream.
    pub(crate) fn new(count: usize, bytes: usize) -> Self {
        let answer: String = (0..ANSWER_LINES)
            .map(|line| format!("line {line:04} of the answer, „ja“\n"))
            .collect();
        Self::with_answer(&answer, count, bytes)
    }

    /// The same with another answer.
    pub(crate) fn with_answer(answer: &str, count: usize, bytes: usize) -> Self {
        let script = Script::new([Turn::text(answer)]).delta_chars(400);
        let site = Site::new();
        let bodies = (0..count)
            .map(|number| {
                let path = site.work().join(format!("{number:04}.json"));
                fs::write(&path, request(number, bytes)).unwrap();
                path
            })
            .collect();
        Self {
            server: ModelServer::start(script).unwrap(),
            site,
            bodies,
        }
    }

    pub(crate) fn bodies(&self) -> &[PathBuf] {
        &self.bodies
    }

    pub(crate) fn ca(&self) -> String {
        text(self.server.ca_pem_path())
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("{}/v1/messages", self.server.url())
    }

    /// A client's command line: its program and mode, and then what all clients are told.
    pub(crate) fn command(&self, client: &[&str]) -> Vec<String> {
        let mut command: Vec<String> = client.iter().map(|&word| word.to_owned()).collect();
        command.extend([self.server.url(), self.ca()]);
        command.extend(self.bodies.iter().map(|body| text(body)));
        command
    }

    /// A watched run of a client, to its end.
    pub(crate) fn run(&self, client: &[&str]) -> support::Call {
        self.site
            .run(self.command(client))
            .env("NODE_EXTRA_CA_CERTS", self.ca())
    }

    /// Asserts that all of the talk is in the record: each body of the truth, both directions, by its
    /// hash; nothing lost, nothing dark, nothing that could not be understood.
    #[track_caller]
    pub(crate) fn assert_recorded(&self) -> Recorded {
        let recorded = self.site.recorded();
        recorded.assert_nothing_dropped();
        self.assert_calls(&recorded);
        let tls = &recorded.document.coverage.tls;
        assert_eq!(tls.dark_connections, Vec::<serde_json::Value>::new());
        assert_eq!(tls.undecoded_streams, 0);
        recorded
    }

    /// The conversations alone.
    #[track_caller]
    pub(crate) fn assert_calls(&self, recorded: &Recorded) {
        let truth = self.server.truth();
        assert_eq!(
            truth.len(),
            self.bodies.len(),
            "the client did not post everything"
        );
        let calls = &recorded.document.llm_calls;
        let mut seen: Vec<_> = calls.iter().map(of_call).collect();
        let mut sent: Vec<_> = truth.iter().map(of_exchange).collect();
        seen.sort_by(|left, right| left.0.sha256.cmp(&right.0.sha256));
        sent.sort_by(|left, right| left.0.sha256.cmp(&right.0.sha256));
        assert_eq!(
            seen.len(),
            sent.len(),
            "calls seen; {:?}",
            recorded.document.coverage.tls
        );
        for (seen, sent) in seen.iter().zip(&sent) {
            assert_eq!(seen, sent);
        }
    }
}

/// A request in the first dialect, unlike any other.
fn request(number: usize, bytes: usize) -> String {
    let mut content = String::with_capacity(bytes + 64);
    let mut line = 0_u64;
    while content.len() < bytes {
        // Varied enough that no two places look alike.
        let mixed = (line << 20 | number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        content.push_str(&format!("{number}.{line}: {mixed:016x}\n"));
        line += 1;
    }
    json!({
        "model": format!("model-{number}"),
        "max_tokens": 16,
        "stream": number % 2 == 1,
        "messages": [{ "role": "user", "content": content }],
    })
    .to_string()
}

fn of_call(call: &Call) -> (BodyInfo, BodyInfo, bool, Option<u16>) {
    let (request, response) = (&call.request.body, &call.response.body);
    (
        request.clone(),
        response.clone(),
        call.complete,
        call.status,
    )
}

fn of_exchange(exchange: &Exchange) -> (BodyInfo, BodyInfo, bool, Option<u16>) {
    let info = |body: &Body| BodyInfo {
        bytes: body.bytes,
        sha256: body.sha256.clone(),
        wire_bytes: body.wire_bytes,
        encoding: body.encoding.clone(),
        complete: true,
    };
    (
        info(&exchange.request),
        info(&exchange.response),
        true,
        exchange.status,
    )
}
