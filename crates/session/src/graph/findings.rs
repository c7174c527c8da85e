//! What rules found, as the ledger has it.

use agentsight_model::document;
use agentsight_model::{Evidence, Finding, KTime, ProcessKey};
use serde_json::json;

use super::budget::Budget;
use super::document::Clock;

/// The findings of a session, in ledger order.
#[derive(Debug, Default)]
pub(crate) struct FindingTable {
    records: Vec<(KTime, ProcessKey, Finding)>,
}

impl FindingTable {
    pub(crate) fn found(
        &mut self,
        time: KTime,
        process: ProcessKey,
        finding: &Finding,
        budget: &mut Budget,
    ) {
        if budget.record("finding") {
            self.records.push((time, process, finding.clone()));
        }
    }

    /// As the document lists them.
    pub(crate) fn listed(&self, clock: Clock) -> impl Iterator<Item = document::Finding> {
        self.records
            .iter()
            .map(move |(time, process, finding)| document::Finding {
                id: finding.id.clone(),
                rule: finding.rule.clone(),
                severity: finding.severity.as_str().to_owned(),
                title: finding.title.clone(),
                time: clock.text(*time),
                process: (*process != ProcessKey::default()).then_some(*process),
                evidence: finding
                    .evidence
                    .iter()
                    .map(|evidence| described(evidence, clock))
                    .collect(),
                taxonomy: finding.taxonomy.clone(),
                verdict: Some(finding.verdict.clone()),
            })
    }
}

fn described(evidence: &Evidence, clock: Clock) -> serde_json::Value {
    json!({
        "seq": evidence.seq,
        "time": clock.text(evidence.time),
        "process": evidence.process,
        "kind": evidence.kind,
        "summary": evidence.summary,
    })
}
