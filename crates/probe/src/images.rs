//! Attaches TLS probes to programs and libraries, each file once.
//!
//! Probes belong to the file, not to a process: the kernel side looks at the watched processes only. A
//! file is known by device and inode, so it does not matter under which name, in which mount namespace
//! or container it is used.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, Metadata, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use agentsight_bpf::AgentsightSkel;
use agentsight_tls::HookKind;
use libbpf_rs::{Link, MapCore, MapFlags, ProgramMut, UprobeMultiOpts, UprobeOpts};
use zerocopy::IntoBytes;

use crate::cache::Cache;
use crate::hooks::{Description, Returns};
use crate::plan::{Finding, Plan, analyse};
use crate::{Capabilities, ProbeError};

/// Functions that the kernel side can be told about (`bpf/hooks.bpf.c`).
const MAX_HOOKS: u32 = 4096;

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
    /// Numbers by which the kernel side knows those of its functions that it was told about.
    cookies: Vec<u32>,
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

/// A file that was looked at.
struct Seen {
    version: Version,
    image: Option<AttachedImage>,
}

/// After probes were attached once more, they are not again before this time.
const ATTACHED_LONG_ENOUGH: Duration = Duration::from_secs(1);
/// Files of which that time is remembered.
const MAX_ATTACHED_AGAIN: usize = 1024;

/// Tells whether a file is still the one that was looked at: its size, and when its content was last changed. Not
/// when it was last renamed, linked or removed, which changes nothing. That the watched tree writes it is told
/// apart from this, whatever it says of the time.
type Version = (u64, i64, i64);

fn version_of(metadata: &Metadata) -> Version {
    (metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

#[derive(Default)]
pub(crate) struct Images {
    /// By device and inode.
    seen: HashMap<(u64, u64), Seen>,
    /// When probes were attached once more.
    attached_again: HashMap<(u64, u64), Instant>,
    /// Files with TLS code that could not be read, and why.
    blind: Vec<(PathBuf, String)>,
    /// Functions described to the kernel side so far.
    cookie_count: u32,
    free_cookies: VecDeque<u32>,
    cache: Cache,
}

impl Images {
    pub(crate) fn attached(&self) -> impl Iterator<Item = &AttachedImage> {
        self.seen.values().filter_map(|seen| seen.image.as_ref())
    }

    /// A file was opened for writing. Its probes go at once: where they lie there may soon be other code, and
    /// whatever it is, a probe in the middle of an instruction would break it.
    pub(crate) fn forget(&mut self, identity: (u64, u64)) {
        if let Some(image) = self.seen.remove(&identity).and_then(|seen| seen.image) {
            self.free_cookies.extend(image.cookies);
        }
    }

    /// Whether the file has probes that are to be attached once more; then it has them no longer. Not again within
    /// [`ATTACHED_LONG_ENOUGH`]: who takes them out as fast as we put them in is dark.
    pub(crate) fn is_to_be_attached_again(&mut self, path: &Path) -> bool {
        let Some((_, metadata)) = open_path(path) else {
            return false;
        };
        let identity = (metadata.dev(), metadata.ino());
        let has_probes = self
            .seen
            .get(&identity)
            .is_some_and(|seen| seen.image.is_some());
        let is_recent = self
            .attached_again
            .get(&identity)
            .is_some_and(|time| time.elapsed() < ATTACHED_LONG_ENOUGH);
        if !has_probes || is_recent {
            return false;
        }
        if self.attached_again.len() >= MAX_ATTACHED_AGAIN {
            self.attached_again.clear();
        }
        self.attached_again.insert(identity, Instant::now());
        self.forget(identity);
        true
    }

    /// A number for a function: one that was never used while there are any, else the one freed first, as calls
    /// may have been going on when it was freed.
    fn new_cookie(&mut self) -> u32 {
        if self.cookie_count < MAX_HOOKS {
            self.cookie_count += 1;
            return self.cookie_count - 1;
        }
        // Without any the kernel refuses the next one, and that is told.
        self.free_cookies.pop_front().unwrap_or(MAX_HOOKS)
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
        let Some((file, metadata)) = open_regular(open_path) else {
            return Ok(ImageReport::Nothing);
        };
        let identity = (metadata.dev(), metadata.ino());
        let version = version_of(&metadata);
        if self
            .seen
            .get(&identity)
            .is_some_and(|seen| seen.version == version)
        {
            return Ok(ImageReport::Nothing);
        }
        self.forget(identity);
        let image = None;
        self.seen.insert(identity, Seen { version, image });
        let plan = match self.finding(&file, &metadata, capabilities) {
            Finding::Nothing => return Ok(ImageReport::Nothing),
            Finding::Blind(reason) => return Ok(self.note_blind(name, reason)),
            Finding::Plan(plan) => plan,
        };
        let image = self.attach(skeleton, capabilities, &file, name, plan)?;
        let count = image.functions.len();
        let image = Some(image);
        self.seen.insert(identity, Seen { version, image });
        Ok(ImageReport::Attached(count))
    }

    /// What an earlier session found, or what is found.
    fn finding(&mut self, file: &File, metadata: &Metadata, capabilities: Capabilities) -> Finding {
        if let Some(finding) = self.cache.recall(metadata) {
            return finding;
        }
        match analyse(file, capabilities) {
            Ok(finding) => {
                self.cache.remember(metadata, finding.clone());
                finding
            }
            Err(error) => Finding::Blind(error.to_string()),
        }
    }

    /// Findings are kept in this file from one session to the next.
    pub(crate) fn remember_in(&mut self, path: &Path, capabilities: Capabilities) {
        self.cache = Cache::open(path, capabilities);
    }

    /// Detaches everything, and saves what is remembered.
    pub(crate) fn detach(&mut self) {
        self.seen.clear();
        self.cache.save();
    }

    fn attach(
        &mut self,
        skeleton: &AgentsightSkel<'static>,
        capabilities: Capabilities,
        file: &File,
        name: &Path,
        plan: Plan,
    ) -> Result<AttachedImage, ProbeError> {
        // The kernel opens the file by this path, so it gets the very file that was looked at.
        let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let action = format!("attach TLS probes to {}", name.display());
        let (mut described, mut cookies) = (Vec::new(), Vec::new());
        for description in &plan.described {
            let cookie = self.new_cookie();
            skeleton
                .maps
                .tls_hooks
                .update(cookie.as_bytes(), &description.hook, MapFlags::ANY)
                .map_err(ProbeError::kernel(action.as_str()))?;
            cookies.push(cookie);
            described.push((u64::from(cookie), description));
        }
        let mut links = Vec::new();
        let placements = openssl_placements(skeleton, &plan.openssl)
            .into_iter()
            .chain(described_placements(skeleton, &described));
        for placement in placements.filter(|placement| !placement.offsets.is_empty()) {
            attach_one(&placement, &path, capabilities, &mut links)
                .map_err(ProbeError::kernel(action.as_str()))?;
        }
        Ok(AttachedImage {
            path: name.to_owned(),
            stacks: plan.stacks,
            functions: plan.functions,
            links,
            cookies,
        })
    }

    fn note_blind(&mut self, name: &Path, reason: String) -> ImageReport {
        self.blind.push((name.to_owned(), reason.clone()));
        ImageReport::Blind(reason)
    }
}

/// Opens a regular file for reading, and nothing else: a pipe would hold us up, a device may act when it is
/// opened, and the path may come from a command line.
pub(crate) fn open_regular(path: &Path) -> Option<(File, Metadata)> {
    let (found, metadata) = open_path(path)?;
    let file = File::open(format!("/proc/self/fd/{}", found.as_raw_fd())).ok()?;
    Some((file, metadata))
}

/// The same, only to name the file.
pub(crate) fn open_path(path: &Path) -> Option<(File, Metadata)> {
    let found = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(path)
        .ok()?;
    let metadata = found.metadata().ok().filter(Metadata::is_file)?;
    Some((found, metadata))
}

fn openssl_offsets(hooks: &[(HookKind, u64)], wanted: &[HookKind]) -> Vec<usize> {
    let mut offsets: Vec<usize> = hooks
        .iter()
        .filter(|(kind, _)| wanted.contains(kind))
        .filter_map(|&(_, offset)| usize::try_from(offset).ok())
        .collect();
    offsets.sort_unstable();
    offsets.dedup();
    offsets
}

/// Where one program goes, and the cookies by which it knows where it is.
struct Placement<'a> {
    program: &'a ProgramMut<'a>,
    retprobe: bool,
    offsets: Vec<usize>,
    cookies: Vec<u64>,
}

fn openssl_placements<'a>(
    skeleton: &'a AgentsightSkel<'static>,
    hooks: &[(HookKind, u64)],
) -> Vec<Placement<'a>> {
    let programs = &skeleton.progs;
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
    plan.into_iter()
        .map(|(program, retprobe, kinds)| Placement {
            program,
            retprobe,
            offsets: openssl_offsets(hooks, kinds),
            cookies: Vec::new(),
        })
        .collect()
}

