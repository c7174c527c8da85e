//! What is checked of a guest's sections. Each check says in a few words what it found.

use serde_json::Value;

use super::guest::{Section, Sections};
use crate::evasion::Results;

/// What a check found, or what is wrong.
pub(super) type Outcome = std::result::Result<String, String>;

/// A check and what came of it.
pub(super) struct Result {
    pub(super) name: &'static str,
    pub(super) outcome: Outcome,
}

type Check = (&'static str, fn(&Sections) -> Outcome);

const CHECKS: &[Check] = &[
    ("programs load", programs_load),
    ("sensor tests", sensor_tests),
    ("doctor", doctor),
    ("exit code", exit_code),
    ("exec", exec),
    ("files", files),
    ("connect", connect),
    ("tls", tls),
    ("tls probes", |sections| capability(sections, "tls")),
    ("tls stacks", |sections| capability(sections, "tls.stacks")),
    ("conservation", conservation),
    ("ledger", ledger),
    ("memory", memory),
];

/// The exit code of the command that is watched in `init.sh`.
const WATCHED_EXIT_CODE: i32 = 7;

/// What is downloaded over TLS there.
const TLS_DOWNLOAD_BYTES: u64 = 1_000_000;

pub(super) fn all(sections: &Sections) -> Vec<Result> {
    CHECKS
        .iter()
        .map(|&(name, check)| Result {
            name,
            outcome: check(sections),
        })
        .collect()
}

/// What the programs that try not to be seen left, by name of file.
pub(super) fn attacked(sections: &Sections) -> Results {
    sections
        .iter()
        .filter_map(|(name, section)| {
            let file = name.strip_prefix("evasion/")?;
            Some((file.to_owned(), section.text.clone()))
        })
        .collect()
}

fn section<'a>(sections: &'a Sections, name: &str) -> std::result::Result<&'a Section, String> {
    sections
        .get(name)
        .ok_or_else(|| format!("the guest did not get to `{name}`"))
}

/// A section that is JSON and whose command succeeded.
fn document(sections: &Sections, name: &str) -> std::result::Result<Value, String> {
    let section = section(sections, name)?;
    if section.exit_code != 0 {
        return Err(format!("`{name}` ended with {}", section.exit_code));
    }
    serde_json::from_str(&section.text).map_err(|error| format!("`{name}` is no JSON: {error}"))
}

/// Instructions that the verifier walked through, by program.
pub(super) fn verifier(sections: &Sections) -> Vec<(String, u64)> {
    let Some(section) = sections.get("verifier") else {
        return Vec::new();
    };
    section
        .text
        .lines()
        // The first one shares its line with the name of the test.
        .filter_map(|line| line.split_once("verifier ")?.1.split_once(' '))
        .filter_map(|(program, count)| Some((program.to_owned(), count.trim().parse().ok()?)))
        .collect()
}

fn programs_load(sections: &Sections) -> Outcome {
    let section = section(sections, "verifier")?;
    let programs = verifier(sections).len();
    if section.exit_code == 0 && programs > 0 {
        return Ok(programs.to_string());
    }
    let refusal = section
        .text
        .lines()
        .find(|line| line.contains("left: Some("))
        .unwrap_or("the test ended badly");
    Err(refusal.trim().to_owned())
}

fn sensor_tests(sections: &Sections) -> Outcome {
    let section = section(sections, "sensor")?;
    let failed: Vec<&str> = section
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
        .collect();
    let passed = section
        .text
        .lines()
        .filter(|line| line.starts_with("test ") && line.ends_with(" ... ok"))
        .count();
    if section.exit_code == 0 && passed > 0 {
        return Ok(format!("{passed} passed"));
    }
    Err(format!("{passed} passed, failed: {}", failed.join(", ")))
}

fn doctor(sections: &Sections) -> Outcome {
    let diagnosis = document(sections, "doctor")?;
    let checks = diagnosis["checks"].as_array().ok_or("no checks")?;
    let names = |state: &str| -> Vec<&str> {
        checks
            .iter()
            .filter(|check| check["state"] == state)
            .filter_map(|check| check["name"].as_str())
            .collect()
    };
    let failed = names("failed");
    if !failed.is_empty() {
        return Err(format!("failed: {}", failed.join(", ")));
    }
    let limited = names("limited");
    Ok(if limited.is_empty() {
        "ok".to_owned()
    } else {
        format!("ok, limited: {}", limited.join(", "))
    })
}

fn exit_code(sections: &Sections) -> Outcome {
    let code = section(sections, "run")?.exit_code;
    let session = document(sections, "show")?;
    let seen = session["session"]["exit_code"].as_i64();
    if code == WATCHED_EXIT_CODE && seen == Some(i64::from(WATCHED_EXIT_CODE)) {
        return Ok("kept and recorded".to_owned());
    }
    Err(format!(
        "{WATCHED_EXIT_CODE} became {code}, recorded as {seen:?}"
    ))
}

