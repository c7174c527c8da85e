//! Taking fields out of JSON objects whose shape is not to be trusted.

use serde_json::{Map, Value};

/// An object, or an empty one where the value is something else.
pub(crate) fn into_object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The elements of an array; a lone value counts as one element, `null` as none.
pub(crate) fn into_list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        Value::Null => Vec::new(),
        value => vec![value],
    }
}

/// A string, or the JSON text of any other value.
pub(crate) fn into_text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        Value::Null => String::new(),
        value => value.to_string(),
    }
}

/// Taking fields out of an object.
pub(crate) trait Fields {
    /// Removes a field; `null` if there is none.
    fn take(&mut self, key: &str) -> Value;
    /// Removes a field that is a string, unless it is empty.
    fn take_string(&mut self, key: &str) -> Option<String>;
    /// Removes a field that is a list.
    fn take_list(&mut self, key: &str) -> Vec<Value>;
    /// Removes a field that is an object.
    fn take_object(&mut self, key: &str) -> Map<String, Value>;
    /// Removes the first of some fields that is a string and not empty.
    fn take_first_string(&mut self, keys: &[&str]) -> Option<String>;
    /// Removes the first of some fields that is an object; empty if there is none.
    fn take_first_object(&mut self, keys: &[&str]) -> Map<String, Value>;
    /// Removes a field as text, whatever it is; empty if there is none.
    fn take_text(&mut self, key: &str) -> String;
    /// The field, if it is a string.
    fn text(&self, key: &str) -> &str;
    /// The field, if it is a whole number that is not negative.
    fn count(&self, key: &str) -> Option<u64>;
}

impl Fields for Map<String, Value> {
    fn take(&mut self, key: &str) -> Value {
        self.remove(key).unwrap_or_default()
    }

    fn take_string(&mut self, key: &str) -> Option<String> {
        match self.remove(key) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    fn take_list(&mut self, key: &str) -> Vec<Value> {
        into_list(self.take(key))
    }

    fn take_object(&mut self, key: &str) -> Map<String, Value> {
        into_object(self.take(key))
    }

    fn take_first_string(&mut self, keys: &[&str]) -> Option<String> {
        keys.iter().find_map(|key| self.take_string(key))
    }

    fn take_first_object(&mut self, keys: &[&str]) -> Map<String, Value> {
        let found = keys.iter().map(|key| self.take_object(key));
        found
            .into_iter()
            .find(|map| !map.is_empty())
            .unwrap_or_default()
    }

    fn take_text(&mut self, key: &str) -> String {
        into_text(self.take(key))
    }

    fn text(&self, key: &str) -> &str {
        self.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn count(&self, key: &str) -> Option<u64> {
        self.get(key).and_then(count_of)
    }
}

/// A whole number that is not negative; some senders write it with a decimal point.
fn count_of(value: &Value) -> Option<u64> {
    let whole =
        |number: f64| (number >= 0.0 && number.fract() == 0.0).then(|| format!("{number:.0}"));
    value
        .as_u64()
        .or_else(|| value.as_f64().and_then(whole)?.parse().ok())
}
