//! A link as it looks to whoever watches it from outside: lane by lane, and whether all is well.

use super::{Passed, Report, units};
use crate::time::Now;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A lane that is behind may stand still for so long, on top of the waits that the protocol prescribes.
const STILL_MS_MAX: u64 = 60_000;
/// Control says every second how it is; it may wait for a cluster meanwhile.
const SILENT_MS_MAX: u64 = 60_000;
/// Problems that are told one by one.
const PROBLEMS_MAX: usize = 50;

/// A look at one lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LaneLook {
    pub topic: Arc<str>,
    pub partition: i32,
    /// `identical`, `append` or `shared`.
    pub offsets: &'static str,
    /// Where the lane's state machine is; `stream` in fair weather, `paused` when that is wished.
    pub state: &'static str,
    /// The first source offset that is not on the target. None: not known yet.
    pub position: Option<i64>,
    /// End of the source's decided data. None: not known yet.
    pub source_end: Option<i64>,
    /// Timestamp of the newest record that was mirrored since the start.
    pub mirrored_timestamp_ms: Option<i64>,
    /// For how long it has been behind without moving.
    pub still_ms: u64,
    /// Records, or whole batches, that went to the dead letters since the start.
    pub dead_letters: u64,
    /// Why it stands still for good.
    pub stopped: Option<String>,
    /// What passed, where MirrorMaker's metrics are served.
    #[serde(skip)]
    pub passed: Option<Box<Passed>>,
}

impl LaneLook {
    /// Somebody wished that it is not read for now.
    pub fn is_paused(&self) -> bool {
        self.state == "paused"
    }

    /// None until both ends are known.
    pub fn lag_records(&self) -> Option<u64> {
        let lag = self.source_end?.saturating_sub(self.position?);
        Some(lag.max(0).unsigned_abs())
    }

    /// Age of the newest mirrored record of a lane that is behind; 0 for one that is not.
    pub fn lag_ms(&self, wall_ms: i64) -> Option<u64> {
        match self.lag_records()? {
            0 => Some(0),
            _ => Some(wall_ms.saturating_sub(self.mirrored_timestamp_ms?).max(0).unsigned_abs()),
        }
    }
}

/// A look at the whole link.
#[derive(Clone, Debug, Serialize)]
pub struct Watch {
    pub version: &'static str,
    pub link: String,
    pub source_cluster: String,
    pub target_cluster: String,
    #[serde(skip)]
    pub at: Now,
    pub report: Report,
    pub lanes: Vec<LaneLook>,
    /// Source offsets that were lost before they were mirrored, since the start.
    pub lost_offsets: u64,
    /// Topics that are not mirrored though they match, and why.
    pub left_out: Vec<(String, String)>,
    /// How long a lane may stand still before that is a problem.
    pub still_ms_max: u64,
    pub limits: Limits,
    /// Where instances share the link: what this one has of it, and all figures are of that.
    pub instance: Option<InstanceLook>,
}

/// An instance of a link that several run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InstanceLook {
    pub name: String,
    /// The parts that it runs, and how many the link has.
    pub parts: Vec<u32>,
    pub of_parts: u32,
    /// What keeps it from hearing of the others.
    pub trouble: Option<String>,
}

/// What the link may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// Memory for payloads.
    pub buffer_bytes: u64,
    /// The most that is read from the source in a second. None: no limit.
    pub bytes_per_second: Option<u64>,
}

impl Watch {
    /// Adds another part of the same link. The lanes are in the order of topics and partitions after [`Self::sort`].
    pub fn add(&mut self, other: &Self) {
        self.at = self.at.min(other.at);
        self.lanes.extend(other.lanes.iter().cloned());
        self.lost_offsets += other.lost_offsets;
        let new = other.left_out.iter().filter(|problem| !self.left_out.contains(problem));
        let new: Vec<_> = new.cloned().collect();
        self.left_out.extend(new);
    }

