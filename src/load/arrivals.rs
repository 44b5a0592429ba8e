//! When batches are due: a rate that may change by steps, and how arrivals lie around it. What is due does not depend on what has
//! been sent, so a sender that is held up keeps the intended times (no coordinated omission).

use super::payload::Random;
use std::str::FromStr;

/// How arrivals lie around the rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Pattern {
    /// At even distances.
    #[default]
    Constant,
    /// At random, independent of each other: what many clients together look like.
    Poisson,
    /// All that is due in each `period_us` comes evenly within its first `on_us`.
    Burst { on_us: u64, period_us: u64 },
}

/// `constant`, `poisson` or `burst:ON/PERIOD`, in ms.
impl FromStr for Pattern {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let ms = |text: &str| text.trim().parse::<u64>().ok().filter(|ms| (1..=86_400_000).contains(ms));
        match typed.split_once(':') {
            None if typed == "constant" => Ok(Self::Constant),
            None if typed == "poisson" => Ok(Self::Poisson),
            Some(("burst", times)) => match times.split_once('/').map(|(on, period)| (ms(on), ms(period))) {
                Some((Some(on), Some(period))) if on <= period => {
                    Ok(Self::Burst { on_us: on * 1000, period_us: period * 1000 })
                }
                _ => Err(format!("`{typed}` is not burst:ON/PERIOD in ms, with ON no longer than PERIOD")),
            },
            _ => Err(format!("`{typed}` is none of: constant, poisson, burst:ON/PERIOD")),
        }
    }
}

/// Rates one after the other, each for `step_us`; the last holds on.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Batches a second; all more than 0.
    pub rates: Vec<f64>,
    pub step_us: u64,
    pub pattern: Pattern,
}

impl Profile {
    /// Batches due until `us` after the start, by the rates alone.
    pub fn offered(&self, us: u64) -> f64 {
        let last = self.rates.len().saturating_sub(1);
        let steps = self.rates.iter().enumerate().map(|(step, rate)| {
            let begin_us = step as u64 * self.step_us;
            let end_us = if step == last { u64::MAX } else { begin_us + self.step_us };
            rate * us.min(end_us).saturating_sub(begin_us) as f64 / 1e6
        });
        steps.sum()
    }

    /// Where the rate changes next after `us`, and what it is until then.
    fn piece(&self, us: u64) -> (u64, f64) {
        let step = match self.step_us {
            0 => 0,
            step_us => ((us / step_us) as usize).min(self.rates.len() - 1),
        };
        let is_last = step + 1 == self.rates.len();
        let step_end_us = if is_last { u64::MAX } else { (step as u64 + 1) * self.step_us };
        let rate = self.rates[step];
        let Pattern::Burst { on_us, period_us } = self.pattern else { return (step_end_us, rate) };
        let period_begin_us = us - us % period_us;
        if us - period_begin_us < on_us {
            let end_us = period_begin_us + on_us;
            (end_us.min(step_end_us), rate * period_us as f64 / on_us as f64)
        } else {
            ((period_begin_us + period_us).min(step_end_us), 0.0)
        }
    }
}

/// The arrivals of a profile, in order.
pub struct Arrivals {
    profile: Profile,
    random: Random,
    /// Where the last arrival lies, with the part of a µs that does not show.
    at_us: f64,
    /// How much of a batch is due until the next arrival.
    missing: f64,
}

impl Arrivals {
    /// # Panics
    /// Without a rate, or with one that is not more than 0.
    pub fn new(profile: Profile, seed: u64) -> Self {
        assert!(!profile.rates.is_empty() && profile.rates.iter().all(|rate| *rate > 0.0));
        // The first one comes at once, but at random where all are.
        let mut random = Random::new(seed);
        let missing = if profile.pattern == Pattern::Poisson { random.exponential() } else { 0.0 };
        Self { profile, random, at_us: 0.0, missing }
    }

