//! What the target shall look like, derived from the phase alone.

use airboss_model::manifest::Service;
use airboss_model::target::{Desired, DesiredArm, DesiredTraffic, Measure};
use airboss_model::traffic::Weight;
use airboss_model::{ArmId, Digest, ReleaseId, Span};

use crate::lane::{Deployed, Lane, Phase, Rollout, process};

/// What the target shall look like now, under the generation in force. None as long as nothing
/// was ever deployed.
pub fn wanted(lane: &Lane) -> Option<Desired> {
    if lane.desired.is_none() && lane.active.is_none() && lane.stable.is_none() {
        return None;
    }
    let mut arms = Vec::new();
    let mut traffic = DesiredTraffic {
        stable: lane.stable.as_ref().map(|stable| stable.arm.clone()),
        ..DesiredTraffic::default()
    };
    if let Some(stable) = &lane.stable {
        let surge = match lane.active.as_ref().map(|rollout| &rollout.phase) {
            Some(Phase::RollingBack { surge, .. }) => *surge,
            _ => 0,
        };
        let Deployed {
            arm,
            release,
            digest,
            service,
            ..
        } = stable;
        arms.push(desired_arm(
            arm,
            release,
            *digest,
            service,
            process(service).instances + surge,
        ));
    }
    if let Some(rollout) = &lane.active
        && let Some((instances, weight)) = trial(rollout)
    {
        let request = &rollout.request;
        arms.push(desired_arm(
            &request.rollout,
            &request.release,
            request.digest,
            &request.service,
            instances,
        ));
        // Nothing can take the first version's users back, so it is no canary under a lease.
        if lane.stable.is_none() && weight == Weight::FULL {
            traffic.stable = Some(request.rollout.clone());
        } else {
            traffic.canary = Some(request.rollout.clone());
            traffic.canary_weight = weight;
        }
        if weight > Weight::ZERO && weight < Weight::FULL {
            traffic.mirror = rollout.plan.mirror;
        }
    }
    let newest = lane.active.as_ref().map(|rollout| &rollout.request.service);
    let service = newest.or(lane.stable.as_ref().map(|stable| &stable.service));
    // Both versions are counted alike, by what either's manifest names.
    let services = newest
        .into_iter()
        .chain(lane.stable.as_ref().map(|stable| &stable.service));
    traffic.measure = services
        .map(|service| service.measure())
        .reduce(Measure::and)
        .unwrap_or_default();
    Some(Desired {
        lane: lane.id.clone(),
        epoch: 0,
        generation: lane
            .desired
            .as_ref()
            .map_or(0, |desired| desired.generation),
        arms,
        traffic,
        exposure_lease: service
            .map(|service| service.spec.rollout.exposure_lease)
            .or(lane.desired.as_ref().map(|desired| desired.exposure_lease))
            .unwrap_or(Span::secs(60)),
    })
}

/// How many instances of the version on trial, at which share; None where it shall be gone.
fn trial(rollout: &Rollout) -> Option<(u32, Weight)> {
    let full = process(&rollout.request.service).instances;
    let plan = &rollout.plan;
    match &rollout.phase {
        Phase::Preparing { step, .. } => {
            Some((plan.weight(*step).of_instances(full), rollout.share))
        }
        Phase::Shifting { step, .. } | Phase::Observing { step, .. } => {
            let weight = plan.weight(*step);
            Some((weight.of_instances(full), weight))
        }
        // No instance goes before the data plane confirmed that it has no users.
        Phase::RollingBack {
            returned_at: None,
            weight,
            ..
        } => Some((rollout.share.of_instances(full).max(1), *weight)),
        Phase::RollingBack { .. } | Phase::Draining { .. } => None,
    }
}

fn desired_arm(
    arm: &ArmId,
    release: &ReleaseId,
    digest: Digest,
    service: &Service,
    instances: u32,
) -> DesiredArm {
    DesiredArm {
        arm: arm.clone(),
        release: release.clone(),
        digest,
        instances,
        process: process(service).clone(),
    }
}
