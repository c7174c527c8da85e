//! What credentials look like.

use std::ops::Range;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Credentials that can be told by their own form, by kind. Each pattern takes in everything up to a
/// character that no token has: what follows a match never begins inside a word, so that replacing
/// twice is replacing once.
const TOKENS: &[(&str, &str)] = &[
    (
        "private_key",
        r"-----BEGIN\ [A-Z0-9\ ]*PRIVATE\ KEY(?:\ BLOCK)?-----
          (?:(?:\s|\\[nr])*(?:[A-Za-z0-9+/=]{8,}|(?:Proc-Type|DEK-Info|Version|Comment):[\x20-\x5b\x5d-\x7e]*))*
          (?:\s|\\[nr])*(?:[A-Za-z0-9+/=]*(?:\s|\\[nr])*-----END\ [A-Z0-9\ ]*-----)?",
    ),
    ("jwt", r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]+)*"),
    ("anthropic_key", r"\bsk-ant-[\w-]{12,}"),
    ("openai_key", r"\bsk-[\w-]{16,}"),
    ("google_key", r"\bAIza[\w-]{30,}"),
    ("google_token", r"\bya29\.[\w.-]{16,}"),
    (
        "github_token",
        r"\b(?:gh[pousr]_[\w-]{20,}|github_pat_[\w-]{20,})",
    ),
    ("gitlab_token", r"\bglpat-[\w-]{16,}"),
    ("slack_token", r"\bxox[abceoprs]-[\w-]{10,}"),
    ("aws_key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}[\w-]*"),
    ("stripe_key", r"\b[rs]k_(?:live|test)_[\w-]{16,}"),
    ("huggingface_token", r"\bhf_[\w-]{20,}"),
    ("groq_key", r"\bgsk_[\w-]{20,}"),
    ("xai_key", r"\bxai-[\w-]{20,}"),
    ("npm_token", r"\bnpm_[\w-]{30,}"),
    ("pypi_token", r"\bpypi-[\w-]{30,}"),
    ("sendgrid_key", r"\bSG\.[\w-]{16,}\.[\w-]{16,}"),
    ("age_key", r"\bAGE-SECRET-KEY-1[\w-]{20,}"),
    ("atlassian_token", r"\bATATT3[\w=-]{20,}"),
    ("databricks_token", r"\bdapi[0-9a-f]{32}[\w-]*"),
    ("digitalocean_token", r"\bdo[opr]_v1_[\w-]{32,}"),
    (
        "discord_token",
        r"\b[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,}",
    ),
    ("grafana_token", r"\bgl(?:sa|c)_[\w+/=-]{20,}"),
    ("linear_key", r"\blin_(?:api|oauth)_[\w-]{20,}"),
    ("mailgun_key", r"\bkey-[0-9a-f]{32}[\w-]*"),
    ("notion_token", r"\b(?:ntn|secret)_[A-Za-z0-9]{40,}[\w-]*"),
    ("perplexity_key", r"\bpplx-[\w-]{20,}"),
    ("postman_key", r"\bPMAK-[\w-]{20,}"),
    ("replicate_token", r"\br8_[\w-]{20,}"),
    ("shopify_token", r"\bshp(?:at|ca|pa|ss)_[\w-]{20,}"),
    (
        "slack_webhook",
        r"\bhooks\.slack\.com/(?:services|workflows)/[\w/-]{20,}",
    ),
    ("telegram_token", r"\b[0-9]{8,10}:AA[\w-]{30,}"),
    ("twilio_key", r"\bSK[0-9a-f]{32}[\w-]*"),
    ("vault_token", r"\bhv[bsr]\.[\w-]{20,}"),
];

/// What stands where a credential stood.
const MARK: &str = r"\[redacted:[a-z_]{1,32}:[0-9a-f]{8}\]";

