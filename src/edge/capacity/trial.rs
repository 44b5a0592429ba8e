//! One rate, tried: a load into the source, read back from the target, with everything looked at that could be the limit.

use super::Settings;
use super::stage::Stage;
use super::threads::{Sample, busiest};
use crate::config::Mirror;
use crate::edge::clock;
use crate::edge::load::{self, Again, Create, Flight, Generator, Offer, Outcome, Tick, Timestamps, Watch};
use crate::edge::progress::Progress;
use crate::load::capacity::{Evidence, Tried};
use crate::load::{Codec, Pattern, Rate, Shape};
use crate::stats::{Counters, Latency, Report, units};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// A mirror that is further behind than this does not keep up, whatever the SLO.
const BEHIND_SECONDS: f64 = 2.0;
/// In synthetic clusters, which keep only so much.
const BEHIND_BYTES: f64 = 256e6;
/// What need not be sent of what was due: what is sent late shows in the latency.
const UNSENT_MAX: f64 = 0.005;
const TICK_US: u64 = 100_000;
/// Batches a second of the probe, and their size.
const PROBES: f64 = 50.0;
const PROBE_BYTES: usize = 256;
const IN_FLIGHT_MAX: usize = 16;

/// What control of the mirror said last, and the most that it held since somebody asked.
#[derive(Debug, Default)]
pub struct Heard {
    pub report: Report,
    pub buffered_bytes: u64,
}

/// The mirror at work, and who may end it.
#[derive(Clone, Copy)]
pub struct Link<'a> {
    pub settings: &'a Settings,
    pub stage: &'a Stage,
    pub mirror: &'a Mirror,
    pub heard: &'a Mutex<Heard>,
    pub stop: &'a AtomicBool,
    /// The mirror has ended.
    pub over: &'a AtomicBool,
    pub progress: &'a Progress,
}

pub struct Trial<'a> {
    link: Link<'a>,
    /// Source and target.
    pub brokers: (usize, usize),
    round_trips_us: (u64, u64),
    generator: Generator,
    probe: Generator,
}

impl<'a> Trial<'a> {
    pub fn new(link: Link<'a>, generator: Generator) -> Result<Self, String> {
        let brokers = link.stage.brokers()?;
        let probe = Generator::new(&probe_settings(link.settings, link.stage, brokers.1, 0))?;
        Ok(Self { link, brokers, round_trips_us: link.stage.round_trips_us(), generator, probe })
    }

    pub fn mean_batch_bytes(&self) -> f64 {
        self.generator.batches().mean_bytes()
    }

    pub fn records_per_batch(&self) -> f64 {
        self.generator.batches().mean_records()
    }

    pub fn mean_value_bytes(&self) -> f64 {
        self.generator.batches().mean_value_bytes()
    }

    /// Bytes a second, as records and bytes.
    pub fn rate(&self, bytes_per_second: f64) -> Rate {
        let records_per_second = bytes_per_second / self.mean_batch_bytes() * self.records_per_batch();
        Rate { records_per_second, bytes_per_second }
    }

