//! One turn of a lane: decide, commit, and only then perform.

use std::sync::Arc;
use std::time::Duration;

use airboss_engine::{Answer, Effect, Input, Lane, Urgency, decide};
use airboss_model::target::Desired;
use airboss_model::{LaneId, Timestamp};
use airboss_store::{Commit, InboxEntry, LaneRow, Store, StoreError};

use crate::evidence::Evidence;
use crate::hub::Hub;
use crate::project::{new_events, rollout_rows};

/// A lane under a claim: the state as it is committed, and the fence that guards it.
pub(crate) struct Held {
    pub(crate) lane: Arc<Lane>,
    pub(crate) seq: u64,
    pub(crate) epoch: u64,
    store: Arc<dyn Store>,
    hub: Arc<Hub>,
    evidence: Arc<Evidence>,
}

/// What a turn that changed something tells its lane.
pub(crate) struct Turned {
    /// The number of the newest event; None where there was none.
    pub(crate) last_event: Option<u64>,
    /// The answer to a command.
    pub(crate) answer: Option<Answer>,
}

impl Held {
    /// Takes over a claimed lane: the target is told again what shall be true, and effects that
    /// were committed and not finished are done.
    pub(crate) async fn take_over(
        row: LaneRow,
        store: Arc<dyn Store>,
        hub: Arc<Hub>,
        evidence: Arc<Evidence>,
    ) -> Result<Self, StoreError> {
        let lane = match row.state {
            Some(state) => {
                serde_json::from_value(state).map_err(|error| not_understood(&row.lane, &error))?
            }
            None => Lane::new(row.lane.clone()),
        };
        let held = Self {
            lane: Arc::new(lane),
            seq: row.seq,
            epoch: row.epoch,
            store,
            hub,
            evidence,
        };
        held.hub.forget_traffic(&held.lane.id);
        held.hand_over();
        for row in held.store.pending_effects(&held.lane.id).await? {
            match serde_json::from_value(row.body) {
                Ok(effect) => {
                    held.act(&effect);
                    held.vouch(&effect).await?;
                    held.finish(row.seq, row.ordinal).await?;
                }
                Err(error) => return Err(not_understood(&held.lane.id, &error)),
            }
        }
        Ok(held)
    }

    /// Tells the target what shall be true, under this claim.
    fn hand_over(&self) {
        if let Some(desired) = &self.lane.desired {
            self.apply(desired.clone());
        }
    }

    fn apply(&self, mut desired: Desired) {
        desired.epoch = self.epoch;
        self.hub.apply(desired);
    }

    /// Notes the claim that the target obeys. One above this claim is another controller's, and
    /// then the store says [`StoreError::Fenced`]; or the store came back from a backup and does not know
    /// how far claims had come: then this one is raised above it.
    pub(crate) async fn heard_of(&mut self, epoch: u64) -> Result<(), StoreError> {
        if epoch <= self.epoch {
            return Ok(());
        }
        self.store
            .raise_epoch(&self.lane.id, self.epoch, epoch + 1)
            .await?;
        tracing::warn!(lane = %self.lane.id, from = self.epoch, to = epoch + 1, "the target knew of later claims than the store, which seems to be restored from a backup");
        self.epoch = epoch + 1;
        self.hand_over();
        Ok(())
    }

    /// Decides on one input. Nothing is written where nothing follows from it. On an error
    /// nothing was written either, and the same input may be given again.
    pub(crate) async fn turn(
        &mut self,
        input: &Input,
        entry: Option<&InboxEntry>,
        now: Timestamp,
    ) -> Result<Turned, StoreError> {
        let decision = decide(&self.lane, input, now);
        if decision.events.is_empty() && decision.effects.is_empty() && entry.is_none() {
            return Ok(Turned {
                last_event: None,
                answer: decision.answer,
            });
        }
        let json = |error| not_understood(&self.lane.id, &error);
        let commit = Commit {
            lane: self.lane.id.clone(),
            seq: self.seq,
            epoch: self.epoch,
            at: now,
            input: serde_json::to_value(input).map_err(json)?,
            consumes: match entry {
                Some(entry) => Some((
                    entry.id,
                    serde_json::to_value(&decision.answer).map_err(json)?,
                )),
                None => None,
            },
            events: new_events(&self.lane, &decision.events).map_err(json)?,
            state: serde_json::to_value(&*decision.lane).map_err(json)?,
            active: decision.lane.has_work(),
            effects: decision
                .effects
                .iter()
                .map(serde_json::to_value)
                .collect::<Result<_, _>>()
                .map_err(json)?,
            rollouts: rollout_rows(&self.lane, &decision.lane, &decision.events, now),
        };
        let committed = self.store.commit(&commit).await?;
        self.seq = committed.seq;
        self.lane = decision.lane;
        for event in &commit.events {
            tracing::info!(lane = %self.lane.id, rollout = event.rollout.as_ref().map(tracing::field::display), kind = event.kind, "{}", event.message);
        }
        // All that was decided is done before the store is asked again: a notice that cannot be
        // marked must not keep a rollback from the agent.
        for effect in &decision.effects {
            self.act(effect);
        }
        for (ordinal, effect) in (0..).zip(&decision.effects) {
            let vouched = self.vouch(effect).await;
            let done = match vouched {
                Ok(()) => self.finish(self.seq, ordinal).await,
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                tracing::warn!(lane = %self.lane.id, seq = self.seq, ordinal, %error, "an effect is not marked as done; whoever takes this lane over does it again, which does no harm");
            }
        }
        Ok(Turned {
            last_event: committed.events.last().copied(),
            answer: decision.answer,
        })
    }

