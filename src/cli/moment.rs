//! Moments as people read them.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, UtcOffset};

/// In this machine's zone, with its offset: `2026-11-22 11:14:30 +01:00`.
pub(super) fn local(at: OffsetDateTime) -> String {
    zoned(at, UtcOffset::local_offset_at(at).unwrap_or(UtcOffset::UTC))
}

fn zoned(at: OffsetDateTime, offset: UtcOffset) -> String {
    let format = format_description!(
        "[year]-[month]-[day] [hour]:[minute]:[second] [offset_hour sign:mandatory]:[offset_minute]"
    );
    at.checked_to_offset(offset).unwrap_or(at).format(format).unwrap_or_default()
}

/// For programs, in UTC.
pub(super) fn rfc3339(at: OffsetDateTime) -> String {
    at.to_offset(UtcOffset::UTC).format(&Rfc3339).unwrap_or_default()
}

/// How long ago that is, by its largest unit.
pub(super) fn age(age: Duration) -> String {
    let of = |number: i64, one: &str, more: &str| match number {
        1 => format!("1 {one} ago"),
        number => format!("{number} {more} ago"),
    };
    match age.whole_seconds() {
        ..0 => "in the future".to_owned(),
        seconds @ 0..60 => of(seconds, "s", "s"),
        seconds @ 60..3600 => of(seconds / 60, "min", "min"),
        seconds @ 3600..86_400 => of(seconds / 3600, "h", "h"),
        seconds => of(seconds / 86_400, "day", "days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::{datetime, offset};

    #[test]
    fn moments() {
        let at = datetime!(2026-11-22 10:14:30 UTC);
        assert_eq!(zoned(at, offset!(+1)), "2026-11-22 11:14:30 +01:00");
        assert_eq!(zoned(at, offset!(-3:30)), "2026-11-22 06:44:30 -03:30");
        assert_eq!(zoned(at, UtcOffset::UTC), "2026-11-22 10:14:30 +00:00");
        assert_eq!(rfc3339(at), "2026-11-22T10:14:30Z");
    }

    #[test]
    fn ages() {
        for (seconds, want) in [
            (-5, "in the future"),
            (0, "0 s ago"),
            (59, "59 s ago"),
            (60, "1 min ago"),
            (3599, "59 min ago"),
            (7200, "2 h ago"),
            (86_400, "1 day ago"),
            (400 * 86_400, "400 days ago"),
        ] {
            assert_eq!(age(Duration::seconds(seconds)), want);
        }
    }
}
