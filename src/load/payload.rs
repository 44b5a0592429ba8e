//! What is in the records: mostly what people log, JSON with field names that repeat and values that mostly do not.

use super::sizes::Sizes;
use bytes::Bytes;

/// The records' values.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// JSON of which so many percent are random and so hardly shrink.
    Json { random_percent: usize },
    /// Random bytes, this share of the record, and zeros, as OpenMessaging Benchmark makes them.
    RandomAndZeros { random_ratio: f64 },
    /// Random capital letters, as kafka-producer-perf-test makes them.
    Letters,
    /// Each is one of these, whatever its size.
    Pool(Vec<Bytes>),
}

impl Values {
    pub fn value(&self, random: &mut Random, sizes: &Sizes) -> Bytes {
        match self {
            Self::Json { random_percent } => {
                let bytes = sizes.draw(random);
                value(random, bytes, *random_percent).into()
            }
            Self::RandomAndZeros { random_ratio } => {
                let mut bytes = vec![0; sizes.draw(random)];
                let random_bytes = (bytes.len() as f64 * random_ratio) as usize;
                bytes.iter_mut().take(random_bytes).for_each(|byte| *byte = random.next() as u8);
                bytes.into()
            }
            Self::Letters => {
                let bytes = sizes.draw(random);
                (0..bytes).map(|_| b'A' + random.below(26) as u8).collect::<Vec<_>>().into()
            }
            Self::Pool(pool) if pool.is_empty() => Bytes::new(),
            Self::Pool(pool) => pool[random.below(pool.len() as u64) as usize].clone(),
        }
    }
}

/// A small generator of pseudo-random numbers (SplitMix64); the load must be the same in every run.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`, which must not be 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// From 0, which is included, to 1, which is not.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Exponentially distributed, with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// Normally distributed, with mean 0 and standard deviation 1 (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (2.0 * self.exponential()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

const EVENTS: [&str; 6] = ["page_view", "add_to_cart", "search", "checkout", "login", "video_progress"];
const COUNTRIES: [&str; 8] = ["DE", "US", "BR", "IN", "JP", "NG", "FR", "MX"];
const WORDS: [&str; 16] = [
    "shoes",
    "summer",
    "camera",
    "garden",
    "winter",
    "coffee",
    "travel",
    "guitar",
    "bicycle",
    "kitchen",
    "novel",
    "lamp",
    "puzzle",
    "blanket",
    "sunscreen",
    "tent",
];
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// One record's value of exactly `bytes` bytes: an event, then a `trace` of random characters that fills
/// `random_percent` of the record, then words. A record too small for all that is cut off.
pub fn value(random: &mut Random, bytes: usize, random_percent: usize) -> Vec<u8> {
    let mut text = format!(
        r#"{{"event":"{}","user":"u-{:016x}","session":{},"country":"{}","duration_ms":{},"trace":""#,
        EVENTS[random.below(EVENTS.len() as u64) as usize],
        random.next(),
        random.below(1_000_000_000),
        COUNTRIES[random.below(COUNTRIES.len() as u64) as usize],
        random.below(60_000),
    )
    .into_bytes();
    let trace_end = (text.len() + bytes * random_percent / 100).min(bytes);
    while text.len() < trace_end {
        let mut bits = random.next();
        for _ in 0..10.min(trace_end - text.len()) {
            text.push(ALPHABET[(bits & 63) as usize]);
            bits >>= 6;
        }
    }
    text.extend_from_slice(br#"","query":""#);
    while text.len() < bytes.saturating_sub(2) {
        text.extend_from_slice(WORDS[random.below(WORDS.len() as u64) as usize].as_bytes());
        text.push(b' ');
    }
    text.truncate(bytes.saturating_sub(2));
    text.extend_from_slice(br#""}"#);
    text.truncate(bytes);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_size_asked_for_and_differ() {
        let mut random = Random::new(1);
        for bytes in [0, 1, 10, 100, 1024, 5000] {
            assert_eq!(value(&mut random, bytes, 50).len(), bytes);
        }
        assert_ne!(value(&mut random, 1024, 50), value(&mut random, 1024, 50));
        let json = value(&mut random, 1024, 50);
        serde_json::from_slice::<serde_json::Value>(&json).unwrap();
    }

    #[test]
    fn the_same_seed_gives_the_same_values() {
        assert_eq!(value(&mut Random::new(7), 512, 30), value(&mut Random::new(7), 512, 30));
    }
}
