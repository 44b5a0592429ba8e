//! A guess what keeps the mirror from being faster. `twinlog capacity` measures it.

use crate::stats::Watch;

/// A thread that is busy for so much of the time has no room for bursts.
const BUSY: f64 = 0.85;
const FULL: f64 = 0.9;
const THROTTLED: f64 = 0.05;
/// The limit is kept by pauses, which do not quite use it up.
const AT_LIMIT: f64 = 0.8;
/// Who is so little behind is not held up.
const BEHIND_MS: u64 = 2_000;

/// None: it cannot be told from here.
pub(super) fn limiter(watch: &Watch, busy: &[f64], bytes_per_second: f64, throttled: f64) -> Option<String> {
    let limits = watch.limits;
    let lag = watch.report.lag?;
    let busiest = busy.iter().copied().fold(0.0, f64::max);
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let is_at = |rate: u64| bytes_per_second >= AT_LIMIT * rate as f64;
    Some(match () {
        () if lag.records == 0 => "nothing is behind".into(),
        () if limits.bytes_per_second.is_some_and(is_at) => "its own limit (--max-rate)".into(),
        () if throttled > THROTTLED => {
            format!("quotas: brokers throttle it for {} of the time", percent(throttled.min(1.0)))
        }
        () if busiest > BUSY => format!("CPU: its busiest core works for {} of the time", percent(busiest)),
        () if watch.report.totals.buffered_bytes as f64 >= FULL * limits.buffer_bytes as f64 => {
            "the target: the buffers are full (--buffer-bytes)".into()
        }
        () if lag.ms.is_some_and(|ms| ms < BEHIND_MS) => "it keeps up".into(),
        () => return None,
    })
}
