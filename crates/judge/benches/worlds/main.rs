//! Simulated worlds, the judge and its peers on the same traces, one table.
//!
//! `cargo bench -p airboss-judge --bench worlds [-- --write] [--only TEXT] [--runs N] [--seed N] [--threads N]`
//!
//! Every run has fresh traffic from its seed; every 40 runs share a service, whose own history
//! calibrates the judge as it would in use. Nothing is tuned on the seed that stands here: give another.
#![allow(clippy::print_stdout, reason = "the table is what the bench is for")]

mod cost;
mod document;
mod peers;
mod random;
mod report;
mod runs;
mod traffic;

use document::Document;
use runs::{Outcome, Plan, Services};
use traffic::{Clump, World};

const MINUTES_15: u64 = 900;
const HOUR: u64 = 3600;

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.next()?;
    arguments.next()
}

/// Of the run whose tables stand in the documentation.
const SEED: u64 = 62_831_853;
const RUNS: usize = 1000;

/// A part of the table: its worlds, how they are run and how a row is written.
struct Section {
    title: &'static str,
    head: String,
    worlds: Vec<World>,
    plan: Plan,
    row: fn(&World, &[Outcome]) -> String,
}

fn main() {
    let number = |name| argument(name).and_then(|text| text.parse::<u64>().ok());
    let seed = number("--seed").unwrap_or(SEED);
    let runs = number("--runs").map_or(RUNS, |runs| runs as usize);
    let only = argument("--only").unwrap_or_default();
    let write = std::env::args().any(|argument| argument == "--write");
    let mut document = Document::new(write, seed, runs);
    let mut services = Services::new(seed);
    for mut section in sections() {
        section.worlds.retain(|world| world.name.contains(&only));
        if section.worlds.is_empty() {
            continue;
        }
        document.add(&format!("\n### {}\n\n{}", section.title, section.head));
        for world in section.worlds {
            let outcomes = runs::all(&world, section.plan, runs, &mut services);
            document.add(&(section.row)(&world, &outcomes));
        }
    }
    if only.is_empty() || only == "cost" {
        document.add(&cost::table());
    }
}

fn sections() -> [Section; 4] {
    [
        Section {
            title: "False rollbacks of healthy releases, 15 minutes each",
            head: report::false_rollback_head(),
            worlds: aa(),
            plan: Plan::Constant,
            row: report::false_rollback,
        },
        Section {
            title: "Exactly on the pass margin of a step from 10 % to 50 %",
            head: report::promoted_head(),
            worlds: on_the_margin(),
            plan: Plan::OneStep,
            row: report::promoted,
        },
        Section {
            title: "Detection, seconds from the onset",
            head: report::detection_head(),
            worlds: regressions(),
            plan: Plan::Constant,
            row: report::detection,
        },
        Section {
            title: "Whole rollouts 1/5/20/50/100 %",
            head: report::rollout_head(),
            worlds: rollouts(),
            plan: Plan::Steps,
            row: report::rollout,
        },
    ]
}

