//! Go's `crypto/tls`, and forks of it such as utls.
//!
//! Functions are named by Go's own table. A return probe of the kernel replaces the return address on the
//! stack, which Go moves and inspects; so the end of a read is seen at its return instructions. A call may
//! change its thread on the way: entry and return belong together by goroutine.

use super::{Inspection, StackEntry, version};
use crate::code::{Flow, Isa};
use crate::convention::{Convention, Moment, Operand, Success};
use crate::elf::{Elf, Machine};
use crate::pclntab::{Form, GoFunction, Pclntab};
use crate::report::{Attach, Confidence, Hook, HookKind, Stack, StackReport};
use crate::{LocateError, bytes};

/// Go.
pub(super) const ENTRY: StackEntry = StackEntry {
    stack: Stack::Go,
    symbols: &[],
    constants: &[],
    inspect,
};

const READ: &str = "tls.(*Conn).Read";
const WRITE: &str = "tls.(*Conn).Write";
/// More code of one function than this is not looked at.
const MAX_FUNCTION_BYTES: u64 = 64 << 10;

fn inspect(inspection: &mut Inspection<'_>) -> Result<Option<StackReport>, LocateError> {
    let Some(table) = Pclntab::find(inspection.elf, &inspection.scanner)? else {
        return Ok(None);
    };
    let candidates = table.functions(&[READ, WRITE])?;
    if candidates.is_empty() {
        return Ok(None);
    }
    let mut report = StackReport::new(Stack::Go, vec!["pclntab names crypto/tls".to_owned()]);
    report.version = go_version(inspection.elf)?;
    let uses_registers = match (table.form, report.version.as_deref().map(minor)) {
        (Form::Go116, None) => {
            report.miss(READ, "Go 1.16 and 1.17 differ in how arguments are passed, and the file does not say which it is");
            return Ok(Some(report));
        }
        (Form::Go116, Some(minor)) => {
            minor == Some(17) && inspection.elf.machine == Machine::X86_64
        }
        _ => true,
    };
    // The right candidate for the begin of the code is the one at which functions begin.
    let checked = candidates
        .iter()
        .map(|functions| hooks(inspection.elf, functions, uses_registers))
        .collect::<Result<Vec<_>, _>>()?;
    let best = checked.into_iter().max_by_key(|(hooks, _)| hooks.len());
    if let Some((hooks, refused)) = best {
        report.hooks = hooks;
        for (name, reason) in refused {
            report.miss(&name, reason);
        }
    }
    Ok(Some(report))
}

