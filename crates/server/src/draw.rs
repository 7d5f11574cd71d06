//! From the engine's state to what readers see.

use airboss_engine::{Lane, Phase, Rollout, next_deadline};
use airboss_judge::coverage::Representativeness;
use airboss_judge::{Assessment, SliAssessment};
use airboss_model::manifest::{Target, Then};
use airboss_model::target::{InstanceState, ObservedInstance};
use airboss_model::{ArmId, RolloutId, Timestamp};
use airboss_runtime::Snapshot;
use airboss_runtime::hub::AgentInfo;
use airboss_store::{EventRow, RolloutRow};

use crate::api::evidence::ItemView;
use crate::api::views::{
    AgentView, ArmView, EventView, GateView, InstanceView, LaneView, MixView, NextView,
    ProgressView, QueuedView, RecentView, RolloutView, StepView, TrafficView, VerdictView,
    VersionView,
};
use crate::dossier;
use crate::lost;
use crate::promises::{blind_spots, budgets, forecast};

/// Odds beyond this are all the same to a person, and JSON has no infinity.
const ODDS_MAX: f64 = 1e15;

/// A lane, whole.
pub fn lane(
    snapshot: &Snapshot,
    (agent, name): (Option<&AgentInfo>, Option<String>),
    now: Timestamp,
    last_event: u64,
) -> LaneView {
    let lane = &snapshot.lane;
    // A release may bring another address; users are at stable's until it is stable itself.
    let service = lane
        .stable
        .as_ref()
        .map(|stable| &stable.service)
        .or(lane.active.as_ref().map(|active| &active.request.service));
    LaneView {
        service: lane.id.service().to_string(),
        environment: lane.id.environment().to_string(),
        now: now.to_string(),
        listen: service.map(|service| {
            let Target::Process(process) = &service.spec.target;
            process.listen.clone()
        }),
        stable: lane.stable.as_ref().map(|stable| VersionView {
            rollout: stable.arm.to_string(),
            version: stable.release.version().to_owned(),
            digest: stable.digest.to_string(),
            since: stable.since.to_string(),
        }),
        rollout: lane
            .active
            .as_ref()
            .map(|rollout| progress(snapshot, rollout)),
        queue: lane
            .queue
            .iter()
            .map(|waiting| QueuedView {
                rollout: waiting.rollout.to_string(),
                version: waiting.release.version().to_owned(),
                by: waiting.by.clone(),
                at: waiting.at.to_string(),
                evidence: waiting.evidence.iter().map(dossier::item).collect(),
                blocked: !lane.lacking(waiting, now).is_empty(),
            })
            .collect(),
        arms: arms(snapshot),
        traffic: traffic(snapshot),
        agent: AgentView {
            name,
            lost_since: lane.target_lost.map(|at| at.to_string()),
            effect: lost::effect(lane, agent.is_some(), now),
            ..agent_view(agent)
        },
        moved_tags: Vec::new(),
        problems: lane
            .seen
            .as_ref()
            .map(|seen| seen.problems.clone())
            .unwrap_or_default(),
        budgets: snapshot
            .learnt
            .iter()
            .flat_map(|learnt| budgets(learnt))
            .collect(),
        blind_spots: unseen(snapshot),
        last_event,
    }
}

/// What the SLOs of the newest manifest do not see of the usual requests.
pub fn unseen(snapshot: &Snapshot) -> Vec<String> {
    let lane = &snapshot.lane;
    let newest = lane.active.as_ref().map(|active| &active.request.service);
    let service = newest.or(lane.stable.as_ref().map(|stable| &stable.service));
    match (service, &snapshot.learnt) {
        (Some(service), Some(learnt)) => blind_spots(service, learnt),
        _ => Vec::new(),
    }
}

/// An agent; empty where none has reported.
pub fn agent_view(agent: Option<&AgentInfo>) -> AgentView {
    AgentView {
        id: agent.map(|agent| agent.id.clone()),
        version: agent.map(|agent| agent.version.clone()),
        last_seen: agent.map(|agent| agent.last_seen.to_string()),
        ..AgentView::default()
    }
}

