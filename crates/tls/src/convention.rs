//! How to read what a hooked function is given, and what it gives back.

use std::fmt;

use serde::{Serialize, Serializer};

/// Where a function keeps what is of interest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Convention {
    /// What identifies the connection, or one direction of it.
    pub object: Operand,
    /// What entry and return of one call have in common.
    pub call: Operand,
    /// Address of the plaintext.
    pub buffer: Option<Operand>,
    /// Bytes that the function was asked to move; for a read, the room that there is.
    pub length: Option<Operand>,
    /// Bytes that it did move, once `success` holds. Absent where `length` is that number.
    pub moved: Option<Operand>,
    /// When the call moved anything.
    pub success: Success,
    /// Whether only objects that a hook of kind [`HookKind::Create`] or [`HookKind::RecordOwner`] saw count.
    pub only_created_objects: bool,
    /// How many bytes at the buffer's start are no plaintext; they are counted in the length.
    pub skip_head: Option<Operand>,
    /// Bytes at the buffer's end that are no plaintext; they are counted in the length.
    pub skip_tail_bytes: u8,
    /// Where the record's content type is.
    pub trailer: Trailer,
    /// Address of what is authenticated with a record: 5 bytes are the header of a TLS 1.3 record, 13 bytes
    /// number and header of an older one; any other length is no TLS record.
    pub associated_data: Option<Operand>,
    /// Length of it.
    pub associated_data_bytes: Option<Operand>,
    /// Descriptor of the socket, where the function is given one.
    pub fd: Option<Operand>,
    /// Number of the record in its direction. With 0, the object's memory may have been another's before.
    pub sequence: Option<Operand>,
    /// Whether data of a write that would block is kept, to be sent by a call without a buffer, whose result
    /// counts it: `gnutls_record_send(session, NULL, 0)`.
    pub keeps_data: bool,
}

/// Where the real content type of a TLS 1.3 record is. It stands behind the plaintext, as one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trailer {
    /// Not in the buffer.
    None,
    /// It is the first of the bytes at the end that are skipped.
    ContentType,
    /// It is one byte more at the end, if the associated data is that of TLS 1.3.
    ContentTypeInTls13,
}

/// When a call moved bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Success {
    /// It always does.
    Always,
    /// It returned more than 0, as a signed number of 32 bits.
    ReturnedPositive,
    /// It returned more than 0, as a signed number of 64 bits.
    ReturnedPositive64,
    /// It returned 1, as a number of 32 bits.
    ReturnedOne,
    /// It returned 0, as a number of 32 bits.
    ReturnedZero,
}

/// When an operand is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the first instruction.
    Entry,
    /// After the last.
    Return,
}

/// A 64-bit value that a probe can get at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operand {
    /// Integer argument of the platform's C calling convention, counted from 0, at entry.
    Argument(u8),
    /// Integer register of Go's internal calling convention, counted from 0, at entry.
    GoArgument(u8),
    /// The same register at return.
    GoResult(u8),
    /// The running goroutine.
    Goroutine,
    /// The running thread.
    Thread,
    /// The object of the call of kind [`HookKind::RecordOwner`] that the thread made last, each of which
    /// stands for one record. If there is none, the thread.
    RecordOwner,
    /// The stack pointer, at entry and at return instructions the same.
    StackPointer,
    /// The result of the platform's C calling convention.
    Return,
    /// 64 bits of memory.
    Memory {
        /// Address of the memory.
        base: Box<Operand>,
        /// Added to the address.
        offset: i32,
        /// When the memory is read.
        at: Moment,
    },
}

impl Operand {
    /// The 64 bits at this address plus `offset`, read at `at`.
    #[must_use]
    pub fn load(self, offset: i32, at: Moment) -> Self {
        Self::Memory {
            base: Box::new(self),
            offset,
            at,
        }
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(index) => write!(f, "arg{index}"),
            Self::GoArgument(index) => write!(f, "go_arg{index}"),
            Self::GoResult(index) => write!(f, "go_ret{index}"),
            Self::Goroutine => f.write_str("goroutine"),
            Self::Thread => f.write_str("thread"),
            Self::RecordOwner => f.write_str("record_owner"),
            Self::StackPointer => f.write_str("sp"),
            Self::Return => f.write_str("ret"),
            Self::Memory { base, offset, at } => {
                let at = match at {
                    Moment::Entry => "entry",
                    Moment::Return => "return",
                };
                write!(f, "*({base}+{offset})@{at}")
            }
        }
    }
}

impl Serialize for Operand {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Convention {
    /// A convention of which only the object matters.
    #[must_use]
    pub fn of_object(object: Operand) -> Self {
        Self {
            object,
            call: Operand::Thread,
            buffer: None,
            length: None,
            moved: None,
            success: Success::Always,
            only_created_objects: false,
            skip_head: None,
            skip_tail_bytes: 0,
            trailer: Trailer::None,
            associated_data: None,
            associated_data_bytes: None,
            fd: None,
            sequence: None,
            keeps_data: false,
        }
    }

    /// `f(object, buffer, length)` that returns how much it moved.
    #[must_use]
    pub fn returning(success: Success) -> Self {
        Self {
            buffer: Some(Operand::Argument(1)),
            length: Some(Operand::Argument(2)),
            moved: Some(Operand::Return),
            success,
            ..Self::of_object(Operand::Argument(0))
        }
    }

    /// `f(object, buffer, length, .., &moved)` that returns 1.
    #[must_use]
    pub fn storing(moved: u8) -> Self {
        Self {
            moved: Some(Operand::Argument(moved).load(0, Moment::Return)),
            ..Self::returning(Success::ReturnedOne)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_read_as_text() {
        for (operand, text) in [
            (Operand::Argument(3), "arg3"),
            (Operand::GoArgument(1), "go_arg1"),
            (Operand::GoResult(0), "go_ret0"),
            (Operand::Goroutine, "goroutine"),
            (
                Operand::Argument(3).load(0, Moment::Return),
                "*(arg3+0)@return",
            ),
            (Operand::Return.load(8, Moment::Return), "*(ret+8)@return"),
        ] {
            assert_eq!(operand.to_string(), text);
        }
    }
}
