//! `twinlog bench`: a load into the source, the mirror in between, and a judge at the target.
//!
//! [`run`] sets the stage and measures, `drive` sends and judges, an [`Inlet`] and an [`Outlet`] are the doors to the clusters.

mod drive;
mod embedded;
mod external;
mod wire;

use super::progress::Progress;
use super::{clock, usage};
use crate::config::{Address, Draft, Mirror, Mover};
use crate::limits::BATCH_HEADER_BYTES;
use crate::load::{Batches, BenchReport, Checked, LatencyRun, LoadFacts, MirrorFacts, Shape, Throughput};
use crate::stats::units;
use bytes::Bytes;
use drive::{Course, Verdict};
use smallvec::SmallVec;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, available_parallelism};

/// What to measure.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Source and target to use; None: two synthetic clusters inside this process.
    pub external: Option<(Vec<Address>, Vec<Address>)>,
    /// Bytes to send at full speed; 0: none.
    pub size_bytes: u64,
    /// How long to send at an even rate; 0: not at all.
    pub seconds: u64,
    /// The even rate; None: half of what full speed was.
    pub bytes_per_second: Option<f64>,
    pub partitions: u32,
    pub shape: Shape,
    pub cores: Vec<usize>,
    pub mover: Mover,
    pub buffer_bytes: usize,
}

impl Settings {
    fn record_bytes(&self) -> usize {
        self.shape.sizes.mean() as usize
    }
}

/// The door through which the load goes into the source.
pub trait Inlet {
    /// Appends one batch to the source partition.
    fn send(
        &mut self,
        partition: u32,
        header: [u8; BATCH_HEADER_BYTES],
        payload: Bytes,
    ) -> Result<(), String>;
}

/// The door at which the judge waits, on the target.
pub trait Outlet: Send {
    /// Puts everything that is new into `arrived`, each partition's batches in order.
    fn receive(&mut self, arrived: &mut Vec<Arrived>) -> Result<(), String>;
}

/// A batch as it stands on the target.
pub struct Arrived {
    pub partition: u32,
    pub header: [u8; BATCH_HEADER_BYTES],
    pub payload: SmallVec<[Bytes; 2]>,
}

/// Kafka's `max.message.bytes` for the topic of the load: its default, or more where the batches need it.
fn max_message_bytes(settings: &Settings) -> usize {
    (settings.shape.batch_bytes + (64 << 10)).max(1_048_588)
}

/// Two clusters and the doors to them.
struct Stage<I, O> {
    source: Vec<Address>,
    target: Vec<Address>,
    topic: String,
    inlet: I,
    outlet: O,
    /// What the clusters surely keep: more must never be under way.
    window_bytes: u64,
    /// They live in this process.
    embedded: bool,
}

/// What is measured: mirrors as told until the flag is set.
pub type RunMirror<'a> = &'a (dyn Fn(&Mirror, &AtomicBool) -> Result<(), String> + Sync);

/// The largest batch, before compression.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// Threads whose CPU time is the mirror's: its shards, and its control thread, which is started here.
const MIRROR_THREADS: [&str; 2] = ["shard", "mirror"];

/// Measures the mirror. Once `stop` is set, gives up. The error says what went wrong.
pub fn run(
    settings: &Settings,
    mirror: RunMirror<'_>,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<BenchReport, String> {
    match settings.external.clone() {
        None => {
            let clusters = embedded::Clusters::start(settings)?;
            let report = measure(settings, clusters.stage(), mirror, stop, progress);
            clusters.stop();
            report
        }
        Some((source, target)) => {
            let clusters = external::Clusters::new(source, target);
            let report =
                clusters.stage(settings).and_then(|stage| measure(settings, stage, mirror, stop, progress));
            clusters.clean_up();
            report
        }
    }
}

