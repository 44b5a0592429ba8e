//! `twinlog load`: sends a load to one cluster, by a schedule that waits for nobody, and measures what becomes of it.
//!
//! [`run`] makes the topic ready, [`sender`] sends, [`consumer`] reads back if that is wanted, a [`Watch`] is told how it goes.

mod connection;
mod consumer;
mod perf;
mod sender;
mod transactions;

pub use connection::Flight;
pub use perf::PerfWatch;
pub use transactions::Transactional;

use super::admin::Admin;
use super::clock;
use super::hlog::Hlog;
use super::progress::Progress;
use crate::config::{Address, Cluster};
use crate::load::omb::{OmbResult, PERIOD_US};
use crate::load::shape::{Captured, Replay};
use crate::load::{
    Batches, Codec, LoadReport, LoadSettings, Measures, Pattern, Profile, Rate, ReadBack, Shape, Step, Tally,
};
use crate::stats::units;
use consumer::{Lane, Readers, Track};
use sender::{Sender, Sent};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use transactions::Transactions;

/// A rate that is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Offer {
    RecordsPerSecond(f64),
    /// Of batches as they travel.
    BytesPerSecond(f64),
}

/// What the batches are dated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timestamps {
    /// A minute before the start, and one ms later from batch to batch of a partition: the number of a batch can be told from it.
    #[default]
    Sequence,
    /// When they are sent.
    Now,
}

/// How a topic is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create {
    pub partitions: i32,
    /// -1: the cluster's default.
    pub replication_factor: i16,
    pub configs: BTreeMap<String, String>,
}

/// A captured shape that is sent again.
#[derive(Clone, Debug)]
pub struct Again {
    pub captured: Arc<Captured>,
    /// So many times as fast as it came.
    pub speed: f64,
    /// All that is due is sent, however late; otherwise what is too late is not.
    pub whole: bool,
}

impl Again {
    /// A topic of so many partitions has one for each of the shape's.
    fn fits(&self, partitions: usize) -> bool {
        partitions >= self.captured.partitions_max() as usize
    }

    fn schedule(&self, partitions: u32) -> Replay {
        Replay::new(Arc::clone(&self.captured), self.speed, partitions)
    }
}

#[derive(Clone, Debug)]
pub struct Settings {
    pub target: Cluster,
    /// Where it is read back from, if that is another cluster: a mirror is between them.
    pub read_from: Option<Cluster>,
    pub topics: Vec<String>,
    pub create: Option<Create>,
    /// Of a replay, only the seed counts.
    pub shape: Shape,
    pub replay: Option<Again>,
    pub timestamps: Timestamps,
    /// One after the other; none: as much as is taken.
    pub rates: Vec<Offer>,
    /// How long each of several rates holds.
    pub step_us: u64,
    pub pattern: Pattern,
    /// Records to send; None: as many as there is time for.
    pub records: Option<u64>,
    /// How long to send, the warm-up not counted.
    pub duration_us: Option<u64>,
    /// What is sent so long after the start is not measured.
    pub warmup_us: u64,
    /// Batches are parts of transactions; then `acks` is -1.
    pub transactions: Option<Transactional>,
    pub acks: i16,
    /// Unanswered requests to each broker.
    pub in_flight_max: usize,
    /// Batches for several partitions go in one request up to this size.
    pub request_bytes_max: usize,
    pub request_timeout_ms: u64,
    pub client_id: String,
    /// Read everything back, check it, and time its way.
    pub check: bool,
    pub tick_us: u64,
    pub hlog: Option<PathBuf>,
}

impl Settings {
    /// The schedule in batches; None at full speed.
    fn profile(&self, batches: &Batches) -> Option<Profile> {
        let rates: Vec<f64> = self.rates.iter().map(|offer| offer.batches_per_second(batches)).collect();
        (!rates.is_empty()).then_some(Profile { rates, step_us: self.step_us, pattern: self.pattern })
    }

    pub fn max_message_bytes(&self) -> usize {
        let batch_bytes = match &self.replay {
            Some(again) => again.captured.batch_bytes_max(),
            None => self.shape.batch_bytes,
        };
        (batch_bytes + (64 << 10)).max(1_048_588)
    }

