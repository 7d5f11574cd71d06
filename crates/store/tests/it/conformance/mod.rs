//! The promises that every store keeps, written once. A backend runs them all with
//! `suite!(path::of::an::async::fn)`, where the function makes an empty store in a value with
//! a field `store`.

pub mod agents;
pub mod attested;
pub mod claims;
pub mod commits;
pub mod inbox;
pub mod known;
pub mod log;
pub mod reading;
pub mod recording;
pub mod tokens;

/// Expands every promise into a test over one backend.
macro_rules! suite {
    ($make:path) => { crate::conformance::suite! { @all expand $make } };
    // The same promises for another purpose.
    (@all $purpose:ident $($with:tt)*) => {
        crate::conformance::suite! { @$purpose $($with)*;
            agents:
                an_invitation_is_used_once_and_by_who_used_it_first
                an_invitation_ends
                a_revoked_agent_stays_revoked_and_its_name_is_free;
            attested:
                the_same_document_about_the_same_artifact_is_one
                documents_are_kept_all_or_none
                the_latest_check_wins
                a_document_comes_back_byte_for_byte
                every_document_is_found_in_the_order_of_arrival
                what_ci_told_stays_and_what_is_new_is_added
                releases_are_found_by_what_is_said_of_them
                releases_since_a_time_are_found
                a_delivery_is_taken_once_until_it_is_forgotten
                deliveries_are_found_by_id_commit_and_run;
            claims:
                a_lane_of_a_dead_owner_is_claimed_with_a_higher_epoch
                a_lane_of_a_living_owner_is_left_alone
                a_lane_without_work_is_not_claimed
                a_lane_with_a_waiting_command_is_claimed
                a_claim_takes_no_more_lanes_than_asked_for
                a_new_lane_can_be_claimed_by_name
                of_two_owners_that_race_one_gets_each_lane
                an_expired_claim_is_not_renewed
                an_owner_claims_its_lane_again_under_a_higher_epoch
                an_epoch_is_raised_by_its_owner_only
                an_owner_is_told_where_commands_wait
                lanes_given_back_are_free_at_once;
            commits:
                a_commit_under_an_old_epoch_writes_nothing
                a_commit_on_an_old_seq_writes_nothing
                a_commit_is_all_or_nothing
                a_command_is_consumed_once
                a_command_of_another_lane_is_not_consumed
                event_numbers_have_no_gaps
                one_fenced_commit_does_not_spoil_its_neighbours
                a_hundred_lanes_commit_at_once
                everything_a_commit_brings_can_be_read_back
                an_unknown_lane_is_fenced
                inputs_are_kept_for_replay;
            inbox:
                the_same_key_is_accepted_once
                a_repeated_request_sees_the_answer
                commands_are_read_oldest_first
                a_rush_of_commands_is_accepted_whole;
            known:
                a_version_cannot_move_to_another_digest
                the_same_release_again_is_the_one_that_exists
                a_rollout_id_is_never_given_twice
                releases_are_found_by_version_digest_and_person
                a_new_manifest_text_is_a_new_version_and_the_same_text_none
                a_return_to_an_older_manifest_is_in_force
                an_artifact_registered_again_stays_as_it_was
                an_artifact_knows_its_origins_and_what_their_tags_point_to_now
                a_removed_artifact_is_remembered_and_may_come_back
                artifacts_are_listed_those_kept_last_first
                releases_are_listed_newest_first;
            log:
                every_event_is_a_leaf_of_the_log
                a_refused_commit_leaves_no_leaf
                records_are_the_stored_texts_and_know_the_event_before_them
                tiles_lead_to_the_root_and_prove_every_event
                a_commit_with_many_events_is_sealed_whole
                what_happens_to_the_installation_is_sealed_beside_the_lanes
                what_is_kept_twice_is_sealed_once
                the_installations_lane_is_nobodys_to_ship_to
                measurements_and_commands_go_with_the_words_that_rest_on_them
                removed_words_leave_every_seal_and_proof
                words_are_removed_no_further_than_the_lane_goes;
            reading:
                rollouts_are_paged_newest_first
                rollouts_are_found_by_service_environment_and_end
                a_rollout_keeps_its_place_when_it_changes
                events_are_read_behind_a_number
                events_are_found_by_lane_and_rollout
                rollouts_are_found_by_release_and_person
                events_are_found_by_what_they_name
                limits_are_held;
            recording:
                a_finished_effect_is_not_pending
                the_first_outcome_of_an_effect_stands
                finishing_an_unknown_effect_is_refused
                evidence_continues_behind_the_newest_snapshot
                the_same_evidence_again_changes_nothing
                other_evidence_under_a_recorded_tick_is_refused_whole
                a_former_owner_records_and_finishes_nothing
                numbers_come_back_bit_for_bit
                a_newer_note_replaces_an_older_one_of_its_topic;
            tokens:
                a_token_is_found_by_its_secret_alone
                a_revoked_token_stays_revoked_from_the_first_time_on
                a_secret_is_never_given_twice
                tokens_are_listed_newest_first;
        }
    };
    (@each $run:ident; $($room:ident: $($promise:ident)*;)*) => {
        $($($run!(crate::conformance::$room::$promise);)*)*
    };
    (@expand $make:path; $($room:ident: $($promise:ident)*;)*) => {
        $(mod $room {
            $(#[tokio::test]
            async fn $promise() {
                let home = $make().await;
                crate::conformance::$room::$promise(&home.store).await;
            })*
        })*

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn any_sequence_of_operations_matches_the_plain_model() {
            crate::world::check(|| async { $make().await }, |home| &home.store).await;
        }
    };
}
pub(crate) use suite;
