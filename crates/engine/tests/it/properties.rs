//! Random days: people, targets and judges that do anything in any order, sense or not.
//!
//! `World::send` checks every decision against `invariants`; what is checked here is where such
//! a day ends once the faults stop.

use std::collections::BTreeMap;
use std::time::Duration;

use airboss_engine::{Command, Input, Seen, SeenArm};
use airboss_judge::Verdict;
use airboss_model::evidence::{ItemState, ItemVerdict, Requirement};
use airboss_model::manifest::{Then, WhenBusy};
use airboss_model::target::ObservedTraffic;
use airboss_model::time::after;
use airboss_model::traffic::Weight;
use airboss_model::{ArmId, RolloutId};
use proptest::prelude::*;

use crate::harness::*;

/// One thing that happens on a random day.
#[derive(Debug, Clone)]
enum Happening {
    Ship(Shipped),
    Command(Verb, Whom),
    /// A look at the evidence of what waits or is in progress.
    Evidence(Whom, Vec<(ItemState, Option<u64>)>),
    /// A return to the version of this number, or to the one before.
    Rollback(Option<u64>),
    Verdict {
        about: Whom,
        step: usize,
        verdict: Verdict,
        hold_growth: bool,
        log_e: f64,
    },
    /// A report that has nothing to do with the truth.
    Absurd(AbsurdReport),
    Lost,
    Pass(u64),
    ClockBack(u64),
    Fault(Fault),
}

#[derive(Debug, Clone)]
struct Shipped {
    content: u64,
    policy: WhenBusy,
    then: Then,
    all_at_once: bool,
    bake: u64,
    instances: u32,
    requires: usize,
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Pause,
    Resume,
    Promote(bool),
    Abort(bool),
    ShipAgain,
}

/// What releases of a random day may require.
const REQUIRED: [Requirement; 2] = [Requirement::Signed, SCAN];

/// Which rollout is meant.
#[derive(Debug, Clone, Copy)]
enum Whom {
    Active,
    Waiting,
    Stable,
    Nobody,
}

#[derive(Debug, Clone)]
struct AbsurdReport {
    generation: u8,
    canary: Whom,
    stable: Whom,
    weight: u16,
    lease: bool,
    arms: Vec<(Whom, u32, u32, u32, bool)>,
    no_traffic: bool,
}

#[derive(Debug, Clone)]
enum Fault {
    Deaf(bool),
    Silent(bool),
    Stuck(bool),
    Lie(Option<u16>),
    LeaseExpires,
    Unready(Whom, u32),
    Restarts(Whom, u32),
    Fails(Whom),
    Slow(u64),
    Ahead(u64),
    Heals,
}

fn whom() -> impl Strategy<Value = Whom> {
    prop_oneof![
        6 => Just(Whom::Active),
        1 => Just(Whom::Waiting),
        2 => Just(Whom::Stable),
        1 => Just(Whom::Nobody),
    ]
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop::sample::select(vec![
        Verdict::Pass,
        Verdict::Pass,
        Verdict::Pass,
        Verdict::Fail,
        Verdict::Undecided,
        Verdict::NotEnoughData,
        Verdict::SourceDown,
        Verdict::External,
        Verdict::Misrouted,
        Verdict::InstanceFault,
        Verdict::Unrepresentative,
    ])
}

fn shipped() -> impl Strategy<Value = Shipped> {
    (
        1_u64..6,
        prop::sample::select(vec![WhenBusy::Queue, WhenBusy::Supersede, WhenBusy::Reject]),
        prop::sample::select(vec![Then::Hold, Then::Promote, Then::Rollback]),
        prop::bool::weighted(0.2),
        prop::sample::select(vec![0_u64, 30]),
        prop::sample::select(vec![1_u32, 4, 7]),
        prop::sample::select(vec![0_usize, 0, 1, 2]),
    )
        .prop_map(
            |(content, policy, then, all_at_once, bake, instances, requires)| Shipped {
                content,
                policy,
                then,
                all_at_once,
                bake,
                instances,
                requires,
            },
        )
}

