//! The parts of a link that run in this process: each a session of its own, with one shard on one core.

use crate::config::{Mirror, Share};
use crate::edge::clock;
use crate::edge::mirror::{MirrorError, Summary, sessions};
use crate::edge::outside::{Outside, lock};
use crate::stats::{Counters, Lag, Limits, Pulse, Report, StageBuckets, Watch};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

pub(super) struct Running {
    config: Arc<Mirror>,
    parts: u32,
    cores: Vec<usize>,
    outside: Arc<Outside>,
    running: BTreeMap<u32, Part>,
    /// What parts that have ended here had done, by core.
    former: Vec<Counters>,
    former_stages: StageBuckets,
    started_us: u64,
}

struct Part {
    /// Index into the cores.
    core: usize,
    stop: Arc<AtomicBool>,
    report: Arc<Mutex<Report>>,
    outside: Arc<Outside>,
    thread: JoinHandle<Result<Summary, MirrorError>>,
}

/// How a part ended: its number, and what its mirror came to.
pub(super) type Ended = (u32, Result<Summary, MirrorError>);

impl Running {
    pub(super) fn new(config: &Mirror, parts: u32, cores: Vec<usize>, outside: &Arc<Outside>) -> Self {
        Self {
            config: Arc::new(config.clone()),
            parts,
            former: vec![Counters::default(); cores.len()],
            former_stages: StageBuckets::default(),
            cores,
            outside: Arc::clone(outside),
            running: BTreeMap::new(),
            started_us: clock::now().mono_us,
        }
    }

    /// The parts that run, or are on their way to their end.
    pub(super) fn parts(&self) -> BTreeSet<u32> {
        self.running.keys().copied().collect()
    }

    /// Begins with a part, on the core that has the fewest.
    pub(super) fn start(&mut self, part: u32) -> Result<(), MirrorError> {
        let load = |core: usize| self.running.values().filter(|part| part.core == core).count();
        let core = (0..self.cores.len()).min_by_key(|core| load(*core)).unwrap_or(0);
        let cores = self.cores.get(core).copied().into_iter().collect();
        let config = self.config.part(Share { part, parts: self.parts }, cores);
        let stop = Arc::new(AtomicBool::new(false));
        let report = Arc::new(Mutex::new(Report::default()));
        let outside = Arc::new(self.outside.of_part());
        let thread = {
            let (stop, report, outside) = (Arc::clone(&stop), Arc::clone(&report), Arc::clone(&outside));
            let run = move || {
                let _span = tracing::info_span!("", part).entered();
                let mut observe = |new: &Report| {
                    *lock(&report) = new.clone();
                };
                sessions(&config, &config.cores, &stop, &mut observe, None, &outside)
            };
            std::thread::Builder::new()
                .name(format!("part-{part}"))
                .spawn(run)
                .map_err(MirrorError::Thread)?
        };
        self.running.insert(part, Part { core, stop, report, outside, thread });
        Ok(())
    }

    /// Asks a part to end; [`Self::ended`] says when it has.
    pub(super) fn stop(&self, part: u32) {
        if let Some(part) = self.running.get(&part) {
            part.stop.store(true, Ordering::Relaxed);
        }
    }

    /// The parts that have ended since the last look.
    pub(super) fn ended(&mut self) -> Vec<Ended> {
        let over: Vec<u32> = self
            .running
            .iter()
            .filter(|(_, part)| part.thread.is_finished())
            .map(|(number, _)| *number)
            .collect();
        let mut ended = Vec::new();
        for number in over {
            let Some(part) = self.running.remove(&number) else { continue };
            let Report { totals: counters, stages, .. } = part.report();
            self.former_stages += &stages;
            if let Some(former) = self.former.get_mut(part.core) {
                *former += Counters { buffered_bytes: 0, ..counters };
            }
            let result = part.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            ended.push((number, result));
        }
        ended
    }

    /// What has been done here so far. `is_in`: it is known what this instance has to do.
    pub(super) fn report(&self, is_in: bool) -> Report {
        let mut all = Report {
            elapsed_us: clock::now().mono_us - self.started_us,
            shards: self.former.clone(),
            stages: self.former_stages,
            lag: is_in.then(|| Lag { ms: Some(0), ..Lag::default() }),
            ..Report::default()
        };
        self.former.iter().for_each(|former| all.totals += *former);
        for part in self.running.values() {
            let report = part.report();
            all.add(&report);
            if let Some(shard) = all.shards.get_mut(part.core) {
                *shard += report.totals;
            }
        }
        all
    }

    /// The same lane by lane.
    pub(super) fn watch(&self, report: Report) -> Watch {
        let mut looks = self.running.values().filter_map(|part| part.outside.board.latest());
        let mut all = looks.next().map_or_else(|| self.idle(), |look| Watch::clone(&look));
        looks.for_each(|look| all.add(&look));
        all.sort();
        let limits = Limits { buffer_bytes: self.config.buffer_bytes as u64, ..all.limits };
        Watch { link: self.config.link.clone(), report, limits, ..all }
    }

    /// An instance that has no part, or none that has looked yet.
    fn idle(&self) -> Watch {
        Watch {
            version: env!("CARGO_PKG_VERSION"),
            link: self.config.link.clone(),
            source_cluster: String::new(),
            target_cluster: String::new(),
            at: clock::now(),
            report: Report::default(),
            lanes: Vec::new(),
            lost_offsets: 0,
            left_out: Vec::new(),
            still_ms_max: Pulse::still_ms_max(self.config.zombie_bound_ms),
            limits: Limits {
                buffer_bytes: 0,
                bytes_per_second: self.outside.controls.wishes().bytes_per_second(clock::now()),
            },
            instance: None,
        }
    }
}

impl Part {
    fn report(&self) -> Report {
        lock(&self.report).clone()
    }
}
