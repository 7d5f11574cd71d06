//! Logarithms of products of powers: one logarithm at the end instead of one for each factor.

/// Powers are multiplied out up to this exponent, where rounding still leaves eleven digits.
pub(crate) const MOST_EXPONENT: u64 = 1 << 16;
/// Products are kept this close to 1, so that no power on the way to one loses digits unseen.
const NEAR: std::ops::Range<f64> = 1e-100..1e100;

/// Several products side by side.
pub(crate) struct LogProduct<const K: usize> {
    logs: [f64; K],
    product: [f64; K],
}

impl<const K: usize> LogProduct<K> {
    /// All of them 1.
    pub(crate) fn new() -> Self {
        Self {
            logs: [0.0; K],
            product: [1.0; K],
        }
    }

    /// Multiplies each by its `base`, above 0, to the `exponent`.
    pub(crate) fn multiply(&mut self, base: [f64; K], exponent: u64) {
        if exponent == 0 {
            return;
        }
        let mut product = self.product;
        if exponent <= MOST_EXPONENT {
            raise(&mut product, base, exponent);
            // Written so that all are asked without a branch; NaN lies outside.
            if product
                .iter()
                .fold(true, |near, product| near & NEAR.contains(product))
            {
                self.product = product;
                return;
            }
        }
        for ((log, product), base) in self.logs.iter_mut().zip(&mut self.product).zip(base) {
            *log += product.ln() + exponent as f64 * base.ln();
            *product = 1.0;
        }
    }

    /// The natural logarithms.
    pub(crate) fn logs(self) -> [f64; K] {
        std::array::from_fn(|k| self.logs[k] + self.product[k].ln())
    }
}

/// Multiplies by powers, which are found by repeated squaring.
fn raise<const K: usize>(product: &mut [f64; K], mut base: [f64; K], exponent: u64) {
    let mut power = [1.0; K];
    let mut left = exponent;
    while left > 0 {
        if left & 1 == 1 {
            for (power, base) in power.iter_mut().zip(&base) {
                *power *= base;
            }
        }
        left >>= 1;
        if left > 0 {
            for base in &mut base {
                *base *= *base;
            }
        }
    }
    for (product, power) in product.iter_mut().zip(&power) {
        *product *= power;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_product_of_powers_has_the_logarithm_that_its_factors_have(
            factors in prop::collection::vec(
                ([1e-9f64..1e9, 0.5f64..2.0, 0.999f64..1.001], prop_oneof![0u64..100, 0u64..10_000_000]), 0..20,
            ),
        ) {
            let mut product = LogProduct::new();
            let mut logs = [0.0; 3];
            let mut size = 0.0;
            for (base, exponent) in factors {
                product.multiply(base, exponent);
                for (log, base) in logs.iter_mut().zip(base) {
                    *log += exponent as f64 * base.ln();
                    size += exponent as f64 * (1.0 + base.ln().abs());
                }
            }
            for (found, log) in product.logs().into_iter().zip(logs) {
                prop_assert!((found - log).abs() <= 1e-14 * size + 1e-12, "{found} and {log}");
            }
        }
    }
}
