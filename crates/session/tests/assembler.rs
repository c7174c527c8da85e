//! Plaintext in, events out: streams kept apart, bounded, and fit for the graph.

use agentsight_model::{
    Direction, Event, EventBody, KTime, Payload, PayloadEnd, ProcessExec, ProcessKey, StreamKey,
};
use agentsight_session::{Assembler, AssemblerOptions, SessionGraph};
use proptest::prelude::*;
use serde_json::json;

fn process(tgid: u32) -> ProcessKey {
    ProcessKey { tgid, start_ns: 5 }
}

fn stream(tgid: u32, object: u64) -> StreamKey {
    StreamKey {
        process: process(tgid),
        object,
    }
}

fn payload(stream: StreamKey, time: u64, direction: Direction, bytes: &[u8]) -> Payload {
    Payload {
        time: KTime(time),
        stream,
        tid: stream.process.tgid,
        direction,
        cleartext: false,
        missing_bytes: 0,
        bytes: bytes.to_vec(),
    }
}

fn request(messages: &serde_json::Value) -> Vec<u8> {
    let body = json!({"model": "m", "max_tokens": 9, "messages": messages}).to_string();
    format!(
        "POST /v1/messages HTTP/1.1\r\nHost: model.example\r\nx-api-key: sk-ant-api03-secret\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn response(content: &serde_json::Value) -> Vec<u8> {
    let body = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content,
        "stop_reason": "tool_use", "usage": {"input_tokens": 3, "output_tokens": 4},
    })
    .to_string();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn kinds(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(|event| event.body.kind()).collect()
}

#[test]
fn a_tool_call_from_the_wire_to_the_document() {
    let mut assembler = Assembler::new(AssemblerOptions::new([7; 32]));
    let mut events = Vec::new();
    let one = stream(1, 1);
    let user = json!({"role": "user", "content": "list"});
    let asked = json!([{"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "ls -la"}}]);
    assembler.payload(
        payload(one, 10, Direction::Sent, &request(&json!([user]))),
        &mut events,
    );
    assembler.payload(
        payload(one, 20, Direction::Received, &response(&asked)),
        &mut events,
    );
    let exec = ProcessExec {
        parent: process(1),
        argv: ["bash", "-c", "ls -la"].map(str::to_owned).to_vec(),
        ..ProcessExec::default()
    };
    events.push(Event {
        time: KTime(30),
        process: process(2),
        body: EventBody::ProcessExec(Box::new(exec)),
    });
    let results = json!([
        user,
        {"role": "assistant", "content": asked},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "a b"}]},
    ]);
    assembler.payload(
        payload(one, 40, Direction::Sent, &request(&results)),
        &mut events,
    );
    let said = json!([{"type": "text", "text": "done"}]);
    assembler.payload(
        payload(one, 50, Direction::Received, &response(&said)),
        &mut events,
    );
    assembler.end(
        PayloadEnd {
            time: KTime(60),
            stream: one,
        },
        &mut events,
    );
    assert_eq!(
        kinds(&events),
        ["llm.call", "process.exec", "llm.call", "stream.end"]
    );

    let mut graph = SessionGraph::default();
    for (seq, event) in events.iter().enumerate() {
        graph.apply(seq as u64, event);
    }
    let document = graph.document();
    let [tool] = &document.tool_calls[..] else {
        panic!("{:?}", document.tool_calls);
    };
    assert_eq!(
        (tool.id.as_str(), tool.kind.as_str(), tool.status.as_str()),
        ("toolu_1", "shell", "ok")
    );
    assert_eq!(tool.result, Some(json!("a b")));
    assert_eq!(tool.actions.len(), 1);
    assert_eq!(
        document.actions[0].link.as_ref().unwrap().evidence,
        ["argv-exact", "window"]
    );
    assert_eq!(document.coverage.tls.streams, 1);
    assert_eq!(document.coverage.tls.undecoded_streams, 0);
    assert!(
        !serde_json::to_string(&events)
            .unwrap()
            .contains("sk-ant-api03-secret")
    );
}

