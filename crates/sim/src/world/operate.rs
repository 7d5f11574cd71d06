//! People who ship, pause, abort and ship again, and ask until they are answered.

use std::sync::Arc;
use std::time::Duration;

use airboss_engine::{Command, Input, Lane, Request};
use airboss_model::manifest::Service;
use airboss_model::{Digest, LaneId, RolloutId};
use airboss_rehearsal::Nature;
use serde_json::json;
use tokio::time::sleep;

use super::{World, lock};
use crate::story::{Verb, Version};
use crate::witness::Sight;

/// How often a client asks again under the same key.
const ASKS: usize = 8;

impl World {
    /// A lane as it is committed.
    pub(super) fn state(&self, lane: &LaneId) -> Option<Lane> {
        let row = self.store.tables().lane(lane)?;
        serde_json::from_value(row.state?).ok()
    }

    /// An operator asks for something, of what is in progress or waits where the verb is about that.
    pub(super) fn operate(self: &Arc<Self>, lane: usize, through: usize, verb: Verb) {
        let Some((id, service)) = self.lanes.get(lane).cloned() else {
            return;
        };
        let state = self.state(&id);
        let meant = state.as_ref().and_then(|lane| {
            let active = lane.active.as_ref().map(|active| active.id().clone());
            active.or_else(|| lane.queue.front().map(|next| next.rollout.clone()))
        });
        let number = self.next();
        let fresh = RolloutId::new(&id.service(), number);
        let rollout = meant.unwrap_or_else(|| fresh.clone());
        let command = match verb {
            Verb::Ship(version) => {
                Command::Ship(self.request(&id, service, fresh, number, version))
            }
            Verb::Pause => Command::Pause { rollout },
            Verb::Resume => Command::Resume { rollout },
            Verb::Promote { full } => Command::Promote { rollout, full },
            Verb::Abort { force } => Command::Abort {
                rollout,
                force,
                reason: "it looks wrong".to_owned(),
            },
            Verb::Rollback => Command::Rollback {
                rollout: fresh,
                to: None,
                reason: String::new(),
            },
        };
        let input = Input::Command {
            command,
            by: "ann".to_owned(),
        };
        tokio::spawn(Arc::clone(self).ask(id, format!("key-{number}"), input, through));
    }

    fn request(
        &self,
        lane: &LaneId,
        service: Service,
        rollout: RolloutId,
        number: u64,
        version: Version,
    ) -> Request {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        let digest = Digest::from_sha256(bytes);
        let mut agent = lock(&self.agent);
        match version {
            Version::Good => {}
            Version::Bad => {
                if let Some(traffic) = agent.traffic.get_mut(lane) {
                    let bad = traffic.usual.clone().with_status(500, 0.3);
                    traffic.others.insert(digest, bad);
                }
            }
            Version::Crashing => {
                let crashes_from = Some(self.now());
                let nature = Nature {
                    never_ready: false,
                    crashes_from,
                };
                agent.host.natures.insert(digest, nature);
            }
            Version::NeverReady => {
                let nature = Nature {
                    never_ready: true,
                    crashes_from: None,
                };
                agent.host.natures.insert(digest, nature);
            }
        }
        let release = format!("{}@{number}", lane.service());
        Request {
            release: match release.parse() {
                Ok(release) => release,
                // The names are ours: a service and a number always make a release.
                Err(error) => panic!("{release}: {error}"),
            },
            rollout,
            digest,
            service: service.into(),
            by: "ann".to_owned(),
            at: self.now(),
            is_return: false,
            slow: None,
            evidence: Vec::new(),
        }
    }

    /// A client: it asks again, elsewhere, under the same key, until it has an answer.
    async fn ask(self: Arc<Self>, lane: LaneId, key: String, input: Input, through: usize) {
        for attempt in 0..ASKS {
            let index = (through + attempt) % self.controllers.len();
            let runtime = lock(&self.controllers[index]).runtime.clone();
            if let Some(runtime) = runtime {
                let asked = runtime.submit(lane.clone(), key.clone(), input.clone());
                if let Ok(Ok(answer)) = tokio::time::timeout(Duration::from_secs(12), asked).await {
                    let told = json!(answer).to_string();
                    let kept = self.store.tables().answer(&key);
                    let kept = kept.map(|answer| answer.to_string());
                    self.eye.see(Sight::Answered { key, told, kept });
                    return;
                }
            }
            sleep(Duration::from_secs(1)).await;
        }
    }
}
