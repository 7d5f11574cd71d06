//! The transition table: what each input leads to in each state, as a page of the docs.
//!
//! `AIRBOSS_BLESS=1 cargo test -p airboss-engine table` writes the page anew.

use std::fmt::Write as _;
use std::path::Path;

use airboss_engine::{
    Answer, Command, Effect, Input, Lane, Phase, Refusal, Request, Seen, Urgency, decide,
    next_deadline,
};
use airboss_judge::Verdict;
use airboss_model::Timestamp;
use airboss_model::evidence::{ItemState, ItemVerdict, Requirement};
use airboss_model::manifest::WhenBusy;
use airboss_model::target::ObservedTraffic;
use airboss_model::traffic::Weight;

use crate::harness::*;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rollout-table.md");

const OPENING: &str = "\
# What a rollout does, input by input

Written by the engine's tests (`AIRBOSS_BLESS=1 cargo test -p airboss-engine table`), which fail
while this page is not what the engine does.

The service has four instances and a canary of 10 % → 50 % → 100 %. `checkout-3` is rolled out
where `checkout-2` is stable and 1.0.0 served before it; steps are counted from 0. Events are in
their order, without the target's reports; `tells` says whom a person hears of it from. What has
no effect in a state is listed below its table.
";

/// A state with its name for readers.
type State = (&'static str, fn() -> World);

const STATES: &[State] = &[
    ("Nothing was ever deployed", World::empty),
    ("Idle, a version is stable", World::with_two_versions),
    ("Preparing the first step", || at("preparing 0")),
    ("Shifting to the first step", || at("shifting 0")),
    ("Observing, no verdict yet", || at("observing 0")),
    ("Observing, another release waits", || {
        let mut world = at("observing 0");
        world.ship(release(4));
        world
    }),
    ("Observing, proven before its least time is over", || {
        let mut world = World::with_two_versions();
        world.judge = Judge::silent();
        world.ship(release(3).bake(60));
        world.run_until_phase("observing 0");
        world.say(3, 0, Verdict::Pass);
        world
    }),
    ("Observing, held at its deadline", || {
        let mut world = at("observing 0");
        world.run_for(std::time::Duration::from_secs(1_300));
        world
    }),
    ("Waiting for evidence, a version is stable", || {
        let mut world = World::with_two_versions();
        world.ship(release(3).requires(&[Requirement::Tests, SCAN]));
        world
    }),
    ("Observing, its evidence holds no longer", || {
        let mut world = World::with_two_versions();
        world.judge = Judge::silent();
        world.ship(release(3).requires(&[Requirement::Tests, SCAN]));
        world.evidence(3, items(ItemState::Passed));
        world.run_until_phase("observing 0");
        world.run_for(std::time::Duration::ZERO);
        world.evidence(3, items(ItemState::BadlySigned));
        world
    }),
    ("Observing, paused", || {
        let mut world = at("observing 0");
        world.pause(3);
        world
    }),
    ("Observing, the data plane forgot the weight", || {
        let mut world = at("observing 0");
        world.target.lie = Some(Weight::ZERO);
        world.report();
        world
    }),
    ("Preparing the next step", || at("preparing 1")),
    ("Observing the last step", || at("observing 2")),
    ("Draining the old version", || at("draining")),
    ("Rolling back, stable lacks the capacity", || {
        let mut world = at("observing 1");
        world.target.unready.insert(rollout(2), 2);
        world.report();
        world.abort(3, false);
        world
    }),
    ("Rolling back to 0 %", || {
        let mut world = at("observing 1");
        world.say(3, 1, Verdict::Fail);
        world
    }),
    ("Back on stable, the canary drains", || {
        let mut world = at("observing 1");
        world.say(3, 1, Verdict::Fail);
        world.run_until_phase("returned");
        world
    }),
    ("First deployment, preparing", || first("preparing 0")),
    ("First deployment, observing", || first("observing 0")),
];

/// `checkout-3` in this phase, with a judge that has not spoken of it.
fn at(reached: &str) -> World {
    let mut world = World::with_two_versions();
    world.ship(release(3));
    world.run_until_phase(reached);
    world.run_for(std::time::Duration::ZERO);
    world.judge = Judge::silent();
    world
}

fn first(reached: &str) -> World {
    let mut world = World::empty();
    world.ship(release(3));
    world.run_until_phase(reached);
    world.run_for(std::time::Duration::ZERO);
    world
}

/// An input with its name for readers; None where it makes no sense in a state.
type Cause = (&'static str, fn(&World) -> Option<Input>);

const COMMANDS: &[Cause] = &[
    ("ship, `when_busy: queue`", |_| ship(release(5))),
    ("ship, `when_busy: supersede`", |_| {
        ship(release(5).when_busy(WhenBusy::Supersede))
    }),
    ("ship, `when_busy: reject`", |_| {
        ship(release(5).when_busy(WhenBusy::Reject))
    }),
    ("ship the content in progress", |world| {
        world.lane.active.as_ref()?;
        ship(content(5, 3))
    }),
    ("ship the content that is stable", |world| {
        let stable = world.lane.stable.as_ref()?;
        ship(Request {
            release: stable.release.clone(),
            digest: stable.digest,
            ..release(5)
        })
    }),
    ("pause", |_| {
        command(Command::Pause {
            rollout: rollout(3),
        })
    }),
    ("resume", |_| {
        command(Command::Resume {
            rollout: rollout(3),
        })
    }),
    ("promote", |_| promote(false)),
    ("promote --full", |_| promote(true)),
    ("abort", |_| abort(3, false)),
    ("abort --force", |_| abort(3, true)),
    ("abort what waits", |world| {
        let waiting = world.lane.queue.front()?.rollout.clone();
        command(Command::Abort {
            rollout: waiting,
            force: false,
            reason: String::new(),
        })
    }),
    ("rollback", |_| rollback(None)),
    ("rollback --to 1.0.0", |_| rollback(Some("checkout@1.0.0"))),
];

const FACTS: &[Cause] = &[
    ("all instances are ready", |world| {
        seen(world, |seen, _, _| {
            for arm in seen.arms.values_mut() {
                arm.ready = 8;
                arm.present = 8;
            }
        })
    }),
    ("the desired weight is confirmed", |world| {
        seen(world, |seen, lane, _| {
            let desired = lane.desired.as_ref().unwrap();
            seen.generation = desired.generation;
            seen.traffic = Some(ObservedTraffic {
                generation: desired.generation,
                stable: desired.traffic.stable.clone(),
                canary: desired.traffic.canary.clone(),
                canary_weight: desired.traffic.canary_weight,
                lease_expired_at: None,
            });
        })
    }),
    ("the weight is lost", |world| {
        seen(world, |seen, _, _| {
            if let Some(traffic) = &mut seen.traffic {
                traffic.canary_weight = Weight::ZERO;
            }
        })
    }),
    ("what shall go is gone", |world| {
        seen(world, |seen, lane, _| {
            let desired = lane.desired.as_ref().unwrap();
            seen.generation = desired.generation;
            let wanted = |arm: &_| desired.arms.iter().any(|wanted| wanted.arm == *arm);
            seen.arms.retain(|arm, _| wanted(arm));
        })
    }),
    ("the new version failed", |world| {
        seen(world, |seen, _, _| {
            let arm = seen.arms.entry(rollout(3)).or_default();
            arm.ready = 0;
            arm.failed = Some("exited with status 1".to_owned());
        })
    }),
    ("the new version crashed three times", |world| {
        seen(world, |seen, _, _| {
            let arm = seen.arms.entry(rollout(3)).or_default();
            arm.ready = 0;
            arm.restarts = 3;
        })
    }),
    ("the exposure lease ran out", |world| {
        seen(world, |seen, _, now| {
            if let Some(traffic) = &mut seen.traffic {
                traffic.canary_weight = Weight::ZERO;
                traffic.lease_expired_at = Some(now);
            }
        })
    }),
    ("the evidence is complete", |world| {
        evidence(world, ItemState::Passed)
    }),
    ("the evidence is refused", |world| {
        evidence(world, ItemState::BadlySigned)
    }),
    ("the evidence is too old", |world| {
        evidence(world, ItemState::Stale)
    }),
    ("the target is silent", |world| {
        let last_seen = world.now;
        Some(Input::TargetLost { last_seen })
    }),
    ("verdict pass", |world| verdict(world, Verdict::Pass)),
    ("verdict fail", |world| verdict(world, Verdict::Fail)),
    ("verdict undecided", |world| {
        verdict(world, Verdict::Undecided)
    }),
    ("verdict not enough data", |world| {
        verdict(world, Verdict::NotEnoughData)
    }),
    ("verdict source down", |world| {
        verdict(world, Verdict::SourceDown)
    }),
    ("verdict external", |world| {
        verdict(world, Verdict::External)
    }),
    ("verdict misrouted", |world| {
        verdict(world, Verdict::Misrouted)
    }),
    ("verdict instance fault", |world| {
        verdict(world, Verdict::InstanceFault)
    }),
    ("verdict unrepresentative", |world| {
        verdict(world, Verdict::Unrepresentative)
    }),
];

/// Tests that passed, and a scan that stands so.
fn items(scan: ItemState) -> Vec<ItemVerdict> {
    let tests = item(Requirement::Tests, ItemState::Passed);
    vec![tests, item(SCAN, scan)]
}
fn evidence(world: &World, scan: ItemState) -> Option<Input> {
    world.lane.weighed().next()?;
    Some(Input::Evidence {
        rollout: rollout(3),
        items: items(scan),
    })
}
fn command(command: Command) -> Option<Input> {
    let by = "ana".to_owned();
    Some(Input::Command { command, by })
}
fn ship(request: Request) -> Option<Input> {
    command(Command::Ship(request))
}
fn promote(full: bool) -> Option<Input> {
    let rollout = rollout(3);
    command(Command::Promote { rollout, full })
}
fn abort(number: u64, force: bool) -> Option<Input> {
    command(Command::Abort {
        rollout: rollout(number),
        force,
        reason: String::new(),
    })
}
fn rollback(to: Option<&str>) -> Option<Input> {
    command(Command::Rollback {
        rollout: rollout(5),
        to: to.map(|to| to.parse().unwrap()),
        reason: String::new(),
    })
}
/// The last report, changed. It makes sense while a rollout is in progress.
fn seen(world: &World, change: fn(&mut Seen, &Lane, Timestamp)) -> Option<Input> {
    world.lane.active.as_ref()?;
    let mut seen = world.lane.seen.clone().unwrap_or_default();
    change(&mut seen, &world.lane, world.now);
    Some(Input::Observed { seen })
}
fn verdict(world: &World, verdict: Verdict) -> Option<Input> {
    let step = world.lane.active.as_ref()?.phase.step().unwrap_or(0);
    Some(Input::Assessed {
        rollout: rollout(3),
        step,
        assessment: assessment(verdict).into(),
    })
}

/// One row, or None where nothing comes of it.
fn row(world: &World, input: &Input, now: Timestamp) -> Option<[String; 3]> {
    let decision = decide(&world.lane, input, now);
    let mut events: Vec<&str> = decision
        .events
        .iter()
        .map(|event| event.kind())
        .filter(|kind| *kind != "observed")
        .collect();
    if events.is_empty() && decision.answer.is_none() {
        return None;
    }
    for effect in &decision.effects {
        if let Effect::Notify { urgency, .. } = effect {
            events.push(match urgency {
                Urgency::Page => "tells: page",
                Urgency::Ticket => "tells: ticket",
                Urgency::Note => "tells: note",
            });
        }
    }
    let mut next = phase(&decision.lane);
    match (active_id(&world.lane), active_id(&decision.lane)) {
        (_, Some(id)) if id != rollout(3) => write!(next, " of {id}").unwrap(),
        _ => {}
    }
    if matches!(
        decision
            .lane
            .active
            .as_ref()
            .map(|active| (&active.phase, &active.paused)),
        Some((
            Phase::Preparing { .. } | Phase::Shifting { .. } | Phase::Observing { .. },
            Some(_)
        ))
    ) {
        next += ", paused";
    }
    let answer = match &decision.answer {
        None => String::new(),
        Some(Answer::Accepted { message, .. }) => format!("accepted: {message}"),
        Some(Answer::Refused { refusal, message }) => {
            let refusal = match refusal {
                Refusal::Busy => "busy",
                Refusal::NotInProgress => "not in progress",
                Refusal::WrongPhase => "wrong phase",
                Refusal::NothingToReturnTo => "nothing to return to",
                Refusal::Evidence => "evidence",
            };
            format!("refused ({refusal}): {message}")
        }
    };
    Some([events.join(", "), next, answer])
}

/// A table whose columns line up in plain text.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows[0].len();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).filter_map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            write!(text, "| {cell:width$} ").unwrap();
        }
        text += "|\n";
        if number == 0 {
            for width in &widths {
                write!(text, "|{:-<1$}", "", width + 2).unwrap();
            }
            text += "|\n";
        }
    }
    text
}

