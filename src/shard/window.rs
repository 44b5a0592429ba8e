//! How much one source connection is asked for at once.
//!
//! Where the next fetch begins is known when the answer to the last one is in, so between two answers a connection lies idle for a
//! round trip. Over a short way that is nothing. Over a long way the answers have to be large enough to make up for it: while full
//! answers come and the connection idles for more than an eighth of their time, twice as much is asked for.

use crate::time::Now;

/// What is asked for at first, and again when there is little to be had.
const BEGIN_BYTES: usize = 8 << 20;
/// An answer is full that has this part of what was asked for: the next batch may not have fitted.
const FULL_QUARTERS: usize = 3;
/// Idle for more than one part in so many of the time that an answer takes to come in: ask for more.
const IDLE_PART: u64 = 8;
/// Shorter pauses are the broker's, not the way's.
const IDLE_US_MIN: u64 = 5_000;

#[derive(Debug)]
pub(super) struct Window {
    bytes: usize,
    max: usize,
    /// The last answer was in, or was asked for while nothing else was under way (steady clock, µs).
    idle_since_us: u64,
    began_us: u64,
}

impl Window {
    pub(super) fn new(max: usize) -> Self {
        Self { bytes: BEGIN_BYTES.min(max), max, idle_since_us: 0, began_us: 0 }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn handle_sent(&mut self, now: Now, is_alone: bool) {
        if is_alone {
            self.idle_since_us = now.mono_us;
        }
    }

    /// An answer begins to come in.
    pub(super) fn handle_begun(&mut self, now: Now) {
        self.began_us = now.mono_us;
    }

    /// It is in. `was_held`: the broker kept it back for a quota, which larger answers do not change.
    pub(super) fn handle_ended(&mut self, now: Now, asked_bytes: usize, came_bytes: usize, was_held: bool) {
        let idle_us = self.began_us.saturating_sub(self.idle_since_us);
        let flow_us = now.mono_us.saturating_sub(self.began_us);
        self.idle_since_us = now.mono_us;
        let is_full = came_bytes >= asked_bytes / 4 * FULL_QUARTERS;
        // What was not asked for, for want of room or by a limit, is no reason to ask for more.
        if is_full && asked_bytes >= self.bytes && idle_us > IDLE_US_MIN.max(flow_us / IDLE_PART) && !was_held
        {
            self.bytes = self.bytes.saturating_mul(2).min(self.max);
        } else if came_bytes < self.bytes / 4 {
            self.bytes = (self.bytes / 2).max(BEGIN_BYTES.min(self.max));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    /// A connection of 100 MB/s and such a round trip, over which so much is to be had; what it comes to ask for.
    fn grown(round_trip_ms: u64, available_bytes: usize, max: usize) -> usize {
        let mut window = Window::new(max);
        let mut mono_us = 0;
        for _ in 0..20 {
            let at = |mono_us| Now { mono_us, wall_ms: 0 };
            window.handle_sent(at(mono_us), true);
            mono_us += round_trip_ms * 1000;
            window.handle_begun(at(mono_us));
            let asked = window.bytes();
            let came = asked.min(available_bytes);
            mono_us += came as u64 / 100;
            window.handle_ended(at(mono_us), asked, came, false);
        }
        window.bytes()
    }

    #[test]
    fn it_grows_with_the_round_trip_and_no_further_than_it_may() {
        assert_eq!((grown(0, usize::MAX, 48 * MIB), grown(4, usize::MAX, 48 * MIB)), (8 * MIB, 8 * MIB));
        assert_eq!(grown(20, usize::MAX, 48 * MIB), 16 * MIB);
        assert_eq!(grown(80, usize::MAX, 512 * MIB), 64 * MIB);
        assert_eq!(grown(80, usize::MAX, 48 * MIB), 48 * MIB);
        assert_eq!(grown(80, usize::MAX, 1 << 10), 1 << 10);
    }

    #[test]
    fn where_little_is_to_be_had_little_is_asked_for() {
        assert_eq!(grown(80, 100_000, 48 * MIB), 8 * MIB);
        let mut window = Window::new(48 * MIB);
        window.bytes = 48 * MIB;
        window.handle_ended(Now { mono_us: 9, wall_ms: 0 }, 48 * MIB, 1_000, false);
        assert_eq!(window.bytes(), 24 * MIB);
    }

    #[test]
    fn an_answer_that_was_kept_back_or_asked_for_less_says_nothing() {
        for (asked, was_held) in [(8 * MIB, true), (4 * MIB, false)] {
            let mut window = Window::new(48 * MIB);
            window.handle_sent(Now::default(), true);
            window.handle_begun(Now { mono_us: 80_000, wall_ms: 0 });
            window.handle_ended(Now { mono_us: 90_000, wall_ms: 0 }, asked, asked, was_held);
            assert_eq!(window.bytes(), 8 * MIB);
        }
    }
}