fn described_placements<'a>(
    skeleton: &'a AgentsightSkel<'static>,
    described: &[(u64, &Description)],
) -> Vec<Placement<'a>> {
    let programs = &skeleton.progs;
    let place = |program, retprobe, places: Vec<(usize, u64)>| {
        let (offsets, cookies) = places.into_iter().unzip();
        Placement {
            program,
            retprobe,
            offsets,
            cookies,
        }
    };
    let entries = described
        .iter()
        .map(|(cookie, description)| (description.entry, *cookie))
        .collect();
    let probes = described
        .iter()
        .filter(|(_, description)| description.returns == Returns::Probe)
        .map(|(cookie, description)| (description.entry, *cookie))
        .collect();
    let instructions = described
        .iter()
        .flat_map(|(cookie, description)| match &description.returns {
            Returns::Instructions(offsets) => {
                offsets.iter().map(|&offset| (offset, *cookie)).collect()
            }
            _ => Vec::new(),
        })
        .collect();
    vec![
        place(&programs.hook_return, true, probes),
        place(&programs.hook_return_instruction, false, instructions),
        place(&programs.hook_enter, false, entries),
    ]
}

fn attach_one(
    placement: &Placement<'_>,
    path: &Path,
    capabilities: Capabilities,
    links: &mut Vec<Link>,
) -> Result<(), libbpf_rs::Error> {
    const EVERY_PROCESS: i32 = -1; // The kernel side looks at the watched ones only.
    let Placement {
        program, retprobe, ..
    } = *placement;
    if capabilities.uprobe_multi {
        let options = UprobeMultiOpts {
            offsets: placement.offsets.clone(),
            cookies: placement.cookies.clone(),
            retprobe,
            ..UprobeMultiOpts::default()
        };
        links.push(program.attach_uprobe_multi_with_opts(EVERY_PROCESS, path, "", options)?);
        return Ok(());
    }
    for (index, &offset) in placement.offsets.iter().enumerate() {
        let options = UprobeOpts {
            retprobe,
            cookie: placement.cookies.get(index).copied().unwrap_or(0),
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
    const NAMES: &[&str] = &["libssl.so", "libgnutls.so"];
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
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            NAMES.iter().any(|known| name.starts_with(known))
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
