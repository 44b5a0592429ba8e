//! Ctrl-C and SIGTERM: the first asks for a clean stop, the second ends the process.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Exit code of a process that Ctrl-C stopped, by the shells' convention (128 + SIGINT).
pub const INTERRUPTED: u8 = 130;

/// A signal that comes so soon after the first is the same wish: some wrappers send it to the process and to its group.
const SAME_WISH: Duration = Duration::from_millis(300);

/// Whether, and by what, the process was asked to stop.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    signal: Arc<AtomicI32>,
}

impl Stop {
    /// Listens to SIGINT and SIGTERM from now on. The second of them exits at once with [`INTERRUPTED`].
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let heard = stop.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            let mut first: Option<Instant> = None;
            for signal in signals.forever() {
                if first.get_or_insert_with(Instant::now).elapsed() > SAME_WISH {
                    std::process::exit(i32::from(INTERRUPTED));
                }
                if !heard.was_asked() {
                    heard.signal.store(signal, Ordering::Relaxed);
                    heard.asked.store(true, Ordering::Release);
                    tracing::info!("stopping cleanly; once more, and the process ends at once");
                }
            }
        })?;
        Ok(stop)
    }

    /// The flag that a signal sets.
    pub fn flag(&self) -> &AtomicBool {
        &self.asked
    }

    /// A signal has come.
    pub fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// It was Ctrl-C, not SIGTERM, which is how service managers end what has done its duty.
    pub fn was_interrupt(&self) -> bool {
        self.was_asked() && self.signal.load(Ordering::Relaxed) == SIGINT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_asks_for_a_stop_and_its_echo_is_ignored() {
        let stop = Stop::on_signals().unwrap();
        assert!(!stop.was_asked());
        signal_hook::low_level::raise(SIGTERM).unwrap();
        while !stop.was_asked() {
            thread::yield_now();
        }
        signal_hook::low_level::raise(SIGTERM).unwrap();
        assert!(!stop.was_interrupt());
    }
}
