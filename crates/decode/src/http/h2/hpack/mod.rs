//! HPACK, the compression of header fields (RFC 7541), read by an observer.
//!
//! An observer may join when the dynamic table has been filled already, or lose header blocks on the
//! way. Entries are counted from the newest, so those that were inserted under its eyes keep their
//! index whatever stands behind them. A reference to anything older gives a field that is marked as
//! unknown: never a wrong one.

mod huffman;
mod table;

use std::sync::Arc;

use table::Table;

/// A header field; a part that is absent stood in a table that was not seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::http) struct Field {
    pub(in crate::http) name: Option<Arc<str>>,
    pub(in crate::http) value: Option<Arc<str>>,
}

/// A header block that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Decoder of the header blocks of one direction.
pub(super) struct Decoder {
    table: Table,
}

impl Decoder {
    /// A decoder for a connection that is watched from its start.
    pub(super) fn new() -> Self {
        Self {
            table: Table::new(),
        }
    }

    /// Notes that header blocks were missed, or may have been.
    pub(super) fn forget(&mut self) {
        self.table.forget();
    }

    /// Bytes held.
    pub(super) fn held_bytes(&self) -> usize {
        self.table.size_bytes()
    }

    /// Decodes a block and hands its fields to `emit`, in order. If the block is malformed, so is what
    /// it did to the table.
    pub(super) fn decode(
        &mut self,
        block: &[u8],
        emit: &mut dyn FnMut(Field),
    ) -> Result<(), Malformed> {
        let mut rest = block;
        while !rest.is_empty() {
            if let Err(malformed) = self.instruction(&mut rest, emit) {
                self.forget();
                return Err(malformed);
            }
        }
        Ok(())
    }

    fn instruction(
        &mut self,
        rest: &mut &[u8],
        emit: &mut dyn FnMut(Field),
    ) -> Result<(), Malformed> {
        let first = rest.first().copied().ok_or(Malformed)?;
        match first.leading_zeros() {
            // Indexed field.
            0 => {
                let index = integer(rest, 7)?;
                emit(self.table.get(index).ok_or(Malformed)?);
            }
            // Literal that is inserted into the table.
            1 => self.literal(rest, 6, true, emit)?,
            // New size of the table.
            2 => {
                let capacity = integer(rest, 5)?;
                let capacity = usize::try_from(capacity).map_err(|_| Malformed)?;
                self.table.resize(capacity);
            }
            // Literal that is not inserted, or may never be.
            _ => self.literal(rest, 4, false, emit)?,
        }
        Ok(())
    }

    fn literal(
        &mut self,
        rest: &mut &[u8],
        prefix_bits: u32,
        insert: bool,
        emit: &mut dyn FnMut(Field),
    ) -> Result<(), Malformed> {
        let (name, name_bytes) = match integer(rest, prefix_bits)? {
            0 => {
                let name = string(rest)?;
                (Some(text(&name)), name.len())
            }
            index => {
                let name = self.table.get(index).ok_or(Malformed)?.name;
                let bytes = name.as_ref().map_or(0, |name| name.len());
                (name, bytes)
            }
        };
        let bytes = string(rest)?;
        let value = text(&bytes);
        if insert {
            let lengths = (name_bytes, bytes.len());
            self.table.insert(name.clone(), value.clone(), lengths);
        }
        emit(Field {
            name,
            value: Some(value),
        });
        Ok(())
    }
}

fn text(bytes: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(bytes).into()
}

/// Reads an integer whose first bits are the low ones of the next byte (RFC 7541, section 5.1).
fn integer(rest: &mut &[u8], prefix_bits: u32) -> Result<u32, Malformed> {
    let mask = u8::MAX >> u8::BITS.saturating_sub(prefix_bits);
    let first = take_byte(rest)? & mask;
    let mut value = u32::from(first);
    if first < mask {
        return Ok(value);
    }
    for shift in [0, 7, 14, 21, 28] {
        let byte = take_byte(rest)?;
        let digits = u64::from(byte & 0x7f) << shift;
        let digits = u32::try_from(digits).map_err(|_| Malformed)?;
        value = value.checked_add(digits).ok_or(Malformed)?;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Malformed)
}

/// Reads a string (RFC 7541, section 5.2).
fn string(rest: &mut &[u8]) -> Result<Vec<u8>, Malformed> {
    let coded = rest.first().is_some_and(|byte| byte & 0x80 != 0);
    let length = integer(rest, 7)?;
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let (bytes, after) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = after;
    if coded {
        huffman::decode(bytes).ok_or(Malformed)
    } else {
        Ok(bytes.to_vec())
    }
}

fn take_byte(rest: &mut &[u8]) -> Result<u8, Malformed> {
    let (&byte, after) = rest.split_first().ok_or(Malformed)?;
    *rest = after;
    Ok(byte)
}

#[cfg(test)]
mod tests;
