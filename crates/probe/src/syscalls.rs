//! Which operation each system call of this architecture stands for (`bpf/include/syscalls.h`).

use agentsight_wire as wire;

/// System call numbers and the operations that they are.
pub(crate) const OPERATIONS: &[(libc::c_long, u32)] = &[
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, wire::OP_OPEN),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, wire::OP_CREAT),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, wire::OP_UNLINK),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rmdir, wire::OP_RMDIR),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, wire::OP_RENAME),
    (libc::SYS_openat, wire::OP_OPENAT),
    (libc::SYS_openat2, wire::OP_OPEN_OTHER),
    (libc::SYS_open_by_handle_at, wire::OP_OPEN_OTHER),
    (libc::SYS_read, wire::OP_READ),
    (libc::SYS_pread64, wire::OP_READ),
    (libc::SYS_readv, wire::OP_READV),
    (libc::SYS_preadv, wire::OP_READV),
    (libc::SYS_preadv2, wire::OP_READV),
    (libc::SYS_recvfrom, wire::OP_RECVFROM),
    (libc::SYS_recvmsg, wire::OP_RECVMSG),
    (libc::SYS_write, wire::OP_WRITE),
    (libc::SYS_pwrite64, wire::OP_WRITE),
    (libc::SYS_writev, wire::OP_WRITEV),
    (libc::SYS_pwritev, wire::OP_WRITEV),
    (libc::SYS_pwritev2, wire::OP_WRITEV),
    (libc::SYS_sendmsg, wire::OP_SENDMSG),
    (libc::SYS_sendto, wire::OP_SENDTO),
    (libc::SYS_sendfile, wire::OP_SENDFILE),
    (libc::SYS_copy_file_range, wire::OP_COPY_RANGE),
    (libc::SYS_unlinkat, wire::OP_UNLINKAT),
    (libc::SYS_renameat, wire::OP_RENAMEAT),
    (libc::SYS_renameat2, wire::OP_RENAMEAT),
    (libc::SYS_connect, wire::OP_CONNECT),
    (libc::SYS_accept, wire::OP_ACCEPT),
    (libc::SYS_accept4, wire::OP_ACCEPT),
    (libc::SYS_mmap, wire::OP_MMAP),
];

/// Fills the kernel side's table.
pub(crate) fn fill(table: &mut [u8]) {
    for &(number, operation) in OPERATIONS {
        if let Some(entry) = usize::try_from(number)
            .ok()
            .and_then(|number| table.get_mut(number))
        {
            *entry = u8::try_from(operation).unwrap_or(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_the_table_once() {
        let mut numbers: Vec<_> = OPERATIONS.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        let count = numbers.len();
        numbers.dedup();
        assert_eq!(numbers.len(), count);

        let mut table = [0; 512];
        fill(&mut table);
        assert_eq!(
            table.iter().filter(|&&operation| operation != 0).count(),
            count
        );
    }
}
