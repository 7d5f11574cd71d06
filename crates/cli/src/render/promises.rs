//! What users were promised: error budgets, and what a history says of objectives.

use airboss_judge::words::share;
use airboss_server::api::views::{BudgetView, LaneView, MixView, ProgressView, SloList};

use super::layout::{Chunk, Line, Style};
use super::tree::labelled;
use super::words;

/// One line for each error budget.
pub(super) fn budgets(lane: &LaneView) -> Vec<Line> {
    let lines = lane.budgets.iter().enumerate().map(|(at, budget)| {
        let label = if at == 0 { "budgets" } else { "" };
        labelled(label, budget_chunks(budget))
    });
    lines.collect()
}

fn budget_chunks(budget: &BudgetView) -> Vec<Chunk> {
    let (left, style) = if budget.left < 0.0 {
        ("overspent".to_owned(), Style::Bad)
    } else {
        let style = if budget.left < 0.25 {
            Style::Warn
        } else {
            Style::Good
        };
        (format!("{} left", words::percent(budget.left)), style)
    };
    let mut chunks = vec![
        Chunk::new(&budget.slo),
        Chunk::styled(left, style),
        Chunk::styled(
            format!("of 30 days at {}", share(budget.objective)),
            Style::Dim,
        ),
    ];
    let hour = budget.burn_rates.iter().find(|rate| rate.window == "1h");
    if let Some(rate) = hour.and_then(|hour| hour.rate).filter(|rate| *rate > 0.0) {
        chunks.push(Chunk::new(format!(
            "burns at {} this hour",
            words::rate(rate)
        )));
    }
    if let Some(seconds) = budget.seconds_to_exhaustion.filter(|_| budget.left > 0.0) {
        let span = airboss_judge::words::duration(seconds);
        chunks.push(Chunk::styled(format!("spent in {span}"), Style::Dim));
    }
    for alert in &budget.alerts {
        chunks.push(Chunk::styled(alert, Style::Bad));
    }
    chunks
}

/// What the present step, or the first one, may expect of the usual traffic.
pub(super) fn expectation(rollout: &ProgressView) -> Option<Line> {
    let now = rollout.steps.iter().find(|step| step.state == "now")?;
    let forecast = rollout.forecast.iter().find(|line| {
        let step = line.split_once(':').map(|(weight, _)| weight);
        step == Some(now.weight.as_str())
    })?;
    Some(labelled(
        "expects",
        vec![Chunk::styled(forecast, Style::Dim)],
    ))
}

/// How like stable's requests the new version's are.
pub(super) fn mix(mix: &MixView) -> Line {
    let style = match mix.verdict.as_str() {
        "alike" => Style::Dim,
        "unlike" => Style::Warn,
        _ => Style::Dim,
    };
    let mut chunks = vec![Chunk::styled(&mix.reason, style)];
    if !mix.unseen.is_empty() {
        let text = format!("not asked for yet: {}", mix.unseen.join(", "));
        chunks.push(Chunk::styled(text, Style::Warn));
    }
    labelled("mix", chunks)
}

/// What no SLO sees, one line each.
pub(super) fn blind_spots(spots: &[String]) -> Vec<Line> {
    let line = |(at, spot): (usize, &String)| {
        let label = if at == 0 { "unseen" } else { "" };
        labelled(label, vec![Chunk::styled(spot, Style::Warn)])
    };
    spots.iter().enumerate().map(line).collect()
}

/// What the history says of each SLO.
pub fn slos(list: &SloList) -> Vec<Line> {
    let mut head = vec![Chunk::styled(
        format!("{}/{}", list.service, list.environment),
        Style::Bold,
    )];
    match list.requests_per_second {
        Some(rate) => head.push(Chunk::new(format!("usually {} req/s", words::rate(rate)))),
        None => head.push(Chunk::new("no traffic was seen yet")),
    }
    let enough = airboss_judge::calibration::ENOUGH_SECONDS;
    head.push(if list.history_seconds >= enough {
        Chunk::styled("calibrated", Style::Good)
    } else {
        let seconds = list.history_seconds;
        let text = format!("not calibrated yet: {seconds} of {enough} s of stable traffic");
        Chunk::styled(text, Style::Warn)
    });
    let mut lines = vec![Line::indented(2, head)];
    for slo in &list.slos {
        let (word, style) = match slo.fit.as_str() {
            "good" => ("fits", Style::Good),
            "not_reachable" => ("is not reachable", Style::Bad),
            "too_loose" => ("is too loose", Style::Warn),
            _ => ("cannot be judged yet", Style::Dim),
        };
        let mut chunks = vec![
            Chunk::styled(&slo.slo, Style::Bold),
            Chunk::styled(format!("{} {word}", share(slo.objective)), style),
        ];
        if let Some(proposed) = slo.proposed.filter(|_| slo.fit != "good") {
            let text = format!("propose objective: {}", share(proposed));
            chunks.push(Chunk::styled(text, Style::Name));
        }
        chunks.push(Chunk::new(&slo.reason));
        lines.push(Line::guided("  ", "      ", chunks));
    }
    lines.extend(blind_spots(&list.blind_spots));
    lines
}
