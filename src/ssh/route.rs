//! From what the inventory says, over ssh_config, to what holds.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::config::{Answer, Answers, Question, Tokens};
use super::error::SshError;
use super::hop::{AgentSocket, Algorithms, Hop, HostKeys, KnownName, Login, Method, Proxy};
use super::known_hosts::lookup_name;
use super::target::{HostKeyChecking, JumpHost, Target};

/// How long each step of connecting may take where nothing is said.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Three unanswered probes end a connection, so a dead link is known after 20 s.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// After how many unanswered keepalives a connection counts as dead.
const KEEPALIVES: u32 = 3;
/// No way is longer; a longer one goes round in circles.
const LONGEST_WAY: usize = 8;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The inventory.
    Inventory,
    /// The user's or the system's ssh_config.
    SshConfig,
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Inventory => "inventory",
            Self::SshConfig => "ssh_config",
            Self::Default => "default",
        })
    }
}

/// One value of a hop, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The keyword of ssh_config(5).
    pub keyword: &'static str,
    /// Its value.
    pub value: String,
    /// Where it comes from.
    pub source: Source,
}

/// The way to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The machine; what lies in between is its proxy.
    pub hop: Hop,
    /// For every machine on the way, the nearest first, its name and what holds for it.
    pub settings: Vec<(String, Vec<Setting>)>,
}

/// What this machine says of itself.
pub(super) struct Here<'a> {
    pub(super) home: Option<&'a Path>,
    pub(super) user: &'a str,
}

/// Finds out how to reach `target`.
///
/// # Errors
/// ssh_config is wrong, or the way goes round in circles.
pub(super) async fn route(target: &Target, answers: &Answers, here: &Here<'_>) -> Result<Route, SshError> {
    let question = |host: &str| Question {
        config: target.config.clone(),
        host: host.to_owned(),
        user: target.user.clone(),
        port: target.port,
    };
    let (name, host) = match &target.ssh_address {
        Some(address) => (address.clone(), Some(address.clone())),
        // Who has set up `ssh node01` shall need to say nothing more.
        None if target.name != target.address && answers.mentions(&question(&target.name)).await? => {
            (target.name.clone(), Some(target.address.clone()))
        }
        None => (target.address.clone(), Some(target.address.clone())),
    };
    let said = answers.of(&question(&name)).await?;
    let asked = Asked { target, name: &name, otherwise: host, user: target.user.clone(), port: target.port, said };
    let jump = match (&target.jump, asked.said.one("proxyjump")) {
        (Some(jump), _) => (jump.clone(), Source::Inventory),
        (None, Some(list)) => (parsed(list, &name)?, Source::SshConfig),
        (None, None) => (Vec::new(), Source::Default),
    };
    let mut ways = Vec::new();
    let proxy = Box::pin(proxy(target, answers, here, (&jump.0, jump.1), 0, &mut ways)).await?;
    let goal = Goal { pins: &target.host_key, also_known_as: Some(&target.name) };
    let (hop, settings) = asked.decide(here, proxy, jump, &goal);
    ways.push((name.clone(), settings));
    Ok(Route { hop, settings: ways })
}

fn parsed(list: &str, name: &str) -> Result<Vec<JumpHost>, SshError> {
    JumpHost::parse_list(list)
        .ok_or_else(|| SshError::Config { host: name.to_owned(), why: format!("ProxyJump `{list}` cannot be read") })
}

/// The last of the jump hosts, each reached through the one before it. Only the first one's own ssh_config
/// says how it is reached itself. `behind` jump hosts come after these.
async fn proxy(
    target: &Target,
    answers: &Answers,
    here: &Here<'_>,
    (jumps, source): (&[JumpHost], Source),
    behind: usize,
    ways: &mut Vec<(String, Vec<Setting>)>,
) -> Result<Proxy, SshError> {
    if behind + jumps.len() > LONGEST_WAY {
        let why = format!("the way to it leads over more than {LONGEST_WAY} jump hosts");
        return Err(SshError::Config { host: target.name.clone(), why });
    }
    let mut proxy = Proxy::None;
    for (index, jump) in jumps.iter().enumerate() {
        let question = Question {
            config: target.config.clone(),
            host: jump.host.clone(),
            user: jump.user.clone(),
            port: jump.port,
        };
        let said = answers.of(&question).await?;
        let before = match (index, said.one("proxyjump")) {
            (0, Some(list)) => {
                let own = parsed(list, &jump.host)?;
                let from = (&own[..], Source::SshConfig);
                proxy = Box::pin(self::proxy(target, answers, here, from, behind + jumps.len(), ways)).await?;
                (own, Source::SshConfig)
            }
            (0, None) => (Vec::new(), Source::Default),
            (_, _) => (jumps[..index].to_vec(), source),
        };
        let asked = Asked { target, name: &jump.host, otherwise: None, user: jump.user.clone(), port: jump.port, said };
        let (hop, settings) = asked.decide(here, proxy, before, &Goal { pins: &[], also_known_as: None });
        ways.push((jump.host.clone(), settings));
        proxy = Proxy::Jump(Box::new(hop));
    }
    Ok(proxy)
}

