//! The sender and the judge, a thread each, and what they know of each other.

use super::{Arrived, Inlet, Outlet};
use crate::edge::clock;
use crate::load::{Batches, Checker, Found, Schedule, Tally};
use crate::stats::Latency;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long nothing may arrive, with something under way, before the rest is given up as lost.
const PATIENCE_US: u64 = 60_000_000;
/// How long sender and judge sleep when there is nothing to do. Well below the latencies that are measured.
const NAP: Duration = Duration::from_micros(100);

/// What sender and judge share.
pub struct Course<'a> {
    batches: &'a Batches,
    partitions: u32,
    /// Batches that may be under way, all partitions together: what the clusters surely hold in memory.
    window: u64,
    /// For each partition, when each batch was sent in fact (index, µs), until it has arrived.
    sent: Vec<Mutex<VecDeque<(u64, u64)>>>,
    /// For each partition, the batches sent.
    sent_counts: Vec<AtomicU64>,
    sent_bytes: AtomicU64,
    /// Batches judged, good or bad, and their bytes.
    judged: AtomicU64,
    judged_bytes: AtomicU64,
    /// What arrived as it should and was not taken yet.
    arrivals: Mutex<Vec<Arrival>>,
    /// Index of the first batch of the part that is measured by stages.
    measured_from: AtomicU64,
    /// The schedule by which latencies are counted; none while sending at full speed.
    schedule: Mutex<Option<Schedule>>,
    /// Set when the judge is to go home, or when going on makes no sense.
    over: &'a AtomicBool,
}

/// A batch that arrived as it should.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    pub partition: u32,
    pub index: u64,
    /// By the schedule; None at full speed.
    pub intended_us: Option<u64>,
    pub sent_us: u64,
    pub visible_us: u64,
    pub bytes: u64,
    pub is_measured: bool,
}

/// What the judge found.
#[derive(Default)]
pub struct Verdict {
    pub from_intended: Latency,
    pub from_sent: Latency,
    checkers: Vec<Checker>,
    /// Why the target could not be read to the end.
    pub trouble: Option<String>,
}

impl Verdict {
    /// The sum over all partitions, given what was sent to each; and how many batches were under way at the end, if it came
    /// early. Those are not lost.
    pub fn tally(&self, course: &Course<'_>, is_partial: bool) -> (Tally, u64) {
        let (mut sum, mut under_way) = (Tally::default(), 0);
        for (checker, sent) in self.checkers.iter().zip(&course.sent_counts) {
            let sent = sent.load(Ordering::Relaxed);
            let expected = if is_partial { sent.min(checker.next_index()) } else { sent };
            sum += checker.tally(expected);
            under_way += sent - expected;
        }
        (sum, under_way)
    }
}

impl<'a> Course<'a> {
    pub fn new(batches: &'a Batches, partitions: u32, window_bytes: u64, over: &'a AtomicBool) -> Self {
        let window = (window_bytes as f64 / batches.mean_bytes()) as u64;
        Self {
            batches,
            partitions,
            window: window.max(u64::from(partitions)),
            sent: (0..partitions).map(|_| Mutex::default()).collect(),
            sent_counts: (0..partitions).map(|_| AtomicU64::new(0)).collect(),
            sent_bytes: AtomicU64::new(0),
            judged: AtomicU64::new(0),
            judged_bytes: AtomicU64::new(0),
            arrivals: Mutex::default(),
            measured_from: AtomicU64::new(u64::MAX),
            schedule: Mutex::default(),
            over,
        }
    }

    /// Batches judged so far.
    pub fn judged(&self) -> u64 {
        self.judged.load(Ordering::Relaxed)
    }

    pub fn sent_batches(&self) -> u64 {
        self.sent_counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Bytes sent so far, headers included.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }

    /// Bytes judged so far, headers included.
    pub fn judged_bytes(&self) -> u64 {
        self.judged_bytes.load(Ordering::Relaxed)
    }

    pub fn first_timestamp_ms(&self) -> i64 {
        self.batches.first_timestamp_ms()
    }

    /// From this index on, arrivals are marked as measured.
    pub fn measure_from(&self, index: u64) {
        self.measured_from.store(index, Ordering::Relaxed);
    }

    /// What arrived since the last time.
    pub fn take_arrivals(&self) -> Vec<Arrival> {
        std::mem::take(&mut *lock(&self.arrivals))
    }

