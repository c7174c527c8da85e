//! The header fields of one block, and what they make of a message.

use agentsight_model::KTime;

use super::hpack::Field;
use crate::http::message::{Headers, Message, StartLine};

/// What is kept of a block, decoded. A byte of a block can stand for thousands.
const MAX_BLOCK_BYTES: usize = 64 << 10;

/// Which of two messages a block can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Request,
    Response,
}

/// The fields of a block, pseudo-header fields apart.
#[derive(Debug, Default)]
pub(super) struct Fields {
    method: Option<String>,
    scheme: Option<String>,
    authority: Option<String>,
    path: Option<String>,
    status: Option<u16>,
    headers: Headers,
    kept_bytes: usize,
}

impl Fields {
    /// Takes the next field.
    pub(super) fn push(&mut self, field: &Field) {
        let name = field.name.as_deref().unwrap_or(Headers::UNKNOWN);
        let value = field.value.as_deref().unwrap_or(Headers::UNKNOWN);
        let bytes = name.len().saturating_add(value.len());
        let kept_bytes = self.kept_bytes.saturating_add(bytes);
        if kept_bytes > MAX_BLOCK_BYTES {
            self.headers.omit();
            return;
        }
        self.kept_bytes = kept_bytes;
        let place = match name {
            ":method" => &mut self.method,
            ":scheme" => &mut self.scheme,
            ":authority" => &mut self.authority,
            ":path" => &mut self.path,
            ":status" => {
                self.status = value.parse().ok();
                return;
            }
            // Others of their kind say nothing that is needed.
            _ if name.starts_with(':') => return,
            _ => {
                self.headers.push(name, value);
                return;
            }
        };
        place.get_or_insert_with(|| value.to_owned());
    }

    /// What the block begins, where it says so.
    pub(super) fn role(&self) -> Option<Role> {
        let request = [&self.method, &self.scheme, &self.authority, &self.path];
        if self.status.is_some() {
            Some(Role::Response)
        } else if request.iter().any(|field| field.is_some()) {
            Some(Role::Request)
        } else {
            None
        }
    }

    /// Whether this is a response before the one that counts.
    pub(super) fn is_interim(&self) -> bool {
        matches!(self.status, Some(100..=199))
    }

    /// The fields as trailer.
    pub(super) fn into_trailers(self) -> Headers {
        self.headers
    }

    /// The message that the block begins.
    pub(super) fn into_message(self, role: Option<Role>, started: KTime) -> Message {
        let start = match (role, self.status) {
            (_, Some(status)) => StartLine::Response {
                status,
                reason: String::new(),
            },
            (Some(Role::Request), None) => {
                let target = self.path.or_else(|| self.authority.clone());
                StartLine::Request {
                    method: self.method.unwrap_or_default(),
                    target: target.unwrap_or_default(),
                }
            }
            _ => StartLine::Unseen,
        };
        let mut headers = self.headers;
        if let Some(authority) = self.authority {
            // The name that this field has in the other versions.
            headers.push_front("host", authority);
        }
        Message {
            start,
            headers,
            started,
            ..Message::default()
        }
    }
}
