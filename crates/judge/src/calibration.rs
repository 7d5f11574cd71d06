//! What a service's own history says about its levels and about how clumped its errors come.

use serde::{Deserialize, Serialize};

use crate::member::Discount;

/// What is known of a service before the release starts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Calibration {
    /// One entry per SLI, by name.
    pub slis: Vec<SliCalibration>,
}

/// What is known of one SLI.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SliCalibration {
    /// The SLI's name.
    pub name: String,
    /// Stable's ratio over the history.
    pub level: Option<f64>,
    /// Stable's latency distribution over the history, counts by bucket.
    pub shape: Vec<f64>,
    /// How evidence is discounted, by member: ratio SLIs have one, latency SLIs the histogram,
    /// the four exceedances and the declared threshold. Empty: not calibrated.
    pub discounts: Vec<Discount>,
}

impl Calibration {
    /// What is known of the SLI named `name`.
    pub fn sli(&self, name: &str) -> Option<&SliCalibration> {
        self.slis.iter().find(|sli| sli.name == name)
    }
}
