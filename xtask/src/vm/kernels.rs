//! The kernels, as Debian ships them, and a shell to go with them.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::apt::Apt;

/// A kernel of the matrix.
pub(super) struct Kernel {
    pub(super) label: &'static str,
    suite: &'static str,
    /// Beginnings of names of the package that has it: of several the first that there is.
    prefixes: &'static [&'static str],
}

/// Those of cloud images: they have all that is needed built in, and are the smallest.
const SUFFIX: &str = "-cloud-amd64";

pub(super) const KERNELS: &[Kernel] = &[
    Kernel {
        label: "5.10",
        suite: "bullseye",
        prefixes: &["linux-image-5.10."],
    },
    Kernel {
        label: "6.1",
        suite: "bookworm",
        prefixes: &["linux-image-6.1."],
    },
    Kernel {
        label: "6.12",
        suite: "bookworm-backports",
        prefixes: &["linux-image-6.12."],
    },
    Kernel {
        label: "7",
        suite: "trixie-backports",
        // From 7.x on `linux-image-` is empty and leads to `linux-binary-`.
        prefixes: &["linux-binary-7.", "linux-image-7."],
    },
];

impl Kernel {
    /// The kernel's ELF file, which QEMU boots without a boot loader; fetched if it is not there.
    pub(super) fn obtain(&self, store: &Path) -> Result<PathBuf, String> {
        let folder = store.join(self.label);
        let image = folder.join("vmlinux");
        if image.exists() {
            return Ok(image);
        }
        println!("\n==> fetching kernel {}", self.label);
        let apt = Apt::open(store, &[self.suite])?;
        let package = self
            .prefixes
            .iter()
            .map(|prefix| apt.newest(prefix, SUFFIX))
            .reduce(|first, second| first.or(second))
            .unwrap_or_else(|| Err("no name of a package".to_owned()))?;
        let unpacked = folder.join("unpacked");
        apt.unpack(&package, &unpacked)?;
        let compressed = find(&unpacked.join("boot"), "vmlinuz")
            .or_else(|| find(&unpacked.join("usr/lib"), "vmlinuz"))
            .ok_or_else(|| format!("{package} holds no kernel"))?;
        let bytes = fs::read(&compressed)
            .map_err(|error| format!("failed to read {}: {error}", compressed.display()))?;
        let elf = decompress(&bytes)?;
        // Renamed when it is whole: what is there is complete.
        let partial = folder.join("vmlinux.partial");
        fs::write(&partial, elf)
            .and_then(|()| fs::rename(&partial, &image))
            .map_err(|error| format!("failed to write {}: {error}", image.display()))?;
        let _ = fs::remove_dir_all(&unpacked);
        Ok(image)
    }
}

/// A static busybox; fetched if it is not there.
pub(super) fn busybox(store: &Path) -> Result<PathBuf, String> {
    let folder = store.join("busybox");
    let places = ["bin/busybox", "usr/bin/busybox"].map(|place| folder.join(place));
    if let Some(there) = places.iter().find(|place| place.exists()) {
        return Ok(there.clone());
    }
    println!("\n==> fetching busybox");
    Apt::open(store, &["bookworm"])?.unpack("busybox-static", &folder)?;
    places
        .into_iter()
        .find(|place| place.exists())
        .ok_or_else(|| "busybox-static holds no busybox".to_owned())
}

/// The first file below a folder whose name begins like this.
fn find(folder: &Path, prefix: &str) -> Option<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder {
                folders.push(path);
            } else if entry.file_name().to_string_lossy().starts_with(prefix) {
                return Some(path);
            }
        }
    }
    None
}

/// How kernels are compressed: what the data begins with, and the program that undoes it.
const COMPRESSIONS: &[(&[u8], &[&str])] = &[
    (b"\xfd7zXZ\0", &["xz", "-dc"]),
    (b"\x28\xb5\x2f\xfd", &["zstd", "-dcq"]),
    (b"\x02\x21\x4c\x18", &["lz4", "-dc"]),
    (b"\x1f\x8b\x08", &["gzip", "-dc"]),
];

/// The ELF file inside a compressed kernel. It lies anywhere behind the code that unpacks it.
fn decompress(image: &[u8]) -> Result<Vec<u8>, String> {
    let mut trouble = "it is compressed in a way that we do not know".to_owned();
    for (magic, command) in COMPRESSIONS {
        for at in positions(image, magic) {
            match filter(command, image.get(at..).unwrap_or_default()) {
                Ok(elf) if elf.starts_with(b"\x7fELF") => return Ok(elf),
                Ok(_) => {}
                Err(error) => trouble = error,
            }
        }
    }
    Err(format!("failed to unpack the kernel: {trouble}"))
}

fn positions<'a>(bytes: &'a [u8], magic: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    bytes
        .windows(magic.len())
        .enumerate()
        .filter(move |(_, window)| *window == magic)
        .map(|(at, _)| at)
}

/// What a program makes of these bytes. Its exit code does not count: bytes that follow the compressed
/// data make it complain.
fn filter(command: &[&str], input: &[u8]) -> Result<Vec<u8>, String> {
    let (program, arguments) = command.split_first().ok_or("no program")?;
    let failed = |error| format!("failed to run {program}: {error}");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let stdin = child.stdin.take();
    std::thread::scope(|scope| {
        // It may stop reading before the end, which is no failure.
        scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(input)));
        child.wait_with_output()
    })
    .map(|output| output.stdout)
    .map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_kernel_is_found_behind_other_bytes() {
        let mut image = b"code, and a false start: \x1f\x8b\x08 no. ".to_vec();
        image.extend(filter(&["gzip", "-c"], b"\x7fELF and the rest").unwrap());
        image.extend(b"trailing bytes");
        assert_eq!(decompress(&image).unwrap(), b"\x7fELF and the rest");
        assert!(decompress(b"nothing").is_err());
    }

    #[test]
    fn labels_are_distinct() {
        let mut labels: Vec<&str> = KERNELS.iter().map(|kernel| kernel.label).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), KERNELS.len());
    }
}
