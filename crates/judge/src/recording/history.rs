//! What a past recording of the service teaches.

use std::collections::VecDeque;

use super::{Arm, RecordingError, reader};
use crate::{ArmTick, Calibration, Calibrator, Config, ConfigError, Rate};
use reader::{Reader, Second};

/// Seconds of a history that are learnt from: the newest ones, as the live judge does.
pub const HISTORY_SECONDS: usize = 3_600;
/// Rows of a history that are kept at most, so that a long one of many instances fits in memory;
/// the oldest seconds fall out first.
pub const HISTORY_ROWS_MAX: usize = 2_000_000;

/// A past recording of the service, from which the judge learns levels, shapes and clumps. Rows of
/// the canary are ignored, and everything but the newest hour.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub(super) edges: Vec<f64>,
    seconds: VecDeque<(u64, Second)>,
    rows: usize,
}

impl History {
    /// Reads a recording.
    ///
    /// # Errors
    /// What is wrong with it, and in which line.
    pub fn read<L: AsRef<str>>(lines: impl IntoIterator<Item = L>) -> Result<Self, RecordingError> {
        Self::read_last(lines, HISTORY_SECONDS)
    }

    /// The same with the newest `most` seconds.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_last<L: AsRef<str>>(
        lines: impl IntoIterator<Item = L>,
        most: usize,
    ) -> Result<Self, RecordingError> {
        let mut reader = Reader::default();
        let mut history = Self::default();
        for line in lines {
            history.keep(reader.read(line.as_ref())?, most);
        }
        history.keep(reader.rest(), most);
        history.edges = reader.edges.ok_or(RecordingError::Empty)?;
        Ok(history)
    }

    fn keep(&mut self, seconds: Vec<(u64, Second)>, most: usize) {
        for (t, mut second) in seconds {
            second.rows.retain(|(arm, _), _| *arm == Arm::Baseline);
            second.marks.clear();
            self.rows += second.rows.len();
            self.seconds.push_back((t, second));
            while self.seconds.len() > most
                || (self.rows > HISTORY_ROWS_MAX && self.seconds.len() > 1)
            {
                let oldest = self.seconds.pop_front();
                self.rows -= oldest.map_or(0, |(_, second)| second.rows.len());
            }
        }
    }

    /// What it says about releases that are judged by `config` at these canary weights.
    ///
    /// # Errors
    /// A config that cannot be judged by.
    pub fn calibrate(&self, config: &Config, weights: &[f64]) -> Result<Calibration, ConfigError> {
        let mut calibrator = Calibrator::new(config.clone(), weights)?;
        for (t, stable) in self.stable(config) {
            calibrator.observe(t, &stable);
        }
        Ok(calibrator.finish())
    }

    /// The latency edges that it was recorded with.
    pub fn edges(&self) -> &[f64] {
        &self.edges
    }

    /// Each second of stable as `config` reads it, in order, with the second.
    pub fn stable<'a>(&'a self, config: &Config) -> impl Iterator<Item = (u64, ArmTick)> + 'a {
        let slots = reader::slots(config);
        let seconds = self.seconds.iter();
        seconds.map(move |(t, second)| (*t, second.arm(Arm::Baseline, &slots)))
    }

    /// Each second's counts of stable by ratio SLI of `config`, in order, with the second.
    pub fn rates<'a>(&'a self, config: &Config) -> impl Iterator<Item = (u64, Vec<Rate>)> + 'a {
        let slis = config.slis.len();
        self.stable(config).map(move |(t, arm)| {
            let rates = (0..slis).map(|index| arm.sum(index).rate.unwrap_or_default());
            (t, rates.collect())
        })
    }
}

/// Each second's bad requests by the first ratio SLI, of both versions together, in order: users do
/// not care which version failed them. Of a recording of any length.
///
/// # Errors
/// What is wrong with it, and in which line.
pub fn errors<L: AsRef<str>>(
    lines: impl IntoIterator<Item = L>,
) -> Result<Vec<(u64, Rate)>, RecordingError> {
    let mut reader = Reader::default();
    let mut rates = Vec::new();
    let mut take = |seconds: Vec<(u64, Second)>| {
        for (t, second) in seconds {
            let mut sum = Rate::default();
            for row in second.rows.values() {
                let (bad, requests) = (row.bad, row.requests);
                crate::judge::add(&mut sum, Rate { bad, requests });
            }
            rates.push((t, sum));
        }
    };
    for line in lines {
        take(reader.read(line.as_ref())?);
    }
    take(reader.rest());
    if reader.edges.is_none() {
        return Err(RecordingError::Empty);
    }
    Ok(rates)
}
