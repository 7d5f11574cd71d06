//! Distributions by bucket in two bytes a bucket: far finer than their own noise.

use serde::{Deserialize, Serialize};

/// From this count on room is made for the next tick's.
const HALF_FULL: u16 = 1 << 15;

/// Whole counts of a minute or so.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct NarrowCounts(Vec<u16>);

impl NarrowCounts {
    /// Adds a tick's counts, `requests` in all. A tick that would take more than a quarter of the room is
    /// scaled down by a power of two: what is kept are proportions. Returns whether the counts must be taken
    /// or faded now, so that there is room for every tick.
    pub(crate) fn add(&mut self, tick: &[u64], requests: u64) -> bool {
        if self.0.len() != tick.len() {
            self.0 = vec![0; tick.len()];
        }
        let shift = (u64::BITS - requests.leading_zeros()).saturating_sub(14);
        let mut largest = 0;
        for (slot, count) in self.0.iter_mut().zip(tick) {
            *slot = slot.saturating_add((count >> shift).min(u64::from(u16::MAX)) as u16);
            largest = largest.max(*slot);
        }
        largest >= HALF_FULL
    }

    /// Forgets a fourth, of a few at least one.
    pub(crate) fn fade(&mut self) {
        for slot in &mut self.0 {
            *slot -= slot.div_ceil(4);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.fill(0);
    }

    pub(crate) fn as_slice(&self) -> &[u16] {
        &self.0
    }
}

/// Shares or counts to eight binary digits, of any size: the upper half of single precision.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<f32>", into = "Vec<f32>")]
pub(crate) struct NarrowShape(Vec<u16>);

impl NarrowShape {
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = f32> {
        self.0
            .iter()
            .map(|upper| f32::from_bits(u32::from(*upper) << 16))
    }
}

impl From<Vec<f32>> for NarrowShape {
    /// Rounds to the nearest; every value must be finite and not negative.
    fn from(values: Vec<f32>) -> Self {
        let upper = |value: f32| ((value.to_bits() + (1 << 15)) >> 16) as u16;
        Self(values.into_iter().map(upper).collect())
    }
}

impl From<NarrowShape> for Vec<f32> {
    fn from(shape: NarrowShape) -> Self {
        shape.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn proportions_survive_ticks_of_any_size(
            tick in prop::collection::vec(0u64..1_000_000_000, 1..50), ticks in 1..200,
        ) {
            let requests: u64 = tick.iter().sum();
            let mut narrow = NarrowCounts::default();
            for _ in 0..ticks {
                if narrow.add(&tick, requests) {
                    narrow.fade();
                }
            }
            let kept: f64 = narrow.as_slice().iter().map(|count| f64::from(*count)).sum();
            for (kept_of, count) in narrow.as_slice().iter().zip(&tick) {
                let share = *count as f64 / requests.max(1) as f64;
                let kept_share = f64::from(*kept_of) / kept.max(1.0);
                prop_assert!((share - kept_share).abs() < 0.02, "{share} became {kept_share}");
            }
        }

        #[test]
        fn a_shape_keeps_two_digits_and_reads_back_what_it_wrote(
            values in prop::collection::vec(prop_oneof![Just(0.0f32), 1e-9f32..1e18], 0..50),
        ) {
            let shape = NarrowShape::from(values.clone());
            for (kept, value) in shape.iter().zip(&values) {
                prop_assert!((kept - value).abs() <= 0.004 * value);
            }
            let text = serde_json::to_string(&shape).unwrap();
            prop_assert_eq!(serde_json::from_str::<NarrowShape>(&text).unwrap(), shape);
        }
    }
}
