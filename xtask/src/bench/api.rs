//! The product's API, as far as measuring needs it.
//!
//! Requests are HTTP/1.0, so that an answer, and the stream of events, is what comes until the
//! connection ends.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use serde_json::Value;

/// An answer, or the next event, takes no longer than this.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server and the right to talk to it.
#[derive(Debug, Clone)]
pub struct Api {
    /// `HOST:PORT`.
    pub address: String,
    /// The installation's token.
    pub token: String,
}

/// An event as it came over the live stream.
#[derive(Debug, Clone)]
pub struct Event {
    /// The rollout.
    pub rollout: String,
    /// Its kind, such as `step_confirmed`.
    pub kind: String,
    /// When it was decided, by the server's clock.
    pub at: Timestamp,
    /// When it was read here.
    pub seen: Timestamp,
    /// The line for people.
    pub message: String,
    /// The whole of it.
    pub body: Value,
}

impl Api {
    fn open(&self, head: &str, accept: &str, body: &str) -> anyhow::Result<BufReader<TcpStream>> {
        let mut stream = TcpStream::connect(&self.address)
            .with_context(|| format!("cannot reach the server at {}", self.address))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let request = format!(
            "{head} HTTP/1.0\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\naccept: {accept}\r\n\r\n{body}",
            self.address,
            self.token,
            body.len(),
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = BufReader::new(stream);
        let mut line = String::new();
        answer.read_line(&mut line)?;
        let status: u16 = line.get(9..12).unwrap_or_default().parse().unwrap_or(0);
        loop {
            let mut header = String::new();
            if answer.read_line(&mut header)? <= 2 {
                break;
            }
        }
        if !(200..300).contains(&status) {
            let mut said = String::new();
            answer.read_to_string(&mut said)?;
            bail!("{head}: status {status}: {said}");
        }
        Ok(answer)
    }

    fn ask(&self, head: &str, body: &str) -> anyhow::Result<Value> {
        let mut text = String::new();
        self.open(head, "application/json", body)?
            .read_to_string(&mut text)?;
        serde_json::from_str(&text).with_context(|| format!("{head}: not JSON: {text}"))
    }

    /// Reads what is at a path.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(&format!("GET {path}"), "")
    }

    /// Asks for something.
    pub fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(&format!("POST {path}"), &body.to_string())
    }

    /// Every event of the installation, until the server ends.
    pub fn follow(&self) -> anyhow::Result<Receiver<Event>> {
        let stream = self.open("GET /api/v1/events?after=0", "text/event-stream", "")?;
        let (send, receive) = channel();
        std::thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || {
                for line in stream.lines().map_while(Result::ok) {
                    let Some(event) = line.strip_prefix("data:").and_then(read) else {
                        continue;
                    };
                    if send.send(event).is_err() {
                        return;
                    }
                }
            })?;
        Ok(receive)
    }
}

fn read(data: &str) -> Option<Event> {
    let seen = super::now();
    let mut whole: Value = serde_json::from_str(data.trim()).ok()?;
    let text = |name: &str| whole[name].as_str().map(str::to_owned);
    Some(Event {
        rollout: text("rollout").unwrap_or_default(),
        kind: text("kind")?,
        at: text("at")?.parse().ok()?,
        seen,
        message: text("message").unwrap_or_default(),
        body: whole["body"].take(),
    })
}