fn absurd() -> impl Strategy<Value = AbsurdReport> {
    let arm = (
        whom(),
        0_u32..6,
        0_u32..6,
        0_u32..6,
        prop::bool::weighted(0.1),
    );
    (
        any::<u8>(),
        whom(),
        whom(),
        0_u16..=10_000,
        prop::bool::weighted(0.1),
        prop::collection::vec(arm, 0..3),
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |(generation, canary, stable, weight, lease, arms, no_traffic)| AbsurdReport {
                generation,
                canary,
                stable,
                weight,
                lease,
                arms,
                no_traffic,
            },
        )
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        any::<bool>().prop_map(Fault::Deaf),
        any::<bool>().prop_map(Fault::Silent),
        any::<bool>().prop_map(Fault::Stuck),
        prop::option::of(0_u16..=10_000).prop_map(Fault::Lie),
        Just(Fault::LeaseExpires),
        (whom(), 0_u32..5).prop_map(|(arm, count)| Fault::Unready(arm, count)),
        (whom(), 0_u32..5).prop_map(|(arm, count)| Fault::Restarts(arm, count)),
        whom().prop_map(Fault::Fails),
        (0_u64..90).prop_map(Fault::Slow),
        (1_u64..50).prop_map(Fault::Ahead),
        Just(Fault::Heals),
    ]
}

/// A state of an item, with the seconds for which it is good.
fn looked_at() -> impl Strategy<Value = (ItemState, Option<u64>)> {
    let states = vec![
        ItemState::Passed,
        ItemState::Passed,
        ItemState::Passed,
        ItemState::Missing,
        ItemState::Failed,
        ItemState::Stale,
        ItemState::BadlySigned,
    ];
    (prop::sample::select(states), prop::option::of(0_u64..100))
}

fn happening() -> impl Strategy<Value = Happening> {
    let verb = prop_oneof![
        Just(Verb::Pause),
        Just(Verb::Resume),
        any::<bool>().prop_map(Verb::Promote),
        any::<bool>().prop_map(Verb::Abort),
        Just(Verb::ShipAgain),
    ];
    let number = prop::sample::select(vec![0.0, 1.5, 7.0, f64::NAN, f64::INFINITY]);
    prop_oneof![
        5 => shipped().prop_map(Happening::Ship),
        4 => (verb, whom()).prop_map(|(verb, about)| Happening::Command(verb, about)),
        3 => (whom(), prop::collection::vec(looked_at(), 2))
            .prop_map(|(about, items)| Happening::Evidence(about, items)),
        1 => prop::option::of(1_u64..6).prop_map(Happening::Rollback),
        4 => (whom(), 0_usize..4, verdict(), prop::bool::weighted(0.2), number).prop_map(
            |(about, step, verdict, hold_growth, log_e)| Happening::Verdict {
                about,
                step,
                verdict,
                hold_growth,
                log_e,
            }
        ),
        2 => absurd().prop_map(Happening::Absurd),
        1 => Just(Happening::Lost),
        10 => prop::sample::select(vec![0_u64, 1, 4, 9, 30, 100, 2_000]).prop_map(Happening::Pass),
        1 => (1_u64..500).prop_map(Happening::ClockBack),
        5 => fault().prop_map(Happening::Fault),
    ]
}

/// A day in progress.
struct Day {
    world: World,
    next: u64,
}

