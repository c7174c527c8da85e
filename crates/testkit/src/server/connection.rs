//! One client's connection: requests in, answers out, truth written down.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use agentsight_model::Usage;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use super::http::{self, Head, Length, RequestBody};
use super::reply::{self, Delivered, Reply};
use super::{Shared, hold};
use crate::dialect::{Answer, Asked, Framing, body_pieces};
use crate::script::{Fault, Turn};
use crate::truth::{Body, CalledTool};
use crate::{Dialect, Exchange, Outcome};

/// How long a client may be silent, and a fault may hold it.
const PATIENCE: Duration = Duration::from_secs(120);

type Stream = BufReader<Tls>;

/// A connection whose client may have sent data before the handshake was done.
struct Tls {
    /// What of it has not been read yet.
    early: io::Cursor<Vec<u8>>,
    stream: StreamOwned<ServerConnection, TcpStream>,
}

impl Tls {
    fn accept(config: Arc<ServerConfig>, tcp: TcpStream) -> io::Result<Self> {
        let tls = ServerConnection::new(config).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(tls, tcp);
        stream.conn.complete_io(&mut stream.sock)?;
        let mut early = Vec::new();
        if let Some(mut data) = stream.conn.early_data() {
            data.read_to_end(&mut early)?;
        }
        Ok(Self {
            early: io::Cursor::new(early),
            stream,
        })
    }
}

impl Read for Tls {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.early.read(into)? {
            0 => self.stream.read(into),
            count => Ok(count),
        }
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Serves a connection to its end.
pub(super) fn serve(
    tcp: TcpStream,
    config: Arc<ServerConfig>,
    number: u64,
    peer: SocketAddr,
    shared: &Shared,
) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    tcp.set_write_timeout(Some(PATIENCE))?;
    let mut connection = Connection {
        stream: BufReader::new(Tls::accept(config, tcp)?),
        number,
        peer,
        shared,
    };
    while connection.serve_request()? == After::Next {}
    connection.close()
}

/// What follows an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    /// Another request may come.
    Next,
    /// The connection ends in good order.
    Close,
    /// The connection is broken off.
    Break,
}

struct Connection<'a> {
    stream: Stream,
    number: u64,
    peer: SocketAddr,
    shared: &'a Shared,
}

