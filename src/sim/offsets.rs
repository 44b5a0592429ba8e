//! What control does so that offsets are the same on both sides: it chooses how each topic's are to be, and has the target delete
//! what the source has no more (`src/edge/control_task/twin.rs`).

use crate::config::{Draft, Mirror, Offsets, text};
use crate::control::offsets;
use crate::error;
use crate::shard::{LaneId, OffsetMode, Side};
use crate::sim::control::{answer, request_frame};
use crate::sim::errands::Errand;
use crate::sim::plan::Plan;
use crate::sim::reference::Reference;
use crate::sim::world::{Moment, World};
use bytes::Bytes;
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;

const DELETE_RECORDS_VERSION: i16 = 2;
/// Time between two rounds of deleting what the source has no more.
const TRIM_PAUSE_MS: u64 = 500;

/// What one instance's control has to delete.
#[derive(Default)]
pub(super) struct Trims {
    wanted: BTreeMap<LaneId, i64>,
    /// The request under way.
    pub(super) call: Option<u64>,
    due_us: u64,
}

/// The configuration of the simulated link, as far as it chooses offsets.
pub(super) fn config(plan: &Plan, reference: &Reference) -> Option<Mirror> {
    let appended = reference.partitions.iter().filter(|partition| !partition.wants_identical);
    let draft = Draft {
        source: text::addresses("source.sim:9092").ok(),
        target: text::addresses("target.sim:9092").ok(),
        topics: text::patterns(".*").ok(),
        append: Some(appended.filter_map(|partition| text::pattern(&partition.topic).ok()).collect()),
        offsets: plan.demands_identical.then_some(Offsets::Identical),
        seed_offsets_max: Some(plan.seed_offsets_max),
        ..Draft::default()
    };
    draft.build().ok()
}

impl World {
    /// How the offsets of a topic with a new lane are to be. The ledger knows better once the lane has begun.
    pub(super) fn choose_mode(&self, topic: &str) -> OffsetMode {
        let start = self.reference.start_of(topic);
        let cannot_fill = self.plan.cannot_fill.as_deref();
        let choice = self.config.as_ref().map(|config| offsets::choose(config, topic, cannot_fill, start));
        choice.map_or(OffsetMode::Append, |choice| choice.mode)
    }

    pub(super) fn want_trim(&mut self, index: usize, lane: LaneId, offset: i64) {
        self.instances[index].trims.wanted.insert(lane, offset);
    }

    /// Has the target delete what is to be deleted, one partition at a time.
    pub(super) fn trim(&mut self, index: usize) {
        let now = self.now();
        let trims = &mut self.instances[index].trims;
        if trims.wanted.is_empty() || trims.call.is_some() {
            return;
        }
        if trims.due_us > now.mono_us {
            let due_us = trims.due_us;
            return self.schedule(due_us, Moment::Control(index));
        }
        trims.due_us = now.after_ms(TRIM_PAUSE_MS);
        let Some((lane, offset)) = trims.wanted.pop_first() else { return };
        let source = &self.reference.partitions[lane.0 as usize];
        let (topic, partition) = (source.topic.to_string(), source.partition);
        let Some(leader) = self.leader_of(index, Side::Target, &topic, partition) else {
            self.instances[index].trims.wanted.insert(lane, offset);
            return self.look_again(index);
        };
        self.trace(|| format!("control of instance {index} deletes before {offset} of {topic}-{partition}"));
        let wanted = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
        let name = TopicName(StrBytes::from_string(topic));
        let wanted = DeleteRecordsTopic::default().with_name(name).with_partitions(vec![wanted]);
        let request = DeleteRecordsRequest::default().with_topics(vec![wanted]).with_timeout_ms(800);
        let frame = request_frame(&request, DELETE_RECORDS_VERSION);
        let call = self.call(index, Side::Target, leader, Errand::Trim { lane, offset }, frame);
        self.instances[index].trims.call = Some(call);
    }

    /// The target has answered, or not. What time may heal is tried again; else the target keeps more than the source.
    pub(super) fn trimmed(&mut self, index: usize, lane: LaneId, offset: i64, frame: Option<Bytes>) {
        let answer: Option<DeleteRecordsResponse> =
            frame.and_then(|frame| answer(DELETE_RECORDS_VERSION, frame));
        let partition = answer.as_ref().and_then(|answer| answer.topics.first()?.partitions.first());
        let code = partition.map_or(-1, |partition| partition.error_code);
        if code != 0 && error::is_retriable(code) {
            // A later word counts more.
            self.instances[index].trims.wanted.entry(lane).or_insert(offset);
            self.look_again(index);
        }
    }
}
