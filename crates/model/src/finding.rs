//! What rules find.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{KTime, ProcessKey};

/// How bad it is, if it is what it looks like.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    #[default]
    Info,
    /// Unusual, mostly harmless.
    Low,
    /// Somebody should look at it.
    Medium,
    /// Somebody should look at it at once.
    High,
    /// Damage is being done.
    Critical,
}

impl Severity {
    /// All of them, the mildest first.
    pub const ALL: [Self; 5] = [
        Self::Info,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::Critical,
    ];

    /// Its name, as in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is no severity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeverityError;

impl fmt::Display for SeverityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a severity is one of info, low, medium, high, critical")
    }
}

impl std::error::Error for SeverityError {}

impl FromStr for Severity {
    type Err = SeverityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|severity| severity.as_str() == text)
            .ok_or(SeverityError)
    }
}

/// A rule has found something. The event's actor is the process that the last piece of evidence is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Its id within the session: `finding-<n>`.
    pub id: String,
    /// Id of the rule.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, in one line, for people.
    pub title: String,
    /// What the rule would tell the agent, so that it can do better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// Names in public taxonomies, such as `owasp-llm-2025:LLM02`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taxonomy: Vec<String>,
    /// The events that it rests on, oldest first.
    pub evidence: Vec<Evidence>,
    /// What was done about it: `alert`.
    pub verdict: String,
}

/// An event that a finding rests on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Its number in the ledger; absent if it could not be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// When it happened.
    pub time: KTime,
    /// The process that did it.
    pub process: ProcessKey,
    /// Its kind, as rules name it: `file.read`, `tool.call`, ...
    pub kind: String,
    /// What it was about, in a few words: a path, a command line, an address.
    pub summary: String,
}

/// Which rules judged a session, and what was left out of its findings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyState {
    /// `loaded`, `reloaded` or `ended`.
    pub change: String,
    /// Rules in force.
    pub rules: u64,
    /// SHA-256 over their files, in hexadecimal, in the order of their ids.
    pub sha256: String,
    /// Findings that were not told because they repeat others, so far.
    #[serde(default)]
    pub repeated: u64,
    /// Entries of the engine's state that were dropped because a limit was reached, so far.
    #[serde(default)]
    pub evicted: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_ordered_and_survive_text() {
        assert!(Severity::ALL.is_sorted());
        for severity in Severity::ALL {
            assert_eq!(severity.as_str().parse(), Ok(severity));
            let json = serde_json::to_string(&severity).unwrap();
            assert_eq!(json, format!("\"{severity}\""));
        }
        assert_eq!("High".parse::<Severity>(), Err(SeverityError));
    }
}