/// Clumped errors and stalls: mean size, seconds over which a clump is spread, canary's weight, history.
const CLUMPED: [(&str, f64, u64, f64, u64); 38] = [
    ("clumps 2 at once, 1 %, 1 h", 2.0, 1, 0.01, HOUR),
    ("clumps 2 at once, 1 %, 15 min", 2.0, 1, 0.01, MINUTES_15),
    ("clumps 2 at once, 10 %, 1 h", 2.0, 1, 0.1, HOUR),
    ("clumps 2 at once, 10 %, 15 min", 2.0, 1, 0.1, MINUTES_15),
    ("clumps 2 at once, 20 %, 1 h", 2.0, 1, 0.2, HOUR),
    ("clumps 2 at once, 20 %, 15 min", 2.0, 1, 0.2, MINUTES_15),
    ("clumps 2 at once, 50 %, 1 h", 2.0, 1, 0.5, HOUR),
    ("clumps 2 at once, 50 %, 15 min", 2.0, 1, 0.5, MINUTES_15),
    ("clumps 2 at once, 10 %, no history", 2.0, 1, 0.1, 0),
    ("clumps 2 at once, 50 %, no history", 2.0, 1, 0.5, 0),
    ("clumps 2 over 10 s, 1 %, 1 h", 2.0, 10, 0.01, HOUR),
    ("clumps 2 over 10 s, 1 %, 15 min", 2.0, 10, 0.01, MINUTES_15),
    ("clumps 2 over 10 s, 10 %, 1 h", 2.0, 10, 0.1, HOUR),
    ("clumps 2 over 10 s, 10 %, 15 min", 2.0, 10, 0.1, MINUTES_15),
    ("clumps 2 over 10 s, 20 %, 1 h", 2.0, 10, 0.2, HOUR),
    ("clumps 2 over 10 s, 20 %, 15 min", 2.0, 10, 0.2, MINUTES_15),
    ("clumps 2 over 10 s, 50 %, 1 h", 2.0, 10, 0.5, HOUR),
    ("clumps 2 over 10 s, 50 %, 15 min", 2.0, 10, 0.5, MINUTES_15),
    ("clumps 2 over 10 s, 10 %, no history", 2.0, 10, 0.1, 0),
    ("clumps 5 at once, 1 %, 1 h", 5.0, 1, 0.01, HOUR),
    ("clumps 5 at once, 1 %, 15 min", 5.0, 1, 0.01, MINUTES_15),
    ("clumps 5 at once, 10 %, 1 h", 5.0, 1, 0.1, HOUR),
    ("clumps 5 at once, 10 %, 15 min", 5.0, 1, 0.1, MINUTES_15),
    ("clumps 5 at once, 20 %, 1 h", 5.0, 1, 0.2, HOUR),
    ("clumps 5 at once, 20 %, 15 min", 5.0, 1, 0.2, MINUTES_15),
    ("clumps 5 at once, 50 %, 1 h", 5.0, 1, 0.5, HOUR),
    ("clumps 5 at once, 50 %, 15 min", 5.0, 1, 0.5, MINUTES_15),
    ("clumps 5 at once, 10 %, no history", 5.0, 1, 0.1, 0),
    ("clumps 5 over 10 s, 1 %, 1 h", 5.0, 10, 0.01, HOUR),
    ("clumps 5 over 10 s, 1 %, 15 min", 5.0, 10, 0.01, MINUTES_15),
    ("clumps 5 over 10 s, 10 %, 1 h", 5.0, 10, 0.1, HOUR),
    ("clumps 5 over 10 s, 10 %, 15 min", 5.0, 10, 0.1, MINUTES_15),
    ("clumps 5 over 10 s, 20 %, 1 h", 5.0, 10, 0.2, HOUR),
    ("clumps 5 over 10 s, 20 %, 15 min", 5.0, 10, 0.2, MINUTES_15),
    ("clumps 5 over 10 s, 50 %, 1 h", 5.0, 10, 0.5, HOUR),
    ("clumps 5 over 10 s, 50 %, 15 min", 5.0, 10, 0.5, MINUTES_15),
    ("clumps 5 over 10 s, 10 %, no history", 5.0, 10, 0.1, 0),
    ("clumps 5 over 10 s, 50 %, no history", 5.0, 10, 0.5, 0),
];

fn aa() -> Vec<World> {
    let healthy = World::healthy;
    let mut worlds = vec![
        World {
            restless: true,
            ..healthy("A/A 0.1 %, drift and bursts")
        },
        World {
            restless: true,
            base: 0.01,
            canary: 0.01,
            ..healthy("A/A 1 %, drift and bursts")
        },
        World {
            rps: 10.0,
            base: 0.01,
            canary: 0.01,
            ..healthy("A/A 1 %, canary 1 request/s")
        },
        World {
            canary: 0.0012,
            ..healthy("the margin's edge, 0.1 to 0.12 %")
        },
        World {
            outage: true,
            ..healthy("an outage of both versions for a minute")
        },
        World {
            sick: true,
            ..healthy("an instance fails 20 % for 30 s every 2 h")
        },
        World {
            sick: true,
            weight: 0.25,
            ..healthy("an instance fails likewise, 3 canary instances")
        },
    ];
    for (name, mean, spread, weight, history) in CLUMPED {
        worlds.push(World {
            weight,
            clump: Some(Clump { mean, spread }),
            stalls: true,
            history,
            ..healthy(name)
        });
    }
    worlds
}

