//! The sender: one thread, one connection to each broker, and a schedule that waits for nobody.

use super::connection::{Connection, Flight, Landed};
use super::consumer::Track;
use super::transactions::Transactions;
use super::{Settings, Tick, Timestamps, Watch};
use crate::edge::admin::Admin;
use crate::edge::client::Client;
use crate::edge::clock;
use crate::edge::security::Access;
use crate::error;
use crate::load::shape::Replay;
use crate::load::{Arrivals, Batches, Measures, Profile, TransactionCounts, Turn};
use crate::wire::TopicKey;
use crate::wire::produce::{Entry, Payload};
use bytes::Bytes;
use rustix::event::{Timespec, poll};
use smallvec::smallvec;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Batches that are due and wait for their broker, all brokers together. When there are more the schedule is not asked for the next
/// one; its time stays what it is.
const QUEUE_MAX: usize = 1 << 20;
/// At full speed so many batches a lane are kept ready.
const AHEAD_PER_LANE: usize = 4;
/// How long what is due is still sent after the end.
const GRACE_US: u64 = 1_000_000;
/// The pause before a broker that failed is dialled again.
const RETRY_US: u64 = 500_000;
/// What is left of a schedule that is out of reach is counted in so many parts.
const UNSENT_SLICES: u64 = 1000;
/// The longest nap, so that Ctrl-C is heard.
const NAP_MAX_US: u64 = 50_000;

/// A batch that is due.
#[derive(Clone, Copy, Debug)]
struct Due {
    lane: u32,
    index: u64,
    intended_us: Option<u64>,
}

/// What the sender found.
pub struct Sent {
    pub total: Measures,
    /// One for each rate, if there are several.
    pub steps: Vec<Measures>,
    /// Records due while it was measured; None at full speed.
    pub offered_records: Option<u64>,
    /// Of these, never sent, because the rate was out of reach.
    pub unsent_records: u64,
    /// From the begin of the measured time to the last acknowledgement or the schedule's end, whichever is later.
    pub seconds: f64,
    /// By lane, the batches that were sent, refused ones included.
    pub counts: Vec<u64>,
    pub throttled_ms: u64,
    /// None when there were none.
    pub transactions: Option<TransactionCounts>,
    pub cpu_us: u64,
    /// Why it ended early, if it did.
    pub trouble: Option<String>,
}

/// One broker: its connection, if there is one, and what waits for it.
struct Lead {
    broker: i32,
    connection: Option<Connection>,
    queue: VecDeque<Due>,
    retry_at_us: u64,
    /// Since when it has failed without a success in between.
    failing_since_us: Option<u64>,
}

pub struct Sender<'a> {
    settings: &'a Settings,
    batches: &'a Batches,
    admin: &'a mut Admin,
    access: Arc<Access>,
    track: &'a Track,
    stop: &'a AtomicBool,
    transactions: Option<Transactions<'a>>,
    topics: Vec<Bytes>,
    partitions: u32,
    /// By lane: which of `leads`.
    routes: Vec<usize>,
    leads: Vec<Lead>,
    profile: Option<Profile>,
    arrivals: Option<Arrivals>,
    /// A captured shape instead of a profile.
    replay: Option<Replay>,
    turn: Turn,
    /// By lane: the next batch's index.
    counts: Vec<u64>,
    /// The arrival that comes next, once it is known.
    next: Option<Due>,
    start_us: u64,
    measured_from_us: u64,
    end_us: u64,
    /// Records that are still to be scheduled.
    records_left: u64,
    is_scheduled: bool,
    queued: usize,
    offered_records: u64,
    tick: Measures,
    total: Measures,
    steps: Vec<Measures>,
    tick_begin_us: u64,
    last_landing_us: u64,
    throttled_ms: u64,
    fatal: Option<String>,
    last_error: Option<String>,
}

