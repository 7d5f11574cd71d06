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

/// Every critical SLI's proof of the step holds; where none is critical, every SLI's.
pub(crate) fn proven(judge: &Judge) -> bool {
    let any = judge.config.slis.iter().any(SliConfig::needs_proof);
    !holds_growth(judge)
        && judge
            .slis
            .iter()
            .zip(&judge.config.slis)
            .all(|(state, sli)| {
                let must = if any { sli.needs_proof() } else { true };
                !must || (state.ticks > 0 && state.log_pass(judge.step.alone) >= pass_at(judge))
            })
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
    let verdict = if judge.failed.is_some() && is_to_blame(judge, index) {
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
    } else if log_pass >= pass_at(judge) {
        Verdict::Pass
    } else {
        Verdict::Undecided
    };
    let baseline = (state.baseline.requests > 0).then_some(state.baseline);
    let mut assessment = SliAssessment {
        name: sli.name.clone(),
        verdict,
        critical: sli.needs_proof(),
        canary: state.canary,
        baseline,
        bound: state.bound(alone),
        log_e,
        log_pass,
        reason: String::new(),
    };
    assessment.reason = sli_reason(judge, state, &assessment);
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
    let fail_limit = words::odds(fail_at(judge));
    match sli.verdict {
        Verdict::Fail => format!(
            "{name}: {seen}; odds {} against this being within the margin; limit {fail_limit}",
            words::odds(sli.log_e)
        ),
        Verdict::Pass => format!(
            "{name}: {seen}; odds {} that this step's harm is within its budget; needed {}",
            words::odds(sli.log_pass),
            words::odds(pass_at(judge))
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
        _ => format!(
            "{name}: {seen}; odds {} against the release (limit {fail_limit}), {} for the step (needed {})",
            words::odds(sli.log_e),
            words::odds(sli.log_pass),
            words::odds(pass_at(judge))
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
        if slis.iter().any(|sli| sli.verdict == verdict) {
            return (verdict, first_reason(slis, verdict));
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
        .find(|sli| sli.verdict == verdict)
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
        slis.iter().max_by(|a, b| a.log_e.total_cmp(&b.log_e))
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

/// The slowest critical SLI's missing proof over its information per second.
fn seconds_to_verdict(judge: &Judge, verdict: Verdict) -> Option<f64> {
    if verdict != Verdict::Undecided {
        return None;
    }
    let critical = judge
        .slis
        .iter()
        .zip(&judge.config.slis)
        .filter(|(_, sli)| sli.critical);
    let seconds =
        critical.map(|(state, _)| state.seconds_to_pass(pass_at(judge), judge.step.alone));
    seconds
        .collect::<Option<Vec<f64>>>()?
        .into_iter()
        .reduce(f64::max)
}
