//! The table of files, and what is compared with what.

use agentsight_model::{Access, FileRef, PartInfo, TextDigest};

use std::os::unix::fs::MetadataExt;

use sha2::{Digest, Sha256};

use super::compare::{hexadecimal, inode_of};
use super::*;

fn opening(path: &std::path::Path) -> FileOpen {
    let metadata = std::fs::symlink_metadata(path).unwrap();
    let (dev, ino) = inode_of(&metadata);
    FileOpen {
        use_id: 1,
        file: FileRef {
            path: path.to_str().unwrap().to_owned(),
            dev,
            ino,
            mode: metadata.mode(),
            ..FileRef::default()
        },
        access: Access {
            read: true,
            ..Access::default()
        },
        inherited: false,
    }
}

fn text(content: &str) -> TextDigest {
    TextDigest {
        message: 3,
        bytes: content.len() as u64,
        sha256: Sha256::digest(content).into(),
        with_line_feed: Sha256::digest(format!("{content}\n")).into(),
    }
}

fn call(texts: Vec<TextDigest>) -> LlmCall {
    let body = serde_json::json!({
        "bytes": 0, "sha256": "", "wire_bytes": 0, "encoding": null, "complete": true,
    });
    let mut call: LlmCall = serde_json::from_value(serde_json::json!({
        "id": "llm-1", "provider": "p", "api": "a", "model": null, "request_model": null,
        "operation": "chat", "process": ProcessKey::default(), "endpoint": "",
        "transport": "http/1.1", "status": 200, "started": 1, "first_byte": null, "ended": 2,
        "complete": true,
        "request": {"messages": [], "system": [], "tools": [], "parameters": {}, "body": body},
        "response": {"messages": [], "id": null, "body": body},
        "finish_reasons": [], "usage": agentsight_model::Usage::default(),
    }))
    .unwrap();
    call.texts = texts;
    call
}

fn sources(lineage: &mut Lineage) -> Vec<ContentSource> {
    let found = lineage.finish().into_iter();
    found
        .flat_map(|event| match event.body {
            EventBody::LlmSources(found) => found.sources,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_text_is_joined_to_the_file_that_holds_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "what was noted, in a line of its own\n").unwrap();
    let mut lineage = Lineage::default();
    lineage.opened(ProcessKey::default(), &opening(&path));
    let content = "what was noted, in a line of its own";
    assert!(
        lineage
            .ask(KTime(1), &mut call(vec![text(content)]))
            .is_none()
    );
    // The next request repeats it.
    assert!(
        lineage
            .ask(KTime(2), &mut call(vec![text(content)]))
            .is_none()
    );
    let found = sources(&mut lineage);
    let [source] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!((source.message, source.bytes), (Some(3), 37));
    assert_eq!(source.file.path, path.to_str().unwrap());
}

#[test]
fn a_picture_is_found_although_it_was_seen_before_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("drawn.png");
    let other = folder.path().join("other");
    for path in [&path, &other] {
        std::fs::write(path, path.as_os_str().as_encoded_bytes()).unwrap();
    }
    let content = path.as_os_str().as_encoded_bytes();
    let mut shown = call(Vec::new());
    shown.parts = vec![PartInfo {
        modality: "image".to_owned(),
        bytes: content.len() as u64,
        sha256: hexadecimal(&Sha256::digest(content).into()),
        ..PartInfo::default()
    }];
    let mut lineage = Lineage::default();
    lineage.opened(ProcessKey::default(), &opening(&other));
    lineage.ask(KTime(1), &mut shown);
    lineage.opened(ProcessKey::default(), &opening(&path));
    lineage.ask(KTime(2), &mut shown);
    let mut found = Vec::new();
    while found.is_empty() {
        found = lineage.take();
        std::thread::yield_now();
    }
    let [Event { body, .. }] = found.as_slice() else {
        panic!("{found:?}")
    };
    let EventBody::LlmSources(body) = body else {
        panic!("{body:?}")
    };
    assert_eq!(body.sources[0].file.path, path.to_str().unwrap());
    // What was found is not looked for again, nor told twice if it was asked for twice.
    lineage.ask(KTime(3), &mut shown);
    assert!(sources(&mut lineage).is_empty());
    let mut lineage = Lineage::default();
    lineage.opened(ProcessKey::default(), &opening(&path));
    for time in [KTime(1), KTime(2)] {
        lineage.ask(time, &mut shown);
    }
    assert_eq!(sources(&mut lineage).len(), 1);
}

#[test]
fn only_the_file_that_was_opened_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (path, secret) = (folder.path().join("a"), folder.path().join("secret"));
    let content = "the same words are in both of the files";
    std::fs::write(&path, content).unwrap();
    std::fs::write(&secret, content).unwrap();
    for swap in ["link", "file", "fifo"] {
        let opened = opening(&path);
        // It goes on to exist, so that its inode is nobody else's.
        std::fs::rename(&path, folder.path().join(swap)).unwrap();
        match swap {
            "link" => std::os::unix::fs::symlink(&secret, &path).unwrap(),
            "fifo" => nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            _ => std::fs::copy(&secret, &path).map(|_| ()).unwrap(),
        }
        let mut lineage = Lineage::default();
        lineage.opened(ProcessKey::default(), &opened);
        lineage.ask(KTime(1), &mut call(vec![text(content)]));
        assert!(sources(&mut lineage).is_empty(), "{swap}");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, content).unwrap();
    }
}

#[test]
fn files_are_forgotten_when_there_are_too_many() {
    let mut lineage = Lineage::default();
    for ino in 0..(MAX_FILES as u64 + 100) {
        let file = FileRef {
            path: "/x".to_owned(),
            dev: 1,
            ino: ino % (MAX_FILES as u64 + 50),
            mode: 0o100_644,
            ..FileRef::default()
        };
        let access = Access {
            read: true,
            ..Access::default()
        };
        let open = FileOpen {
            use_id: 1,
            file,
            access,
            inherited: false,
        };
        lineage.opened(ProcessKey::default(), &open);
    }
    assert_eq!(
        (lineage.files.len(), lineage.by_age.len()),
        (MAX_FILES, MAX_FILES)
    );
}
