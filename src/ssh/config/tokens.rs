//! `~` and the `%` tokens of ssh_config(5), where `ssh -G` leaves them as they are written.

use std::path::{Path, PathBuf};

/// What the tokens stand for.
#[derive(Debug, Clone)]
pub(in crate::ssh) struct Tokens<'a> {
    /// `%d` and `~`.
    pub(in crate::ssh) home: Option<&'a Path>,
    /// `%h`.
    pub(in crate::ssh) host: &'a str,
    /// `%n`: the name as it was asked for.
    pub(in crate::ssh) name: &'a str,
    /// `%k`: the name that stands in known_hosts files.
    pub(in crate::ssh) key_name: &'a str,
    /// `%p`.
    pub(in crate::ssh) port: u16,
    /// `%r`.
    pub(in crate::ssh) user: &'a str,
    /// `%u`.
    pub(in crate::ssh) local_user: &'a str,
}

impl Tokens<'_> {
    /// `text` with its tokens filled in; one that is not known is left as it is.
    pub(in crate::ssh) fn fill(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                filled.push(c);
                continue;
            }
            match rest.next() {
                Some('%') => filled.push('%'),
                Some('d') if self.home.is_some() => {
                    filled.push_str(&self.home.map(|home| home.display().to_string()).unwrap_or_default());
                }
                Some('h') => filled.push_str(self.host),
                Some('n') => filled.push_str(self.name),
                Some('k') => filled.push_str(self.key_name),
                Some('p') => filled.push_str(&self.port.to_string()),
                Some('r') => filled.push_str(self.user),
                Some('u') => filled.push_str(self.local_user),
                Some(other) => filled.extend(['%', other]),
                None => filled.push('%'),
            }
        }
        filled
    }

    /// A path with `~` and tokens filled in.
    pub(in crate::ssh) fn path(&self, text: &str) -> PathBuf {
        let filled = self.fill(text);
        match (filled.strip_prefix("~/"), self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(filled),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Tokens;

    #[test]
    fn tokens_of_openssh() {
        let tokens = Tokens {
            home: Some(Path::new("/home/me")),
            host: "10.0.0.1",
            name: "node01",
            key_name: "alias",
            port: 2222,
            user: "ops",
            local_user: "me",
        };
        for (text, filled) in [
            ("nc -x proxy:%% %h %p", "nc -x proxy:% 10.0.0.1 2222"),
            ("%n %k %r %u %d", "node01 alias ops me /home/me"),
            ("%z %", "%z %"),
            ("", ""),
        ] {
            assert_eq!(tokens.fill(text), filled);
        }
        assert_eq!(tokens.path("~/.ssh/%h_key"), Path::new("/home/me/.ssh/10.0.0.1_key"));
        assert_eq!(tokens.path("/x y/%%"), Path::new("/x y/%"));
    }
}
