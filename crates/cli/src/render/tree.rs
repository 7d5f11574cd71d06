//! The tree of one lane: what `status` prints and `watch` redraws.

use airboss_server::api::views::{
    ArmView, EventView, GateView, InstanceView, LaneView, ProgressView, StepView, VerdictView,
};

use super::layout::{Chunk, Line, Style};
use super::{dossier, promises, words};

/// Columns of the labels at the left.
const LABEL: usize = 11;

/// A remark below the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Footnote {
    /// Something is wrong between client and server.
    Trouble(String),
    /// How to go on.
    Hint(String),
}

/// A lane as a tree. `events` are the newest ones, oldest first.
pub fn tree(lane: &LaneView, events: &[EventView], notes: &[Footnote]) -> Vec<Line> {
    let mut lines = vec![title(lane)];
    lines.push(stable(lane));
    if let Some(rollout) = &lane.rollout {
        lines.extend(progress(lane, rollout));
    }
    lines.push(labelled("traffic", traffic(lane)));
    lines.extend(arms(lane));
    if let Some(rollout) = &lane.rollout {
        if let Some(verdict) = &rollout.verdict {
            lines.extend(gates(verdict));
            lines.extend(verdict.mix.as_ref().map(promises::mix));
        }
        lines.extend(next(lane, rollout));
    }
    lines.extend(promises::budgets(lane));
    lines.extend(promises::blind_spots(&lane.blind_spots));
    lines.extend(queue(lane));
    lines.extend(troubles(lane));
    lines.extend(newest(events));
    lines.extend(footnotes(notes));
    lines
}

/// Remarks alone, where there is no tree yet.
pub fn footnotes(notes: &[Footnote]) -> Vec<Line> {
    notes
        .iter()
        .map(|note| {
            let chunk = match note {
                Footnote::Trouble(text) => Chunk::styled(format!("! {text}"), Style::Warn),
                Footnote::Hint(text) => Chunk::styled(text, Style::Dim),
            };
            Line::indented(2, vec![chunk])
        })
        .collect()
}

pub(super) fn labelled(label: &str, chunks: Vec<Chunk>) -> Line {
    Line::guided(
        format!("{:LABEL$}", format!("  {label}")),
        " ".repeat(LABEL),
        chunks,
    )
}

fn title(lane: &LaneView) -> Line {
    let mut chunks = vec![Chunk::styled(
        format!("{}/{}", lane.service, lane.environment),
        Style::Bold,
    )];
    if let Some(listen) = &lane.listen {
        chunks.push(Chunk::styled(format!("at {listen}"), Style::Dim));
    }
    chunks.push(Chunk::styled(words::clock(&lane.now), Style::Dim));
    Line::indented(2, chunks)
}

fn stable(lane: &LaneView) -> Line {
    let chunks = match &lane.stable {
        Some(stable) => {
            let since = words::between(&stable.since, &lane.now)
                .map_or_else(String::new, |span| format!("for {span}"));
            vec![
                Chunk::styled("● ", Style::Good).and(&stable.version, Style::Bold),
                Chunk::styled(&stable.rollout, Style::Name),
                Chunk::new("serves users"),
                Chunk::styled(since, Style::Dim),
                Chunk::styled(words::short_digest(&stable.digest), Style::Dim),
            ]
        }
        None if lane.rollout.is_some() => {
            vec![Chunk::new(
                "○ no version serves yet: this is the first one, judged by its SLOs alone",
            )]
        }
        None => vec![Chunk::new("○ no version serves yet")],
    };
    Line::indented(2, chunks)
}

