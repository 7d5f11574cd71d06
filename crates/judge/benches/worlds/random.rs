//! Random draws for the simulated traffic: SplitMix64 and a few inversions.

/// SplitMix64 (Steele, Lea and Flood 2014).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed);
        random.bits();
        random
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Poisson by inversion, split so that no mean exceeds 30.
    pub fn poisson(&mut self, mut mean: f64) -> u64 {
        let mut sum = 0;
        while mean > 30.0 {
            sum += self.poisson_small(30.0);
            mean -= 30.0;
        }
        sum + self.poisson_small(mean)
    }

    fn poisson_small(&mut self, mean: f64) -> u64 {
        let (mut k, mut mass, mut left) = (0, (-mean).exp(), self.unit());
        while left > mass && k < 400 {
            left -= mass;
            k += 1;
            mass *= mean / k as f64;
        }
        k
    }

    /// Binomial by inversion, for moderate means.
    pub fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if p <= 0.0 || n == 0 {
            return 0;
        }
        if p > 0.5 {
            return n - self.binomial(n, (1.0 - p).max(0.0));
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

    /// 1, 2, 3 … with this mean.
    pub fn geometric(&mut self, mean: f64) -> u64 {
        if mean <= 1.0 {
            return 1;
        }
        1 + ((1.0 - self.unit()).ln() / (-1.0 / mean).ln_1p()).floor() as u64
    }
}
