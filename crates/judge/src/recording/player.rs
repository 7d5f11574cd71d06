//! A recording before the judge.

use super::{Arm, History, Mark, RecordingError, VerdictLine, reader, verdict_line};
use crate::{Assessment, Calibration, Config, Judge, Tick, judge::Silence};
use reader::{Reader, Second, Slot};

/// Shares that a history is calibrated for where rows tell of steps, but nothing says which.
const USUAL_WEIGHTS: [f64; 3] = [0.01, 0.1, 0.5];

/// A rollout that the recording names.
#[derive(Debug, Clone)]
struct Rollout {
    id: String,
    start: u64,
    /// It ended: stable's seconds behind it are not judged.
    over: bool,
}

/// Judges a recording line by line.
#[derive(Debug, Clone, Default)]
pub struct Player {
    config: Option<Config>,
    history: Option<History>,
    reader: Reader,
    judge: Option<Judge>,
    slots: Vec<Slot>,
    rollout: Option<Rollout>,
    step: Option<(f64, Option<f64>)>,
    last_t: u64,
    last_data: Option<u64>,
    last: Option<crate::Verdict>,
}

impl Player {
    /// A player. A given config comes before what the recording says it was judged by; without
    /// either, errors and latency are judged with every default. Latency edges are the recording's.
    pub fn new(config: Option<Config>, history: Option<History>) -> Self {
        Self {
            config,
            history,
            ..Self::default()
        }
    }

    /// Takes one line; returns the changes of verdict that it brings.
    ///
    /// # Errors
    /// What is wrong, and in which line. The recording cannot be judged any further.
    pub fn line(&mut self, line: &str) -> Result<Vec<VerdictLine>, RecordingError> {
        let had_header = self.reader.edges.is_some();
        let seconds = self.reader.read(line)?;
        if !had_header && self.reader.edges.is_some() {
            self.config(None).validate()?;
        }
        self.take(seconds)
    }

    /// The recording ends: the last changes of verdict and the final line.
    ///
    /// # Errors
    /// A recording without a header.
    pub fn finish(mut self) -> Result<Vec<VerdictLine>, RecordingError> {
        if self.reader.edges.is_none() {
            return Err(RecordingError::Empty);
        }
        let seconds = self.reader.rest();
        let mut lines = self.take(seconds)?;
        let assessment = match &self.judge {
            Some(judge) => judge.assess(),
            None => Judge::new(self.config(None))?.assess(),
        };
        lines.push(VerdictLine {
            is_final: true,
            ..self.said(self.last_t, &assessment)
        });
        Ok(lines)
    }

    /// The judge, once there were rows: for everything else it can say.
    pub fn judge(&self) -> Option<&Judge> {
        self.judge.as_ref()
    }

    /// The config given, else the recording's, else every default.
    fn config(&self, recorded: Option<Config>) -> Config {
        let latency_edges_ms = self.reader.edges.clone().unwrap_or_default();
        match self.config.clone().or(recorded) {
            Some(config) => Config {
                latency_edges_ms,
                ..config
            },
            None => Config::errors_and_latency(latency_edges_ms),
        }
    }

    fn take(&mut self, seconds: Vec<(u64, Second)>) -> Result<Vec<VerdictLine>, RecordingError> {
        let mut lines = Vec::new();
        for (t, mut second) in seconds {
            for mark in std::mem::take(&mut second.marks) {
                lines.extend(self.mark(mark)?);
            }
            if !second.rows.is_empty() && !self.rollout.as_ref().is_some_and(|it| it.over) {
                self.second(t, &second, &mut lines)?;
            }
        }
        Ok(lines)
    }

    fn mark(&mut self, mark: Mark) -> Result<Option<VerdictLine>, RecordingError> {
        match mark {
            Mark::Rollout {
                id,
                start,
                weights,
                config,
                history,
                ..
            } => {
                let config = self.config(config.map(|config| *config));
                self.begin(config, history.map(|history| *history), &weights)?;
                (self.step, self.last, self.last_data) = (None, None, None);
                self.rollout = Some(Rollout {
                    id,
                    start,
                    over: false,
                });
                Ok(None)
            }
            Mark::RolloutEnd { .. } => {
                if let Some(rollout) = &mut self.rollout {
                    rollout.over = true;
                }
                Ok(None)
            }
            Mark::Silence { t, why } => {
                let at = self.of_rollout(t);
                let Some(judge) = &mut self.judge else {
                    return Ok(None);
                };
                let said = judge.silence(at, Silence::SourceDown(why));
                (self.last_t, self.last_data) = (t, Some(t));
                Ok(self.changed(t, &said))
            }
        }
    }

