//! `twinlog sim`.

use clap::Args;
use std::ops::Range;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  twinlog sim --seeds 0..2000\n  twinlog sim --seed 1234    # replays one run"
)]
pub struct SimArgs {
    /// The one run to do
    #[arg(long, value_name = "N", required_unless_present = "seeds", conflicts_with = "seeds")]
    seed: Option<u64>,

    /// The runs to do, the last number excluded
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    seeds: Option<Range<u64>>,

    /// Print everything that happens (for one run)
    #[arg(long, requires = "seed")]
    trace: bool,
}

impl SimArgs {
    pub fn trace(&self) -> bool {
        self.trace
    }

    pub fn seeds(&self) -> Range<u64> {
        self.seeds.clone().or(self.seed.map(|seed| seed..seed.saturating_add(1))).unwrap_or(0..1)
    }
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let problem = || format!("`{text}` is not a range of seeds; expected, for example, 0..2000");
    let (first, end) = text.split_once("..").ok_or_else(problem)?;
    let range = first.parse().map_err(|_| problem())?..end.parse().map_err(|_| problem())?;
    if range.is_empty() { Err(problem()) } else { Ok(range) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_read() {
        assert_eq!(seeds("3..7"), Ok(3..7));
        assert!(seeds("7..3").is_err() && seeds("7").is_err());
    }
}
