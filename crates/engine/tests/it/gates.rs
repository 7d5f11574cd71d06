//! Evidence that a manifest requires: what waits for it, what does not.

use std::time::Duration;

use airboss_engine::{Outcome, Refusal, Urgency};
use airboss_model::evidence::{ItemState, ItemVerdict, Requirement};
use airboss_model::time::after;
use airboss_model::traffic::Weight;

use crate::harness::*;

const REQUIRED: [Requirement; 2] = [Requirement::Signed, SCAN];

fn both(signed: ItemState, scan: ItemState) -> Vec<ItemVerdict> {
    vec![item(Requirement::Signed, signed), item(SCAN, scan)]
}
fn complete() -> Vec<ItemVerdict> {
    both(ItemState::Passed, ItemState::Passed)
}

#[test]
fn nothing_starts_before_every_required_item_passes_and_then_it_starts_by_itself() {
    let mut world = World::with_stable();
    let answer = world.ship(release(2).requires(&REQUIRED));
    assert!(is_accepted(&answer));
    insta::assert_snapshot!(message(&answer), @"checkout-2 waits for its evidence and starts by itself once it is there");
    for open in [
        ItemState::Missing,
        ItemState::Failed,
        ItemState::Stale,
        ItemState::BadlySigned,
    ] {
        world.evidence(2, both(ItemState::Passed, open));
        world.run_for(Duration::from_secs(100));
        assert_eq!(phase(&world.lane), "idle", "{open:?}");
    }
    world.evidence(2, complete());
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Shipped));
    assert_eq!(world.vouched.len(), 1);
}

#[test]
fn evidence_that_was_looked_at_before_is_decided_on_at_once() {
    let mut world = World::with_stable();
    let mut request = release(2).requires(&REQUIRED);
    request.evidence = complete();
    insta::assert_snapshot!(message(&world.ship(request)), @"checkout-2 starts");
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Shipped));
}

#[test]
fn a_scan_that_grows_too_old_while_its_rollout_waits_is_not_started_on() {
    let mut world = World::with_stable();
    world.ship(release(2));
    let mut request = release(3).requires(&REQUIRED);
    request.evidence = complete();
    request.evidence[1].good_until = Some(after(world.now, Duration::from_secs(5)));
    world.ship(request);
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Shipped));
    assert_eq!(phase(&world.lane), "idle");
    world.evidence(3, complete());
    world.settle();
    assert_eq!(world.outcome(3), Some(Outcome::Shipped));
}

#[test]
fn a_scan_that_grows_too_old_on_the_way_does_not_hold_what_has_started() {
    let mut world = World::with_stable();
    world.ship(release(2).requires(&REQUIRED));
    world.evidence(2, complete());
    world.run_until_phase("observing 0");
    world.evidence(2, both(ItemState::Passed, ItemState::Stale));
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Shipped));
}

#[test]
fn a_failed_re_verification_holds_the_open_rollout_until_the_latest_look_is_good() {
    let mut world = World::with_stable();
    world.ship(release(2).requires(&REQUIRED));
    world.evidence(2, complete());
    world.run_until_phase("observing 0");
    world.forget();
    world.evidence(2, both(ItemState::BadlySigned, ItemState::Passed));
    world.run_for(Duration::from_secs(3_000));
    assert_eq!(phase(&world.lane), "observing 0");
    assert_eq!(world.exposed(2), percent(10));
    assert_eq!(
        world.notices[0],
        (
            Urgency::Ticket,
            "checkout-2 of checkout@2.0.0 holds: its evidence holds no longer: signed (badly signed): the key `ci` was revoked".to_owned()
        )
    );
    let refused = world.promote(2, true);
    assert!(is_refused(&refused, Refusal::Evidence));
    insta::assert_snapshot!(message(&refused), @"the evidence of checkout@2.0.0 holds no longer: signed (badly signed): the key `ci` was revoked. It goes on by itself once it does; `airboss abort checkout-2` ends it");
    world.evidence(2, complete());
    world.settle();
    assert_eq!(world.outcome(2), Some(Outcome::Shipped));
}

#[test]
fn no_evidence_holds_an_abort_or_a_rollback() {
    let mut world = World::with_stable();
    world.ship(release(2).requires(&REQUIRED));
    world.evidence(2, complete());
    world.settle();
    // What serves now has lost its signature, and what served before never had any.
    world.rollback(3, None);
    world.settle();
    assert_eq!(world.outcome(3), Some(Outcome::Shipped));
    // The way forward again is a rollback too.
    world.rollback(4, Some("checkout@2.0.0"));
    assert_eq!(world.outcome(4), None);
    world.ship(release(5).requires(&REQUIRED));
    world.evidence(5, complete());
    world.settle();
    world.ship(release(6).requires(&REQUIRED));
    world.evidence(6, complete());
    world.run_until_phase("observing 0");
    world.evidence(6, both(ItemState::BadlySigned, ItemState::Failed));
    assert!(is_accepted(&world.abort(6, false)));
    world.settle();
    assert_eq!(world.outcome(6), Some(Outcome::Aborted));
    assert_eq!(world.exposed(6), Weight::ZERO);
}

#[test]
fn what_waits_for_evidence_can_be_aborted_and_is_superseded_by_what_is_newer() {
    let mut world = World::with_stable();
    world.ship(release(2).requires(&REQUIRED));
    assert!(is_refused(&world.pause(2), Refusal::Evidence));
    world.abort(2, false);
    assert_eq!(world.outcome(2), Some(Outcome::Aborted));
    world.ship(release(3).requires(&REQUIRED));
    world.ship(release(4));
    assert_eq!(world.outcome(3), Some(Outcome::Superseded));
    world.settle();
    assert_eq!(world.outcome(4), Some(Outcome::Shipped));
}

#[test]
fn content_that_served_here_before_is_not_kept_out_by_the_age_of_its_scan() {
    let mut world = World::with_two_versions();
    world.ship(content(3, 1).requires(&REQUIRED));
    world.evidence(3, both(ItemState::BadlySigned, ItemState::Stale));
    assert_eq!(phase(&world.lane), "idle");
    world.evidence(3, both(ItemState::Passed, ItemState::Stale));
    assert_eq!(
        world.messages("started"),
        [
            "started: canary 10% → 50% → 100% (this content served here before, so it goes although stale: scan)"
        ]
    );
    assert_eq!(world.vouched, []);
    world.settle();
    assert_eq!(world.outcome(3), Some(Outcome::Shipped));
}

#[test]
fn the_same_look_in_other_words_is_no_news() {
    let mut world = World::with_stable();
    world.ship(release(2).requires(&REQUIRED));
    world.evidence(2, both(ItemState::Passed, ItemState::Missing));
    let mut again = both(ItemState::Passed, ItemState::Missing);
    again[1].reason = "none is known yet".to_owned();
    assert_eq!(world.evidence(2, again).events, []);
}
