//! Ordinary consequences: what programs do whatever they are asked to do.
//!
//! Each rule has a name, which the document gives as `agentsight.intent.rule`. A rule covers reading
//! only, unless it says that it covers writing. Paths are those that the kernel resolved, so a link from
//! a harmless name to `/etc/shadow` is `/etc/shadow` here.

use crate::tool::{is_shell, listed};

/// The name of the rule for programs that choose between versions of a program.
pub(crate) const VERSION_MANAGER_RULE: &str = "version-manager";

/// The name of the rule for devices, in which nothing is kept.
pub(crate) const DEVICE_RULE: &str = "device";

/// A class of files that programs use without being asked.
struct Rule {
    name: &'static str,
    /// Directories (with a slash at the end) and files.
    places: &'static [&'static str],
    writing: bool,
}

const RULES: &[Rule] = &[
    // The dynamic linker.
    Rule {
        name: "loader",
        places: &[
            "/etc/ld.so.cache",
            "/etc/ld.so.preload",
            "/etc/ld.so.conf",
            "/etc/ld.so.conf.d/",
        ],
        writing: false,
    },
    // The C library: language, time zone.
    Rule {
        name: "locale",
        places: &[
            "/etc/locale.alias",
            "/etc/locale.conf",
            "/etc/default/locale",
            "/etc/localtime",
            "/etc/timezone",
        ],
        writing: false,
    },
    // The C library: names of users, hosts and services.
    Rule {
        name: "name-lookup",
        places: &[
            "/etc/nsswitch.conf",
            "/etc/passwd",
            "/etc/group",
            "/etc/hosts",
            "/etc/host.conf",
            "/etc/resolv.conf",
            "/etc/gai.conf",
            "/etc/services",
            "/etc/protocols",
            "/run/systemd/resolve/",
            "/run/systemd/userdb/",
            "/run/nscd/",
            "/var/run/nscd/",
        ],
        writing: false,
    },
    // What a program may know about itself and the machine. Nothing of other processes.
    Rule {
        name: "kernel-facts",
        places: &[
            "/proc/meminfo",
            "/proc/cpuinfo",
            "/proc/stat",
            "/proc/filesystems",
            "/proc/mounts",
            "/proc/version",
            "/proc/version_signature",
            "/proc/loadavg",
            "/proc/uptime",
            "/proc/devices",
            "/proc/sys/",
            "/sys/devices/system/",
            "/sys/fs/cgroup/",
            "/sys/kernel/mm/",
        ],
        writing: false,
    },
    Rule {
        name: DEVICE_RULE,
        places: &[
            "/dev/null",
            "/dev/zero",
            "/dev/full",
            "/dev/random",
            "/dev/urandom",
            "/dev/tty",
            "/dev/pts/",
            "/dev/ptmx",
            "/dev/stdin",
            "/dev/stdout",
            "/dev/stderr",
            "/dev/fd/",
        ],
        writing: true,
    },
    Rule {
        name: "terminal",
        places: &["/etc/terminfo/", "/etc/inputrc"],
        writing: false,
    },
    // Certificates of authorities; not `/etc/ssl/private`.
    Rule {
        name: "certificates",
        places: &[
            "/etc/ssl/certs/",
            "/etc/ssl/openssl.cnf",
            "/etc/ca-certificates/",
            "/etc/ca-certificates.conf",
            "/etc/pki/tls/",
            "/etc/crypto-policies/",
        ],
        writing: false,
    },
    // Programs and libraries as the system installed them.
    Rule {
        name: "system-files",
        places: &[
            "/usr/",
            "/lib/",
            "/lib32/",
            "/lib64/",
            "/libx32/",
            "/bin/",
            "/sbin/",
            "/nix/store/",
            "/snap/",
        ],
        writing: false,
    },
];

/// Own process below `/proc`: what of it is ordinary to read.
const OWN_PROCESS_FILES: &str = "maps smaps stat statm status mountinfo mounts cgroup auxv fd task exe \
    cmdline limits oom_score_adj comm cpuset loginuid ns fdinfo attr setgroups uid_map gid_map";

/// What shells read when they start, by file name.
const SHELL_STARTUP: &str = ".bashrc .bash_profile .bash_login .bash_logout .profile .zshrc .zshenv \
    .zprofile .zlogin .bash_aliases .inputrc bash.bashrc bashrc profile zshenv zshrc environment";

/// Programs that list processes.
const PROCESS_LISTERS: &str = "ps pgrep pkill top htop lsof fuser pidof pstree killall";

