//! Writes the archive that a kernel unpacks into its first file system (cpio, "newc";
//! Documentation/driver-api/early-userspace/buffer-format.rst).

use std::collections::BTreeSet;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const DEVICE: u32 = 0o020_600;

/// An archive in the making.
#[derive(Default)]
pub(super) struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
    folders: BTreeSet<String>,
}

impl Cpio {
    /// Adds a folder, and those that it lies in.
    pub(super) fn folder(&mut self, path: &str) {
        if path.is_empty() || !self.folders.insert(path.to_owned()) {
            return;
        }
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.folder(parent);
        }
        self.entry(path, FOLDER, &[], (0, 0));
    }

    /// Adds an executable file.
    pub(super) fn program(&mut self, path: &str, content: &[u8]) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.folder(parent);
        }
        self.entry(path, PROGRAM, content, (0, 0));
    }

    /// Adds a character device.
    pub(super) fn device(&mut self, path: &str, number: (u32, u32)) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.folder(parent);
        }
        self.entry(path, DEVICE, &[], number);
    }

    /// The archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[], (0, 0));
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8], device: (u32, u32)) {
        self.entries += 1;
        let name_bytes = path.len() + 1;
        let fields = [
            self.entries as usize, // inode
            mode as usize,
            0, // user
            0, // group
            1, // links
            0, // time
            content.len(),
            0, // device that holds it
            0,
            device.0 as usize,
            device.1 as usize,
            name_bytes,
            0, // checksum, which this form does not use
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_has_its_folders_first_and_each_once() {
        let mut archive = Cpio::default();
        archive.program("a/b/one", b"1");
        archive.program("a/b/two", b"22");
        archive.folder("a");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let names: Vec<&str> = text
            .split("070701")
            .skip(1)
            .map(|entry| entry[104..].split('\0').next().unwrap())
            .collect();
        assert_eq!(names, ["a", "a/b", "a/b/one", "a/b/two", "TRAILER!!!"]);
        // magic, inode, mode
        assert!(text.starts_with("07070100000001000041ed"), "{text}");
    }
}
