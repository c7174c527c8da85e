//! Remembers from one session to the next what was found in which file.
//!
//! A file is known by device, inode, size and the times of its last changes; of these the time of the last change
//! of anything about it (`ctime`) cannot be set by who owns the file. What was changed a moment ago is not
//! remembered, as the next change may bear the same time. Findings are those of this very build of the program
//! only, so that a better locator starts afresh.
//!
//! The file is believed only if nobody but us can have written it: a wrong offset breaks the program that is
//! probed there. What is damaged, too large or of another build is as good as nothing.

use std::collections::HashMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Capabilities;
use crate::plan::Finding;

/// Files that are remembered; beyond it those that were not met for longest go.
const MAX_FILES: usize = 8192;
/// A larger cache is not read: 8192 files take 2 MB.
const MAX_BYTES: u64 = 32 << 20;
/// Changes of a file within the resolution of its times cannot be told apart. Some file systems have seconds.
const SETTLED: Duration = Duration::from_secs(2);
/// Bits of a mode by which others than the owner may write.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Device, inode, size, and time of the last change of the content and of the file, in s and ns.
type Key = (u64, u64, u64, (i64, i64), (i64, i64));

fn key_of(metadata: &Metadata) -> Key {
    (
        metadata.dev(),
        metadata.ino(),
        metadata.len(),
        (metadata.mtime(), metadata.mtime_nsec()),
        (metadata.ctime(), metadata.ctime_nsec()),
    )
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    key: Key,
    /// Number of the session in which it was met last.
    met: u64,
    finding: Finding,
}

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    build: String,
    session: u64,
    entries: Vec<Entry>,
}

/// What is remembered. The default one remembers nothing.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    path: Option<PathBuf>,
    build: String,
    session: u64,
    entries: HashMap<Key, (u64, Finding)>,
    is_changed: bool,
}

impl Cache {
    /// Reads what earlier sessions have left. Nothing is wrong if that is nothing.
    pub(crate) fn open(path: &Path, capabilities: Capabilities) -> Self {
        let Some(build) = build(capabilities) else {
            return Self::default();
        };
        let content = read(path).filter(|content| content.build == build);
        let (session, entries) = content.map_or((0, Vec::new()), |content| {
            (content.session.saturating_add(1), content.entries)
        });
        Self {
            path: Some(path.to_owned()),
            build,
            session,
            entries: entries
                .into_iter()
                .take(MAX_FILES)
                .map(|entry| (entry.key, (entry.met, entry.finding)))
                .collect(),
            is_changed: false,
        }
    }

    /// What was found in this file.
    pub(crate) fn recall(&mut self, metadata: &Metadata) -> Option<Finding> {
        let (met, finding) = self.entries.get_mut(&key_of(metadata))?;
        *met = self.session;
        Some(finding.clone())
    }

    /// Remembers what was found in this file, which was looked at after `metadata` was read.
    pub(crate) fn remember(&mut self, metadata: &Metadata, finding: Finding) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let changed = Duration::from_secs(u64::try_from(metadata.ctime()).unwrap_or(0));
        if self.path.is_none() || changed.saturating_add(SETTLED) > now {
            return;
        }
        self.entries
            .insert(key_of(metadata), (self.session, finding));
        self.is_changed = true;
    }

    /// Writes it, if there is anything new. A failure costs the next session the analysis, and nothing else.
    pub(crate) fn save(&mut self) {
        let Some(path) = self.path.as_deref().filter(|_| self.is_changed) else {
            return;
        };
        let mut entries: Vec<Entry> = self
            .entries
            .iter()
            .map(|(&key, (met, finding))| Entry {
                key,
                met: *met,
                finding: finding.clone(),
            })
            .collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.met));
        entries.truncate(MAX_FILES);
        let content = Content {
            build: self.build.clone(),
            session: self.session,
            entries,
        };
        self.is_changed = write(path, &content).is_err();
    }
}

/// Names this build of the program on this kernel: its file, and what can be probed.
fn build(capabilities: Capabilities) -> Option<String> {
    let program = fs::metadata("/proc/self/exe").ok()?;
    Some(format!(
        "{} {} {}.{} cookies={}",
        env!("CARGO_PKG_VERSION"),
        program.len(),
        program.mtime(),
        program.mtime_nsec(),
        capabilities.attach_cookie
    ))
}

/// Whether nobody but this user can have written it.
fn is_ours(metadata: &Metadata) -> bool {
    metadata.uid() == nix::unistd::geteuid().as_raw() && metadata.mode() & WRITABLE_BY_OTHERS == 0
}

