//! What is recorded can be read again: by this version, and by an older one that meets fields
//! it does not know. Only the manifest inside a request is strict about its fields.

use airboss_engine::{
    Answer, Cause, Command, Effect, Event, Input, Lane, Outcome, PassedBy, Plan, Refusal, Request,
    Seen, SeenArm, Urgency, decide, evolve,
};
use airboss_judge::{Assessment, Rate, SliAssessment, Verdict};
use airboss_model::evidence::{ItemState, ItemVerdict, Requirement};
use airboss_model::manifest::{BlueGreen, Canary, Strategy as Rolls};
use airboss_model::target::ObservedTraffic;
use airboss_model::traffic::Weight;
use airboss_model::{RolloutId, Span, Timestamp};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::harness::*;

/// Reads a value back as it was written, and with a field that a later version may add.
fn survives<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let text = serde_json::to_string(value).unwrap();
    let back: T = serde_json::from_str(&text).unwrap_or_else(|why| panic!("{why}: {text}"));
    assert_eq!(back, *value);
    let mut json: Value = serde_json::from_str(&text).unwrap();
    add_a_field(&mut json);
    let back: T =
        serde_json::from_value(json.clone()).unwrap_or_else(|why| panic!("{why}: {json}"));
    assert_eq!(back, *value);
}

/// Adds an unknown field to every object that is not of a manifest or keyed by arms.
fn add_a_field(json: &mut Value) {
    match json {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                if !["service", "item", "process", "arms"].contains(&name.as_str()) {
                    add_a_field(value);
                }
            }
            fields.insert("since_a_later_version".to_owned(), Value::from(1));
        }
        Value::Array(items) => items.iter_mut().for_each(add_a_field),
        _ => {}
    }
}

