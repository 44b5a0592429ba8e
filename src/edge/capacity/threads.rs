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
    /// Of all cores of the machine, in ticks of its clock: at work, and in all.
    machine: (u64, u64),
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
        Self { at_us, threads, machine: machine_ticks(&fs::read_to_string("/proc/stat").unwrap_or_default()) }
    }

    /// How busy the machine's cores were since an earlier sample, whoever used them: 1 for all of them all the time.
    pub fn machine_busy_since(&self, earlier: &Self) -> f64 {
        // Kernels have been seen to count idle time back.
        let busy = self.machine.0.saturating_sub(earlier.machine.0);
        let all = self.machine.1.saturating_sub(earlier.machine.1);
        busy as f64 / all.max(1) as f64
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

/// At work, and in all, of the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
fn machine_ticks(stat: &str) -> (u64, u64) {
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).take(8).map(|word| word.parse().unwrap_or(0)).collect();
    let all: u64 = ticks.iter().sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    (all - idle, all)
}

/// The one that ran most.
pub fn busiest(shares: impl Iterator<Item = Share>) -> Share {
    shares.fold(Share::default(), |most, share| if share.ran > most.ran { share } else { most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_idle_is_busy() {
        assert_eq!(machine_ticks("cpu  100 5 50 800 20 1 2 22 7 0\ncpu0 1 1 1 1\n"), (180, 1000));
        assert_eq!(machine_ticks(""), (0, 0));
        let share = Sample::take(0).machine_busy_since(&Sample::take(0));
        assert!((0.0..=1.0).contains(&share), "{share}");
    }

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
