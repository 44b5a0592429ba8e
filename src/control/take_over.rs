//! Where another mirror stood: the last records of the target's partition are looked for in the source's.
//!
//! What such a mirror remembers of itself lags behind what it wrote, so whoever begins there doubles records if it did not end
//! cleanly. What it wrote is on the target: a mirror that keeps partitions apart and their records in order has copied everything
//! before the record that it copied last.

use super::verify::{Halt, Held, open};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;

/// Records of a tail. That so many stand in a row twice, times included, is out of the question.
pub const TAIL_RECORDS: usize = 100;
/// A shorter row is believed only if it is all that there is of the tail, and stands at one place of the source.
const SURE_RECORDS: usize = 16;

/// A record's time, key, value and headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print([u8; 32]);

/// The records of a batch: offset, time, and the print, which has the time in it unless the cluster puts others in its place.
///
/// # Errors
/// The batch is damaged.
pub fn prints(batch: &Held, with_times: bool) -> Result<Vec<(i64, i64, Print)>, String> {
    let records = open(batch, true, "log").map_err(|halt| match halt {
        Halt::Different(difference) => difference.what,
        Halt::Unseen => "its contents were not read".into(),
    })?;
    let print = |time_ms: i64, body: &[u8]| {
        let time = if with_times { time_ms.to_be_bytes() } else { [0; 8] };
        Print(Sha256::new().chain_update(time).chain_update(body).finalize().into())
    };
    let all = records
        .iter()
        .map(|record| (record.source_offset, record.timestamp_ms, print(record.timestamp_ms, &record.body)));
    Ok(all.collect())
}

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// So many of the tail's records, its last ones, stand in the source right before this offset.
    Before {
        source_offset: i64,
        records: usize,
    },
    /// They stand at several places.
    Ambiguous {
        records: usize,
    },
    /// Only so few stand in a row that others may have come between them.
    Few {
        records: usize,
    },
    Nowhere,
}

/// Looks for a tail in a log that is read forward.
#[derive(Debug)]
pub struct Search {
    tail: Vec<Print>,
    /// The target has nothing before the tail.
    is_all: bool,
    /// The log's last records, as many as the tail has.
    passed: VecDeque<Print>,
    found: Found,
}

impl Search {
    pub fn new(tail: Vec<Print>, is_all: bool) -> Self {
        Self { passed: VecDeque::with_capacity(tail.len()), tail, is_all, found: Found::Nowhere }
    }

    /// The log's next record.
    pub fn push(&mut self, offset: i64, print: Print) {
        if self.passed.len() == self.tail.len() {
            self.passed.pop_front();
        }
        self.passed.push_back(print);
        let same =
            self.passed.iter().rev().zip(self.tail.iter().rev()).take_while(|(one, other)| one == other);
        let records = same.count();
        let before = match self.found {
            Found::Before { records, .. } | Found::Ambiguous { records } | Found::Few { records } => records,
            Found::Nowhere => 0,
        };
        if records > before {
            self.found = Found::Before { source_offset: offset + 1, records };
        } else if records == before && records > 0 {
            self.found = Found::Ambiguous { records };
        }
    }

    /// Nothing that may still come could change it.
    pub fn is_over(&self) -> bool {
        let whole = self.tail.len();
        let is_sure = whole >= SURE_RECORDS || self.is_all;
        whole == 0 || (is_sure && matches!(self.found, Found::Before { records, .. } if records == whole))
    }

    pub fn found(&self) -> Found {
        match self.found {
            Found::Before { records, .. } if records < self.tail.len().min(SURE_RECORDS) => {
                Found::Few { records }
            }
            found => found,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(text: u8) -> Print {
        Print([text; 32])
    }

    /// Looks for the one text's letters in the other's, offsets from 100 on.
    fn search(tail: &str, log: &str, is_all: bool) -> (Found, usize) {
        let mut search = Search::new(tail.bytes().map(print).collect(), is_all);
        let mut read = 0;
        for (offset, letter) in (100..).zip(log.bytes()) {
            if search.is_over() {
                break;
            }
            search.push(offset, print(letter));
            read += 1;
        }
        (search.found(), read)
    }

    fn before(source_offset: i64, records: usize) -> Found {
        Found::Before { source_offset, records }
    }

    #[test]
    fn a_tail_is_found_where_it_ends() {
        assert_eq!(search("cde", "abcdefgh", false), (before(105, 3), 8));
        assert_eq!(search("abc", "abcdefgh", true), (before(103, 3), 3), "there is nothing else it could be");
        let long: String = ('a'..='z').collect();
        assert_eq!(search(&long[..20], &format!("xx{long}"), false), (before(122, 20), 22), "sure enough");
    }

    #[test]
    fn what_was_doubled_before_the_end_does_not_matter() {
        let log: String = ('a'..='z').collect();
        let doubled = format!("{}{}", &log[..20], &log[4..20]);
        assert_eq!(search(&doubled, &log, false).0, before(120, 16));
        assert_eq!(search("xxxg", "abcdefgh", false).0, Found::Few { records: 1 }, "whose are the others?");
    }

    #[test]
    fn rows_that_stand_at_several_places_are_told() {
        assert_eq!(search("ab", "abxab", false).0, Found::Ambiguous { records: 2 });
        assert_eq!(search("cab", "abxcabxab", false).0, before(106, 3), "the longest row counts");
        assert_eq!(search("z", "abc", false).0, Found::Nowhere);
        assert_eq!(search("", "abc", true), (Found::Nowhere, 0));
    }
}
