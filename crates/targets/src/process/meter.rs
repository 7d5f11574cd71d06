//! Reads an instance's own page of metrics every second.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use airboss_model::metrics::{self, Reading, Seen, Series};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Time between two readings.
const EVERY: Duration = Duration::from_secs(1);
/// A page that takes longer is not read.
const WITHIN: Duration = Duration::from_millis(900);
/// Readings that fail in a row before it is said: a page may be late now and then.
const FAILURES: u32 = 3;
/// Largest page that is read.
const PAGE_BYTES_MAX: usize = 4 << 20;

/// What is read, and where.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Source {
    pub address: SocketAddr,
    pub path: String,
    pub series: Vec<Series>,
}

#[derive(Debug, Default)]
struct Told {
    readings: BTreeMap<String, Reading>,
    /// What went wrong, and how often in a row.
    problem: Option<(String, u32)>,
}

impl Told {
    fn failed(&mut self, why: String) {
        let before = self.problem.take().map_or(0, |(_, times)| times);
        self.problem = Some((why, before.saturating_add(1)));
    }
}

/// Reads one instance until it is dropped.
pub(super) struct Meter {
    pub source: Source,
    told: Arc<Mutex<Told>>,
    task: AbortHandle,
}

impl Meter {
    /// Starts to read. The first reading of a counter tells nothing yet.
    pub fn start(source: Source, client: reqwest::Client) -> Self {
        let told = Arc::new(Mutex::new(Told::default()));
        let watch = watch(source.clone(), client, Arc::clone(&told));
        Self {
            source,
            told,
            task: tokio::spawn(watch).abort_handle(),
        }
    }

    /// What was read since the last call.
    pub fn take(&self) -> BTreeMap<String, Reading> {
        std::mem::take(&mut lock(&self.told).readings)
    }

    /// Why something is not read, if so.
    pub fn problem(&self) -> Option<String> {
        let told = lock(&self.told);
        let lasting = told
            .problem
            .as_ref()
            .filter(|(_, times)| *times >= FAILURES);
        lasting.map(|(why, _)| why.clone())
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A client for pages on this host: no proxy, no way elsewhere.
pub(super) fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(WITHIN)
        .build()
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    // Plain additions: sound after a panic elsewhere.
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn watch(source: Source, client: reqwest::Client, told: Arc<Mutex<Told>>) {
    let url = format!("http://{}{}", source.address, source.path);
    let mut before: BTreeMap<String, (f64, Instant)> = BTreeMap::new();
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let page = match page(&client, &url).await {
            Ok(page) => page,
            Err(why) => {
                lock(&told).failed(format!("GET {url}: {why}"));
                continue;
            }
        };
        let now = Instant::now();
        let mut missing = Vec::new();
        let mut told = lock(&told);
        for (series, seen) in source
            .series
            .iter()
            .zip(metrics::read(&page, &source.series))
        {
            let name = series.to_string();
            let (value, is_level) = match seen {
                Seen::Value(value) => (value, true),
                // A counter of what did not happen yet; no level.
                Seen::Declared => (0.0, false),
                Seen::Nothing => {
                    missing.push(name);
                    continue;
                }
            };
            let last = before.insert(name.clone(), (value, now));
            let last = last.map(|(value, at)| {
                let ago = now.duration_since(at).as_millis();
                (value, u64::try_from(ago).unwrap_or(u64::MAX))
            });
            let mut reading = Reading::of(value, last);
            reading.readings = u32::from(is_level);
            told.readings.entry(name).or_default().add(&reading);
        }
        if missing.is_empty() {
            told.problem = None;
        } else {
            told.failed(format!("GET {url}: no number for {}", missing.join(", ")));
        }
    }
}

async fn page(client: &reqwest::Client, url: &str) -> Result<String, String> {
    let wrong = |error: reqwest::Error| match error.is_timeout() {
        true => format!("no answer within {} ms", WITHIN.as_millis()),
        false => root(&error),
    };
    let mut answer = client.get(url).send().await.map_err(wrong)?;
    if !answer.status().is_success() {
        return Err(format!("status {}", answer.status().as_u16()));
    }
    let mut page = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(wrong)? {
        page.extend_from_slice(&part);
        if page.len() > PAGE_BYTES_MAX {
            return Err(format!("the page is larger than {PAGE_BYTES_MAX} bytes"));
        }
    }
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// The innermost cause: the ones around it say only that a request failed.
fn root(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => root(source),
        None => error.to_string(),
    }
}
