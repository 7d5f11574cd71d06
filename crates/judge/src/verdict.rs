//! From evidence to a verdict and the words that explain it.

use crate::{
    Assessment, Judge, Rate, SliAssessment, SliConfig, SliKind, Verdict, events,
    judge::Silence,
    sli::{SliState, Test},
    words,
};

/// A step needs this many requests of the canary before anything but a fail is said.
const ENOUGH_REQUESTS: u64 = 20;

fn fail_at(judge: &Judge) -> f64 {
    -judge.config.alpha.ln()
}

fn pass_at(judge: &Judge) -> f64 {
    -judge.config.beta.ln()
}

/// The evidence over all SLIs reached 1/alpha.
pub(crate) fn fails(judge: &Judge) -> bool {
    judge.e() * judge.config.alpha >= 1.0
}

fn holds_growth(judge: &Judge) -> bool {
    judge.e() * judge.config.alpha.sqrt() >= 1.0
}

/// The step's proof holds and nothing speaks against it. Gauges prove nothing; they are waited for until
/// they could have spoken.
pub(crate) fn proven(judge: &Judge) -> bool {
    proofs_hold(judge) && !holds_growth(judge) && looking(judge).is_none()
}

/// Every critical SLI's proof of the step; where none is critical, every SLI's that can prove anything.
fn proofs_hold(judge: &Judge) -> bool {
    let any = judge.config.slis.iter().any(SliConfig::needs_proof);
    let must = |sli: &SliConfig| match any {
        true => sli.needs_proof(),
        false => sli.can_prove(),
    };
    let mut slis = judge.slis.iter().zip(&judge.config.slis);
    judge.config.slis.iter().any(must)
        && slis.all(|(state, sli)| {
            !must(sli)
                || (state.ticks > 0
                    && state.log_pass(judge.step.alone) >= judge.config.pass_at(sli))
        })
}

/// A gauge that has not been looked at for long enough to speak, and the seconds that it needs still.
fn looking(judge: &Judge) -> Option<(usize, u64)> {
    if judge.step.alone {
        return None;
    }
    let slis = judge.slis.iter().zip(&judge.config.slis).enumerate();
    slis.filter(|(_, (_, sli))| !sli.advisory)
        .map(|(index, (state, _))| (index, state.seconds_to_look()))
        .filter(|(_, seconds)| *seconds > 0)
        .max_by_key(|(_, seconds)| *seconds)
}

/// Everything there is to say.
pub(crate) fn assess(judge: &Judge) -> Assessment {
    let slis: Vec<SliAssessment> = (0..judge.slis.len())
        .map(|index| assess_sli(judge, index))
        .collect();
    let (verdict, reason) = conclude(judge, &slis);
    Assessment {
        verdict,
        log_e: judge.e().ln(),
        fail_at: fail_at(judge),
        pass_at: pass_at(judge),
        hold_growth: holds_growth(judge),
        ticks: judge.step.ticks,
        seconds_to_verdict: seconds_to_verdict(judge, verdict),
        slis,
        mix: judge.mix.assess(),
        reason,
    }
}

fn is_stale(judge: &Judge, state: &SliState) -> bool {
    is_old(judge, state.last_data)
}

fn is_old(judge: &Judge, data: Option<u64>) -> bool {
    match (data, judge.last_t) {
        (None, _) => true,
        (Some(data), Some(now)) => now.saturating_sub(data) > judge.config.stale_after,
        (Some(_), None) => false,
    }
}

/// Whose data an SLI lacks, and since when.
fn missing(judge: &Judge, state: &SliState) -> String {
    let [canary, stable] = state.heard;
    let (who, last) = match (is_old(judge, canary), is_old(judge, stable)) {
        (true, _) if judge.step.alone => ("the new version", canary),
        (true, false) => ("the new version", canary),
        (false, true) => ("the stable version", stable),
        (true, true) => ("either version", canary.max(stable)),
        (false, false) => ("both versions in one second", state.last_data),
    };
    match last {
        Some(last) => format!("no data of {who} since second {last}"),
        None => format!("no data of {who} yet"),
    }
}

