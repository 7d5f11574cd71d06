//! How fast it starts, how much memory it takes, how large it is.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

use super::page::{Figures, Table, mark, number};
use super::stage::{Shape, Stage, Up};
use super::{Ground, say};

pub fn measure(ground: &Ground<'_>) -> anyhow::Result<String> {
    let starts = ground.runs(20, 2);
    let mut fresh = Vec::new();
    for _ in 0..starts {
        let folder = tempfile::Builder::new()
            .prefix("airboss-bench-")
            .tempdir()?;
        let up = Up::start(&ground.airboss, folder.path())?;
        fresh.push(millis(up.ready_after));
        up.stop()?;
    }
    let mut stage = Stage::set(
        &ground.airboss,
        &Shape {
            instances: 1,
            steps: "100%".to_owned(),
            bake: "auto",
            hold_old: "1ms",
        },
    )?;
    stage.first()?;
    let idle = Duration::from_secs(ground.runs(60, 3) as u64);
    say(&format!("idle for {idle:?}"));
    std::thread::sleep(idle);
    let memory = processes(stage.up.pid())?;
    let mut used = Vec::new();
    for _ in 0..starts {
        used.push(millis(stage.restart(&ground.airboss)?));
    }
    stage.clear()?;

    let binary = fs::metadata(&ground.airboss)?.len() as f64 / 1e6;
    let (fresh, used) = (Figures::of(fresh), Figures::of(used));
    let mut table = Table::new();
    let target = "< 200 ms";
    let reached = |figures: &Figures| Some(figures.worst() < 200.0);
    table.row(
        "start to ready, new folder",
        target,
        reached(&fresh),
        &fresh,
        "ms",
    );
    table.row(
        "start to ready, folder with a service",
        target,
        reached(&used),
        &used,
        "ms",
    );
    let pss: f64 = memory.iter().map(|process| process.pss).sum();
    let rss: f64 = memory.iter().map(|process| process.rss).sum();
    let parts: Vec<String> = memory
        .iter()
        .map(|process| format!("{} {}", process.verb, number(process.pss)))
        .collect();
    Ok(format!(
        "{}\n\
         | figure | target | reached | value |\n|---|---|---|---|\n\
         | idle memory of `airboss up`, server and agent (PSS) | < 60 MB | {} | {} MB ({}) |\n\
         | the same as RSS, which counts shared pages thrice | < 60 MB | {} | {} MB |\n\
         | binary | < 60 MB | {} | {} MB |\n\n\
         Ready is the line `airboss … is up`: the server answers and the agent was started; measured from the start of the \
         process. Memory after {} s with one service and no traffic, without the service's own; MB are 10⁶ bytes.",
        table.finish(),
        mark(Some(pss < 60.0)),
        number(pss),
        parts.join(" + "),
        mark(Some(rss < 60.0)),
        number(rss),
        mark(Some(binary < 60.0)),
        number(binary),
        idle.as_secs(),
    ))
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}

struct Process {
    verb: String,
    pss: f64,
    rss: f64,
}

/// `airboss up` and those of its children that are `airboss` too, in MB.
fn processes(up: u32) -> anyhow::Result<Vec<Process>> {
    let mut found = vec![read(up)?];
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // Processes come and go while the list is read.
        let Ok(status) = fs::read_to_string(entry.path().join("status")) else {
            continue;
        };
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
        if parent.is_some_and(|parent| parent.trim() == up.to_string()) {
            found.push(read(pid)?);
        }
    }
    anyhow::ensure!(
        found.len() == 3,
        "{} processes of Airboss, not 3",
        found.len()
    );
    Ok(found)
}

fn read(pid: u32) -> anyhow::Result<Process> {
    let words = fs::read(format!("/proc/{pid}/cmdline"))?;
    let verb = words.split(|byte| *byte == 0).nth(1).unwrap_or_default();
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
        .with_context(|| format!("cannot read the memory of process {pid}"))?;
    let field = |name: &str| -> anyhow::Result<f64> {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next());
        let kib: f64 = kib
            .with_context(|| format!("no {name} of {pid}"))?
            .parse()?;
        Ok(kib * 1024.0 / 1e6)
    };
    Ok(Process {
        verb: String::from_utf8_lossy(verb).into_owned(),
        pss: field("Pss:")?,
        rss: field("Rss:")?,
    })
}