    /// Tries a rate for so long. None: it was stopped.
    pub fn run(&mut self, what: &str, rate: f64, us: u64) -> Result<Option<Tried>, String> {
        let settings = self.link.settings.load(self.link.stage, Some(rate), us);
        let halt = AtomicBool::new(false);
        let mean_batch_bytes = self.mean_batch_bytes();
        let mut watcher = Watcher {
            begin: None,
            end: None,
            due_bytes: 0.0,
            behind: None,
            what,
            rate,
            mean_batch_bytes,
            warmup_us: settings.warmup_us,
            halt: &halt,
            stop: self.link.stop,
            over: self.link.over,
            progress: self.link.progress,
            heard: self.link.heard,
            bound_bytes: self.bound_bytes(rate),
        };
        let probe_us = settings.warmup_us + us;
        let probe_settings = probe_settings(self.link.settings, self.link.stage, self.brokers.1, probe_us);
        let (generator, probe) = (&mut self.generator, &mut self.probe);
        let (outcome, probed) = thread::scope(|scope| {
            let halt = &halt;
            let probing = thread::Builder::new()
                .name("probe".into())
                .spawn_scoped(scope, move || probe.run(&probe_settings, &mut Deaf, halt));
            let outcome = generator.run(&settings, &mut watcher, halt);
            // Without the load the probe would measure a quiet broker.
            halt.store(true, Ordering::Relaxed);
            let probed = probing
                .map_err(|error| error.to_string())
                .and_then(|probing| probing.join().map_err(|_| "the probe panicked".to_owned())?);
            (outcome, probed)
        });
        if self.link.over.load(Ordering::Relaxed) {
            return Err("the mirror has ended".into());
        }
        let outcome = outcome?;
        if self.link.stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let behind = watcher.behind.take();
        let evidence = self.evidence(&watcher, &outcome, probed.ok().map(|probed| probed.total.from_sent));
        self.link.stage.await_level(self.link.stop, || self.link.over.load(Ordering::Relaxed)).or_else(
            |problem| {
                // Who stopped it knows that it did not end.
                if self.link.stop.load(Ordering::Relaxed) { Ok(()) } else { Err(problem) }
            },
        )?;
        Ok(Some(self.judge(rate, &outcome, behind, evidence)))
    }

    /// Bytes that the mirror may be behind before a trial is given up.
    fn bound_bytes(&self, rate: f64) -> f64 {
        let seconds = BEHIND_SECONDS.max(self.link.settings.slo.limit_us() as f64 / 1e6 * 4.0);
        // A shape has its bursts.
        let peak = if self.link.settings.replay.is_some() { 4.0 } else { 1.0 };
        let bytes = rate * seconds * peak + 4.0 * self.mean_batch_bytes();
        if self.link.stage.is_embedded() { bytes.min(BEHIND_BYTES) } else { bytes }
    }

    fn judge(&self, rate: f64, outcome: &Outcome, behind: Option<f64>, evidence: Evidence) -> Tried {
        let report = &outcome.report;
        let latency = &outcome.total.end_to_end;
        let tally = report.checked.map(|checked| checked.tally).unwrap_or_default();
        let offered = self.rate(rate);
        let due = report.records + report.unsent_records;
        let missed = match self.link.settings.slo.missed(latency) {
            _ if behind.is_some() => {
                let bytes = behind.unwrap_or(0.0);
                Some(format!("given up, {} behind", units::bytes(bytes as u64)))
            }
            _ if report.failed_records > 0 => {
                Some(format!("the source refused {} records", units::count(report.failed_records)))
            }
            _ if !tally.is_perfect() => Some(format!(
                "{} batches lost, {} doubled, {} out of order, {} changed",
                tally.lost, tally.duplicated, tally.reordered, tally.corrupted
            )),
            _ if report.trouble.is_some() => report.trouble.clone(),
            Some((goal, us)) => Some(format!("{} is {}", goal.name(), units::us(us))),
            None if report.unsent_records as f64 > UNSENT_MAX * due as f64 => Some(format!(
                "{} records that were due could not be sent",
                units::count(report.unsent_records)
            )),
            None if latency.count() == 0 => Some("nothing arrived".into()),
            None => None,
        };
        Tried {
            seconds: report.seconds,
            offered,
            achieved: report.achieved,
            missed,
            latency: latency.percentiles(),
            source: outcome.total.from_sent.percentiles(),
            evidence,
        }
    }

