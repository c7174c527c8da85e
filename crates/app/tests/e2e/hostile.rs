//! Names and arguments that are made to deceive whoever reads the report on a terminal.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::support::{Call, PROGRAM, Site};

/// What a terminal would act upon, and what it would show otherwise than it is.
const TRICKS: [&[u8]; 8] = [
    b"\x1b]0;title\x07",
    b"\x1b[2J\x1b[1;1H",
    b"\x9b31m",
    b"line\nerror: forged line",
    b"back\rover",
    "right\u{202e}tfel".as_bytes(),
    b"bad\xff\xfe utf-8",
    "zero\u{200b}width\u{feff}".as_bytes(),
];

/// Whether it may go to a terminal: text, line ends, and nothing that hides or moves.
fn is_harmless(character: char) -> bool {
    character == '\n'
        || !(character.is_control()
            || matches!(character,
                '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'))
}

#[track_caller]
fn assert_harmless(what: &str, bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap();
    if let Some(character) = text.chars().find(|character| !is_harmless(*character)) {
        panic!("{what} has {character:?}:\n{}", text.escape_debug());
    }
    let forged = text.lines().any(|line| line.starts_with("error: forged"));
    assert!(!forged, "{what} has a forged line:\n{text}");
}

#[test]
#[ignore = "needs root"]
fn no_trick_reaches_the_terminal() {
    let site = Site::new();
    // As program, argument, file that is written, read, renamed and removed, and as working directory.
    let script = "\
for trick in \"$@\"; do
  mkdir \"d$trick\"; cd \"d$trick\" || exit 9
  /bin/true \"$trick\"
  ln -s /bin/true \"p$trick\"; \"./p$trick\"
  echo x > \"f$trick\"; cat \"f$trick\" > /dev/null; mv \"f$trick\" \"g$trick\"; cp \"g$trick\" \"h$trick\"
  rm \"g$trick\"
  cd ..
done";
    let ended = site
        .agentsight(["run", "--", "/bin/sh", "-c", script, "sh"])
        .args(TRICKS.map(OsStr::from_bytes))
        .end()
        .ok();
    assert_harmless("the report", ended.stderr.as_bytes());

    let session = site.recorded();
    for (command, arguments) in [
        ("show", &[][..]),
        ("sessions", &[]),
        ("verify", &[]),
        // In JSON they are escaped.
        ("events", &[]),
        ("show", &["--json"]),
        ("sessions", &["--json"]),
    ] {
        let ended = site.agentsight([command]).args(arguments).end().ok();
        if command != "events" && arguments.is_empty() {
            assert_harmless(command, &ended.stdout);
        }
        assert!(!ended.stdout.contains(&0x1b), "{command}");
        assert_harmless(command, ended.stderr.as_bytes());
    }

    // Nothing is lost of them either.
    assert_eq!(session.actions("file.rename").count(), TRICKS.len());
    assert_eq!(session.actions("file.delete").count(), TRICKS.len());
    let line = Value::from("line\nerror: forged line");
    assert!(
        session
            .actions("process.exec")
            .any(|action| { action.attributes["process.command_args"][1] == line })
    );
}

#[test]
#[ignore = "needs root"]
fn a_command_of_a_deceiving_name_is_listed_harmlessly() {
    for (number, trick) in TRICKS.into_iter().enumerate() {
        let site = Site::new();
        let mut name = OsString::from(format!("{number}-"));
        name.push(OsStr::from_bytes(trick));
        let program = site.work().join(&name);
        symlink("/bin/true", &program).unwrap();
        let ended = site
            .agentsight(["run", "--"])
            .args([program.as_os_str(), OsStr::from_bytes(trick)])
            .end()
            .ok();
        assert_harmless("the report", ended.stderr.as_bytes());
        for command in ["show", "sessions"] {
            assert_harmless(command, &site.agentsight([command]).end().ok().stdout);
        }
    }
}

#[test]
#[ignore = "needs root"]
fn a_store_of_a_deceiving_name_is_told_harmlessly() {
    let site = Site::new();
    for trick in TRICKS {
        let store = site.path("work").join(OsStr::from_bytes(trick));
        fs::write(&store, "no store").unwrap();
        for arguments in [
            &["show"][..],
            &["verify"],
            &["run", "--", "true"],
            &["doctor"],
        ] {
            let ended = Call::new(PROGRAM)
                .args(arguments)
                .env("AGENTSIGHT_STORE", &store)
                .end();
            assert_harmless(arguments[0], ended.stderr.as_bytes());
            assert_harmless(arguments[0], &ended.stdout);
        }
    }
}

/// A path through links and `/proc` says nothing; what the kernel found there does. Names of removed and
/// renamed files that lead through a symbolic link are a known gap: docs/adr/gaps/names-through-links.md.
#[test]
#[ignore = "needs root"]
fn names_are_those_of_the_kernel() {
    let site = Site::new();
    let real = site.path("real");
    fs::create_dir(&real).unwrap();
    symlink(&real, site.work().join("link")).unwrap();
    let script = "\
exec 7< link
echo 1 > link/a; cat link/a; mv ../real/a ../real/b; rm ../real/b
cd link
echo 1 > /proc/self/cwd/c; cat /proc/self/cwd/c; mv /proc/self/cwd/c /proc/self/cwd/d; rm /proc/self/cwd/d
echo 1 > /proc/self/fd/7/e; cat /proc/self/fd/7/e; mv /proc/self/fd/7/e /proc/self/fd/7/f; rm /proc/self/fd/7/f
echo 1 > ../real/./g; cat ../real//g; mv ../real/./g ../real/../real/h; rm ../real/./h";
    site.run_script(script).end().ok();
    let session = site.recorded();
    for (old, new) in [("a", "b"), ("c", "d"), ("e", "f"), ("g", "h")] {
        for (kind, name) in [
            ("file.create", old),
            ("file.write", old),
            ("file.read", old),
            ("file.rename", new),
            ("file.delete", new),
        ] {
            let found = session.on_file(kind, &real.join(name)).len();
            assert_eq!(found, 1, "{kind} of {name}");
        }
    }
}

#[test]
#[ignore = "needs root"]
fn long_arguments_are_whole_or_marked_as_cut() {
    let site = Site::new();
    let many: Vec<String> = (0..3000).map(|n| format!("argument-{n:05}")).collect();
    let long = "x".repeat(100_000);
    site.run(["/bin/true"]).args(&many).end().ok();
    let session = site.recorded();
    let [run] = session.actions("process.exec").collect::<Vec<_>>()[..] else {
        panic!("not one program run");
    };
    assert_all_or_marked(run, &many);

    let site = Site::new();
    site.run(["/bin/true", &long]).end().ok();
    let session = site.recorded();
    let [run] = session.actions("process.exec").collect::<Vec<_>>()[..] else {
        panic!("not one program run");
    };
    assert_all_or_marked(run, &[long]);
}

#[track_caller]
fn assert_all_or_marked(run: &agentsight_model::document::Action, expected: &[String]) {
    let argv = run.attributes["process.command_args"].as_array().unwrap();
    let cut = run.attributes.contains_key("agentsight.process.args_cut");
    let whole = argv[1..]
        == *expected
            .iter()
            .map(|text| Value::from(text.as_str()))
            .collect::<Vec<_>>();
    assert!(
        whole != cut,
        "{} arguments, marked as cut: {cut}",
        argv.len()
    );
}
