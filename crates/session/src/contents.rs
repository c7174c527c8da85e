//! What conversations repeat, stored once.
//!
//! Each request to a model repeats the conversation so far, its system instructions and its tools. Written
//! as they come, a session of n turns would take room in the square of n. So each piece goes to the ledger
//! once, in an `llm.message` record named by its digest, and a call refers to the request that it
//! continues, to how much of it it repeats, and to what follows (see [`ContentRefs`], ADR 0018).
//!
//! [`Deduplicator`] is the writing side; [`SessionGraph`](crate::SessionGraph) puts calls together again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io::{self, Write};

use agentsight_model::{ContentPiece, ContentRefs, LlmCall, LlmContent, Message, ProcessKey};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Earlier calls of a process that a request is compared with: its own conversation's last one is among
/// them unless more than this many sub-agents talk at the same time.
const RECENT_CALLS: usize = 16;

/// Pieces whose digests are remembered (32 MiB). Beyond, all are forgotten, and what still comes is
/// stored a second time.
const MAX_PIECES: usize = 1 << 20;

/// Digests of all recent calls together (32 MiB). Beyond, all are forgotten, and the next call of each
/// conversation names its messages anew.
const MAX_RECENT_DIGESTS: usize = 1 << 20;

type Sum = [u8; 32];

/// The digest of a piece: SHA-256 of its compact JSON.
pub(crate) fn digest(piece: &impl Serialize) -> String {
    hexadecimal(&sum(piece))
}

fn sum(piece: &impl Serialize) -> Sum {
    let mut hasher = Hasher(Sha256::new());
    // Neither the hasher nor the serialisation of what came out of JSON can fail.
    let _ = serde_json::to_writer(io::BufWriter::new(&mut hasher), piece);
    hasher.0.finalize().into()
}

struct Hasher(Sha256);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn hexadecimal(sum: &Sum) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| {
        DIGITS
            .get(usize::from(value))
            .map_or('0', |digit| char::from(*digit))
    };
    sum.iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// The request of a call that went to the ledger.
#[derive(Debug)]
struct Recent {
    id: String,
    messages: Vec<Sum>,
}

/// Takes out of calls what the ledger has already.
#[derive(Debug, Default)]
pub struct Deduplicator {
    stored: HashSet<Sum>,
    recent: HashMap<ProcessKey, VecDeque<Recent>>,
    recent_digests: usize,
}

impl Deduplicator {
    /// Splits a call into the pieces that the ledger lacks, which must be written first, and the call
    /// without content. Takes time in proportion to the call's size.
    pub fn split(&mut self, mut call: LlmCall) -> (Vec<LlmContent>, LlmCall) {
        let mut pieces = Vec::new();
        let messages = std::mem::take(&mut call.request.messages);
        let sums: Vec<Sum> = messages.iter().map(sum).collect();
        let (base, shared) = self.base_of(call.process, &sums);
        let following = messages.into_iter().zip(&sums).skip(shared);
        let messages = following
            .map(|(message, sum)| self.store(*sum, ContentPiece::Message(message), &mut pieces))
            .collect();
        let system = std::mem::take(&mut call.request.system);
        let tools = std::mem::take(&mut call.request.tools);
        let answers: Vec<Message> = std::mem::take(&mut call.response.messages);
        let refs = ContentRefs {
            base,
            shared: u64::try_from(shared).unwrap_or(u64::MAX),
            messages,
            system: (!system.is_empty())
                .then(|| self.store(sum(&system), ContentPiece::System(system), &mut pieces)),
            tools: (!tools.is_empty())
                .then(|| self.store(sum(&tools), ContentPiece::Tools(tools), &mut pieces)),
            answers: answers
                .into_iter()
                .map(|answer| self.store(sum(&answer), ContentPiece::Message(answer), &mut pieces))
                .collect(),
        };
        call.content = Some(Box::new(refs));
        self.remember(&call, sums);
        (pieces, call)
    }

