//! What a running link shares with those who watch it. It outlives a session that has to begin anew, but not the process.

use crate::config::{Mirror, RateHours};
use crate::control::pauses::{Pattern, Pauses};
use crate::stats::live::{Live, LiveLook};
use crate::stats::metrics::{Format, Naming, text};
use crate::stats::{CheckpointTimes, Flight, Noted, Watch};
use crate::time::Now;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Events that are shown with every look.
const EVENTS_SHOWN: usize = 40;

#[derive(Debug)]
pub struct Outside {
    pub controls: Arc<Controls>,
    pub board: Board,
    pub flight: Arc<Recorder>,
    /// Somebody may look at the board.
    pub is_watched: bool,
    /// By which names figures are served, and how long checkpoints took, if anybody wants to know.
    naming: Naming,
    pub checkpoints: Arc<Mutex<CheckpointTimes>>,
}

/// What happened lately.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Flight>);

/// Where control leaves the newest look at the link.
#[derive(Debug, Default)]
pub struct Board {
    latest: Mutex<Option<Arc<Watch>>>,
    live: Mutex<Live>,
}

impl Outside {
    pub fn new(wishes: Wishes, is_watched: bool) -> Self {
        let controls = Arc::new(Controls(Mutex::new(Arc::new(wishes))));
        Self {
            controls,
            board: Board::default(),
            flight: Arc::default(),
            is_watched,
            naming: Naming::default(),
            checkpoints: Arc::default(),
        }
    }

    /// For a part of the link: what is wished and what happened is the whole link's, the look at it its own.
    pub fn of_part(&self) -> Self {
        Self {
            controls: Arc::clone(&self.controls),
            board: Board::default(),
            flight: Arc::clone(&self.flight),
            is_watched: self.is_watched,
            naming: self.naming.clone(),
            checkpoints: Arc::clone(&self.checkpoints),
        }
    }

    /// What the configuration wishes at first.
    pub fn of(config: &Mirror) -> Self {
        let pauses = Pauses::configured(&config.pause);
        let (bytes_per_second, hours) = (config.max_rate_bytes, config.max_rate_hours.clone());
        let wishes = Wishes { pauses, bytes_per_second, hours };
        let topics = &config.client_topics;
        let naming = Naming {
            names: config.metrics_names,
            aliases: [topics.source_alias.clone(), topics.target_alias.clone()],
            topics: config.target.names.clone(),
        };
        Self { naming, ..Self::new(wishes, config.listen.is_some()) }
    }

    /// For Prometheus. The error does not happen when writing into memory.
    pub fn metrics(&self, watch: &Arc<Watch>, now: Now, format: Format) -> Result<String, fmt::Error> {
        text(watch, now, &self.naming, &lock(&self.checkpoints), format)
    }

    pub fn live(&self, watch: &Watch, now: Now) -> LiveLook {
        let events = self.flight.open().last(EVENTS_SHOWN);
        lock(&self.board.live).look(watch, now, events)
    }
}

impl Recorder {
    pub fn open(&self) -> MutexGuard<'_, Flight> {
        lock(&self.0)
    }

    pub fn note(&self, event: Noted) {
        self.open().note(event);
    }
}

impl Board {
    pub fn publish(&self, watch: Watch) {
        lock(&self.live).note(&watch);
        *lock(&self.latest) = Some(Arc::new(watch));
    }

    pub fn latest(&self) -> Option<Arc<Watch>> {
        lock(&self.latest).clone()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What whoever watches wishes, all together.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    pub pauses: Pauses,
    pub bytes_per_second: Option<u64>,
    /// When another limit holds.
    pub hours: RateHours,
}

impl Wishes {
    /// The most that is read from the source in a second, all shards together. None: no limit.
    pub fn bytes_per_second(&self, now: Now) -> Option<u64> {
        self.hours.at(now.wall_ms).unwrap_or(self.bytes_per_second)
    }
}

#[derive(Debug)]
pub struct Controls(Mutex<Arc<Wishes>>);

impl Controls {
    pub fn wishes(&self) -> Arc<Wishes> {
        Arc::clone(&lock(&self.0))
    }

    /// The error says why that cannot be.
    pub fn set_paused(&self, pattern: Pattern, paused: bool) -> Result<(), String> {
        Arc::make_mut(&mut lock(&self.0)).pauses.set(pattern, paused)
    }

    /// Holds at all hours, until there is another wish.
    pub fn throttle(&self, bytes_per_second: Option<u64>) {
        let mut guard = lock(&self.0);
        let wishes = Arc::make_mut(&mut guard);
        (wishes.bytes_per_second, wishes.hours) = (bytes_per_second, RateHours::default());
    }
}
