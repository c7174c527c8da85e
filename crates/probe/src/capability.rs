//! What this kernel and this process can do, found out before anything is loaded.

use std::collections::BTreeMap;
use std::fs;

use libbpf_rs::btf::Btf;
use libbpf_rs::btf::types::{Enum, Struct, Typedef};
use libbpf_rs::libbpf_sys;

use crate::ProbeError;

/// Capability bits (`include/uapi/linux/capability.h`).
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;
const CAP_SYS_PTRACE: u32 = 19;

/// Rings and tables of full size take 110 MB, which is too much of less than this.
const SMALL_MEMORY_KB: u64 = 1 << 20;

/// What the kernel offers beyond the least that is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `bpf_get_current_task_btf` (5.11): descriptors are looked up at a third of the cost.
    pub task_btf: bool,
    /// `bpf_get_attach_cookie` (5.15): TLS functions of any shape, not only those of the OpenSSL family.
    pub attach_cookie: bool,
    /// Many uprobes in one link, without a perf event each (6.6).
    pub uprobe_multi: bool,
    /// `bpf` is among the kernel's security modules, so that programs may refuse acts.
    pub bpf_lsm: bool,
    /// Programs at tracepoints may be preempted (7.0), and hold the CPU while they work.
    pub preemptible_tracepoints: bool,
    /// Where requests of io_uring are seen when the kernel takes them up (6.0).
    pub io_uring: IoUring,
    /// So little memory that rings and tables are a quarter of their usual size.
    pub small_memory: bool,
}

/// The tracepoint at which requests of io_uring are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoUring {
    /// None that tells what is asked for: only that a ring is made is seen.
    #[default]
    SetupOnly,
    /// `io_uring_submit_sqe` (6.0 to 6.2).
    SubmitSqe,
    /// `io_uring_submit_req` (6.3).
    SubmitReq,
}

impl IoUring {
    fn detect(btf: &Btf<'_>) -> Self {
        let has = |name: &str| btf.type_by_name::<Typedef<'_>>(name).is_some();
        if has("btf_trace_io_uring_submit_req") {
            Self::SubmitReq
        } else if has("btf_trace_io_uring_submit_sqe")
            && btf.type_by_name::<Struct<'_>>("io_cmd_data").is_some()
        {
            Self::SubmitSqe
        } else {
            Self::SetupOnly
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::SetupOnly => {
                "sys_exit: io_uring_setup only (requests are seen from Linux 6.0 on)"
            }
            Self::SubmitSqe => "tp_btf: io_uring_submit_sqe",
            Self::SubmitReq => "tp_btf: io_uring_submit_req",
        }
    }
}

impl Capabilities {
    /// Finds out what can be done.
    ///
    /// # Errors
    /// [`ProbeError::Privilege`] and [`ProbeError::Kernel`], if nothing can.
    pub fn detect() -> Result<Self, ProbeError> {
        check_privilege()?;
        let btf = Btf::from_vmlinux().map_err(|_| ProbeError::Kernel {
            reason: "it has no type information (BTF, /sys/kernel/btf/vmlinux)".into(),
        })?;
        Ok(Self {
            task_btf: has_tracing_helper(libbpf_sys::BPF_FUNC_get_current_task_btf),
            attach_cookie: has_helper(libbpf_sys::BPF_FUNC_get_attach_cookie),
            uprobe_multi: has_attach_type(&btf, "BPF_TRACE_UPROBE_MULTI"),
            bpf_lsm: fs::read_to_string("/sys/kernel/security/lsm")
                .is_ok_and(|modules| modules.trim().split(',').any(|module| module == "bpf")),
            preemptible_tracepoints: fs::read_to_string("/proc/sys/kernel/osrelease")
                .is_ok_and(|release| major_version(&release).is_some_and(|major| major >= 7)),
            io_uring: IoUring::detect(&btf),
            small_memory: fs::read_to_string("/proc/meminfo")
                .is_ok_and(|text| total_memory_kb(&text).is_some_and(|kb| kb < SMALL_MEMORY_KB)),
        })
    }

