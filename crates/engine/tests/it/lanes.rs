//! What a lane says of itself.

use airboss_engine::Lane;

use crate::harness::*;

#[test]
fn a_lane_has_work_while_something_runs_waits_or_serves_and_only_then() {
    let id = || LANE.parse().unwrap();
    assert!(!Lane::new(id()).has_work());
    let mut waits = Lane::new(id());
    waits.queue.push_back(release(1));
    assert!(waits.has_work());
    let mut world = World::empty();
    world.ship(release(1));
    assert!(world.lane.active.is_some() && world.lane.stable.is_none());
    assert!(world.lane.has_work());
    world.settle();
    assert!(world.lane.active.is_none() && world.lane.stable.is_some());
    assert!(world.lane.has_work());
}
