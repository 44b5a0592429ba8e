//! `twinlog capacity`: how much a mirror between two clusters can do for a load of this shape while it keeps its promise, what the
//! limit is, and what a rate that is wanted takes.
//!
//! A [`Stage`] has the clusters, a [`Trial`] tries one rate, and [`run`] has the search choose the next one.

mod stage;
mod threads;
mod trial;

use super::load::Generator;
use super::mirror;
use super::progress::Progress;
use super::runtime;
use crate::config::{Cluster, Draft, Mirror, Mover};
use crate::limits::SPLICE_BATCH_BYTES_MIN;
use crate::load::capacity::{Basis, CapacityReport, Check, Found, Limiter, Search, Setup, Signs, Slo, Tried};
use crate::load::shape::Captured;
use crate::load::{Pattern, Shape};
use crate::stats::units;
use stage::Stage;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, available_parallelism};
use trial::{Heard, Link, Trial};

/// What to find out.
#[derive(Clone, Debug)]
pub struct Settings {
    pub slo: Slo,
    /// Source and target; None: two synthetic clusters in this process.
    pub clusters: Option<(Cluster, Cluster)>,
    /// How the mirror is run: cores, mover, buffers, security.
    pub draft: Draft,
    /// What is sent: made up, or as captured.
    pub shape: Shape,
    pub replay: Option<Arc<Captured>>,
    pub partitions: u32,
    pub arrivals: Pattern,
    pub replication_factor: Option<i16>,
    /// Rates in bytes a second: the first that is tried, and the highest.
    pub from: Option<f64>,
    pub up_to: Option<f64>,
    pub step_us: u64,
    pub warmup_us: u64,
    /// How long the prediction is held against a run; 0: it is not.
    pub check_us: u64,
    /// The rate that is planned for.
    pub want: Option<f64>,
    pub keep: bool,
}

const FROM_BYTES_PER_SECOND: f64 = 1e6;
/// The lowest rate: fewer batches a second make no percentiles.
const FLOOR_BATCHES_PER_SECOND: f64 = 20.0;
/// How often a prediction is made anew.
const CHECKS_MAX: usize = 3;
/// How much lower the next prediction is if one did not hold.
const BACK: f64 = 0.8;

impl Settings {
    fn topics(&self) -> usize {
        self.replay.as_ref().map_or(1, |captured| captured.head.topics.len())
    }

    fn partitions(&self) -> u32 {
        self.replay.as_ref().map_or(self.partitions, |captured| captured.partitions_max())
    }
}

/// Finds it out. Once `stop` is set it ends, with what was found until then. The error says why it could not begin.
pub fn run(settings: &Settings, stop: &AtomicBool, progress: &Progress) -> Result<CapacityReport, String> {
    runtime::check_machine().map_err(|error| error.to_string())?;
    let mut settings = settings.clone();
    let cores = settings.draft.cores.clone().unwrap_or_default();
    // A core's rate is measured with one, unless told.
    let allowed = runtime::choose_cores(&cores).map_err(|error| error.to_string())?;
    let cores = if cores.is_empty() { allowed.into_iter().take(1).collect() } else { cores };
    settings.draft.cores = Some(cores);
    let stage = Stage::new(&settings)?;
    let report = on_stage(&settings, &stage, stop, progress);
    progress.begin("tidying up");
    stage.tidy_up(settings.keep);
    report
}

