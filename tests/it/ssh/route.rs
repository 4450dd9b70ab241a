//! How a machine is reached: ssh_config by OpenSSH itself, jump hosts, proxy commands.

use std::fs;
use std::sync::atomic::Ordering;
use std::time::Duration;

use etcd_ha::error::Explain as _;
use etcd_ha::ssh::{
    AgentSocket, ConfigFile, Connector, Credentials, Hop, HostKeyChecking, JumpHost, Limits, Method, Proxy, Source,
    SshError, Target,
};
use tempfile::TempDir;

use super::server::{Behaviour, Server};
use super::{Fixture, installed};

const CONFIG: &str = "\
Host node*
  User ops
  Port 2222
Host node01
  HostName 192.0.2.1
  IdentityFile ~/.ssh/%h_key
  IdentityFile \"/x y/key\"
  CertificateFile /x/%r-cert.pub
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile /k1 /k2
  GlobalKnownHostsFile /k3
  StrictHostKeyChecking accept-new
  HashKnownHosts yes
  ConnectTimeout 7
  ServerAliveInterval 3
  ServerAliveCountMax 2
  Ciphers aes256-ctr,aes128-ctr
  PreferredAuthentications password,publickey
  ProxyJump me@outer:33,inner
Host outer
  HostName 192.0.2.9
Host node02
  ProxyCommand connect %n %h %p %r %%
  HostKeyAlias Known
  StrictHostKeyChecking no
  PasswordAuthentication no
Match originalhost node03 exec \"true\"
  User matched
Host 10.9.9.*
  User range
";

/// A connector and the file that it goes by.
fn with(config: &str) -> (TempDir, ConfigFile, Connector) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    fs::write(&file, config).unwrap();
    let credentials = Credentials { home: Some("/home/me".into()), ..Credentials::default() };
    (folder, ConfigFile::File(file), Connector::new(credentials))
}

async fn hop(connector: &Connector, target: Target) -> Hop {
    connector.route(&target).await.unwrap().hop
}

#[tokio::test]
async fn ssh_config_holds_as_openssh_reads_it() {
    if !installed("ssh") {
        return;
    }
    let (_folder, config, connector) = with(CONFIG);
    let target = |name: &str, address: &str| Target { config: config.clone(), ..Target::new(name, address) };

    let first = hop(&connector, target("node01", "10.9.9.1")).await;
    assert_eq!((&*first.name, &*first.host, first.port, &*first.user), ("node01", "192.0.2.1", 2222, "ops"));
    assert_eq!(first.login.identity, ["/home/me/.ssh/192.0.2.1_key", "/x y/key"].map(Into::<std::path::PathBuf>::into));
    assert_eq!(first.login.certificates, [std::path::PathBuf::from("/x/ops-cert.pub")]);
    assert!(first.login.identities_only && !first.login.identity_is_required);
    assert_eq!(first.login.agent, AgentSocket::None);
    assert_eq!(first.login.methods, [Method::Password, Method::PublicKey]);
    let files = |files: &[std::path::PathBuf]| files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>();
    assert_eq!(files(&first.host_keys.files), ["/k1", "/k2"]);
    assert_eq!(files(&first.host_keys.global_files), ["/k3"]);
    assert_eq!(first.host_keys.checking, HostKeyChecking::AcceptNew);
    assert!(first.host_keys.hashed);
    let names: Vec<&str> = first.host_keys.names.iter().map(|name| name.text.as_str()).collect();
    assert_eq!(names, ["[192.0.2.1]:2222", "192.0.2.1", "[node01]:2222", "node01"]);
    assert_eq!((first.connect_timeout, first.keepalive), (Duration::from_secs(7), Duration::from_secs(3)));
    assert_eq!(first.keepalive_max, 2);
    assert_eq!(first.algorithms.ciphers, ["aes256-ctr", "aes128-ctr"]);
    assert_eq!(first.algorithms.kex, Vec::<String>::new());
    let Proxy::Jump(inner) = first.proxy else { panic!("{:?}", first.proxy) };
    assert_eq!((&*inner.host, inner.port), ("inner", 22));
    let Proxy::Jump(outer) = inner.proxy else { panic!("{:?}", inner.proxy) };
    assert_eq!((&*outer.host, outer.port, &*outer.user, &outer.proxy), ("192.0.2.9", 33, "me", &Proxy::None));

    let second = hop(&connector, target("node02", "10.0.0.2")).await;
    assert_eq!(second.proxy, Proxy::Command("connect node02 10.0.0.2 2222 ops %".to_owned()));
    assert_eq!(second.host_keys.names.len(), 1);
    assert_eq!(second.host_keys.names[0].text, "known");
    assert_eq!(second.host_keys.checking, HostKeyChecking::Off);
    assert_eq!(second.login.methods, [Method::PublicKey, Method::KeyboardInteractive]);

    // What comes first holds, also before a Match.
    assert_eq!(hop(&connector, target("node03", "10.0.0.3")).await.user, "ops");
    // A name that ssh_config says nothing of: the address's own lines hold.
    let other = hop(&connector, target("other", "10.9.9.9")).await;
    assert_eq!((&*other.name, &*other.host, &*other.user, other.port), ("10.9.9.9", "10.9.9.9", "range", 22));
    // An address for SSH alone may be an alias.
    let alias = Target { ssh_address: Some("outer".to_owned()), ..target("other", "10.9.9.9") };
    assert_eq!(hop(&connector, alias).await.host, "192.0.2.9");
}

