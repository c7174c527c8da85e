//! Attaches TLS probes to programs and libraries, each file once.
//!
//! Probes belong to the file, not to a process: the kernel side looks at the watched processes only. A
//! file is known by device and inode, so it does not matter under which name, in which mount namespace
//! or container it is used.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use agentsight_tls::{Hook, HookKind, Located, Options};
use libbpf_rs::{Link, ProgramMut, UprobeMultiOpts, UprobeOpts};

use crate::skeleton::AgentsightSkel;
use crate::{Capabilities, ProbeError};

/// A file to which probes are attached.
#[derive(Debug)]
pub struct AttachedImage {
    /// The path by which it was first seen.
    pub path: PathBuf,
    /// TLS stacks found in it, by name.
    pub stacks: Vec<String>,
    /// Functions probed.
    pub functions: Vec<String>,
    links: Vec<Link>,
}

impl AttachedImage {
    /// Number of kernel links that hold the probes.
    #[must_use]
    pub fn link_count(&self) -> usize {
        self.links.len()
    }
}

/// What came of looking at a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageReport {
    /// It holds no TLS code, as far as can be told, or was looked at before.
    Nothing,
    /// Probes were attached to so many functions.
    Attached(usize),
    /// It holds TLS code of which some or all cannot be read; why.
    Blind(String),
}

#[derive(Default)]
pub(crate) struct Images {
    seen: HashMap<(u64, u64), Option<AttachedImage>>,
    /// Files with TLS code that could not be read, and why.
    blind: Vec<(PathBuf, String)>,
}

impl Images {
    pub(crate) fn attached(&self) -> impl Iterator<Item = &AttachedImage> {
        self.seen.values().flatten()
    }

    pub(crate) fn blind(&self) -> &[(PathBuf, String)] {
        &self.blind
    }

    /// Looks at a file and attaches to what is found. `name` is its path for people to read.
    pub(crate) fn consider(
        &mut self,
        skeleton: &AgentsightSkel<'static>,
        capabilities: Capabilities,
        open_path: &Path,
        name: &Path,
    ) -> Result<ImageReport, ProbeError> {
        // A file that is gone again was used by a process that is gone again.
        let Ok(file) = File::open(open_path) else {
            return Ok(ImageReport::Nothing);
        };
        let Ok(metadata) = file.metadata() else {
            return Ok(ImageReport::Nothing);
        };
        let identity = (metadata.dev(), metadata.ino());
        if !metadata.is_file() || self.seen.contains_key(&identity) {
            return Ok(ImageReport::Nothing);
        }
        self.seen.insert(identity, None);
        if !agentsight_tls::maybe_tls(&file).unwrap_or(false) {
            return Ok(ImageReport::Nothing);
        }
        let located = match agentsight_tls::locate(&file, &Options::default()) {
            Ok(located) => located,
            Err(error) => return Ok(self.note_blind(name, error.to_string())),
        };
        let hooks: Vec<(&str, &Hook)> = usable(&located).collect();
        if hooks.is_empty() {
            return Ok(ImageReport::Nothing);
        }
        let image = attach(skeleton, capabilities, &file, name, &hooks)?;
        let count = image.functions.len();
        self.seen.insert(identity, Some(image));
        Ok(ImageReport::Attached(count))
    }

    fn note_blind(&mut self, name: &Path, reason: String) -> ImageReport {
        self.blind.push((name.to_owned(), reason.clone()));
        ImageReport::Blind(reason)
    }
}

/// The programs that a kind of hook takes: at entry, and at return.
enum Probes {
    Entry,
    EntryAndReturn,
}

fn probes_for(kind: HookKind) -> Option<Probes> {
    match kind {
        HookKind::ReadReturn
        | HookKind::WriteReturn
        | HookKind::ReadEx
        | HookKind::WriteEx
        | HookKind::WriteEx2
        | HookKind::Handshake => Some(Probes::EntryAndReturn),
        HookKind::Free => Some(Probes::Entry),
        _ => None,
    }
}

/// Hooks of the OpenSSL family, whose functions follow the C calling convention and take the object first.
fn usable(located: &Located) -> impl Iterator<Item = (&'static str, &Hook)> {
    located
        .stacks
        .iter()
        .filter(|report| matches!(report.stack.as_str(), "openssl" | "boringssl"))
        .flat_map(|report| {
            report
                .hooks
                .iter()
                .map(move |hook| (report.stack.as_str(), hook))
        })
        .filter(|(_, hook)| probes_for(hook.kind).is_some())
}

