//! Numbers and times as people read them.

use std::time::Duration;

use airboss_model::{Span, Timestamp};

/// A ratio as a percentage with the digits that matter: `12.3%`, `0.20%`, `0.0123%`.
pub fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if !percent.is_finite() {
        return "–".to_owned();
    }
    match percent.abs() {
        0.0 => "0%".to_owned(),
        p if p >= 99.995 => format!("{percent:.0}%"),
        p if p >= 10.0 => format!("{percent:.1}%"),
        p if p >= 0.1 => format!("{percent:.2}%"),
        p if p >= 0.001 => format!("{percent:.4}%"),
        _ => "<0.001%".to_owned(),
    }
}

/// A rate: `45.2`, `1,234`.
pub fn rate(per_second: f64) -> String {
    if per_second < 100.0 {
        format!("{per_second:.1}")
    } else {
        thousands(per_second)
    }
}

/// Milliseconds: `0.42ms`, `3.1ms`, `120ms`, `4.2s`.
pub fn millis(ms: f64) -> String {
    match ms {
        ms if ms < 1.0 => format!("{ms:.2}ms"),
        ms if ms < 10.0 => format!("{ms:.1}ms"),
        ms if ms < 10_000.0 => format!("{ms:.0}ms"),
        ms => format!("{:.1}s", ms / 1000.0),
    }
}

/// Odds, the N of N : 1: `0.31`, `3.2`, `1,000`, `over a million`.
pub fn odds(odds: f64) -> String {
    match odds {
        odds if odds.is_nan() => "–".to_owned(),
        odds if odds < 0.01 => "under 0.01".to_owned(),
        odds if odds < 1.0 => format!("{odds:.2}"),
        odds if odds < 100.0 => {
            let text = format!("{odds:.1}");
            text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
        }
        odds if odds < 1e6 => thousands(odds),
        _ => "over a million".to_owned(),
    }
}

/// A count with commas: `12,345`.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded, not negative, and held at the bounds of the type"
)]
fn thousands(value: f64) -> String {
    count(value.max(0.0).round() as u64)
}

/// Bytes: `512 B`, `1.5 MB`, `20 GB`; a kilobyte has 1,000 bytes, as disks are sold.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 99.5 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// The time between two of the server's times, to the second: `1m5s`. None where one is no time.
/// A `to` before `from` counts as none.
pub fn between(from: &str, to: &str) -> Option<String> {
    let span = airboss_model::time::since(from.parse().ok()?, to.parse().ok()?);
    Some(Span(Duration::from_secs(span.as_secs())).to_string())
}

/// Seconds from `now` to `at`, rounded up; negative where `at` is over. None where one is no time.
pub fn seconds_until(at: &str, now: &str) -> Option<i64> {
    let (at, now): (Timestamp, Timestamp) = (at.parse().ok()?, now.parse().ok()?);
    let ms = at.as_millisecond() - now.as_millisecond();
    Some(ms.div_euclid(1000) + i64::from(ms.rem_euclid(1000) > 0))
}

/// The clock part of a time: `12:00:03Z`. What is no time is given back as it is.
pub fn clock(at: &str) -> String {
    at.parse::<Timestamp>()
        .map_or_else(|_| at.to_owned(), |at| at.strftime("%H:%M:%SZ").to_string())
}

/// Day and time: `2026-11-22 12:00:03Z`. What is no time is given back as it is.
pub fn day_and_clock(at: &str) -> String {
    at.parse::<Timestamp>().map_or_else(
        |_| at.to_owned(),
        |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
    )
}

/// A digest as people compare it: `sha256:` and 12 digits.
pub fn short_digest(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}

/// A word of the API in plain writing: `rolled_back` is `rolled back`.
pub fn plain(word: &str) -> String {
    word.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_the_digits_that_matter() {
        let ratios = [
            0.0,
            0.5,
            1.0,
            0.002,
            0.000_123,
            0.000_000_1,
            0.123,
            f64::NAN,
        ];
        assert_eq!(
            ratios.map(percent).join(" "),
            "0% 50.0% 100% 0.20% 0.0123% <0.001% 12.3% –"
        );
        assert_eq!([0.0, 45.23, 1234.4].map(rate).join(" "), "0.0 45.2 1,234");
        assert_eq!(
            [0.424, 3.13, 120.2, 12_345.0].map(millis).join(" "),
            "0.42ms 3.1ms 120ms 12.3s"
        );
        assert_eq!(
            [0.001, 0.314, 3.2, 20.0, 1000.0, 1e9].map(odds).join(" | "),
            "under 0.01 | 0.31 | 3.2 | 20 | 1,000 | over a million"
        );
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count).join(" "),
            "0 999 1,000 1,234,567"
        );
        assert_eq!(
            [512, 1_500_000, 20_000_000_000, 999_999]
                .map(bytes)
                .join(" | "),
            "512 B | 1.5 MB | 20.0 GB | 1.0 MB"
        );
    }

    #[test]
    fn a_countdown_ends_at_zero_when_the_time_has_come() {
        let now = "2026-11-22T12:00:00.400Z";
        assert_eq!(seconds_until("2026-11-22T12:00:12Z", now), Some(12));
        assert_eq!(seconds_until("2026-11-22T12:00:00.400Z", now), Some(0));
        assert_eq!(seconds_until("2026-11-22T11:59:59Z", now), Some(-1));
        assert_eq!(seconds_until("soon", now), None);
        assert_eq!(
            between("2026-11-22T11:58:55.100Z", now).as_deref(),
            Some("1m5s")
        );
    }
}