    fn has_zstd(&self) -> bool {
        match &self.replay {
            Some(again) => again.captured.batches.iter().any(|seen| seen.codec == Codec::Zstd),
            None => self.shape.codec == Codec::Zstd,
        }
    }

    fn batches(&self, partitions: u32, first_timestamp_ms: i64) -> Result<Batches, String> {
        match &self.replay {
            Some(again) => {
                Batches::of_shape(self.shape.clone(), &again.captured, partitions, first_timestamp_ms)
            }
            None => Batches::new(self.shape.clone(), partitions, first_timestamp_ms),
        }
    }

    /// What a report says of the records: sizes, keys, codec.
    fn description(&self, batches: &Batches) -> (String, String, &'static str) {
        let Some(again) = &self.replay else {
            return (self.shape.sizes.to_string(), self.shape.keys.to_string(), self.shape.codec.name());
        };
        let seen = &again.captured.batches;
        let codec = seen.first().map_or(Codec::None, |first| first.codec);
        let is_mixed = seen.iter().any(|each| each.codec != codec);
        let sizes = format!("{:.0} B on average", batches.mean_value_bytes());
        (sizes, "no keys".into(), if is_mixed { "mixed" } else { codec.name() })
    }
}

impl Offer {
    fn batches_per_second(self, batches: &Batches) -> f64 {
        match self {
            Self::RecordsPerSecond(rate) => rate / batches.mean_records(),
            Self::BytesPerSecond(rate) => rate / batches.mean_bytes(),
        }
    }

    fn rate(self, batches: &Batches) -> Rate {
        let batches_per_second = self.batches_per_second(batches);
        Rate {
            records_per_second: batches_per_second * batches.mean_records(),
            bytes_per_second: batches_per_second * batches.mean_bytes(),
        }
    }
}

/// Is told of every acknowledged batch, and of every interval.
pub trait Watch {
    fn landed(&mut self, flight: &Flight, at_us: u64);
    fn tick(&mut self, tick: &Tick<'_>);
}

/// An interval that is over. Times are in µs since the start.
pub struct Tick<'a> {
    pub begin_us: u64,
    pub end_us: u64,
    pub measures: &'a Measures,
    /// Of everything up to here.
    pub total: &'a Measures,
    /// Batches that are due and wait.
    pub queued: usize,
    /// None at full speed.
    pub offered_batches_per_second: Option<f64>,
    /// Nothing follows.
    pub is_last: bool,
}

/// What came of a load.
pub struct Outcome {
    pub report: LoadReport,
    pub total: Measures,
    pub omb: OmbResult,
}

/// How long what was acknowledged may take to be read back.
const READ_BACK_PATIENCE: Duration = Duration::from_secs(20);
/// How often the leaders of a new topic are asked for, and the pause between.
const LEADERS_TRIES: u32 = 100;
const LEADERS_PAUSE: Duration = Duration::from_millis(100);

/// Sends the load. Once `stop` is set it ends, with what was measured until then. The error says why it could not begin.
pub fn run(settings: &Settings, watch: &mut dyn Watch, stop: &AtomicBool) -> Result<Outcome, String> {
    Generator::new(settings)?.run(settings, watch, stop)
}

/// Topics that are ready, and batches that are encoded: a load can be sent again and again, at any rate.
pub struct Generator {
    admin: Admin,
    partitions: u32,
    batches: Batches,
}

impl Generator {
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let timeout = Duration::from_millis(settings.request_timeout_ms);
        let mut admin = Admin::new(&settings.target, &settings.client_id, timeout);
        let partitions = make_ready(settings, &mut admin)?;
        let batches = settings.batches(partitions, 0)?;
        Ok(Self { admin, partitions, batches })
    }

    pub fn batches(&self) -> &Batches {
        &self.batches
    }

    /// Sends to the same topics as before, what was sent before having been read. See [`run`].
    pub fn run(
        &mut self,
        settings: &Settings,
        watch: &mut dyn Watch,
        stop: &AtomicBool,
    ) -> Result<Outcome, String> {
        let batches = self.batches.dated_from(clock::now().wall_ms - 60_000);
        send(settings, &mut self.admin, self.partitions, &batches, watch, stop)
    }
}

