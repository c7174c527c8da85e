//! The gzip file format around deflate streams (RFC 1952), read as the bytes arrive.

use flate2::{Crc, Decompress};

use super::encoding::{Step, inflate_step, skip};

/// `gzip`: one or more members (RFC 1952), each with its header, deflate stream and checksum.
pub(super) struct Gzip {
    part: GzipPart,
    flags: u8,
    /// Bytes of the part seen so far, or, of the extra field, still to come.
    count: u32,
    /// The last four bytes seen, as a little-endian number.
    recent: u32,
    inflate: Decompress,
    crc: Crc,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum GzipPart {
    /// Before the first member.
    Start,
    Fixed,
    ExtraLength,
    Extra,
    Name,
    Comment,
    HeaderCrc,
    Deflate,
    Crc,
    Length,
    /// After a member; another one may follow.
    Between,
    /// After bytes that follow the last member and begin no other: ignored, as browsers do.
    Trailing,
}

const FLAG_HEADER_CRC: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;

impl Default for Gzip {
    fn default() -> Self {
        Self {
            part: GzipPart::Start,
            flags: 0,
            count: 0,
            recent: 0,
            inflate: Decompress::new(false),
            crc: Crc::new(),
        }
    }
}

impl Gzip {
    /// Whether the input so far is a whole stream; an empty one is.
    pub(super) fn is_at_end(&self) -> bool {
        use GzipPart::{Between, Start, Trailing};
        matches!(self.part, Start | Between | Trailing)
    }

    /// Runs once.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        match self.part {
            GzipPart::Deflate => {
                let (step, ended) = inflate_step(&mut self.inflate, input, output);
                self.crc
                    .update(output.get(..step.produced).unwrap_or_default());
                if ended {
                    self.enter(GzipPart::Crc);
                }
                step
            }
            GzipPart::Trailing => skip(input),
            _ => self.wrapping(input),
        }
    }

    /// Takes the bytes around a deflate stream.
    fn wrapping(&mut self, input: &[u8]) -> Step {
        let mut step = skip(&[]);
        for &byte in input {
            step.consumed = step.consumed.saturating_add(1);
            step.corrupt = !self.take(byte);
            if step.corrupt || matches!(self.part, GzipPart::Deflate | GzipPart::Trailing) {
                break;
            }
        }
        step
    }

    fn enter(&mut self, part: GzipPart) {
        self.part = part;
        self.count = 0;
    }

    /// Goes to the first optional part of the header, from `part` on, that the flags announce.
    fn enter_optional(&mut self, part: GzipPart) {
        let optional = [
            (GzipPart::ExtraLength, FLAG_EXTRA),
            (GzipPart::Name, FLAG_NAME),
            (GzipPart::Comment, FLAG_COMMENT),
            (GzipPart::HeaderCrc, FLAG_HEADER_CRC),
        ];
        let next = optional
            .into_iter()
            .skip_while(|(candidate, _)| *candidate != part)
            .find(|(_, flag)| self.flags & flag != 0)
            .map_or(GzipPart::Deflate, |(found, _)| found);
        self.enter(next);
    }

    /// Takes one byte around a deflate stream; false if it cannot stand there.
    fn take(&mut self, byte: u8) -> bool {
        self.recent = self.recent >> 8 | u32::from(byte) << 24;
        self.count = self.count.saturating_add(1);
        match (self.part, self.count) {
            (GzipPart::Start, _) => return self.begin_member(byte),
            (GzipPart::Between, _) if byte == 0x1f => return self.begin_member(byte),
            (GzipPart::Between, _) => self.enter(GzipPart::Trailing),
            (GzipPart::Fixed, 2) => return byte == 0x8b,
            (GzipPart::Fixed, 3) => return byte == 8,
            (GzipPart::Fixed, 4) => self.flags = byte,
            (GzipPart::Fixed, 10) => self.enter_optional(GzipPart::ExtraLength),
            (GzipPart::ExtraLength, 2) => match self.recent >> 16 {
                0 => self.enter_optional(GzipPart::Name),
                length => {
                    self.part = GzipPart::Extra;
                    self.count = length;
                }
            },
            (GzipPart::Extra, _) => {
                // Counts down what is left, and takes back the count of this byte.
                self.count = self.count.saturating_sub(2);
                if self.count == 0 {
                    self.enter_optional(GzipPart::Name);
                }
            }
            (GzipPart::Name, _) if byte == 0 => self.enter_optional(GzipPart::Comment),
            (GzipPart::Comment, _) if byte == 0 => self.enter_optional(GzipPart::HeaderCrc),
            (GzipPart::HeaderCrc, 2) => self.enter(GzipPart::Deflate),
            (GzipPart::Crc, 4) => {
                let matches = self.recent == self.crc.sum();
                self.enter(GzipPart::Length);
                return matches;
            }
            (GzipPart::Length, 4) => {
                let matches = self.recent == self.crc.amount();
                self.enter(GzipPart::Between);
                return matches;
            }
            _ => {}
        }
        true
    }

    fn begin_member(&mut self, byte: u8) -> bool {
        self.inflate.reset(false);
        self.crc.reset();
        self.part = GzipPart::Fixed;
        self.count = 1;
        byte == 0x1f
    }
}
