//! Ctrl-C and SIGTERM: the first asks for a clean stop, the second ends the process.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Exit code of a process that Ctrl-C stopped, by the shells' convention (128 + SIGINT).
pub const INTERRUPTED: u8 = 130;

/// Whether, and by what, the process was asked to stop.
#[derive(Clone, Debug)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl Stop {
    /// Listens to SIGINT and SIGTERM from now on. The second of them exits at once with [`INTERRUPTED`].
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self { asked: Arc::default(), signal: Arc::default() };
        for signal in [SIGINT, SIGTERM] {
            // The order matters: the exit is armed by the flag that the first signal sets only afterwards.
            flag::register_conditional_shutdown(signal, i32::from(INTERRUPTED), Arc::clone(&stop.asked))?;
            flag::register_usize(signal, Arc::clone(&stop.signal), signal as usize)?;
            flag::register(signal, Arc::clone(&stop.asked))?;
        }
        Ok(stop)
    }

    /// The flag that a signal sets.
    pub fn flag(&self) -> &AtomicBool {
        &self.asked
    }

    /// A signal has come.
    pub fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// It was Ctrl-C, not SIGTERM, which is how service managers end what has done its duty.
    pub fn was_interrupt(&self) -> bool {
        self.signal.load(Ordering::Relaxed) == SIGINT as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_asks_for_a_stop() {
        let stop = Stop::on_signals().unwrap();
        assert!(!stop.flag().load(Ordering::Relaxed));
        signal_hook::low_level::raise(SIGTERM).unwrap();
        assert!(stop.flag().load(Ordering::Relaxed));
        assert!(!stop.was_interrupt());
    }
}
