//! The sensor: programs loaded and attached, rings open.

use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentsight_model::ProcessKey;
use agentsight_wire::{
    EV_IMAGE_MAPPED, EV_PROCESS_EXEC, EV_PROCESS_EXIT, REC_NEW_IMAGE, image_mapped_rec,
    process_item, rec_header,
};
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Iter, Link, MapHandle, MapType, ProgramAttachType, TracepointCategory};
use zerocopy::FromBytes;

use crate::capability::IoUring;
pub use crate::control::Totals;
use crate::control::{KernelControl, Sweeper};
use crate::hold::{Holder, descriptor_path};
use crate::images::{AttachedImage, Images, well_known_libraries};
use crate::process::{RunningProcess, tree_of};
use crate::rings::Rings;
use crate::{Capabilities, ProbeError, process, syscalls};
use agentsight_bpf::{AgentsightSkel, AgentsightSkelBuilder, OpenAgentsightSkel};

/// Kernel programs at work. Dropping it detaches them.
pub struct Sensor {
    // Field order is drop order: nothing may fire into rings that are gone.
    holder: Option<Holder>,
    images: Images,
    links: Vec<Link>,
    rings: Rings,
    sweeper: Sweeper,
    /// Records up to this time have been handed on.
    released_until_ns: u64,
    capabilities: Capabilities,
    skeleton: AgentsightSkel<'static>,
}

impl Sensor {
    /// Loads the programs and attaches them. No process is watched yet, so nothing is sent.
    ///
    /// # Errors
    /// [`ProbeError::Privilege`], [`ProbeError::Kernel`], or what the kernel refused.
    pub fn load() -> Result<Self, ProbeError> {
        let capabilities = Capabilities::detect()?;
        libbpf_rs::set_print(None);
        let open = open_programs(capabilities)?;
        let skeleton = open
            .load()
            .map_err(ProbeError::kernel("load the kernel programs"))?;
        let rings = Rings::new(&[
            &skeleton.maps.process_ring,
            &skeleton.maps.file_ring,
            &skeleton.maps.network_ring,
            &skeleton.maps.tls_ring,
            &skeleton.maps.stdio_ring,
            &skeleton.maps.security_ring,
        ])?;
        let mut sensor = Self {
            holder: None,
            images: Images::default(),
            links: Vec::new(),
            rings,
            sweeper: Sweeper::default(),
            released_until_ns: 0,
            capabilities,
            skeleton,
        };
        sensor.attach_tracepoints()?;
        for library in well_known_libraries() {
            sensor.consider_image(&library, &library)?;
        }
        Ok(sensor)
    }

    fn attach_tracepoints(&mut self) -> Result<(), ProbeError> {
        let programs = &self.skeleton.progs;
        for (program, name) in [
            (&programs.process_sched_process_fork, "sched_process_fork"),
            (&programs.process_sched_process_exec, "sched_process_exec"),
            (&programs.process_sched_process_exit, "sched_process_exit"),
            (&programs.network_inet_sock_set_state, "inet_sock_set_state"),
            (&programs.network_tcp_destroy_sock, "tcp_destroy_sock"),
            (&programs.syscalls_signal_generate, "signal_generate"),
        ] {
            let link = program
                .attach_trace()
                .map_err(ProbeError::kernel(format!("attach `{name}`")))?;
            self.links.push(link);
        }
        let requests = match self.capabilities.io_uring {
            IoUring::SetupOnly => None,
            IoUring::SubmitSqe => Some(&programs.syscalls_io_uring_submit_sqe),
            IoUring::SubmitReq => Some(&programs.syscalls_io_uring_submit_req),
        };
        if let Some(program) = requests {
            let link = program
                .attach_trace()
                .map_err(ProbeError::kernel("attach to io_uring's requests"))?;
            self.links.push(link);
        }
        let link = if self.capabilities.preemptible_tracepoints {
            programs
                .syscalls_sys_exit_event
                .attach_tracepoint(TracepointCategory::RawSyscalls, "sys_exit")
        } else {
            programs.syscalls_sys_exit.attach_trace()
        };
        self.links
            .push(link.map_err(ProbeError::kernel("attach `sys_exit`"))?);
        Ok(())
    }

