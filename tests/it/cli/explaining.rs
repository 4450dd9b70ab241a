//! What explains: `help`, `man`, `prometheus`; and how much is told: `--verbose`, `--quiet`, `NO_COLOR`.

use super::{Desk, said, steady};
use std::process::{Command, Stdio};

#[test]
fn help_of_a_subcommand_is_its_own() {
    let desk = Desk::new();
    for words in ["", "deploy", "certs", "certs show", "help", "man"] {
        assert_eq!(desk.run(&format!("help {words}")), desk.run(&format!("{words} --help")), "{words}");
    }
}

#[test]
fn exit_codes_are_explained() {
    let want = "\
A run's exit code says how it ended; of several failures the gravest counts.

  0    done, or nothing to do
  1    a host or a task failed: mend what the error names and run the same command again, which goes
       on from there
  2    the command line, the inventory or the playbook is wrong: nothing was touched; correct what
       the error points at
  3    the cluster is not healthy: `etcd-ha health` says which member, and why
  4    refused, since it would cost quorum or data: the message says what was found and what has to
       be decided first
  5    another run is at work on this cluster: wait for it to end, then run the same command again
  6    a change did not come up and was taken back: the member runs what it ran before; its journal
       says what was wrong
  10   changes are pending (`plan --detailed-exitcode`): `etcd-ha deploy` makes them
  130  interrupted: run the same command again to go on
";
    assert_eq!(Desk::new().run("help exit-codes"), said(0, want, ""));
}

#[test]
fn topics_have_what_the_program_goes_by() {
    let desk = Desk::new();
    let told = |topic: &str| desk.run(&format!("help {topic}")).stdout;
    let playbook = told("playbook");
    for task in etcd_ha::tasks::TaskKind::names() {
        assert!(playbook.lines().any(|line| line.starts_with(&format!("  {task} "))), "{task}: {playbook}");
    }
    let inventory = told("inventory");
    for line in ["  cluster*  ", "    client_port  ", "      scheme  ", "  hosts*  ", "    address*  "] {
        assert!(inventory.lines().any(|shown| shown.starts_with(line)), "{line}: {inventory}");
    }
}

/// Every variable that the sources name where they read one is in the topic.
#[test]
fn the_environment_is_explained() {
    let told = Desk::new().run("help environment").stdout;
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            let code = text.split("#[cfg(test)]").next().unwrap();
            for reading in ["env = \"", "var_os(\"", "env::var(\"", "value(\"", "folder(\""] {
                for (at, _) in code.match_indices(reading) {
                    let name: String = code[at + reading.len()..].chars().take_while(|c| *c != '"').collect();
                    if !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
                        assert!(told.contains(&name), "{}: {name}", path.display());
                        seen.insert(name);
                    }
                }
            }
        }
    }
    assert!(seen.len() >= 8, "{seen:?}");
}

/// groff has nothing to say about any page.
#[test]
fn manual_pages() {
    let desk = Desk::new();
    let ended = desk.run("man --dir pages/man1");
    assert_eq!((ended.status, ended.stderr.as_str()), (0, ""));
    let pages: Vec<&str> = ended.stdout.lines().collect();
    for page in ["etcd-ha.1", "etcd-ha-deploy.1", "etcd-ha-certs-show.1"] {
        assert!(pages.contains(&format!("pages/man1/{page}").as_str()), "{page}: {pages:?}");
    }
    for page in pages {
        let text = desk.read(page);
        let output =
            Command::new("groff").args(["-man", "-ww", "-Tutf8", "-P-cbou"]).arg(desk.path(page)).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{page}: {text}");
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        for part in ["SYNOPSIS", "OPTIONS", "EXIT STATUS", "refused, since it would cost quorum or data"] {
            assert!(shown.contains(part), "{page}: {part}: {shown}");
        }
    }
    assert_eq!(desk.run("man certs show").stdout, desk.read("pages/man1/etcd-ha-certs-show.1"));
}

