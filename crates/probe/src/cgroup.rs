//! Names of cgroups by their ids.

use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

/// Where cgroup v2 may be mounted: alone, or beside the hierarchies of version 1.
const MOUNTS: &[&str] = &["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// `FILEID_KERNFS` of include/linux/exportfs.h: the handle is the id (5.5).
const FILEID_KERNFS: libc::c_int = 0xfe;

#[repr(C)]
struct Handle {
    handle_bytes: libc::c_uint,
    handle_type: libc::c_int,
    id: u64,
}

/// The path of a cgroup below the root of its hierarchy (cgroup v2), such as `/system.slice/docker-1f.scope`.
/// `None` if it is gone, or if cgroup v2 is not mounted where it usually is.
///
/// The id is all that is needed: the process that was in it may have ended.
#[must_use]
pub fn path_of(id: u64) -> Option<String> {
    MOUNTS.iter().find_map(|mount| {
        let folder = open_by_id(mount, id)?;
        let path = fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd())).ok()?;
        let below = path.strip_prefix(mount).ok()?;
        Some(PathBuf::from("/").join(below).to_str()?.to_owned())
    })
}

fn open_by_id(mount: &str, id: u64) -> Option<OwnedFd> {
    let root = fs::File::open(mount).ok()?;
    let mut handle = Handle {
        handle_bytes: 8,
        handle_type: FILEID_KERNFS,
        id,
    };
    // SAFETY: `handle` has the layout of struct file_handle with eight bytes behind it, as `handle_bytes`
    // says, and outlives the call.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            root.as_raw_fd(),
            &raw mut handle,
            libc::O_RDONLY | libc::O_CLOEXEC | libc::O_DIRECTORY,
        )
    };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the kernel has just made it for us.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    #[ignore = "needs root"]
    fn a_cgroup_is_found_by_its_id() {
        let mount = MOUNTS
            .iter()
            .find(|mount| std::path::Path::new(mount).join("cgroup.procs").exists())
            .expect("cgroup v2 is mounted");
        let name = format!("agentsight-test-{}", std::process::id());
        let folder = std::path::Path::new(mount).join(&name);
        fs::create_dir(&folder).unwrap();
        let id = fs::metadata(&folder).unwrap().ino();
        let found = path_of(id);
        fs::remove_dir(&folder).unwrap();
        assert_eq!(found, Some(format!("/{name}")));
        assert_eq!(path_of(id), None);
    }
}
