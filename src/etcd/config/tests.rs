use super::*;
use crate::etcd::testing::inventory;
use proptest::prelude::*;
use std::process::Command;

const FULL: &str = r#"
cluster: prod
etcd:
  version: 3.5.16
  settings:
    heartbeat-interval: 100
    quota-backend-bytes: 8GiB
    log-outputs: "stderr,/srv/$HOST \"a\".log"
hosts:
  - { name: node01, address: 10.19.0.55 }
  - { name: node02, address: "fd00::56", etcd: { client_port: 12379, peer_port: 12380, local_plaintext: true, settings: { heartbeat-interval: 200 } } }
  - { name: node03, address: node03.example }
"#;

fn membership(inventory: &Inventory, established: bool) -> Membership {
    let membership = Membership::bootstrap(inventory, "prod-00000000000000ff".into());
    Membership { established: established.then(|| membership.cluster_id()), ..membership }
}

/// The environment of the host in this place (from 0).
fn environment_of(text: &str, place: usize, established: bool) -> String {
    let inventory = inventory(text);
    environment(&inventory.hosts[place], &inventory.version, &membership(&inventory, established))
}

#[test]
fn an_environment_of_a_member_with_an_ipv4_address() {
    assert_eq!(
        environment_of(FULL, 0, false),
        r#"# Written by etcd-ha; changes made here are taken back by the next deploy.
ETCD_NAME=node01
ETCD_DATA_DIR=/var/lib/etcd
ETCD_LISTEN_CLIENT_URLS=https://10.19.0.55:2379,https://127.0.0.1:2379
ETCD_ADVERTISE_CLIENT_URLS=https://10.19.0.55:2379
ETCD_LISTEN_PEER_URLS=https://10.19.0.55:2380
ETCD_INITIAL_ADVERTISE_PEER_URLS=https://10.19.0.55:2380
ETCD_INITIAL_CLUSTER=node01=https://10.19.0.55:2380,node02=https://[fd00::56]:12380,node03=https://node03.example:2380
ETCD_INITIAL_CLUSTER_STATE=new
ETCD_INITIAL_CLUSTER_TOKEN=prod-00000000000000ff
ETCD_CERT_FILE=/etc/etcd/ssl/server.pem
ETCD_KEY_FILE=/etc/etcd/ssl/server-key.pem
ETCD_TRUSTED_CA_FILE=/etc/etcd/ssl/ca.pem
ETCD_CLIENT_CERT_AUTH=true
ETCD_PEER_CERT_FILE=/etc/etcd/ssl/peer.pem
ETCD_PEER_KEY_FILE=/etc/etcd/ssl/peer-key.pem
ETCD_PEER_TRUSTED_CA_FILE=/etc/etcd/ssl/ca.pem
ETCD_PEER_CLIENT_CERT_AUTH=true
# From the inventory's settings.
ETCD_HEARTBEAT_INTERVAL=100
ETCD_LOG_OUTPUTS="stderr,/srv/\$HOST \"a\".log"
ETCD_QUOTA_BACKEND_BYTES=8589934592
"#
    );
}

/// The lines of `text` that differ from those of `other`.
fn unlike<'a>(text: &'a str, other: &str) -> Vec<&'a str> {
    text.lines().filter(|line| !other.lines().any(|there| there == *line)).collect()
}

#[test]
fn an_environment_of_a_member_with_an_ipv6_address_and_plain_text_on_the_host() {
    let (first, second) = (environment_of(FULL, 0, false), environment_of(FULL, 1, false));
    assert_eq!(
        unlike(&second, &first),
        [
            "ETCD_NAME=node02",
            "ETCD_LISTEN_CLIENT_URLS=https://[fd00::56]:12379,http://127.0.0.1:12379",
            "ETCD_ADVERTISE_CLIENT_URLS=https://[fd00::56]:12379",
            "ETCD_LISTEN_PEER_URLS=https://[fd00::56]:12380",
            "ETCD_INITIAL_ADVERTISE_PEER_URLS=https://[fd00::56]:12380",
            "ETCD_HEARTBEAT_INTERVAL=200",
        ]
    );
}

#[test]
fn an_environment_of_a_member_with_a_name() {
    let (first, third) = (environment_of(FULL, 0, false), environment_of(FULL, 2, false));
    assert_eq!(
        unlike(&third, &first),
        [
            "ETCD_NAME=node03",
            "ETCD_LISTEN_CLIENT_URLS=https://0.0.0.0:2379",
            "ETCD_ADVERTISE_CLIENT_URLS=https://node03.example:2379",
            "ETCD_LISTEN_PEER_URLS=https://0.0.0.0:2380",
            "ETCD_INITIAL_ADVERTISE_PEER_URLS=https://node03.example:2380",
        ]
    );
}

