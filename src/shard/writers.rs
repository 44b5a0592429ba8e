//! Whose the producer ids are that partitions mirrored in both directions hold.

use super::api::Writer;
use std::collections::BTreeMap;

/// Clients get a new producer id with every start, so those that were met long ago are hardly met again.
const KNOWN_MAX: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Writers {
    known: BTreeMap<i64, Writer>,
}

impl Writers {
    /// None: that is yet to be asked.
    pub(super) fn of(&self, producer_id: i64) -> Option<Writer> {
        // Links always have one.
        if producer_id < 0 { Some(Writer::Client) } else { self.known.get(&producer_id).copied() }
    }

    pub(super) fn note(&mut self, producer_id: i64, writer: Writer) {
        if self.known.len() >= KNOWN_MAX {
            self.known.retain(|_, writer| *writer == Writer::Reverse);
        }
        self.known.insert(producer_id, writer);
    }
}
