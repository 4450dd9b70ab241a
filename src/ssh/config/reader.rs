//! ssh_config where there is no `ssh` to ask: read by a library, if the file is of the simple kind.

use std::io::{self, Cursor};
use std::path::{Path, PathBuf};

use ssh2_config::{HostParams, ParseRule, SshConfig};

use super::Answer;
use super::answer::HONOURED;
use super::ask::Question;
use crate::files;
use crate::ssh::error::SshError;
use crate::ssh::target::ConfigFile;

/// What the files say of a host; nothing where there are none.
///
/// # Errors
/// A file has what only OpenSSH reads rightly.
pub(super) fn read(question: &Question, home: Option<&Path>) -> Result<Answer, SshError> {
    let files: Vec<PathBuf> = match &question.config {
        ConfigFile::None => Vec::new(),
        ConfigFile::File(path) => vec![path.clone()],
        ConfigFile::Usual => {
            let own = home.map(|home| home.join(".ssh/config"));
            own.into_iter().chain([PathBuf::from("/etc/ssh/ssh_config")]).collect()
        }
    };
    let mut answer = Answer::default();
    for file in files {
        let text = match files::text(&file, LARGEST) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && question.config == ConfigFile::Usual => continue,
            Err(error) => return Err(wrong(question, format!("`{}`: {error}", file.display()))),
        };
        let said =
            read_one(&text, &question.host).map_err(|why| wrong(question, format!("`{}`: {why}", file.display())))?;
        // The first value that is obtained holds (ssh_config(5)).
        for (keyword, values) in said {
            if answer.all(&keyword).is_none() {
                answer.set(&keyword, values);
            }
        }
    }
    Ok(answer)
}

/// The most that is read of a configuration.
pub(super) const LARGEST: u64 = 4 << 20;

fn wrong(question: &Question, why: String) -> SshError {
    SshError::Config { host: question.host.clone(), why }
}

fn read_one(text: &str, host: &str) -> Result<Vec<(String, Vec<String>)>, String> {
    for (index, line) in text.lines().enumerate() {
        let word = line.trim().split([' ', '\t', '=']).next().unwrap_or_default();
        if word.eq_ignore_ascii_case("match") {
            return Err(format!(
                "line {}: `Match` can be read by OpenSSH's `ssh` alone, which is not installed",
                index + 1
            ));
        }
        // Debian's own file includes a folder that is empty as a rule.
        if word.eq_ignore_ascii_case("include") && !line.contains("/etc/ssh/ssh_config.d/") {
            return Err(format!(
                "line {}: `Include` can be read by OpenSSH's `ssh` alone, which is not installed",
                index + 1
            ));
        }
    }
    let plain: String = text
        .lines()
        .filter(|line| !line.trim().to_ascii_lowercase().starts_with("include"))
        .map(|line| format!("{line}\n"))
        .collect();
    let rules = ParseRule::ALLOW_UNKNOWN_FIELDS | ParseRule::ALLOW_UNSUPPORTED_FIELDS;
    let config = SshConfig::default().parse(&mut Cursor::new(plain), rules).map_err(|error| error.to_string())?;
    Ok(values(&config.query(host)))
}

/// What is honoured here, as `ssh -G` would print it.
fn values(params: &HostParams) -> Vec<(String, Vec<String>)> {
    let seconds = |time: std::time::Duration| time.as_secs().to_string();
    let yes = |set: bool| if set { "yes" } else { "no" }.to_owned();
    let paths = |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    let mut said: Vec<(String, Vec<String>)> = Vec::new();
    let mut say = |keyword: &str, values: Option<Vec<String>>| {
        said.extend(values.map(|values| (keyword.to_owned(), values)));
    };
    say("hostname", params.host_name.clone().map(|host| vec![host]));
    say("user", params.user.clone().map(|user| vec![user]));
    say("port", params.port.map(|port| vec![port.to_string()]));
    say("identityfile", params.identity_file.as_deref().map(paths));
    say("certificatefile", params.certificate_file.as_ref().map(|path| vec![path.display().to_string()]));
    say("proxyjump", params.proxy_jump.as_ref().map(|jumps| vec![jumps.join(",")]));
    say("connecttimeout", params.connect_timeout.map(|time| vec![seconds(time)]));
    say("serveraliveinterval", params.server_alive_interval.map(|time| vec![seconds(time)]));
    say("pubkeyauthentication", params.pubkey_authentication.map(|set| vec![yes(set)]));
    for (keyword, algorithms) in [
        ("ciphers", &params.ciphers),
        ("kexalgorithms", &params.kex_algorithms),
        ("hostkeyalgorithms", &params.host_key_algorithms),
        ("macs", &params.mac),
    ] {
        say(keyword, (!algorithms.is_default()).then(|| vec![algorithms.algorithms().join(",")]));
    }
    for (keyword, words) in params.unsupported_fields.iter().chain(&params.ignored_fields) {
        let keyword = keyword.to_ascii_lowercase();
        if HONOURED.contains(&keyword.as_str()) {
            say(&keyword, Some(vec![words.join(" ")]));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::read_one;

    fn one(text: &str, host: &str, keyword: &str) -> Option<Vec<String>> {
        let said = read_one(text, host).unwrap();
        said.into_iter().find(|(name, _)| name == keyword).map(|(_, values)| values)
    }

    #[test]
    fn simple_files_are_read() {
        let text = "User me\nHost node* !node09\n  HostName 10.0.0.1\n  Port=2222\n  ProxyJump a@b:33,c\n\
                    \tUserKnownHostsFile /a /b\n  StrictHostKeyChecking accept-new\n  IdentityFile /k1\n  IdentityFile /k2\n\
                    Host other\n  User you\n";
        for (host, keyword, expected) in [
            ("node01", "user", Some(vec!["me"])),
            ("node01", "hostname", Some(vec!["10.0.0.1"])),
            ("node01", "port", Some(vec!["2222"])),
            ("node01", "proxyjump", Some(vec!["a@b:33,c"])),
            ("node01", "userknownhostsfile", Some(vec!["/a /b"])),
            ("node01", "stricthostkeychecking", Some(vec!["accept-new"])),
            ("node01", "identityfile", Some(vec!["/k1", "/k2"])),
            ("node09", "hostname", None),
            ("node01", "ciphers", None),
            ("x", "identityfile", None),
        ] {
            let expected = expected.map(|values| values.into_iter().map(str::to_owned).collect());
            assert_eq!(one(text, host, keyword), expected, "{host} {keyword}");
        }
    }

    #[test]
    fn what_the_library_gets_wrong_is_refused() {
        for text in ["Host a\n  User b\nMatch host *.prod\n  User c\n", "Include ~/.ssh/more\n", "match=all\n"] {
            let why = read_one(text, "a").unwrap_err();
            assert!(why.contains("OpenSSH's `ssh` alone"), "{why}");
        }
        assert!(read_one("Include /etc/ssh/ssh_config.d/*.conf\nHost *\n  User a\n", "x").is_ok());
    }
}
