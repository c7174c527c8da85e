//! Patterns of matchers: globs over paths and words, and networks.

use std::net::IpAddr;
use std::str::FromStr;

use crate::diagnostic::Complaint;

/// Longest pattern, in bytes: its states must fit a machine word.
const MAX_TOKENS: usize = 126;
/// Patterns that one with braces may stand for.
const MAX_ALTERNATIVES: usize = 256;

/// What `*` means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// `*` stays within a path component, `**` crosses them.
    Path,
    /// `*` is any text.
    Word,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// Any byte but `/`.
    Any,
    /// Any bytes but `/`.
    Star,
    /// Any bytes.
    DoubleStar,
}

/// A compiled pattern: takes time linear in the text, whatever the text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob {
    /// The alternatives that braces stand for.
    alternatives: Vec<Vec<Token>>,
}

impl Glob {
    pub(crate) fn new(pattern: &str, style: Style) -> Result<Self, Complaint> {
        let mut texts = Vec::new();
        expand(pattern, &mut texts)?;
        let alternatives: Result<_, _> = texts.iter().map(|text| tokens(text, style)).collect();
        Ok(Self {
            alternatives: alternatives?,
        })
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        self.alternatives
            .iter()
            .any(|tokens| matches(tokens, text.as_bytes()))
    }

    /// For each alternative the longest run of bytes that every text that matches must have.
    pub(crate) fn literals(&self) -> impl Iterator<Item = String> {
        self.alternatives.iter().map(|tokens| longest(tokens))
    }
}

/// Whether a word has characters that mean something in patterns.
pub(crate) fn is_pattern(word: &str) -> bool {
    word.contains(['*', '?', '{']) || word.starts_with("~/")
}

fn longest(tokens: &[Token]) -> String {
    let runs = tokens.split(|token| !matches!(token, Token::Byte(_)));
    let run = runs.max_by_key(|run| run.len()).unwrap_or_default();
    let bytes = run.iter().filter_map(|token| match token {
        Token::Byte(byte) => Some(*byte),
        _ => None,
    });
    String::from_utf8(bytes.collect()).unwrap_or_default()
}

/// Replaces `{a,b}` by its alternatives, and `~/` by where homes are.
fn expand(pattern: &str, into: &mut Vec<String>) -> Result<(), Complaint> {
    if into.len() >= MAX_ALTERNATIVES {
        let message = format!("`{pattern}` stands for more than {MAX_ALTERNATIVES} patterns");
        return Err(Complaint::new(message));
    }
    if let Some(rest) = pattern.strip_prefix("~/") {
        return expand(&format!("{{/root,/home/*}}/{rest}"), into);
    }
    let Some(open) = pattern.find('{') else {
        if pattern.contains('}') {
            return Err(Complaint::new(format!("`{pattern}` has a `}}` too many")));
        }
        into.push(pattern.to_owned());
        return Ok(());
    };
    let (before, rest) = pattern.split_at(open);
    let inner = rest.get(1..).unwrap_or_default();
    let close = inner.find(['}', '{']).filter(|at| {
        // Braces within braces are nobody's need.
        inner.get(*at..).is_some_and(|rest| rest.starts_with('}'))
    });
    let Some(close) = close else {
        return Err(Complaint::new(format!(
            "`{pattern}` has a `{{` that is not closed"
        )));
    };
    let after = inner.get(close.saturating_add(1)..).unwrap_or_default();
    for choice in inner.get(..close).unwrap_or_default().split(',') {
        expand(&format!("{before}{choice}{after}"), into)?;
    }
    Ok(())
}

fn tokens(pattern: &str, style: Style) -> Result<Vec<Token>, Complaint> {
    let mut tokens: Vec<Token> = Vec::new();
    for byte in pattern.bytes() {
        let token = match (byte, style, tokens.last()) {
            (b'*', _, Some(Token::DoubleStar)) => continue,
            (b'*', Style::Path, Some(Token::Star)) => {
                tokens.pop();
                Token::DoubleStar
            }
            (b'*', Style::Path, _) => Token::Star,
            (b'*', Style::Word, _) => Token::DoubleStar,
            (b'?', _, _) => Token::Any,
            (byte, _, _) => Token::Byte(byte),
        };
        tokens.push(token);
    }
    if tokens.len() > MAX_TOKENS {
        let message = format!("a pattern may have {MAX_TOKENS} characters");
        return Err(Complaint::new(message));
    }
    Ok(tokens)
}

/// Follows all ways through the pattern at once: bit `n` says that the first `n` tokens may have matched.
fn matches(tokens: &[Token], text: &[u8]) -> bool {
    let mut states = skip_stars(tokens, 1);
    for &byte in text {
        let mut next = 0_u128;
        let mut left = states;
        while left != 0 {
            let bit = left & left.wrapping_neg();
            left ^= bit;
            let index = usize::try_from(bit.trailing_zeros()).unwrap_or(MAX_TOKENS);
            next |= match tokens.get(index) {
                Some(Token::Byte(expected)) if *expected == byte => bit << 1,
                Some(Token::Any) if byte != b'/' => bit << 1,
                Some(Token::Star) if byte != b'/' => bit,
                Some(Token::DoubleStar) => bit,
                _ => 0,
            };
        }
        states = skip_stars(tokens, next);
        if states == 0 {
            return false;
        }
    }
    states >> tokens.len() & 1 == 1
}

