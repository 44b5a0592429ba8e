//! What becomes of a run beside its verdict: totals moment by moment, latencies by stage, histogram logs.
//!
//! A thread of its own takes what the judge found and what the mirror's shards noted, a hundred times a second, and brings the
//! two together: nobody who is measured makes a histogram.

use super::drive::{Arrival, Course};
use crate::edge::clock;
use crate::edge::hlog::Hlog;
use crate::load::Measures;
use crate::load::omb::{OmbResult, PERIOD_US};
use crate::shard::{Timing, Timings};
use crate::stats::{Heat, Passage, Sample, Stage, Stages, Timeline};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(10);
const INTERVAL_US: u64 = 1_000_000;
/// Timings come a few times a second; by then an interval has what belongs to it.
const LATE_US: u64 = 1_500_000;
/// Batches of one partition that wait for the other half of what is known of them.
const WAITING_MAX: usize = 1 << 17;

/// What was recorded.
#[derive(Default)]
pub struct Recorded {
    pub timeline: Option<Timeline>,
    /// From the intended send, or at full speed from the actual one, to the consumer.
    pub heat: Heat,
    /// Of the measured part, all shards together and each by itself.
    pub stages: Stages,
    pub shards: Vec<Stages>,
    pub batches_left_out: u64,
    pub omb: OmbResult,
    pub total: Measures,
    pub hlog_trouble: Option<String>,
}

pub struct Recorder<'a> {
    course: &'a Course<'a>,
    timings: Receiver<(usize, Timings)>,
    hlog: Option<Hlog>,
    start_us: u64,
    records_per_batch: u64,
    record_bytes: u64,
    /// By partition: what arrived, and what was noted on the way. Both in order.
    arrived: Vec<VecDeque<Arrival>>,
    timed: Vec<VecDeque<(usize, Timing)>>,
    /// By number, those that are not closed.
    intervals: BTreeMap<u64, Interval>,
    next_interval: u64,
    period: Measures,
    period_begin_us: Option<u64>,
    /// End of the last interval with anything in it.
    recorded_until_us: u64,
    timeline: Timeline,
    recorded: Recorded,
}

#[derive(Default)]
struct Interval {
    stages: Stages,
    measures: Measures,
}

impl<'a> Recorder<'a> {
    pub fn new(
        course: &'a Course<'a>,
        timings: Receiver<(usize, Timings)>,
        hlog: Option<Hlog>,
        partitions: u32,
        records_per_batch: u32,
        record_bytes: usize,
    ) -> Self {
        Self {
            course,
            timings,
            hlog,
            start_us: clock::now().mono_us,
            records_per_batch: u64::from(records_per_batch),
            record_bytes: record_bytes as u64,
            arrived: (0..partitions).map(|_| VecDeque::new()).collect(),
            timed: (0..partitions).map(|_| VecDeque::new()).collect(),
            intervals: BTreeMap::new(),
            next_interval: 0,
            period: Measures::default(),
            period_begin_us: None,
            recorded_until_us: 0,
            timeline: Timeline::new(EVERY.as_micros() as u64),
            recorded: Recorded::default(),
        }
    }

    /// The moment from which everything recorded counts.
    pub fn start_us(&self) -> u64 {
        self.start_us
    }

    /// Until the course is over and the mirror has ended.
    pub fn run(mut self, over: &AtomicBool) -> Recorded {
        loop {
            // Looked at before the last round, so that nothing that came by then is missed.
            let is_over = over.load(Ordering::Relaxed);
            let has_ended = self.take_timings();
            self.sample();
            for arrival in self.course.take_arrivals() {
                self.take_arrival(arrival);
            }
            (0..self.arrived.len()).for_each(|partition| self.bring_together(partition));
            if is_over && has_ended {
                return self.finish();
            }
            self.close_intervals(clock::now().mono_us.saturating_sub(self.start_us + LATE_US));
            thread::sleep(EVERY);
        }
    }

    /// Returns whether the mirror has ended.
    fn take_timings(&mut self) -> bool {
        loop {
            match self.timings.try_recv() {
                Ok((shard, timings)) => {
                    self.recorded.batches_left_out += timings.left_out;
                    for timing in timings.batches {
                        let partition = usize::try_from(timing.partition).unwrap_or(usize::MAX);
                        if let Some(timed) = self.timed.get_mut(partition) {
                            push(timed, (shard, timing));
                        }
                    }
                }
                Err(error) => return error == TryRecvError::Disconnected,
            }
        }
    }

    fn sample(&mut self) {
        // In this order: what has arrived was sent.
        let arrived_bytes = self.course.judged_bytes();
        let sent_bytes = self.course.sent_bytes();
        let at_us = clock::now().mono_us.saturating_sub(self.start_us);
        self.timeline.record(Sample { at_us, sent_bytes, arrived_bytes });
    }

