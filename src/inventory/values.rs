//! The kinds of values that an inventory's keys take.

use super::Become;
use super::problem::{Problem, nearest, quoted};
use super::schema::{Host, Read, unique};
use super::tree::{At, Node};
use crate::{pki, ssh};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;
use std::time::Duration;

/// Adds a problem about a value and gives nothing.
fn refuse<T>(node: &At<Node>, message: String, help: &str, problems: &mut Vec<Problem>) -> Option<T> {
    problems.push(Problem::new(message, node.span.clone()).label("here").help(help));
    None
}

/// The text of a scalar; what else there is gets refused as not being `wanted`.
fn scalar<'a>(node: &'a At<Node>, wanted: &str, problems: &mut Vec<Problem>) -> Option<&'a str> {
    match &node.value {
        Node::Scalar(text) => Some(text),
        other @ (Node::Null | Node::List(_) | Node::Map(_)) => {
            let message = format!("expected {wanted}, found {}", other.describe());
            problems.push(Problem::new(message, node.span.clone()).label("here"));
            None
        }
    }
}

impl Read for String {
    fn read(node: &At<Node>, problems: &mut Vec<Problem>) -> Option<Self> {
        let text = scalar(node, "one value", problems)?;
        if text.is_empty() {
            return refuse(
                node,
                "expected a value, found an empty one".to_owned(),
                "give it a value, or leave the key out",
                problems,
            );
        }
        Some(text.to_owned())
    }
}

impl Read for bool {
    fn read(node: &At<Node>, problems: &mut Vec<Problem>) -> Option<Self> {
        match scalar(node, "`true` or `false`", problems)? {
            "true" | "True" | "TRUE" => Some(true),
            "false" | "False" | "FALSE" => Some(false),
            other => {
                let message = format!("expected `true` or `false`, found {}", quoted(other));
                refuse(node, message, "write `true` or `false`", problems)
            }
        }
    }
}

/// How commands come to root's rights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elevation(pub(super) Become);

impl Read for Elevation {
    fn read(node: &At<Node>, problems: &mut Vec<Problem>) -> Option<Self> {
        const WANTED: &str = "`true`, `false`, `sudo` or `doas`";
        match scalar(node, WANTED, problems)? {
            "true" | "True" | "TRUE" | "sudo" => Some(Self(Become::Sudo)),
            "false" | "False" | "FALSE" => Some(Self(Become::No)),
            "doas" => Some(Self(Become::Doas)),
            other => {
                let message = format!("expected {WANTED}, found {}", quoted(other));
                refuse(node, message, &format!("write {WANTED}; `true` is `sudo`"), problems)
            }
        }
    }
}

impl JsonSchema for Elevation {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Elevation".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": [true, false, "sudo", "doas"] })
    }
}

/// A TCP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Port(pub(super) u16);

impl Read for Port {
    fn read(node: &At<Node>, problems: &mut Vec<Problem>) -> Option<Self> {
        let text = scalar(node, "a port", problems)?;
        match text.parse() {
            Ok(port) if port > 0 => Some(Self(port)),
            _ => refuse(node, format!("{} is not a port", quoted(text)), "ports are numbers from 1 to 65535", problems),
        }
    }
}

impl JsonSchema for Port {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Port".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": 65535 })
    }
}

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

impl Read for Time {
    fn read(node: &At<Node>, problems: &mut Vec<Problem>) -> Option<Self> {
        let text = scalar(node, "a length of time", problems)?;
        match duration(text) {
            Some(time) => Some(Self(time)),
            None => refuse(
                node,
                format!("{} is not a length of time", quoted(text)),
                "write a whole number and a unit: `500ms`, `10s`, `5m`, `87600h`, `30d`, or several, like `1h30m`",
                problems,
            ),
        }
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$" })
    }
}

/// Whole numbers with a unit (ms, s, m, h, d), added up; more than zero.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at_checked(digits)?;
        let letters = after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, after) = after.split_at_checked(letters)?;
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(milliseconds)?)?;
        rest = after;
    }
    (total > 0).then(|| Duration::from_millis(total))
}

/// A length of time in the largest unit that expresses it whole, for messages.
pub(super) fn show_duration(time: Duration) -> String {
    let milliseconds = time.as_millis();
    for (unit, length) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if milliseconds.is_multiple_of(length) {
            return format!("{}{unit}", milliseconds / length);
        }
    }
    format!("{milliseconds}ms")
}

/// One text or several.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts(pub(super) Vec<At<String>>);

impl Read for Texts {
    fn read(node: &At<Node>, problems: &mut Vec<Problem>) -> Option<Self> {
        match &node.value {
            Node::List(items) => Some(Self(
                items
                    .iter()
                    .filter_map(|item| Some(At::new(String::read(item, problems)?, item.span.clone())))
                    .collect(),
            )),
            Node::Scalar(_) => Some(Self(vec![At::new(String::read(node, problems)?, node.span.clone())])),
            other @ (Node::Null | Node::Map(_)) => {
                let message = format!("expected a value or a list of values, found {}", other.describe());
                problems.push(Problem::new(message, node.span.clone()).label("here"));
                None
            }
        }
    }
}

impl JsonSchema for Texts {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Texts".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
    }
}

/// Jump hosts.
#[derive(Debug, Clone, Default)]
pub(super) struct Jump(pub(super) Vec<ssh::JumpHost>);

