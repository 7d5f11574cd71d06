//! Simulated users: how many requests there are, and how each version answers them.

use std::collections::BTreeMap;

use airboss_model::metrics::{Reading, Series};
use airboss_model::traffic::{Counts, latency};
use airboss_model::{ArmId, Digest};
use rand::rngs::Xoshiro256PlusPlus;
use rand_distr::{Binomial, Distribution as _, Poisson};

use crate::host::Route;

/// How one version answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Answers {
    /// Shares of answers with a status other than 200; together at most 1.
    pub statuses: Vec<(u16, f64)>,
    /// Latencies in microseconds with their shares, which add up to 1. Empty: none is measured.
    pub latency: Vec<(u64, f64)>,
}

impl Answers {
    /// The same with so many requests more answered by this status.
    #[must_use]
    pub fn with_status(mut self, status: u16, share: f64) -> Self {
        let left = 1.0 - self.statuses.iter().map(|(_, share)| share).sum::<f64>();
        let share = share.min(left);
        match self.statuses.iter_mut().find(|(known, _)| *known == status) {
            Some((_, known)) => *known += share,
            None => self.statuses.push((status, share)),
        }
        self
    }

    /// The same with other latencies.
    #[must_use]
    pub fn with_latency(mut self, change: impl Fn(u64) -> u64) -> Self {
        for (micros, _) in &mut self.latency {
            *micros = change(*micros);
        }
        self
    }
}

/// The users of one service.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// Requests a second.
    pub rate: f64,
    /// How versions answer that are not named below.
    pub usual: Answers,
    /// How others answer, by their content.
    pub others: BTreeMap<Digest, Answers>,
    /// What instances publish of themselves, the same in every version: 1, and one more each second.
    pub metrics: Vec<Series>,
    rng: Xoshiro256PlusPlus,
}

impl Traffic {
    /// Users that draw from `rng`.
    pub fn new(rate: f64, usual: Answers, rng: Xoshiro256PlusPlus) -> Self {
        Self {
            rate,
            usual,
            others: BTreeMap::new(),
            metrics: Vec::new(),
            rng,
        }
    }

    /// The requests of so many seconds, by arm and instance. A version without a ready instance
    /// gets none: nobody answers, so nobody counts.
    pub fn pass(
        &mut self,
        seconds: f64,
        routes: &[Route],
    ) -> BTreeMap<ArmId, BTreeMap<String, Counts>> {
        let mut arms = BTreeMap::new();
        for route in routes {
            let count = u32::try_from(route.instances.len()).unwrap_or(u32::MAX);
            let each = self.rate * seconds * route.share.ratio() / f64::from(count.max(1));
            let instances: BTreeMap<String, Counts> = route
                .instances
                .iter()
                .map(|name| {
                    let mut counts = self.instance(each, &route.digest);
                    counts.metrics = self.published(seconds);
                    (name.clone(), counts)
                })
                .collect();
            if !instances.is_empty() {
                arms.insert(route.arm.clone(), instances);
            }
        }
        arms
    }

    fn published(&self, seconds: f64) -> BTreeMap<String, Reading> {
        let reading = Reading::of(1.0 + seconds, Some((1.0, (seconds * 1_000.0) as u64)));
        let reading = Reading {
            level: 1.0,
            ..reading
        };
        let series = self.metrics.iter();
        series.map(|it| (it.to_string(), reading)).collect()
    }

    fn instance(&mut self, mean: f64, digest: &Digest) -> Counts {
        let answers = self.others.get(digest).unwrap_or(&self.usual);
        let rng = &mut self.rng;
        let requests = poisson(mean, rng);
        let mut counts = Counts {
            requests,
            ..Counts::default()
        };
        let shares: Vec<f64> = answers.statuses.iter().map(|(_, share)| *share).collect();
        let mut rest = requests;
        for ((status, _), n) in answers
            .statuses
            .iter()
            .zip(divide(requests, &shares, 1.0, rng))
        {
            rest -= n;
            if n > 0 {
                counts.by_status.insert(*status, n);
            }
        }
        if rest > 0 {
            *counts.by_status.entry(200).or_default() += rest;
        }
        let shares: Vec<f64> = answers.latency.iter().map(|(_, share)| *share).collect();
        for ((micros, _), n) in answers
            .latency
            .iter()
            .zip(divide(requests, &shares, 1.0, rng))
        {
            if n > 0 {
                *counts.latency.entry(latency::bucket(*micros)).or_default() += n;
            }
        }
        counts
    }
}

fn poisson(mean: f64, rng: &mut Xoshiro256PlusPlus) -> u64 {
    // A mean of 0 or beyond all bounds has no distribution and no request.
    Poisson::new(mean).map_or(0, |poisson| poisson.sample(rng) as u64)
}

/// `total` divided by chance into these shares of `whole`; what is left belongs to none of them.
fn divide(total: u64, shares: &[f64], whole: f64, rng: &mut Xoshiro256PlusPlus) -> Vec<u64> {
    let (mut left, mut whole) = (total, whole);
    shares
        .iter()
        .map(|share| {
            let p = if whole > 0.0 {
                (share / whole).clamp(0.0, 1.0)
            } else {
                0.0
            };
            let n = match left {
                0 => 0,
                left => Binomial::new(left, p).map_or(0, |binomial| binomial.sample(rng)),
            };
            left -= n;
            whole -= share;
            n
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use airboss_model::traffic::Weight;
    use rand::SeedableRng as _;

    fn answers() -> Answers {
        Answers {
            statuses: vec![(500, 0.1)],
            latency: vec![(1_000, 0.5), (100_000, 0.5)],
        }
    }

    #[test]
    fn requests_are_divided_as_the_splitter_divides_them_and_each_is_counted_once() {
        let rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut traffic = Traffic::new(10_000.0, answers(), rng);
        let route = |arm: &str, share: u16| Route {
            arm: arm.parse().unwrap(),
            digest: Digest::from_sha256([1; 32]),
            share: Weight::from_basis_points(share),
            instances: vec![format!("{arm}.0"), format!("{arm}.1")],
        };
        let arms = traffic.pass(1.0, &[route("a-1", 9_000), route("a-2", 1_000)]);
        let sum = |arm: &str| {
            let mut sum = Counts::default();
            let arm: ArmId = arm.parse().unwrap();
            arms[&arm].values().for_each(|counts| sum.add(counts));
            sum
        };
        let canary = sum("a-2");
        assert!((900..1_100).contains(&canary.requests), "{canary:?}");
        assert_eq!(canary.by_status.values().sum::<u64>(), canary.requests);
        assert_eq!(canary.latency.values().sum::<u64>(), canary.requests);
        assert!((60..140).contains(&canary.by_status[&500]), "{canary:?}");
        assert!((8_700..9_300).contains(&sum("a-1").requests));
    }

    #[test]
    fn a_version_that_nobody_answers_for_is_not_counted() {
        let rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut traffic = Traffic::new(100.0, answers(), rng);
        let route = Route {
            arm: "a-1".parse().unwrap(),
            digest: Digest::from_sha256([1; 32]),
            share: Weight::FULL,
            instances: Vec::new(),
        };
        assert!(traffic.pass(1.0, &[route]).is_empty());
    }
}
