//! What one update costs.

use std::{hint::black_box, rc::Rc, time::Instant};

use airboss_judge::{
    Better, Config, Judge, Margin, Rate, SliConfig, Tick,
    member::{Discount, RatioMember},
};

use crate::traffic::{Latencies, Traffic, World, edges};

const TICKS: u64 = 2000;
const BATCHES: usize = 20;

fn ticks() -> Vec<Tick> {
    let latencies = [Rc::new(Latencies::new(1.0)), Rc::new(Latencies::new(1.0))];
    let mut traffic = Traffic::new(World::healthy("cost"), 1, &latencies);
    let tick = |t| {
        let (canary, stable) = traffic.tick(t, 0.1);
        Tick {
            t,
            weight: Some(0.1),
            canary,
            baseline: Some(stable),
        }
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

#[allow(clippy::expect_used, reason = "a bench with a bad config must stop")]
fn measure(name: &str, config: &Config, ticks: &[Tick]) {
    let mut judge = Judge::new(config.clone()).expect("the config is sound");
    let each = fastest(ticks.len() / BATCHES, |index| {
        judge.update(black_box(&ticks[index]))
    });
    let state = serde_json::to_string(&judge)
        .map(|text| text.len())
        .unwrap_or_default();
    println!("| {name} | {each:.2} µs | {state} bytes as JSON |");
}

/// The comparison of two ratios by itself: seven alternatives, two for the step.
fn measure_member(ticks: &[Tick]) {
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
    let each = fastest(ticks.len(), |index| {
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
    println!(
        "| one comparison of two ratios | {each:.2} µs | {} bytes |",
        size_of::<RatioMember>() + 14 * 8
    );
}

pub fn print() {
    println!("### Cost of one update\n\n| SLI | time | state |\n|---|--:|--:|");
    let ticks = ticks();
    measure_member(&ticks);
    measure(
        "errors",
        &Config {
            slis: vec![SliConfig::errors("errors")],
            ..Config::default()
        },
        &ticks,
    );
    let latency = vec![SliConfig::latency("latency", None)];
    measure(
        "latency (histogram and four exceedances)",
        &Config {
            latency_edges_ms: edges(),
            slis: latency,
            ..Config::default()
        },
        &ticks,
    );
}
