//! A splitter on a given address before given instances, for measurements with `wrk`.
//!
//! `cargo run --release -p airboss-proxy --example bench_peer -- LISTEN WEIGHT STABLE [CANARY]`
//! with `STABLE` and `CANARY` as `HOST:PORT[,HOST:PORT…]` and `WEIGHT` as `10%`. It runs until
//! its standard input ends, then says what it counted. `docs/decisions/003-…` has the rest of
//! the set-up.

use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use airboss_model::ArmId;
use airboss_proxy::{Arm, Instance, Options, RoutingTable, Splitter};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[allow(clippy::print_stderr, reason = "a program for the terminal")]
            {
                eprintln!("{error}\nusage: bench_peer LISTEN WEIGHT STABLE [CANARY]");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let [listen, weight, sides @ ..] = arguments else {
        return Err("too few arguments".into());
    };
    let mut arms = Vec::new();
    for (number, addresses) in sides.iter().enumerate() {
        let id: ArmId = format!("bench-{}", number + 1).parse()?;
        let instances = addresses
            .split(',')
            .enumerate()
            .map(|(n, address)| {
                Ok(Instance {
                    name: format!("{id}.{n}"),
                    address: address.parse()?,
                    ready: true,
                })
            })
            .collect::<Result<_, std::net::AddrParseError>>()?;
        arms.push(Arm { id, instances });
    }
    let splitter = Splitter::bind(listen, Options::default())?;
    splitter.apply(RoutingTable {
        generation: 1,
        stable: arms.first().map(|arm| arm.id.clone()),
        canary: arms.get(1).map(|arm| arm.id.clone()),
        canary_weight: weight.parse()?,
        arms,
        ..RoutingTable::default()
    })?;
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = ended.send(());
    });
    let mut requests = std::collections::BTreeMap::<String, (u64, u64)>::new();
    loop {
        // As the agent does: the counts are taken four times a second.
        let last = end.recv_timeout(Duration::from_millis(250)).is_ok();
        for counted in splitter.take_counts().instances {
            let sum = requests.entry(counted.instance).or_default();
            sum.0 += counted.counts.requests;
            sum.1 += counted.counts.unanswered + counted.retried;
        }
        if last {
            break;
        }
    }
    #[allow(clippy::print_stdout, reason = "a program for the terminal")]
    for (instance, (requests, failures)) in requests {
        println!("{instance}: {requests} requests, {failures} failed attempts");
    }
    Ok(())
}
