//! Seeded traffic for tests: small, fast, reproducible.

use airboss_judge::{ArmTick, InstanceTick, Sample, Tick};

/// SplitMix64 (Steele, Lea and Flood 2014).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Binomial by inversion; the mean must be moderate.
    pub fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if p <= 0.0 || n == 0 {
            return 0;
        }
        if p > 0.5 {
            return n - self.binomial(n, 1.0 - p);
        }
        let odds = p / (1.0 - p);
        let mut mass = (n as f64 * (-p).ln_1p()).exp();
        let mut left = self.unit();
        for k in 0..n {
            if left < mass {
                return k;
            }
            left -= mass;
            mass *= odds * (n - k) as f64 / (k + 1) as f64;
        }
        n
    }
}

/// One row with a count of bad requests.
pub fn row(instance: &str, requests: u64, bad: u64) -> InstanceTick {
    InstanceTick {
        instance: instance.to_owned(),
        requests,
        samples: vec![Sample::Count(bad)],
        latency: Vec::new(),
    }
}

/// A tick of one canary instance and two of stable, of which now one and now the other has the odd bad
/// request: always the same one would look like an instance that is worse.
pub fn tick(t: u64, canary: (u64, u64), baseline: (u64, u64)) -> Tick {
    let odd = baseline.1 * (t.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 63);
    let half = (baseline.0 / 2, baseline.1 / 2 + odd % 2);
    let half = (half.0, half.1.min(half.0));
    Tick {
        t,
        weight: None,
        canary: ArmTick {
            instances: vec![row("c1", canary.0, canary.1)],
        },
        baseline: Some(ArmTick {
            instances: vec![
                row("b1", half.0, half.1),
                row("b2", baseline.0 - half.0, baseline.1 - half.1),
            ],
        }),
    }
}

/// A random tick at 500 requests a second with `weight` on the canary.
pub fn drawn(random: &mut Random, t: u64, weight: f64, p_canary: f64, p_baseline: f64) -> Tick {
    let canary = (500.0 * weight) as u64;
    let baseline = 500 - canary;
    tick(
        t,
        (canary, random.binomial(canary, p_canary)),
        (baseline, random.binomial(baseline, p_baseline)),
    )
}
