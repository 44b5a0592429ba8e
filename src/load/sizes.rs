//! How large records are.

use super::payload::Random;
use crate::config::text;
use std::fmt;
use std::str::FromStr;

/// The size of a record's value, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Sizes {
    Fixed(usize),
    /// Each size from the first to the last is as likely as any other.
    Uniform(usize, usize),
    /// Most are below the mean, and a few far above, as in logs. `sigma` is the standard deviation of the logarithm.
    LogNormal {
        mean: usize,
        sigma: f64,
    },
    /// Sizes with how often each comes, as they are typed: the weights need not sum up to anything.
    Weighted(Vec<(usize, f64)>),
}

/// No record is larger, however long the tail of its distribution: a batch must hold it.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

impl Sizes {
    pub fn draw(&self, random: &mut Random) -> usize {
        let bytes = match self {
            Self::Fixed(bytes) => *bytes,
            Self::Uniform(first, last) => first + random.below((last - first) as u64 + 1) as usize,
            Self::LogNormal { mean, sigma } => {
                let mu = (*mean as f64).ln() - sigma * sigma / 2.0;
                (mu + sigma * random.normal()).exp().round() as usize
            }
            Self::Weighted(sizes) => {
                let total: f64 = sizes.iter().map(|(_, weight)| weight).sum();
                let mut rest = random.unit() * total;
                let drawn = sizes.iter().find(|(_, weight)| {
                    rest -= weight;
                    rest < 0.0
                });
                drawn.or(sizes.last()).map_or(0, |(bytes, _)| *bytes)
            }
        };
        bytes.min(RECORD_BYTES_MAX)
    }

    pub fn mean(&self) -> f64 {
        match self {
            Self::Fixed(bytes) => *bytes as f64,
            Self::Uniform(first, last) => (*first as f64 + *last as f64) / 2.0,
            Self::LogNormal { mean, .. } => *mean as f64,
            Self::Weighted(sizes) => {
                let total: f64 = sizes.iter().map(|(_, weight)| weight).sum();
                sizes.iter().map(|(bytes, weight)| *bytes as f64 * weight).sum::<f64>() / total
            }
        }
    }
}

/// `1024`, `uniform:100..2KiB`, `lognormal:1KiB` or `lognormal:1KiB,0.8`, `100*7,1KiB*2,64KiB*1`.
impl FromStr for Sizes {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let size = |text: &str| match text::memory_bytes(text)? {
            bytes if bytes > RECORD_BYTES_MAX => Err(format!("`{text}` is more than 16MiB")),
            bytes => Ok(bytes),
        };
        if let Some(range) = typed.strip_prefix("uniform:") {
            let problem =
                || format!("`{range}` is no range of sizes; expected, for example, uniform:100..2KiB");
            let (first, last) = range.split_once("..").ok_or_else(problem)?;
            let (first, last) = (size(first)?, size(last.trim_start_matches('='))?);
            return if first <= last { Ok(Self::Uniform(first, last)) } else { Err(problem()) };
        }
        if let Some(parameters) = typed.strip_prefix("lognormal:") {
            let (mean, sigma) = parameters.split_once(',').unwrap_or((parameters, "0.8"));
            let sigma = sigma.trim().parse().ok().filter(|sigma| (0.0..=4.0).contains(sigma));
            let sigma = sigma.ok_or_else(|| {
                format!(
                    "`{parameters}`: expected a mean size and a sigma from 0 to 4, as in lognormal:1KiB,0.8"
                )
            })?;
            let mean = size(mean)?.max(1);
            return Ok(Self::LogNormal { mean, sigma });
        }
        if typed.contains(['*', ',']) {
            let weighted = typed.split(',').map(|part| {
                let problem =
                    || format!("`{part}` is no SIZE*WEIGHT; expected, for example, 100*7,1KiB*2,64KiB*1");
                let (bytes, weight) = part.split_once('*').ok_or_else(problem)?;
                let weight =
                    weight.trim().parse::<f64>().ok().filter(|weight| *weight > 0.0 && *weight < 1e12);
                Ok((size(bytes)?, weight.ok_or_else(problem)?))
            });
            return weighted.collect::<Result<_, String>>().map(Self::Weighted);
        }
        if let Some((word, _)) = typed.split_once(':') {
            return Err(format!(
                "there is no distribution `{word}`; expected SIZE, uniform:A..B, lognormal:MEAN[,SIGMA] or SIZE*WEIGHT,…"
            ));
        }
        size(typed).map(Self::Fixed)
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(bytes) => write!(f, "{bytes} B"),
            Self::Uniform(first, last) => write!(f, "{first} to {last} B"),
            Self::LogNormal { mean, sigma } => write!(f, "lognormal around {mean} B, sigma {sigma}"),
            Self::Weighted(sizes) => {
                let parts: Vec<String> =
                    sizes.iter().map(|(bytes, weight)| format!("{bytes} B*{weight}")).collect();
                f.write_str(&parts.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mean_drawn(sizes: &Sizes, seed: u64) -> f64 {
        let mut random = Random::new(seed);
        let draws = 40_000;
        (0..draws).map(|_| sizes.draw(&mut random) as f64).sum::<f64>() / f64::from(draws)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn what_is_drawn_has_the_mean_it_should(
            mean in 50usize..20_000,
            sigma in 0.0..1.2f64,
            weights in proptest::collection::vec((1usize..5_000, 0.5..10.0f64), 1..6),
            seed: u64,
        ) {
            let all = [
                Sizes::Fixed(mean),
                Sizes::Uniform(mean / 2, mean * 2),
                Sizes::LogNormal { mean, sigma },
                Sizes::Weighted(weights),
            ];
            for sizes in all {
                let (drawn, expected) = (mean_drawn(&sizes, seed), sizes.mean());
                prop_assert!((drawn / expected - 1.0).abs() < 0.08, "{sizes}: {drawn} instead of {expected}");
            }
        }
    }

    #[test]
    fn a_lognormal_distribution_has_its_median_below_its_mean() {
        let sizes = Sizes::LogNormal { mean: 1000, sigma: 1.0 };
        let mut random = Random::new(5);
        let mut drawn: Vec<usize> = (0..10_001).map(|_| sizes.draw(&mut random)).collect();
        drawn.sort_unstable();
        // exp(-sigma²/2) of the mean.
        assert!((570..650).contains(&drawn[5_000]), "{}", drawn[5_000]);
    }

    #[test]
    fn distributions_are_typed_and_mistakes_are_named() {
        assert_eq!("1KiB".parse(), Ok(Sizes::Fixed(1024)));
        assert_eq!("uniform:100..2KiB".parse(), Ok(Sizes::Uniform(100, 2048)));
        assert_eq!("lognormal:1000".parse(), Ok(Sizes::LogNormal { mean: 1000, sigma: 0.8 }));
        assert_eq!("lognormal:1000,1.5".parse(), Ok(Sizes::LogNormal { mean: 1000, sigma: 1.5 }));
        assert_eq!("10*1,20*3".parse(), Ok(Sizes::Weighted(vec![(10, 1.0), (20, 3.0)])));
        for (typed, word) in [
            ("uniform:5..3", "range"),
            ("normal:3", "lognormal"),
            ("lognormal:9,x", "sigma"),
            ("10*1,20", "SIZE*WEIGHT"),
            ("10*-1", "SIZE*WEIGHT"),
            ("17MiB", "16MiB"),
            ("big", "big"),
        ] {
            let problem = typed.parse::<Sizes>().unwrap_err();
            assert!(problem.contains(word), "{typed}: {problem}");
        }
    }
}
