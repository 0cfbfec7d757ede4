//! Counts of measured times, in a fixed amount of memory.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Buckets per power of two: a quantile is at most an eighth too large.
const SUB: usize = 8;
const SUB_BITS: u32 = 3;
/// Values up to 2^27 µs, two minutes; larger ones count as that.
const TOP_BIT: u32 = 27;
const BUCKETS: usize = (TOP_BIT - SUB_BITS + 1) as usize * SUB;

/// A histogram of microseconds that one thread fills and any may read.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU32; BUCKETS],
    sum: AtomicU64,
    max: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: [const { AtomicU32::new(0) }; BUCKETS], sum: AtomicU64::new(0), max: AtomicU64::new(0) }
    }
}

/// Values below `SUB` have a bucket each; above, each power of two has `SUB`.
fn bucket(value: u64) -> usize {
    if value < SUB as u64 {
        return value as usize;
    }
    let top = 63 - value.leading_zeros();
    if top >= TOP_BIT {
        return BUCKETS - 1;
    }
    let fine = (value >> (top - SUB_BITS)) as usize & (SUB - 1);
    (top - SUB_BITS + 1) as usize * SUB + fine
}

/// The largest value that falls into `bucket`.
fn upper(bucket: usize) -> u64 {
    if bucket < SUB {
        return bucket as u64;
    }
    let shift = (bucket / SUB - 1) as u32;
    (((SUB + bucket % SUB) as u64 + 1) << shift) - 1
}

impl Histogram {
    /// Counts one value. Does not wait or allocate.
    pub fn add(&self, micros: u64) {
        self.buckets[bucket(micros)].fetch_add(1, Relaxed);
        self.sum.fetch_add(micros, Relaxed);
        self.max.fetch_max(micros, Relaxed);
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|bucket| u64::from(bucket.load(Relaxed))).sum()
    }

    /// Microseconds.
    pub fn sum(&self) -> u64 {
        self.sum.load(Relaxed)
    }

    /// Microseconds.
    pub fn max(&self) -> u64 {
        self.max.load(Relaxed)
    }

    /// How many values were at most `micros`, to the precision of the buckets.
    pub fn at_most(&self, micros: u64) -> u64 {
        let within = |(index, _): &(usize, &AtomicU32)| upper(*index) <= micros;
        self.buckets.iter().enumerate().take_while(within).map(|(_, count)| u64::from(count.load(Relaxed))).sum()
    }

    /// The value that `per_mille` of a thousand values do not exceed; at most an eighth too large. `None` without values.
    pub fn quantile(&self, per_mille: u64) -> Option<u64> {
        let count = self.count();
        let wanted = (count * per_mille.min(1_000)).div_ceil(1_000).max(1);
        let mut seen = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            seen += u64::from(bucket.load(Relaxed));
            if seen >= wanted {
                return Some(upper(index).min(self.max()));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_histogram_has_no_quantile() {
        assert_eq!(Histogram::default().quantile(999), None);
    }

    proptest! {
        #[test]
        fn a_quantile_is_at_most_an_eighth_too_large(mut values in prop::collection::vec(0u64..100_000_000, 1..200)) {
            let histogram = Histogram::default();
            values.iter().for_each(|value| histogram.add(*value));
            values.sort_unstable();
            for per_mille in [1, 500, 990, 999, 1_000] {
                let index = (values.len() as u64 * per_mille).div_ceil(1_000).max(1) as usize - 1;
                let (real, told) = (values[index], histogram.quantile(per_mille).unwrap());
                prop_assert!(told >= real && told <= real + real / 8 + 1, "{per_mille}: {real} told as {told}");
            }
            prop_assert_eq!(histogram.count(), values.len() as u64);
            prop_assert_eq!(histogram.at_most(u64::MAX), values.len() as u64);
        }
    }
}