/// Helpers that a program runs to do its work: parents, children. `git` also runs whatever is named
/// `git-...`.
const HELPERS: &[(&str, &str)] = &[
    (
        "gcc cc g++ c++ clang clang++ rustc ld collect2",
        "as ld ld.bfd ld.gold ld.lld collect2 cc1 cc1plus lto1 lto-wrapper cc gcc",
    ),
    ("cargo", "rustc rustdoc build-script-build"),
    ("go", "compile link asm cgo vet"),
    ("git", "git ssh gpg less more pager editor"),
    ("man", "less more pager groff nroff troff"),
    ("npm npx pnpm yarn", "node sh"),
    ("pip pip3 uv poetry", "python python3"),
    ("make gmake ninja", "sh"),
    ("env timeout nice nohup time stdbuf sudo xargs", "sh bash"),
];

/// Where version managers of languages keep their own programs and those that they choose between.
const VERSION_MANAGERS: &[&str] = &[
    "/.pyenv/",
    "/.nvm/",
    "/.rbenv/",
    "/.nodenv/",
    "/.goenv/",
    "/.jenv/",
    "/.asdf/",
    "/.volta/",
    "/.rustup/",
    "/.sdkman/",
    "/.local/share/mise/",
    "/.local/share/fnm/",
];

/// What the scripts of version managers run to find the program that was asked for.
const SHIM_TOOLS: &str = "readlink realpath dirname basename sed sort head tail cut tr awk grep cat uname find ls \
    env sh bash which";

/// What package managers and compilers keep for themselves, and what they are there to write: programs,
/// parts of paths.
const CACHES: &[(&str, &[&str])] = &[
    (
        "npm npx pnpm yarn bun node",
        &[
            "/.npm/",
            "/.npmrc",
            "/.cache/yarn/",
            "/.yarn/",
            "/pnpm/",
            "/.bun/",
        ],
    ),
    (
        "npm npx pnpm yarn bun",
        &[
            "/node_modules/",
            "/package-lock.json",
            "/yarn.lock",
            "/pnpm-lock.yaml",
            "/bun.lock",
        ],
    ),
    (
        "pip pip3 uv poetry",
        &[
            "/.cache/pip/",
            "/.cache/uv/",
            "/site-packages/",
            "/.config/pip/",
        ],
    ),
    (
        "cargo rustc",
        &[
            "/.cargo/",
            "/.rustup/",
            "/target/debug/",
            "/target/release/",
            "/Cargo.lock",
        ],
    ),
    ("go", &["/go/pkg/", "/.cache/go-build/", "/go.sum"]),
    ("curl wget", &["/.curlrc", "/.wgetrc", "/etc/wgetrc"]),
    (
        "ssh scp sftp",
        &["/etc/ssh/ssh_config", "/.ssh/known_hosts", "/.ssh/config"],
    ),
];

/// The program on whose behalf a file is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program<'a> {
    pub(crate) exe: &'a str,
    /// The name that it was started under.
    pub(crate) name: &'a str,
    pub(crate) script: Option<&'a str>,
    pub(crate) pid: u32,
}

impl Program<'_> {
    fn is(&self, list: &str) -> bool {
        listed(list, file_name(self.name))
            || listed(list, file_name(self.exe))
            || self
                .script
                .is_some_and(|script| listed(list, file_name(script)))
    }

    fn starts_with(&self, start: &str) -> bool {
        file_name(self.name).starts_with(start) || file_name(self.exe).starts_with(start)
    }
}

