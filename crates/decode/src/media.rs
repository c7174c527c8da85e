//! Content that is not text: what it is, how large, and its digest. The bytes themselves are not kept.

mod duration;

use agentsight_model::{Part, PartInfo};
use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::text::hexadecimal;

/// Bytes looked at to tell what content is. JPEG puts its size behind previews of up to 64 KiB each.
const HEAD_BYTES: usize = 256 << 10;

/// Digits decoded at a time; a multiple of four, so that pieces end where bytes do.
const PIECE_DIGITS: usize = 64 << 10;

/// Strings shorter than this are left alone where nothing says that they are base64.
const MIN_BARE_BASE64: usize = 1024;

/// Describes inline content given as base64, or as a `data:` URL, and notes it in `parts`.
pub(crate) fn blob(encoded: &str, declared: Option<&str>, parts: &mut Vec<PartInfo>) -> Part {
    let info = describe_encoded(encoded, declared);
    parts.push(info.clone());
    Part::Blob { info }
}

fn describe_encoded(encoded: &str, declared: Option<&str>) -> PartInfo {
    match data_url(encoded) {
        Some((media_type, digits)) => describe(digits, Some(media_type)),
        None => describe(encoded, declared),
    }
}

/// Describes content that is inline or elsewhere, by what its URL says.
pub(crate) fn from_url(url: String, modality: &str, parts: &mut Vec<PartInfo>) -> Part {
    if url.starts_with("data:") {
        return blob(&url, None, parts);
    }
    Part::Uri {
        modality: modality.to_owned(),
        mime_type: None,
        uri: url,
    }
}

