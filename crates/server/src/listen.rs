//! Connections: taken, decrypted where a certificate is given, served, and let finish.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// Connections open at once; further ones wait in the system's queue.
pub const CONNECTIONS_MAX: usize = 4_096;
/// How long a connection may take over a request's head, the wait for it included.
const HEAD_WITHIN: Duration = Duration::from_secs(60);
/// How long the exchange of keys may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// The pause after the system refused a connection, such as for want of open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file holds no certificate or no key.
    #[error("{file} holds no {what} in PEM form: {why}")]
    Unreadable {
        /// The file.
        file: String,
        /// `certificate` or `private key`.
        what: &'static str,
        /// What stands in the way.
        why: String,
    },
    /// Certificate and key are no pair, or of a kind that is not supported.
    #[error("certificate and key cannot be used together: {0}")]
    Pair(#[from] rustls::Error),
}

/// How connections are decrypted: TLS 1.2 and 1.3, with the certificate chain and the private key
/// in two PEM files.
///
/// # Errors
/// Where a file cannot be read, or the two do not fit.
pub fn tls(certificate: &Path, key: &Path) -> Result<Arc<rustls::ServerConfig>, TlsError> {
    let unreadable = |file: &Path, what: &'static str, why: String| TlsError::Unreadable {
        file: file.display().to_string(),
        what,
        why,
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable(certificate, "certificate", error.to_string()))?;
    if chain.is_empty() {
        let why = "it has no CERTIFICATE section".to_owned();
        return Err(unreadable(certificate, "certificate", why));
    }
    let secret = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| unreadable(key, "private key", error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, secret)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Serves until `stop` resolves and the requests under way are answered.
///
/// # Errors
/// None today; a connection that fails ends alone.
pub async fn listen(
    listener: TcpListener,
    tls: Option<Arc<rustls::ServerConfig>>,
    app: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let tls = tls.map(TlsAcceptor::from);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stop = std::pin::pin!(stop);
    loop {
        let taken = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = &mut stop => break,
            taken = taken => taken,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection was not taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Small answers are not worth waiting for; without it they are slower, not wrong.
        let _ = stream.set_nodelay(true);
        let (tls, app, watcher) = (tls.clone(), app.clone(), graceful.watcher());
        tokio::spawn(async move {
            match tls {
                None => serve(stream, app, watcher).await,
                Some(tls) => {
                    match tokio::time::timeout(HANDSHAKE_WITHIN, tls.accept(stream)).await {
                        Ok(Ok(stream)) => serve(stream, app, watcher).await,
                        Ok(Err(error)) => tracing::debug!(%error, "no keys were agreed on"),
                        Err(_) => tracing::debug!("no keys were agreed on in time"),
                    }
                }
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
    Ok(())
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    app: Router,
    watcher: Watcher,
) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD_WITHIN);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    if let Err(error) = watcher.watch(connection.into_owned()).await {
        tracing::debug!(%error, "a connection ended early");
    }
}
