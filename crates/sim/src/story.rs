//! What happens in a world, drawn from its seed. A story can be cut: each of its happenings makes
//! sense without the others, so a failing one is shrunk by leaving some out.

use std::fmt;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

/// Seconds in which everything may go wrong.
pub const CHAOS: u64 = 90;

/// How a new version behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// As it should.
    Good,
    /// Many of its answers are errors.
    Bad,
    /// Its instances end again and again.
    Crashing,
    /// None of its instances becomes ready.
    NeverReady,
}

/// What an operator asks for, of whatever is in progress then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// A new version.
    Ship(Version),
    /// No further step.
    Pause,
    /// Go on.
    Resume,
    /// The next step, or all of them.
    Promote {
        /// To 100 % at once.
        full: bool,
    },
    /// Back to stable.
    Abort {
        /// Without waiting for capacity.
        force: bool,
    },
    /// Back to the version before.
    Rollback,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Happening {
    /// An operator asks something of a lane, through one of the controllers.
    Operator {
        /// Which lane.
        lane: usize,
        /// Through which controller.
        through: usize,
        /// What.
        verb: Verb,
    },
    /// A controller dies at whatever it is doing, and is started again, its clock set anew.
    Crash {
        /// Which.
        controller: usize,
        /// Seconds until its next start.
        down: u64,
        /// By how many seconds the system's clock is wrong then.
        skew: i64,
    },
    /// A controller stands still and then goes on as if no time had passed.
    Freeze {
        /// Which.
        controller: usize,
        /// For how long.
        seconds: u64,
    },
    /// The store answers nobody.
    StoreAway {
        /// For how long.
        seconds: u64,
    },
    /// Answers of the store to a controller are lost: what it asked for is done or is not.
    LostAnswers {
        /// Which.
        controller: usize,
        /// Per cent of them.
        percent: u64,
        /// For how long.
        seconds: u64,
    },
    /// The store takes its time with a controller.
    SlowStore {
        /// Which.
        controller: usize,
        /// Milliseconds of one way at the most.
        millis: u64,
        /// For how long.
        seconds: u64,
    },
    /// Agent and controller do not reach each other.
    Cut {
        /// Which.
        controller: usize,
        /// For how long.
        seconds: u64,
    },
    /// Acknowledgements of reports are lost: they come again.
    LostAcks {
        /// For how long.
        seconds: u64,
    },
    /// Every report comes twice.
    Duplicates {
        /// For how long.
        seconds: u64,
    },
    /// What agent and controllers say to each other takes long and overtakes itself.
    Delays {
        /// Milliseconds of one way at the most.
        millis: u64,
        /// For how long.
        seconds: u64,
    },
    /// The agent is down; instances and splitter go on.
    AgentDown {
        /// For how long.
        seconds: u64,
    },
    /// The splitter keeps its table whatever it is told.
    Stuck {
        /// For how long.
        seconds: u64,
    },
    /// The agent reports a share that is not in force.
    Lie {
        /// In basis points.
        weight: u16,
        /// For how long.
        seconds: u64,
    },
    /// Reports come without measurements.
    NoMeasurements {
        /// For how long.
        seconds: u64,
    },
    /// Measurements are held back and come all at once.
    OldMeasurements {
        /// For how long.
        seconds: u64,
    },
    /// Measurements that cannot be true.
    AbsurdMeasurements {
        /// For how long.
        seconds: u64,
    },
}

impl Happening {
    /// The kind, for the tally.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Operator { verb, .. } => match verb {
                Verb::Ship(_) => "ship",
                Verb::Pause => "pause",
                Verb::Resume => "resume",
                Verb::Promote { .. } => "promote",
                Verb::Abort { .. } => "abort",
                Verb::Rollback => "rollback",
            },
            Self::Crash { .. } => "crash",
            Self::Freeze { .. } => "freeze",
            Self::StoreAway { .. } => "store away",
            Self::LostAnswers { .. } => "lost answers",
            Self::SlowStore { .. } => "slow store",
            Self::Cut { .. } => "cut",
            Self::LostAcks { .. } => "lost acks",
            Self::Duplicates { .. } => "duplicates",
            Self::Delays { .. } => "delays",
            Self::AgentDown { .. } => "agent down",
            Self::Stuck { .. } => "stuck splitter",
            Self::Lie { .. } => "lie",
            Self::NoMeasurements { .. } => "no measurements",
            Self::OldMeasurements { .. } => "old measurements",
            Self::AbsurdMeasurements { .. } => "absurd measurements",
        }
    }

    /// True for what goes wrong; operators are no fault.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Self::Operator { .. })
    }
}

