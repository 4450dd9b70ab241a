//! Times as people type them: `1h`, `today`, `2026-11-26 10:14`. Without an offset they are UTC, as all times that
//! are shown.

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, Duration, OffsetDateTime, PrimitiveDateTime, Time};

/// What is taken.
pub(super) const FORMS: &str = "`30m`, `1h`, `2d`, `today`, `10:14` or `2026-11-26T10:14:30Z`";

/// A time, as far as it is meant without knowing what time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// So long ago.
    Ago(Duration),
    /// At this time of today.
    Today(Time),
    /// Just then.
    At(OffsetDateTime),
}

impl When {
    /// The time that is meant at `now`.
    pub fn at(self, now: OffsetDateTime) -> OffsetDateTime {
        match self {
            Self::Ago(span) => now.checked_sub(span).unwrap_or(OffsetDateTime::UNIX_EPOCH),
            Self::Today(time) => now.replace_time(time),
            Self::At(time) => time,
        }
    }

    /// Reads a flag's value.
    pub fn read(text: &str) -> Result<Self, String> {
        let read = ago(text).or_else(|| day_or_time(text));
        read.filter(|when| when.is_after_1970())
            .ok_or_else(|| format!("{FORMS} is wanted; without an offset it is UTC"))
    }

    fn is_after_1970(self) -> bool {
        !matches!(self, Self::At(time) if time < OffsetDateTime::UNIX_EPOCH)
    }
}

/// `90s`, `30m`, `1h`, `2d`, `1w`
fn ago(text: &str) -> Option<When> {
    let (count, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit: i64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    let digits = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = digits.then(|| count.parse::<i64>().ok()?.checked_mul(unit))??;
    // A hundred years are more than any journal has.
    (seconds <= 3_155_760_000).then(|| When::Ago(Duration::seconds(seconds)))
}

fn day_or_time(text: &str) -> Option<When> {
    const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
    const TIMES: [&[BorrowedFormatItem<'_>]; 3] = [
        format_description!("[hour]:[minute]"),
        format_description!("[hour]:[minute]:[second]"),
        format_description!("[hour]:[minute]:[second].[subsecond]"),
    ];
    let time = |text: &str| TIMES.iter().find_map(|form| Time::parse(text, form).ok());
    if text == "today" {
        return Some(When::Today(Time::MIDNIGHT));
    }
    if let Some(time) = time(text) {
        return Some(When::Today(time));
    }
    if let Ok(time) = OffsetDateTime::parse(&text.replacen(' ', "T", 1), &Rfc3339) {
        return Some(When::At(time));
    }
    let (day, rest) = text.split_once(['T', ' ']).map_or((text, None), |(day, rest)| (day, Some(rest)));
    let day = Date::parse(day, DAY).ok()?;
    let time = match rest {
        Some(rest) => time(rest)?,
        None => Time::MIDNIGHT,
    };
    Some(When::At(PrimitiveDateTime::new(day, time).assume_utc()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn times_as_people_type_them() {
        let now = datetime!(2026-11-26 10:14:30.5 UTC);
        for (text, want) in [
            ("0s", now),
            ("90s", datetime!(2026-11-26 10:13:00.5 UTC)),
            ("30m", datetime!(2026-11-26 09:44:30.5 UTC)),
            ("1h", datetime!(2026-11-26 09:14:30.5 UTC)),
            ("2d", datetime!(2026-11-24 10:14:30.5 UTC)),
            ("1w", datetime!(2026-11-19 10:14:30.5 UTC)),
            ("today", datetime!(2026-11-26 00:00 UTC)),
            ("10:14", datetime!(2026-11-26 10:14 UTC)),
            ("23:59:59", datetime!(2026-11-26 23:59:59 UTC)),
            ("2026-11-25", datetime!(2026-11-25 00:00 UTC)),
            ("2026-11-25 10:14", datetime!(2026-11-25 10:14 UTC)),
            ("2026-11-25T10:14:30", datetime!(2026-11-25 10:14:30 UTC)),
            ("2026-11-25T10:14:30.123", datetime!(2026-11-25 10:14:30.123 UTC)),
            ("2026-11-25T10:14:30Z", datetime!(2026-11-25 10:14:30 UTC)),
            ("2026-11-25 10:14:30+01:00", datetime!(2026-11-25 09:14:30 UTC)),
        ] {
            assert_eq!(When::read(text).map(|when| when.at(now)), Ok(want), "{text}");
        }
    }

    #[test]
    fn others_are_refused() {
        for text in [
            "",
            "h",
            "1",
            "-1h",
            "+1h",
            "1.5h",
            "1 h",
            "1H",
            "1y",
            "99999999999999999999s",
            "200000w",
            "yesterday",
            "Today",
            "25:00",
            "10:14:61",
            "2026-13-01",
            "2026-11-25T",
            "2026-11-25 10",
            "26.11.2026",
            "1969-12-31",
            "@1795661605",
            "1h; reboot",
            "１h",
            "é",
        ] {
            assert!(When::read(text).is_err(), "{text}");
        }
    }
}
