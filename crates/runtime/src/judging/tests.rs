use super::*;
use crate::make::{Home, at, availability, home, on_trial, service, traffic};
use airboss_judge::Verdict;
use airboss_judge::calibration::SliCalibration;
use airboss_model::metrics::Reading;
use airboss_model::traffic::RouteCounts;
use serde_json::json;

async fn resume(lane: &Lane, home: &Home, history: Option<Calibration>) -> Judging {
    let rollout = lane.active.as_ref().unwrap();
    Judging::resume(rollout, &*home.store, history)
        .await
        .unwrap()
}

async fn observe(
    judging: &mut Judging,
    lane: &Lane,
    traffic: &LaneTraffic,
    second: u64,
    home: &Home,
) -> Option<Arc<Assessment>> {
    let said = judging
        .observe(lane, 1, traffic, at(second), &*home.store)
        .await;
    said.unwrap().map(|(_, assessment)| assessment)
}

#[tokio::test]
async fn a_late_report_is_waited_for_and_a_silent_agent_is_told_of() {
    let home = home().await;
    let lane = on_trial(&service(availability()));
    let mut judging = resume(&lane, &home, None).await;
    let (silent, heard) = (LaneTraffic::default(), traffic(0, Some(0)));
    observe(&mut judging, &lane, &heard, 1, &home)
        .await
        .unwrap();
    for second in [2, 3] {
        assert_eq!(
            observe(&mut judging, &lane, &silent, second, &home).await,
            None
        );
    }
    let late = observe(&mut judging, &lane, &heard, 3, &home)
        .await
        .unwrap();
    assert_ne!(late.verdict, Verdict::SourceDown);
    for second in [4, 5] {
        assert_eq!(
            observe(&mut judging, &lane, &silent, second, &home).await,
            None
        );
    }
    let gone = observe(&mut judging, &lane, &silent, 6, &home)
        .await
        .unwrap();
    assert_eq!(gone.verdict, Verdict::SourceDown);
    let back = observe(&mut judging, &lane, &heard, 7, &home)
        .await
        .unwrap();
    assert_ne!(back.verdict, Verdict::SourceDown);
}

#[tokio::test]
async fn what_was_known_of_the_service_is_recorded_and_replays_word_for_word() {
    let home = home().await;
    let lane = on_trial(&service(availability()));
    let history = Calibration {
        slis: vec![SliCalibration {
            name: "availability".to_owned(),
            level: Some(0.02),
            ..SliCalibration::default()
        }],
        seconds: 60,
    };
    let mut judging = resume(&lane, &home, Some(history.clone())).await;
    for second in 1..SNAPSHOT_EVERY + 5 {
        let traffic = traffic(second % 3, Some(second % 4));
        observe(&mut judging, &lane, &traffic, second, &home).await;
    }
    // The whole record, from its first row on, without what the lane knows by now.
    let rows = home.store.evidence(judging.rollout(), 0, 0).await.unwrap();
    let first: Evidence = serde_json::from_str(&rows[0].body).unwrap();
    assert_eq!(first.history, Some(history.clone()));
    let mut replayed = super::judge(&judging.rollout, &judging.config, Some(&history)).unwrap();
    for row in rows {
        let evidence: Evidence = serde_json::from_str(&row.body).unwrap();
        take(&mut replayed, &evidence);
    }
    assert_eq!(replayed, judging.judge);
    let resumed = resume(&lane, &home, None).await;
    let computed = computation(&judging.rollout, &*home.store).await.unwrap();
    assert_eq!(computed, Some(replayed.explain()));
    assert_eq!((resumed.judge, resumed.began), (replayed, judging.began));
}

