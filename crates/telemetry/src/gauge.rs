//! From a manifest's SLOs and guardrails and what was measured to what the judge reads.

use std::collections::BTreeMap;

use airboss_judge::coverage::{Mix, MixTick};
use airboss_judge::tick::{ArmTick, InstanceTick, Sample, Tick};
use airboss_judge::{Config, Rate, SliConfig};
use airboss_model::manifest::{Service, Tier, WhenUnlike};
use airboss_model::route::RoutePattern;
use airboss_model::status_set::StatusSet;
use airboss_model::traffic::{Counts, Weight, latency};

use crate::guardrails::{self, Metric};

/// What an SLO reads of a request.
#[derive(Debug, Clone, PartialEq)]
enum Reads {
    Status(StatusSet),
    /// Requests in this bucket of the splitter's and above are too slow.
    Latency(u16),
    /// The same of some routes only, which have a denominator of their own.
    Of(Vec<RoutePattern>, Box<Reads>),
    /// What instances say of themselves.
    Metric(Metric),
}

impl Reads {
    fn bad(&self, by_status: &BTreeMap<u16, u64>, latency: &BTreeMap<u16, u64>) -> u64 {
        match self {
            Self::Latency(cut) => latency.range(cut..).map(|(_, n)| n).sum(),
            Self::Status(bad) => {
                let hits = by_status
                    .iter()
                    .filter(|(status, _)| bad.contains(**status));
                hits.map(|(_, n)| n).sum()
            }
            Self::Of(_, of) => of.bad(by_status, latency),
            Self::Metric(_) => 0,
        }
    }

    fn rate(&self, counts: &Counts) -> Rate {
        match self {
            Self::Of(patterns, of) => {
                let mut rate = Rate::default();
                for (route, counts) in &counts.routes {
                    if patterns.iter().any(|pattern| pattern.covers(route)) {
                        rate.bad += of.bad(&counts.by_status, &counts.latency);
                        rate.requests += counts.requests();
                    }
                }
                rate
            }
            Self::Metric(_) => Rate::default(),
            whole => Rate {
                bad: whole.bad(&counts.by_status, &counts.latency),
                requests: counts.requests,
            },
        }
    }
}

/// Reads the SLOs of one service off the splitter's counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Gauge {
    config: Config,
    reads: Vec<Reads>,
    /// The splitter's buckets that the judge's begin with, from the second one on.
    cuts: Box<[u16]>,
}

/// Eight buckets a doubling tell a p99 from one 9 % higher, at a fortieth of a judge's update.
const PER_DOUBLING: u16 = 8;
/// The first edge at the least, 128 µs: below it no service on a network differs.
const FIRST_MICROS: u64 = 128;
/// What is faster than a tenth of the promise is fast: no user of a service that promises 250 ms
/// minds whether an answer took 2 or 3 ms, and two sets of instances always differ by as much.
const FAST_SHARE: u64 = 10;
/// The last edge, 67 s.
const LAST_MICROS: u64 = 1 << 26;

impl Gauge {
    /// The SLOs and guardrails of a manifest. One without SLOs is judged by its server errors.
    pub fn new(service: &Service) -> Self {
        let mut gauge = Self::whole(service);
        // A histogram that no SLO reads would only make the record longer.
        if !gauge
            .reads
            .iter()
            .any(|reads| matches!(reads, Reads::Latency(_)))
        {
            gauge.config.latency_edges_ms.clear();
        }
        gauge
    }