#[test]
fn a_port_for_metrics_is_asked_for() {
    for (place, metrics, want) in [
        (0, "{}", "https://10.19.0.55:2381,https://127.0.0.1:2381"),
        (0, "{ port: 9, scheme: http }", "http://10.19.0.55:9,http://127.0.0.1:9"),
        (1, "{ port: 9 }", "https://[fd00::56]:9,https://127.0.0.1:9"),
        (2, "{}", "https://0.0.0.0:2381"),
    ] {
        let asked = FULL.replace("  settings:\n", &format!("  metrics: {metrics}\n  settings:\n"));
        let (with, without) = (environment_of(&asked, place, false), environment_of(FULL, place, false));
        assert_eq!(unlike(&with, &without), [format!("ETCD_LISTEN_METRICS_URLS={want}")]);
        assert_eq!(unlike(&without, &with), [""; 0]);
    }
}

#[test]
fn an_environment_of_a_cluster_that_stands() {
    let (new, standing) = (environment_of(FULL, 0, false), environment_of(FULL, 0, true));
    let id = membership(&inventory(FULL), false).cluster_id();
    let recorded = format!("HA_CLUSTER_ID={id}");
    assert_eq!(unlike(&standing, &new), ["ETCD_INITIAL_CLUSTER_STATE=existing", recorded.as_str()]);
    assert_eq!(value_of(&standing, CLUSTER_ID), Some(id.to_string().as_str()));
}

#[test]
fn only_3_4_is_told_which_logger_to_take() {
    let text = |version: &str| {
        FULL.replace("3.5.16", version)
            .replace("log-outputs", "metrics")
            .replace("\"stderr,/srv/$HOST \\\"a\\\".log\"", "basic")
    };
    let (old, new) = (environment_of(&text("3.4.23"), 0, false), environment_of(&text("3.5.16"), 0, false));
    assert_eq!((unlike(&old, &new), unlike(&new, &old)), (vec!["ETCD_LOGGER=zap"], vec![]));
    let own = text("3.4.23").replace("metrics: basic", "logger: capnslog");
    let own = environment_of(&own, 0, false);
    assert!(own.contains("ETCD_LOGGER=capnslog\n") && !own.contains("zap"), "{own}");
}

