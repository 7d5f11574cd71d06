//! Lines into whole seconds, in order.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Arm, Mark, RecordingError, Row, VERSION};
use crate::{
    ArmTick, Config, InstanceTick, Sample, SliKind,
    config::Better,
    coverage::{Mix, MixTick},
    tick::MAX_REQUESTS_PER_TICK,
};

/// Rows may be this many seconds out of order.
pub const REORDER_SECONDS: u64 = 5;
/// A second may have at most this many rows.
pub const MAX_ROWS_PER_SECOND: usize = 2_000_000;
/// So many rows may wait for their second to be complete; beyond that all seconds but the newest are taken
/// for complete, and a row of theirs comes too late.
pub const MAX_ROWS_WAITING: usize = MAX_ROWS_PER_SECOND;
/// A line may have at most this many bytes.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// Only the word that tells a header and a mark from a row.
#[derive(Deserialize)]
struct Kind {
    airboss: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    latency_edges_ms: Vec<f64>,
}

/// What a recording says of one second.
#[derive(Debug, Clone, Default)]
pub(super) struct Second {
    /// By arm and instance; the rows themselves have no names any more.
    pub(super) rows: BTreeMap<(Arm, String), Row>,
    pub(super) marks: Vec<Mark>,
}

impl Second {
    /// One arm's rows as the judge reads them; `slots` are those of [`slots`].
    pub(super) fn arm(&self, wanted: Arm, slots: &[Slot]) -> ArmTick {
        let rows = self.rows.iter().filter(|((arm, _), _)| *arm == wanted);
        let instances = rows.map(|((_, instance), row)| InstanceTick {
            instance: instance.clone(),
            requests: row.requests,
            samples: slots.iter().map(|slot| slot.sample(row)).collect(),
            latency: row.latency.clone(),
        });
        ArmTick {
            instances: instances.collect(),
        }
    }
}

impl Second {
    /// What both arms were asked for; None where no row tells.
    pub(super) fn mix(&self) -> Option<MixTick> {
        let mut mix = MixTick::default();
        for row in self.rows.values() {
            add(&mut mix.routes, row.arm, &row.routes);
            add(&mut mix.cohorts, row.arm, &row.cohorts);
        }
        (mix != MixTick::default()).then_some(mix)
    }
}

fn add(mix: &mut Mix, arm: Arm, counts: &BTreeMap<String, u64>) {
    for (kind, count) in counts {
        let both = mix.entry(kind.clone()).or_default();
        let sum = match arm {
            Arm::Canary => &mut both.0,
            Arm::Baseline => &mut both.1,
        };
        *sum = sum.saturating_add(*count);
    }
}

/// Where an SLI of the config finds its number in a row.
#[derive(Debug, Clone)]
pub(super) enum Slot {
    /// In the histogram, or nowhere.
    Elsewhere,
    /// By its name; the first one also in `bad`.
    Named { name: String, first: bool },
    /// A gauge's, by its name.
    Level(String),
    /// Events', by their name.
    Events(String),
}

impl Slot {
    fn sample(&self, row: &Row) -> Sample {
        let (name, first) = match self {
            Self::Elsewhere => return Sample::Missing,
            Self::Named { name, first } => (name, first),
            Self::Level(name) => {
                let level = row.levels.get(name);
                return level.map_or(Sample::Missing, |level| Sample::Gauge(*level));
            }
            Self::Events(name) => {
                let events = row.events.get(name);
                return events.map_or(Sample::Missing, |events| Sample::Events(*events));
            }
        };
        if let Some(rate) = row.of.get(name) {
            return Sample::Of(*rate);
        }
        let named = row.bads.get(name).copied();
        let bad = named.or_else(|| first.then_some(row.bad));
        bad.map_or(Sample::Missing, Sample::Count)
    }
}