fn progress(lane: &LaneView, rollout: &ProgressView) -> Vec<Line> {
    let (mark, style) = match rollout.phase.as_str() {
        "rolling_back" => ("◀", Style::Bad),
        "paused" => ("‖", Style::Warn),
        _ => ("▶", Style::Name),
    };
    let since = words::between(&rollout.phase_since, &lane.now).unwrap_or_default();
    let elapsed = words::between(&rollout.started_at, &lane.now).unwrap_or_default();
    let mut lines = vec![Line::indented(
        2,
        vec![
            Chunk::styled(format!("{mark} "), style).and(&rollout.version, Style::Bold),
            Chunk::styled(&rollout.id, Style::Name),
            Chunk::new(words::plain(&rollout.strategy)),
            Chunk::styled(
                format!("{} for {since}", words::plain(&rollout.phase)),
                style,
            ),
            Chunk::styled(format!("by {}", rollout.by), Style::Dim),
            Chunk::styled(format!("{elapsed} so far"), Style::Dim),
            Chunk::styled(words::short_digest(&rollout.digest), Style::Dim),
        ],
    )];
    if !rollout.steps.is_empty() {
        lines.push(labelled("steps", rollout.steps.iter().map(step).collect()));
    }
    if let Some(note) = &rollout.note {
        lines.push(labelled("note", vec![Chunk::new(note)]));
    }
    lines.extend(promises::expectation(rollout));
    if let Some(lacking) = &rollout.held_by_evidence {
        let text = format!("its evidence holds no longer: {lacking}");
        lines.push(labelled("held", vec![Chunk::styled(text, Style::Bad)]));
    }
    if let Some(by) = &rollout.paused_by {
        let text = format!(
            "paused by {by}: it goes on with `airboss resume {}`",
            rollout.id
        );
        lines.push(labelled("held", vec![Chunk::styled(text, Style::Warn)]));
    }
    if let Some(reason) = &rollout.rollback_reason {
        lines.push(labelled("because", vec![Chunk::styled(reason, Style::Bad)]));
    }
    if let Some(since) = &rollout.stalled_since {
        let text = format!("the target has not followed since {}", words::clock(since));
        lines.push(labelled("stalled", vec![Chunk::styled(text, Style::Bad)]));
    }
    lines
}

fn step(step: &StepView) -> Chunk {
    let (mark, style) = match step.state.as_str() {
        "done" => ("✓", Style::Good),
        "now" => ("▶", Style::Name),
        "not_reached" => ("–", Style::Dim),
        _ => ("·", Style::Dim),
    };
    Chunk::styled(format!("{mark} {}", step.weight), style)
}

/// What was asked for and what is stand side by side, each under its own word.
fn traffic(lane: &LaneView) -> Vec<Chunk> {
    let traffic = &lane.traffic;
    let observed = traffic.observed.as_deref().unwrap_or("unknown");
    let mut chunks = Vec::new();
    if lane.rollout.is_some() || observed != "0%" || traffic.set != "0%" {
        chunks.push(Chunk::new("new version:"));
        chunks.push(Chunk::new("set ").and(&traffic.set, Style::Bold));
        let style = if traffic.confirmed {
            Style::Good
        } else {
            Style::Warn
        };
        chunks.push(Chunk::new("observed ").and(observed, style));
        if let Some(measured) = traffic.measured {
            chunks.push(Chunk::new("measured ").and(words::percent(measured), Style::Plain));
        }
    } else {
        chunks.push(Chunk::new("all on the version that serves"));
    }
    chunks.push(if traffic.confirmed {
        Chunk::styled("✓ confirmed", Style::Good)
    } else {
        Chunk::styled(
            format!("… not confirmed yet (generation {})", traffic.generation),
            Style::Warn,
        )
    });
    if let Some(at) = &traffic.lease_expired_at {
        let text = format!(
            "the agent returned traffic to stable by itself at {}: no controller renewed the exposure",
            words::clock(at)
        );
        chunks.push(Chunk::styled(text, Style::Bad));
    }
    chunks
}

