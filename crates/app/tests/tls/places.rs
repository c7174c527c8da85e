//! Wherever the TLS library lies, and however short it is used: copies of one's own, other mount
//! namespaces, overlays, files that are gone, programs that end at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::builds::{rustls, static_openssl};
use crate::support::{PYTHON, Site};
use crate::talk::{Talk, script, skip, text};

/// OpenSSL's libraries, of the distribution.
fn openssl_libraries() -> Vec<PathBuf> {
    let listed = Command::new("ldd").arg("/usr/bin/curl").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let libraries: Vec<PathBuf> = listed
        .split_ascii_whitespace()
        .filter(|word| {
            word.starts_with('/') && (word.contains("libssl.") || word.contains("libcrypto."))
        })
        .map(PathBuf::from)
        .collect();
    assert_eq!(libraries.len(), 2, "{listed}");
    libraries
}

fn copy_libraries(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for library in openssl_libraries() {
        fs::copy(&library, folder.join(library.file_name().unwrap())).unwrap();
    }
}

/// `env` with the library path that leads to copies.
fn with_libraries(folder: &Path) -> String {
    format!("LD_LIBRARY_PATH={}", folder.display())
}

fn libssl_in(folder: &Path) -> String {
    let library = &openssl_libraries()
        .into_iter()
        .find(|path| path.to_string_lossy().contains("libssl."))
        .unwrap();
    text(&folder.join(library.file_name().unwrap()))
}

#[test]
#[ignore = "needs root"]
fn a_copy_of_libssl() {
    let talk = Talk::new(4, 50_000);
    let folder = talk.site.path("lib");
    copy_libraries(&folder);
    talk.run(&[
        "env",
        &with_libraries(&folder),
        PYTHON,
        &script("post.py"),
        "pause,one",
    ])
    .end()
    .ok();
    talk.assert_recorded();
}

#[test]
#[ignore = "needs root"]
fn a_copy_of_libssl_that_is_removed_once_it_is_loaded() {
    let talk = Talk::new(4, 50_000);
    let folder = talk.site.path("lib");
    copy_libraries(&folder);
    let mode = format!("forget={},pause,one", libssl_in(&folder));
    talk.run(&[
        "env",
        &with_libraries(&folder),
        PYTHON,
        &script("post.py"),
        &mode,
    ])
    .end()
    .ok();
    talk.assert_recorded();
    assert!(!Path::new(&libssl_in(&folder)).exists());
}

#[test]
#[ignore = "needs root"]
fn a_program_that_removes_its_own_file() {
    let program = match static_openssl() {
        Ok(program) => program,
        Err(reason) => return skip("a client with OpenSSL inside", &reason),
    };
    let talk = Talk::new(4, 50_000);
    let copy = talk.site.path("forgotten");
    fs::copy(program, &copy).unwrap();
    talk.run(&[&text(&copy), "forget"]).end().ok();
    talk.assert_recorded();
    assert!(!copy.exists());
}

/// A client in a mount namespace of its own, in which `prepare` has put the libraries into `$LIBRARIES`.
#[track_caller]
fn in_mount_namespace(prepare: &str) {
    let talk = Talk::new(4, 50_000);
    for name in ["originals", "private"] {
        fs::create_dir(talk.site.path(name)).unwrap();
    }
    copy_libraries(&talk.site.path("originals"));
    let script = format!(
        "ORIGINALS={}; LIBRARIES={}; set -e; {prepare}; LD_LIBRARY_PATH=$LIBRARIES exec \"$@\"",
        talk.site.path("originals").display(),
        talk.site.path("private").display(),
    );
    talk.run(&[
        "unshare",
        "--mount",
        "/bin/sh",
        "-c",
        &script,
        "sh",
        PYTHON,
        &crate::talk::script("post.py"),
        "pause,one",
    ])
    .end()
    .ok();
    talk.assert_recorded();
    let left = fs::read_dir(talk.site.path("private")).unwrap().count();
    assert_eq!(left, 0, "the mount was not private");
}

#[test]
#[ignore = "needs root"]
fn a_copy_of_libssl_in_another_mount_namespace() {
    in_mount_namespace("mount -t tmpfs none $LIBRARIES; cp $ORIGINALS/* $LIBRARIES");
}

#[test]
#[ignore = "needs root"]
fn libssl_in_an_overlay() {
    in_mount_namespace(
        "mount -t tmpfs none $LIBRARIES; cd $LIBRARIES; mkdir low up work all; cp $ORIGINALS/* low; \
         mount -t overlay none -o lowerdir=low,upperdir=up,workdir=work all; LIBRARIES=$LIBRARIES/all",
    );
}

