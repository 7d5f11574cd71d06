//! A judge that says what a test wants said, some seconds after a step's weight is confirmed.

use std::time::Duration;

use airboss_engine::{Input, Lane, Phase};
use airboss_judge::{Assessment, Verdict};
use airboss_model::Timestamp;
use airboss_model::time::after;

/// What the judge says of each step; the last entry holds for all steps behind it.
pub struct Judge {
    pub verdicts: Vec<Verdict>,
    pub takes: Duration,
}

impl Judge {
    pub fn passing() -> Self {
        Self::saying(&[Verdict::Pass])
    }
    pub fn failing_from(step: usize) -> Self {
        let mut verdicts = vec![Verdict::Pass; step];
        verdicts.push(Verdict::Fail);
        Self::saying(&verdicts)
    }
    pub fn silent() -> Self {
        Self::saying(&[])
    }
    pub fn saying(verdicts: &[Verdict]) -> Self {
        Self {
            verdicts: verdicts.to_vec(),
            takes: Duration::from_secs(5),
        }
    }

    /// What it has to say next and when; None where it has said it.
    fn plan(&self, lane: &Lane) -> Option<(Timestamp, Input)> {
        let active = lane.active.as_ref()?;
        let (step, since, verdict) = match active.phase {
            Phase::Observing { step, since, .. } => {
                let verdict = *self.verdicts.get(step).or(self.verdicts.last())?;
                (step, since, verdict)
            }
            // It forbade to grow while the next step came up: it gets over that.
            Phase::Preparing { step, since }
                if step > 0 && active.verdict.as_ref().is_some_and(|note| note.hold_growth) =>
            {
                self.verdicts.last()?;
                (step - 1, since, Verdict::Undecided)
            }
            _ => return None,
        };
        let said = active
            .verdict
            .as_ref()
            .is_some_and(|note| note.step == step && note.verdict == verdict && !note.hold_growth);
        let input = Input::Assessed {
            rollout: active.id().clone(),
            step,
            assessment: assessment(verdict).into(),
        };
        (!said).then(|| (after(since, self.takes), input))
    }
    pub fn due(&self, lane: &Lane, now: Timestamp) -> Option<Input> {
        self.plan(lane)
            .filter(|(at, _)| *at <= now)
            .map(|(_, input)| input)
    }
    pub fn next(&self, lane: &Lane, now: Timestamp) -> Option<Timestamp> {
        self.plan(lane).map(|(at, _)| at).filter(|at| *at > now)
    }
}

/// An assessment with this verdict and plausible numbers.
pub fn assessment(verdict: Verdict) -> Assessment {
    let reason = match verdict {
        Verdict::Fail => "errors 20.1% against 0.1% on stable; odds 1:8,000, limit 1:1,000",
        Verdict::Pass => "errors 0.1% as on stable; proven within the margin",
        Verdict::Undecided => "errors 0.3% against 0.1%; not decided yet",
        Verdict::NotEnoughData => "12 of about 900 requests that a verdict needs",
        Verdict::SourceDown => "no measurements for 5s: the source does not answer",
        Verdict::External => "both versions fail alike: something outside the release",
        Verdict::Misrouted => "the canary gets 31% of requests at a weight of 10%",
        Verdict::InstanceFault => "one instance of four fails, the others do not",
        Verdict::Unrepresentative => {
            "the canary's requests are not like stable's (60 % alike): GET / is 90 % of them against 50 %"
        }
    };
    Assessment {
        verdict,
        log_e: 1.5,
        fail_at: 6.9,
        pass_at: 3.0,
        hold_growth: false,
        slis: Vec::new(),
        mix: None,
        ticks: 5,
        seconds_to_verdict: Some(60.0),
        reason: reason.to_owned(),
    }
}
