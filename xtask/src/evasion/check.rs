//! Whether a session shows the signs of an attack.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::table::{Attack, Is, Sign};

/// What came of an attack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// What was done is recorded.
    Caught,
    /// Something was told, though not what was done.
    Alarmed,
    /// Nothing was told. What the signs lack.
    Missed(String),
    /// This machine does not let it be done; why.
    Impossible(String),
    /// The attacker itself failed; how.
    Broken(String),
}

impl Verdict {
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::Alarmed => "alarmed",
            Self::Missed(_) => "missed",
            Self::Impossible(_) => "impossible",
            Self::Broken(_) => "broken",
        }
    }

    pub(super) fn detail(&self) -> &str {
        match self {
            Self::Caught | Self::Alarmed => "",
            Self::Missed(why) | Self::Impossible(why) | Self::Broken(why) => why,
        }
    }
}

/// What is left of an attacker's run (`tests/evasion/run.sh`).
pub(super) struct Traces<'a> {
    /// Its exit code.
    pub(super) code: i32,
    /// What it complained about.
    pub(super) said: &'a str,
    /// The session's document.
    pub(super) document: &'a Value,
    /// Whether others share the session.
    pub(super) is_shared: bool,
    /// The exit code of `verify`.
    pub(super) verified: i32,
}

/// The exit code of an attacker whose act this machine does not let it do.
const IMPOSSIBLE: i32 = 77;

/// Judges an attack by its traces.
pub(super) fn judge(attack: &Attack, traces: &Traces<'_>) -> Verdict {
    let said = || traces.said.lines().last().unwrap_or_default().to_owned();
    match traces.code {
        0 => {}
        IMPOSSIBLE => return Verdict::Impossible(said()),
        code => return Verdict::Broken(format!("exit code {code}: {}", said())),
    }
    let evidence = Evidence::of(attack.program, traces);
    let lacking: Vec<&Sign> = attack
        .caught
        .iter()
        .filter(|sign| !evidence.shows(sign))
        .collect();
    if lacking.is_empty() && !attack.is_luck {
        return Verdict::Caught;
    }
    if !attack.alarmed.is_empty() && attack.alarmed.iter().all(|sign| evidence.shows(sign)) {
        return Verdict::Alarmed;
    }
    let lacking: Vec<String> = lacking.into_iter().map(described).collect();
    Verdict::Missed(format!("no {}", lacking.join(", no ")))
}

/// The part of a session that is an attacker's.
struct Evidence<'a> {
    actions: Vec<&'a Value>,
    processes: Vec<&'a Value>,
    findings: Vec<&'a Value>,
    document: &'a Value,
    verified: i32,
}

impl<'a> Evidence<'a> {
    fn of(program: &str, traces: &Traces<'a>) -> Self {
        let document = traces.document;
        let tree = traces.is_shared.then(|| tree_of(document, program));
        let is_own = |key: &Value| {
            tree.as_ref()
                .is_none_or(|tree| key.as_str().is_some_and(|key| tree.contains(key)))
        };
        let own = |name: &str, field: &str| -> Vec<&'a Value> {
            list(document, name)
                .filter(|entry| is_own(&entry[field]))
                .collect()
        };
        Self {
            actions: own("actions", "process"),
            processes: own("processes", "key"),
            findings: own("findings", "process"),
            document,
            verified: traces.verified,
        }
    }

    fn shows(&self, sign: &Sign) -> bool {
        match sign {
            Sign::Action(kind, attributes) => self.count(kind, attributes) > 0,
            Sign::Actions(count, kind, attributes) => self.count(kind, attributes) >= *count,
            Sign::Finding(rule) => self.findings.iter().any(|finding| finding["rule"] == *rule),
            Sign::Plaintext(bytes) => {
                let tls = &self.document["coverage"]["tls"];
                tls["plaintext_bytes"].as_u64().unwrap_or(0) >= *bytes
            }
            Sign::PidTwice => {
                let pids: BTreeSet<u64> = self
                    .processes
                    .iter()
                    .filter_map(|process| process["pid"].as_u64())
                    .collect();
                pids.len() < self.processes.len()
            }
            Sign::Interrupted => self.document["session"]["status"] == "interrupted",
            Sign::Tampered => self.verified != 0,
            Sign::Conserved => is_conserved(&self.document["coverage"]["events"]),
        }
    }

    fn count(&self, kind: &str, attributes: &[(&str, Is)]) -> usize {
        self.actions
            .iter()
            .filter(|action| action["kind"] == kind)
            .filter(|action| {
                attributes
                    .iter()
                    .all(|(name, is)| holds(*is, &action["attributes"][*name]))
            })
            .count()
    }
}

