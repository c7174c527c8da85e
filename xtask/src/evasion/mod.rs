//! `cargo xtask test --evasion`: programs that try not to be seen, each under `agentsight`.
//!
//! The attackers are in `tests/evasion`; what must be seen of each is in [`table`]. They run natively, and on
//! the kernels of `cargo xtask vm`. What came of it is kept in `tests/evasion/verdicts`, from which
//! `docs/reference/coverage.md` is made; a verdict that is worse than the one kept fails.

mod check;
mod page;
mod programs;
mod table;
mod verdicts;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::failure::Failure;
use crate::run;
use crate::suites::Counts;
use check::{Traces, Verdict};
pub(crate) use programs::{Programs, build};
use table::{CONTROL, Start, attacks};
pub(crate) use verdicts::Verdicts;

/// The column of the machine that the suite runs on.
const NATIVE: &str = "native";

/// What attackers left, by the names of `run.sh`: `NAME.code`, `NAME.json` and so on.
pub(crate) type Results = BTreeMap<String, String>;

/// Where the attackers' sources are.
pub(crate) fn sources() -> PathBuf {
    run::root().join("tests/evasion")
}

/// What came of each attack.
pub(crate) struct Judged(pub(crate) BTreeMap<&'static str, Verdict>);

impl Judged {
    /// How many came to what.
    pub(crate) fn summary(&self) -> String {
        verdicts::summary(self.0.values().map(Verdict::word))
    }
}

/// Runs all attackers natively. With `accept`, what comes of it is kept, and the page written.
pub(crate) fn run(accept: bool) -> Result<(), Failure> {
    if !run::is_root() {
        return Err(Failure::privilege(
            "the attackers are watched by kernel programs",
        ));
    }
    let judged = native()?;
    let kept = Verdicts::read()?;
    print!("\n{}", page::text(&judged));
    if accept {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        return kept.accept(NATIVE, release.trim(), &judged).write();
    }
    let worse = kept.worse(NATIVE, &judged);
    if worse.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "worse than before: {}",
        worse.join("; ")
    )))
}

/// The native run as one of the suites of `cargo xtask test --all`.
pub(crate) fn suite() -> Counts {
    let outcome =
        native().and_then(|judged| Ok((Verdicts::read()?.worse(NATIVE, &judged), judged)));
    match outcome {
        Ok((worse, judged)) => {
            print!("\n{}", page::text(&judged));
            Counts {
                passed: (judged.0.len().saturating_sub(worse.len())) as u64,
                failed: worse.len() as u64,
                skipped: 0,
                notes: worse,
            }
        }
        Err(failure) => Counts {
            failed: 1,
            notes: vec![failure.to_string()],
            ..Counts::default()
        },
    }
}

fn native() -> Result<Judged, Failure> {
    run::step(run::cargo().args(["build", "-p", "agentsight"]))?;
    let product = run::target_dir()?.join("debug");
    let folder = env::temp_dir().join(format!("evasion-{}", std::process::id()));
    let outcome = attack(&folder, &product);
    // What is left of an attack that went wrong is looked for here; it is the next run's to remove.
    if outcome.is_ok() {
        let _ = fs::remove_dir_all(&folder);
    }
    outcome
}

fn attack(folder: &Path, product: &Path) -> Result<Judged, Failure> {
    let programs = build(&folder.join("programs"))?;
    let results = folder.join("results");
    let mut path = product.as_os_str().to_owned();
    path.push(":");
    path.push(env::var_os("PATH").unwrap_or_default());
    let mut script = Command::new("sh");
    script
        .arg(sources().join("run.sh"))
        .arg("each")
        .arg(&programs.folder)
        .arg(folder.join("work"))
        .arg(&results)
        .env("PATH", path)
        .env_remove("AGENTSIGHT_STORE")
        .stdin(Stdio::null());
    run::step(&mut script)?;
    judge(&read(&results)?, &programs).map_err(Failure::new)
}

fn read(folder: &Path) -> Result<Results, Failure> {
    let failed = |error| Failure::new(format!("failed to read {}: {error}", folder.display()));
    let mut results = Results::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let bytes = fs::read(&path).map_err(failed)?;
        results.insert(name, String::from_utf8_lossy(&bytes).into_owned());
    }
    Ok(results)
}

/// Judges all attacks by what they left. Fails if the attacker that does nothing shows the signs of one.
pub(crate) fn judge(results: &Results, programs: &Programs) -> Result<Judged, String> {
    let mut documents = BTreeMap::new();
    for (name, text) in results {
        if let Some(session) = name.strip_suffix(".json") {
            // One that is no JSON is missing, and said to be where it is needed.
            documents.insert(session, serde_json::from_str(text).unwrap_or(Value::Null));
        }
    }
    let session_of = |program: &str, start: Start| {
        let is_shared = start == Start::Shared && !documents.contains_key(program);
        let name = if is_shared { "shared" } else { program };
        (
            documents.get(name).filter(|document| !document.is_null()),
            name.to_owned(),
            is_shared,
        )
    };
    let text = |name: &str, kind: &str| {
        results
            .get(&format!("{name}.{kind}"))
            .map_or("", |text| text.trim())
    };
    let traces = |program: &str, start: Start| -> Result<Traces<'_>, String> {
        let (document, session, is_shared) = session_of(program, start);
        Ok(Traces {
            code: text(program, "code")
                .parse()
                .map_err(|_| format!("{program} did not run"))?,
            said: text(program, "said"),
            document: document
                .ok_or_else(|| format!("the session of {program} cannot be shown"))?,
            is_shared,
            verified: text(&session, "verify").parse().unwrap_or(0),
        })
    };
    let control = traces(CONTROL, Start::Shared)?;
    let mut judged = BTreeMap::new();
    for attack in attacks() {
        let idle = check::judge(
            &table::Attack {
                program: CONTROL,
                ..*attack
            },
            &control,
        );
        if !matches!(idle, Verdict::Missed(_)) {
            return Err(format!(
                "{} is {} where nothing was done",
                attack.program,
                idle.word()
            ));
        }
        let verdict = if let Some(why) = programs.missing.get(attack.program) {
            Verdict::Impossible(why.clone())
        } else {
            match traces(attack.program, attack.start) {
                Ok(traces) => check::judge(attack, &traces),
                Err(why) => Verdict::Broken(why),
            }
        };
        judged.insert(attack.program, verdict);
    }
    Ok(Judged(judged))
}
