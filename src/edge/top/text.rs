//! The same words on the screen and in a snapshot. What comes from the mirror may hold anything: control characters do not reach
//! a terminal.

use super::Seen;
use crate::stats::live::{LaneLine, LiveLook};
use crate::stats::units;
use std::time::Duration;

/// How it goes, in a few lines.
pub(super) fn summary(look: &LiveLook) -> Vec<String> {
    let limit = look.max_rate_bytes.map(|rate| format!(" (limit {})", units::byte_rate(rate as f64)));
    let mut lag = match look.lag_records {
        None => "lag not known yet".to_owned(),
        Some(0) => "nothing behind".to_owned(),
        Some(records) => format!("{} records behind", units::count(records)),
    };
    if let Some(ms) = look.lag_ms.filter(|_| look.lag_records != Some(0)) {
        lag += &format!(", {}", span(ms));
    }
    if let Some(ms) = look.eta_ms {
        lag += &format!(", caught up in {}", span(ms));
    }
    let lanes = look.lanes;
    vec![
        format!(
            "{}: {} to {}, up for {}",
            printable(&look.link),
            printable(&look.source_cluster),
            printable(&look.target_cluster),
            span(look.elapsed_ms)
        ),
        format!(
            "{}{}, {}; {lag}",
            units::byte_rate(look.bytes_per_second),
            limit.unwrap_or_default(),
            units::rate(look.records_per_second, "records")
        ),
        format!(
            "CPU {:.0} % of {} cores (busiest {:.0} %), buffers {} of {}",
            look.busy_cores * 100.0,
            look.cores,
            look.busiest_core * 100.0,
            units::memory(look.buffered_bytes),
            units::memory(look.buffer_bytes)
        ),
        format!("limited by: {}", look.limiter.as_deref().map_or_else(|| "not known".into(), printable)),
        format!(
            "{} partitions, {} not behind, {} paused, {} stopped, {} in need of attention",
            units::count(lanes.total as u64),
            units::count(lanes.caught_up as u64),
            units::count(lanes.paused as u64),
            units::count(lanes.stopped as u64),
            units::count(look.sick_count as u64)
        ),
    ]
}

/// What else is wrong.
pub(super) fn problems(look: &LiveLook) -> Vec<String> {
    look.problems.iter().map(|problem| printable(problem)).collect()
}

pub(super) const HEADS: [&str; 6] = ["partition", "state", "behind", "age", "position", "what is wrong"];

pub(super) fn row(lane: &LaneLine) -> [String; 6] {
    [
        printable(&format!("{}-{}", lane.topic, lane.partition)),
        printable(&lane.state),
        lane.lag_records.map_or_else(|| "?".into(), units::count),
        lane.lag_ms.map_or_else(|| "?".into(), |ms| if ms == 0 { "-".into() } else { span(ms) }),
        lane.position.map_or_else(|| "?".into(), |at| at.to_string()),
        lane.why.as_deref().map(printable).unwrap_or_default(),
    ]
}

/// All of it once, for a pipe or a file.
pub(super) fn snapshot(seen: &Seen) -> String {
    let mut lines = summary(&seen.look);
    lines.extend(problems(&seen.look));
    let rows: Vec<[String; 6]> =
        std::iter::once(HEADS.map(str::to_owned)).chain(seen.list.lanes.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
    lines.push(String::new());
    for row in &rows {
        let [name, state, behind, age, position, why] = row;
        let line = format!(
            "{name:0$}  {state:1$}  {behind:>2$}  {age:>3$}  {position:>4$}  {why}",
            widths[0], widths[1], widths[2], widths[3], widths[4]
        );
        lines.push(line.trim_end().to_owned());
    }
    let left_out = seen.list.total.saturating_sub(seen.list.lanes.len());
    if left_out > 0 {
        lines.push(format!("and {} more", units::count(left_out as u64)));
    }
    lines.join("\n") + "\n"
}

fn span(ms: u64) -> String {
    units::duration(Duration::from_millis(ms))
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
