//! Which agent a program is, by profiles: one YAML file each in `agents/`.
//!
//! A profile is matched against the program file, the name it was started under and, for an interpreter,
//! the script. A program that matches none is called by the name of its script or of itself.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::graph::ExecRecord;
use crate::intent::file_name;

/// The profiles. A new file in `agents/` needs a line here; a test says so.
const PROFILES: &[(&str, &str)] = &[
    ("aider", include_str!("../agents/aider.yaml")),
    ("amp", include_str!("../agents/amp.yaml")),
    ("claude-code", include_str!("../agents/claude-code.yaml")),
    ("cline", include_str!("../agents/cline.yaml")),
    ("codex", include_str!("../agents/codex.yaml")),
    ("copilot-cli", include_str!("../agents/copilot-cli.yaml")),
    ("crush", include_str!("../agents/crush.yaml")),
    ("cursor-agent", include_str!("../agents/cursor-agent.yaml")),
    ("gemini-cli", include_str!("../agents/gemini-cli.yaml")),
    ("goose", include_str!("../agents/goose.yaml")),
    ("opencode", include_str!("../agents/opencode.yaml")),
    ("openhands", include_str!("../agents/openhands.yaml")),
    ("qwen-code", include_str!("../agents/qwen-code.yaml")),
];

/// Arguments looked at for the script of an interpreter.
const MAX_ARGUMENTS: usize = 16;

/// How an agent is recognised.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Profile {
    /// Its name in the session document.
    name: String,
    /// File names of its program or script.
    #[serde(default)]
    programs: Vec<String>,
    /// Parts of the path of its program or script.
    #[serde(default)]
    paths: Vec<String>,
    /// Parts of paths that end where the version begins, such as `claude/versions/`.
    #[serde(default)]
    versions: Vec<String>,
}

static PARSED: LazyLock<Vec<Profile>> = LazyLock::new(|| {
    // A profile that does not parse is a defect that a test finds; it must not stop a recording.
    PROFILES
        .iter()
        .filter_map(|(_, text)| serde_saphyr::from_str(text).ok())
        .collect()
});

/// Name and version of an agent, and whether a profile says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) version: Option<String>,
    /// Whether a profile matched.
    pub(crate) known: bool,
}

/// Names the agent that a program is.
pub(crate) fn identify(exec: &ExecRecord) -> Identity {
    identify_program(&exec.exe.path, &exec.filename, &exec.argv)
}

/// The name of the agent that a program is, if a profile knows it.
#[must_use]
pub fn known_agent(exe: &str, filename: &str, argv: &[String]) -> Option<String> {
    let identity = identify_program(exe, filename, argv);
    identity.known.then_some(identity.name)
}

fn identify_program(exe: &str, filename: &str, argv: &[String]) -> Identity {
    let script = script_of(argv);
    let candidates: Vec<&str> = [Some(exe), script, Some(filename)]
        .into_iter()
        .flatten()
        .filter(|path| !path.is_empty())
        .collect();
    for profile in PARSED.iter() {
        let matched = candidates.iter().any(|path| {
            profile.programs.iter().any(|name| name == file_name(path))
                || profile
                    .paths
                    .iter()
                    .any(|part| path.contains(part.as_str()))
        });
        if matched {
            return Identity {
                name: profile.name.clone(),
                version: candidates.iter().find_map(|path| profile.version_in(path)),
                known: true,
            };
        }
    }
    // Under which name it was started says more than what the name leads to: `sh`, and not `dash`.
    let started_as = Some(filename).filter(|name| !name.is_empty());
    let own = script.or(started_as).unwrap_or(exe);
    Identity {
        name: file_name(own).to_owned(),
        version: None,
        known: false,
    }
}

/// The version of the agent `name`, if `path` tells it: for paths that the agent opens.
pub(crate) fn version_in_path(name: &str, path: &str) -> Option<String> {
    let mut named = PARSED.iter().filter(|profile| profile.name == name);
    named.find_map(|profile| profile.version_in(path))
}

impl Profile {
    fn version_in(&self, path: &str) -> Option<String> {
        self.versions.iter().find_map(|mark| {
            let (_, rest) = path.split_once(mark.as_str())?;
            let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
            let version = rest.split(|c| !is_part(c)).next()?;
            let version = version.strip_suffix(".dist-info").unwrap_or(version);
            let is_version =
                version.starts_with(|c: char| c.is_ascii_digit()) && version.contains('.');
            is_version.then(|| version.to_owned())
        })
    }
}

/// The script that an interpreter runs, by its arguments; for `python -m x`, the module.
pub(crate) fn script_of(argv: &[String]) -> Option<&str> {
    const INTERPRETERS: &[&str] = &[
        "python", "node", "bun", "deno", "ruby", "perl", "bash", "sh", "tsx",
    ];
    let program = file_name(argv.first()?);
    let is_interpreter = INTERPRETERS
        .iter()
        .any(|name| program.strip_prefix(name).is_some_and(is_version_suffix));
    if !is_interpreter {
        return None;
    }
    let mut arguments = argv.iter().skip(1).take(MAX_ARGUMENTS).map(String::as_str);
    while let Some(argument) = arguments.next() {
        match argument {
            // Options whose next argument is a text or module that is not run as a script.
            "-c" | "-e" | "--eval" | "-p" | "-lc" => return None,
            "-m" => return arguments.next(),
            "-r" | "--require" | "--import" | "--loader" | "-W" | "-X" | "-I" => {
                arguments.next();
            }
            "run" if matches!(program, "bun" | "deno") => {}
            option if option.starts_with('-') => {}
            script => return Some(script),
        }
    }
    None
}

