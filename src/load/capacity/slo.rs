//! What is promised: so large a share of the records takes no longer than so long.

use crate::config::text;
use crate::stats::{Latency, units};
use std::fmt;
use std::str::FromStr;

/// Goals that must all be met.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo(pub Vec<Goal>);

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// 0.99 for p99, 1 for the maximum.
    pub quantile: f64,
    pub limit_us: u64,
}

impl Slo {
    /// The first goal that is missed, and what was found instead.
    pub fn missed(&self, latency: &Latency) -> Option<(Goal, u64)> {
        self.0.iter().map(|goal| (*goal, latency.at_us(goal.quantile))).find(|(goal, us)| *us > goal.limit_us)
    }

    /// The strictest time of all.
    pub fn limit_us(&self) -> u64 {
        self.0.iter().map(|goal| goal.limit_us).min().unwrap_or(0)
    }

    /// The quantile of the first goal.
    pub fn quantile(&self) -> f64 {
        self.0.first().map_or(1.0, |goal| goal.quantile)
    }
}

/// `p99=50ms`, `p50=5ms,p99.9=200ms`, `max=1s`.
impl FromStr for Slo {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let goals = typed.split(',').map(|part| {
            let wrong =
                || format!("`{part}` is no goal; expected, for example, p99=50ms, p99.9=200ms or max=1s");
            let (name, limit) = part.trim().split_once('=').ok_or_else(wrong)?;
            let quantile = match name.trim() {
                "max" => 1.0,
                name => {
                    let percent = name.strip_prefix('p').and_then(|percent| percent.parse::<f64>().ok());
                    percent.filter(|percent| *percent > 0.0 && *percent <= 100.0).ok_or_else(wrong)? / 100.0
                }
            };
            Ok(Goal { quantile, limit_us: text::duration_us(limit)? })
        });
        goals.collect::<Result<_, String>>().map(Self)
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let goals: Vec<String> = self.0.iter().map(Goal::to_string).collect();
        f.write_str(&goals.join(", "))
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ≤ {}", self.name(), units::us(self.limit_us))
    }
}

impl Goal {
    pub fn name(&self) -> String {
        // 99.9 is no number of a computer's; a few digits are.
        let percent = (self.quantile * 1e8).round() / 1e6;
        if self.quantile >= 1.0 { "max".into() } else { format!("p{percent}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_typed_and_mistakes_are_named() {
        let slo: Slo = "p99=50ms, p99.9=200ms,max=1s".parse().unwrap();
        assert_eq!(slo.to_string(), "p99 ≤ 50.0 ms, p99.9 ≤ 200 ms, max ≤ 1.00 s");
        assert_eq!((slo.limit_us(), slo.quantile()), (50_000, 0.99));
        for wrong in ["99=50ms", "p99", "p0=1ms", "p101=1ms", "p99=50", "", "pmax=1s"] {
            assert!(wrong.parse::<Slo>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_first_goal_that_is_missed_is_told() {
        let mut latency = Latency::default();
        latency.record_many_us(1_000, 985);
        latency.record_many_us(80_000, 15);
        let slo: Slo = "p50=5ms,p99=50ms".parse().unwrap();
        let (goal, found) = slo.missed(&latency).unwrap();
        assert_eq!((goal.limit_us, found / 1000), (50_000, 80));
        assert_eq!("p50=5ms,p98=50ms".parse::<Slo>().unwrap().missed(&latency), None);
    }
}
