use proptest::prelude::*;
use serde_json::json;

use super::*;

fn redactor() -> Redactor {
    Redactor::new([7; 32])
}

fn text(input: &str) -> String {
    redactor().text(input).into_owned()
}

/// Marks without their digits.
fn shape(input: &str) -> String {
    let pattern = regex::Regex::new(r"\[redacted:([a-z_]+):[0-9a-f]{8}\]").unwrap();
    pattern.replace_all(&text(input), "<$1>").into_owned()
}

const JWT: &str =
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";

#[test]
fn credentials_are_replaced() {
    let jwt = format!("token is {JWT}.");
    let pem = "a -----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIEowIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF8PbnGy0AHB7\nabc=\n-----END RSA PRIVATE KEY----- b";
    let table = [
        (
            "use sk-ant-api03-AbCdEf0123456789_-xyz now",
            "use <anthropic_key> now",
        ),
        (
            "OPENAI_API_KEY=sk-proj-abcdef0123456789ABCDEF",
            "OPENAI_API_KEY=<openai_key>",
        ),
        (
            "(AIzaSyA1234567890abcdefghijklmnopqrstuv)",
            "(<google_key>)",
        ),
        ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "<github_token>"),
        (
            "github_pat_11ABCDEFG0abcdefghijkl_mnopqrs",
            "<github_token>",
        ),
        ("xoxb-123456789012-abcdefGHIJKL", "<slack_token>"),
        ("id AKIAIOSFODNN7EXAMPLE end", "id <aws_key> end"),
        (&jwt, "token is <jwt>."),
        (pem, "a <private_key> b"),
        (
            "-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG9w0B\\n-----END PRIVATE KEY-----\\n",
            "<private_key>\\n",
        ),
        (
            "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nMIIEvQ",
            "<private_key>MIIEvQ",
        ),
        (
            "Authorization: Bearer abcdefgh12345678",
            "Authorization: Bearer <secret>",
        ),
        (
            "authorization: Basic dXNlcjpwYXNz",
            "authorization: Basic <secret>",
        ),
        ("-H 'x-api-key: 1234abcd5678'", "-H 'x-api-key: <secret>'"),
        (
            "Cookie: sid=abc123; theme=dark\nnext",
            "Cookie: <secret>\nnext",
        ),
        ("got bearer abcdefghij0123456789", "got bearer <secret>"),
        (
            "https://h/p?q=1&key=abc123&x=2",
            "https://h/p?q=1&key=<secret>&x=2",
        ),
        ("postgres://me:hunter2@db/x", "postgres://me:<secret>@db/x"),
        ("password=hunter2", "password=<secret>"),
        ("DB_PASSWORD='a b'", "DB_PASSWORD='<secret> b'"),
        ("password: hunter2", "password: <secret>"),
        (
            r#"{"client_secret": "correct"}"#,
            r#"{"client_secret": "<secret>"}"#,
        ),
        (r#"{\"api_key\":\"abc\"}"#, r#"{\"api_key\":\"<secret>\"}"#),
        (
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG",
            "aws_secret_access_key = <secret>",
        ),
    ];
    for (input, expected) in table {
        assert_eq!(shape(input), expected, "{input}");
    }
}

#[test]
fn what_is_no_credential_stays() {
    for input in [
        "",
        "plain text with numbers 1234567890 and words",
        "max_tokens: 1024, total_tokens=12",
        "The secret: be kind to others",
        "password = getpass.getpass()",
        "api_key = os.environ[\"OPENAI_API_KEY\"]",
        "const token = process.env.TOKEN",
        "def login(user: str, password: str) -> bool:",
        "password: string;",
        "token: 5",
        "export API_KEY=$KEY",
        "task-management-system-for-the-win",
        "see https://example.com/a?page=2",
        "basic functionality of the bearer",
        "[redacted:secret:0123abcd]",
        "password=[redacted:secret:0123abcd]",
        "Authorization: Bearer [redacted:openai_key:0123abcd]",
    ] {
        assert_eq!(text(input), input);
    }
}

#[test]
fn equal_credentials_get_equal_marks_wherever_they_stand() {
    let secret = "sk-proj-abcdef0123456789ABCDEF";
    let mark = text(secret);
    assert!(text(&format!("api_key=\"{secret}\"")).contains(&mark));
    assert!(text(&format!("Authorization: Bearer {secret}")).contains(&mark));
    assert!(
        redactor()
            .url(&format!("https://h/?key={secret}"))
            .contains(&mark)
    );
    assert_ne!(mark, text("sk-proj-abcdef0123456789ABCDEG"));
    assert_ne!(mark, Redactor::new([8; 32]).text(secret));
}

#[test]
fn the_hash_is_hmac_sha256() {
    // RFC 4231, test case 2, with the key padded as HMAC pads it.
    let mut key = [0; 32];
    key[..4].copy_from_slice(b"Jefe");
    let digest = Redactor::new(key).keyed_hash(b"what do ya want for nothing?");
    assert!(hexadecimal(&digest).starts_with("5bdcc146bf60754e6a042426089575c7"));
}