fn on_stage(
    settings: &Settings,
    stage: &Stage,
    stop: &AtomicBool,
    progress: &Progress,
) -> Result<CapacityReport, String> {
    let config = stage.mirror(&settings.draft)?;
    progress.begin("making the topics and encoding the load");
    let generator = Generator::new(&settings.load(stage, None, settings.step_us))?;
    let (heard, over, end_mirror) =
        (Mutex::new(Heard::default()), AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let mirror = thread::Builder::new().name("mirror".into()).spawn_scoped(scope, || {
            let ended = mirror::run(&config, &end_mirror, &mut |report| {
                let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.buffered_bytes = heard.buffered_bytes.max(report.totals.buffered_bytes);
                heard.report = report.clone();
            });
            over.store(true, Ordering::Relaxed);
            ended
        });
        let mirror = mirror.map_err(|error| error.to_string())?;
        let link = Link { settings, stage, mirror: &config, heard: &heard, stop, over: &over, progress };
        let report = stage
            .await_target(stop, || over.load(Ordering::Relaxed))
            .and_then(|()| Trial::new(link, generator))
            .map(|trial| Finder { settings, config: &config, trial, progress, stop }.find());
        let ended_early = over.load(Ordering::Relaxed);
        end_mirror.store(true, Ordering::Relaxed);
        let ended = mirror.join().map_err(|_| "the mirror panicked".to_owned())?;
        match (report, ended) {
            (Ok(report), Err(error)) if ended_early => Ok(CapacityReport {
                trouble: Some(format!("the mirror failed: {error}")),
                partial: true,
                ..report
            }),
            (Ok(report), _) => Ok(report),
            (Err(_), Err(error)) if ended_early => Err(format!("the mirror failed: {error}")),
            (Err(error), _) => Err(error),
        }
    })
}

struct Finder<'a> {
    settings: &'a Settings,
    config: &'a Mirror,
    trial: Trial<'a>,
    progress: &'a Progress,
    stop: &'a AtomicBool,
}