    pub fn sort(&mut self) {
        self.lanes.sort_by(|one, other| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
    }

    /// What is not as it should be, in words that name the partition; empty when all is well. Of very many only the first are told.
    pub fn problems(&self, now: Now) -> Vec<String> {
        let mut problems = self.all_problems(now);
        let mut told: Vec<String> = problems.by_ref().take(PROBLEMS_MAX).collect();
        match problems.count() {
            0 => {}
            more => told.push(format!("and {} more", units::count(more as u64))),
        }
        told
    }

    /// How many there are, told or not.
    pub fn problem_count(&self, now: Now) -> usize {
        self.all_problems(now).count()
    }

    fn all_problems(&self, now: Now) -> impl Iterator<Item = String> {
        self.lanes.iter().filter_map(|lane| self.lane_problem(lane)).chain(self.other_problems(now))
    }

    /// Those that are no partition's own.
    pub fn other_problems(&self, now: Now) -> impl Iterator<Item = String> {
        let silent_ms = self.silent_ms(now);
        let silent = (silent_ms > SILENT_MS_MAX).then(|| {
            format!(
                "control has not said for {} how the link is: is a cluster out of reach?",
                span(silent_ms)
            )
        });
        let alone = self.instance.as_ref().and_then(|instance| instance.trouble.as_ref());
        let alone = alone.map(|why| format!("the group of this link's instances cannot be reached: {why}"));
        let topics = self.left_out.iter().map(|(topic, why)| format!("{topic} is left out: {why}"));
        silent.into_iter().chain(alone).chain(topics)
    }

    fn lane_problem(&self, lane: &LaneLook) -> Option<String> {
        Some(format!("{}-{} {}", lane.topic, lane.partition, self.what_is_wrong_with(lane)?))
    }

    /// What a sick lane is to be complained of, its name left out.
    pub fn what_is_wrong_with(&self, lane: &LaneLook) -> Option<String> {
        if let Some(why) = &lane.stopped {
            return Some(format!("has stopped: {why}"));
        }
        self.is_sick(lane).then(|| {
            let (still, state) = (span(lane.still_ms), lane.state);
            let behind = match lane.lag_records() {
                Some(lag) => format!("{} records", units::count(lag)),
                None => "nobody knows how far".to_owned(),
            };
            format!("is {behind} behind and has not moved for {still} (state {state})")
        })
    }

    pub fn is_sick(&self, lane: &LaneLook) -> bool {
        lane.stopped.is_some() || lane.still_ms > self.still_ms_max
    }

    /// Since control last said how the link is.
    pub fn silent_ms(&self, now: Now) -> u64 {
        now.mono_us.saturating_sub(self.at.mono_us) / 1000
    }

    /// Every lane knows where it stands and where its source ends.
    pub fn is_ready(&self) -> bool {
        self.report.lag.is_some()
    }
}

fn span(ms: u64) -> String {
    units::duration(Duration::from_millis(ms))
}

/// Remembers since when lanes have not moved.
#[derive(Debug, Default)]
pub struct Pulse(BTreeMap<(Arc<str>, i32), (Option<i64>, u64)>);

impl Pulse {
    /// Waits that are no sign of trouble: for requests that may still be under way, and for a lease.
    pub fn still_ms_max(zombie_bound_ms: u64) -> u64 {
        STILL_MS_MAX + zombie_bound_ms
    }