/// The keys of the processes that ran a program, and of all that came from them.
fn tree_of<'a>(document: &'a Value, program: &str) -> BTreeSet<&'a str> {
    let mut tree: BTreeSet<&str> = list(document, "actions")
        .filter(|action| action["kind"] == "process.exec")
        .filter(|action| {
            let path = action["attributes"]["process.executable.path"].as_str();
            path.and_then(|path| path.rsplit('/').next()) == Some(program)
        })
        .filter_map(|action| action["process"].as_str())
        .collect();
    let mut children: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for process in list(document, "processes") {
        if let (Some(key), Some(parent)) = (process["key"].as_str(), process["parent_key"].as_str())
        {
            children.entry(parent).or_default().push(key);
        }
    }
    let mut open: Vec<&str> = tree.iter().copied().collect();
    while let Some(key) = open.pop() {
        let born = children.get(key).into_iter().flatten();
        open.extend(born.copied().filter(|child| tree.insert(child)));
    }
    tree
}

fn list<'a>(document: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    document[name].as_array().into_iter().flatten()
}

fn holds(is: Is, value: &Value) -> bool {
    match is {
        Is::Text(text) => value == text,
        Is::Ends(end) => value.as_str().is_some_and(|text| text.ends_with(end)),
        Is::Has(part) => match value {
            Value::String(text) => text.contains(part),
            Value::Array(items) => items
                .iter()
                .filter_map(Value::as_str)
                .any(|item| item == part || item.ends_with(&format!("/{part}"))),
            _ => false,
        },
        Is::Number(number) => *value == number,
        Is::AtLeast(number) => value.as_u64().is_some_and(|value| value >= number),
        Is::Yes => *value == true,
        Is::There => !value.is_null(),
    }
}

/// Invariant 3 for each class, and no loss where none may be.
fn is_conserved(classes: &Value) -> bool {
    let dropped = |class: &Value| -> u64 {
        class["dropped"]
            .as_object()
            .into_iter()
            .flat_map(|reasons| reasons.values())
            .filter_map(Value::as_u64)
            .sum()
    };
    let whole = |class: &Value| {
        let stored = class["stored"]
            .as_u64()
            .map(|stored| stored + dropped(class));
        stored.is_some() && stored == class["produced"].as_u64()
    };
    classes.as_object().is_some_and(|classes| {
        classes.values().all(whole)
            && classes
                .get("security")
                .is_some_and(|class| dropped(class) == 0)
    })
}

/// A sign, for a person who looks for what is lacking.
fn described(sign: &Sign) -> String {
    let action = |kind: &str, attributes: &[(&str, Is)]| {
        let attributes: Vec<String> = attributes
            .iter()
            .map(|(name, is)| text_of(name, *is))
            .collect();
        match attributes.as_slice() {
            [] => kind.to_owned(),
            attributes => format!("{kind} ({})", attributes.join(", ")),
        }
    };
    match sign {
        Sign::Action(kind, attributes) => action(kind, attributes),
        Sign::Actions(count, kind, attributes) => format!("{count} × {}", action(kind, attributes)),
        Sign::Finding(rule) => format!("finding {rule}"),
        Sign::Plaintext(bytes) => format!("{bytes} bytes of plaintext"),
        Sign::PidTwice => "pid twice".to_owned(),
        Sign::Interrupted => "interrupted session".to_owned(),
        Sign::Tampered => "failing `verify`".to_owned(),
        Sign::Conserved => "conservation".to_owned(),
    }
}

