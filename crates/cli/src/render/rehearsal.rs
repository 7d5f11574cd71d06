//! What a rehearsal tells, for people.

use airboss_engine::Plan;
use airboss_judge::words::{count, percent};
use airboss_model::Span;
use airboss_model::manifest::Target;
use airboss_rehearsal::{Ending, Rehearsal, Run, Setting, Spread, Summary};

use super::layout::{Chunk, Line, Style};
use super::words;

/// Columns of the labels.
const LABEL: usize = 15;

/// The figures, then how a release in the middle of them went.
pub fn rehearsal(setting: &Setting, told: &Rehearsal) -> Vec<Line> {
    let mut lines = vec![head(setting, told)];
    if let Some(faulty) = &told.faulty {
        let name = match setting.fault {
            Some(fault) => format!("a release with {fault}"),
            None => "the recorded release".to_owned(),
        };
        lines.push(Line::default());
        lines.push(Line::indented(2, vec![Chunk::styled(name, Style::Bold)]));
        lines.extend(endings(faulty, Style::Good));
        lines.extend(found(faulty));
        lines.extend(took(faulty));
    }
    if let Some(sound) = &told.sound {
        lines.push(Line::default());
        lines.push(Line::indented(
            2,
            vec![Chunk::styled("a sound release", Style::Bold)],
        ));
        lines.extend(endings(sound, Style::Bad));
        lines.push(mistakes(sound));
        lines.extend(took(sound));
        lines.extend(advice(setting, sound));
    }
    let example = told
        .faulty
        .as_ref()
        .or(told.sound.as_ref())
        .and_then(|summary| summary.example.as_ref());
    lines.extend(example.into_iter().flat_map(timeline));
    lines
}

fn head(setting: &Setting, told: &Rehearsal) -> Line {
    let service = &setting.service;
    let Target::Process(process) = &service.spec.target;
    let plan = Plan::of(&service.spec.rollout.strategy());
    let steps: Vec<String> = plan
        .steps
        .iter()
        .map(|step| step.weight.to_string())
        .collect();
    Line::indented(
        2,
        vec![
            Chunk::styled(service.metadata.name.as_str(), Style::Name),
            Chunk::new(format!("{} req/s", rate(told.rate))),
            Chunk::new(format!("{} instances", process.instances)),
            Chunk::new(format!("{} {}", plan.strategy, steps.join(" → "))),
            Chunk::styled(format!("{} runs each", setting.runs), Style::Dim),
            Chunk::styled(format!("seed {}", told.seed), Style::Dim),
        ],
    )
}

fn labelled(label: &str, chunks: Vec<Chunk>) -> Line {
    let label = Chunk::styled(label, Style::Dim).least(LABEL);
    let indent = " ".repeat(2 + LABEL + 2);
    Line::guided("  ", indent, std::iter::once(label).chain(chunks).collect())
}

/// How the runs ended; `back` says whether a release that is taken back is good news.
fn endings(summary: &Summary, back: Style) -> Vec<Line> {
    let of = |n: u32, what: &str, style: Style| {
        (n > 0).then(|| {
            Chunk::styled(
                format!(
                    "{what} in {} of {} runs",
                    count(n.into()),
                    count(summary.runs.into())
                ),
                style,
            )
        })
    };
    let shipped = if back == Style::Good {
        Style::Bad
    } else {
        Style::Good
    };
    let chunks = [
        of(summary.taken_back, "taken back", back),
        of(summary.shipped, "shipped", shipped),
        of(summary.failed, "never became ready", back),
        of(summary.held, "left waiting for a person", Style::Warn),
    ];
    vec![labelled("ends", chunks.into_iter().flatten().collect())]
}

fn found(summary: &Summary) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(spread) = &summary.detected {
        lines.push(labelled("found after", spans(spread)));
    }
    if let Some(spread) = &summary.returned {
        let text = if spread.high.0.is_zero() {
            "in the same moment".to_owned()
        } else {
            format!("{} after that", spread.median)
        };
        lines.push(labelled("back at 0%", vec![Chunk::new(text)]));
    }
    if let Some(spread) = &summary.exposed {
        let failed = summary.failed_requests.map_or(0, |failed| failed.median);
        lines.push(labelled(
            "requests",
            vec![
                Chunk::styled(format!("{} met it", count(spread.median)), Style::Bold),
                Chunk::new(format!("{} of them failed", count(failed))),
                between(&count(spread.low), &count(spread.high)),
            ],
        ));
    }
    lines
}

fn mistakes(summary: &Summary) -> Line {
    let style = if summary.taken_back == 0 {
        Style::Good
    } else {
        Style::Bad
    };
    labelled(
        "false rollback",
        vec![
            Chunk::styled(
                format!(
                    "{} of {} runs",
                    summary.taken_back,
                    count(summary.runs.into())
                ),
                style,
            ),
            Chunk::styled(
                format!(
                    "with 95 % certainty a chance of at most {}",
                    percent(summary.chance_at_most)
                ),
                Style::Dim,
            ),
        ],
    )
}

fn took(summary: &Summary) -> Vec<Line> {
    let spread = summary.took.as_ref();
    spread
        .map(|spread| labelled("ships within", spans(spread)))
        .into_iter()
        .collect()
}

/// What to do where runs end in waiting.
fn advice(setting: &Setting, sound: &Summary) -> Vec<Line> {
    if sound.held == 0 {
        return Vec::new();
    }
    let file = "`airboss check --rate` says how long each step takes and what to change";
    let text = format!(
        "at {} req/s a step does not get its proof before `at_most`, and the policy is to hold: {file}",
        rate(setting.usual.rate)
    );
    vec![labelled("", vec![Chunk::styled(text, Style::Warn)])]
}

fn spans(spread: &Spread<Span>) -> Vec<Chunk> {
    vec![
        Chunk::styled(seconds(spread.median), Style::Bold),
        between(&seconds(spread.low), &seconds(spread.high)),
    ]
}

/// Requests a second; the slow ones with their hundredths.
fn rate(per_second: f64) -> String {
    if per_second < 1.0 {
        format!("{per_second:.2}")
    } else {
        words::rate(per_second)
    }
}

/// Whole seconds: a rehearsal is not more exact than that.
fn seconds(span: Span) -> String {
    Span::secs(span.0.as_secs_f64().round() as u64).to_string()
}

fn between(low: &str, high: &str) -> Chunk {
    Chunk::styled(format!("nine of ten runs: {low} to {high}"), Style::Dim)
}

/// Decisions of one run, in order.
fn timeline(run: &Run) -> Vec<Line> {
    let what = match run.ending {
        Ending::TakenBack => "How the run in the middle was taken back",
        Ending::Shipped => "How the run in the middle shipped",
        Ending::Failed => "How the run in the middle failed",
        Ending::Held => "How the run in the middle came to wait",
    };
    let mut lines = vec![
        Line::default(),
        Line::indented(2, vec![Chunk::styled(what, Style::Bold)]),
    ];
    lines.extend(run.moments.iter().map(|moment| {
        let style = match moment.kind {
            "rollback_started" | "stalled" => Style::Bad,
            "returned_to_stable" | "promoted" | "step_passed" => Style::Good,
            "deadline_held" => Style::Warn,
            "verdict_changed" => Style::Dim,
            _ => Style::Plain,
        };
        let at = moment.at.0.as_secs();
        let clock = Chunk::styled(format!("{:>3}:{:02}", at / 60, at % 60), Style::Dim);
        Line::guided(
            "  ",
            " ".repeat(10),
            vec![clock, Chunk::styled(&moment.message, style)],
        )
    }));
    lines
}
