//! Under what circumstances something was measured.

use crate::edge::clock;
use std::fs;
use std::process::{Command, Stdio};
use std::thread::available_parallelism;

/// Name and value, for people.
pub type Facts = Vec<(&'static str, String)>;

const UNKNOWN: &str = "unknown";

/// Now, on this machine, by this process.
pub fn facts() -> Facts {
    vec![
        ("Command", command_line(std::env::args())),
        ("Date", utc(clock::now().wall_ms)),
        ("Version", env!("CARGO_PKG_VERSION").to_owned()),
        ("Commit", commit()),
        ("Machine", machine()),
    ]
}

/// As it would be typed.
fn command_line(args: impl Iterator<Item = String>) -> String {
    let mut line = String::new();
    for (at, arg) in args.enumerate() {
        // The name of the program, not where it lies.
        let arg = if at == 0 { arg.rsplit('/').next().unwrap_or_default().to_owned() } else { arg };
        if at > 0 {
            line.push(' ');
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=+@%".contains(c);
        match !arg.is_empty() && arg.chars().all(is_plain) {
            true => line.push_str(&arg),
            false => line.push_str(&format!("'{}'", arg.replace('\'', r"'\''"))),
        }
    }
    line
}

/// What was built, if the build was told (`TWINLOG_COMMIT`); otherwise what lies in the folder that it was built from.
fn commit() -> String {
    if let Some(commit) = option_env!("TWINLOG_COMMIT") {
        return commit.to_owned();
    }
    let Some(head) = git(&["rev-parse", "--short=12", "HEAD"]) else { return UNKNOWN.to_owned() };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => head,
        _ => format!("{head}, with changes"),
    }
}

fn git(args: &[&str]) -> Option<String> {
    let mut git = Command::new("git");
    git.arg("-C").arg(env!("CARGO_MANIFEST_DIR")).args(args).stdin(Stdio::null()).stderr(Stdio::null());
    let output = git.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn machine() -> String {
    let cores = available_parallelism().map_or(1, usize::from);
    let uname = rustix::system::uname();
    format!(
        "{}, {cores} {}, {} of memory, {} {}",
        processor().unwrap_or_else(|| "unknown processor".to_owned()),
        if cores == 1 { "core" } else { "cores" },
        memory().unwrap_or_else(|| UNKNOWN.to_owned()),
        uname.sysname().to_string_lossy(),
        uname.release().to_string_lossy(),
    )
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name") || line.starts_with("Model"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory() -> Option<String> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(crate::stats::units::memory(kib * 1024))
}

/// `2026-11-26 15:04:05 UTC`
fn utc(wall_ms: i64) -> String {
    let seconds = wall_ms.div_euclid(1000);
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Years that begin in March have their leap day at the end: 400 of them have 146,097 days.
    let from_march = days + 719_468;
    let (era, of_era) = (from_march.div_euclid(146_097), from_march.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(utc(951_782_399_999), "2000-02-28 23:59:59 UTC");
        assert_eq!(utc(951_782_400_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(utc(1_709_251_200_000), "2024-03-01 00:00:00 UTC");
        assert_eq!(utc(1_795_702_800_000), "2026-11-26 14:20:00 UTC");
    }

    #[test]
    fn the_command_can_be_typed_again() {
        let args = ["/opt/bin/twinlog", "bench", "--report", "my page.html", "--source", "a:1,b:2", "it's"];
        let line = command_line(args.into_iter().map(str::to_owned));
        assert_eq!(line, r"twinlog bench --report 'my page.html' --source a:1,b:2 'it'\''s'");
    }

    #[test]
    fn every_fact_has_a_value() {
        for (name, value) in facts() {
            assert!(!value.is_empty(), "{name}");
        }
    }
}
