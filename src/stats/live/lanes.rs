//! Partitions one by one: those that are asked for, in the order that is asked for.

use crate::stats::{LaneLook, Watch};
use crate::time::Now;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

/// Sick partitions that are told one by one.
const SICK_MAX: usize = 50;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneLine {
    /// Its place among the cells.
    pub at: usize,
    pub topic: String,
    pub partition: i32,
    pub state: String,
    pub offsets: String,
    pub position: Option<i64>,
    pub source_end: Option<i64>,
    pub lag_records: Option<u64>,
    pub lag_ms: Option<u64>,
    /// What is wrong with it.
    pub why: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneList {
    /// How many there are.
    pub total: usize,
    pub lanes: Vec<LaneLine>,
}

/// Sick ones come first, whatever the order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Most records behind.
    #[default]
    Records,
    /// The oldest newest record.
    Age,
    Name,
}

impl LaneLine {
    fn of(at: usize, lane: &LaneLook, watch: &Watch, now: Now) -> Self {
        Self {
            at,
            topic: lane.topic.to_string(),
            partition: lane.partition,
            state: lane.state.into(),
            offsets: lane.offsets.into(),
            position: lane.position,
            source_end: lane.source_end,
            lag_records: lane.lag_records(),
            lag_ms: lane.lag_ms(now.wall_ms),
            why: watch.what_is_wrong_with(lane),
        }
    }
}

/// So many from the front of the order.
pub fn list(watch: &Watch, now: Now, order: Order, limit: usize) -> LaneList {
    let mut all: Vec<(usize, &LaneLook)> = watch.lanes.iter().enumerate().collect();
    let is_well = |lane: &LaneLook| !watch.is_sick(lane);
    match order {
        // By name they stand.
        Order::Name => all.sort_by_key(|&(at, lane)| (is_well(lane), at)),
        Order::Records => all.sort_by_key(|&(at, lane)| (is_well(lane), Reverse(lane.lag_records()), at)),
        Order::Age => all.sort_by_key(|&(at, lane)| (is_well(lane), Reverse(lane.lag_ms(now.wall_ms)), at)),
    }
    let lanes = all.into_iter().take(limit).map(|(at, lane)| LaneLine::of(at, lane, watch, now));
    LaneList { total: watch.lanes.len(), lanes: lanes.collect() }
}

/// The one in that place.
pub fn one(watch: &Watch, now: Now, at: usize) -> LaneList {
    let lanes = watch.lanes.get(at).map(|lane| LaneLine::of(at, lane, watch, now));
    LaneList { total: watch.lanes.len(), lanes: lanes.into_iter().collect() }
}

/// The first of them, and how many there are.
pub(super) fn sick(watch: &Watch, now: Now) -> (Vec<LaneLine>, usize) {
    let mut sick = watch.lanes.iter().enumerate().filter(|(_, lane)| watch.is_sick(lane));
    let told: Vec<LaneLine> =
        sick.by_ref().take(SICK_MAX).map(|(at, lane)| LaneLine::of(at, lane, watch, now)).collect();
    let count = told.len() + sick.count();
    (told, count)
}