/// A world's beginning and all that happens in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Story {
    /// The seed of all that is drawn while it runs.
    pub seed: u64,
    /// Controllers, 1 to 5.
    pub controllers: usize,
    /// Lanes, 1 or 2.
    pub lanes: usize,
    /// By how many seconds each controller's clock is wrong at first.
    pub skews: Vec<i64>,
    /// Milliseconds since the world's begin, and what happens then, in order.
    pub happenings: Vec<(u64, Happening)>,
}

impl Story {
    /// The story of a seed.
    pub fn of(seed: u64) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let controllers = [1, 1, 2, 3, 5][rng.random_range(0..5)];
        let lanes = rng.random_range(1..=2);
        let skews = (0..controllers).map(|_| skew(&mut rng)).collect();
        let count = rng.random_range(8..24);
        let mut happenings: Vec<(u64, Happening)> = (0..lanes)
            .map(|lane| {
                let first = Happening::Operator {
                    lane,
                    through: 0,
                    verb: Verb::Ship(Version::Good),
                };
                (rng.random_range(0..3_000), first)
            })
            .collect();
        happenings.extend((0..count).map(|_| {
            let at = rng.random_range(8_000..CHAOS * 1_000);
            (at, happening(&mut rng, controllers, lanes))
        }));
        happenings.sort_by_key(|(at, _)| *at);
        Self {
            seed,
            controllers,
            lanes,
            skews,
            happenings,
        }
    }

    /// How many of its happenings are faults.
    pub fn faults(&self) -> usize {
        let faults = self.happenings.iter().filter(|(_, it)| it.is_fault());
        faults.count()
    }
}

/// Most clocks are right to a few milliseconds.
fn skew(rng: &mut Xoshiro256PlusPlus) -> i64 {
    if rng.random_bool(0.8) {
        0
    } else {
        rng.random_range(-40..=40)
    }
}

fn happening(rng: &mut Xoshiro256PlusPlus, controllers: usize, lanes: usize) -> Happening {
    let controller = rng.random_range(0..controllers);
    let seconds = [2, 4, 8, 15, 30][rng.random_range(0..5)];
    match rng.random_range(0..32) {
        0..=15 => Happening::Operator {
            lane: rng.random_range(0..lanes),
            through: controller,
            verb: verb(rng),
        },
        16 | 17 => Happening::Crash {
            controller,
            down: rng.random_range(0..=20),
            skew: skew(rng),
        },
        18 => Happening::Freeze {
            controller,
            seconds,
        },
        19 => Happening::StoreAway { seconds },
        20 | 21 => Happening::LostAnswers {
            controller,
            percent: [5, 30, 80][rng.random_range(0..3)],
            seconds,
        },
        22 => Happening::SlowStore {
            controller,
            millis: [50, 500, 3_000][rng.random_range(0..3)],
            seconds,
        },
        23 => Happening::Cut {
            controller,
            seconds,
        },
        24 => Happening::LostAcks { seconds },
        25 => Happening::Duplicates { seconds },
        26 => Happening::Delays {
            millis: [200, 1_000, 4_000][rng.random_range(0..3)],
            seconds,
        },
        27 => Happening::AgentDown { seconds },
        28 => Happening::Stuck { seconds },
        29 => Happening::Lie {
            weight: [0, 1_000, 5_000, 10_000][rng.random_range(0..4)],
            seconds,
        },
        30 => Happening::NoMeasurements { seconds },
        _ => {
            if rng.random_bool(0.5) {
                Happening::OldMeasurements { seconds }
            } else {
                Happening::AbsurdMeasurements { seconds }
            }
        }
    }
}

fn verb(rng: &mut Xoshiro256PlusPlus) -> Verb {
    match rng.random_range(0..16) {
        0..=3 => Verb::Ship(Version::Good),
        4..=6 => Verb::Ship(Version::Bad),
        7 => Verb::Ship(Version::Crashing),
        8 => Verb::Ship(Version::NeverReady),
        9 => Verb::Pause,
        10 => Verb::Resume,
        11 | 12 => Verb::Promote {
            full: rng.random_bool(0.3),
        },
        13 | 14 => Verb::Abort {
            force: rng.random_bool(0.3),
        },
        _ => Verb::Rollback,
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {} controllers with clocks wrong by {:?} s, {} lanes",
            self.seed, self.controllers, self.skews, self.lanes
        )?;
        for (at, happening) in &self.happenings {
            writeln!(f, "  {:>7.3} s  {happening:?}", *at as f64 / 1_000.0)?;
        }
        Ok(())
    }
}
