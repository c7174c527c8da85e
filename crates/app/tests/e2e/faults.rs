//! What goes wrong on the wire: recorded as far as it was seen, and marked so.

use std::thread;
use std::time::Duration;

use agentsight_model::document::Call;
use agentsight_testkit::{Demo, DemoOptions, Dialect, Exchange, Fault, Script, ToolRequest, Turn};
use nix::sys::signal::Signal;

use crate::support::{Recorded, Site, texts};

/// A session in which the second of three answers goes wrong, and what the server knows of it.
fn session_with(dialect: Dialect, stream: bool, fault: Fault) -> (Recorded, Vec<Exchange>) {
    println!("{dialect:?}, stream {stream}, {}", name(&fault));
    let fault_is_endless = matches!(fault, Fault::NoEnd { .. });
    let text = "This answer is long enough to be cut into several pieces by any fault.";
    let script = Script::new([
        Turn::text("First.").tool(ToolRequest::shell("true")),
        Turn::text(text).fault(fault, 1),
    ]);
    let options = DemoOptions {
        dialect,
        stream,
        ..DemoOptions::default()
    };
    let demo = Demo::start_with(&options, script, "Go wrong.").unwrap();
    let site = Site::new();
    let mut going = site.run(demo.command()).cwd(demo.workspace()).start();
    if fault_is_endless {
        going.wait_until("both answers are sent", |_| {
            demo.server().truth().len() == 2
        });
        // Somebody loses patience, but not before the client has read what there is.
        thread::sleep(Duration::from_millis(300));
        going.signal(Signal::SIGTERM);
    }
    going.end();
    (site.recorded(), demo.server().truth())
}

fn name(fault: &Fault) -> &'static str {
    match fault {
        Fault::Status { .. } => "status",
        Fault::Garbage(_) => "garbage",
        Fault::Truncated { .. } => "truncated",
        Fault::Cut { .. } => "cut",
        Fault::NoEnd { .. } => "no end",
        Fault::NestedJson { .. } => "nested",
    }
}

/// Both dialect and framing, for a fault.
fn everywhere(fault: &Fault, check: impl Fn(&Recorded, &[Exchange], bool)) {
    for dialect in Dialect::ALL {
        for stream in [true, false] {
            let (session, truth) = session_with(dialect, stream, fault.clone());
            let first = &session.document.llm_calls[0];
            assert!(
                first.complete && texts(first) == "First.",
                "the one before is not whole"
            );
            check(&session, &truth, stream);
        }
    }
}

#[track_caller]
fn assert_partial(call: &Call, exchange: &Exchange) {
    assert!(!call.complete);
    assert!(call.error.is_some());
    // What was asked was seen whole.
    assert!(call.request.body.complete);
    assert_eq!(call.request.body.sha256, exchange.request.sha256);
    assert!(exchange.text.starts_with(&texts(call)), "{:?}", texts(call));
}

#[test]
#[ignore = "needs root"]
fn an_answer_that_ends_early_is_recorded_in_part() {
    everywhere(&Fault::Truncated { pieces: 3 }, |session, truth, _| {
        let call = &session.document.llm_calls[1];
        assert_partial(call, &truth[1]);
        assert_eq!(call.response.body.sha256, truth[1].response.sha256);
        assert_eq!(call.response.body.bytes, truth[1].response.bytes);
    });
}

#[test]
#[ignore = "needs root"]
fn a_connection_that_breaks_is_recorded_in_part() {
    everywhere(&Fault::Cut { pieces: 3 }, |session, truth, _| {
        let call = &session.document.llm_calls[1];
        assert_partial(call, &truth[1]);
        assert!(!call.response.body.complete);
        assert!(call.response.body.bytes <= truth[1].response.bytes);
    });
}

#[test]
#[ignore = "needs root"]
fn an_answer_without_end_is_recorded_in_part() {
    everywhere(&Fault::NoEnd { pieces: 3 }, |session, truth, stream| {
        let call = &session.document.llm_calls[1];
        assert_partial(call, &truth[1]);
        assert!(!call.response.body.complete);
        if stream {
            assert_eq!(call.response.body.bytes, truth[1].response.bytes);
        }
    });
}

#[test]
#[ignore = "needs root"]
fn garbage_on_the_stream_is_no_answer() {
    let garbage: Vec<u8> = (0..4000_u32).map(|n| (n * 37 % 256) as u8).collect();
    everywhere(&Fault::Garbage(garbage), |session, truth, _| {
        let call = &session.document.llm_calls[1];
        assert_partial(call, &truth[1]);
        assert_eq!(call.status, None);
        assert_eq!(texts(call), "");
    });
}

#[test]
#[ignore = "needs root"]
fn an_error_of_the_service_is_recorded_and_so_is_the_next_try() {
    let fault = Fault::Status {
        code: 429,
        retry_after_seconds: Some(0),
    };
    everywhere(&fault, |session, truth, _| {
        let [_, refused, answered] = session.document.llm_calls.as_slice() else {
            panic!("not three calls");
        };
        assert_eq!((refused.status, answered.status), (Some(429), Some(200)));
        let error = refused.error.as_ref().unwrap();
        assert!(error.message.contains("scripted fault"), "{error:?}");
        assert_eq!(refused.response.body.sha256, truth[1].response.sha256);
        assert!(answered.complete && answered.error.is_none());
        assert_eq!(texts(answered), truth[2].text);
    });
}

#[test]
#[ignore = "needs root"]
fn deep_nesting_breaks_nothing() {
    for levels in [100, 5_000] {
        everywhere(&Fault::NestedJson { levels }, |session, truth, stream| {
            let call = &session.document.llm_calls[1];
            assert_eq!(call.request.body.sha256, truth[1].request.sha256);
            // The agent itself breaks at what is too deep, and leaves before the stream's end.
            if levels > 100 && stream {
                assert_partial(call, &truth[1]);
                return;
            }
            assert_eq!(call.response.body.sha256, truth[1].response.sha256);
            assert!(call.response.body.complete);
            if levels <= 100 {
                assert!(call.complete, "{:?}", call.error);
                assert_eq!(texts(call), truth[1].text);
            }
        });
    }
}