    fn evidence(&self, watcher: &Watcher<'_>, outcome: &Outcome, probed: Option<Latency>) -> Evidence {
        let quantile = self.link.settings.slo.quantile();
        let mut evidence = Evidence {
            slo_us: self.link.settings.slo.limit_us(),
            source_answer_us: outcome.total.from_sent.at_us(quantile),
            target_answer_us: probed
                .filter(|latency| latency.count() > 0)
                .map(|latency| latency.at_us(quantile)),
            source_round_trip_us: self.round_trips_us.0,
            target_round_trip_us: self.round_trips_us.1,
            buffer_bytes: self.link.mirror.buffer_bytes as u64,
            fetch_bytes_max: self.link.mirror.fetch_bytes_max as f64,
            ..Evidence::default()
        };
        let (Some(begin), Some(end)) = (&watcher.begin, &watcher.end) else { return evidence };
        let named =
            |name: &'static str| end.threads.since(&begin.threads, move |_, found| found.starts_with(name));
        evidence.seconds = (end.at_us - begin.at_us) as f64 / 1e6;
        let me = end.threads.since(&begin.threads, |id, _| id == end.sender);
        evidence.sender_busy = busiest(me).ran;
        evidence.reader_busy = busiest(named("reader")).ran;
        let shard = busiest(named("shard"));
        (evidence.shard_busy, evidence.shard_waiting) = (shard.ran, shard.waited);
        evidence.machine_busy = end.threads.machine_busy_since(&begin.threads);
        evidence.mirror_busy = named("shard").chain(named("mirror")).map(|share| share.ran).sum();
        if let Some((source, target)) = self.link.stage.broker_threads() {
            let busy = |ids: &super::threads::Ids| {
                busiest(end.threads.since(&begin.threads, |id, _| ids.contains(&id))).ran
            };
            (evidence.source_broker_busy, evidence.target_broker_busy) =
                (Some(busy(source)), Some(busy(target)));
        }
        // A mirror that lost its lease begins to count anew.
        let (from, to): (&Counters, &Counters) = (&begin.report.totals, &end.report.totals);
        let heard_seconds = end.report.elapsed_us.saturating_sub(begin.report.elapsed_us) as f64 / 1e6;
        let fetches = to.fetch_requests.saturating_sub(from.fetch_requests) as f64;
        if fetches > 0.0 && heard_seconds > 0.0 {
            evidence.fetch_bytes = to.bytes.saturating_sub(from.bytes) as f64 / fetches;
            let connections = (self.link.mirror.cores.len().max(1) * self.brokers.0.max(1)) as f64;
            evidence.fetches_per_second = fetches / heard_seconds / connections;
        }
        evidence.throttled_ms =
            outcome.report.throttled_ms + to.throttled_ms.saturating_sub(from.throttled_ms);
        evidence.buffered_bytes = end.buffered_bytes;
        evidence
    }
}

/// A moment of a trial.
struct Moment {
    at_us: u64,
    threads: Sample,
    /// The thread that sends.
    sender: u64,
    report: Report,
    buffered_bytes: u64,
}

/// Looks at everything at the begin and the end of the measured time, and gives up what is out of reach.
struct Watcher<'a> {
    begin: Option<Moment>,
    end: Option<Moment>,
    /// By the schedule, since the start.
    due_bytes: f64,
    /// How far the mirror was behind when it was given up.
    behind: Option<f64>,
    what: &'a str,
    rate: f64,
    mean_batch_bytes: f64,
    warmup_us: u64,
    halt: &'a AtomicBool,
    stop: &'a AtomicBool,
    over: &'a AtomicBool,
    progress: &'a Progress,
    heard: &'a Mutex<Heard>,
    bound_bytes: f64,
}

impl Watcher<'_> {
    fn moment(&self) -> Moment {
        let at_us = clock::now().mono_us;
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let buffered_bytes = std::mem::take(&mut heard.buffered_bytes);
        Moment {
            at_us,
            threads: Sample::take(at_us),
            sender: rustix::thread::gettid().as_raw_nonzero().get() as u64,
            report: heard.report.clone(),
            buffered_bytes,
        }
    }
}

