//! How a text file on a host differs from the one that is wanted.

use super::Style;
use super::text::{one_line, visible};
use similar::{ChangeTag, TextDiff};
use std::time::Duration;

/// A unified diff from the file on `host` to the wanted one, with three lines of context; empty if
/// they are equal. `None` stands for a file that is not there. No key may ever get here.
#[must_use]
pub fn diff(style: Style, host: &str, path: &str, old: Option<&str>, new: Option<&str>) -> String {
    if old == new {
        return String::new();
    }
    let (path, host) = (one_line(path), one_line(host));
    let side = |text: Option<&str>, whose: &str| match text {
        Some(_) => format!("{path} ({whose})"),
        None => format!("/dev/null ({whose}: absent)"),
    };
    let mut text = String::new();
    let mut say = |line: String| {
        text.push_str(&line);
        text.push('\n');
    };
    say(style.bold(format!("--- {}", side(old, &format!("on {host}")))));
    say(style.bold(format!("+++ {}", side(new, "wanted"))));

    // A host may hold anything under the path; past the time limit the diff gets coarser, not wrong.
    let diff = TextDiff::configure()
        .timeout(Duration::from_secs(1))
        .diff_lines(old.unwrap_or_default(), new.unwrap_or_default());
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        say(style.busy(hunk.header()));
        for change in hunk.iter_changes() {
            let line = visible_line(change.value());
            say(match change.tag() {
                ChangeTag::Equal => format!(" {line}"),
                ChangeTag::Delete => style.bad(format!("-{line}")),
                ChangeTag::Insert => style.good(format!("+{line}")),
            });
            if change.missing_newline() {
                say("\\ No newline at end of file".to_string());
            }
        }
    }
    text
}

/// One line of a file: its own white space stays, what could move the cursor does not.
fn visible_line(line: &str) -> String {
    let line = line.strip_suffix('\n').unwrap_or(line);
    let bare = line.trim_end();
    let space = &line[bare.len()..];
    let space: String = space.chars().map(|c| if c == '\r' { '\u{fffd}' } else { c }).collect();
    let bare: Vec<String> = bare.split('\t').map(visible_words).collect();
    format!("{}{space}", bare.join("\t"))
}

fn visible_words(text: &str) -> String {
    let kept = text.trim_end_matches(' ');
    format!("{}{}", visible(kept), &text[kept.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "A=1\nB=2\nC=3\nD=4\nE=5\nF=6\n";

    fn bare(old: Option<&str>, new: Option<&str>) -> String {
        diff(Style::new(false), "node01", "/etc/etcd/etcd.conf", old, new)
    }

    #[test]
    fn changed() {
        let new = "A=1\nB=2\nC=3\nD=4\nE=7\nF=6";
        let expected = "\
--- /etc/etcd/etcd.conf (on node01)
+++ /etc/etcd/etcd.conf (wanted)
@@ -2,5 +2,5 @@
 B=2
 C=3
 D=4
-E=5
-F=6
+E=7
+F=6
\\ No newline at end of file
";
        assert_eq!(bare(Some(OLD), Some(new)), expected);
    }

    #[test]
    fn new_gone_and_equal() {
        assert_eq!(
            bare(None, Some("A=1\n")),
            "--- /dev/null (on node01: absent)\n+++ /etc/etcd/etcd.conf (wanted)\n@@ -0,0 +1 @@\n+A=1\n"
        );
        assert_eq!(
            bare(Some("A=1\n"), None),
            "--- /etc/etcd/etcd.conf (on node01)\n+++ /dev/null (wanted: absent)\n@@ -1 +0,0 @@\n-A=1\n"
        );
        assert_eq!(bare(Some(OLD), Some(OLD)), "");
        assert_eq!(bare(None, None), "");
    }

    #[test]
    fn coloured_and_without_tricks() {
        let shown = diff(Style::new(true), "n", "/f", Some("\tx  \n"), Some("\x1b[2Jx\r\n"));
        assert_eq!(
            shown,
            "\x1b[1m--- /f (on n)\x1b[0m\n\x1b[1m+++ /f (wanted)\x1b[0m\n\x1b[36m@@ -1 +1 @@\x1b[0m\n\
             \x1b[31m-\tx  \x1b[0m\n\x1b[32m+x\u{fffd}\x1b[0m\n"
        );
    }
}
