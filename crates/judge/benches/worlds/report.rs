//! Rows of the table.

use airboss_judge::{Margin, backtest::limits, ratio};

use crate::{peers, runs::Outcome, traffic::World};

fn share(part: usize, whole: usize) -> String {
    format!("{:.1} %", 100.0 * part as f64 / whole.max(1) as f64)
}

fn upper(part: usize, whole: usize) -> f64 {
    limits(part as u32, whole as u32).1
}

fn peers_failed(outcomes: &[Outcome]) -> String {
    let column = |peer: usize| {
        share(
            outcomes
                .iter()
                .filter(|it| it.peers[peer].is_some())
                .count(),
            outcomes.len(),
        )
    };
    (0..peers::NAMES.len())
        .map(column)
        .collect::<Vec<_>>()
        .join(" | ")
}

fn line(columns: usize) -> String {
    format!("|---|{}", "--:|".repeat(columns))
}

pub fn false_rollback_head() -> String {
    format!(
        "| world | judge | upper 95 % | {} |\n{}",
        peers::NAMES.join(" | "),
        line(7)
    )
}

pub fn false_rollback(world: &World, outcomes: &[Outcome]) -> String {
    let failed = outcomes.iter().filter(|it| it.failed.is_some()).count();
    let limit = 100.0 * upper(failed, outcomes.len());
    format!(
        "| {} | {} | {limit:.1} % | {} |",
        world.name,
        share(failed, outcomes.len()),
        peers_failed(outcomes)
    )
}

fn mean_and_median(mut values: Vec<f64>) -> (f64, f64) {
    if values.is_empty() {
        return (f64::NAN, f64::NAN);
    }
    values.sort_by(f64::total_cmp);
    (
        values.iter().sum::<f64>() / values.len() as f64,
        values[values.len() / 2],
    )
}

pub fn detection_head() -> String {
    format!(
        "| world | missed or early | mean s | median s | worst s | / Wald | bad served (median) | {} (median s) |\n{}",
        peers::NAMES.join(" | "),
        line(11)
    )
}

pub fn detection(world: &World, outcomes: &[Outcome]) -> String {
    let delay = |failed: Option<u64>| {
        let delay = failed.map(|t| t as f64 + 1.0 - world.onset);
        delay.filter(|delay| *delay > 0.0)
    };
    let delays: Vec<f64> = outcomes.iter().filter_map(|it| delay(it.failed)).collect();
    let missed = outcomes.len() - delays.len();
    let worst = delays.iter().copied().fold(f64::NAN, f64::max);
    let (mean, median) = mean_and_median(delays);
    let harm = mean_and_median(outcomes.iter().map(|it| it.harm as f64).collect()).1;
    let (n_c, n_b) = (world.rps * world.weight, world.rps * (1.0 - world.weight));
    let margin = Margin {
        rho: 1.1,
        delta: 1e-4,
    };
    let information = ratio::information(n_c, n_b, world.canary, world.base, margin);
    let wald = if world.tail > 1.0 {
        "–".to_owned()
    } else {
        format!("{:.2}", mean * information / 100f64.ln())
    };
    let peers = (0..peers::NAMES.len()).map(|peer| {
        let delays: Vec<f64> = outcomes
            .iter()
            .filter_map(|it| delay(it.peers[peer]))
            .collect();
        if delays.len() * 2 < outcomes.len() {
            "never".to_owned()
        } else {
            format!("{:.0}", mean_and_median(delays).1)
        }
    });
    let peers = peers.collect::<Vec<_>>().join(" | ");
    format!(
        "| {} | {} | {mean:.1} | {median} | {worst} | {wald} | {harm:.0} | {peers} |",
        world.name,
        share(missed, outcomes.len())
    )
}

fn seconds(values: Vec<f64>) -> String {
    match values.len() {
        0 => "–".to_owned(),
        _ => format!("{:.0}", mean_and_median(values).1),
    }
}

pub fn rollout_head() -> String {
    format!(
        "| world | promoted | rolled back | undecided in 1 h | median s to promotion | median s to rollback | bad served (median) |\n{}",
        line(6)
    )
}

pub fn rollout(world: &World, outcomes: &[Outcome]) -> String {
    let times = |of: fn(&Outcome) -> Option<u64>| {
        outcomes
            .iter()
            .filter_map(of)
            .map(|t| t as f64 + 1.0)
            .collect::<Vec<_>>()
    };
    let (passed, failed) = (times(|it| it.passed), times(|it| it.failed));
    let n = outcomes.len();
    let harm = mean_and_median(outcomes.iter().map(|it| it.harm as f64).collect()).1;
    format!(
        "| {} | {} | {} | {} | {} | {} | {harm:.0} |",
        world.name,
        share(passed.len(), n),
        share(failed.len(), n),
        share(n - passed.len() - failed.len(), n),
        seconds(passed),
        seconds(failed)
    )
}

pub fn promoted_head() -> String {
    format!(
        "| world | promoted | upper 95 % | rolled back |\n{}",
        line(3)
    )
}

pub fn promoted(world: &World, outcomes: &[Outcome]) -> String {
    let passed = outcomes.iter().filter(|it| it.passed.is_some()).count();
    let failed = outcomes.iter().filter(|it| it.failed.is_some()).count();
    let n = outcomes.len();
    format!(
        "| {} | {} | {:.1} % | {} |",
        world.name,
        share(passed, n),
        100.0 * upper(passed, n),
        share(failed, n)
    )
}