/// The rule that makes the use of `path` an ordinary consequence of running `program`, if one does.
pub(crate) fn file_rule(program: Program<'_>, path: &str, writing: bool) -> Option<&'static str> {
    let by_place = RULES
        .iter()
        .filter(|rule| rule.writing || !writing)
        .find(|rule| rule.places.iter().any(|place| is_at(path, place)));
    if let Some(rule) = by_place {
        return Some(rule.name);
    }
    if let Some(rule) = interpreter_rule(program, path, writing) {
        return Some(rule);
    }
    let keeps = |(programs, places): &&(&str, &[&str])| {
        program.is(programs) && places.iter().any(|place| path.contains(place))
    };
    if CACHES.iter().any(|cache| keeps(&cache)) {
        return Some("program-cache");
    }
    if writing {
        return None;
    }
    if !path.is_empty()
        && (path == program.exe
            || program.script == Some(path)
            || is_installed_with(program.exe, path))
    {
        return Some("own-program");
    }
    if is_of_version_manager(path) {
        return Some(VERSION_MANAGER_RULE);
    }
    if let Some(rest) = path.strip_prefix("/proc/") {
        return proc_rule(program, rest);
    }
    let shell_startup = is_shell(program.exe)
        && (listed(SHELL_STARTUP, file_name(path)) || is_at(path, "/etc/profile.d/"));
    shell_startup.then_some("shell-startup")
}

fn proc_rule(program: Program<'_>, rest: &str) -> Option<&'static str> {
    let (owner, file) = rest.split_once('/').unwrap_or((rest, ""));
    let own = owner == "self" || owner == "thread-self" || owner.parse() == Ok(program.pid);
    let first = file.split('/').next().unwrap_or_default();
    if own && (first.is_empty() || listed(OWN_PROCESS_FILES, first)) {
        Some("own-process")
    } else if program.is(PROCESS_LISTERS) && listed("stat status cmdline comm statm", first) {
        Some("process-list")
    } else {
        None
    }
}

/// Modules of an interpreter: how its name starts, parts of their paths, endings of their names.
const MODULES: &[(&str, &[&str], &str)] = &[
    (
        "python",
        &[
            "/lib/python",
            "/site-packages/",
            "/dist-packages/",
            "/pyvenv.cfg",
        ],
        "py pyc pth",
    ),
    (
        "pip",
        &["/lib/python", "/site-packages/", "/dist-packages/"],
        "py pyc pth",
    ),
    (
        "node",
        &["/node_modules/", "/package.json"],
        "js mjs cjs ts mts node wasm",
    ),
    (
        "bun",
        &["/node_modules/", "/package.json"],
        "js mjs cjs ts mts tsx jsx",
    ),
    (
        "deno",
        &["/node_modules/", "/deno.json"],
        "js mjs ts mts tsx jsx",
    ),
    ("perl", &["/perl5/"], "pm pl"),
    ("ruby", &["/gems/", "/ruby/"], "rb"),
];

/// Modules of interpreters, and the settings and repository of git, which are part of the program that runs.
fn interpreter_rule(program: Program<'_>, path: &str, writing: bool) -> Option<&'static str> {
    let within = |places: &[&str]| places.iter().any(|place| path.contains(place));
    if program.starts_with("git") {
        let settings = within(&[
            "/.gitconfig",
            "/etc/gitconfig",
            "/.config/git/",
            "/.gitignore",
            "/.gitattributes",
        ]);
        let repository = within(&["/.git/"]) || path.ends_with("/.git");
        return (repository || settings && !writing).then_some("git-repository");
    }
    let (_, places, endings) = MODULES
        .iter()
        .find(|(start, ..)| program.starts_with(start))?;
    if writing {
        let compiled = within(&["/__pycache__/"]) || path.ends_with("/__pycache__");
        return compiled.then_some("interpreter-modules");
    }
    let ending = file_name(path)
        .rsplit_once('.')
        .map_or("", |(_, ending)| ending);
    (within(places) || listed(endings, ending)).then_some("interpreter-modules")
}

/// Whether a program or script belongs to a version manager of a language.
pub(crate) fn is_of_version_manager(path: &str) -> bool {
    VERSION_MANAGERS
        .iter()
        .any(|directory| path.contains(directory))
}

/// Whether a version manager's script runs a program to find the one that was asked for.
pub(crate) fn is_shim_tool(program: &str) -> bool {
    listed(SHIM_TOOLS, file_name(program))
}

/// Whether `path` is in the libraries next to a program: `/x/lib/y` of `/x/bin/program`.
fn is_installed_with(exe: &str, path: &str) -> bool {
    let home = exe.rsplit_once("/bin/").map(|(home, _)| home);
    let rest = home
        .filter(|home| !home.is_empty())
        .and_then(|home| path.strip_prefix(home));
    rest.is_some_and(|rest| {
        ["/lib/", "/lib64/", "/libexec/", "/share/"]
            .iter()
            .any(|part| rest.starts_with(part))
    })
}

/// Whether `child` is a helper that `parent` runs to do its work. Either goes by the name of its file and
/// the one it was started under: `gcc` is `x86_64-linux-gnu-gcc-14`.
pub(crate) fn is_helper(parent: [&str; 2], child: [&str; 2]) -> bool {
    let (parent, child) = (parent.map(file_name), child.map(file_name));
    let any = |list: &str, names: [&str; 2]| names.iter().any(|name| listed(list, name));
    let of_git = parent.contains(&"git") && child.iter().any(|name| name.starts_with("git-"));
    of_git
        || HELPERS
            .iter()
            .any(|(parents, children)| any(parents, parent) && any(children, child))
}

/// Programs whose work is to talk to servers of their own choice: package managers and git.
pub(crate) fn is_network_program(program: &str) -> bool {
    const PROGRAMS: &str = "npm npx pnpm yarn bun pip pip3 uv poetry cargo go git git-remote-https \
        git-remote-http apt apt-get gem bundle composer mvn gradle docker podman";
    listed(PROGRAMS, file_name(program))
}

pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether `path` is `place`, or below it if it is a directory.
fn is_at(path: &str, place: &str) -> bool {
    if place.ends_with('/') {
        path.starts_with(place) || Some(path) == place.strip_suffix('/')
    } else {
        path == place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(exe: &str, path: &str, writing: bool) -> Option<&'static str> {
        let program = Program {
            exe,
            name: exe,
            script: None,
            pid: 7,
        };
        file_rule(program, path, writing)
    }

    #[test]
    fn ordinary_and_not() {
        let table = [
            ("/bin/cat", "/etc/ld.so.cache", false, Some("loader")),
            ("/bin/cat", "/etc/ld.so.cache", true, None),
            (
                "/bin/cat",
                "/usr/lib/x86_64-linux-gnu/libc.so.6",
                false,
                Some("system-files"),
            ),
            ("/bin/cat", "/tmp/libc.so.6", false, None),
            ("/bin/cat", "/usr", false, Some("system-files")),
            ("/bin/cat", "/usrx", false, None),
            ("/bin/sh", "/dev/null", true, Some("device")),
            ("/bin/sh", "/dev/sda", true, None),
            ("/bin/cat", "/etc/shadow", false, None),
            ("/bin/cat", "/etc/ssl/private/key.pem", false, None),
            ("/bin/cat", "/proc/self/maps", false, Some("own-process")),
            ("/bin/cat", "/proc/7/stat", false, Some("own-process")),
            ("/bin/cat", "/proc/8/environ", false, None),
            ("/bin/cat", "/proc/self/mem", false, None),
            ("/bin/ps", "/proc/8/cmdline", false, Some("process-list")),
            ("/bin/ps", "/proc/8/environ", false, None),
            ("/bin/bash", "/home/u/.bashrc", false, Some("shell-startup")),
            ("/bin/bash", "/home/u/.bashrc", true, None),
            ("/bin/cat", "/home/u/.bashrc", false, None),
            (
                "/usr/bin/python3.12",
                "/w/__pycache__/a.cpython-312.pyc",
                true,
                Some("interpreter-modules"),
            ),
            (
                "/usr/bin/python3.12",
                "/w/__pycache__",
                true,
                Some("interpreter-modules"),
            ),
            (
                "/usr/bin/python3.12",
                "/v/lib/python3.12/site-packages/x.py",
                false,
                Some("interpreter-modules"),
            ),
            (
                "/usr/bin/python3.12",
                "/v/lib/python3.12/site-packages/x.py",
                true,
                None,
            ),
            (
                "/usr/bin/node",
                "/w/node_modules/a/index.js",
                false,
                Some("interpreter-modules"),
            ),
            (
                "/usr/bin/git",
                "/w/.git/index",
                true,
                Some("git-repository"),
            ),
            ("/bin/rm", "/w/.git/index", true, None),
            (
                "/usr/bin/npm",
                "/w/node_modules/a/x.js",
                true,
                Some("program-cache"),
            ),
            (
                "/usr/bin/ssh",
                "/home/u/.ssh/known_hosts",
                true,
                Some("program-cache"),
            ),
            ("/usr/bin/ssh", "/home/u/.ssh/id_ed25519", false, None),
            ("", "", false, None),
        ];
        for (exe, path, writing, expected) in table {
            assert_eq!(rule(exe, path, writing), expected, "{exe} {path} {writing}");
        }
    }

    #[test]
    fn helpers() {
        let helps = |parent, child| is_helper([parent, parent], [child, child]);
        assert!(helps(
            "/usr/bin/gcc",
            "/usr/libexec/gcc/x86_64-linux-gnu/14/cc1"
        ));
        assert!(is_helper(
            ["/usr/bin/x86_64-linux-gnu-gcc-14", "gcc"],
            ["/usr/bin/x86_64-linux-gnu-as", "as"]
        ));
        assert!(helps("/usr/bin/git", "/usr/lib/git-core/git-remote-https"));
        assert!(!helps("/usr/bin/x", "/usr/lib/jvm/bin/java"));
        assert!(!helps("/bin/bash", "/bin/rm"));
    }
}
