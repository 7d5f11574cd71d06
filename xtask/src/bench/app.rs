//! The service under measurement: small, fast, and able to go wrong at a known instant.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The header that tells an instance's own answers from the splitter's.
pub const VERSION_HEADER: &str = "x-bench-version";
/// Bytes of an answer's body.
pub const BODY: usize = 1024;
/// Bytes of a request that are read; a longer one ends the connection.
const HEAD_MAX: usize = 16 << 10;

struct App {
    ok: Vec<u8>,
    failed: Vec<u8>,
    fault: Option<PathBuf>,
    /// Seed and number of the answers so far, for chance.
    seed: u64,
    answers: std::cell::Cell<u64>,
}

/// Serves until it is killed. `--port N`, `--version V`, and with `--faults FOLDER` the file
/// `FOLDER/V` holds how many of 10,000 requests fail, read anew for each.
///
/// # Errors
/// Where an argument is missing or the port is taken.
pub fn run(arguments: &[String]) -> anyhow::Result<String> {
    let value = |name: &str| {
        let at = arguments.iter().position(|word| word == name)?;
        arguments.get(at + 1).cloned()
    };
    let port: u16 = value("--port").context("--port is missing")?.parse()?;
    let version = value("--version").context("--version is missing")?;
    let app = Rc::new(App {
        ok: answer("200 OK", &version),
        failed: answer("500 Internal Server Error", &version),
        fault: value("--faults").map(|folder| Path::new(&folder).join(&version)),
        seed: RandomState::new().build_hasher().finish(),
        answers: std::cell::Cell::new(0),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(app, port))
}

fn answer(status: &str, version: &str) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {BODY}\r\n{VERSION_HEADER}: {version}\r\n\r\n"
    )
    .into_bytes();
    bytes.resize(bytes.len() + BODY, b'x');
    bytes
}

async fn serve(app: Rc<App>, port: u16) -> anyhow::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let app = Rc::clone(&app);
        // A connection that breaks is its client's affair.
        tokio::task::spawn_local(async move { converse(&app, stream).await });
    }
}

async fn converse(app: &App, mut stream: TcpStream) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::with_capacity(2048);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
        if head.len() > HEAD_MAX {
            bail!("a request's head is too long");
        }
        // Requests here have no body and come one at a time.
        if head.ends_with(b"\r\n\r\n") {
            let healthz = head.starts_with(b"GET /healthz ");
            let fails = !healthz && app.fails();
            stream
                .write_all(if fails { &app.failed } else { &app.ok })
                .await?;
            head.clear();
        }
    }
}

impl App {
    fn fails(&self) -> bool {
        let Some(fault) = &self.fault else {
            return false;
        };
        let per_10_000: u64 = std::fs::read_to_string(fault)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        let number = self.answers.get() + 1;
        self.answers.set(number);
        scrambled(self.seed.wrapping_add(number)) % 10_000 < per_10_000
    }
}

/// SplitMix64's output function (Steele, Lea, Flood 2014): neighbours in, chance out.
fn scrambled(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
