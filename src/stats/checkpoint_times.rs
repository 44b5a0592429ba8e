//! How long checkpoints of consumer groups took to get to the target.

use super::Lately;
use std::collections::{BTreeMap, BTreeSet};

/// By group, and then by topic (the link's name of it) and partition. It holds no more than the groups have committed.
#[derive(Debug, Default)]
pub struct CheckpointTimes(BTreeMap<String, BTreeMap<(String, i32), Lately>>);

impl CheckpointTimes {
    /// A checkpoint is on the target, `ms` after it was made.
    pub fn record(&mut self, now_us: u64, group: &str, topic: &str, partition: i32, ms: u64) {
        let of_group = self.0.entry(group.to_owned()).or_default();
        of_group.entry((topic.to_owned(), partition)).or_default().record(now_us, ms, 1);
    }

    /// Forgets groups that are not among these, which are all that there are.
    pub fn keep(&mut self, groups: &[String]) {
        let there: BTreeSet<&String> = groups.iter().collect();
        self.0.retain(|group, _| there.contains(group));
    }

    /// Forgets what the group has committed no more.
    pub fn keep_positions(&mut self, group: &str, is_there: impl Fn(&(String, i32)) -> bool) {
        if let Some(of_group) = self.0.get_mut(group) {
            of_group.retain(|place, _| is_there(place));
        }
    }

    /// Group, topic, partition.
    pub fn each(&self) -> impl Iterator<Item = (&str, &str, i32, &Lately)> {
        self.0.iter().flat_map(|(group, of_group)| {
            let times = of_group.iter();
            times.map(move |((topic, partition), times)| (group.as_str(), topic.as_str(), *partition, times))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut times = CheckpointTimes::default();
        for (group, partition) in [("a", 0), ("a", 1), ("b", 0)] {
            times.record(1, group, "t", partition, 5);
        }
        times.keep_positions("a", |(_, partition)| *partition == 1);
        times.keep(&["a".into()]);
        let left: Vec<_> =
            times.each().map(|(group, topic, partition, _)| (group, topic, partition)).collect();
        assert_eq!(left, [("a", "t", 1)]);
    }
}