/// Replaces base64 anywhere in a value of unknown shape by what it stands for. Only what is known media
/// is noted in `parts`: much of it is encrypted state.
pub(crate) fn strip(value: &mut Value, parts: &mut Vec<PartInfo>) {
    match value {
        Value::String(text) => {
            let bare = text.len() >= MIN_BARE_BASE64 && is_base64(text);
            if bare || data_url(text).is_some() {
                let info = describe_encoded(text, None);
                *value = to_value(&info, None);
                parts.extend(info.mime_type.is_some().then_some(info));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| strip(item, parts)),
        Value::Object(map) => map.values_mut().for_each(|item| strip(item, parts)),
        _ => {}
    }
}

/// Replaces base64 in a value by what it stands for where the members beside it say that it is content, as
/// in MCP (`data` of an image or audio, `blob` of a resource) and A2A (`bytes` or `raw` of a file).
pub(crate) fn strip_typed(value: &mut Value, parts: &mut Vec<PartInfo>) {
    match value {
        Value::String(text) if data_url(text).is_some() => {
            let info = describe_encoded(text, None);
            *value = to_value(&info, None);
            parts.push(info);
        }
        Value::Array(items) => items.iter_mut().for_each(|item| strip_typed(item, parts)),
        Value::Object(map) => {
            let text = |name: &str| map.get(name).and_then(Value::as_str);
            let declared = ["mimeType", "mediaType", "mime_type"];
            let declared = declared
                .iter()
                .find_map(|name| text(name))
                .map(str::to_owned);
            let is_media = declared.is_some() || matches!(text("type"), Some("image" | "audio"));
            for (name, item) in map.iter_mut() {
                match item {
                    Value::String(digits)
                        if is_media
                            && matches!(name.as_str(), "data" | "blob" | "bytes" | "raw")
                            && data_url(digits).is_none()
                            && is_base64(digits) =>
                    {
                        let info = describe(digits, declared.as_deref());
                        *item = to_value(&info, None);
                        parts.push(info);
                    }
                    item => strip_typed(item, parts),
                }
            }
        }
        _ => {}
    }
}

/// The form in which a blob stands inside a value.
pub(crate) fn to_value(info: &PartInfo, filename: Option<&str>) -> Value {
    let mut value = json!({
        "type": "blob",
        "modality": info.modality,
        "mime_type": info.mime_type,
        "bytes": info.bytes,
        "sha256": info.sha256,
    });
    if let (Some(filename), Some(map)) = (filename, value.as_object_mut()) {
        map.insert("filename".to_owned(), filename.into());
    }
    value
}

/// Media type and base64 digits of a `data:` URL.
fn data_url(text: &str) -> Option<(&str, &str)> {
    let (head, digits) = text.strip_prefix("data:")?.split_once(',')?;
    let media_type = head.strip_suffix(";base64")?;
    Some((media_type.split(';').next().unwrap_or_default(), digits))
}

fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    text.len().saturating_sub(digits.len()) <= 2 && digits.bytes().all(is_digit)
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

fn describe(digits: &str, declared: Option<&str>) -> PartInfo {
    let mut digest = Sha256::new();
    let mut head = Vec::new();
    let mut bytes = 0_u64;
    decode(digits, &mut |piece| {
        digest.update(piece);
        bytes = bytes.saturating_add(piece.len() as u64);
        let room = HEAD_BYTES.saturating_sub(head.len());
        head.extend_from_slice(piece.get(..room).unwrap_or(piece));
    });
    known(&head, bytes, hexadecimal(&digest.finalize()), declared)
}

/// Describes content whose size and digest are known, by its first bytes.
pub(crate) fn known(head: &[u8], bytes: u64, sha256: String, declared: Option<&str>) -> PartInfo {
    let declared = declared.filter(|name| !name.is_empty());
    let sniffed = sniff(head);
    let mime_type = sniffed.or(declared);
    let size = dimensions(head);
    PartInfo {
        modality: modality(mime_type.unwrap_or_default()).to_owned(),
        mime_type: mime_type.map(str::to_ascii_lowercase),
        declared_mime_type: declared
            .zip(sniffed)
            .filter(|(declared, sniffed)| !is_same_type(declared, sniffed))
            .map(|(declared, _)| declared.to_ascii_lowercase()),
        duration_ms: sniffed.and_then(|sniffed| duration::of(sniffed, head, bytes)),
        file: None,
        bytes,
        sha256,
        width: size.map(|(width, _)| u64::from(width)),
        height: size.map(|(_, height)| u64::from(height)),
    }
}

/// Whether a declared type is the one that was found, perhaps by another name of it.
fn is_same_type(declared: &str, sniffed: &str) -> bool {
    const OTHER_NAMES: [(&str, &str); 10] = [
        ("application/x-pdf", "application/pdf"),
        ("audio/m4a", "audio/mp4"),
        ("audio/mp3", "audio/mpeg"),
        ("audio/opus", "audio/ogg"),
        ("audio/wave", "audio/wav"),
        ("audio/x-flac", "audio/flac"),
        ("audio/x-m4a", "audio/mp4"),
        ("audio/x-wav", "audio/wav"),
        ("image/jpg", "image/jpeg"),
        ("audio/mpga", "audio/mpeg"),
    ];
    let bare = declared.split(';').next().unwrap_or_default().trim();
    let lower = bare.to_ascii_lowercase();
    let other = OTHER_NAMES.iter().find(|(name, _)| *name == lower);
    let halves = |name: &str| {
        let (kind, form) = name.split_once('/').unwrap_or((name, ""));
        (kind.to_owned(), form.to_owned())
    };
    let ((kind, form), (sniffed_kind, sniffed_form)) = (halves(&lower), halves(sniffed));
    // Office documents are archives; dialects that say no more than `image` declare no form.
    let is_wider = sniffed == "application/zip" && kind == "application"
        || lower == "application/octet-stream"
        || form == "*" && kind == sniffed_kind
        || form == sniffed_form;
    other.map_or(lower.as_str(), |(_, name)| name) == sniffed || is_wider
}

/// The bytes that base64 stands for, up to the first character that is none.
pub(crate) fn bytes_of(digits: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    decode(digits, &mut |piece| bytes.extend_from_slice(piece));
    bytes
}

/// Decodes base64 of either alphabet, up to the first character that is none.
fn decode(digits: &str, emit: &mut dyn FnMut(&[u8])) {
    let config = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let url_safe = digits.bytes().any(|b| b == b'-' || b == b'_');
    let alphabet = if url_safe { &URL_SAFE } else { &STANDARD };
    let engine = GeneralPurpose::new(alphabet, config);
    let wrapped = digits.bytes().any(|b| b.is_ascii_whitespace());
    let unwrapped = wrapped.then(|| digits.split_ascii_whitespace().collect::<String>());
    let digits = unwrapped.as_deref().unwrap_or(digits).as_bytes();
    let end = digits
        .iter()
        .position(|&b| !is_digit(b))
        .unwrap_or(digits.len());
    for piece in digits.get(..end).unwrap_or_default().chunks(PIECE_DIGITS) {
        // One digit too many holds no byte.
        let whole = piece
            .len()
            .saturating_sub(usize::from(piece.len() % 4 == 1));
        match engine.decode(piece.get(..whole).unwrap_or_default()) {
            Ok(bytes) => emit(&bytes),
            Err(_) => return,
        }
    }
}

/// Kind of content, by its type.
pub(crate) fn modality(mime_type: &str) -> &'static str {
    match mime_type.split('/').next().unwrap_or_default() {
        "image" => "image",
        "audio" => "audio",
        "video" => "video",
        "text" => "document",
        _ if mime_type == "application/pdf" => "document",
        _ => "file",
    }
}