impl Watch for Watcher<'_> {
    fn landed(&mut self, _: &Flight, _: u64) {}

    fn tick(&mut self, tick: &Tick<'_>) {
        let seconds = (tick.end_us - tick.begin_us) as f64 / 1e6;
        self.due_bytes += tick.offered_batches_per_second.unwrap_or(0.0) * seconds * self.mean_batch_bytes;
        let behind = self.due_bytes - tick.total.consumed_bytes as f64;
        if behind > self.bound_bytes && self.behind.is_none() {
            self.behind = Some(behind);
            self.halt.store(true, Ordering::Relaxed);
        }
        if self.stop.load(Ordering::Relaxed) || self.over.load(Ordering::Relaxed) {
            self.halt.store(true, Ordering::Relaxed);
        }
        // A trial that is given up early has only its warm-up to look at.
        if self.begin.is_none() || is_first_of(tick, self.warmup_us) {
            self.begin = Some(self.moment());
        } else if self.end.is_none() && (tick.is_last || self.halt.load(Ordering::Relaxed)) {
            self.end = Some(self.moment());
        }
        let latency = &tick.total.end_to_end;
        self.progress.update(|| {
            format!(
                "{} {}: {:.0} s, p50 {}, p99 {}, {} behind",
                self.what,
                units::byte_rate(self.rate),
                tick.end_us as f64 / 1e6,
                units::us(latency.at_us(0.5)),
                units::us(latency.at_us(0.99)),
                units::bytes(behind.max(0.0) as u64)
            )
        });
    }
}

/// The interval in which the measured time begins.
fn is_first_of(tick: &Tick<'_>, warmup_us: u64) -> bool {
    tick.begin_us < warmup_us && tick.end_us >= warmup_us && !tick.is_last
}

struct Deaf;

impl Watch for Deaf {
    fn landed(&mut self, _: &Flight, _: u64) {}
    fn tick(&mut self, _: &Tick<'_>) {}
}

impl Settings {
    /// The load at a rate, or one that only makes its topics.
    pub fn load(&self, stage: &Stage, rate: Option<f64>, us: u64) -> load::Settings {
        let replay = self.replay.as_ref().map(|captured| {
            let base = captured.bytes_per_second().max(1.0);
            Again { captured: captured.clone(), speed: rate.map_or(1.0, |rate| rate / base), whole: false }
        });
        let rates = match (&replay, rate) {
            (None, Some(rate)) => vec![Offer::BytesPerSecond(rate)],
            _ => Vec::new(),
        };
        load::Settings {
            target: stage.source.clone(),
            read_from: Some(stage.target.clone()),
            topics: stage.topics.clone(),
            create: Some(Create {
                partitions: stage.partitions as i32,
                replication_factor: self.replication_factor.unwrap_or(-1),
                configs: super::stage::topic_configs(),
            }),
            shape: self.shape.clone(),
            replay,
            timestamps: Timestamps::Sequence,
            rates,
            step_us: 0,
            pattern: self.arrivals,
            records: None,
            duration_us: Some(us),
            warmup_us: self.warmup_us,
            transactions: None,
            acks: -1,
            in_flight_max: IN_FLIGHT_MAX,
            request_bytes_max: 1 << 20,
            request_timeout_ms: 30_000,
            client_id: "twinlog-capacity".into(),
            check: true,
            tick_us: TICK_US,
            hlog: None,
        }
    }
}

/// A few small batches a second to every broker of the target: what its answers take.
fn probe_settings(settings: &Settings, stage: &Stage, brokers: usize, us: u64) -> load::Settings {
    load::Settings {
        target: stage.target.clone(),
        read_from: None,
        topics: vec![stage.probe_topic()],
        create: Some(Create {
            partitions: brokers.max(1) as i32,
            replication_factor: settings.replication_factor.unwrap_or(-1),
            configs: BTreeMap::new(),
        }),
        shape: Shape::plain(PROBE_BYTES, PROBE_BYTES / 2, Codec::None, 50),
        replay: None,
        timestamps: Timestamps::Now,
        rates: vec![Offer::BytesPerSecond(PROBES * PROBE_BYTES as f64)],
        pattern: Pattern::Poisson,
        duration_us: Some(us),
        warmup_us: 0,
        check: false,
        tick_us: 1_000_000,
        ..settings.load(stage, None, us)
    }
}