fn read(path: &Path) -> Option<Content> {
    if !is_ours(&fs::metadata(path.parent()?).ok()?) {
        return None;
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .ok()?;
    let metadata = file.metadata().ok()?;
    if !is_ours(&metadata) || !metadata.is_file() || metadata.len() > MAX_BYTES {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    let at = bytes.iter().position(|&byte| byte == b'\n')?;
    let (sum, content) = (bytes.get(..at)?, bytes.get(at + 1..)?);
    if sum != checksum(content).as_bytes() {
        return None;
    }
    serde_json::from_slice(content).ok()
}

/// Appears whole or not at all.
fn write(path: &Path, content: &Content) -> io::Result<()> {
    let content = serde_json::to_vec(content)?;
    let draft = path.with_extension(format!("{}", std::process::id()));
    let result = write_draft(&draft, &content).and_then(|()| fs::rename(&draft, path));
    if result.is_err() {
        let _ = fs::remove_file(&draft);
    }
    result
}

fn write_draft(draft: &Path, content: &[u8]) -> io::Result<()> {
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)?;
    file.write_all(checksum(content).as_bytes())?;
    file.write_all(b"\n")?;
    file.write_all(content)
}

fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{FileTimes, Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    use agentsight_tls::HookKind;

    use super::*;
    use crate::plan::Plan;

    fn plan() -> Finding {
        Finding::Plan(Plan {
            openssl: vec![(HookKind::ReadEx, 0x1000)],
            functions: vec!["SSL_read_ex".into()],
            stacks: vec!["openssl".into()],
            ..Plan::default()
        })
    }

    /// A file that has not been changed for long enough.
    fn settled() -> Metadata {
        fs::metadata("/proc/self/exe").unwrap()
    }

    fn open(path: &Path) -> Cache {
        Cache::open(path, Capabilities::default())
    }

    /// A cache that knows one file.
    fn saved(folder: &Path) -> PathBuf {
        let path = folder.join("cache");
        let mut cache = open(&path);
        cache.entries.insert(key_of(&settled()), (0, plan()));
        cache.is_changed = true;
        cache.save();
        path
    }

    #[test]
    fn what_is_remembered_is_recalled_in_the_next_session() {
        let folder = tempfile::tempdir().unwrap();
        let path = saved(folder.path());
        assert_eq!(open(&path).recall(&settled()), Some(plan()));
    }

    #[test]
    fn a_file_that_was_just_changed_is_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("program");
        fs::write(&file, "x").unwrap();
        // Its owner may say that it is old.
        let old = FileTimes::new().set_modified(UNIX_EPOCH + SETTLED);
        File::open(&file).unwrap().set_times(old).unwrap();
        let metadata = fs::metadata(&file).unwrap();
        let mut cache = open(&folder.path().join("cache"));
        cache.remember(&metadata, plan());
        assert_eq!(cache.recall(&metadata), None);
    }

    #[test]
    fn what_may_not_be_believed_is_nothing() {
        type Damage = fn(&Path);
        let damage: [(&str, Damage); 6] = [
            ("damaged", |path| {
                let mut bytes = fs::read(path).unwrap();
                let last = bytes.len() - 10;
                bytes[last] ^= 1;
                fs::write(path, bytes).unwrap();
            }),
            ("cut", |path| {
                let bytes = fs::read(path).unwrap();
                fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
            }),
            ("empty", |path| fs::write(path, "").unwrap()),
            ("writable by others", |path| {
                set_permissions(path, Permissions::from_mode(0o666)).unwrap();
            }),
            ("in a folder that others may write to", |path| {
                set_permissions(path.parent().unwrap(), Permissions::from_mode(0o777)).unwrap();
            }),
            ("a link", |path| {
                let other = path.with_extension("other");
                fs::rename(path, &other).unwrap();
                std::os::unix::fs::symlink(other, path).unwrap();
            }),
        ];
        for (what, damage) in damage {
            let folder = tempfile::tempdir().unwrap();
            let path = saved(folder.path());
            damage(&path);
            assert_eq!(open(&path).recall(&settled()), None, "{what}");
        }
    }

    #[test]
    fn another_build_starts_afresh() {
        let folder = tempfile::tempdir().unwrap();
        let path = saved(folder.path());
        let other = Capabilities {
            attach_cookie: true,
            ..Capabilities::default()
        };
        assert_eq!(Cache::open(&path, other).recall(&settled()), None);
    }

    #[test]
    fn those_that_were_not_met_for_longest_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        let mut cache = open(&path);
        for number in 0..MAX_FILES as u64 + 1 {
            let key = (0, number, 0, (0, 0), (0, 0));
            cache.entries.insert(key, (number, Finding::Nothing));
        }
        cache.is_changed = true;
        cache.save();
        let cache = open(&path);
        assert_eq!(cache.entries.len(), MAX_FILES);
        assert!(!cache.entries.contains_key(&(0, 0, 0, (0, 0), (0, 0))));
    }
}
