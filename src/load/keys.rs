//! Which keys records have, how often each comes, and into which partitions that leads them.

use super::payload::Random;
use std::fmt;
use std::str::FromStr;

/// The keys of a load's records.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Keys {
    /// Records have none; partitions take turns.
    None,
    /// Each record has one of its own; partitions take turns.
    #[default]
    Unique,
    /// So many keys, all as frequent; each goes to the partition that Kafka's clients choose for it.
    Uniform(u32),
    /// So many keys, the n-th most frequent as often as 1/n^exponent of the most frequent.
    Zipf { count: u32, exponent: f64 },
}

/// Keys are numbers as text, of this length; so long that they do not look like anything else.
pub const KEY_BYTES: usize = 16;
const COUNT_MAX: u32 = 10_000_000;

impl Keys {
    /// How many different keys there are, if they are counted.
    fn count(&self) -> Option<u32> {
        match self {
            Self::None | Self::Unique => None,
            Self::Uniform(count) | Self::Zipf { count, .. } => Some(*count),
        }
    }

    fn weight(&self, rank: u32) -> f64 {
        match self {
            Self::Zipf { exponent, .. } => f64::from(rank + 1).powf(-exponent),
            _ => 1.0,
        }
    }
}

/// `none`, `unique`, `uniform:1000`, `zipf:1000` or `zipf:1000,1.2`.
impl FromStr for Keys {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let count = |text: &str| {
            let count = text.trim().replace('_', "").parse().ok();
            count
                .filter(|count| (1..=COUNT_MAX).contains(count))
                .ok_or_else(|| format!("`{text}` is no number of keys (1 to {COUNT_MAX})"))
        };
        match typed.split_once(':') {
            None if typed == "none" => Ok(Self::None),
            None if typed == "unique" => Ok(Self::Unique),
            Some(("uniform", keys)) => count(keys).map(Self::Uniform),
            Some(("zipf", parameters)) => {
                let (keys, exponent) = parameters.split_once(',').unwrap_or((parameters, "1"));
                let exponent = exponent.trim().parse().ok().filter(|exponent| (0.0..=5.0).contains(exponent));
                let exponent = exponent.ok_or_else(|| {
                    format!("`{parameters}`: expected keys and an exponent from 0 to 5, as in zipf:10000,1.1")
                })?;
                Ok(Self::Zipf { count: count(keys)?, exponent })
            }
            _ => Err(format!("`{typed}` is none of: none, unique, uniform:N, zipf:N[,EXPONENT]")),
        }
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no keys"),
            Self::Unique => f.write_str("a key each"),
            Self::Uniform(count) => write!(f, "{count} keys, all as frequent"),
            Self::Zipf { count, exponent } => write!(f, "{count} keys, zipf with exponent {exponent}"),
        }
    }
}

/// A choice with given weights.
#[derive(Clone, Debug)]
pub struct Weights<T> {
    choices: Vec<T>,
    /// The sum of the weights up to each.
    sums: Vec<f64>,
}

impl<T: Copy> Weights<T> {
    fn new(weighted: impl IntoIterator<Item = (T, f64)>) -> Self {
        let (mut choices, mut sums, mut sum) = (Vec::new(), Vec::new(), 0.0);
        for (choice, weight) in weighted {
            sum += weight;
            choices.push(choice);
            sums.push(sum);
        }
        Self { choices, sums }
    }

    pub fn total(&self) -> f64 {
        self.sums.last().copied().unwrap_or(0.0)
    }

    /// None without choices.
    pub fn draw(&self, random: &mut Random) -> Option<T> {
        let at = random.unit() * self.total();
        let chosen = self.sums.partition_point(|sum| *sum <= at);
        self.choices.get(chosen.min(self.choices.len().saturating_sub(1))).copied()
    }
}

/// The counted keys of each partition; None where keys do not decide about partitions.
pub fn by_partition(keys: &Keys, partitions: u32) -> Option<Vec<Weights<u32>>> {
    let count = keys.count()?;
    let mut of_partition: Vec<Vec<(u32, f64)>> = vec![Vec::new(); partitions as usize];
    for rank in 0..count {
        of_partition[partition_of(&name(rank), partitions) as usize].push((rank, keys.weight(rank)));
    }
    Some(of_partition.into_iter().map(Weights::new).collect())
}

/// Which partition the next batch is for. Those of several topics are counted on.
#[derive(Debug)]
pub struct Turn {
    next: u32,
    topics: u32,
    partitions: u32,
    /// Where keys decide about partitions.
    weighted: Option<(Weights<u32>, Random)>,
}

impl Turn {
    pub fn new(keys: &Keys, topics: u32, partitions: u32, seed: u64) -> Self {
        let weighted = by_partition(keys, partitions).map(|keys| {
            let weighted = (0..).zip(&keys).map(|(partition, keys)| (partition, keys.total()));
            (Weights::new(weighted.filter(|(_, weight)| *weight > 0.0)), Random::new(seed))
        });
        Self { next: 0, topics, partitions, weighted }
    }