impl<'a> Sender<'a> {
    pub fn new(
        settings: &'a Settings,
        batches: &'a Batches,
        admin: &'a mut Admin,
        track: &'a Track,
        partitions: u32,
        stop: &'a AtomicBool,
        transactions: Option<Transactions<'a>>,
    ) -> Self {
        let profile = settings.profile(batches);
        let topics = settings.topics.len() as u32;
        let lanes = (topics * partitions) as usize;
        let steps = profile.as_ref().map_or(0, |profile| profile.rates.len());
        Self {
            access: Access::new(&settings.target.security),
            arrivals: profile.clone().map(|profile| Arrivals::new(profile, settings.shape.seed)),
            replay: settings.replay.as_ref().map(|again| again.schedule(partitions)),
            turn: Turn::new(&settings.shape.keys, topics, partitions, settings.shape.seed ^ 1),
            topics: settings.topics.iter().map(|topic| Bytes::copy_from_slice(topic.as_bytes())).collect(),
            routes: vec![0; lanes],
            counts: vec![0; lanes],
            steps: if steps > 1 { vec![Measures::default(); steps] } else { Vec::new() },
            records_left: settings.records.unwrap_or(u64::MAX),
            settings,
            batches,
            admin,
            track,
            stop,
            transactions,
            partitions,
            leads: Vec::new(),
            profile,
            next: None,
            start_us: 0,
            measured_from_us: 0,
            end_us: u64::MAX,
            is_scheduled: false,
            queued: 0,
            offered_records: 0,
            tick: Measures::default(),
            total: Measures::default(),
            tick_begin_us: 0,
            last_landing_us: 0,
            throttled_ms: 0,
            fatal: None,
            last_error: None,
        }
    }

    /// Sends the whole load.
    pub fn run(mut self, watch: &mut dyn Watch) -> Result<Sent, String> {
        self.find_leaders()?;
        let cpu_before_us = clock::thread_cpu_us();
        self.start_us = clock::now().mono_us;
        self.measured_from_us = self.start_us + self.settings.warmup_us;
        self.tick_begin_us = self.start_us;
        if let Some(us) = self.settings.duration_us {
            self.end_us = self.measured_from_us + us;
        }
        let mut landed = Vec::new();
        while !self.is_over() {
            let now_us = clock::now().mono_us;
            self.schedule(now_us);
            for at in 0..self.leads.len() {
                self.advance(at, now_us, &mut landed);
            }
            for landing in landed.drain(..) {
                self.landed(&landing, watch);
            }
            self.turn_transaction(now_us);
            if now_us >= self.tick_begin_us + self.settings.tick_us {
                self.end_tick(now_us, false, watch);
            }
            self.wait(now_us);
        }
        self.end_transaction();
        let has_schedule = self.has_schedule();
        let unsent_records = self.count_unsent();
        let now_us = clock::now().mono_us;
        self.end_tick(now_us, true, watch);
        let was_stopped = self.stop.load(Ordering::Relaxed);
        let last_us = match self.end_us {
            u64::MAX => self.last_landing_us,
            end_us if self.fatal.is_some() || was_stopped => now_us.min(end_us).max(self.last_landing_us),
            end_us => end_us.max(self.last_landing_us),
        };
        for connection in self.leads.iter().filter_map(|lead| lead.connection.as_ref()) {
            self.throttled_ms += connection.throttled_ms;
        }
        Ok(Sent {
            total: self.total,
            steps: self.steps,
            offered_records: has_schedule.then_some(self.offered_records),
            unsent_records,
            seconds: last_us.saturating_sub(self.measured_from_us) as f64 / 1e6,
            counts: self.counts,
            throttled_ms: self.throttled_ms,
            transactions: self.transactions.map(|transactions| transactions.counts),
            cpu_us: clock::thread_cpu_us() - cpu_before_us,
            trouble: self.fatal,
        })
    }

    fn is_over(&self) -> bool {
        if self.fatal.is_some() {
            return true;
        }
        let now_us = clock::now().mono_us;
        let is_sending = self.is_sending();
        if self.stop.load(Ordering::Relaxed) || now_us >= self.sending_ends_us() {
            return !is_sending;
        }
        self.is_scheduled && self.queued == 0 && !is_sending
    }

    /// Something has no answer yet.
    fn is_sending(&self) -> bool {
        self.leads.iter().any(|lead| lead.connection.as_ref().is_some_and(|c| !c.is_idle()))
    }