    /// Forgets what was stored: what comes is stored in full again. To be called when a piece or a call
    /// could not be written.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    fn store(&mut self, sum: Sum, content: ContentPiece, pieces: &mut Vec<LlmContent>) -> String {
        let sha256 = hexadecimal(&sum);
        if self.stored.len() >= MAX_PIECES {
            self.stored.clear();
        }
        if self.stored.insert(sum) {
            pieces.push(LlmContent {
                sha256: sha256.clone(),
                content,
            });
        }
        sha256
    }

    /// The recent call of the process whose request begins like this one for the longest, and how long.
    fn base_of(&self, process: ProcessKey, sums: &[Sum]) -> (Option<String>, usize) {
        let mut best = (None, 0);
        for recent in self.recent.get(&process).into_iter().flatten().rev() {
            let pairs = recent.messages.iter().zip(sums);
            let shared = pairs.take_while(|(known, sum)| known == sum).count();
            if shared > best.1 {
                best = (Some(recent.id.clone()), shared);
            }
        }
        best
    }

    fn remember(&mut self, call: &LlmCall, messages: Vec<Sum>) {
        if messages.is_empty() {
            return;
        }
        self.recent_digests = self.recent_digests.saturating_add(messages.len());
        if self.recent_digests > MAX_RECENT_DIGESTS {
            self.recent.clear();
            self.recent_digests = messages.len();
        }
        let recent = self.recent.entry(call.process).or_default();
        if recent.len() >= RECENT_CALLS
            && let Some(oldest) = recent.pop_front()
        {
            self.recent_digests = self.recent_digests.saturating_sub(oldest.messages.len());
        }
        recent.push_back(Recent {
            id: call.id.clone(),
            messages,
        });
    }
}

#[cfg(test)]
mod tests {
    use agentsight_model::Part;
    use serde_json::json;

    use super::*;

    fn said(role: &str, text: &str) -> Message {
        Message {
            role: role.to_owned(),
            parts: vec![Part::Text {
                content: text.to_owned(),
            }],
        }
    }

    fn call(id: &str, messages: Vec<Message>, answer: &str) -> LlmCall {
        let body = json!({
            "bytes": 0, "sha256": "", "wire_bytes": 0, "encoding": null, "complete": true,
        });
        let mut call: LlmCall = serde_json::from_value(json!({
            "id": id, "provider": "p", "api": "a", "model": null, "request_model": null,
            "operation": "chat", "process": ProcessKey::default(), "endpoint": "",
            "transport": "http/1.1", "status": 200, "started": 1, "first_byte": null, "ended": 2,
            "complete": true,
            "request": {"messages": [], "system": [], "tools": [], "parameters": {}, "body": body},
            "response": {"messages": [], "id": null, "body": body},
            "finish_reasons": [], "usage": agentsight_model::Usage::default(),
        }))
        .unwrap();
        call.request.messages = messages;
        call.request.system = vec![Part::Text {
            content: "be kind".to_owned(),
        }];
        call.response.messages = vec![said("assistant", answer)];
        call
    }

    #[test]
    fn only_what_is_new_is_stored() {
        let mut all = Deduplicator::default();
        let first = vec![said("user", "one")];
        let (pieces, stored) = all.split(call("llm-1", first.clone(), "two"));
        // The message, the instructions, the answer.
        assert_eq!(pieces.len(), 3);
        assert!(stored.request.messages.is_empty() && stored.response.messages.is_empty());

        let second = [first, vec![said("assistant", "two"), said("user", "three")]].concat();
        let (pieces, stored) = all.split(call("llm-2", second.clone(), "four"));
        let refs = stored.content.unwrap();
        assert_eq!((refs.base.as_deref(), refs.shared), (Some("llm-1"), 1));
        assert_eq!((refs.messages.len(), pieces.len()), (2, 2));
        assert_eq!(
            pieces.first().map(|piece| piece.content.clone()),
            Some(ContentPiece::Message(said("user", "three")))
        );

        all.forget();
        let (pieces, stored) = all.split(call("llm-3", second, "four"));
        assert_eq!(pieces.len(), 5);
        assert_eq!(stored.content.unwrap().base, None);
    }

    #[test]
    fn the_digest_is_that_of_the_piece_as_json() {
        let message = said("user", "one");
        let json = serde_json::to_vec(&message).unwrap();
        let expected: Sum = Sha256::digest(&json).into();
        assert_eq!(digest(&message), hexadecimal(&expected));
        assert_eq!(hexadecimal(&[0xa5; 32]), "a5".repeat(32));
    }

    #[test]
    fn what_is_remembered_of_a_process_is_bounded() {
        let mut all = Deduplicator::default();
        for number in 0..100 {
            let text = format!("{number}");
            all.split(call(
                &format!("llm-{number}"),
                vec![said("user", &text)],
                "x",
            ));
        }
        assert_eq!(
            all.recent.values().map(VecDeque::len).sum::<usize>(),
            RECENT_CALLS
        );
        assert_eq!(all.recent_digests, RECENT_CALLS);
    }
}
