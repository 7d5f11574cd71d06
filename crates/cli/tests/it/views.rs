//! Views made by hand.

use airboss_server::api::views::*;

const DIGEST: &str = "sha256:ab12cd34ef567890ab12cd34ef567890ab12cd34ef567890ab12cd34ef567890";

pub fn instance(name: &str, state: &str, pid: u32) -> InstanceView {
    InstanceView {
        name: name.into(),
        state: state.into(),
        pid: Some(pid),
        address: Some(format!("127.0.0.1:{}", 40_000 + pid % 1000)),
        restarts: 0,
        last_error: None,
    }
}

pub fn arm(id: &str, role: &str, version: &str, instances: Vec<InstanceView>) -> ArmView {
    let ready = instances.iter().filter(|one| one.state == "ready").count();
    ArmView {
        arm: id.into(),
        role: role.into(),
        version: Some(version.into()),
        wanted: u32::try_from(instances.len()).unwrap(),
        ready: u32::try_from(ready).unwrap(),
        instances,
        failed: None,
        recent: None,
    }
}

pub fn stable_only() -> LaneView {
    LaneView {
        service: "checkout".into(),
        environment: "production".into(),
        now: "2026-11-22T12:01:05.250Z".into(),
        listen: Some("127.0.0.1:8080".into()),
        stable: Some(VersionView {
            rollout: "checkout-6".into(),
            version: "1.3.0".into(),
            digest: DIGEST.replace("ab12", "0f0f"),
            since: "2026-11-21T09:00:00Z".into(),
        }),
        rollout: None,
        blind_spots: vec!["`GET /export` is 0.2 % of the requests: if all of them failed no step would notice, which finds 0.4 % and more; give it an SLO of its own".into()],
        queue: vec![],
        arms: vec![ArmView {
            recent: Some(RecentView {
                requests_per_second: 45.2,
                error_ratio: 0.001,
                p50_ms: 3.12,
                p99_ms: 11.4,
            }),
            ..arm(
                "checkout-6",
                "stable",
                "1.3.0",
                vec![
                    instance("checkout-6.0", "ready", 4711),
                    instance("checkout-6.1", "ready", 4712),
                ],
            )
        }],
        traffic: TrafficView {
            set: "0%".into(),
            observed: Some("0%".into()),
            measured: None,
            confirmed: true,
            generation: 4,
            lease_expired_at: None,
        },
        agent: AgentView {
            id: Some("web-1".into()),
            version: Some("0.1.0".into()),
            last_seen: Some("2026-11-22T12:01:05Z".into()),
            lost_since: None,
            ..AgentView::default()
        },
        problems: vec![],
        moved_tags: vec![],
        budgets: vec![],
        last_event: 120,
    }
}

pub fn step(weight: &str, state: &str) -> StepView {
    StepView {
        weight: weight.into(),
        state: state.into(),
    }
}

pub fn gate(name: &str, verdict: &str, bad: u64) -> GateView {
    GateView {
        name: name.into(),
        verdict: verdict.into(),
        value: Some(bad as f64 / 512.0),
        baseline: Some(0.001),
        bound: 0.0015,
        samples: 512,
        bad,
        odds: 3.2,
        pass_odds: 8.1,
        pass_at_odds: 20.0,
        fail_at_odds: None,
        level: None,
        baseline_level: None,
        critical: true,
        advisory: false,
        reason: String::new(),
    }
}

pub fn mid_step() -> LaneView {
    let mut lane = stable_only();
    lane.rollout = Some(ProgressView {
        evidence: vec![],
        held_by_evidence: None,
        id: "checkout-7".into(),
        version: "1.4.0".into(),
        digest: DIGEST.into(),
        by: "ada@example.org".into(),
        started_at: "2026-11-22T12:00:00Z".into(),
        strategy: "canary".into(),
        note: None,
        phase: "observing".into(),
        phase_since: "2026-11-22T12:00:53Z".into(),
        paused_by: None,
        rollback_reason: None,
        stalled_since: None,
        steps: vec![
            step("1%", "done"),
            step("10%", "now"),
            step("50%", "ahead"),
            step("100%", "ahead"),
        ],
        verdict: Some(VerdictView {
            verdict: "undecided".into(),
            reason: "no harm seen; the proof is under way".into(),
            odds: 3.2,
            fail_at_odds: 1000.0,
            seconds_to_verdict: Some(38.0),
            ticks: 12,
            gates: vec![
                gate("availability", "undecided", 1),
                GateView {
                    critical: false,
                    ..gate("latency", "pass", 0)
                },
                GateView {
                    critical: false,
                    value: None,
                    level: Some(12.4),
                    baseline_level: Some(9.0),
                    fail_at_odds: Some(5_000.0),
                    ..gate("queue", "undecided", 0)
                },
            ],
            mix: Some(MixView {
                score: Some(0.62),
                verdict: "unlike".into(),
                unseen: vec!["POST /pay".into()],
                reason: "the canary's requests are not like stable's (62 % alike): GET / is 90 % of them against 52 %".into(),
            }),
        }),
        next: Some(NextView {
            at: "2026-11-22T12:20:53Z".into(),
            what: "step to 50%, or hold where there is no proof".into(),
        }),
        forecast: vec![],
    });
    lane.arms.push(ArmView {
        recent: Some(RecentView {
            requests_per_second: 5.1,
            error_ratio: 0.002,
            p50_ms: 4.02,
            p99_ms: 14.9,
        }),
        ..arm(
            "checkout-7",
            "canary",
            "1.4.0",
            vec![instance("checkout-7.0", "ready", 4720)],
        )
    });
    lane.traffic = TrafficView {
        set: "10%".into(),
        observed: Some("10%".into()),
        measured: Some(0.101),
        confirmed: true,
        generation: 7,
        lease_expired_at: None,
    };
    lane
}

