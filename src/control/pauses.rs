//! Which partitions are paused: what was asked for by patterns, in the order in which it was asked.

use crate::config::text;
use regex::Regex;
use std::collections::BTreeSet;

/// Every partition is held against every rule, so there must not be very many.
const RULES_MAX: usize = 1_000;

/// Partitions of topics whose whole names match.
#[derive(Clone, Debug)]
pub struct Pattern {
    topics: Vec<Regex>,
    /// None: all of them.
    partitions: Option<BTreeSet<i32>>,
}

/// The last rule that matches a partition counts.
#[derive(Clone, Debug, Default)]
pub struct Pauses(Vec<(Pattern, bool)>);

impl Pattern {
    pub fn of_topics(topics: Vec<Regex>) -> Self {
        Self { topics, partitions: None }
    }

    /// The error says what is wrong with it.
    pub fn new(topics: &str, partitions: Option<Vec<i32>>) -> Result<Self, String> {
        let topics = text::patterns(topics)?;
        let partitions: Option<BTreeSet<i32>> = partitions.map(|partitions| partitions.into_iter().collect());
        match partitions.as_ref().map(BTreeSet::first) {
            Some(None) => Err("the list of partitions is empty; leave it out for all of them".into()),
            Some(Some(first)) if *first < 0 => Err(format!("there is no partition {first}")),
            _ => Ok(Self { topics, partitions }),
        }
    }

    pub fn matches(&self, topic: &str, partition: i32) -> bool {
        self.partitions.as_ref().is_none_or(|partitions| partitions.contains(&partition))
            && self.topics.iter().any(|pattern| pattern.is_match(topic))
    }

    fn is(&self, other: &Self) -> bool {
        let texts =
            |pattern: &Self| pattern.topics.iter().map(|it| it.as_str().to_owned()).collect::<Vec<_>>();
        self.partitions == other.partitions && texts(self) == texts(other)
    }

    fn is_everything(&self) -> bool {
        self.partitions.is_none() && self.topics.iter().any(|pattern| text::typed(pattern) == ".*")
    }
}

impl Pauses {
    /// Those that stand in the configuration.
    pub fn configured(topics: &[Regex]) -> Self {
        match topics {
            [] => Self::default(),
            topics => Self(vec![(Pattern::of_topics(topics.to_vec()), true)]),
        }
    }

    /// The error: there are too many rules by now.
    pub fn set(&mut self, pattern: Pattern, paused: bool) -> Result<(), String> {
        if pattern.is_everything() {
            self.0.clear();
        }
        self.0.retain(|(other, _)| !other.is(&pattern));
        if self.0.len() >= RULES_MAX {
            return Err(format!(
                "{RULES_MAX} patterns have been paused and resumed one after the other; begin anew by pausing or resuming .*"
            ));
        }
        self.0.push((pattern, paused));
        if self.0.iter().all(|(_, paused)| !paused) {
            self.0.clear();
        }
        Ok(())
    }

    pub fn is_paused(&self, topic: &str, partition: i32) -> bool {
        self.0
            .iter()
            .rev()
            .find(|(pattern, _)| pattern.matches(topic, partition))
            .is_some_and(|(_, paused)| *paused)
    }

    /// Nothing is paused, whatever it is called.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pauses: &mut Pauses, topics: &str, partitions: Option<Vec<i32>>, paused: bool) {
        pauses.set(Pattern::new(topics, partitions).unwrap(), paused).unwrap();
    }

    #[test]
    fn the_last_word_on_a_partition_counts() {
        let mut pauses = Pauses::configured(&text::patterns("a.*").unwrap());
        assert!(pauses.is_paused("ab", 7) && !pauses.is_paused("ba", 7));
        set(&mut pauses, "ab,ac", Some(vec![1, 2]), false);
        assert!(!pauses.is_paused("ab", 1) && pauses.is_paused("ab", 3) && pauses.is_paused("ad", 1));
        set(&mut pauses, "a.*", None, true);
        assert!(pauses.is_paused("ab", 1));
        assert_eq!(pauses.0.len(), 2, "the rule stands at its new place only");
        set(&mut pauses, "b", None, false);
        set(&mut pauses, ".*", None, false);
        assert!(pauses.is_empty() && !pauses.is_paused("ab", 1));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (topics, partitions, expected) in [
            ("", None, "found nothing"),
            ("(", None, "`(`"),
            ("a", Some(vec![]), "leave it out"),
            ("a", Some(vec![3, -1]), "no partition -1"),
        ] {
            let error = Pattern::new(topics, partitions).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let mut pauses = Pauses::default();
        for partition in 0..RULES_MAX as i32 {
            set(&mut pauses, "a", Some(vec![partition]), true);
        }
        let error = pauses.set(Pattern::new("b", None).unwrap(), true).unwrap_err();
        assert!(error.contains("begin anew"), "{error}");
        set(&mut pauses, ".*", None, true);
        assert!(pauses.is_paused("b", 0) && pauses.0.len() == 1);
    }
}