/// systemd 252 read each of these back as it stands on the left, from a file given to
/// `systemd-run -p EnvironmentFile=`.
#[test]
fn quotes_are_what_systemd_reads() {
    for (value, want) in [
        ("", r#""""#),
        ("100", "100"),
        ("https://[fd00::1]:2379,http://a.b", "https://[fd00::1]:2379,http://a.b"),
        ("a=b", "a=b"),
        ("-x", "-x"),
        ("@y", "@y"),
        ("a b", r#""a b""#),
        (" lead and trail ", r#"" lead and trail ""#),
        ("it's", r#""it's""#),
        ("'", r#""'""#),
        ("\"", r#""\"""#),
        ("say \"hi\"", r#""say \"hi\"""#),
        ("$HOME ${HOME} $$", r#""\$HOME \${HOME} \$\$""#),
        ("`id`", r#""\`id\`""#),
        ("back\\slash", r#""back\\slash""#),
        ("end\\", r#""end\\""#),
        ("\\\"", r#""\\\"""#),
        ("\\n\\t", r#""\\n\\t""#),
        ("#not a comment", r##""#not a comment""##),
        (";nor this", r#"";nor this""#),
        ("%H %%", r#""%H %%""#),
        ("*?[a]", r#""*?[a]""#),
        ("~", r#""~""#),
        ("!x", r#""!x""#),
        ("tab\tin", "\"tab\tin\""),
        ("ünïcødé 日本", r#""ünïcødé 日本""#),
        ("{\"a\":[1,2]}", r#""{\"a\":[1,2]}""#),
        ("a&b|c<d>e(f)", r#""a&b|c<d>e(f)""#),
    ] {
        assert_eq!(quoted(value), want);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Environment files are written so that a shell reads them as systemd does (systemd.exec(5)):
    /// a shell is at hand everywhere.
    #[test]
    fn quotes_are_what_a_shell_reads(values in prop::collection::vec("[^\\x00-\\x1f\\x7f]{0,12}", 1..20)) {
        let mut script = String::new();
        for (index, value) in values.iter().enumerate() {
            script += &format!("V{index}={}\nprintf '%s\\n' \"$V{index}\"\n", quoted(value));
        }
        let output = Command::new("sh").args(["-euc", &script]).output().unwrap();
        prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), values.join("\n") + "\n");
    }

    #[test]
    fn a_value_that_needs_no_quotes_is_found_again(value in "[A-Za-z0-9._:/=,-]{1,20}") {
        let text = format!("OTHER_V=1\nV={}\nV_MORE=2\n", quoted(&value));
        prop_assert_eq!(value_of(&text, "V"), Some(value.as_str()));
        prop_assert_eq!(value_of(&text, "W"), None);
    }
}

#[test]
fn what_a_member_has_taken_in() {
    let text = "# a comment\n\nETCD_NAME=a\nETCD_INITIAL_CLUSTER=a=b\nETCD_INITIAL_CLUSTER_STATE=new\n\
                ETCD_INITIAL_CLUSTER_TOKEN=t\nETCD_INITIAL_ADVERTISE_PEER_URLS=u\nHA_CLUSTER_ID=1\nHA_GENERATION=2\n";
    assert_eq!(effective(text), ["ETCD_NAME=a", "ETCD_INITIAL_ADVERTISE_PEER_URLS=u"]);
}

/// The generation of the first host.
fn generation_of(text: &str, established: bool, archive: &str, ca: &str) -> String {
    let inventory = inventory(text);
    generation(archive, &environment_of(text, 0, established), &unit(&inventory.hosts[0]), ca)
}

#[test]
fn a_generation_stands_for_all_that_makes_the_process() {
    let now = generation_of(FULL, false, "abc", "CA");
    assert_eq!(now.len(), 32);
    assert!(now.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let setting = FULL.replace("heartbeat-interval: 100", "heartbeat-interval: 150");
    let paths = format!("{FULL}paths: {{ bin: /opt/bin }}\n");
    for (what, other) in [
        ("a setting", generation_of(&setting, false, "abc", "CA")),
        ("the unit", generation_of(&paths, false, "abc", "CA")),
        ("the archive", generation_of(FULL, false, "abd", "CA")),
        ("the CA", generation_of(FULL, false, "abc", "CB")),
        // The parts do not run into each other.
        ("the border between archive and environment", {
            let environment = environment_of(FULL, 0, false);
            let (first, rest) = environment.split_once('\n').map(|(_, rest)| rest.split_at(1)).unwrap();
            generation(&format!("abc{first}"), rest, &unit(&inventory(FULL).hosts[0]), "CA")
        }),
    ] {
        assert_ne!(other, now, "{what}");
    }
    let fourth =
        format!("{FULL}  - {{ name: node04, address: 10.19.0.58 }}\n  - {{ name: node05, address: 10.19.0.59 }}\n");
    for (what, same) in [
        ("that the cluster stands", generation_of(FULL, true, "abc", "CA")),
        ("more members", generation_of(&fourth, false, "abc", "CA")),
        ("a comment", generation_of(FULL, false, "abc", "CA")),
    ] {
        assert_eq!(same, now, "{what}");
    }
    let inventory = inventory(FULL);
    let host = &inventory.hosts[0];
    let other_token = Membership { token: "other".into(), ..membership(&inventory, false) };
    let environment = environment(host, &inventory.version, &other_token);
    assert_eq!(generation("abc", &environment, &unit(host), "CA"), now, "the token");
    let stamped = with_generation(&environment, &now);
    assert_eq!(generation("abc", &stamped, &unit(host), "CA"), now, "the generation itself");
    assert_eq!(value_of(&stamped, GENERATION), Some(now.as_str()));
}

#[test]
fn the_unit() {
    let inventory = inventory(FULL);
    assert_eq!(
        unit(&inventory.hosts[0]),
        "# Written by etcd-ha; changes made here are taken back by the next deploy.
[Unit]
Description=etcd
Documentation=https://etcd.io/docs/
Wants=network-online.target
After=network-online.target
# An unmounted data disk must not look like an empty data dir.
RequiresMountsFor=/var/lib/etcd
# A member that cannot start is tried again for as long as it takes.
StartLimitIntervalSec=0

[Service]
# etcd reports ready once it has published itself through raft, which needs a quorum.
Type=notify
TimeoutStartSec=infinity
User=etcd
Group=etcd
EnvironmentFile=/etc/etcd/etcd.conf
ExecStart=/usr/local/bin/etcd
Restart=always
RestartSec=2
LimitNOFILE=65536
# The kernel should kill nearly everything else first.
OOMScoreAdjust=-999

# As little as etcd can do with. What is left open, and why:
# PrivateNetwork=, IPAddressDeny=, RestrictAddressFamilies=AF_INET AF_INET6: peers and clients come from anywhere; who they
#   are, their certificates say.
# RestrictAddressFamilies=AF_UNIX: systemd is told over a socket that the member is ready.
# ProcSubset=: the Go runtime and etcd's metrics read more of /proc than processes.
# PrivateUsers=: needs user namespaces, which many kernels do not give.
# RootDirectory=: the release and the system's certificates are read from where they are.
# DeviceAllow=: the clock's device is named by ProtectClock= itself, for reading.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
ReadWritePaths=/var/lib/etcd
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
UMask=0077

[Install]
WantedBy=multi-user.target
"
    );
}

#[test]
fn a_unit_does_not_hide_the_paths_that_it_needs() {
    for (path, hidden) in
        [("/var/lib/etcd", true), ("/homes/etcd", true), ("/home/ops/etcd", false), ("/root/etcd", false)]
    {
        let inventory = inventory(&format!("{FULL}paths: {{ data: {path} }}\n"));
        let unit = unit(&inventory.hosts[0]);
        assert_eq!(
            (unit.contains("\nProtectHome=yes\n"), unit.contains("\n# ProtectHome=: ")),
            (hidden, !hidden),
            "{path}"
        );
    }
}

#[test]
fn a_unit_lets_etcd_write_its_log_files_below_var_log() {
    for (outputs, want) in [
        ("stderr", vec![]),
        ("/var/log/etcd/etcd.log", vec!["LogsDirectory=etcd"]),
        ("stderr,/var/log/etcd/etcd.log,/var/log/etcd/more.log", vec!["LogsDirectory=etcd"]),
        ("/var/log/db/etcd/a.log,/var/log/other/b.log", vec!["LogsDirectory=db/etcd other"]),
        // Its folder is not etcd's own, and made by nobody.
        ("/var/log/etcd.log", vec![]),
        ("/srv/etcd.log", vec![]),
    ] {
        let text = FULL.replace("\"stderr,/srv/$HOST \\\"a\\\".log\"", outputs);
        let unit = unit(&inventory(&text).hosts[0]);
        let lines: Vec<&str> = unit.lines().filter(|line| line.starts_with("LogsDirectory")).collect();
        assert_eq!(lines, want, "{outputs}");
    }
}

#[test]
fn urls() {
    let inventory = inventory(FULL);
    let urls: Vec<_> = inventory.hosts.iter().map(|host| (client_url(host), peer_url(host))).collect();
    let url = |text: &str| text.to_owned();
    assert_eq!(
        urls,
        [
            (url("https://10.19.0.55:2379"), url("https://10.19.0.55:2380")),
            (url("https://[fd00::56]:12379"), url("https://[fd00::56]:12380")),
            (url("https://node03.example:2379"), url("https://node03.example:2380")),
        ]
    );
}

#[test]
fn what_is_quoted_is_read_back() {
    for value in ["8589934592", "", "a b", "say \"hi\"", r"back\slash", "$HOME `id`", "grün", "\"", "'"] {
        assert_eq!(unquoted(&quoted(value)), value);
    }
}

#[test]
fn a_process_is_compared_with_what_it_should_have_been_started_with() {
    let environment = format!(
        "{MARK}\nETCD_NAME=node01\n# From the inventory's settings.\nETCD_LOG_OUTPUTS=\"a b\"\n\
         ETCD_INITIAL_CLUSTER_STATE=existing\nHA_CLUSTER_ID=1\nHA_GENERATION=2\n"
    );
    let process = |variables: &[&str]| variables.iter().map(|&variable| variable.to_owned()).collect();
    let started = ["ETCD_NAME=node01", "ETCD_LOG_OUTPUTS=a b", "ETCD_INITIAL_CLUSTER_STATE=new"];
    for (variables, drop_ins, others) in [
        (process(&started), false, false),
        (process(&started[..2]), false, false),
        (process(&started[..1]), false, true),
        (process(&["ETCD_NAME=node01", "ETCD_LOG_OUTPUTS=a"]), false, true),
        (process(&[&started[..], &["ETCD_LOG_LEVEL=debug"]].concat()), false, true),
        (process(&[&started[..], &["ETCD_LOG_LEVEL=debug"]].concat()), true, false),
        (process(&["ETCD_NAME=node01", "ETCD_LOG_LEVEL=debug"]), true, true),
    ] {
        assert_eq!(runs_with_others(&variables, &options_in(&environment), drop_ins), others, "{variables:?}");
    }
}
