//! Simulated worlds, the judge and its peers on the same traces, one table.
//!
//! `cargo bench -p airboss-judge --bench worlds [-- --quick] [--only TEXT] [--runs N] [--seed N]`
//!
//! Every run has fresh traffic from its seed; every 50 runs share a service, whose own history
//! calibrates the judge as it would in use. Nothing is tuned on these seeds: give another.
#![allow(clippy::print_stdout, reason = "the table is what the bench is for")]

mod cost;
mod peers;
mod random;
mod report;
mod runs;
mod traffic;

use runs::{Outcome, Plan};
use traffic::{Clump, World};

const MINUTES_15: u64 = 900;
const HOUR: u64 = 3600;

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.next()?;
    arguments.next()
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let seed: u64 = argument("--seed")
        .and_then(|text| text.parse().ok())
        .unwrap_or(20_261_123);
    let runs: usize = argument("--runs")
        .and_then(|text| text.parse().ok())
        .unwrap_or(if quick { 100 } else { 1000 });
    let only = argument("--only").unwrap_or_default();
    println!("seed {seed}, {runs} runs per world\n");
    let section = |title: &str,
                   worlds: Vec<World>,
                   report: fn(&World, &[Outcome]) -> String,
                   head: String,
                   plan: Plan| {
        let worlds: Vec<World> = worlds
            .into_iter()
            .filter(|world| world.name.contains(&only))
            .collect();
        if worlds.is_empty() {
            return;
        }
        println!("### {title}\n\n{head}");
        for world in worlds {
            let outcomes = runs::all(&world, plan, runs, seed);
            println!("{}", report(&world, &outcomes));
        }
        println!();
    };
    section(
        "False rollbacks of healthy releases",
        aa(),
        report::false_rollback,
        report::false_rollback_head(),
        Plan::Constant,
    );
    section(
        "Detection",
        regressions(),
        report::detection,
        report::detection_head(),
        Plan::Constant,
    );
    section(
        "Whole rollouts 1/5/20/50/100 %",
        rollouts(),
        report::rollout,
        report::rollout_head(),
        Plan::Steps,
    );
    section(
        "Beyond the pass margin",
        beyond(),
        report::promoted,
        report::promoted_head(),
        Plan::OneStep,
    );
    if only.is_empty() || only == "cost" {
        cost::print();
    }
}

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
            sick: true,
            ..healthy("an instance fails 20 % for 30 s every 2 h")
        },
        World {
            sick: true,
            weight: 0.25,
            ..healthy("the same, 3 canary instances")
        },
    ];
    let clumped = |name, weight, mean, spread, history| World {
        weight,
        clump: Some(Clump { mean, spread }),
        stalls: true,
        history,
        ..healthy(name)
    };
    worlds.extend([
        clumped("clumps 2 and stalls, 1 %, 1 h", 0.01, 2.0, 1, HOUR),
        clumped("clumps 2 and stalls, 10 %, 1 h", 0.1, 2.0, 1, HOUR),
        clumped("clumps 2 and stalls, 10 %, 15 min", 0.1, 2.0, 1, MINUTES_15),
        clumped("clumps 5 and stalls, 1 %, 15 min", 0.01, 5.0, 1, MINUTES_15),
        clumped("clumps 5 and stalls, 10 %, 1 h", 0.1, 5.0, 1, HOUR),
        clumped("clumps 5 and stalls, 10 %, 15 min", 0.1, 5.0, 1, MINUTES_15),
        clumped("clumps 5 over 10 s, 10 %, 1 h", 0.1, 5.0, 10, HOUR),
        clumped("clumps 5 over 10 s, 20 %, 15 min", 0.2, 5.0, 10, MINUTES_15),
        clumped("clumps 5 over 10 s, 50 %, 15 min", 0.5, 5.0, 10, MINUTES_15),
        clumped("clumps 5 over 10 s, 10 %, no history", 0.1, 5.0, 10, 0),
    ]);
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
            ..from("0.1 to 10 %, no history", 0.001, 0.1)
        },
        from("1 to 1.5 %", 0.01, 0.015),
        World {
            onset: 930,
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
fn beyond() -> Vec<World> {
    let edge = World {
        canary: 0.00325,
        ..World::healthy("beyond, clean")
    };
    let clump = |mean, spread| Some(Clump { mean, spread });
    vec![
        edge,
        World {
            name: "beyond, clumps 2",
            clump: clump(2.0, 1),
            ..edge
        },
        World {
            name: "beyond, clumps 5",
            clump: clump(5.0, 1),
            ..edge
        },
        World {
            name: "beyond, clumps 5 over 10 s",
            clump: clump(5.0, 10),
            ..edge
        },
        World {
            name: "beyond, clumps 5, no history",
            clump: clump(5.0, 1),
            history: 0,
            ..edge
        },
    ]
}