#[test]
#[ignore = "needs root"]
fn libssl_under_another_root() {
    in_mount_namespace(
        "mount -t tmpfs none $LIBRARIES; cp $ORIGINALS/* $LIBRARIES; mkdir $LIBRARIES/root; \
         mount --rbind / $LIBRARIES/root; mkdir -p $LIBRARIES/root/run/agentsight-test; \
         mount -t tmpfs none $LIBRARIES/root/run/agentsight-test; \
         cp $ORIGINALS/* $LIBRARIES/root/run/agentsight-test; \
         LIBRARIES=/run/agentsight-test; set -- chroot $(dirname $ORIGINALS)/private/root \"$@\"",
    );
}

#[test]
#[ignore = "needs root"]
fn fifty_short_lived_clients() {
    const COUNT: usize = 50;
    let talk = Talk::with_answer("Short.", COUNT, 300);
    let commands: Vec<String> = talk
        .bodies()
        .iter()
        .map(|body| {
            format!(
                "curl -sSf -o /dev/null --cacert {} --data-binary @{} {}",
                talk.ca(),
                text(body),
                talk.endpoint()
            )
        })
        .collect();
    talk.site.run_script(&commands.join(" && ")).end().ok();
    let recorded = talk.assert_recorded();
    assert_eq!(recorded.document.coverage.tls.streams, COUNT as u64);
}

/// Clients that live for 20 ms, with the library inside, and that were there before the session. They are looked
/// at while they run.
struct ShortLived {
    talk: Talk,
    commands: Vec<String>,
}

impl ShortLived {
    fn new(program: &Path, mode: &str) -> Self {
        let talk = Talk::with_answer("Short.", 10, 300);
        let commands = talk
            .bodies()
            .iter()
            .enumerate()
            .map(|(number, body)| {
                let copy = text(&talk.site.path(&format!("client-{number}")));
                fs::copy(program, &copy).unwrap();
                format!(
                    "{copy} {mode} {} {} {}",
                    talk.server.url(),
                    talk.ca(),
                    text(body)
                )
            })
            .collect();
        Self { talk, commands }
    }

    /// Runs them all. Returns how many conversations were read whole, and how many are dark.
    fn run(&self) -> (usize, usize) {
        let site = &self.talk.site;
        site.run_script(&self.commands.join(" && ")).end().ok();
        let recorded = site.recorded();
        recorded.assert_nothing_dropped();
        let calls = &recorded.document.llm_calls;
        let whole = calls.iter().filter(|call| call.complete).count();
        let tls = &recorded.document.coverage.tls;
        let dark = tls.dark_connections.len();
        println!("{whole} read, {dark} dark");
        // One that was entered in the middle is neither, but its stream is told.
        assert!(whole.max(tls.streams as usize) + dark >= self.commands.len());
        (whole, dark)
    }
}

/// None of them passes unsaid.
#[test]
#[ignore = "needs root"]
fn short_lived_clients_of_programs_that_are_new_are_read_or_said_to_be_dark() {
    match static_openssl() {
        Ok(program) => {
            ShortLived::new(&program, "one").run();
        }
        Err(reason) => skip("a client with OpenSSL inside", &reason),
    }
}

/// What one session has found, the next one knows.
#[test]
#[ignore = "needs root"]
fn short_lived_clients_of_programs_that_an_earlier_session_has_seen() {
    const ANALYSES: &str = "tls-analyses";
    let program = match static_openssl() {
        Ok(program) => program,
        Err(reason) => return skip("a client with OpenSSL inside", &reason),
    };
    let clients = ShortLived::new(&program, "late");
    // What was changed a moment ago is not remembered.
    std::thread::sleep(Duration::from_millis(3_100));
    let store = clients.talk.site.store();
    let session = |analyses: &[u8]| {
        let _ = fs::remove_dir_all(&store);
        fs::create_dir(&store).unwrap();
        fs::write(store.join(ANALYSES), analyses).unwrap();
        let (whole, _) = clients.run();
        (fs::read(store.join(ANALYSES)).unwrap(), whole)
    };
    let mut analyses = session(b"").0;
    // It is written anew if anything had to be analysed. One that was gone too soon is so in the next session.
    let whole = (0..4).find_map(|_| {
        let (next, whole) = session(&analyses);
        let is_known = next == analyses;
        analyses = next;
        is_known.then_some(whole)
    });
    assert!(whole.expect("nothing is remembered") > 0);
    let mut damaged = analyses.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let (next, _) = session(&damaged);
    assert!(next != damaged && next != analyses);
}