    /// What is found in programs and libraries is kept in this file from one session to the next, so that each
    /// is analysed once.
    pub fn remember_in(&mut self, path: &Path) {
        self.images.remember_in(path, self.capabilities);
    }

    /// What this kernel offers.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// The way back into the kernel.
    #[must_use]
    pub fn control(&self) -> KernelControl<'_> {
        KernelControl::new(&self.skeleton)
    }

    /// Files to which TLS probes are attached.
    pub fn attached_images(&self) -> impl Iterator<Item = &AttachedImage> {
        self.images.attached()
    }

    /// Files with TLS code that could not be read, and why.
    #[must_use]
    pub fn blind_images(&self) -> &[(PathBuf, String)] {
        self.images.blind()
    }

    /// Records that were too short to be one.
    #[must_use]
    pub fn malformed_count(&self) -> u64 {
        self.rings.malformed_count()
    }

    /// All processes that run now, as the kernel names them.
    ///
    /// # Errors
    /// The kernel's task iterator cannot be read.
    pub fn running_processes(&self) -> Result<Vec<RunningProcess>, ProbeError> {
        let action = "list the running processes";
        let link = self
            .skeleton
            .progs
            .process_iter_task
            .attach_trace()
            .map_err(ProbeError::kernel(action))?;
        let mut iterator = Iter::new(&link).map_err(ProbeError::kernel(action))?;
        let mut bytes = Vec::new();
        iterator
            .read_to_end(&mut bytes)
            .map_err(|error| ProbeError::kernel(action)(error.into()))?;
        let item_bytes = size_of::<process_item>();
        Ok(bytes
            .chunks_exact(item_bytes)
            .filter_map(|chunk| process_item::read_from_bytes(chunk).ok())
            .map(|item| RunningProcess {
                key: ProcessKey {
                    tgid: item.tgid,
                    start_ns: item.start_ns,
                },
                parent: ProcessKey {
                    tgid: item.parent_tgid,
                    start_ns: item.parent_start_ns,
                },
            })
            .collect())
    }

    /// Watches a running process and all its descendants. Returns them, parents before children.
    ///
    /// # Errors
    /// There is no such process, or the table of watched processes is full.
    pub fn watch_tree(&mut self, pid: u32, label: u32) -> Result<Vec<RunningProcess>, ProbeError> {
        let mut watched: Vec<RunningProcess> = Vec::new();
        loop {
            // A process that is not yet watched may start another one while we look: look again until
            // nothing is new. What a watched process starts is watched by the kernel side.
            let tree = tree_of(pid, &self.running_processes()?);
            let fresh: Vec<RunningProcess> = tree
                .into_iter()
                .filter(|process| !watched.contains(process))
                .collect();
            if fresh.is_empty() {
                break;
            }
            for process in &fresh {
                self.control().watch(process.key, label)?;
            }
            watched.extend(fresh);
        }
        if watched.is_empty() {
            return Err(ProbeError::Process {
                pid,
                source: std::io::Error::new(std::io::ErrorKind::NotFound, "no such process"),
            });
        }
        if self.holder.is_none() {
            let ring = MapHandle::try_from(&self.skeleton.maps.image_ring);
            self.holder = ring.ok().and_then(Holder::start);
        }
        let runs_us = |process: &&RunningProcess| process::runs_this_program(process.key.tgid);
        // A command that waits to be started still has our program, and none of its own.
        for process in watched.iter().filter(|process| !runs_us(process)) {
            for image in process::executable_images(process.key.tgid) {
                let name = std::fs::read_link(&image).unwrap_or_else(|_| image.clone());
                self.consider_image(&image, &name)?;
            }
        }
        Ok(watched)
    }

    /// Looks for TLS code in a file and attaches probes to it.
    ///
    /// # Errors
    /// The kernel refused an attachment.
    pub fn consider_image(&mut self, open_path: &Path, name: &Path) -> Result<(), ProbeError> {
        self.images
            .consider(&self.skeleton, self.capabilities, open_path, name)
            .map(|_| ())
    }

    /// Attaches the probes of a process's files once more: they carried its plaintext, and carry it no more. A process
    /// can take probes out of its own memory; the kernel puts them back when they are attached anew.
    ///
    /// # Errors
    /// The kernel refused an attachment.
    pub fn attach_again(&mut self, pid: u32) -> Result<(), ProbeError> {
        for image in process::executable_images(pid) {
            if self.images.is_to_be_attached_again(&image) {
                let name = std::fs::read_link(&image).unwrap_or_else(|_| image.clone());
                self.consider_image(&image, &name)?;
            }
        }
        Ok(())
    }

    /// Waits up to `timeout` for records, or for `or_readable`, attaches to new images, and hands on the
    /// records that are due, in the order of their times.
    ///
    /// # Errors
    /// The rings cannot be read, or the kernel refused an attachment.
    pub fn poll(
        &mut self,
        timeout: Duration,
        or_readable: Option<BorrowedFd<'_>>,
        sink: &mut dyn FnMut(&[u8]),
    ) -> Result<(), ProbeError> {
        let news = self.holder.as_ref().map(Holder::news);
        self.rings.wait(timeout, &[or_readable, news]);
        // Before anything else, as programs wait for it or are about to get far.
        let result = self.look_at_news();
        let complete_until = self.rings.fetch()?;
        let result = result.and(self.handle_urgent());
        self.rings.release(complete_until, sink);
        self.released_until_ns = complete_until;
        result
    }

    /// Makes a harmless system call that the kernel side answers with a record of this number: if it does not
    /// come, nothing else does.
    pub fn sing(&self, number: u32) {
        const PRIO_PROCESS: libc::c_long = 0;
        // SAFETY: getpriority(2) takes numbers only; there need not be a process of that number.
        let _ =
            unsafe { libc::syscall(syscalls::CANARY, PRIO_PROCESS, libc::c_long::from(number)) };
    }

    /// Detaches all programs: from now on nothing new is recorded. What was recorded can still be read.
    pub fn detach(&mut self) {
        self.holder = None;
        self.images.detach();
        self.links.clear();
    }

    /// Hands on everything that is left.
    ///
    /// # Errors
    /// The rings cannot be read.
    pub fn drain(&mut self, sink: &mut dyn FnMut(&[u8])) -> Result<(), ProbeError> {
        self.rings.fetch()?;
        let result = self.handle_urgent();
        self.rings.release(u64::MAX, sink);
        self.released_until_ns = u64::MAX;
        result
    }

    /// Reports the totals that changed since the last sweep. Call it every second or so.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn sweep(&mut self, totals: &mut Totals<'_>) -> Result<(), ProbeError> {
        self.sweeper
            .sweep(&self.skeleton, self.released_until_ns, totals)
    }

    /// Reports the totals of sockets that are still open, at the end of watching.
    ///
    /// # Errors
    /// A map cannot be read.
    pub fn last_sockets(&mut self, totals: &mut Totals<'_>) -> Result<(), ProbeError> {
        Sweeper::last_sockets(&self.skeleton, totals)
    }

    /// Looks at a file that is known by a link of `/proc`, which says its name.
    fn consider_linked(&mut self, link: &Path) -> Result<(), ProbeError> {
        let name = std::fs::read_link(link).unwrap_or_else(|_| link.to_owned());
        self.consider_image(link, &name)
    }

    /// Attaches to programs that have just started, and to those that wait for it, and lets these go.
    fn look_at_news(&mut self) -> Result<(), ProbeError> {
        let Some(found) = self.holder.as_ref().map(Holder::take) else {
            return Ok(());
        };
        for identity in found.written {
            self.images.forget(identity);
        }
        let mut result = Ok(());
        for program in found.started {
            result = result.and(self.consider_linked(&descriptor_path(&program)));
        }
        for held in found.held {
            if let Some(path) = held.path() {
                result = result.and(self.consider_linked(&path));
            }
            held.let_go();
        }
        result
    }

    fn handle_urgent(&mut self) -> Result<(), ProbeError> {
        let mut result = Ok(());
        for record in self.rings.take_urgent() {
            let Ok((header, _)) = rec_header::read_from_prefix(&record) else {
                continue;
            };
            match u32::from(header.kind) {
                EV_PROCESS_EXIT => self.sweeper.process_ended(ProcessKey {
                    tgid: header.tgid,
                    start_ns: header.start_ns,
                }),
                EV_PROCESS_EXEC if u32::from(header.flags) & REC_NEW_IMAGE != 0 => {
                    let exe = PathBuf::from(format!("/proc/{}/exe", header.tgid));
                    result = result.and(self.consider_linked(&exe));
                }
                EV_IMAGE_MAPPED => {
                    if let Some(path) = image_path(&record) {
                        let seen = PathBuf::from(format!("/proc/{}/root{path}", header.tgid));
                        result = result.and(self.consider_image(&seen, Path::new(&path)));
                    }
                }
                _ => {}
            }
        }
        result
    }
}

