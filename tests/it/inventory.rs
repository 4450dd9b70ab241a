//! Inventories: what is refused and how that looks, what the examples mean, and what the schema says.

// clippy.toml allows these in tests, but not in the functions that tests share.
#![allow(clippy::panic, clippy::unwrap_used)]

use etcd_ha::error::{Error, ExitStatus};
use etcd_ha::etcd::{lint::Rules, version};
use etcd_ha::inventory::{Become, Host, Inventory, InventoryError, SCHEMA_FILE, json_schema, starter};
use etcd_ha::{pki, release, ssh};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn parse(text: &str) -> Result<Inventory, InventoryError> {
    Inventory::parse(Path::new("prod.yaml"), text, &Rules)
}

fn parsed(text: &str) -> Inventory {
    parse(text).unwrap_or_else(|error| panic!("{}", Error::from(error).render()))
}

/// An inventory with `lines` before three sound hosts.
fn three_hosts(lines: &str) -> Inventory {
    parsed(&format!(
        "cluster: prod\n{lines}\nhosts:\n{}",
        (1..=3).map(|n| format!("  - {{ name: node0{n}, address: 10.19.0.5{n} }}\n")).collect::<String>()
    ))
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

#[test]
fn ways_to_become_root() {
    for (written, want) in [
        ("", None),
        ("become: false", Some(Become::No)),
        ("become: true", Some(Become::Sudo)),
        ("become: sudo", Some(Become::Sudo)),
        ("become: doas", Some(Become::Doas)),
    ] {
        let inventory = three_hosts(&format!("ssh: {{ user: ops, {written} }}"));
        assert!(inventory.hosts.iter().all(|host| host.r#become == want), "{written}");
    }
}

/// Every `tests/it/inventory/CASE.yaml` is refused exactly as `CASE.txt` says. `UPDATE_EXPECTED=1` writes what is said now.
#[test]
fn refusals_look_as_expected() {
    let mut wrong = Vec::new();
    let cases = files("tests/it/inventory", "yaml");
    assert!(cases.len() > 40, "only {} cases found", cases.len());
    for case in cases {
        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&case).unwrap();
        let Err(error) = Inventory::parse(Path::new(&name), &text, &Rules) else {
            wrong.push(format!("{name}: accepted"));
            continue;
        };
        let error = Error::from(error);
        assert_eq!(error.exit(), ExitStatus::Usage, "{name}");
        let said = error.render();
        let expected = case.with_extension("txt");
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            std::fs::write(&expected, &said).unwrap();
        }
        let want = std::fs::read_to_string(&expected).unwrap_or_default();
        if said != want {
            wrong.push(format!("{name}: expected\n{want}\nfound\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_example_is_valid() {
    let examples = files("inventories", "yaml");
    let names: Vec<&str> = examples.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["five.yaml", "lab.yaml", "prod.yaml", "single.yaml", "sudo.yaml"]);
    for path in examples {
        let inventory =
            Inventory::load(&path, &Rules).unwrap_or_else(|error| panic!("{}", Error::from(error).render()));
        let mut want = Vec::from_iter(version::faults(&inventory.version));
        if path.ends_with("single.yaml") {
            want.push("1 member tolerates no failure: while its host is down, so is the cluster".to_owned());
        }
        assert_eq!(inventory.warnings, want, "{}", path.display());
    }
}

#[test]
fn the_production_example_means_what_it_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("inventories/prod.yaml");
    let inventory = Inventory::load(&path, &Rules).unwrap();
    assert_eq!(inventory.cluster, "prod");
    assert_eq!(inventory.version.to_string(), "3.5.16");
    assert_eq!(inventory.path, path);
    assert_eq!(inventory.pki.dir, path.with_extension("pki"));
    assert_eq!(inventory.pki.key, pki::KeyAlgorithm::Rsa2048);
    assert_eq!(inventory.pki.ca_lifetime, Duration::from_secs(87_600 * 3600));
    assert_eq!(inventory.pki.leaf_lifetime, Duration::from_secs(87_600 * 3600));
    assert_eq!(inventory.pki.subject.country.as_deref(), Some("CN"));
    let hosts: Vec<(&str, &str)> =
        inventory.hosts.iter().map(|host| (host.name.as_str(), host.address.as_str())).collect();
    assert_eq!(hosts, [("node01", "10.19.0.55"), ("node02", "10.19.0.56"), ("node03", "10.19.0.57")]);
    for host in &inventory.hosts {
        assert_eq!(host.paths.install, "/app/allblue/etcd");
        assert_eq!(host.paths.config, "/app/allblue/etcd/config");
        assert_eq!(host.paths.bin, "/app/allblue/etcd/bin");
        assert_eq!(host.paths.data, "/app/allblue/etcddata");
        assert_eq!(host.ssh.user.as_deref(), Some("root"));
        assert_eq!(host.r#become, None);
    }
}

#[test]
fn what_is_left_out_has_its_default() {
    let inventory = three_hosts("");
    assert_eq!(inventory.version, version::recommended());
    assert_eq!(
        inventory.release,
        release::Source::Url {
            template:
                "https://github.com/etcd-io/etcd/releases/download/v{version}/etcd-v{version}-linux-{arch}.tar.gz"
                    .to_owned(),
            sha256: BTreeMap::new(),
        }
    );
    assert_eq!(
        inventory.pki,
        pki::Settings {
            dir: "prod.pki".into(),
            ca_cert: None,
            ca_key: None,
            encrypt_ca_key: false,
            key: pki::KeyAlgorithm::EcdsaP256,
            subject: pki::Subject::default(),
            ca_lifetime: Duration::from_secs(87_600 * 3600),
            leaf_lifetime: Duration::from_secs(87_600 * 3600),
            renew_before: Duration::from_secs(30 * 86_400),
        }
    );
    assert!(inventory.warnings.is_empty());
    assert_eq!(
        inventory.hosts[0],
        Host {
            name: "node01".to_owned(),
            address: "10.19.0.51".to_owned(),
            client_port: 2379,
            peer_port: 2380,
            extra_names: Vec::new(),
            local_plaintext: false,
            metrics: None,
            settings: BTreeMap::new(),
            ssh: ssh::Target::new("node01", "10.19.0.51"),
            r#become: None,
            paths: etcd_ha::inventory::Paths {
                install: "/opt/etcd".to_owned(),
                config: "/etc/etcd".to_owned(),
                data: "/var/lib/etcd".to_owned(),
                bin: "/usr/local/bin".to_owned(),
            },
        }
    );
}

#[test]
fn a_host_overrides_field_by_field_and_option_by_option() {
    let inventory = parsed(
        "cluster: prod
etcd:
  client_port: 12379
  local_plaintext: true
  settings: { heartbeat-interval: 200, election-timeout: 2000, quota-backend-bytes: 4GiB }
ssh: { user: ops, become: true, port: 2222, identity: id, known_hosts: [a, /b], host_key_checking: off, keepalive: 1m }
paths: { data: /data/etcd }
hosts:
  - { name: node01, address: 10.0.0.1 }
  - name: node02
    address: 10.0.0.2
    extra_names: [etcd.example, 192.0.2.9]
    etcd: { peer_port: 12380, local_plaintext: false, settings: { election-timeout: 3000 } }
    ssh: { address: 203.0.113.7, user: admin, become: false, identity: [x, y], host_key_checking: accept-new }
    paths: { bin: /opt/bin }
  - { name: node03, address: 10.0.0.3 }
",
    );
    let [first, second, third] = inventory.hosts.as_slice() else { panic!("{:?}", inventory.hosts) };
    assert_eq!((first.client_port, first.peer_port), (12379, 2380));
    assert_eq!((second.client_port, second.peer_port), (12379, 12380));
    assert_eq!((first.local_plaintext, second.local_plaintext), (true, false));
    let settings =
        |host: &Host| host.settings.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
    assert_eq!(settings(first), ["election-timeout=2000", "heartbeat-interval=200", "quota-backend-bytes=4294967296"]);
    assert_eq!(settings(second), ["election-timeout=3000", "heartbeat-interval=200", "quota-backend-bytes=4294967296"]);
    assert_eq!(
        (first.r#become, second.r#become, third.r#become),
        (Some(Become::Sudo), Some(Become::No), Some(Become::Sudo))
    );
    assert_eq!((first.ssh.user.as_deref(), second.ssh.user.as_deref()), (Some("ops"), Some("admin")));
    assert_eq!((first.ssh.address.as_str(), second.ssh.ssh_address.as_deref()), ("10.0.0.1", Some("203.0.113.7")));
    assert_eq!((first.ssh.port, second.ssh.port), (Some(2222), Some(2222)));
    assert_eq!(first.ssh.identity, [PathBuf::from("id")]);
    assert_eq!(second.ssh.identity, [PathBuf::from("x"), PathBuf::from("y")]);
    assert_eq!(second.ssh.known_hosts, [PathBuf::from("a"), PathBuf::from("/b")]);
    assert_eq!(first.ssh.host_key_checking, Some(ssh::HostKeyChecking::Off));
    assert_eq!(second.ssh.host_key_checking, Some(ssh::HostKeyChecking::AcceptNew));
    assert_eq!(second.ssh.keepalive, Some(Duration::from_secs(60)));
    assert_eq!((second.paths.data.as_str(), second.paths.bin.as_str()), ("/data/etcd", "/opt/bin"));
    assert_eq!(second.extra_names, ["etcd.example", "192.0.2.9"]);
}

#[test]
fn local_paths_start_at_the_inventory_or_at_home() {
    let text = "cluster: prod
release: { archive: './etcd-v{version}.tar.gz', sha256: { arm64: 0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF } }
pki: { dir: certs, ca_cert: ../ca.pem, ca_key: /keys/ca.pem }
ssh: { identity: ~/.ssh/id }
hosts: [ { name: node01, address: 10.0.0.1 } ]
";
    let inventory = Inventory::parse(Path::new("/srv/inv/prod.yaml"), text, &Rules).unwrap();
    assert_eq!(
        inventory.release,
        release::Source::Archive {
            path: "/srv/inv/./etcd-v{version}.tar.gz".into(),
            sha256: BTreeMap::from([(release::Arch::Arm64, "0123456789abcdef".repeat(4))]),
        }
    );
    assert_eq!(inventory.pki.dir, Path::new("/srv/inv/certs"));
    assert_eq!(inventory.pki.ca_cert.as_deref(), Some(Path::new("/srv/inv/../ca.pem")));
    assert_eq!(inventory.pki.ca_key.as_deref(), Some(Path::new("/keys/ca.pem")));
    let home = PathBuf::from(std::env::var_os("HOME").unwrap());
    assert_eq!(inventory.hosts[0].ssh.identity, [home.join(".ssh/id")]);
}

#[test]
fn yaml_in_all_its_spellings() {
    let plain = three_hosts("etcd: { version: 3.5.16, settings: { pre-vote: true, max-wals: 5 } }");
    for text in [
        // CRLF, a byte order mark, quotes, an anchor, a merge key, a document marker, comments, empty sections
        "\u{feff}cluster: prod\r\netcd:\r\n  version: '3.5.16'\r\n  settings:\r\n    pre-vote: \"true\"\r\n    max-wals: '5'\r\nhosts:\r\n  - { name: node01, address: 10.19.0.51 }\r\n  - { name: node02, address: 10.19.0.52 }\r\n  - { name: node03, address: 10.19.0.53 }\r\n",
        "---\ncluster: prod\netcd:\n  version: 3.5.16\n  settings: { pre-vote: true, max-wals: 5 }\nssh:\n  # nothing\nhosts:\n  - { name: node01, address: 10.19.0.51, ssh: &ssh { port: 22 } }\n  - { name: node02, address: 10.19.0.52, ssh: *ssh }\n  - { name: node03, address: 10.19.0.53, ssh: { <<: *ssh, user: root } }\n",
        r#"{"cluster": "prod", "etcd": {"version": "3.5.16", "settings": {"pre-vote": true, "max-wals": 5}},
            "hosts": [{"name": "node01", "address": "10.19.0.51"}, {"name": "node02", "address": "10.19.0.52"},
                      {"name": "node03", "address": "10.19.0.53"}]}"#,
    ] {
        let mut read = parsed(text);
        for (host, plain) in read.hosts.iter_mut().zip(&plain.hosts).filter(|(host, _)| host.ssh.port.is_some()) {
            assert_eq!(host.ssh.port, Some(22));
            host.ssh = plain.ssh.clone();
        }
        assert_eq!(read, plain, "{text}");
    }
}

#[test]
fn warnings() {
    let hosts = |count: usize| {
        let lines: String = (1..=count).map(|n| format!("  - {{ name: n{n}, address: 10.0.0.{n} }}\n")).collect();
        parsed(&format!("cluster: prod\nhosts:\n{lines}")).warnings
    };
    assert_eq!(hosts(3), Vec::<String>::new());
    assert_eq!(hosts(4), ["4 members tolerate 1 failure, as 3 do; quorum is 3"]);
    assert_eq!(hosts(7), Vec::<String>::new());
    assert_eq!(
        three_hosts("etcd: { settings: { quota-backend-bytes: 16GiB } }\nrelease: { url: 'http://mirror/{version}' }")
            .warnings,
        [
            "`release.url` is fetched without TLS, and so is the SHA256SUMS beside it; `release.sha256` would tell a tampered archive",
            "quota-backend-bytes is 16 GiB; etcd advises 8 GiB at most: a larger database makes starts, snapshots and recovery slow",
        ]
    );
}

#[test]
fn addresses_of_every_kind() {
    for address in [
        "10.19.0.55",
        "\"fd00::1\"",
        "2001:db8::5",
        "node01",
        "node01.example.net",
        "1st.example",
        "xn--bcher-kva.example",
    ] {
        let inventory = parsed(&format!("cluster: c\nhosts: [ {{ name: n, address: {address} }} ]"));
        assert_eq!(inventory.hosts[0].address, address.trim_matches('"'));
    }
    // One member alone may live on the loopback address.
    assert_eq!(parsed("cluster: c\nhosts: [ { name: n, address: 127.0.0.1 } ]").hosts[0].address, "127.0.0.1");
}

#[test]
fn files_that_cannot_be_read_as_text() {
    let folder = tempfile::tempdir().unwrap();
    let said = |name: &str| {
        let error = Error::from(Inventory::load(&folder.path().join(name), &Rules).unwrap_err());
        assert_eq!(error.exit(), ExitStatus::Usage);
        error.render().replace(folder.path().to_str().unwrap(), "DIR")
    };
    std::fs::write(folder.path().join("latin1.yaml"), b"cluster: prod\n# caf\xe9\n").unwrap();
    std::fs::write(folder.path().join("huge.yaml"), vec![b'#'; (1 << 20) + 1]).unwrap();
    std::fs::create_dir(folder.path().join("folder.yaml")).unwrap();
    assert_eq!(
        said("latin1.yaml"),
        "error: inventory `DIR/latin1.yaml` is not UTF-8 text (byte 19, line 2)\n\nhint: save the file as UTF-8, for example with `iconv -t UTF-8`\n"
    );
    assert_eq!(said("huge.yaml"), "error: inventory `DIR/huge.yaml` is larger than 1048576 bytes\n");
    assert_eq!(
        said("absent.yaml"),
        "error: cannot read inventory `DIR/absent.yaml`\n  caused by: No such file or directory (os error 2)\n\nhint: `etcd-ha init --cluster NAME --host ADDRESS …` writes a starter inventory\n"
    );
    assert!(
        said("folder.yaml").starts_with("error: cannot read inventory `DIR/folder.yaml`\n  caused by: Is a directory")
    );
}

/// Text made to be costly is refused early rather than worked on.
#[test]
fn hostile_sizes_are_refused() {
    let deep = "[".repeat(100_000);
    let deep_blocks: String = (0..400).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let many_nodes = "- a\n".repeat(200_000);
    let keys: String = (0..20_000).map(|n| format!("k{n}: 1\n")).collect();
    let repeated = "cluster: a\n".repeat(20_000);
    let hosts: String = (0..5_000).map(|_| "  - { name: a b, address: c d }\n").collect();
    let hosts = format!("cluster: a\nhosts:\n{hosts}");
    for (what, text) in [
        ("deep", &deep),
        ("deep blocks", &deep_blocks),
        ("many nodes", &many_nodes),
        ("many unknown keys", &keys),
        ("one key over and over", &repeated),
        ("many wrong hosts", &hosts),
    ] {
        let begin = std::time::Instant::now();
        let rendered = Error::from(parse(text).unwrap_err()).render();
        assert!(rendered.len() < 200_000, "{what}: {} bytes", rendered.len());
        assert!(begin.elapsed() < Duration::from_secs(20), "{what} took {:?}", begin.elapsed());
    }
    let rendered = Error::from(parse(&keys).unwrap_err()).render();
    assert!(rendered.ends_with("\n\n… and 19952 more\n"), "{}", &rendered[rendered.len() - 200..]);
}

#[test]
fn a_whole_host_repeated_by_an_alias_is_a_duplicate() {
    let error = parse("cluster: c\nhosts:\n  - &n { name: a, address: 10.0.0.1 }\n  - *n\n").unwrap_err();
    let InventoryError::Invalid { problems, .. } = error else { panic!("{error}") };
    let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(messages, ["two hosts are named `a`", "two hosts have the address `10.0.0.1` and port 2379"]);
}

#[test]
fn the_starter_is_valid_and_names_the_schema() {
    let hosts: Vec<(String, String)> = [("node01", "10.19.0.55"), ("node02", "fd00::2"), ("null", "node03.example")]
        .map(|(name, address)| (name.to_owned(), address.to_owned()))
        .to_vec();
    let text = starter("prod", &hosts, &version::recommended());
    assert_eq!(text.lines().next(), Some(format!("# yaml-language-server: $schema={SCHEMA_FILE}").as_str()));
    let inventory = parsed(&text);
    assert_eq!(inventory.cluster, "prod");
    assert_eq!(inventory.version, version::recommended());
    assert!(inventory.warnings.is_empty(), "{:?}", inventory.warnings);
    let read: Vec<(String, String)> =
        inventory.hosts.iter().map(|host| (host.name.clone(), host.address.clone())).collect();
    assert_eq!(read, hosts);
    // What the comments show is valid, too, once taken in: a user's first edit is to remove a `#`.
    let uncommented = text
        .replace("# port: 22", "port: 22")
        .replace("# become: doas", "become: doas")
        .replace("# identity:", "identity:")
        .replace("# jump:", "jump:")
        .replace("# host_key_checking: strict     # or", "host_key_checking: strict     # or")
        .replace("# local_plaintext: false", "local_plaintext: false")
        .replace("# client_port: 2379", "client_port: 2379")
        .replace("# peer_port: 2380", "peer_port: 2380")
        .replace(
            "# paths:\n#   install: /opt/etcd\n#   config: /etc/etcd\n#   data: /var/lib/etcd\n#   bin: /usr/local/bin",
            "paths:\n  install: /opt/etcd\n  config: /etc/etcd\n  data: /var/lib/etcd\n  bin: /usr/local/bin",
        );
    let mut edited = parsed(&uncommented);
    assert_eq!(edited.hosts[0].ssh.identity.len(), 1);
    let first = edited.hosts[0].clone();
    assert_eq!((first.ssh.port, first.ssh.host_key_checking), (Some(22), Some(ssh::HostKeyChecking::Strict)));
    assert_eq!((first.r#become, first.ssh.jump.unwrap().len()), (Some(Become::Doas), 1));
    for (host, plain) in edited.hosts.iter_mut().zip(&inventory.hosts) {
        // What is not said there is left to ssh_config.
        (host.ssh, host.r#become) = (plain.ssh.clone(), plain.r#become);
    }
    assert_eq!(edited, inventory, "the comments do not show the defaults");
}

#[test]
fn a_hostile_starter_is_refused_rather_than_misread() {
    let hosts = [("a }\n  - { name: b".to_owned(), "10.0.0.1".to_owned())];
    let error = parse(&starter("x\": y", &hosts, &version::recommended())).unwrap_err();
    let InventoryError::Invalid { problems, .. } = error else { panic!("{error}") };
    let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(messages, ["`x\": y` is not a cluster name", "`a }\\n  - { name: b` is not a member name"]);
}

/// All the keys of a mapping type in the schema, by a path through it.
fn keys<'a>(schema: &'a serde_json::Value, definition: Option<&str>) -> BTreeMap<&'a str, &'a serde_json::Value> {
    let mapping = match definition {
        Some(name) => &schema["$defs"][name],
        None => schema,
    };
    assert_eq!(mapping["additionalProperties"], false, "{definition:?} allows unknown keys");
    mapping["properties"].as_object().unwrap().iter().map(|(key, value)| (key.as_str(), value)).collect()
}

#[test]
fn the_schema_describes_every_key() {
    let schema: serde_json::Value = serde_json::from_str(&json_schema()).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["required"], serde_json::json!(["cluster", "hosts"]));
    assert_eq!(schema["$defs"]["Host"]["required"], serde_json::json!(["name", "address"]));
    for (definition, want) in [
        (None, "cluster etcd hosts paths pki release ssh"),
        (Some("Etcd"), "client_port local_plaintext metrics peer_port settings version"),
        (Some("Metrics"), "port scheme"),
        (Some("HostEtcd"), "client_port local_plaintext peer_port settings"),
        (Some("Release"), "archive binaries sha256 url"),
        (Some("Digests"), "amd64 arm64"),
        (Some("Pki"), "ca_cert ca_key ca_lifetime dir encrypt_ca_key key leaf_lifetime renew_before subject"),
        (Some("Subject"), "country locality organization state"),
        (
            Some("Ssh"),
            "address become config connect_timeout host_key host_key_checking identity jump keepalive known_hosts port user",
        ),
        (Some("Paths"), "bin config data install"),
        (Some("Host"), "address etcd extra_names name paths ssh"),
    ] {
        let keys = keys(&schema, definition);
        assert_eq!(keys.keys().copied().collect::<Vec<_>>().join(" "), want, "{definition:?}");
        for (key, value) in keys {
            let described = value["description"].as_str().is_some_and(|text| text.len() > 10);
            assert!(described, "{definition:?} {key}: {value}");
        }
    }
    assert!(!json_schema().contains("given"), "an inner field shows in the schema");
    assert_eq!(schema["$defs"]["Ssh"]["properties"]["user"]["type"], "string", "a key without a value is refused");
    assert_eq!(schema["$defs"]["Ssh"]["properties"]["port"]["maximum"], 65535);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}|[a-z:\\- \\n\\[\\]{}&*#|>'\"!%@`?,~<]{0,200}") {
        if let Err(error) = parse(&text) {
            prop_assert!(!Error::from(error).render().is_empty());
        }
    }

    #[test]
    fn any_damage_to_an_inventory_is_read_or_refused(at in 0_usize..2000, with in "\\PC{0,4}", cut in 0_usize..40) {
        let sound = starter("prod", &[("n1".to_owned(), "10.0.0.1".to_owned())], &version::recommended());
        let from = sound.floor_char_boundary(at.min(sound.len()));
        let to = sound.floor_char_boundary((from + cut).min(sound.len()));
        let damaged = format!("{}{with}{}", &sound[..from], &sound[to..]);
        if let Err(error) = parse(&damaged) {
            prop_assert!(!Error::from(error).render().is_empty());
        }
    }

    /// Whatever stands where a value belongs: nothing that a shell, a path or a unit file could trip over gets through.
    #[test]
    fn no_hostile_value_gets_through(value in "\\PC{1,12}|[a-z0-9'\"$(){};&|<>`\\\\ \\n/.=,-]{1,12}") {
        let quoted = serde_json::Value::from(value.as_str());
        for line in [
            format!("cluster: {quoted}\nhosts: [ {{ name: n1, address: 10.0.0.1 }} ]"),
            format!("cluster: c\nhosts: [ {{ name: {quoted}, address: 10.0.0.1 }} ]"),
            format!("cluster: c\nhosts: [ {{ name: n1, address: {quoted} }} ]"),
            format!("cluster: c\nhosts: [ {{ name: n1, address: 10.0.0.1, paths: {{ data: {quoted} }} }} ]"),
            format!("cluster: c\nhosts: [ {{ name: n1, address: 10.0.0.1, ssh: {{ user: {quoted} }} }} ]"),
        ] {
            if let Ok(inventory) = parse(&line) {
                let host = &inventory.hosts[0];
                for word in [&inventory.cluster, &host.name, &host.address, &host.paths.data, host.ssh.user.as_ref().unwrap_or(&host.name)] {
                    prop_assert!(
                        word.chars().all(|c| c.is_ascii_alphanumeric() || "._-/@+:".contains(c)) && !word.starts_with('-'),
                        "{line}: {word:?}"
                    );
                }
            }
        }
    }
}
