//! What `etcd-ha help TOPIC` says, made of the lists that the program itself goes by.

use crate::error::ExitStatus;
use crate::inventory::json_schema;
use crate::report::{pad, width, wrap};
use crate::tasks::{ControllerTaskKind, HostTaskKind, VARIABLES};
use serde_json::Value;
use std::collections::BTreeSet;

/// The topics.
pub(super) const NAMES: [&str; 4] = ["inventory", "playbook", "exit-codes", "environment"];

/// Variables of the environment that are read, and what for.
const ENVIRONMENT: [(&str, &str); 13] = [
    ("ETCD_HA_INVENTORY", "The inventory where no `-i` is given."),
    ("ETCD_HA_RELEASE", "Where the etcd binaries come from, as `--release` says it."),
    ("NO_COLOR", "Set and not empty: no colours, and plain lines instead of bars (https://no-color.org)."),
    ("TERM", "`dumb` or unset: the same."),
    ("LC_ALL, LC_CTYPE, LANG", "The first that is set decides whether signs beyond ASCII are shown."),
    ("HOME", "`~` in the inventory, OpenSSH's files in ~/.ssh, and the default of the two below."),
    ("XDG_STATE_HOME", "Run logs and snapshots go below etcd-ha/ in it. Default: ~/.local/state."),
    ("XDG_CACHE_HOME", "Release archives are kept below etcd-ha/ in it. Default: ~/.cache."),
    ("SSH_AUTH_SOCK", "The agent's socket; ssh_config's IdentityAgent may name another variable."),
    ("USER, LOGNAME", "Whom SSH logs in as where neither inventory nor ssh_config says."),
    ("PATH", "Where `ssh` is found, which is asked what ssh_config says."),
    ("HTTPS_PROXY, HTTP_PROXY, ALL_PROXY", "Proxies for fetching releases; names in lower case come first."),
    ("NO_PROXY", "Hosts that are reached without a proxy, separated by commas."),
];

/// The text of a topic.
pub(super) fn text(topic: &str, columns: usize) -> Option<String> {
    match topic {
        "inventory" => Some(inventory(columns)),
        "playbook" => Some(playbook(columns)),
        "exit-codes" => Some(exit_codes(columns)),
        "environment" => {
            let rows: Vec<_> = ENVIRONMENT.map(|(name, about)| (name.to_owned(), about.to_owned())).into();
            Some(format!("Variables of the environment that etcd-ha reads:\n\n{}", listed(&rows, columns)))
        }
        _ => None,
    }
}

/// The list below the help text of the whole program.
pub(super) fn exit_codes_in_short() -> String {
    let lines = ExitStatus::ALL.map(|status| format!("\n  {:<3}  {}", status.code(), status.meaning()));
    format!("Exit codes:{}", lines.concat())
}

fn exit_codes(columns: usize) -> String {
    let row = |status: ExitStatus| {
        let next = status.next_step().map(|next| format!(": {next}")).unwrap_or_default();
        (status.code().to_string(), format!("{}{next}", status.meaning()))
    };
    let head = "A run's exit code says how it ended; of several failures the gravest counts.";
    format!("{}\n\n{}", wrapped(head, columns), listed(&ExitStatus::ALL.map(row), columns))
}

fn playbook(columns: usize) -> String {
    let rows = |about: &[(&str, &str)]| -> Vec<(String, String)> {
        about.iter().map(|(name, about)| ((*name).to_owned(), about.trim().to_owned())).collect()
    };
    let parts = [
        (
            "A playbook is a YAML file with a `name` and a list of `plays`. `etcd-ha playbook deploy` prints the one that \
             `etcd-ha deploy` runs, to be copied; `etcd-ha deploy --playbook FILE` takes it in that one's place, \
             `etcd-ha run FILE` runs one beside it, and `--dry-run` says what either would do.",
            Vec::new(),
        ),
        (
            "A play begins only if no host failed in the one before. Its keys:",
            rows(&[
                ("name", "What it is for, a sentence."),
                ("hosts", "Names of the inventory's hosts; without it all; `controller` for this machine."),
                ("mode", "How it goes over its hosts; `parallel` without it."),
                ("tasks", "What is done, in order: a task's key, or `key: { parameters }` with a `title` beside it."),
                ("before_each", "Tasks before a member's turn in a rolling play, if it is touched at all."),
                ("after_each", "Tasks after it, when the member is healthy again."),
            ]),
        ),
        (
            "Modes:",
            rows(&[
                ("parallel", "All hosts at once, `--forks` at most; every host finishes."),
                ("sequence", "One host after the other; the first failure ends it."),
                ("rolling", "One member after the other, the leader last, each only if the others can spare it."),
            ]),
        ),
        ("Tasks on hosts:", rows(HostTaskKind::ABOUT)),
        ("Tasks on the controller:", rows(ControllerTaskKind::ABOUT)),
    ];
    let mut text = String::new();
    for (head, rows) in parts {
        text += &format!("{}\n\n", wrapped(head, columns));
        if !rows.is_empty() {
            text += &format!("{}\n", listed(&rows, columns));
        }
    }
    let tail = format!("Variables in parameters, such as {{{{ cluster }}}}: {}.", VARIABLES.join(", "));
    text + &format!("{}\n\nThe subcommand's own flags: etcd-ha playbook --help\n", wrapped(&tail, columns))
}

