//! Processes, files and sockets in detail: what is recorded is what really happened.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use agentsight_model::document::Action;
use serde_json::Value;

use crate::support::{PYTHON, Site};

fn attribute<'a>(action: &'a Action, name: &str) -> &'a Value {
    action.attributes.get(name).unwrap_or(&Value::Null)
}

#[test]
#[ignore = "needs root"]
fn a_program_run_is_known_in_every_detail() {
    let site = Site::new();
    let folder = site.work().join("a b");
    fs::create_dir(&folder).unwrap();
    let script = folder.join("script");
    fs::write(&script, "#!/bin/sh -e\nexit 3\n").unwrap();
    fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    let begun = std::time::SystemTime::now();
    site.run_script("cd 'a b'; ./script '' 'two words' \"tab\there\"; kill -9 $$")
        .end()
        .with_code(137);
    let session = site.recorded();

    let [run] = session.execs(&["/bin/sh", "-e", "./script", "", "two words", "tab\there"])[..]
    else {
        panic!("not one run of the script");
    };
    let shell = fs::canonicalize("/bin/sh").unwrap();
    assert_eq!(
        *attribute(run, "process.working_directory"),
        folder.to_str().unwrap()
    );
    assert_eq!(
        *attribute(run, "process.executable.path"),
        shell.to_str().unwrap()
    );
    assert_eq!(*attribute(run, "agentsight.process.filename"), "./script");
    let process = |action: &Action| {
        let mut processes = session.document.processes.iter();
        processes
            .find(|process| process.key == action.process)
            .unwrap()
    };
    let script = process(run);
    assert_eq!((script.exit_code, script.signal), (Some(3), None));
    let inode = fs::metadata(&shell).unwrap().ino();
    assert!(
        script.exe_inode.ends_with(&format!(":{inode}")),
        "{}",
        script.exe_inode
    );
    let root = &session.document.processes[0];
    assert_eq!(script.parent_key, Some(root.key));
    assert_eq!((root.exit_code, root.signal), (None, Some(9)));

    // Clocks: within the time that the test took, and in order.
    let at =
        |text: &str| -> std::time::SystemTime { text.parse::<jiff::Timestamp>().unwrap().into() };
    let (started, ended) = (
        at(&script.started_at),
        at(script.ended_at.as_ref().unwrap()),
    );
    let slack = Duration::from_millis(50);
    assert!(begun - slack <= started && started <= ended);
    assert!(ended <= std::time::SystemTime::now() + slack);
}

/// Ways to begin a program: by fork, vfork and clone, from a thread that is not the first, in a new
/// session, and by the program itself.
const WAYS: &str = "\
import os, subprocess, sys, threading
true = '/bin/true'
os.waitpid(os.posix_spawn(true, [true, 'spawn'], {}), 0)
subprocess.run([true, 'subprocess'], start_new_session=True)
pid = os.fork()
if pid == 0:
    if os.fork() == 0:
        os.setsid()
        os.execv(true, [true, 'grandchild'])
    os.wait()
    os._exit(5)
os.waitpid(pid, 0)
pid = os.fork()
if pid == 0:
    threading.Thread(target=os.execv, args=(true, [true, 'thread'])).start()
    threading.Event().wait()
os.waitpid(pid, 0)
for n in range(3):
    pid = os.fork()
    if pid == 0:
        os._exit(n)
    os.waitpid(pid, 0)
os.execv('/bin/sh', ['/bin/sh', '-c', f'exec {true} last'])
";

#[test]
#[ignore = "needs root"]
fn programs_are_seen_however_they_begin() {
    let site = Site::new();
    site.run([PYTHON, "-c", WAYS]).end().ok();
    let session = site.recorded();
    session.assert_nothing_dropped();
    let root = session.document.processes[0].key;
    for way in ["spawn", "subprocess", "grandchild", "thread", "last"] {
        let [run] = session.execs(&["/bin/true", way])[..] else {
            panic!("not one run of {way}");
        };
        assert_eq!(run.process == root, way == "last", "{way}");
        let exits = session.actions("process.exit");
        assert_eq!(
            exits.filter(|exit| exit.process == run.process).count(),
            1,
            "{way}"
        );
    }
    // Those that run no program of their own are known by the one that they come from.
    let silent: Vec<_> = session
        .document
        .processes
        .iter()
        .filter(|process| process.exe.contains("python") && process.key != root)
        .collect();
    let mut codes: Vec<i32> = silent
        .iter()
        .filter_map(|process| process.exit_code)
        .collect();
    codes.sort_unstable();
    assert_eq!(codes, [0, 1, 2, 5]);
    for process in &silent {
        assert_eq!(process.parent_key, Some(root));
    }
    assert_eq!(session.document.processes.len(), 1 + 5 + 4 - 1);
}

