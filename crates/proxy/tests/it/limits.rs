//! What happens at a limit.

use std::time::Duration;

use airboss_proxy::Options;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn a_head_too_large_is_answered_431() {
    let service = Service::named("stable").await;
    let splitter = splitter_with(Options {
        max_head_bytes: 8_192,
        ..Options::default()
    });
    splitter
        .apply(table("0%", &[service.address], &[]))
        .unwrap();
    let long = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n",
        "y".repeat(20_000)
    );
    let answer = raw_exchange(&splitter, long.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 431 Request Header Fields Too Large"),
        "{answer}"
    );
    let many = format!(
        "GET / HTTP/1.1\r\nhost: a\r\n{}\r\n",
        "x: y\r\n".repeat(500)
    );
    let answer = raw_exchange(&splitter, many.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(service.requests(), 0);
    assert_eq!(
        Sums::until(&splitter, |sums| sums.rejected >= 2)
            .await
            .rejected,
        2
    );
}

#[tokio::test]
async fn what_is_no_request_is_answered_400() {
    let service = Service::named("stable").await;
    let splitter = splitter();
    splitter
        .apply(table("0%", &[service.address], &[]))
        .unwrap();
    for bad in [
        "not http at all\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
    ] {
        let answer = raw_exchange(&splitter, bad.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request"),
            "{bad}: {answer}"
        );
    }
    assert_eq!(service.requests(), 0);
}

#[tokio::test]
async fn a_slow_head_is_answered_408_while_a_silent_connection_may_idle() {
    let service = Service::named("stable").await;
    let splitter = splitter_with(Options {
        header_timeout: Duration::from_millis(100),
        ..Options::default()
    });
    splitter
        .apply(table("0%", &[service.address], &[]))
        .unwrap();
    let mut silent = TcpStream::connect(splitter.local_addr()).await.unwrap();
    let mut used = TcpStream::connect(splitter.local_addr()).await.unwrap();
    used.write_all(GET).await.unwrap();
    read_until(&mut used, "stable").await;

    // On a new connection, and in the second request of an old one.
    for start in ["PRI * HT", "GET / HTTP/1.1\r\nhost:"] {
        let answer = raw_exchange(&splitter, start.as_bytes()).await;
        assert!(
            answer.starts_with("HTTP/1.1 408 Request Timeout"),
            "{answer}"
        );
        assert!(answer.contains("did not arrive in time"), "{answer}");
    }
    let mut second = TcpStream::connect(splitter.local_addr()).await.unwrap();
    second.write_all(GET).await.unwrap();
    read_until(&mut second, "stable").await;
    second.write_all(b"GET / HT").await.unwrap();
    assert!(read_to_end(&mut second).await.starts_with("HTTP/1.1 408 "));

    for stream in [&mut silent, &mut used] {
        stream.write_all(GET).await.unwrap();
        read_until(stream, "stable").await;
    }
    assert_eq!(
        Sums::until(&splitter, |sums| sums.rejected >= 3)
            .await
            .rejected,
        3
    );
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_the_end() {
    let splitter = splitter_with(Options {
        idle_timeout: Duration::from_millis(100),
        ..Options::default()
    });
    let mut silent = TcpStream::connect(splitter.local_addr()).await.unwrap();
    let mut used = TcpStream::connect(splitter.local_addr()).await.unwrap();
    used.write_all(GET).await.unwrap();
    assert!(read_to_end(&mut used).await.starts_with("HTTP/1.1 503 "));
    assert_eq!(read_to_end(&mut silent).await, "");
    until(|| splitter.connections() == 0).await;
}

#[tokio::test]
async fn a_connection_too_many_is_told_so_and_the_others_are_served() {
    let service = Service::named("stable").await;
    let splitter = splitter_with(Options {
        max_connections: 2,
        ..Options::default()
    });
    splitter
        .apply(table("0%", &[service.address], &[]))
        .unwrap();
    let mut first = Client::to(&splitter).await;
    let second = TcpStream::connect(splitter.local_addr()).await.unwrap();
    until(|| splitter.connections() == 2).await;
    let answer = raw_exchange(&splitter, GET).await;
    assert!(
        answer.starts_with("HTTP/1.1 503 Service Unavailable"),
        "{answer}"
    );
    assert!(answer.contains("retry-after: 1") && answer.contains("Too many connections"));
    assert_eq!(first.get("/").await.body, "stable");
    drop(second);
    until(|| splitter.connections() == 1).await;
    assert_eq!(Client::to(&splitter).await.get("/").await.body, "stable");
}

/// As many of `wanted` as the host's limit of files allows: both ends are in this process.
fn connections_that_fit(wanted: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it may not be raised, the current limit counts.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    wanted.min(
        usize::try_from(files / 2)
            .unwrap_or(wanted)
            .saturating_sub(300),
    )
}

#[tokio::test]
async fn thousands_of_idle_connections_leave_the_others_alone() {
    let service = Service::named("stable").await;
    let splitter = splitter();
    splitter
        .apply(table("0%", &[service.address], &[]))
        .unwrap();
    let many = connections_that_fit(2_000);
    let mut idle = Vec::new();
    for _ in 0..many {
        idle.push(TcpStream::connect(splitter.local_addr()).await.unwrap());
    }
    until(|| splitter.connections() == many).await;
    let mut client = Client::to(&splitter).await;
    for _ in 0..100 {
        assert_eq!(client.get("/").await.body, "stable");
    }
    let last = idle.last_mut().unwrap();
    last.write_all(GET).await.unwrap();
    read_until(last, "stable").await;
    drop(idle);
    until(|| splitter.connections() == 1).await;
}
