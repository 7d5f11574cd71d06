//! Whether any request fails because of Airboss while weights change, versions come and go.

use std::time::Duration;

use serde_json::json;

use super::load::{Load, Tally};
use super::page::{Figures, mark, number, thousands};
use super::stage::{SERVICE, Shape, Stage};
use super::{Ground, say};

/// Requests a second, at least.
const RATE: u32 = 2_000;
/// What is asked of the generator: somewhat more, so that the rate reached is not below.
const ASKED: u32 = 2_050;
/// Connections that are kept.
const CONNECTIONS: u32 = 64;
/// Steps of a rollout.
const STEPS: u64 = 10;
/// How long a confirmed step is left alone, so that some hundred requests meet each weight.
const STEP: Duration = Duration::from_millis(100);
/// A change that does not come within this is an error.
const WITHIN: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Done {
    changes: u64,
    promotions: u64,
    aborts: u64,
    returns: u64,
}

pub fn measure(ground: &Ground<'_>) -> anyhow::Result<String> {
    let mut stage = Stage::set(
        &ground.airboss,
        &Shape {
            instances: 2,
            steps: "10%, 20%, 30%, 40%, 50%, 60%, 70%, 80%, 90%, 100%".to_owned(),
            bake: "30m",
            hold_old: "1ms",
        },
    )?;
    stage.first()?;
    let load = Load::start(stage.listen, ASKED, CONNECTIONS)?;
    let mut done = Done::default();
    for number in 1..=ground.runs(100, 3) {
        walk(&mut stage, &format!("1.0.{number}"), None, &mut done)?;
        if number % 10 == 0 {
            say(&told(&load, &done));
        }
    }
    for number in 1..=ground.runs(10, 1) {
        // Taken back half-way …
        walk(&mut stage, &format!("2.0.{number}"), Some(5), &mut done)?;
        // … and after it was shipped.
        walk(&mut stage, &format!("3.0.{number}"), None, &mut done)?;
        let path = format!("/api/v1/services/{SERVICE}/rollback");
        let accepted = stage.up.api.post(&path, &json!({ "by": "bench" }))?;
        let rollout = accepted["rollout"].as_str().unwrap_or_default().to_owned();
        stage.wait(&rollout, &["promoted"], WITHIN)?;
        stage.wait(&rollout, &["ended"], WITHIN)?;
        done.changes += 1;
        done.returns += 1;
    }
    say(&told(&load, &done));
    let (tally, seconds) = load.finish()?;
    stage.clear()?;
    Ok(report(&tally, seconds, &done))
}

fn told(load: &Load, done: &Done) -> String {
    load.read(|tally| {
        format!(
            "{} changes, {} promotions, {} rollbacks; {} requests, {} lost",
            done.changes,
            done.promotions,
            done.aborts + done.returns,
            tally.sent,
            tally.lost
        )
    })
}

/// Ships a version and promotes it step by step, to the end or until it is aborted at a step.
fn walk(
    stage: &mut Stage,
    version: &str,
    abort_at: Option<u64>,
    done: &mut Done,
) -> anyhow::Result<()> {
    let rollout = stage.ship(version)?;
    for step in 0..STEPS {
        stage.wait(&rollout, &["step_confirmed"], WITHIN)?;
        done.changes += 1;
        std::thread::sleep(STEP);
        if abort_at == Some(step + 1) {
            stage.act(&rollout, "abort")?;
            stage.wait(&rollout, &["returned_to_stable"], WITHIN)?;
            done.changes += 1;
            done.aborts += 1;
            stage.wait(&rollout, &["ended"], WITHIN)?;
            return Ok(());
        }
        if step + 1 < STEPS {
            stage.act(&rollout, "promote")?;
        }
    }
    stage.wait(&rollout, &["promoted"], WITHIN)?;
    done.promotions += 1;
    stage.wait(&rollout, &["ended"], WITHIN)?;
    Ok(())
}

fn report(tally: &Tally, seconds: f64, done: &Done) -> String {
    let rate = tally.sent as f64 / seconds;
    let latency = Figures::of(tally.latencies.iter().map(|us| f64::from(*us) / 1_000.0));
    let own: u64 = tally.versions.values().map(|answers| answers.failed).sum();
    let mut text = format!(
        "| figure | target | reached | value |\n|---|---|---|---|\n\
         | client requests failed because of Airboss | 0 | {} | {} |\n\
         | requests | | | {} in {seconds:.0} s |\n\
         | requests a second | ≥ {} | {} | {} |\n\
         | weight changes | 1,000 | {} | {} |\n\
         | promotions | 100 | {} | {} |\n\
         | rollbacks | 20 | {} | {} ({} aborted at 50 %, {} after they were shipped) |\n\
         | latency, from when a request was due to its whole answer | | | median {} ms, p99 {} ms, worst {} ms |\n\n\
         Two instances; each step is promoted {} ms after it is confirmed, versions follow one another without a pause; {CONNECTIONS} kept connections, evenly spaced departures, open loop. Failed because of Airboss is: \
         a connection refused or broken, no answer within 10 s, or any answer that does not carry the service's own \
         header. An instance is ended without grace as soon as Airboss tells it to, so a request that still reaches it is \
         lost and counts. Errors that instances gave themselves: {own}.",
        mark(Some(tally.lost == 0)),
        thousands(&tally.lost.to_string()),
        thousands(&tally.sent.to_string()),
        thousands(&RATE.to_string()),
        mark(Some(rate >= f64::from(RATE))),
        number(rate),
        mark(Some(done.changes >= 1_000)),
        thousands(&done.changes.to_string()),
        mark(Some(done.promotions >= 100)),
        done.promotions,
        mark(Some(done.aborts + done.returns >= 20)),
        done.aborts + done.returns,
        done.aborts,
        done.returns,
        number(latency.median()),
        number(latency.quantile(0.99)),
        number(latency.worst()),
        STEP.as_millis(),
    );
    if !tally.described.is_empty() {
        text += "\n\nThe first that were lost:\n\n";
        for line in &tally.described {
            text += &format!("- {line}\n");
        }
    }
    text
}