    /// From when on nothing new is sent.
    fn sending_ends_us(&self) -> u64 {
        match &self.settings.replay {
            Some(again) if again.whole => u64::MAX,
            _ => self.end_us.saturating_add(GRACE_US),
        }
    }

    // What is due.

    /// Puts what is due by now in its broker's queue.
    fn schedule(&mut self, now_us: u64) {
        let ahead = self.counts.len() * AHEAD_PER_LANE;
        let queue_max = if self.has_schedule() { QUEUE_MAX } else { ahead };
        while self.queued < queue_max && !self.stop.load(Ordering::Relaxed) {
            let Some(due) = self.next_due(now_us) else { break };
            if due.intended_us.is_some_and(|us| us > now_us) {
                self.next = Some(due);
                break;
            }
            self.leads[self.routes[due.lane as usize]].queue.push_back(due);
            self.queued += 1;
        }
    }

    /// What is due does not depend on what is taken.
    fn has_schedule(&self) -> bool {
        self.profile.is_some() || self.replay.is_some()
    }

    /// Batches due until so long after the start; None at full speed.
    fn offered(&self, us: u64) -> Option<f64> {
        match (&self.replay, &self.profile) {
            (Some(replay), _) => Some(replay.offered(us)),
            (None, Some(profile)) => Some(profile.offered(us)),
            (None, None) => None,
        }
    }

    /// The next batch of the schedule; None when that is over.
    fn next_due(&mut self, now_us: u64) -> Option<Due> {
        if let Some(due) = self.next.take() {
            return Some(due);
        }
        if self.is_scheduled {
            return None;
        }
        let (due_us, lane) = match &mut self.replay {
            Some(replay) => {
                let (us, lane) = replay.take();
                (Some(us), Some(lane))
            }
            None => (self.arrivals.as_mut().map(Arrivals::next_us), None),
        };
        let intended_us = due_us.map(|us| self.start_us + us);
        if self.records_left == 0 || intended_us.unwrap_or(now_us) >= self.end_us {
            self.is_scheduled = true;
            return None;
        }
        let lane = lane.unwrap_or_else(|| self.turn.take());
        let index = self.counts[lane as usize];
        self.counts[lane as usize] += 1;
        let records = u64::from(self.batches.records(lane, index)).min(self.records_left);
        if let Err(error) = self.batches.end_with(lane, index, records as u32) {
            self.fatal = Some(error);
        }
        if self.settings.records.is_some() {
            self.records_left -= records;
        }
        if intended_us.is_some_and(|us| us >= self.measured_from_us) {
            self.offered_records += records;
        }
        Some(Due { lane, index, intended_us })
    }

    /// Records that were due and not sent before the end. They have waited as long as until now, at least; that counts.
    fn count_unsent(&mut self) -> u64 {
        let now_us = clock::now().mono_us;
        let mut unsent = 0;
        let queued: Vec<Due> = self.leads.iter_mut().flat_map(|lead| lead.queue.drain(..)).collect();
        for due in queued {
            // It was counted as sent when it was scheduled.
            self.counts[due.lane as usize] -= 1;
            let records = u64::from(self.batches.records(due.lane, due.index));
            unsent += self.waited_in_vain(due.intended_us, records, now_us);
        }
        if !self.has_schedule() {
            return unsent;
        }
        let Some(next) = self.next_due(now_us) else { return unsent };
        let (Some(from_us), records) = (next.intended_us, self.batches.records(next.lane, next.index)) else {
            return unsent;
        };
        self.counts[next.lane as usize] -= 1;
        if from_us >= self.measured_from_us {
            self.offered_records -= u64::from(records);
        }
        // What was never asked of the schedule may be far too much to be looked at one by one.
        let end_us = self.end_us.min(now_us);
        let slice_us = end_us.saturating_sub(from_us).div_ceil(UNSENT_SLICES).max(1);
        let mut left = if self.settings.records.is_some() { self.records_left } else { u64::MAX };
        for begin_us in (from_us..end_us).step_by(slice_us as usize) {
            let until =
                |us: u64| self.offered(us - self.start_us).unwrap_or(0.0) * self.batches.mean_records();
            let due = until((begin_us + slice_us).min(end_us)) - until(begin_us);
            let records = (due.round() as u64).min(left);
            left -= records;
            if begin_us >= self.measured_from_us {
                self.offered_records += records;
            }
            unsent += self.waited_in_vain(Some(begin_us), records, now_us);
        }
        unsent
    }

