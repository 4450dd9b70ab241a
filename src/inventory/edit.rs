//! Writes another version into an inventory's text and leaves everything else as it is, comments and
//! layout included.

use super::tree::{self, At, Node};
use semver::Version;
use std::ops::Range;

/// The text with `version` as its `etcd.version`; none if there is no place for it that leaves the rest
/// as it means, since the text gets its keys by aliases, for example.
#[must_use]
pub fn with_version(text: &str, version: &Version) -> Option<String> {
    let (mark, text) = match text.strip_prefix('\u{feff}') {
        Some(rest) => ("\u{feff}", rest),
        None => ("", text),
    };
    let root = tree::read(text).ok()?;
    let (span, replacement) = edit(text, &root, version)?;
    let mut new = text.to_owned();
    new.replace_range(span, &replacement);
    // Whatever YAML can do: what was written is read back, and nothing else may have changed.
    let written = tree::read(&new).ok()?;
    let there = version_of(&written).is_some_and(|there| *there == Node::Scalar(version.to_string()));
    (there && without_version(&written) == without_version(&root)).then(|| format!("{mark}{new}"))
}

/// What to put where.
fn edit(text: &str, root: &At<Node>, version: &Version) -> Option<(Range<usize>, String)> {
    let Node::Map(sections) = &root.value else { return None };
    let Some((key, etcd)) = entry(sections, "etcd") else {
        return Some(first_in(text, root, sections, &format!("etcd: {{ version: {version} }}"), true));
    };
    let Node::Map(settings) = &etcd.value else {
        // `etcd:` with nothing behind it.
        let after = key.span.end + text.get(key.span.end..)?.find(':')? + 1;
        let span = if etcd.span.is_empty() { after..after } else { etcd.span.clone() };
        let space = if span.is_empty() { " " } else { "" };
        return (etcd.value == Node::Null).then(|| (span, format!("{space}{{ version: {version} }}")));
    };
    let Some((_, old)) = entry(settings, "version") else {
        return Some(first_in(text, etcd, settings, &format!("version: {version}"), false));
    };
    // In its quotes, if it has any.
    let quote = text.get(old.span.clone())?.chars().next().filter(|c| ['"', '\''].contains(c));
    let quote = quote.map(String::from).unwrap_or_default();
    Some((old.span.clone(), format!("{quote}{version}{quote}")))
}

/// A new entry in a mapping: on a line of its own before the first key, or after it where the first key
/// is better left the first; behind the brace, if it is written in one.
fn first_in(
    text: &str,
    mapping: &At<Node>,
    entries: &[(At<String>, At<Node>)],
    new: &str,
    after_first: bool,
) -> (Range<usize>, String) {
    let Some((first, _)) = entries.first() else {
        // `{}`
        let at = mapping.span.start + 1;
        return (at..at, format!(" {new} "));
    };
    let line = text[..first.span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let indent = &text[line..first.span.start];
    if !indent.chars().all(|c| c == ' ') {
        return (first.span.start..first.span.start, format!("{new}, "));
    }
    let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
    match entries.get(1).filter(|_| after_first) {
        // Before the second one, whatever the first is.
        Some((second, _)) => {
            let at = second.span.start - indent.len();
            (at..at, format!("{indent}{new}{end}"))
        }
        None => (line..line, format!("{indent}{new}{end}")),
    }
}

fn entry<'a>(entries: &'a [(At<String>, At<Node>)], name: &str) -> Option<&'a (At<String>, At<Node>)> {
    entries.iter().find(|(key, _)| key.value == name)
}

fn version_of(root: &At<Node>) -> Option<&Node> {
    let Node::Map(sections) = &root.value else { return None };
    let Node::Map(settings) = &entry(sections, "etcd")?.1.value else { return None };
    Some(&entry(settings, "version")?.1.value)
}

/// What a text says beside the version, without places; an `etcd` that says nothing else is none.
fn without_version(root: &At<Node>) -> String {
    let Node::Map(sections) = &root.value else { return String::new() };
    let mut said = String::new();
    for (key, value) in sections {
        match &value.value {
            Node::Map(settings) if key.value == "etcd" => {
                let others: Vec<_> = settings.iter().filter(|(key, _)| key.value != "version").cloned().collect();
                if !others.is_empty() {
                    said += &format!("etcd: {}\n", plain(&Node::Map(others)));
                }
            }
            Node::Null if key.value == "etcd" => {}
            other => said += &format!("{}: {}\n", key.value, plain(other)),
        }
    }
    said
}