/// Why these settings make no sense, if they do not.
pub fn problem(settings: &Settings) -> Option<&'static str> {
    if settings.size_bytes == 0 && settings.seconds == 0 {
        Some("--size 0 and --seconds 0 leave nothing to measure")
    } else if settings.size_bytes == 0 && settings.bytes_per_second.is_none() {
        Some("--size 0 leaves out the part that the rate of the second part comes from; add --rate MB/S")
    } else if settings.record_bytes() > settings.shape.batch_bytes {
        Some("--record-bytes is more than --batch-bytes; a batch must hold a record")
    } else if settings.record_bytes() == 0 {
        Some("--record-bytes must not be 0")
    } else if settings.shape.batch_bytes > BATCH_BYTES_MAX {
        Some("--batch-bytes must be 16MiB or less")
    } else {
        None
    }
}

fn measure<I: Inlet, O: Outlet>(
    settings: &Settings,
    mut stage: Stage<I, O>,
    run_mirror: RunMirror<'_>,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<BenchReport, String> {
    let config = mirror_config(settings, &stage)?;
    // Dated shortly before now: old enough not to lie in the future, young enough to be today's data.
    let batches = Batches::new(settings.shape.clone(), settings.partitions, clock::now().wall_ms - 60_000)?;
    let over = AtomicBool::new(false);
    let course = Course::new(&batches, settings.partitions, stage.window_bytes, &over);
    let stop_mirror = AtomicBool::new(false);

    let (sent, trouble, verdict, mirrored) = thread::scope(|scope| {
        let mirror = thread::Builder::new().name("mirror".into()).spawn_scoped(scope, || {
            let ended = run_mirror(&config, &stop_mirror);
            over.store(true, Ordering::Relaxed);
            ended
        });
        let judge = thread::Builder::new()
            .name("judge".into())
            .spawn_scoped(scope, || course.judge(&mut stage.outlet));
        let mut sender = Sender {
            settings,
            course: &course,
            inlet: &mut stage.inlet,
            stop,
            over: &over,
            progress,
            mean_bytes: batches.mean_bytes(),
        };
        let mut sent = Sent::default();
        let trouble = sender.send_everything(&batches, &mut sent).err();
        over.store(true, Ordering::Relaxed);
        let verdict = judge.map_err(|error| error.to_string()).map(thread::ScopedJoinHandle::join);
        stop_mirror.store(true, Ordering::Relaxed);
        let mirrored = mirror.map_err(|error| error.to_string()).map(thread::ScopedJoinHandle::join);
        (sent, trouble, verdict, mirrored)
    });
    let died = |_| "a thread of the benchmark panicked".to_owned();
    mirrored?.map_err(died)?.map_err(|error| format!("the mirror failed: {error}"))?;
    let verdict = verdict?.map_err(died)??;
    if stop.load(Ordering::Relaxed) {
        return Err("interrupted".into());
    }
    Ok(BenchReport { trouble, ..report(settings, stage.embedded, &batches, &course, &sent, &verdict) })
}

fn mirror_config<I, O>(settings: &Settings, stage: &Stage<I, O>) -> Result<Mirror, String> {
    let draft = Draft {
        source: Some(stage.source.clone()),
        target: Some(stage.target.clone()),
        topics: Some(vec![crate::config::text::pattern(&regex::escape(&stage.topic))?]),
        link: Some(stage.topic.clone()),
        mover: Some(settings.mover),
        cores: Some(settings.cores.clone()),
        buffer_bytes: Some(settings.buffer_bytes),
        ..Draft::default()
    };
    draft.build().map_err(|error| error.to_string())
}

/// How long the parts took.
#[derive(Default)]
struct Sent {
    throughput: Option<Throughput>,
    /// Offered bytes a second, and the time until everything had arrived.
    even: Option<(f64, f64)>,
}

struct Sender<'a, I> {
    settings: &'a Settings,
    course: &'a Course<'a>,
    inlet: &'a mut I,
    stop: &'a AtomicBool,
    over: &'a AtomicBool,
    progress: &'a Progress,
    mean_bytes: f64,
}

