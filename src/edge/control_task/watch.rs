//! How the link is, for those who watch it: the screen, the log, and HTTP.

use super::Session;
use crate::edge::clock;
use crate::edge::runtime::ShardHandle;
use crate::shard::{LaneId, LaneSnapshot, OffsetMode};
use crate::stats::{LaneLook, Limits, Passed, Pulse, Report, Watch, units};
use crate::time::Now;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How often every lane is looked at where nobody can watch: for the log.
const LOOK_MS: u64 = 10_000;
/// Lanes that stand still are told of one by one, so many of a look.
const STILL_SAID: usize = 10;

#[derive(Default)]
pub(super) struct Watcher {
    pulse: Pulse,
    look_at_us: u64,
    /// Lanes of which the log says that they stand still.
    still: BTreeSet<(Arc<str>, i32)>,
}

impl Session<'_> {
    /// Leaves a look at the link on the board, too, if somebody may look there.
    pub(super) fn report_to(&mut self, observe: &mut dyn FnMut(&Report)) {
        let report = self.report();
        observe(&report);
        let now = clock::now();
        if !self.outside.is_watched && now.mono_us < self.watcher.look_at_us {
            return;
        }
        let mut watch = self.watch(report);
        self.watcher.pulse.feel(watch.at, &mut watch.lanes);
        self.tell_of_still(now, &watch);
        if self.outside.is_watched {
            self.outside.board.publish(watch);
        }
    }

    /// A lane may wait for something that nobody else complains of, such as a partition that has no leader.
    fn tell_of_still(&mut self, now: Now, watch: &Watch) {
        if now.mono_us < self.watcher.look_at_us {
            return;
        }
        self.watcher.look_at_us = now.after_ms(LOOK_MS);
        let is_still = |lane: &&LaneLook| lane.stopped.is_none() && watch.is_sick(lane);
        let still: BTreeMap<_, _> = watch
            .lanes
            .iter()
            .filter(is_still)
            .map(|lane| ((Arc::clone(&lane.topic), lane.partition), lane))
            .collect();
        let news = still.iter().filter(|(key, _)| !self.watcher.still.contains(*key));
        let mut more = 0_u64;
        for (said, ((topic, partition), lane)) in news.enumerate() {
            let what = watch.what_is_wrong_with(lane).unwrap_or_default();
            match said < STILL_SAID {
                true => tracing::warn!(topic = &**topic, partition, "the partition {what}"),
                false => more += 1,
            }
        }
        if more > 0 {
            tracing::warn!("{} more partitions stand still", units::count(more));
        }
        let over = self.watcher.still.iter().filter(|key| !still.contains_key(*key)).count();
        if over > 0 {
            tracing::info!(
                "of the partitions that stood still {} {} on, and {} still {}",
                units::count(over as u64),
                if over == 1 { "goes" } else { "go" },
                units::count(still.len() as u64),
                if still.len() == 1 { "does" } else { "do" },
            );
        }
        self.watcher.still = still.into_keys().collect();
    }

    fn watch(&self, report: Report) -> Watch {
        let lost = self
            .summary
            .lost
            .iter()
            .map(|(_, _, from, to, _)| to.saturating_sub(*from).max(0).unsigned_abs());
        Watch {
            version: env!("CARGO_PKG_VERSION"),
            link: self.config.link.clone(),
            source_cluster: self.cluster_ids.0.clone(),
            target_cluster: self.cluster_ids.1.clone(),
            at: clock::now(),
            report,
            lanes: self.lane_looks(),
            lost_offsets: lost.sum(),
            left_out: self.summary.problems.clone(),
            still_ms_max: Pulse::still_ms_max(self.config.zombie_bound_ms),
            limits: Limits {
                buffer_bytes: self.config.buffer_bytes as u64,
                bytes_per_second: self.following.bytes_per_second(),
            },
            instance: None,
        }
    }

    fn lane_looks(&self) -> Vec<LaneLook> {
        let looks: Vec<_> = self.shards.iter().map(ShardHandle::snapshot).collect();
        let of_shards: BTreeMap<LaneId, &LaneSnapshot> =
            looks.iter().flat_map(|look| &look.shard.lanes).map(|lane| (lane.lane, lane)).collect();
        let passed: BTreeMap<LaneId, &Passed> =
            looks.iter().flat_map(|look| &look.shard.passed).map(|(lane, passed)| (*lane, passed)).collect();
        let stops: BTreeMap<(&str, i32), String> = self
            .summary
            .stopped
            .iter()
            .map(|(topic, partition, stop)| ((topic.as_str(), *partition), stop.to_string()))
            .collect();
        let look = |id: &LaneId| {
            let lane = self.lanes.get(id)?;
            let seen = of_shards.get(id);
            let position = seen.map(|seen| seen.settled.source_offset);
            Some(LaneLook {
                topic: Arc::clone(&lane.topic),
                partition: lane.partition,
                offsets: match lane.mode {
                    OffsetMode::Identical => "identical",
                    OffsetMode::Append => "append",
                    OffsetMode::Shared => "shared",
                },
                state: match () {
                    () if lane.stopped => "stopped",
                    () if lane.paused => "paused",
                    () => seen.map_or("waiting", |seen| seen.state),
                },
                position: position.or(lane.checkpoint.map(|at| at.source_offset)).filter(|at| *at >= 0),
                source_end: seen.map(|seen| self.ends.of(seen)).filter(|end| *end >= 0),
                mirrored_timestamp_ms: seen.and_then(|seen| seen.settled_timestamp_ms),
                still_ms: 0,
                dead_letters: seen.map_or(0, |seen| seen.letters_written),
                stopped: lane.stopped.then(|| {
                    stops
                        .get(&(&*lane.topic, lane.partition))
                        .cloned()
                        .unwrap_or_else(|| "see the log".into())
                }),
                passed: passed.get(id).map(|passed| Box::new(**passed)),
            })
        };
        // By topic and partition.
        self.ids.values().filter_map(look).collect()
    }
}
