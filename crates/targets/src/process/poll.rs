//! The question that is always under way: what shall be true?

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::client::Client;
use super::protocol::DesiredSet;

/// Asks a controller, the one numbered `from`, for news, always; after a broken connection from the start, as it may be
/// another incarnation then.
pub(super) async fn poll(
    client: Client,
    agent: String,
    wait: Duration,
    poke: Arc<Notify>,
    (from, desired): (usize, mpsc::Sender<(usize, DesiredSet)>),
) {
    let (mut after, mut failures) = (0, 0_u32);
    // The first question is answered at once.
    let mut patience = Duration::ZERO;
    loop {
        let asked = Instant::now();
        let answer = tokio::select! {
            answer = client.desired(&agent, after, patience) => answer,
            () = poke.notified() => {
                (after, patience) = (0, Duration::ZERO);
                continue;
            }
        };
        match answer {
            Ok(set) => {
                failures = 0;
                let news = set.version != after;
                after = set.version;
                let early = patience > Duration::ZERO && asked.elapsed() < patience / 2;
                patience = wait;
                if desired.send((from, set)).await.is_err() {
                    return;
                }
                // A controller that does not hold the question must not be asked in a circle.
                if !news && early {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
            Err(error) => {
                if failures == 0 {
                    tracing::warn!(%error, "no news from the controller");
                }
                (after, patience) = (0, Duration::ZERO);
                let pause = Duration::from_millis(100) * 2_u32.pow(failures.min(4));
                failures = failures.saturating_add(1);
                tokio::time::sleep(pause.min(Duration::from_secs(1))).await;
            }
        }
    }
}