    /// Judges what arrives until the course is over. A target that cannot be read any more ends the course.
    pub fn judge(&self, outlet: &mut impl Outlet) -> Verdict {
        let mut verdict = Verdict::default();
        verdict.checkers.extend((0..self.partitions).map(|partition| Checker::new(partition, 0)));
        let mut arrived = Vec::new();
        loop {
            // Looked at before the last round, so that nothing that came by then is missed.
            let over = self.over.load(Ordering::Relaxed);
            if let Err(error) = outlet.receive(&mut arrived) {
                self.over.store(true, Ordering::Relaxed);
                verdict.trouble = Some(error);
                return verdict;
            }
            let now_us = clock::now().mono_us;
            if arrived.is_empty() {
                if over {
                    return verdict;
                }
                thread::sleep(NAP);
            }
            let found = arrived.drain(..).filter_map(|batch| self.judge_one(&mut verdict, &batch, now_us));
            let found: Vec<Arrival> = found.collect();
            if !found.is_empty() {
                lock(&self.arrivals).extend(found);
            }
        }
    }

    fn judge_one(&self, verdict: &mut Verdict, batch: &Arrived, now_us: u64) -> Option<Arrival> {
        let partition = batch.partition as usize;
        let checker = verdict.checkers.get_mut(partition)?;
        let bytes = (batch.header.len() + batch.payload.iter().map(bytes::Bytes::len).sum::<usize>()) as u64;
        let mut arrival = None;
        let payload = batch.payload.iter().map(AsRef::as_ref);
        if let Found::Batch { index } = checker.check(self.batches, &batch.header, payload) {
            let sent_us = take_sent(&mut lock(&self.sent[partition]), index);
            let intended_us =
                lock(&self.schedule).and_then(|schedule| schedule.intended_us(batch.partition, index));
            if let (Some(intended_us), Some(sent_us)) = (intended_us, sent_us) {
                verdict.from_intended.record_us(now_us.saturating_sub(intended_us));
                verdict.from_sent.record_us(now_us.saturating_sub(sent_us));
            }
            arrival = sent_us.map(|sent_us| Arrival {
                partition: batch.partition,
                index,
                intended_us,
                sent_us,
                visible_us: now_us,
                bytes,
                is_measured: index >= self.measured_from.load(Ordering::Relaxed),
            });
        }
        self.judged_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.judged.fetch_add(1, Ordering::Relaxed);
        arrival
    }

    /// Sends `rounds` batches to each partition, from the first on, whether anything arrives or not. `tell` as below.
    pub fn send_backlog(
        &self,
        inlet: &mut impl Inlet,
        rounds: u64,
        tell: &mut impl FnMut(u64),
    ) -> Result<(), String> {
        for index in 0..rounds {
            if self.over.load(Ordering::Relaxed) {
                return Err("stopped".into());
            }
            for partition in 0..self.partitions {
                self.send(inlet, partition, index)?;
            }
            tell(self.judged());
        }
        Ok(())
    }

    /// Sends `rounds` batches to each partition, from index `first` on, as fast as they are taken. `tell` hears now and then
    /// how many were sent.
    pub fn send_at_full_speed(
        &self,
        inlet: &mut impl Inlet,
        first: u64,
        rounds: u64,
        tell: &mut impl FnMut(u64),
    ) -> Result<(), String> {
        for index in first..first + rounds {
            for partition in 0..self.partitions {
                let sent = index * u64::from(self.partitions) + u64::from(partition);
                self.await_judged(sent.saturating_sub(self.window), tell)?;
                self.send(inlet, partition, index)?;
            }
        }
        Ok(())
    }

    /// Sends batches to all partitions in turn, from index `first` on, by the clock, for `seconds`. Returns how many rounds.
    pub fn send_by_schedule(
        &self,
        inlet: &mut impl Inlet,
        first: u64,
        batches_per_second: f64,
        seconds: u64,
        tell: &mut impl FnMut(u64),
    ) -> Result<u64, String> {
        let rounds =
            (batches_per_second * seconds as f64 / f64::from(self.partitions)).ceil().max(1.0) as u64;
        let schedule = Schedule::new(clock::now().mono_us + 1000, first, self.partitions, batches_per_second);
        *lock(&self.schedule) = Some(schedule);
        let mut n = 0;
        while n < rounds * u64::from(self.partitions) {
            if self.over.load(Ordering::Relaxed) {
                return Err("stopped".into());
            }
            if n >= schedule.due(clock::now().mono_us) {
                thread::sleep(NAP);
                tell(self.judged());
                continue;
            }
            let (partition, index) = schedule.nth(n);
            // Nothing waits for the mirror here, but more than the clusters can hold must not be under way.
            let sent = first * u64::from(self.partitions) + n;
            self.await_judged(sent.saturating_sub(self.window), tell)?;
            self.send(inlet, partition, index)?;
            n += 1;
        }
        Ok(rounds)
    }