    /// Does an effect. Done twice it does no harm: a desired state replaces itself, and a notice
    /// says the same.
    fn act(&self, effect: &Effect) {
        match effect {
            Effect::Apply { desired } => self.apply(desired.clone()),
            // Signed and kept once everything that cannot wait is done.
            Effect::Vouch { .. } => {}
            Effect::Notify { urgency, text } => {
                let lane = &self.lane.id;
                match urgency {
                    Urgency::Page => tracing::error!(%lane, notice = "page", "{text}"),
                    Urgency::Ticket => tracing::warn!(%lane, notice = "ticket", "{text}"),
                    Urgency::Note => tracing::info!(%lane, notice = "note", "{text}"),
                }
            }
        }
    }

    /// Puts what was concluded of an artifact on record.
    async fn vouch(&self, effect: &Effect) -> Result<(), StoreError> {
        match effect {
            Effect::Vouch {
                release,
                digest,
                lane,
                items,
                at,
            } => self.evidence.vouch(release, digest, lane, items, *at).await,
            Effect::Apply { .. } | Effect::Notify { .. } => Ok(()),
        }
    }

    async fn finish(&self, seq: u64, ordinal: u32) -> Result<(), StoreError> {
        self.store
            .finish_effect(&self.lane.id, self.epoch, seq, ordinal, "done")
            .await
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub(crate) fn evidence(&self) -> &Arc<Evidence> {
        &self.evidence
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }
}

fn not_understood(lane: &LaneId, error: &serde_json::Error) -> StoreError {
    StoreError::Unavailable {
        what: "read or write a state",
        source: format!("{lane}: {error}").into(),
    }
}

/// How long to wait before a failed turn is tried again.
pub(crate) fn backoff(failures: u32) -> Duration {
    Duration::from_millis(100 << failures.min(6)).min(Duration::from_secs(5))
}

#[cfg(test)]
mod tests {
    use airboss_model::target::Observed;
    use airboss_model::traffic::Counts;
    use airboss_targets::process::protocol::{Report, TrafficIncrement};

    use super::*;
    use crate::evidence::NoKeys;
    use crate::hub::LaneTraffic;
    use crate::make::{at, home};

    fn report(lane: &LaneId, number: u64) -> Report {
        let counts = Counts {
            requests: 7,
            by_status: [(200, 7)].into(),
            latency: [(400, 7)].into(),
            ..Counts::default()
        };
        Report {
            agent: "a".to_owned(),
            boot: "b".to_owned(),
            number,
            version: "0".to_owned(),
            sent_at: at(number),
            observed: vec![Observed {
                lane: lane.clone(),
                generation: 0,
                epoch: 0,
                traffic: None,
                arms: Vec::new(),
                problems: Vec::new(),
                at: at(number),
            }],
            traffic: vec![TrafficIncrement {
                lane: lane.clone(),
                arm: "shop-1".parse().unwrap(),
                instance: "shop-1.0".to_owned(),
                counts,
                mirrored: Counts::default(),
            }],
            covers_ms: 250,
        }
    }

    #[tokio::test]
    async fn what_was_counted_before_a_claim_is_no_second_of_the_new_owners() {
        let home = home().await;
        let lane: LaneId = "shop/production".parse().unwrap();
        let hub = Arc::new(Hub::new("1".to_owned(), at(0)));
        for number in 1..20 {
            hub.report(report(&lane, number), at(number)).unwrap();
        }
        let row = home.store.lane(&lane).await.unwrap().unwrap();
        let evidence = Arc::new(Evidence::new(Arc::clone(&home.store), Arc::new(NoKeys)));
        let store = Arc::clone(&home.store);
        Held::take_over(row, store, Arc::clone(&hub), evidence)
            .await
            .unwrap();
        assert_eq!(hub.take_traffic(&lane), LaneTraffic::default());
        hub.report(report(&lane, 20), at(20)).unwrap();
        let sums = hub.take_traffic(&lane).sums();
        let requests: u64 = sums.values().map(|counts| counts.requests).sum();
        assert_eq!(requests, 7);
    }
}
