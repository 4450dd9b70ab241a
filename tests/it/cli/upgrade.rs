//! `upgrade`, and what it leaves of the inventory, on hosts that cannot be reached.

use super::{Desk, UNREACHABLE, said, steady};

#[test]
fn versions_that_cannot_be_gone_to() {
    let desk = Desk::with_inventory();
    desk.write("fixed.yaml", &format!("etcd: {{ version: 3.5.33, settings: {{ debug: true }} }}\n{UNREACHABLE}"));
    desk.write("alias.yaml", &format!("etcd: {{ version: &v 3.5.33, settings: {{ auth-token: *v }} }}\n{UNREACHABLE}"));
    let usage = "\n\nFor more information, try '--help'.\n";
    for (line, want) in [
        (
            "upgrade --to 3.5.1 -i prod.yaml",
            format!(
                "error: invalid value '3.5.1' for '--to <VERSION>': etcd 3.5.1 must not be run: 3.5.0 to 3.5.2 can corrupt \
                 data when a member is killed under load; use 3.5.33{usage}"
            ),
        ),
        (
            "upgrade --to 3.6 -i prod.yaml",
            format!(
                "error: invalid value '3.6' for '--to <VERSION>': three numbers are wanted, for example `3.5.33`{usage}"
            ),
        ),
        (
            "deploy --via 3.5.33 -i prod.yaml",
            "error: etcd 3.5.33 is no stopover on the way to 3.5.33\n\nhint: a stopover is a release of an earlier minor \
             version\n"
                .to_owned(),
        ),
        (
            "upgrade --to 3.6.14 --via 3.5.32 --via 3.5.33 -i prod.yaml",
            "error: etcd 3.5.32 and 3.5.33 are stopovers of the same minor version\n\nhint: one patch release of each \
             minor version is enough\n"
                .to_owned(),
        ),
        (
            "upgrade --to 3.6.14 -i fixed.yaml",
            "error: inventory `fixed.yaml` has 1 problem

  × etcd 3.6.14 has no option `debug`, which is known in 3.4 only
   ╭─[fixed.yaml:1:38]
 1 │ etcd: { version: 3.6.14, settings: { debug: true } }
   ·                                      ─────┬─────
   ·                                           ╰── here
 2 │ cluster: prod
   ╰────
  help: use `log-level`
"
            .to_owned(),
        ),
        (
            "upgrade --to 3.6.14 -i alias.yaml",
            "error: cannot put another version into `alias.yaml`\n\nhint: write `version: 3.6.14` below `etcd:` by hand, \
             then `etcd-ha deploy`\n"
                .to_owned(),
        ),
    ] {
        assert_eq!(desk.run(line), said(2, "", &want), "{line}");
    }
    assert_eq!(desk.names(), ["alias.yaml", "fixed.yaml", "prod.yaml"]);
}

#[test]
fn an_upgrade_that_fails_leaves_the_inventory_as_it_is() {
    for (line, command) in
        [("upgrade --to 3.6.14 -i prod.yaml", "upgrade"), ("upgrade --to 3.6.14 --dry-run -i prod.yaml", "plan")]
    {
        let desk = Desk::with_inventory();
        let ended = desk.run(line);
        assert_eq!((ended.status, ended.stdout.as_str()), (1, ""), "{line}");
        let lines = steady(&ended.stderr);
        assert_eq!(lines[0], format!("{command}: cluster prod, 3 hosts"), "{line}");
        assert!(lines.last().unwrap().starts_with("failed: cluster prod: stopped on 3 hosts"), "{lines:?}");
        assert_eq!(std::fs::read_to_string(desk.path("prod.yaml")).unwrap(), UNREACHABLE, "{line}");
    }
}

/// A playbook that fails nowhere need not have upgraded anything.
#[test]
fn the_version_is_written_only_if_all_members_run_it() {
    let desk = Desk::with_inventory();
    desk.write("mine.yaml", "name: mine\nplays:\n  - name: Here\n    hosts: controller\n    tasks: [fetch_release]\n");
    let ended = desk.run("upgrade --to 3.5.32 --playbook mine.yaml -i prod.yaml");
    assert_eq!(ended.status, 1, "{}", ended.stderr);
    assert_eq!(
        steady(&ended.stderr).last().unwrap(),
        "failed: cluster prod: 0 of 3 members healthy, nothing to do; not every member is healthy and runs etcd 3.5.32, \
         so `prod.yaml` is left as it is; `etcd-ha health` says how every member is (…)"
    );
    assert_eq!(std::fs::read_to_string(desk.path("prod.yaml")).unwrap(), UNREACHABLE);
}
