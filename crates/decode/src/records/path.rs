//! Paths, which come from the kernel as their components from the last to the first.

use agentsight_model::FileRef;
use agentsight_wire::file_id;

/// The absolute path of components that come last first, each ended by NUL.
pub(super) fn absolute(components: &[u8]) -> String {
    let Some(components) = components.strip_suffix(b"\0") else {
        return "/".to_owned();
    };
    let mut path = String::with_capacity(components.len().saturating_add(1));
    for component in components.rsplit(|&byte| byte == 0) {
        path.push('/');
        path.push_str(&String::from_utf8_lossy(component));
    }
    path
}

/// A string that ends with NUL.
pub(super) fn text(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

/// A name as a program gave it, made absolute by the directory that it is relative to. `.` and `..` are
/// taken out by their letters, as the names no longer lead anywhere.
pub(super) fn join(base: &[u8], name: &[u8]) -> String {
    let name = text(name);
    let base = if name.starts_with('/') {
        String::new()
    } else {
        absolute(base)
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(name.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// A file as its record describes it.
pub(super) fn file(id: &file_id, components: &[u8], cut: bool) -> FileRef {
    FileRef {
        path: absolute(components),
        path_cut: cut,
        dev: u64::from(id.dev),
        ino: id.ino,
        mode: id.mode,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_are_turned_round() {
        assert_eq!(absolute(b"true\0bin\0usr\0"), "/usr/bin/true");
        assert_eq!(absolute(b""), "/");
        assert_eq!(absolute(b"memfd:x\0"), "/memfd:x");
        assert_eq!(absolute(b"\xff\0"), "/\u{fffd}");
        assert_eq!(absolute(b"no end"), "/");
    }

    #[test]
    fn names_are_joined() {
        for (base, name, joined) in [
            (&b"w\0tmp\0"[..], &b"a.txt\0"[..], "/tmp/w/a.txt"),
            (b"w\0tmp\0", b"../b/./c\0", "/tmp/b/c"),
            (b"w\0tmp\0", b"/etc//passwd\0", "/etc/passwd"),
            (b"", b"x\0", "/x"),
            (b"", b"../../x\0", "/x"),
            (b"w\0", b"\0", "/w"),
        ] {
            assert_eq!(join(base, name), joined);
        }
    }
}