#[tokio::test]
async fn a_metric_that_stops_in_the_middle_of_a_step_is_named_and_holds_the_lane() {
    let home = home().await;
    let lane = on_trial(&service(json!([
        { "name": "availability", "objective": "99%", "bad": "status >= 500" },
        { "name": "payments", "objective": "99%", "bad": "status >= 500", "routes": ["POST /pay"] },
    ])));
    // Everybody pays; later nobody does on the new version, and all else goes on.
    let second = |canary_pays: bool| {
        let mut traffic = traffic(0, Some(0));
        for (arm, instances) in &mut traffic.arms {
            for counts in instances.values_mut() {
                if canary_pays || arm.as_str() == "shop-1" {
                    let paid = RouteCounts {
                        drawn: counts.requests,
                        by_status: counts.by_status.clone(),
                        latency: counts.latency.clone(),
                    };
                    counts.routes = [("POST /pay".to_owned(), paid)].into();
                }
            }
        }
        traffic
    };
    let mut judging = resume(&lane, &home, None).await;
    for t in 1..20 {
        observe(&mut judging, &lane, &second(true), t, &home).await;
    }
    let mut said = None;
    for t in 20..300 {
        said = observe(&mut judging, &lane, &second(false), t, &home).await;
    }
    let said = said.unwrap();
    assert_eq!(said.verdict, Verdict::NotEnoughData, "{}", said.reason);
    assert_eq!(
        said.reason,
        "payments: no data of the new version since second 19"
    );
    let input = airboss_engine::Input::Assessed {
        rollout: judging.rollout().clone(),
        step: 0,
        assessment: Arc::clone(&said),
    };
    let decision = airboss_engine::decide(&lane.into(), &input, at(300));
    let phase = &decision.lane.active.as_ref().unwrap().phase;
    assert!(
        matches!(phase, Phase::Observing { step: 0, .. }),
        "{phase:?}"
    );
}

#[tokio::test]
async fn what_instances_say_of_themselves_takes_a_dear_version_back_before_its_step_passes() {
    let home = home().await;
    let mut service = service(availability());
    service.spec.guardrails = serde_json::from_value(json!([
        { "name": "cost", "gauge": "cost_dollars_per_hour" },
        { "name": "hits", "share": "hits_total", "of": "lookups_total", "better": "higher" },
    ]))
    .unwrap();
    let lane = on_trial(&service);
    let second = |t: u64, dear: f64, hits: bool| {
        let mut traffic = traffic(0, Some(0));
        for (arm, instances) in &mut traffic.arms {
            let cost = if arm.as_str() == "shop-2" { dear } else { 1.0 };
            for (number, counts) in instances.values_mut().enumerate() {
                let wave = 1.0 + 0.01 * ((t + number as u64) as f64).sin();
                let risen = |by: f64| Reading::of(by, Some((0.0, 1_000)));
                counts.metrics = [
                    (
                        "cost_dollars_per_hour".to_owned(),
                        Reading::of(cost * wave, None),
                    ),
                    ("hits_total".to_owned(), risen(90.0)),
                    ("lookups_total".to_owned(), risen(100.0)),
                ]
                .into();
                if !hits {
                    counts.metrics.remove("hits_total");
                }
            }
        }
        traffic
    };
    for (dear, hits, wanted) in [
        (3.0, true, Verdict::Fail),
        (1.0, true, Verdict::Pass),
        (1.0, false, Verdict::NotEnoughData),
    ] {
        let mut judging = resume(&lane, &home, None).await;
        let mut last = None;
        for t in 1..450 {
            let heard = judging.hear(&lane, &second(t, dear, hits), at(t)).unwrap();
            let (_, said) = judging.accept(heard.unwrap());
            assert!(t > 60 || said.verdict != Verdict::Pass, "{}", said.reason);
            let ended = matches!(said.verdict, Verdict::Fail | Verdict::Pass);
            last = Some(said);
            if ended {
                break;
            }
        }
        let said = last.unwrap();
        assert_eq!(said.verdict, wanted, "{}", said.reason);
        match wanted {
            Verdict::Fail => assert!(
                said.reason.starts_with("cost: 3 against 1 "),
                "{}",
                said.reason
            ),
            Verdict::NotEnoughData => {
                assert_eq!(said.reason, "hits: no data of either version yet")
            }
            _ => assert_eq!(said.slis[2].canary.ratio(), Some(0.9)),
        }
    }
}

#[tokio::test]
async fn a_second_without_requests_is_no_silence() {
    let home = home().await;
    let lane = on_trial(&service(availability()));
    let mut judging = resume(&lane, &home, None).await;
    for second in 1..20 {
        observe(&mut judging, &lane, &traffic(1, Some(0)), second, &home).await;
    }
    let before = judging.assessment().unwrap().verdict;
    let idle = LaneTraffic {
        reports: 5,
        ..LaneTraffic::default()
    };
    let quiet = observe(&mut judging, &lane, &idle, 20, &home)
        .await
        .unwrap();
    assert_eq!(quiet.verdict, before);
    let mut last = quiet;
    for second in 21..60 {
        last = observe(&mut judging, &lane, &idle, second, &home)
            .await
            .unwrap();
    }
    assert_eq!(
        last.verdict,
        Verdict::NotEnoughData,
        "no data is never a pass"
    );
}
