//! Bodies: how long they are, and what they decode to.

use agentsight_model::BodyInfo;
use sha2::{Digest, Sha256};

use super::chunked::{Chunked, Progress, take_front};
use super::encoding::{self, Decoder, MAGIC_BYTES};
use super::message::{Body, Flaw, Headers};
use crate::text::hexadecimal;

/// Gaps noted in one body. Beyond them, bytes are counted and hashed, but no longer kept: what would be
/// kept has no known place.
const MAX_GAPS: usize = 1024;

/// How the end of an HTTP/1 body is told.
#[derive(Debug)]
pub(super) enum Framing {
    /// By its length.
    Length {
        /// Bytes still to come.
        left: u64,
    },
    /// By its last chunk.
    Chunked(Chunked),
    /// By the end of the connection.
    UntilClose,
}

impl Framing {
    /// Of a message without a body.
    pub(super) const EMPTY: Self = Self::Length { left: 0 };

    /// What the header fields say; `None` if they contradict each other. `default` holds where they say
    /// nothing (RFC 9112, section 6.3).
    pub(super) fn declared(headers: &Headers, default: Self) -> Option<Self> {
        if headers.get("transfer-encoding").is_some() {
            let last = headers.elements("transfer-encoding").last();
            return match (last, default) {
                (Some(last), _) if last.eq_ignore_ascii_case("chunked") => {
                    Some(Self::Chunked(Chunked::default()))
                }
                (_, Self::UntilClose) => Some(Self::UntilClose),
                _ => None,
            };
        }
        let mut lengths = headers.elements("content-length");
        let Some(first) = lengths.next() else {
            return Some(default);
        };
        let digits = first.bytes().all(|b| b.is_ascii_digit());
        let agree = lengths.all(|other| other == first);
        let left = first.parse().ok()?;
        (digits && agree).then_some(Self::Length { left })
    }

    /// Whether the body has ended.
    pub(super) fn is_at_end(&self) -> bool {
        matches!(self, Self::Length { left: 0 })
    }

    /// Takes bytes off the front of `input` and hands those of the body to `reader`.
    pub(super) fn push(&mut self, input: &mut &[u8], reader: &mut BodyReader) -> Progress {
        match self {
            Self::Length { left } => {
                let taken = take_front(input, *left);
                *left = left.saturating_sub(taken.len() as u64);
                reader.push(taken);
                if *left == 0 {
                    Progress::Done
                } else {
                    Progress::More
                }
            }
            Self::Chunked(chunked) => chunked.push(input, &mut |bytes| reader.push(bytes)),
            Self::UntilClose => {
                reader.push(take_front(input, u64::MAX));
                Progress::More
            }
        }
    }

    /// Leaves out `missing` bytes that were not captured. Where they lie inside the body, or inside one
    /// of its chunks, the decoder stays in step with the stream.
    pub(super) fn skip(&mut self, missing: u64, reader: &mut BodyReader) -> Progress {
        reader.gap();
        match self {
            Self::Length { left } if missing > *left => Progress::Broken,
            Self::Length { left } => {
                *left = left.saturating_sub(missing);
                if *left == 0 {
                    Progress::Done
                } else {
                    Progress::More
                }
            }
            Self::Chunked(chunked) => chunked.skip(missing),
            Self::UntilClose => Progress::More,
        }
    }

    /// The trailer fields, once the body has ended.
    pub(super) fn trailers(&self) -> Headers {
        match self {
            Self::Chunked(chunked) => chunked.trailers(),
            _ => Headers::default(),
        }
    }
}

/// Decodes, hashes and keeps the bytes of one body as they arrive.
pub(super) struct BodyReader {
    decoder: Decoder,
    /// The first bytes, where they must tell the content coding.
    opening: Option<Vec<u8>>,
    decode_limit: u64,
    encoding: Option<String>,
    digest: Sha256,
    kept: Vec<u8>,
    keep_limit: usize,
    decoded_bytes: u64,
    wire_bytes: u64,
    gaps: Vec<usize>,
    flaw: Option<Flaw>,
}

impl BodyReader {
    /// A reader of the body that `headers` belong to. It keeps `keep_limit` bytes, and decodes content
    /// codings to `decode_limit` bytes.
    pub(super) fn new(headers: &Headers, keep_limit: usize, decode_limit: u64) -> Self {
        let codings: Vec<&str> = headers
            .elements("content-encoding")
            .chain(headers.elements("transfer-encoding"))
            .filter(|coding| !coding.eq_ignore_ascii_case("chunked"))
            .collect();
        // The field that names the coding may be one of those that cannot be known.
        let untold = codings.is_empty() && headers.unknown_count() > 0;
        // A coding that is not known hides the content, but its bytes are still the body's bytes.
        let decoder = Decoder::new(&codings, decode_limit).unwrap_or_else(Decoder::identity);
        let encoding = codings.join(", ").to_ascii_lowercase();
        Self {
            decoder,
            opening: untold.then(Vec::new),
            decode_limit,
            encoding: (!encoding.is_empty() && encoding != "identity").then_some(encoding),
            digest: Sha256::new(),
            kept: Vec::new(),
            keep_limit,
            decoded_bytes: 0,
            wire_bytes: 0,
            gaps: Vec::new(),
            flaw: None,
        }
    }

