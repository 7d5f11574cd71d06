//! `airboss up`: server and agent on this machine, each a process of its own, kept alive.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::agent::OnStop;
use super::folder::Folder;
use super::joining;
use super::serve::{ServeArgs, check_listen};
use super::signals::Stop;
use crate::exit::Exit;

/// How long a server may take from its start to its first answer.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// How long server and agent may take to stop; services' drains are theirs on top.
const STOP_WITHIN: Duration = Duration::from_secs(60);
/// A log file above this is moved aside at the start.
const LOG_MAX: u64 = 20 << 20;

/// Runs server and agent on this machine.
#[derive(Debug, Clone, clap::Args)]
pub struct UpArgs {
    /// As with `serve`.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// Leave services running when this is stopped; the next `airboss up` takes them over
    #[arg(long)]
    pub leave_running: bool,
}

/// Runs until it is told to stop.
///
/// # Errors
/// Where one of the two cannot start: another `airboss up` in the folder, a taken port, a
/// damaged store.
pub fn run(args: UpArgs) -> anyhow::Result<ExitCode> {
    check_listen(&args.serve)?;
    // One thread: the system watches the thread that starts a process, not the process.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(up(args)).map(|()| Exit::Done.into())
}

async fn up(args: UpArgs) -> anyhow::Result<()> {
    let mut stop = Stop::listen()?;
    let folder = args.serve.data.open()?;
    let _lock = folder.lock("up")?;
    joining::ensure_own(&folder)?;
    folder.token()?;
    let logs = folder.sub("logs")?;
    let began = Instant::now();

    let mut serve = Part::new("serve", &logs)?;
    hand_on(&args.serve, &mut serve);
    let mut agent = Part::new("agent", &logs)?;
    let on_stop = if args.leave_running {
        OnStop::Leave
    } else {
        OnStop::Stop
    };
    agent.args([
        "--on-stop",
        if on_stop == OnStop::Stop {
            "stop"
        } else {
            "leave"
        },
    ]);
    for part in [&mut serve, &mut agent] {
        part.args(["--data-dir"]).arg(folder.path());
    }

    serve.start()?;
    let (url, listens) = tokio::select! {
        ready = ready(&folder, serve.pid()) => ready?,
        status = serve.ended() => bail!("{}", serve.obituary(status)),
        () = stop.told() => return stop_parts(&mut agent, &mut serve).await,
    };
    if let [_, listen, ..] = serve.args.as_mut_slice() {
        // Port 0 became a port: after its death the server must come back where the agent looks.
        *listen = listens.to_string().into();
    }
    agent.args(["--controller", &url]);
    agent.start()?;
    banner(&url, &folder, began.elapsed());

    loop {
        tokio::select! {
            () = stop.told() => break,
            status = serve.ended() => serve.start_again(status).await?,
            status = agent.ended() => agent.start_again(status).await?,
        }
    }
    say(if args.leave_running {
        "stopping; services go on"
    } else {
        "stopping; services finish their requests first (Ctrl-C again to hurry)"
    });
    tokio::select! {
        result = stop_parts(&mut agent, &mut serve) => result,
        () = stop.told() => {
            // Processes end with their supervisor; services that still run are taken over next time.
            say("stopped in a hurry");
            Ok(())
        }
    }
}

/// Every flag of `serve` that was given, `--listen` first. The fields are named one by one so that
/// none that comes later is forgotten.
fn hand_on(args: &ServeArgs, serve: &mut Part) {
    let ServeArgs {
        listen,
        tls_cert,
        tls_key,
        url,
        insecure_listen,
        database,
        artifacts,
        // Both are the supervisor's to say.
        data: _,
        supervisor: _,
        blobs,
        webhooks,
        keep_record,
    } = args;
    serve.args(["--listen", &listen.to_string()]);
    if *insecure_listen {
        serve.args(["--insecure-listen"]);
    }
    for (flag, path) in [
        ("--tls-cert", tls_cert),
        ("--tls-key", tls_key),
        ("--artifacts", artifacts),
    ] {
        if let Some(path) = path {
            serve.args([flag]).arg(path);
        }
    }
    for (flag, text) in [("--url", url), ("--blobs", blobs)] {
        if let Some(text) = text {
            serve.args([flag, text]);
        }
    }
    for webhook in webhooks {
        serve.args(["--webhook", &webhook.to_string()]);
    }
    if let Some(keep) = keep_record {
        serve.args(["--keep-record", &keep.to_string()]);
    }
    // It may hold a password, which a list of processes would show.
    serve.database.clone_from(database);
}

async fn stop_parts(agent: &mut Part, serve: &mut Part) -> anyhow::Result<()> {
    agent.stop().await;
    serve.stop().await;
    Ok(())
}