    /// Counts what was meant to be sent in the measured time; a load that was stopped owes nothing.
    fn waited_in_vain(&mut self, intended_us: Option<u64>, records: u64, now_us: u64) -> u64 {
        let Some(intended_us) = intended_us.filter(|us| *us >= self.measured_from_us) else { return 0 };
        if !self.stop.load(Ordering::Relaxed) && self.fatal.is_none() {
            let waited_us = now_us.saturating_sub(intended_us);
            self.tick.from_intended.record_many_us(waited_us, records);
            self.tick.delay.record_many_us(waited_us, records);
        }
        records
    }

    // To the brokers and back.

    fn advance(&mut self, at: usize, now_us: u64, landed: &mut Vec<Landed>) {
        let sending_ends_us = self.sending_ends_us();
        let lead = &mut self.leads[at];
        let Some(connection) = &mut lead.connection else {
            if now_us >= lead.retry_at_us && (!lead.queue.is_empty() || !self.is_scheduled) {
                self.reconnect(at, now_us);
            }
            return;
        };
        let is_open = self.transactions.as_ref().is_none_or(|transactions| !transactions.is_over(now_us));
        let may_begin = !self.stop.load(Ordering::Relaxed)
            && now_us < sending_ends_us
            && is_open
            && !connection.wants_login();
        // After a request is on its way the socket may take the next one at once.
        loop {
            let begins =
                may_begin && !lead.queue.is_empty() && connection.has_room(self.settings.in_flight_max);
            if begins {
                let (mut batches, taken) =
                    pack(self.settings, self.batches, &self.topics, self.partitions, &lead.queue);
                if let Some(transactions) = &mut self.transactions {
                    for (entry, flight) in &mut batches {
                        transactions.stamp(flight.lane, &mut entry.raw, flight.records);
                    }
                }
                lead.queue.drain(..taken);
                self.queued -= taken;
                for (_, flight) in &batches {
                    self.track.sent(flight);
                }
                connection.begin(batches);
            }
            if let Err(error) = connection.advance(landed) {
                let error = error.to_string();
                self.broken(at, now_us, error);
                return;
            }
            if !begins {
                break;
            }
        }
        let waited_us = connection.waiting_us(now_us);
        if waited_us > self.settings.request_timeout_ms * 1000 {
            let error = format!("broker {} did not answer for {} s", lead.broker, waited_us / 1_000_000);
            self.broken(at, now_us, error);
        }
    }

    /// A connection is lost; what was on its way is lost with it, as far as anybody here can tell.
    fn broken(&mut self, at: usize, now_us: u64, error: String) {
        let failed_before = self.tick.failed_batches;
        let lead = &mut self.leads[at];
        if let Some(connection) = lead.connection.take() {
            self.throttled_ms += connection.throttled_ms;
            for flight in connection.abandon() {
                self.tick.failed_batches += 1;
                self.tick.failed_records += u64::from(flight.records);
            }
        }
        lead.retry_at_us = now_us + RETRY_US;
        let since_us = *lead.failing_since_us.get_or_insert(now_us);
        if self.last_error.as_ref() != Some(&error) {
            tracing::warn!("{error}");
            self.last_error = Some(error.clone());
        }
        if self.tick.failed_batches > failed_before {
            self.break_transaction(&error);
        }
        if now_us.saturating_sub(since_us) >= self.settings.request_timeout_ms * 1000 {
            self.fatal = Some(error);
        }
    }

    fn reconnect(&mut self, at: usize, now_us: u64) {
        if let Err(error) = self.find_leaders() {
            self.broken(at, now_us, error);
        }
    }

