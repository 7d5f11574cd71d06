//! What one update costs.

use std::{hint::black_box, rc::Rc, time::Instant};

use airboss_judge::{
    Better, Config, Judge, Margin, Rate, SliConfig, Tick,
    member::{Discount, RatioMember},
};

use crate::traffic::{Latencies, Traffic, World, edges};

const TICKS: u64 = 2000;

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

#[allow(clippy::expect_used, reason = "a bench with a bad config must stop")]
fn measure(name: &str, config: &Config, ticks: &[Tick]) {
    let mut judge = Judge::new(config.clone()).expect("the config is sound");
    let started = Instant::now();
    for tick in ticks {
        judge.update(black_box(tick));
    }
    let each = started.elapsed().as_nanos() as f64 / ticks.len() as f64 / 1000.0;
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
    let started = Instant::now();
    for t in 0..100 * ticks.len() as u64 {
        let canary = Rate {
            bad: u64::from(t % 20 == 0),
            requests: 50,
        };
        let baseline = Rate {
            bad: t % 2,
            requests: 450,
        };
        black_box(member.observe(t, black_box(canary), black_box(baseline), &Discount::NONE));
    }
    let each = started.elapsed().as_nanos() as f64 / ticks.len() as f64 / 1e5;
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
