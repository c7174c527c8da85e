//! The floor of what probing costs: a program that does nothing, at the TLS functions of one file, entry and
//! return, until standard input ends. For `cargo xtask bench tls`; needs root and Linux 6.6.

use std::error::Error;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use agentsight_tls::{HookKind, Options, locate};
use libbpf_rs::libbpf_sys::{
    BPF_F_UPROBE_MULTI_RETURN, BPF_PROG_TYPE_KPROBE, BPF_TRACE_UPROBE_MULTI, bpf_insn,
    bpf_link_create, bpf_link_create_opts, bpf_prog_load, bpf_prog_load_opts,
};

/// `r0 = 0; exit`
const NOTHING: [bpf_insn; 2] = [instruction(0xb7), instruction(0x95)];

const fn instruction(code: u8) -> bpf_insn {
    // SAFETY: all zeroes is a valid instruction.
    let mut instruction: bpf_insn = unsafe { std::mem::zeroed() };
    instruction.code = code;
    instruction
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("usage: empty_probe FILE < pipe")?;
    let located = locate(&File::open(&path)?, &Options::default())?;
    // Those that AgentSight probes at entry and return.
    let offsets: Vec<u64> = located
        .hooks()
        .filter(|(_, hook)| hook.kind.moves().is_some() || hook.kind == HookKind::Handshake)
        .map(|(_, hook)| hook.file_offset)
        .collect();
    let program = load()?;
    let path = CString::new(path)?;
    let _links = (
        attach(&program, &path, &offsets, BPF_F_UPROBE_MULTI_RETURN)?,
        attach(&program, &path, &offsets, 0)?,
    );
    println!("{} functions", offsets.len());
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn load() -> io::Result<OwnedFd> {
    let options = bpf_prog_load_opts {
        sz: size_of::<bpf_prog_load_opts>() as u64,
        expected_attach_type: BPF_TRACE_UPROBE_MULTI,
        ..Default::default()
    };
    // SAFETY: the pointers are to constants, the count is that of the instructions, the options say their size.
    let fd = unsafe {
        bpf_prog_load(
            BPF_PROG_TYPE_KPROBE,
            c"nothing".as_ptr(),
            c"GPL".as_ptr(),
            NOTHING.as_ptr(),
            NOTHING.len() as u64,
            (&raw const options).cast_mut(),
        )
    };
    owned(fd)
}

fn attach(program: &OwnedFd, path: &CString, offsets: &[u64], flags: u32) -> io::Result<OwnedFd> {
    let mut options = bpf_link_create_opts {
        sz: size_of::<bpf_link_create_opts>() as u64,
        ..Default::default()
    };
    options.__bindgen_anon_1.uprobe_multi.path = path.as_ptr();
    options.__bindgen_anon_1.uprobe_multi.offsets = offsets.as_ptr();
    options.__bindgen_anon_1.uprobe_multi.cnt = u32::try_from(offsets.len()).unwrap_or(u32::MAX);
    options.__bindgen_anon_1.uprobe_multi.flags = flags;
    // SAFETY: path and offsets live until the call is over, the count is that of the offsets.
    let fd = unsafe {
        bpf_link_create(
            program.as_raw_fd(),
            0,
            BPF_TRACE_UPROBE_MULTI,
            &raw const options,
        )
    };
    owned(fd)
}

fn owned(fd: i32) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(-fd));
    }
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