    /// Looks up who leads which partition, and connects to those that there is no connection to.
    fn find_leaders(&mut self) -> Result<(), String> {
        let observed = self.admin.observe().map_err(|error| error.to_string())?.clone();
        let mut by_broker: BTreeMap<i32, usize> =
            self.leads.iter().enumerate().map(|(at, lead)| (lead.broker, at)).collect();
        for (number, topic) in self.settings.topics.iter().enumerate() {
            let found =
                observed.topics.get(topic).ok_or_else(|| format!("there is no topic {topic} any more"))?;
            for (partition, state) in found.partitions.iter().enumerate().take(self.partitions as usize) {
                if state.leader < 0 {
                    return Err(format!("{topic}-{partition} has no leader"));
                }
                let lead = *by_broker.entry(state.leader).or_insert_with(|| {
                    self.leads.push(Lead {
                        broker: state.leader,
                        connection: None,
                        queue: VecDeque::new(),
                        retry_at_us: 0,
                        failing_since_us: None,
                    });
                    self.leads.len() - 1
                });
                self.routes[number * self.partitions as usize + partition] = lead;
            }
        }
        // What waited for a broker that leads no more waits for the new one.
        let queued: Vec<Due> = self.leads.iter_mut().flat_map(|lead| lead.queue.drain(..)).collect();
        for due in queued {
            self.leads[self.routes[due.lane as usize]].queue.push_back(due);
        }
        for lead in &mut self.leads {
            let is_needed = self.routes.iter().any(|route| by_broker.get(&lead.broker) == Some(route));
            if lead.connection.is_some() || !is_needed {
                continue;
            }
            let address = observed
                .brokers
                .get(&lead.broker)
                .ok_or_else(|| format!("broker {} is gone", lead.broker))?;
            let timeout = Duration::from_millis(self.settings.request_timeout_ms);
            let client = Client::connect(address, &self.access, &self.settings.client_id, timeout);
            let connected = client.and_then(|client| Connection::new(client, self.settings));
            let connection = connected.map_err(|error| error.to_string())?;
            if self.settings.has_zstd() && connection.version() < 7 {
                return Err(format!("{address} knows no zstd (Kafka 2.1 and later do); take another codec"));
            }
            lead.connection = Some(connection);
        }
        Ok(())
    }

    fn landed(&mut self, landed: &Landed, watch: &mut dyn Watch) {
        let Landed { flight, at_us, error } = landed;
        let lane = flight.lane as usize;
        let records = u64::from(flight.records);
        if *error != 0 {
            self.refused(lane, *error);
            self.tick.failed_batches += 1;
            self.tick.failed_records += records;
            return;
        }
        self.leads[self.routes[lane]].failing_since_us = None;
        self.last_landing_us = *at_us;
        let begin_us = flight.intended_us.unwrap_or(flight.sent_us);
        if begin_us < self.measured_from_us {
            return;
        }
        watch.landed(flight, *at_us);
        let step = self.profile.as_ref().map_or(0, |profile| {
            ((begin_us - self.start_us).checked_div(profile.step_us).unwrap_or(0)) as usize
        });
        let step = self.steps.len().checked_sub(1).map(|last| step.min(last));
        for measures in
            [Some(&mut self.tick), step.and_then(|step| self.steps.get_mut(step))].into_iter().flatten()
        {
            measures.from_intended.record_many_us(at_us.saturating_sub(begin_us), records);
            measures.from_sent.record_many_us(at_us.saturating_sub(flight.sent_us), records);
            measures.delay.record_many_us(flight.sent_us.saturating_sub(begin_us), records);
            measures.batches += 1;
            measures.records += records;
            measures.value_bytes += flight.value_bytes;
            measures.wire_bytes += flight.wire_bytes;
        }
    }

    fn refused(&mut self, lane: usize, code: i16) {
        let (topic, partition) = (lane / self.partitions as usize, lane % self.partitions as usize);
        let topic = &self.settings.topics[topic];
        let message =
            format!("{topic}-{partition} refuses a batch: {}: {}", error::name(code), error::advice(code));
        if !error::is_retriable(code) {
            self.fatal = Some(message);
            return;
        }
        self.break_transaction(&message);
        if self.last_error.as_ref() != Some(&message) {
            tracing::warn!("{message}");
            self.last_error = Some(message);
        }
        if let Err(problem) = self.find_leaders() {
            tracing::warn!("{problem}");
        }
    }

    // Transactions.