#[test]
fn json_is_redacted_by_keys_and_by_content() {
    let mut value = json!({
        "apiKey": "short",
        "headers": {"Authorization": "Bearer abc", "accept": "text"},
        "cookie": ["a=1", "b=2"],
        "schema": {"properties": {"password": {"type": "string"}}},
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789": 1,
        "max_tokens": 5,
        "list": ["password=hunter2", 1, null],
    });
    redactor().json(&mut value);
    let written = value.to_string();
    for secret in ["short", "Bearer abc", "a=1", "ghp_", "hunter2"] {
        assert!(!written.contains(secret), "{secret} in {written}");
    }
    assert_eq!(value["schema"]["properties"]["password"]["type"], "string");
    assert_eq!(value["headers"]["accept"], "text");
    let once = value.clone();
    redactor().json(&mut value);
    assert_eq!(value, once);
}

#[test]
fn urls_keep_what_is_harmless() {
    let redactor = redactor();
    for (url, kept, gone) in [
        ("https://h/p?alt=sse&key=AIzaX", "alt=sse", "AIzaX"),
        ("/v1?access_token=abc#frag", "/v1?access_token=", "abc"),
        ("https://u:pw123@h/p", "https://u:", "pw123"),
        ("https://s3/x?X-Amz-Signature=ffff&a=b", "&a=b", "ffff"),
    ] {
        let redacted = redactor.url(url);
        assert!(redacted.contains(kept), "{redacted}");
        assert!(!redacted.contains(gone), "{redacted}");
        assert_eq!(redactor.url(&redacted), redacted);
    }
}

#[test]
fn arguments_are_redacted_by_their_options() {
    let redactor = redactor();
    for (argv, gone) in [
        ("curl -u me:hunter2 https://h/", "hunter2"),
        ("/usr/bin/curl --user me:hunter2 h", "hunter2"),
        ("tool --api-key abcdef --other x", "abcdef"),
        ("tool --password=abcdef", "abcdef"),
        ("env DB_PASSWORD=abcdef run", "abcdef"),
        (
            "curl -H Authorization:\u{a0}x -H x-api-key:abcdef12",
            "abcdef12",
        ),
        ("git clone https://me:hunter2@h/r", "hunter2"),
    ] {
        let mut argv: Vec<String> = argv.split(' ').map(str::to_owned).collect();
        let count = argv.len();
        redactor.argv(&mut argv);
        assert!(!argv.join(" ").contains(gone), "{argv:?}");
        assert_eq!(argv.len(), count);
        let once = argv.clone();
        redactor.argv(&mut argv);
        assert_eq!(argv, once);
    }
    let mut plain: Vec<String> = ["ls", "-u", "a:b", "--sort=size"].map(str::to_owned).into();
    redactor.argv(&mut plain);
    assert_eq!(plain, ["ls", "-u", "a:b", "--sort=size"]);
}

#[test]
fn headers_are_redacted_by_name() {
    let mut headers = Headers::default();
    headers.push("X-Api-Key", "abc");
    headers.push("Authorization", "Bearer abc");
    headers.push("Set-Cookie", "sid=abc; Path=/");
    headers.push("Accept", "text/html");
    headers.push(Headers::UNKNOWN, "abc");
    headers.push(Headers::UNKNOWN, Headers::UNKNOWN);
    let fields = redactor().headers(&headers);
    assert_eq!(fields[5].1, Headers::UNKNOWN);
    assert!(fields.iter().all(|(_, value)| !value.contains("abc")));
    assert!(fields[1].1.starts_with("Bearer [redacted:secret:"));
    assert_eq!(fields[3].1, "text/html");
}

/// Pieces that make credentials, marks and their neighbours likely.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "sk-ant-",
            "sk-",
            "AKIAIOSFODNN7EXAMPLE",
            "ghp_",
            "eyJhbGciOi",
            ".eyJzdWI",
            "Bearer ",
            "bearer\t",
            "password",
            "token",
            "api_key",
            "authorization",
            "cookie: a=",
            "secret",
            "=",
            ": ",
            ":",
            "\": \"",
            "://u:",
            "@",
            "?key=",
            "&sig=",
            "[redacted:",
            "[redacted:secret:0123abcd]",
            "]",
            "Basic ",
            " ",
            "\n",
            "\"",
            "'",
            "\\",
            "é",
            "-----BEGIN PRIVATE KEY-----",
            "-----END PRIVATE KEY-----",
            "(",
            "$",
            "abcdefgh0123456789",
            "AbCd0123",
            "_",
            "-",
        ])
        .prop_map(str::to_owned),
        "[a-zA-Z0-9_-]{0,24}",
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn redacting_twice_is_redacting_once(input in any_text()) {
        let once = text(&input);
        prop_assert_eq!(text(&once), once);
    }

    #[test]
    fn urls_are_redacted_once(input in any_text()) {
        let once = redactor().url(&input);
        prop_assert_eq!(redactor().url(&once), once);
    }

    #[test]
    fn any_text_is_taken(input in any::<String>()) {
        text(&input);
    }
}
