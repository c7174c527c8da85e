//! Reads files and compares them with the content of a call. Runs in a thread of its own.

use std::collections::HashMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use agentsight_model::{ContentSource, Event, SourceFile};
use nix::fcntl::OFlag;
use nix::sys::stat::{major, minor};
use sha2::{Digest, Sha256};

use super::{Inode, Job, Sum, record};

/// Longest file that is read, and most that is read for one call.
const MAX_FILE_BYTES: u64 = 32 << 20;
const MAX_CALL_BYTES: u64 = 64 << 20;

/// Compares the files with what is wanted.
pub(super) fn answer(job: &Job) -> Event {
    let mut by_length: HashMap<u64, Vec<(&Sum, usize)>> = HashMap::new();
    for (position, wanted) in job.wanted.iter().enumerate() {
        for (bytes, sum) in &wanted.forms {
            by_length.entry(*bytes).or_default().push((sum, position));
        }
    }
    let mut sources: Vec<Option<ContentSource>> = vec![None; job.wanted.len()];
    let mut left = MAX_CALL_BYTES;
    for (inode, read) in &job.files {
        let Some((file, length)) = pinned(&read.path, *inode) else {
            continue;
        };
        let Some(candidates) = by_length.get(&length) else {
            continue;
        };
        let open =
            |(_, position): &&(&Sum, usize)| sources.get(*position).is_some_and(Option::is_none);
        if candidates.iter().find(open).is_none() || length > MAX_FILE_BYTES.min(left) {
            continue;
        }
        left = left.saturating_sub(length);
        let Some(sum) = sum_of_file(&file, length) else {
            continue;
        };
        for (_, position) in candidates.iter().filter(|(wanted, _)| **wanted == sum) {
            let (Some(slot), Some(wanted)) =
                (sources.get_mut(*position), job.wanted.get(*position))
            else {
                continue;
            };
            slot.get_or_insert_with(|| ContentSource {
                modality: wanted.modality.clone(),
                bytes: length,
                sha256: hexadecimal(&sum),
                message: wanted.message,
                file: SourceFile {
                    path: read.path.to_string(),
                    dev: inode.0,
                    ino: inode.1,
                    process: read.process,
                },
            });
        }
    }
    let sources = sources.into_iter().flatten().collect();
    record(&job.call, job.time, job.process, sources, 0)
}

/// A descriptor that names the regular file with that inode, if it is still at its path, and its length.
fn pinned(path: &str, inode: Inode) -> Option<(File, u64)> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(path)
        .ok()?;
    let metadata = file.metadata().ok()?;
    (metadata.is_file() && inode_of(&metadata) == inode).then_some((file, metadata.len()))
}

pub(super) fn inode_of(metadata: &Metadata) -> Inode {
    let dev = metadata.dev();
    (major(dev) << 20 | minor(dev), metadata.ino())
}

/// The digest of a pinned file, if it has that length.
fn sum_of_file(pinned: &File, length: u64) -> Option<Sum> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits())
        .open(format!("/proc/self/fd/{}", pinned.as_raw_fd()))
        .ok()?;
    let mut hasher = Sha256::new();
    let mut rest = file.take(length.saturating_add(1));
    let mut buffer = vec![0; 64 << 10];
    let mut total = 0_u64;
    loop {
        let count = rest.read(&mut buffer).ok()?;
        if count == 0 {
            break;
        }
        total = total.saturating_add(count as u64);
        hasher.update(buffer.get(..count)?);
    }
    (total == length).then(|| hasher.finalize().into())
}

pub(super) fn sum_of(hexadecimal: &str) -> Option<Sum> {
    let mut sum = Sum::default();
    if hexadecimal.len() != 2 * sum.len() {
        return None;
    }
    for (position, byte) in sum.iter_mut().enumerate() {
        let digits = hexadecimal.get(2 * position..2 * position + 2)?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(sum)
}

pub(super) fn hexadecimal(sum: &Sum) -> String {
    use std::fmt::Write as _;
    sum.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