#[test]
fn prometheus_is_told_how_to_scrape() {
    let desk = Desk::with_inventory();
    let folder =
        desk.path("prod.pki").canonicalize().unwrap_or_else(|_| desk.path("").canonicalize().unwrap().join("prod.pki"));
    let folder = folder.display();
    let want = format!(
        "\
# For prometheus.yml: the members of the etcd cluster prod. Alerts to go with it, by the names that
# etcd's own collection gives them: etcdMembersDown, etcdInsufficientMembers, etcdNoLeader,
# etcdHighNumberOfLeaderChanges, etcdMemberCommunicationSlow, etcdHighNumberOfFailedProposals,
# etcdHighFsyncDurations, etcdHighCommitDurations, etcdDatabaseQuotaLowSpace,
# etcdExcessiveDatabaseGrowth, etcdDatabaseHighFragmentationRatio. `etcd-ha prometheus --rules`
# prints them for a file that `rule_files` names.
# The files are those on this machine; Prometheus needs copies that only it can read.
# This is the admin's certificate, with which everything may be done. Make one for Prometheus alone, and
# print this anew: etcd-ha certs issue --name prometheus --client -i prod.yaml
scrape_configs:
  - job_name: \"etcd-prod\"
    scheme: https
    tls_config:
      ca_file: \"{folder}/ca.pem\"
      cert_file: \"{folder}/admin.pem\"
      key_file: \"{folder}/admin-key.pem\"
    static_configs:
      - targets: [\"192.0.2.1:2379\"]
        labels: {{ instance: \"node01\", cluster: \"prod\" }}
      - targets: [\"192.0.2.2:2379\"]
        labels: {{ instance: \"node02\", cluster: \"prod\" }}
      - targets: [\"192.0.2.3:2379\"]
        labels: {{ instance: \"node03\", cluster: \"prod\" }}
"
    );
    assert_eq!(desk.run("prometheus -i prod.yaml"), said(0, &want, ""));
    let rules = desk.run("prometheus --rules -i prod.yaml");
    assert_eq!((rules.status, rules.stderr.as_str()), (0, ""));
    assert_eq!(rules.stdout.matches("      - alert: etcd").count(), 11, "{}", rules.stdout);
}

/// Connecting is a round trip, and its failure another line of narration.
#[test]
fn verbose_times_round_trips() {
    let desk = Desk::with_inventory();
    desk.make_certificates();
    let lines = |text: &str| -> Vec<String> {
        let told = steady(text).into_iter().filter(|line| line.contains("  connect  ") || line.contains("round trip"));
        // What it took, and in which order they came, differs.
        let mut told: Vec<String> = told
            .map(|line| {
                let line = line.split_once("Z ").map_or(line.as_str(), |(_, rest)| rest).to_owned();
                line.split_whitespace()
                    .take_while(|word| !word.starts_with(|c: char| c.is_ascii_digit()))
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        told.sort();
        told
    };
    for line in ["health -i prod.yaml", "plan -i prod.yaml"] {
        assert_eq!(lines(&desk.run(line).stderr), [""; 0], "{line}");
        let want = ["node01", "node01 connect", "node02", "node02 connect", "node03", "node03 connect"];
        let told = desk.run(&format!("{line} -v"));
        assert_eq!(lines(&told.stderr), want, "{line}: {}", told.stderr);
        assert!(
            told.stderr.lines().any(|line| line.contains("  connect  ") && line.contains(", failed")),
            "{}",
            told.stderr
        );
    }
}

#[test]
fn quiet_leaves_what_matters() {
    let desk = Desk::with_inventory();
    let loud = desk.run("plan -i prod.yaml");
    let quiet = desk.run("plan -q -i prod.yaml");
    assert_eq!((quiet.status, &quiet.stdout), (loud.status, &loud.stdout));
    let (loud, quiet) = (steady(&loud.stderr), steady(&quiet.stderr));
    // Nothing is said otherwise, and failures, hints and the end are all there.
    let mut left = quiet.clone();
    left.sort();
    let grave = |line: &&String| line.contains("failed:") || line.contains("hint:") || line.starts_with("run log:");
    let mut want: Vec<String> = loud.iter().filter(grave).cloned().collect();
    want.extend(loud.last().cloned().filter(|last| !grave(&last)));
    want.sort();
    assert_eq!(left, want, "{loud:#?}");
    assert!(quiet.len() < loud.len() && quiet.last() == loud.last(), "{quiet:#?}");
}

/// What clap itself says has colours only where they are wanted.
#[test]
fn no_colour_where_none_is_wanted() {
    let desk = Desk::new();
    let shown = |variables: &[(&str, &str)]| {
        let mut command = Command::new("script");
        command.args(["-qec", &format!("{} deply; {0} help", env!("CARGO_BIN_EXE_etcd-ha")), "/dev/null"]);
        command.current_dir(desk.path("")).env_clear().env("HOME", desk.path("")).env("SHELL", "/bin/sh");
        let output = command.envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for (variables, coloured) in [
        (&[("TERM", "xterm")][..], true),
        (&[("TERM", "xterm"), ("NO_COLOR", "")], true),
        (&[("TERM", "xterm"), ("NO_COLOR", "1")], false),
        (&[("TERM", "dumb")], false),
    ] {
        let text = shown(variables);
        assert!(text.contains("unrecognized subcommand") && text.contains("Usage:"), "{text}");
        assert_eq!(text.contains('\x1b'), coloured, "{variables:?}: {text}");
    }
}