fn send(
    settings: &Settings,
    admin: &mut Admin,
    partitions: u32,
    batches: &Batches,
    watch: &mut dyn Watch,
    stop: &AtomicBool,
) -> Result<Outcome, String> {
    let timeout = Duration::from_millis(settings.request_timeout_ms);
    let ends = await_leaders(settings, admin, partitions, stop)?;
    let by_leader = match &settings.read_from {
        _ if !settings.check => BTreeMap::new(),
        None => lanes_by_leader(settings, admin, &ends)?,
        Some(other) => {
            let mut admin = Admin::new(other, &settings.client_id, timeout);
            admin.observe().map_err(|error| error.to_string())?;
            let ends = await_leaders(settings, &mut admin, partitions, stop)?;
            lanes_by_leader(settings, &admin, &ends)?
        }
    };
    let lanes = settings.topics.len() * partitions as usize;
    let track = Track::new(if settings.check { lanes } else { 0 });
    let mut recorder = Recorder::new(settings, watch)?;
    let readers = Readers {
        cluster: settings.read_from.as_ref().unwrap_or(&settings.target),
        client_id: &settings.client_id,
        timeout: timeout.max(Duration::from_secs(5)),
        batches,
        track: &track,
        has_markers: settings.transactions.is_some(),
        measured_from_us: clock::now().mono_us + settings.warmup_us,
    };
    let transactions = match &settings.transactions {
        Some(wanted) => Some(Transactions::begin(wanted, settings, partitions)?),
        None => None,
    };
    let (sent, read) = thread::scope(|scope| {
        let threads = readers.start(scope, by_leader).map_err(|error| error.to_string())?;
        let sender = Sender::new(settings, batches, admin, &track, partitions, stop, transactions);
        let sent = sender.run(&mut recorder);
        if let Ok(sent) = &sent {
            let expected = sent.counts.iter().sum::<u64>().saturating_sub(sent.total.failed_batches);
            await_read(&track, expected, stop, || threads.iter().any(thread::ScopedJoinHandle::is_finished));
        }
        track.over.store(true, Ordering::Relaxed);
        let ended =
            threads.into_iter().map(|thread| thread.join().map_err(|_| "a reader panicked".to_owned())?);
        let read: Result<Vec<consumer::Checkers>, String> = ended.collect();
        Ok::<_, String>((sent?, read))
    })?;
    finish(settings, batches, sent, read, &track, recorder, stop.load(Ordering::Relaxed))
}

/// Creates the topics if that is wanted. Returns how many partitions each has.
fn make_ready(settings: &Settings, admin: &mut Admin) -> Result<u32, String> {
    admin.observe().map_err(|error| error.to_string())?;
    if let Some(create) = &settings.create {
        let missing: Vec<&String> =
            settings.topics.iter().filter(|topic| !admin.observed().topics.contains_key(*topic)).collect();
        let mut configs = create.configs.clone();
        if settings.max_message_bytes() > 1_048_588 {
            let needed = settings.max_message_bytes().to_string();
            configs.entry("max.message.bytes".into()).or_insert(needed);
        }
        for topic in missing {
            admin
                .create_topic(topic, create.partitions, create.replication_factor, &configs)
                .map_err(|error| error.to_string())?;
        }
        await_topics(settings, admin)?;
    }
    let mut counts = BTreeMap::new();
    for topic in &settings.topics {
        let found = admin.observed().topics.get(topic).filter(|found| !found.partitions.is_empty());
        let found =
            found.ok_or_else(|| format!("there is no topic {topic}; add --create, or check the name"))?;
        counts.insert(found.partitions.len(), topic);
    }
    match (&settings.create, counts.pop_first()) {
        (_, None) => Err("there is no topic".into()),
        (_, Some((count, topic))) if !counts.is_empty() => {
            Err(format!("all topics must have as many partitions; {topic} has {count}, others have more"))
        }
        (_, Some((count, topic))) if settings.replay.as_ref().is_some_and(|again| !again.fits(count)) => {
            Err(format!(
                "{topic} has {count} partitions, and the shape needs {}; send it to a topic of another name, with --create",
                settings.replay.as_ref().map_or(0, |again| again.captured.partitions_max())
            ))
        }
        (Some(create), Some((count, topic)))
            if settings.replay.is_none() && count != create.partitions as usize =>
        {
            Err(format!("{topic} exists and has {count} partitions, not {}", create.partitions))
        }
        (_, Some((count, _))) => Ok(count as u32),
    }
}