fn regressions() -> Vec<World> {
    let from = |name, base, canary| World {
        base,
        canary,
        ..World::healthy(name)
    };
    vec![
        from("0.1 to 0.3 %", 0.001, 0.003),
        from("0.1 to 1 %", 0.001, 0.01),
        from("0.1 to 10 %", 0.001, 0.1),
        World {
            history: 0,
            ..from("0.1 to 1 %, no history", 0.001, 0.01)
        },
        World {
            history: 0,
            ..from("0.1 to 10 %, no history", 0.001, 0.1)
        },
        World {
            history: 0,
            onset: 3.5,
            ..from("0.1 to 20 % after 3.5 s, no history", 0.001, 0.2)
        },
        World {
            history: 0,
            onset: 3.5,
            weight: 0.25,
            ..from("0.1 to 20 % after 3.5 s, 3 instances", 0.001, 0.2)
        },
        World {
            history: 0,
            onset: 600.0,
            seconds: 1500,
            ..from("0.1 to 20 % after 600 s, no history", 0.001, 0.2)
        },
        World {
            history: 0,
            onset: 3.5,
            ..from("0.1 to 3 % after 3.5 s, no history", 0.001, 0.03)
        },
        from("1 to 1.5 %", 0.01, 0.015),
        World {
            onset: 930.0,
            seconds: 1500,
            ..from("0.1 to 1 %, onset at 930 s", 0.001, 0.01)
        },
        World {
            clump: Some(Clump {
                mean: 2.0,
                spread: 1,
            }),
            stalls: true,
            ..from("0.1 to 1 %, clumps 2", 0.001, 0.01)
        },
        World {
            tail: 1.2,
            ..from("tail +20 %", 0.001, 0.001)
        },
        World {
            tail: 2.0,
            ..from("tail +100 %", 0.001, 0.001)
        },
        World {
            tail: 1.2,
            history: 0,
            ..from("tail +20 %, no history", 0.001, 0.001)
        },
    ]
}

fn rollouts() -> Vec<World> {
    let clump = Some(Clump {
        mean: 2.0,
        spread: 1,
    });
    vec![
        World {
            seconds: 3600,
            ..World::healthy("rollout healthy")
        },
        World {
            seconds: 3600,
            restless: true,
            ..World::healthy("rollout healthy, drift and bursts")
        },
        World {
            seconds: 3600,
            history: 0,
            ..World::healthy("rollout healthy, no history")
        },
        World {
            seconds: 3600,
            outage: true,
            ..World::healthy("rollout healthy, an outage of both")
        },
        World {
            seconds: 3600,
            clump,
            stalls: true,
            ..World::healthy("rollout healthy, clumps 2 and stalls")
        },
        World {
            seconds: 3600,
            canary: 0.01,
            ..World::healthy("rollout 0.1 to 1 %")
        },
        World {
            seconds: 3600,
            tail: 2.0,
            ..World::healthy("rollout tail +100 %")
        },
    ]
}

/// Exactly on the pass margin of a step from 10 % to 50 %: 1.25 x 0.1 % + 0.2 %.
fn on_the_margin() -> Vec<World> {
    let edge = World {
        canary: 0.00325,
        ..World::healthy("on the margin, clean")
    };
    let mut worlds = vec![
        edge,
        World {
            history: 0,
            name: "on the margin, clean, no history",
            ..edge
        },
        World {
            outage: true,
            name: "on the margin, clean, an outage of both",
            ..edge
        },
    ];
    for (name, mean, spread, stalls, history) in [
        ("on the margin, clumps 2", 2.0, 1, false, HOUR),
        ("on the margin, clumps 2, 15 min", 2.0, 1, false, MINUTES_15),
        ("on the margin, clumps 2 over 10 s", 2.0, 10, false, HOUR),
        ("on the margin, clumps 2 and stalls", 2.0, 1, true, HOUR),
        ("on the margin, clumps 5", 5.0, 1, false, HOUR),
        ("on the margin, clumps 5, 15 min", 5.0, 1, false, MINUTES_15),
        ("on the margin, clumps 5 over 10 s", 5.0, 10, false, HOUR),
        (
            "on the margin, clumps 5 over 10 s, 15 min",
            5.0,
            10,
            false,
            MINUTES_15,
        ),
        ("on the margin, clumps 5 and stalls", 5.0, 1, true, HOUR),
        ("on the margin, clumps 2, no history", 2.0, 1, false, 0),
        ("on the margin, clumps 5, no history", 5.0, 1, false, 0),
        (
            "on the margin, clumps 5 over 10 s, no history",
            5.0,
            10,
            false,
            0,
        ),
    ] {
        worlds.push(World {
            name,
            clump: Some(Clump { mean, spread }),
            stalls,
            history,
            ..edge
        });
    }
    worlds
}
