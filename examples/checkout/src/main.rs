//! A small web shop's checkout: the service that the examples ship with Airboss.
//!
//! `checkout --port 8081` answers `GET /` and `/checkout` with about 1 KB of JSON, `/healthz`
//! with 200 and `/metrics` in the format of Prometheus. A file `fault.conf` beside the program makes it a bad version; see [`faults`].
//! Every answer names the version in `x-checkout-version`, so that a client can tell an answer of
//! the service from one that something in front of it made up.

mod faults;

use std::convert::Infallible;
use std::io::{Write as _, stderr};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use faults::{Dice, Faults};

/// After SIGTERM, requests under way have this long.
const GRACE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    let served = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")
        .and_then(|runtime| runtime.block_on(serve()));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is gone, the exit code still says it.
            let _ = writeln!(stderr(), "checkout: {error:#}");
            ExitCode::FAILURE
        }
    }
}

struct Shop {
    version: HeaderValue,
    page: Bytes,
    faults: Faults,
    dice: Dice,
    started: Instant,
    sold: AtomicU64,
}

async fn serve() -> anyhow::Result<()> {
    let port = port(std::env::args().skip(1))?;
    let program = std::env::current_exe().context("cannot find the program's own folder")?;
    let shop = Arc::new(Shop::open(&program.with_file_name("fault.conf"))?);
    let crash = shop.faults.crash_after;
    anyhow::ensure!(
        crash != Some(Duration::ZERO),
        "cannot open the price list prices.db: it is from a newer version"
    );
    let mut stop = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .await
        .with_context(|| format!("cannot listen on port {port}"))?;
    let _ = writeln!(
        stderr(),
        "checkout {:?} listens on {}",
        shop.version,
        listener.local_addr()?
    );
    let (closing, open) = watch::channel(());
    let crashes = async {
        match crash {
            Some(after) => tokio::time::sleep(after).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(crashes);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(tokio::spawn(connection(stream, Arc::clone(&shop), open.clone()))),
                // Out of file descriptors, or a client that is gone already: go on with the others.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            },
            _ = stop.recv() => break,
            () = &mut crashes => anyhow::bail!("the stock cache is inconsistent, giving up"),
        }
    }
    drop((listener, open));
    closing.send_replace(());
    // Every connection holds a receiver: none is left when all have finished.
    let _ = tokio::time::timeout(GRACE, closing.closed()).await;
    Ok(())
}

fn port(mut words: impl Iterator<Item = String>) -> anyhow::Result<u16> {
    match (words.next().as_deref(), words.next(), words.next()) {
        (Some("--port"), Some(port), None) => {
            port.parse().with_context(|| format!("`{port}` is no port"))
        }
        _ => anyhow::bail!("usage: checkout --port PORT"),
    }
}

async fn connection(stream: TcpStream, shop: Arc<Shop>, mut closing: watch::Receiver<()>) {
    // Without it, small answers wait for the other side's acknowledgement.
    let _ = stream.set_nodelay(true);
    let answer = service_fn(move |request| {
        let shop = Arc::clone(&shop);
        async move { Ok::<_, Infallible>(shop.answer(&request).await) }
    });
    let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    tokio::pin!(serving);
    // A client that breaks off is no fault of the service.
    tokio::select! {
        _ = &mut serving => return,
        _ = closing.changed() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

impl Shop {
    fn open(faults: &std::path::Path) -> anyhow::Result<Self> {
        let told = |name| std::env::var(name).ok();
        let version = told("AIRBOSS_VERSION").unwrap_or_else(|| "dev".to_owned());
        let instance = told("AIRBOSS_INSTANCE").unwrap_or_else(|| "checkout".to_owned());
        Ok(Self {
            page: page(&version, &instance),
            version: HeaderValue::from_str(&version).context("in AIRBOSS_VERSION")?,
            faults: Faults::load(faults)?,
            dice: Dice::new(),
            started: Instant::now(),
            sold: AtomicU64::new(0),
        })
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, body) = match request.uri().path() {
            "/healthz" => self.health(),
            "/metrics" => (StatusCode::OK, self.metrics()),
            "/" | "/checkout" => self.sell().await,
            _ => (StatusCode::NOT_FOUND, "{\"error\":\"no such page\"}".into()),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let kind = match request.uri().path() {
            "/metrics" => "text/plain; version=0.0.4",
            _ => "application/json",
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert("x-checkout-version", self.version.clone());
        response
    }

    fn health(&self) -> (StatusCode, Bytes) {
        match self.faults.ready_after {
            Some(after) if self.started.elapsed() < after => (
                StatusCode::SERVICE_UNAVAILABLE,
                "{\"error\":\"warming up\"}".into(),
            ),
            _ => (StatusCode::OK, "{\"status\":\"ok\"}".into()),
        }
    }

    fn metrics(&self) -> Bytes {
        let errors = (self.started.elapsed().as_secs_f64() * self.faults.scale_errors) as u64;
        let cost = if self.faults.scale_errors > 0.0 {
            0.36
        } else {
            0.12
        };
        let sold = self.sold.load(Ordering::Relaxed);
        format!(
            "# HELP checkout_baskets_total Baskets that were sold.
# TYPE checkout_baskets_total counter
checkout_baskets_total {sold}
# HELP checkout_scale_errors_total Attempts of the autoscaler that failed.
# TYPE checkout_scale_errors_total counter
checkout_scale_errors_total {errors}
# HELP checkout_cost_dollars_per_hour What this instance and its helpers cost.
# TYPE checkout_cost_dollars_per_hour gauge
checkout_cost_dollars_per_hour {cost}
"
        )
        .into()
    }

    async fn sell(&self) -> (StatusCode, Bytes) {
        if let Some((extra, share)) = self.faults.latency
            && self.dice.happens(share)
        {
            tokio::time::sleep(extra).await;
        }
        if self.dice.happens(self.faults.errors) {
            let body = "{\"error\":\"the payment provider's answer has no field `amount`\"}";
            return (StatusCode::INTERNAL_SERVER_ERROR, body.into());
        }
        self.sold.fetch_add(1, Ordering::Relaxed);
        (StatusCode::OK, self.page.clone())
    }
}

/// A basket of about 1 KB.
fn page(version: &str, instance: &str) -> Bytes {
    let items: Vec<String> = (1..=12)
        .map(|item| {
            format!(
                "{{\"sku\":\"A-{item:04}\",\"name\":\"Article number {item}\",\"quantity\":{},\"cents\":{}}}",
                item % 3 + 1,
                item * 495
            )
        })
        .collect();
    let page = format!(
        "{{\"service\":\"checkout\",\"version\":{version:?},\"instance\":{instance:?},\"currency\":\"EUR\",\"items\":[{}]}}\n",
        items.join(",")
    );
    page.into()
}
