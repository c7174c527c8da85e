//! Describes functions of any shape to the kernel side, which reads the description when a probe fires.

use agentsight_tls::{Attach, Convention, Direction, Hook, HookKind, Moment, Operand, Success};
use agentsight_wire::{self as wire, tls_hook, tls_operand};
use serde::{Deserialize, Serialize};

/// Bytes behind the plaintext of a TLS 1.3 record in place: its content type, and the tag.
const TYPE_AND_TAG_BYTES: u8 = 17;

/// Where to attach a described function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    /// What the kernel side is told.
    pub(crate) hook: tls_hook_bytes,
    /// File offset of its first instruction.
    pub(crate) entry: usize,
    /// Where it returns.
    pub(crate) returns: Returns,
}

/// The description as it lies in the kernel's map.
#[allow(non_camel_case_types)] // Beside the wire types.
pub(crate) type tls_hook_bytes = Vec<u8>;

/// How the return of a function is probed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Returns {
    /// Not at all: everything is there at entry.
    Never,
    /// By a return probe.
    Probe,
    /// At these file offsets, where its return instructions are.
    Instructions(Vec<usize>),
}

/// Describes a hook; none if the kernel side has no way to read what it moves.
pub(crate) fn describe(hook: &Hook) -> Option<Description> {
    let convention = &hook.convention;
    let (direction, mut flags) = match hook.kind {
        HookKind::Create => (wire::TLS_SENT, wire::HOOK_CREATES),
        HookKind::Free => (wire::TLS_SENT, wire::HOOK_ENDS),
        HookKind::RecordOwner => (wire::TLS_SENT, wire::HOOK_OWNER),
        // Moves nothing, but what is written inside it tells the connection's socket.
        HookKind::Handshake => (wire::TLS_SENT, wire::HOOK_AT_ENTRY),
        kind => match kind.moves()? {
            Direction::Write => (wire::TLS_SENT, 0),
            Direction::Read => (wire::TLS_RECEIVED, 0),
        },
    };
    let returns = match &hook.attach {
        _ if flags & (wire::HOOK_AT_ENTRY | wire::HOOK_ENDS | wire::HOOK_OWNER) != 0 => {
            Returns::Never
        }
        Attach::Entry => {
            flags |= wire::HOOK_AT_ENTRY;
            Returns::Never
        }
        Attach::Return | Attach::Both => Returns::Probe,
        Attach::EntryAndOffsets(offsets) => Returns::Instructions(
            offsets
                .iter()
                .map(|&offset| usize::try_from(offset))
                .collect::<Result<_, _>>()
                .ok()?,
        ),
        _ => return None,
    };
    if convention.only_created_objects && hook.kind != HookKind::Create {
        flags |= wire::HOOK_ONLY_CREATED;
    }
    if convention.keeps_data {
        flags |= wire::HOOK_KEEPS;
    }
    if convention.skip_tail_bytes == TYPE_AND_TAG_BYTES {
        flags |= wire::HOOK_INNER_TYPE;
    }
    let description = tls_hook {
        object: operand(Some(&convention.object))?,
        call: operand(Some(&convention.call))?,
        buffer: operand(convention.buffer.as_ref())?,
        length: operand(convention.length.as_ref())?,
        moved: operand(convention.moved.as_ref())?,
        skip_head: operand(convention.skip_head.as_ref())?,
        associated_data: operand(convention.associated_data.as_ref())?,
        associated_data_bytes: operand(convention.associated_data_bytes.as_ref())?,
        sequence: operand(convention.sequence.as_ref())?,
        direction: u8::try_from(direction).ok()?,
        layer: u8::try_from(layer(hook.kind, convention)).ok()?,
        success: u8::try_from(success(convention.success)).ok()?,
        skip_tail_bytes: convention.skip_tail_bytes,
        flags,
    };
    Some(Description {
        hook: zerocopy::IntoBytes::as_bytes(&description).to_vec(),
        entry: usize::try_from(hook.file_offset).ok()?,
        returns,
    })
}

fn layer(kind: HookKind, convention: &Convention) -> u32 {
    match (&convention.object, kind) {
        // The kernel side says LAYER_RECORD where it knows the owner.
        (Operand::Thread | Operand::RecordOwner, _) => wire::LAYER_THREAD,
        (_, HookKind::RecordSeal | HookKind::RecordOpen) => wire::LAYER_RECORD,
        _ => wire::LAYER_STREAM,
    }
}

fn success(success: Success) -> u32 {
    match success {
        Success::Always => wire::SUCCESS_ALWAYS,
        Success::ReturnedPositive => wire::SUCCESS_POSITIVE,
        Success::ReturnedPositive64 => wire::SUCCESS_POSITIVE_64,
        Success::ReturnedOne => wire::SUCCESS_ONE,
        Success::ReturnedZero => wire::SUCCESS_ZERO,
    }
}

/// An operand in the kernel side's form: a base and up to two loads, those at return last.
fn operand(operand: Option<&Operand>) -> Option<tls_operand> {
    let mut form = tls_operand::default();
    let Some(mut operand) = operand else {
        return Some(form);
    };
    let mut loads = Vec::new();
    while let Operand::Memory { base, offset, at } = operand {
        loads.push((*offset, *at));
        operand = base;
    }
    loads.reverse();
    let late = loads.iter().filter(|(_, at)| *at == Moment::Return).count();
    let in_order = loads
        .iter()
        .rev()
        .take(late)
        .all(|(_, at)| *at == Moment::Return);
    if loads.len() > form.offsets.len() || !in_order {
        return None;
    }
    for (slot, (offset, _)) in form.offsets.iter_mut().zip(&loads) {
        *slot = *offset;
    }
    form.loads = u8::try_from(loads.len()).ok()?;
    form.late_loads = u8::try_from(late).ok()?;
    let (base, index) = match operand {
        Operand::Argument(index) => (wire::BASE_ARGUMENT, *index),
        Operand::GoArgument(index) => (wire::BASE_GO_ARGUMENT, *index),
        Operand::GoResult(index) => (wire::BASE_GO_RESULT, *index),
        Operand::Goroutine => (wire::BASE_GOROUTINE, 0),
        Operand::Thread => (wire::BASE_THREAD, 0),
        Operand::RecordOwner => (wire::BASE_OWNER, 0),
        Operand::StackPointer => (wire::BASE_STACK, 0),
        Operand::Return => (wire::BASE_RETURN, 0),
        _ => return None,
    };
    form.base = u8::try_from(base).ok()?;
    form.index = index;
    Some(form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loads_keep_their_order_and_moment() {
        let form = operand(Some(
            &Operand::Argument(1)
                .load(8, Moment::Entry)
                .load(16, Moment::Return),
        ))
        .unwrap();
        assert_eq!((form.base, form.index), (wire::BASE_ARGUMENT as u8, 1));
        assert_eq!((form.loads, form.late_loads), (2, 1));
        assert_eq!(form.offsets, [8, 16]);
    }

    #[test]
    fn what_the_kernel_side_cannot_read_is_refused() {
        let backwards = Operand::Argument(1)
            .load(0, Moment::Return)
            .load(0, Moment::Entry);
        assert!(operand(Some(&backwards)).is_none());
        let deep = (0..3).fold(Operand::Argument(0), |base, _| base.load(0, Moment::Entry));
        assert!(operand(Some(&deep)).is_none());
    }
}
