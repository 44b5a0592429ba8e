//! Which records the target's brokers may forget the mirror of while they are written, and how those go.
//!
//! A broker forgets a producer when the timestamps of its last batch are older than `producer.id.expiration.ms`; such records
//! are *unguarded* (README, "How exactness works"). Here the source is asked by time where the younger ones begin.

use crate::config::{ExactlyOnce, Mirror};
use crate::control::finding::{About, Finding, Weight, names};
use crate::shard::{OffsetMode, guarded_after_ms};
use crate::stats::units;
use serde::Serialize;
use std::time::Duration;

/// The setting is an INT.
const EXPIRATION_MS_MAX: i64 = i32::MAX as i64;

/// How a topic's unguarded records are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// The broker keeps its memory while a transaction is open, and the position is committed with the records.
    InTransactions,
    OneBatchInFlight,
}

impl Way {
    pub fn of(config: &Mirror, mode: OffsetMode) -> Self {
        match config.exactly_once {
            // Markers of transactions take offsets, and nobody keeps count of them between others' records.
            ExactlyOnce::Auto | ExactlyOnce::Transactions if mode == OffsetMode::Append => {
                Self::InTransactions
            }
            _ => Self::OneBatchInFlight,
        }
    }

    /// To follow "are sent".
    pub fn words(self, config: &Mirror) -> String {
        match self {
            Self::InTransactions => {
                "in transactions, so consumers of the target should read committed records only".into()
            }
            Self::OneBatchInFlight => {
                let bound = units::duration(Duration::from_millis(config.zombie_bound_ms));
                format!(
                    "with one batch in flight per partition, and after a doubt only when {bound} have passed"
                )
            }
        }
    }
}

/// What a source answers to a question for the first record of a time or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// It stands at this offset.
    Offset(i64),
    /// All are older.
    Never,
}

impl Since {
    /// How many of the offsets from `from` to `end` lie before.
    fn older(self, from: i64, end: i64) -> i64 {
        let until = match self {
            Self::Offset(offset) => offset.min(end),
            Self::Never => end,
        };
        (until - from).max(0)
    }
}

/// Where the records begin that are young enough to be guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guarded {
    /// With the setting that the target has.
    pub now: Since,
    /// With the largest setting that there is.
    pub at_best: Since,
    /// The first record that is there at all: a compacted log can begin with a hole.
    pub first: Since,
}

impl Guarded {
    /// How many of the offsets from `from` to `end` are unguarded, now and at best.
    pub fn unguarded(&self, from: i64, end: i64) -> (i64, i64) {
        let from = match self.first {
            Since::Offset(first) => from.max(first),
            Since::Never => from,
        };
        (self.now.older(from, end), self.at_best.older(from, end))
    }
}

/// The times to ask the source for: with the target's setting, with the largest, and the first of all. (Records without a time
/// cannot be asked for.)
pub fn times_ms(now_ms: i64, expiration_ms: i64) -> [i64; 3] {
    let since = |expiration_ms| guarded_after_ms(now_ms, expiration_ms).saturating_add(1).max(0);
    [since(expiration_ms), since(EXPIRATION_MS_MAX.max(expiration_ms)), 0]
}

/// A topic's offsets that are unguarded: now, and with the largest setting. None: not known.
pub type Unguarded = Option<(i64, i64)>;

/// A topic that is mirrored.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    pub topic: &'a str,
    pub way: Way,
    pub unguarded: Unguarded,
}