/// Programs that the tree makes itself, and then runs: each is held at its start until it is probed. That they will
/// be is settled while they are written, which on a busy machine takes a moment.
#[test]
#[ignore = "needs root"]
fn short_lived_clients_of_programs_that_the_tree_makes() {
    let program = match static_openssl() {
        Ok(program) => program,
        Err(reason) => return skip("a client with OpenSSL inside", &reason),
    };
    let talk = Talk::with_answer("Short.", 10, 300);
    let commands: Vec<String> = talk
        .bodies()
        .iter()
        .enumerate()
        .map(|(number, body)| {
            let copy = text(&talk.site.path(&format!("client-{number}")));
            // Executable from the beginning, as by `cp`, or in the end, as by linkers. No two are the same.
            let program = program.display();
            let make = if number % 2 == 0 {
                format!("cp {program} {copy} && echo {number} >> {copy}")
            } else {
                format!("cat {program} > {copy} && echo {number} >> {copy} && chmod +x {copy}")
            };
            format!(
                "{make} && sleep 0.1 && {copy} one {} {} {}",
                talk.server.url(),
                talk.ca(),
                text(body)
            )
        })
        .collect();
    talk.site.run_script(&commands.join(" && ")).end().ok();
    talk.assert_recorded();
}

/// One file, two programs: where the first one was probed, the second one has other code.
#[test]
#[ignore = "needs root"]
fn a_program_that_is_replaced_in_place() {
    let (first, second) = match (static_openssl(), rustls("ring")) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(reason), _) | (_, Err(reason)) => return skip("a replaced program", &reason),
    };
    let talk = Talk::new(4, 20_000);
    let place = text(&talk.site.path("program"));
    let commands: Vec<String> = talk
        .bodies()
        .iter()
        .zip([&first, &second, &first, &second])
        .map(|(body, program)| {
            format!(
                "cp {} {place} && sleep 0.1 && {place} one {} {} {}",
                program.display(),
                talk.server.url(),
                talk.ca(),
                text(body)
            )
        })
        .collect();
    talk.site.run_script(&commands.join(" && ")).end().ok();
    talk.assert_recorded();
}

/// A program that waits for us runs when we are gone.
#[test]
#[ignore = "needs root"]
fn nothing_waits_for_a_dead_observer() {
    let site = Site::new();
    let [copy, ready, go, done] =
        ["copy", "ready", "go", "done"].map(|name| text(&site.path(name)));
    let mut watching = site
        .run_script(&format!(
            "cp /bin/true {copy}; touch {ready}; while ! [ -e {go} ]; do sleep 0.02; done; \
             {copy} && touch {done}"
        ))
        .start();
    watching.wait_until("the program is made", |_| Path::new(&ready).exists());
    std::thread::sleep(Duration::from_millis(100));
    watching.signal(Signal::SIGSTOP);
    fs::write(&go, "").unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert!(!Path::new(&done).exists(), "it was not held");
    watching.signal(Signal::SIGKILL);
    let deadline = Instant::now() + Duration::from_secs(5);
    while !Path::new(&done).exists() {
        assert!(Instant::now() < deadline, "it waits for ever");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
#[ignore = "needs root"]
fn a_process_that_has_loaded_and_removed_its_library_before_it_is_watched() {
    let talk = Talk::new(4, 50_000);
    let folder = talk.site.path("lib");
    copy_libraries(&folder);
    let go = talk.site.path("go");
    let mode = format!("forget={},wait={},one", libssl_in(&folder), go.display());
    let client = talk.command(&[PYTHON, &script("post.py"), &mode]);
    let mut client = crate::support::Call::new("env")
        .args([with_libraries(&folder)])
        .args(client)
        .start();
    let library = PathBuf::from(libssl_in(&folder));
    client.wait_until("the library is loaded", |_| !library.exists());
    let pid = client.pid().to_string();
    let mut watching = talk
        .site
        .agentsight(["attach", "--quiet", "--pid", &pid])
        .start();
    let store = talk.site.store();
    watching.wait_until("it watches", |_| has_begun(&store));
    fs::write(go, "").unwrap();
    client.end().ok();
    watching.end().ok();
    talk.assert_recorded();
}

/// Whether a session has been begun in the store.
fn has_begun(store: &Path) -> bool {
    fs::read_dir(store.join("sessions")).is_ok_and(|mut sessions| {
        sessions.any(|session| {
            fs::read_dir(session.unwrap().path()).is_ok_and(|files| files.count() > 0)
        })
    })
}

/// Plaintext of a process that is not watched stays in the kernel, though its library is probed.
#[test]
#[ignore = "needs root"]
fn nothing_of_other_processes() {
    let talk = Talk::new(2, 2_000);
    let site = Site::new();
    let outsider = talk.command(&[PYTHON, &script("post.py"), "one"]);
    let mut watching = site.run_script("sleep 2").start();
    let store = site.store();
    watching.wait_until("it watches", |_| has_begun(&store));
    crate::support::Call::new(&outsider[0])
        .args(&outsider[1..])
        .end()
        .ok();
    watching.end().ok();
    let recorded = site.recorded();
    assert_eq!(recorded.document.llm_calls, []);
    assert_eq!(recorded.document.coverage.tls.plaintext_bytes, 0);
    recorded.assert_without(&["model-0"]);
}
