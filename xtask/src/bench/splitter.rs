//! The splitter beside HAProxy, before the same nginx, in turns.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::page::{Figures, mark, number};
use super::stage::{Up, free};
use super::{Ground, say};

/// Threads and connections of `wrk`.
const THREADS: &str = "-t2";
const CONNECTIONS: &str = "-c64";
/// How long something may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);

const NGINX: &str = "\
worker_processes 1;
error_log stderr;
pid nginx.pid;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    server {
        listen 127.0.0.1:@PORT@;
        root @ARTIFACT@;
        location / { try_files /page =404; }
    }
}
";

/// A hundred routes and four cohorts of users, one after the other.
const MIXED: &str = "\
local words = { \"cart\", \"pay\", \"find\", \"list\", \"show\", \"like\", \"send\", \"read\", \"move\", \"help\" }
local number = 0
request = function()
  number = number + 1
  local first, second = words[number % 10 + 1], words[math.floor(number / 10) % 10 + 1]
  return wrk.format(\"GET\", \"/\" .. first .. \"/\" .. second, { [\"x-plan\"] = words[number % 4 + 1] })
end
";

/// Starts nginx with its port written into its configuration, in the instance's own folder.
const START: &str = "\
#!/bin/sh
set -eu
work=$AIRBOSS_WORK_DIR
sed -e \"s|@PORT@|$2|g\" -e \"s|@ARTIFACT@|$1|g\" \"$1/nginx.conf\" > \"$work/nginx.conf\"
settings='daemon off;'
if [ \"$(id -u)\" = 0 ]; then settings=\"$settings user root;\"; fi
PATH=$PATH:/usr/sbin
exec nginx -p \"$work\" -c \"$work/nginx.conf\" -e stderr -g \"$settings\"
";

/// One run of `wrk`.
struct Shot {
    per_second: f64,
    p99_ms: f64,
}

pub fn measure(ground: &Ground<'_>) -> anyhow::Result<String> {
    let pairs = ground.runs(8, 1);
    let seconds = ground.runs(5, 2);
    let folder = tempfile::Builder::new()
        .prefix("airboss-bench-")
        .tempdir()?;
    let listen = free()?;
    write_service(folder.path(), listen)?;
    let up = Up::start(&ground.airboss, folder.path())?;
    up.agent()?;
    let shipped = up
        .airboss()
        .args([
            "ship",
            "nginx",
            "--version",
            "1",
            "--watch",
            "--timeout",
            "2m",
        ])
        .output()?;
    anyhow::ensure!(
        shipped.status.success(),
        "nginx could not be shipped: {}",
        String::from_utf8_lossy(&shipped.stderr)
    );
    let lanes = up.api.get("/api/v1/lanes")?;
    let nginx: SocketAddr = lanes["lanes"][0]["arms"][0]["instances"][0]["address"]
        .as_str()
        .context("nginx has no address")?
        .parse()?;
    let haproxy = Haproxy::start(folder.path(), nginx)?;
    let script = folder.path().join("mixed.lua");
    fs::write(&script, MIXED)?;
    let mixed = Some(script.as_path());
    let peers = [
        ("splitter", listen, None),
        ("HAProxy", haproxy.listen, None),
        ("splitter, 100 routes", listen, mixed),
        ("HAProxy, 100 routes", haproxy.listen, mixed),
    ];
    let mut shots: [Vec<Shot>; 4] = [const { Vec::new() }; 4];
    // The first turn of each warms it up and does not count.
    for pair in 0..=pairs {
        for (which, (name, address, script)) in peers.iter().enumerate() {
            let shot = wrk(*address, if pair == 0 { 1 } else { seconds }, *script)?;
            say(&format!(
                "{name}: {:.0}/s, p99 {:.2} ms",
                shot.per_second, shot.p99_ms
            ));
            if pair > 0 {
                shots[which].push(shot);
            }
        }
    }
    let version = haproxy.version.clone();
    drop(haproxy);
    up.stop()?;
    let [ours, theirs, ours_mixed, theirs_mixed] = shots;
    let rate = |shots: &[Shot]| Figures::of(shots.iter().map(|shot| shot.per_second)).median();
    let p99 = |shots: &[Shot]| Figures::of(shots.iter().map(|shot| shot.p99_ms)).median();
    let (rates, p99s) = ((rate(&ours), rate(&theirs)), (p99(&ours), p99(&theirs)));
    let (faster, slower) = (rates.0 / rates.1, p99s.0 / p99s.1);
    let mixed = (rate(&ours_mixed), rate(&theirs_mixed));
    let faster_mixed = mixed.0 / mixed.1;
    let kept = faster_mixed / faster;
    let each = |shots: &[Shot]| {
        let words: Vec<String> = shots.iter().map(|shot| number(shot.per_second)).collect();
        words.join(" · ")
    };
    Ok(format!(
        "| figure | target | reached | splitter | {version} | ratio |\n|---|---|---|---|---|---|\n\
         | requests a second, median of {pairs} | ratio ≥ 0.8 | {} | {} | {} | {faster:.2} |\n\
         | p99, median of {pairs} | ratio ≤ 1.3 | {} | {} ms | {} ms | {slower:.2} |\n\
         | requests a second of 100 routes and 4 cohorts | ratio ≥ 0.8 | {} | {} | {} | {faster_mixed:.2} |\n\
         | what is left of the first ratio while routes and cohorts are counted | ≥ 0.95 | {} | | | {kept:.2} |\n\n\
         `wrk {THREADS} {CONNECTIONS} -d{seconds}s` on one and the other in turns, {pairs} pairs after one that warms up; \
         1 KB answers of one nginx with one worker, shipped as a service, so that the splitter is the one inside \
         `airboss agent`, which measures and reports meanwhile. HAProxy: `mode http`, `nbthread 2`, \
         `http-reuse always`, `option forwardfor`, before the same nginx. The splitter counts routes and cohorts, HAProxy \
         does not: the third row is the same load with a script of `wrk` that asks for a hundred paths and names one of four cohorts in a header. Load, peer and nginx share all cores, so the \
         ratio is the figure and the rates are not. Each turn, requests a second: splitter {}; HAProxy {}.",
        mark(Some(faster >= 0.8)),
        number(rates.0),
        number(rates.1),
        mark(Some(slower <= 1.3)),
        number(p99s.0),
        number(p99s.1),
        mark(Some(faster_mixed >= 0.8)),
        number(mixed.0),
        number(mixed.1),
        mark(Some(kept >= 0.95)),
        each(&ours),
        each(&theirs),
    ))
}

fn write_service(folder: &Path, listen: SocketAddr) -> anyhow::Result<()> {
    let artifact = folder.join("nginx");
    fs::create_dir(&artifact)?;
    fs::write(artifact.join("page"), "x".repeat(1024))?;
    fs::write(artifact.join("nginx.conf"), NGINX)?;
    fs::write(artifact.join("start"), START)?;
    fs::set_permissions(artifact.join("start"), fs::Permissions::from_mode(0o755))?;
    let manifest = format!(
        "apiVersion: airboss/v1\n\
         kind: Service\n\
         metadata: {{ name: nginx }}\n\
         spec:\n\
         \x20 target:\n\
         \x20   process:\n\
         \x20     command: [\"{{artifact}}/start\", \"{{artifact}}\", \"{{port}}\"]\n\
         \x20     listen: {listen}\n\
         \x20     health: {{ http: /, ready_within: 20s }}\n\
         \x20 requests: {{ cohort: x-plan }}\n\
         \x20 slos:\n\
         \x20   - {{ name: availability, objective: 99.9%, bad: \"status >= 500\" }}\n\
         \x20 rollout:\n\
         \x20   all_at_once: {{}}\n"
    );
    fs::write(folder.join("airboss.yaml"), manifest)?;
    Ok(())
}

/// HAProxy before nginx; dropping it stops it.
struct Haproxy {
    child: Child,
    listen: SocketAddr,
    version: String,
}

impl Haproxy {
    fn start(folder: &Path, nginx: SocketAddr) -> anyhow::Result<Self> {
        let version = output(sbin("haproxy").arg("-v"))?;
        let version = version.split_whitespace().nth(2).unwrap_or_default();
        let number: String = version
            .chars()
            .take_while(|letter| letter.is_ascii_digit() || *letter == '.')
            .collect();
        let listen = free()?;
        let file = folder.join("haproxy.cfg");
        fs::write(
            &file,
            format!(
                "global\n  nbthread 2\n  maxconn 4096\n\
                 defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  option forwardfor\n  http-reuse always\n\
                 frontend users\n  bind {listen}\n  default_backend nginx\n\
                 backend nginx\n  server one {nginx}\n"
            ),
        )?;
        let child = sbin("haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start haproxy; install it: apt-get install haproxy")?;
        let mut haproxy = Self {
            child,
            listen,
            version: format!("HAProxy {number}"),
        };
        let most = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(listen).is_err() {
            if let Some(status) = haproxy.child.try_wait()? {
                bail!(
                    "haproxy ended: {status}; see `haproxy -c -f {}`",
                    file.display()
                );
            }
            anyhow::ensure!(Instant::now() < most, "haproxy does not listen on {listen}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(haproxy)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        // It may have ended by itself, which showed in the figures.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that Debian keeps out of users' paths.
fn sbin(name: &str) -> Command {
    let there = Path::new("/usr/sbin").join(name);
    Command::new(if there.exists() { there } else { name.into() })
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}; is its package installed?"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    anyhow::ensure!(
        output.status.success(),
        "{command:?}: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said)
}

fn wrk(address: SocketAddr, seconds: usize, script: Option<&Path>) -> anyhow::Result<Shot> {
    let mut command = Command::new("wrk");
    command.args([THREADS, CONNECTIONS, &format!("-d{seconds}s"), "--latency"]);
    if let Some(script) = script {
        command.arg("-s").arg(script);
    }
    let said = output(command.arg(format!("http://{address}/")))?;
    read_wrk(&said).with_context(|| format!("wrk says something unexpected:\n{said}"))
}

/// None where it is not the usual report, or tells of errors.
fn read_wrk(said: &str) -> Option<Shot> {
    if said.contains("Socket errors") || said.contains("Non-2xx") {
        return None;
    }
    let after = |name: &str| {
        let line = said.lines().find(|line| line.trim().starts_with(name))?;
        line.trim().strip_prefix(name).map(str::trim)
    };
    let p99 = after("99%")?;
    let digits = p99.trim_end_matches(char::is_alphabetic);
    let unit = match &p99[digits.len()..] {
        "us" => 0.001,
        "ms" => 1.0,
        "s" => 1_000.0,
        _ => return None,
    };
    Some(Shot {
        per_second: after("Requests/sec:")?.parse().ok()?,
        p99_ms: digits.parse::<f64>().ok()? * unit,
    })
}

#[cfg(test)]
mod tests {
    use super::read_wrk;

    const REPORT: &str = "  2 threads and 64 connections\n  Latency Distribution\n     50%    1.39ms\n     99%  870.00us\n  114862 requests in 3.00s\nRequests/sec:  38268.43\n";

    #[test]
    fn the_report_of_wrk_is_read_in_milliseconds() {
        let shot = read_wrk(REPORT).unwrap();
        assert_eq!(shot.per_second, 38_268.43);
        assert!((shot.p99_ms - 0.87).abs() < 1e-9);
    }

    #[test]
    fn a_report_with_errors_is_no_figure() {
        assert!(read_wrk(&format!("{REPORT}  Non-2xx or 3xx responses: 3\n")).is_none());
    }
}
