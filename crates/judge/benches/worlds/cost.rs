//! What one update costs.

use std::{hint::black_box, time::Instant};

use airboss_judge::{
    Better, Config, Judge, Margin, Rate, SliConfig, Tick,
    member::{Discount, RatioMember},
};

use serde_json::Value;

use crate::traffic::{Latencies, Traffic, World, edges};

/// So many ticks are judged again and again: they stay in the cache, where who made a tick leaves it.
const TICKS: u64 = 100;
const PER_BATCH: usize = 1000;
const BATCHES: usize = 20;

/// Of a canary whose tail is longer by this factor.
fn ticks(tail: f64) -> Vec<Tick> {
    let world = World {
        tail,
        ..World::healthy("cost")
    };
    let mut traffic = Traffic::new(world, 1, &Latencies::pair(tail));
    let tick = |t| {
        let mut tick = Tick::default();
        traffic.tick(t, 0.1, true, &mut tick);
        tick.weight = Some(0.1);
        tick
    };
    (0..TICKS).map(tick).collect()
}

/// The fastest of twenty batches, so that a busy machine does not count.
fn fastest(per_batch: usize, mut work: impl FnMut(usize)) -> f64 {
    let batch = |batch: usize| {
        let started = Instant::now();
        (0..per_batch).for_each(|index| work(batch * per_batch + index));
        started.elapsed().as_nanos() as f64 / per_batch as f64 / 1000.0
    };
    (0..BATCHES).map(batch).fold(f64::INFINITY, f64::min)
}

/// Bytes of the numbers that change from tick to tick, without names, config and what a history said:
/// `each`, which is four where no key says otherwise.
fn bytes(each: usize, value: &Value) -> usize {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(key, _)| !CONSTANT.contains(&key.as_str()))
            .map(|(key, value)| bytes(width(key).unwrap_or(each), value))
            .sum(),
        Value::Array(items) => items.iter().map(|item| bytes(each, item)).sum(),
        Value::Number(_) => each,
        _ => 1,
    }
}

const CONSTANT: [&str; 3] = ["calibrated", "fail_margin", "pass_margin"];

fn width(key: &str) -> Option<usize> {
    match key {
        "cuts" | "of_late" | "since" | "taken" => Some(2),
        "canary" | "baseline" | "counts" | "heard" | "last_data" | "ticks" | "aside" => Some(8),
        _ => None,
    }
}

#[allow(clippy::expect_used, reason = "a bench with a bad config must stop")]
fn measure(name: &str, config: &Config, ticks: &mut [Tick]) -> String {
    let mut judge = Judge::new(config.clone()).expect("the config is sound");
    let each = fastest(PER_BATCH, |index| {
        let tick = &mut ticks[index % TICKS as usize];
        tick.t = index as u64;
        judge.update(black_box(tick));
    });
    let state = serde_json::to_value(&judge).unwrap_or_default();
    let bytes = bytes(4, &state["slis"]);
    format!("| {name} | {each:.2} µs | {bytes} bytes |")
}

/// The comparison of two ratios by itself: seven alternatives, two for the step.
fn measure_member() -> String {
    let margins = [
        Margin {
            rho: 1.1,
            delta: 1e-4,
        },
        Margin {
            rho: 1.25,
            delta: 1e-3,
        },
    ];
    let mut member = RatioMember::new(Better::Lower, margins[0], margins[1], None, None);
    let each = fastest(PER_BATCH, |index| {
        let t = index as u64;
        let canary = Rate {
            bad: u64::from(t.is_multiple_of(20)),
            requests: 50,
        };
        let baseline = Rate {
            bad: t % 2,
            requests: 450,
        };
        black_box(member.observe(t, black_box(canary), black_box(baseline), &Discount::NONE));
    });
    let state = serde_json::to_value(&member).unwrap_or_default();
    let bytes = bytes(4, &state);
    format!("| one comparison of two ratios | {each:.2} µs | {bytes} bytes |")
}

pub fn table() -> String {
    let (mut ticks, mut slower) = (ticks(1.0), ticks(1.2));
    let errors = Config {
        slis: vec![SliConfig::errors("errors")],
        ..Config::default()
    };
    let latency = Config {
        latency_edges_ms: edges(),
        slis: vec![SliConfig::latency("latency", None)],
        ..Config::default()
    };
    [
        "\n### Cost of one update\n\n| what | time | state |\n|---|--:|--:|".to_owned(),
        measure_member(),
        measure("a ratio SLI, eleven instances", &errors, &mut ticks),
        measure(
            "a latency SLI, eleven instances, 43 buckets",
            &latency,
            &mut ticks,
        ),
        measure("the same while the canary is slower", &latency, &mut slower),
    ]
    .join("\n")
}
