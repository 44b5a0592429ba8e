//! The machine's clocks.

use crate::time::Now;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Both clocks, read now. The steady one is the kernel's `CLOCK_MONOTONIC`, so every thread and process of one machine
/// shares it.
pub fn now() -> Now {
    let wall = clock_gettime(ClockId::Realtime);
    Now {
        mono_us: micros(clock_gettime(ClockId::Monotonic)),
        wall_ms: wall.tv_sec * 1_000 + wall.tv_nsec / 1_000_000,
    }
}

/// CPU time, user and system, that the calling thread has used.
pub fn thread_cpu_us() -> u64 {
    micros(clock_gettime(ClockId::ThreadCPUTime))
}

/// How long from `now` until `at_us` of the steady clock; zero when it has passed.
pub fn until(now: Now, at_us: u64) -> Duration {
    Duration::from_micros(at_us.saturating_sub(now.mono_us))
}

fn micros(t: rustix::time::Timespec) -> u64 {
    t.tv_sec as u64 * 1_000_000 + t.tv_nsec as u64 / 1_000
}