fn assess_sli(judge: &Judge, index: usize) -> SliAssessment {
    let (state, sli) = (&judge.slis[index], &judge.config.slis[index]);
    let alone = judge.step.alone;
    let (log_e, log_pass) = (state.e().ln(), state.log_pass(alone));
    let config = &judge.config;
    let fails = if sli.advisory {
        log_e >= config.fail_at(sli)
    } else {
        judge.failed.is_some() && is_to_blame(judge, index)
    };
    let verdict = if fails {
        Verdict::Fail
    } else if is_stale(judge, state) {
        Verdict::NotEnoughData
    } else if judge
        .last_t
        .is_some_and(|t| state.suspects.current(t).is_some())
    {
        Verdict::InstanceFault
    } else if state.external.both_suffer() && !holds_growth(judge) {
        Verdict::External
    } else if log_pass >= config.pass_at(sli) {
        Verdict::Pass
    } else {
        Verdict::Undecided
    };
    let baseline = (state.baseline.requests > 0).then_some(state.baseline);
    let mut assessment = SliAssessment {
        name: sli.name.clone(),
        verdict,
        critical: sli.needs_proof(),
        advisory: sli.advisory,
        canary: state.canary,
        baseline,
        bound: state.bound(alone),
        log_e,
        log_pass,
        fail_at: sli.alpha.map(|_| config.fail_at(sli)),
        pass_at: sli.beta.map(|_| config.pass_at(sli)),
        levels: match &state.test {
            Test::Gauge(test) => test.levels(),
            _ => None,
        },
        reason: String::new(),
    };
    assessment.reason = sli_reason(judge, state, &assessment);
    if sli.advisory {
        assessment.reason += "; advisory: it decides nothing";
    }
    assessment
}

/// The SLI with the most evidence, and every one that would fail the release by itself.
fn is_to_blame(judge: &Judge, index: usize) -> bool {
    let part = |index: usize| judge.weights[index] * judge.slis[index].e();
    let most = (0..judge.slis.len()).map(part).fold(0.0, f64::max);
    part(index) >= most || part(index) * judge.config.alpha >= 1.0
}

fn sli_reason(judge: &Judge, state: &SliState, sli: &SliAssessment) -> String {
    let name = &sli.name;
    let seen = comparison(judge, state, sli);
    let fail_limit = words::odds(sli.fail_at.unwrap_or(fail_at(judge)));
    let pass_limit = words::odds(sli.pass_at.unwrap_or(pass_at(judge)));
    match sli.verdict {
        Verdict::Fail => format!(
            "{name}: {seen}; odds {} against this being within the margin; limit {fail_limit}",
            words::odds(sli.log_e)
        ),
        Verdict::Pass => format!(
            "{name}: {seen}; odds {} that this step's harm is within its budget; needed {pass_limit}",
            words::odds(sli.log_pass)
        ),
        Verdict::External => format!(
            "{name}: {seen}; both versions suffer alike, so the cause lies outside the release"
        ),
        Verdict::InstanceFault => {
            let number = judge.last_t.and_then(|t| state.suspects.current(t));
            let instance = number.map_or("?", |number| judge.canary_roster.name(number));
            format!(
                "{name}: instance {instance} of the canary fails by itself, the others do not; replace it. It is left out for now: {seen}"
            )
        }
        Verdict::NotEnoughData => format!("{name}: {}", missing(judge, state)),
        _ if matches!(state.test, Test::Gauge(_)) => format!(
            "{name}: {seen}; odds {} against the release (limit {fail_limit})",
            words::odds(sli.log_e),
        ),
        _ => format!(
            "{name}: {seen}; odds {} against the release (limit {fail_limit}), {} for the step (needed {pass_limit})",
            words::odds(sli.log_e),
            words::odds(sli.log_pass),
        ),
    }
}

fn comparison(judge: &Judge, state: &SliState, sli: &SliAssessment) -> String {
    let kind = judge
        .config
        .slis
        .iter()
        .find(|it| it.name == sli.name)
        .map(|it| it.kind);
    let rates = match (&state.test, kind) {
        (Test::Gauge(test), _) => {
            return match test.levels() {
                Some([canary, baseline]) => {
                    format!(
                        "{} against {} on average",
                        words::significant(canary),
                        words::significant(baseline)
                    )
                }
                None => "not half a minute of readings yet".to_owned(),
            };
        }
        (Test::Throughput(_), _) => {
            let completed = words::count(sli.canary.bad);
            let share = words::percent(sli.canary.ratio().unwrap_or(0.0));
            return format!("{completed} completed, {share} of all");
        }
        (_, Some(SliKind::Events)) => {
            let of = |rate: Rate| {
                let hours = rate.requests as f64 / events::SLOTS as f64 / 3600.0;
                format!(
                    "{} in {} instance hours",
                    words::count(rate.bad),
                    words::significant(hours)
                )
            };
            return format!(
                "{} against {}",
                of(sli.canary),
                of(sli.baseline.unwrap_or_default())
            );
        }
        _ => words::comparison(sli.canary, sli.baseline),
    };
    let Test::Latency(test) = &state.test else {
        return rates;
    };
    let edges = &judge.config.latency_edges_ms;
    let (cut, _) = test.shown();
    let over = cut.checked_sub(1).and_then(|edge| edges.get(edge));
    let over = over.map_or(String::new(), |edge| {
        format!(" took over {} ms", words::significant(*edge))
    });
    match test.quantiles(edges, 0.99) {
        Some((canary, baseline)) => format!(
            "p99 {} against {} of late; {rates}{over}",
            milliseconds(canary, edges),
            milliseconds(baseline, edges)
        ),
        None => format!("{rates}{over}"),
    }
}

