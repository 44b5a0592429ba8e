//! `twinlog bench`: a load into the source, the mirror in between, and a judge at the target.
//!
//! [`run`] sets the stage and measures, `parts` says what is sent when, `drive` sends and judges, an [`Inlet`] and an [`Outlet`]
//! are the doors to the clusters, `recorder` keeps what goes into files, which [`Files`] writes.

mod drive;
mod embedded;
mod external;
mod facts;
mod files;
mod parts;
mod recorder;
mod wire;

pub use files::Files;

use super::hlog::Hlog;
use super::mirror::TellTimings;
use super::progress::Progress;
use super::{clock, usage};
use crate::config::{Address, Draft, Merge, Mirror, Mover};
use crate::limits::BATCH_HEADER_BYTES;
use crate::load::{
    Batches, BenchReport, Checked, LatencyRun, LoadFacts, MirrorFacts, Shape, StagesRun, SweepPoint,
};
use crate::stats::{Phase, Stage as OfWay, units};
use bytes::Bytes;
use drive::{Course, Verdict};
use parts::{Even, Sender, Sent};
use recorder::{Recorded, Recorder};
use smallvec::SmallVec;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, available_parallelism};

/// What to measure.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Source and target to use; None: two synthetic clusters inside this process.
    pub external: Option<(Vec<Address>, Vec<Address>)>,
    /// Bytes to put into the source before the mirror starts; 0: none.
    pub backlog_bytes: u64,
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
    /// Sizes of batches with which the part at full speed is repeated.
    pub sweep: Vec<usize>,
    /// Where a histogram log goes.
    pub hlog: Option<PathBuf>,
}

impl Settings {
    fn record_bytes(&self) -> usize {
        self.shape.sizes.mean() as usize
    }

