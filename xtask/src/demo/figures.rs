//! What the demo measured, and whether it is as promised.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde_json::Value;
use xtask::load::Record;

/// How one bad version was taken back.
pub struct Taken {
    version: &'static str,
    /// From the first bad answer that a user got to the decision.
    detected: Duration,
    /// From the decision to the data plane's confirmation of 0 %.
    returned: Duration,
    /// Requests that the version answered.
    exposed: usize,
    /// Bad ones among them.
    bad: usize,
}

/// All that was measured.
pub struct Figures {
    /// Each bad version.
    pub taken: Vec<Taken>,
    /// Every request.
    pub record: Record,
}

impl Taken {
    /// Lays the rollout's events and the users' answers side by side.
    pub fn measure(
        version: &'static str,
        events: &[Value],
        record: &Record,
        slow: Duration,
    ) -> anyhow::Result<Self> {
        let at = |kind: &str| -> anyhow::Result<Timestamp> {
            events
                .iter()
                .find(|event| event["kind"] == kind)
                .and_then(|event| event["at"].as_str())
                .with_context(|| format!("{version} has no event `{kind}`"))?
                .parse()
                .with_context(|| format!("the time of `{kind}`"))
        };
        let onset = record
            .of(version)
            .filter(|shot| shot.is_bad(slow))
            .map(|shot| record.answered_at(shot))
            .min()
            .with_context(|| format!("no user ever got a bad answer of {version}"))?;
        let (decided, confirmed) = (at("rollback_started")?, at("returned_to_stable")?);
        Ok(Self {
            version,
            detected: between(onset, decided),
            returned: between(decided, confirmed),
            exposed: record.of(version).count(),
            bad: record.of(version).filter(|shot| shot.is_bad(slow)).count(),
        })
    }
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}

fn seconds(span: Duration) -> String {
    format!("{:.2} s", span.as_secs_f64())
}

impl Figures {
    /// The table for people.
    pub fn table(&self) -> String {
        let mut rows = vec![
            ("first bad answer → decision".to_owned(), Vec::new()),
            ("decision → 0 % confirmed".to_owned(), Vec::new()),
            ("first bad answer → 0 %".to_owned(), Vec::new()),
            ("requests exposed to it".to_owned(), Vec::new()),
            ("bad answers users got of it".to_owned(), Vec::new()),
        ];
        let mut text = format!("\nMeasured from outside:\n  {:32}", "");
        for taken in &self.taken {
            let _ = write!(text, "{:>12}", taken.version);
            for (row, value) in rows.iter_mut().zip([
                seconds(taken.detected),
                seconds(taken.returned),
                seconds(taken.detected + taken.returned),
                taken.exposed.to_string(),
                taken.bad.to_string(),
            ]) {
                row.1.push(value);
            }
        }
        for (name, values) in rows {
            let _ = write!(text, "\n  {name:32}");
            for value in values {
                let _ = write!(text, "{value:>12}");
            }
        }
        let _ = write!(
            text,
            "\n  {:32}{:>12}\n  {:32}{:>12}\n",
            "requests in all",
            self.record.shots.len(),
            "failed because of Airboss",
            self.record.not_the_services().count()
        );
        text
    }

    /// # Errors
    /// Where a request failed that no instance answered, or the load was less than it says.
    pub fn check(&self) -> anyhow::Result<()> {
        let ours: Vec<String> = self
            .record
            .not_the_services()
            .map(|shot| format!("\n  {}", shot.describe()))
            .collect();
        if !ours.is_empty() {
            bail!(
                "{} requests failed because of Airboss; the first ones:{}",
                ours.len(),
                ours.iter().take(10).cloned().collect::<String>()
            );
        }
        anyhow::ensure!(
            self.record.held_back == 0,
            "{} requests were not sent: this machine is too busy for the demo's load",
            self.record.held_back
        );
        Ok(())
    }
}
