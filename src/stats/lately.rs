//! What was measured lately, as Kafka's own sensors keep it: over two windows of half a minute, of which the older one is
//! dropped when both are over. So MirrorMaker's metrics mean here what they mean there.

/// `metrics.sample.window.ms`, of which `metrics.num.samples` are two.
const WINDOW_US: u64 = 30_000_000;

/// The newest value; and the least, the largest and the mean of the last 30 to 60 s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lately {
    newest: Option<u64>,
    /// The older one first. One with no count was never begun.
    windows: [Window; 2],
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Window {
    begun_us: u64,
    count: u64,
    min: u64,
    max: u64,
    sum: u128,
}

impl Window {
    fn counts_at(&self, now_us: u64) -> bool {
        self.count > 0 && now_us.saturating_sub(self.begun_us) < 2 * WINDOW_US
    }
}

/// What there is to say of the last 30 to 60 s.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    pub min: u64,
    pub max: u64,
    pub mean: f64,
}

impl Lately {
    /// Notes a value that `count` things had in common.
    pub fn record(&mut self, now_us: u64, value: u64, count: u64) {
        if count == 0 {
            return;
        }
        self.newest = Some(value);
        if self.windows[1].count == 0 || now_us.saturating_sub(self.windows[1].begun_us) >= WINDOW_US {
            self.windows = [self.windows[1], Window { begun_us: now_us, min: u64::MAX, ..Window::default() }];
        }
        let window = &mut self.windows[1];
        window.count += count;
        window.min = window.min.min(value);
        window.max = window.max.max(value);
        window.sum += u128::from(value) * u128::from(count);
    }

    pub fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// None: nothing came lately.
    pub fn span(&self, now_us: u64) -> Option<Span> {
        let windows = || self.windows.iter().filter(|window| window.counts_at(now_us));
        let count: u64 = windows().map(|window| window.count).sum();
        let sum: u128 = windows().map(|window| window.sum).sum();
        Some(Span {
            min: windows().map(|window| window.min).min()?,
            max: windows().map(|window| window.max).max()?,
            mean: sum as f64 / count as f64,
        })
    }

    /// The sum of the values for each second, as Kafka's `Rate`: of a window that has just begun as if it were over.
    pub fn per_second(&self, now_us: u64) -> f64 {
        let windows = || self.windows.iter().filter(|window| window.counts_at(now_us));
        let Some(begun_us) = windows().map(|window| window.begun_us).min() else { return 0.0 };
        let mut elapsed_us = now_us.saturating_sub(begun_us);
        if elapsed_us < WINDOW_US {
            elapsed_us += WINDOW_US;
        }
        windows().map(|window| window.sum).sum::<u128>() as f64 / (elapsed_us as f64 / 1e6)
    }
}

/// What passed of a lane: all of it, and how it went lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    pub records: u64,
    pub bytes: u64,
    pub records_lately: Lately,
    pub bytes_lately: Lately,
    /// How old records were when they arrived here, in ms.
    pub age_ms: Lately,
    /// The same when the target had acknowledged them.
    pub latency_ms: Lately,
}

impl Passed {
    /// Counts an acknowledged batch; `ages_ms` as it arrived and as it was acknowledged, if it has a timestamp.
    pub fn record(&mut self, now_us: u64, records: u64, bytes: u64, ages_ms: Option<[u64; 2]>) {
        self.records += records;
        self.bytes += bytes;
        self.records_lately.record(now_us, records, 1);
        self.bytes_lately.record(now_us, bytes, 1);
        if let Some([age_ms, latency_ms]) = ages_ms {
            self.age_ms.record(now_us, age_ms, records);
            self.latency_ms.record(now_us, latency_ms, records);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    #[test]
    fn what_is_a_minute_old_is_forgotten_but_for_the_newest() {
        let mut lately = Lately::default();
        assert_eq!((lately.newest(), lately.span(0), lately.per_second(0)), (None, None, 0.0));
        lately.record(10 * S, 5, 1);
        lately.record(20 * S, 9, 3);
        lately.record(45 * S, 1, 1);
        assert_eq!(lately.span(46 * S), Some(Span { min: 1, max: 9, mean: 33.0 / 5.0 }));
        assert_eq!(lately.span(70 * S), Some(Span { min: 1, max: 1, mean: 1.0 }));
        assert_eq!((lately.span(105 * S), lately.newest()), (None, Some(1)));
        lately.record(200 * S, 7, 1);
        assert_eq!(lately.span(200 * S), Some(Span { min: 7, max: 7, mean: 7.0 }));
    }

    #[test]
    fn rates_are_over_a_whole_window_at_least() {
        let mut lately = Lately::default();
        lately.record(100 * S, 600, 1);
        assert_eq!(lately.per_second(100 * S), 20.0);
        assert_eq!(lately.per_second(110 * S), 15.0);
        assert_eq!(lately.per_second(130 * S), 20.0);
        lately.record(130 * S, 600, 1);
        assert_eq!(lately.per_second(140 * S), 30.0);
        assert_eq!(lately.per_second(190 * S), 0.0);
    }

    #[test]
    fn a_lane_remembers_all_that_passed() {
        let mut passed = Passed::default();
        passed.record(S, 10, 1_000, Some([3, 5]));
        passed.record(2 * S, 30, 2_000, None);
        assert_eq!((passed.records, passed.bytes), (40, 3_000));
        assert_eq!(passed.latency_ms.span(2 * S), Some(Span { min: 5, max: 5, mean: 5.0 }));
        assert_eq!(passed.records_lately.per_second(2 * S), 40.0 / 31.0);
    }
}
