//! The service that the tests ship: this test binary itself, told by `APP` what to be.
//!
//! * `ok` answers `/healthz`, `/` (`VERSION PID`), `/env`, `/metrics` (ten more each time), `/slow` (once the file `GATE` is
//!   there) and ends at `/crash`;
//! * `crash` writes two lines and ends; `deaf` answers `/healthz` with 503.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

static ASKED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// Not a test where `APP` is not set.
#[test]
fn serves() {
    let Ok(kind) = std::env::var("APP") else {
        return;
    };
    println!("starting as {kind}");
    if kind == "crash" {
        eprintln!("cannot reach the database");
        panic!("no database, no service");
    }
    let listener = TcpListener::bind(format!("127.0.0.1:{}", variable("PORT"))).unwrap();
    for stream in listener.incoming() {
        let (stream, kind) = (stream.unwrap(), kind.clone());
        std::thread::spawn(move || answer(stream, &kind));
    }
}

fn answer(stream: TcpStream, kind: &str) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut path = String::new();
        let mut line = String::new();
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if path.is_empty() {
                path = line.split(' ').nth(1).unwrap_or("/").to_owned();
            }
            if line == "\r\n" {
                break;
            }
        }
        let (status, body) = match path.as_str() {
            "/healthz" if kind == "deaf" => (503, "not yet".to_owned()),
            "/crash" => {
                eprintln!("asked to crash");
                std::process::abort();
            }
            "/slow" => {
                println!("slow request came");
                while !Path::new(&variable("GATE")).exists() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                (200, "slow but sure".to_owned())
            }
            "/metrics" => {
                let asked = ASKED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let asked = 10 * (asked + 1);
                (
                    200,
                    format!(
                        "# TYPE asked_total counter\nasked_total {asked}\ndepth{{queue=\"a\"}} 2\ndepth{{queue=\"b\"}} 3\n"
                    ),
                )
            }
            "/env" => {
                let mut body = String::new();
                for (name, value) in std::env::vars() {
                    let _ = writeln!(body, "{name}={value}");
                }
                (200, body)
            }
            _ => (
                200,
                format!("{} {}", variable("AIRBOSS_VERSION"), std::process::id()),
            ),
        };
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body.as_bytes()))
            .is_err()
        {
            return;
        }
    }
}
