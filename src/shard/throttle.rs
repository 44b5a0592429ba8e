//! A limit to the bandwidth: when more has come than it lets, nothing is fetched until the time for it has passed.

use super::source::Slot;
use crate::time::Now;

/// A fetch brings at most what may come in so long, so that the rate is even.
const PORTIONS_A_SECOND: u64 = 10;

#[derive(Debug)]
pub(super) struct Throttle {
    bytes_per_second: Option<u64>,
    /// When what has come so far is paid for (steady clock, µs).
    free_at_us: u64,
}

impl Throttle {
    pub(super) fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second: bytes_per_second.map(|rate| rate.max(1)), free_at_us: 0 }
    }

    /// Another limit from now on. What has come is paid for at the new rate.
    pub(super) fn set(&mut self, now: Now, bytes_per_second: Option<u64>) {
        let owed_us = self.free_at_us.saturating_sub(now.mono_us);
        let before = self.bytes_per_second;
        *self = Self::new(bytes_per_second);
        if let (Some(before), Some(rate)) = (before, self.bytes_per_second) {
            let owed_us = u128::from(owed_us) * u128::from(before) / u128::from(rate);
            self.free_at_us = now.mono_us.saturating_add(u64::try_from(owed_us).unwrap_or(u64::MAX));
        }
    }

    /// So many bytes came.
    pub(super) fn take(&mut self, now: Now, bytes: usize) {
        if let Some(rate) = self.bytes_per_second {
            let takes_us = (bytes as u64).saturating_mul(1_000_000) / rate;
            self.free_at_us = self.free_at_us.max(now.mono_us).saturating_add(takes_us);
        }
    }

    pub(super) fn may_fetch(&self, now: Now) -> bool {
        self.free_at_us <= now.mono_us
    }

    /// The most that one fetch should bring.
    pub(super) fn portion_bytes(&self) -> usize {
        let portion = |rate: u64| usize::try_from(rate / PORTIONS_A_SECOND).unwrap_or(usize::MAX);
        self.bytes_per_second.map_or(usize::MAX, portion)
    }

    /// When fetching may go on; in the past when it never stopped.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        self.bytes_per_second.map(|_| self.free_at_us)
    }
}

/// Lanes that have a limit together. While it is reached they are left out of the fetches.
#[derive(Debug)]
pub(super) struct Limited {
    pub(super) throttle: Throttle,
    pub(super) lanes: Vec<Slot>,
    pub(super) is_held: bool,
}

impl Limited {
    pub(super) fn new() -> Self {
        Self { throttle: Throttle::new(None), lanes: Vec::new(), is_held: false }
    }

    /// Whether its lanes are to be fetched and were not, or the other way round.
    pub(super) fn turns(&mut self, now: Now) -> bool {
        let is_held = !self.throttle.may_fetch(now);
        std::mem::replace(&mut self.is_held, is_held) != is_held
    }

    /// When its lanes may be fetched again that are not now.
    pub(super) fn poll_timeout(&self) -> Option<u64> {
        self.throttle.poll_timeout().filter(|_| self.is_held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_us: u64) -> Now {
        Now { mono_us, wall_ms: 0 }
    }

    #[test]
    fn what_came_is_paid_for_in_time() {
        let mut throttle = Throttle::new(Some(1_000_000));
        assert!(throttle.may_fetch(at(0)));
        throttle.take(at(5_000_000), 250_000);
        assert!(!throttle.may_fetch(at(5_249_999)) && throttle.may_fetch(at(5_250_000)));
        throttle.take(at(5_000_000), 250_000);
        assert_eq!(throttle.poll_timeout(), Some(5_500_000), "more on top of it");
        throttle.take(at(9_000_000), 1_000);
        assert_eq!(throttle.poll_timeout(), Some(9_001_000), "what was not used is not saved up");
        assert_eq!(throttle.portion_bytes(), 100_000);
    }

    #[test]
    fn what_is_owed_is_paid_at_the_new_rate() {
        let mut throttle = Throttle::new(Some(1_000_000));
        throttle.take(at(0), 2_000_000);
        throttle.set(at(1_000_000), Some(4_000_000));
        assert_eq!(throttle.poll_timeout(), Some(1_250_000));
        throttle.set(at(1_000_000), None);
        assert!(throttle.may_fetch(at(1_000_000)) && throttle.portion_bytes() == usize::MAX);
        throttle.set(at(1_000_000), Some(10));
        throttle.take(at(1_000_000), 20);
        assert_eq!(throttle.poll_timeout(), Some(3_000_000));
    }

    #[test]
    fn without_a_limit_nothing_waits() {
        let mut throttle = Throttle::new(None);
        throttle.take(at(0), usize::MAX);
        assert!(throttle.may_fetch(at(0)));
        assert_eq!((throttle.poll_timeout(), throttle.portion_bytes()), (None, usize::MAX));
    }
}