/// The type that the first bytes tell.
fn sniff(head: &[u8]) -> Option<&'static str> {
    const MAGIC: [(usize, &[u8], &str); 18] = [
        (0, b"\x89PNG\r\n\x1a\n", "image/png"),
        (0, b"\xff\xd8\xff", "image/jpeg"),
        (0, b"GIF8", "image/gif"),
        (8, b"WEBP", "image/webp"),
        (0, b"BM", "image/bmp"),
        (4, b"ftypavif", "image/avif"),
        (4, b"ftypheic", "image/heic"),
        (8, b"WAVE", "audio/wav"),
        (0, b"ID3", "audio/mpeg"),
        (0, b"\xff\xfb", "audio/mpeg"),
        (0, b"\xff\xf3", "audio/mpeg"),
        (0, b"fLaC", "audio/flac"),
        (0, b"OggS", "audio/ogg"),
        (4, b"ftypM4A", "audio/mp4"),
        (4, b"ftyp", "video/mp4"),
        (0, b"\x1a\x45\xdf\xa3", "video/webm"),
        (0, b"%PDF-", "application/pdf"),
        (0, b"PK\x03\x04", "application/zip"),
    ];
    let found = MAGIC.iter().find(|(offset, magic, _)| {
        head.get(*offset..)
            .is_some_and(|bytes| bytes.starts_with(magic))
    });
    // A frame of MPEG audio, layer III, without a tag before it.
    let is_frame = matches!(head, [0xff, second, ..] if second & 0xe6 == 0xe2);
    let found = found.map(|(_, _, mime_type)| *mime_type);
    found.or(is_frame.then_some("audio/mpeg"))
}

/// Width and height of an image, in pixels.
fn dimensions(head: &[u8]) -> Option<(u32, u32)> {
    match sniff(head)? {
        "image/png" => Some((be32(head, 16)?, be32(head, 20)?)),
        "image/gif" => Some((le16(head, 6)?, le16(head, 8)?)),
        "image/bmp" => Some((le32(head, 18)?, le32(head, 22)?)),
        "image/jpeg" => jpeg_dimensions(head),
        "image/webp" => webp_dimensions(head),
        _ => None,
    }
}

/// Walks the segments of a JPEG to its frame header.
fn jpeg_dimensions(head: &[u8]) -> Option<(u32, u32)> {
    let mut at = 2_usize;
    loop {
        let marker = *head.get(at.checked_add(1)?)?;
        let length = usize::try_from(be16(head, at.checked_add(2)?)?).ok()?;
        match marker {
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                return Some((
                    be16(head, at.checked_add(7)?)?,
                    be16(head, at.checked_add(5)?)?,
                ));
            }
            // Data of the scan: the frame header should have come before.
            0xda => return None,
            _ => at = at.checked_add(length.max(2))?.checked_add(2)?,
        }
    }
}

fn webp_dimensions(head: &[u8]) -> Option<(u32, u32)> {
    match head.get(12..16)? {
        b"VP8 " => Some((le16(head, 26)? & 0x3fff, le16(head, 28)? & 0x3fff)),
        b"VP8L" => {
            let bits = le32(head, 21)?;
            Some((
                (bits & 0x3fff).saturating_add(1),
                (bits >> 14 & 0x3fff).saturating_add(1),
            ))
        }
        b"VP8X" => {
            let side = |at| le24(head, at).map(|less_one| less_one.saturating_add(1));
            Some((side(24)?, side(27)?))
        }
        _ => None,
    }
}

