//! What the kernel's verifier makes of the programs: whether it lets them in, and how far it had to look.
//!
//! For tests and for the kernel matrix. The verifier walks through at most a million instructions (since
//! 5.2), counted over all paths, so a harmless change of the source may cost a program its place in some
//! kernel; how many it walked is watched for that reason.

use std::sync::{Mutex, PoisonError};

use libbpf_rs::PrintLevel;
use libbpf_rs::skel::OpenSkel;

use crate::sensor::open_programs;
use crate::{Capabilities, ProbeError};

/// `BPF_LOG_STATS`: totals only.
const LOG_STATISTICS: u32 = 4;
/// Of a refused program so many lines of the verifier's log are kept.
const KEPT_LINES: usize = 12;

/// How far the verifier had to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramCost {
    /// The program.
    pub name: String,
    /// Instructions walked through, over all paths.
    pub instruction_count: u64,
}

/// What came of loading the programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// The programs that were let in, in order of loading.
    pub accepted: Vec<ProgramCost>,
    /// The end of the verifier's log of the first one that was not; it ends the loading.
    pub refusal: Option<String>,
}

/// What libbpf printed. It takes a function without a context, so there is one place for all.
static MESSAGES: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn keep(_: PrintLevel, message: String) {
    MESSAGES
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(message);
}

/// Loads the programs as [`Sensor`](crate::Sensor) does, attaches nothing, and unloads them again.
///
/// Not to be called from two threads at once: libbpf has one log.
///
/// # Errors
/// [`ProbeError::Privilege`], [`ProbeError::Kernel`], or something other than a program was refused.
pub fn verify() -> Result<Verification, ProbeError> {
    let mut open = open_programs(Capabilities::detect()?)?;
    for mut program in open.open_object_mut().progs_mut() {
        program.set_log_level(LOG_STATISTICS);
    }
    let previous = libbpf_rs::set_print(Some((PrintLevel::Debug, keep)));
    let loaded = open.load();
    libbpf_rs::set_print(previous);
    let messages = std::mem::take(&mut *MESSAGES.lock().unwrap_or_else(PoisonError::into_inner));
    let verification = read(&messages);
    match loaded {
        Err(error) if verification.refusal.is_none() => {
            Err(ProbeError::kernel("load the kernel programs")(error))
        }
        _ => Ok(verification),
    }
}

/// Reads libbpf's messages of the form
/// `prog 'NAME': -- BEGIN PROG LOAD LOG --`, the verifier's log, `-- END PROG LOAD LOG --`.
fn read(messages: &[String]) -> Verification {
    let mut verification = Verification::default();
    let mut refused = None;
    for message in messages {
        let Some((name, rest)) = named(message) else {
            continue;
        };
        if rest.starts_with("BPF program load failed") {
            refused = Some(name);
        }
        let Some((_, log)) = rest.split_once("-- BEGIN PROG LOAD LOG --\n") else {
            continue;
        };
        if refused == Some(name) {
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(KEPT_LINES);
            let end = lines.get(from..).unwrap_or_default().join("\n");
            verification.refusal = Some(format!("{name}: {end}"));
        } else if let Some(instruction_count) = instruction_count(log) {
            verification.accepted.push(ProgramCost {
                name: name.to_owned(),
                instruction_count,
            });
        }
    }
    verification.refusal = verification
        .refusal
        .or_else(|| refused.map(|name| format!("{name}: no log")));
    verification
}

fn named(message: &str) -> Option<(&str, &str)> {
    let rest = message.trim_start_matches("libbpf: ");
    rest.strip_prefix("prog '")?.split_once("': ")
}

/// The number in `processed 157 insns (limit 1000000) ...`.
fn instruction_count(log: &str) -> Option<u64> {
    log.lines()
        .find_map(|line| line.strip_prefix("processed "))?
        .split_once(' ')?
        .0
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_and_a_refusal_are_read() {
        let log = |name: &str, text: &str| {
            format!(
                "libbpf: prog '{name}': -- BEGIN PROG LOAD LOG --\n{text}\n-- END PROG LOAD LOG --\n"
            )
        };
        let messages = [
            "libbpf: loading object from buffer\n".to_owned(),
            log(
                "first",
                "verification time 9 usec\nprocessed 157 insns (limit 1000000) x 0",
            ),
            "libbpf: prog 'second': BPF program load failed: Permission denied\n".to_owned(),
            log(
                "second",
                "R1 unbounded memory access\nprocessed 9 insns (limit 1000000)",
            ),
        ];
        let verification = read(&messages);
        let expected = ProgramCost {
            name: "first".into(),
            instruction_count: 157,
        };
        assert_eq!(verification.accepted, [expected]);
        let refusal = verification.refusal.unwrap();
        assert!(
            refusal.starts_with("second: R1 unbounded memory access"),
            "{refusal}"
        );
    }

    #[test]
    fn what_is_no_log_is_passed_over() {
        for message in [
            "",
            "prog 'x",
            "prog 'x': -- BEGIN PROG LOAD LOG --\nprocessed many insns\n",
        ] {
            assert_eq!(read(&[message.to_owned()]), Verification::default());
        }
    }
}