    /// The same by name, with the mechanism in use, for reports and for the ledger.
    #[must_use]
    pub fn describe(&self) -> BTreeMap<String, String> {
        let yes_no =
            |yes: bool, if_so: &str, if_not: &str| (if yes { if_so } else { if_not }).to_owned();
        BTreeMap::from([
            (
                "process".into(),
                "tp_btf: sched_process_fork, exec, exit".into(),
            ),
            ("file".into(), "tp_btf: sys_exit".into()),
            (
                "network".into(),
                "tp_btf: inet_sock_set_state, tcp_destroy_sock, sys_exit".into(),
            ),
            (
                "tls".into(),
                yes_no(
                    self.uprobe_multi,
                    "uprobe_multi",
                    "uprobe (one perf event a function)",
                ),
            ),
            (
                "tls.stacks".into(),
                yes_no(
                    self.attach_cookie,
                    "all that can be located",
                    "the OpenSSL family only (no attach cookies)",
                ),
            ),
            ("acts".into(), "tp_btf: sys_exit, signal_generate".into()),
            ("stdio".into(), "tp_btf: sys_exit".into()),
            ("io_uring".into(), self.io_uring.describe().into()),
            (
                "memory".into(),
                yes_no(
                    self.small_memory,
                    "rings and tables of a quarter of their size (less than 1 GiB of memory)",
                    "rings and tables of full size",
                ),
            ),
            (
                "lsm".into(),
                yes_no(
                    self.bpf_lsm,
                    "available (not used yet)",
                    "unavailable: bpf is not among this kernel's security modules",
                ),
            ),
        ])
    }
}

/// The first number in `7.3.4+deb13-cloud-amd64`. Nothing but the version tells of the change.
fn major_version(release: &str) -> Option<u32> {
    release.split_once('.')?.0.parse().ok()
}

/// The number in `MemTotal:  502684 kB`.
fn total_memory_kb(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn check_privilege() -> Result<(), ProbeError> {
    let effective = fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("CapEff:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        })
        .unwrap_or(0);
    let has = |bit: u32| effective & (1 << bit) != 0;
    let missing: Vec<&str> = [
        ("CAP_BPF", has(CAP_BPF) || has(CAP_SYS_ADMIN)),
        ("CAP_PERFMON", has(CAP_PERFMON) || has(CAP_SYS_ADMIN)),
        ("CAP_SYS_PTRACE", has(CAP_SYS_PTRACE)),
    ]
    .iter()
    .filter(|(_, held)| !held)
    .map(|(name, _)| *name)
    .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(ProbeError::Privilege {
            missing: missing.join(", "),
        })
    }
}

fn has_helper(helper: u32) -> bool {
    probe_helper(libbpf_sys::BPF_PROG_TYPE_KPROBE, helper)
}

/// The same for programs at tracepoints. A program of the type proper cannot be tried without a target;
/// the raw form has the same helpers.
fn has_tracing_helper(helper: u32) -> bool {
    probe_helper(libbpf_sys::BPF_PROG_TYPE_RAW_TRACEPOINT, helper)
}

fn probe_helper(program_type: u32, helper: u32) -> bool {
    // SAFETY: the call takes numbers and, as options, a pointer that may be null.
    let result =
        unsafe { libbpf_sys::libbpf_probe_bpf_helper(program_type, helper, std::ptr::null()) };
    result == 1
}

fn has_attach_type(btf: &Btf<'_>, name: &str) -> bool {
    btf.type_by_name::<Enum<'_>>("bpf_attach_type")
        .is_some_and(|types| {
            types
                .iter()
                .any(|member| member.name.is_some_and(|n| n == name))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read() {
        for (release, expected) in [
            ("7.3.4+deb13-cloud-amd64\n", Some(7)),
            ("5.10.0-32-cloud-amd64", Some(5)),
            ("unknown", None),
        ] {
            assert_eq!(major_version(release), expected, "{release}");
        }
    }

    #[test]
    fn memory_is_read() {
        for (text, expected) in [
            (
                "MemTotal:         502684 kB\nMemFree: 1 kB\n",
                Some(502_684),
            ),
            ("MemFree: 1 kB\n", None),
            ("MemTotal: much\n", None),
        ] {
            assert_eq!(total_memory_kb(text), expected, "{text}");
        }
    }
}
