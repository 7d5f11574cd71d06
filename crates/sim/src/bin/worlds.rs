//! `worlds`: plays many seeds, or one; see `cargo xtask sim`.

use std::io::{Write as _, stderr, stdout};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use airboss_sim::world::note_panics;
use airboss_sim::{Story, Tally, play, shrink};

const USAGE: &str = "\
usage: cargo xtask sim [--seeds N] [--from SEED] [--threads N] [--forever] [--one SEED]

  --seeds N     how many worlds [default: 1000]
  --from SEED   the first seed [default: 0]
  --forever     until one fails or Ctrl-C
  --one SEED    play one world and tell its story, shrunk where it fails";

struct Plan {
    seeds: u64,
    from: u64,
    threads: usize,
    one: Option<u64>,
}

fn main() -> ExitCode {
    note_panics();
    let plan = match plan(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(what) => {
            let _ = writeln!(stderr(), "{what}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let failed = match plan.one {
        Some(seed) => one(seed),
        None => many(&plan),
    };
    if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn plan(mut words: impl Iterator<Item = String>) -> Result<Plan, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut plan = Plan {
        seeds: 1_000,
        from: 0,
        threads,
        one: None,
    };
    while let Some(word) = words.next() {
        let mut number = || {
            let value = words.next().unwrap_or_default();
            value
                .parse::<u64>()
                .map_err(|_| format!("{word} needs a number, not `{value}`"))
        };
        match word.as_str() {
            "--seeds" => plan.seeds = number()?,
            "--from" => plan.from = number()?,
            "--threads" => plan.threads = usize::try_from(number()?).unwrap_or(1).max(1),
            "--one" => plan.one = Some(number()?),
            "--forever" => plan.seeds = u64::MAX,
            other => return Err(format!("`{other}` is not known")),
        }
    }
    Ok(plan)
}

/// Plays one world; true where it failed.
fn one(seed: u64) -> bool {
    let story = Story::of(seed);
    let ended = play(&story);
    let _ = writeln!(stdout(), "{story}");
    match ended.finding {
        None => {
            let _ = writeln!(
                stdout(),
                "every promise was kept: {:?}, root {:?}",
                ended.tally,
                ended.root
            );
            false
        }
        Some(finding) => {
            let _ = writeln!(
                stdout(),
                "{finding}\n\nthe shortest story that fails alike:"
            );
            let short = shrink(&story, finding.promise);
            let _ = writeln!(stdout(), "{short}");
            if let Some(finding) = play(&short).finding {
                let _ = writeln!(stdout(), "{finding}");
            }
            true
        }
    }
}

/// Plays many worlds on several threads; true where one failed.
fn many(plan: &Plan) -> bool {
    let next = AtomicU64::new(plan.from);
    let end = plan.from.saturating_add(plan.seeds);
    let failed = AtomicBool::new(false);
    let tally = Mutex::new(Tally::default());
    let failures = Mutex::new(Vec::new());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..plan.threads {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) || plan.seeds < u64::MAX {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let ended = play(&Story::of(seed));
                    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
                    tally.add(&ended.tally);
                    if tally.worlds.is_multiple_of(1_000) {
                        let _ = writeln!(stdout(), "{}", told(&tally, began));
                    }
                    drop(tally);
                    if let Some(finding) = ended.finding {
                        failed.store(true, Ordering::Relaxed);
                        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                        let _ = writeln!(stdout(), "seed {seed}: {finding}");
                        failures.push((seed, finding.promise));
                    }
                }
            });
        }
    });
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut failures = failures
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    failures.sort();
    let _ = writeln!(stdout(), "{}", told(&tally, began));
    for (kind, count) in &tally.happenings {
        let _ = writeln!(stdout(), "  {count:>9} × {kind}");
    }
    if let Some((seed, promise)) = failures.first() {
        let _ = writeln!(
            stdout(),
            "\n{} of {} worlds failed; the first is seed {seed}, shrunk:",
            failures.len(),
            tally.worlds
        );
        let short = shrink(&Story::of(*seed), *promise);
        let _ = writeln!(stdout(), "{short}");
        if let Some(finding) = play(&short).finding {
            let _ = writeln!(stdout(), "{finding}");
        }
    }
    !failures.is_empty()
}

fn told(tally: &Tally, began: Instant) -> String {
    format!(
        "{} worlds, {} rollouts, {} faults, {} decisions, {:.0} simulated hours in {:.0} s",
        tally.worlds,
        tally.rollouts,
        tally.faults,
        tally.commits,
        tally.seconds / 3_600.0,
        began.elapsed().as_secs_f64()
    )
}