/// A latency for people; below the first edge nothing finer is known.
fn milliseconds(latency: f64, edges: &[f64]) -> String {
    match edges.first().filter(|first| latency < **first) {
        Some(first) => format!("under {} ms", words::significant(*first)),
        None => format!("{} ms", words::significant(latency)),
    }
}

/// The overall verdict. The order is the order of what must be acted on first.
fn conclude(judge: &Judge, slis: &[SliAssessment]) -> (Verdict, String) {
    if judge.failed.is_some() {
        return (Verdict::Fail, first_reason(slis, Verdict::Fail));
    }
    if let Some((since, silence)) = &judge.silence {
        return match silence {
            Silence::SourceDown(why) => (
                Verdict::SourceDown,
                format!("the source of the measurements does not answer since {since} s: {why}"),
            ),
            Silence::NoData => (
                Verdict::NotEnoughData,
                format!("no measurements since {since} s"),
            ),
        };
    }
    if let Some(split) = judge.routing.misrouting() {
        let reason = format!(
            "the canary gets {} of the requests instead of {}: the split is at fault, not the release",
            words::percent(split.observed),
            words::percent(split.expected)
        );
        return (Verdict::Misrouted, reason);
    }
    for verdict in [
        Verdict::InstanceFault,
        Verdict::External,
        Verdict::NotEnoughData,
    ] {
        let decides = |sli: &&SliAssessment| sli.verdict == verdict && !sli.advisory;
        if let Some(sli) = slis.iter().find(decides) {
            return (verdict, sli.reason.clone());
        }
    }
    if judge.config.hold_unlike
        && let Some(mix) = judge.mix.assess()
        && mix.representative == Some(false)
    {
        return (Verdict::Unrepresentative, mix.reason);
    }
    if judge.step.passed && !holds_growth(judge) {
        return (Verdict::Pass, pass_reason(judge, slis));
    }
    if judge.step.requests < ENOUGH_REQUESTS {
        return (
            Verdict::NotEnoughData,
            format!(
                "{} requests on the canary in this step so far",
                judge.step.requests
            ),
        );
    }
    (Verdict::Undecided, undecided_reason(judge, slis))
}

fn first_reason(slis: &[SliAssessment], verdict: Verdict) -> String {
    slis.iter()
        .find(|sli| sli.verdict == verdict && !sli.advisory)
        .map(|sli| sli.reason.clone())
        .unwrap_or_default()
}

fn pass_reason(judge: &Judge, slis: &[SliAssessment]) -> String {
    let critical: Vec<&str> = slis
        .iter()
        .filter(|sli| sli.critical)
        .map(|sli| sli.name.as_str())
        .collect();
    format!(
        "{}: this step's harm is within its budget, at odds of {} or better; {} requests on the canary",
        critical.join(", "),
        words::odds(pass_at(judge)),
        words::count(judge.step.requests)
    )
}

fn undecided_reason(judge: &Judge, slis: &[SliAssessment]) -> String {
    // What is closest to failing the release is what a person wants to see; else what lags behind.
    let odds = judge.e().ln();
    let shown = if odds > 1.0 {
        slis.iter()
            .filter(|sli| !sli.advisory)
            .max_by(|a, b| a.log_e.total_cmp(&b.log_e))
    } else if let Some((index, _)) = looking(judge).filter(|_| proofs_hold(judge)) {
        slis.get(index)
    } else {
        slis.iter()
            .filter(|sli| sli.critical)
            .min_by(|a, b| a.log_pass.total_cmp(&b.log_pass))
    };
    let mut reason = shown.map(|sli| sli.reason.clone()).unwrap_or_default();
    if let Some(seconds) = seconds_to_verdict(judge, Verdict::Undecided) {
        reason.push_str(&format!(
            "; about {} more at this rate of requests",
            words::duration(seconds)
        ));
    }
    reason
}

/// The slowest critical SLI's missing proof over its information per second, or what a gauge needs.
fn seconds_to_verdict(judge: &Judge, verdict: Verdict) -> Option<f64> {
    if verdict != Verdict::Undecided {
        return None;
    }
    let critical = judge
        .slis
        .iter()
        .zip(&judge.config.slis)
        .filter(|(_, sli)| sli.critical);
    let seconds = critical
        .map(|(state, sli)| state.seconds_to_pass(judge.config.pass_at(sli), judge.step.alone));
    seconds
        .chain(looking(judge).map(|(_, seconds)| Some(seconds as f64)))
        .collect::<Option<Vec<f64>>>()?
        .into_iter()
        .reduce(f64::max)
}
