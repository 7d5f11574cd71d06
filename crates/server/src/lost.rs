//! What it means for a lane that its agent is silent, or was never heard.

use airboss_engine::{Lane, Phase, Rollout, next_deadline};
use airboss_model::Timestamp;
use airboss_model::time::after;

/// What goes on without the agent and what does not, in one line; None where it reports.
pub fn effect(lane: &Lane, heard: bool, now: Timestamp) -> Option<String> {
    let asked = lane.desired.is_some();
    if heard && lane.target_lost.is_none() || !asked {
        return None;
    }
    let Some(rollout) = &lane.active else {
        return Some(match &lane.stable {
            Some(stable) => format!(
                "users are served by {} as its host does by itself; nothing there can be changed until the agent reports",
                stable.release
            ),
            None => "nothing can be started until the agent reports".to_owned(),
        });
    };
    Some(of_rollout(lane, rollout, now))
}

fn of_rollout(lane: &Lane, rollout: &Rollout, now: Timestamp) -> String {
    let id = rollout.id();
    match &rollout.phase {
        Phase::RollingBack { .. } => format!(
            "the way back of {id} is asked for and not confirmed before the agent reports; where its host lives, an exposure ends by its lease at the latest"
        ),
        Phase::Draining { .. } => {
            format!("{id} serves all users; what was before it is drained once the agent reports")
        }
        _ if rollout.exposed => exposed(lane, rollout, now),
        _ => {
            let end = match next_deadline(lane) {
                Some(at) => format!("; it gives up at {at} unless the agent reports"),
                None => String::new(),
            };
            format!("{id} waits and no user is on it{end}")
        }
    }
}

fn exposed(lane: &Lane, rollout: &Rollout, now: Timestamp) -> String {
    let (id, share) = (rollout.id(), rollout.share);
    let lease = rollout.request.service.spec.rollout.exposure_lease;
    let Some(stable) = &lane.stable else {
        return format!(
            "{id} holds: nothing is decided until the agent reports; users are served by it alone"
        );
    };
    match lane.target_lost.map(|lost| after(lost, lease.0)) {
        Some(end) if end <= now => format!(
            "{id} holds: its exposure to {share} ended by its lease at {end}, where its host lives; users are at {} and the rollout is taken back once the agent reports",
            stable.release
        ),
        _ => format!(
            "{id} holds at {share}: no step is taken, and its host returns users to {} by itself {lease} after it last heard a server",
            stable.release
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_that_nothing_was_asked_of_misses_no_agent() {
        let lane = Lane::new("shop/production".parse().unwrap());
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(effect(&lane, false, now), None);
        assert_eq!(effect(&lane, true, now), None);
    }
}
