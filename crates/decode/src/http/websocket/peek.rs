//! What a message says about the turn that it belongs to.
//!
//! A WebSocket knows no requests and responses, but the protocols that models are spoken to with do.
//! Only the members at the top of a message are looked at; whoever reads the turn reads the rest.

use crate::json::{members, unquote};

/// What a message of the client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// It asks for a response, and says all there is to say (OpenAI Responses).
    Whole {
        /// Names the turn, where one connection carries several at a time.
        stream: Option<Vec<u8>>,
    },
    /// It is a part of what leads to a response (OpenAI Realtime, Gemini Live).
    Part,
    /// Nothing of this kind.
    Other,
}

/// What a message of the server does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Names the turn that it belongs to.
    pub(super) stream: Option<Vec<u8>>,
    /// Names the response that it belongs to.
    pub(super) response: Option<Vec<u8>>,
    /// Whether a response begins or goes on with it.
    pub(super) answers: bool,
    /// Whether the response ends with it.
    pub(super) ends: bool,
    /// Whether it says that something went wrong.
    pub(super) fails: bool,
}

/// Judges a message of the client by its beginning.
pub(super) fn ask(message: &[u8]) -> Ask {
    // Types begin like that in OpenAI Realtime.
    const PARTS: [&[u8]; 5] = [
        b"response.",
        b"conversation.",
        b"session.",
        b"input_audio_buffer.",
        b"output_audio_buffer.",
    ];
    // Members of the messages of Gemini Live, in both spellings that are in use.
    const LIVE: [&[u8]; 7] = [
        b"setup",
        b"clientContent",
        b"client_content",
        b"realtimeInput",
        b"realtime_input",
        b"toolResponse",
        b"tool_response",
    ];
    let (mut kind, mut stream) = (&[][..], None);
    let (mut whole, mut live) = (false, false);
    members(message, &mut |name, value| match name {
        b"type" => kind = unquote(value),
        b"stream_id" => stream = Some(unquote(value).to_vec()),
        b"model" | b"input" => whole = true,
        name => live |= LIVE.contains(&name),
    });
    if kind == b"response.create" && whole {
        Ask::Whole { stream }
    } else if live || PARTS.iter().any(|part| kind.starts_with(part)) {
        Ask::Part
    } else {
        Ask::Other
    }
}

/// Judges a message of the server by its beginning.
pub(super) fn answer(message: &[u8]) -> Answer {
    let mut found = Answer::default();
    let mut kind = &[][..];
    members(message, &mut |name, value| match name {
        b"type" => kind = unquote(value),
        b"stream_id" => found.stream = Some(unquote(value).to_vec()),
        b"response_id" => found.response = Some(unquote(value).to_vec()),
        b"response" => members(value, &mut |name, value| {
            if name == b"id" {
                found.response = Some(unquote(value).to_vec());
            }
        }),
        // Gemini Live.
        b"serverContent" | b"server_content" => {
            found.answers = true;
            members(value, &mut |name, value| {
                let ended = matches!(name, b"turnComplete" | b"turn_complete") && value == b"true";
                found.ends |= ended;
            });
        }
        // The model waits for the result.
        b"toolCall" | b"tool_call" => {
            found.answers = true;
            found.ends = true;
        }
        _ => {}
    });
    found.answers |= kind.starts_with(b"response.");
    found.fails = kind == b"error";
    found.ends |= matches!(
        kind,
        b"response.completed"
            | b"response.incomplete"
            | b"response.failed"
            | b"response.cancelled"
            | b"response.done"
    );
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_clients_are_told_apart() {
        let whole = |stream: Option<&str>| Ask::Whole {
            stream: stream.map(|name| name.as_bytes().to_vec()),
        };
        for (message, expected) in [
            (r#"{"type":"response.create","model":"m"}"#, whole(None)),
            (
                r#"{"input":[{"type":"x"}],"stream_id":"s1","type":"response.create"}"#,
                whole(Some("s1")),
            ),
            (r#"{"type":"response.create"}"#, Ask::Part),
            (r#"{"type":"response.cancel","model":"m"}"#, Ask::Part),
            (
                r#"{"type":"input_audio_buffer.append","audio":"AA=="}"#,
                Ask::Part,
            ),
            (r#"{"realtimeInput":{"audio":{}}}"#, Ask::Part),
            (r#"{"type":"subscribe"}"#, Ask::Other),
            ("hello", Ask::Other),
        ] {
            assert_eq!(ask(message.as_bytes()), expected, "{message}");
        }
    }

    #[test]
    fn messages_of_servers_are_told_apart() {
        for (message, response, answers, ends, fails) in [
            (
                r#"{"type":"response.created","response":{"object":"response","id":"r1"}}"#,
                Some("r1"),
                true,
                false,
                false,
            ),
            (
                r#"{"type":"response.output_text.delta","delta":"a"}"#,
                None,
                true,
                false,
                false,
            ),
            (
                r#"{"type":"response.completed","response":{"id":"r1"}}"#,
                Some("r1"),
                true,
                true,
                false,
            ),
            (
                r#"{"type":"response.text.delta","response_id":"r2"}"#,
                Some("r2"),
                true,
                false,
                false,
            ),
            (r#"{"type":"error","status":429}"#, None, false, false, true),
            (r#"{"type":"session.created"}"#, None, false, false, false),
            (r#"{"setupComplete":{}}"#, None, false, false, false),
            (
                r#"{"serverContent":{"modelTurn":{}}}"#,
                None,
                true,
                false,
                false,
            ),
            (
                r#"{"serverContent":{"turnComplete":true}}"#,
                None,
                true,
                true,
                false,
            ),
            (
                r#"{"toolCall":{"functionCalls":[]}}"#,
                None,
                true,
                true,
                false,
            ),
        ] {
            let expected = Answer {
                stream: None,
                response: response.map(|name| name.as_bytes().to_vec()),
                answers,
                ends,
                fails,
            };
            assert_eq!(answer(message.as_bytes()), expected, "{message}");
        }
    }
}
