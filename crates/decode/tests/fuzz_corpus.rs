//! The inputs that fuzzing began with or found, replayed. `cargo test -p agentsight-decode --test
//! fuzz_corpus -- --ignored` writes those that are made from the golden cases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../fuzz/decode.rs"]
mod decode;
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use agentsight_decode::http::Exchange;
use agentsight_decode::llm;
use agentsight_model::ProcessKey;

/// Longer inputs make fuzzing slow.
const MAX_SEED_BYTES: usize = 6 << 10;

/// Inputs that are written for one target: more of them teach it little.
const MAX_SEEDS: usize = 32;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz")
        .join(name)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn every_corpus_is_harmless() {
    for (name, _) in decode::TARGETS {
        let inputs = files(&folder(&format!("corpus/{name}")));
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            decode::run(name, &fs::read(input).unwrap());
        }
    }
}

#[test]
fn every_target_has_a_file() {
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    for (name, _) in decode::TARGETS {
        let path = folder(&format!("fuzz_targets/{name}.rs"));
        let source = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            source.contains(&format!("run(\"{name}\"")),
            "{}",
            path.display()
        );
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}

/// The target whose dialect that is.
fn target_of(api: &str) -> Option<&'static str> {
    let stem = match api {
        "openai.chat_completions" => "openai_chat".to_owned(),
        "gemini.generate_content" => "gemini".to_owned(),
        "anthropic.messages" => "anthropic".to_owned(),
        api if api.ends_with("count_tokens") => "count_tokens".to_owned(),
        api if api.ends_with("embeddings") => "embeddings".to_owned(),
        api => api.trim_end_matches(".chat").replace('.', "_"),
    };
    let name = format!("llm_{stem}");
    let found = decode::TARGETS.iter().find(|(own, _)| *own == name);
    found.map(|(own, _)| *own)
}

/// An exchange in the form that the targets of providers take.
fn seed(exchange: &Exchange) -> Vec<u8> {
    let response = exchange.response.as_ref();
    let media_type = response.map(|r| r.media_type()).unwrap_or_default();
    let form = match media_type.as_str() {
        "text/event-stream" => 1,
        "application/x-ndjson" => 2,
        "application/vnd.amazon.eventstream" => 3,
        "audio/mpeg" => 4,
        _ => 0,
    };
    let request = String::from_utf8_lossy(&exchange.request.body.bytes);
    let request = request.replace("----formdata0123", "b0").replace('\0', "0");
    let answer = response.map_or(&[][..], |response| &response.body.bytes);
    [&[form][..], request.as_bytes(), b"\0", answer].concat()
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    if bytes.len() <= MAX_SEED_BYTES {
        let folder = folder(&format!("corpus/{target}"));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        if path.exists() || files(&folder).len() < MAX_SEEDS {
            fs::write(path, bytes).unwrap();
        }
    }
}

/// Both sides of a connection, in the form that the targets of transports take.
fn both(sent: &[u8], received: &[u8]) -> Vec<u8> {
    let length = u16::try_from(sent.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&length[..], sent, received].concat()
}

#[test]
#[ignore = "writes files"]
fn write_the_corpus() {
    let process = ProcessKey {
        tgid: 1,
        start_ns: 1,
    };
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for case in files(&golden).iter().flat_map(|provider| files(provider)) {
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        let script = match fs::read(case.join("in.rec")) {
            Ok(recording) => support::runs(&recording),
            Err(_) => {
                let request = fs::read(case.join("in.req")).unwrap_or_default();
                let response = fs::read(case.join("in.resp")).unwrap_or_default();
                // The target puts the first words itself.
                let after = |bytes: &[u8], count| bytes.get(count..).unwrap_or_default().to_vec();
                let bytes = both(&after(&request, 18), &after(&response, 13));
                write("http1", &name, &bytes);
                vec![support::sent(request), support::received(response)]
            }
        };
        for exchange in support::decode(&script) {
            if let Some(body) = exchange.response.as_ref().map(|r| &r.body.bytes) {
                let is = |end: &str| {
                    exchange
                        .response
                        .as_ref()
                        .unwrap()
                        .media_type()
                        .ends_with(end)
                };
                if is("event-stream") {
                    write("sse", &name, body);
                } else if is("eventstream") {
                    write("event_stream", &name, body);
                }
            }
            if exchange.request.media_type().starts_with("multipart/") {
                let bytes = [
                    b"multipart/form-data; boundary=----formdata0123;\r\n",
                    exchange.request.body.bytes.as_slice(),
                ]
                .concat();
                write("multipart", &name, &bytes);
            }
            let call = llm::decode(&exchange, process, "llm-1");
            if let Some(target) = call.and_then(|call| target_of(&call.api)) {
                write(target, &name, &seed(&exchange));
            }
        }
    }
    write_frames();
}

/// Seeds of the transports that no golden case is made of alone.
fn write_frames() {
    let headers = support::frame(1, 4, 1, b"\x83\x86\x44\x01/\x41\x01h");
    let data = support::frame(0, 1, 1, b"{\"model\":\"m\"}");
    let answer = support::frame(1, 4, 1, b"\x88\x5f\x10application/json");
    let settings = support::frame(4, 0, 0, &[]);
    let sent = [settings.clone(), headers, data.clone()].concat();
    write(
        "http2",
        "exchange",
        &both(&sent, &[settings, answer, data].concat()),
    );
    write(
        "hpack",
        "literal",
        b"\x08\x83\x86\x44\x01/\x41\x01h\x03\x82\xbe\xbf",
    );
    write(
        "hpack",
        "huffman",
        b"\x0e\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
    );
    let masked = b"\x81\x82\x00\x00\x00\x00{}\xc1\x83\x01\x02\x03\x04\x01\x02\x03";
    write(
        "websocket",
        "frames",
        &both(masked, b"\x81\x0e{\"type\":\"x.y\"}\x88\x02\x03\xe8"),
    );
    write(
        "grpc",
        "messages",
        b"\0\0\0\0\x02ab\x01\0\0\0\x01c\x80\0\0\0\x0dgrpc-status:0",
    );
}
