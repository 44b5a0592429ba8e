//! Batches of one size, record count and codec are one kind, which has one payload. Where there would be too many payloads, sizes
//! that are near each other are taken together, at their mean.

use super::Captured;
use crate::load::Codec;
use std::collections::BTreeMap;

/// What making the payloads may cost, in bytes of payload that is not compressed: memory, and a few seconds.
const COST_MAX: u64 = 192 << 20;
/// Significant bits of sizes and counts, one after the other until it is cheap enough.
const BITS: [u32; 8] = [32, 9, 8, 7, 6, 5, 4, 3];

/// Like batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub bytes: u32,
    pub records: u32,
    pub codec: Codec,
    /// How many there are.
    pub count: u64,
}

/// The kinds of a shape's batches.
#[derive(Clone, Debug)]
pub struct Kinds {
    pub kinds: Vec<Kind>,
    /// By batch: its kind.
    pub of: Vec<u32>,
}

impl Kinds {
    pub fn new(captured: &Captured) -> Self {
        let mut kinds = Self::with_bits(captured, BITS[0]);
        for bits in &BITS[1..] {
            if kinds.cost() <= COST_MAX {
                break;
            }
            kinds = Self::with_bits(captured, *bits);
        }
        kinds
    }

    fn with_bits(captured: &Captured, bits: u32) -> Self {
        let mut numbers: BTreeMap<(u8, u32, u32), u32> = BTreeMap::new();
        let mut sums: Vec<(Codec, u64, u64, u64)> = Vec::new();
        let mut of = Vec::with_capacity(captured.batches.len());
        for seen in &captured.batches {
            let key = (seen.codec.id(), rounded(seen.bytes, bits), rounded(seen.records, bits));
            let number = *numbers.entry(key).or_insert_with(|| {
                sums.push((seen.codec, 0, 0, 0));
                sums.len() as u32 - 1
            });
            if let Some((_, bytes, records, count)) = sums.get_mut(number as usize) {
                *bytes += u64::from(seen.bytes);
                *records += u64::from(seen.records);
                *count += 1;
            }
            of.push(number);
        }
        let mean = |sum: u64, count: u64| ((sum + count / 2) / count.max(1)) as u32;
        let kinds = sums.into_iter().map(|(codec, bytes, records, count)| Kind {
            bytes: mean(bytes, count),
            records: mean(records, count).max(1),
            codec,
            count,
        });
        Self { kinds: kinds.collect(), of }
    }

    fn cost(&self) -> u64 {
        let each = self.kinds.iter().map(|kind| {
            u64::from(kind.bytes)
                * match kind.codec {
                    Codec::None => 1,
                    Codec::Snappy | Codec::Lz4 => 6,
                    Codec::Zstd => 16,
                    Codec::Gzip => 40,
                }
        });
        each.sum()
    }
}

/// With so many significant bits.
fn rounded(number: u32, bits: u32) -> u32 {
    let length = u32::BITS - number.leading_zeros();
    let shift = length.saturating_sub(bits);
    number >> shift << shift
}

#[cfg(test)]
mod tests {
    use super::super::Seen;
    use super::super::tests::captured;
    use super::*;

    #[test]
    fn few_sizes_are_kept_as_they_are() {
        let sizes = [100, 2000, 100, 70_000];
        let seen = sizes.map(|bytes| Seen { at_us: 0, lane: 0, bytes, records: 2, codec: Codec::Zstd });
        let kinds = Kinds::new(&captured(seen.to_vec()));
        assert_eq!(kinds.of, [0, 1, 0, 2]);
        assert_eq!(
            kinds.kinds.iter().map(|kind| (kind.bytes, kind.count)).collect::<Vec<_>>(),
            [(100, 2), (2000, 1), (70_000, 1)]
        );
    }

    #[test]
    fn many_sizes_are_taken_together_and_their_sum_stays() {
        for codec in [Codec::None, Codec::Gzip] {
            let seen =
                |n: u32| Seen { at_us: 0, lane: 0, bytes: 50_000 + n * 7, records: 90 + n % 50, codec };
            let captured = captured((0..20_000).map(seen).collect());
            let kinds = Kinds::new(&captured);
            assert!(kinds.cost() <= COST_MAX && kinds.kinds.len() > 5, "{}", kinds.kinds.len());
            let sum = |of: fn(&Kind) -> u32| -> f64 {
                kinds.kinds.iter().map(|kind| f64::from(of(kind)) * kind.count as f64).sum()
            };
            let (bytes, records) = (captured.bytes() as f64, captured.records() as f64);
            assert!((sum(|kind| kind.bytes) / bytes - 1.0).abs() < 1e-3);
            assert!((sum(|kind| kind.records) / records - 1.0).abs() < 1e-2);
        }
    }

    #[test]
    fn numbers_are_rounded_to_their_first_bits() {
        assert_eq!([rounded(0, 4), rounded(15, 4), rounded(0b11_0110, 4)], [0, 15, 0b11_0100]);
        assert_eq!(rounded(u32::MAX, 32), u32::MAX);
    }
}
