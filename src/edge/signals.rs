//! Ctrl-C and SIGTERM: the first asks for a clean stop, the second ends the process. SIGHUP: the configuration is read again.

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
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
        Self::listen(&[SIGINT, SIGTERM], || false)
    }

    /// The same, and to SIGHUP: if `is_news` then says so, what runs is to end and to begin again, see [`Self::begins_again`].
    pub fn on_signals_or_news(is_news: impl FnMut() -> bool + Send + 'static) -> io::Result<Self> {
        Self::listen(&[SIGINT, SIGTERM, SIGHUP], is_news)
    }

    fn listen(signals: &[i32], mut is_news: impl FnMut() -> bool + Send + 'static) -> io::Result<Self> {
        let stop = Self::default();
        let mut signals = Signals::new(signals)?;
        let heard = stop.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            let mut first: Option<Instant> = None;
            for signal in signals.forever() {
                if signal == SIGHUP {
                    if first.is_none() && is_news() {
                        heard.signal.store(signal, Ordering::Relaxed);
                        heard.asked.store(true, Ordering::Release);
                    }
                    continue;
                }
                if first.get_or_insert_with(Instant::now).elapsed() > SAME_WISH {
                    std::process::exit(i32::from(INTERRUPTED));
                }
                let is_last_word = heard.signal.load(Ordering::Relaxed) != SIGHUP;
                if !(heard.was_asked() && is_last_word) {
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

    /// Whether what was asked to stop is only to begin again. From then on nothing is asked.
    pub fn begins_again(&self) -> bool {
        self.asked.store(false, Ordering::Release);
        let is_it = self.signal.compare_exchange(SIGHUP, 0, Ordering::AcqRel, Ordering::Acquire).is_ok();
        // Ctrl-C may have come meanwhile, and counts.
        if !is_it && self.signal.load(Ordering::Acquire) != 0 {
            self.asked.store(true, Ordering::Release);
        }
        is_it
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
        assert!(!stop.begins_again() && stop.was_asked(), "it is to end");
    }

    #[test]
    fn news_are_a_stop_that_is_no_end() {
        let stop = Stop::default();
        assert!(!stop.begins_again() && !stop.was_asked());
        stop.signal.store(SIGHUP, Ordering::Relaxed);
        stop.asked.store(true, Ordering::Relaxed);
        assert!(stop.begins_again() && !stop.was_asked());
        assert!(!stop.begins_again(), "once");
    }
}