/// What holds for the goal alone, not for the jump hosts before it.
struct Goal<'a> {
    pins: &'a [String],
    also_known_as: Option<&'a str>,
}

/// A machine that ssh_config was asked about.
struct Asked<'a> {
    target: &'a Target,
    name: &'a str,
    /// Where to connect if ssh_config does not say.
    otherwise: Option<String>,
    user: Option<String>,
    port: Option<u16>,
    said: Answer,
}

/// Takes the first of the layers that says something, and notes which.
struct Picked(Vec<Setting>);

impl Picked {
    fn pick<T>(
        &mut self,
        keyword: &'static str,
        inventory: Option<T>,
        config: Option<T>,
        default: T,
        show: impl Fn(&T) -> String,
    ) -> T {
        let (value, source) = match (inventory, config) {
            (Some(value), _) => (value, Source::Inventory),
            (None, Some(value)) => (value, Source::SshConfig),
            (None, None) => (default, Source::Default),
        };
        self.0.push(Setting { keyword, value: show(&value), source });
        value
    }
}

impl Asked<'_> {
    fn decide(
        &self,
        here: &Here<'_>,
        proxy: Proxy,
        jump: (Vec<JumpHost>, Source),
        goal: &Goal<'_>,
    ) -> (Hop, Vec<Setting>) {
        let (target, said) = (self.target, &self.said);
        let mut picked = Picked(Vec::new());
        let text = |text: &String| text.clone();
        let number = |keyword: &str| said.one(keyword).and_then(|value| value.parse::<u64>().ok());
        let time = |time: &Duration| format!("{}", time.as_secs_f64());
        // An address of the inventory holds unless ssh_config has one for the name.
        let hostname = said.one("hostname").map(|host| host.replace("%h", self.name));
        let written = hostname.is_none().then(|| self.otherwise.clone()).flatten();
        let host = picked.pick("HostName", written, hostname, self.name.to_owned(), text);
        let port = picked.pick(
            "Port",
            self.port,
            said.one("port").and_then(|port| port.parse().ok()),
            22,
            ToString::to_string,
        );
        let user =
            picked.pick("User", self.user.clone(), said.one("user").map(str::to_owned), here.user.to_owned(), text);
        let key_alias = said.one("hostkeyalias").filter(|alias| *alias != "none").map(str::to_owned);
        let tokens = Tokens {
            home: here.home,
            host: &host,
            name: self.name,
            key_name: key_alias.as_deref().unwrap_or(self.name),
            port,
            user: &user,
            local_user: here.user,
        };
        let (command, command_source) = match said.one("proxycommand").filter(|command| *command != "none") {
            // `ssh -G` gives the one or the other of the two, whichever comes first; the inventory's `jump` and the
            // jump hosts before this one outdo both.
            Some(command) if jump.0.is_empty() && jump.1 != Source::Inventory => {
                (Some(tokens.fill(command)), Source::SshConfig)
            }
            _ => (None, Source::Default),
        };
        let jumps: Vec<String> = jump.0.iter().map(ToString::to_string).collect();
        let jumps = if jumps.is_empty() { "none".to_owned() } else { jumps.join(",") };
        picked.0.push(Setting { keyword: "ProxyJump", value: jumps, source: jump.1 });
        let shown = command.clone().unwrap_or_else(|| "none".to_owned());
        picked.0.push(Setting { keyword: "ProxyCommand", value: shown, source: command_source });
        let proxy = command.map_or(proxy, Proxy::Command);
        let login = login(&mut picked, target, said, &tokens);
        let names = names(&host, port, key_alias.as_deref(), goal.also_known_as);
        let host_keys = host_keys(&mut picked, target, said, &tokens, goal.pins, names);
        picked.0.push(Setting {
            keyword: "HostKeyAlias",
            source: if key_alias.is_some() { Source::SshConfig } else { Source::Default },
            value: key_alias.unwrap_or_else(|| "none".to_owned()),
        });
        let connect_timeout = picked.pick(
            "ConnectTimeout",
            target.connect_timeout,
            number("connecttimeout").map(Duration::from_secs),
            CONNECT_TIMEOUT,
            time,
        );
        let interval = number("serveraliveinterval").filter(|seconds| *seconds > 0).map(Duration::from_secs);
        let keepalive = picked.pick("ServerAliveInterval", target.keepalive, interval, KEEPALIVE, time);
        let count =
            number("serveralivecountmax").and_then(|count| u32::try_from(count).ok()).filter(|count| *count > 0);
        let keepalive_max = picked.pick("ServerAliveCountMax", None, count, KEEPALIVES, ToString::to_string);
        let mut algorithms = |keyword: &'static str, lower: &str| {
            let list = said.one(lower).map(|list| list.split(',').map(str::to_owned).collect::<Vec<_>>());
            let show = |list: &Vec<String>| if list.is_empty() { "any".to_owned() } else { list.join(",") };
            picked.pick(keyword, None, list, Vec::new(), show)
        };
        let algorithms = Algorithms {
            ciphers: algorithms("Ciphers", "ciphers"),
            kex: algorithms("KexAlgorithms", "kexalgorithms"),
            macs: algorithms("MACs", "macs"),
            host_keys: algorithms("HostKeyAlgorithms", "hostkeyalgorithms"),
        };
        let name = self.name.to_owned();
        let hop = Hop {
            name,
            host,
            port,
            user,
            login,
            host_keys,
            algorithms,
            connect_timeout,
            keepalive,
            keepalive_max,
            proxy,
        };
        (hop, picked.0)
    }
}