    /// Lets the first bytes tell the content coding: the header fields were not seen.
    pub(super) fn expect_any_coding(&mut self) {
        self.opening = Some(Vec::new());
    }

    /// Takes bytes of the body, transfer framing removed.
    pub(super) fn push(&mut self, wire: &[u8]) {
        self.wire_bytes = self.wire_bytes.saturating_add(wire.len() as u64);
        let Some(mut opening) = self.opening.take() else {
            self.decode(wire);
            return;
        };
        let mut rest = wire;
        opening.extend_from_slice(take_front(
            &mut rest,
            MAGIC_BYTES.saturating_sub(opening.len()) as u64,
        ));
        if opening.len() < MAGIC_BYTES {
            self.opening = Some(opening);
            return;
        }
        self.choose_coding(&opening);
        self.decode(&opening);
        self.decode(rest);
    }

    fn choose_coding(&mut self, opening: &[u8]) {
        if let Some(name) = encoding::coding_of(opening)
            && let Some(decoder) = Decoder::new(&[name], self.decode_limit)
        {
            self.decoder = decoder;
            self.encoding = Some(name.to_owned());
        }
    }

    fn decode(&mut self, wire: &[u8]) {
        if self.flaw.is_some() && !self.decoder.is_identity() {
            // After a hole, a compressed stream no longer decodes to what it was.
            return;
        }
        let (digest, kept, decoded) = (&mut self.digest, &mut self.kept, &mut self.decoded_bytes);
        let keep_limit = if self.gaps.len() < MAX_GAPS {
            self.keep_limit
        } else {
            0
        };
        self.decoder.decode(wire, &mut |bytes| {
            digest.update(bytes);
            *decoded = decoded.saturating_add(bytes.len() as u64);
            let room = keep_limit.saturating_sub(kept.len());
            kept.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        });
    }

    /// Notes that bytes are missing here.
    pub(super) fn gap(&mut self) {
        if let Some(opening) = self.opening.take() {
            self.decode(&opening);
        }
        self.flaw.get_or_insert(Flaw::Hole);
        if self.gaps.len() < MAX_GAPS {
            self.gaps.push(self.kept.len());
        }
    }

    /// Takes bytes whose content coding was removed already.
    pub(super) fn push_decoded(&mut self, bytes: &[u8]) {
        self.decode(bytes);
    }

    /// Counts bytes as transferred, apart from those that `push` was given.
    pub(super) fn count_wire(&mut self, count: u64) {
        self.wire_bytes = self.wire_bytes.saturating_add(count);
    }

    /// Names the content coding that was removed.
    pub(super) fn name_coding(&mut self, name: &str) {
        if self.encoding.is_none() {
            self.encoding = Some(name.to_owned());
        }
    }

    /// Notes why the body is not whole.
    pub(super) fn spoil(&mut self, flaw: Flaw) {
        self.flaw.get_or_insert(flaw);
    }

    /// Goes on without keeping anything: there is no more room.
    pub(super) fn keep_no_more(&mut self) {
        self.keep_limit = self.kept.len();
    }

    /// Bytes received so far, as transferred.
    pub(super) fn wire_bytes(&self) -> u64 {
        self.wire_bytes
    }

    /// Bytes held in memory: what is kept, and what the content codings refer back to.
    pub(super) fn held_bytes(&self) -> usize {
        self.kept.len().saturating_add(self.decoder.window_bytes())
    }

    /// The body. `flaw` is what its framing ended with.
    pub(super) fn finish(mut self, flaw: Option<Flaw>) -> Body {
        if let Some(opening) = self.opening.take() {
            self.decode(&opening);
        }
        let flaw = self.flaw.or(flaw).or_else(|| self.decoder.flaw());
        Body {
            bytes: self.kept,
            info: BodyInfo {
                bytes: self.decoded_bytes,
                sha256: hexadecimal(&self.digest.finalize()),
                wire_bytes: self.wire_bytes,
                encoding: self.encoding,
                complete: flaw.is_none(),
            },
            gaps: self.gaps,
            flaw,
        }
    }
}
