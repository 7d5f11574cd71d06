//! `make demo`: the product at work on live processes, and what that took, measured from outside.

mod figures;
mod stage;

use std::io::{IsTerminal as _, Write as _, stdout};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::signal;
use xtask::load::Load;
use xtask::versions::{ERRORS, FIRST, GOOD, SLOW, Version, pack};

use figures::{Figures, Taken};
use stage::Stage;

const MANIFEST: &str = include_str!("airboss.yaml");
/// Requests a second. Two small cores carry it with room to spare.
const RATE: u32 = 1_500;
/// The manifest's promise on latency.
const SLOW_ANSWER: Duration = Duration::from_millis(250);
/// Exit codes of `airboss ship --watch`.
const SHIPPED: i32 = 0;
const ROLLED_BACK: i32 = 3;

/// Plays; the text is the closing words.
///
/// # Errors
/// Where something does not go as promised.
pub fn run(root: &Path) -> anyhow::Result<String> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(async {
            let mut stage = Stage::set(root).await?;
            let played = tokio::select! {
                played = play(&mut stage) => played,
                _ = signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            };
            // Whatever happened, nothing keeps running.
            let cleared = stage.clear().await;
            let figures = match played {
                Ok(figures) => figures,
                Err(error) => bail!("the demo did not go as promised: {error:#}{}", stage.keep()),
            };
            cleared?;
            say(&figures.table());
            figures.check()?;
            Ok(CLOSING.to_owned())
        })
}

const CLOSING: &str = "\
To look further, with a service of your own:
  airboss up                  server and agent on this machine, in another terminal
  airboss init                writes a commented airboss.yaml for the folder you are in
  airboss ship ./dist --version 1.0.0 --watch
  airboss explain             why the newest rollout went as it did, with --full for the numbers
  airboss history             every rollout; airboss watch follows one, airboss logs shows its lines
The same service to play with: examples/checkout/airboss.yaml";

async fn play(stage: &mut Stage) -> anyhow::Result<Figures> {
    say(&format!(
        "Airboss serves the example at http://{}; its data is in {}\n",
        stage.listen,
        stage.folder().display()
    ));
    chapter(
        FIRST,
        "the first version: there is nothing to compare it with yet",
    );
    let (shipped, load) = tokio::join!(ship(stage, FIRST, SHIPPED), begin(stage.listen));
    shipped?;
    let load = load?;
    say(&format!(
        "\n{RATE} users a second visit from now on, each of them new."
    ));

    chapter(
        GOOD,
        "a good version: walks its steps as its proof comes in",
    );
    ship(stage, GOOD, SHIPPED).await?;
    chapter(ERRORS, "a bad version: 3 % of its answers are errors");
    ship(stage, ERRORS, ROLLED_BACK).await?;
    chapter(SLOW, "another: a fifth of its answers come 400 ms late");
    ship(stage, SLOW, ROLLED_BACK).await?;

    let stable = stage.stable().await?;
    anyhow::ensure!(
        stable == GOOD.number,
        "{stable} serves users at the end instead of {}",
        GOOD.number
    );
    let record = load.stop().await;
    let mut taken = Vec::new();
    for (version, rollout) in [(ERRORS, "checkout-3"), (SLOW, "checkout-4")] {
        let events = stage.events(rollout).await?;
        taken.push(Taken::measure(
            version.number,
            &events,
            &record,
            SLOW_ANSWER,
        )?);
    }
    Ok(Figures { taken, record })
}

/// Waits until the service answers, then lets users in.
async fn begin(listen: SocketAddr) -> anyhow::Result<Load> {
    let answers = async {
        // An address without a version behind it answers too, with 503.
        while !is_served(listen).await.unwrap_or(false) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), answers)
        .await
        .with_context(|| format!("nobody listens on {listen} after 20 s"))?;
    Ok(Load::start(listen, "/checkout", RATE))
}

async fn ship(stage: &Stage, version: Version, promised: i32) -> anyhow::Result<()> {
    let artifact = pack(&stage.checkout, version, &stage.folder().join("versions"))?;
    let code = stage
        .airboss()
        .arg("ship")
        .arg(&artifact)
        .args(["--version", version.number, "--watch", "--timeout", "4m"])
        .status()
        .await?
        .code();
    anyhow::ensure!(
        code == Some(promised),
        "shipping {} ended with exit code {code:?} instead of {promised}",
        version.number
    );
    Ok(())
}

fn chapter(version: Version, what: &str) {
    let (on, off) = if stdout().is_terminal() {
        ("\x1b[1m", "\x1b[0m")
    } else {
        ("", "")
    };
    say(&format!("\n{on}── {}: {what}{off}", version.number));
}

fn say(text: &str) {
    // Where nobody reads, the exit code says how it went.
    let _ = writeln!(stdout(), "{text}");
}

/// Whether the service behind the address answers for itself.
async fn is_served(listen: SocketAddr) -> std::io::Result<bool> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(listen).await?;
    let request = format!("GET /healthz HTTP/1.1\r\nhost: {listen}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}