    /// The same with latency in every tick, whether or not an SLO reads it: for recordings, which
    /// may be judged by other SLOs one day.
    pub fn whole(service: &Service) -> Self {
        let slos = &service.spec.slos;
        let strictest = slos.iter().filter_map(|slo| slo.under).min();
        let fast = strictest.map_or(0, |under| micros(under) / FAST_SHARE);
        let first = fast.clamp(FIRST_MICROS, LAST_MICROS);
        let mut cuts: Vec<u16> = (latency::bucket(first)..=latency::bucket(LAST_MICROS))
            .step_by(usize::from(32 / PER_DOUBLING))
            .collect();
        let mut slis = Vec::new();
        let mut reads = Vec::new();
        for slo in slos {
            let mut sli = match slo.under {
                Some(under) => {
                    let micros = micros(under);
                    let cut = latency::bucket(micros).saturating_add(1);
                    cuts.push(cut);
                    reads.push(Reads::Latency(cut));
                    // The histogram is the whole service's; some routes are judged by the promise
                    // alone, as a ratio of slow requests.
                    if slo.routes.is_empty() {
                        SliConfig::latency(&slo.name, Some(edge_ms(cut)))
                    } else {
                        SliConfig::errors(&slo.name)
                    }
                }
                None => {
                    reads.push(Reads::Status(slo.bad_statuses().unwrap_or_default()));
                    SliConfig::errors(&slo.name)
                }
            };
            guardrails::slo(&mut sli, slo);
            if !slo.routes.is_empty() {
                let of = reads.pop().map(Box::new);
                reads.extend(of.map(|of| Reads::Of(slo.routes.clone(), of)));
            }
            slis.push(sli);
        }
        if slis.is_empty() {
            reads.push(Reads::Status(StatusSet::default()));
            let objective = if service.metadata.tier == Tier::Critical {
                0.999
            } else {
                0.99
            };
            slis.push(SliConfig {
                objective: Some(objective),
                ..SliConfig::errors("server errors")
            });
        }
        for guardrail in &service.spec.guardrails {
            if let Some((sli, metric)) = guardrails::guardrail(guardrail) {
                reads.push(Reads::Metric(metric));
                slis.push(sli);
            }
        }
        cuts.sort_unstable();
        cuts.dedup();
        let config = Config {
            hold_unlike: service.spec.requests.when_unlike == WhenUnlike::Hold,
            slis,
            latency_edges_ms: cuts.iter().copied().map(edge_ms).collect(),
            alpha: service.spec.judge.alpha.ratio(),
            beta: service.spec.judge.beta.ratio(),
            harm_budget: service.spec.judge.harm_budget.ratio(),
            ..Config::default()
        };
        Self {
            config,
            reads,
            cuts: cuts.into(),
        }
    }

    /// What the judge is to be configured with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// One second of both arms. An arm of None did not report; a baseline of None with `alone`
    /// says that there is none to compare with.
    pub fn tick(
        &self,
        t: u64,
        weight: Weight,
        canary: Option<&BTreeMap<String, Counts>>,
        baseline: Option<&BTreeMap<String, Counts>>,
        alone: bool,
    ) -> Tick {
        Tick {
            t,
            weight: (!alone).then(|| weight.ratio()),
            canary: canary.map_or_else(ArmTick::default, |arm| self.arm(arm)),
            baseline: (!alone).then(|| baseline.map_or_else(ArmTick::default, |arm| self.arm(arm))),
        }
    }

    /// What each SLO, in the config's order, says of these requests.
    pub fn rates(&self, counts: &Counts) -> Vec<Rate> {
        self.reads.iter().map(|reads| reads.rate(counts)).collect()
    }

    /// What both arms were asked for in a second.
    pub fn mix(
        &self,
        canary: &BTreeMap<String, Counts>,
        baseline: &BTreeMap<String, Counts>,
    ) -> MixTick {
        let mut mix = MixTick::default();
        for (is_canary, counts) in canary
            .values()
            .map(|counts| (true, counts))
            .chain(baseline.values().map(|counts| (false, counts)))
        {
            let add = |mix: &mut Mix, kind: &str, count: u64| {
                let both = mix.entry(kind.to_owned()).or_default();
                *(if is_canary { &mut both.0 } else { &mut both.1 }) += count;
            };
            for (route, it) in counts.routes.iter().filter(|(_, it)| it.drawn > 0) {
                add(&mut mix.routes, route, it.drawn);
            }
            for (cohort, count) in &counts.cohorts {
                add(&mut mix.cohorts, cohort, *count);
            }
        }
        mix
    }

    fn arm(&self, instances: &BTreeMap<String, Counts>) -> ArmTick {
        ArmTick {
            instances: instances
                .iter()
                .map(|(name, counts)| self.instance(name, counts))
                .collect(),
        }
    }

