//! Requests that are forms: fields and files in several parts.

use agentsight_model::PartInfo;
use serde_json::{Map, Value};

use crate::http::Message;
use crate::http::multipart::{Parser, Part, boundary_of};
use crate::json::Problem;
use crate::media;

/// A form, in the terms of the other requests.
pub(crate) struct ReadForm {
    /// Its fields; a file stands in them by its description.
    pub(crate) fields: Map<String, Value>,
    pub(crate) files: Vec<FormFile>,
    pub(crate) problem: Option<Problem>,
}

/// A file of a form.
#[derive(Debug)]
pub(crate) struct FormFile {
    /// The field's name, without brackets.
    pub(crate) field: String,
    pub(crate) info: PartInfo,
}

/// Reads a form; `None` if the message is none.
pub(crate) fn read(message: &Message) -> Option<ReadForm> {
    let boundary = boundary_of(message.headers.get("content-type")?)?;
    let body = &message.body;
    let mut parser = Parser::new(&boundary);
    let mut parts = Vec::new();
    let mut from = 0;
    for &gap in &body.gaps {
        parser.push(body.bytes.get(from..gap).unwrap_or_default(), &mut parts);
        parser.gap(&mut parts);
        from = gap;
    }
    parser.push(body.bytes.get(from..).unwrap_or_default(), &mut parts);
    let dropped = parser.dropped_count() > 0;
    let whole = parser.finish(&mut parts) && parts.iter().all(|part| part.complete);
    let mut form = ReadForm {
        fields: Map::new(),
        files: Vec::new(),
        problem: match (whole, dropped) {
            (false, _) => Some(Problem::Truncated),
            (true, true) => Some(Problem::TooLarge),
            (true, false) => None,
        },
    };
    parts.into_iter().for_each(|part| form.take(part));
    Some(form)
}

impl ReadForm {
    fn take(&mut self, part: Part) {
        let name = part.name();
        let field = name.strip_suffix("[]").unwrap_or(&name).to_owned();
        let media_type = part.media_type();
        let filename = part.filename();
        // Clients leave the name of a file out at times, but not its type.
        let is_file = filename.is_some() || !(media_type.is_empty() || media_type == "text/plain");
        let value = if is_file {
            let declared = Some(media_type.as_str()).filter(|name| *name != OPAQUE);
            let info = media::known(&part.head, part.bytes, part.sha256, declared);
            let value = media::to_value(&info, filename.as_deref());
            self.files.push(FormFile {
                field: field.clone(),
                info,
            });
            value
        } else {
            Value::String(String::from_utf8_lossy(&part.head).into_owned())
        };
        self.insert(field, value, name.ends_with("[]"));
    }

    /// Fields that come several times are lists.
    fn insert(&mut self, field: String, value: Value, is_list: bool) {
        match self.fields.get_mut(&field) {
            Some(Value::Array(items)) => items.push(value),
            Some(first) => {
                let first = first.take();
                self.fields.insert(field, Value::Array(vec![first, value]));
            }
            None if is_list => {
                self.fields.insert(field, Value::Array(vec![value]));
            }
            None => {
                self.fields.insert(field, value);
            }
        }
    }
}

/// The type that clients declare where they know none.
const OPAQUE: &str = "application/octet-stream";
