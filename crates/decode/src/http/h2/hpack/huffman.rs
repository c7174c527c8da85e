//! The Huffman code of header strings (RFC 7541, appendix B).
//!
//! The code is canonical: codes of one length are consecutive numbers in the order of their symbols, and
//! a longer code is a greater number. So the lengths are all there is to know.

use std::sync::LazyLock;

/// Length of the code of each byte, in bits.
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, //
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, //
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, //
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, //
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, //
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, //
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, //
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, //
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, //
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, //
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, //
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, //
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, //
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, //
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, //
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, //
];

/// The longest code. The code of the end of a string, the last one of this length, may not be sent.
const MAX_BITS: u32 = 30;

/// All codes of one length.
struct Group {
    bits: u32,
    /// The first code, moved to the left end of a word.
    first: u32,
    /// The code after the last one, moved to the left end of a word.
    end: u32,
    symbols: Vec<u8>,
}

static GROUPS: LazyLock<Vec<Group>> = LazyLock::new(groups);

fn groups() -> Vec<Group> {
    let mut groups = Vec::new();
    let mut first = 0_u32;
    for bits in 1..=MAX_BITS {
        let own = (0..=u8::MAX).zip(LENGTHS);
        let own = own.filter(|(_, length)| u32::from(*length) == bits);
        let symbols: Vec<u8> = own.map(|(symbol, _)| symbol).collect();
        let step = 1_u32 << u32::BITS.saturating_sub(bits);
        let count = u32::try_from(symbols.len()).unwrap_or(0);
        let end = first.saturating_add(step.saturating_mul(count));
        if count > 0 {
            groups.push(Group {
                bits,
                first,
                end,
                symbols,
            });
        }
        first = end;
    }
    groups
}

/// Decodes a string; `None` if it is no sequence of codes.
pub(super) fn decode(coded: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(coded.len().saturating_mul(8).div_ceil(5));
    // Bits that were read from `coded` and not decoded, at the left end of the word.
    let (mut window, mut held) = (0_u64, 0_u32);
    let mut rest = coded.iter();
    loop {
        while held <= u64::BITS.saturating_sub(8) {
            let Some(&byte) = rest.next() else { break };
            let place = u64::BITS.saturating_sub(8).saturating_sub(held);
            window |= u64::from(byte) << place;
            held = held.saturating_add(8);
        }
        let word = u32::try_from(window >> u32::BITS).unwrap_or(0);
        let group = GROUPS.iter().find(|group| word < group.end);
        let Some(group) = group.filter(|group| group.bits <= held) else {
            // What is left must be the padding: at most seven ones.
            let padding = u64::MAX.checked_shl(u64::BITS.saturating_sub(held));
            let whole = held < 8 && (held == 0 || padding == Some(window));
            return whole.then_some(text);
        };
        let offset = word.saturating_sub(group.first) >> u32::BITS.saturating_sub(group.bits);
        text.push(*group.symbols.get(usize::try_from(offset).ok()?)?);
        window <<= group.bits;
        held = held.saturating_sub(group.bits);
    }
}

/// Encodes a string.
#[cfg(test)]
pub(super) fn encode(text: &[u8]) -> Vec<u8> {
    let mut bits = Vec::new();
    for byte in text {
        let holds = |group: &&Group| group.symbols.contains(byte);
        let group = GROUPS.iter().find(holds).unwrap();
        let offset = group.symbols.iter().position(|s| s == byte).unwrap() as u32;
        let code = group.first + (offset << (32 - group.bits));
        bits.extend((0..group.bits).map(|bit| code << bit >> 31));
    }
    bits.resize(bits.len().next_multiple_of(8), 1);
    let byte = |bits: &[u32]| bits.iter().fold(0, |byte, bit| byte << 1 | *bit as u8);
    bits.chunks(8).map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_complete() {
        // The code of the end of a string is the only one that no byte has.
        let last = groups().pop().unwrap();
        assert_eq!((last.bits, last.end), (30, u32::MAX - 3));
        let symbols: usize = groups().iter().map(|group| group.symbols.len()).sum();
        assert_eq!(symbols, 256);
    }

    #[test]
    fn strings_of_the_standard_are_decoded() {
        let hex = |text: &str| -> Vec<u8> {
            let digits: Vec<u8> = text.bytes().collect();
            digits
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect()
        };
        for (coded, text) in [
            ("", ""),
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("25a849e95bb8e8b4bf", "custom-value"),
            (
                "d07abe941054d444a8200595040b8166e082a62d1bff",
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            (
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            ),
        ] {
            assert_eq!(
                decode(&hex(coded)).as_deref(),
                Some(text.as_bytes()),
                "{text}"
            );
            assert_eq!(encode(text.as_bytes()), hex(coded), "{text}");
        }
    }

    #[test]
    fn what_is_no_string_is_refused() {
        // Padding of eight ones, padding that is not ones, and the code of the end of a string.
        for coded in [
            &[0xff][..],
            &[0x1f, 0xff],
            &[0x00],
            &[0xff, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(decode(coded), None, "{coded:?}");
        }
    }
}