impl Day {
    fn new(deployed: bool) -> Self {
        let world = if deployed {
            World::with_stable()
        } else {
            World::empty()
        };
        Self { world, next: 10 }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn id(&self, whom: Whom) -> RolloutId {
        let lane = &self.world.lane;
        let id = match whom {
            Whom::Active => active_id(lane),
            Whom::Waiting => lane.queue.front().map(|waiting| waiting.rollout.clone()),
            Whom::Stable => lane.stable.as_ref().map(|stable| stable.arm.clone()),
            Whom::Nobody => None,
        };
        id.unwrap_or(rollout(9))
    }

    fn let_happen(&mut self, happening: &Happening) {
        match happening {
            Happening::Ship(shipped) => {
                let mut request = content(self.number(), shipped.content)
                    .when_busy(shipped.policy)
                    .at_deadline(shipped.then)
                    .bake(shipped.bake)
                    .instances(shipped.instances)
                    .requires(&REQUIRED[..shipped.requires]);
                if shipped.all_at_once {
                    request = request.all_at_once();
                }
                self.world.ship(request);
            }
            Happening::Command(verb, whom) => self.command(*verb, *whom),
            Happening::Evidence(about, states) => {
                let rollout = self.id(*about);
                let now = self.world.now;
                let look = |(state, good): &(ItemState, Option<u64>), required| ItemVerdict {
                    good_until: good.map(|good| after(now, Duration::from_secs(good))),
                    ..item(required, *state)
                };
                let items = states
                    .iter()
                    .zip(REQUIRED)
                    .map(|(it, required)| look(it, required));
                let items = items.collect();
                self.world.send(&Input::Evidence { rollout, items });
            }
            Happening::Rollback(to) => {
                let number = self.number();
                let to = to.map(|version| format!("checkout@{version}.0.0"));
                self.world.rollback(number, to.as_deref());
            }
            Happening::Verdict {
                about,
                step,
                verdict,
                hold_growth,
                log_e,
            } => {
                let mut said = assessment(*verdict);
                said.hold_growth = *hold_growth;
                said.log_e = *log_e;
                self.world.send(&Input::Assessed {
                    rollout: self.id(*about),
                    step: *step,
                    assessment: said.into(),
                });
            }
            Happening::Absurd(report) => {
                let seen = self.absurd(report);
                self.world.send(&Input::Observed { seen });
            }
            Happening::Lost => {
                let last_seen = self.world.now;
                self.world.send(&Input::TargetLost { last_seen });
            }
            Happening::Pass(seconds) => self.world.run_for(Duration::from_secs(*seconds)),
            Happening::ClockBack(seconds) => {
                self.world.now = self
                    .world
                    .now
                    .checked_sub(Duration::from_secs(*seconds))
                    .unwrap();
            }
            Happening::Fault(fault) => self.fault(fault),
        }
    }

    fn command(&mut self, verb: Verb, whom: Whom) {
        let rollout = self.id(whom);
        let command = match verb {
            Verb::Pause => Command::Pause { rollout },
            Verb::Resume => Command::Resume { rollout },
            Verb::Promote(full) => Command::Promote { rollout, full },
            Verb::Abort(force) => Command::Abort {
                rollout,
                force,
                reason: String::new(),
            },
            Verb::ShipAgain => {
                let Some(active) = &self.world.lane.active else {
                    return;
                };
                Command::Ship(active.request.clone())
            }
        };
        self.world.command(command);
    }

    fn absurd(&self, report: &AbsurdReport) -> Seen {
        let desired = self.world.lane.desired.as_ref();
        let ours = desired.map_or(0, |desired| desired.generation);
        let generation = match report.generation {
            0..50 => 0,
            50..100 => ours.saturating_sub(1),
            100..180 => ours,
            180..220 => ours + 3,
            _ => u64::MAX,
        };
        let traffic = ObservedTraffic {
            generation,
            stable: Some(self.id(report.stable)),
            canary: Some(self.id(report.canary)),
            canary_weight: Weight::from_basis_points(report.weight),
            lease_expired_at: report.lease.then_some(self.world.now),
        };
        let arms: BTreeMap<ArmId, SeenArm> = report
            .arms
            .iter()
            .map(|(whom, ready, present, restarts, failed)| {
                let arm = SeenArm {
                    ready: *ready,
                    present: *present,
                    restarts: *restarts,
                    failed: failed.then(|| "it says so".to_owned()),
                };
                (self.id(*whom), arm)
            })
            .collect();
        Seen {
            generation,
            traffic: (!report.no_traffic).then_some(traffic),
            arms,
            problems: vec!["the disk is full".to_owned()],
        }
    }

    fn fault(&mut self, fault: &Fault) {
        let id = |whom| self.id(whom);
        match fault {
            Fault::Unready(whom, count) => {
                let id = id(*whom);
                self.world.target.unready.insert(id, *count);
            }
            Fault::Restarts(whom, count) => {
                let id = id(*whom);
                self.world.target.restarts.insert(id, *count);
            }
            Fault::Fails(whom) => {
                let id = id(*whom);
                self.world.target.failed.insert(id, "crashed".to_owned());
            }
            Fault::Deaf(is) => self.world.target.deaf = *is,
            Fault::Silent(is) => self.world.target.silent = *is,
            Fault::Stuck(is) => self.world.target.stuck = *is,
            Fault::Lie(weight) => {
                self.world.target.lie = weight.map(Weight::from_basis_points);
            }
            Fault::LeaseExpires => self.world.target.expire_lease(self.world.now),
            Fault::Slow(seconds) => {
                self.world.target.start_takes = Duration::from_secs(*seconds);
            }
            Fault::Ahead(by) => {
                let desired = self.world.lane.desired.as_ref();
                let ours = desired.map_or(0, |desired| desired.generation);
                self.world.target.remember_generation(ours + by);
            }
            Fault::Heals => self.heal(),
        }
    }

    fn heal(&mut self) {
        let desired = self.world.lane.desired.clone();
        self.world.target.start_takes = Duration::from_secs(3);
        self.world.target.heal(desired.as_ref(), self.world.now);
    }

    /// Every fault ends, the judge is content and nobody holds anything.
    fn end_well(&mut self) {
        self.heal();
        self.world.judge = Judge::passing();
        let open: Vec<RolloutId> = self
            .world
            .lane
            .weighed()
            .map(|it| it.rollout.clone())
            .collect();
        for rollout in open {
            let items = REQUIRED
                .map(|required| item(required, ItemState::Passed))
                .to_vec();
            self.world.send(&Input::Evidence { rollout, items });
        }
        if self.world.lane.active.is_some() {
            self.command(Verb::Resume, Whom::Active);
        }
        self.world.settle();
    }
}

fn any_day() -> impl Strategy<Value = (bool, Vec<Happening>)> {
    (
        prop::bool::weighted(0.8),
        prop::collection::vec(happening(), 1..60),
    )
}

/// Few enough days for every run of the tests; `PROPTEST_CASES=5000` for a long look.
fn days() -> ProptestConfig {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: if asked { default.cases } else { 100 },
        failure_persistence: None,
        ..default
    }
}

