//! The line to a shard's thread, and the keeper, who sees to it that it is heard.
//!
//! glommio sleeps in one of its rings, which watches another one where reading from sockets and timers end. Now and then the first
//! does not hear of the second (seen on Linux 6.18 on a busy machine, about once in a hundred starts): the thread sleeps on while
//! bytes wait in its sockets, and no timer of its own can wake it. Any signal ends the call in which it sleeps, and then glommio
//! looks at all its rings. So every shard is called twice a second, and one that does not answer is sent a signal. A shard that is
//! only very busy is not harmed by it.

use super::sys;
use rustix::process::Pid;
use signal_hook::consts::SIGURG;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Duration;

/// How often every shard is called.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// It is ignored by whoever does not expect it, and nobody else here sends it.
const NUDGE: i32 = SIGURG;

/// A way to tell a thread that there is something for it.
pub struct Line {
    bell: UnixStream,
    /// Set by whoever rang, so that the others need not; and when the keeper looked last, how often the thread had answered.
    rung: AtomicBool,
    answered: AtomicU64,
    seen: AtomicU64,
    thread: OnceLock<Pid>,
}

impl Line {
    /// A line, and the end at which the thread hears a byte when it rings.
    pub fn new() -> io::Result<(Self, UnixStream)> {
        let (bell, far) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let (rung, answered, seen) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Ok((Self { bell, rung, answered, seen, thread: OnceLock::new() }, far))
    }

    /// The calling thread is the one to wake.
    pub fn ends_here(&self) {
        let _ = self.thread.set(rustix::thread::gettid());
    }

    /// Before the thread looks at what there is for it: who has something more from now on rings again.
    pub fn answer(&self) {
        self.answered.fetch_add(1, Ordering::SeqCst);
        self.rung.store(false, Ordering::SeqCst);
    }

    /// There is something for the thread. Never waits.
    pub fn call(&self) {
        if !self.rung.swap(true, Ordering::SeqCst) {
            self.ring();
        }
    }

    /// As [`Self::call`], whether the last one was answered or not.
    pub fn ring(&self) {
        // A full socket buffer means that it has been rung often enough, a closed one that there is nobody to wake.
        let _ = (&self.bell).write(&[1]);
    }

    fn keep(&self) {
        let answered = self.answered.load(Ordering::SeqCst);
        let is_silent = self.seen.swap(answered, Ordering::SeqCst) == answered;
        if is_silent && let Some(&thread) = self.thread.get() {
            tracing::debug!(?thread, "a shard does not answer and is woken by a signal");
            sys::interrupt(thread, NUDGE);
        }
        self.call();
    }
}

/// The lines that are kept. None: there is no keeper yet.
static KEPT: Mutex<Option<Vec<Weak<Line>>>> = Mutex::new(None);

/// Keeps the line until it is dropped.
pub fn keep(line: &Arc<Line>) -> io::Result<()> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.is_none() {
        // Without a handler the signal would be ignored, and end no call.
        signal_hook::flag::register(NUDGE, Arc::default())?;
        thread::Builder::new().name("keeper".into()).spawn(|| {
            loop {
                thread::sleep(LOOK_EVERY);
                look();
            }
        })?;
    }
    kept.get_or_insert_default().push(Arc::downgrade(line));
    Ok(())
}

fn look() {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(lines) = kept.as_mut() {
        lines.retain(|line| line.upgrade().map(|line| line.keep()).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::Timespec;
    use rustix::io::Errno;
    use std::io::Read;
    use std::sync::mpsc;

    #[test]
    fn who_rang_already_need_not_ring_again() {
        let (line, mut far) = Line::new().unwrap();
        line.call();
        line.call();
        let mut rings = [0; 4];
        assert_eq!(far.read(&mut rings).unwrap(), 1);
        line.call();
        line.answer();
        line.call();
        assert_eq!(far.read(&mut rings).unwrap(), 1);
    }

    /// A thread that hears nothing, as one whose rings do not tell each other.
    #[test]
    fn a_thread_that_does_not_answer_is_woken() {
        let (line, _far) = Line::new().unwrap();
        let line = Arc::new(line);
        let (tell, told) = mpsc::channel();
        let sleeper = thread::spawn({
            let line = Arc::clone(&line);
            move || {
                line.ends_here();
                tell.send(()).unwrap();
                rustix::event::poll(&mut [], Some(&Timespec { tv_sec: 600, tv_nsec: 0 }))
            }
        });
        told.recv().unwrap();
        keep(&line).unwrap();
        assert_eq!(sleeper.join().unwrap(), Err(Errno::INTR));
    }

    #[test]
    fn a_thread_that_answers_is_left_alone() {
        let (line, _far) = Line::new().unwrap();
        line.keep();
        for _ in 0..3 {
            assert!(line.rung.load(Ordering::SeqCst), "it is called");
            line.answer();
            line.keep();
            let (seen, answered) = (line.seen.load(Ordering::SeqCst), line.answered.load(Ordering::SeqCst));
            assert_eq!(seen, answered);
        }
    }
}