/// Several families at once: more than one program begins at the same moment.
#[test]
#[ignore = "needs root"]
fn processes_that_run_at_the_same_time_are_all_seen() {
    const FAMILIES: usize = 8;
    const EACH: usize = 400;
    let site = Site::new();
    let script = format!(
        "for f in $(seq {FAMILIES}); do \
         (i=0; while [ $i -lt {EACH} ]; do /bin/true $f-$i; i=$((i+1)); done) & done; wait"
    );
    site.run_script(&script)
        .patience(Duration::from_secs(200))
        .end()
        .ok();
    let session = site.recorded();
    session.assert_nothing_dropped();
    for family in 1..=FAMILIES {
        let mut parents: Vec<_> = (0..EACH)
            .map(|number| {
                let argument = format!("{family}-{number}");
                let [run] = session.execs(&["/bin/true", &argument])[..] else {
                    panic!("not one run of {argument}");
                };
                let mut processes = session.document.processes.iter();
                processes
                    .find(|process| process.key == run.process)
                    .unwrap()
                    .parent_key
            })
            .collect();
        parents.dedup();
        assert_eq!(parents.len(), 1, "a family has one parent");
    }
    assert_eq!(
        session.actions("process.exit").count(),
        FAMILIES * (EACH + 1) + 2
    );
}

/// Ways to make, change, name and remove files.
const FILES: &str = "\
import os, sys
os.chdir(sys.argv[1])
folder = os.open('.', os.O_RDONLY | os.O_DIRECTORY)
os.close(os.open('by-dirfd', os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=folder))
os.rename('by-dirfd', 'renamed', src_dir_fd=folder, dst_dir_fd=folder)
os.unlink('renamed', dir_fd=folder)
os.mkdir('folder'); open('folder/inside', 'w').close()
os.rename('folder', 'moved'); os.unlink('moved/inside'); os.rmdir('moved')
with open('appended', 'a') as file:
    file.write('x' * 10)
fd = os.open('positioned', os.O_RDWR | os.O_CREAT)
os.pwrite(fd, b'y' * 100, 1000); os.pread(fd, 50, 1000); os.writev(fd, [b'a', b'bc']); os.close(fd)
with open('kept', 'w') as file:
    file.write('kept'); file.flush()
    os.unlink('kept')
    file.write('after')
with open('copied', 'wb') as target, open('source', 'rb') as source:
    os.sendfile(target.fileno(), source.fileno(), 0, 5000)
with open('ranged', 'wb') as target, open('source', 'rb') as source:
    os.copy_file_range(source.fileno(), target.fileno(), 3000)
open('source', 'r+').truncate(100)
for name in ('missing', 'folder/none'):
    try:
        os.unlink(name)
    except OSError:
        pass
try:
    open('missing')
except OSError:
    pass
";

#[test]
#[ignore = "needs root"]
fn files_are_seen_however_they_are_used() {
    let site = Site::new();
    let folder = site.work();
    fs::write(folder.join("source"), vec![b's'; 10_000]).unwrap();
    site.run([PYTHON, "-c", FILES, folder.to_str().unwrap()])
        .end()
        .ok();
    let session = site.recorded();
    session.assert_nothing_dropped();
    for (kind, name) in [
        ("file.create", "by-dirfd"),
        ("file.rename", "renamed"),
        ("file.delete", "renamed"),
        ("file.create", "folder/inside"),
        ("file.rename", "moved"),
        ("file.delete", "moved/inside"),
        ("file.delete", "moved"),
        ("file.create", "appended"),
        ("file.create", "positioned"),
        ("file.delete", "kept"),
    ] {
        assert_eq!(
            session.on_file(kind, &folder.join(name)).len(),
            1,
            "{kind} of {name}"
        );
    }
    let bytes = |kind, name: &str| -> u64 {
        let actions = session.on_file(kind, &folder.join(name));
        let bytes = |action: &&Action| attribute(action, "agentsight.bytes").as_u64();
        actions.iter().filter_map(bytes).sum()
    };
    for (kind, name, expected) in [
        ("file.write", "appended", 10),
        ("file.write", "positioned", 103),
        ("file.read", "positioned", 50),
        ("file.write", "kept", 9),
        ("file.write", "copied", 5000),
        ("file.write", "ranged", 3000),
        ("file.read", "source", 8000),
    ] {
        assert_eq!(bytes(kind, name), expected, "{kind} of {name}");
    }
    // What failed did not happen.
    for kind in ["file.open", "file.delete", "file.create"] {
        assert_eq!(
            session.on_file(kind, &folder.join("missing")).len(),
            0,
            "{kind}"
        );
    }
}

#[test]
#[ignore = "needs root"]
fn names_that_are_no_text_are_kept_as_well_as_they_can_be() {
    let site = Site::new();
    let mut name = OsString::from("bad-");
    name.push(OsString::from_vec(vec![0xff, 0xfe]));
    site.run(["touch"]).args([&name]).end().ok();
    let session = site.recorded();
    let expected = site.work().join("bad-\u{fffd}\u{fffd}");
    assert_eq!(session.on_file("file.create", &expected).len(), 1);
}

