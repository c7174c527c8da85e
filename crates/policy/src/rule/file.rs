//! The shape of a rule file.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A rule file: one rule, or only lists and macros that all rules share.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleFile {
    pub(super) id: Option<Spanned<String>>,
    pub(super) title: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) why: String,
    #[serde(default)]
    pub(super) false_positives: Words,
    pub(super) severity: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) taxonomy: Words,
    pub(super) enabled: Option<bool>,
    pub(super) on: Option<Spanned<Words>>,
    #[serde(rename = "match", default)]
    pub(super) matcher: MatchFile,
    #[serde(rename = "where")]
    pub(super) condition: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) exceptions: Vec<ExceptionFile>,
    pub(super) sequence: Option<Spanned<SequenceFile>>,
    pub(super) threshold: Option<Spanned<ThresholdFile>>,
    pub(super) labels: Option<LabelsFile>,
    pub(super) effect: Option<Spanned<String>>,
    pub(super) message: Option<MessageFile>,
    #[serde(default)]
    pub(super) tests: TestsFile,
    #[serde(default)]
    pub(super) lists: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(super) macros: BTreeMap<String, Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExceptionFile {
    /// Why it is one; for people.
    pub(super) name: Spanned<String>,
    #[serde(rename = "match", default)]
    pub(super) matcher: MatchFile,
    #[serde(rename = "where")]
    pub(super) condition: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SequenceFile {
    pub(super) within: Spanned<String>,
    pub(super) by: Option<Spanned<String>>,
    pub(super) steps: Vec<StepFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepFile {
    pub(super) on: Spanned<Words>,
    #[serde(rename = "match", default)]
    pub(super) matcher: MatchFile,
    #[serde(rename = "where")]
    pub(super) condition: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) exceptions: Vec<ExceptionFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ThresholdFile {
    pub(super) count: usize,
    pub(super) within: Spanned<String>,
    pub(super) by: Option<Spanned<String>>,
    pub(super) distinct: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LabelsFile {
    #[serde(default)]
    pub(super) process: Words,
    #[serde(default)]
    pub(super) file: Words,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageFile {
    pub(super) human: Option<Spanned<String>>,
    pub(super) agent: Option<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestsFile {
    #[serde(default)]
    pub(super) fire: Vec<CaseFile>,
    #[serde(default)]
    pub(super) quiet: Vec<CaseFile>,
}

/// A short history on which a rule must fire, or must not.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CaseFile {
    pub(crate) name: Spanned<String>,
    /// Command of the session's first process; a coding agent if it is left out.
    pub(crate) agent: Option<String>,
    /// The workspace.
    pub(crate) cwd: Option<String>,
    pub(crate) events: Vec<Spanned<EventFile>>,
}

/// One event of a short history. Exactly one of the fields that name an act is there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct EventFile {
    /// Who does it: `agent` is the first process, others are named at their `exec`. The latest if left out.
    #[serde(rename = "as")]
    pub(crate) who: Option<String>,
    /// The parent of a new process; the agent if left out.
    pub(crate) parent: Option<String>,
    /// Time since the event before.
    pub(crate) after: Option<String>,
    /// How often.
    pub(crate) times: Option<u32>,

    pub(crate) exec: Option<Words>,
    pub(crate) exe: Option<String>,
    pub(crate) cwd: Option<String>,
    pub(crate) uid: Option<u32>,
    pub(crate) exit: Option<i32>,

    pub(crate) read: Option<String>,
    pub(crate) write: Option<String>,
    pub(crate) create: Option<String>,
    pub(crate) delete: Option<String>,
    pub(crate) rename: Option<(String, String)>,
    pub(crate) link: Option<(String, String)>,
    pub(crate) symlink: Option<(String, String)>,
    pub(crate) chmod: Option<String>,
    pub(crate) mode: Option<u32>,
    pub(crate) chown: Option<String>,
    pub(crate) owner: Option<u32>,
    pub(crate) setxattr: Option<String>,
    pub(crate) attribute: Option<String>,
    pub(crate) truncate: Option<String>,
    pub(crate) mmap: Option<String>,
    pub(crate) writable: bool,
    pub(crate) pass: Option<String>,

    pub(crate) connect: Option<String>,
    pub(crate) listen: Option<String>,
    pub(crate) accept: Option<String>,
    pub(crate) close: Option<String>,
    pub(crate) sent: u64,
    pub(crate) dns: Option<String>,
    #[serde(rename = "type")]
    pub(crate) record_type: Option<String>,
    pub(crate) answer: Vec<IpAddr>,
    pub(crate) unix: Option<String>,
    pub(crate) socket: Option<String>,
    pub(crate) pipe_write: Option<u64>,
    pub(crate) pipe_read: Option<u64>,

    pub(crate) signal: Option<i32>,
    pub(crate) target: Option<String>,
    pub(crate) ptrace: Option<String>,
    pub(crate) credentials: Option<String>,
    pub(crate) euid: u32,
    pub(crate) bpf: Option<String>,
    pub(crate) mount: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) module: Option<String>,
    pub(crate) io_uring: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) argument: Option<u64>,

    pub(crate) http: Option<String>,
    pub(crate) status: Option<u16>,
    pub(crate) request_bytes: u64,
    pub(crate) tls: Option<String>,
    pub(crate) plaintext: bool,
    pub(crate) llm: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) tokens: u64,
    pub(crate) tool: Option<String>,
    pub(crate) arguments: BTreeMap<String, String>,
    pub(crate) result: Option<String>,
    pub(crate) error: bool,
    pub(crate) definition: Option<String>,
    pub(crate) text: Option<String>,
}

/// One value, or a list of them, each with its place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words(pub(crate) Vec<Spanned<Word>>);

/// A scalar as it is written, be it a number or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) String);

impl Words {
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|word| word.value.0.as_str())
    }
}

macro_rules! visit_scalars {
    ($make:expr) => {
        fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
            Ok($make(text.to_owned()))
        }
        fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
            Ok($make(number.to_string()))
        }
        fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
            Ok($make(number.to_string()))
        }
        fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
            Ok($make(number.to_string()))
        }
        fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
            Ok($make(value.to_string()))
        }
    };
}

struct WordVisitor;

impl Visitor<'_> for WordVisitor {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word")
    }

    visit_scalars!(Word);
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordVisitor)
    }
}

struct WordsVisitor;

impl<'de> Visitor<'de> for WordsVisitor {
    type Value = Words;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a word or a list of words")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Words, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = seq.next_element()? {
            words.push(word);
        }
        Ok(Words(words))
    }

    visit_scalars!(|text| Words(vec![unplaced(text)]));
}

/// A scalar whose place is that of the whole value, which the caller knows.
fn unplaced(text: String) -> Spanned<Word> {
    let unknown = serde_saphyr::Location::UNKNOWN;
    Spanned::new(Word(text), unknown, unknown)
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordsVisitor)
    }
}

/// Keys and values of a matcher, in the order in which they are written.
#[derive(Debug, Default)]
pub(super) struct MatchFile(pub(super) Vec<(Spanned<String>, Spanned<Words>)>);

impl<'de> Deserialize<'de> for MatchFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MatchVisitor;

        impl<'de> Visitor<'de> for MatchVisitor {
            type Value = MatchFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of matchers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<MatchFile, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(MatchFile(entries))
            }
        }

        deserializer.deserialize_map(MatchVisitor)
    }
}