    /// Waits until so many batches have been judged. Fails when nothing arrives any more.
    pub fn await_judged(&self, goal: u64, tell: &mut impl FnMut(u64)) -> Result<(), String> {
        let mut judged = self.judged();
        let mut since_us = clock::now().mono_us;
        while judged < goal {
            if self.over.load(Ordering::Relaxed) {
                return Err("stopped".into());
            }
            thread::sleep(NAP);
            tell(judged);
            let now_us = clock::now().mono_us;
            let judged_now = self.judged();
            if judged_now > judged {
                (judged, since_us) = (judged_now, now_us);
            } else if now_us - since_us > PATIENCE_US {
                return Err(format!("nothing arrived on the target for {} s", PATIENCE_US / 1_000_000));
            }
        }
        Ok(())
    }

    fn send(&self, inlet: &mut impl Inlet, partition: u32, index: u64) -> Result<(), String> {
        let batch = self.batches.batch(partition, index);
        self.sent_bytes.fetch_add(batch.wire_bytes() as u64, Ordering::Relaxed);
        lock(&self.sent[partition as usize]).push_back((index, clock::now().mono_us));
        inlet.send(partition, batch.header, batch.payload)?;
        self.sent_counts[partition as usize].fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// When the batch was sent. Forgets it, and all before it, which will not be asked for again.
fn take_sent(sent: &mut VecDeque<(u64, u64)>, index: u64) -> Option<u64> {
    while let Some((first, at_us)) = sent.front().copied().filter(|(first, _)| *first <= index) {
        sent.pop_front();
        if first == index {
            return Some(at_us);
        }
    }
    None
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Codec, Shape};
    use smallvec::smallvec;
    use std::sync::mpsc;

    /// A mirror that does nothing but what it is told: inlet and outlet are two ends of a channel.
    struct Channel {
        ends: Vec<i64>,
        into: mpsc::Sender<Arrived>,
        drop_index: Option<u64>,
        count: u64,
    }

    impl Inlet for Channel {
        fn send(
            &mut self,
            partition: u32,
            mut header: [u8; 61],
            payload: bytes::Bytes,
        ) -> Result<(), String> {
            self.count += 1;
            if self.drop_index == Some(self.count) {
                return Ok(());
            }
            let end = &mut self.ends[partition as usize];
            header[..8].copy_from_slice(&end.to_be_bytes());
            *end += 4;
            self.into
                .send(Arrived { partition, header, payload: smallvec![payload] })
                .map_err(|e| e.to_string())
        }
    }

    impl Outlet for mpsc::Receiver<Arrived> {
        fn receive(&mut self, arrived: &mut Vec<Arrived>) -> Result<(), String> {
            arrived.extend(self.try_iter());
            Ok(())
        }
    }

    fn course(drop_index: Option<u64>) -> (Tally, Verdict) {
        let batches = Batches::new(Shape::plain(512, 100, Codec::None, 50), 3, 1_000).unwrap();
        assert_eq!(batches.records_per_batch(), 4);
        let over = AtomicBool::new(false);
        let course = Course::new(&batches, 3, 10_000, &over);
        let (into, mut out) = mpsc::channel();
        let mut inlet = Channel { ends: vec![0; 3], into, drop_index, count: 0 };
        thread::scope(|scope| {
            let judge = scope.spawn(|| course.judge(&mut out));
            course.send_at_full_speed(&mut inlet, 0, 40, &mut |_| {}).unwrap();
            let rounds = course.send_by_schedule(&mut inlet, 40, 3000.0, 1, &mut |_| {}).unwrap();
            assert_eq!(rounds, 1000);
            let sent = 3 * 1040;
            course.await_judged(sent - u64::from(drop_index.is_some()), &mut |_| {}).unwrap();
            over.store(true, Ordering::Relaxed);
            let verdict = judge.join().unwrap();
            (verdict.tally(&course, false).0, verdict)
        })
    }

    #[test]
    fn a_perfect_mirror_is_found_perfect_and_timed() {
        let (tally, verdict) = course(None);
        assert!(tally.is_perfect(), "{tally:?}");
        assert_eq!(tally.arrived, 3 * 1040);
        assert_eq!((verdict.from_intended.count(), verdict.from_sent.count()), (3000, 3000));
        assert!(verdict.from_intended.percentiles().max_us >= verdict.from_sent.percentiles().p50_us);
    }

    #[test]
    fn a_batch_that_never_arrives_is_missed() {
        let (tally, _) = course(Some(500));
        assert_eq!((tally.lost, tally.arrived), (1, 3 * 1040 - 1), "{tally:?}");
    }
}