    fn second(
        &mut self,
        t: u64,
        second: &Second,
        lines: &mut Vec<VerdictLine>,
    ) -> Result<(), RecordingError> {
        let step = second
            .rows
            .values()
            .find_map(|row| Some((row.weight?, row.next_weight)));
        if self.judge.is_none() {
            self.begin_unmarked(second, step)?;
        }
        let at = self.of_rollout(t);
        if let Some(gap) = self.gap(t) {
            lines.extend(gap);
        }
        let Some(judge) = &mut self.judge else {
            return Ok(());
        };
        if let Some((weight, next)) = step
            && self.step != step
        {
            judge.start_step(weight, next)?;
            // A step has a verdict of its own, though it be the same.
            (self.step, self.last) = (step, None);
        }
        if let Some(mix) = second.mix() {
            judge.observe_mix(&mix);
        }
        let alone = second.rows.values().any(|row| row.alone);
        let tick = Tick {
            t: at,
            weight: second.rows.values().find_map(|row| row.split),
            canary: second.arm(Arm::Canary, &self.slots),
            baseline: (!alone).then(|| second.arm(Arm::Baseline, &self.slots)),
        };
        let assessment = judge.observe(&tick);
        self.last_data = Some(t);
        self.last_t = t;
        lines.extend(self.changed(t, &assessment));
        Ok(())
    }

    /// Says so where nothing was recorded for longer than an SLI may be silent.
    fn gap(&mut self, t: u64) -> Option<Option<VerdictLine>> {
        let stale = self.judge.as_ref()?.config().stale_after;
        let since = self.last_data?.saturating_add(stale);
        if t <= since {
            return None;
        }
        let at = self.of_rollout(since);
        let silent = self.judge.as_mut()?.silence(at, Silence::NoData);
        Some(self.changed(since, &silent))
    }

    /// The rollout's own second; a judge knows no other.
    fn of_rollout(&self, t: u64) -> u64 {
        let start = self.rollout.as_ref().map_or(0, |rollout| rollout.start);
        t.saturating_sub(start)
    }

    /// A recording that names no rollout is one. Its first second tells the canary's share, which
    /// a history is calibrated for.
    fn begin_unmarked(
        &mut self,
        second: &Second,
        step: Option<(f64, Option<f64>)>,
    ) -> Result<(), RecordingError> {
        let canary = second.arm(Arm::Canary, &[]).requests() as f64;
        let share = canary / (canary + second.arm(Arm::Baseline, &[]).requests() as f64);
        let weight = match step {
            Some((weight, _)) => weight,
            None if share > 0.0 && share < 1.0 => share,
            None => 0.1,
        };
        let mut weights = vec![weight];
        if step.is_some() {
            weights.extend(USUAL_WEIGHTS);
        }
        self.begin(self.config(None), None, &weights)?;
        if step.is_none()
            && let Some(judge) = &mut self.judge
        {
            judge.start_step(weight, None)?;
        }
        Ok(())
    }

    /// A new judge. A history that was given comes before the recorded one.
    fn begin(
        &mut self,
        config: Config,
        recorded: Option<Calibration>,
        weights: &[f64],
    ) -> Result<(), RecordingError> {
        let known = match &self.history {
            Some(history) if history.edges != config.latency_edges_ms => {
                return Err(RecordingError::OtherEdges);
            }
            Some(history) => {
                let mut weights: Vec<f64> = weights
                    .iter()
                    .copied()
                    .filter(|weight| *weight > 0.0 && *weight < 1.0)
                    .collect();
                weights.sort_by(f64::total_cmp);
                weights.dedup();
                history.calibrate(&config, &weights)?
            }
            None => recorded.unwrap_or_default(),
        };
        self.slots = reader::slots(&config);
        self.judge = Some(Judge::with_history(config, &known)?);
        Ok(())
    }

    fn said(&self, t: u64, assessment: &Assessment) -> VerdictLine {
        VerdictLine {
            rollout: self.rollout.as_ref().map(|rollout| rollout.id.clone()),
            ..verdict_line(t, assessment)
        }
    }

    fn changed(&mut self, t: u64, assessment: &Assessment) -> Option<VerdictLine> {
        if self.last == Some(assessment.verdict) {
            return None;
        }
        self.last = Some(assessment.verdict);
        Some(self.said(t, assessment))
    }
}

/// Judges a whole recording: every change of verdict, and a final line.
///
/// # Errors
/// What is wrong with it, and in which line.
pub fn judge_lines<L: AsRef<str>>(
    lines: impl IntoIterator<Item = L>,
    config: Option<Config>,
    history: Option<History>,
) -> Result<Vec<VerdictLine>, RecordingError> {
    let mut player = Player::new(config, history);
    let mut output = Vec::new();
    for line in lines {
        output.extend(player.line(line.as_ref())?);
    }
    output.extend(player.finish()?);
    Ok(output)
}
