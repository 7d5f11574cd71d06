//! From a fault's onset to the data plane's confirmation that nobody is exposed to it any more.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

use super::load::Load;
use super::page::{self, Figures, Table};
use super::stage::{Shape, Stage};
use super::{Ground, ms_between, now, say};

/// Requests a second, of which the canary has a tenth.
const RATE: u32 = 500;
/// Healthy answers before the fault: 0.1 %, and 20 % after it, in parts of 10,000.
const HEALTHY: &str = "10";
const FAULTY: &str = "2000";
/// How long the canary is healthy at 10 % before its fault. A run's fraction of a second is added,
/// so that faults begin anywhere between two reports.
const HEALTHY_FOR: Duration = Duration::from_secs(3);
/// Traffic of the first version alone, from which the judge learns how the service's errors come;
/// it takes a quarter of an hour at the least.
const HISTORY: Duration = Duration::from_secs(930);
/// A fault that is not answered within this is no rollback.
const WITHIN: Duration = Duration::from_secs(60);

struct Run {
    why: String,
    decided: f64,
    confirmed: f64,
    last_answer: f64,
    exposed: u64,
    failed: u64,
}

/// After a quarter of an hour of traffic.
pub fn of_a_known_service(ground: &Ground<'_>) -> anyhow::Result<String> {
    measure(
        ground,
        if ground.quick {
            Duration::ZERO
        } else {
            HISTORY
        },
    )
}

/// With no traffic before the first canary but that of the runs themselves.
pub fn of_a_new_service(ground: &Ground<'_>) -> anyhow::Result<String> {
    measure(ground, Duration::ZERO)
}

fn measure(ground: &Ground<'_>, history: Duration) -> anyhow::Result<String> {
    let runs = ground.runs(50, 3);
    let mut stage = Stage::set(
        &ground.airboss,
        &Shape {
            instances: 2,
            steps: "10%, 100%".to_owned(),
            bake: "30m",
            hold_old: "1s",
        },
    )?;
    fs::write(stage.faults.join("0.1.0"), HEALTHY)?;
    stage.first()?;
    let load = Load::start(stage.listen, RATE, 32)?;
    if !history.is_zero() {
        say(&format!("traffic for {history:?}, before the first canary"));
        std::thread::sleep(history);
    }
    let busy = page::load_average();
    let (mut done, mut early) = (Vec::new(), Vec::new());
    // A canary taken back before its fault is a false alarm: it is told, and the run is repeated.
    for number in 1..=runs * 2 {
        if done.len() == runs {
            break;
        }
        let version = format!("1.0.{number}");
        match run(&mut stage, &load, &version, number)? {
            Ok(run) => {
                say(&format!(
                    "{version}: decided {:.0} ms, confirmed {:.0} ms, last answer {:.0} ms after the fault; {}",
                    run.decided, run.confirmed, run.last_answer, run.why
                ));
                done.push(run);
            }
            Err(why) => {
                say(&format!("{version}: {why}"));
                early.push(why);
            }
        }
    }
    let (tally, seconds) = load.finish()?;
    stage.clear()?;
    anyhow::ensure!(!done.is_empty(), "no run reached its fault: {early:?}");

    let confirmed = Figures::of(done.iter().map(|run| run.confirmed / 1_000.0));
    let decided = Figures::of(done.iter().map(|run| run.decided / 1_000.0));
    let last = Figures::of(done.iter().map(|run| run.last_answer / 1_000.0));
    let shift = Figures::of(done.iter().map(|run| run.confirmed - run.decided));
    let exposed = Figures::of(done.iter().map(|run| run.exposed as f64));
    let failed = Figures::of(done.iter().map(|run| run.failed as f64));
    let mut table = Table::new();
    table.row(
        "fault onset → data plane confirmed at 0 %",
        "median < 2 s, worst < 4 s",
        Some(confirmed.median() < 2.0 && confirmed.worst() < 4.0),
        &confirmed,
        "s",
    );
    table.row(
        "fault onset → last answer of the canary, as users saw it",
        "",
        None,
        &last,
        "s",
    );
    table.row("fault onset → decision", "", None, &decided, "s");
    table.row(
        "decision → data plane confirmed at 0 %",
        "",
        None,
        &shift,
        "ms",
    );
    table.row(
        "answers of the canary from onset to the end",
        "",
        None,
        &exposed,
        "",
    );
    table.row("… of them errors", "", None, &failed, "");
    let rate = tally.sent as f64 / seconds;
    let early = if early.is_empty() {
        "No canary was taken back before its fault.".to_owned()
    } else {
        format!(
            "{} more canaries were taken back before their fault and their runs repeated: {}.",
            early.len(),
            early.join("; ")
        )
    };
    let known = if history.is_zero() {
        "Before a quarter of an hour of its traffic the judge cannot rule out that a service's errors come in \
         clumps, so it caps what one second may prove (see [judge.md](judge.md)); that cap, not the data plane, is \
         what these seconds are. "
            .to_owned()
    } else {
        format!(
            "The first version had {} seconds of this traffic to itself before; load average then: {busy}. ",
            history.as_secs()
        )
    };
    Ok(format!(
        "{}\n\
         {known}One `airboss up` for all runs; {rate:.0} requests a second (asked for: {RATE}), evenly spaced, open loop, \
         10 % of them on the canary. Both versions fail 0.1 % of their requests; after {} to {} s at 10 % the \
         canary's share of errors is set to 20 %, and that instant is the onset. SLOs: availability 99.9 %, \
         99 % under 250 ms; nothing else is tuned. The confirmation is the event `returned_to_stable`, whose time \
         is the controller's when it has read the agent's report. {early} Requests lost because of Airboss in this run: {} of {}.",
        table.finish(),
        HEALTHY_FOR.as_secs(),
        HEALTHY_FOR.as_secs() + 1,
        tally.lost,
        tally.sent,
    ))
}

/// One canary; the inner error tells of one that was taken back while it was healthy.
fn run(
    stage: &mut Stage,
    load: &Load,
    version: &str,
    number: usize,
) -> anyhow::Result<Result<Run, String>> {
    let fault = stage.faults.join(version);
    fs::write(&fault, HEALTHY)?;
    let rollout = stage.ship(version)?;
    stage.wait(&rollout, &["step_confirmed"], WITHIN)?;
    // 617 and 1,000 have no common divisor: the fractions are spread over the second.
    let fraction = Duration::from_millis((number as u64 * 617) % 1_000);
    let switch_at = now() + (HEALTHY_FOR + fraction);
    if let Some(event) = stage.peek(&rollout, &["rollback_started"], switch_at) {
        stage.wait(&rollout, &["ended"], WITHIN)?;
        return Ok(Err(event.message));
    }
    let before = load.read(|tally| tally.of(version));
    // Renamed into place: no request reads half of it.
    let half = stage.faults.join("half-written");
    fs::write(&half, FAULTY)?;
    let onset = now();
    fs::rename(&half, &fault)?;
    let decided = stage.wait(&rollout, &["rollback_started"], WITHIN)?;
    let confirmed = stage.wait(&rollout, &["returned_to_stable"], WITHIN)?;
    stage.wait(&rollout, &["ended"], WITHIN)?;
    let after = load.read(|tally| tally.of(version));
    let last = after.last.context("the canary never answered")?;
    Ok(Ok(Run {
        why: decided.message.clone(),
        decided: ms_between(onset, decided.at),
        confirmed: ms_between(onset, confirmed.at),
        last_answer: ms_between(onset, last),
        exposed: after.all - before.all,
        failed: after.failed - before.failed,
    }))
}