fn text_of(name: &str, is: Is) -> String {
    let name = name.rsplit('.').next().unwrap_or(name);
    match is {
        Is::Text(text) => format!("{name} {text}"),
        Is::Ends(text) => format!("{name} …{text}"),
        Is::Has(text) => format!("{name} …{text:?}…"),
        Is::Number(number) => format!("{name} {number}"),
        Is::AtLeast(number) => format!("{name} ≥ {number}"),
        Is::Yes | Is::There => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::table::attacks;
    use super::*;

    fn traces(document: &Value) -> Traces<'_> {
        Traces {
            code: 0,
            said: "",
            document,
            is_shared: false,
            verified: 0,
        }
    }

    #[test]
    fn a_session_in_which_nothing_happens_shows_no_attack() {
        let nothing = json!({
            "session": {"status": "ended"},
            "processes": [{"key": "1.1", "pid": 1, "parent_key": "0.0"}],
            "actions": [{"kind": "process.exec", "process": "1.1",
                "attributes": {"process.executable.path": "/bin/attacker"}}],
            "findings": [],
            "coverage": {"tls": {"plaintext_bytes": 0},
                "events": {"security": {"produced": 1, "stored": 1, "dropped": {}}}},
        });
        for attack in attacks() {
            let verdict = judge(attack, &traces(&nothing));
            assert_eq!(verdict.word(), "missed", "{}", attack.program);
        }
    }

    #[test]
    fn of_a_shared_session_the_attackers_own_tree_counts() {
        let document = json!({
            "processes": [
                {"key": "1.1", "pid": 1, "parent_key": null},
                {"key": "2.2", "pid": 2, "parent_key": "1.1"},
                {"key": "3.3", "pid": 3, "parent_key": "2.2"},
                {"key": "4.4", "pid": 4, "parent_key": "3.3"},
                {"key": "5.5", "pid": 5, "parent_key": "1.1"},
            ],
            "actions": [{"kind": "process.exec", "process": "2.2",
                "attributes": {"process.executable.path": "/x/21_orphan"}}],
        });
        let tree = tree_of(&document, "21_orphan");
        assert_eq!(tree, ["2.2", "3.3", "4.4"].into());
        assert!(tree_of(&document, "1_orphan").is_empty());
    }

    #[test]
    fn attributes_are_compared() {
        for (is, value, expected) in [
            (Is::Ends("/a"), json!("/x/a"), true),
            (Is::Ends("/a"), json!(null), false),
            (Is::Has("c"), json!(["a", "b c"]), false),
            (Is::Has("b c"), json!(["a", "b c"]), true),
            (Is::AtLeast(2), json!(1), false),
            (Is::Number(2), json!(2), true),
            (Is::Yes, json!(false), false),
            (Is::There, json!(false), true),
        ] {
            assert_eq!(holds(is, &value), expected, "{value}");
        }
    }

    #[test]
    fn what_the_attacker_says_is_the_verdict() {
        let attack = attacks().next().unwrap();
        let document = Value::Null;
        let of = |code| {
            judge(
                attack,
                &Traces {
                    code,
                    said: "a\nno ring\n",
                    ..traces(&document)
                },
            )
        };
        assert_eq!(of(77), Verdict::Impossible("no ring".to_owned()));
        assert_eq!(of(1), Verdict::Broken("exit code 1: no ring".to_owned()));
        assert_eq!(of(0).word(), "missed");
    }

    #[test]
    fn what_is_caught_by_luck_is_alarmed_at_most() {
        let document =
            json!({"actions": [{"kind": "process.fork", "process": "1.1", "attributes": {}}]});
        let forks: &[Sign] = &[Sign::Action("process.fork", &[])];
        for (is_luck, alarmed, expected) in [
            (false, &[] as &[Sign], Verdict::Caught),
            (true, forks, Verdict::Alarmed),
        ] {
            let attack = Attack {
                caught: forks,
                alarmed,
                is_luck,
                ..*attacks().next().unwrap()
            };
            assert_eq!(judge(&attack, &traces(&document)), expected);
        }
    }

    #[test]
    fn loss_must_be_counted_and_none_may_be_of_acts() {
        let classes = |file: Value, security: Value| {
            is_conserved(&json!({"file": file, "security": security}))
        };
        let whole = || json!({"produced": 3, "stored": 3, "dropped": {}});
        let lossy = || json!({"produced": 3, "stored": 2, "dropped": {"ring_full": 1}});
        let wrong = || json!({"produced": 3, "stored": 2, "dropped": {}});
        assert!(classes(whole(), whole()));
        assert!(classes(lossy(), whole()));
        assert!(!classes(whole(), lossy()));
        assert!(!classes(wrong(), whole()));
        assert!(!is_conserved(&Value::Null));
    }
}