/// The slots of a config, in its order.
pub(super) fn slots(config: &Config) -> Vec<Slot> {
    let lower = SliKind::Ratio {
        better: Better::Lower,
    };
    let first = config.slis.iter().position(|sli| sli.kind == lower);
    let slot = |(index, sli): (usize, &crate::SliConfig)| match sli.kind {
        SliKind::Ratio { .. } => Slot::Named {
            name: sli.name.clone(),
            first: Some(index) == first,
        },
        SliKind::Gauge { .. } => Slot::Level(sli.name.clone()),
        SliKind::Events | SliKind::Throughput => Slot::Events(sli.name.clone()),
        SliKind::Latency { .. } => Slot::Elsewhere,
    };
    config.slis.iter().enumerate().map(slot).collect()
}

/// Reads lines into whole seconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Reader {
    line: usize,
    pub(super) edges: Option<Vec<f64>>,
    pending: BTreeMap<u64, Second>,
    waiting: usize,
    released: Option<u64>,
}

impl Reader {
    fn wrong(&self, problem: impl Into<String>) -> RecordingError {
        RecordingError::Line {
            line: self.line,
            problem: problem.into(),
        }
    }

    /// The parser counts lines within its one line, which would only confuse.
    fn unreadable(&self, error: &serde_json::Error) -> RecordingError {
        let text = error.to_string();
        let what = text.split(" at line ").next().unwrap_or(&text);
        self.wrong(match error.column() {
            0 => what.to_owned(),
            column => format!("{what} (column {column})"),
        })
    }

    /// Takes a line; returns the seconds that are complete now.
    pub(super) fn read(&mut self, line: &str) -> Result<Vec<(u64, Second)>, RecordingError> {
        self.line += 1;
        if line.len() > MAX_LINE_BYTES {
            return Err(self.wrong(format!("more than {MAX_LINE_BYTES} bytes long; no row is")));
        }
        // A byte order mark is what some editors leave behind.
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() {
            return Ok(Vec::new());
        }
        let kind = match &self.edges {
            None => Some(self.kind(line)?.unwrap_or_default()),
            Some(_) if line.contains("\"airboss\"") => self.kind(line)?,
            Some(_) => None,
        };
        let t = match kind {
            Some(kind) if self.edges.is_none() || kind.starts_with("recording/") => {
                self.read_header(line, &kind)?;
                return Ok(Vec::new());
            }
            Some(_) => {
                let mark: Mark = serde_json::from_str(line).map_err(|e| self.unreadable(&e))?;
                self.check_time(mark.t())?;
                let t = mark.t();
                self.pending.entry(t).or_default().marks.push(mark);
                t
            }
            None => self.read_row(line)?,
        };
        let newest = self
            .pending
            .last_key_value()
            .map_or(t, |(newest, _)| *newest);
        let patience = if self.waiting > MAX_ROWS_WAITING {
            0
        } else {
            REORDER_SECONDS
        };
        Ok(self.release(newest.saturating_sub(patience)))
    }

    fn kind(&self, line: &str) -> Result<Option<String>, RecordingError> {
        let kind: Result<Kind, _> = serde_json::from_str(line);
        match kind {
            Ok(kind) => Ok(kind.airboss),
            Err(error) if self.edges.is_none() => {
                let RecordingError::Line { problem, .. } = self.unreadable(&error) else {
                    return Err(self.unreadable(&error));
                };
                Err(self.wrong(format!("no header: {problem}; {}", expected())))
            }
            Err(error) => Err(self.unreadable(&error)),
        }
    }

    fn read_header(&mut self, line: &str, version: &str) -> Result<(), RecordingError> {
        if version.is_empty() {
            return Err(self.wrong(format!("no header; {}", expected())));
        }
        if version != VERSION {
            return Err(self.wrong(format!(
                "version `{version}` is not known, only `{VERSION}`"
            )));
        }
        let header: Header = serde_json::from_str(line).map_err(|e| self.unreadable(&e))?;
        match &self.edges {
            Some(edges) if *edges != header.latency_edges_ms => {
                Err(self.wrong("latency_edges_ms change here; judge the two parts one by one"))
            }
            Some(_) => Ok(()),
            None => {
                self.edges = Some(header.latency_edges_ms);
                Ok(())
            }
        }
    }