fn inventory(columns: usize) -> String {
    // Our own schema is JSON.
    let schema: Value = serde_json::from_str(&json_schema()).unwrap_or_default();
    let mut rows = Vec::new();
    keys(&schema, &schema, 0, &mut BTreeSet::new(), &mut rows);
    let head = "An inventory is a YAML file. `etcd-ha init` writes one to begin with, `etcd-ha schema` prints these keys \
                for editors. A key that is not here is refused; those with a star have to be there:";
    format!("{}\n\n{}", wrapped(head, columns), listed(&rows, columns))
}

/// The keys of a mapping, those of mappings within it indented below; of what was `shown` before only the name.
fn keys(schema: &Value, root: &Value, depth: usize, shown: &mut BTreeSet<String>, rows: &mut Vec<(String, String)>) {
    let required = |key: &str| {
        let required = schema.get("required").and_then(Value::as_array);
        required.is_some_and(|required| required.iter().any(|name| name == key))
    };
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
    for (key, value) in properties {
        let star = if required(key) { "*" } else { "" };
        let about = value.get("description").and_then(Value::as_str).unwrap_or_default();
        let mut about = about.to_owned();
        if let Some(words) = value.get("enum").and_then(Value::as_array) {
            let words = words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
            about += &format!(" One of {words}.");
        }
        rows.push((format!("{}{key}{star}", "  ".repeat(depth)), about));
        if let Some(inner) = referred(value)
            && let Some(schema) = root.get("$defs").and_then(|defs| defs.get(inner))
            && shown.insert(inner.to_owned())
        {
            keys(schema, root, depth + 1, shown, rows);
        }
    }
}

/// The definition that a key's value, or each of its items, has to be like.
fn referred(value: &Value) -> Option<&str> {
    let direct = value.get("$ref").and_then(Value::as_str);
    let any = || value.get("anyOf")?.as_array()?.iter().find_map(|one| one.get("$ref")?.as_str());
    let items = || value.get("items")?.get("$ref")?.as_str();
    direct.or_else(any).or_else(items)?.strip_prefix("#/$defs/")
}

/// Rows of a name and what it means, the latter wrapped beside it.
fn listed(rows: &[(String, String)], columns: usize) -> String {
    let widest = rows.iter().map(|(name, _)| width(name)).max().unwrap_or_default();
    // Beside a long name there is no room for words: they begin below it.
    let beside = widest.min(columns / 3);
    let mut text = String::new();
    for (name, about) in rows {
        let lines = wrap(about, columns.saturating_sub(beside + 4));
        let mut lines = lines.iter();
        let first = if width(name) <= beside { lines.next().map(String::as_str).unwrap_or_default() } else { "" };
        text += format!("  {}  {first}", pad(name, beside)).trim_end();
        text.push('\n');
        for line in lines {
            text += &format!("{}{line}\n", " ".repeat(beside + 4));
        }
    }
    text
}

fn wrapped(text: &str, columns: usize) -> String {
    wrap(text, columns).join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_has_its_text_within_the_columns() {
        for topic in NAMES {
            for columns in [40, 80, 100] {
                let text = text(topic, columns).unwrap();
                let long = text.lines().find(|line| width(line) > columns && !line.contains("flags:"));
                // Words that are longer than their room are left whole.
                assert!(columns == 40 || long.is_none(), "{topic}: {long:?}");
                assert!(text.lines().count() > 8, "{text}");
            }
        }
        assert_eq!(text("deploy", 80), None);
    }

    #[test]
    fn lists_are_wrapped_beside_their_names() {
        let rows = [("a".to_owned(), "one two three".to_owned()), ("much longer".to_owned(), "four".to_owned())];
        assert_eq!(listed(&rows, 18), "  a       one two\n          three\n  much longer\n          four\n");
    }

    #[test]
    fn every_key_of_the_inventory_is_explained() {
        let text = inventory(100);
        for line in ["  cluster*", "    client_port", "      country", "  hosts*", "    address*"] {
            assert!(text.lines().any(|shown| shown.starts_with(line)), "{line}: {text}");
        }
        let mut rows = Vec::new();
        let schema: Value = serde_json::from_str(&json_schema()).unwrap();
        keys(&schema, &schema, 0, &mut BTreeSet::new(), &mut rows);
        for (key, about) in &rows {
            assert!(!about.trim().is_empty(), "{key}");
        }
    }
}
