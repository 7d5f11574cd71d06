//! The record says everything: states and decisions come out of it again, word for word.

use std::sync::Arc;

use airboss_engine::{Event, Input, Lane, decide, evolve};
use airboss_model::LaneId;
use airboss_store::EventFilter;

use crate::harness::{Agent, Server};

#[tokio::test]
async fn the_record_replays_to_the_state_and_to_every_decision() {
    let server = Server::start().await;
    let _agent = Agent::start(&server.runtime, |arm| if arm == "shop-2" { 80 } else { 1 });
    server.ship("1.0.0", "one").await;
    server
        .wait("/api/v1/rollouts/shop-1", |it| it["outcome"] == "shipped")
        .await;
    server.ship("1.1.0", "two").await;
    server
        .wait("/api/v1/rollouts/shop-2", |it| {
            it["outcome"] == "rolled_back"
        })
        .await;

    let id: LaneId = "shop/production".parse().unwrap();
    let store = server.runtime.store();
    let kept = store.lane(&id).await.unwrap().unwrap();
    let state: Lane = serde_json::from_value(kept.state.unwrap()).unwrap();
    let filter = EventFilter {
        lane: Some(id.clone()),
        limit: 5_000,
        ..EventFilter::default()
    };
    let rows = store.events(&filter).await.unwrap();
    let events: Vec<Event> = rows
        .iter()
        .map(|row| serde_json::from_value(row.body.clone()).unwrap())
        .collect();
    assert_eq!(
        events.iter().fold(Lane::new(id.clone()), evolve),
        state,
        "folding the events gives the state"
    );

    let mut lane = Arc::new(Lane::new(id.clone()));
    let mut decided = Vec::new();
    for row in store.inputs(&id, 0, 5_000).await.unwrap() {
        let input: Input = serde_json::from_value(row.input).unwrap();
        let decision = decide(&lane, &input, row.at);
        decided.extend(decision.events);
        lane = decision.lane;
    }
    assert_eq!(
        decided, events,
        "deciding again on the recorded inputs gives the same events"
    );
    let words: Vec<String> = decided.iter().map(Event::message).collect();
    let told: Vec<String> = rows.into_iter().map(|row| row.message).collect();
    assert_eq!(words, told, "and the same words");
}