impl Read for Jump {
    fn read(node: &At<Node>, problems: &mut Vec<Problem>) -> Option<Self> {
        let written = Texts::read(node, problems)?.0;
        let mut jumps = Vec::new();
        for text in &written {
            match ssh::JumpHost::parse_list(&text.value) {
                Some(list) if !list.is_empty() || written.len() == 1 => jumps.extend(list),
                _ => {
                    let message = format!("{} is not a jump host", quoted(&text.value));
                    let help = "write `[user@]host[:port]`, several as a list or with commas between, or `none`";
                    problems.push(Problem::new(message, text.span.clone()).label("here").help(help));
                }
            }
        }
        Some(Self(jumps))
    }
}

impl JsonSchema for Jump {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Jump".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Texts::json_schema(generator)
    }
}

/// etcd's options by flag name, with their values as written.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings(pub(super) Vec<(At<String>, At<String>)>);

impl Read for Settings {
    const MAY_BE_EMPTY: bool = true;

    fn read(node: &At<Node>, problems: &mut Vec<Problem>) -> Option<Self> {
        let entries = match &node.value {
            Node::Map(entries) => unique(entries, problems),
            other @ (Node::Null | Node::Scalar(_) | Node::List(_)) => {
                let message = format!("expected options and their values, found {}", other.describe());
                return refuse(node, message, "one line each, for example `heartbeat-interval: 100`", problems);
            }
        };
        let mut settings = Vec::new();
        for (name, value) in entries {
            match &value.value {
                Node::Scalar(text) => settings.push((name.clone(), At::new(text.clone(), value.span.clone()))),
                Node::Null => problems.push(
                    Problem::new(format!("option {} has no value", quoted(&name.value)), name.span.clone())
                        .label("nothing after this")
                        .help("give it a value, or leave the option out to have etcd's default"),
                ),
                other @ (Node::List(_) | Node::Map(_)) => {
                    let message = format!("option {} wants one value, found {}", quoted(&name.value), other.describe());
                    let problem = Problem::new(message, value.span.clone()).label("here");
                    problems.push(problem.help("where etcd takes several, write them as etcd does: `a,b`"));
                }
            }
        }
        Some(Self(settings))
    }
}

impl JsonSchema for Settings {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Settings".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": { "type": ["string", "number", "boolean"] } })
    }
}

/// The list of hosts.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// Those that could be read.
    pub(super) hosts: Vec<At<Host>>,
    /// Whether there is nothing in the list.
    pub(super) is_empty: bool,
}

impl Read for Hosts {
    const MAY_BE_EMPTY: bool = true;

    fn read(node: &At<Node>, problems: &mut Vec<Problem>) -> Option<Self> {
        match &node.value {
            Node::List(items) => Some(Self {
                hosts: items
                    .iter()
                    .filter_map(|item| Some(At::new(Host::read(item, problems)?, item.span.clone())))
                    .collect(),
                is_empty: items.is_empty(),
            }),
            other @ (Node::Null | Node::Scalar(_) | Node::Map(_)) => {
                let message = format!("expected a list of hosts, found {}", other.describe());
                refuse(node, message, "one entry each: `- { name: node01, address: 10.0.0.1 }`", problems)
            }
        }
    }
}

impl JsonSchema for Hosts {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Hosts".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "minItems": 1, "items": generator.subschema_for::<Host>() })
    }
}

/// Defines a type whose values are a few fixed words.
macro_rules! words {
    ($(#[$about:meta])* $name:ident($type:ty), $what:literal { $($word:literal => $value:expr,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy)]
        pub(super) struct $name(pub(super) $type);

        impl Read for $name {
            fn read(node: &At<Node>, problems: &mut Vec<Problem>) -> Option<Self> {
                const WORDS: &[&str] = &[$($word),*];
                let text = scalar(node, $what, problems)?;
                match text {
                    $($word => return Some(Self($value)),)*
                    _ => {}
                }
                let problem = Problem::new(format!("{} is not {}", quoted(text), $what), node.span.clone());
                problems.push(match nearest(text, WORDS.iter().copied()) {
                    Some(word) => problem.label(format!("did you mean `{word}`?")),
                    None => problem.label("here").help(format!("one of {}", WORDS.join(", "))),
                });
                None
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "enum": [$($word),*] })
            }
        }
    };
}

words! {
    /// The kind of a private key.
    KeyKind(pki::KeyAlgorithm), "a kind of key" {
        "ecdsa-p256" => pki::KeyAlgorithm::EcdsaP256,
        "rsa-2048" => pki::KeyAlgorithm::Rsa2048,
        "rsa-3072" => pki::KeyAlgorithm::Rsa3072,
        "rsa-4096" => pki::KeyAlgorithm::Rsa4096,
    }
}

words! {
    /// What to do about an unknown host key.
    Checking(ssh::HostKeyChecking), "a way to check host keys" {
        "strict" => ssh::HostKeyChecking::Strict,
        "accept-new" => ssh::HostKeyChecking::AcceptNew,
        "off" => ssh::HostKeyChecking::Off,
    }
}

words! {
    /// How metrics are served; whether by TLS.
    Scheme(bool), "a way to serve metrics" {
        "https" => true,
        "http" => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, want) in [
            ("10s", Some(10_000)),
            ("500ms", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("30d", Some(2_592_000_000)),
            ("87600h", Some(315_360_000_000)),
            ("", None),
            ("0s", None),
            ("10", None),
            ("s", None),
            ("-1s", None),
            ("1.5h", None),
            ("10 s", None),
            ("10S", None),
            ("1w", None),
            ("99999999999999999999h", None),
            ("9999999999999999h", None),
            ("١s", None),
        ] {
            assert_eq!(duration(text), want.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn durations_are_shown_in_whole_units() {
        for (time, want) in [(90_000, "90s"), (120_000, "2m"), (7_200_000, "2h"), (1_500, "1500ms")] {
            assert_eq!(show_duration(Duration::from_millis(time)), want);
        }
    }
}
