//! The file as a tree of values with their places, before anything is made of them.
//!
//! Reading into a tree first, and into typed keys afterwards, is what lets every problem of a file
//! be reported at once: a typed deserializer stops at the first. It also keeps each plain scalar as
//! it was written, so that `version: 3.10` does not become the number 3.1.

use super::problem::{Problem, quoted};
use crate::yaml;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{AliasLimits, DuplicateKeyPolicy};
use serde_saphyr::{Location, Spanned};
use std::fmt;
use std::ops::Range;

/// A value and the bytes of the file that it was written in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

impl<T> At<T> {
    pub(super) fn new(value: T, span: Range<usize>) -> Self {
        Self { value, span }
    }
}

/// A value as written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// Nothing, as in `key:`.
    Null,
    /// One word, number or text, exactly as it was written (without its quotes).
    Scalar(String),
    /// A list.
    List(Vec<At<Node>>),
    /// A mapping; keys that occur twice are kept for the caller to complain about.
    Map(Vec<(At<String>, At<Node>)>),
}

impl Node {
    /// What it is, for an error message.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Scalar(text) => quoted(text),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a mapping".to_owned(),
        }
    }
}

/// Reads one YAML document. What the parser refuses is the only problem then, since nothing after it can be trusted.
pub(super) fn read(text: &str) -> Result<At<Node>, Problem> {
    // Far above any inventory (thousands of hosts), far below what would hurt: an alias bomb ends here.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 16,
            max_events: 200_000,
            max_nodes: 100_000,
            max_aliases: 10_000,
            max_anchors: 1_000,
            max_merge_keys: 5_000,
            enforce_alias_anchor_ratio: false,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        alias_limits: alias_limits(),
        strict_booleans: true,
        with_snippet: false,
    };
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(text, options) {
        Ok(raw) => Ok(resolve(raw, text)),
        Err(error) => {
            let place = error.location().map_or(0..0, |location| error_span(&location, text));
            let Some(refusal) = yaml::refusal(&error, text) else {
                return Err(Problem::new(message(&error), place).label("here"));
            };
            let place = refusal.at.map_or(place, |at| at..at + 1);
            Err(Problem::new(format!("not valid YAML: {}", refusal.words), place).label("here"))
        }
    }
}

fn alias_limits() -> AliasLimits {
    let mut limits = AliasLimits::default();
    limits.max_total_replayed_events = 100_000;
    limits.max_replay_stack_depth = 16;
    limits
}

/// The parser's words without the place, which the report shows in its own way.
fn message(error: &serde_saphyr::Error) -> String {
    let text = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    let first = text.lines().next().unwrap_or_default();
    let plain = first.split(" at line ").next().unwrap_or(first);
    format!("not valid YAML: {}", plain.trim_end_matches(['.', ':']))
}

/// A value as the deserializer hands it over.
enum Raw {
    Null,
    Text(String),
    /// A plain scalar that YAML takes for a boolean or a number; its own spelling is still in the file.
    Plain(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

fn resolve(raw: Spanned<Raw>, text: &str) -> At<Node> {
    let place = span(&raw.referenced, text);
    let node = match raw.value {
        Raw::Null => Node::Null,
        Raw::Text(value) => Node::Scalar(value),
        Raw::Plain(value) => match text.get(span(&raw.defined, text)) {
            Some(written) if !written.is_empty() => Node::Scalar(written.to_owned()),
            _ => Node::Scalar(value),
        },
        Raw::List(items) => Node::List(items.into_iter().map(|item| resolve(item, text)).collect()),
        Raw::Map(entries) => Node::Map(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let key_place = span(&key.referenced, text);
                    (At::new(key.value, key_place), resolve(value, text))
                })
                .collect(),
        ),
    };
    At::new(node, place)
}

/// The bytes of a place, kept within the text whatever the parser says.
fn span(location: &Location, text: &str) -> Range<usize> {
    let place = location.span();
    let offset = place.byte_offset().and_then(|at| usize::try_from(at).ok());
    let length = place.byte_len().and_then(|length| usize::try_from(length).ok());
    let start = floor(offset.unwrap_or_default(), text);
    let end = floor(start.saturating_add(length.unwrap_or_default()), text);
    start..end
}

/// The place of an error; what the scanner refuses has a line and a column only.
fn error_span(location: &Location, text: &str) -> Range<usize> {
    if location.span().byte_offset().is_some_and(|at| at > 0) {
        return span(location, text);
    }
    let line = usize::try_from(location.line()).unwrap_or(1).saturating_sub(1);
    let column = usize::try_from(location.column()).unwrap_or(1).saturating_sub(1);
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let within: usize = text[start..].chars().take_while(|c| *c != '\n').take(column).map(char::len_utf8).sum();
    start + within..start + within
}

/// The character boundary at or before `at`.
fn floor(at: usize, text: &str) -> usize {
    text.floor_char_boundary(at.min(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(node: &At<Node>, text: &str) -> String {
        let place = &text[node.span.clone()];
        match &node.value {
            Node::Null => format!("null<{place}>"),
            Node::Scalar(value) => format!("{value}<{place}>"),
            Node::List(items) => {
                let items: Vec<String> = items.iter().map(|item| show(item, text)).collect();
                format!("[{}]", items.join(" "))
            }
            Node::Map(entries) => {
                let entries: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| format!("{}<{}>={}", key.value, &text[key.span.clone()], show(value, text)))
                    .collect();
                format!("{{{}}}", entries.join(" "))
            }
        }
    }

    #[test]
    fn keeps_scalars_as_written_and_knows_their_places() {
        for (text, want) in [
            ("a: 3.10", "{a<a>=3.10<3.10>}"),
            ("a: 3.5.16", "{a<a>=3.5.16<3.5.16>}"),
            ("a: 'x y'", "{a<a>=x y<'x y'>}"),
            ("a: 0x1F", "{a<a>=0x1F<0x1F>}"),
            ("a: 0755", "{a<a>=0755<0755>}"),
            ("a: 99999999999999999999", "{a<a>=99999999999999999999<99999999999999999999>}"),
            ("a: off", "{a<a>=off<off>}"),
            ("a: true", "{a<a>=true<true>}"),
            ("a:\nb: ~", "{a<a>=null<> b<b>=null<~>}"),
            ("ünï: ö\nb: 1", "{ünï<ünï>=ö<ö> b<b>=1<1>}"),
            ("- a\n- 2", "[a<a> 2<2>]"),
            ("a: 1\na: 2", "{a<a>=1<1> a<a>=2<2>}"),
            ("1: 2", "{1<1>=2<2>}"),
            ("a: &x 3.10\nb: *x", "{a<a>=3.10<3.10> b<b>=3.10<*x>}"),
            ("a: &x {u: 1}\nb: {<<: *x, v: 2}", "{a<a>={u<u>=1<1>} b<b>={v<v>=2<2> u<*x>=1<*x>}}"),
            ("a: !!str 5", "{a<a>=5<5>}"),
        ] {
            match read(text) {
                Ok(node) => assert_eq!(show(&node, text), want, "{text}"),
                Err(problem) => panic!("{text}: {problem:?}"),
            }
        }
    }
}
