//! The search for frames in a stream that was entered in the middle.
//!
//! A frame tells where the next one begins. Where two headers in a row are what headers can be, the
//! first of them is taken for the beginning of a frame. The search goes byte by byte, so that its result
//! does not depend on how the stream is cut into runs.

use std::collections::BTreeMap;

/// No frame longer than this is found.
pub(super) const MAX_FRAME_BYTES: usize = 17 << 10;

/// Bytes held: enough for the longest frame, twice.
const HELD_BYTES: usize = 2 * MAX_FRAME_BYTES;

/// Bytes taken at a time: what is found is handed back together with what was taken after it.
const STEP_BYTES: usize = 64;

/// What stands at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guess {
    /// No frame of which a search may begin.
    No,
    /// Too few bytes to tell.
    More,
    /// Perhaps a frame of this length, with its header.
    Frame(usize),
}

/// What is searched for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quarry {
    /// What stands at the front of some bytes, by a glance.
    pub(super) guess: fn(&[u8]) -> Guess,
    /// A closer look at what a search would find.
    pub(super) confirm: fn(&[u8]) -> bool,
}

/// A search in progress.
#[derive(Debug)]
pub(super) struct Hunter {
    quarry: Quarry,
    /// Closer looks that may still be taken: they cost time, and a sender could ask for many.
    looks_left: u32,
    /// Bytes from `base` on.
    buffer: Vec<u8>,
    base: usize,
    /// The next place to look at.
    next: usize,
    /// Where frames that may be some end, and where they begin.
    ends: BTreeMap<usize, usize>,
}

impl Hunter {
    /// A search that takes at most so many closer looks.
    pub(super) fn new(quarry: Quarry, looks_left: u32) -> Self {
        Self {
            quarry,
            looks_left,
            buffer: Vec::new(),
            base: 0,
            next: 0,
            ends: BTreeMap::new(),
        }
    }

    /// Closer looks that it may still take.
    pub(super) fn looks_left(&self) -> u32 {
        self.looks_left
    }

    /// Bytes held.
    pub(super) fn held_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Takes bytes off the front of `input` until a frame is found, and gives everything from its
    /// beginning on. Adds what lies before it to `skipped_bytes`.
    pub(super) fn push(&mut self, input: &mut &[u8], skipped_bytes: &mut u64) -> Option<Vec<u8>> {
        while !input.is_empty() {
            let step = input.len().min(STEP_BYTES);
            let (taken, rest) = input.split_at_checked(step)?;
            self.buffer.extend_from_slice(taken);
            *input = rest;
            if let Some(start) = self.search() {
                return Some(self.take_from(start, skipped_bytes));
            }
            self.trim(skipped_bytes);
        }
        None
    }

    /// Ends the search: a frame that ends with the stream is taken, too.
    pub(super) fn finish(mut self, skipped_bytes: &mut u64) -> Option<Vec<u8>> {
        let end = self.base.saturating_add(self.buffer.len());
        let found = self.ends.get(&end).copied();
        let found = found.filter(|&start| self.confirms(start));
        if found.is_none() {
            *skipped_bytes = skipped_bytes.saturating_add(self.buffer.len() as u64);
        }
        found.map(|start| self.take_from(start, skipped_bytes))
    }

    fn search(&mut self) -> Option<usize> {
        loop {
            let rest = self.buffer.get(self.next.saturating_sub(self.base)..)?;
            match (self.quarry.guess)(rest) {
                Guess::More => return None,
                Guess::No => {}
                Guess::Frame(length) => {
                    let start = self.ends.get(&self.next).copied();
                    if let Some(start) = start.filter(|&start| self.confirms(start)) {
                        return Some(start);
                    }
                    let end = self.next.saturating_add(length);
                    self.ends.entry(end).or_insert(self.next);
                }
            }
            self.next = self.next.saturating_add(1);
        }
    }

    fn confirms(&mut self, start: usize) -> bool {
        let Some(left) = self.looks_left.checked_sub(1) else {
            return false;
        };
        self.looks_left = left;
        let frame = self.buffer.get(start.saturating_sub(self.base)..);
        frame.is_some_and(self.quarry.confirm)
    }

    fn take_from(&mut self, start: usize, skipped_bytes: &mut u64) -> Vec<u8> {
        let before = start.saturating_sub(self.base).min(self.buffer.len());
        *skipped_bytes = skipped_bytes.saturating_add(before as u64);
        self.buffer.split_off(before)
    }

    /// Lets go of bytes that can no longer be in a frame that is found.
    fn trim(&mut self, skipped_bytes: &mut u64) {
        if self.buffer.len() < HELD_BYTES {
            return;
        }
        let kept_from = self.next.saturating_sub(MAX_FRAME_BYTES);
        let count = kept_from.saturating_sub(self.base).min(self.buffer.len());
        self.buffer.drain(..count);
        self.base = self.base.saturating_add(count);
        *skipped_bytes = skipped_bytes.saturating_add(count as u64);
        self.ends = self.ends.split_off(&self.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of a letter, a digit and as many bytes as it says.
    fn guess(bytes: &[u8]) -> Guess {
        match bytes {
            [b'a'..=b'z', digit @ b'0'..=b'9', ..] => Guess::Frame(2 + usize::from(digit - b'0')),
            [b'a'..=b'z'] | [] => Guess::More,
            _ => Guess::No,
        }
    }

    const QUARRY: Quarry = Quarry {
        guess,
        confirm: |bytes| !bytes.starts_with(b"z"),
    };

    fn find(text: &str, pieces: usize) -> (Option<String>, u64) {
        let (mut hunter, mut skipped) = (Hunter::new(QUARRY, 2), 0);
        for piece in text.as_bytes().chunks(pieces) {
            let mut rest = piece;
            if let Some(mut found) = hunter.push(&mut rest, &mut skipped) {
                found.extend_from_slice(rest);
                return (String::from_utf8(found).ok(), skipped);
            }
        }
        let found = hunter.finish(&mut skipped);
        (
            found.and_then(|found| String::from_utf8(found).ok()),
            skipped,
        )
    }

    #[test]
    fn two_headers_in_a_row_are_a_find() {
        for (text, found, skipped) in [
            ("..a2xxb1y", Some("a2xxb1y"), 2),
            ("a9.b1yc0", Some("b1yc0"), 3),
            ("a2x", None, 3),
            // A closer look says no, and is taken twice at most.
            ("z0a0b0", Some("a0b0"), 2),
            ("z0z0z0a0b0", None, 10),
            ("..a2xx", Some("a2xx"), 2),
            ("....", None, 4),
            ("", None, 0),
        ] {
            let (whole, count) = find(text, 1000);
            assert_eq!((whole.as_deref(), count), (found, skipped), "{text}");
        }
        // In pieces, what follows the find is still to come.
        assert_eq!(find("..a2xxb1y", 1), (Some("a2xxb1".to_owned()), 2));
    }

    #[test]
    fn memory_is_bounded_and_everything_is_counted() {
        let (mut hunter, mut skipped) = (Hunter::new(QUARRY, 2), 0);
        for _ in 0..100 {
            assert_eq!(
                hunter.push(&mut [b'.'; 5000].as_slice(), &mut skipped),
                None
            );
            assert!(hunter.held_bytes() <= HELD_BYTES + STEP_BYTES);
        }
        hunter.finish(&mut skipped);
        assert_eq!(skipped, 500_000);
    }
}