    fn instance(&self, name: &str, counts: &Counts) -> InstanceTick {
        let samples = self
            .reads
            .iter()
            .map(|reads| match reads {
                Reads::Latency(_) => Sample::Missing,
                Reads::Metric(metric) => metric.sample(&counts.metrics),
                Reads::Status(_) => Sample::Count(reads.rate(counts).bad),
                // Routes that nobody asked for in this second were not measured in it.
                Reads::Of(..) => match reads.rate(counts) {
                    Rate { requests: 0, .. } => Sample::Missing,
                    rate => Sample::Of(rate),
                },
            })
            .collect();
        let mut latency: Vec<(u32, u64)> = Vec::new();
        if !self.config.latency_edges_ms.is_empty() {
            for (bucket, count) in &counts.latency {
                let to = self.cuts.partition_point(|cut| cut <= bucket);
                let to = u32::try_from(to).unwrap_or(u32::MAX);
                match latency.last_mut() {
                    Some((last, sum)) if *last == to => *sum += count,
                    _ => latency.push((to, *count)),
                }
            }
        }
        InstanceTick {
            instance: name.to_owned(),
            requests: counts.requests,
            samples,
            latency,
        }
    }
}

fn micros(span: airboss_model::Span) -> u64 {
    u64::try_from(span.0.as_micros()).unwrap_or(u64::MAX)
}

