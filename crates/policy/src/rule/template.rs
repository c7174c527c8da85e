//! Messages with facts in them: `{process.name} read {file.path}`.

use crate::diagnostic::{Complaint, proposal};
use crate::field::{FIELDS, Field, Type, field};
use crate::kind::KindSet;
use crate::view::View;

/// Characters of one fact in a message.
const MAX_FACT_CHARS: usize = 200;

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Fact(Field, Type),
}

impl Template {
    pub(crate) fn new(text: &str, kinds: KindSet) -> Result<Self, Complaint> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let Some((name, after)) = after.split_once('}') else {
                return Err(Complaint::new("a `{` is not closed"));
            };
            let Some(info) = field(name.trim()) else {
                let names = FIELDS.iter().map(|info| info.name);
                return Err(Complaint::new(format!("unknown name `{name}`"))
                    .hint(proposal(name.trim(), names)));
            };
            let missing = KindSet(kinds.0 & !info.group.kinds().0);
            if let Some(kind) = missing.iter().next() {
                let message = format!("`{}` is not known for `{}` events", info.name, kind.name());
                return Err(Complaint::new(message));
            }
            parts.push(Part::Fact(info.field, info.ty));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// The message about an event.
    pub(crate) fn render(&self, view: &View<'_>) -> String {
        let mut message = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => message.push_str(text),
                Part::Fact(field, ty) => {
                    let fact = match ty {
                        Type::Text => view.text(*field).into_owned(),
                        Type::Int => view.int(*field).to_string(),
                        Type::Bool => view.flag(*field).to_string(),
                        Type::List => view.list(*field).join(" "),
                    };
                    message.push_str(&shortened(&fact));
                }
            }
        }
        message
    }
}

/// A fact on one line, cut if it is long.
pub(crate) fn shortened(text: &str) -> String {
    let mut characters = text.chars();
    let mut short: String = characters
        .by_ref()
        .take(MAX_FACT_CHARS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if characters.next().is_some() {
        short.push('…');
    }
    short
}
