//! What a manifest says of margins and chances, in the judge's words, and how guardrails read what instances
//! say of themselves.

use std::collections::BTreeMap;

use airboss_judge::{Better, Margin, Rate, Sample, SliConfig, SliKind};
use airboss_model::manifest::{self, Bound, Edge, Guardrail, Measured, Slo, Unit};
use airboss_model::metrics::{Reading, Series};

/// A guardrail's share of what alpha is divided by: less than that of promises to users, though as much as
/// any other metric's.
const SHARE: f64 = 0.2;
/// A part may be ahead of its whole by so much: a page is read while both are counted.
const AHEAD: f64 = 1.01;

/// A version with `good` may lose a twentieth of its good requests, and a step a tenth.
const GOOD_MARGIN: [Edge; 2] = [
    Edge {
        factor: 0.95,
        plus: 0.0,
    },
    Edge {
        factor: 0.9,
        plus: 0.0,
    },
];

/// What an SLO says of itself. Margins are bounds on the bad ratio. A share of good requests of at least
/// `f g + d` is one of bad requests of at most `f b + (1 - f - d)`.
pub(crate) fn slo(sli: &mut SliConfig, slo: &Slo) {
    let margin = |edge: Edge| match slo.good {
        Some(_) => Margin {
            rho: edge.factor,
            delta: 1.0 - edge.factor - edge.plus,
        },
        None => Margin {
            rho: edge.factor,
            delta: edge.plus,
        },
    };
    let [fail, pass] = GOOD_MARGIN.map(|edge| slo.good.is_some().then_some(edge));
    sli.fail = slo.margin.fail.or(fail).map(margin);
    sli.pass = slo.margin.pass.or(pass).map(margin);
    sli.objective = Some(slo.objective.ratio());
    sli.critical = slo.critical;
    sli.advisory = slo.advisory;
    sli.alpha = slo.alpha.map(manifest::Chance::ratio);
    sli.beta = slo.beta.map(manifest::Chance::ratio);
    sli.harm_budget = slo.harm_budget.map(manifest::Chance::ratio);
}

/// How a guardrail is judged and read. None where it does not say what it measures.
pub(crate) fn guardrail(guardrail: &Guardrail) -> Option<(SliConfig, Metric)> {
    let better = match guardrail.better {
        manifest::Better::Lower => Better::Lower,
        manifest::Better::Higher => Better::Higher,
    };
    let text = |series: &Series| series.to_string();
    let (kind, metric) = match guardrail.measured()? {
        Measured::Gauge(level) => (SliKind::Gauge { better }, Metric::Level(text(level))),
        Measured::Rate(count) => (SliKind::Gauge { better }, Metric::Rate(text(count))),
        Measured::Mean(sum, of) => (SliKind::Gauge { better }, Metric::Mean(text(sum), text(of))),
        Measured::Events(count) => (SliKind::Events, Metric::Events(text(count))),
        Measured::Share(part, of) => (
            SliKind::Ratio { better },
            Metric::Share(text(part), text(of)),
        ),
    };
    let sli = SliConfig {
        fail: guardrail.margin.map(margin),
        critical: false,
        weight: Some(SHARE),
        alpha: guardrail.alpha.map(manifest::Chance::ratio),
        advisory: guardrail.advisory,
        ..SliConfig::new(&guardrail.name, kind)
    };
    Some((sli, metric))
}

fn margin(bound: Bound) -> Margin {
    let unit = match bound.unit {
        Unit::Own => 1.0,
        Unit::Percent => 100.0,
        Unit::PerHour => 3_600.0,
    };
    Margin {
        rho: bound.factor,
        delta: bound.plus / unit,
    }
}

/// What a guardrail reads, by the texts of its series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Metric {
    Level(String),
    Rate(String),
    Events(String),
    Share(String, String),
    Mean(String, String),
}

impl Metric {
    /// What one instance said in a second. Nothing of it that counts was measured: it is missing.
    pub(crate) fn sample(&self, read: &BTreeMap<String, Reading>) -> Sample {
        let risen = |series: &String| read.get(series)?.risen();
        let sample = || {
            Some(match self {
                Self::Level(series) => Sample::Gauge(read.get(series)?.mean()?),
                Self::Rate(series) => Sample::Gauge(read.get(series)?.per_second()?),
                Self::Events(series) => Sample::Events(risen(series)?.round() as u64),
                Self::Share(part, of) => {
                    let (part, of) = (risen(part)?.round() as u64, risen(of)?.round() as u64);
                    let is_ahead = part as f64 <= of as f64 * AHEAD + 1.0;
                    let bad = if is_ahead { part.min(of) } else { part };
                    (of > 0).then_some(Sample::Of(Rate { bad, requests: of }))?
                }
                Self::Mean(sum, of) => {
                    let (sum, of) = (risen(sum)?, risen(of)?);
                    (of > 0.0).then(|| Sample::Gauge(sum / of))?
                }
            })
        };
        sample().unwrap_or(Sample::Missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_kind_of_guardrail_reads_what_it_says_and_nothing_where_there_is_nothing() {
        let read: BTreeMap<String, Reading> = [
            ("depth", Reading::of(12.0, None)),
            ("cost_total", Reading::of(7.0, Some((6.5, 500)))),
            ("errors_total", Reading::of(3.0, Some((9.0, 1_000)))),
            ("hits_total", Reading::of(91.0, Some((1.0, 1_000)))),
            ("lookups_total", Reading::of(200.0, Some((100.0, 1_000)))),
            ("first_total", Reading::of(200.0, None)),
        ]
        .map(|(series, reading)| (series.to_owned(), reading))
        .into();
        let higher = SliKind::Ratio {
            better: Better::Higher,
        };
        let lower = SliKind::Gauge {
            better: Better::Lower,
        };
        let (bad, requests) = (90, 100);
        for (said, kind, sample) in [
            (json!({ "gauge": "depth" }), lower, Sample::Gauge(12.0)),
            (json!({ "rate": "cost_total" }), lower, Sample::Gauge(1.0)),
            (
                json!({ "events": "errors_total", "margin": "2x + 36/h" }),
                SliKind::Events,
                Sample::Events(3),
            ),
            (
                json!({ "share": "hits_total", "of": "lookups_total", "better": "higher" }),
                higher,
                Sample::Of(Rate { bad, requests }),
            ),
            (
                json!({ "mean": "cost_total", "of": "lookups_total" }),
                lower,
                Sample::Gauge(0.005),
            ),
            (json!({ "gauge": "none" }), lower, Sample::Missing),
            (json!({ "rate": "first_total" }), lower, Sample::Missing),
        ] {
            let mut said = said;
            said["name"] = "it".into();
            let said: Guardrail = serde_json::from_value(said).unwrap();
            let (sli, metric) = guardrail(&said).unwrap();
            assert_eq!((sli.kind, metric.sample(&read)), (kind, sample), "{said:?}");
            if let Some(margin) = sli.fail {
                let delta = 0.01;
                assert_eq!(margin, Margin { rho: 2.0, delta });
            }
        }
    }
}
