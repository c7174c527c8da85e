use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn cut_documents_give_what_was_there() {
    for (text, expected) in [
        (r#"{"a": 1, "b": "tex"#, json!({"a": 1, "b": "tex"})),
        (r#"{"a": [1, {"b": tr"#, json!({"a": [1, {}]})),
        (r#"{"a": [1, 2"#, json!({"a": [1, 2]})),
        (r#"{"a": "\ud83"#, json!({"a": "\\ud83"})),
        (r#"{"a""#, json!({})),
        (r#"{"a":"#, json!({})),
        (r#"[-"#, json!([])),
        ("", json!(null)),
    ] {
        let parsed = parse(text.as_bytes());
        assert_eq!(parsed.value, expected, "{text}");
        assert_eq!(parsed.problem, Some(Problem::Truncated), "{text}");
    }
}

#[test]
fn broken_documents_give_what_came_before() {
    for (text, expected) in [
        (r#"{"a": 1, b: 2}"#, json!({"a": 1})),
        ("[1, 2 3]", json!([1, 2])),
        ("[1, nul]", json!([1])),
        ("[1,]", json!([1])),
        ("{} {}", json!({})),
        ("<html>", json!(null)),
        ("[01]", json!([])),
    ] {
        let parsed = parse(text.as_bytes());
        assert_eq!(parsed.value, expected, "{text}");
        assert_eq!(parsed.problem, Some(Problem::Malformed), "{text}");
    }
}

#[test]
fn strings_that_are_no_unicode_are_replaced() {
    let parsed = parse(b"[\"\\ud800x\", \"\\ude00\", \"\xff\", \"\\ud83d\\ude00\", \"\\q\"]");
    let expected = json!(["\u{fffd}x", "\u{fffd}", "\u{fffd}", "\u{1f600}", "\\q"]);
    assert_eq!(parsed.value, expected);
    assert_eq!(parsed.problem, None);
}

#[test]
fn deep_documents_stay_readable() {
    for depth in [100, 1000, 100_000] {
        let text = format!("{}\"]}}\"{}", "[".repeat(depth), "]".repeat(depth));
        let parsed = parse(text.as_bytes());
        assert_eq!(parsed.problem, None, "{depth}");
        let written = serde_json::to_string(&parsed.value).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&written).unwrap(),
            parsed.value
        );
    }
    let cut = "{\"a\":".repeat(100_000);
    assert_eq!(parse(cut.as_bytes()).problem, Some(Problem::Truncated));
}

#[test]
fn the_number_of_values_is_bounded() {
    let text = format!("[{}0]", "0,".repeat(MAX_VALUES));
    let parsed = parse(text.as_bytes());
    assert_eq!(parsed.problem, Some(Problem::TooLarge));
    assert!(parsed.value.as_array().unwrap().len() <= MAX_VALUES);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn valid_documents_read_as_usual(value in any_json(), pretty in any::<bool>()) {
        let text = if pretty { format!("{value:#}") } else { value.to_string() };
        let expected: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(parse(text.as_bytes()), Parsed { value: expected, problem: None });
    }

    #[test]
    fn what_serde_accepts_is_accepted(
        value in any_json(),
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = value.to_string().into_bytes();
        for (at, byte) in mutations {
            let place = at.index(bytes.len());
            bytes[place] = byte;
        }
        let parsed = parse(&bytes);
        if let Ok(expected) = serde_json::from_slice::<Value>(&bytes) {
            prop_assert_eq!(parsed, Parsed { value: expected, problem: None });
        }
    }

    #[test]
    fn cut_documents_are_prefixes(value in any_json(), cut in any::<prop::sample::Index>()) {
        let text = json!([value]).to_string();
        let place = cut.index(text.len());
        prop_assert_eq!(parse(&text.as_bytes()[..place]).problem, Some(Problem::Truncated));
    }
}

#[test]
fn documents_one_after_the_other_are_read() {
    let read = |text: &str| {
        let mut found = Vec::new();
        parse_each(text.as_bytes(), &mut |parsed| {
            found.push((parsed.value, parsed.problem.is_none()));
            true
        });
        found
    };
    for (text, expected) in [
        (
            "{\"a\":1}\n[2]\r\n\n{\"b\":\n3}",
            vec![
                (json!({"a": 1}), true),
                (json!([2]), true),
                (json!({"b": 3}), true),
            ],
        ),
        (
            "{\"a\":1}{\"b\":2}",
            vec![(json!({"a": 1}), true), (json!({"b": 2}), true)],
        ),
        (
            "{\"a\":oops}\n{\"b\":2}",
            vec![(json!({}), false), (json!({"b": 2}), true)],
        ),
        (
            "junk\n{\"b\":2",
            vec![(json!(null), false), (json!({"b": 2}), false)],
        ),
        (" \n", vec![]),
    ] {
        assert_eq!(read(text), expected, "{text}");
    }
}
