//! How busy this process's threads are, by their names and ids, as the kernel's scheduler counts it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// What one thread has used until now.
#[derive(Clone, Debug)]
struct Used {
    name: String,
    /// On a core, and ready for one that others had, in ns.
    ran_ns: u64,
    waited_ns: u64,
}

/// All threads at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    at_us: u64,
    threads: BTreeMap<u64, Used>,
}

/// What some thread did between two samples, as shares of one core.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    pub ran: f64,
    pub waited: f64,
}

/// Ids of threads.
pub type Ids = BTreeSet<u64>;

impl Sample {
    pub fn take(at_us: u64) -> Self {
        let mut threads = BTreeMap::new();
        for thread in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let id = thread.file_name().to_str().and_then(|id| id.parse().ok());
            let name = fs::read_to_string(thread.path().join("comm"));
            let stat = fs::read_to_string(thread.path().join("schedstat"));
            let (Some(id), Ok(name), Ok(stat)) = (id, name, stat) else { continue };
            let mut numbers = stat.split_whitespace().map(|word| word.parse().unwrap_or(0));
            let (ran_ns, waited_ns) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
            threads.insert(id, Used { name: name.trim().to_owned(), ran_ns, waited_ns });
        }
        Self { at_us, threads }
    }

    /// The threads of this name.
    pub fn ids(&self, name: &str) -> Ids {
        self.threads.iter().filter(|(_, used)| used.name == name).map(|(id, _)| *id).collect()
    }

    /// What each thread whose id or name is wanted did since an earlier sample.
    pub fn since<'a>(
        &'a self,
        earlier: &'a Self,
        is_wanted: impl Fn(u64, &str) -> bool + 'a,
    ) -> impl Iterator<Item = Share> + 'a {
        let ns = ((self.at_us - earlier.at_us) * 1000).max(1) as f64;
        self.threads.iter().filter(move |(id, used)| is_wanted(**id, &used.name)).map(move |(id, used)| {
            let (ran_ns, waited_ns) =
                earlier.threads.get(id).map_or((0, 0), |before| (before.ran_ns, before.waited_ns));
            Share {
                ran: used.ran_ns.saturating_sub(ran_ns) as f64 / ns,
                waited: used.waited_ns.saturating_sub(waited_ns) as f64 / ns,
            }
        })
    }
}

/// The one that ran most.
pub fn busiest(shares: impl Iterator<Item = Share>) -> Share {
    shares.fold(Share::default(), |most, share| if share.ran > most.ran { share } else { most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_is_found_by_its_name() {
        let (tell, wait) = std::sync::mpsc::channel();
        let (finish, finished) = std::sync::mpsc::channel::<()>();
        let before = Sample::take(0);
        let busy = std::thread::Builder::new().name("busy-capacity".into()).spawn(move || {
            let sum = (0..5_000_000u64).fold(1u64, |a, b| a.wrapping_mul(b | 1).rotate_left(5));
            tell.send(sum).unwrap();
            let _ = finished.recv();
        });
        wait.recv().unwrap();
        let after = Sample::take(1_000_000);
        assert_eq!((before.ids("busy-capacity").len(), after.ids("busy-capacity").len()), (0, 1));
        assert!(busiest(after.since(&before, |_, name| name == "busy-capacity")).ran > 0.0);
        assert_eq!(busiest(after.since(&before, |_, name| name == "no such")), Share::default());
        drop(finish);
        busy.unwrap().join().unwrap();
    }
}
