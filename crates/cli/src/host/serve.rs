//! `airboss serve`: the controller with its API.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use airboss_model::Span;
use airboss_runtime::roster::Roster;
use airboss_runtime::{Clock, Hub, Runtime};
use airboss_server::access::Limits;
use airboss_server::blobs::Blobs;
use airboss_server::retention::log::{self, LEAST};
use airboss_server::webhook::{SenderSecret, Senders};
use airboss_server::{Site, app};
use airboss_store::{
    PostgresOptions, PostgresStore, SqliteOptions, SqliteStore, Store, StoreError,
};
use anyhow::Context as _;
use tokio::net::TcpListener;

use super::folder::{DataArgs, Folder};
use super::joining;
use super::keys::{KeyFolder, Serving};
use super::signals::{Stop, die_with};
use crate::exit::{Exit, UsageError};

/// Where the server listens unless told otherwise.
pub const LISTEN: &str = "127.0.0.1:7420";

/// Time between two copies of the store.
const BACKUP_EVERY: Duration = Duration::from_secs(6 * 3600);
/// Copies kept.
const BACKUPS: usize = 4;

/// Runs the controller and its API, for agents on other hosts.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeArgs {
    /// The address to listen on
    #[arg(long, env = "AIRBOSS_LISTEN", value_name = "HOST:PORT", default_value = LISTEN)]
    pub listen: SocketAddr,
    /// Encrypt with the certificate chain in this PEM file; other hosts may then connect
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert, a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// The address that clients are told, with the certificate's name [default: where it listens]
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Listen on an address that other hosts reach, without encryption
    #[arg(long)]
    pub insecure_listen: bool,
    /// The PostgreSQL database that controllers share, as postgres://USER@HOST/NAME
    /// [default: SQLite in the data folder]
    #[arg(
        long,
        env = "AIRBOSS_DATABASE",
        value_name = "URL",
        hide_env_values = true
    )]
    pub database: Option<String>,
    /// Where artifacts are kept; controllers that share a database share this folder too
    /// [default: in the data folder]
    #[arg(long, value_name = "PATH")]
    pub artifacts: Option<PathBuf>,
    /// Where it keeps its data.
    #[command(flatten)]
    pub data: DataArgs,
    /// Where artifacts are kept, such as s3://BUCKET/PREFIX?endpoint=URL [default: the data folder]
    #[arg(
        long,
        env = "AIRBOSS_BLOBS",
        value_name = "URL",
        hide_env_values = true
    )]
    pub blobs: Option<String>,
    /// Take events that github, gitlab or others (standard) push, signed with the secret that is in env:NAME or
    /// file:PATH; may be repeated
    #[arg(
        long = "webhook",
        env = "AIRBOSS_WEBHOOKS",
        value_name = "SENDER=SECRET",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub webhooks: Vec<SenderSecret>,
    /// How long the log keeps the words of events, such as 400d; their seals stay
    /// [default: for ever; 7d is the least]
    #[arg(long, env = "AIRBOSS_KEEP_RECORD", value_name = "SPAN", value_parser = keep_record)]
    pub keep_record: Option<Span>,
    /// The process that supervises this one
    #[arg(long, hide = true, value_name = "PID")]
    pub supervisor: Option<u32>,
}

/// Runs until it is told to stop.
///
/// # Errors
/// Where it cannot start: another server in the folder, a damaged store, a taken port.
pub fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    if let Some(supervisor) = args.supervisor {
        die_with(supervisor)?;
    }
    check_listen(&args)?;
    super::logging::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let result = runtime.block_on(serve(&args));
    // Streams that readers keep open must not hold the process.
    runtime.shutdown_timeout(Duration::from_millis(500));
    result.map(|()| Exit::Done.into())
}

fn keep_record(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|why| format!("{why}"))?;
    match span.0 >= LEAST.0 {
        true => Ok(span),
        false => Err(format!(
            "{LEAST} is the least; without this option it is kept for ever"
        )),
    }
}

/// Refuses what would put an unencrypted token on a network.
pub fn check_listen(args: &ServeArgs) -> anyhow::Result<()> {
    anyhow::ensure!(
        args.listen.ip().is_loopback() || args.tls_cert.is_some() || args.insecure_listen,
        "{} can be reached from other hosts, and tokens would cross the network unencrypted\n  encrypt with --tls-cert FILE --tls-key FILE, listen on 127.0.0.1 behind a proxy that encrypts,\n  or accept this with --insecure-listen",
        args.listen
    );
    Ok(())
}