    /// For a point of a sweep.
    fn at_full_speed_only(&self, batch_bytes: usize) -> Self {
        Self {
            backlog_bytes: 0,
            size_bytes: self.size_bytes.min(SWEEP_BYTES_MAX),
            seconds: 0,
            shape: Shape { batch_bytes, ..self.shape.clone() },
            sweep: Vec::new(),
            hlog: None,
            ..self.clone()
        }
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

/// What is measured: mirrors as told until the flag is set, and tells when each batch came and went.
pub type RunMirror<'a> = &'a (dyn Fn(&Mirror, &AtomicBool, TellTimings) -> Result<(), String> + Sync);

/// What came of a benchmark.
pub struct Outcome {
    pub report: BenchReport,
    recorded: Recorded,
    phases: Vec<Phase>,
}

/// The largest batch, before compression.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// Sent for each point of a sweep, or `--size` if that is less.
const SWEEP_BYTES_MAX: u64 = 1 << 30;

/// Threads whose CPU time is the mirror's: its shards, and its control thread, which is started here.
const MIRROR_THREADS: [&str; 2] = ["shard", "mirror"];

/// Measures the mirror. Once `stop` is set, or a cluster is gone, it ends with what was measured until then. The error says why
/// there is nothing.
pub fn run(
    settings: &Settings,
    mirror: RunMirror<'_>,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<Outcome, String> {
    let mut outcome = run_one(settings, mirror, stop, progress)?;
    for &batch_bytes in &settings.sweep {
        if outcome.report.trouble.is_some() {
            break;
        }
        progress.begin(&format!("sweep: batches of {}", units::memory(batch_bytes as u64)));
        let settings = settings.at_full_speed_only(batch_bytes);
        let report = &mut outcome.report;
        match run_one(&settings, mirror, stop, progress).map(|point| point.report) {
            Ok(BenchReport { throughput: Some(throughput), load, trouble: None, checked, .. }) => {
                report.sweep.push(SweepPoint {
                    batch_bytes,
                    batch_wire_bytes: load.batch_wire_bytes,
                    throughput,
                });
                report.checked.batches_sent += checked.batches_sent;
                report.checked.records_sent += checked.records_sent;
                report.checked.tally += checked.tally;
            }
            Ok(BenchReport { trouble, .. }) => report.trouble = trouble,
            Err(error) => report.trouble = Some(error),
        }
        report.partial = report.trouble.is_some();
    }
    Ok(outcome)
}

fn run_one(
    settings: &Settings,
    mirror: RunMirror<'_>,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<Outcome, String> {
    match settings.external.clone() {
        None => {
            let clusters = embedded::Clusters::start(settings)?;
            let outcome = measure(settings, clusters.stage(), mirror, stop, progress);
            clusters.stop();
            outcome
        }
        Some((source, target)) => {
            let clusters = external::Clusters::new(source, target);
            let outcome =
                clusters.stage(settings).and_then(|stage| measure(settings, stage, mirror, stop, progress));
            clusters.clean_up();
            outcome
        }
    }
}

/// Why these settings make no sense, if they do not.
pub fn problem(settings: &Settings) -> Option<&'static str> {
    let sweep_min = settings.sweep.iter().copied().min().unwrap_or(usize::MAX);
    let batch_bytes_max = settings.sweep.iter().copied().fold(settings.shape.batch_bytes, usize::max);
    if settings.size_bytes == 0 && settings.seconds == 0 {
        Some("--size 0 and --seconds 0 leave nothing to measure")
    } else if settings.size_bytes == 0 && settings.bytes_per_second.is_none() {
        Some("--size 0 leaves out the part that the rate of the second part comes from; add --rate MB/S")
    } else if settings.record_bytes() > settings.shape.batch_bytes {
        Some("--record-bytes is more than --batch-bytes; a batch must hold a record")
    } else if settings.record_bytes() > sweep_min {
        Some("--record-bytes is more than the smallest size of --sweep; a batch must hold a record")
    } else if !settings.sweep.is_empty() && settings.size_bytes == 0 {
        Some("--sweep repeats the part at full speed, which --size 0 leaves out")
    } else if settings.record_bytes() == 0 {
        Some("--record-bytes must not be 0")
    } else if batch_bytes_max > BATCH_BYTES_MAX {
        Some("--batch-bytes, and each size of --sweep, must be 16MiB or less")
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
) -> Result<Outcome, String> {
    let config = mirror_config(settings, &stage)?;
    let now = clock::now();
    // Dated shortly before now: old enough not to lie in the future, young enough to be today's data.
    let batches = Batches::new(settings.shape.clone(), settings.partitions, now.wall_ms - 60_000)?;
    let comment = "twinlog bench; without a tag: from the intended send to a consumer of the target";
    let hlog = settings.hlog.as_ref().map(|path| Hlog::create(path, now.wall_ms, comment)).transpose()?;
    let over = AtomicBool::new(false);
    let course = Course::new(&batches, settings.partitions, stage.window_bytes, &over);
    let (tell, timings) = mpsc::channel();
    let recorder = Recorder::new(
        &course,
        timings,
        hlog,
        settings.partitions,
        batches.records_per_batch(),
        settings.record_bytes(),
    );
    let mut sender = Sender {
        settings,
        course: &course,
        inlet: &mut stage.inlet,
        stop,
        over: &over,
        progress,
        batches: &batches,
        start_us: recorder.start_us(),
        sent: Sent::default(),
    };
    let stop_mirror = AtomicBool::new(false);
    let died = |_| "a thread of the benchmark panicked".to_owned();

    let (sent, verdict, mirrored, recorded) = thread::scope(|scope| {
        let spawn = |name: &str| thread::Builder::new().name(name.into());
        let recording = spawn("recorder").spawn_scoped(scope, || recorder.run(&over));
        let judge = spawn("judge").spawn_scoped(scope, || course.judge(&mut stage.outlet));
        let mut ended = sender.send_backlog();
        let mirror = spawn("mirror").spawn_scoped(scope, || {
            let ended = run_mirror(&config, &stop_mirror, tell);
            over.store(true, Ordering::Relaxed);
            ended
        });
        if ended.is_ok() {
            ended = sender.send_everything();
        }
        sender.sent.trouble = ended.err();
        over.store(true, Ordering::Relaxed);
        let verdict = judge.map_err(|error| error.to_string()).map(thread::ScopedJoinHandle::join);
        stop_mirror.store(true, Ordering::Relaxed);
        let mirrored = mirror.map_err(|error| error.to_string()).map(thread::ScopedJoinHandle::join);
        let recorded = recording.map_err(|error| error.to_string()).map(thread::ScopedJoinHandle::join);
        (sender.sent, verdict, mirrored, recorded)
    });
    let mut verdict = verdict?.map_err(died)?;
    let mut recorded = recorded?.map_err(died)?;
    let mirror_trouble = mirrored?.map_err(died)?.err().map(|error| format!("the mirror failed: {error}"));
    let early = match stop.load(Ordering::Relaxed) {
        true => Some("interrupted".to_owned()),
        false => verdict.trouble.take().or(mirror_trouble).or(sent.trouble.clone()),
    };
    if course.judged() == 0
        && let Some(early) = early
    {
        return Err(early);
    }
    let mut report = report(settings, stage.embedded, &batches, &sent);
    let (tally, under_way) = verdict.tally(&course, early.is_some());
    let batches_sent = course.sent_batches();
    let records_sent = batches_sent * u64::from(batches.records_per_batch());
    report.checked = Checked { batches_sent, records_sent, under_way, tally };
    report.latency = sent.even.map(|even| latency(&verdict, &batches, even));
    report.stages = stages(settings, &recorded);
    report.partial = early.is_some();
    report.trouble = early.or(recorded.hlog_trouble.take());
    Ok(Outcome { report, recorded, phases: sent.phases })
}

fn mirror_config<I, O>(settings: &Settings, stage: &Stage<I, O>) -> Result<Mirror, String> {
    let draft = Draft {
        source: Some(stage.source.clone()),
        target: Some(stage.target.clone()),
        topics: Some(vec![crate::config::text::pattern(&regex::escape(&stage.topic))?]),
        link: Some(stage.topic.clone()),
        mover: Some(settings.mover),
        // The judge knows batches, and finds them as they were sent.
        merge: Some(Merge::Never),
        cores: Some(settings.cores.clone()),
        buffer_bytes: Some(settings.buffer_bytes),
        ..Draft::default()
    };
    draft.build().map_err(|error| error.to_string())
}

/// What is known without the judge.
fn report(settings: &Settings, embedded_clusters: bool, batches: &Batches, sent: &Sent) -> BenchReport {
    BenchReport {
        partial: false,
        trouble: None,
        load: LoadFacts {
            partitions: settings.partitions,
            record_bytes: settings.record_bytes(),
            records_per_batch: batches.records_per_batch(),
            codec: settings.shape.codec.name(),
            batch_wire_bytes: batches.mean_bytes() as u64,
        },
        mirror: MirrorFacts {
            version: env!("CARGO_PKG_VERSION"),
            mover: settings.mover.name(),
            shards: if settings.cores.is_empty() { machine_cores() } else { settings.cores.len() },
            buffer_bytes: settings.buffer_bytes,
            machine_cores: machine_cores(),
            embedded_clusters,
        },
        catch_up: sent.catch_up,
        throughput: sent.throughput,
        latency: None,
        stages: None,
        checked: Checked::default(),
        sweep: Vec::new(),
        peak_rss_bytes: usage::peak_rss_bytes(),
    }
}

fn latency(verdict: &Verdict, batches: &Batches, even: Even) -> LatencyRun {
    let Even { offered_bytes_per_second, seconds, mirror_cpu_seconds } = even;
    let arrived_bytes = verdict.from_intended.count() as f64 * batches.mean_bytes();
    LatencyRun {
        seconds,
        offered_bytes_per_second,
        achieved_bytes_per_second: arrived_bytes / seconds.max(1e-6),
        mirror_cpu_seconds,
        from_intended: verdict.from_intended.percentiles(),
        from_sent: verdict.from_sent.percentiles(),
    }
}

/// None when nothing was measured.
fn stages(settings: &Settings, recorded: &Recorded) -> Option<StagesRun> {
    (recorded.stages.of(OfWay::Total).count() > 0).then(|| StagesRun {
        part: if settings.seconds > 0 { Phase::EVEN_RATE } else { Phase::FULL_SPEED },
        stages: recorded.stages.figures(),
        shards: match &recorded.shards[..] {
            [_] => Vec::new(),
            shards => shards.iter().map(crate::stats::Stages::figures).collect(),
        },
        batches_left_out: recorded.batches_left_out,
    })
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
            backlog_bytes: 1 << 20,
            sweep: vec![2_000],
            hlog: None,
        }
    }