impl Connection<'_> {
    fn serve_request(&mut self) -> io::Result<After> {
        let Some(head) = http::read_head(&mut self.stream)? else {
            return Ok(After::Close);
        };
        if head.lists("expect", "100-continue") {
            self.stream
                .get_mut()
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let body = http::read_body(&mut self.stream, &head)?;
        let dialect = (head.method == "POST")
            .then(|| Dialect::of_path(&head.target))
            .flatten();
        let after = match dialect {
            Some(dialect) => self.answer(dialect, &head, body)?,
            None => self.answer_other(&head, &body)?,
        };
        if after == After::Break {
            let _ = self.stream.get_ref().stream.sock.shutdown(Shutdown::Both);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(if head.lists("connection", "close") {
            After::Close
        } else {
            after
        })
    }

    /// Answers a request that asks no model: echoes what is posted to `/echo`, knows nothing else.
    fn answer_other(&mut self, head: &Head, body: &RequestBody) -> io::Result<After> {
        self.shared.count_other_request();
        let echo = head.method == "POST" && head.target == "/echo";
        let (status, content): (u16, &[u8]) = if echo {
            (200, &body.decoded)
        } else {
            (404, b"{\"error\":\"not found\"}")
        };
        let content_type = ("Content-Type", "application/octet-stream".to_owned());
        let stream = self.stream.get_mut();
        http::write_head(
            stream,
            status,
            Length::Known(content.len()),
            &[content_type],
        )?;
        if head.method != "HEAD" {
            stream.write_all(content)?;
        }
        stream.flush()?;
        Ok(After::Next)
    }

    fn answer(&mut self, dialect: Dialect, head: &Head, body: RequestBody) -> io::Result<After> {
        let in_flight = self.shared.begin();
        let format = dialect.format();
        let Ok(request) = serde_json::from_slice::<Value>(&body.decoded) else {
            let error = (format.error)(400, "the body is no JSON").to_string();
            let reply = Reply::error(400, error, None);
            reply::deliver(self.stream.get_mut(), &reply, None, self.shared)?;
            return Ok(After::Next);
        };
        let asked = (format.read)(&head.target, &request);
        let turn_index = self.shared.script.turn_for(asked.tool_results);
        let turn = self.shared.script.turns().get(turn_index);
        let fault = self.due_fault(turn, turn_index);
        let mut answer = self.make_answer(dialect, &asked, turn, turn_index, body.decoded.len());
        let reply = match &fault {
            Some(Fault::Status {
                code,
                retry_after_seconds,
            }) => {
                let error = (format.error)(*code, "scripted fault").to_string();
                Reply::error(*code, error, *retry_after_seconds)
            }
            _ => Reply {
                status: 200,
                framing: asked.framing,
                pieces: body_pieces(format, asked.framing, &answer),
                gzip: self.shared.script.gzip && head.lists("accept-encoding", "gzip"),
                retry_after_seconds: None,
            },
        };
        let delivered = reply::deliver(self.stream.get_mut(), &reply, fault.as_ref(), self.shared)?;
        if matches!(fault, Some(Fault::Status { .. } | Fault::Garbage(_))) {
            answer.take_back();
        }
        let outcome = delivered.outcome;
        in_flight.end(self.exchange(
            dialect,
            &head.target,
            turn_index,
            asked,
            body,
            answer,
            delivered,
        ));
        if outcome == Outcome::NoEnd {
            hold(&self.stream.get_ref().stream.sock, self.shared, PATIENCE);
        }
        Ok(match outcome {
            Outcome::Complete | Outcome::Truncated => After::Next,
            Outcome::Garbage => After::Close,
            Outcome::Cut | Outcome::NoEnd | Outcome::ClientGone => After::Break,
        })
    }

    /// What there is to write down.
    #[expect(
        clippy::too_many_arguments,
        reason = "an exchange is made of that much"
    )]
    fn exchange(
        &self,
        dialect: Dialect,
        target: &str,
        turn: usize,
        asked: Asked,
        request: RequestBody,
        answer: Answer,
        delivered: Delivered,
    ) -> Exchange {
        Exchange {
            connection: self.number,
            peer: self.peer,
            dialect,
            target: target.to_owned(),
            model: asked.model,
            stream: asked.framing != Framing::Document,
            tool_results: asked.tool_results,
            turn,
            request: Body::new(
                request.decoded,
                request.encoding.as_deref(),
                request.wire_bytes,
            ),
            status: delivered.status,
            response: delivered.body,
            outcome: delivered.outcome,
            text: answer.text,
            tool_calls: answer.calls,
            usage: answer.usage,
            finish_reason: answer.finish_reason.to_owned(),
        }
    }

    fn due_fault(&self, turn: Option<&Turn>, index: usize) -> Option<Fault> {
        let (fault, times) = turn?.fault.as_ref()?;
        self.shared
            .fault_is_due(index, *times)
            .then(|| fault.clone())
    }

    fn make_answer(
        &self,
        dialect: Dialect,
        asked: &Asked,
        turn: Option<&Turn>,
        turn_index: usize,
        request_bytes: usize,
    ) -> Answer {
        let format = dialect.format();
        let turn = turn.cloned().unwrap_or_default();
        let number = self.shared.next_number();
        let calls: Vec<CalledTool> = turn
            .tools
            .into_iter()
            .enumerate()
            .map(|(index, tool)| CalledTool {
                // Unique among all answers, as retries ask for the same turn again.
                id: (format.call_id)(&format!("{number:06}_{turn_index}_{index}")),
                name: tool.name,
                arguments: tool.arguments,
            })
            .collect();
        let usage = turn
            .usage
            .unwrap_or_else(|| estimated_usage(request_bytes, &turn.text, &calls));
        Answer {
            number,
            model: asked.model.clone(),
            text: turn.text,
            finish_reason: (format.finish_reason)(!calls.is_empty()),
            calls,
            usage,
            delta_chars: self.shared.script.delta_chars,
            usage_in_stream: asked.usage_in_stream,
        }
    }

    fn close(mut self) -> io::Result<()> {
        let stream = &mut self.stream.get_mut().stream;
        stream.conn.send_close_notify();
        stream.flush()?;
        stream.sock.shutdown(Shutdown::Write)
    }
}

/// One token is about four bytes, which is close enough for a model that does not think.
fn estimated_usage(request_bytes: usize, text: &str, calls: &[CalledTool]) -> Usage {
    let arguments: usize = calls
        .iter()
        .map(|call| call.arguments.to_string().len())
        .sum();
    let tokens = |bytes: usize| Some(bytes.div_ceil(4).max(1) as u64);
    Usage {
        input_tokens: tokens(request_bytes),
        output_tokens: tokens(text.len().saturating_add(arguments)),
        cache_read_input_tokens: Some(0),
        cache_creation_input_tokens: Some(0),
        reasoning_output_tokens: Some(0),
        ..Usage::default()
    }
}