#[tokio::test]
async fn the_inventory_outdoes_ssh_config_and_both_are_told_apart() {
    if !installed("ssh") {
        return;
    }
    let (_folder, config, connector) = with(CONFIG);
    let target = Target {
        config,
        user: Some("root".to_owned()),
        port: Some(22),
        identity: vec!["/id".into()],
        known_hosts: vec!["/kh".into()],
        host_key_checking: Some(HostKeyChecking::Strict),
        jump: Some(Vec::new()),
        connect_timeout: Some(Duration::from_secs(1)),
        keepalive: Some(Duration::from_secs(9)),
        host_key: vec!["SHA256:x".to_owned()],
        ..Target::new("node01", "10.0.0.1")
    };
    let route = connector.route(&target).await.unwrap();
    let hop = &route.hop;
    assert_eq!((hop.port, &*hop.user, &hop.proxy), (22, "root", &Proxy::None));
    assert!(hop.login.identity_is_required);
    assert_eq!(hop.host_keys.global_files, Vec::<std::path::PathBuf>::new());
    assert_eq!(hop.host_keys.pinned, ["SHA256:x"]);
    let [(name, settings)] = &route.settings[..] else { panic!("{route:?}") };
    assert_eq!(name, "node01");
    let source = |keyword: &str| settings.iter().find(|setting| setting.keyword == keyword).unwrap().source;
    for keyword in ["User", "Port", "IdentityFile", "UserKnownHostsFile", "ProxyJump", "ConnectTimeout", "host_key"] {
        assert_eq!(source(keyword), Source::Inventory, "{keyword}");
    }
    for keyword in ["HostName", "Ciphers", "IdentitiesOnly", "ServerAliveCountMax", "PreferredAuthentications"] {
        assert_eq!(source(keyword), Source::SshConfig, "{keyword}");
    }
    assert_eq!(source("KexAlgorithms"), Source::Default);

    // Jump hosts of the inventory in the place of a ProxyCommand.
    let jump = Some(vec![JumpHost::parse("a@b:3").unwrap()]);
    let target = Target { jump, ..Target { config: target.config, ..Target::new("node02", "10.0.0.2") } };
    let Proxy::Jump(jump) = connector.route(&target).await.unwrap().hop.proxy else { panic!() };
    assert_eq!((&*jump.user, &*jump.host, jump.port), ("a", "b", 3));
}

/// A file that says the same of all hosts is asked about one of them.
#[tokio::test]
async fn what_holds_for_all_hosts_holds_for_each() {
    if !installed("ssh") {
        return;
    }
    let (_folder, config, connector) = with("Host *\n  User all\n  Port 2222\n  IdentityFile ~/.ssh/%h_key\n");
    for (name, address) in [("node01", "10.0.0.1"), ("node02", "10.0.0.2")] {
        let target = Target { config: config.clone(), ..Target::new(name, address) };
        let found = hop(&connector, target.clone()).await;
        assert_eq!((&*found.name, &*found.host, found.port, &*found.user), (address, address, 2222, "all"));
        assert_eq!(found.login.identity, [std::path::PathBuf::from(format!("/home/me/.ssh/{address}_key"))]);
        let own = Target { port: Some(22), user: Some("ops".to_owned()), ..target };
        let route = connector.route(&own).await.unwrap();
        assert_eq!((route.hop.port, &*route.hop.user), (22, "ops"));
    }
}

#[tokio::test]
async fn ways_that_lead_nowhere_are_refused() {
    if !installed("ssh") {
        return;
    }
    for (text, expected) in [
        ("Host a\n  ProxyJump b\nHost b\n  ProxyJump a\n", "more than 8 jump hosts"),
        ("Host *\n  ProxyJump b\n", "jumphost loop via b"),
        ("Host a\n  Nonsense yes\n", "Bad configuration option: nonsense"),
        ("Host a\n  Port many\n", "line 2"),
    ] {
        let (_folder, config, connector) = with(text);
        let error = connector.route(&Target { config, ..Target::new("a", "10.0.0.1") }).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(!error.to_string().contains(".invalid"), "{error}");
        assert_eq!(error.exit(), etcd_ha::error::ExitStatus::Usage, "{error}");
    }
}

