//! Something that is done again and again on a thread of its own.

use crate::edge::admin::AdminError;
use crate::edge::clock;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The longest nap before the thread looks whether it is to end.
const NAP_MS: u64 = 50;
/// Pause before what failed is tried again: what may go well in a moment, and what takes somebody to change something.
const AGAIN_MS: u64 = 1_000;
const LATER_MS: u64 = 10_000;
/// What fails for no longer than this is not worth a word: leaders move, new topics wait for theirs.
const QUIET_MS: u64 = 10_000;

/// Ends, and is waited for, when it goes out of scope.
pub(in crate::edge) struct Repeating {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Repeating {
    /// Does it at once, and then every `interval_ms`. `what` is done stands in the log if it fails.
    ///
    /// # Errors
    /// The machine has no thread for it.
    pub(in crate::edge) fn start(
        what: String,
        interval_ms: u64,
        mut round: impl FnMut() -> Result<(), AdminError> + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&stop);
        let span = tracing::Span::current();
        let run = move || {
            let _span = span.entered();
            let mut trouble = Trouble::default();
            while !is_over.load(Ordering::Relaxed) {
                let now = clock::now();
                let done = round();
                let pause_ms = match &done {
                    Ok(()) => interval_ms,
                    Err(error) if error.is_passing() => AGAIN_MS,
                    Err(_) => LATER_MS,
                };
                trouble.tell(&what, clock::now().mono_us, done);
                let due_us = now.after_ms(pause_ms);
                while !is_over.load(Ordering::Relaxed) && clock::now().mono_us < due_us {
                    std::thread::sleep(clock::until(clock::now(), due_us).min(Duration::from_millis(NAP_MS)));
                }
            }
        };
        let thread = std::thread::Builder::new().name("for-clients".into()).spawn(run)?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Repeating {
    /// The round that is under way is the last one.
    pub(in crate::edge) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for Repeating {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What fails, since when (steady clock, µs), and whether that was told.
#[derive(Debug, Default)]
struct Trouble {
    since_us: Option<u64>,
    is_told: bool,
}

impl Trouble {
    fn tell(&mut self, what: &str, now_us: u64, done: Result<(), AdminError>) {
        let Err(error) = done else {
            if std::mem::take(self).is_told {
                tracing::info!("{what} goes well again");
            }
            return;
        };
        let since_us = *self.since_us.get_or_insert(now_us);
        let is_lasting = !error.is_passing() || now_us.saturating_sub(since_us) >= QUIET_MS * 1_000;
        if is_lasting && !std::mem::replace(&mut self.is_told, true) {
            tracing::warn!(
                %error,
                "{what} does not go well, trying again; the mirror goes on, and MirrorMaker 2's clients find nothing newer there"
            );
        } else {
            tracing::debug!(%error, "{what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: i16) -> Result<(), AdminError> {
        Err(AdminError::Refused { what: "writing".into(), code })
    }

    #[test]
    fn trouble_is_told_once_and_not_at_once_if_it_may_pass() {
        const NOT_LEADER: i16 = 6;
        const DENIED: i16 = 29;
        let mut trouble = Trouble::default();
        trouble.tell("x", 0, refused(NOT_LEADER));
        assert!(!trouble.is_told);
        trouble.tell("x", QUIET_MS * 1_000, refused(NOT_LEADER));
        assert!(trouble.is_told);
        trouble.tell("x", QUIET_MS * 1_000 + 1, Ok(()));
        assert!(!trouble.is_told && trouble.since_us.is_none());
        trouble.tell("x", QUIET_MS * 2_000, refused(DENIED));
        assert!(trouble.is_told);
    }

    #[test]
    fn a_round_follows_the_other_until_it_goes_out_of_scope() {
        let (tell, told) = std::sync::mpsc::channel();
        let repeating = Repeating::start("x".into(), 1, move || {
            let _ = tell.send(());
            Ok(())
        })
        .unwrap();
        for _ in 0..3 {
            told.recv_timeout(Duration::from_secs(30)).unwrap();
        }
        drop(repeating);
        while told.try_recv().is_ok() {}
        assert_eq!(told.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected));
    }
}
