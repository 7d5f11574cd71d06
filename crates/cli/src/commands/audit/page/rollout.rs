//! One rollout of a bundle's page.

use airboss_engine::{Event, Outcome, Plan, Request};
use airboss_judge::{Assessment, Verdict, words};
use airboss_ledger::LaneRecords;

use super::html::Html;
use super::{Told, time};

/// What is to be known of a rollout first.
#[derive(Default)]
pub(super) struct Facts {
    request: Option<Request>,
    plan: Option<Plan>,
    outcome: Option<Outcome>,
    /// When it was asked for.
    pub(super) asked_at: String,
    /// Who asked.
    pub(super) by: String,
    ended_at: Option<String>,
    reason: String,
}

impl Facts {
    /// From its events.
    pub(super) fn of(id: &str, told: &[Told<'_>]) -> Self {
        let mut facts = Self::default();
        for it in told {
            let at = || time(it.record.at);
            match &it.event {
                Some(Event::Requested { request, .. }) if request.rollout.as_str() == id => {
                    facts.asked_at = at();
                    facts.by = request.by.clone();
                    facts.request = Some(request.clone());
                }
                Some(Event::Withdrawn {
                    rollout,
                    outcome,
                    reason,
                }) if rollout.as_str() == id => {
                    facts.outcome = Some(*outcome);
                    facts.reason = reason.clone();
                    facts.ended_at = Some(at());
                }
                _ if it.record.rollout.as_deref() != Some(id) => {}
                Some(Event::Started { plan, .. }) => facts.plan = Some(plan.clone()),
                Some(Event::Ended {
                    outcome, reason, ..
                }) => {
                    facts.outcome = Some(*outcome);
                    facts.reason = reason.clone();
                    facts.ended_at = Some(at());
                }
                _ => {}
            }
        }
        facts
    }

    /// How it ended, in a word and a colour.
    pub(super) fn badge(&self, html: &mut Html) {
        match self.outcome {
            Some(Outcome::Shipped) => html.element("span class=\"badge good\"", "shipped"),
            Some(outcome) => {
                let word = outcome.as_str().replace('_', " ");
                html.element("span class=\"badge bad\"", &word)
            }
            None => html.element("span class=\"badge wait\"", "not over"),
        };
    }
}

pub(super) fn section(html: &mut Html, lane: &LaneRecords, id: &str, told: &[Told<'_>]) {
    let facts = Facts::of(id, told);
    html.raw("<h2 id=\"")
        .text(id)
        .raw("\">")
        .text(id)
        .raw(" in ");
    html.text(&lane.lane).raw(" ");
    facts.badge(html);
    html.raw("</h2>\n");
    if !facts.reason.is_empty() {
        html.element("p class=\"lead\"", &facts.reason).raw("\n");
    }
    html.raw("<dl>\n");
    if let Some(request) = &facts.request {
        html.fact("Release", request.release.as_str())
            .code_fact("Artifact", &request.digest.to_string());
    }
    html.fact("Asked for", &format!("{} by {}", facts.asked_at, facts.by));
    match &facts.ended_at {
        Some(at) => html.fact("Ended", at),
        None => html.fact("Ended", "not when the bundle was made"),
    };
    html.raw("</dl>\n");
    gates(html, &facts);
    timeline(html, id, told);
}

/// What it had to keep to, and its steps.
fn gates(html: &mut Html, facts: &Facts) {
    if let Some(plan) = &facts.plan {
        html.raw("<h3>Steps</h3>\n<ol class=\"steps\">");
        for step in &plan.steps {
            html.element("li", &step.weight.to_string());
        }
        html.raw("</ol>\n");
        if let Some(note) = &plan.note {
            html.element("p class=\"note\"", note).raw("\n");
        }
    }
    let Some(request) = &facts.request else {
        return;
    };
    html.table(
        "Promises that its gates held it to",
        &[
            "Promise",
            "#Good requests",
            "A request is bad",
            "A step needs its proof",
        ],
    );
    for slo in &request.service.spec.slos {
        let bad = match (slo.bad_statuses(), &slo.under) {
            (Some(bad), _) => bad.to_string(),
            (None, Some(under)) => format!("above {under}"),
            (None, None) => String::new(),
        };
        html.raw("<tr>")
            .element("td", &slo.name)
            .element("td class=\"num\"", &String::from(slo.objective))
            .element("td", &bad)
            .element(
                "td",
                match (slo.advisory, slo.critical) {
                    (true, _) => "no: it was advisory",
                    (false, true) => "yes",
                    (false, false) => "no",
                },
            )
            .raw("</tr>\n");
    }
    for guardrail in &request.service.spec.guardrails {
        let series: Vec<String> = guardrail.series().map(ToString::to_string).collect();
        html.raw("<tr>")
            .element("td", &guardrail.name)
            .element("td class=\"num\"", "–")
            .element("td", &format!("guardrail on {}", series.join(" of ")))
            .element(
                "td",
                if guardrail.advisory {
                    "no: it was advisory"
                } else {
                    "no"
                },
            )
            .raw("</tr>\n");
    }
    html.raw("</tbody></table>\n");
}

fn timeline(html: &mut Html, id: &str, told: &[Told<'_>]) {
    html.raw("<h3>Decisions</h3>\n<ol class=\"timeline\">\n");
    let own = |it: &&Told<'_>| it.record.rollout.as_deref() == Some(id);
    for it in told.iter().filter(own) {
        let Some(event) = &it.event else {
            entry(html, it, "", "not understood by this version");
            html.raw("</li>\n");
            continue;
        };
        let Some((by, _)) = event.decided_by() else {
            continue;
        };
        entry(html, it, mood(event), &by.to_string());
        if let Event::VerdictChanged { assessment, .. } = event {
            numbers(html, assessment);
        }
        html.raw("</li>\n");
    }
    html.raw("</ol>\n");
}

fn entry(html: &mut Html, told: &Told<'_>, mood: &str, by: &str) {
    html.raw("<li class=\"").raw(mood).raw("\">");
    html.element("span class=\"when\"", &time(told.record.at))
        .raw(" · ")
        .element("span class=\"who\"", by)
        .raw(" ")
        .element(
            "span class=\"when\"",
            &format!("event {}", told.record.number),
        )
        .raw("<br>")
        .text(&told.record.message);
}

/// Whether it went well, as a class of the style.
fn mood(event: &Event) -> &'static str {
    match event {
        Event::StepPassed { .. } | Event::Promoted { .. } => "good",
        Event::Ended { outcome, .. } | Event::Withdrawn { outcome, .. } => match outcome {
            Outcome::Shipped => "good",
            _ => "bad",
        },
        Event::RollbackStarted { .. } | Event::Stalled { .. } => "bad",
        Event::VerdictChanged { assessment, .. } => match assessment.verdict {
            Verdict::Pass => "good",
            Verdict::Fail => "bad",
            _ => "wait",
        },
        Event::Paused { .. } | Event::DeadlineHeld { .. } | Event::StepUnconfirmed { .. } => "wait",
        _ => "",
    }
}

/// The numbers that a verdict rests on.
fn numbers(html: &mut Html, assessment: &Assessment) {
    let caption = format!(
        "Odds against the release {}; it is taken back at {}",
        words::odds(assessment.log_e),
        words::odds(assessment.fail_at)
    );
    html.table(
        &caption,
        &[
            "Gate",
            "Verdict",
            "#New version",
            "#Stable, same seconds",
            "#Allowed up to",
            "#Odds of harm",
            "#Proof of soundness",
        ],
    );
    for sli in &assessment.slis {
        let rate = |rate: airboss_judge::Rate| match rate.ratio() {
            Some(ratio) => format!(
                "{} ({} of {})",
                words::percent(ratio),
                words::count(rate.bad),
                words::count(rate.requests)
            ),
            None => "no requests".to_owned(),
        };
        let [canary, stable] = match sli.levels {
            Some(levels) => levels.map(airboss_judge::words::significant),
            None => [
                rate(sli.canary),
                sli.baseline.map_or_else(|| "–".to_owned(), rate),
            ],
        };
        html.raw("<tr>")
            .element("td", &sli.name)
            .element("td", &sli.verdict.as_str().replace('_', " "))
            .element("td class=\"num\"", &canary)
            .element("td class=\"num\"", &stable)
            .element("td class=\"num\"", &words::percent(sli.bound))
            .element("td class=\"num\"", &words::odds(sli.log_e))
            .element("td class=\"num\"", &words::odds(sli.log_pass))
            .raw("</tr>\n");
    }
    html.raw("</tbody></table>\n");
}
