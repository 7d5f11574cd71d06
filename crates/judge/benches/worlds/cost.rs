//! What one update costs.

use std::{hint::black_box, rc::Rc, time::Instant};

use airboss_judge::{Config, Judge, SliConfig, Tick};

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

pub fn print() {
    println!("### Cost of one update\n\n| SLI | time | state |\n|---|--:|--:|");
    let ticks = ticks();
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
