//! The YAML reader's errors in the words of somebody who writes a playbook.

use serde_saphyr::{Error, MessageFormatter as _, UserMessageFormatter};

/// What is wrong, without the place, which is told beside it.
pub(super) fn words(error: &Error) -> String {
    let text = match error {
        Error::AliasError { error, .. } => words(error),
        Error::Message { msg, .. } => msg.clone(),
        Error::ExternalMessage { msg, .. } => format!("not valid YAML: {msg}"),
        Error::Eof { .. } => "not valid YAML: it ends too early".to_owned(),
        Error::MultipleDocuments { .. } => "a playbook is one document, and here begins a second one".to_owned(),
        Error::UnknownAnchor { .. } => "there is no anchor of this name before".to_owned(),
        Error::Unexpected { expected, .. } => format!("expected {}", kind(expected)),
        Error::NullIntoString { .. } => "a value is missing".to_owned(),
        Error::InvalidScalar { ty, .. } => format!("expected {}", kind(ty)),
        Error::SerdeInvalidType { unexpected, expected, .. }
        | Error::SerdeInvalidValue { unexpected, expected, .. } => {
            format!("expected {}, found {}", kind(expected), kind(unexpected))
        }
        // How the reader writes that nothing is there.
        Error::SerdeUnknownVariant { variant, expected, .. } if variant == "~" => {
            format!("expected one of {}", expected.join(", "))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            format!("`{variant}` is none of {}", expected.join(", "))
        }
        Error::SerdeUnknownField { field, expected, .. } if expected.is_empty() => {
            format!("there is no parameter `{field}`: this task has none")
        }
        Error::SerdeUnknownField { field, expected, .. } => {
            format!("there is no key `{field}` here; there are: {}", expected.join(", "))
        }
        Error::SerdeMissingField { field, .. } => format!("key `{field}` is missing"),
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("key `{key}` is given twice"),
        other => UserMessageFormatter.format_message(other).into_owned(),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The reader's and serde's names for kinds of values.
fn kind(name: &str) -> &str {
    match name {
        "mapping start" => "keys with values, as in `key: value`",
        "sequence start" => "a list",
        "string scalar" => "a text",
        "sequence" => "a list",
        "unit value" => "nothing",
        "map" => "keys with values",
        "bool" | "boolean" => "`true` or `false`",
        "u16" => "a number from 0 to 65535",
        other => other,
    }
}