/// A new topic takes a moment to appear in the metadata.
fn await_topics(settings: &Settings, admin: &mut Admin) -> Result<(), String> {
    for _ in 0..LEADERS_TRIES {
        admin.observe().map_err(|error| error.to_string())?;
        let topics = &admin.observed().topics;
        if settings
            .topics
            .iter()
            .all(|topic| topics.get(topic).is_some_and(|topic| !topic.partitions.is_empty()))
        {
            break;
        }
        thread::sleep(LEADERS_PAUSE);
    }
    Ok(())
}

type Ends = BTreeMap<(String, i32), i64>;

/// Metadata names the leaders of a new topic before the brokers know that they lead. Returns where the partitions end now.
fn await_leaders(
    settings: &Settings,
    admin: &mut Admin,
    partitions: u32,
    stop: &AtomicBool,
) -> Result<Ends, String> {
    let wanted: Vec<(String, i32)> = settings
        .topics
        .iter()
        .flat_map(|topic| (0..partitions as i32).map(|partition| (topic.clone(), partition)))
        .collect();
    let mut ends = Ends::new();
    for _ in 0..LEADERS_TRIES {
        ends = admin.end_offsets(&wanted);
        if ends.len() == wanted.len() {
            return Ok(ends);
        }
        if stop.load(Ordering::Relaxed) {
            return Err("stopped before anything was sent".into());
        }
        thread::sleep(LEADERS_PAUSE);
        admin.observe().map_err(|error| error.to_string())?;
    }
    let missing: Vec<String> = wanted
        .iter()
        .filter(|place| !ends.contains_key(*place))
        .take(5)
        .map(|(topic, partition)| format!("{topic}-{partition}"))
        .collect();
    Err(format!("no leader answers for {}; check that all brokers are up", missing.join(", ")))
}

fn lanes_by_leader(
    settings: &Settings,
    admin: &Admin,
    ends: &Ends,
) -> Result<BTreeMap<Address, Vec<Lane>>, String> {
    let observed = admin.observed();
    let mut lanes: BTreeMap<Address, Vec<Lane>> = BTreeMap::new();
    let mut number = 0;
    for topic in &settings.topics {
        let partitions = observed.topics.get(topic).map(|topic| &topic.partitions[..]).unwrap_or_default();
        for (partition, state) in (0..).zip(partitions) {
            let leader = observed.brokers.get(&state.leader);
            let leader = leader.ok_or_else(|| format!("{topic}-{partition} has no leader"))?;
            let first_offset = ends.get(&(topic.clone(), partition)).copied().unwrap_or(0);
            let lane = Lane { number, topic: topic.clone(), partition, first_offset };
            lanes.entry(leader.clone()).or_default().push(lane);
            number += 1;
        }
    }
    Ok(lanes)
}

/// Waits until so many batches have been read, or nothing comes any more, or a reader has given up.
fn await_read(track: &Track, expected: u64, stop: &AtomicBool, has_failed: impl Fn() -> bool) {
    let patience_us = READ_BACK_PATIENCE.as_micros() as u64;
    let (mut seen, mut since_us) = (track.batches(), clock::now().mono_us);
    while !track.is_idle() && track.batches() < expected && !has_failed() {
        thread::sleep(Duration::from_millis(5));
        let now_us = clock::now().mono_us;
        if track.batches() != seen {
            (seen, since_us) = (track.batches(), now_us);
        }
        let patience_us = if stop.load(Ordering::Relaxed) { patience_us / 10 } else { patience_us };
        if now_us - since_us > patience_us {
            break;
        }
    }
}

