//! Colours and symbols by what they mean.

use std::fmt::Display;

/// When colours are used, as the user says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Color {
    /// On a terminal that can, unless `NO_COLOR` is set (<https://no-color.org>).
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Writes texts in the colour of their meaning, or leaves them as they are.
///
/// Only the eight standard colours are used, and none of them for a background, so that light and
/// dark terminals show them as their owner chose. A colour is never the only signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    color: bool,
}

impl Style {
    /// With colours or without.
    #[must_use]
    pub const fn new(color: bool) -> Self {
        Self { color }
    }

    /// Whether colours are on.
    #[must_use]
    pub const fn is_colored(self) -> bool {
        self.color
    }

    /// As wished, healthy, done.
    #[must_use]
    pub fn good(self, text: impl Display) -> String {
        self.sgr("32", text)
    }

    /// Failed, unhealthy.
    #[must_use]
    pub fn bad(self, text: impl Display) -> String {
        self.sgr("31", text)
    }

    /// Changed, pending, worth a look.
    #[must_use]
    pub fn warn(self, text: impl Display) -> String {
        self.sgr("33", text)
    }

    /// Under way; in a diff, the place.
    #[must_use]
    pub fn busy(self, text: impl Display) -> String {
        self.sgr("36", text)
    }

    /// One of several that are told apart, such as hosts; the same for the same number.
    #[must_use]
    pub fn tint(self, number: usize, text: impl Display) -> String {
        const CODES: [&str; 6] = ["36", "35", "34", "32", "1;36", "1;35"];
        self.sgr(CODES[number % CODES.len()], text)
    }

    /// Of less weight.
    #[must_use]
    pub fn dim(self, text: impl Display) -> String {
        self.sgr("2", text)
    }

    /// Of more weight.
    #[must_use]
    pub fn bold(self, text: impl Display) -> String {
        self.sgr("1", text)
    }

    /// ECMA-48, Select Graphic Rendition.
    fn sgr(self, code: &str, text: impl Display) -> String {
        let text = text.to_string();
        if self.color && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text }
    }
}

/// The signs of the terminal display, each one column wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbols {
    /// Before a play's title.
    pub play: &'static str,
    /// Done.
    pub done: &'static str,
    /// Failed.
    pub failed: &'static str,
    /// Needs attention.
    pub attention: &'static str,
    /// Waits for its turn.
    pub waiting: &'static str,
    /// In place of what was cut off.
    pub cut: &'static str,
    /// The moved part of a bar.
    pub full: &'static str,
    /// The rest of a bar.
    pub empty: &'static str,
    /// The pictures of the spinner.
    pub spinner: &'static [&'static str],
}

impl Symbols {
    /// For terminals that show Unicode.
    pub const UNICODE: Self = Self {
        play: "▸",
        done: "✓",
        failed: "✗",
        attention: "!",
        waiting: "·",
        cut: "…",
        full: "━",
        empty: "─",
        spinner: &["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"],
    };

    /// For all others: another locale, the Linux console with its 256 signs.
    pub const ASCII: Self = Self {
        play: ">",
        done: "+",
        failed: "x",
        attention: "!",
        waiting: ".",
        cut: "~",
        full: "#",
        empty: "-",
        spinner: &["|", "/", "-", "\\"],
    };
}

/// How a terminal display looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Colours.
    pub style: Style,
    /// Signs.
    pub symbols: Symbols,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::text::width;

    #[test]
    fn colours_only_where_wanted() {
        assert_eq!(Style::new(true).good("ok"), "\x1b[32mok\x1b[0m");
        assert_eq!(Style::new(false).good("ok"), "ok");
        assert_eq!(Style::new(true).bad(""), "");
    }

    #[test]
    fn every_symbol_takes_one_column() {
        for set in [Symbols::UNICODE, Symbols::ASCII] {
            let signs = [set.play, set.done, set.failed, set.attention, set.waiting, set.cut, set.full, set.empty];
            for sign in signs.iter().chain(set.spinner) {
                assert_eq!(width(sign), 1, "{sign}");
            }
        }
    }
}
