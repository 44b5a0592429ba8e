//! Several links side by side in one process. Each has shards of its own on all the cores that it may use, so that a link that is
//! idle leaves them to the others; the kernel divides a core's time between those that are busy.

use super::mirror::{self, MirrorError, Summary};
use super::progress::Progress;
use crate::config::{LogFormat, Mirror};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread;

/// Runs all of them until each has ended by itself, or `stop` is set. `ended` is told of each as it ends; the others go on.
pub fn run(
    links: &[Mirror],
    stop: &AtomicBool,
    format: LogFormat,
    ended: &mut dyn FnMut(&Mirror, Result<Summary, MirrorError>),
) {
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        for link in links {
            let tell = tell.clone();
            let run = move || {
                let _span = tracing::info_span!("", link = link.link).entered();
                let mut progress = Progress::logged(format);
                let result = mirror::run(link, stop, &mut |report| progress.show(report));
                // Whoever listens does so until all have ended.
                let _ = tell.send((link, result));
            };
            if let Err(error) = thread::Builder::new().name("link".into()).spawn_scoped(scope, run) {
                ended(link, Err(MirrorError::Thread(error)));
            }
        }
        drop(tell);
        for (link, result) in told {
            ended(link, result);
        }
    });
}