fn finish(
    settings: &Settings,
    batches: &Batches,
    mut sent: Sent,
    read: Result<Vec<consumer::Checkers>, String>,
    track: &Track,
    recorder: Recorder<'_>,
    was_stopped: bool,
) -> Result<Outcome, String> {
    track.collect(&mut sent.total);
    let mut troubles: Vec<String> = sent.trouble.iter().cloned().collect();
    let checked = match read {
        Ok(checkers) if settings.check => {
            let mut tally = Tally::default();
            checkers.iter().for_each(|checkers| tally += checkers.tally(&sent.counts));
            Some(ReadBack { batches_sent: sent.counts.iter().sum(), tally })
        }
        Ok(_) => None,
        Err(error) => {
            troubles.push(format!("reading back: {error}"));
            None
        }
    };
    let (omb, hlog) = recorder.finish();
    troubles.extend(hlog.err());
    let partial = was_stopped || sent.trouble.is_some();
    let Measures { records, batches: batch_count, wire_bytes, value_bytes, .. } = sent.total;
    let [from_intended, from_sent, delay] = LoadReport::percentiles_of(&sent.total);
    let mean_bytes_per_record = batches.mean_bytes() / batches.mean_records().max(1.0);
    let scheduled_seconds = settings.duration_us.map_or(sent.seconds, |us| us as f64 / 1e6).min(sent.seconds);
    let offered = sent.offered_records.map(|records| match settings.rates[..] {
        [offer] => offer.rate(batches),
        _ => Rate::of(records, (records as f64 * mean_bytes_per_record) as u64, scheduled_seconds),
    });
    let (record_bytes, keys, codec) = settings.description(batches);
    let step_seconds = settings.step_us as f64 / 1e6;
    let steps = settings.rates.iter().zip(&sent.steps).map(|(offer, step)| Step {
        offered: offer.rate(batches),
        achieved: Rate::of(step.records, step.wire_bytes, step_seconds),
        from_intended: step.from_intended.percentiles(),
    });
    let report = LoadReport {
        version: env!("CARGO_PKG_VERSION"),
        partial,
        trouble: (!troubles.is_empty()).then(|| troubles.join("; ")),
        load: LoadSettings {
            topics: settings.topics.clone(),
            partitions: (sent.counts.len() / settings.topics.len().max(1)) as u32,
            record_bytes,
            keys,
            codec,
            records_per_batch: batches.mean_records(),
            batch_wire_bytes: batches.mean_bytes() as u64,
            acks: settings.acks,
            seed: settings.shape.seed,
            first_timestamp_ms: (settings.timestamps == Timestamps::Sequence)
                .then_some(batches.first_timestamp_ms()),
        },
        offered,
        achieved: Rate::of(records, wire_bytes, sent.seconds),
        seconds: sent.seconds,
        records,
        batches: batch_count,
        wire_bytes,
        value_bytes,
        failed_records: sent.total.failed_records,
        unsent_records: sent.unsent_records,
        throttled_ms: sent.throttled_ms,
        transactions: sent.transactions,
        sender_cpu_seconds: sent.cpu_us as f64 / 1e6,
        from_intended,
        from_sent,
        delay,
        end_to_end: checked.map(|_| sent.total.end_to_end.percentiles()),
        steps: steps.collect(),
        checked,
    };
    Ok(Outcome { report, total: sent.total, omb })
}

/// Keeps what goes into files, and passes on what it is told.
struct Recorder<'a> {
    watch: &'a mut dyn Watch,
    hlog: Option<Hlog>,
    has_reader: bool,
    omb: OmbResult,
    period: Measures,
    period_begin_us: u64,
    warmup_us: u64,
}

impl<'a> Recorder<'a> {
    fn new(settings: &Settings, watch: &'a mut dyn Watch) -> Result<Self, String> {
        let comment = "twinlog load; without a tag: from the intended send to the acknowledgement";
        let start_ms = clock::now().wall_ms;
        let hlog = settings.hlog.as_ref().map(|path| Hlog::create(path, start_ms, comment)).transpose()?;
        Ok(Self {
            watch,
            hlog,
            has_reader: settings.check,
            omb: OmbResult::default(),
            period: Measures::default(),
            period_begin_us: settings.warmup_us,
            warmup_us: settings.warmup_us,
        })
    }

