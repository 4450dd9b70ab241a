//! Playbooks of the user's own.

use crate::members::Members;
use crate::site::Site;
use std::fs;

const OWN: &str = r#"
name: tools
plays:
  - name: Tools on every host
    tasks:
      - title: Make a folder
        command: { argv: [install, -d, -m, "750", "/srv/{{ host.name }}"], creates: "/srv/{{ host.name }}" }
      - copy: { src: greeting.txt, dest: "/srv/{{ host.name }}/greeting", mode: "0640", owner: "root:adm" }
      - copy: { src: hello.service, dest: /etc/systemd/system/hello.service }
      - systemd: { unit: hello.service, state: started, enabled: true }
      - wait_for: { port: 9999 }
      - wait_for: { path: "/srv/{{ host.name }}/greeting" }
  - name: One after the other
    mode: sequence
    hosts: [node02, node01]
    tasks:
      - command: { argv: [sh, -c, "echo '{{ cluster }} {{ version }} {{ host.address }}' >/srv/said"], unless: [test, -e, /srv/said] }
"#;

pub fn a_playbook_of_the_user_s_own_changes_once() {
    let site = Site::up(2);
    site.write_file("own.yaml", OWN);
    site.write_file("greeting.txt", "It's $HOME; `hello`\n");
    let unit = "[Unit]\nDescription=hello\n[Service]\nExecStart=systemd-socket-activate -l 9999 cat\n\
                [Install]\nWantedBy=multi-user.target\n";
    site.write_file("hello.service", unit);
    let plan = site.run("run own.yaml --dry-run").exits(0).says(&["nothing was touched"]);
    assert!(plan.stdout.contains("node02") && plan.stdout.contains("start and enable hello.service"), "{plan:?}");
    assert_eq!(site.lab.read("node01", "ls /srv"), "");

    site.run("run own.yaml").exits(0).says(&[
        "node01 command: changed: run `install -d -m 750 /srv/node01`",
        "node02 systemd: changed: start and enable hello.service",
        "play: One after the other (2 hosts, sequence)",
    ]);
    for (host, address) in [("node01", site.lab.address(1)), ("node02", site.lab.address(2))] {
        let script = format!(
            "stat -c '%a %U:%G' /srv/{host} /srv/{host}/greeting; cat /srv/{host}/greeting /srv/said; \
             systemctl is-active hello; systemctl is-enabled hello"
        );
        let wanted = format!("750 root:root\n640 root:adm\nIt's $HOME; `hello`\nlab 3.5.16 {address}\nactive\nenabled");
        assert_eq!(site.lab.read(host, &script), wanted, "{host}");
    }
    let again = site.run("run own.yaml").exits(0).never_says(&["changed:"]);
    assert!(again.stderr.lines().last().unwrap().contains("nothing to do"), "{again:?}");

    // What changes here changes there, and nothing else.
    fs::write(site.path("greeting.txt"), "new\n").unwrap();
    let run = site.run("run own.yaml").exits(0).says(&["node01 copy: changed", "node02 copy: changed"]);
    assert_eq!(run.stderr.matches("changed:").count(), 2, "{run:?}");
    assert_eq!(site.lab.read("node02", "cat /srv/node02/greeting"), "new");
    site.lab.read("node02", "chmod 644 /srv/node02/greeting");
    site.run("run own.yaml").exits(0).says(&["node02 copy: changed"]).never_says(&["node01 copy: changed"]);
    assert_eq!(site.lab.read("node02", "stat -c %a /srv/node02/greeting"), "640");

    failures_are_told(&site);
}

fn failures_are_told(site: &Site) {
    let playbook = |tasks: &str| {
        site.write_file("failing.yaml", &format!("name: failing\nplays:\n  - name: Try\n    tasks:\n{tasks}"))
    };
    playbook(
        "      - command: { argv: [sh, -c, \"[ $(hostname) = node01 ] || { echo out; echo 'no luck today' >&2; exit 7; }\"] }\n\
         \x20     - command: { argv: [touch, /srv/after] }\n",
    );
    site.run("run failing.yaml").exits(1).says(&[
        "node02 command: failed",
        "exited with status 7: no luck today",
        "node01 command: changed: run `touch /srv/after`",
        "stopped on node02 in `Try`",
    ]);
    assert_eq!(site.lab.read("node01", "ls /srv/after"), "/srv/after");
    assert_eq!(site.lab.read("node02", "ls /srv/after 2>/dev/null || true"), "");

    playbook("      - command: { argv: [/no/such/program] }\n");
    site.run("run failing.yaml").exits(1).says(&["`/no/such/program` exited with status 127", "not found"]);
    playbook("      - systemd: { unit: no-such.service, state: started }\n");
    site.run("run failing.yaml").exits(1).says(&["`systemctl start no-such.service`", "not found"]);
    playbook("      - copy: { src: no-such-file, dest: /srv/x }\n");
    site.run("run failing.yaml").exits(1).says(&["cannot read `no-such-file`"]);
    playbook("      - wait_for: { port: 7 }\n");
    site.run("run failing.yaml --health-timeout 2").exits(1).says(&["waited 2 s in vain: port 7 is not there"]);
    // Done, and yet not what was wanted.
    playbook("      - command: { argv: [\"true\"], creates: /srv/never }\n");
    site.run("run failing.yaml").exits(1).says(&["it was done, but the host still needs: run `true`"]);
    playbook("      - comand: { argv: [\"true\"] }\n");
    site.run("run failing.yaml")
        .exits(2)
        .says(&["there is no task `comand`; did you mean `command`?", "failing.yaml:5:"]);
    site.write_file(
        "failing.yaml",
        "name: failing\nplays:\n  - name: Try\n    hosts: [node09]\n    tasks: [preflight]\n",
    );
    site.run("run failing.yaml").exits(2).says(&["play `Try` is for host `node09`, which is not in the inventory"]);
}

/// Deploy's own playbook with steps before and after.
pub fn deploy_s_own_playbook_can_be_extended() {
    let site = Site::up(1);
    let playbook = String::from_utf8(site.command("playbook deploy").output().unwrap().stdout).unwrap();
    let own = format!(
        "{playbook}\n  - name: Note it\n    tasks:\n      - command: {{ argv: [sh, -c, \"{{{{ paths.bin }}}}/etcdctl version >/srv/version\"], \
         creates: /srv/version }}\n"
    );
    site.write_file("own.yaml", &own);
    site.run("deploy --playbook own.yaml").exits(0).ends("done: cluster lab is healthy, 1 of 1 members, ");
    assert!(site.lab.read("node01", "cat /srv/version").contains("etcdctl version: 3.5.16"));
    Members::of(&site, 1).assert_whole();
    site.run("run own.yaml").exits(0).says(&["nothing to do"]);
}