/// The programs, fitted to the kernel and not loaded yet.
pub(crate) fn open_programs(
    capabilities: Capabilities,
) -> Result<OpenAgentsightSkel<'static>, ProbeError> {
    // JUSTIFICATION: the skeleton borrows its object; a sensor lives as long as its process.
    let object = Box::leak(Box::new(MaybeUninit::uninit()));
    let mut open = AgentsightSkelBuilder::default()
        .open(object)
        .map_err(ProbeError::kernel("open the kernel programs"))?;
    if let Some(rodata) = open.maps.rodata_data.as_deref_mut() {
        syscalls::fill(&mut rodata.operations, syscalls::OPERATIONS);
        syscalls::fill(&mut rodata.operations_32, syscalls::OPERATIONS_32);
        syscalls::fill_shapes(&mut rodata.act_shapes);
        rodata.monitor_tgid = std::process::id();
        rodata.has_task_btf = capabilities.task_btf;
        rodata.is_preemptible = capabilities.preemptible_tracepoints;
    }
    if capabilities.uprobe_multi {
        let programs = &mut open.progs;
        for program in [
            &mut programs.tls_read_enter,
            &mut programs.tls_read_ex_enter,
            &mut programs.tls_write_enter,
            &mut programs.tls_write_ex_enter,
            &mut programs.tls_write_ex2_enter,
            &mut programs.tls_return,
            &mut programs.tls_handshake_enter,
            &mut programs.tls_handshake_return,
            &mut programs.tls_free,
            &mut programs.hook_enter,
            &mut programs.hook_return,
            &mut programs.hook_return_instruction,
        ] {
            program.set_attach_type(ProgramAttachType::TraceUprobeMulti);
        }
    }
    for program in [
        &mut open.progs.hook_enter,
        &mut open.progs.hook_return,
        &mut open.progs.hook_return_instruction,
    ] {
        program.set_autoload(capabilities.attach_cookie);
    }
    let uring = capabilities.io_uring;
    let programs = &mut open.progs;
    programs
        .syscalls_io_uring_submit_sqe
        .set_autoload(uring == IoUring::SubmitSqe);
    programs
        .syscalls_io_uring_submit_req
        .set_autoload(uring == IoUring::SubmitReq);
    let as_event = capabilities.preemptible_tracepoints;
    open.progs.syscalls_sys_exit.set_autoload(!as_event);
    open.progs.syscalls_sys_exit_event.set_autoload(as_event);
    if capabilities.small_memory {
        shrink_maps(&mut open)?;
    }
    Ok(open)
}

/// Makes rings and large tables a quarter of their size. What does not fit is counted, as ever.
fn shrink_maps(open: &mut OpenAgentsightSkel<'static>) -> Result<(), ProbeError> {
    for mut map in open.open_object_mut().maps_mut() {
        if matches!(
            map.map_type(),
            MapType::RingBuf | MapType::Hash | MapType::LruHash
        ) {
            let entries = map.max_entries() / 4;
            map.set_max_entries(entries)
                .map_err(ProbeError::kernel("size a table"))?;
        }
    }
    Ok(())
}

/// The path in a record of a mapped image.
fn image_path(record: &[u8]) -> Option<String> {
    let (fixed, rest) = image_mapped_rec::read_from_prefix(record).ok()?;
    path_of_components(rest.get(..usize::try_from(fixed.path_bytes).ok()?)?)
}

/// A path from its components, which come last first.
pub(crate) fn path_of_components(bytes: &[u8]) -> Option<String> {
    let components = bytes.strip_suffix(b"\0")?;
    let mut path = String::new();
    for component in components.rsplit(|&byte| byte == 0) {
        path.push('/');
        path.push_str(std::str::from_utf8(component).ok()?);
    }
    Some(path)
}