fn login(picked: &mut Picked, target: &Target, said: &Answer, tokens: &Tokens<'_>) -> Login {
    let files = |keyword: &str| {
        let files = said.all(keyword)?;
        Some(files.iter().filter(|file| *file != "none").map(|file| tokens.path(file)).collect::<Vec<_>>())
    };
    let required = !target.identity.is_empty();
    let or = |otherwise: &'static str| {
        move |paths: &Vec<PathBuf>| if paths.is_empty() { otherwise.to_owned() } else { join(paths) }
    };
    let identity = picked.pick(
        "IdentityFile",
        required.then(|| target.identity.clone()),
        files("identityfile"),
        Vec::new(),
        or("~/.ssh/id_ed25519 ~/.ssh/id_ecdsa ~/.ssh/id_rsa"),
    );
    let certificates = picked.pick("CertificateFile", None, files("certificatefile"), Vec::new(), or("none"));
    let identities_only = picked.pick("IdentitiesOnly", None, said.one("identitiesonly").map(is_yes), false, yes_or_no);
    let agent = said.one("identityagent").map(|agent| match agent {
        "none" => AgentSocket::None,
        "SSH_AUTH_SOCK" => AgentSocket::Environment,
        variable if variable.starts_with('$') => {
            let name = variable.trim_start_matches('$').trim_start_matches('{').trim_end_matches('}');
            std::env::var_os(name).map_or(AgentSocket::None, |path| AgentSocket::Path(path.into()))
        }
        path => AgentSocket::Path(tokens.path(path)),
    });
    let agent = picked.pick("IdentityAgent", None, agent, AgentSocket::Environment, |agent| match agent {
        AgentSocket::Environment => "SSH_AUTH_SOCK".to_owned(),
        AgentSocket::None => "none".to_owned(),
        AgentSocket::Path(path) => path.display().to_string(),
    });
    let off = |method: &Method| {
        let keyword = match method {
            Method::PublicKey => "pubkeyauthentication",
            Method::KeyboardInteractive => "kbdinteractiveauthentication",
            Method::Password => "passwordauthentication",
        };
        said.one(keyword).is_some_and(|value| matches!(value, "no" | "false"))
    };
    let named = said.one("preferredauthentications").map(|list| {
        let method = |name: &str| Method::ALL.into_iter().find(|method| method.name() == name.trim());
        list.split(',').filter_map(method).collect::<Vec<_>>()
    });
    let listed = named.is_some();
    let preferred = named.unwrap_or_else(|| Method::ALL.to_vec());
    let methods: Vec<Method> = preferred.iter().copied().filter(|method| !off(method)).collect();
    let restricted = listed || methods.len() < preferred.len();
    let methods = picked.pick(
        "PreferredAuthentications",
        None,
        restricted.then(|| methods.clone()),
        methods.clone(),
        |methods: &Vec<Method>| methods.iter().map(|method| method.name()).collect::<Vec<_>>().join(","),
    );
    let prompts = said.one("numberofpasswordprompts").and_then(|count| count.parse().ok());
    let password_prompts = picked.pick("NumberOfPasswordPrompts", None, prompts, 3, ToString::to_string);
    Login { identity, identity_is_required: required, identities_only, certificates, agent, methods, password_prompts }
}

