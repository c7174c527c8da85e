//! What of a file's TLS functions is probed, and by which programs.

use std::fs::File;

use agentsight_tls::{HookKind, LocateError, Located, Options, Stack};
use serde::{Deserialize, Serialize};

use crate::Capabilities;
use crate::hooks::{Description, describe};

/// What came of analysing a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Finding {
    /// It holds no TLS code, as far as can be told.
    Nothing,
    /// It holds TLS code of which nothing can be read; why.
    Blind(String),
    /// It can be read.
    Plan(Plan),
}

/// Looks for TLS code in a file.
pub(crate) fn analyse(file: &File, capabilities: Capabilities) -> Result<Finding, LocateError> {
    if !agentsight_tls::maybe_tls(file).unwrap_or(false) {
        return Ok(Finding::Nothing);
    }
    let located = agentsight_tls::locate(file, &Options::default())?;
    let plan = plan(&located, capabilities);
    if !plan.functions.is_empty() {
        return Ok(Finding::Plan(plan));
    }
    Ok(blindness(&located).map_or(Finding::Nothing, Finding::Blind))
}

/// Why a file with a TLS stack has nothing to attach to.
fn blindness(located: &Located) -> Option<String> {
    let reasons: Vec<String> = located
        .stacks
        .iter()
        .map(|report| {
            let missing = report
                .missing
                .first()
                .map_or("no function was found", |missing| missing.reason.as_str());
            format!("{}: {missing}", report.stack.as_str())
        })
        .collect();
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

/// What is attached to one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Functions of the OpenSSL family, which have programs of their own, with their file offsets.
    pub(crate) openssl: Vec<(HookKind, u64)>,
    /// Functions that the kernel side is told about.
    pub(crate) described: Vec<Description>,
    pub(crate) stacks: Vec<String>,
    pub(crate) functions: Vec<String>,
}

/// Kinds that have a program of their own, for functions of the OpenSSL family.
fn has_own_program(kind: HookKind) -> bool {
    matches!(
        kind,
        HookKind::ReadReturn
            | HookKind::WriteReturn
            | HookKind::ReadEx
            | HookKind::WriteEx
            | HookKind::WriteEx2
            | HookKind::Handshake
            | HookKind::Free
    )
}

fn plan(located: &Located, capabilities: Capabilities) -> Plan {
    let mut plan = Plan::default();
    for report in &located.stacks {
        let before = plan.functions.len();
        // What another stack sees as well would be seen twice.
        for hook in report
            .hooks
            .iter()
            .filter(|hook| hook.superseded_by.is_none())
        {
            let openssl = matches!(
                report.stack,
                Stack::OpenSsl | Stack::BoringSsl | Stack::AwsLc
            );
            if openssl && has_own_program(hook.kind) {
                plan.openssl.push((hook.kind, hook.file_offset));
            } else if let Some(description) = describe(hook).filter(|_| capabilities.attach_cookie)
            {
                plan.described.push(description);
            } else {
                continue;
            }
            plan.functions.push(hook.function.clone());
        }
        if plan.functions.len() > before {
            plan.stacks.push(report.stack.as_str().to_owned());
        }
    }
    plan
}
