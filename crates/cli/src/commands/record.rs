//! `airboss record`: live traffic into a file that `airboss judge` reads.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::{Context, subject};
use crate::args::RecordArgs;
use crate::exit::{Exit, UsageError};

/// A line each second is the rule; silence this long means that the service has no traffic, or
/// that the agent is silent, which is worth a word.
const QUIET: Duration = Duration::from_secs(10);

/// Records until the time is up, Ctrl-C, or the server goes away.
///
/// # Errors
/// Where the server cannot be asked or goes away, or the file cannot be written.
pub async fn run(args: RecordArgs, context: &mut Context) -> anyhow::Result<Exit> {
    let client = context.client()?;
    let lane = subject::lane(&client, &args.service, args.environment.as_deref()).await?;
    let mut stream = client.record(&lane.service, &lane.environment).await?;
    let mut lines = Lines::to(args.output.as_deref(), context)?;
    let end = args.r#for.map(|span| Instant::now() + span.0);
    let mut told = false;
    loop {
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => break,
            () = sleep_until(end) => break,
            part = stream.next() => match part {
                Some(part) => {
                    lines.write(&part?)?;
                    told = false;
                }
                None => {
                    lines.end(args.output.as_deref())?;
                    anyhow::bail!("the server ended the recording; what came before is kept");
                }
            },
            () = tokio::time::sleep(QUIET), if !told => {
                told = true;
                say(&format!("no requests of {}/{} for {QUIET:?}", lane.service, lane.environment))?;
            }
        }
    }
    lines.end(args.output.as_deref())?;
    Ok(Exit::Done)
}

async fn sleep_until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

fn say(text: &str) -> io::Result<()> {
    writeln!(io::stderr(), "airboss: {text}")
}

/// Whole lines into a file or to standard output: a recording that is cut off is still one.
struct Lines<'a> {
    out: Box<dyn Write + 'a>,
    part: Vec<u8>,
    count: u64,
}

impl<'a> Lines<'a> {
    fn to(file: Option<&Path>, context: &'a mut Context) -> anyhow::Result<Self> {
        let out: Box<dyn Write + 'a> = match file {
            None => Box::new(&mut context.console),
            Some(path) => {
                // An earlier recording cannot be made again, so it is never written over.
                let file = OpenOptions::new().write(true).create_new(true).open(path);
                Box::new(BufWriter::new(file.with_context(|| {
                    UsageError(format!("cannot make the recording {}", path.display()))
                })?))
            }
        };
        Ok(Self {
            out,
            part: Vec::new(),
            count: 0,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.part.extend_from_slice(bytes);
        if let Some(end) = self.part.iter().rposition(|byte| *byte == b'\n') {
            let whole: Vec<u8> = self.part.drain(..=end).collect();
            self.count += whole.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.out.write_all(&whole)?;
            self.out.flush()?;
        }
        Ok(())
    }

    fn end(mut self, file: Option<&Path>) -> io::Result<()> {
        self.out.flush()?;
        match file {
            Some(path) => {
                let rows = self.count.saturating_sub(1);
                say(&format!(
                    "{rows} rows in {0}; judge them: airboss judge {0}",
                    path.display()
                ))
            }
            None => Ok(()),
        }
    }
}
