//! That the witness sees: every promise in a world, or a sight of one, that is deliberately broken.

use airboss_engine::{Event, PassedBy};
use airboss_model::traffic::Weight;
use airboss_sim::store::Broken;
use airboss_sim::story::{Happening, Story, Verb, Version};
use airboss_sim::witness::{QUEUE_MAX, Sight, Witness};
use airboss_sim::world::{Wrong, play_wrong};
use airboss_sim::{Finding, Promise};
use serde_json::json;

fn ask(verb: Verb) -> Happening {
    Happening::Operator {
        lane: 0,
        through: 0,
        verb,
    }
}

fn story(controllers: usize, happenings: &[(u64, Happening)]) -> Story {
    Story {
        seed: 3,
        controllers,
        lanes: 1,
        skews: vec![0; controllers],
        happenings: happenings.to_vec(),
    }
}

/// Two good versions and a bad one.
fn busy() -> Vec<(u64, Happening)> {
    vec![
        (1_000, ask(Verb::Ship(Version::Good))),
        (12_000, ask(Verb::Ship(Version::Good))),
        (70_000, ask(Verb::Ship(Version::Bad))),
    ]
}

fn broken_store(broken: Broken, story: &Story) -> Option<Promise> {
    let wrong = Wrong {
        store: broken,
        ..Wrong::default()
    };
    play_wrong(story, wrong).finding.map(|it| it.promise)
}

/// What a sound world shows.
fn sights() -> Vec<Sight> {
    let wrong = Wrong {
        keep: true,
        ..Wrong::default()
    };
    let ended = play_wrong(&story(1, &busy()), wrong);
    assert_eq!(ended.finding, None);
    ended.sights
}

fn judged(sights: &[Sight]) -> Option<Finding> {
    let mut witness = Witness::default();
    sights.iter().find_map(|sight| witness.see(sight).err())
}

/// Tampers with the first sight that `with` changes, and asks what the witness finds.
fn tampered(with: impl Fn(&mut Sight) -> bool) -> Option<Promise> {
    let mut sights = sights();
    assert!(sights.iter_mut().any(with), "nothing was tampered with");
    judged(&sights).map(|it| it.promise)
}

/// Changes the first event of this kind; the record is told anew, so that only its meaning is wrong.
fn event(sight: &mut Sight, change: impl Fn(&Event) -> Option<Event>) -> bool {
    let Sight::Committed {
        commit, records, ..
    } = sight
    else {
        return false;
    };
    for (event, record) in commit.events.iter_mut().zip(records) {
        let known: Event = serde_json::from_value(event.body.clone()).unwrap();
        if let Some(changed) = change(&known) {
            event.body = json!(changed);
            event.message = changed.message();
            record.body = event.body.to_string();
            record.message.clone_from(&event.message);
            return true;
        }
    }
    false
}

#[test]
fn a_sound_world_is_found_sound() {
    assert_eq!(judged(&sights()), None);
}

#[test]
fn a_store_that_takes_a_former_owners_write_is_seen() {
    // The first owner stands still until another has its lane, and goes on as if nothing was.
    let happenings = [
        (1_000, ask(Verb::Ship(Version::Good))),
        (12_000, ask(Verb::Ship(Version::Good))),
        (
            14_000,
            Happening::Freeze {
                controller: 0,
                seconds: 15,
            },
        ),
        (
            14_100,
            Happening::Freeze {
                controller: 1,
                seconds: 2,
            },
        ),
        (
            31_000,
            Happening::Freeze {
                controller: 1,
                seconds: 15,
            },
        ),
        (
            50_000,
            Happening::Freeze {
                controller: 0,
                seconds: 15,
            },
        ),
        (52_000, ask(Verb::Ship(Version::Good))),
    ];
    let found = (0..20).find_map(|seed| {
        let story = Story {
            seed,
            ..story(2, &happenings)
        };
        broken_store(Broken::TakesOldEpochs, &story)
    });
    assert_eq!(found, Some(Promise::Fence));
    let old = tampered(|sight| match sight {
        Sight::Committed { commit, .. } if commit.seq > 3 => {
            commit.epoch -= 1;
            true
        }
        _ => false,
    });
    assert_eq!(old, Some(Promise::Fence));
}

#[test]
fn a_store_that_forgets_to_seal_is_seen() {
    let found = broken_store(Broken::ForgetsToSeal, &story(1, &busy()));
    assert_eq!(found, Some(Promise::Ledger));
}

#[test]
fn a_store_that_loses_a_commit_is_seen_before_its_effect_does_harm() {
    let found = broken_store(Broken::LosesCommits, &story(1, &busy()));
    assert!(
        matches!(
            found,
            Some(Promise::Effects | Promise::Fence | Promise::Ledger | Promise::Replay)
        ),
        "{found:?}"
    );
}

