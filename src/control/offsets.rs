//! Which offsets a topic's records get on the target: the source's, one after the other, or between those of others.

use crate::config::{ExactlyOnce, Isolation, Mirror, Offsets};
use crate::shard::OffsetMode;

/// What was chosen for a topic, and why if it was for Twinlog to choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub mode: OffsetMode,
    pub why: Option<String>,
}

impl Choice {
    /// What becomes of a partition, where `known` is what the ledger has of it: that stays, unless others may write to it now.
    pub fn stands(&self, known: Option<OffsetMode>) -> OffsetMode {
        known.filter(|_| self.mode != OffsetMode::Shared).unwrap_or(self.mode)
    }
}

/// Decides for a topic that was never mirrored. `cannot_fill` says why the target does not let gaps be filled, if so;
/// `source_start` is the highest source offset from which one of its partitions is mirrored.
///
/// # Errors
/// The configuration demands identical offsets and the target does not allow them: what to do about it.
pub fn choose(
    config: &Mirror,
    topic: &str,
    cannot_fill: Option<&str>,
    source_start: i64,
) -> Result<Choice, String> {
    if is_in(&config.both_directions, topic) {
        return Ok(Choice {
            mode: OffsetMode::Shared,
            why: Some("it is mirrored in both directions".into()),
        });
    }
    let append = |why: String| Ok(Choice { mode: OffsetMode::Append, why: Some(why) });
    match (wanted(config, topic), cannot_fill) {
        (Offsets::Append, _) => Ok(Choice { mode: OffsetMode::Append, why: None }),
        (Offsets::Identical, None) => Ok(Choice { mode: OffsetMode::Identical, why: None }),
        (Offsets::Identical, Some(cause)) => Err(format!(
            "identical offsets are demanded, but gaps cannot be filled: {cause}; or mirror the topic with --append"
        )),
        (Offsets::Auto, Some(cause)) => append(format!("gaps cannot be filled: {cause}")),
        (Offsets::Auto, None) if source_start > config.seed_offsets_max => append(format!(
            "the source begins at offset {source_start}, above seed-offsets-max ({})",
            config.seed_offsets_max
        )),
        (Offsets::Auto, None) => Ok(Choice {
            mode: OffsetMode::Identical,
            why: Some("the target lets gaps be filled with control records".into()),
        }),
    }
}

fn is_in(list: &[regex::Regex], topic: &str) -> bool {
    list.iter().any(|pattern| pattern.is_match(topic))
}

fn wanted(config: &Mirror, topic: &str) -> Offsets {
    if is_in(&config.append, topic) {
        Offsets::Append
    } else if is_in(&config.identical, topic) {
        Offsets::Identical
    } else if config.isolation == Isolation::ReadUncommitted
        || config.exactly_once == ExactlyOnce::Transactions
    {
        Offsets::Append
    } else {
        config.offsets
    }
}

#[cfg(test)]
mod tests {
    use super::super::topics::tests::config;
    use super::*;
    use crate::config::text::patterns;

    #[test]
    fn lists_go_before_the_default_and_the_target_before_auto() {
        let auto = Mirror {
            identical: patterns("i").unwrap(),
            append: patterns("a.*").unwrap(),
            both_directions: patterns("ab").unwrap(),
            seed_offsets_max: 100,
            ..config(&[".*"], &[])
        };
        let mode = |topic, cannot, start| choose(&auto, topic, cannot, start).map(|choice| choice.mode);
        assert_eq!(mode("t", None, 100), Ok(OffsetMode::Identical));
        assert_eq!(mode("t", None, 101), Ok(OffsetMode::Append));
        assert_eq!(mode("t", Some("old"), 0), Ok(OffsetMode::Append));
        assert_eq!(mode("a1", None, 0), Ok(OffsetMode::Append));
        assert_eq!(mode("ab", Some("old"), 0), Ok(OffsetMode::Shared));
        assert_eq!(mode("i", None, 1_000), Ok(OffsetMode::Identical), "who demands it waits for the seeding");
        assert!(mode("i", Some("the target is old"), 0).unwrap_err().contains("the target is old"));
    }
}