/// Numbers that any JSON reader gives back exactly.
fn number() -> impl Strategy<Value = f64> {
    (-1_000_000_i32..1_000_000).prop_map(|n| f64::from(n) / 64.0)
}
fn time() -> impl Strategy<Value = Timestamp> {
    (0_i64..4_000_000_000, 0_i32..1_000_000_000)
        .prop_map(|(seconds, nanos)| Timestamp::new(seconds, nanos).unwrap())
}
fn span() -> impl Strategy<Value = Span> {
    (0_u64..1_000_000_000).prop_map(Span::millis)
}
fn weight() -> impl Strategy<Value = Weight> {
    (0_u16..=10_000).prop_map(Weight::from_basis_points)
}
fn id() -> impl Strategy<Value = RolloutId> {
    (1_u64..1_000).prop_map(rollout)
}
fn text() -> impl Strategy<Value = String> {
    "\\PC{0,20}"
}
fn request() -> impl Strategy<Value = Request> {
    (1_u64..200, text(), time(), any::<bool>(), evidence()).prop_map(
        |(number, by, at, is_return, evidence)| Request {
            by,
            at,
            is_return,
            evidence,
            ..release(number)
        },
    )
}
fn evidence() -> impl Strategy<Value = Vec<ItemVerdict>> {
    (text(), prop::option::of(time())).prop_map(|(reason, good_until)| {
        let scan = ItemVerdict {
            reason,
            good_until,
            ..item(SCAN, ItemState::Stale)
        };
        vec![item(Requirement::Signed, ItemState::Passed), scan]
    })
}
fn verdict() -> impl Strategy<Value = Verdict> {
    prop::sample::select(vec![
        Verdict::Fail,
        Verdict::Pass,
        Verdict::Undecided,
        Verdict::NotEnoughData,
        Verdict::SourceDown,
        Verdict::External,
        Verdict::Misrouted,
        Verdict::InstanceFault,
        Verdict::Unrepresentative,
    ])
}
fn judged() -> impl Strategy<Value = Assessment> {
    let sli = (text(), verdict(), any::<bool>(), any::<u32>(), number()).prop_map(
        |(name, verdict, critical, bad, log_e)| SliAssessment {
            name,
            verdict,
            critical,
            advisory: !critical,
            canary: Rate {
                bad: u64::from(bad),
                requests: u64::from(bad) * 3,
            },
            baseline: critical.then(Rate::default),
            bound: log_e,
            log_e,
            log_pass: -log_e,
            fail_at: critical.then_some(log_e),
            pass_at: critical.then_some(log_e),
            levels: critical.then_some([log_e, log_e]),
            reason: "a reason".to_owned(),
        },
    );
    (
        verdict(),
        number(),
        any::<bool>(),
        prop::collection::vec(sli, 0..3),
        prop::option::of(number()),
        text(),
    )
        .prop_map(
            |(verdict, log_e, hold_growth, slis, seconds_to_verdict, reason)| Assessment {
                verdict,
                log_e,
                fail_at: 6.875,
                pass_at: 3.0,
                hold_growth,
                slis,
                mix: None,
                ticks: 9,
                seconds_to_verdict,
                reason,
            },
        )
}
fn traffic() -> impl Strategy<Value = ObservedTraffic> {
    (
        any::<u64>(),
        prop::option::of(id()),
        prop::option::of(id()),
        weight(),
        prop::option::of(time()),
    )
        .prop_map(
            |(generation, stable, canary, canary_weight, lease_expired_at)| ObservedTraffic {
                generation,
                stable,
                canary,
                canary_weight,
                lease_expired_at,
            },
        )
}
fn seen() -> impl Strategy<Value = Seen> {
    let arm = (
        any::<u32>(),
        any::<u32>(),
        any::<u32>(),
        prop::option::of(text()),
    )
        .prop_map(|(ready, present, restarts, failed)| SeenArm {
            ready,
            present,
            restarts,
            failed,
        });
    (
        any::<u64>(),
        prop::option::of(traffic()),
        prop::collection::btree_map(id(), arm, 0..3),
        prop::collection::vec(text(), 0..3),
    )
        .prop_map(|(generation, traffic, arms, problems)| Seen {
            generation,
            traffic,
            arms,
            problems,
        })
}
fn cause() -> impl Strategy<Value = Cause> {
    prop_oneof![
        Just(Cause::Judge),
        (text(), any::<bool>()).prop_map(|(name, force)| Cause::Person { name, force }),
        Just(Cause::Instances),
        Just(Cause::Lease),
        Just(Cause::Deadline),
        id().prop_map(|by| Cause::Superseded { by }),
    ]
}
fn passed_by() -> impl Strategy<Value = PassedBy> {
    prop_oneof![
        Just(PassedBy::Evidence),
        Just(PassedBy::Plan),
        Just(PassedBy::Policy),
        text().prop_map(|name| PassedBy::Person { name }),
    ]
}
fn outcome() -> impl Strategy<Value = Outcome> {
    prop::sample::select(vec![
        Outcome::Shipped,
        Outcome::RolledBack,
        Outcome::Aborted,
        Outcome::Superseded,
        Outcome::Failed,
    ])
}
fn plan() -> impl Strategy<Value = Plan> {
    prop::sample::select(vec![
        Plan::of(&Rolls::Canary(Canary::default())),
        Plan::first(&Rolls::Canary(Canary::default())),
        Plan::of(&Rolls::BlueGreen(BlueGreen {
            keep: Span::secs(60),
        })),
        Plan::return_to_earlier(),
    ])
}

