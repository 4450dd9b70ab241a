//! Whether an ssh_config says the same of every host, so that it need not be asked about a thousand of them one by one.

/// The files that `ssh -v` says it has read.
pub(super) fn files_read(debug: &str) -> Vec<&str> {
    debug.lines().filter_map(|line| line.trim().strip_prefix("debug1: Reading configuration data ")).collect()
}

/// Whether nothing in the text of a file depends on which host is asked about. What is not surely so is not.
pub(super) fn says_the_same_of_all(text: &str) -> bool {
    text.lines().all(|line| {
        let line = line.trim();
        let (keyword, rest) = line.split_once([' ', '\t', '=']).unwrap_or((line, ""));
        match keyword.to_ascii_lowercase().as_str() {
            "host" => rest.trim_matches([' ', '\t', '=']) == "*",
            // A jump host is not behind itself.
            "match" | "hostname" | "canonicalizehostname" | "proxyjump" => false,
            // Files that are included are among those read, unless which they are depends on something.
            "include" => !rest.contains(['%', '$']),
            keyword => !keyword.starts_with('"'),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{files_read, says_the_same_of_all};

    #[test]
    fn what_depends_on_the_host() {
        for (text, same) in [
            ("", true),
            ("# Host a\n\nUser ops\n  IdentityFile ~/.ssh/%h\n", true),
            ("Host *\n    SendEnv LANG\n    HashKnownHosts yes\n", true),
            ("Include /etc/ssh/ssh_config.d/*.conf\nHost=*\n", true),
            ("host node01\n", false),
            ("Host * !a\n", false),
            ("\tHOST=a\n", false),
            ("Match all\n", false),
            ("Host *\n ProxyJump bastion\n", false),
            ("HostName %h.example\n", false),
            ("CanonicalizeHostname yes\n", false),
            ("Include ~/.ssh/%h.conf\n", false),
            ("\"Host\" a\n", false),
        ] {
            assert_eq!(says_the_same_of_all(text), same, "{text:?}");
        }
    }

    #[test]
    fn the_files_that_were_read() {
        let debug = "OpenSSH_9.2p1\ndebug1: Reading configuration data /etc/ssh/ssh_config\r\n\
                     debug1: /etc/ssh/ssh_config line 21: Applying options for *\n\
                     debug1: Reading configuration data /x y\n";
        assert_eq!(files_read(debug), ["/etc/ssh/ssh_config", "/x y"]);
    }
}