impl<I: Inlet> Sender<'_, I> {
    fn send_everything(&mut self, batches: &Batches, sent: &mut Sent) -> Result<(), String> {
        let partitions = u64::from(self.settings.partitions);
        self.progress.begin("waiting for the mirror to get going");
        self.full_speed("warming up", 0, 1)?;
        let mut first = 1;
        if self.settings.size_bytes > 0 {
            let rounds =
                (self.settings.size_bytes as f64 / self.mean_bytes / partitions as f64).ceil() as u64;
            self.progress.begin(&format!("sending {} at full speed", units::bytes(self.settings.size_bytes)));
            let bytes_before = self.course.sent_bytes();
            let cpu_before_us = usage::cpu_us_of_threads(&MIRROR_THREADS);
            let seconds = self.full_speed("full speed", first, rounds)?;
            let cpu_us = usage::cpu_us_of_threads(&MIRROR_THREADS).saturating_sub(cpu_before_us);
            sent.throughput = Some(Throughput::new(
                self.course.sent_bytes() - bytes_before,
                rounds * partitions,
                batches.records_per_batch(),
                seconds,
                cpu_us as f64 / 1e6,
            ));
            first += rounds;
        }
        if self.settings.seconds > 0 {
            let half = sent.throughput.map(|full| full.bytes_per_second / 2.0);
            let offered = self.settings.bytes_per_second.or(half).ok_or("no rate is known")?;
            self.progress.begin(&format!(
                "sending {} for {} s",
                units::byte_rate(offered),
                self.settings.seconds
            ));
            sent.even = Some((offered, self.even_rate(first, offered)?));
        }
        Ok(())
    }

    /// Returns the seconds until everything was judged.
    fn full_speed(&mut self, what: &str, first: u64, rounds: u64) -> Result<f64, String> {
        let start_us = clock::now().mono_us;
        let mut tell =
            teller(self.stop, self.over, self.progress, what, self.course.judged(), self.mean_bytes);
        self.course.send_at_full_speed(self.inlet, first, rounds, &mut tell)?;
        self.course.await_judged((first + rounds) * u64::from(self.settings.partitions), &mut tell)?;
        Ok((clock::now().mono_us - start_us) as f64 / 1e6)
    }

    fn even_rate(&mut self, first: u64, bytes_per_second: f64) -> Result<f64, String> {
        let start_us = clock::now().mono_us;
        let mut tell =
            teller(self.stop, self.over, self.progress, "even rate", self.course.judged(), self.mean_bytes);
        let batches_per_second = bytes_per_second / self.mean_bytes;
        let rounds = self.course.send_by_schedule(
            self.inlet,
            first,
            batches_per_second,
            self.settings.seconds,
            &mut tell,
        )?;
        self.course.await_judged((first + rounds) * u64::from(self.settings.partitions), &mut tell)?;
        Ok((clock::now().mono_us - start_us) as f64 / 1e6)
    }
}

/// Shows progress a few times a second, and ends everything when the user wants that.
fn teller<'a>(
    stop: &'a AtomicBool,
    over: &'a AtomicBool,
    progress: &'a Progress,
    what: &'a str,
    judged_before: u64,
    mean_bytes: f64,
) -> impl FnMut(u64) + 'a {
    let start_us = clock::now().mono_us;
    let mut next_us = start_us;
    move |judged| {
        if stop.load(Ordering::Relaxed) {
            over.store(true, Ordering::Relaxed);
        }
        let now_us = clock::now().mono_us;
        if now_us >= next_us {
            next_us = now_us + 250_000;
            let seconds = (now_us - start_us).max(1) as f64 / 1e6;
            let bytes = (judged - judged_before) as f64 * mean_bytes;
            progress.update(|| {
                format!(
                    "{what}: {} arrived, {}",
                    units::bytes(bytes as u64),
                    units::byte_rate(bytes / seconds)
                )
            });
        }
    }
}

