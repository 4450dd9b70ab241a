//! Text on a terminal: how wide it is, where it is cut, what of it may be shown at all.

use crate::error::paints;
use console::{measure_text_width, strip_ansi_codes};
use std::borrow::Cow;

/// Columns that `text` takes on a terminal; colours take none, wide characters take two.
#[must_use]
pub fn width(text: &str) -> usize {
    measure_text_width(text)
}

/// `text` within `columns`, with `tail` in place of what was cut off. Colours in it stay closed.
#[must_use]
pub fn cut(text: &str, columns: usize, tail: &str) -> String {
    if width(text) <= columns {
        return text.to_string();
    }
    if columns < width(tail) {
        return String::new();
    }
    console::truncate_str(text, columns, tail).into_owned()
}

/// `text` filled up with spaces on the right.
#[must_use]
pub fn pad(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(width(text));
    format!("{text}{}", " ".repeat(missing))
}

/// `text` filled up with spaces on the left.
#[must_use]
pub fn pad_left(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(width(text));
    format!("{}{text}", " ".repeat(missing))
}

/// `text` broken at spaces into lines of at most `columns`; its own line ends stay. A word that is
/// longer than a line is left whole, so that a path can still be copied from the screen.
#[must_use]
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let bare = paragraph.trim_start_matches(' ');
        let indent = &paragraph[..paragraph.len() - bare.len()];
        let mut line = indent.to_string();
        let mut spaces = 0;
        for word in bare.trim_end().split(' ') {
            let begins = line.len() == indent.len();
            if !begins && word.is_empty() {
                spaces += 1;
                continue;
            }
            if begins {
                // The first word of a line needs no space before it.
            } else if width(&line) + 1 + spaces + width(word) > columns {
                lines.push(std::mem::replace(&mut line, indent.to_string()));
            } else {
                line.push_str(&" ".repeat(1 + spaces));
            }
            line.push_str(word);
            spaces = 0;
        }
        lines.push(line);
    }
    lines
}

/// `text` without anything that could move the cursor, colour the screen or turn the writing
/// direction: what a host says must not be able to rewrite what the user sees.
#[must_use]
pub fn visible(text: &str) -> String {
    let bare: Cow<'_, str> = strip_ansi_codes(text);
    let mut shown = String::with_capacity(bare.len());
    for c in bare.replace("\r\n", "\n").chars() {
        match c {
            '\n' => shown.push('\n'),
            '\t' => shown.push(' '),
            c if c.is_control() => shown.push('\u{fffd}'),
            c if paints(c) => {}
            c => shown.push(c),
        }
    }
    shown.truncate(shown.trim_end().len());
    shown
}

/// Bytes on their way to a terminal, without what it would obey: for programs whose output cannot wait for its lines.
#[derive(Debug, Default)]
pub struct Taming {
    /// The beginning of a character whose end has not come yet.
    begun: Vec<u8>,
}

impl Taming {
    /// What of `bytes` can be shown now.
    #[must_use]
    pub fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = [&std::mem::take(&mut self.begun), bytes].concat();
        let begun = (1..4.min(bytes.len() + 1)).find(|back| bytes[bytes.len() - back] >= 0xc0);
        if let Some(back) = begun.filter(|back| char_length(bytes[bytes.len() - back]) > *back) {
            self.begun = bytes.split_off(bytes.len() - back);
        }
        let tame = |c: char| match c {
            '\n' | '\t' => Some(c),
            '\r' => None,
            c if c.is_control() => Some('\u{fffd}'),
            c => Some(c).filter(|c| !paints(*c)),
        };
        String::from_utf8_lossy(&bytes).chars().filter_map(tame).collect::<String>().into_bytes()
    }
}

/// How many bytes a character of UTF-8 has that begins so.
fn char_length(first: u8) -> usize {
    match first {
        0xf0..=0xf4 => 4,
        0xe0..=0xef => 3,
        0xc2..=0xdf => 2,
        _ => 1,
    }
}