async fn serve(args: &ServeArgs) -> anyhow::Result<()> {
    let mut stop = Stop::listen()?;
    let folder = args.data.open()?;
    joining::ensure_own(&folder)?;
    let _lock = folder.lock("controller")?;
    let listener = TcpListener::bind(args.listen).await.with_context(|| {
        format!("cannot listen on {}; find who does with `ss -ltnp`, or name another address with --listen", args.listen)
    })?;
    let webhooks = Senders::new(args.webhooks.clone()).map_err(UsageError)?;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => Some(airboss_server::tls(certificate, key)?),
        _ => None,
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let listens = listener.local_addr()?;
    let url = match &args.url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => format!("{scheme}://{listens}"),
    };
    let clock = Clock::system();
    let (store, named) = open_store(&folder, args.database.as_deref(), &clock).await?;
    // The folder's lock says that nobody else is this controller: what it claimed is ours.
    let owner = match args.database {
        Some(_) => folder.controller_id()?,
        None => "local".to_owned(),
    };
    store.release_claims(&owner).await?;
    let keys = KeyFolder::of(folder.path())?;
    let log_key = folder.log_key(&keys)?;
    keys.prepare(clock.now())?;
    let keys = Arc::new(Serving::new(keys));
    let hub = Arc::new(Hub::new(uuid::Uuid::now_v7().to_string(), clock.now()));
    // Known before anybody is told what to do.
    hub.know(Roster::of(&store.agents().await?));
    let runtime =
        Runtime::start(Arc::clone(&store), hub, keys, clock.clone(), owner.clone()).await?;
    // Before anything is removed by it.
    let by = crate::identity::by(std::env::var("AIRBOSS_USER").ok().as_deref());
    log::record(&*store, &owner, args.keep_record, &by, clock.now()).await?;
    let artifacts = match &args.artifacts {
        Some(path) => path.clone(),
        None => folder.sub("artifacts")?,
    };
    let blobs = match &args.blobs {
        Some(url) => Blobs::at(url, &artifacts, &owner)?,
        None => Blobs::open(artifacts, &owner)?,
    };
    let site = Arc::new(Site {
        runtime: Arc::clone(&runtime),
        blobs,
        token: folder.token()?,
        limits: Limits::default(),
        door: airboss_server::door::Door::default(),
        webhooks,
        keep_record: args.keep_record,
        log_key,
        data_dir: folder.path().display().to_string(),
        store: named,
    });
    folder.announce(&url, listens, args.tls_cert.as_deref())?;
    tracing::info!(%url, data = %folder.path().display(), version = env!("CARGO_PKG_VERSION"), "serving");
    tokio::spawn(Arc::clone(&runtime).keep_agents());
    tokio::spawn(airboss_server::retention::daily(Arc::clone(&site)));
    let (told, draining) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        stop.told().await;
        // The receiver lives as long as the server.
        let _ = told.send(());
    });
    let serving = axum_serve(listener, tls, site, draining);
    serving.await.context("the server stopped")?;
    tracing::info!("stopping");
    runtime.stop().await?;
    store.close().await;
    Ok(())
}

/// The store, and what people call it. A file is copied now and then; a PostgreSQL database has
/// means of its own for that.
async fn open_store(
    folder: &Folder,
    database: Option<&str>,
    clock: &Clock,
) -> anyhow::Result<(Arc<dyn Store>, String)> {
    if let Some(url) = database {
        let store = PostgresStore::open(url, PostgresOptions::default()).await?;
        let named = store.name().to_owned();
        return Ok((Arc::new(store), named));
    }
    let path = folder.path().join("airboss.db");
    let sqlite = Arc::new(SqliteStore::open(&path, SqliteOptions::default()).await?);
    tokio::spawn(back_up(Arc::clone(&sqlite), clock.clone()));
    Ok((sqlite, format!("SQLite {}", path.display())))
}

/// Serves until told to stop, then lets requests under way finish, for a moment.
async fn axum_serve(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    site: Arc<Site>,
    stop: tokio::sync::oneshot::Receiver<()>,
) -> std::io::Result<()> {
    let (closing, mut closed) = tokio::sync::watch::channel(false);
    let graceful = async move {
        // A dropped sender means the same: stop.
        let _ = stop.await;
        closing.send_replace(true);
    };
    let serving = airboss_server::listen(listener, tls, app(site), graceful);
    let patience = async move {
        // Streams to readers never end by themselves.
        let _ = closed.wait_for(|closing| *closing).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    };
    tokio::select! {
        result = serving => result,
        () = patience => Ok(()),
    }
}

async fn back_up(store: Arc<SqliteStore>, clock: Clock) {
    loop {
        if let Err(error) = back_up_once(&store, &clock).await {
            tracing::error!(%error, "the store was not copied; the copies before it are untouched");
        }
        tokio::time::sleep(BACKUP_EVERY).await;
    }
}

async fn back_up_once(store: &SqliteStore, clock: &Clock) -> Result<(), StoreError> {
    // A store in which nothing happened has nothing to lose.
    if store.last_event().await? > 0 {
        store.back_up(clock.now(), BACKUPS).await?;
    }
    Ok(())
}