/// A value without its places.
fn plain(node: &Node) -> String {
    match node {
        Node::Null => "null".to_owned(),
        Node::Scalar(text) => format!("{text:?}"),
        Node::List(items) => items.iter().map(|item| format!("- {}\n", plain(&item.value))).collect(),
        Node::Map(entries) => {
            entries.iter().map(|(key, value)| format!("{{{:?}: {}}}", key.value, plain(&value.value))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Option<String> {
        with_version(text, &Version::new(3, 6, 14))
    }

    #[test]
    fn the_version_is_replaced_where_it_stands() {
        for (old, new) in [
            ("3.5.16", "3.6.14"),
            ("'3.5.16'", "'3.6.14'"),
            ("\"3.5.16\"", "\"3.6.14\""),
            ("3.5.16   # for now", "3.6.14   # for now"),
            ("&v 3.5.16", "&v 3.6.14"),
        ] {
            let text =
                |version| format!("# ours\ncluster: ü\netcd:\n  version: {version}\n  client_port: 2379\nhosts: []\n");
            assert_eq!(written(&text(old)), Some(text(new)));
            let text = |version| format!("\u{feff}etcd: {{ client_port: 1, version: {version}\n }}\r\nhosts: []");
            assert_eq!(written(&text(old)), Some(text(new)));
        }
    }

    #[test]
    fn a_version_that_is_not_there_gets_a_place() {
        for (old, new) in [
            (
                "# ours\ncluster: prod\n\n# theirs\nhosts:\n  - { name: a, address: b }\n",
                "# ours\ncluster: prod\n\n# theirs\netcd: { version: 3.6.14 }\nhosts:\n  - { name: a, address: b }\n",
            ),
            ("cluster: prod\r\nhosts: []\r\n", "cluster: prod\r\netcd: { version: 3.6.14 }\r\nhosts: []\r\n"),
            ("{cluster: prod, hosts: []}", "{etcd: { version: 3.6.14 }, cluster: prod, hosts: []}"),
            ("etcd:\n  # how\n  client_port: 1\n", "etcd:\n  # how\n  version: 3.6.14\n  client_port: 1\n"),
            ("etcd:\n    settings:\n        a: b\n", "etcd:\n    version: 3.6.14\n    settings:\n        a: b\n"),
            ("etcd: { client_port: 1 }\n", "etcd: { version: 3.6.14, client_port: 1 }\n"),
            ("etcd: {}\nhosts: []\n", "etcd: { version: 3.6.14 }\nhosts: []\n"),
            ("etcd:\nhosts: []\n", "etcd: { version: 3.6.14 }\nhosts: []\n"),
            ("etcd: ~  # nothing\nhosts: []\n", "etcd: { version: 3.6.14 }  # nothing\nhosts: []\n"),
            ("cluster: prod", "etcd: { version: 3.6.14 }\ncluster: prod"),
        ] {
            assert_eq!(written(old).as_deref(), Some(new), "{old}");
        }
    }

    #[test]
    fn what_cannot_be_written_in_is_left_alone() {
        for text in [
            "a: &e { version: 3.5.16 }\netcd: *e\n",
            "a: &e { version: 3.5.16 }\netcd: { <<: *e }\n",
            "etcd: { version: &v 3.5.16 }\nother: *v\n",
            "etcd: 5\n",
            "- a\n",
            "a: [\n",
        ] {
            assert_eq!(written(text), None, "{text}");
        }
    }

    #[test]
    fn every_example_takes_another_version_and_nothing_else() {
        for text in [
            include_str!("../../inventories/prod.yaml"),
            &super::super::starter("prod", &[("a".into(), "10.0.0.1".into())], &Version::new(3, 5, 16)),
        ] {
            let new = written(text).unwrap();
            let (old, new): (Vec<_>, Vec<_>) = (text.lines().collect(), new.lines().collect());
            let more: Vec<_> = new.iter().filter(|line| !old.contains(line)).collect();
            assert!(matches!(more[..], [line] if line.contains("3.6.14")), "{more:?}");
            assert!(new.len() - old.len() <= 1);
        }
    }
}