/// What is unguarded, and what can be done about it. `expiration_ms` is the target's setting, if it tells.
pub fn findings(config: &Mirror, topics: &[Sent<'_>], expiration_ms: Option<i64>) -> Vec<Finding> {
    let of = |way: Way| -> Vec<&Sent<'_>> { topics.iter().filter(|sent| sent.way == way).collect() };
    let Some(expiration_ms) = expiration_ms else {
        let text = format!(
            "the target does not tell producer.id.expiration.ms (that takes DESCRIBE_CONFIGS on the cluster, and Kafka 3.4), so \
             nothing counts as guarded: all records that are not sent in transactions are sent {}",
            Way::OneBatchInFlight.words(config)
        );
        return vec![Finding::new(Weight::Warning, About::Target, text)];
    };
    let ways = [Way::InTransactions, Way::OneBatchInFlight];
    ways.into_iter().filter_map(|way| finding(config, way, &of(way), expiration_ms)).collect()
}

fn finding(config: &Mirror, way: Way, topics: &[&Sent<'_>], expiration_ms: i64) -> Option<Finding> {
    let unguarded =
        || topics.iter().filter_map(|sent| sent.unguarded.filter(|of| of.0 > 0).map(|of| (sent.topic, of)));
    let (now, at_best) = unguarded().fold((0, 0), |sum, (_, of)| (sum.0 + of.0, sum.1 + of.1));
    if now == 0 {
        return None;
    }
    let limit = |expiration_ms| {
        let age_ms = -guarded_after_ms(0, expiration_ms);
        units::duration(Duration::from_millis(age_ms.max(0).unsigned_abs()))
    };
    let (weight, advice) = match way {
        Way::InTransactions => (Weight::Note, String::new()),
        Way::OneBatchInFlight => {
            (Weight::Warning, format!("; {}", advice(expiration_ms, at_best, &limit(EXPIRATION_MS_MAX))))
        }
    };
    let text = format!(
        "{} offsets of {} hold records that are older than {} and so unguarded, as the target has \
         producer.id.expiration.ms={expiration_ms}: they are sent {}{advice}",
        units::count(now.unsigned_abs()),
        names(unguarded().map(|(topic, _)| topic)),
        limit(expiration_ms),
        way.words(config),
    );
    Some(Finding::new(weight, About::Target, text))
}

fn advice(expiration_ms: i64, at_best: i64, limit: &str) -> String {
    if expiration_ms >= EXPIRATION_MS_MAX {
        return "that is the largest setting there is".into();
    }
    let left = match at_best {
        0 => String::new(),
        left => format!(" ({} offsets are older than {limit} even so)", units::count(left.unsigned_abs())),
    };
    format!(
        "to have them guarded write producer.id.expiration.ms={EXPIRATION_MS_MAX} into server.properties of every target broker \
         and restart them before{left}; a value set while they run does not hold when they load their logs"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::topics::tests::config;

    const DAY_MS: i64 = 86_400_000;

    #[test]
    fn older_offsets_are_those_before_the_first_young_one() {
        assert_eq!(Since::Offset(7).older(3, 9), 4);
        assert_eq!(Since::Offset(2).older(3, 9), 0);
        assert_eq!(Since::Offset(20).older(3, 9), 6, "what is not decided yet does not count");
        assert_eq!(Since::Never.older(3, 9), 6);
        assert_eq!(Since::Never.older(9, 3), 0);
    }

    #[test]
    fn a_hole_at_the_beginning_holds_no_old_records() {
        let young = Guarded { now: Since::Offset(50), at_best: Since::Offset(50), first: Since::Offset(50) };
        assert_eq!(young.unguarded(10, 90), (0, 0));
        let some = Guarded { now: Since::Offset(70), at_best: Since::Offset(50), first: Since::Offset(50) };
        assert_eq!(some.unguarded(10, 90), (20, 0));
        assert_eq!(some.unguarded(60, 90), (10, 0));
        let none = Guarded { now: Since::Never, at_best: Since::Never, first: Since::Never };
        assert_eq!(none.unguarded(90, 90), (0, 0));
    }

    #[test]
    fn the_source_is_asked_for_what_the_lanes_call_guarded() {
        let [now, at_best, first] = times_ms(100 * DAY_MS, DAY_MS);
        assert_eq!(first, 0);
        assert_eq!(now, guarded_after_ms(100 * DAY_MS, DAY_MS) + 1);
        assert_eq!(at_best, guarded_after_ms(100 * DAY_MS, EXPIRATION_MS_MAX) + 1);
        assert_eq!(times_ms(DAY_MS, i64::MAX), [0; 3]);
    }

    #[test]
    fn the_advice_says_what_it_would_change() {
        let config = config(&["t"], &[]);
        let sent = |topic, unguarded| Sent { topic, way: Way::OneBatchInFlight, unguarded };
        let topics = [sent("a", Some((1200, 200))), sent("b", Some((0, 0))), sent("c", None)];
        let text = |topics: &[_], expiration_ms| findings(&config, topics, expiration_ms)[0].text.clone();
        let day = text(&topics, Some(DAY_MS));
        assert!(day.starts_with("1,200 offsets of a hold records that are older than 23 h 00 min"), "{day}");
        assert!(day.contains("producer.id.expiration.ms=2147483647 into server.properties"), "{day}");
        assert!(day.contains("(200 offsets are older than 24 d 19 h even so)"), "{day}");
        let largest = text(&topics, Some(EXPIRATION_MS_MAX));
        assert!(largest.ends_with("that is the largest setting there is"), "{largest}");
        assert_eq!(findings(&config, &topics[1..], Some(DAY_MS)), []);
        assert!(text(&[], None).contains("DESCRIBE_CONFIGS"));
    }

    #[test]
    fn transactions_help_where_offsets_are_appended_unless_they_are_not_wanted() {
        let auto = config(&["t"], &[]);
        let sequences = Mirror { exactly_once: ExactlyOnce::Sequences, ..auto.clone() };
        assert_eq!(Way::of(&auto, OffsetMode::Append), Way::InTransactions);
        assert_eq!(Way::of(&auto, OffsetMode::Identical), Way::OneBatchInFlight);
        assert_eq!(Way::of(&auto, OffsetMode::Shared), Way::OneBatchInFlight);
        assert_eq!(Way::of(&sequences, OffsetMode::Append), Way::OneBatchInFlight);
        let topics = [
            Sent { topic: "a", way: Way::InTransactions, unguarded: Some((3, 0)) },
            Sent { topic: "b", way: Way::OneBatchInFlight, unguarded: Some((4, 0)) },
        ];
        let found = findings(&auto, &topics, Some(DAY_MS));
        assert_eq!((found[0].weight, found[1].weight), (Weight::Note, Weight::Warning));
        assert!(found[0].text.ends_with("consumers of the target should read committed records only"));
        assert!(!found[0].text.contains("server.properties"), "there is nothing to be done about it");
    }
}
