//! How long audio and video take, by what their first bytes say. Nothing is decoded.
//!
//! WAV: RIFF, `fmt ` and `data` chunks. FLAC: RFC 9639, 8.2. MP3: ISO 11172-3, 2.4.2.3, with the frame
//! count of a `Xing` or `Info` header, else as for one bit rate. MP4: ISO 14496-12, `moov`/`mvhd`. Ogg: RFC
//! 3533 (the last page), with the rates of Vorbis I, 4.2.2 and RFC 7845.

use super::{be32, le32};

/// Chunks, boxes or pages that are looked at.
const MAX_STEPS: usize = 4096;

/// Milliseconds of the content of this type that begins with `head` and is `bytes` long.
pub(super) fn of(mime_type: &str, head: &[u8], bytes: u64) -> Option<u64> {
    match mime_type {
        "audio/wav" => wav(head, bytes),
        "audio/flac" => flac(head),
        "audio/mpeg" => mp3(head, bytes),
        "audio/mp4" | "video/mp4" => mp4(head),
        // Its last page tells, so all of it must be there.
        "audio/ogg" if head.len() as u64 == bytes => ogg(head),
        _ => None,
    }
}

fn milliseconds(units: u64, units_per_second: u64) -> Option<u64> {
    units.checked_mul(1000)?.checked_div(units_per_second)
}

fn wav(head: &[u8], bytes: u64) -> Option<u64> {
    let mut at = 12_usize;
    let mut bytes_per_second = None;
    for _ in 0..MAX_STEPS {
        let length = le32(head, at.checked_add(4)?)?;
        let body = at.checked_add(8)?;
        match head.get(at..at.checked_add(4)?)? {
            b"fmt " => bytes_per_second = Some(u64::from(le32(head, body.checked_add(8)?)?)),
            // Who writes a stream leaves the length open: then it is what there is.
            b"data" => {
                let there = bytes.saturating_sub(body as u64);
                return milliseconds(u64::from(length).min(there), bytes_per_second?);
            }
            _ => {}
        }
        let padded = usize::try_from(length).ok()?.checked_next_multiple_of(2)?;
        at = body.checked_add(padded)?;
    }
    None
}

fn flac(head: &[u8]) -> Option<u64> {
    // Sample rate: 20 bits; 8 bits of other things; total samples: 36 bits.
    let rate = be32(head, 18)? >> 12;
    let samples = (u64::from(*head.get(21)? & 15) << 32) | u64::from(be32(head, 22)?);
    (samples > 0).then(|| milliseconds(samples, u64::from(rate)))?
}

/// Kilobits a second of MPEG-1 and MPEG-2 layer III, by index.
const MP3_RATES: [[u64; 16]; 2] = [
    [
        0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0,
    ],
    [
        0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0,
    ],
];

/// Samples a second of MPEG-1, by index; MPEG-2 has a half, MPEG-2.5 a quarter of them.
const MP3_FREQUENCIES: [u64; 3] = [44_100, 48_000, 32_000];

fn mp3(head: &[u8], bytes: u64) -> Option<u64> {
    let start = match head.get(..3)? {
        b"ID3" => synchsafe(head.get(6..10)?)?.checked_add(10)?,
        _ => 0,
    };
    let header = be32(head, start)?;
    let is_mpeg1 = header >> 19 & 3 == 3;
    // Frame sync, and layer III.
    if header >> 21 != 0x7ff || header >> 17 & 3 != 1 {
        return None;
    }
    let rates = MP3_RATES.get(usize::from(!is_mpeg1))?;
    let kilobits = *rates.get(usize::try_from(header >> 12 & 15).ok()?)?;
    let divisor = match header >> 19 & 3 {
        3 => 1,
        2 => 2,
        _ => 4,
    };
    let index = usize::try_from(header >> 10 & 3).ok()?;
    let frequency = MP3_FREQUENCIES.get(index)?.checked_div(divisor)?;
    let is_mono = header >> 6 & 3 == 3;
    let side = match (is_mpeg1, is_mono) {
        (true, false) => 32,
        (true, true) | (false, false) => 17,
        (false, true) => 9,
    };
    let tag = start.checked_add(4)?.checked_add(side)?;
    if matches!(head.get(tag..tag.checked_add(4)?), Some(b"Xing" | b"Info"))
        && be32(head, tag.checked_add(4)?)? & 1 == 1
    {
        let frames = u64::from(be32(head, tag.checked_add(8)?)?);
        let samples = if is_mpeg1 { 1152 } else { 576 };
        return milliseconds(frames.checked_mul(samples)?, frequency);
    }
    // A kilobit a second is a bit a millisecond.
    bytes
        .checked_sub(start as u64)?
        .checked_mul(8)?
        .checked_div(kilobits)
}