fn attach(
    skeleton: &AgentsightSkel<'static>,
    capabilities: Capabilities,
    file: &File,
    name: &Path,
    hooks: &[(&str, &Hook)],
) -> Result<AttachedImage, ProbeError> {
    // The kernel opens the file by this path, so it gets the very file that was looked at.
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let programs = &skeleton.progs;
    let offsets = |wanted: &[HookKind]| -> Vec<usize> {
        let mut offsets: Vec<usize> = hooks
            .iter()
            .filter(|(_, hook)| wanted.contains(&hook.kind))
            .filter_map(|(_, hook)| usize::try_from(hook.file_offset).ok())
            .collect();
        offsets.sort_unstable();
        offsets.dedup();
        offsets
    };
    let returning = [
        HookKind::ReadReturn,
        HookKind::WriteReturn,
        HookKind::ReadEx,
        HookKind::WriteEx,
        HookKind::WriteEx2,
    ];
    // Returns first: an entry without its return leaves a call open, the other way round nothing happens.
    let plan: [(&ProgramMut<'_>, bool, &[HookKind]); 9] = [
        (&programs.tls_return, true, &returning),
        (&programs.tls_handshake_return, true, &[HookKind::Handshake]),
        (&programs.tls_read_enter, false, &[HookKind::ReadReturn]),
        (&programs.tls_read_ex_enter, false, &[HookKind::ReadEx]),
        (&programs.tls_write_enter, false, &[HookKind::WriteReturn]),
        (&programs.tls_write_ex_enter, false, &[HookKind::WriteEx]),
        (&programs.tls_write_ex2_enter, false, &[HookKind::WriteEx2]),
        (&programs.tls_handshake_enter, false, &[HookKind::Handshake]),
        (&programs.tls_free, false, &[HookKind::Free]),
    ];
    let mut links = Vec::new();
    for (program, retprobe, kinds) in plan {
        let offsets = offsets(kinds);
        if !offsets.is_empty() {
            attach_one(program, retprobe, &path, &offsets, capabilities, &mut links).map_err(
                ProbeError::kernel(format!("attach TLS probes to {}", name.display())),
            )?;
        }
    }
    let mut stacks: Vec<String> = hooks.iter().map(|(stack, _)| (*stack).to_owned()).collect();
    stacks.dedup();
    Ok(AttachedImage {
        path: name.to_owned(),
        stacks,
        functions: hooks
            .iter()
            .map(|(_, hook)| hook.function.to_string())
            .collect(),
        links,
    })
}

fn attach_one(
    program: &ProgramMut<'_>,
    retprobe: bool,
    path: &Path,
    offsets: &[usize],
    capabilities: Capabilities,
    links: &mut Vec<Link>,
) -> Result<(), libbpf_rs::Error> {
    const EVERY_PROCESS: i32 = -1; // The kernel side looks at the watched ones only.
    if capabilities.uprobe_multi {
        let options = UprobeMultiOpts {
            offsets: offsets.to_vec(),
            retprobe,
            ..UprobeMultiOpts::default()
        };
        links.push(program.attach_uprobe_multi_with_opts(EVERY_PROCESS, path, "", options)?);
        return Ok(());
    }
    for &offset in offsets {
        let options = UprobeOpts {
            retprobe,
            ..UprobeOpts::default()
        };
        links.push(program.attach_uprobe_with_opts(EVERY_PROCESS, path, offset, options)?);
    }
    Ok(())
}

/// Shared TLS libraries in the places where the dynamic linker looks first, so that they are probed
/// before a short-lived program that uses them has started.
pub(crate) fn well_known_libraries() -> Vec<PathBuf> {
    const FOLDERS: &[&str] = &[
        "/lib",
        "/lib64",
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/local/lib64",
    ];
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(PathBuf::from).collect();
    for base in ["/lib", "/usr/lib"] {
        folders.extend(
            entries(Path::new(base)).filter(|path| path.to_string_lossy().ends_with("-linux-gnu")),
        );
    }
    folders
        .iter()
        .flat_map(|folder| entries(folder))
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("libssl.so"))
        })
        .collect()
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}
