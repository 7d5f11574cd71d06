//! A client of few words.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Status and whole text of the answer to a GET, on a connection of its own.
pub async fn get(address: SocketAddr, path: &str) -> std::io::Result<(u16, String)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    raw(address, request.as_bytes()).await
}

/// Status and whole text of what comes back for these bytes.
pub async fn raw(address: SocketAddr, request: &[u8]) -> std::io::Result<(u16, String)> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        // A refusal may come, and the connection close, before all was sent.
        let sent = stream.write_all(request).await;
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer).await {
            Err(error) if answer.is_empty() => return Err(error),
            _ => {}
        }
        if answer.is_empty() {
            sent?;
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status = text
            .split(' ')
            .nth(1)
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| std::io::Error::other(format!("no answer: {text:?}")))?;
        Ok((status, text))
    };
    timeout(Duration::from_secs(30), asked).await?
}

/// The version that answers now, if an instance does.
pub async fn version(address: SocketAddr) -> Option<String> {
    let (_, text) = get(address, "/checkout").await.ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("x-checkout-version: "))?;
    Some(line.trim().to_owned())
}
