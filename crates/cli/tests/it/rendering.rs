use airboss_cli::commands::doctor;
use airboss_cli::render::{self, Footnote, Line, Paper, paint, visible_width};
use airboss_server::api::views::{
    AgentView, DecisionView, Explanation, LaneView, LogLineView, LogView, SystemView,
};

use crate::views;

fn shown(lines: &[Line], width: usize, colour: bool) -> String {
    let rows = paint(lines, Paper { width, colour });
    for row in &rows {
        assert!(visible_width(row) <= width, "wider than {width}: {row}");
    }
    rows.join("\n").replace('\x1b', "⌁")
}

fn tree(lane: &LaneView, width: usize) -> String {
    shown(&render::tree(lane, &[], &[]), width, false)
}

#[test]
fn a_good_rollout_in_mid_step() {
    let events = [
        views::event(51, "step_passed", "1% proved within its margins: on to 10%"),
        views::event(
            52,
            "step_shifting",
            "instances ready after 0s; weight set to 10%",
        ),
        views::event(
            53,
            "step_confirmed",
            "weight 10% confirmed by the data plane in 12ms",
        ),
    ];
    let lines = render::tree(&views::mid_step(), &events, &[]);
    insta::assert_snapshot!("mid_step_100", shown(&lines, 100, false));
    insta::assert_snapshot!("mid_step_60", shown(&lines, 60, false));
    insta::assert_snapshot!("mid_step_pipe", shown(&lines, usize::MAX, false));
    insta::assert_snapshot!("mid_step_colour", shown(&lines, 100, true));
}

#[test]
fn a_rollback_shows_what_was_set_and_what_is_apart() {
    insta::assert_snapshot!(tree(&views::rolling_back(), 100));
}

#[test]
fn a_first_deployment_says_that_it_has_no_baseline() {
    insta::assert_snapshot!(tree(&views::first(), 100));
}

#[test]
fn a_held_rollout_with_two_in_line() {
    insta::assert_snapshot!(tree(&views::queued(), 100));
}

#[test]
fn a_lost_agent_and_an_expired_lease_are_told() {
    let note = Footnote::Trouble("no Airboss answers at http://127.0.0.1:7700 (3 s)".into());
    let lines = render::tree(&views::agent_lost(), &[], &[note]);
    insta::assert_snapshot!(shown(&lines, 100, false));
}

#[test]
fn a_service_without_a_rollout() {
    insta::assert_snapshot!(tree(&views::stable_only(), 100));
}

#[test]
fn no_tree_is_wider_than_any_terminal() {
    for lane in [
        views::mid_step(),
        views::rolling_back(),
        views::first(),
        views::queued(),
        views::agent_lost(),
    ] {
        for width in 20..160 {
            tree(&lane, width);
        }
    }
}

#[test]
fn several_services_are_a_table() {
    let mut search = views::stable_only();
    search.service = "search".into();
    let mut lost = views::agent_lost();
    lost.service = "basket".into();
    let lanes = [views::mid_step(), search, views::rolling_back(), lost];
    insta::assert_snapshot!(shown(&render::lanes(&lanes), usize::MAX, false));
}

#[test]
fn history_is_a_table() {
    let rollouts = [
        views::rollout("checkout-8", None, "waiting for proof at 10%"),
        views::rollout("checkout-7", Some("rolled_back"), "availability: 21.9% bad"),
        views::rollout("checkout-6", Some("shipped"), "all steps passed"),
    ];
    insta::assert_snapshot!(shown(&render::history(&rollouts), usize::MAX, false));
}

#[test]
fn an_explanation_has_the_numbers_when_asked() {
    let explanation = Explanation {
        rollout: views::rollout("checkout-7", Some("rolled_back"), "availability: 21.9% bad"),
        summary: "checkout-7 was rolled back 4m12s after it was asked for: availability was worse."
            .into(),
        lacking: Vec::new(),
        decisions: vec![
            DecisionView {
                number: 50,
                at: "2026-11-22T12:00:01Z".into(),
                what: "started: canary 1% → 10% → 50% → 100%".into(),
                by: "plan".into(),
                verdict: None,
            },
            DecisionView {
                number: 58,
                at: "2026-11-22T12:01:04Z".into(),
                what: "rolling back: availability: 21.9% bad where stable has 0.10%".into(),
                by: "evidence".into(),
                verdict: views::rolling_back().rollout.unwrap().verdict,
            },
        ],
        computation: Some("e = 4100 (fails at 100)\n  availability: 100 % of alpha, e = 4100\n    availability: e = 4100\n".into()),
        blind_spots: vec!["`POST /pay` gets 4 % of the requests and no SLI covers it".into()],
    };
    let brief = render::explanation(&explanation, false);
    insta::assert_snapshot!("explanation", shown(&brief, 100, false));
    let full = render::explanation(&explanation, true);
    insta::assert_snapshot!("explanation_full", shown(&full, 100, false));
}

#[test]
fn each_outcome_has_its_last_line() {
    let lines: Vec<String> = ["shipped", "rolled_back", "aborted", "superseded", "failed"]
        .iter()
        .map(|outcome| {
            let rollout = views::rollout("checkout-7", Some(outcome), "the reason");
            shown(&render::final_line(&rollout), usize::MAX, false)
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_doctor_says_what_to_do_about_each_finding() {
    let system = SystemView {
        version: "0.2.0".into(),
        now: "2026-11-22T12:01:05Z".into(),
        data_dir: "/srv/airboss".into(),
        store: "SQLite /srv/airboss/airboss.db".into(),
        store_findings: vec!["row 7 of table lanes is damaged".into()],
        free_bytes: Some(1_200_000_000),
        agents: vec![
            AgentView {
                id: Some("web-1".into()),
                version: Some("0.2.0".into()),
                last_seen: None,
                lost_since: None,
                ..AgentView::default()
            },
            AgentView {
                id: Some("web-2".into()),
                version: Some("0.1.0".into()),
                last_seen: None,
                lost_since: Some("2026-11-22T12:00:00Z".into()),
                ..AgentView::default()
            },
        ],
        services: 1,
        in_progress: 1,
        warnings: vec!["no backup has been made for 3 days".into()],
    };
    let mut findings = doctor::of_system(&system, "0.1.0");
    findings.extend(doctor::of_lane(&views::agent_lost()));
    insta::assert_snapshot!(shown(&render::doctor(&findings), 100, false));
}

#[test]
fn a_log_line_cannot_steer_the_terminal_and_stays_whole_in_a_pipe() {
    let view = LogView {
        lines: vec![LogLineView {
            instance: "checkout-7.0".into(),
            text: "\x1b[2Jboom".into(),
        }],
        problem: None,
    };
    assert_eq!(
        render::lines_of_log(&view, true),
        ["checkout-7.0  \x1b[2Jboom"]
    );
    assert_eq!(
        render::lines_of_log(&view, false),
        ["checkout-7.0  \u{fffd}[2Jboom"]
    );
}
