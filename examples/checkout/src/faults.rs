//! What this version does wrong, on purpose.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};

/// The faults of one version. Without any, it is a good one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// `CHECKOUT_ERRORS=3%`: the share of answers with status 500, from 0 to 1.
    pub errors: f64,
    /// `CHECKOUT_LATENCY=+400ms@20%`: this much later for this share of answers.
    pub latency: Option<(Duration, f64)>,
    /// `CHECKOUT_CRASH_AFTER=5s`: ends with an error this long after its start; `0s` is before
    /// it listens.
    pub crash_after: Option<Duration>,
    /// `CHECKOUT_READY_AFTER=2s` (or `never`): answers 503 on `/healthz` until then.
    pub ready_after: Option<Duration>,
    /// `CHECKOUT_SCALE_ERRORS=2/s`: a mis-tuned autoscaler that tries in vain so often, at three times
    /// the cost.
    pub scale_errors: f64,
}

impl Faults {
    /// Reads the file in the artifact, where there is one, and lets the environment speak over it.
    ///
    /// # Errors
    /// Where the file cannot be read, or a setting is unknown or impossible.
    pub fn load(file: &Path) -> anyhow::Result<Self> {
        let mut settings = match std::fs::read_to_string(file) {
            Ok(text) => lines(&text).with_context(|| format!("in {}", file.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => HashMap::new(),
            Err(error) => return Err(error).with_context(|| file.display().to_string()),
        };
        settings.extend(std::env::vars().filter(|(name, _)| name.starts_with("CHECKOUT_")));
        Self::read(&settings)
    }

    fn read(settings: &HashMap<String, String>) -> anyhow::Result<Self> {
        let mut faults = Self::default();
        for (name, value) in settings {
            let wrong = || format!("{name}={value} does not read");
            match name.as_str() {
                "CHECKOUT_ERRORS" => faults.errors = share(value).with_context(wrong)?,
                "CHECKOUT_LATENCY" => {
                    let (extra, part) = value.split_once('@').unwrap_or((value, "100%"));
                    let extra = span(extra.trim_start_matches('+')).with_context(wrong)?;
                    faults.latency = Some((extra, share(part).with_context(wrong)?));
                }
                "CHECKOUT_CRASH_AFTER" => {
                    faults.crash_after = Some(span(value).with_context(wrong)?);
                }
                "CHECKOUT_READY_AFTER" if value == "never" => {
                    faults.ready_after = Some(Duration::MAX);
                }
                "CHECKOUT_SCALE_ERRORS" => {
                    let rate = value.strip_suffix("/s").with_context(wrong)?;
                    faults.scale_errors = rate.parse().with_context(wrong)?;
                }
                "CHECKOUT_READY_AFTER" => {
                    faults.ready_after = Some(span(value).with_context(wrong)?);
                }
                _ => bail!("{name} is no setting of this service"),
            }
        }
        Ok(faults)
    }
}

/// `NAME=VALUE` lines; empty ones and those behind `#` say nothing.
fn lines(text: &str) -> anyhow::Result<HashMap<String, String>> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line
                .split_once('=')
                .with_context(|| format!("`{line}` is not NAME=VALUE"))?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        })
        .collect()
}

fn share(text: &str) -> anyhow::Result<f64> {
    let percent: f64 = text
        .strip_suffix('%')
        .context("a share ends with %")?
        .parse()?;
    anyhow::ensure!((0.0..=100.0).contains(&percent), "a share is 0% to 100%");
    Ok(percent / 100.0)
}

fn span(text: &str) -> anyhow::Result<Duration> {
    let (number, unit) = if let Some(number) = text.strip_suffix("ms") {
        (number, 1)
    } else {
        (
            text.strip_suffix('s').context("a span ends with ms or s")?,
            1000,
        )
    };
    Ok(Duration::from_millis(
        number.parse::<u64>()?.saturating_mul(unit),
    ))
}

/// Chances, independent of each other from one request to the next.
#[derive(Debug)]
pub struct Dice(AtomicU64);

impl Dice {
    /// Another sequence for each process.
    pub fn new() -> Self {
        Self(AtomicU64::new(
            RandomState::new().hash_one(std::process::id()),
        ))
    }

    /// True for this share of calls. The generator is SplitMix64 (Steele, Lea, Flood 2014).
    pub fn happens(&self, share: f64) -> bool {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self
            .0
            .fetch_add(GAMMA, Ordering::Relaxed)
            .wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((z >> 11) as f64) / ((1_u64 << 53) as f64) < share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_faults_reads_as_written() {
        let text =
            "# slow\nCHECKOUT_LATENCY = +400ms@20%\n\nCHECKOUT_ERRORS=3%\nCHECKOUT_CRASH_AFTER=5s";
        let faults = Faults::read(&lines(text).unwrap()).unwrap();
        assert_eq!(faults.latency, Some((Duration::from_millis(400), 0.2)));
        assert!((faults.errors - 0.03).abs() < 1e-12);
        assert_eq!(faults.crash_after, Some(Duration::from_secs(5)));
        assert_eq!(faults.ready_after, None);
    }

    #[test]
    fn a_mistyped_fault_is_refused_by_its_name() {
        let error = Faults::read(&lines("CHECKOUT_ERROR=3%").unwrap()).unwrap_err();
        assert!(error.to_string().contains("CHECKOUT_ERROR "), "{error}");
        assert!(Faults::read(&lines("CHECKOUT_ERRORS=103%").unwrap()).is_err());
    }

    #[test]
    fn a_share_of_three_percent_is_met_about_three_times_in_a_hundred() {
        let dice = Dice::new();
        let met = (0..100_000).filter(|_| dice.happens(0.03)).count();
        assert!((2_600..3_400).contains(&met), "{met}");
    }
}
