//! What a lane learns, forgets and spends.

use super::*;
use crate::make::{Home, at, availability, home, lane, on_trial, service, traffic};
use serde_json::json;

async fn load(home: &Home) -> History {
    let lane = "shop/production".parse().unwrap();
    History::load(&lane, &*home.store).await.unwrap()
}

/// Seconds with a bad request now and then, the notes kept as they are due.
async fn live(history: &mut History, lane: &Lane, seconds: std::ops::Range<u64>, home: &Home) {
    for second in seconds {
        let traffic = traffic(u64::from(second % 5 == 0), None);
        for note in history.observe(lane, &traffic, at(second)).unwrap() {
            home.store.put_note(&note).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_quarter_of_an_hour_of_stable_calibrates_and_survives_a_restart() {
    let home = home().await;
    let service = service(availability());
    let lane = lane(&service);
    let mut history = load(&home).await;
    assert_eq!(history.calibration(&service), None);
    live(&mut history, &lane, 0..ENOUGH_SECONDS + KEEP_EVERY, &home).await;
    let again = load(&home).await;
    let known = again.calibration(&service).unwrap();
    let sli = known.sli("availability").unwrap();
    assert!((sli.level.unwrap() - 0.2 / 225.0).abs() < 1e-5, "{known:?}");
    assert_eq!(sli.steps.len(), 2, "each step below 100 %");
    // After the restart, a minute of new traffic does not displace the lesson.
    let mut again = again;
    live(&mut again, &lane, 2_000..2_060, &home).await;
    assert_eq!(again.calibration(&service), Some(known));
    let usual = again.learnt().unwrap().usual.clone().unwrap();
    assert_eq!(usual.requests_per_second, 900.0);
}

#[tokio::test]
async fn a_promise_that_changed_is_learnt_anew() {
    let home = home().await;
    let then = service(availability());
    let mut history = load(&home).await;
    live(&mut history, &lane(&then), 0..100, &home).await;
    let now =
        service(json!([{ "name": "availability", "objective": "99%", "bad": "status == 404" }]));
    assert!(history.calibration(&then).is_some());
    assert_eq!(history.calibration(&now), None);
}

#[tokio::test]
async fn after_an_hours_lesson_a_lane_rests_until_it_is_time_or_the_version_changes() {
    let home = home().await;
    let service = service(availability());
    let mut lane = lane(&service);
    let mut history = load(&home).await;
    live(&mut history, &lane, 0..LESSON + 1, &home).await;
    assert!(history.lessons.is_none());
    assert_eq!(history.calibration(&service).unwrap().seconds, LESSON);
    let later = LESSON + REST;
    live(&mut history, &lane, later - 10..later - 1, &home).await;
    assert!(history.lessons.is_none());
    live(&mut history, &lane, later..later + 1, &home).await;
    assert!(history.lessons.is_some());
    live(&mut history, &lane, later + 1..later + LESSON + 1, &home).await;
    assert!(history.lessons.is_none());
    if let Some(stable) = &mut lane.stable {
        stable.arm = "shop-9".parse().unwrap();
    }
    live(
        &mut history,
        &lane,
        later + LESSON + 1..later + LESSON + 2,
        &home,
    )
    .await;
    assert!(history.lessons.is_some(), "a new version teaches at once");
    assert_eq!(history.calibration(&service).unwrap().seconds, LESSON);
}

#[test]
fn weights_that_stand_for_the_same_instances_are_learnt_once() {
    let mut service = service(availability());
    assert_eq!(weights(&service), [0.5, 0.1], "of four instances");
    let Target::Process(process) = &mut service.spec.target;
    process.instances = 2;
    assert_eq!(weights(&service), [0.5]);
}

#[tokio::test]
async fn exposed_seconds_spend_budgets_and_teach_nothing() {
    let home = home().await;
    let service = service(availability());
    let trial = on_trial(&service);
    let mut history = load(&home).await;
    for second in 0..20 {
        history
            .observe(&trial, &traffic(0, Some(50)), at(second))
            .unwrap();
    }
    assert_eq!(history.calibration(&service), None);
    let learnt = history.learnt().unwrap();
    assert_eq!(learnt.usual, None);
    let spent = learnt.slos[0].budget.window(3_600);
    assert_eq!(
        (spent.bad * 20, spent.requests % 1_000),
        (spent.requests, 0)
    );
    let list = stretches(&learnt.slos[0].budget);
    assert_eq!(list, [spent]);
}

#[tokio::test]
async fn budgets_go_on_where_they_were_after_a_restart() {
    let home = home().await;
    let lane = lane(&service(availability()));
    let mut history = load(&home).await;
    live(&mut history, &lane, 0..KEEP_BUDGETS_EVERY, &home).await;
    let mut again = load(&home).await;
    live(
        &mut again,
        &lane,
        KEEP_BUDGETS_EVERY..KEEP_BUDGETS_EVERY + 1,
        &home,
    )
    .await;
    let requests = again.learnt().unwrap().slos[0]
        .budget
        .window(3_600)
        .requests;
    assert_eq!(requests, (KEEP_BUDGETS_EVERY + 1) * 900);
}
