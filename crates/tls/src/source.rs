//! Where the bytes of a file come from.
//!
//! The locator never asks for a mapping of the file: a process that truncates a file which the observer
//! has mapped would end the observer with `SIGBUS`. It reads ranges instead, into buffers of bounded size.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::LocateError;

/// Something whose bytes can be read by offset.
///
/// A file may change while it is read: nothing in this crate relies on two reads of the same range
/// giving the same bytes.
pub trait Source {
    /// How many bytes there are.
    ///
    /// # Errors
    /// What the file system says.
    fn byte_count(&self) -> io::Result<u64>;

    /// Reads bytes from `offset` into `buffer`; returns how many were read, fewer only at the end.
    ///
    /// # Errors
    /// What the file system says.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl Source for &[u8] {
    fn byte_count(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.get(offset..))
            .unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }
}

impl Source for &File {
    fn byte_count(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match FileExt::read_at(*self, rest, offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

/// Reads `byte_count` bytes at `offset`, fewer if the file ends before.
pub(crate) fn read_up_to(
    source: &dyn Source,
    offset: u64,
    byte_count: usize,
) -> Result<Vec<u8>, LocateError> {
    let available = source.byte_count()?.saturating_sub(offset);
    // The file's real size bounds the allocation, whatever a header claims.
    let wanted = usize::try_from(available).map_or(byte_count, |left| left.min(byte_count));
    let mut bytes = vec![0; wanted];
    let read = source.read_at(offset, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn reads_stop_at_the_end_of_the_source() {
        let bytes: &[u8] = b"0123456789";
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        for (offset, wanted, expected) in [
            (0, 4, &b"0123"[..]),
            (8, 4, b"89"),
            (10, 4, b""),
            (u64::MAX, 4, b""),
            (3, 0, b""),
            (0, usize::MAX, bytes),
        ] {
            assert_eq!(read_up_to(&bytes, offset, wanted).unwrap(), expected);
            assert_eq!(read_up_to(&&file, offset, wanted).unwrap(), expected);
        }
    }
}
