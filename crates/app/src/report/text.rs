//! Captured text made fit for a terminal.
//!
//! Every string of a session may have been chosen by an attacker. Written to a terminal as it is, it
//! could move the cursor, change colours, retitle the window or reverse the order of what follows
//! (CVE-2021-42574). So each character that is not plainly visible is replaced by one that is.

use unicode_width::UnicodeWidthChar;

/// Marks of no width that may stand on one character; more of them only serve to paint over lines.
const MAX_MARKS: usize = 2;

/// Characters of a text that are looked at. Nothing shown is longer than a few lines.
const MAX_CHARS: usize = 4096;

/// The first 4096 characters of `text` without control characters, terminal sequences, characters that
/// change the direction of text, and characters that cannot be seen.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len().min(MAX_CHARS));
    let mut marks = 0;
    for character in text.chars().take(MAX_CHARS) {
        let visible = visible(character);
        if visible.width() == Some(0) {
            marks += 1;
            if marks > MAX_MARKS || plain.is_empty() {
                continue;
            }
        } else {
            marks = 0;
        }
        plain.push(visible);
    }
    plain
}

/// A visible stand-in for a character that is none.
fn visible(character: char) -> char {
    match character {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        // Unicode has pictures of the control characters, in the same order.
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' => '\u{fffd}',
        _ if is_deceptive(character) => '\u{fffd}',
        _ => character,
    }
}

/// Whether a character changes how others are shown, or shows nothing itself.
fn is_deceptive(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Columns that a plain text takes.
pub(super) fn columns(text: &str) -> usize {
    text.chars()
        .map(|character| character.width().unwrap_or(0))
        .sum()
}

/// As much of a plain text from its start as fits in so many columns; an ellipsis marks a cut.
pub(super) fn fit(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut fitted = String::new();
    let mut used = 1;
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used > width {
            break;
        }
        fitted.push(character);
    }
    if width > 0 {
        fitted.push('…');
    }
    fitted
}

/// As much of a path from its end as fits in so many columns: its end says more than its start.
pub(super) fn fit_path(path: &str, width: usize) -> String {
    if columns(path) <= width {
        return path.to_owned();
    }
    let mut used = 1;
    let mut kept: Vec<char> = Vec::new();
    for character in path.chars().rev() {
        used += character.width().unwrap_or(0);
        if used > width {
            break;
        }
        kept.push(character);
    }
    let tail: String = kept.into_iter().rev().collect();
    if width > 0 {
        format!("…{tail}")
    } else {
        tail
    }
}

/// A plain text with runs of white space as one space.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in plain(text).split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}

/// A command line as one would type it.
pub(super) fn command_line(argv: &[String]) -> String {
    let quoted = argv.iter().map(|argument| {
        let argument = one_line(argument);
        let is_word = !argument.is_empty()
            && argument
                .chars()
                .all(|c| c.is_alphanumeric() || "-_./:=,+@%^~#".contains(c));
        if is_word {
            argument
        } else {
            format!("'{}'", argument.replace('\'', "'\\''"))
        }
    });
    quoted.take(64).collect::<Vec<_>>().join(" ")
}

/// A number with commas between thousands.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of things: `1 file`, `2 files`.
pub(crate) fn count(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(value), if value == 1 { one } else { many })
}

/// A number of bytes, in the unit that a person would choose.
pub(super) fn bytes(value: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1_000)];
    match UNITS.iter().find(|(_, size)| value >= *size) {
        Some((unit, size)) => {
            let tenths = u128::from(value) * 10 / u128::from(*size);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{value} B"),
    }
}

/// A time span, in the unit that a person would choose.
pub(super) fn span(milliseconds: f64) -> String {
    if !milliseconds.is_finite() || milliseconds < 0.0 {
        return "?".to_owned();
    }
    match milliseconds {
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms if ms < 59_950.0 => format!("{:.1} s", ms / 1_000.0),
        ms if ms < 3_599_500.0 => format!(
            "{:.0} min {:02.0} s",
            (ms / 60_000.0).floor(),
            (ms / 1_000.0) % 60.0
        ),
        ms => format!(
            "{:.0} h {:02.0} min",
            (ms / 3_600_000.0).floor(),
            ((ms / 60_000.0) % 60.0).floor()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_that_it_would_obey() {
        let table = [
            ("plain text", "plain text"),
            ("a\x1b[31mred\x1b[0m", "a␛[31mred␛[0m"),
            ("title\x1b]0;owned\x07", "title␛]0;owned␇"),
            ("over\rwritten\nline\ttab", "over written line tab"),
            ("back\x08\x08space\x7f", "back␈␈space␡"),
            ("csi\u{9b}31m", "csi\u{fffd}31m"),
            ("abc\u{202e}txt.exe", "abc\u{fffd}txt.exe"),
            ("\u{2066}x\u{2069}", "\u{fffd}x\u{fffd}"),
            ("zero\u{200b}width\u{feff}", "zero\u{fffd}width\u{fffd}"),
            ("tag\u{e0041}", "tag\u{fffd}"),
            ("line\u{2028}break", "line break"),
            ("e\u{301}", "e\u{301}"),
            ("z\u{301}\u{301}\u{301}\u{301}\u{301}", "z\u{301}\u{301}"),
            ("\u{301}x", "x"),
            ("日本語 ok", "日本語 ok"),
        ];
        for (text, expected) in table {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }

    #[test]
    fn every_character_is_harmless() {
        let all: Vec<char> = ('\0'..=char::MAX).collect();
        for characters in all.chunks(1000) {
            let text: String = characters.iter().collect();
            for character in plain(&text).chars() {
                assert!(
                    !character.is_control() && !is_deceptive(character),
                    "{character:?}"
                );
            }
        }
    }

    #[test]
    fn texts_fit() {
        for (text, width, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("abcd", 1, "…"),
            ("abcd", 0, ""),
            ("日本語", 4, "日…"),
            ("日本語", 5, "日本…"),
        ] {
            assert_eq!(fit(text, width), expected);
        }
        assert_eq!(fit_path("/a/long/path/to/file.rs", 11), "…to/file.rs");
        assert_eq!(fit_path("abc", 0), "");
    }

    #[test]
    fn quantities_are_readable() {
        assert_eq!(number(0), "0");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(number(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!(
            [bytes(0), bytes(999), bytes(1_250), bytes(u64::MAX)],
            ["0 B", "999 B", "1.2 kB", "18446744073.7 GB"]
        );
        let spans = [
            0.4,
            812.0,
            1_500.0,
            59_940.0,
            61_000.0,
            7_260_000.0,
            f64::NAN,
            -1.0,
        ]
        .map(span);
        assert_eq!(
            spans,
            [
                "0 ms",
                "812 ms",
                "1.5 s",
                "59.9 s",
                "1 min 01 s",
                "2 h 01 min",
                "?",
                "?"
            ]
        );
        assert_eq!(count(1, "file", "files"), "1 file");
    }

    #[test]
    fn command_lines_are_quoted_and_plain() {
        let argv = ["sh", "-c", "echo 'a'\x1b[2J", ""].map(str::to_owned);
        assert_eq!(command_line(&argv), "sh -c 'echo '\\''a'\\''␛[2J' ''");
    }
}