    fn read_row(&mut self, line: &str) -> Result<u64, RecordingError> {
        let mut row: Row = serde_json::from_str(line).map_err(|e| self.unreadable(&e))?;
        self.check_time(row.t)?;
        self.check(&row)?;
        let rows = &mut self.pending.entry(row.t).or_default().rows;
        let (t, full) = (row.t, rows.len() >= MAX_ROWS_PER_SECOND);
        if full {
            return Err(self.wrong(format!(
                "second {t} has more than {MAX_ROWS_PER_SECOND} rows"
            )));
        }
        let instance = std::mem::take(&mut row.instance);
        if rows.insert((row.arm, instance), row).is_some() {
            return Err(self.wrong(format!("this instance already reported second {t}")));
        }
        self.waiting += 1;
        Ok(t)
    }

    fn check_time(&self, t: u64) -> Result<(), RecordingError> {
        if self.released.is_some_and(|released| t <= released) {
            return Err(self.wrong(format!(
                "second {t} comes too late: rows may be {REORDER_SECONDS} s out of order, and not at all where \
                 {MAX_ROWS_WAITING} of them wait; sort the recording by t"
            )));
        }
        Ok(())
    }

    fn check(&self, row: &Row) -> Result<(), RecordingError> {
        if row.requests > MAX_REQUESTS_PER_TICK {
            return Err(self.wrong(format!(
                "{} requests in one second cannot be true",
                row.requests
            )));
        }
        let too_many = |bad: u64, requests: u64| bad > requests || requests > MAX_REQUESTS_PER_TICK;
        let whole = row.bads.values().map(|bad| (*bad, row.requests));
        let parts = row.of.values().map(|rate| (rate.bad, rate.requests));
        for (bad, requests) in [(row.bad, row.requests)]
            .into_iter()
            .chain(whole)
            .chain(parts)
        {
            if too_many(bad, requests) {
                return Err(self.wrong(format!("{bad} of {requests} requests are bad")));
            }
        }
        for (name, level) in &row.levels {
            if crate::tick::sound(*level).is_none() {
                return Err(self.wrong(format!("the level of `{name}` is {level}, below 0")));
            }
        }
        for (what, share) in [
            ("weight", row.weight),
            ("next_weight", row.next_weight),
            ("split", row.split),
        ] {
            // Only a split may be 0: stable alone.
            let least = if what == "split" {
                0.0
            } else {
                f64::MIN_POSITIVE
            };
            if share.is_some_and(|share| !(share >= least && share <= 1.0)) {
                return Err(self.wrong(format!("`{what}` must be a share above 0 and at most 1")));
            }
        }
        let buckets = self.edges.as_ref().map_or(0, Vec::len);
        for (bucket, count) in &row.latency {
            if *bucket as usize > buckets {
                return Err(self.wrong(format!(
                    "bucket {bucket} does not exist; {buckets} edges make buckets 0 to {buckets}"
                )));
            }
            if *count > MAX_REQUESTS_PER_TICK {
                return Err(self.wrong(format!(
                    "{count} requests in one bucket and second cannot be true"
                )));
            }
        }
        Ok(())
    }

    /// The seconds before `until`, in order.
    fn release(&mut self, until: u64) -> Vec<(u64, Second)> {
        if self
            .pending
            .first_key_value()
            .is_none_or(|(first, _)| *first >= until)
        {
            return Vec::new();
        }
        let later = self.pending.split_off(&until);
        let done: Vec<(u64, Second)> = std::mem::replace(&mut self.pending, later)
            .into_iter()
            .collect();
        if let Some((t, _)) = done.last() {
            self.released = Some(*t);
        }
        self.waiting -= done
            .iter()
            .map(|(_, second)| second.rows.len())
            .sum::<usize>();
        done
    }

    pub(super) fn rest(&mut self) -> Vec<(u64, Second)> {
        std::mem::take(&mut self.pending).into_iter().collect()
    }
}

fn expected() -> String {
    format!("expected {{\"airboss\":\"{VERSION}\",\"latency_edges_ms\":[…]}}")
}