    fn mirror(config: &Mirror, stop: &AtomicBool, tell: TellTimings) -> Result<(), String> {
        mirror::run_timed(config, stop, &mut |_| {}, Some(&tell)).map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn the_mirror_mirrors_perfectly_and_is_measured() {
        let folder = tempfile::tempdir().unwrap();
        let hlog = folder.path().join("stages.hlog");
        let settings = Settings { hlog: Some(hlog.clone()), ..settings() };
        let stop = AtomicBool::new(false);
        let Outcome { report, recorded, phases } =
            run(&settings, &mirror, &stop, &Progress::new(LogFormat::Json)).unwrap();
        assert!(report.is_perfect(), "{report}");
        let (throughput, latency) = (report.throughput.unwrap(), report.latency.unwrap());
        assert!(throughput.bytes >= 2 << 20 && throughput.mirror_cpu_seconds > 0.0, "{report:?}");
        assert!(latency.mirror_cpu_seconds > 0.0, "{report:?}");
        assert!(latency.from_intended.count > 50, "{report:?}");
        assert_eq!(report.checked.tally.arrived, report.checked.batches_sent);
        let catch_up = report.catch_up.unwrap();
        assert!(catch_up.bytes >= 1 << 20 && catch_up.seconds >= catch_up.first_arrival_seconds);
        assert_eq!((report.sweep.len(), report.sweep[0].batch_bytes), (1, 2_000));

        // Every batch of the even part was timed on its way, and no stage took longer than the whole; but an acknowledgement may be
        // handled long after a reader saw the batch.
        let stages = &report.stages.as_ref().unwrap().stages;
        assert_eq!(stages.len(), 5, "{stages:?}");
        for figures in stages {
            assert_eq!(figures.percentiles.count, latency.from_intended.count, "{stages:?}");
            let longest_us = latency.from_intended.max_us.max(latency.from_sent.max_us);
            let is_part = figures.percentiles.max_us <= longest_us + longest_us / 100 + 1_000;
            assert!(is_part || figures.stage == "acked", "{stages:?}");
        }
        assert_eq!(stages[4].percentiles, latency.from_intended);
        assert_eq!(recorded.total.batches, latency.from_intended.count);
        let last = *recorded.timeline.as_ref().unwrap().samples().last().unwrap();
        assert!(last.arrived_bytes > 3 << 20 && last.lag_bytes() == 0, "{last:?}");
        let names: Vec<_> = phases.iter().map(|phase| phase.name).collect();
        assert_eq!(names, [Phase::BACKLOG, Phase::CATCH_UP, Phase::FULL_SPEED, Phase::EVEN_RATE]);

        let log = std::fs::read_to_string(hlog).unwrap();
        for tag in ["fetched", "sent", "acked", "visible"] {
            assert!(log.lines().any(|line| line.starts_with(&format!("Tag={tag},"))), "{log}");
        }
    }

    #[test]
    fn an_early_end_leaves_what_there_was() {
        let stop = AtomicBool::new(false);
        let settings = Settings { seconds: 60, sweep: Vec::new(), ..settings() };
        let stopping = |config: &Mirror, over: &AtomicBool, tell: TellTimings| {
            let mut has_begun = |report: &crate::stats::Report| {
                stop.fetch_or(report.totals.batches > 0, Ordering::Relaxed);
            };
            mirror::run_timed(config, over, &mut has_begun, Some(&tell))
                .map(drop)
                .map_err(|error| error.to_string())
        };
        let report = run(&settings, &stopping, &stop, &Progress::new(LogFormat::Json)).unwrap().report;
        assert!(report.partial && !report.is_perfect(), "{report}");
        assert!(report.checked.tally.is_perfect() && report.checked.tally.arrived > 0, "{report}");
        let text = report.to_string();
        assert!(text.contains("PARTIAL     interrupted"), "{text}");
    }

    #[test]
    fn a_mirror_that_fails_at_once_is_an_error_not_a_result() {
        let mirror = |_: &Mirror, _: &AtomicBool, _: TellTimings| Err("no such luck".to_owned());
        let stop = AtomicBool::new(false);
        let error = run(&settings(), &mirror, &stop, &Progress::new(LogFormat::Json)).map(drop).unwrap_err();
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
