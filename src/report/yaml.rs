//! Data as YAML, for people and for tools that want it.

use serde_json::Value;

/// `value` as a YAML document with its line end.
#[must_use]
pub fn yaml(value: &Value) -> String {
    // Maps, lists, numbers and texts can all be written.
    let text = serde_saphyr::to_string(value).unwrap_or_default();
    if text.ends_with('\n') { text } else { text + "\n" }
}
