//! When a division of traffic may come into force, and the splitter's table made from it. Pure.

use std::net::SocketAddr;

use airboss_model::ArmId;
use airboss_model::manifest::ProcessTarget;
use airboss_model::target::DesiredTraffic;
use airboss_model::traffic::Weight;
use airboss_proxy::{Arm, Instance, RoutingTable};

/// True where an arm serves or copies requests under this division, or may be asked to at any
/// moment as its fallback.
pub fn routed(traffic: &DesiredTraffic, arm: &ArmId) -> bool {
    let tried = traffic.canary_weight > Weight::ZERO || traffic.mirror > Weight::ZERO;
    traffic.stable.as_ref() == Some(arm) || (tried && traffic.canary.as_ref() == Some(arm))
}

/// Why `wanted` cannot come into force yet; None where it can.
///
/// An arm that would serve users for the first time, or a larger share of them as a canary,
/// needs a ready instance. Taking exposure back needs nothing: it always goes ahead.
pub fn waits_for<'a>(
    wanted: &'a DesiredTraffic,
    now: Option<&DesiredTraffic>,
    ready: impl Fn(&ArmId) -> u32,
) -> Option<&'a ArmId> {
    if let Some(stable) = &wanted.stable
        && ready(stable) == 0
        && !now.is_some_and(|now| routed(now, stable))
    {
        return Some(stable);
    }
    let canary = wanted.canary.as_ref();
    canary.filter(|canary| grows(wanted, now) && ready(canary) == 0)
}

/// True where a larger share of users would meet the canary under `wanted` than under `now`.
fn grows(wanted: &DesiredTraffic, now: Option<&DesiredTraffic>) -> bool {
    let had = now
        .filter(|now| now.canary == wanted.canary)
        .map_or(Weight::ZERO, |now| now.canary_weight);
    wanted.canary.is_some() && wanted.canary_weight > had
}

/// True where `wanted` may only begin while a controller watches: users who could be returned to
/// stable would meet the canary. What a controller asked for that died since is not begun.
pub fn needs_a_watch(wanted: &DesiredTraffic, now: Option<&DesiredTraffic>) -> bool {
    wanted.stable.is_some() && grows(wanted, now)
}

/// One instance as the table sees it.
pub(super) struct Seat {
    pub name: String,
    pub address: SocketAddr,
    pub ready: bool,
}

/// The splitter's table. Arms without an instance are left out.
pub(super) fn table(
    generation: u64,
    traffic: &DesiredTraffic,
    manifest: Option<&ProcessTarget>,
    arms: impl Iterator<Item = (ArmId, Vec<Seat>)>,
) -> RoutingTable {
    let mut table = RoutingTable {
        generation,
        stable: traffic.stable.clone(),
        canary: traffic.canary.clone(),
        canary_weight: traffic.canary_weight,
        mirror: traffic.mirror,
        measure: traffic.measure.clone(),
        arms: arms
            .filter(|(id, _)| {
                traffic.stable.as_ref() == Some(id) || traffic.canary.as_ref() == Some(id)
            })
            .map(|(id, seats)| Arm {
                id,
                instances: seats
                    .into_iter()
                    .map(|seat| Instance {
                        name: seat.name,
                        address: seat.address,
                        ready: seat.ready,
                    })
                    .collect(),
            })
            .collect(),
        ..RoutingTable::default()
    };
    if let Some(manifest) = manifest {
        table.sticky.clone_from(&manifest.sticky);
        table.force_header.clone_from(&manifest.force_header);
        table.response_timeout = manifest.response_timeout.0;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use airboss_model::target::Measure;

    fn arm(text: &str) -> ArmId {
        text.parse().unwrap()
    }
    fn split(stable: &str, canary: Option<&str>, percent: u16) -> DesiredTraffic {
        DesiredTraffic {
            stable: Some(arm(stable)),
            canary: canary.map(arm),
            canary_weight: Weight::from_basis_points(percent * 100),
            mirror: Weight::ZERO,
            measure: Measure::default(),
        }
    }
    const NONE_READY: fn(&ArmId) -> u32 = |_| 0;

    #[test]
    fn exposure_is_taken_back_though_nothing_is_ready() {
        let now = split("a-1", Some("a-2"), 50);
        for back in [
            split("a-1", Some("a-2"), 0),
            split("a-1", None, 0),
            split("a-1", Some("a-2"), 10),
        ] {
            assert_eq!(waits_for(&back, Some(&now), NONE_READY), None);
        }
    }

    #[test]
    fn an_arm_gets_no_users_before_it_is_ready() {
        let now = split("a-1", None, 0);
        let wanted = split("a-1", Some("a-2"), 1);
        assert_eq!(
            waits_for(&wanted, Some(&now), NONE_READY),
            Some(&arm("a-2"))
        );
        assert_eq!(waits_for(&wanted, Some(&now), |_| 1), None);
        let first = split("a-1", None, 0);
        assert_eq!(waits_for(&first, None, NONE_READY), Some(&arm("a-1")));
        let other = split("a-3", None, 0);
        assert_eq!(waits_for(&other, Some(&now), NONE_READY), Some(&arm("a-3")));
    }

    #[test]
    fn a_canary_that_had_users_becomes_stable_at_once() {
        let now = split("a-1", Some("a-2"), 100);
        let promoted = split("a-2", None, 0);
        assert_eq!(waits_for(&promoted, Some(&now), NONE_READY), None);
    }

    #[test]
    fn only_more_users_on_a_canary_need_somebody_who_watches() {
        let now = split("a-1", Some("a-2"), 10);
        let mut first = split("a-1", Some("a-2"), 10);
        first.stable = None;
        for (wanted, now, needed) in [
            (split("a-1", Some("a-2"), 1), None, true),
            (split("a-1", Some("a-2"), 50), Some(&now), true),
            (split("a-1", Some("a-3"), 10), Some(&now), true),
            (split("a-1", Some("a-2"), 10), Some(&now), false),
            (split("a-1", Some("a-2"), 0), Some(&now), false),
            (split("a-2", None, 0), Some(&now), false),
            // Nobody could be returned to anything.
            (first, None, false),
        ] {
            assert_eq!(needs_a_watch(&wanted, now), needed, "{wanted:?}");
        }
    }

    #[test]
    fn an_arm_that_is_mirrored_to_is_routed() {
        let mut traffic = split("a-1", Some("a-2"), 0);
        assert!(!routed(&traffic, &arm("a-2")));
        traffic.mirror = Weight::FULL;
        assert!(routed(&traffic, &arm("a-2")));
        assert!(routed(&traffic, &arm("a-1")));
    }
}
