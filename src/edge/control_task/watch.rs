//! How the link is, for those who watch it: the screen, the log, and HTTP.

use super::Session;
use crate::edge::clock;
use crate::edge::runtime::ShardHandle;
use crate::shard::{LaneId, LaneSnapshot, OffsetMode};
use crate::stats::{LaneLook, Limits, Pulse, Report, Watch};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Watcher(Pulse);

impl Session<'_> {
    /// Leaves a look at the link on the board, too, if somebody may look there.
    pub(super) fn report_to(&mut self, observe: &mut dyn FnMut(&Report)) {
        let report = self.report();
        observe(&report);
        if let Some(mut watcher) = self.watcher.take() {
            let mut watch = self.watch(report);
            watcher.0.feel(watch.at, &mut watch.lanes);
            self.outside.board.publish(watch);
            self.watcher = Some(watcher);
        }
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
            })
        };
        // By topic and partition.
        self.ids.values().filter_map(look).collect()
    }
}
