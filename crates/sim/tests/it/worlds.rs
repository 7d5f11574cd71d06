//! Worlds as a whole.

use airboss_sim::{Story, play};

#[test]
fn the_same_story_gives_the_same_world() {
    for seed in 0..12 {
        let story = Story::of(seed);
        let (one, two) = (play(&story), play(&story));
        assert_eq!((one.root, one.tally), (two.root, two.tally), "seed {seed}");
    }
}
