//! What became of a service's releases.

use airboss_judge::words::percent;
use airboss_server::api::report::{ChangeView, ReportView};

use super::layout::{Chunk, Line, Style};
use super::promises::blind_spots;
use super::tree::labelled;

/// How releases went through their gates, and what they changed.
pub fn report(report: &ReportView) -> Vec<Line> {
    let head = format!("{}/{}", report.service, report.environment);
    let mut lines = vec![Line::indented(
        2,
        vec![
            Chunk::styled(head, Style::Bold),
            Chunk::styled(format!("the last {} days", report.days), Style::Dim),
        ],
    )];
    let rate = match report.pass_rate {
        Some(rate) => format!(
            "{} of {} judged releases passed every step by evidence, {}",
            report.by_evidence,
            report.judged,
            percent(rate)
        ),
        None => "no release was judged".to_owned(),
    };
    let mut gates = vec![Chunk::new(rate)];
    for (count, what) in [
        (report.by_others, "passed by a person or a policy"),
        (report.taken_back, "taken back"),
    ] {
        if count > 0 {
            gates.push(Chunk::new(format!("{count} {what}")));
        }
    }
    lines.push(labelled("gates", gates));
    lines.extend(blind_spots(&report.blind_spots));
    if report.blind_spots.is_empty() {
        let none = "nothing of the usual requests that was seen is without an SLO";
        lines.push(labelled("unseen", vec![Chunk::styled(none, Style::Dim)]));
    }
    for (at, change) in report.changes.iter().enumerate() {
        let label = if at == 0 { "changes" } else { "" };
        lines.push(labelled(label, chunks(change)));
    }
    lines
}

fn chunks(change: &ChangeView) -> Vec<Chunk> {
    let style = match change.change.as_str() {
        "worse" => Style::Bad,
        "better" => Style::Good,
        _ => Style::Dim,
    };
    let share = |ratio: Option<f64>| ratio.map_or_else(|| "–".to_owned(), percent);
    let mut chunks = vec![
        Chunk::styled(&change.rollout, Style::Name),
        Chunk::new(&change.slo),
        Chunk::styled(&change.change, style),
        Chunk::new(format!("{} bad the day before", share(change.before))),
        Chunk::new(format!("{} the day after", share(change.after))),
    ];
    chunks.push(match change.expected {
        Some(expected) => Chunk::new(format!(
            "{} was to be expected of these hours",
            percent(expected)
        )),
        None => Chunk::styled("needs a week before and six hours behind it", Style::Dim),
    });
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{Paper, paint};

    #[test]
    fn a_report_tells_passes_blind_spots_and_changes_beside_each_other() {
        let change = |rollout: &str, after: f64, change: &str| ChangeView {
            rollout: rollout.to_owned(),
            at: "2026-11-20T12:00:00Z".to_owned(),
            slo: "availability".to_owned(),
            before: Some(0.0012),
            after: Some(after),
            expected: (change != "unknown").then_some(0.009),
            change: change.to_owned(),
        };
        let view = ReportView {
            service: "shop".to_owned(),
            environment: "production".to_owned(),
            days: 30,
            judged: 10,
            by_evidence: 7,
            by_others: 1,
            taken_back: 2,
            pass_rate: Some(0.7),
            blind_spots: vec![
                "`POST /pay` gets 4 % of the requests and no SLI covers it".to_owned(),
            ],
            changes: vec![
                change("shop-9", 0.01, "unknown"),
                change("shop-8", 0.0093, "unchanged"),
                change("shop-7", 0.014, "worse"),
            ],
        };
        let text = |view: &ReportView| {
            let (width, colour) = (110, false);
            paint(&report(view), Paper { width, colour }).join("\n")
        };
        insta::assert_snapshot!(text(&view));
        let none = ReportView {
            judged: 0,
            pass_rate: None,
            blind_spots: Vec::new(),
            changes: Vec::new(),
            ..view
        };
        let said = text(&none);
        assert!(
            said.contains("no release was judged") && said.contains("without an SLO"),
            "{said}"
        );
    }
}