    fn take_arrival(&mut self, arrival: Arrival) {
        let visible_us = arrival.visible_us.saturating_sub(self.start_us);
        let latency_us = arrival.visible_us.saturating_sub(arrival.intended_us.unwrap_or(arrival.sent_us));
        self.recorded.heat.record(visible_us, latency_us);
        if !arrival.is_measured {
            return;
        }
        self.recorded.stages.record_total_us(latency_us);
        let (records, record_bytes) = (self.records_per_batch, self.record_bytes);
        let interval = self.interval(visible_us);
        interval.stages.record_total_us(latency_us);
        interval.measures.end_to_end.record_many_us(latency_us, records);
        interval.measures.consumed_records += records;
        interval.measures.consumed_bytes += records * record_bytes;
        if let Some(arrived) = self.arrived.get_mut(arrival.partition as usize) {
            push(arrived, arrival);
        }
    }

    /// Batches whose way and arrival are both known now.
    fn bring_together(&mut self, partition: usize) {
        let first_timestamp_ms = self.course.first_timestamp_ms();
        loop {
            let (Some(arrival), Some((shard, timing))) =
                (self.arrived[partition].front().copied(), self.timed[partition].front().copied())
            else {
                return;
            };
            let index = u64::try_from(timing.base_timestamp_ms - first_timestamp_ms).unwrap_or(0);
            // Both are in order: what the other side has passed by will not come.
            if index <= arrival.index {
                self.timed[partition].pop_front();
            }
            if index >= arrival.index {
                self.arrived[partition].pop_front();
            }
            if index == arrival.index {
                self.passed(shard, &arrival, &timing);
            }
        }
    }

    fn passed(&mut self, shard: usize, arrival: &Arrival, timing: &Timing) {
        let passage = Passage {
            appended_us: arrival.sent_us,
            fetched_us: timing.fetched_us,
            sent_us: timing.sent_us,
            acked_us: timing.acked_us,
            visible_us: arrival.visible_us,
        };
        self.recorded.stages.record(&passage);
        if shard >= self.recorded.shards.len() {
            self.recorded.shards.resize_with(shard + 1, Stages::default);
        }
        self.recorded.shards[shard].record(&passage);
        let (records, record_bytes) = (self.records_per_batch, self.record_bytes);
        let intended_us = arrival.intended_us.unwrap_or(arrival.sent_us);
        let Interval { stages, measures } = self.interval(arrival.visible_us.saturating_sub(self.start_us));
        stages.record(&passage);
        let since = |us: u64| timing.acked_us.saturating_sub(us);
        measures.from_intended.record_many_us(since(intended_us), records);
        measures.from_sent.record_many_us(since(arrival.sent_us), records);
        measures.delay.record_many_us(arrival.sent_us.saturating_sub(intended_us), records);
        measures.batches += 1;
        measures.records += records;
        measures.value_bytes += records * record_bytes;
        measures.wire_bytes += arrival.bytes;
    }

    /// Where something that happened at that moment (since the start) is counted. What comes too late, in the next one.
    fn interval(&mut self, at_us: u64) -> &mut Interval {
        self.intervals.entry((at_us / INTERVAL_US).max(self.next_interval)).or_default()
    }

    /// Intervals that were over at `until_us` have what they will ever have.
    fn close_intervals(&mut self, until_us: u64) {
        while let Some(entry) = self.intervals.first_entry() {
            let number = *entry.key();
            if (number + 1) * INTERVAL_US > until_us {
                return;
            }
            let interval = entry.remove();
            self.next_interval = number + 1;
            self.close(number * INTERVAL_US, (number + 1) * INTERVAL_US, &interval);
        }
    }

    fn close(&mut self, begin_us: u64, end_us: u64, interval: &Interval) {
        if let Some(hlog) = &mut self.hlog {
            for stage in Stage::ALL {
                hlog.add(stage.tag(), interval.stages.of(stage), begin_us, end_us);
            }
        }
        self.recorded.total.merge(&interval.measures);
        self.period.merge(&interval.measures);
        let period_begin_us = *self.period_begin_us.get_or_insert(begin_us);
        self.recorded_until_us = end_us;
        if end_us - period_begin_us >= PERIOD_US {
            self.end_period(end_us);
        }
    }

    fn end_period(&mut self, end_us: u64) {
        if let Some(begin_us) = self.period_begin_us.take() {
            self.recorded.omb.period(&self.period, end_us.saturating_sub(begin_us) as f64 / 1e6);
            self.period.clear();
        }
    }

    fn finish(mut self) -> Recorded {
        self.sample();
        let end_us = clock::now().mono_us.saturating_sub(self.start_us);
        // The last interval ends when the last batch of it came, not when its second is over.
        while let Some((number, interval)) = self.intervals.pop_first() {
            let begin_us = number * INTERVAL_US;
            self.close(begin_us, (begin_us + INTERVAL_US).min(end_us.max(begin_us + 1)), &interval);
        }
        self.end_period(self.recorded_until_us);
        let hlog_trouble = self.hlog.and_then(|hlog| hlog.finish().err());
        Recorded { timeline: Some(self.timeline), hlog_trouble, ..self.recorded }
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T) {
    if queue.len() == WAITING_MAX {
        queue.pop_front();
    }
    queue.push_back(item);
}
