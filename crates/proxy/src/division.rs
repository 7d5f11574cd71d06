//! How requests are divided: a bucket of 0 to 9,999 per request, below the canary's weight
//! in basis points means canary.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use airboss_model::traffic::Weight;

/// Number of buckets: one for each 0.01 %.
pub(crate) const BUCKETS: u64 = 10_000;

/// One of the 10,000 equal parts of all requests or users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket(u16);

impl Bucket {
    /// Scales 64 uniform bits down; the bias is below 10,000 / 2^64.
    fn of_bits(bits: u64) -> Self {
        Self(((u128::from(bits) * u128::from(BUCKETS)) >> 64) as u16)
    }

    /// The bucket of a user, the same on every machine and in every version: FNV-1a (64 bit)
    /// over salt, a zero byte and identity, mixed by the finaliser of MurmurHash3.
    pub(crate) fn of_user(salt: &str, identity: &[u8]) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in salt.bytes().chain([0]).chain(identity.iter().copied()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        Self::of_bits(hash ^ (hash >> 33))
    }

    /// Whether this part belongs to a share. A growing share only ever gains buckets.
    pub(crate) fn is_within(self, share: Weight) -> bool {
        self.0 < share.basis_points()
    }
}

/// A fast pseudo-random source (SplitMix64, Steele et al. 2014), seeded by the system.
#[derive(Debug)]
pub(crate) struct Chance {
    state: u64,
    ids: RandomState,
}

impl Chance {
    /// A source of its own for each worker.
    pub(crate) fn seeded_by_system() -> Self {
        let ids = RandomState::new();
        Self {
            state: RandomState::new().hash_one(0_u8),
            ids,
        }
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A uniform bucket.
    pub(crate) fn bucket(&mut self) -> Bucket {
        Bucket::of_bits(self.bits())
    }

    /// A uniform number below `end`, which is above 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.bits()) * end as u128) >> 64) as usize
    }

    /// An identity for a user's cookie: 32 hex digits, keyed so that one says nothing of the next.
    pub(crate) fn identity(&mut self) -> String {
        let mut half = || {
            let mut hasher = self.ids.build_hasher();
            hasher.write_u64(self.state);
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            hasher.finish()
        };
        let (high, low) = (half(), half());
        format!("{high:016x}{low:016x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(points: u16) -> Weight {
        Weight::from_basis_points(points)
    }

    proptest! {
        #[test]
        fn a_growing_weight_only_moves_users_to_the_canary(
            user in "[a-z0-9]{1,40}", small in 0_u16..=10_000, more in 0_u16..=10_000,
        ) {
            let bucket = Bucket::of_user("checkout-7", user.as_bytes());
            if bucket.is_within(share(small)) {
                prop_assert!(bucket.is_within(share(small.saturating_add(more))));
            }
        }

        #[test]
        fn all_and_nothing_are_exact(user in any::<Vec<u8>>()) {
            let bucket = Bucket::of_user("checkout-7", &user);
            prop_assert!(bucket.is_within(Weight::FULL));
            prop_assert!(!bucket.is_within(Weight::ZERO));
        }
    }

    /// Five standard deviations of a binomial share.
    fn tolerance(share: f64, draws: f64) -> f64 {
        5.0 * (share * (1.0 - share) / draws).sqrt()
    }

    #[test]
    fn chance_keeps_every_share_in_the_long_run() {
        let mut chance = Chance {
            state: 42,
            ids: RandomState::new(),
        };
        let draws = 4_000_000_u32;
        let buckets: Vec<_> = (0..draws).map(|_| chance.bucket()).collect();
        for points in [1, 10, 100, 5_000, 9_999] {
            let hits = buckets
                .iter()
                .filter(|b| b.is_within(share(points)))
                .count();
            let (got, want) = (hits as f64 / f64::from(draws), share(points).ratio());
            assert!(
                (got - want).abs() < tolerance(want, f64::from(draws)),
                "{points} points: {got} for {want}"
            );
        }
    }

    #[test]
    fn users_are_spread_evenly_even_where_their_names_are_alike() {
        let users = 400_000_u32;
        for points in [1, 100, 1_000, 5_000] {
            let hits = (0..users)
                .filter(|n| {
                    Bucket::of_user("shop-1", format!("user-{n}").as_bytes())
                        .is_within(share(points))
                })
                .count();
            let (got, want) = (hits as f64 / f64::from(users), share(points).ratio());
            assert!(
                (got - want).abs() < tolerance(want, f64::from(users)),
                "{points} points: {got} for {want}"
            );
        }
    }

    #[test]
    fn another_rollout_exposes_other_users() {
        let within = |salt: &str, n: u32| {
            Bucket::of_user(salt, format!("user-{n}").as_bytes()).is_within(share(1_000))
        };
        let both = (0..100_000)
            .filter(|n| within("shop-1", *n) && within("shop-2", *n))
            .count();
        // Independent draws meet in 1 % of users.
        assert!((800..1_200).contains(&both), "{both}");
    }

    #[test]
    fn a_users_bucket_is_the_same_in_every_version() {
        // Computed by another implementation of the formula.
        assert_eq!(Bucket::of_user("checkout-7", b"ada"), Bucket(6_953));
    }
}
