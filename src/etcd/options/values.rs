//! The values that options take.

use super::is_known;
use super::table::{EtcdOption, Kind};
use crate::inventory::{Finding, nearest, quoted};
use semver::Version;

/// A value of `option` in its one spelling, or why it is none.
pub(super) fn canonical(version: &Version, option: &EtcdOption, value: &str) -> Result<String, Finding> {
    let name = option.name;
    let refuse = |what: &str, help: String| {
        Err(Finding::new(format!("`{name}` wants {what}, found {}", quoted(value))).help(help))
    };
    match &option.kind {
        Kind::Text => Ok(value.to_owned()),
        Kind::Bool => match value {
            "true" | "false" => Ok(value.to_owned()),
            // Go takes these, too; one spelling each keeps a change of spelling from looking like a change.
            "1" | "t" | "T" | "TRUE" | "True" => Ok("true".to_owned()),
            "0" | "f" | "F" | "FALSE" | "False" => Ok("false".to_owned()),
            _ => refuse("`true` or `false`", "write `true` or `false`".to_owned()),
        },
        Kind::Number { least, most } => match value.parse::<u64>() {
            Ok(number) if value.bytes().all(|byte| byte.is_ascii_digit()) && (*least..=*most).contains(&number) => {
                Ok(number.to_string())
            }
            _ if *most == u64::MAX => refuse("a whole number", format!("{least} or more")),
            _ => refuse("a whole number", format!("from {least} to {most}")),
        },
        Kind::Bytes { most } => match bytes(value) {
            Some(size) if size <= *most => Ok(size.to_string()),
            _ => refuse("a size", "a whole number of bytes, or with a unit of KiB, MiB, GiB: `8GiB`".to_owned()),
        },
        Kind::Duration { zero } => match go_duration(value) {
            Some(positive) if positive || *zero => Ok(value.to_owned()),
            Some(_) => refuse("a length of time above zero", "for example `1m`".to_owned()),
            None => refuse("a length of time", "numbers with units of ms, s, m, h: `500ms`, `1h30m`".to_owned()),
        },
        Kind::Retention => match value.parse::<u64>() {
            Ok(_) => Ok(value.to_owned()),
            Err(_) if go_duration(value).is_some() => Ok(value.to_owned()),
            Err(_) => refuse("a length of time or a number", "`5m`, `8` (hours) or, by revision, `1000`".to_owned()),
        },
        Kind::Words(words) => {
            let known: Vec<&str> =
                words.iter().filter(|(_, at)| is_known(at, version)).map(|(word, _)| *word).collect();
            if known.contains(&value) {
                return Ok(value.to_owned());
            }
            refuse(&format!("one of {} in etcd {version}", known.join(", ")), suggestion(value, &known))
        }
        Kind::Gates(gates) => {
            let known: Vec<&str> =
                gates.iter().filter(|(_, at)| is_known(at, version)).map(|(gate, _)| *gate).collect();
            for part in value.split(',') {
                let Some((gate, state)) = part.split_once('=') else {
                    return refuse("gates", "`Name=true`, several separated by commas".to_owned());
                };
                if !matches!(state, "true" | "false") {
                    return refuse(
                        &format!("`true` or `false` for gate {}", quoted(gate)),
                        format!("write `{gate}=true`"),
                    );
                }
                if !known.contains(&gate) {
                    let message = format!("etcd {version} has no feature gate {}", quoted(gate));
                    return Err(Finding::new(message).help(suggestion(gate, &known)));
                }
            }
            Ok(value.to_owned())
        }
    }
}

fn suggestion(word: &str, known: &[&str]) -> String {
    let lower = word.to_ascii_lowercase();
    let same = known.iter().copied().find(|candidate| candidate.to_ascii_lowercase() == lower);
    match same.or_else(|| nearest(word, known.iter().copied())) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known are {}", known.join(", ")),
    }
}

/// A size in bytes. Decimal units (`8GB`) are not taken: whether they mean powers of 1000 or of 1024 is anyone's guess.
pub(crate) fn bytes(value: &str) -> Option<u64> {
    let digits = value.len() - value.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = value.split_at_checked(digits)?;
    let shift = match unit.trim_start_matches(' ') {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Whether a text is what Go's `time.ParseDuration` takes, without a sign, and if so whether it is above zero.
pub(super) fn go_duration(value: &str) -> Option<bool> {
    if value == "0" {
        return Some(false);
    }
    let mut rest = value;
    let mut positive = false;
    while !rest.is_empty() {
        let length = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let (number, after) = rest.split_at_checked(length)?;
        if number.matches('.').count() > 1 || !number.bytes().any(|byte| byte.is_ascii_digit()) || number.len() > 15 {
            return None;
        }
        // Longest first: `ms` is not `m` and something.
        let unit = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"].into_iter().find(|unit| after.starts_with(unit))?;
        positive |= number.bytes().any(|byte| byte.is_ascii_digit() && byte != b'0');
        rest = after.strip_prefix(unit)?;
    }
    (!value.is_empty()).then_some(positive)
}
