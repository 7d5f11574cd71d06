//! From a story that fails to the shortest one that fails alike.

use crate::story::Story;
use crate::witness::Promise;
use crate::world::play;

/// Worlds that are played at the most to shrink one story.
const PLAYS_MAX: usize = 400;

/// The story without the happenings that the broken promise does not need: first without whole
/// stretches, then one by one. Its seed stays, so that what is drawn meanwhile stays as like as may be.
pub fn shrink(story: &Story, promise: Promise) -> Story {
    let mut best = story.clone();
    let mut plays = 0;
    let mut fails = |story: &Story| {
        plays += 1;
        plays <= PLAYS_MAX
            && play(story)
                .finding
                .is_some_and(|finding| finding.promise == promise)
    };
    let mut size = best.happenings.len().div_ceil(2).max(1);
    loop {
        let mut at = 0;
        let mut cut = false;
        while at < best.happenings.len() {
            let mut shorter = best.clone();
            let end = (at + size).min(best.happenings.len());
            shorter.happenings.drain(at..end);
            if fails(&shorter) {
                best = shorter;
                cut = true;
            } else {
                at += size;
            }
        }
        if size > 1 {
            size = size.div_ceil(2);
        } else if !cut {
            break;
        }
    }
    for count in 1..best.controllers {
        let mut fewer = best.clone();
        fewer.controllers = count;
        fewer.skews.truncate(count);
        if fails(&fewer) {
            best = fewer;
            break;
        }
    }
    best
}
