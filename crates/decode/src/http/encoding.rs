//! Content codings: gzip, deflate, br and zstd, alone or stacked, decoded as the bytes arrive.
//!
//! What a cut stream holds is decoded up to the cut. Each coding may put out a limited number of
//! bytes, so that neither a bomb nor a bomb inside a bomb costs more than the limit.

use std::io;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use super::gzip::Gzip;
use super::message::Flaw;

/// Codings beyond this many are not decoded: no sender stacks more than two.
const MAX_STACKED: usize = 4;

/// Output is produced in pieces of this size.
const PIECE_BYTES: usize = 16 * 1024;

/// No coding refers back further than this (RFC 7932, section 9.1).
const MAX_WINDOW_BYTES: u64 = 16 << 20;

/// RFC 9659: senders must not, and decoders need not, use a greater window for this coding.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// A stack of codings, outermost first. Without any, bytes pass through as they are.
pub(super) struct Decoder {
    stages: Vec<Stage>,
    flaw: Option<Flaw>,
}

/// One coding and the space that it writes to.
struct Stage {
    coding: Coding,
    piece: Box<[u8]>,
    produced_bytes: u64,
    limit_bytes: u64,
}

/// First bytes of a body that tell its coding.
pub(super) const MAGIC_BYTES: usize = 4;

/// The coding that a body begins with; only some can be told.
pub(super) fn coding_of(opening: &[u8]) -> Option<&'static str> {
    match opening {
        // RFC 1952, section 2.3.1: the only method there is, and no reserved flag.
        [0x1f, 0x8b, 8, 0..=31, ..] => Some("gzip"),
        // RFC 8878, section 3.1.1.
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
        _ => None,
    }
}

/// What one step of a coding did.
pub(super) struct Step {
    pub(super) consumed: usize,
    pub(super) produced: usize,
    pub(super) corrupt: bool,
}

impl Decoder {
    /// A decoder for `codings` in the order in which they were applied; `None` if one of them is
    /// unknown. Each may put out `limit_bytes`.
    pub(super) fn new(codings: &[&str], limit_bytes: u64) -> Option<Self> {
        let mut stages = Vec::new();
        for name in codings {
            if stages.len() >= MAX_STACKED {
                return None;
            }
            if let Some(coding) = Coding::named(name)? {
                stages.push(Stage {
                    coding,
                    piece: vec![0; PIECE_BYTES].into_boxed_slice(),
                    produced_bytes: 0,
                    limit_bytes,
                });
            }
        }
        stages.reverse();
        Some(Self { stages, flaw: None })
    }

    /// Passes bytes through unchanged.
    pub(super) fn identity() -> Self {
        Self {
            stages: Vec::new(),
            flaw: None,
        }
    }

    /// Whether bytes pass through unchanged.
    pub(super) fn is_identity(&self) -> bool {
        self.stages.is_empty()
    }

    /// Decodes `input` and hands what comes out to `emit`. After a flaw, nothing comes out any more.
    pub(super) fn decode(&mut self, input: &[u8], emit: &mut dyn FnMut(&[u8])) {
        if self.flaw.is_none() {
            self.flaw = run(&mut self.stages, input, emit).err();
        }
    }

    /// Bytes of output that the codings hold to refer back to, at most.
    pub(super) fn window_bytes(&self) -> usize {
        let windows = self
            .stages
            .iter()
            .map(|stage| stage.produced_bytes.min(MAX_WINDOW_BYTES));
        let total = windows.fold(0, u64::saturating_add);
        usize::try_from(total).unwrap_or(usize::MAX)
    }

    /// Why decoding stopped, or would be incomplete if the input ended here.
    pub(super) fn flaw(&self) -> Option<Flaw> {
        let cut = || self.stages.iter().any(|stage| !stage.coding.is_at_end());
        self.flaw.or_else(|| cut().then_some(Flaw::Cut))
    }
}

fn run(stages: &mut [Stage], input: &[u8], emit: &mut dyn FnMut(&[u8])) -> Result<(), Flaw> {
    let Some((stage, inner)) = stages.split_first_mut() else {
        emit(input);
        return Ok(());
    };
    let mut rest = input;
    loop {
        let step = stage.coding.step(rest, &mut stage.piece);
        rest = rest.get(step.consumed..).unwrap_or_default();
        let output = stage.piece.get(..step.produced).unwrap_or_default();
        stage.produced_bytes = stage.produced_bytes.saturating_add(output.len() as u64);
        if stage.produced_bytes > stage.limit_bytes {
            return Err(Flaw::Limit);
        }
        if !output.is_empty() {
            run(inner, output, emit)?;
        }
        if step.corrupt {
            return Err(Flaw::Corrupt);
        }
        if step.consumed == 0 && step.produced == 0 {
            return Ok(());
        }
    }
}

enum Coding {
    Gzip(Box<Gzip>),
    Deflate(Deflate),
    Brotli(Box<Brotli>),
    Zstd(Zstd),
}

