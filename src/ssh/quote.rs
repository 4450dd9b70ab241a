//! Words for a POSIX shell.

use std::fmt::Write as _;

/// `word` as one word of a POSIX `sh` command line, whatever it holds.
///
/// A word of letters, digits and `_-./:,+@` stays bare, for commands that people can read; any other
/// is put in single quotes, in which a shell takes nothing but the single quote itself for special
/// (POSIX.1-2024, Shell Command Language, 2.2.2). Line ends are kept. A NUL cannot be part of a
/// command line at all; [`Session::exec`](super::Session::exec) refuses one.
///
/// The result is for `sh` only: csh and fish read quotes otherwise, so what a login shell of unknown
/// kind is given should hold no more than `sh -s`, and the script should come on its standard input.
#[must_use]
pub fn quote(word: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:,+@".contains(&byte);
    if word.is_empty() {
        return "''".to_owned();
    }
    if word.bytes().all(bare) {
        return word.to_owned();
    }
    let mut quoted = String::with_capacity(word.len() + 2);
    for (index, piece) in word.split('\'').enumerate() {
        if index > 0 {
            quoted.push_str("\\'");
        }
        if !piece.is_empty() {
            let _ = write!(quoted, "'{piece}'");
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::quote;
    use crate::ssh::testing::shells;

    fn as_shells_read_it(words: &[String]) -> Vec<(&'static str, Vec<u8>)> {
        let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
        let script = format!("printf '%s\\0' {}", quoted.join(" "));
        shells(&["sh", "dash", "bash", "ksh", "zsh"])
            .into_iter()
            .map(|shell| {
                let output = Command::new(shell).args(["-c", &script]).output().unwrap();
                assert!(output.status.success(), "{shell}: {script:?}");
                (shell, output.stdout)
            })
            .collect()
    }

    #[test]
    fn a_table_of_words() {
        for (word, quoted) in [
            ("etcd", "etcd"),
            ("/usr/local/bin/etcd-3.5.16", "/usr/local/bin/etcd-3.5.16"),
            ("10.19.0.55:2379,[::1]:2379", "'10.19.0.55:2379,[::1]:2379'"),
            ("", "''"),
            ("two words", "'two words'"),
            ("a=b", "'a=b'"),
            ("~root", "'~root'"),
            ("$(reboot)", "'$(reboot)'"),
            ("it's", r"'it'\''s'"),
            ("'", r"\'"),
            ("''", r"\'\'"),
            ("'a", r"\''a'"),
            ("two\nlines", "'two\nlines'"),
            ("ümlaut", "'ümlaut'"),
        ] {
            assert_eq!(quote(word), quoted, "{word:?}");
            for (shell, read) in as_shells_read_it(&[word.to_owned()]) {
                assert_eq!(read, format!("{word}\0").as_bytes(), "{shell}: {word:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_shell_reads_back_what_was_quoted(
            words in prop::collection::vec(
                prop_oneof!["[^\\x00]{0,40}", "[ '\"\\\\\n\r\t$`!*?~#;&|<>(){}=%^-]{0,20}"],
                1..5,
            )
        ) {
            let expected: Vec<u8> = words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
            for (shell, read) in as_shells_read_it(&words) {
                prop_assert_eq!(&read, &expected, "{}", shell);
            }
        }
    }
}