    fn finish(self) -> (OmbResult, Result<(), String>) {
        (self.omb, self.hlog.map_or(Ok(()), Hlog::finish))
    }

    fn end_period(&mut self, end_us: u64) {
        let seconds = end_us.saturating_sub(self.period_begin_us) as f64 / 1e6;
        self.omb.period(&self.period, seconds);
        self.period.clear();
        self.period_begin_us = end_us;
    }
}

impl Watch for Recorder<'_> {
    fn landed(&mut self, flight: &Flight, at_us: u64) {
        self.watch.landed(flight, at_us);
    }

    fn tick(&mut self, tick: &Tick<'_>) {
        self.watch.tick(tick);
        let Tick { begin_us, end_us, measures, is_last, .. } = *tick;
        if let Some(hlog) = &mut self.hlog {
            hlog.add(None, &measures.from_intended, begin_us, end_us);
            hlog.add(Some("from-sent"), &measures.from_sent, begin_us, end_us);
            hlog.add(Some("delay"), &measures.delay, begin_us, end_us);
            if self.has_reader {
                hlog.add(Some("end-to-end"), &measures.end_to_end, begin_us, end_us);
            }
        }
        if end_us > self.warmup_us {
            self.period.merge(measures);
            // The last one may be short; one of a few ms says nothing.
            let length_us = end_us.saturating_sub(self.period_begin_us);
            if length_us >= PERIOD_US || (is_last && (length_us >= PERIOD_US / 10 || self.omb.is_empty())) {
                self.end_period(end_us);
            }
        }
    }
}

/// Shows how it goes on stderr: a live line on a terminal, a log line every few seconds elsewhere.
pub struct Show<'a> {
    progress: &'a Progress,
    next_us: u64,
    last_us: u64,
    recent: Measures,
    records_per_batch: f64,
}

const SHOW_EVERY_US: u64 = 5_000_000;

impl<'a> Show<'a> {
    pub fn new(progress: &'a Progress) -> Self {
        let every_us = if progress.is_live() { 1_000_000 } else { SHOW_EVERY_US };
        Self { progress, next_us: every_us, last_us: 0, recent: Measures::default(), records_per_batch: 0.0 }
    }
}

impl Watch for Show<'_> {
    fn landed(&mut self, _: &Flight, _: u64) {}

    fn tick(&mut self, tick: &Tick<'_>) {
        self.recent.merge(tick.measures);
        if tick.end_us + 1_000 < self.next_us {
            return;
        }
        let every_us = if self.progress.is_live() { 1_000_000 } else { SHOW_EVERY_US };
        self.next_us = tick.end_us + every_us;
        let seconds = (tick.end_us - self.last_us).max(1) as f64 / 1e6;
        self.last_us = tick.end_us;
        let Measures { records, wire_bytes, batches, failed_records, from_intended, .. } = &self.recent;
        if *batches > 0 {
            self.records_per_batch = *records as f64 / *batches as f64;
        }
        let mut text = format!(
            "{:.0} s: {}, {}",
            tick.end_us as f64 / 1e6,
            units::rate(*records as f64 / seconds, "records"),
            units::byte_rate(*wire_bytes as f64 / seconds)
        );
        if let Some(offered) = tick.offered_batches_per_second.filter(|_| self.records_per_batch > 0.0) {
            text += &format!(
                " (offered {}), {} batches waiting",
                units::rate(offered * self.records_per_batch, "records"),
                units::count(tick.queued as u64)
            );
        }
        text += &format!(
            "; p50 {}, p99 {}, max {}",
            units::us(from_intended.at_us(0.5)),
            units::us(from_intended.at_us(0.99)),
            units::us(from_intended.max_us())
        );
        if *failed_records > 0 {
            text += &format!("; {} records FAILED", units::count(*failed_records));
        }
        self.progress.begin(&text);
        self.recent.clear();
    }
}

#[cfg(test)]
mod tests;