/// A number of 28 bits in four bytes (ID3v2, 6.2).
fn synchsafe(bytes: &[u8]) -> Option<usize> {
    let value = bytes
        .iter()
        .fold(0_u32, |value, byte| value << 7 | u32::from(byte & 0x7f));
    usize::try_from(value).ok()
}

fn mp4(head: &[u8]) -> Option<u64> {
    let mut at = 0_usize;
    for _ in 0..MAX_STEPS {
        let length = usize::try_from(be32(head, at)?).ok()?;
        match head.get(at.checked_add(4)?..at.checked_add(8)?)? {
            // Its boxes follow.
            b"moov" => at = at.checked_add(8)?,
            b"mvhd" => return mvhd(head, at.checked_add(8)?),
            _ if length < 8 => return None,
            _ => at = at.checked_add(length)?,
        }
    }
    None
}

fn mvhd(head: &[u8], at: usize) -> Option<u64> {
    let field = |offset: usize| be32(head, at.checked_add(offset)?).map(u64::from);
    match head.get(at)? {
        0 => milliseconds(field(16)?, field(12)?),
        1 => milliseconds(field(24)? << 32 | field(28)?, field(20)?),
        _ => None,
    }
}

fn ogg(whole: &[u8]) -> Option<u64> {
    let first = whole.get(28..)?;
    let (rate, skipped) = if first.starts_with(b"OpusHead") {
        let skipped = le32(whole, 36)? >> 16;
        (48_000, u64::from(skipped))
    } else if first.starts_with(b"\x01vorbis") {
        (u64::from(le32(whole, 40)?), 0)
    } else {
        return None;
    };
    let last = memchr::memmem::rfind(whole, b"OggS")?;
    let position = whole.get(last.checked_add(6)?..last.checked_add(14)?)?;
    let samples = u64::from_le_bytes(position.try_into().ok()?);
    milliseconds(samples.checked_sub(skipped)?, rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav_of(rate: u32, data: usize, length: u32) -> Vec<u8> {
        let mut bytes = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0\x01\0\x01\0".to_vec();
        bytes.extend(8000_u32.to_le_bytes());
        bytes.extend(rate.to_le_bytes());
        bytes.extend(b"\x02\0\x10\0data");
        bytes.extend(length.to_le_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    }

    #[test]
    fn the_first_bytes_tell_how_long_it_takes() {
        let mut flac = b"fLaC\0\0\0\x22\x10\0\x10\0\0\0\0\0\0\0".to_vec();
        // 44,100 Hz, 88,200 samples.
        flac.extend(b"\x0a\xc4\x42\xf0\x00\x01\x58\x88");
        let mut xing = b"\xff\xfb\x90\x00".to_vec();
        xing.resize(36, 0);
        xing.extend(b"Xing\0\0\0\x01\0\0\0\x64");
        let mp4 = b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x78moov\0\0\0\x6cmvhd\0\0\0\0\0\0\0\0\0\0\0\0\
            \0\0\x03\xe8\0\0\x13\x88"
            .to_vec();
        let mut opus =
            b"OggS\0\x02\0\0\0\0\0\0\0\0AAAA\0\0\0\0CCCC\x01\x13OpusHead\x01\x01".to_vec();
        opus.extend(312_u16.to_le_bytes());
        opus.extend(b"\x80\xbb\0\0\0\0\0");
        opus.extend(b"OggS\0\x04");
        opus.extend((48_312_u64 * 2 - 312).to_le_bytes());
        let wav = wav_of(16_000, 24_000, 24_000);
        let stream = wav_of(16_000, 8_000, u32::MAX);
        for (mime_type, bytes, expected) in [
            ("audio/wav", wav, 1500),
            ("audio/wav", stream, 500),
            ("audio/flac", flac, 2000),
            // 100 frames of 1,152 samples at 44,100 Hz.
            ("audio/mpeg", xing, 2612),
            ("video/mp4", mp4, 5000),
            ("audio/ogg", opus, 2000),
        ] {
            assert_eq!(
                of(mime_type, &bytes, bytes.len() as u64),
                Some(expected),
                "{mime_type}"
            );
        }
        // One bit rate, 128 kbit/s, after a tag of ten bytes.
        let cbr = b"ID3\x04\0\0\0\0\0\x00\xff\xfb\x90\x00".to_vec();
        assert_eq!(of("audio/mpeg", &cbr, 16_010), Some(1000));
    }

    #[test]
    fn what_is_cut_or_contradicts_itself_has_no_length() {
        let zero_rate = wav_of(0, 100, 100);
        assert_eq!(of("audio/wav", &zero_rate, 144), None);
        for mime_type in [
            "audio/wav",
            "audio/flac",
            "audio/mpeg",
            "audio/mp4",
            "audio/ogg",
        ] {
            for bytes in [&b""[..], b"RIFF", &[0xff; 20], &[0; 64]] {
                assert_eq!(
                    of(mime_type, bytes, bytes.len() as u64),
                    None,
                    "{mime_type}"
                );
            }
        }
    }
}
