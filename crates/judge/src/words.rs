//! Numbers as people read them.

use crate::Rate;

/// A ratio as a percentage with two significant digits: `1.9 %`, `0.11 %`, `34 %`, `0 %`; close to all
/// the digits count what is missing: `97.5 %`, `99.942 %`.
pub fn percent(ratio: f64) -> String {
    let value = ratio * 100.0;
    let missing = 100.0 - value;
    if value > 90.0 && missing > 1e-6 {
        let decimals = (1.0 - missing.log10().floor()).clamp(0.0, 7.0) as usize;
        let text = format!("{value:.decimals$}");
        return format!("{} %", text.trim_end_matches('0').trim_end_matches('.'));
    }
    if !value.is_finite() || value == 0.0 {
        return "0 %".to_owned();
    }
    format!("{} %", significant(value))
}

/// A promise with all its nines: `99.95%`.
pub fn share(ratio: f64) -> String {
    // Ten digits hide the rounding of the multiplication by 100.
    let percent = format!("{:.10}", ratio * 100.0);
    format!("{}%", percent.trim_end_matches('0').trim_end_matches('.'))
}

/// Two significant digits, no exponent down to 1e-6.
pub fn significant(value: f64) -> String {
    let magnitude = value.abs().log10().floor();
    let decimals = (1.0 - magnitude).clamp(0.0, 7.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

/// A count with thousands separated: `1,950`.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Evidence as odds: `4,100 : 1`, `1 : 3`, `over 1,000,000,000 : 1`.
pub fn odds(log_e: f64) -> String {
    if log_e > 20.7 {
        return "over 1,000,000,000 : 1".to_owned();
    }
    if log_e < -6.9 {
        return "below 1 : 1,000".to_owned();
    }
    if log_e < -0.05 {
        return format!("1 : {}", significant((-log_e).exp()));
    }
    let odds = log_e.exp();
    if odds < 10.0 {
        return format!("{} : 1", significant(odds));
    }
    // Two digits are what the evidence is good for.
    let scale = 10f64.powf(odds.log10().floor() - 1.0);
    format!("{} : 1", count(((odds / scale).round() * scale) as u64))
}

/// `1.9 % against 0.11 %, 37 of 1,950 requests`.
pub fn comparison(canary: Rate, baseline: Option<Rate>) -> String {
    let Some(ratio) = canary.ratio() else {
        return "no requests on the canary".to_owned();
    };
    let against = match baseline.map(Rate::ratio) {
        Some(Some(ratio)) => format!(" against {}", percent(ratio)),
        Some(None) => " against no requests".to_owned(),
        None => String::new(),
    };
    format!(
        "{}{against}, {} of {} requests",
        percent(ratio),
        count(canary.bad),
        count(canary.requests)
    )
}

/// `40 s`, `12 min`, `3 h`, `2 d`.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s.is_nan() || s > 1e9 => "very long".to_owned(),
        s if s < 120.0 => format!("{} s", s.ceil().max(1.0)),
        s if s < 7200.0 => format!("{} min", (s / 60.0).round()),
        s if s < 172_800.0 => format!("{} h", (s / 3600.0).round()),
        s => format!("{} d", (s / 86_400.0).round()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_in_the_manual() {
        assert_eq!(percent(0.019), "1.9 %");
        assert_eq!(percent(0.0011), "0.11 %");
        assert_eq!(percent(0.342), "34 %");
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.9746), "97.5 %");
        assert_eq!(percent(0.99942), "99.942 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(count(1_950), "1,950");
        assert_eq!(odds(4123f64.ln()), "4,100 : 1");
        assert_eq!(odds(100f64.ln()), "100 : 1");
        assert_eq!(odds(3f64.ln()), "3 : 1");
        assert_eq!(odds(-(4f64.ln())), "1 : 4");
        assert_eq!(duration(40.2), "41 s");
        let seen = Rate {
            bad: 37,
            requests: 1950,
        };
        let stable = Rate {
            bad: 20,
            requests: 18_000,
        };
        assert_eq!(
            comparison(seen, Some(stable)),
            "1.9 % against 0.11 %, 37 of 1,950 requests"
        );
    }
}
