//! Live streams that outlive the server: reconnected, resumed behind the last event seen.

use std::time::Duration;

use airboss_server::api::requests::EventQuery;
use airboss_server::api::views::{EventView, LaneView};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::{Client, ClientError, Parser, SseEvent, segment};
use crate::home::Whereabouts;

/// How long a lost server is waited for.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// Pause between attempts to connect again.
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// A lane is sent each second: silence this long is a dead connection.
const LANE_SILENCE: Duration = Duration::from_secs(10);
/// Events come when they come; this long, the connection is made anew to be sure of it.
const EVENT_SILENCE: Duration = Duration::from_secs(60);

/// What to follow.
#[derive(Debug, Clone)]
pub enum Subject {
    /// How one lane stands, on each change and each second.
    Lane {
        /// The service.
        service: String,
        /// The environment.
        environment: String,
    },
    /// What happens, behind event `after`.
    Events {
        /// In one rollout only.
        rollout: Option<String>,
        /// The last event already seen.
        after: u64,
    },
}

/// Something that a stream brought.
#[derive(Debug)]
pub enum Notice {
    /// A lane as it stands.
    Lane(Box<LaneView>),
    /// Something happened.
    Event(Box<EventView>),
    /// The server does not answer; it is tried again.
    Lost(ClientError),
    /// The server answers again.
    Back,
    /// The stream is over for good.
    Failed(ClientError),
}

/// Follows `subject` until the receiver is gone or the stream fails for good: the server says no,
/// or stays away for [`PATIENCE`].
pub async fn follow(
    mut client: Client,
    places: Whereabouts,
    mut subject: Subject,
    notices: mpsc::Sender<Notice>,
) {
    let mut lost_at: Option<Instant> = None;
    loop {
        let ended = once(&client, &mut subject, &mut lost_at, &notices).await;
        if notices.is_closed() {
            return;
        }
        match ended {
            // A server that shuts down ends its streams; most are back at once.
            Ok(()) => {}
            Err(error) if error.is_passing() => match lost_at {
                None => {
                    lost_at = Some(Instant::now());
                    if notices.send(Notice::Lost(error)).await.is_err() {
                        return;
                    }
                }
                Some(at) if at.elapsed() > PATIENCE => {
                    let _ = notices.send(Notice::Failed(error)).await;
                    return;
                }
                Some(_) => {}
            },
            Err(error) => {
                let _ = notices.send(Notice::Failed(error)).await;
                return;
            }
        }
        sleep(RETRY_EVERY).await;
        client = client.rediscovered(&places);
    }
}

/// One connection, from its start to its end.
async fn once(
    client: &Client,
    subject: &mut Subject,
    lost_at: &mut Option<Instant>,
    notices: &mpsc::Sender<Notice>,
) -> Result<(), ClientError> {
    let (path, query, after, silence) = match &*subject {
        Subject::Lane {
            service,
            environment,
        } => (
            format!(
                "/api/v1/lanes/{}/{}/live",
                segment(service),
                segment(environment)
            ),
            EventQuery::default(),
            None,
            LANE_SILENCE,
        ),
        Subject::Events { rollout, after } => (
            "/api/v1/events".to_owned(),
            EventQuery {
                after: Some(*after),
                rollout: rollout.clone(),
                limit: None,
            },
            Some(*after),
            EVENT_SILENCE,
        ),
    };
    let mut answer = client.stream(&path, &query, after).await?;
    if lost_at.take().is_some() && notices.send(Notice::Back).await.is_err() {
        return Ok(());
    }
    let mut parser = Parser::default();
    loop {
        // Silence is no error of its own: what follows, a new connection, tells.
        let Ok(part) = timeout(silence, answer.chunk()).await else {
            return Ok(());
        };
        // A cut connection is not told either, unless the next one fails.
        let Ok(Some(bytes)) = part else {
            return Ok(());
        };
        let events = parser
            .feed(&bytes)
            .map_err(|why| garbled(client, &why.to_string()))?;
        for event in events {
            let Some(notice) = read(client, subject, &event)? else {
                continue;
            };
            if notices.send(notice).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// The notice in an event. None for kinds that are not known, which newer servers may send, and for
/// events that were seen before.
fn read(
    client: &Client,
    subject: &mut Subject,
    event: &SseEvent,
) -> Result<Option<Notice>, ClientError> {
    let wrong = |error: serde_json::Error| garbled(client, &error.to_string());
    match subject {
        Subject::Lane { .. } if event.event == "lane" => {
            let lane = serde_json::from_str(&event.data).map_err(wrong)?;
            Ok(Some(Notice::Lane(Box::new(lane))))
        }
        Subject::Events { after, .. } if event.id.is_some() => {
            let view: EventView = serde_json::from_str(&event.data).map_err(wrong)?;
            if view.number <= *after {
                return Ok(None);
            }
            *after = view.number;
            Ok(Some(Notice::Event(Box::new(view))))
        }
        _ => Ok(None),
    }
}

fn garbled(client: &Client, why: &str) -> ClientError {
    ClientError::NotUnderstood {
        url: client.url().to_owned(),
        why: format!("its live stream does not read as expected: {why}"),
    }
}