#[test]
fn an_agent_that_keeps_an_unwatched_version_exposed_is_seen() {
    let wrong = Wrong {
        ignores_leases: true,
        ..Wrong::default()
    };
    // The only controller dies while users are on a bad version.
    let happenings = [
        (1_000, ask(Verb::Ship(Version::Good))),
        (12_000, ask(Verb::Ship(Version::Good))),
        (
            17_000,
            Happening::Crash {
                controller: 0,
                down: 80,
                skew: 0,
            },
        ),
    ];
    let found = play_wrong(&story(1, &happenings), wrong).finding;
    assert_eq!(found.map(|it| it.promise), Some(Promise::Lease));
}

#[test]
fn a_step_that_passes_without_proof_is_seen() {
    let passed = |change: fn(usize) -> (usize, PassedBy)| {
        tampered(|sight| {
            event(sight, |event| match event {
                Event::StepPassed {
                    step,
                    next,
                    reason,
                    at,
                    ..
                } => {
                    let (step, by) = change(*step);
                    Some(Event::StepPassed {
                        step,
                        next: *next,
                        by,
                        reason: reason.clone(),
                        at: *at,
                    })
                }
                _ => None,
            })
        })
    };
    let person = || PassedBy::Person {
        name: "nobody".to_owned(),
    };
    let unproven = passed(|step| (step + 7, PassedBy::Evidence));
    assert_eq!(unproven, Some(Promise::Gate));
    assert_eq!(passed(|step| (step, PassedBy::Plan)), Some(Promise::Gate));
    let by_nobody = tampered(|sight| {
        event(sight, |event| match event {
            Event::StepPassed {
                step,
                next,
                reason,
                at,
                ..
            } => Some(Event::StepPassed {
                step: *step,
                next: *next,
                by: person(),
                reason: reason.clone(),
                at: *at,
            }),
            _ => None,
        })
    });
    assert_eq!(by_nobody, Some(Promise::Gate));
}

#[test]
fn a_rollout_that_begins_twice_is_seen() {
    let mut sights = sights();
    let mut first = None;
    for sight in &mut sights {
        event(sight, |event| match (event, first.clone()) {
            (
                Event::Requested {
                    request,
                    first_in_line,
                },
                Some(id),
            ) => {
                let mut request = request.clone();
                request.rollout = id;
                Some(Event::Requested {
                    request,
                    first_in_line: *first_in_line,
                })
            }
            _ => None,
        });
        if let (Sight::Committed { commit, .. }, None) = (&*sight, &first) {
            first = commit.events[0].rollout.clone();
        }
    }
    assert_eq!(
        judged(&sights).map(|it| it.promise),
        Some(Promise::OneOutcome)
    );
}

#[test]
fn a_state_that_is_not_what_its_events_say_is_seen() {
    let found = tampered(|sight| match sight {
        Sight::Committed { commit, .. } if commit.seq == 5 => {
            commit.state["queue"] = json!([{}]);
            true
        }
        _ => false,
    });
    assert_eq!(found, Some(Promise::Replay));
}

#[test]
fn a_desired_state_that_was_never_committed_or_is_older_is_seen() {
    let invented = tampered(|sight| match sight {
        Sight::TookIn(desired) => {
            desired.arms.clear();
            true
        }
        _ => false,
    });
    assert_eq!(invented, Some(Promise::Effects));
    let mut twice = sights();
    let first = twice.iter().find(|it| matches!(it, Sight::TookIn(_)));
    let again = first.cloned().unwrap();
    twice.push(again);
    assert_eq!(judged(&twice).map(|it| it.promise), Some(Promise::Effects));
}

#[test]
fn a_rollout_that_does_not_end_or_ends_twice_is_seen() {
    let mut open = sights();
    let last_end = open.iter().rposition(|sight| {
        matches!(sight, Sight::Committed { commit, .. } if commit.events.iter().any(|it| it.kind == "ended"))
    });
    let rested = open
        .iter()
        .position(|it| matches!(it, Sight::Rested { .. }));
    let (last_end, rested) = (last_end.unwrap(), rested.unwrap());
    let sight = open[rested].clone();
    open.truncate(last_end);
    open.push(sight);
    assert_eq!(judged(&open).map(|it| it.promise), Some(Promise::Ends));
    let elsewhere = tampered(|sight| match sight {
        Sight::Rested { weight, .. } => {
            *weight = Weight::from_basis_points(1_000);
            true
        }
        _ => false,
    });
    assert_eq!(elsewhere, Some(Promise::Ends));
}

#[test]
fn an_answer_that_the_store_does_not_keep_is_seen() {
    let found = tampered(|sight| match sight {
        Sight::Answered { kept, .. } => {
            *kept = None;
            true
        }
        _ => false,
    });
    assert_eq!(found, Some(Promise::Commands));
}

#[test]
fn a_queue_without_bound_is_seen() {
    let found = tampered(|sight| match sight {
        Sight::Committed { waiting, .. } => {
            *waiting = 1_000 * QUEUE_MAX;
            true
        }
        _ => false,
    });
    assert_eq!(found, Some(Promise::Bounds));
}