    /// Fills in how long each lane has stood still. Lanes that are not looked at any more are forgotten.
    pub fn feel(&mut self, now: Now, lanes: &mut [LaneLook]) {
        let mut before = std::mem::take(&mut self.0);
        for lane in lanes {
            let key = (Arc::clone(&lane.topic), lane.partition);
            let is_behind = lane.lag_records() != Some(0) && !lane.is_paused();
            let since_us = match before.remove(&key) {
                Some((position, since_us)) if is_behind && position == lane.position => since_us,
                _ => now.mono_us,
            };
            lane.still_ms = now.mono_us.saturating_sub(since_us) / 1000;
            self.0.insert(key, (lane.position, since_us));
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::stats::{Counters, Lag};

    pub fn lane(partition: i32, position: i64, source_end: i64) -> LaneLook {
        LaneLook {
            topic: "orders".into(),
            partition,
            offsets: "identical",
            state: "stream",
            position: Some(position),
            source_end: Some(source_end),
            mirrored_timestamp_ms: Some(5_000),
            still_ms: 0,
            dead_letters: 0,
            stopped: None,
            passed: None,
        }
    }

    pub fn watch(lanes: Vec<LaneLook>) -> Watch {
        let counters =
            Counters { batches: 7, records: 70, bytes: 7_000, cpu_us: 1_500_000, ..Counters::default() };
        Watch {
            version: "1.2.3",
            link: "east-west".into(),
            source_cluster: "S".into(),
            target_cluster: "T".into(),
            at: at(0),
            report: Report {
                totals: counters,
                shards: vec![counters],
                lag: Some(Lag { records: 10, bytes: Some(1_000), ms: Some(2_500) }),
                ..Report::default()
            },
            lanes,
            lost_offsets: 0,
            left_out: Vec::new(),
            still_ms_max: Pulse::still_ms_max(30_000),
            limits: Limits { buffer_bytes: 1 << 20, bytes_per_second: None },
            instance: None,
        }
    }

    pub fn at(ms: u64) -> Now {
        Now { mono_us: ms * 1000, wall_ms: 7_500 }
    }

    #[test]
    fn a_lane_is_still_that_is_behind_and_does_not_move() {
        let mut pulse = Pulse::default();
        let mut look = |ms, position, end| {
            let mut lanes = [lane(0, position, end)];
            pulse.feel(at(ms), &mut lanes);
            lanes[0].still_ms
        };
        assert_eq!(look(0, 5, 9), 0);
        assert_eq!(look(1_000, 5, 12), 1_000);
        assert_eq!(look(2_000, 6, 12), 0, "it moved");
        assert_eq!(look(9_000, 6, 12), 7_000);
        assert_eq!(look(10_000, 12, 12), 0, "it has nothing to do");
        assert_eq!(look(50_000, 12, 12), 0);
        assert_eq!(look(51_000, 12, 13), 1_000, "it was not behind when it was last looked at");
    }

    #[test]
    fn a_paused_lane_has_no_problem() {
        let mut pulse = Pulse::default();
        let mut look = |ms, state| {
            let mut lanes = [LaneLook { state, ..lane(0, 5, 9) }];
            pulse.feel(at(ms), &mut lanes);
            watch(lanes.to_vec()).problem_count(at(0))
        };
        assert_eq!((look(0, "paused"), look(500_000, "paused"), look(501_000, "stream")), (0, 0, 0));
        assert_eq!((look(550_000, "stream"), look(650_000, "stream")), (0, 1));
    }

    #[test]
    fn problems_name_the_partition_and_the_reason() {
        let all_is_well = watch(vec![lane(0, 9, 9), lane(1, 5, 9)]);
        assert_eq!(all_is_well.problems(at(1_000)), Vec::<String>::new());
        assert_eq!(all_is_well.problems(at(61_000)).len(), 1, "control is silent");

        let stopped = LaneLook { stopped: Some("the message is too large".into()), ..lane(3, 1, 9) };
        let stuck = LaneLook { still_ms: 91_000, state: "ask", ..lane(4, 1, 1_501) };
        let patient = LaneLook { still_ms: 89_000, ..lane(5, 1, 9) };
        let mut sick = watch(vec![stopped, stuck, patient]);
        sick.left_out.push(("clicks".into(), "no right to read it".into()));
        assert_eq!(
            sick.problems(at(0)),
            [
                "orders-3 has stopped: the message is too large",
                "orders-4 is 1,500 records behind and has not moved for 1 min 31 s (state ask)",
                "clicks is left out: no right to read it",
            ]
        );
    }

    #[test]
    fn very_many_problems_are_not_all_told() {
        let lanes = (0..120).map(|partition| LaneLook { stopped: Some("x".into()), ..lane(partition, 1, 9) });
        let watch = watch(lanes.collect());
        let problems = watch.problems(at(0));
        assert_eq!((problems.len(), problems[50].as_str()), (51, "and 70 more"));
        assert_eq!(watch.problem_count(at(0)), 120);
    }

    #[test]
    fn lag_is_known_once_both_ends_are() {
        assert_eq!(lane(0, 5, 9).lag_records(), Some(4));
        assert_eq!(lane(0, 5, 9).lag_ms(7_500), Some(2_500));
        assert_eq!(lane(0, 9, 9).lag_ms(7_500), Some(0));
        assert_eq!(LaneLook { source_end: None, ..lane(0, 5, 9) }.lag_records(), None);
        assert_eq!(LaneLook { mirrored_timestamp_ms: None, ..lane(0, 5, 9) }.lag_ms(7_500), None);
    }
}
