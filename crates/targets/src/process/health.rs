//! Asks an instance whether it is well: a GET, or a TCP connection.

use std::net::SocketAddr;
use std::time::Duration;

use airboss_model::manifest::Health;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest that one probe may take.
const MOST: Duration = Duration::from_secs(2);

/// One probe. Well is a status of 2xx or 3xx, or, without a path, an accepted connection.
/// Fails with what went wrong, in words.
pub(super) async fn probe(address: SocketAddr, health: &Health) -> Result<(), String> {
    let most = health.every.0.clamp(Duration::from_millis(50), MOST);
    let asked = match &health.http {
        Some(path) => format!("GET http://{address}{path}"),
        None => format!("TCP {address}"),
    };
    match timeout(most, attempt(address, health.http.as_deref())).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(why)) => Err(format!("{asked}: {why}")),
        Err(_) => Err(format!("{asked}: no answer within {} ms", most.as_millis())),
    }
}

async fn attempt(address: SocketAddr, path: Option<&str>) -> Result<(), String> {
    let mut stream = TcpStream::connect(address)
        .await
        .map_err(|error| error.to_string())?;
    let Some(path) = path else { return Ok(()) };
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: airboss-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|error| error.to_string())?;
    // The status line is enough; what follows is not read.
    let mut head = Vec::with_capacity(64);
    while head.len() < 12 {
        let mut part = [0; 64];
        match stream.read(&mut part).await {
            Ok(0) => return Err("the connection was closed without an answer".to_owned()),
            Ok(read) => head.extend_from_slice(&part[..read]),
            Err(error) => return Err(error.to_string()),
        }
    }
    let line = String::from_utf8_lossy(&head[..12]).into_owned();
    let status = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5))
        .and_then(|status| status.parse::<u16>().ok())
        .ok_or_else(|| "the answer is not HTTP/1".to_owned())?;
    match status {
        200..=399 => Ok(()),
        _ => Err(format!("status {status}")),
    }
}
