//! Which display the user gets: a decision over the flags and what stdout and stderr are.

use super::{Color, Detail, JsonLines, Look, Plain, Sink, Style, Symbols, Terminal};
use std::ffi::OsString;
use std::io::IsTerminal as _;

/// The display the user asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// Bars on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    /// Plain lines (`--plain`).
    Plain,
    /// JSON lines on stdout (`-o json`).
    Json,
}

/// The display the user gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// Bars and spinners on stderr.
    Terminal,
    /// Plain lines on stderr.
    Plain,
    /// JSON lines on stdout.
    Json,
}

/// What the process finds around it that decides how it may talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Surroundings {
    /// Stdout is a terminal.
    pub stdout_tty: bool,
    /// Stderr is a terminal.
    pub stderr_tty: bool,
    /// `NO_COLOR` is set and not empty (<https://no-color.org>).
    pub no_color: bool,
    /// `TERM` is unset or `dumb`: the terminal cannot move its cursor.
    pub dumb: bool,
    /// The locale is UTF-8 and the terminal is not the Linux console, whose font lacks the signs.
    pub unicode: bool,
    /// Columns of the terminal on stderr, where they are known.
    pub columns: Option<u16>,
}

/// A line with a bar needs about this many columns.
const NARROWEST: u16 = 40;

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn look() -> Self {
        Self::read(
            |name| std::env::var_os(name),
            std::io::stdout().is_terminal(),
            std::io::stderr().is_terminal(),
            console::Term::stderr().size_checked().map(|(_, columns)| columns),
        )
    }

    /// Those that an environment and the two streams make.
    #[must_use]
    pub fn read(
        variable: impl Fn(&str) -> Option<OsString>,
        stdout_tty: bool,
        stderr_tty: bool,
        columns: Option<u16>,
    ) -> Self {
        let value = |name| variable(name).filter(|value| !value.is_empty());
        let term = value("TERM");
        // locale(7): the first of these that is set and not empty decides.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(value);
        let utf8 = locale.is_some_and(|locale| {
            let locale = locale.to_string_lossy().to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        });
        Self {
            stdout_tty,
            stderr_tty,
            no_color: value("NO_COLOR").is_some(),
            dumb: term.as_ref().is_none_or(|term| term == "dumb"),
            unicode: utf8 && term.is_none_or(|term| term != "linux"),
            columns,
        }
    }

    /// How data on stdout looks.
    #[must_use]
    pub fn stdout_style(&self, color: Color) -> Style {
        self.style(color, self.stdout_tty)
    }

    /// How narration and errors on stderr look.
    #[must_use]
    pub fn stderr_style(&self, color: Color) -> Style {
        self.style(color, self.stderr_tty)
    }

    /// How the terminal display looks.
    #[must_use]
    pub fn terminal_look(&self, color: Color) -> Look {
        Look { style: self.stderr_style(color), symbols: if self.unicode { Symbols::UNICODE } else { Symbols::ASCII } }
    }

    fn style(&self, color: Color, tty: bool) -> Style {
        Style::new(match color {
            Color::Auto => tty && !self.no_color && !self.dumb,
            Color::Always => true,
            Color::Never => false,
        })
    }
}

impl Screen {
    /// The display for what was asked, where it is shown. A terminal that is too narrow, of unknown
    /// width (a serial line), or whose user set `NO_COLOR`, gets plain lines.
    #[must_use]
    pub fn choose(format: Format, around: &Surroundings) -> Self {
        let wide = around.columns.is_some_and(|columns| columns >= NARROWEST);
        match format {
            Format::Json => Self::Json,
            Format::Plain => Self::Plain,
            Format::Auto if around.stderr_tty && wide && !around.no_color && !around.dumb => Self::Terminal,
            Format::Auto => Self::Plain,
        }
    }

    /// The sink that draws this display on the process's own stdout or stderr.
    #[must_use]
    pub fn sink(self, look: Look, detail: Detail) -> Box<dyn Sink> {
        match self {
            Self::Terminal => Box::new(Terminal::stderr(look, detail)),
            Self::Plain => Box::new(Plain::stderr(detail)),
            Self::Json => Box::new(JsonLines::stdout()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMINAL: Surroundings = Surroundings {
        stdout_tty: true,
        stderr_tty: true,
        no_color: false,
        dumb: false,
        unicode: true,
        columns: Some(80),
    };

    #[test]
    fn bars_only_where_they_can_be_drawn() {
        let cases = [
            (Format::Auto, TERMINAL, Screen::Terminal),
            (Format::Plain, TERMINAL, Screen::Plain),
            (Format::Json, TERMINAL, Screen::Json),
            // `etcd-ha deploy > file`: narration is still for the eyes.
            (Format::Auto, Surroundings { stdout_tty: false, ..TERMINAL }, Screen::Terminal),
            (Format::Auto, Surroundings { stderr_tty: false, ..TERMINAL }, Screen::Plain),
            (Format::Auto, Surroundings { no_color: true, ..TERMINAL }, Screen::Plain),
            (Format::Auto, Surroundings { dumb: true, ..TERMINAL }, Screen::Plain),
            (Format::Auto, Surroundings { columns: None, ..TERMINAL }, Screen::Plain),
            (Format::Auto, Surroundings { columns: Some(39), ..TERMINAL }, Screen::Plain),
            (Format::Auto, Surroundings { columns: Some(40), ..TERMINAL }, Screen::Terminal),
        ];
        for (format, around, expected) in cases {
            assert_eq!(Screen::choose(format, &around), expected, "{format:?} {around:?}");
        }
    }

    #[test]
    fn colours_follow_the_stream_and_the_wish() {
        let piped = Surroundings { stdout_tty: false, ..TERMINAL };
        let quiet = Surroundings { no_color: true, ..TERMINAL };
        assert!(TERMINAL.stdout_style(Color::Auto).is_colored());
        assert!(!piped.stdout_style(Color::Auto).is_colored());
        assert!(piped.stderr_style(Color::Auto).is_colored());
        assert!(piped.stdout_style(Color::Always).is_colored());
        assert!(!quiet.stdout_style(Color::Auto).is_colored());
        assert!(quiet.stdout_style(Color::Always).is_colored());
        assert!(!TERMINAL.stderr_style(Color::Never).is_colored());
    }

    #[test]
    fn environments() {
        let read = |variables: &[(&str, &str)]| {
            let find = |name: &str| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| OsString::from(value))
            };
            let around = Surroundings::read(find, true, true, Some(80));
            (around.no_color, around.dumb, around.unicode)
        };
        type Case = (&'static [(&'static str, &'static str)], (bool, bool, bool));
        let cases: [Case; 8] = [
            (&[], (false, true, false)),
            (&[("TERM", "xterm"), ("LANG", "C.UTF-8")], (false, false, true)),
            (&[("TERM", "xterm"), ("LANG", "de_DE.utf8")], (false, false, true)),
            (&[("TERM", "xterm"), ("LANG", "C.UTF-8"), ("LC_ALL", "C")], (false, false, false)),
            (&[("TERM", "xterm"), ("LANG", "C.UTF-8"), ("LC_ALL", "")], (false, false, true)),
            (&[("TERM", "linux"), ("LANG", "C.UTF-8")], (false, false, false)),
            (&[("TERM", "dumb"), ("NO_COLOR", "1")], (true, true, false)),
            (&[("TERM", "xterm"), ("NO_COLOR", "")], (false, false, false)),
        ];
        for (variables, expected) in cases {
            assert_eq!(read(variables), expected, "{variables:?}");
        }
    }
}
