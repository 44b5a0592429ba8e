//! When each batch came and went, for benchmarks: off unless [`super::Settings::times_batches`].
//!
//! A batch costs a copy of a few words into room that is kept. What becomes of them is for others to reckon.

use std::collections::VecDeque;

/// Room for this many at a time; those beyond are counted and left out.
const KEPT_MAX: usize = 1 << 16;

/// One acknowledged batch. Moments are of the steady clock, in µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    pub partition: i32,
    /// By this whoever sent the batch knows it again.
    pub base_timestamp_ms: i64,
    /// The bytes that its header came with were received.
    pub fetched_us: u64,
    /// The socket to the target had taken its request whole.
    pub sent_us: u64,
    /// The bytes that its acknowledgement came with were received.
    pub acked_us: u64,
}

/// The timings of some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    pub batches: Vec<Timing>,
    /// For which there was no room.
    pub left_out: u64,
}

/// Collects timings, if that is wanted.
#[derive(Debug, Default)]
pub struct Recorder {
    kept: Timings,
}

impl Recorder {
    pub fn new(is_on: bool) -> Self {
        let batches = Vec::with_capacity(if is_on { KEPT_MAX } else { 0 });
        Self { kept: Timings { batches, left_out: 0 } }
    }

    /// Never allocates.
    pub fn note(&mut self, timing: Timing) {
        if self.kept.batches.len() < self.kept.batches.capacity() {
            self.kept.batches.push(timing);
        } else {
            self.kept.left_out += 1;
        }
    }

    /// What was collected since the last time, if anything was.
    pub fn take(&mut self) -> Option<Timings> {
        if self.kept.batches.is_empty() {
            return None;
        }
        // The large room stays here.
        let taken = Timings { batches: self.kept.batches.clone(), left_out: self.kept.left_out };
        self.kept.batches.clear();
        self.kept.left_out = 0;
        Some(taken)
    }
}

/// When a request's last byte was taken by the socket, request by request, in order.
#[derive(Debug, Default)]
pub(super) struct Departures(VecDeque<Departure>);

#[derive(Debug)]
struct Departure {
    /// Of everything that ever went through the connection.
    ends_at_byte: u64,
    at_us: Option<u64>,
}

impl Departures {
    /// A request is queued; behind its last byte the connection has carried so many.
    pub(super) fn queued(&mut self, ends_at_byte: u64) {
        self.0.push_back(Departure { ends_at_byte, at_us: None });
    }

    /// The socket has taken so many bytes by now.
    pub(super) fn sent(&mut self, now_us: u64, bytes: u64) {
        let is_gone = |departure: &&mut Departure| departure.ends_at_byte <= bytes;
        for departure in self.0.iter_mut().take_while(is_gone) {
            departure.at_us.get_or_insert(now_us);
        }
    }

    /// The oldest request is answered: when did it leave?
    pub(super) fn answered(&mut self) -> Option<u64> {
        self.0.pop_front()?.at_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_left_when_its_last_byte_did() {
        let mut departures = Departures::default();
        departures.queued(100);
        departures.queued(250);
        departures.sent(5, 99);
        departures.sent(7, 100);
        departures.sent(9, 249);
        assert_eq!(departures.answered(), Some(7));
        departures.sent(11, 250);
        assert_eq!((departures.answered(), departures.answered()), (Some(11), None));
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let mut recorder = Recorder::new(true);
        assert_eq!(recorder.take(), None);
        for _ in 0..KEPT_MAX + 3 {
            recorder.note(Timing::default());
        }
        let taken = recorder.take().unwrap();
        assert_eq!((taken.batches.len(), taken.left_out), (KEPT_MAX, 3));
        assert_eq!(recorder.take(), None);
    }
}