impl Finder<'_> {
    fn find(mut self) -> CapacityReport {
        let floor = FLOOR_BATCHES_PER_SECOND * self.trial.mean_batch_bytes();
        let mut report = CapacityReport {
            version: env!("CARGO_PKG_VERSION"),
            setup: self.setup(floor),
            partial: false,
            trouble: None,
            tried: Vec::new(),
            found: None,
            signs: None,
            plan: None,
            checks: Vec::new(),
        };
        let searched = self.search(floor, &mut report);
        self.conclude(&mut report);
        let checked = searched.and_then(|()| self.check(&mut report));
        if report.checks.len() > 1 {
            // A longer run has corrected what the short ones found.
            self.conclude(&mut report);
        }
        report.trouble = checked.err();
        report.partial = report.trouble.is_some() || self.stop.load(Ordering::Relaxed);
        report
    }

    fn setup(&self, floor: f64) -> Setup {
        let Settings { slo, shape, replay, up_to, .. } = self.settings;
        let partitions = self.settings.partitions();
        let kind = match replay {
            None => format!(
                "{partitions} partitions, batches of {} ({:.0} records of {}, codec {})",
                units::memory(self.trial.mean_batch_bytes() as u64),
                self.trial.records_per_batch(),
                shape.sizes,
                shape.codec
            ),
            Some(captured) => format!(
                "as captured: {} partitions of {} topics, batches of {} on average ({:.0} records of {:.0} B), {} there",
                captured.head.lanes(),
                captured.head.topics.len(),
                units::memory(self.trial.mean_batch_bytes() as u64),
                self.trial.records_per_batch(),
                self.trial.mean_value_bytes(),
                units::byte_rate(captured.bytes_per_second())
            ),
        };
        Setup {
            slo: slo.to_string(),
            embedded_clusters: self.settings.clusters.is_none(),
            load: kind,
            cores: self.config.cores.len(),
            machine_cores: available_parallelism().map_or(1, usize::from),
            mover: self.config.mover.name(),
            buffer_bytes: self.config.buffer_bytes,
            floor_bytes_per_second: floor,
            ceiling_bytes_per_second: *up_to,
        }
    }

    fn search(&mut self, floor: f64, report: &mut CapacityReport) -> Result<(), String> {
        let Settings { from, up_to, step_us, .. } = *self.settings;
        let highest = up_to.unwrap_or(f64::INFINITY);
        let first = from.unwrap_or(FROM_BYTES_PER_SECOND.max(floor)).min(highest);
        let mut search = Search::new(first, floor.min(first), highest);
        // Cold brokers answer late, and would be taken for slow ones.
        self.progress.begin(&format!("warming up: {}", units::byte_rate(first)));
        self.trial.run("warming up", first, step_us)?;
        while let Some(rate) = search.next() {
            let what = format!("rate {}", report.tried.len() + 1);
            let again = if search.is_retry() { ", once more" } else { "" };
            self.progress.begin(&format!("{what}{again}: {}", units::byte_rate(rate)));
            let Some(tried) = self.trial.run(&what, rate, step_us)? else { return Ok(()) };
            self.progress.begin(&format!("{what}: {}", tried.line()));
            // What most records miss is no hiccup, unless brokers are still getting warm.
            let is_sure = search.held().is_some() && tried.latency.p50_us > self.settings.slo.limit_us();
            search.tell(tried.has_held(), is_sure);
            report.tried.push(tried);
        }
        Ok(())
    }

    /// What the trials come to.
    fn conclude(&self, report: &mut CapacityReport) {
        let by_rate = |one: &&Tried, other: &&Tried| {
            one.offered.bytes_per_second.total_cmp(&other.offered.bytes_per_second)
        };
        let checked = report.checks.iter().map(|check| &check.tried).find(|tried| tried.has_held());
        let best = checked.or_else(|| report.tried.iter().filter(|tried| tried.has_held()).max_by(by_rate));
        let worst = report.tried.iter().filter(|tried| !tried.has_held()).min_by(by_rate);
        // What failed shows the limit. With none, --up-to was reached.
        let signs = worst.map(|tried| Signs::of(&tried.evidence));
        let limiter = signs.as_ref().and_then(Signs::limiter).map(|sign| sign.limiter);
        report.found = best.map(|best| self.found(best, limiter));
        report.plan = report
            .found
            .as_ref()
            .map(|found| found.basis.plan(self.settings.want.unwrap_or(found.rate.bytes_per_second)));
        report.signs = signs;
    }

    fn found(&self, best: &Tried, limiter: Option<Limiter>) -> Found {
        let evidence = &best.evidence;
        let batch_bytes = self.trial.mean_batch_bytes();
        let splices = match self.config.mover {
            Mover::Splice => true,
            Mover::Copy => false,
            Mover::Auto => batch_bytes >= SPLICE_BATCH_BYTES_MIN as f64,
        };
        let (source_brokers, target_brokers) = self.trial.brokers;
        let basis = Basis {
            bytes_per_second: best.offered.bytes_per_second,
            cores: self.config.cores.len(),
            mirror_busy: evidence.mirror_busy,
            limiter,
            buffered_bytes: evidence.buffered_bytes,
            way_us: evidence.source_round_trip_us
                + evidence.target_answer_us.unwrap_or(evidence.target_round_trip_us),
            source_brokers,
            target_brokers,
            splices,
            partitions: self.settings.topics() as u64 * u64::from(self.settings.partitions()),
        };
        let (per_core_bytes_per_second, per_core_is_measured) = basis.per_core();
        Found {
            rate: best.offered,
            batches_per_second: best.offered.bytes_per_second / batch_bytes,
            basis,
            per_core_bytes_per_second,
            per_core_is_measured,
        }
    }

    /// Holds the prediction against a longer run; one that does not hold is lowered, and the report shows both.
    fn check(&mut self, report: &mut CapacityReport) -> Result<(), String> {
        let Some(found) = &report.found else { return Ok(()) };
        let mut rate = found.rate.bytes_per_second;
        while self.settings.check_us > 0
            && report.checks.len() < CHECKS_MAX
            && !self.stop.load(Ordering::Relaxed)
        {
            self.progress.begin(&format!(
                "checking {} for {:.0} s",
                units::byte_rate(rate),
                self.settings.check_us as f64 / 1e6
            ));
            let Some(tried) = self.trial.run("check", rate, self.settings.check_us)? else { return Ok(()) };
            let has_held = tried.has_held();
            report.checks.push(Check { predicted: self.trial.rate(rate), tried });
            if has_held {
                break;
            }
            rate *= BACK;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
