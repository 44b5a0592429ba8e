//! One letter for each partition, and how many in a row have it: `a9812x1a187`.

use super::history::row;
use crate::stats::{LaneLook, Watch};

/// What a partition's cell says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Stands still for good.
    Stopped,
    /// Is behind and has not moved for too long.
    Stuck,
    Paused,
    /// Its position, or its source's end, is not known yet.
    Unknown,
    /// Not behind: 0. Else by the age of its newest record, the older the higher, up to 8.
    Behind(usize),
}

impl Cell {
    pub fn of(lane: &LaneLook, watch: &Watch) -> Self {
        match lane.lag_records() {
            _ if lane.stopped.is_some() => Self::Stopped,
            _ if lane.is_paused() => Self::Paused,
            _ if lane.still_ms > watch.still_ms_max => Self::Stuck,
            None => Self::Unknown,
            lag => Self::Behind(row(lag, lane.lag_ms(watch.at.wall_ms))),
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Stopped => 'x',
            Self::Stuck => 's',
            Self::Paused => 'p',
            Self::Unknown => 'u',
            Self::Behind(row) => "abcdefghi".chars().nth(row).unwrap_or('i'),
        }
    }
}

/// Partitions that are not behind at this moment.
pub(super) fn caught_up(watch: &Watch) -> usize {
    watch.lanes.iter().filter(|lane| Cell::of(lane, watch) == Cell::Behind(0)).count()
}

/// Of all partitions, by topic and number.
pub fn cells(watch: &Watch) -> String {
    let mut text = String::new();
    let mut run: Option<(char, usize)> = None;
    for lane in &watch.lanes {
        let letter = Cell::of(lane, watch).letter();
        match &mut run {
            Some((last, count)) if *last == letter => *count += 1,
            _ => {
                finish(&mut text, run);
                run = Some((letter, 1));
            }
        }
    }
    finish(&mut text, run);
    text
}

fn finish(text: &mut String, run: Option<(char, usize)>) {
    if let Some((letter, count)) = run {
        text.push(letter);
        text.push_str(&count.to_string());
    }
}