/// Two machines behind a jump host in this process.
#[tokio::test]
async fn a_jump_host_is_connected_to_once_for_all_behind_it() {
    let jump = Fixture::new(Behaviour::default()).await;
    let behind = [Server::start(Behaviour::default()).await, Server::start(Behaviour::default()).await];
    let mut known = jump.server.known_hosts_line();
    for server in &behind {
        known += &server.known_hosts_line();
    }
    fs::write(&jump.target.known_hosts[0], known).unwrap();
    let connector = Connector::new(jump.credentials.clone());
    let through = JumpHost::parse(&format!("ops@127.0.0.1:{}", jump.server.address.port())).unwrap();
    let target = |server: &Server| Target {
        port: Some(server.address.port()),
        jump: Some(vec![through.clone()]),
        ..jump.target.clone()
    };
    let targets = behind.each_ref().map(target);
    let (first, second) = tokio::join!(connector.connect(&targets[0]), connector.connect(&targets[1]));
    for session in [first.unwrap(), second.unwrap()] {
        let output = session.exec("echo there", Default::default(), &Limits::default()).await.unwrap();
        assert_eq!(output.stdout, b"there\n");
        assert!(session.peer().to_string().ends_with(" through 127.0.0.1"), "{}", session.peer());
    }
    assert_eq!(jump.server.seen.connections.load(Ordering::SeqCst), 1);
    for server in &behind {
        assert_eq!(server.seen.connections.load(Ordering::SeqCst), 1);
    }

    // Each hop is checked on its own: with its key unknown, the machine behind a known jump host is refused.
    fs::write(&jump.target.known_hosts[0], jump.server.known_hosts_line()).unwrap();
    let error = connector.connect(&targets[0]).await.unwrap_err();
    assert!(matches!(error, SshError::HostKeyUnknown { .. }), "{error:?}");
    // And with the jump host's own key unknown nothing goes through it.
    fs::write(&jump.target.known_hosts[0], behind[0].known_hosts_line()).unwrap();
    let error = Connector::new(jump.credentials.clone()).connect(&targets[0]).await.unwrap_err();
    let SshError::JumpHost { source, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(**source, SshError::HostKeyUnknown { .. }), "{error:?}");
}

#[tokio::test]
async fn a_jump_host_that_cannot_be_reached_is_tried_once_for_all_who_wait() {
    let fixture = Fixture::new(Behaviour::default()).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let jump = JumpHost::parse(&silent.local_addr().unwrap().to_string()).unwrap();
    let target =
        Target { jump: Some(vec![jump]), connect_timeout: Some(Duration::from_millis(500)), ..fixture.target.clone() };
    let connector = Connector::new(fixture.credentials.clone());
    let begun = std::time::Instant::now();
    let outcomes = futures::future::join_all((0..20).map(|_| connector.connect(&target))).await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(
            matches!(&error, SshError::JumpHost { source, .. } if matches!(**source, SshError::BannerTimeout { .. }))
        );
        assert!(error.hint().is_some());
    }
    // Where nothing listens behind it, the jump host says so.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let jump = JumpHost::parse(&fixture.server.address.to_string()).unwrap();
    let target = Target { jump: Some(vec![jump]), port: Some(free), ..fixture.target.clone() };
    let error = connector.connect(&target).await.unwrap_err();
    assert!(matches!(&error, SshError::JumpHost { source, .. } if source.is_tunnel_refused()), "{error:?}");
}

#[tokio::test]
async fn a_proxy_command_leads_there_or_is_told_of() {
    if !installed("ssh") {
        return;
    }
    let fixture = Fixture::new(Behaviour::default()).await;
    let config = fixture.path("config");
    let with = |command: &str| {
        fs::write(&config, format!("Host *\n  ProxyCommand {command}\n")).unwrap();
        Target { config: ConfigFile::File(config.clone()), ..fixture.target.clone() }
    };
    // bash can open TCP connections; nothing else is needed.
    let bash = "bash -c 'exec 3<>/dev/tcp/%h/%p; cat <&3 & cat >&3'";
    let session = fixture.connect_to(&with(bash)).await.unwrap();
    let output = session.exec("echo there", Default::default(), &Limits::default()).await.unwrap();
    assert_eq!(output.stdout, b"there\n");
    for (command, expected) in [
        ("sh -c 'echo no such proxy >&2; exit 1'", "no such proxy"),
        ("false", "it ended and said nothing"),
        ("no-such-program-here", "not found"),
    ] {
        let error = fixture.connect_to(&with(command)).await.unwrap_err();
        assert!(matches!(error, SshError::ProxyCommand { .. }), "{command}: {error:?}");
        assert!(error.to_string().contains(expected), "{command}: {error}");
    }
}
