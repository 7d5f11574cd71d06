//! Artifacts in a bucket: moto's server, which speaks S3.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use airboss_model::Digest;
use airboss_server::blobs::Blobs;
use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};
use tower::ServiceExt as _;

use crate::harness::{Server, archive, authorized};

const PACKAGE: &str = "moto[server]==5.2.5";

struct Bucket {
    child: Child,
    address: SocketAddr,
}

/// The server's program, installed once below the target folder. None, with a message, where
/// Python or the package is not at hand.
fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<std::path::PathBuf>> = OnceLock::new();
    let install = || {
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("moto");
        let program = home.join("bin/moto_server");
        let run = |command: &mut Command| match command.output() {
            Ok(done) if done.status.success() => true,
            Ok(done) => {
                println!(
                    "skipped: {PACKAGE}: {}",
                    String::from_utf8_lossy(&done.stderr)
                );
                false
            }
            Err(error) => {
                println!("skipped: {PACKAGE}: {error}");
                false
            }
        };
        let there = program.exists()
            || run(Command::new("python3").args(["-m", "venv"]).arg(&home))
                && run(Command::new(home.join("bin/pip")).args(["install", "--quiet", PACKAGE]));
        there.then_some(program)
    };
    PROGRAM.get_or_init(install).as_deref()
}

impl Bucket {
    /// A server with an empty bucket `artifacts`.
    fn start() -> Option<Self> {
        let address = xtask::ports::free().unwrap();
        let child = Command::new(program()?)
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let bucket = Self { child, address };
        while TcpStream::connect(address).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let answer = bucket.ask("PUT", "/artifacts");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Some(bucket)
    }

    fn ask(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", self.address).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn blobs(&self, folder: &Path) -> Blobs {
        let secret = folder.join("secret");
        std::fs::write(&secret, "a-secret\n").unwrap();
        let url = format!(
            "s3://artifacts/here?endpoint=http://{}&region=eu-1&access_key=file:{path}&secret_key=file:{path}",
            self.address,
            path = secret.display()
        );
        Blobs::at(&url, &folder.join("artifacts"), "test").unwrap()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn sent(
    bytes: &[u8],
) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> + Unpin + use<> {
    let pieces: Vec<Result<Bytes, std::io::Error>> = bytes
        .chunks(100_000)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    stream::iter(pieces)
}

async fn had(blobs: &Blobs, digest: &Digest) -> Option<Vec<u8>> {
    let (size, content) = blobs.get(digest).await.unwrap()?;
    let bytes: Vec<Bytes> = content.try_collect().await.unwrap();
    let bytes = bytes.concat();
    assert_eq!(bytes.len() as u64, size);
    Some(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_keeps_what_a_folder_keeps_and_gives_it_back_byte_for_byte() {
    let Some(bucket) = Bucket::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let blobs = bucket.blobs(folder.path());
    let small = b"a small one".to_vec();
    // Several parts, the last one short.
    let large: Vec<u8> = (0..20_000_000_u32).map(|at| (at / 977) as u8).collect();
    for bytes in [small, large] {
        let bytes = archive(&bytes);
        let digest = Digest::from_sha256(Sha256::digest(&bytes).into());
        assert_eq!(had(&blobs, &digest).await, None);
        for new in [true, false] {
            let kept = blobs.keep(sent(&bytes)).await.unwrap();
            assert_eq!(kept, (digest, bytes.len() as u64, new));
        }
        assert!(had(&blobs, &digest).await.as_deref() == Some(bytes.as_slice()));
        blobs.remove(&digest).await.unwrap();
        blobs.remove(&digest).await.unwrap();
        assert_eq!(blobs.size(&digest).await.unwrap(), None);
    }
    let incoming = folder.path().join("artifacts/incoming");
    assert_eq!(crate::harness::files_in(&incoming), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_off_never_reaches_the_bucket() {
    let Some(bucket) = Bucket::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let blobs = bucket.blobs(folder.path());
    let cut = stream::iter([Err(std::io::Error::other("cut"))]);
    blobs.keep(sent(b"the start").chain(cut)).await.unwrap_err();
    let listed = bucket.ask("GET", "/artifacts?list-type=2");
    assert!(!listed.contains("<Key>"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_get_from_the_server_what_lies_in_the_bucket() {
    let Some(bucket) = Bucket::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let blobs = bucket.blobs(folder.path());
    let server = Server::keeping(folder, blobs).await;
    let digest = server.upload("content").await;
    let request = authorized("GET", &format!("/agent/v1/blobs/{digest}"))
        .body(Body::empty())
        .unwrap();
    let response = server.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let bytes = archive(b"content");
    assert_eq!(
        response.headers()["content-length"],
        bytes.len().to_string()
    );
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        bytes
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_down_is_told_by_its_name_and_nothing_is_promised() {
    let Some(bucket) = Bucket::start() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let blobs = bucket.blobs(folder.path());
    drop(bucket);
    let kept = blobs.keep(sent(&archive(b"content"))).await;
    let error = kept.unwrap_err().to_string();
    assert!(error.contains("s3://artifacts/here"), "{error}");
    assert!(!error.contains("a-secret"), "{error}");
}
