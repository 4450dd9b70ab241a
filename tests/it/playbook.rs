//! Playbooks: what is refused and how that looks, the embedded ones, and what entries mean.

#![allow(clippy::panic, clippy::unwrap_used)]

use etcd_ha::error::{Error, ExitStatus, Explain as _};
use etcd_ha::playbook::{Hooks, Playbook, PlaybookError, Tasks, embedded, names};
use etcd_ha::tasks::{ControllerTaskKind, Mode, TaskKind};
use proptest::prelude::*;
use std::path::Path;

fn refused(text: &str) -> PlaybookError {
    match Playbook::parse("mine.yaml", text) {
        Err(error) => error,
        Ok(playbook) => panic!("accepted: {text:?} as {playbook:?}"),
    }
}

fn parsed(text: &str) -> Playbook {
    Playbook::parse("mine.yaml", text).unwrap_or_else(|error| panic!("{}", Error::from(error).render()))
}

/// A playbook with one play, of these lines.
fn play(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!("name: mine\nplays:\n  - name: A play\n{lines}")
}

/// A playbook with one task, of this entry.
fn entry(entry: &str) -> String {
    play(&format!("tasks:\n  - {entry}"))
}

#[test]
fn refusals() {
    let all = TaskKind::names().collect::<Vec<_>>().join(", ");
    let no_task = |name: &str| format!("there is no task `{name}`; there are: {all}");
    let variables = "cluster, version, host.name, host.address, paths.install, paths.config, paths.data, paths.bin";
    let hosts = "expected `all`, `controller`, the name of a host or a list of names, found";
    let text = |text: &str| text.to_owned();
    let mut wrong = Vec::new();
    for (written, line, column, want) in [
        (text(""), 1, 1, text("the playbook is empty")),
        (text("# all of it\n  # is comment\n\n"), 1, 1, text("the playbook is empty")),
        (text("name: mine\n"), 1, 1, text("key `plays` is missing")),
        (text("name: mine\nplays: []\n"), 1, 1, text("there are no plays")),
        (text("name: mine\nplays:\n"), 2, 6, text("expected a list")),
        (text("just words\n"), 1, 1, text("expected keys with values, as in `key: value`")),
        (text("- a list\n"), 1, 1, text("expected keys with values, as in `key: value`")),
        (
            text("name: mine\nplays:\n\t- name: a\n"),
            3,
            1,
            text("not valid YAML: a line is indented by a tab, and YAML knows spaces only"),
        ),
        (text("name: mine\nplays: [\n"), 2, 8, text("not valid YAML: unclosed bracket '['")),
        (text("name: mine\nplays: {}\n"), 2, 8, text("expected a list")),
        (text("name: mine\nname: again\nplays: []\n"), 2, 1, text("key `name` is given twice")),
        (text("name: mine\nplay: []\n"), 2, 1, text("there is no key `play` here; there are: name, plays")),
        (text("name: *other\nplays: []\n"), 1, 7, text("there is no anchor of this name before")),
        (
            play("tasks: [start]") + "---\nname: next\n",
            6,
            1,
            text("a playbook is one document, and here begins a second one"),
        ),
        (
            play("taks: [start]"),
            4,
            5,
            text("there is no key `taks` here; there are: name, hosts, mode, tasks, before, after"),
        ),
        (play("mode: rolling"), 4, 5, text("key `tasks` is missing")),
        (play("tasks: []"), 4, 12, text("play `A play` has no tasks")),
        (play("tasks: start"), 4, 12, text("expected a list")),
        (play("tasks: [start]\nmode: serial"), 5, 11, text("`serial` is none of parallel, sequence, rolling")),
        (play("tasks: [start]\nhosts: 7"), 5, 5, format!("{hosts} integer `7`")),
        (play("tasks: [start]\nhosts: { all: true }"), 5, 12, format!("{hosts} keys with values")),
        (play("tasks: [start]\nhosts: []"), 5, 12, text("there is no host in the list")),
        (play("tasks: [start]\nhosts: [node01, all]"), 5, 12, text("`all` stands alone, not in a list: `hosts: all`")),
        (
            play("tasks: [health]\nhosts: [controller]"),
            5,
            12,
            text("`controller` stands alone, not in a list: `hosts: controller`"),
        ),
        (play("tasks: [start]\nhosts: [node01, node01]"), 5, 12, text("host `node01` is given twice")),
        (
            play("hosts: controller\nmode: rolling\ntasks: [health]"),
            5,
            11,
            text("a play on the controller has no mode"),
        ),
        (
            play("tasks: [start, health]"),
            4,
            20,
            text("`health` runs on the controller; put it into a play with `hosts: controller`"),
        ),
        (
            play("hosts: controller\ntasks: [health, start]"),
            5,
            21,
            text("`start` runs on hosts; put it into a play with `hosts: all`"),
        ),
        (
            play("tasks: [start]\nbefore: [{ command: { argv: [drain] } }]"),
            5,
            13,
            text("`before` belongs into a play with `mode: rolling`"),
        ),
        (
            play("hosts: controller\ntasks: [health]\nafter: [preflight]"),
            6,
            12,
            text("`after` belongs into a play with `mode: rolling`"),
        ),
        (
            play("mode: rolling\ntasks: [start]\nafter: [health]"),
            6,
            13,
            text("`health` runs on the controller; put it into a play with `hosts: controller`"),
        ),
        (entry("command: { argv: [echo], on: moon }"), 5, 38, text("`moon` is none of host, controller")),
        (entry("strat"), 5, 9, text("there is no task `strat`; did you mean `start`?")),
        (entry("wait-healthy"), 5, 9, text("there is no task `wait-healthy`; did you mean `wait_healthy`?")),
        (entry("reboot_the_moon"), 5, 9, no_task("reboot_the_moon")),
        (entry("größer"), 5, 9, no_task("größer")),
        (entry("strat: {}"), 5, 9, text("there is no task `strat`; did you mean `start`?")),
        (entry("start: {}\n    restart: {}"), 5, 9, text("a second task `restart` in one entry")),
        (entry("start:\n    restart:"), 5, 9, text("a second task `restart` in one entry")),
        (entry("title: Only a title"), 5, 9, text("an entry without a task")),
        (entry("[start]"), 5, 9, text("expected the name of a task, alone or with its parameters, found a list")),
        (entry("7"), 5, 9, text("expected the name of a task, alone or with its parameters, found integer `7`")),
        (entry("start: { now: true }"), 5, 18, text("there is no key `now` here; there are: in_force")),
        (entry("restart: { alway: true }"), 5, 20, text("there is no key `alway` here; there are: always, in_force")),
        (entry("restart: { always: sure }"), 5, 28, text("expected `true` or `false`")),
        (entry("command: echo"), 5, 18, text("expected keys with values, as in `key: value`")),
        (entry("command: {}"), 5, 18, text("key `argv` is missing")),
        (entry("command"), 5, 9, text("key `argv` is missing")),
        (entry("command: { argv: echo }"), 5, 26, text("expected a list")),
        (entry("command: { argv: [] }"), 5, 26, text("there is no program in the list")),
        (entry("command: { argv: [echo, null] }"), 5, 33, text("a value is missing")),
        (entry("command: { argv: [echo], unless: [] }"), 5, 42, text("there is no program in the list")),
        (
            entry("command: { argv: [echo, '{{ hots.name }}'] }"),
            5,
            33,
            format!("there is no variable `hots.name`; there are: {variables}"),
        ),
        (entry("command: { argv: [echo, '{{ host.name'] }"), 5, 33, text("`{{` without `}}` in `{{ host.name`")),
        (entry("copy: { src: a, dest: b, mode: rw }"), 5, 40, text("`rw` is no mode; write it in octal, as \"0644\"")),
        (
            entry("copy: { src: a, dest: b, owner: 'a b' }"),
            5,
            41,
            text("`a b` is no owner; write `user` or `user:group`"),
        ),
        (entry("copy: { src: a }"), 5, 17, text("key `dest` is missing")),
        (entry("systemd: { unit: a, state: up }"), 5, 36, text("`up` is none of started, stopped, restarted")),
        (entry("systemd: { unit: a }"), 5, 20, text("key `state` is missing")),
        (entry("wait_for"), 5, 9, text("there is nothing to wait for; give `port`, `path` or both")),
        (entry("wait_for: {}"), 5, 19, text("there is nothing to wait for; give `port`, `path` or both")),
        (entry("wait_for: { port: 70000 }"), 5, 27, text("expected a number from 0 to 65535")),
    ] {
        let error = refused(&written);
        assert_eq!(error.exit(), ExitStatus::Usage);
        let want = format!("mine.yaml:{line}:{column}: {want}");
        if error.to_string() != want {
            wrong.push(format!("{written}\nexpected {want}\nfound    {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// A key that is there without a value was meant to get one.
#[test]
fn hosts_and_mode_are_not_left_without_a_value() {
    for (lines, want) in [
        ("hosts:\ntasks: [start]", "mine.yaml:4:"),
        ("mode:\ntasks: [start]", "mine.yaml:4:"),
        ("hosts: null\ntasks: [start]", "mine.yaml:4:"),
    ] {
        let error = refused(&play(lines)).to_string();
        assert!(error.starts_with(want) && error.contains("expected") && !error.contains('~'), "{lines}: {error}");
    }
}

#[test]
fn a_refusal_shows_the_line() {
    let error = Error::from(refused(&play("mode: rolling\ntasks: [start, strat]")));
    assert_eq!(
        error.render(),
        "error: there is no task `strat`; did you mean `start`?
 --> mine.yaml:5:20
  |
5 |     tasks: [start, strat]
  |                    ^
"
    );
    let error = Error::from(refused("name: \u{1b}]0;title\u{7}\nplayz: []\n"));
    assert!(!error.render().contains(['\u{1b}', '\u{7}']), "{:?}", error.render());
}

#[test]
fn files_that_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str| match Playbook::load(&folder.path().join(name)) {
        Err(error) => Error::from(error),
        Ok(playbook) => panic!("{playbook:?}"),
    };
    let at = |name: &str| folder.path().join(name).display().to_string();
    let missing = load("missing.yaml");
    assert_eq!(missing.exit(), ExitStatus::Usage);
    assert_eq!(
        missing.render(),
        format!(
            "error: cannot read playbook `{}`\n  caused by: No such file or directory (os error 2)\n\n\
             hint: `etcd-ha playbook deploy` prints the one that `etcd-ha deploy` runs, to begin with\n",
            at("missing.yaml")
        )
    );
    std::fs::write(folder.path().join("binary.yaml"), b"name: \xff\n").unwrap();
    assert_eq!(
        load("binary.yaml").line(),
        format!("playbook `{}` is not UTF-8 text (byte 6, line 1)", at("binary.yaml"))
    );
    std::fs::write(folder.path().join("large.yaml"), "# ".repeat(600_000)).unwrap();
    assert_eq!(load("large.yaml").line(), format!("playbook `{}` is larger than 1 MiB", at("large.yaml")));
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("endless.yaml")).unwrap();
    assert_eq!(load("endless.yaml").line(), format!("playbook `{}` is larger than 1 MiB", at("endless.yaml")));
}

#[test]
fn every_playbook_is_embedded_and_sound() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert_eq!(path.extension().unwrap(), "yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(embedded(&name), Some(text.as_str()), "{name} is not embedded as it is");
        assert_eq!(parsed(&text).name, name);
        files.push(name);
    }
    files.sort();
    let mut embedded: Vec<&str> = names().collect();
    embedded.sort_unstable();
    assert_eq!(embedded, files);
    assert_eq!(etcd_ha::playbook::embedded("nope"), None);
}

/// What `deploy` does, as the list that it is: a change here is a change of the procedure.
#[test]
fn the_procedure_of_a_deploy() {
    let plays: Vec<String> = parsed(embedded("deploy").unwrap())
        .plays
        .into_iter()
        .map(|play| match play.tasks {
            Tasks::Controller(tasks) => {
                let names: Vec<&str> = tasks.iter().map(|task| task.task.name()).collect();
                format!("controller: {}", names.join(" "))
            }
            Tasks::Hosts { hosts, mode, tasks, hooks } => {
                assert_eq!((hosts, hooks), (None, Hooks::default()));
                let names: Vec<&str> = tasks.iter().map(|task| task.task.name()).collect();
                format!("{}: {}", mode.name(), names.join(" "))
            }
        })
        .collect();
    assert_eq!(
        plays,
        [
            "parallel: preflight",
            "controller: check_peers",
            "controller: fetch_release certificates",
            "controller: compare_members snapshot",
            "parallel: prepare_host stage_release stage_certificates stage_config",
            "parallel: activate",
            "sequence: start",
            "parallel: wait_healthy confirm",
            "parallel: record_cluster",
            "controller: downgrade",
            "rolling: hand_over_leadership activate restart wait_healthy confirm",
            "controller: health",
        ]
    );
}

#[test]
fn forms_of_hosts_and_mode() {
    let hosts = |lines: &str| match &parsed(&play(lines)).plays[0].tasks {
        Tasks::Hosts { hosts, mode, .. } => (hosts.clone(), *mode),
        Tasks::Controller(_) => panic!("{lines}"),
    };
    let named = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    for (lines, want) in [
        ("tasks: [start]", (None, Mode::Parallel)),
        ("hosts: all\ntasks: [start]", (None, Mode::Parallel)),
        ("hosts: node01\nmode: sequence\ntasks: [start]", (named(&["node01"]), Mode::Sequence)),
        ("hosts: [node02, node01]\nmode: rolling\ntasks: [start]", (named(&["node02", "node01"]), Mode::Rolling)),
        ("mode: parallel\nhosts:\n  - node01\ntasks: [start]", (named(&["node01"]), Mode::Parallel)),
    ] {
        assert_eq!(hosts(lines), want, "{lines}");
    }
    let controller = parsed(&play("hosts: controller\ntasks: [health]"));
    assert!(matches!(&controller.plays[0].tasks, Tasks::Controller(tasks) if tasks.len() == 1));
}

/// The first task of a playbook, and what to call it.
fn first(text: &str) -> (Option<String>, String) {
    match &parsed(text).plays[0].tasks {
        Tasks::Hosts { tasks, .. } => (tasks[0].title.clone(), format!("{:?}", tasks[0].task)),
        Tasks::Controller(tasks) => (tasks[0].title.clone(), format!("{:?}", tasks[0].task)),
    }
}

#[test]
fn every_task_that_needs_no_parameters_stands_alone() {
    let mut alone = 0;
    for name in TaskKind::names() {
        let hosts = if ControllerTaskKind::NAMES.contains(&name) { "hosts: controller\n" } else { "" };
        let written = |entry: &str| play(&format!("{hosts}tasks:\n  - {entry}"));
        if ["command", "copy", "systemd", "wait_for"].contains(&name) {
            assert!(Playbook::parse("mine.yaml", &written(name)).is_err(), "{name}");
            continue;
        }
        let bare = first(&written(name));
        for form in [format!("{name}:"), format!("{name}: {{}}"), format!("{name}: null")] {
            assert_eq!(first(&written(&form)), bare, "{form}");
        }
        let (title, task) = first(&written(&format!("title: In other words\n    {name}:")));
        assert_eq!((title.as_deref(), task), (Some("In other words"), bare.1));
        alone += 1;
    }
    assert!(alone > 10, "only {alone}");
}

#[test]
fn parameters_of_the_general_tasks() {
    for (written, want) in [
        (
            "command: { argv: [sleep, 5, true, 0x10, '{{ host.name }}'], creates: /tmp/x, unless: [test, -e, /x] }",
            r#"Command(Command { argv: [Template("sleep"), Template("5"), Template("true"), Template("0x10"), Template("{{ host.name }}")], on: Host, creates: Some(Template("/tmp/x")), unless: Some([Template("test"), Template("-e"), Template("/x")]) })"#,
        ),
        (
            "copy: { src: a, dest: b }",
            r#"Copy(Copy { src: Template("a"), dest: Template("b"), mode: "0644", owner: "root:root" })"#,
        ),
        (
            "copy: { src: a, dest: b, mode: 0600, owner: etcd }",
            r#"Copy(Copy { src: Template("a"), dest: Template("b"), mode: "0600", owner: "etcd" })"#,
        ),
        (
            "systemd: { unit: chrony.service, state: restarted, enabled: true }",
            r#"Systemd(Systemd { unit: Template("chrony.service"), state: Restarted, enabled: Some(true) })"#,
        ),
        ("wait_for: { port: 2379 }", "WaitFor(WaitFor { port: Some(2379), path: None })"),
        ("wait_for: { path: /x }", r#"WaitFor(WaitFor { port: None, path: Some(Template("/x")) })"#),
        ("restart: { always: true }", "Restart(Restart { always: true, in_force: false })"),
        (
            "hand_over_leadership: { always: true }",
            "HandOverLeadership(HandOverLeadership { always: true, in_force: false })",
        ),
    ] {
        assert_eq!(first(&entry(written)).1, want, "{written}");
    }
}

proptest! {
    /// Whatever is written: it is read or refused, with a place that is in the text.
    #[test]
    fn no_text_is_too_odd(text in "(name|plays|tasks|hosts|mode|start|[-:\\[\\]{}&*#'\" \\t\\n|>]|all|x){0,40}") {
        if let Err(PlaybookError::Wrong { line, column, .. }) = Playbook::parse("mine.yaml", &text) {
            prop_assert!(line >= 1 && column >= 1);
            prop_assert!(line <= text.lines().count() as u64 + 1, "line {line} of {text:?}");
        }
    }

    #[test]
    fn no_damage_is_too_odd(at in 0usize..2400, with in "\\PC{0,3}|[\\x00-\\x1f]") {
        let mut text = embedded("deploy").unwrap().to_owned();
        let at = at % text.len();
        if text.is_char_boundary(at) {
            text.insert_str(at, &with);
            if let Err(error) = Playbook::parse("mine.yaml", &text) {
                let shown = Error::from(error).render();
                prop_assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
            }
        }
    }
}
