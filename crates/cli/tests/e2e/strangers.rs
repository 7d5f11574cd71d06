//! Services, loads and clients that are not ours.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::harness::{House, Manifest, http, processes};

fn examples() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/nginx")
}

/// wrk, as Debian packages it, until it is interrupted.
async fn wrk(listen: SocketAddr) -> tokio::process::Child {
    Command::new("wrk")
        .args(["-t1", "-c4", "-d120s", "-s"])
        .arg(examples().join("paths.lua"))
        .arg(format!("http://{listen}"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("wrk is there: scripts/need.sh wrk")
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_with_a_wrong_upstream_is_taken_back_under_the_load_of_wrk() {
    let house = House::up(&Manifest {
        name: "shopfront",
        command: r#"["{artifact}/start", "{artifact}", "{port}"]"#,
        ..Manifest::default()
    })
    .await;
    let (good, bad) = (examples().join("good"), examples().join("bad"));
    house.ship_folder(&good, "1", &["--watch"]).await.ended(0);
    let (status, page) = http::get(house.listen, "/buy").await.unwrap();
    assert!(status == 200 && page.contains("server: nginx"), "{page}");

    let load = wrk(house.listen).await;
    house
        .ship_folder(&bad, "2", &["--watch"])
        .await
        .ended(3)
        .says(&["rolled back"]);
    processes::signal(load.id().unwrap(), Signal::INT);
    let said = load.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("requests in"), "{said}");
    // wrk prints this line where a connection broke or a request went unanswered.
    assert!(!said.contains("Socket errors"), "{said}");
    println!("{said}");

    assert_eq!(house.lane().await["stable"]["version"], "1");
    for _ in 0..10 {
        let (status, _) = http::get(house.listen, "/buy").await.unwrap();
        assert_eq!(status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_too_large_is_answered_431_and_a_slow_one_holds_nobody_up() {
    let house = House::serving(&Manifest::default()).await;
    let mut slow = TcpStream::connect(house.listen).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: te").await.unwrap();

    let huge = format!(
        "GET / HTTP/1.1\r\nHost: test\r\nx-huge: {}\r\n\r\n",
        "a".repeat(80 << 10)
    );
    let (status, text) = http::raw(house.listen, huge.as_bytes()).await.unwrap();
    assert_eq!(status, 431, "{text}");
    for _ in 0..20 {
        assert_eq!(http::get(house.listen, "/").await.unwrap().0, 200);
    }
    // The slow one is told so, some time.
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_hold_nobody_up() {
    const WANTED: usize = 10_000;
    // Client and splitter have a descriptor for each; the splitter inherits this limit.
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let most = allowed.map_or(WANTED, |most| {
        usize::try_from(most).unwrap().saturating_sub(500)
    });
    let house = House::serving(&Manifest::default()).await;
    let agent = house.part("agent").await;
    let mut idle = Vec::new();
    for _ in 0..WANTED.min(most) {
        idle.push(TcpStream::connect(house.listen).await.unwrap());
    }
    if idle.len() < WANTED {
        println!("this system allows {} connections only", idle.len());
    }
    for _ in 0..20 {
        assert_eq!(http::get(house.listen, "/").await.unwrap().0, 200);
    }
    // Those that waited are served too, when they ask.
    for stream in idle.iter_mut().step_by(1_000) {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            .await
            .unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
    }
    assert_eq!(house.part("agent").await, agent);
    assert_eq!(house.lane().await["problems"], Value::Array(Vec::new()));
}