fn progress(snapshot: &Snapshot, rollout: &Rollout) -> ProgressView {
    let (lane, assessment) = (&snapshot.lane, snapshot.assessment.as_deref());
    let since = match &rollout.phase {
        Phase::Preparing { since, .. }
        | Phase::Shifting { since, .. }
        | Phase::Observing { since, .. }
        | Phase::Draining { since, .. }
        | Phase::RollingBack { since, .. } => *since,
    };
    let rollback_reason = match &rollout.phase {
        Phase::RollingBack { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    ProgressView {
        id: rollout.id().to_string(),
        version: rollout.request.release.version().to_owned(),
        digest: rollout.request.digest.to_string(),
        by: rollout.request.by.clone(),
        started_at: rollout.started_at.to_string(),
        strategy: rollout.plan.strategy.clone(),
        note: rollout.plan.note.clone(),
        phase: rollout.phase_name().to_owned(),
        phase_since: since.to_string(),
        paused_by: rollout.paused.as_ref().map(|paused| paused.by.clone()),
        rollback_reason,
        stalled_since: rollout.stalled_since.map(|at| at.to_string()),
        evidence: rollout.request.evidence.iter().map(dossier::item).collect(),
        held_by_evidence: held_by_evidence(rollout),
        steps: steps(rollout),
        verdict: assessment.map(verdict),
        next: next(lane, rollout),
        forecast: forecast(snapshot, rollout),
    }
}

/// The required items that keep a rollout from starting or from its next step.
pub fn lacking(snapshot: &Snapshot, id: &RolloutId, now: Timestamp) -> Vec<ItemView> {
    let lane = &snapshot.lane;
    let waiting = lane.queue.iter().find(|it| it.rollout == *id);
    let active = lane.active.as_ref().filter(|it| it.id() == id);
    let items = match (waiting, active) {
        (Some(request), _) if !lane.lacking(request, now).is_empty() => &request.evidence,
        (None, Some(rollout)) if held_by_evidence(rollout).is_some() => &rollout.request.evidence,
        _ => return Vec::new(),
    };
    let open = items.iter().filter(|it| !it.passed());
    open.map(dossier::item).collect()
}

fn held_by_evidence(rollout: &Rollout) -> Option<String> {
    rollout.phase.step()?;
    let lacking: Vec<String> = rollout.shaken().iter().map(ToString::to_string).collect();
    (!lacking.is_empty()).then(|| lacking.join("; "))
}

fn steps(rollout: &Rollout) -> Vec<StepView> {
    let state = |index: usize| match (&rollout.phase, rollout.phase.step()) {
        (Phase::Draining { .. }, _) => "done",
        (Phase::RollingBack { .. }, _) | (_, None) => "not_reached",
        (_, Some(step)) if index < step => "done",
        (_, Some(step)) if index == step => "now",
        _ => "ahead",
    };
    rollout
        .plan
        .steps
        .iter()
        .enumerate()
        .map(|(index, step)| StepView {
            weight: step.weight.to_string(),
            state: state(index).to_owned(),
        })
        .collect()
}

fn next(lane: &Lane, rollout: &Rollout) -> Option<NextView> {
    let at = next_deadline(lane)?.to_string();
    let what = match &rollout.phase {
        Phase::Preparing { .. } => "gives up unless the instances are ready".to_owned(),
        Phase::Shifting { .. } => {
            "tells people unless the data plane confirms the weight".to_owned()
        }
        Phase::Observing { step, .. } => {
            let step = rollout.plan.steps.get(*step)?;
            if step.needs_pass {
                let then = match step.then {
                    Then::Hold => "holds",
                    Then::Promote => "goes on by policy",
                    Then::Rollback => "rolls back by policy",
                };
                let idle = rollout
                    .verdict
                    .as_ref()
                    .is_some_and(|note| note.verdict == airboss_judge::Verdict::NotEnoughData);
                let hint = if idle {
                    "; too few requests reach both versions: send some, or end the step with `airboss promote`"
                } else {
                    ""
                };
                format!("goes on as soon as the evidence suffices, else {then}{hint}")
            } else {
                "the new version becomes stable".to_owned()
            }
        }
        Phase::Draining { .. } => "ends, drained or not".to_owned(),
        Phase::RollingBack {
            returned_at: Some(_),
            ..
        } => "ends, drained or not".to_owned(),
        Phase::RollingBack { .. } => "asks the target again".to_owned(),
    };
    Some(NextView { at, what })
}

fn mix(mix: &Representativeness) -> MixView {
    let verdict = match mix.representative {
        Some(true) => "alike",
        Some(false) => "unlike",
        None => "unknown",
    };
    MixView {
        score: mix.representative.map(|_| mix.score),
        verdict: verdict.to_owned(),
        unseen: mix.unseen.iter().map(|(kind, _)| kind.clone()).collect(),
        reason: mix.reason.clone(),
    }
}

/// The judge's words and numbers.
pub fn verdict(assessment: &Assessment) -> VerdictView {
    VerdictView {
        verdict: assessment.verdict.as_str().to_owned(),
        reason: assessment.reason.clone(),
        odds: odds(assessment.log_e),
        fail_at_odds: odds(assessment.fail_at),
        seconds_to_verdict: assessment
            .seconds_to_verdict
            .filter(|seconds| seconds.is_finite()),
        ticks: assessment.ticks,
        gates: assessment
            .slis
            .iter()
            .map(|sli| gate(sli, assessment.pass_at))
            .collect(),
        mix: assessment.mix.as_ref().map(mix),
    }
}

fn gate(sli: &SliAssessment, pass_at: f64) -> GateView {
    GateView {
        name: sli.name.clone(),
        verdict: sli.verdict.as_str().to_owned(),
        value: sli.canary.ratio(),
        baseline: sli.baseline.and_then(airboss_judge::Rate::ratio),
        bound: if sli.bound.is_finite() {
            sli.bound
        } else {
            1.0
        },
        samples: sli.canary.requests,
        bad: sli.canary.bad,
        odds: odds(sli.log_e),
        pass_odds: odds(sli.log_pass),
        pass_at_odds: odds(sli.pass_at.unwrap_or(pass_at)),
        fail_at_odds: sli.fail_at.map(odds),
        level: sli.levels.map(|[canary, _]| canary),
        baseline_level: sli.levels.map(|[_, stable]| stable),
        critical: sli.critical,
        advisory: sli.advisory,
        reason: sli.reason.clone(),
    }
}

fn odds(log: f64) -> f64 {
    let odds = log.exp();
    if odds.is_nan() {
        1.0
    } else {
        odds.min(ODDS_MAX)
    }
}

fn arms(snapshot: &Snapshot) -> Vec<ArmView> {
    let lane = &snapshot.lane;
    let desired = lane.desired.as_ref();
    let mut ids: Vec<ArmId> = desired
        .map(|desired| desired.arms.iter().map(|arm| arm.arm.clone()).collect())
        .unwrap_or_default();
    for arm in snapshot.observed.iter().flat_map(|observed| &observed.arms) {
        if !ids.contains(&arm.arm) {
            ids.push(arm.arm.clone());
        }
    }
    ids.into_iter()
        .filter_map(|id| {
            let wanted = desired.and_then(|desired| desired.arms.iter().find(|arm| arm.arm == id));
            let seen = snapshot
                .observed
                .as_ref()
                .and_then(|observed| observed.arm(&id));
            let instances: Vec<InstanceView> = seen
                .iter()
                .flat_map(|arm| &arm.instances)
                .map(instance)
                .collect();
            let role = match wanted {
                Some(_) if lane.stable.as_ref().is_some_and(|stable| stable.arm == id) => "stable",
                Some(_) => "canary",
                None => "draining",
            };
            // An arm that is neither wanted nor alive is history.
            (wanted.is_some() || instances.iter().any(|instance| instance.state != "stopped")).then(
                || ArmView {
                    role: role.to_owned(),
                    version: wanted.map(|arm| arm.release.version().to_owned()),
                    wanted: wanted.map_or(0, |arm| arm.instances),
                    ready: seen.map_or(0, airboss_model::target::ObservedArm::ready),
                    instances,
                    failed: seen.and_then(|arm| arm.failed.clone()),
                    recent: snapshot.recent.summary(&id).map(|summary| RecentView {
                        requests_per_second: summary.requests_per_second,
                        error_ratio: summary.error_ratio,
                        p50_ms: summary.p50_ms,
                        p99_ms: summary.p99_ms,
                    }),
                    arm: id.to_string(),
                },
            )
        })
        .collect()
}

fn instance(instance: &ObservedInstance) -> InstanceView {
    InstanceView {
        name: instance.name.clone(),
        state: match instance.state {
            InstanceState::Starting => "starting",
            InstanceState::Ready => "ready",
            InstanceState::Unready => "unready",
            InstanceState::Crashed => "crashed",
            InstanceState::Draining => "draining",
            InstanceState::Stopped => "stopped",
        }
        .to_owned(),
        pid: instance.pid,
        address: instance.address.clone(),
        restarts: instance.restarts,
        last_error: instance.last_error.clone(),
    }
}

fn traffic(snapshot: &Snapshot) -> TrafficView {
    let lane = &snapshot.lane;
    let desired = lane.desired.as_ref();
    let set = desired
        .map(|desired| desired.traffic.canary_weight)
        .unwrap_or_default();
    let observed = snapshot
        .observed
        .as_ref()
        .and_then(|observed| observed.traffic.as_ref());
    let measured = desired
        .and_then(|desired| desired.traffic.canary.as_ref())
        .and_then(|canary| snapshot.recent.share(canary));
    TrafficView {
        set: set.to_string(),
        observed: observed.map(|observed| observed.canary_weight.to_string()),
        measured,
        confirmed: lane.traffic_confirmed(),
        generation: desired.map_or(0, |desired| desired.generation),
        lease_expired_at: observed
            .and_then(|observed| observed.lease_expired_at)
            .map(|at| at.to_string()),
    }
}

/// A rollout's row.
pub fn rollout(row: &RolloutRow) -> RolloutView {
    RolloutView {
        id: row.id.to_string(),
        service: row.lane.service().to_string(),
        environment: row.lane.environment().to_string(),
        version: row.release.version().to_owned(),
        digest: row.digest.to_string(),
        phase: row.phase.clone(),
        outcome: row.outcome.clone(),
        reason: row.reason.clone(),
        by: row.created_by.clone(),
        created_at: row.created_at.to_string(),
        updated_at: row.updated_at.to_string(),
        ended_at: row.ended_at.map(|at| at.to_string()),
    }
}

/// An event.
pub fn event(row: EventRow) -> EventView {
    let message = match row.is_wordless() {
        true => format!(
            "{} (retention removed the words; the seal stays in the log)",
            row.kind.replace('_', " ")
        ),
        false => row.message,
    };
    EventView {
        number: row.number,
        service: row.lane.service().to_string(),
        environment: row.lane.environment().to_string(),
        rollout: row.rollout.map(|rollout| rollout.to_string()),
        at: row.at.to_string(),
        kind: row.kind,
        message,
        body: row.body,
    }
}