    /// Ends a transaction that is over and acknowledged, and begins the next.
    fn turn_transaction(&mut self, now_us: u64) {
        let is_sending = self.is_sending();
        if let Some(transactions) = &mut self.transactions
            && transactions.is_over(now_us)
            && !is_sending
            && let Err(problem) = transactions.turn()
        {
            self.fatal = Some(problem);
        }
    }

    /// A transaction that lacks a batch cannot go on: nothing is sent again here.
    fn break_transaction(&mut self, why: &str) {
        if let Some(transactions) = &self.transactions {
            let id = transactions.transactional_id();
            self.fatal = Some(format!("{why}; so the transaction of {id} is aborted"));
        }
    }

    fn end_transaction(&mut self) {
        let is_whole = self.fatal.is_none();
        if let Some(transactions) = &mut self.transactions
            && let Err(problem) = transactions.end(is_whole)
        {
            self.fatal.get_or_insert(problem);
        }
    }

    // Time.

    fn end_tick(&mut self, now_us: u64, is_last: bool, watch: &mut dyn Watch) {
        self.track.collect(&mut self.tick);
        self.total.merge(&self.tick);
        watch.tick(&Tick {
            begin_us: self.tick_begin_us - self.start_us,
            end_us: now_us - self.start_us,
            measures: &self.tick,
            total: &self.total,
            queued: self.queued,
            is_last,
            offered_batches_per_second: self.offered_between(self.tick_begin_us, now_us),
        });
        self.tick.clear();
        self.tick_begin_us = now_us;
    }

    fn offered_between(&self, begin_us: u64, end_us: u64) -> Option<f64> {
        let since_us = |us: u64| us.min(self.end_us).saturating_sub(self.start_us);
        let due = self.offered(since_us(end_us))? - self.offered(since_us(begin_us))?;
        Some(due * 1e6 / (end_us - begin_us).max(1) as f64)
    }

    /// Waits until a socket is ready, the next batch is due, or the tick is over.
    fn wait(&self, now_us: u64) {
        let tick_end_us = self.tick_begin_us + self.settings.tick_us;
        let due_us = self.next.and_then(|due| due.intended_us).unwrap_or(u64::MAX);
        let until_us = due_us.min(tick_end_us).min(now_us + NAP_MAX_US);
        let wait_us = until_us.saturating_sub(clock::now().mono_us);
        let mut fds: Vec<_> =
            self.leads.iter().filter_map(|lead| lead.connection.as_ref()).map(Connection::poll_fd).collect();
        let timeout = Timespec { tv_sec: 0, tv_nsec: (wait_us as i64) * 1000 };
        // An error here is a signal, or shows when the socket is used.
        let _ = poll(&mut fds, Some(&timeout));
    }
}

/// Takes batches from the front of a queue for one request, each of another partition. Returns how many it took.
fn pack(
    settings: &Settings,
    batches: &Batches,
    topics: &[Bytes],
    partitions: u32,
    queue: &VecDeque<Due>,
) -> (Vec<(Entry, Flight)>, usize) {
    let now = clock::now();
    let mut packed: Vec<(Entry, Flight)> = Vec::new();
    let mut bytes = 0;
    for due in queue {
        let Due { lane, index, intended_us } = *due;
        if packed.iter().any(|(_, flight)| flight.lane == lane) {
            break;
        }
        let batch = match settings.timestamps {
            Timestamps::Sequence => batches.batch(lane, index),
            Timestamps::Now => batches.batch_at(lane, index, now.wall_ms),
        };
        if !packed.is_empty() && bytes + batch.wire_bytes() > settings.request_bytes_max {
            break;
        }
        bytes += batch.wire_bytes();
        let flight = Flight {
            lane,
            index,
            intended_us,
            sent_us: now.mono_us,
            records: batch.records,
            value_bytes: batch.value_bytes,
            wire_bytes: batch.wire_bytes() as u64,
        };
        let entry = Entry {
            topic: TopicKey::Name(topics[(lane / partitions) as usize].clone()),
            partition: (lane % partitions) as i32,
            raw: batch.header,
            payload: Payload::Ranges(smallvec![batch.payload]),
        };
        packed.push((entry, flight));
    }
    let taken = packed.len();
    // Entries of one topic stand together in a request.
    packed.sort_by_key(|(_, flight)| flight.lane);
    (packed, taken)
}
