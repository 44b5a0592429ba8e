//! What this process has used of the machine, as the kernel counts it.

use std::fs;

/// The largest resident memory so far, in bytes (VmHWM); 0 where the kernel does not say.
pub fn peak_rss_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

/// CPU time, user and system, in µs, of the running threads whose name begins with one of `names`.
pub fn cpu_us_of_threads(names: &[&str]) -> u64 {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return 0 };
    threads
        .flatten()
        .filter_map(|thread| {
            let name = fs::read_to_string(thread.path().join("comm")).ok()?;
            names.iter().any(|wanted| name.starts_with(wanted)).then_some(())?;
            let schedstat = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            let ns: u64 = schedstat.split_whitespace().next()?.parse().ok()?;
            Some(ns / 1000)
        })
        .sum()
}

/// CPU time of this process, user and system, in µs, in steps of 10 ms; threads that have ended count, too.
pub fn process_cpu_us() -> u64 {
    const TICK_US: u64 = 10_000;
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the process, in parentheses, may hold blanks.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok());
    ticks.sum::<u64>() * TICK_US
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_counts_our_memory_and_time() {
        assert!(peak_rss_bytes() > 1 << 20);
        let (started, wait) = std::sync::mpsc::channel();
        let (finish, finished) = std::sync::mpsc::channel::<()>();
        let busy = std::thread::Builder::new().name("busy-thread".into()).spawn(move || {
            let sum = (0..3_000_000u64).fold(1u64, |a, b| a.wrapping_mul(b | 1).rotate_left(5));
            started.send(sum).unwrap();
            let _ = finished.recv();
        });
        wait.recv().unwrap();
        assert!(cpu_us_of_threads(&["busy-"]) > 0);
        assert!(process_cpu_us() > 0);
        assert_eq!(cpu_us_of_threads(&["no such thread"]), 0);
        drop(finish);
        busy.unwrap().join().unwrap();
    }
}