fn report(
    settings: &Settings,
    embedded_clusters: bool,
    batches: &Batches,
    course: &Course<'_>,
    sent: &Sent,
    verdict: &Verdict,
) -> BenchReport {
    let batches_sent = course.sent_batches();
    let latency = sent.even.map(|(offered, seconds)| LatencyRun {
        seconds,
        offered_bytes_per_second: offered,
        achieved_bytes_per_second: verdict.from_intended.count() as f64 * batches.mean_bytes() / seconds,
        from_intended: verdict.from_intended.percentiles(),
        from_sent: verdict.from_sent.percentiles(),
    });
    BenchReport {
        load: LoadFacts {
            partitions: settings.partitions,
            record_bytes: settings.record_bytes(),
            records_per_batch: batches.records_per_batch(),
            codec: settings.shape.codec.name(),
            batch_wire_bytes: batches.mean_bytes() as u64,
        },
        mirror: MirrorFacts {
            version: env!("CARGO_PKG_VERSION"),
            mover: match settings.mover {
                Mover::Auto => "auto",
                Mover::Copy => "copy",
                Mover::Splice => "splice",
            },
            shards: if settings.cores.is_empty() { machine_cores() } else { settings.cores.len() },
            buffer_bytes: settings.buffer_bytes,
            machine_cores: machine_cores(),
            embedded_clusters,
        },
        throughput: sent.throughput,
        latency,
        checked: Checked {
            batches_sent,
            records_sent: batches_sent * u64::from(batches.records_per_batch()),
            tally: verdict.tally(course),
        },
        trouble: None,
        peak_rss_bytes: usage::peak_rss_bytes(),
    }
}

fn machine_cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogFormat;
    use crate::edge::mirror;
    use crate::load::Codec;

    fn settings() -> Settings {
        Settings {
            external: None,
            size_bytes: 2 << 20,
            seconds: 1,
            bytes_per_second: Some(1e6),
            partitions: 3,
            shape: Shape::plain(10_000, 300, Codec::Lz4, 50),
            cores: Vec::new(),
            mover: Mover::Auto,
            buffer_bytes: 16 << 20,
        }
    }

    #[test]
    fn the_mirror_mirrors_perfectly_and_is_measured() {
        let mirror = |config: &Mirror, stop: &AtomicBool| {
            mirror::run(config, stop, &mut |_| {}).map(drop).map_err(|error| error.to_string())
        };
        let stop = AtomicBool::new(false);
        let report = run(&settings(), &mirror, &stop, &Progress::new(LogFormat::Json)).unwrap();
        assert!(report.is_perfect(), "{report}");
        let (throughput, latency) = (report.throughput.unwrap(), report.latency.unwrap());
        assert!(throughput.bytes >= 2 << 20 && throughput.mirror_cpu_seconds > 0.0, "{report:?}");
        assert!(latency.from_intended.count > 50, "{report:?}");
        assert_eq!(report.checked.tally.arrived, report.checked.batches_sent);
    }

    #[test]
    fn a_mirror_that_fails_is_an_error_not_a_result() {
        let mirror = |_: &Mirror, _: &AtomicBool| Err("no such luck".to_owned());
        let stop = AtomicBool::new(false);
        let error = run(&settings(), &mirror, &stop, &Progress::new(LogFormat::Json)).unwrap_err();
        assert!(error.contains("no such luck"), "{error}");
    }

    #[test]
    fn settings_that_make_no_sense_are_named() {
        assert_eq!(problem(&settings()), None);
        let no_rate = Settings { size_bytes: 0, bytes_per_second: None, ..settings() };
        assert!(problem(&no_rate).unwrap().contains("--rate"));
        let nothing = Settings { size_bytes: 0, seconds: 0, ..settings() };
        assert!(problem(&nothing).unwrap().contains("nothing to measure"));
    }
}