/// Credentials that can only be told by what stands before them; the group is what to replace.
const NAMED: &str = r#"
    (?i:(?-u:\b)bearer)[\t\ ]+(?<bearer>[A-Za-z0-9._~+/=-]{16,})
    | [A-Za-z][A-Za-z0-9+.-]*://[^\s/@:"'<>]*:(?<userinfo>[^\s/@"'<>\[\]]+)@
    | [?&](?i:key|token|sig|signature|code|auth|x-amz-credential|x-amz-signature)
      =(?<query>[^\s&\#"'<>]+)
    | (?i:cookie)[\t\ ]{0,3}:[\t\ ]{0,3}(?<cookie>[A-Za-z0-9._-]+=[^\r\n"'<>\\]+)
    | (?i:authorization\\?["']?[\t\ ]{0,3}[:=][\t\ ]{0,3}\\?["']?(?:basic|bearer|digest|token)[\t\ ]+)
      (?<header>[^\s"'`,;<>\\]+)
    | (?i:
        authorization | api[_-]?key | passw(?:or)?d | passphrase | pwd | secret | token
        | (?:access|account|private|secret|shared)[_-]?key
      )
      (?<separator>\\?["']?[\t\ ]{0,3}(?::=|=>|=|:)[\t\ ]{0,3}\\?["']?)
      (?i:(?:bearer|basic|token)[\t\ ]+)?
      (?<assigned>[^\s"'`&,;<>\\]+)
"#;

/// What was found in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'t> {
    /// A mark that stands where a credential stood.
    Mark,
    /// A credential, by its own form.
    Token(&'static str),
    /// A credential, by what stands before it.
    Named {
        /// The credential.
        value: &'t str,
        /// Where it begins.
        start: usize,
        /// What joins it to a name, if that may also be prose or code.
        separator: Option<&'t str>,
    },
}

/// Everything to look for; absent only if it does not compile, which a test rules out.
static ALL: LazyLock<Option<Regex>> =
    LazyLock::new(|| compile(&format!("(?<mark>{MARK})|{}|{NAMED}", tokens())));

/// A text that is one token and nothing else.
static ONE_TOKEN: LazyLock<Option<Regex>> =
    LazyLock::new(|| compile(&format!(r"\A(?:{})\z", tokens())));

static ANY_MARK: LazyLock<Option<Regex>> = LazyLock::new(|| compile(MARK));

fn tokens() -> String {
    let named = TOKENS
        .iter()
        .map(|(kind, pattern)| format!("(?<{kind}>(?-u:{pattern}))"));
    named.collect::<Vec<_>>().join("|")
}

fn compile(pattern: &str) -> Option<Regex> {
    Regex::new(&format!("(?x){pattern}")).ok()
}

/// Whether the patterns can be used.
pub(super) fn are_usable() -> bool {
    ALL.is_some()
}

/// Finds the first credential or mark in a text from `at` on, and where it stands.
pub(super) fn find(text: &str, at: usize) -> Option<(Range<usize>, Found<'_>)> {
    let captures = ALL.as_ref()?.captures_at(text, at)?;
    Some((captures.get(0)?.range(), classify(&captures)?))
}

fn classify<'t>(captures: &Captures<'t>) -> Option<Found<'t>> {
    if captures.name("mark").is_some() {
        return Some(Found::Mark);
    }
    if let Some(kind) = token_kind(captures) {
        return Some(Found::Token(kind));
    }
    let groups = [
        "assigned", "header", "bearer", "query", "userinfo", "cookie",
    ];
    let value = groups.iter().find_map(|name| captures.name(name))?;
    Some(Found::Named {
        value: value.as_str(),
        start: value.start(),
        separator: captures.name("separator").map(|found| found.as_str()),
    })
}

fn token_kind(captures: &Captures<'_>) -> Option<&'static str> {
    let found = TOKENS
        .iter()
        .find(|(kind, _)| captures.name(kind).is_some());
    found.map(|(kind, _)| *kind)
}

/// The kind of token that a text as a whole is.
pub(super) fn kind_of(text: &str) -> Option<&'static str> {
    token_kind(&ONE_TOKEN.as_ref()?.captures(text)?)
}

/// Whether there is a mark in a text: then it was dealt with before.
pub(super) fn has_mark(text: &str) -> bool {
    text.contains("[redacted:") && ANY_MARK.as_ref().is_some_and(|regex| regex.is_match(text))
}

/// Whether a name, of a field, parameter or option, says that its value is a credential.
pub(super) fn is_secret_name(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        "authorization",
        "proxyauthorization",
        "cookie",
        "setcookie",
        "credential",
        "passphrase",
        "pwd",
        "sig",
        "signature",
        "token",
    ];
    const ENDINGS: [&str; 14] = [
        "accesskey",
        "accesstoken",
        "apikey",
        "authtoken",
        "bearertoken",
        "idtoken",
        "passwd",
        "password",
        "privatekey",
        "refreshtoken",
        "secret",
        "secretkey",
        "securitytoken",
        "sessiontoken",
    ];
    if name.len() > 64 {
        return false;
    }
    let letters = name.chars().filter(|c| !matches!(c, '_' | '-' | '.' | ' '));
    let plain: String = letters.map(|c| c.to_ascii_lowercase()).collect();
    NAMES.contains(&plain.as_str()) || ENDINGS.iter().any(|ending| plain.ends_with(ending))
}

/// Whether a name in the query of a URL says that its value is a credential.
pub(super) fn is_secret_parameter(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    is_secret_name(name)
        || lower.starts_with("x-amz-")
        || matches!(lower.as_str(), "key" | "code" | "auth")
}

/// The stretches of a text between marks.
pub(super) fn between_marks(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    for mark in ANY_MARK.iter().flat_map(|regex| regex.find_iter(text)) {
        ranges.push(at..mark.start());
        at = mark.end();
    }
    ranges.push(at..text.len());
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_patterns_compile() {
        assert!(ALL.is_some() && ONE_TOKEN.is_some() && ANY_MARK.is_some());
    }
}