    pub fn take(&mut self) -> u32 {
        let turn = self.next;
        match &mut self.weighted {
            None => {
                self.next = (turn + 1) % (self.topics * self.partitions);
                turn
            }
            Some((weights, random)) => {
                self.next = (turn + 1) % self.topics;
                turn * self.partitions + weights.draw(random).unwrap_or(0)
            }
        }
    }
}

/// The key of a rank.
pub fn name(rank: u32) -> [u8; KEY_BYTES] {
    let mut name = *b"key-000000000000";
    let mut rest = rank;
    for digit in name[4..].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    name
}

/// The partition that Kafka's clients choose for a key (`BuiltInPartitioner.partitionForKey`).
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions
}

/// Kafka's variant of MurmurHash 2 (`Utils.murmur2`).
fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (byte, shift) in rest.iter().zip([0, 8, 16]) {
            hash ^= u32::from(*byte) << shift;
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the tests of Kafka's clients (`UtilsTest.testMurmur2`).
    #[test]
    fn keys_are_hashed_as_kafkas_clients_do() {
        let known: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in known {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }

    #[test]
    fn every_key_is_in_its_partition_and_partitions_weigh_what_their_keys_do() {
        let keys = Keys::Zipf { count: 1000, exponent: 1.0 };
        let of_partition = by_partition(&keys, 7).unwrap();
        assert_eq!(of_partition.iter().map(|keys| keys.choices.len()).sum::<usize>(), 1000);
        for (partition, keys) in (0..).zip(&of_partition) {
            assert!(keys.choices.iter().all(|rank| partition_of(&name(*rank), 7) == partition));
        }
        let harmonic: f64 = (1..=1000).map(|n| 1.0 / f64::from(n)).sum();
        let total: f64 = of_partition.iter().map(Weights::total).sum();
        assert!((total - harmonic).abs() < 1e-9);
    }

    #[test]
    fn zipf_draws_the_first_keys_most_often() {
        let all = by_partition(&Keys::Zipf { count: 100, exponent: 1.0 }, 1).unwrap();
        let mut random = Random::new(3);
        let mut counts = [0u32; 100];
        for _ in 0..100_000 {
            counts[all[0].draw(&mut random).unwrap() as usize] += 1;
        }
        let share = |rank: usize| f64::from(counts[rank]) / 100_000.0;
        let harmonic: f64 = (1..=100).map(|n| 1.0 / f64::from(n)).sum();
        for rank in [0, 1, 9] {
            let expected = 1.0 / (rank as f64 + 1.0) / harmonic;
            assert!((share(rank) / expected - 1.0).abs() < 0.1, "{rank}: {} of {expected}", share(rank));
        }
    }

    #[test]
    fn turns_follow_the_weights_or_go_round() {
        let mut round = Turn::new(&Keys::Unique, 1, 3, 0);
        assert_eq!([round.take(), round.take(), round.take(), round.take()], [0, 1, 2, 0]);
        let keys = Keys::Zipf { count: 50, exponent: 1.5 };
        let weights = by_partition(&keys, 4).unwrap();
        let mut turn = Turn::new(&keys, 1, 4, 9);
        let mut counts = [0u32; 4];
        for _ in 0..40_000 {
            counts[turn.take() as usize] += 1;
        }
        let total: f64 = weights.iter().map(Weights::total).sum();
        for (count, keys) in counts.iter().zip(&weights) {
            let expected = keys.total() / total;
            assert!((f64::from(*count) / 40_000.0 - expected).abs() < 0.02, "{counts:?}");
        }
        let mut topics = Turn::new(&Keys::Uniform(1), 2, 3, 0);
        let only = partition_of(&name(0), 3);
        assert_eq!([topics.take(), topics.take(), topics.take()], [only, 3 + only, only]);
    }

    #[test]
    fn keys_are_typed_and_mistakes_are_named() {
        assert_eq!("none".parse(), Ok(Keys::None));
        assert_eq!("uniform:10_000".parse(), Ok(Keys::Uniform(10_000)));
        assert_eq!("zipf:50".parse(), Ok(Keys::Zipf { count: 50, exponent: 1.0 }));
        assert_eq!("zipf:50,1.3".parse(), Ok(Keys::Zipf { count: 50, exponent: 1.3 }));
        for (typed, word) in
            [("zipf", "zipf:N"), ("uniform:0", "number"), ("zipf:5,9", "exponent"), ("x:1", "none")]
        {
            let problem = typed.parse::<Keys>().unwrap_err();
            assert!(problem.contains(word), "{typed}: {problem}");
        }
    }
}