fn edge_ms(cut: u16) -> f64 {
    latency::lower_micros(cut) as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use airboss_judge::Margin;
    use airboss_model::traffic::RouteCounts;
    use serde_json::json;

    fn service(slos: serde_json::Value) -> Service {
        serde_json::from_value(json!({
            "metadata": { "name": "checkout" },
            "spec": { "target": { "process": { "command": ["x"], "listen": "127.0.0.1:1" } }, "slos": slos }
        }))
        .unwrap()
    }

    fn counts(status: u16, micros: u64, n: u64) -> Counts {
        Counts {
            requests: n,
            by_status: [(status, n)].into(),
            latency: [(latency::bucket(micros), n)].into(),
            ..Counts::default()
        }
    }

    #[test]
    fn a_slo_counts_what_its_condition_names() {
        let gauge = Gauge::new(&service(
            json!([{ "name": "ok", "objective": "99.9%", "bad": "status == 404" }]),
        ));
        let arm = [
            ("a.0".to_owned(), counts(404, 100, 3)),
            ("a.1".to_owned(), counts(500, 100, 4)),
        ]
        .into();
        let tick = gauge.tick(1, Weight::from_basis_points(1_000), Some(&arm), None, false);
        let samples: Vec<_> = tick
            .canary
            .instances
            .iter()
            .map(|row| row.samples[0])
            .collect();
        assert_eq!(samples, [Sample::Count(3), Sample::Count(0)]);
        assert_eq!(
            tick.baseline,
            Some(ArmTick::default()),
            "an arm that did not report has no rows"
        );
    }

    #[test]
    fn every_latency_above_the_objective_lies_above_its_edge() {
        let gauge = Gauge::new(&service(
            json!([{ "name": "fast", "objective": "99%", "under": "250ms" }]),
        ));
        let edges = &gauge.config().latency_edges_ms;
        let place = |micros| gauge.instance("a", &counts(200, micros, 1)).latency[0].0 as usize;
        let under = edges
            .iter()
            .position(|edge| (250.0..258.0).contains(edge))
            .unwrap();
        assert!(place(249_000) <= under);
        assert!(place(260_000) > under);
        assert!(edges.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(gauge.config().validate().is_ok());
    }

    #[test]
    fn budgets_are_spent_by_what_the_slos_call_bad() {
        let gauge = Gauge::new(&service(json!([
            { "name": "ok", "objective": "99.9%", "bad": "status >= 500" },
            { "name": "fast", "objective": "99%", "under": "250ms" },
        ])));
        let mut sum = counts(200, 300_000, 4);
        sum.add(&counts(503, 1_000, 3));
        let bad: Vec<u64> = gauge.rates(&sum).iter().map(|rate| rate.bad).collect();
        assert_eq!(bad, [3, 4]);
    }

    #[test]
    fn what_is_fast_against_the_promise_is_not_told_apart() {
        let gauge = Gauge::new(&service(
            json!([{ "name": "fast", "objective": "99%", "under": "250ms" }]),
        ));
        let place = |micros| gauge.instance("a", &counts(200, micros, 1)).latency[0].0;
        assert_eq!(place(2_000), place(20_000));
        assert_ne!(place(20_000), place(40_000));
    }

    #[test]
    fn a_slo_of_some_routes_counts_these_alone() {
        let gauge = Gauge::new(&service(json!([
            { "name": "pay", "objective": "99.9%", "bad": "status >= 500", "routes": ["POST /pay"] },
            { "name": "quick", "objective": "99%", "under": "250ms", "routes": ["/cart/{id}"] },
        ])));
        let route = |status: u16, micros: u64, n: u64| RouteCounts {
            drawn: n,
            by_status: [(status, n)].into(),
            latency: [(latency::bucket(micros), n)].into(),
        };
        let mut one = counts(200, 100, 50);
        one.routes = [
            ("POST /pay".to_owned(), route(503, 100, 3)),
            ("/cart/{id}".to_owned(), route(200, 300_000, 2)),
            ("GET /".to_owned(), route(500, 900_000, 45)),
        ]
        .into();
        let rate = |bad, requests| Rate { bad, requests };
        assert_eq!(gauge.rates(&one), [rate(3, 3), rate(2, 2)]);
        let row = gauge.instance("a", &one);
        assert_eq!(
            row.samples,
            [Sample::Of(rate(3, 3)), Sample::Of(rate(2, 2))]
        );
        let idle = gauge.instance("a", &counts(200, 100, 50));
        assert_eq!(idle.samples, [Sample::Missing, Sample::Missing]);
    }

    #[test]
    fn margins_and_chances_of_the_manifest_are_what_the_judge_goes_by() {
        let mut service = service(json!([
            { "name": "ok", "objective": "99.9%", "bad": "status >= 500",
                "margin": { "fail": "1.5x + 0.2%", "pass": "2x" } },
            { "name": "orders", "objective": "2%", "good": "status == 201", "routes": ["POST /order"],
                "margin": { "fail": "0.9x - 0.1%" } },
        ]));
        service.spec.judge = serde_json::from_value(json!({ "alpha": "0.5%" })).unwrap();
        let gauge = Gauge::new(&service);
        let config = gauge.config();
        assert_eq!((config.alpha, config.beta), (0.005, 0.05));
        assert_eq!(
            config.slis[0].fail,
            Some(Margin {
                rho: 1.5,
                delta: 0.002
            })
        );
        assert_eq!(
            config.slis[0].pass,
            Some(Margin {
                rho: 2.0,
                delta: 0.0
            })
        );
        // Of 100 requests 4 orders at stable: 3.5 are the fewest, so 96.5 bad ones the most.
        let edge = config.slis[1].fail.unwrap().edge(0.96);
        assert!((edge - 0.965).abs() < 1e-9, "{edge}");
        let pass = config.slis[1].pass.unwrap().edge(0.96);
        assert!((pass - 0.964).abs() < 1e-9, "{pass}");
        let mut one = counts(200, 100, 50);
        let ordered = RouteCounts {
            drawn: 20,
            by_status: [(201, 3), (409, 17)].into(),
            latency: BTreeMap::new(),
        };
        one.routes = [("POST /order".to_owned(), ordered)].into();
        assert_eq!(
            gauge.rates(&one)[1],
            Rate {
                bad: 17,
                requests: 20
            }
        );
    }

    #[test]
    fn a_service_without_slos_is_judged_by_its_server_errors() {
        let gauge = Gauge::new(&service(json!([])));
        let arm = [("a".to_owned(), counts(503, 100, 2))].into();
        let tick = gauge.tick(1, Weight::FULL, Some(&arm), None, true);
        assert_eq!(tick.canary.instances[0].samples, [Sample::Count(2)]);
        assert_eq!(tick.baseline, None);
    }
}