impl Coding {
    /// The coding of that name; `Some(None)` for the one that does nothing.
    fn named(name: &str) -> Option<Option<Self>> {
        Some(match name.to_ascii_lowercase().as_str() {
            "identity" => None,
            "gzip" | "x-gzip" => Some(Self::Gzip(Box::default())),
            "deflate" => Some(Self::Deflate(Deflate::default())),
            "br" => Some(Self::Brotli(Box::new(Brotli::new()))),
            "zstd" => Some(Self::Zstd(Zstd::new()?)),
            _ => return None,
        })
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        match self {
            Self::Gzip(gzip) => gzip.step(input, output),
            Self::Deflate(deflate) => deflate.step(input, output),
            Self::Brotli(brotli) => brotli.step(input, output),
            Self::Zstd(zstd) => zstd.step(input, output),
        }
    }

    /// Whether the input so far is a whole stream. An empty body is one, whatever its coding.
    fn is_at_end(&self) -> bool {
        match self {
            Self::Gzip(gzip) => gzip.is_at_end(),
            Self::Deflate(deflate) => deflate.is_at_end(),
            Self::Brotli(brotli) => brotli.ended || !brotli.begun,
            Self::Zstd(zstd) => zstd.ended,
        }
    }
}

/// Runs `inflate` once.
pub(super) fn inflate_step(
    inflate: &mut Decompress,
    input: &[u8],
    output: &mut [u8],
) -> (Step, bool) {
    let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(input, output, FlushDecompress::None);
    let difference =
        |now: u64, before: u64| usize::try_from(now.saturating_sub(before)).unwrap_or(0);
    let step = Step {
        consumed: difference(inflate.total_in(), before_in),
        produced: difference(inflate.total_out(), before_out),
        corrupt: status.is_err(),
    };
    (step, matches!(status, Ok(Status::StreamEnd)))
}

/// Skips the rest of the input.
pub(super) fn skip(input: &[u8]) -> Step {
    Step {
        consumed: input.len(),
        produced: 0,
        corrupt: false,
    }
}

/// `deflate`: zlib by the standard, but some senders leave the zlib wrapping out.
#[derive(Default)]
struct Deflate {
    inflate: Option<Decompress>,
    first: Option<u8>,
    ended: bool,
}

impl Deflate {
    fn is_at_end(&self) -> bool {
        self.ended || (self.inflate.is_none() && self.first.is_none())
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        if self.ended {
            return skip(input);
        }
        if let Some(inflate) = &mut self.inflate {
            let (step, ended) = inflate_step(inflate, input, output);
            self.ended = ended;
            return step;
        }
        let Some((&byte, _)) = input.split_first() else {
            return skip(input);
        };
        let Some(first) = self.first else {
            self.first = Some(byte);
            return skip(&[byte]);
        };
        // RFC 1950: method 8 in the low bits, and both bytes together a multiple of 31.
        let zlib = first & 0x0f == 8 && u16::from_be_bytes([first, byte]) % 31 == 0;
        let mut inflate = Decompress::new(zlib);
        // One byte puts nothing out in either format: the shortest block takes ten bits.
        let (fed, _) = inflate_step(&mut inflate, &[first], output);
        self.inflate = Some(inflate);
        if fed.corrupt {
            return fed;
        }
        self.step(input, output)
    }
}

/// `br` (RFC 7932).
struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    begun: bool,
    ended: bool,
}

impl Brotli {
    fn new() -> Self {
        let heap = StandardAlloc::default;
        Self {
            state: BrotliState::new(heap(), heap(), heap()),
            begun: false,
            ended: false,
        }
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        if self.ended {
            return skip(input);
        }
        self.begun |= !input.is_empty();
        let (mut in_left, mut consumed) = (input.len(), 0);
        let (mut out_left, mut produced, mut total) = (output.len(), 0, 0);
        let result = BrotliDecompressStream(
            &mut in_left,
            &mut consumed,
            input,
            &mut out_left,
            &mut produced,
            output,
            &mut total,
            &mut self.state,
        );
        self.ended = matches!(result, BrotliResult::ResultSuccess);
        Step {
            consumed,
            produced,
            corrupt: matches!(result, BrotliResult::ResultFailure),
        }
    }
}

/// `zstd` (RFC 8878): one or more frames.
struct Zstd {
    decoder: ZstdDecoder<'static>,
    ended: bool,
}

impl Zstd {
    fn new() -> Option<Self> {
        let mut decoder = ZstdDecoder::new().ok()?;
        decoder
            .set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))
            .ok()?;
        Some(Self {
            decoder,
            ended: true,
        })
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        if input.is_empty() && self.ended {
            return skip(input);
        }
        let mut source = InBuffer::around(input);
        let mut target = OutBuffer::around(output);
        let result: io::Result<usize> = self.decoder.run(&mut source, &mut target);
        // The decoder answers how much more it would like to read: nothing after a whole frame.
        self.ended = matches!(result, Ok(0));
        Step {
            consumed: source.pos(),
            produced: target.pos(),
            corrupt: result.is_err(),
        }
    }
}
