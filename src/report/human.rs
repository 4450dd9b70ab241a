//! Quantities as people read them.

/// Bytes in binary units: `512 B`, `19.8 MiB`.
#[must_use]
pub fn human_bytes(bytes: u64) -> String {
    let (scale, unit) = scale(bytes);
    format!("{} {unit}", scaled(bytes, scale))
}

/// How much of how much, in the unit of the whole, as wide at the start as at the end:
/// ` 2.4/19.8 MiB`.
#[must_use]
pub fn human_ratio(done: u64, total: u64) -> String {
    let (scale, unit) = scale(total);
    let whole = scaled(total, scale);
    format!("{:>1$}/{whole} {unit}", scaled(done, scale), whole.len())
}

/// A percentage, rounded down so that 100 means done; nothing of nothing is done.
#[must_use]
pub fn percent(done: u64, total: u64) -> u64 {
    if total == 0 || done >= total {
        return 100;
    }
    u64::try_from(u128::from(done) * 100 / u128::from(total)).unwrap_or(100)
}

/// A span of time: `4 ms`, `4.2 s`, `42 s`, `1 min 05 s`, `2 h 03 min`. What is no span is `0 ms`.
#[must_use]
pub fn human_seconds(seconds: f64) -> String {
    if !seconds.is_finite() || seconds <= 0.0 {
        return "0 ms".to_string();
    }
    // The limits are those at which the rounded number reaches the next form.
    if seconds < 0.0995 {
        return format!("{:.0} ms", seconds * 1000.0);
    }
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    whole_seconds(seconds)
}

/// The same, but to the millisecond below a second.
#[must_use]
pub fn human_span(seconds: f64) -> String {
    if seconds < 0.9995 { format!("{:.0} ms", seconds.max(0.0) * 1000.0) } else { human_seconds(seconds) }
}

/// A span of time in whole seconds, for what is counted up or down before the user's eyes.
#[must_use]
pub fn whole_seconds(seconds: f64) -> String {
    // A float that is too large or not a number becomes the nearest end of the range.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let seconds = seconds.round() as u64;
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {:02} s", seconds % 60),
        _ => format!("{hours} h {:02} min", minutes % 60),
    }
}

/// A number and its noun: `1 host`, `3 hosts`.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

fn scale(bytes: u64) -> (u32, &'static str) {
    let mut power = 0;
    let mut unit = UNITS[0];
    for (step, name) in UNITS.iter().enumerate() {
        let step = u32::try_from(step).unwrap_or_default();
        // 1023.95 KiB would be written 1024.0 KiB: it belongs to the next unit.
        let reached = step == 0 || u128::from(bytes) * 20 >= (1u128 << (10 * step)) * 20 - (1u128 << (10 * (step - 1)));
        if reached {
            (power, unit) = (step, name);
        }
    }
    (power, unit)
}

fn scaled(bytes: u64, power: u32) -> String {
    if power == 0 {
        return bytes.to_string();
    }
    // Exact up to 2^53 bytes and within a tenth of the unit beyond.
    #[allow(clippy::cast_precision_loss)]
    let number = bytes as f64 / 1024f64.powi(i32::try_from(power).unwrap_or_default());
    format!("{number:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (20_761_804, "19.8 MiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(human_bytes(bytes), expected);
        }
    }

    #[test]
    fn ratios_keep_their_width() {
        assert_eq!(human_ratio(0, 20_761_804), " 0.0/19.8 MiB");
        assert_eq!(human_ratio(20_761_804, 20_761_804), "19.8/19.8 MiB");
        assert_eq!(human_ratio(5, 10), " 5/10 B");
    }

    #[test]
    fn percents_reach_100_only_when_done() {
        let cases = [
            ((0, 10), 0),
            ((999, 1000), 99),
            ((10, 10), 100),
            ((11, 10), 100),
            ((0, 0), 100),
            ((u64::MAX - 1, u64::MAX), 99),
        ];
        for ((done, total), expected) in cases {
            assert_eq!(percent(done, total), expected, "{done} of {total}");
        }
    }

    #[test]
    fn seconds() {
        let cases = [
            (0.0, "0 ms"),
            (-3.0, "0 ms"),
            (f64::NAN, "0 ms"),
            (f64::INFINITY, "0 ms"),
            (0.004, "4 ms"),
            (0.0994, "99 ms"),
            (0.0996, "0.1 s"),
            (4.23, "4.2 s"),
            (9.96, "10 s"),
            (59.4, "59 s"),
            (59.6, "1 min 00 s"),
            (65.0, "1 min 05 s"),
            (3599.7, "1 h 00 min"),
            (7384.0, "2 h 03 min"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(human_seconds(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn milliseconds() {
        for (seconds, expected) in
            [(-1.0, "0 ms"), (f64::NAN, "0 ms"), (0.0004, "0 ms"), (0.2, "200 ms"), (0.9994, "999 ms"), (1.25, "1.2 s")]
        {
            assert_eq!(human_span(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn nouns() {
        assert_eq!(count(0, "host"), "0 hosts");
        assert_eq!(count(1, "host"), "1 host");
        assert_eq!(count(3, "host"), "3 hosts");
    }
}
