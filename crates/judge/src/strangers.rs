//! What a second may count in a service without a history, whose instances may clump and stall.
//!
//! One instance that stalls for some seconds looks like a release that fails. So a second counts little
//! for each canary instance that bears witness, until a fault has outlived such a stall. A cap can only
//! lower evidence, so the bound for independent requests stands whatever it depends on.

use serde::{Deserialize, Serialize};

use crate::{
    dispersion::Dispersion,
    member::Discount,
    mixture::{EFFECTS, Tempering},
    tick::clock,
};

/// A tick's log-evidence counts at most this much for each witness: one that stalls for three seconds does
/// not decide ...
pub const UNCALIBRATED_CAP: f64 = 1.35;
/// ... of which not more than these are counted: a cause of a second may hit several.
const MOST_WITNESSES: f64 = 3.0;
/// A second is gross in which this much log-evidence was to be had, discounted but not capped: twice what
/// counts of one witness.
const GROSS: f64 = 2.0 * UNCALIBRATED_CAP;
/// Who fails grossly in so many seconds in a row does not stall: what the next one counts ...
const LONGEST_STALL: u32 = 4;
/// ... is capped here only.
const BELIEVED_CAP: f64 = 6.9;

/// What large clumps add to `phi` for each of the ratio test's effects: `1 + ln(effect)^2 / 9`.
///
/// Evidence stays an e-value if bad requests come in clumps of geometric size with dispersion `phi` and its
/// exponent is `1 / (1 + (phi - 1) * lure)`. To second order that is `1 / phi`; a large clump resembles a
/// large effect, so the square of its logarithm asks for more. The ninth comes from solving
/// `E exp(eta ln e) = 1` for effects from 1.3 to 120 and `phi` from 3 to 9.
const LURES: [f64; EFFECTS.len()] = [1.008, 1.031, 1.093, 1.251, 1.536, 2.151, 3.547];

/// How a second's bad requests are spread over the canary's instances.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Witnesses {
    sum: f64,
    squares: f64,
}

impl Witnesses {
    /// One instance with so many bad requests more than its margin allows.
    pub(crate) fn hear(&mut self, excess: f64) {
        self.sum += excess;
        self.squares += excess * excess;
    }

    /// How many instances with equal parts the spread is worth (the inverse of Simpson's index), so that a
    /// single bad request elsewhere makes no second witness of an instance that stalls. At least 1.
    fn number(self) -> f64 {
        if self.squares > 0.0 {
            (self.sum * self.sum / self.squares).clamp(1.0, MOST_WITNESSES)
        } else {
            1.0
        }
    }
}

/// Gross seconds in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    seconds: u32,
    last: u32,
}

impl Run {
    /// Takes the evidence of the second `t`, discounted but not capped.
    pub(crate) fn observe(&mut self, t: u64, gain: f64) {
        let goes_on = self.is_before(t);
        self.seconds = match (gain >= GROSS, goes_on) {
            (false, _) => 0,
            (true, true) => self.seconds.saturating_add(1),
            (true, false) => 1,
        };
        self.last = clock(t);
    }

    /// Whether `t` is the second behind the last one.
    fn is_before(self, t: u64) -> bool {
        self.last.checked_add(1) == Some(clock(t))
    }

    /// How evidence is discounted without a calibration in the second `t`.
    pub(crate) fn discount(
        self,
        t: u64,
        witnesses: Witnesses,
        dispersion: &Dispersion,
    ) -> Discount {
        let is_believed = self.seconds >= LONGEST_STALL && self.is_before(t);
        let cap = if is_believed {
            BELIEVED_CAP
        } else {
            UNCALIBRATED_CAP * witnesses.number()
        };
        let phi = dispersion.likely();
        let mut fail = Tempering {
            gain_cap: Some(cap),
            // The histogram test has more alternatives, all of them of a moderate size.
            ..Tempering::flat(1.0 / phi, None)
        };
        for (eta, lure) in fail.etas.iter_mut().zip(LURES) {
            *eta = 1.0 / (1.0 + (phi - 1.0) * lure);
        }
        Discount {
            fail,
            pass_eta: 1.0 / dispersion.upper(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(excess: &[f64]) -> f64 {
        let mut witnesses = Witnesses::default();
        excess.iter().for_each(|excess| witnesses.hear(*excess));
        witnesses.number()
    }

    #[test]
    fn instances_that_fail_alike_are_as_many_witnesses_and_one_that_stalls_is_hardly_more_than_one()
    {
        assert_eq!(number(&[]), 1.0);
        assert_eq!(number(&[10.0, 0.0]), 1.0);
        assert!(number(&[10.0, 1.0, 0.0]) < 1.25);
        assert_eq!(number(&[4.0, 4.0]), 2.0);
        assert_eq!(number(&[4.0; 8]), MOST_WITNESSES);
    }

    #[test]
    fn a_run_of_gross_seconds_is_believed_in_the_fifth_and_a_gap_or_a_calm_second_ends_it() {
        let cap = |run: &Run, t| {
            let discount = run.discount(t, Witnesses::default(), &Dispersion::default());
            discount.fail.gain_cap.unwrap()
        };
        let mut run = Run::default();
        for t in 10..14 {
            assert_eq!(cap(&run, t), UNCALIBRATED_CAP);
            run.observe(t, 5.0);
        }
        assert_eq!(cap(&run, 14), BELIEVED_CAP);
        assert_eq!(cap(&run, 15), UNCALIBRATED_CAP, "a second without data");
        run.observe(14, 1.0);
        assert_eq!(cap(&run, 15), UNCALIBRATED_CAP, "a calm second");
    }
}