fn host_keys(
    picked: &mut Picked,
    target: &Target,
    said: &Answer,
    tokens: &Tokens<'_>,
    pins: &[String],
    names: Vec<KnownName>,
) -> HostKeys {
    let show = |paths: &Vec<PathBuf>| if paths.is_empty() { "none".to_owned() } else { join(paths) };
    let files = |keyword: &str| {
        let files = said.one(keyword)?.split_ascii_whitespace().filter(|file| *file != "none");
        Some(files.map(|file| tokens.path(file)).collect::<Vec<_>>())
    };
    let own = (!target.known_hosts.is_empty()).then(|| target.known_hosts.clone());
    let only_own = own.is_some();
    let default = |names: [&str; 2]| names.iter().map(|name| tokens.path(name)).collect::<Vec<_>>();
    let user_files = default(["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]);
    let global = default(["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]);
    // `~` stays where nobody knows the home folder.
    let user_files = if tokens.home.is_some() { user_files } else { Vec::new() };
    let files_found = picked.pick("UserKnownHostsFile", own, files("userknownhostsfile"), user_files, show);
    let global_files =
        picked.pick("GlobalKnownHostsFile", only_own.then(Vec::new), files("globalknownhostsfile"), global, show);
    let checking = said.one("stricthostkeychecking").map(|value| match value {
        "accept-new" => HostKeyChecking::AcceptNew,
        "no" | "off" | "false" => HostKeyChecking::Off,
        // To ask amid many hosts helps nobody: `etcd-ha trust` asks.
        _ => HostKeyChecking::Strict,
    });
    let checking = picked.pick(
        "StrictHostKeyChecking",
        target.host_key_checking,
        checking,
        HostKeyChecking::Strict,
        ToString::to_string,
    );
    let hashed = picked.pick("HashKnownHosts", None, said.one("hashknownhosts").map(is_yes), false, yes_or_no);
    let revoked = said.one("revokedhostkeys").filter(|file| *file != "none").map(|file| Some(tokens.path(file)));
    let revoked = picked.pick("RevokedHostKeys", None, revoked, None, |path| {
        path.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string())
    });
    if !pins.is_empty() {
        picked.0.push(Setting { keyword: "host_key", value: pins.join(" "), source: Source::Inventory });
    }
    HostKeys { names, files: files_found, global_files, revoked, checking, pinned: pins.to_vec(), hashed }
}

/// The names under which known_hosts files may have the machine.
pub(super) fn names(host: &str, port: u16, alias: Option<&str>, also: Option<&str>) -> Vec<KnownName> {
    let mut names: Vec<KnownName> = Vec::new();
    let mut add = |text: String, weak: bool| {
        if names.iter().all(|name| name.text != text) {
            names.push(KnownName { text, weak });
        }
    };
    match alias {
        Some(alias) => add(alias.to_ascii_lowercase(), false),
        None => {
            add(lookup_name(host, port), false);
            // A key that is on file under the plain name will do on another port, too, as with OpenSSH.
            add(lookup_name(host, 22), true);
            // Somebody who has met the host by its name has not met its address.
            if let Some(also) = also {
                add(lookup_name(also, port), false);
                add(lookup_name(also, 22), true);
            }
        }
    }
    names
}

fn join(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
}

fn is_yes(value: &str) -> bool {
    matches!(value, "yes" | "true")
}

fn yes_or_no(value: &bool) -> String {
    if *value { "yes" } else { "no" }.to_owned()
}
