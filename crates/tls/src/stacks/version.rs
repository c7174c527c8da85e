//! Version numbers in constants.

use super::Inspection;
use crate::LocateError;

/// The longest version that is believed, and what follows it.
const MAX_VERSION_BYTES: usize = 32;

/// The version that follows a constant somewhere in the file, such as `3.0.19` after `OpenSSL `: the first
/// one of three parts, as text about a version has two. One with a date behind it goes before all others:
/// compilers cut text into pieces of 16 bytes, behind which that of somebody else begins.
pub(super) fn after(
    inspection: &Inspection<'_>,
    constant: &[u8],
) -> Result<Option<String>, LocateError> {
    let mut undated = None;
    for address in inspection.constant(constant) {
        let at = address.saturating_add(constant.len() as u64);
        let text = inspection.elf.read_memory(at, MAX_VERSION_BYTES)?;
        let Some(version) = leading(&text).filter(|version| version.matches('.').count() >= 2)
        else {
            continue;
        };
        if is_date(text.get(version.len()..).unwrap_or_default()) {
            return Ok(Some(version));
        }
        undated.get_or_insert(version);
    }
    Ok(undated)
}

/// Whether text begins like ` 27 Jan 2026`.
fn is_date(text: &[u8]) -> bool {
    let day = text.trim_ascii_start();
    day.len() < text.len() && day.first().is_some_and(u8::is_ascii_digit)
}

/// The version that `text` begins with: numbers and dots, at least one dot, perhaps a suffix.
pub(super) fn leading(text: &[u8]) -> Option<String> {
    let is_part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+');
    let end = text.iter().position(|byte| !is_part(byte))?;
    let version = std::str::from_utf8(text.get(..end)?).ok()?;
    let (major, rest) = version.split_once('.')?;
    let is_number = !major.is_empty() && major.bytes().all(|b| b.is_ascii_digit());
    let continues = rest.bytes().next().is_some_and(|b| b.is_ascii_digit());
    (is_number && continues).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_told_from_words() {
        for (text, expected) in [
            (&b" 27 Jan 2026"[..], true),
            (b"  1 Nov 2022", true),
            (b" be", false),
            (b"27 Jan", false),
            (b" ", false),
            (b"", false),
        ] {
            assert_eq!(is_date(text), expected, "{text:?}");
        }
    }

    #[test]
    fn versions_are_told_from_words() {
        for (text, version) in [
            (&b"3.0.19 27 Jan 2026"[..], Some("3.0.19")),
            (b"1.1.1w  11 Sep 2023", Some("1.1.1w")),
            (b"0.23.46/src/lib.rs", Some("0.23.46")),
            (b"4.0.0-beta1 ", Some("4.0.0-beta1")),
            (b"license", None),
            (b"3 ", None),
            (b".5 ", None),
            (b"3.x ", None),
            (b"3.0", None),
            (b"", None),
        ] {
            assert_eq!(leading(text).as_deref(), version);
        }
    }
}