fn event() -> impl Strategy<Value = Event> {
    let step = 0_usize..50;
    prop_oneof![
        (request(), any::<bool>()).prop_map(|(request, first_in_line)| Event::Requested {
            request,
            first_in_line
        }),
        (id(), outcome(), text()).prop_map(|(rollout, outcome, reason)| Event::Withdrawn {
            rollout,
            outcome,
            reason
        }),
        (id(), evidence(), time()).prop_map(|(rollout, items, at)| Event::EvidenceChanged {
            rollout,
            items,
            at
        }),
        (id(), plan(), time()).prop_map(|(rollout, plan, at)| Event::Started { rollout, plan, at }),
        seen().prop_map(|seen| Event::Observed { seen }),
        time().prop_map(|since| Event::TargetLost { since }),
        (step.clone(), weight(), span(), time()).prop_map(|(step, weight, ready_took, at)| {
            Event::StepShifting {
                step,
                weight,
                ready_took,
                at,
            }
        }),
        (step.clone(), weight(), span(), time()).prop_map(|(step, weight, took, at)| {
            Event::StepConfirmed {
                step,
                weight,
                took,
                at,
            }
        }),
        (step.clone(), weight(), prop::option::of(weight()), time()).prop_map(
            |(step, weight, seen, at)| Event::StepUnconfirmed {
                step,
                weight,
                seen,
                at
            }
        ),
        (step.clone(), judged())
            .prop_map(|(step, assessment)| Event::VerdictChanged { step, assessment }),
        (step.clone(), text()).prop_map(|(step, reason)| Event::DeadlineHeld { step, reason }),
        (step.clone(), step, passed_by(), text(), time()).prop_map(
            |(step, next, by, reason, at)| Event::StepPassed {
                step,
                next,
                by,
                reason,
                at
            }
        ),
        (text(), time()).prop_map(|(reason, at)| Event::Stalled { reason, at }),
        (text(), time()).prop_map(|(by, at)| Event::Paused { by, at }),
        (text(), time()).prop_map(|(by, at)| Event::Resumed { by, at }),
        (cause(), text(), weight(), any::<u32>(), time()).prop_map(
            |(cause, reason, weight, surge, at)| Event::RollbackStarted {
                cause,
                reason,
                weight,
                surge,
                at
            }
        ),
        (weight(), any::<u32>())
            .prop_map(|(weight, surge)| Event::RollbackStaged { weight, surge }),
        (any::<u32>(), time()).prop_map(|(retries, at)| Event::RollbackRetried { retries, at }),
        (span(), time()).prop_map(|(took, at)| Event::ReturnedToStable { took, at }),
        (text(), time()).prop_map(|(reason, at)| Event::Promoted { reason, at }),
        (outcome(), text(), time()).prop_map(|(outcome, reason, at)| Event::Ended {
            outcome,
            reason,
            at
        }),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    let command = prop_oneof![
        request().prop_map(Command::Ship),
        id().prop_map(|rollout| Command::Pause { rollout }),
        id().prop_map(|rollout| Command::Resume { rollout }),
        (id(), any::<bool>()).prop_map(|(rollout, full)| Command::Promote { rollout, full }),
        (id(), any::<bool>(), text()).prop_map(|(rollout, force, reason)| Command::Abort {
            rollout,
            force,
            reason
        }),
        (id(), prop::option::of(1_u64..99), text()).prop_map(|(rollout, to, reason)| {
            let to = to.map(|version| release(version).release);
            Command::Rollback {
                rollout,
                to,
                reason,
            }
        }),
    ];
    prop_oneof![
        (command, text()).prop_map(|(command, by)| Input::Command { command, by }),
        seen().prop_map(|seen| Input::Observed { seen }),
        time().prop_map(|last_seen| Input::TargetLost { last_seen }),
        (id(), 0_usize..50, judged()).prop_map(|(rollout, step, assessment)| Input::Assessed {
            rollout,
            step,
            assessment: assessment.into(),
        }),
        (id(), evidence()).prop_map(|(rollout, items)| Input::Evidence { rollout, items }),
        Just(Input::Clock),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_event_can_be_read_again(event in event()) {
        survives(&event);
    }

    #[test]
    fn every_input_can_be_read_again(input in input()) {
        survives(&input);
    }

    #[test]
    fn any_record_can_be_folded_and_the_lane_read_again_and_led_on(
        events in prop::collection::vec(event(), 0..30),
        input in input(),
        now in time(),
    ) {
        let empty = Lane::new(LANE.parse().unwrap());
        let lane = events.iter().fold(empty, evolve);
        survives(&lane);
        // However odd the record: the next decision comes to rest and keeps to its events.
        let decision = decide(&lane.clone().into(), &input, now);
        let folded = decision.events.iter().fold(lane, evolve);
        prop_assert_eq!(folded, Lane::clone(&decision.lane));
    }
}

#[test]
fn answers_and_effects_can_be_read_again() {
    let mut world = World::with_stable();
    world.ship(release(2));
    let desired = world.lane.desired.clone().unwrap();
    survives(&Effect::Apply { desired });
    survives(&Effect::Notify {
        urgency: Urgency::Page,
        text: "wake up".to_owned(),
    });
    survives(&Answer::Accepted {
        rollout: rollout(2),
        message: "it starts".to_owned(),
    });
    survives(&Answer::Refused {
        refusal: Refusal::NothingToReturnTo,
        message: "no".to_owned(),
    });
}

#[test]
fn every_lane_of_a_rollout_can_be_read_again() {
    let mut world = World::with_two_versions();
    world.ship(release(3));
    world.ship(release(4));
    for reached in ["shifting 0", "observing 1", "draining"] {
        world.run_until_phase(reached);
        survives(&world.lane);
    }
    world.run_until(|lane| active_id(lane) == Some(rollout(4)) && phase(lane) == "observing 1");
    world.target.unready.insert(rollout(3), 2);
    world.report();
    world.abort(4, false);
    survives(&world.lane);
}