/// Hooks of the functions whose code is as it should be, and the others with what is wrong.
type Checked = (Vec<Hook>, Vec<(String, &'static str)>);

fn hooks(
    elf: &Elf<'_>,
    functions: &[GoFunction],
    uses_registers: bool,
) -> Result<Checked, LocateError> {
    let mut hooks = Vec::new();
    let mut refused = Vec::new();
    for function in functions.iter().filter(|f| is_tls(&f.name)) {
        match hook(elf, function, uses_registers)? {
            Ok(hook) => hooks.push(hook),
            Err(reason) => refused.push((function.name.clone(), reason)),
        }
    }
    Ok((hooks, refused))
}

/// `crypto/tls.(*Conn).Read`, `github.com/refraction-networking/utls.(*Conn).Read` and the like.
fn is_tls(name: &str) -> bool {
    let package = name.split(".(*Conn)").next().unwrap_or_default();
    matches!(package.rsplit('/').next(), Some("tls" | "utls"))
}

fn hook(
    elf: &Elf<'_>,
    function: &GoFunction,
    uses_registers: bool,
) -> Result<Result<Hook, &'static str>, LocateError> {
    let length = function
        .end
        .saturating_sub(function.start)
        .min(MAX_FUNCTION_BYTES);
    let code = elf.read_memory(function.start, usize::try_from(length).unwrap_or(0))?;
    let is_read = function.name.ends_with(READ);
    Ok(check(elf, function, &code).and_then(|returns| {
        let (Some(file_offset), Some(returns)) = (
            elf.file_offset(function.start),
            returns
                .iter()
                .map(|address| elf.file_offset(*address))
                .collect::<Option<Vec<u64>>>(),
        ) else {
            return Err("its code is not in the file");
        };
        Ok(Hook {
            function: function.name.clone(),
            kind: if is_read {
                HookKind::ReadReturn
            } else {
                HookKind::WriteReturn
            },
            file_offset,
            address: function.start,
            convention: convention(uses_registers),
            superseded_by: None,
            evidence: vec![
                format!("pclntab entry {:#x}..{:#x}", function.start, function.end),
                format!(
                    "begins with a check of the stack, {} returns",
                    returns.len()
                ),
            ],
            attach: Attach::EntryAndOffsets(returns),
            confidence: Confidence::Named,
        })
    }))
}

/// The return instructions of a function that begins and ends as the compiler makes them.
fn check(elf: &Elf<'_>, function: &GoFunction, code: &[u8]) -> Result<Vec<u64>, &'static str> {
    if !checks_stack(elf.machine, code) {
        return Err("it does not begin as Go functions do");
    }
    let isa = Isa::of(elf.machine);
    // Zeroes fill the room to the next function on ARM.
    let zeroes = code.rchunks(4).take_while(|chunk| *chunk == [0; 4]).count() * 4;
    let code = code
        .get(..code.len().saturating_sub(zeroes))
        .unwrap_or_default();
    let mut returns = Vec::new();
    let mut at = 0;
    while let Some(rest) = code.get(at..).filter(|rest| !rest.is_empty()) {
        let step = (isa.decode)(rest, function.start.saturating_add(at as u64));
        match step.flow {
            Flow::Invalid => return Err("its code cannot be decoded to its end"),
            Flow::Return => returns.push(step.address),
            _ => {}
        }
        at += usize::from(step.byte_count);
    }
    if at != code.len() || returns.is_empty() {
        return Err("its code does not end where its table entry does");
    }
    Ok(returns)
}

/// Whether code begins with the comparison of the stack with its limit, which is kept in the goroutine.
fn checks_stack(machine: Machine, code: &[u8]) -> bool {
    let head = code.get(..32).unwrap_or(code);
    let patterns: &[&[u8]] = match machine {
        // cmp rsp, [r14+16]; cmp r12, [r14+16]; mov rcx, fs:-8
        Machine::X86_64 => &[
            &[0x49, 0x3b, 0x66, 0x10],
            &[0x4d, 0x3b, 0x66, 0x10],
            &[0x64, 0x48, 0x8b, 0x0c, 0x25, 0xf8, 0xff, 0xff, 0xff],
        ],
        // ldr x16, [x28, #16]; ldr x1, [x28, #16]
        Machine::Aarch64 => &[&[0x90, 0x0b, 0x40, 0xf9], &[0x81, 0x0b, 0x40, 0xf9]],
    };
    patterns
        .iter()
        .any(|pattern| memchr::memmem::find(head, pattern).is_some())
}

/// `func (c *Conn) f(b []byte) (n int, err error)`
fn convention(uses_registers: bool) -> Convention {
    // The slice's capacity is between its length and the results.
    let on_stack = |offset| Operand::StackPointer.load(offset, Moment::Return);
    if uses_registers {
        Convention {
            buffer: Some(Operand::GoArgument(1)),
            length: Some(Operand::GoArgument(2)),
            moved: Some(Operand::GoResult(0)),
            success: Success::ReturnedPositive64,
            call: Operand::Goroutine,
            ..Convention::of_object(Operand::GoArgument(0))
        }
    } else {
        Convention {
            buffer: Some(on_stack(16)),
            length: Some(on_stack(24)),
            moved: Some(on_stack(40)),
            success: Success::ReturnedPositive64,
            call: Operand::StackPointer,
            ..Convention::of_object(on_stack(8))
        }
    }
}

/// The version that the linker left in `.go.buildinfo`.
fn go_version(elf: &Elf<'_>) -> Result<Option<String>, LocateError> {
    let Some(section) = elf.section(".go.buildinfo") else {
        return Ok(None);
    };
    let header = elf.read_memory(section.address, 80)?;
    if !header.starts_with(b"\xff Go buildinf:") {
        return Ok(None);
    }
    let text = if header.get(15).is_some_and(|flags| flags & 2 != 0) {
        // A length of one byte, then the text.
        let length = header.get(32).copied().map_or(0, usize::from);
        header
            .get(33..)
            .and_then(|rest| rest.get(..length))
            .map(<[u8]>::to_vec)
    } else {
        let string = bytes::u64_at(&header, 16).unwrap_or(0);
        let string = elf.read_memory(string, 16)?;
        match (bytes::u64_at(&string, 0), bytes::u64_at(&string, 8)) {
            (Some(text), Some(length @ 1..64)) => {
                Some(elf.read_memory(text, usize::try_from(length).unwrap_or(0))?)
            }
            _ => None,
        }
    };
    Ok(text.and_then(|mut text| {
        text.push(0);
        version::leading(text.strip_prefix(b"go")?)
    }))
}

/// 17 of `1.17.3`.
fn minor(version: &str) -> Option<u32> {
    let digits = version.split('.').nth(1)?;
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    digits.get(..end)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_told_by_their_last_part() {
        for (name, expected) in [
            ("crypto/tls.(*Conn).Read", true),
            ("vendor/crypto/tls.(*Conn).Write", true),
            ("github.com/refraction-networking/utls.(*Conn).Read", true),
            ("example.com/mytls.(*Conn).Read", false),
            ("tls.(*Conn).Read", true),
        ] {
            assert_eq!(is_tls(name), expected, "{name}");
        }
    }

    #[test]
    fn minor_versions() {
        for (text, expected) in [
            ("1.27.3", Some(27)),
            ("1.17", Some(17)),
            ("1.18rc1", Some(18)),
            ("1", None),
        ] {
            assert_eq!(minor(text), expected);
        }
    }
}