#[test]
fn streams_of_one_process_end_with_it_and_no_others() {
    let mut assembler = Assembler::new(AssemblerOptions::new([7; 32]));
    let mut events = Vec::new();
    for key in [stream(1, 1), stream(1, u64::MAX), stream(2, 1)] {
        assembler.payload(
            payload(key, 1, Direction::Sent, &request(&json!([]))),
            &mut events,
        );
    }
    assembler.process_exited(process(1), KTime(5), &mut events);
    let ends = |events: &[Event]| {
        events
            .iter()
            .filter(|event| event.body.kind() == "stream.end")
            .count()
    };
    assert_eq!(ends(&events), 2);
    assert!(events.iter().all(|event| event.process == process(1)));
    assembler.end(
        PayloadEnd {
            time: KTime(6),
            stream: stream(1, 1),
        },
        &mut events,
    );
    assembler.finish(KTime(7), &mut events);
    assert_eq!(ends(&events), 3);
}

#[test]
fn memory_is_bounded_and_what_is_given_up_says_so() {
    let mut options = AssemblerOptions::new([7; 32]);
    options.max_buffered_bytes = 100_000;
    let mut assembler = Assembler::new(options);
    let mut events = Vec::new();
    let head = b"POST /v1/messages HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\nContent-Length: 900000\r\n\r\n";
    for object in 0..10 {
        assembler.payload(
            payload(stream(1, object), object, Direction::Sent, head),
            &mut events,
        );
        for _ in 0..40 {
            assembler.payload(
                payload(stream(1, object), object, Direction::Sent, &[b'x'; 1000]),
                &mut events,
            );
        }
    }
    let given_up = events.iter().filter(|event| {
        matches!(&event.body, EventBody::StreamEnd(end) if end.error.is_some() && end.sent_bytes > 40_000)
    });
    assert!(given_up.count() >= 7);
}

#[test]
fn a_hole_in_a_stream_is_no_other_stream() {
    let mut assembler = Assembler::new(AssemblerOptions::new([7; 32]));
    let mut events = Vec::new();
    let bytes = response(&json!([{"type": "text", "text": "x".repeat(500)}]));
    assembler.payload(
        payload(
            stream(1, 1),
            1,
            Direction::Sent,
            &request(&json!([{"role": "user", "content": "q"}])),
        ),
        &mut events,
    );
    assembler.payload(
        payload(stream(1, 1), 2, Direction::Received, &bytes[..200]),
        &mut events,
    );
    let rest = Payload {
        missing_bytes: 300,
        ..payload(stream(1, 1), 3, Direction::Received, &bytes[500..])
    };
    assembler.payload(rest, &mut events);
    assembler.finish(KTime(4), &mut events);
    let complete = match &events[0].body {
        EventBody::LlmCall(call) => call.complete,
        EventBody::HttpExchange(exchange) => exchange.complete,
        other => panic!("{other:?}"),
    };
    assert!(!complete);
    let EventBody::StreamEnd(end) = &events[1].body else {
        panic!("{:?}", events[1]);
    };
    assert_eq!((end.missing_bytes, end.messages), (300, 1));
}

proptest! {
    #[test]
    fn any_bytes_in_any_streams_are_counted(runs in prop::collection::vec(
        (0_u32..3, 0_u64..3, any::<bool>(), 0_u64..3, prop::collection::vec(any::<u8>(), 0..200)), 0..40,
    )) {
        let mut options = AssemblerOptions::new([7; 32]);
        options.max_streams = 2;
        options.max_buffered_bytes = 300;
        let mut assembler = Assembler::new(options);
        let mut events = Vec::new();
        let mut total = 0;
        for (tgid, object, sent, missing_bytes, bytes) in runs {
            total += bytes.len() as u64;
            let direction = if sent { Direction::Sent } else { Direction::Received };
            let run = Payload { missing_bytes, ..payload(stream(tgid, object), 1, direction, &bytes) };
            assembler.payload(run, &mut events);
        }
        assembler.finish(KTime(2), &mut events);
        let ended = events.iter().map(|event| match &event.body {
            EventBody::StreamEnd(end) => end.sent_bytes + end.received_bytes,
            _ => 0,
        });
        prop_assert_eq!(ended.sum::<u64>(), total);
    }
}