fn is_version_suffix(rest: &str) -> bool {
    rest.chars().all(|c| c.is_ascii_digit() || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use agentsight_model::{FileRef, KTime};

    fn exec(exe: &str, argv: &[&str]) -> ExecRecord {
        ExecRecord {
            seq: 0,
            time: KTime(0),
            exe: FileRef {
                path: exe.into(),
                ..FileRef::default()
            },
            exe_deleted: false,
            filename: String::new(),
            argv: argv.iter().map(|&argument| argument.to_owned()).collect(),
            argv_cut: false,
            cwd: String::new(),
            uid: 0,
            cgroup: 0,
            found: false,
        }
    }

    #[test]
    fn every_profile_parses_and_is_listed() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/agents");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
            .collect();
        files.sort();
        let listed: Vec<&str> = PROFILES.iter().map(|(name, _)| *name).collect();
        for file in &files {
            assert!(
                listed.contains(&file.as_str()),
                "add to PROFILES: (\"{file}\", include_str!(\"../agents/{file}.yaml\")),"
            );
        }
        assert_eq!(files, listed);
        for (name, text) in PROFILES {
            let profile: Profile = serde_saphyr::from_str(text).unwrap();
            assert_eq!(profile.name, *name);
        }
    }

    #[test]
    fn agents_by_program_and_script() {
        let table = [
            (
                "/n/@anthropic-ai/claude-code-linux-x64/claude",
                &["/n/claude", "-p", "x"][..],
                "claude-code",
                None,
            ),
            (
                "/h/.local/share/claude/versions/2.1.330",
                &["claude", "-p", "x"],
                "claude-code",
                Some("2.1.330"),
            ),
            (
                "/usr/bin/node",
                &["node", "/n/node_modules/.bin/gemini", "--yolo"],
                "gemini-cli",
                None,
            ),
            (
                "/usr/bin/node",
                &[
                    "/usr/bin/node",
                    "--max-old-space-size=4096",
                    "/n/@google/gemini-cli/bundle/gemini.js",
                ],
                "gemini-cli",
                None,
            ),
            (
                "/usr/bin/node",
                &["node", "/n/.pnpm/@google+gemini-cli@0.61.0/x/gemini.js"],
                "gemini-cli",
                Some("0.61.0"),
            ),
            (
                "/usr/bin/node",
                &["node", "/n/node_modules/.bin/qwen"],
                "qwen-code",
                None,
            ),
            (
                "/usr/bin/node",
                &["node", "/n/.bin/codex", "exec"],
                "codex",
                None,
            ),
            (
                "/n/@openai/codex-linux-x64/vendor/x/bin/codex",
                &["codex", "exec"],
                "codex",
                None,
            ),
            (
                "/n/opencode-linux-x64/bin/opencode",
                &["opencode", "run"],
                "opencode",
                None,
            ),
            (
                "/usr/bin/python3.12",
                &["/v/aider/bin/python", "/v/aider/bin/aider", "--model", "x"],
                "aider",
                None,
            ),
            (
                "/usr/bin/python3.12",
                &["python3", "-m", "aider"],
                "aider",
                None,
            ),
            (
                "/usr/bin/python3.12",
                &["python3", "/k/py-agent.py", "anthropic"],
                "py-agent.py",
                None,
            ),
            (
                "/usr/bin/python3.12",
                &["python3", "-c", "print(1)"],
                "python3.12",
                None,
            ),
            (
                "/u/.local/share/cursor-agent/versions/2025.11.06-8fe8a63/node",
                &["/u/bin/cursor-agent", "-p", "x"],
                "cursor-agent",
                Some("2025.11.06-8fe8a63"),
            ),
            (
                "/usr/bin/node",
                &["node", "/n/.bin/copilot", "-p", "x"],
                "copilot-cli",
                None,
            ),
            (
                "/usr/bin/python3.12",
                &["python3", "-m", "openhands.core.main", "-t", "x"],
                "openhands",
                None,
            ),
            ("/u/.local/bin/goose", &["goose", "run"], "goose", None),
            ("/bin/mytool", &["mytool", "x"], "mytool", None),
            ("", &[], "", None),
        ];
        for (exe, argv, name, version) in table {
            let identity = identify(&exec(exe, argv));
            assert_eq!(
                (identity.name.as_str(), identity.version.as_deref()),
                (name, version),
                "{argv:?}"
            );
        }
    }

    #[test]
    fn versions_in_paths_that_agents_open() {
        let path = "/v/lib/python3.12/site-packages/aider_chat-0.86.2.dist-info/METADATA";
        assert_eq!(version_in_path("aider", path).as_deref(), Some("0.86.2"));
        assert_eq!(version_in_path("aider", "/v/aider_chat-x"), None);
        assert_eq!(version_in_path("nobody", path), None);
    }
}