pub fn rolling_back() -> LaneView {
    let mut lane = mid_step();
    let rollout = lane.rollout.as_mut().unwrap();
    rollout.phase = "rolling_back".into();
    rollout.phase_since = "2026-11-22T12:01:04Z".into();
    rollout.rollback_reason =
        Some("availability: 21.9% bad where stable has 0.10%, odds 48,000 : 1".into());
    rollout.next = None;
    rollout.steps[2].state = "not_reached".into();
    rollout.steps[3].state = "not_reached".into();
    let verdict = rollout.verdict.as_mut().unwrap();
    verdict.verdict = "fail".into();
    verdict.reason = "availability is worse than its margin".into();
    verdict.seconds_to_verdict = None;
    verdict.gates[0] = GateView {
        odds: 48_000.0,
        pass_odds: 0.0004,
        ..gate("availability", "fail", 112)
    };
    lane.traffic.set = "0%".into();
    lane.traffic.confirmed = false;
    lane.traffic.generation = 8;
    lane.arms[1].instances[0] = InstanceView {
        restarts: 3,
        last_error: Some("exited with status 101: thread 'main' panicked at src/cart.rs:42".into()),
        ..instance("checkout-7.0", "crashed", 4720)
    };
    lane.arms[1].ready = 0;
    lane
}

pub fn first() -> LaneView {
    let mut lane = mid_step();
    lane.stable = None;
    lane.arms.remove(0);
    lane.arms[0].ready = 0;
    lane.arms[0].instances[0] = InstanceView {
        address: None,
        ..instance("checkout-1.0", "starting", 900)
    };
    lane.arms[0].arm = "checkout-1".into();
    lane.arms[0].recent = None;
    let rollout = lane.rollout.as_mut().unwrap();
    rollout.id = "checkout-1".into();
    rollout.strategy = "all_at_once".into();
    rollout.phase = "preparing".into();
    rollout.note = Some("no baseline exists: absolute SLO gates apply".into());
    rollout.steps = vec![step("100%", "now")];
    rollout.verdict = None;
    rollout.next = Some(NextView {
        at: "2026-11-22T12:01:15Z".into(),
        what: "give up where no instance is ready".into(),
    });
    lane.traffic = TrafficView {
        set: "0%".into(),
        observed: None,
        measured: None,
        confirmed: false,
        generation: 1,
        lease_expired_at: None,
    };
    lane
}

pub fn queued() -> LaneView {
    let mut lane = mid_step();
    let rollout = lane.rollout.as_mut().unwrap();
    rollout.phase = "paused".into();
    rollout.paused_by = Some("bob@example.org".into());
    rollout.next = None;
    lane.queue = vec![
        QueuedView {
            evidence: vec![],
            blocked: false,
            rollout: "checkout-8".into(),
            version: "1.5.0".into(),
            by: "eve@example.org".into(),
            at: "2026-11-22T11:59:05Z".into(),
        },
        QueuedView {
            evidence: vec![],
            blocked: false,
            rollout: "checkout-9".into(),
            version: "1.5.1".into(),
            by: "eve@example.org".into(),
            at: "2026-11-22T12:01:00Z".into(),
        },
    ];
    lane
}

pub fn agent_lost() -> LaneView {
    let mut lane = mid_step();
    lane.agent.lost_since = Some("2026-11-22T12:00:20Z".into());
    lane.rollout.as_mut().unwrap().stalled_since = Some("2026-11-22T12:00:25Z".into());
    lane.traffic.lease_expired_at = Some("2026-11-22T12:01:20Z".into());
    lane.problems = vec!["127.0.0.1:8080 is taken by process 77 (nginx)".into()];
    lane
}

pub fn event(number: u64, kind: &str, message: &str) -> EventView {
    EventView {
        number,
        service: "checkout".into(),
        environment: "production".into(),
        rollout: Some("checkout-7".into()),
        at: format!("2026-11-22T12:00:{:02}.120Z", number % 60),
        kind: kind.into(),
        message: message.into(),
        body: serde_json::json!({ "event": kind }),
    }
}

pub fn rollout(id: &str, outcome: Option<&str>, reason: &str) -> RolloutView {
    RolloutView {
        id: id.into(),
        service: "checkout".into(),
        environment: "production".into(),
        version: "1.4.0".into(),
        digest: DIGEST.into(),
        phase: if outcome.is_some() {
            "ended"
        } else {
            "observing"
        }
        .into(),
        outcome: outcome.map(str::to_owned),
        reason: reason.into(),
        by: "ada@example.org".into(),
        created_at: "2026-11-22T12:00:00Z".into(),
        updated_at: "2026-11-22T12:04:12Z".into(),
        ended_at: outcome.map(|_| "2026-11-22T12:04:12.900Z".to_owned()),
    }
}
