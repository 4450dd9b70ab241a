//! The fault catalogue: what can go wrong, how it is brought about, and what has to come of it. Data only; who sets the
//! faults is `walk`, who tells of them `table`.

use serde::Deserialize;
use std::collections::BTreeSet;

/// The catalogue's files, in the order of its table.
const FILES: &[&str] =
    &["inputs", "ssh", "uploads", "controller", "bootstrap", "rolling", "membership", "certificates", "data"];

/// The faults of one kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    /// What its ids begin with.
    pub letter: char,
    pub title: String,
    pub rows: Vec<Row>,
}

/// A fault: it has cases, or tests of its own, or a reason why it has neither.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub id: String,
    pub fault: String,
    #[serde(default)]
    pub cases: Vec<Case>,
    /// Lab tests that hold it at length, `module::test`.
    #[serde(default)]
    pub tested_by: Vec<String>,
    pub not_covered: Option<String>,
}

/// One way to bring the fault about, and what has to come of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The row's, and a letter where the row has several.
    pub id: String,
    /// What was done, in words, where that is more than the row's fault.
    pub fault: Option<String>,
    pub scene: Scene,
    #[serde(default)]
    pub set: Vec<Step>,
    /// The words after `etcd-ha`; `-i lab.yaml` comes by itself where no other is named.
    pub command: String,
    pub exit: i32,
    /// What must be on the screen; the table shows the line with the first of these.
    pub says: Vec<String>,
    #[serde(default)]
    pub never_says: Vec<String>,
    /// How many seconds it may take.
    #[serde(default = "usual_limit")]
    pub within: u64,
    /// What the command leaves as it was: all of it, unless said otherwise.
    #[serde(default = "everything")]
    pub untouched: BTreeSet<Thing>,
    #[serde(default)]
    pub heal: Vec<Step>,
    /// What the operator runs afterwards, which has to succeed.
    pub then: Option<Then>,
}

/// What a case begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scene {
    /// Three hosts on which nothing was ever deployed.
    Fresh,
    /// A healthy cluster of three with some keys.
    Cluster,
}

/// Something that is done to the hosts or to the operator's folder.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A shell script as root on one host, past ssh and network.
    Node01(String),
    Node02(String),
    Node03(String),
    /// The same on all three.
    All(String),
    /// A verb of `tests/lab/lab`: `cut node03`.
    Lab(String),
    /// A shell script in the operator's folder.
    Here(String),
    /// Words in `lab.yaml` that others take the place of.
    Inventory(Edit),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    pub from: String,
    pub to: String,
}

/// What is compared between before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thing {
    /// Every file on every host: digest in etcd's and systemd's folders, else size; owner, mode, time of change.
    Files,
    /// The process of every host's etcd.
    Pids,
    /// The operator's PKI folder.
    Pki,
    /// The operator's inventory and known_hosts.
    Desk,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Then {
    pub command: String,
    #[serde(default)]
    pub says: Vec<String>,
    /// The hosts whose etcd it may start or restart.
    #[serde(default)]
    pub restarts: BTreeSet<String>,
}

const EVERYTHING: [Thing; 4] = [Thing::Files, Thing::Pids, Thing::Pki, Thing::Desk];

fn everything() -> BTreeSet<Thing> {
    EVERYTHING.into()
}

fn usual_limit() -> u64 {
    20
}

/// The whole catalogue; what is not well formed ends the test that asks.
pub fn catalogue() -> Vec<Kind> {
    let parse = |name: &&str| -> Kind {
        let path = format!("{}/tests/lab/faults/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let kinds: Vec<Kind> = FILES.iter().map(parse).collect();
    let mut ids = BTreeSet::new();
    for (kind, row) in kinds.iter().flat_map(|kind| kind.rows.iter().map(move |row| (kind, row))) {
        assert!(row.id.starts_with(kind.letter) && ids.insert(&row.id), "{}: twice, or of another kind", row.id);
        let held = !row.cases.is_empty() || !row.tested_by.is_empty();
        assert!(held != row.not_covered.is_some(), "{}: held, or a reason why not: one of them", row.id);
        for case in &row.cases {
            let own = case.id.starts_with(&row.id) && (case.id == row.id || ids.insert(&case.id));
            assert!(own && !case.says.is_empty(), "{}: not the row's, twice, or without words to expect", case.id);
        }
    }
    kinds
}

impl Row {
    /// What a case is called in the table.
    pub fn fault_of<'a>(&'a self, case: &'a Case) -> &'a str {
        case.fault.as_deref().unwrap_or(&self.fault)
    }
}

impl Case {
    /// What it leaves as it was, in the table's words.
    pub fn left(&self) -> &'static str {
        let has = |thing| self.untouched.contains(&thing);
        match (has(Thing::Files), has(Thing::Pids)) {
            (true, true) => "files, processes",
            (false, true) => "processes",
            (true, false) => "files",
            (false, false) => "",
        }
    }
}
