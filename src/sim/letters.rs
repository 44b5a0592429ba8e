//! What cannot be mirrored: batches that are damaged at the source, records that are too large for the target; and the dead letters
//! that say so.

use crate::broker::Batch;
use crate::limits::BATCH_HEADER_BYTES;
use crate::records::letters::Letter;
use crate::shard::{Command, Event, LaneId};
use crate::sim::reference::SourcePartition;
use crate::sim::traffic::Contents;
use crate::sim::world::{Broken, World};
use bytes::BytesMut;

/// Share of the letters (in percent) that are not written at the first attempt.
const LATE_PERCENT: u64 = 20;

impl World {
    /// Letters have come to control, which writes them at once or tries again. The answer sets out when they are written.
    pub(super) fn write_letters(
        &mut self,
        index: usize,
        shard: usize,
        id: LaneId,
        letters: Vec<Letter>,
    ) -> Result<(), Broken> {
        if self.net.percent(LATE_PERCENT) {
            let place = self.place_of(index, id);
            debug_assert_eq!(place.shard, shard);
            self.tell_control(place, Event::Letters { lane: id, letters });
            return Ok(());
        }
        self.trace(|| format!("instance {index} writes {letters:?} of {id:?}"));
        let at = id.0 as usize;
        for letter in &letters {
            self.check_letter(at, letter)?;
            let (from, behind) = letter.range();
            let source = &mut self.reference.partitions[at];
            let (from, behind) = (source.first_from(from), source.first_from(behind));
            for record in &mut source.records[from..behind] {
                record.letters += 1;
            }
        }
        let place = self.place_of(index, id);
        self.command(place, Command::LettersWritten { lane: id });
        Ok(())
    }

    /// Nothing goes to the dead letters that could be mirrored.
    fn check_letter(&self, at: usize, letter: &Letter) -> Result<(), Broken> {
        let source = &self.reference.partitions[at];
        let limit = self.target.cluster.max_message_bytes(&source.topic).unwrap_or(usize::MAX);
        let (from, behind) = letter.range();
        let is_right = match letter.last_offset {
            Some(_) => source
                .batches
                .iter()
                .any(|batch| batch.is_damaged && (batch.base_offset, batch.next_offset) == (from, behind)),
            None => source.bytes_alone(from).is_some_and(|bytes| bytes > limit),
        };
        match is_right || source.recreated {
            true => Ok(()),
            false => Err(Broken::new(format!(
                "{}-{}: {letter:?} went to the dead letters, and could be mirrored (batches of {limit} bytes are taken)",
                source.topic, source.partition
            ))),
        }
    }
}

impl SourcePartition {
    /// How large a batch is that holds nothing but this record.
    fn bytes_alone(&self, offset: i64) -> Option<usize> {
        let record = self.records.get(self.first_from(offset)).filter(|record| record.offset == offset)?;
        let codec = self.batches[record.batch].versions.first()?.codec;
        let alone = Contents::of(codec, record.record.timestamp_ms, vec![(0, record.record.clone())]);
        Some(BATCH_HEADER_BYTES + alone.payload.len())
    }
}

/// The batch as a disk gives it back that has lost a bit.
pub(super) fn damaged(batch: &Batch) -> Batch {
    let mut payload = BytesMut::from(&batch.payload[..]);
    if let Some(last) = payload.last_mut() {
        *last ^= 1;
    }
    Batch::from_parts(*batch.header(), payload.freeze())
}
