//! Several controllers over PostgreSQL: what may fail, and what does not.

use serde_json::Value;
use xtask::versions::GOOD;

use crate::harness::relay::Way;
use crate::harness::{Manifest, Replicas, http};

/// A step of a tenth that nobody sends requests to: it waits for people.
async fn observing(manifest: &Manifest) -> Replicas {
    let replicas = Replicas::serving(manifest).await;
    replicas.house.ship(GOOD, &[]).await.ended(0);
    until_observing(&replicas).await;
    replicas
}

async fn until_observing(replicas: &Replicas) -> Value {
    replicas
        .house
        .until_lane("the first step is observed", |lane| {
            lane["rollout"]["phase"] == "observing" && lane["traffic"]["confirmed"] == true
        })
        .await
}

fn slow() -> Manifest {
    Manifest {
        steps: "[10%, 100%]",
        ..Manifest::default()
    }
}

async fn ends_shipped(replicas: &Replicas) {
    replicas
        .house
        .run(&["promote", "checkout-2"])
        .await
        .ended(0);
    let rollout = replicas.house.until_ended("checkout-2").await;
    assert_eq!(rollout["outcome"], "shipped", "{rollout:#}");
    replicas.house.until_only("1.1.0").await;
    replicas.assert_sound().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_controller_takes_commands_and_the_death_of_the_owner_loses_none() {
    let mut replicas = observing(&slow()).await;
    let owner = replicas.owner().unwrap();
    // One that does not own the lane shows it and carries a command to it.
    let other = (owner + 1) % 3;
    replicas.talk_to(other);
    until_observing(&replicas).await;
    replicas.house.run(&["pause", "checkout-2"]).await.ended(0);
    let paused = |lane: &Value| lane["rollout"]["phase"] == "paused";
    replicas.house.until_lane("paused", paused).await;

    let pid = replicas.all[owner].pid;
    replicas.house.kill(pid);
    // Accepted while nobody owns the lane; decided by who takes it over.
    replicas.house.run(&["resume", "checkout-2"]).await.ended(0);
    replicas.until_taken_from(owner).await;
    let third = (owner + 2) % 3;
    replicas.talk_to(third);
    until_observing(&replicas).await;
    ends_shipped(&replicas).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_goes_away_and_comes_back_loses_nothing() {
    let mut replicas = observing(&slow()).await;
    replicas.talk_to(0);
    replicas.database.make("crash");
    let address = replicas.all[0]
        .url
        .trim_start_matches("http://")
        .parse()
        .unwrap();
    let token = std::fs::read_to_string(replicas.house.data().join("token")).unwrap();
    let request = format!(
        "GET /api/v1/rollouts HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    replicas
        .house
        .until("who asks is told to come again", async || {
            let answer = http::raw(address, request.as_bytes()).await;
            answer.is_ok_and(|(status, text)| {
                status == 503 && text.to_ascii_lowercase().contains("retry-after:")
            })
        })
        .await;
    // Users are served all the while.
    assert!(http::version(replicas.house.listen).await.is_some());
    replicas.database.make("start");
    until_observing(&replicas).await;
    ends_shipped(&replicas).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_takes_over_knows_all_that_was_acknowledged() {
    let mut replicas = observing(&slow()).await;
    let primary = replicas.database.folder.clone();
    let start = move || xtask::postgres::Server::start(&["--standby-of", &primary]);
    let standby = tokio::task::spawn_blocking(start).await.unwrap();
    replicas.house.run(&["pause", "checkout-2"]).await.ended(0);

    replicas.database.make("crash");
    standby.make("promote");
    replicas.lead_all(&Way::To(standby.folder.clone()));
    replicas.database = standby;
    let paused = |lane: &Value| lane["rollout"]["phase"] == "paused";
    replicas.talk_to(1);
    replicas.house.until_lane("still paused", paused).await;
    replicas.house.run(&["resume", "checkout-2"]).await.ended(0);
    until_observing(&replicas).await;
    ends_shipped(&replicas).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_cut_off_from_the_database_is_neither_obeyed_nor_missed() {
    let mut replicas = observing(&slow()).await;
    let owner = replicas.owner().unwrap();
    replicas.talk_to((owner + 1) % 3);
    replicas.all[owner].relay.lead(Way::Cut);
    replicas.until_taken_from(owner).await;
    // The agent hears both; it obeys who holds the newest claim.
    replicas.house.run(&["abort", "checkout-2"]).await.ended(0);
    let rollout = replicas.house.until_ended("checkout-2").await;
    assert_eq!(rollout["outcome"], "aborted", "{rollout:#}");
    replicas.house.until_only("1.0.0").await;
    // Back in the network it is a controller as any other.
    let way = Way::To(replicas.database.folder.clone());
    replicas.all[owner].relay.lead(way);
    replicas.talk_to(owner);
    let same = |lane: &Value| lane["rollout"].is_null();
    replicas
        .house
        .until_lane("what the others did is seen", same)
        .await;
    replicas.house.until_only("1.0.0").await;
    replicas.assert_sound().await;
}
