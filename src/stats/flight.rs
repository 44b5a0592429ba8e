//! What happened to a link lately. A ring: however long it runs, it holds no more than so many events.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const EVENTS_MAX: usize = 1_000;
/// What happens to more partitions at once is told once.
const EACH_MAX: usize = 5;
/// What repeats itself is looked for among so many.
const ALIKE: usize = 8;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// When it was last, since 1970.
    pub at_ms: i64,
    /// In short what it is: `stopped`, `leader`, `connection`, …
    pub kind: String,
    /// None: it is about no topic alone, or about many.
    pub topic: Option<String>,
    pub partition: Option<i32>,
    pub text: String,
    /// How often it was in a row.
    pub times: u32,
}

#[derive(Debug, Default)]
pub struct Flight(VecDeque<Noted>);

impl Noted {
    pub fn of_link(at_ms: i64, kind: &str, text: impl Into<String>) -> Self {
        Self { at_ms, kind: kind.into(), topic: None, partition: None, text: text.into(), times: 1 }
    }

    pub fn of_lane(at_ms: i64, kind: &str, topic: &str, partition: i32, text: impl Into<String>) -> Self {
        Self { topic: Some(topic.into()), partition: Some(partition), ..Self::of_link(at_ms, kind, text) }
    }

    fn is_like(&self, other: &Self) -> bool {
        let what = |it: &Self| (it.kind.clone(), it.topic.clone(), it.partition, it.text.clone());
        what(self) == what(other)
    }

    /// Whether it may have to do with this partition.
    fn concerns(&self, topic: &str, partition: i32) -> bool {
        self.topic.as_deref().is_none_or(|its| its == topic)
            && self.partition.is_none_or(|its| its == partition)
    }
}

impl std::fmt::Display for Noted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.kind)?;
        if let (Some(topic), Some(partition)) = (&self.topic, self.partition) {
            write!(f, " {topic}-{partition}")?;
        }
        write!(f, ": {}", self.text)?;
        if self.times > 1 { write!(f, " ({} times)", self.times) } else { Ok(()) }
    }
}

impl Flight {
    pub fn note(&mut self, event: Noted) {
        let alike = self.0.iter().rev().take(ALIKE).position(|other| other.is_like(&event));
        match alike.map(|back| self.0.len() - 1 - back).and_then(|at| self.0.remove(at)) {
            Some(before) => self.0.push_back(Noted { times: before.times.saturating_add(1), ..event }),
            None => self.0.push_back(event),
        }
        if self.0.len() > EVENTS_MAX {
            self.0.pop_front();
        }
    }

    /// What happened to several partitions at the same time and for the same reason.
    pub fn note_all(&mut self, at_ms: i64, kind: &str, lanes: &[(&str, i32)], text: &str) {
        if lanes.len() <= EACH_MAX {
            lanes.iter().for_each(|(topic, partition)| {
                self.note(Noted::of_lane(at_ms, kind, topic, *partition, text));
            });
            return;
        }
        let (topic, partition) = lanes[0];
        let text = format!("{text}: {topic}-{partition} and {} more", lanes.len() - 1);
        self.note(Noted::of_link(at_ms, kind, text));
    }

    /// The newest, and the last one last.
    pub fn last(&self, count: usize) -> Vec<Noted> {
        self.0.iter().skip(self.0.len().saturating_sub(count)).cloned().collect()
    }

    /// The newest that may have to do with a partition.
    pub fn last_of(&self, topic: &str, partition: i32, count: usize) -> Vec<&Noted> {
        let concerned = self.0.iter().rev().filter(|event| event.concerns(topic, partition));
        let mut last: Vec<&Noted> = concerned.take(count).collect();
        last.reverse();
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_and_what_repeats_itself_is_counted() {
        let mut flight = Flight::default();
        for at_ms in 0..5 {
            flight.note(Noted::of_link(at_ms, "connection", "lost"));
            flight.note(Noted::of_lane(at_ms, "refused", "t", 1, "too few replicas"));
        }
        let last = flight.last(10);
        assert_eq!(last.len(), 2);
        assert_eq!((last[1].times, last[1].at_ms), (5, 4));
        assert_eq!(last[1].to_string(), "refused t-1: too few replicas (5 times)");
        (0..2_000).for_each(|at_ms| flight.note(Noted::of_link(at_ms, "x", at_ms.to_string())));
        assert_eq!((flight.0.len(), flight.last(1)[0].text.as_str()), (EVENTS_MAX, "1999"));
    }

    #[test]
    fn many_partitions_are_one_event() {
        let mut flight = Flight::default();
        let lanes: Vec<(&str, i32)> = (0..100).map(|partition| ("t", partition)).collect();
        flight.note_all(1, "assigned", &lanes[..2], "taken up");
        flight.note_all(1, "assigned", &lanes, "taken up");
        let texts: Vec<String> = flight.last(9).iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            ["assigned t-0: taken up", "assigned t-1: taken up", "assigned: taken up: t-0 and 99 more"]
        );
        let of_one: Vec<String> = flight.last_of("t", 1, 9).into_iter().map(ToString::to_string).collect();
        assert_eq!(of_one, texts[1..]);
    }
}