fn actions(session: &Value) -> impl Iterator<Item = (&str, &Value)> {
    session["actions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|action| Some((action["kind"].as_str()?, &action["attributes"])))
}

fn exec(sections: &Sections) -> Outcome {
    let session = document(sections, "show")?;
    let expected = [
        &["/bin/cat", "/etc/greeting"][..],
        &["/bin/mv", "/tmp/copy", "/tmp/moved"],
        &["/bin/rm", "/tmp/moved"],
        &[
            "/bin/wget",
            "-q",
            "-O",
            "/tmp/page",
            "http://127.0.0.1:8080/page",
        ],
    ];
    for words in expected {
        let wanted = Value::from(words);
        let seen = actions(&session).any(|(kind, attributes)| {
            kind == "process.exec" && attributes["process.command_args"] == wanted
        });
        if !seen {
            return Err(format!("no process.exec of `{}`", words.join(" ")));
        }
    }
    Ok("all seen".to_owned())
}

fn files(sections: &Sections) -> Outcome {
    let session = document(sections, "show")?;
    let expected = [
        ("file.open", "/etc/greeting", None),
        ("file.read", "/etc/greeting", Some(6)),
        ("file.create", "/tmp/copy", None),
        ("file.write", "/tmp/copy", Some(6)),
        ("file.rename", "/tmp/moved", None),
        ("file.delete", "/tmp/moved", None),
        ("file.write", "/tmp/page", Some(5)),
    ];
    for (kind, path, bytes) in expected {
        let seen = actions(&session).any(|(seen, attributes)| {
            seen == kind
                && attributes["file.path"] == path
                && bytes.is_none_or(|bytes: u64| attributes["agentsight.bytes"] == bytes)
        });
        if !seen {
            return Err(format!("no {kind} of {path}"));
        }
    }
    Ok("all seen".to_owned())
}

fn connect(sections: &Sections) -> Outcome {
    let session = document(sections, "show")?;
    let seen = actions(&session).any(|(kind, attributes)| {
        kind == "network.connect"
            && attributes["network.peer.address"] == "127.0.0.1"
            && attributes["network.peer.port"] == 8080
    });
    if seen {
        Ok("seen".to_owned())
    } else {
        Err("no network.connect to 127.0.0.1:8080".to_owned())
    }
}

/// The plaintext of a download over TLS, of which every byte is to be there.
fn tls(sections: &Sections) -> Outcome {
    if section(sections, "openssl")?.exit_code != 0 {
        return Ok("not checked: the host has no openssl".to_owned());
    }
    let session = document(sections, "show")?;
    let coverage = &session["coverage"]["tls"];
    let bytes = coverage["plaintext_bytes"].as_u64().unwrap_or(0);
    if bytes > TLS_DOWNLOAD_BYTES && coverage["missing_bytes"] == 0 {
        return Ok(format!("{bytes} bytes, none missing"));
    }
    Err(coverage.to_string())
}

/// What the session says of one of its capabilities.
fn capability(sections: &Sections, name: &str) -> Outcome {
    let session = document(sections, "show")?;
    session["coverage"]["capabilities"][name]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("the session says nothing of `{name}`"))
}

/// Invariant 3: produced = stored + dropped; and so little happens that nothing may be dropped.
fn conservation(sections: &Sections) -> Outcome {
    let session = document(sections, "show")?;
    let classes = session["coverage"]["events"]
        .as_object()
        .ok_or("no counters")?;
    let mut total = 0;
    for (class, counters) in classes {
        let count = |name: &str| counters[name].as_u64();
        let (Some(produced), Some(stored)) = (count("produced"), count("stored")) else {
            return Err(format!("{class} has no counters"));
        };
        let dropped: u64 = counters["dropped"]
            .as_object()
            .into_iter()
            .flat_map(|reasons| reasons.values())
            .filter_map(Value::as_u64)
            .sum();
        if produced != stored || dropped > 0 {
            return Err(format!("{class}: {counters}"));
        }
        total += stored;
    }
    if total == 0 {
        return Err("nothing was produced".to_owned());
    }
    Ok("nothing lost".to_owned())
}

fn ledger(sections: &Sections) -> Outcome {
    let verified = section(sections, "verify")?;
    if verified.exit_code == 0 {
        Ok("intact".to_owned())
    } else {
        Err(format!("`verify` ended with {}", verified.exit_code))
    }
}

/// What watching takes: programs, maps, rings and the process, all told.
fn memory(sections: &Sections) -> Outcome {
    let available = |name: &str| {
        let text = &section(sections, name)?.text;
        text.split_ascii_whitespace()
            .nth(1)
            .and_then(|kilobytes| kilobytes.parse::<u64>().ok())
            .ok_or_else(|| format!("`{name}` says nothing"))
    };
    let (before, during) = (available("before")?, available("during")?);
    let megabytes = before.saturating_sub(during) / 1024;
    // To the next ten: the rest differs from run to run.
    Ok(format!("about {} MB", megabytes.next_multiple_of(10)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sections(parts: &[(&str, &str, i32)]) -> Sections {
        parts
            .iter()
            .map(|&(name, text, exit_code)| {
                let text = text.to_owned();
                (name.to_owned(), Section { text, exit_code })
            })
            .collect()
    }

    #[test]
    fn the_verifiers_numbers_are_read() {
        let text = "running 1 test\ntest every_program ... verifier first 157\nverifier second 9\nok\n\
                    verifier third x\n";
        let found = verifier(&sections(&[("verifier", text, 0)]));
        assert_eq!(found, [("first".to_owned(), 157), ("second".to_owned(), 9)]);
    }

    #[test]
    fn conservation_is_strict() {
        let session = |counters: &str| {
            let text = format!("{{\"coverage\":{{\"events\":{{\"file\":{counters}}}}}}}");
            conservation(&sections(&[("show", &text, 0)]))
        };
        assert!(session(r#"{"produced":3,"stored":3,"dropped":{}}"#).is_ok());
        for wrong in [
            r#"{"produced":3,"stored":2,"dropped":{"ring_full":1}}"#,
            r#"{"produced":3,"stored":2,"dropped":{}}"#,
            r#"{"produced":0,"stored":0,"dropped":{}}"#,
            "{}",
        ] {
            assert!(session(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_guest_that_says_nothing_passes_no_check() {
        for check in all(&Sections::new()) {
            assert!(check.outcome.is_err(), "{}", check.name);
        }
    }
}