fn page() -> String {
    let mut page = OPENING.to_owned();
    for (name, state) in STATES {
        let world = state();
        let head = |third: &str| {
            ["input", "events", "then", third]
                .map(str::to_owned)
                .to_vec()
        };
        let mut commands = vec![head("answer")];
        let mut facts = vec![["fact", "events", "then"].map(str::to_owned).to_vec()];
        let mut without = Vec::new();
        for (label, input) in COMMANDS {
            let cells = input(&world).and_then(|input| row(&world, &input, world.now));
            if let Some([events, next, answer]) = cells {
                commands.push(vec![(*label).to_owned(), events, next, answer]);
            }
        }
        for (label, input) in FACTS {
            let Some(input) = input(&world) else { continue };
            match row(&world, &input, world.now) {
                Some([events, next, _]) => facts.push(vec![(*label).to_owned(), events, next]),
                None => without.push(*label),
            }
        }
        if let Some(at) = next_deadline(&world.lane)
            && let Some([events, next, _]) = row(&world, &Input::Clock, at)
        {
            let label = format!(
                "the clock, {} on",
                airboss_model::Span(airboss_model::time::since(world.now, at),)
            );
            facts.push(vec![label, events, next]);
        }
        write!(page, "\n## {name}\n\n{}", aligned(&commands)).unwrap();
        if facts.len() > 1 {
            write!(page, "\n{}", aligned(&facts)).unwrap();
        }
        if !without.is_empty() {
            write!(page, "\nNo effect: {}.\n", without.join("; ")).unwrap();
        }
    }
    page
}

#[test]
fn the_transition_table_in_the_docs_is_what_the_engine_does() {
    let page = page();
    let path = Path::new(PAGE);
    if std::env::var_os("AIRBOSS_BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    let differs = page
        .lines()
        .zip(kept.lines().chain(std::iter::repeat("")))
        .find(|(is, was)| is != was);
    assert!(
        page == kept,
        "{PAGE} is not current; AIRBOSS_BLESS=1 writes it anew. First difference (now, kept): {differs:#?}"
    );
}