#[test]
#[ignore = "needs root"]
fn long_paths_are_whole_or_marked_as_cut() {
    // Up to what one name and one path may have.
    for (depth, length) in [(1, 250), (10, 100), (30, 100), (15, 250)] {
        let names: Vec<String> = (0..depth).map(|n| format!("{n:0>length$}")).collect();
        let folder = names.join("/");
        let site = Site::new();
        let script =
            format!("mkdir -p '{folder}' && echo x > '{folder}/file' && rm '{folder}/file'");
        site.run_script(&script).end().ok();
        let session = site.recorded();
        let path = site.work().join(&folder).join("file");
        for kind in ["file.create", "file.write", "file.delete"] {
            let ours: Vec<&Action> = session
                .actions(kind)
                .filter(|action| {
                    attribute(action, "file.path")
                        .as_str()
                        .unwrap()
                        .ends_with("/file")
                })
                .collect();
            let [action] = ours[..] else {
                panic!("{kind}: {ours:?}");
            };
            let whole = *attribute(action, "file.path") == path.to_str().unwrap();
            let cut = attribute(action, "agentsight.file.path_cut") == true;
            assert!(
                whole != cut,
                "{kind}, {depth} deep: {}",
                attribute(action, "file.path")
            );
        }
    }
}

/// A server and a client in one process, for each family, and a datagram.
const SOCKETS: &str = "\
import socket, sys, threading
def serve(listener):
    peer, _ = listener.accept()
    with peer:
        while piece := peer.recv(65536):
            pass
        peer.sendall(b'z' * 3000)
for family, address in ((socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1')):
    with socket.socket(family) as listener:
        listener.bind((address, 0))
        listener.listen()
        port = listener.getsockname()[1]
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        with socket.create_connection((address, port)) as client:
            client.sendall(b'y' * 100_000)
            client.shutdown(socket.SHUT_WR)
            received = 0
            while piece := client.recv(65536):
                received += len(piece)
        thread.join()
        print(address, port, received)
with socket.socket(socket.AF_INET) as refused:
    try:
        refused.connect(('127.0.0.1', 1))
    except ConnectionRefusedError:
        print('refused')
";

#[test]
#[ignore = "needs root"]
fn sockets_of_both_families_with_their_bytes() {
    let site = Site::new();
    let ended = site.run([PYTHON, "-c", SOCKETS]).end().ok();
    let session = site.recorded();
    session.assert_nothing_dropped();
    let mut lines = ended.text().lines();
    for family in ["ipv4", "ipv6"] {
        let words: Vec<&str> = lines.next().unwrap().split(' ').collect();
        let [address, port, "3000"] = words[..] else {
            panic!("{words:?}");
        };
        let port: u64 = port.parse().unwrap();
        for (kind, side, sent, received) in [
            ("network.connect", "peer", 100_000, 3_000),
            ("network.accept", "local", 3_000, 100_000),
            ("network.listen", "local", 0, 0),
        ] {
            let found: Vec<&Action> = session
                .actions(kind)
                .filter(|action| *attribute(action, &format!("network.{side}.port")) == port)
                .collect();
            let [action] = found[..] else {
                panic!("{family}, {kind}: {found:?}");
            };
            assert_eq!(
                *attribute(action, &format!("network.{side}.address")),
                address
            );
            assert_eq!(*attribute(action, "network.type"), family);
            if kind != "network.listen" {
                assert_eq!(
                    *attribute(action, "agentsight.network.sent_bytes"),
                    sent,
                    "{kind}"
                );
                let seen = attribute(action, "agentsight.network.received_bytes");
                assert_eq!(*seen, received, "{kind}");
            }
        }
    }
    assert_eq!(lines.next(), Some("refused"));
    let refused = session
        .actions("network.connect")
        .filter(|action| *attribute(action, "network.peer.port") == 1);
    assert_eq!(refused.count(), 1, "an attempt is an act");
}

/// A cgroup that is named as runtimes name theirs, removed at the end.
struct Cgroup(PathBuf);

impl Cgroup {
    fn like_a_containers(id: &str) -> Option<Self> {
        let mount = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
            .into_iter()
            .map(Path::new)
            .find(|mount| mount.join("cgroup.procs").exists())?;
        let folder = mount.join(format!("docker-{id}.scope"));
        fs::create_dir(&folder).ok()?;
        Some(Self(folder))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
#[ignore = "needs root"]
fn a_process_in_a_container_is_said_to_be_in_it() {
    let id = format!("{:064x}", std::process::id());
    let cgroup = Cgroup::like_a_containers(&id).expect("cgroup v2 is mounted");
    let procs = cgroup.0.join("cgroup.procs");
    let site = Site::new();
    let script = format!("/bin/true; echo $$ > '{}'; /bin/true", procs.display());
    site.run_script(&script).end().ok();
    let session = site.recorded();
    let inside: Vec<_> = session
        .document
        .processes
        .iter()
        .filter(|process| process.exe.ends_with("/true"))
        .map(|process| process.container.as_deref())
        .collect();
    assert_eq!(inside, [None, Some(id.as_str())]);
    assert_eq!(session.document.containers.len(), 1);
    assert_eq!(session.document.containers[0].runtime, "docker");
}

#[test]
#[ignore = "needs root"]
fn a_command_without_pipes_has_none() {
    let site = Site::new();
    site.run(["/bin/true"]).end().ok();
    assert_eq!(site.recorded().actions("ipc.pipe").count(), 0);
}