proptest! {
    #![proptest_config(days())]

    #[test]
    fn every_rollout_ends_in_one_outcome_once_the_faults_stop((deployed, day) in any_day()) {
        let mut run = Day::new(deployed);
        for happening in &day {
            run.let_happen(happening);
        }
        run.end_well();
        let world = &run.world;
        prop_assert!(world.lane.active.is_none(), "{:?}", world.lane.active);
        prop_assert!(world.lane.queue.is_empty());
        prop_assert!(world.watch.open().is_empty(), "{:?}", world.watch.open());
        // And users are where the record says that they are.
        if let Some(stable) = &world.lane.stable {
            prop_assert!(world.lane.traffic_confirmed());
            prop_assert_eq!(world.target.share(&stable.arm), Weight::FULL);
        }
    }

    #[test]
    fn an_abort_always_reaches_a_confirmed_zero_once_the_target_follows(
        (deployed, day) in any_day(),
        force in any::<bool>(),
    ) {
        let mut run = Day::new(deployed);
        for happening in &day {
            run.let_happen(happening);
        }
        if let Some(id) = active_id(&run.world.lane) {
            run.command(Verb::Abort(force), Whom::Active);
            let draining = phase(&run.world.lane) == "draining";
            run.end_well();
            let shipped = run.world.lane.stable.as_ref().is_some_and(|stable| stable.arm == id);
            if !draining {
                prop_assert!(!shipped, "an aborted rollout shipped");
                prop_assert_eq!(run.world.target.share(&id), Weight::ZERO);
            }
        }
    }
}