/// Stars may stand for nothing.
fn skip_stars(tokens: &[Token], mut states: u128) -> u128 {
    let mut left = states;
    while left != 0 {
        let bit = left & left.wrapping_neg();
        left ^= bit;
        let index = usize::try_from(bit.trailing_zeros()).unwrap_or(MAX_TOKENS);
        let is_star = matches!(tokens.get(index), Some(Token::Star | Token::DoubleStar));
        if is_star && states & bit << 1 == 0 {
            states |= bit << 1;
            left |= bit << 1;
        }
    }
    states
}

/// A network, such as `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cidr {
    network: IpAddr,
    prefix: u32,
}

impl Cidr {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let differing = match (self.network, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let bits = network.to_bits() ^ address.to_bits();
                u128::from(bits) << 96
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => network.to_bits() ^ address.to_bits(),
            _ => return false,
        };
        differing.leading_zeros() >= self.prefix
    }
}

impl FromStr for Cidr {
    type Err = Complaint;

    fn from_str(text: &str) -> Result<Self, Complaint> {
        let bad = || Complaint::new(format!("`{text}` is no network"));
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().map_err(|_| bad())?;
        let most = if network.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| bad())?,
            None => most,
        };
        if prefix > most {
            return Err(bad());
        }
        Ok(Self { network, prefix })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn globs_over_paths() {
        for (pattern, text, expected) in [
            ("/etc/shadow", "/etc/shadow", true),
            ("/etc/shadow", "/etc/shadow-", false),
            ("**/.ssh/id_*", "/root/.ssh/id_rsa", true),
            ("**/.ssh/id_*", "/.ssh/id_rsa", true),
            ("**/.ssh/id_*", "/root/.ssh/x/id_rsa", false),
            ("**/.ssh/id_*", "/root/.ssh/id_x/y", false),
            ("**/.ssh/**", "/root/.ssh/id_x/y", true),
            ("~/.bashrc", "/root/.bashrc", true),
            ("~/.bashrc", "/home/dev/.bashrc", true),
            ("~/.bashrc", "/home/dev/x/.bashrc", false),
            ("/proc/*/mem", "/proc/12/mem", true),
            ("/proc/*/mem", "/proc/12/task/12/mem", false),
            ("/a/{b,c?}/d", "/a/cx/d", true),
            ("/a/{b,c?}/d", "/a/x/d", false),
            ("*", "/a", false),
            ("**", "/a/b", true),
            ("", "", true),
            ("***", "x/y", true),
        ] {
            let glob = Glob::new(pattern, Style::Path).unwrap();
            assert_eq!(glob.matches(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn globs_over_words() {
        let glob = Glob::new("*://*/x", Style::Word).unwrap();
        assert!(glob.matches("https://a/b/x"));
        assert!(!glob.matches("https:/x"));
    }

    #[test]
    fn malformed_patterns_are_refused() {
        let long = "x".repeat(MAX_TOKENS + 1);
        let many = "{a,b}".repeat(9);
        for pattern in ["{a", "a}", "{a,{b}}", &long, &many] {
            assert!(Glob::new(pattern, Style::Path).is_err(), "{pattern}");
        }
    }

    #[test]
    fn networks() {
        for (cidr, address, expected) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("169.254.169.254", "::ffff:169.254.169.254", true),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "fe80::1", true),
        ] {
            let cidr: Cidr = cidr.parse().unwrap();
            assert_eq!(
                cidr.contains(address.parse().unwrap()),
                expected,
                "{cidr:?} {address}"
            );
        }
        for wrong in ["", "x", "10.0.0.0/33", "1.2.3.4/-1", "::/129", "1.2.3.4/"] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
    }

    /// The same by trying everything.
    fn slow(tokens: &[Token], text: &[u8]) -> bool {
        match (tokens.split_first(), text.split_first()) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some((Token::Star | Token::DoubleStar, rest)), None) => slow(rest, text),
            (Some((Token::Byte(_) | Token::Any, _)), None) => false,
            (Some((token, rest)), Some((byte, after))) => match token {
                Token::Byte(expected) => expected == byte && slow(rest, after),
                Token::Any => *byte != b'/' && slow(rest, after),
                Token::Star => slow(rest, text) || *byte != b'/' && slow(tokens, after),
                Token::DoubleStar => slow(rest, text) || slow(tokens, after),
            },
        }
    }

    proptest! {
        #[test]
        fn the_fast_way_is_the_slow_way(pattern in "[ab/*?]{0,8}", text in "[ab/]{0,10}") {
            let glob = Glob::new(&pattern, Style::Path).unwrap();
            let expected = slow(&glob.alternatives[0], text.as_bytes());
            prop_assert_eq!(glob.matches(&text), expected);
        }

        #[test]
        fn what_matches_has_the_literal(pattern in "[ab/*?]{0,8}", text in "[ab/]{0,10}") {
            let glob = Glob::new(&pattern, Style::Path).unwrap();
            if glob.matches(&text) {
                prop_assert!(glob.literals().any(|literal| text.contains(&literal)));
            }
        }
    }
}