/// [`visible`] text on one line.
#[must_use]
pub fn one_line(text: &str) -> String {
    visible(text).lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" / ")
}

/// Rows as aligned columns, two spaces apart, a line each; columns are as wide as their widest cell.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| width(cell)).max().unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, columns)| pad(cell, *columns)).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cuts_at_columns_not_at_characters() {
        let cases = [
            ("node01", 6, "node01"),
            ("node01", 5, "node…"),
            ("node01", 1, "…"),
            ("node01", 0, ""),
            ("国国国", 4, "国…"),
            ("国国国", 6, "国国国"),
            ("\x1b[32mgreen\x1b[0m", 3, "\x1b[32mgr…\x1b[0m"),
        ];
        for (text, columns, expected) in cases {
            assert_eq!(cut(text, columns, "…"), expected, "{text} at {columns}");
        }
    }

    #[test]
    fn wraps_at_words_and_keeps_long_ones_whole() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("a\n  b c", 3), ["a", "  b", "  c"]);
        assert_eq!(wrap("a  b   c ", 4), ["a  b", "c"]);
        assert_eq!(wrap("see /var/log/very/long now", 8), ["see", "/var/log/very/long", "now"]);
        assert_eq!(wrap("", 8), Vec::<String>::new());
    }

    #[test]
    fn hosts_cannot_rewrite_the_screen() {
        assert_eq!(visible("\x1b[2J\x1b[1;1Hfine"), "fine");
        assert_eq!(visible("a\x07b\rc\x1b"), "a\u{fffd}b\u{fffd}c\u{fffd}");
        assert_eq!(visible("one\r\n\ttwo\n\n"), "one\n two");
        assert_eq!(visible("ok\u{202e}kcab\u{200b}\u{2028}\u{feff}"), "okkcab");
        assert_eq!(one_line(" a\n\n  b\n"), "a / b");
    }

    #[test]
    fn what_passes_by_is_tamed_however_it_comes() {
        let text = "a\u{1b}[2Jé国\u{9b}m\r\n\u{202e}😀\t.";
        for size in 1..text.len() {
            let mut taming = Taming::default();
            let shown: Vec<u8> = text.as_bytes().chunks(size).flat_map(|part| taming.take(part)).collect();
            assert_eq!(String::from_utf8(shown).unwrap(), "a\u{fffd}[2Jé国\u{fffd}m\n😀\t.", "in pieces of {size}");
        }
        assert_eq!(Taming::default().take(b"\xff\xfe"), "\u{fffd}\u{fffd}".as_bytes());
        assert_eq!(Taming::default().take(b""), b"");
    }

    #[test]
    fn columns_line_up_with_wide_and_coloured_cells() {
        let row = |cells: &[&str]| cells.iter().map(ToString::to_string).collect::<Vec<_>>();
        let rows = [row(&["MEMBER", "STATE", ""]), row(&["国", "\x1b[32mhealthy\x1b[0m", "x"]), row(&["n"])];
        assert_eq!(table(&rows), "MEMBER  STATE\n国      \x1b[32mhealthy\x1b[0m  x\nn\n");
        assert_eq!(table(&[]), "");
    }

    proptest! {
        #[test]
        fn a_cut_text_fits(text in "[a-z国é\u{301} ]{0,30}", columns in 0usize..40) {
            prop_assert!(width(&cut(&text, columns, "…")) <= columns);
        }

        #[test]
        fn visible_text_has_no_control_characters(text in any::<String>()) {
            prop_assert!(!visible(&text).chars().any(|c| paints(c) && c != '\n'));
        }

        #[test]
        fn wrapping_loses_no_word(text in "[a-z\u{56fd} ]{0,60}", columns in 1usize..20) {
            let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
            prop_assert_eq!(words(&wrap(&text, columns).join(" ")), words(&text));
        }
    }
}
