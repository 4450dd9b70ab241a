//! Data as YAML, for people and for tools that want it.

use crate::error::paints;
use serde_json::Value;

/// `value` as a YAML document with its line end. What would paint a terminal is replaced in its texts.
#[must_use]
pub fn yaml(value: &Value) -> String {
    // Maps, lists, numbers and texts can all be written.
    let text = serde_saphyr::to_string(&plain(value)).unwrap_or_default();
    if text.ends_with('\n') { text } else { text + "\n" }
}

fn plain(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let tame = |c| if paints(c) && c != '\n' { '\u{fffd}' } else { c };
            Value::String(text.chars().map(tame).collect())
        }
        Value::Array(values) => values.iter().map(plain).collect(),
        // The names are ours.
        Value::Object(values) => values.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}
