//! What is sent when: a backlog, as much as is taken, an even rate.

use super::drive::Course;
use super::{Inlet, MIRROR_THREADS, Settings};
use crate::edge::progress::Progress;
use crate::edge::{clock, usage};
use crate::load::{Batches, CatchUp, Throughput};
use crate::stats::{Phase, units};
use std::sync::atomic::{AtomicBool, Ordering};

/// What was sent, and how long the parts took.
#[derive(Default)]
pub struct Sent {
    pub catch_up: Option<CatchUp>,
    pub throughput: Option<Throughput>,
    pub even: Option<Even>,
    pub phases: Vec<Phase>,
    /// Why it ended early.
    pub trouble: Option<String>,
}

/// The part at an even rate.
#[derive(Clone, Copy)]
pub struct Even {
    pub offered_bytes_per_second: f64,
    /// Until everything had arrived.
    pub seconds: f64,
    /// CPU time of the mirror's own threads meanwhile.
    pub mirror_cpu_seconds: f64,
}

pub struct Sender<'a, I> {
    pub settings: &'a Settings,
    pub course: &'a Course<'a>,
    pub inlet: &'a mut I,
    pub stop: &'a AtomicBool,
    pub over: &'a AtomicBool,
    pub progress: &'a Progress,
    pub batches: &'a Batches,
    pub start_us: u64,
    pub sent: Sent,
}

impl<'a, I: Inlet> Sender<'a, I> {
    /// To be called before the mirror starts.
    pub fn send_backlog(&mut self) -> Result<(), String> {
        let rounds = self.rounds(self.settings.backlog_bytes);
        if rounds == 0 {
            return Ok(());
        }
        self.progress
            .begin(&format!("putting {} into the source", units::bytes(self.settings.backlog_bytes)));
        let begin_us = self.now_us();
        let mut tell = self.teller(Phase::BACKLOG);
        let ended = self.course.send_backlog(self.inlet, rounds, &mut tell);
        self.end_phase(Phase::BACKLOG, begin_us);
        ended
    }

    /// What was set stands in `sent` however this ends.
    pub fn send_everything(&mut self) -> Result<(), String> {
        let backlog_rounds = self.rounds(self.settings.backlog_bytes);
        if backlog_rounds > 0 {
            self.catch_up(backlog_rounds)?;
        }
        self.progress.begin("waiting for the mirror to get going");
        self.full_speed("warming up", backlog_rounds, 1)?;
        let mut first = backlog_rounds + 1;
        if self.settings.size_bytes > 0 {
            let rounds = self.rounds(self.settings.size_bytes);
            self.progress.begin(&format!("sending {} at full speed", units::bytes(self.settings.size_bytes)));
            self.throughput(first, rounds)?;
            first += rounds;
        }
        if self.settings.seconds > 0 {
            let half = self.sent.throughput.map(|full| full.bytes_per_second / 2.0);
            let offered = self.settings.bytes_per_second.or(half).ok_or("no rate is known")?;
            self.progress.begin(&format!(
                "sending {} for {} s",
                units::byte_rate(offered),
                self.settings.seconds
            ));
            self.even_rate(first, offered)?;
        }
        Ok(())
    }

    fn catch_up(&mut self, rounds: u64) -> Result<(), String> {
        self.progress.begin("waiting for the mirror to catch up");
        let begin_us = self.now_us();
        let bytes = self.course.sent_bytes();
        let start_us = self.start_us;
        let mut first_arrival_us = None;
        let mut show = self.teller(Phase::CATCH_UP);
        let mut tell = |judged: u64| {
            if judged > 0 && first_arrival_us.is_none() {
                first_arrival_us = Some(clock::now().mono_us - start_us);
            }
            show(judged);
        };
        let ended = self.course.await_judged(rounds * u64::from(self.settings.partitions), &mut tell);
        let end_us = self.end_phase(Phase::CATCH_UP, begin_us);
        ended?;
        let first_arrival_us = first_arrival_us.unwrap_or(end_us);
        self.sent.catch_up = Some(CatchUp {
            bytes,
            first_arrival_seconds: (first_arrival_us - begin_us) as f64 / 1e6,
            seconds: (end_us - begin_us) as f64 / 1e6,
            bytes_per_second: bytes as f64 * 1e6 / (end_us - first_arrival_us).max(1) as f64,
        });
        Ok(())
    }

    fn throughput(&mut self, first: u64, rounds: u64) -> Result<(), String> {
        if self.settings.seconds == 0 {
            self.course.measure_from(first);
        }
        let (begin_us, judged, bytes) = (self.now_us(), self.course.judged(), self.course.judged_bytes());
        let cpu_before_s = mirror_cpu_seconds();
        let ended = self.full_speed(Phase::FULL_SPEED, first, rounds);
        let cpu_s = mirror_cpu_seconds() - cpu_before_s;
        let end_us = self.end_phase(Phase::FULL_SPEED, begin_us);
        self.sent.throughput = Some(Throughput::new(
            self.course.judged_bytes() - bytes,
            self.course.judged() - judged,
            self.batches.records_per_batch(),
            (end_us - begin_us).max(1) as f64 / 1e6,
            cpu_s,
        ));
        ended
    }

    /// Sends, and waits until everything is judged.
    fn full_speed(&mut self, what: &'static str, first: u64, rounds: u64) -> Result<(), String> {
        let mut tell = self.teller(what);
        self.course.send_at_full_speed(self.inlet, first, rounds, &mut tell)?;
        self.course.await_judged((first + rounds) * u64::from(self.settings.partitions), &mut tell)
    }

    fn even_rate(&mut self, first: u64, bytes_per_second: f64) -> Result<(), String> {
        self.course.measure_from(first);
        let begin_us = self.now_us();
        let mut tell = self.teller(Phase::EVEN_RATE);
        let batches_per_second = bytes_per_second / self.batches.mean_bytes();
        let seconds = self.settings.seconds;
        let cpu_before_s = mirror_cpu_seconds();
        let sent = self.course.send_by_schedule(self.inlet, first, batches_per_second, seconds, &mut tell);
        let ended = sent.and_then(|rounds| {
            self.course.await_judged((first + rounds) * u64::from(self.settings.partitions), &mut tell)
        });
        let mirror_cpu_seconds = mirror_cpu_seconds() - cpu_before_s;
        let end_us = self.end_phase(Phase::EVEN_RATE, begin_us);
        self.sent.even = Some(Even {
            offered_bytes_per_second: bytes_per_second,
            seconds: (end_us - begin_us) as f64 / 1e6,
            mirror_cpu_seconds,
        });
        ended
    }

    /// How many batches of each partition make so many bytes.
    fn rounds(&self, bytes: u64) -> u64 {
        (bytes as f64 / self.batches.mean_bytes() / f64::from(self.settings.partitions)).ceil() as u64
    }

    /// Since the start.
    fn now_us(&self) -> u64 {
        clock::now().mono_us - self.start_us
    }

    fn end_phase(&mut self, name: &'static str, begin_us: u64) -> u64 {
        let end_us = self.now_us();
        self.sent.phases.push(Phase { name, begin_us, end_us });
        end_us
    }

    /// See [`teller`].
    fn teller(&self, what: &'static str) -> impl FnMut(u64) + use<'a, I> {
        let judged = self.course.judged();
        teller(self.stop, self.over, self.progress, what, judged, self.batches.mean_bytes())
    }
}

fn mirror_cpu_seconds() -> f64 {
    usage::cpu_us_of_threads(&MIRROR_THREADS) as f64 / 1e6
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
