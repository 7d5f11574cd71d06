//! From a weight that is asked for to the data plane's confirmation of it.

use std::time::Duration;

use super::load::Load;
use super::page::{Figures, Table};
use super::stage::{Shape, Stage};
use super::{Ground, ms_between, now, say};

/// Requests a second while weights change.
const RATE: u32 = 200;
/// Steps of a rollout, the last at 100 %.
const STEPS: u32 = 50;
/// A weight that is not confirmed within this is an error.
const WITHIN: Duration = Duration::from_secs(60);

pub fn measure(ground: &Ground<'_>) -> anyhow::Result<String> {
    let rollouts = ground.runs(8, 1);
    let steps: Vec<String> = (1..=STEPS)
        .map(|step| format!("{}%", step * 100 / STEPS))
        .collect();
    let mut stage = Stage::set(
        &ground.airboss,
        &Shape {
            instances: 1,
            steps: steps.join(", "),
            bake: "30m",
            hold_old: "1ms",
        },
    )?;
    stage.first()?;
    let load = Load::start(stage.listen, RATE, 16)?;
    let (mut took, mut whole) = (Vec::new(), Vec::new());
    for number in 1..=rollouts {
        let rollout = stage.ship(&format!("1.0.{number}"))?;
        let (mut set, mut command) = (None, None);
        loop {
            let kinds = ["step_shifting", "step_confirmed", "promoted"];
            let event = stage.wait(&rollout, &kinds, WITHIN)?;
            match event.kind.as_str() {
                "step_shifting" => set = Some(event.at),
                "promoted" => break,
                _ => {
                    took.extend(set.take().map(|set| ms_between(set, event.at)));
                    let from = command.take();
                    whole.extend(from.map(|command| ms_between(command, event.seen)));
                    let step = event.body["step"].as_u64().unwrap_or(0);
                    if step + 1 < u64::from(STEPS) {
                        command = Some(now());
                        stage.act(&rollout, "promote")?;
                    }
                }
            }
        }
        stage.wait(&rollout, &["ended"], WITHIN)?;
        say(&format!("{rollout}: {} changes so far", took.len()));
    }
    let (tally, seconds) = load.finish()?;
    stage.clear()?;
    let (took, whole) = (Figures::of(took), Figures::of(whole));
    let mut table = Table::new();
    table.row(
        "weight set by the controller → confirmed by the data plane",
        "p99 < 50 ms",
        Some(took.quantile(0.99) < 50.0),
        &took,
        "ms",
    );
    table.row(
        "`promote` sent → confirmation read from the event stream",
        "p99 < 50 ms",
        Some(whole.quantile(0.99) < 50.0),
        &whole,
        "ms",
    );
    let rate = tally.sent as f64 / seconds;
    Ok(format!(
        "{}\n\
         {rollouts} rollouts of {STEPS} steps (2 %, 4 % … 100 %), each step ended by `promote`; one instance, \
         {rate:.0} requests a second through the splitter meanwhile. The first row is the time between the events \
         `step_shifting` and `step_confirmed`, by the controller's clock; each of the two is durable before it counts. \
         The second is a client's whole experience: a new connection, the command's commit, the change, \
         its confirmation and the live stream. Requests lost because of Airboss in this run: {} of {}.",
        table.finish(),
        tally.lost,
        tally.sent,
    ))
}