    /// When the next batch is due, in µs since the start.
    pub fn next_us(&mut self) -> u64 {
        loop {
            // A µs begins where the last piece ended, though the sum may have fallen short of it by a rounding.
            let (end_us, rate) = self.profile.piece((self.at_us + 1e-6) as u64);
            let room = (end_us as f64 - self.at_us) * rate / 1e6;
            if self.missing < room {
                self.at_us += self.missing * 1e6 / rate;
                break;
            }
            self.missing -= room;
            self.at_us = end_us as f64;
        }
        self.missing = match self.profile.pattern {
            Pattern::Poisson => self.random.exponential(),
            Pattern::Constant | Pattern::Burst { .. } => 1.0,
        };
        self.at_us as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn profile(rates: &[f64], pattern: Pattern) -> Profile {
        Profile { rates: rates.to_vec(), step_us: 2_000_000, pattern }
    }

    fn count_until(profile: &Profile, seed: u64, us: u64) -> u64 {
        let mut arrivals = Arrivals::new(profile.clone(), seed);
        (0..).take_while(|_| arrivals.next_us() < us).count() as u64
    }

    #[test]
    fn even_arrivals_are_even() {
        let mut arrivals = Arrivals::new(profile(&[1000.0], Pattern::Constant), 1);
        let due: Vec<u64> = (0..5).map(|_| arrivals.next_us()).collect();
        assert_eq!(due, [0, 1000, 2000, 3000, 4000]);
    }

    #[test]
    fn bursts_come_in_the_first_part_of_each_period() {
        let burst = Pattern::Burst { on_us: 100_000, period_us: 1_000_000 };
        let mut arrivals = Arrivals::new(profile(&[50.0], burst), 1);
        let due: Vec<u64> = (0..200).map(|_| arrivals.next_us()).collect();
        assert!(due.iter().all(|us| us % 1_000_000 < 100_000), "{due:?}");
        let in_second = |second: u64| due.iter().filter(|us| **us / 1_000_000 == second).count();
        assert_eq!([in_second(0), in_second(1), in_second(2)], [50, 50, 50]);
    }

    #[test]
    fn gaps_of_poisson_arrivals_scatter_as_much_as_they_last() {
        let mut arrivals = Arrivals::new(profile(&[1000.0], Pattern::Poisson), 7);
        let due: Vec<f64> = (0..20_000).map(|_| arrivals.next_us() as f64).collect();
        let gaps: Vec<f64> = due.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((950.0..1050.0).contains(&mean), "{mean}");
        assert!((0.95..1.05).contains(&(deviation / mean)), "{deviation} of {mean}");
    }

    #[test]
    fn a_seed_repeats_itself_and_others_differ() {
        let first = |seed| {
            let mut arrivals = Arrivals::new(profile(&[100.0], Pattern::Poisson), seed);
            (0..10).map(|_| arrivals.next_us()).collect::<Vec<_>>()
        };
        assert_eq!(first(3), first(3));
        assert_ne!(first(3), first(4));
    }

    proptest! {
        #[test]
        fn every_pattern_hits_its_rate(
            rates in proptest::collection::vec(20.0..20_000.0f64, 1..5),
            burst_on_us in 1_000u64..500_000,
            seed: u64,
        ) {
            let us = 9_000_000;
            for pattern in [
                Pattern::Constant,
                Pattern::Poisson,
                Pattern::Burst { on_us: burst_on_us, period_us: 500_000 },
            ] {
                let profile = profile(&rates, pattern);
                let (expected, counted) = (profile.offered(us), count_until(&profile, seed, us) as f64);
                // Five standard deviations, where there is chance.
                let slack = if pattern == Pattern::Poisson { 5.0 * expected.sqrt() } else { 2.0 };
                prop_assert!((counted - expected).abs() <= slack, "{pattern:?}: {counted} instead of {expected}");
            }
        }

        #[test]
        fn arrivals_never_go_back(
            rates in proptest::collection::vec(0.5..200_000.0f64, 1..5),
            on_us in 1u64..1000,
            seed: u64,
        ) {
            for pattern in [Pattern::Constant, Pattern::Poisson, Pattern::Burst { on_us, period_us: 1000 }] {
                let mut arrivals = Arrivals::new(profile(&rates, pattern), seed);
                let due: Vec<u64> = (0..300).map(|_| arrivals.next_us()).collect();
                prop_assert!(due.is_sorted(), "{pattern:?}: {due:?}");
            }
        }
    }
}
