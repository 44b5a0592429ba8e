//! Which offsets a topic's records get on the target: the source's, one after the other, or between those of others.

use crate::config::{ExactlyOnce, Isolation, LargeGaps, Mirror, Offsets, Transform};
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

/// Decides for a topic that was never mirrored. `cannot_fill` says why the target does not let control records be written into
/// gaps, if so; `source_start` is the highest source offset from which one of its partitions is mirrored.
pub fn choose(config: &Mirror, topic: &str, cannot_fill: Option<&str>, source_start: i64) -> Choice {
    let chosen = |mode: OffsetMode, why: Option<String>| Choice { mode, why };
    if is_in(&config.both_directions, topic) {
        return chosen(OffsetMode::Shared, Some("it is mirrored in both directions".into()));
    }
    if is_in(&config.shared, topic) {
        let why = "others fill its topic on the target, too".into();
        return chosen(OffsetMode::Shared, Some(why));
    }
    let append = |why: String| chosen(OffsetMode::Append, Some(why));
    match (wanted(config, topic), cannot_fill) {
        (Offsets::Append, _) => chosen(OffsetMode::Append, None),
        (Offsets::Identical, None) => chosen(OffsetMode::Identical, None),
        (Offsets::Identical, Some(cause)) => {
            let beyond = match config.large_gaps {
                LargeGaps::Halt => "a larger one stops its partition",
                LargeGaps::AbortedRecords => "larger ones with records of aborted transactions",
            };
            let how = format!(
                "it is demanded; gaps of up to {} offsets are filled with empty transactions, {beyond}: {cause}",
                config.gap_transactions_max
            );
            chosen(OffsetMode::Identical, Some(how))
        }
        (Offsets::Auto, Some(cause)) => {
            append(format!("gaps cannot be filled with control records: {cause}"))
        }
        (Offsets::Auto, None) if config.transform(topic).is_some_and(Transform::may_drop) => {
            append("its transform can drop records, and each would leave a gap to be filled".to_owned())
        }
        (Offsets::Auto, None) if source_start > config.seed_offsets_max => append(format!(
            "the source begins at offset {source_start}, above seed-offsets-max ({})",
            config.seed_offsets_max
        )),
        (Offsets::Auto, None) => {
            let why = "the target lets gaps be filled with control records".into();
            chosen(OffsetMode::Identical, Some(why))
        }
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
            shared: patterns("ac").unwrap(),
            seed_offsets_max: 100,
            ..config(&[".*"], &[])
        };
        let mode = |topic, cannot, start| choose(&auto, topic, cannot, start).mode;
        assert_eq!(mode("t", None, 100), OffsetMode::Identical);
        assert_eq!(mode("t", None, 101), OffsetMode::Append);
        assert_eq!(mode("t", Some("old"), 0), OffsetMode::Append);
        assert_eq!(mode("a1", None, 0), OffsetMode::Append);
        assert_eq!(mode("ab", Some("old"), 0), OffsetMode::Shared);
        assert_eq!(mode("ac", None, 0), OffsetMode::Shared);
        assert_eq!(mode("i", None, 1_000), OffsetMode::Identical, "who demands it waits for the seeding");
        let demanded = choose(&auto, "i", Some("the target is old"), 0);
        assert_eq!(demanded.mode, OffsetMode::Identical);
        let why = demanded.why.unwrap();
        assert!(why.contains("empty transactions") && why.contains("the target is old"), "{why}");
    }
}
