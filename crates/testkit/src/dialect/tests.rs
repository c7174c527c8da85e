//! Each dialect's answer says the same in one document and in a stream.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn answer(delta_chars: usize) -> Answer {
    Answer {
        number: 7,
        model: "scripted".to_owned(),
        text: "Grüße, “world” \u{1F980}".to_owned(),
        calls: vec![CalledTool {
            id: Some("id-1".to_owned()),
            name: "shell".to_owned(),
            arguments: json!({ "command": "echo \"ä\"" }),
        }],
        usage: Usage {
            input_tokens: Some(120),
            output_tokens: Some(30),
            cache_read_input_tokens: Some(100),
            cache_creation_input_tokens: Some(5),
            reasoning_output_tokens: Some(10),
            ..Usage::default()
        },
        finish_reason: "whatever",
        delta_chars,
        usage_in_stream: true,
    }
}

/// Every string under a key of this name, in order, as one.
fn joined(values: &[Value], key: &str) -> String {
    fn walk(value: &Value, key: &str, out: &mut String) {
        match value {
            Value::Object(map) => map.iter().for_each(|(name, inner)| match inner {
                Value::String(text) if name == key => out.push_str(text),
                _ => walk(inner, key, out),
            }),
            Value::Array(list) => list.iter().for_each(|inner| walk(inner, key, out)),
            _ => {}
        }
    }
    let mut out = String::new();
    values.iter().for_each(|value| walk(value, key, &mut out));
    out
}

#[test]
fn streams_carry_text_and_arguments_whole() {
    for chars in [1, 2, 16, 1000] {
        let answer = answer(chars);
        let arguments = answer.calls[0].arguments.to_string();
        let of = |dialect: Dialect, name: Option<&str>| -> Vec<Value> {
            (dialect.format().events)(&answer)
                .iter()
                .filter(|event| name.is_none() || event.name == name)
                .filter_map(|event| serde_json::from_str(&event.data).ok())
                .collect()
        };
        let anthropic = of(Dialect::AnthropicMessages, Some("content_block_delta"));
        assert_eq!(joined(&anthropic, "text"), answer.text);
        assert_eq!(joined(&anthropic, "partial_json"), arguments);
        let chat = of(Dialect::OpenAiChat, None);
        assert_eq!(joined(&chat, "content"), answer.text);
        assert_eq!(joined(&chat, "arguments"), arguments);
        let text = of(Dialect::OpenAiResponses, Some("response.output_text.delta"));
        assert_eq!(joined(&text, "delta"), answer.text);
        let name = "response.function_call_arguments.delta";
        let calls = of(Dialect::OpenAiResponses, Some(name));
        assert_eq!(joined(&calls, "delta"), arguments);
        let gemini = of(Dialect::Gemini, None);
        assert_eq!(joined(&gemini, "text"), answer.text);
        assert_eq!(joined(&gemini, "command"), "echo \"ä\"");
    }
}

#[test]
fn usage_is_spelled_as_each_dialect_counts_it() {
    let answer = answer(16);
    let document = |dialect: Dialect| (dialect.format().document)(&answer);
    assert_eq!(
        document(Dialect::AnthropicMessages)["usage"]["input_tokens"],
        15
    );
    assert_eq!(document(Dialect::OpenAiChat)["usage"]["prompt_tokens"], 120);
    assert_eq!(
        document(Dialect::OpenAiResponses)["usage"]["total_tokens"],
        150
    );
    assert_eq!(
        document(Dialect::Gemini)["usageMetadata"]["candidatesTokenCount"],
        20
    );
}

#[test]
fn a_json_array_is_one_document() {
    let pieces = body_pieces(Dialect::Gemini.format(), Framing::JsonArray, &answer(4));
    let whole: Value = serde_json::from_str(&pieces.concat()).unwrap();
    assert!(whole.as_array().unwrap().len() > 3);
}

#[test]
fn paths_name_dialects() {
    for (path, dialect) in [
        ("/v1/messages", Some(Dialect::AnthropicMessages)),
        ("/v1/messages?beta=true", Some(Dialect::AnthropicMessages)),
        ("/v1/messages/count_tokens", None),
        ("/v1/chat/completions", Some(Dialect::OpenAiChat)),
        ("/openai/v1/responses", Some(Dialect::OpenAiResponses)),
        ("/v1beta/models/m:generateContent", Some(Dialect::Gemini)),
        (
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            Some(Dialect::Gemini),
        ),
        ("/v1beta/models/m:countTokens", None),
        ("/", None),
        ("", None),
    ] {
        assert_eq!(Dialect::of_path(path), dialect, "{path}");
    }
}

#[test]
fn requests_tell_model_framing_and_results() {
    for (dialect, target, body, model, framing, results) in [
        (
            Dialect::AnthropicMessages,
            "/v1/messages",
            json!({ "model": "m", "stream": true, "messages": [
                { "role": "user", "content": "go" },
                { "role": "user", "content": [{ "type": "tool_result" }, { "type": "tool_result" }] },
            ] }),
            "m",
            Framing::Sse,
            2,
        ),
        (
            Dialect::OpenAiChat,
            "/v1/chat/completions",
            json!({ "model": "m", "messages": [{ "role": "tool" }, { "role": "user" }] }),
            "m",
            Framing::Document,
            1,
        ),
        (
            Dialect::OpenAiResponses,
            "/v1/responses",
            json!({ "model": "m", "input": [{ "type": "function_call_output" }, { "role": "user" }] }),
            "m",
            Framing::Document,
            1,
        ),
        (
            Dialect::Gemini,
            "/v1beta/models/g-1:streamGenerateContent?alt=sse&x=y",
            json!({ "contents": [{ "parts": [{ "functionResponse": {} }, { "text": "t" }] }] }),
            "g-1",
            Framing::Sse,
            1,
        ),
        (Dialect::Gemini, "", json!(null), "", Framing::Document, 0),
        (
            Dialect::OpenAiResponses,
            "",
            json!({ "input": "text" }),
            "",
            Framing::Document,
            0,
        ),
    ] {
        let asked = (dialect.format().read)(target, &body);
        assert_eq!(
            (asked.model.as_str(), asked.framing, asked.tool_results),
            (model, framing, results),
            "{dialect:?} {target}"
        );
    }
}

proptest! {
    #[test]
    fn pieces_make_the_text_again(text in any::<String>(), chars in 0_usize..40) {
        let pieces = pieces(&text, chars);
        prop_assert_eq!(pieces.concat(), text.as_str());
        prop_assert!(pieces.iter().all(|piece| (1..=chars.max(1)).contains(&piece.chars().count())));
    }
}
