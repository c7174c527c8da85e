//! Where content of a conversation comes from: images, sound, documents and texts that a client reads
//! from files and sends, in the forms of two dialects and in a form.

use std::fs;

use agentsight_model::PartInfo;
use agentsight_model::document::Call;
use agentsight_testkit::{ModelServer, Script, Turn};
use serde_json::json;

use crate::support::{PYTHON, Recorded, Site};

/// Sends what Python's standard library can send of it. Arguments: URL, certificate, folder.
const CLIENT: &str = r#"
import base64, http.client, json, os, ssl, sys
from urllib.parse import urlsplit
url, folder = urlsplit(sys.argv[1]), sys.argv[3]
context = ssl.create_default_context(cafile=sys.argv[2])
def read(name):
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()
def b64(name):
    return base64.b64encode(read(name)).decode()
def post(path, body, kind="application/json"):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPSConnection(url.hostname, url.port, context=context, timeout=60)
    connection.request("POST", path, body, {"Content-Type": kind})
    connection.getresponse().read()
    connection.close()
def source(name, kind):
    return {"type": "base64", "media_type": kind, "data": b64(name)}
first = {"role": "user", "content": [
    {"type": "image", "source": source("picture", "image/jpeg")},
    {"type": "document", "source": source("paper", "application/pdf")},
    {"type": "text", "text": "What is in these? They are called picture and paper."}]}
post("/v1/messages", {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [first]})
notes = read("notes").decode().rstrip("\n")
post("/v1/messages", {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [first,
    {"role": "assistant", "content": "Both are small."},
    {"role": "user", "content": notes}]})
post("/v1/chat/completions", {"model": "gpt-4o-audio-preview", "messages": [{"role": "user", "content": [
    {"type": "input_audio", "input_audio": {"data": b64("sound"), "format": "wav"}},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64," + b64("picture")}}]}]})
boundary = "x1y2z3"
form = (f"--{boundary}\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n"
    f"--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"s.wav\"\r\n"
    "Content-Type: audio/wav\r\n\r\n").encode() + read("speech") + f"\r\n--{boundary}--\r\n".encode()
post("/v1/audio/transcriptions", form, f"multipart/form-data; boundary={boundary}")
"#;

/// A PNG of 640 by 480 pixels, as far as its head says; and bytes of its own.
fn png() -> Vec<u8> {
    let head = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x02\x80\0\0\x01\xe0\x08\x02\0\0\0";
    [&head[..], &[7; 5000]].concat()
}

/// Half a second of silence at 16,000 bytes a second; `last` is its last byte.
fn wav(last: u8) -> Vec<u8> {
    let mut bytes = b"RIFF\x64\x1f\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\x40\x1f\0\0"
        .to_vec();
    bytes.resize(bytes.len() + 7999, 0);
    bytes.push(last);
    bytes
}

#[track_caller]
fn part<'a>(call: &'a Call, mime_type: &str) -> &'a PartInfo {
    let mut parts = call.parts.iter();
    let found = parts.find(|part| part.mime_type.as_deref() == Some(mime_type));
    found.unwrap_or_else(|| panic!("no {mime_type} in {:?}", call.parts))
}

#[track_caller]
fn assert_read_from(session: &Recorded, site: &Site, part: &PartInfo, name: &str) {
    let path = site.work().join(name);
    let bytes = fs::read(&path).unwrap();
    assert_eq!(part.bytes, bytes.len() as u64, "{name}");
    assert_eq!(part.sha256, sha256_of(&path), "{name}");
    let file = part
        .file
        .as_ref()
        .unwrap_or_else(|| panic!("{name} is joined to no file"));
    assert_eq!(file.path, path.to_str().unwrap());
    let [action] = session.on_file("file.read", &path)[..] else {
        panic!("{name} was read once");
    };
    assert_eq!(action.process, file.process);
}

fn sha256_of(path: &std::path::Path) -> String {
    let output = std::process::Command::new("sha256sum")
        .arg(path)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()[..64].to_owned()
}

#[test]
#[ignore = "needs root"]
fn content_is_joined_to_the_files_that_it_came_from() {
    let server = ModelServer::start(Script::new([Turn::text("Both are small.")])).unwrap();
    let site = Site::new();
    for (name, bytes) in [
        ("picture", png()),
        ("paper", [b"%PDF-1.7\n".as_slice(), &[b'p'; 3000]].concat()),
        ("sound", wav(0)),
        ("speech", wav(1)),
        ("notes", b"what was noted, in a line of its own\n".to_vec()),
        // As long as another, and not sent.
        ("decoy", [b"%PDF-1.7\n".as_slice(), &[b'q'; 3000]].concat()),
    ] {
        fs::write(site.work().join(name), bytes).unwrap();
    }
    let ca = server.ca_pem_path().to_str().unwrap().to_owned();
    let folder = site.work().to_str().unwrap().to_owned();
    let client = [PYTHON, "-c", CLIENT, &server.url(), &ca, &folder];
    site.run(client).end().ok();

    let session = site.recorded();
    session.assert_nothing_dropped();
    let [look, notes, chat, form] = session.document.llm_calls.as_slice() else {
        panic!("not four calls: {:?}", session.document.llm_calls);
    };
    let picture = part(look, "image/png");
    assert_eq!(picture.declared_mime_type.as_deref(), Some("image/jpeg"));
    assert_eq!((picture.width, picture.height), (Some(640), Some(480)));
    assert_read_from(&session, &site, part(look, "application/pdf"), "paper");
    let sound = part(chat, "audio/wav");
    assert_eq!(sound.duration_ms, Some(500));
    assert_read_from(&session, &site, sound, "sound");
    assert_read_from(&session, &site, part(form, "audio/wav"), "speech");
    // Read once for each of two conversations, and sent in three calls; its source is recorded once.
    let path = site.work().join("picture");
    for picture in [picture, part(notes, "image/png"), part(chat, "image/png")] {
        let file = picture.file.as_ref().unwrap();
        assert_eq!(file.path, path.to_str().unwrap());
    }
    assert!(chat.sources.iter().all(|source| source.modality != "image"));

    let [text] = notes.sources.as_slice() else {
        panic!("{:?}", notes.sources);
    };
    let path = site.work().join("notes");
    assert_eq!((text.modality.as_str(), text.message), ("text", Some(2)));
    assert_eq!(json!(text.file.path), json!(path));
    assert_eq!(text.sha256, sha256_of(&path));
}