/// The server's address for clients and where it listens, once it answers.
async fn ready(folder: &Folder, pid: Option<u32>) -> anyhow::Result<(String, SocketAddr)> {
    let answers = async {
        loop {
            if let Some(server) = folder.announced().filter(|server| server.pid == pid)
                && let Some(listens) = server.listen
                && tokio::net::TcpStream::connect(listens).await.is_ok()
            {
                return (server.url, listens);
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(READY_WITHIN, answers).await.with_context(|| {
        format!(
            "the server does not answer after {READY_WITHIN:?}; its log is {}",
            folder.path().join("logs/serve.log").display()
        )
    })
}

fn banner(url: &str, folder: &Folder, took: Duration) {
    say(&format!(
        "airboss {} is up after {} ms\n  api    {url}\n  data   {}\n  logs   {}\n  next   airboss init, then airboss ship PATH --version 1.0.0 --watch",
        env!("CARGO_PKG_VERSION"),
        took.as_millis(),
        folder.path().display(),
        folder.path().join("logs").display()
    ));
}

fn say(text: &str) {
    // Where nobody reads, the logs have it all.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// One of the two processes.
struct Part {
    verb: &'static str,
    args: Vec<std::ffi::OsString>,
    log: PathBuf,
    database: Option<String>,
    log_from: u64,
    child: Option<Child>,
    started: Instant,
    deaths: u32,
}

impl Part {
    fn new(verb: &'static str, logs: &Path) -> anyhow::Result<Self> {
        let log = logs.join(format!("{verb}.log"));
        if std::fs::metadata(&log).is_ok_and(|meta| meta.len() > LOG_MAX) {
            std::fs::rename(&log, log.with_extension("log.1"))
                .with_context(|| format!("cannot move {} aside", log.display()))?;
        }
        Ok(Self {
            verb,
            args: Vec::new(),
            log,
            log_from: 0,
            database: None,
            child: None,
            started: Instant::now(),
            deaths: 0,
        })
    }

    fn args<const N: usize>(&mut self, args: [&str; N]) -> &mut Self {
        self.args.extend(args.map(Into::into));
        self
    }

    fn arg(&mut self, arg: &Path) {
        self.args.push(arg.into());
    }

    fn start(&mut self) -> anyhow::Result<()> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot write {}", self.log.display()))?;
        self.log_from = log.metadata().map_or(0, |meta| meta.len());
        // The running program's file may have been replaced by an upgrade: the new one serves.
        let program = std::env::current_exe().context("this program's file cannot be told")?;
        let program = match program
            .to_str()
            .and_then(|path| path.strip_suffix(" (deleted)"))
        {
            Some(replaced) => PathBuf::from(replaced),
            None => program,
        };
        let child = Command::new(&program)
            .arg(self.verb)
            .args(&self.args)
            .args(["--supervisor", &std::process::id().to_string()])
            .envs(self.database.iter().map(|url| ("AIRBOSS_DATABASE", url)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C is for the supervisor, which stops the others in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {} {}", program.display(), self.verb))?;
        self.child = Some(child);
        self.started = Instant::now();
        Ok(())
    }

    fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Resolves when the process has ended.
    async fn ended(&mut self) -> Option<ExitStatus> {
        match &mut self.child {
            Some(child) => child.wait().await.ok(),
            None => std::future::pending().await,
        }
    }

    /// Starts it again, at once after a good run, later and later where it dies at every start.
    async fn start_again(&mut self, status: Option<ExitStatus>) -> anyhow::Result<()> {
        self.deaths = if self.started.elapsed() > Duration::from_secs(10) {
            0
        } else {
            self.deaths + 1
        };
        let how = describe(status);
        let wait = Duration::from_millis(50 << self.deaths.min(7));
        say(&format!(
            "{} ended ({how}) and is started again; its log is {}",
            self.verb,
            self.log.display()
        ));
        if self.deaths > 3 {
            say(&self.obituary(status));
        }
        sleep(wait).await;
        self.start()
    }

    async fn stop(&mut self) {
        let Some(child) = &mut self.child else { return };
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid
            // It may have ended by itself this instant.
            && kill_process(pid, Signal::TERM).is_ok()
            && timeout(STOP_WITHIN, child.wait()).await.is_err()
        {
            say(&format!(
                "{} does not stop after {STOP_WITHIN:?} and is ended",
                self.verb
            ));
            // As above.
            let _ = child.kill().await;
        }
        self.child = None;
    }

    /// How it ended and what it said last.
    fn obituary(&self, status: Option<ExitStatus>) -> String {
        let said = tail(&self.log, self.log_from).unwrap_or_default();
        let said = said.trim();
        if said.is_empty() {
            format!("`airboss {}` ended: {}", self.verb, describe(status))
        } else {
            said.trim_start_matches("airboss: ").to_owned()
        }
    }
}

fn describe(status: Option<ExitStatus>) -> String {
    status.map_or_else(
        || "its end was not seen".to_owned(),
        |status| status.to_string(),
    )
}

/// What a file holds from `from` on, its last 4 KiB at the most, without log lines.
fn tail(path: &Path, from: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(from.max(end.saturating_sub(4096))))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text
        .lines()
        .filter(|line| !line.starts_with('{'))
        .collect::<Vec<_>>()
        .join("\n"))
}