fn field<const N: usize>(head: &[u8], at: usize) -> Option<[u8; N]> {
    head.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn be16(head: &[u8], at: usize) -> Option<u32> {
    field(head, at).map(u16::from_be_bytes).map(u32::from)
}

fn le16(head: &[u8], at: usize) -> Option<u32> {
    field(head, at).map(u16::from_le_bytes).map(u32::from)
}

fn le24(head: &[u8], at: usize) -> Option<u32> {
    field(head, at).map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
}

fn be32(head: &[u8], at: usize) -> Option<u32> {
    field(head, at).map(u32::from_be_bytes)
}

fn le32(head: &[u8], at: usize) -> Option<u32> {
    field(head, at).map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use serde_json::json;

    use super::*;

    fn described(bytes: &[u8]) -> PartInfo {
        describe(&STANDARD.encode(bytes), None)
    }

    #[test]
    fn images_are_measured_by_their_own_bytes() {
        let jpeg = [
            &b"\xff\xd8\xff\xe0\x00\x04ab"[..],
            b"\xff\xc4\x00\x02",
            b"\xff\xc2\x00\x0b\x08\x00\x20\x01\x40\x03",
        ]
        .concat();
        let webp = |chunk: &[u8]| [b"RIFF\0\0\0\0WEBP", chunk].concat();
        for (bytes, mime_type, size) in [
            (
                b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x02\x80\0\0\x01\xe0".to_vec(),
                "image/png",
                (640, 480),
            ),
            (b"GIF89a\x02\x00\x03\x00".to_vec(), "image/gif", (2, 3)),
            (jpeg, "image/jpeg", (320, 32)),
            (
                webp(b"VP8X\x0a\0\0\0\0\0\0\0\x3f\x01\0\xef\0\0"),
                "image/webp",
                (320, 240),
            ),
            (
                webp(b"VP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x40\x01\xf0\x00"),
                "image/webp",
                (320, 240),
            ),
            (
                webp(b"VP8L\0\0\0\0\x2f\x3f\xc1\x3b\x00"),
                "image/webp",
                (320, 240),
            ),
        ] {
            let info = described(&bytes);
            assert_eq!(info.mime_type.as_deref(), Some(mime_type));
            assert_eq!(
                (info.width, info.height),
                (Some(size.0), Some(size.1)),
                "{mime_type}"
            );
            assert_eq!(info.modality, "image");
        }
    }

    #[test]
    fn cut_images_have_no_size() {
        for bytes in [
            &b"\x89PNG\r\n\x1a\n\0\0"[..],
            b"\xff\xd8\xff",
            b"\xff\xd8\xff\xe0\xff\xff",
            b"GIF89a",
        ] {
            let info = described(bytes);
            assert_eq!((info.width, info.height), (None, None));
        }
    }

    #[test]
    fn base64_is_read_in_all_its_forms() {
        let bytes: Vec<u8> = (0..=255).cycle().take(100_001).collect();
        let whole = described(&bytes);
        let plain = STANDARD.encode(&bytes);
        let lines: Vec<&str> = (0..plain.len())
            .step_by(76)
            .map(|at| &plain[at..plain.len().min(at + 76)])
            .collect();
        for form in [
            plain.clone(),
            plain.trim_end_matches('=').to_owned(),
            URL_SAFE_NO_PAD.encode(&bytes),
            lines.join("\r\n"),
            format!("{plain}\"broken"),
        ] {
            assert_eq!(describe(&form, None), whole);
        }
        assert_eq!(whole.bytes, 100_001);
        assert_eq!(describe("", None).bytes, 0);
        assert_eq!(describe("!", None).bytes, 0);
    }

    #[test]
    fn the_bytes_tell_more_than_the_declaration() {
        let info = describe(&STANDARD.encode(b"%PDF-1.7"), Some("image/png"));
        assert_eq!(
            (info.mime_type.as_deref(), info.modality.as_str()),
            (Some("application/pdf"), "document")
        );
        assert_eq!(info.declared_mime_type.as_deref(), Some("image/png"));
        for (bytes, declared) in [
            (&b"%PDF-1.7"[..], "application/pdf"),
            (b"\xff\xd8\xff", "image/jpg"),
            (b"\xff\xfb\x90\x00", "audio/mp3"),
            (b"PK\x03\x04", "application/vnd.ms-excel"),
        ] {
            let info = describe(&STANDARD.encode(bytes), Some(declared));
            assert_eq!(info.declared_mime_type, None, "{declared}");
        }
        let info = describe(&STANDARD.encode(b"?"), Some("Audio/X"));
        assert_eq!(info.mime_type.as_deref(), Some("audio/x"));
    }

    #[test]
    fn base64_is_stripped_from_unknown_values() {
        let mut parts = Vec::new();
        let image = format!(
            "data:image/png;base64,{}",
            STANDARD.encode(b"\x89PNG\r\n\x1a\n")
        );
        let mut value = json!({"a": [image, "QUJD", "A".repeat(2000), "word ".repeat(400)]});
        strip(&mut value, &mut parts);
        assert_eq!(value["a"][0]["mime_type"], "image/png");
        assert_eq!(value["a"][1], "QUJD");
        assert_eq!(value["a"][2]["bytes"], 1500);
        assert!(value["a"][3].is_string());
        assert_eq!(parts.len(), 1);
    }
}
