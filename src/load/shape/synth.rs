//! Payloads that have a given size once they are compressed, so many records in them.
//!
//! A random byte cannot be shrunk, a repeated one costs next to nothing. So the first part of all values is filler and the rest is
//! random, and how many bytes are random is corrected by what the size misses: one more is about one more byte of payload. That
//! hits it within a few tries. (The other way round, or in turn, would not do: Snappy and LZ4 look ever less often for something to
//! shrink where they found nothing, and would find the filler late.)

use super::kinds::Kind;
use crate::limits::BATCH_HEADER_BYTES;
use crate::load::Codec;
use crate::load::payload::Random;
use crate::wire::codec;
use crate::wire::rebuild::put_zigzag;
use bytes::Bytes;

/// Of what is compressed, before: about what logs and events shrink to, or less.
const RATIO: usize = 2;
const TRIES: usize = 12;
const FILLER: u8 = b' ';

/// A payload, and the sum of the sizes of its values.
pub(in crate::load) fn payload(kind: &Kind, seed: u64) -> Result<(Bytes, u64), String> {
    let wanted = (kind.bytes as usize).saturating_sub(BATCH_HEADER_BYTES);
    if kind.codec == Codec::None {
        return Ok(plain(kind.records, wanted, seed));
    }
    let compress = |values: usize, random: usize| {
        let records = records(kind.records, values, random, seed);
        codec::compress(codec::Compression::of(kind.codec.id()), records).map_err(|error| error.to_string())
    };
    let mut values = wanted * RATIO;
    // What it takes without any random byte; if that is too much already, then with less of a filler.
    let mut least = compress(values, 0)?;
    while least.len() > wanted && values > 0 {
        values /= 4;
        least = compress(values, 0)?;
    }
    let mut random = wanted.saturating_sub(least.len()).min(values);
    // So few are too few, so many too many.
    let (mut low, mut high) = (0, values + 1);
    let mut best = (least.len().abs_diff(wanted), least);
    for _ in 0..TRIES {
        let found = compress(values, random)?;
        let missing = wanted as i64 - found.len() as i64;
        if found.len().abs_diff(wanted) < best.0 {
            best = (found.len().abs_diff(wanted), found);
        }
        if missing.unsigned_abs() as usize <= wanted / 1000 {
            break;
        }
        if missing > 0 {
            low = random;
        } else {
            high = random;
        }
        let corrected = (random as i64 + missing).max(0) as usize;
        random = if low < corrected && corrected < high { corrected } else { low.midpoint(high) };
        if random == low {
            break;
        }
    }
    Ok((best.1.into(), values as u64))
}

/// Records that take exactly so many bytes, or as near to that as lengths of lengths allow.
fn plain(count: u32, wanted: usize, seed: u64) -> (Bytes, u64) {
    let empty: usize = (0..count).map(|n| record_bytes(n, 0)).sum();
    let mut values = wanted.saturating_sub(empty);
    // Longer values have longer lengths.
    for _ in 0..TRIES {
        let mut share = Share::new(values, count);
        let bytes: usize = (0..count).map(|n| record_bytes(n, share.next())).sum();
        match bytes.saturating_sub(wanted) {
            0 => break,
            over => values = values.saturating_sub(over),
        }
    }
    (records(count, values, values / 2, seed).into(), values as u64)
}

/// `total` in `count` parts that differ by 1 at most.
struct Share {
    total: u64,
    count: u64,
    at: u64,
}

impl Share {
    fn new(total: usize, count: u32) -> Self {
        Self { total: total as u64, count: u64::from(count.max(1)), at: 0 }
    }

    fn next(&mut self) -> usize {
        let until = |at: u64| u128::from(self.total) * u128::from(at) / u128::from(self.count);
        let part = until(self.at + 1) - until(self.at);
        self.at += 1;
        part as usize
    }
}

/// The bytes of so many records without keys and headers, with values of `values` bytes together, `random` of them random.
fn records(count: u32, values: usize, random: usize, seed: u64) -> Vec<u8> {
    let mut chance = Random::new(seed);
    let mut sizes = Share::new(values, count);
    let mut filler_left = values.saturating_sub(random);
    let mut bytes = Vec::with_capacity(values + count as usize * 16);
    for n in 0..count {
        let size = sizes.next();
        let filler = filler_left.min(size);
        filler_left -= filler;
        put_zigzag(&mut bytes, body_bytes(n, size) as i64);
        // Attributes, timestamp delta 0, offset delta, no key.
        bytes.extend([0, 0]);
        put_zigzag(&mut bytes, i64::from(n));
        bytes.push(1);
        put_zigzag(&mut bytes, size as i64);
        bytes.resize(bytes.len() + filler, FILLER);
        let end = bytes.len() + size - filler;
        while bytes.len() < end {
            let eight = chance.next().to_le_bytes();
            bytes.extend(&eight[..eight.len().min(end - bytes.len())]);
        }
        // No headers.
        bytes.push(0);
    }
    bytes
}

fn record_bytes(n: u32, value: usize) -> usize {
    let body = body_bytes(n, value);
    zigzag_bytes(body) + body
}

fn body_bytes(n: u32, value: usize) -> usize {
    4 + zigzag_bytes(n as usize) + zigzag_bytes(value) + value
}

fn zigzag_bytes(number: usize) -> usize {
    let bits = (usize::BITS - (number << 1).leading_zeros()).max(1) as usize;
    bits.div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn size(codec: Codec, bytes: u32, records: u32) -> usize {
        let kind = Kind { bytes, records, codec, count: 1 };
        payload(&kind, 7).unwrap().0.len() + BATCH_HEADER_BYTES
    }

    proptest! {
        #![proptest_config(ProptestConfig { max_shrink_iters: 20, ..ProptestConfig::with_cases(40) })]
        #[test]
        fn the_size_is_hit(
            codec in proptest::sample::select(Codec::ALL.to_vec()),
            bytes in prop_oneof![200u32..2000, 2000u32..40_000, 40_000u32..300_000],
            bytes_per_record in 20u32..5000,
        ) {
            let records = ((bytes - 61) / bytes_per_record).max(1);
            let found = size(codec, bytes, records);
            let off = found.abs_diff(bytes as usize);
            prop_assert!(off <= 16 + bytes as usize / 400, "{codec} {bytes} {records}: {found}");
        }
    }

    #[test]
    fn tiny_batches_of_many_records_come_as_near_as_can_be() {
        for codec in Codec::ALL {
            // As small as Kafka's producer makes them.
            for (bytes, records) in [(100, 1), (110, 2), (130, 3)] {
                let found = size(codec, bytes, records);
                assert!(found.abs_diff(bytes as usize) <= 12, "{codec}: {found} instead of {bytes}");
            }
        }
        // 1000 records cannot be less than this.
        assert!(size(Codec::Zstd, 300, 1000) < 2500);
    }

    #[test]
    fn without_compression_it_is_the_byte() {
        for bytes in [100, 1000, 16_384, 131_072, 1_000_000] {
            for records in [1, 3, (bytes - 61) / 9] {
                let found = size(Codec::None, bytes, records);
                assert!((bytes as usize - 3..=bytes as usize).contains(&found), "{bytes} {records}: {found}");
            }
        }
    }
}
