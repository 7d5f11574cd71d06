//! Audit bundles and walks: what was changed is found and named.

use airboss_ledger::{Bundle, BundleError, Walk, WalkError};
use proptest::prelude::*;

use crate::make::{bundle, key, records};

#[test]
fn a_bundle_is_checked_with_nothing_else_at_hand() {
    let bytes = bundle(30).to_bytes();
    let read = Bundle::from_bytes(&bytes).unwrap();
    assert_eq!(read.verify(None).unwrap().size, 30);
    assert_eq!(read.verify(Some(&key().verifying_key())).unwrap().size, 30);
}

#[test]
fn a_bundle_of_another_log_is_refused() {
    let other = airboss_ledger::SigningKey::from_seed("other.test", &[1; 32]).unwrap();
    let refused = bundle(10).verify(Some(&other.verifying_key()));
    assert!(matches!(refused, Err(BundleError::OtherLog { .. })));
}

#[test]
fn a_changed_event_is_named() {
    let mut changed = bundle(30);
    changed.lanes[0].records[3].record.message.push('!');
    let refused = changed.verify(None).unwrap_err().to_string();
    assert!(
        refused.starts_with("event 8 (step_passed) is not what was sealed"),
        "{refused}"
    );
}

#[test]
fn removed_doubled_and_moved_events_are_noticed() {
    let whole = bundle(30);
    for place in 0..whole.lanes[0].records.len() {
        let mut removed = whole.clone();
        removed.lanes[0].records.remove(place);
        let checked = removed.verify(None);
        // Without its end a bundle is that of a rollout in progress; that is told elsewhere.
        assert_eq!(
            checked.is_ok(),
            place + 1 == whole.lanes[0].records.len(),
            "{place}"
        );
        let mut doubled = whole.clone();
        doubled.lanes[0]
            .records
            .insert(place, whole.lanes[0].records[place].clone());
        assert!(matches!(
            doubled.verify(None),
            Err(BundleError::Chain { .. })
        ));
        let mut moved = whole.clone();
        moved.lanes[0]
            .records
            .swap(place, (place + 1) % whole.lanes[0].records.len());
        assert!(moved.verify(None).is_err());
    }
}

#[test]
fn a_bundle_formatted_anew_is_not_as_written() {
    let value: serde_json::Value = serde_json::from_slice(&bundle(4 + 2).to_bytes()).unwrap();
    let pretty = serde_json::to_vec_pretty(&value).unwrap();
    assert!(matches!(
        Bundle::from_bytes(&pretty),
        Err(BundleError::NotAsWritten(_))
    ));
}

fn is_believed(bytes: &[u8]) -> bool {
    Bundle::from_bytes(bytes).is_ok_and(|it| it.verify(Some(&key().verifying_key())).is_ok())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_changed_byte_of_a_bundle_is_found(
        place in any::<prop::sample::Index>(),
        by in 1_u8..,
    ) {
        let mut bytes = bundle(9).to_bytes();
        prop_assert!(is_believed(&bytes));
        let place = place.index(bytes.len());
        bytes[place] ^= by;
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        prop_assert!(!is_believed(&bytes), "byte {place}: {shown}");
    }

    #[test]
    fn any_cut_or_doubled_byte_of_a_bundle_is_found(place in any::<prop::sample::Index>()) {
        let whole = bundle(9).to_bytes();
        let place = place.index(whole.len());
        let mut cut = whole.clone();
        cut.remove(place);
        prop_assert!(!is_believed(&cut));
        let mut doubled = whole.clone();
        doubled.insert(place, whole[place]);
        prop_assert!(!is_believed(&doubled));
    }
}

#[test]
fn a_walk_ends_at_the_first_event_that_cannot_be() {
    let whole = records(20);
    let mut walk = Walk::default();
    for record in &whole {
        walk.step(record).unwrap();
    }
    assert_eq!(walk.frontier().size(), 20);

    let mut walk = Walk::default();
    walk.step(&whole[0]).unwrap();
    assert_eq!(
        walk.step(&whole[2]),
        Err(WalkError::Missing {
            expected: 2,
            found: 3
        })
    );
    let mut other = whole[1].clone();
    other.previous = 1;
    assert!(matches!(
        walk.step(&other),
        Err(WalkError::Chain { number: 2, .. })
    ));
}
