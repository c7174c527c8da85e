//! What was located, as text for a person: what `agentsight tls inspect` prints.

use std::fmt::{self, Write};

use crate::report::{Attach, Confidence, Hook, Located, StackReport};

/// Renders what was located, one fact a line.
#[must_use]
pub fn describe(located: &Located) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_located(&mut text, located);
    text
}

fn write_located(out: &mut String, located: &Located) -> fmt::Result {
    write!(
        out,
        "file       {} bytes, {}",
        located.file_bytes,
        located.machine.as_str()
    )?;
    match &located.build_id {
        Some(id) => writeln!(out, ", build id {id}")?,
        None => writeln!(out, ", no build id")?,
    }
    if located.stacks.is_empty() {
        writeln!(out, "tls        no trace of a known TLS stack")?;
    }
    for report in &located.stacks {
        write_stack(out, report)?;
    }
    for limit in &located.limits {
        writeln!(out, "limit      {limit}")?;
    }
    Ok(())
}

fn write_stack(out: &mut String, report: &StackReport) -> fmt::Result {
    write!(out, "\n{:<10}", report.stack.as_str())?;
    match &report.version {
        Some(version) => writeln!(out, " {}", printable(version))?,
        None => writeln!(out, " version unknown")?,
    }
    for evidence in &report.evidence {
        writeln!(out, "           {}", printable(evidence))?;
    }
    if let Some(other) = report.superseded_by {
        writeln!(
            out,
            "  note     the hooks of {other} see the same bytes: attach to one of the two"
        )?;
    }
    if let Some(file) = &report.rest_is_in {
        writeln!(out, "  note     the other functions are in {file}")?;
    }
    for hook in &report.hooks {
        write_hook(out, hook)?;
    }
    for missing in &report.missing {
        writeln!(
            out,
            "  no hook  {}: {}",
            printable(&missing.function),
            printable(&missing.reason)
        )?;
    }
    if report.is_blind() {
        writeln!(
            out,
            "  blind    plaintext of this stack cannot be read in both directions"
        )?;
    }
    Ok(())
}

fn write_hook(out: &mut String, hook: &Hook) -> fmt::Result {
    writeln!(
        out,
        "  hook     {} at {:#x} ({}, {})",
        printable(&hook.function),
        hook.file_offset,
        attach(&hook.attach),
        confidence(hook.confidence),
    )?;
    write_convention(out, hook)?;
    for evidence in &hook.evidence {
        writeln!(out, "           - {}", printable(evidence))?;
    }
    Ok(())
}

fn write_convention(out: &mut String, hook: &Hook) -> fmt::Result {
    let convention = &hook.convention;
    write!(out, "           object {}", convention.object)?;
    for (name, operand) in [
        ("buffer", &convention.buffer),
        ("length", &convention.length),
        ("moved", &convention.moved),
        ("skip", &convention.skip_head),
        ("fd", &convention.fd),
    ] {
        if let Some(operand) = operand {
            write!(out, ", {name} {operand}")?;
        }
    }
    writeln!(out)
}

fn attach(attach: &Attach) -> String {
    match attach {
        Attach::Entry => "entry".to_owned(),
        Attach::Return => "return".to_owned(),
        Attach::Both => "entry and return".to_owned(),
        Attach::EntryAndOffsets(offsets) => {
            format!("entry and {} return instructions", offsets.len())
        }
    }
}

fn confidence(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Candidate => "one of several candidates",
        Confidence::Proven => "proven",
        Confidence::Named => "named by the file",
    }
}

/// Text from a file, without what a terminal would obey.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Convention, HookKind, Machine, Stack, Success};

    #[test]
    fn a_report_reads_well() {
        let mut report = StackReport::new(Stack::OpenSsl, vec!["evil \u{1b}[2J".to_owned()]);
        report.version = Some("3.0.19".to_owned());
        report.hooks.push(Hook {
            function: "SSL_read".to_owned(),
            kind: HookKind::ReadReturn,
            file_offset: 0x1234,
            address: 0x40_1234,
            convention: Convention::returning(Success::ReturnedPositive),
            attach: Attach::Both,
            confidence: Confidence::Named,
            superseded_by: None,
            evidence: vec!["symbol SSL_read in .dynsym".to_owned()],
        });
        report.miss("SSL_free", "it reports no error that would tell it apart");
        let located = Located {
            machine: Machine::X86_64,
            build_id: Some("abcd".to_owned()),
            file_bytes: 42,
            stacks: vec![report],
            limits: vec!["only a part was read".to_owned()],
        };
        assert_eq!(
            describe(&located),
            "\
file       42 bytes, x86_64, build id abcd

openssl    3.0.19
           evil \u{fffd}[2J
  hook     SSL_read at 0x1234 (entry and return, named by the file)
           object arg0, buffer arg1, length arg2, moved ret
           - symbol SSL_read in .dynsym
  no hook  SSL_free: it reports no error that would tell it apart
  blind    plaintext of this stack cannot be read in both directions
limit      only a part was read
"
        );
    }
}
