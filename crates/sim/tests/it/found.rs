//! Stories that failed once, by the promise that they broke. Each is played with many seeds.

use airboss_sim::story::{Happening, Story, Verb, Version};
use airboss_sim::{Tally, play};

/// Plays the happenings with the seeds 0 to `seeds`.
fn keeps(seeds: u64, controllers: usize, happenings: &[(u64, Happening)]) -> Tally {
    let mut tally = Tally::default();
    for seed in 0..seeds {
        let story = Story {
            seed,
            controllers,
            lanes: 1,
            skews: vec![0; controllers],
            happenings: happenings.to_vec(),
        };
        let ended = play(&story);
        assert_eq!(ended.finding, None, "{story}");
        tally.add(&ended.tally);
    }
    tally
}

fn ask(verb: Verb) -> Happening {
    Happening::Operator {
        lane: 0,
        through: 0,
        verb,
    }
}

#[test]
fn a_commit_whose_answer_is_lost_leaves_no_lane_without_a_controller() {
    let lost = Happening::LostAnswers {
        controller: 0,
        percent: 30,
        seconds: 8,
    };
    let happenings = [
        (1_000, ask(Verb::Ship(Version::Good))),
        (20_000, ask(Verb::Ship(Version::Good))),
        (24_000, lost),
        (30_000, ask(Verb::Pause)),
        (60_000, lost),
        (61_000, ask(Verb::Resume)),
    ];
    let tally = keeps(8, 1, &happenings);
    assert!(tally.rollouts >= 16, "{tally:?}");
}

#[test]
fn measurements_that_cannot_be_true_stop_no_lane() {
    let happenings = [
        (1_000, ask(Verb::Ship(Version::Good))),
        (11_000, ask(Verb::Ship(Version::Bad))),
        (12_000, Happening::AbsurdMeasurements { seconds: 20 }),
        (60_000, ask(Verb::Ship(Version::Good))),
    ];
    keeps(4, 1, &happenings);
}

#[test]
fn evidence_whose_answer_is_lost_stops_no_judge() {
    let lost = Happening::LostAnswers {
        controller: 0,
        percent: 80,
        seconds: 4,
    };
    let happenings = [
        (1_000, ask(Verb::Ship(Version::Good))),
        (20_000, ask(Verb::Ship(Version::Bad))),
        (24_000, lost),
    ];
    keeps(6, 1, &happenings);
}

#[test]
fn a_share_whose_controller_died_does_not_come_into_force_while_nobody_watches() {
    let happenings = [
        (1_900, ask(Verb::Ship(Version::Good))),
        (15_000, Happening::Stuck { seconds: 30 }),
        (18_900, ask(Verb::Ship(Version::Good))),
        (
            29_100,
            Happening::Crash {
                controller: 0,
                down: 40,
                skew: 0,
            },
        ),
    ];
    keeps(4, 1, &happenings);
}