fn arms(lane: &LaneView) -> Vec<Line> {
    let mut lines = Vec::new();
    let name = lane
        .arms
        .iter()
        .map(|arm| arm.arm.chars().count() + arm.role.chars().count() + 2)
        .max()
        .unwrap_or(0);
    for (at, arm) in lane.arms.iter().enumerate() {
        let last = at + 1 == lane.arms.len();
        let (label, guide, below) = match (at, last) {
            (0, true) => ("  arms     └─ ", "   ", "           "),
            (0, false) => ("  arms     ├─ ", "│  ", "           "),
            (_, true) => ("           └─ ", "   ", "           "),
            (_, false) => ("           ├─ ", "│  ", "           "),
        };
        let under = format!("{below}{guide}");
        lines.push(Line::guided(
            label,
            format!("{under}   "),
            arm_head(arm, name),
        ));
        if let Some(failed) = &arm.failed {
            lines.push(Line::guided(
                under.clone(),
                format!("{under}  "),
                vec![Chunk::styled(format!("✗ {failed}"), Style::Bad)],
            ));
        }
        for (at, instance) in arm.instances.iter().enumerate() {
            let (branch, rest) = if at + 1 == arm.instances.len() {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            lines.push(Line::guided(
                format!("{under}{branch}"),
                format!("{under}{rest}   "),
                instance_chunks(instance),
            ));
        }
    }
    lines
}

fn arm_head(arm: &ArmView, name: usize) -> Vec<Chunk> {
    let ready = if arm.failed.is_some() {
        Style::Bad
    } else if arm.ready < arm.wanted {
        Style::Warn
    } else {
        Style::Good
    };
    let mut chunks = vec![
        Chunk::styled(&arm.role, Style::Bold)
            .and("  ", Style::Plain)
            .and(&arm.arm, Style::Name)
            .least(name),
        Chunk::new(arm.version.as_deref().unwrap_or("–")),
        Chunk::styled(format!("{}/{} ready", arm.ready, arm.wanted), ready),
    ];
    if let Some(recent) = &arm.recent {
        let errors = if recent.error_ratio > 0.0 {
            Style::Warn
        } else {
            Style::Plain
        };
        chunks.push(Chunk::new(format!(
            "{} req/s",
            words::rate(recent.requests_per_second)
        )));
        chunks.push(Chunk::styled(
            format!("{} errors", words::percent(recent.error_ratio)),
            errors,
        ));
        chunks.push(Chunk::new(format!(
            "p50 {} p99 {}",
            words::millis(recent.p50_ms),
            words::millis(recent.p99_ms)
        )));
    }
    chunks
}

fn instance_chunks(instance: &InstanceView) -> Vec<Chunk> {
    let style = match instance.state.as_str() {
        "ready" => Style::Good,
        "crashed" | "unready" => Style::Bad,
        "starting" => Style::Warn,
        _ => Style::Dim,
    };
    let mut chunks = vec![
        Chunk::new(&instance.name),
        Chunk::styled(&instance.state, style).least(8),
    ];
    if let Some(pid) = instance.pid {
        chunks.push(Chunk::styled(format!("pid {pid}"), Style::Dim));
    }
    if let Some(address) = &instance.address {
        chunks.push(Chunk::styled(address, Style::Dim));
    }
    if instance.restarts > 0 {
        let times = if instance.restarts == 1 {
            "1 restart".to_owned()
        } else {
            format!("{} restarts", instance.restarts)
        };
        chunks.push(Chunk::styled(times, Style::Warn));
    }
    if let Some(error) = &instance.last_error {
        chunks.push(Chunk::styled(error, Style::Bad));
    }
    chunks
}

/// How a verdict is meant.
pub(super) fn verdict_style(verdict: &str) -> Style {
    match verdict {
        "pass" => Style::Good,
        "fail" => Style::Bad,
        "undecided" | "not_enough_data" => Style::Plain,
        _ => Style::Warn,
    }
}

fn gates(verdict: &VerdictView) -> Vec<Line> {
    let mut head = vec![
        Chunk::styled(
            words::plain(&verdict.verdict),
            verdict_style(&verdict.verdict),
        ),
        Chunk::new(&verdict.reason),
    ];
    if let Some(seconds) = verdict.seconds_to_verdict {
        head.push(Chunk::styled(
            format!("about {seconds:.0} s to a verdict"),
            Style::Dim,
        ));
    }
    let mut lines = vec![labelled("verdict", head)];
    lines.extend(verdict.gates.iter().enumerate().map(|(at, gate)| {
        let branch = if at + 1 == verdict.gates.len() {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        let label = if at == 0 { "  gates" } else { "" };
        Line::guided(
            format!("{label:LABEL$}{}", branch.0),
            format!("{:LABEL$}{}   ", "", branch.1),
            gate_chunks(gate, verdict.fail_at_odds),
        )
    }));
    lines
}

/// A gate's numbers: value, baseline, bound, samples, then the odds with their thresholds.
pub(super) fn gate_chunks(gate: &GateView, fail_at_odds: f64) -> Vec<Chunk> {
    let style = verdict_style(&gate.verdict);
    let mark = match gate.verdict.as_str() {
        "pass" => "✓",
        "fail" => "✗",
        "undecided" | "not_enough_data" => "·",
        _ => "!",
    };
    let mut chunks = vec![Chunk::styled(format!("{mark} "), style).and(&gate.name, Style::Bold)];
    chunks.extend(match (gate.level, gate.baseline_level) {
        (Some(level), Some(stable)) => vec![
            Chunk::styled(airboss_judge::words::significant(level), style),
            Chunk::new(format!(
                "stable {}",
                airboss_judge::words::significant(stable)
            )),
        ],
        _ => ratios(gate, style),
    });
    let fail_at = gate.fail_at_odds.unwrap_or(fail_at_odds);
    let harm = format!("harm {} : 1", words::odds(gate.odds));
    if gate.advisory {
        chunks.extend([Chunk::new(harm), Chunk::new("advisory")]);
        return chunks;
    }
    chunks.push(Chunk::new(format!(
        "{harm} (taken back at {})",
        words::odds(fail_at)
    )));
    chunks.push(Chunk::new(if gate.critical {
        format!(
            "proof {} : 1 (needs {})",
            words::odds(gate.pass_odds),
            words::odds(gate.pass_at_odds)
        )
    } else {
        "no proof needed".to_owned()
    }));
    chunks
}

fn ratios(gate: &GateView, style: Style) -> Vec<Chunk> {
    let ratio = |ratio: Option<f64>| ratio.map_or_else(|| "no data".to_owned(), words::percent);
    vec![
        Chunk::styled(format!("{} bad", ratio(gate.value)), style),
        Chunk::new(format!("stable {}", ratio(gate.baseline))),
        Chunk::new(format!("bound {}", words::percent(gate.bound))),
        Chunk::new(format!(
            "{} of {} requests",
            words::count(gate.bad),
            words::count(gate.samples)
        )),
    ]
}

fn next(lane: &LaneView, rollout: &ProgressView) -> Option<Line> {
    let next = rollout.next.as_ref()?;
    let when = match words::seconds_until(&next.at, &lane.now) {
        Some(seconds) if seconds > 0 => {
            let seconds = airboss_model::Span::secs(seconds.unsigned_abs());
            Chunk::new("within ").and(seconds.to_string(), Style::Bold)
        }
        Some(_) => Chunk::styled("due now", Style::Bold),
        None => Chunk::new(&next.at),
    };
    Some(labelled("next", vec![when, Chunk::new(&next.what)]))
}

fn queue(lane: &LaneView) -> Vec<Line> {
    lane.queue
        .iter()
        .enumerate()
        .flat_map(|(at, queued)| {
            let waits = words::between(&queued.at, &lane.now)
                .map_or_else(String::new, |span| format!("waits {span}"));
            let blocked = if queued.blocked {
                "blocked by its evidence"
            } else {
                ""
            };
            let mut lines = vec![labelled(
                if at == 0 { "queue" } else { "" },
                vec![
                    Chunk::new(format!("{}. ", at + 1)).and(&queued.rollout, Style::Name),
                    Chunk::new(&queued.version),
                    Chunk::styled(blocked, Style::Warn),
                    Chunk::styled(format!("by {}", queued.by), Style::Dim),
                    Chunk::styled(waits, Style::Dim),
                ],
            )];
            if queued.blocked {
                lines.extend(dossier::items(&queued.evidence, &" ".repeat(LABEL)));
            }
            lines
        })
        .collect()
}

fn troubles(lane: &LaneView) -> Vec<Line> {
    let mut texts = Vec::new();
    let name = lane.agent.name.as_ref();
    match (&lane.agent.id, &lane.agent.lost_since) {
        (agent, Some(since)) => {
            let agent = name.or(agent.as_ref()).map_or("?", String::as_str);
            let silent = words::between(since, &lane.now).unwrap_or_default();
            texts.push(format!(
                "agent {agent} has been silent for {silent}: what is drawn is its last report. \
                 See whether it runs: `airboss doctor`"
            ));
        }
        (None, None) => texts.push(match name {
            Some(name) => format!(
                "agent {name} carries this and has not reported yet: `airboss agent list` tells whether it joined"
            ),
            None => "no agent has reported yet: start one with `airboss up` or `airboss agent`"
                .to_owned(),
        }),
        (Some(_), None) => {}
    }
    texts.extend(lane.agent.effect.clone());
    texts.extend(lane.problems.iter().cloned());
    let tags = lane.moved_tags.iter().map(|text| {
        let text = format!("! {text}");
        labelled("registry", vec![Chunk::styled(text, Style::Warn)])
    });
    texts
        .iter()
        .map(|text| {
            labelled(
                "trouble",
                vec![Chunk::styled(format!("✗ {text}"), Style::Bad)],
            )
        })
        .chain(tags)
        .collect()
}

fn newest(events: &[EventView]) -> Vec<Line> {
    events
        .iter()
        .enumerate()
        .map(|(at, event)| {
            labelled(
                if at == 0 { "events" } else { "" },
                // One chunk: a message goes on beside its time in a narrow window.
                vec![
                    Chunk::styled(words::clock(&event.at), Style::Dim)
                        .and("  ", Style::Plain)
                        .and(&event.message, Style::Plain),
                ],
            )
        })
        .collect()
}
