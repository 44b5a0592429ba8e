//! One partition's log, read batch by batch as a consumer of committed records reads it: which batches count, where the next
//! request reads on, for how much it asks, and whether payloads are worth their bytes.

use crate::wire::batch::BatchHeader;
use std::collections::BTreeSet;
use std::ops::Range;

/// Asked for first, when nothing is known of the batches' sizes.
const FIRST_BYTES: u64 = 1 << 20;
const ASKED_BYTES_MIN: u64 = 64 << 10;
pub const ASKED_BYTES_MAX: u64 = 8 << 20;
/// Answers without anything new before the log is given up.
const EMPTY_MAX: u32 = 50;
/// Aborted transactions that one answer may list.
const ABORTED_MAX: usize = 1 << 20;
/// Payloads are kept for so many bytes behind one that was missed; twice as many behind the next.
const KEPT_BYTES_MIN: u64 = 8 << 20;
const KEPT_BYTES_MAX: u64 = 1 << 30;

/// What a batch is to the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Committed,
    /// A control batch, an aborted one, or one that was read before.
    LeftOut,
    /// It lies behind all that is to be read.
    Beyond,
}

#[derive(Debug)]
pub struct Reading {
    range: Range<i64>,
    position: i64,
    /// As the answer at hand has it: producer, first offset.
    aborted: BTreeSet<(i64, i64)>,
    /// Where the answer at hand began to be read.
    answer_from: i64,
    answer_batches: u64,
    /// The end of what can be read, as the broker last said.
    log_end: i64,
    empty: u32,
    asked_bytes_max: u64,
    /// Bytes and offsets so far.
    passed: (u64, u64),
}

impl Reading {
    pub fn new(range: Range<i64>, asked_bytes_max: u64) -> Self {
        Self {
            position: range.start,
            aborted: BTreeSet::new(),
            answer_from: range.start,
            answer_batches: 0,
            log_end: 0,
            empty: 0,
            asked_bytes_max: asked_bytes_max.clamp(ASKED_BYTES_MIN, ASKED_BYTES_MAX),
            passed: (0, 0),
            range,
        }
    }

    // What is known.

    /// All below is read.
    pub fn position(&self) -> i64 {
        self.position
    }

    pub fn is_done(&self) -> bool {
        self.position >= self.range.end
    }

    /// For how many bytes to ask from that offset on: no more than are likely to lie before the end of the range.
    pub fn ask_bytes(&self, from: i64) -> u64 {
        let (bytes, offsets) = self.passed;
        if offsets == 0 {
            return FIRST_BYTES.min(self.asked_bytes_max);
        }
        let left = self.range.end.abs_diff(from);
        let likely = u128::from(left) * u128::from(bytes) / u128::from(offsets);
        let asked = u64::try_from(likely + likely / 4).unwrap_or(u64::MAX).saturating_add(ASKED_BYTES_MIN);
        asked.min(self.asked_bytes_max)
    }

    /// Where to read on before the answer is there whole, if this batch looks like its last one, with `bytes_left` of the answer
    /// behind it. A guess: what comes twice is left out.
    pub fn next_from(&self, header: &BatchHeader, bytes_left: usize) -> Option<i64> {
        let next = header.next_offset();
        let is_last = bytes_left < header.batch_bytes;
        (is_last && next > self.position && next < self.range.end.min(self.log_end)).then_some(next)
    }

    // What comes in.

    /// An answer, with the partition's last stable offset or high watermark. It lists what was aborted anew.
    pub fn handle_answer(&mut self, log_end: i64) {
        self.aborted.clear();
        self.answer_from = self.position;
        self.answer_batches = 0;
        self.log_end = log_end;
    }

    pub fn handle_aborted(&mut self, producer_id: i64, first_offset: i64) -> Result<(), &'static str> {
        if self.aborted.len() >= ABORTED_MAX {
            return Err("an answer lists more aborted transactions than a log can have");
        }
        self.aborted.insert((producer_id, first_offset));
        Ok(())
    }

    /// The answer's next batch. It is read when [`Self::handle_passed`] says so.
    pub fn handle_batch(&mut self, header: &BatchHeader) -> Verdict {
        let (id, base_offset) = (header.producer_id, header.base_offset);
        if base_offset >= self.range.end {
            return Verdict::Beyond;
        }
        if header.is_control() {
            // Its transaction is over. That also holds when it comes twice.
            let ended: Vec<_> = self.aborted.range((id, i64::MIN)..=(id, base_offset)).copied().collect();
            ended.iter().for_each(|each| {
                self.aborted.remove(each);
            });
            return Verdict::LeftOut;
        }
        let is_aborted = header.is_transactional()
            && self.aborted.range((id, i64::MIN)..=(id, base_offset)).next().is_some();
        match is_aborted || header.record_count <= 0 || header.last_offset() < self.position {
            true => Verdict::LeftOut,
            false => Verdict::Committed,
        }
    }

    /// The batch is read, its payload as well or not.
    pub fn handle_passed(&mut self, header: &BatchHeader) {
        let next = header.next_offset();
        self.answer_batches += 1;
        if next > self.position {
            self.passed.0 += header.batch_bytes as u64;
            self.passed.1 += next.abs_diff(self.position);
            self.position = next;
        }
    }

    pub fn handle_beyond(&mut self) {
        self.position = self.range.end;
    }

    /// The answer is over. The error is what the log is given up with.
    pub fn handle_answer_end(&mut self) -> Result<(), String> {
        // Compaction may have taken all that is left.
        if self.answer_batches == 0 && self.position >= self.log_end {
            self.position = self.range.end;
        }
        self.empty = if self.position == self.answer_from && !self.is_done() { self.empty + 1 } else { 0 };
        if self.empty > EMPTY_MAX {
            return Err(format!("offset {} cannot be read", self.position));
        }
        Ok(())
    }

    /// Reads again from there.
    pub fn rewind(&mut self, position: i64) {
        self.position = position;
        self.empty = 0;
    }
}

/// Whether payloads are kept or left where they are.
#[derive(Debug)]
pub enum Payloads {
    Kept,
    /// Those of the next `left` bytes are kept, since such were missed.
    Left {
        left: u64,
        stretch: u64,
    },
}

impl Payloads {
    pub fn new(kept: bool) -> Self {
        if kept { Self::Kept } else { Self::Left { left: 0, stretch: KEPT_BYTES_MIN } }
    }

    /// Is the next batch's payload, of so many bytes, kept?
    pub fn keep(&mut self, bytes: usize) -> bool {
        match self {
            Self::Kept => true,
            Self::Left { left: 0, .. } => false,
            Self::Left { left, .. } => {
                *left = left.saturating_sub(bytes as u64);
                true
            }
        }
    }

    /// One was missed. Going back for it costs about an answer, so the more often that happens, the longer they are kept.
    pub fn handle_missed(&mut self) {
        if let Self::Left { left, stretch } = self {
            *left = *stretch;
            *stretch = (*stretch * 2).min(KEPT_BYTES_MAX);
        }
    }

    /// Some that was kept was of use.
    pub fn handle_used(&mut self) {
        if let Self::Left { left, .. } = self {
            *left = (*left).max(KEPT_BYTES_MIN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::BATCH_HEADER_BYTES;

    const TRANSACTIONAL: i16 = 1 << 4;
    const CONTROL: i16 = 1 << 5;

    fn batch(base_offset: i64, records: i32, producer_id: i64, attributes: i16) -> BatchHeader {
        BatchHeader {
            base_offset,
            batch_bytes: BATCH_HEADER_BYTES + 1000,
            leader_epoch: 0,
            magic: 2,
            crc: 0,
            attributes,
            last_offset_delta: records - 1,
            base_timestamp_ms: 0,
            max_timestamp_ms: 0,
            producer_id,
            producer_epoch: 0,
            base_sequence: 0,
            record_count: records,
        }
    }

    fn pass(reading: &mut Reading, header: &BatchHeader) -> Verdict {
        let verdict = reading.handle_batch(header);
        reading.handle_passed(header);
        verdict
    }

    #[test]
    fn aborted_batches_and_markers_are_left_out() {
        let mut reading = Reading::new(0..100, ASKED_BYTES_MAX);
        reading.handle_answer(100);
        reading.handle_aborted(7, 3).unwrap();
        assert_eq!(pass(&mut reading, &batch(0, 3, 7, TRANSACTIONAL)), Verdict::Committed);
        assert_eq!(pass(&mut reading, &batch(3, 2, 7, TRANSACTIONAL)), Verdict::LeftOut);
        assert_eq!(pass(&mut reading, &batch(5, 2, 8, TRANSACTIONAL)), Verdict::Committed);
        assert_eq!(pass(&mut reading, &batch(7, 1, 7, TRANSACTIONAL | CONTROL)), Verdict::LeftOut);
        assert_eq!(pass(&mut reading, &batch(8, 2, 7, TRANSACTIONAL)), Verdict::Committed);
        assert_eq!(reading.position(), 10);
    }

    #[test]
    fn what_comes_twice_is_left_out_but_a_marker_among_it_counts() {
        let mut reading = Reading::new(0..100, ASKED_BYTES_MAX);
        reading.handle_answer(100);
        assert_eq!(pass(&mut reading, &batch(0, 5, 7, 0)), Verdict::Committed);
        assert_eq!(pass(&mut reading, &batch(5, 1, 7, TRANSACTIONAL | CONTROL)), Verdict::LeftOut);
        // The next answer was asked for from offset 2 on.
        reading.handle_answer(100);
        reading.handle_aborted(7, 1).unwrap();
        assert_eq!(pass(&mut reading, &batch(0, 5, 7, TRANSACTIONAL)), Verdict::LeftOut);
        assert_eq!(pass(&mut reading, &batch(5, 1, 7, TRANSACTIONAL | CONTROL)), Verdict::LeftOut);
        assert_eq!(pass(&mut reading, &batch(6, 4, 7, TRANSACTIONAL)), Verdict::Committed);
        assert_eq!(reading.position(), 10);
    }

    #[test]
    fn the_range_ends_at_the_first_batch_beyond_it_or_where_the_log_has_no_more() {
        let mut reading = Reading::new(10..20, ASKED_BYTES_MAX);
        reading.handle_answer(100);
        assert_eq!(pass(&mut reading, &batch(5, 10, -1, 0)), Verdict::Committed, "it reaches into the range");
        assert_eq!(reading.handle_batch(&batch(20, 1, -1, 0)), Verdict::Beyond);
        reading.handle_beyond();
        assert!(reading.is_done());

        let mut reading = Reading::new(10..20, ASKED_BYTES_MAX);
        reading.handle_answer(12);
        assert_eq!(pass(&mut reading, &batch(10, 2, -1, 0)), Verdict::Committed);
        reading.handle_answer_end().unwrap();
        assert!(!reading.is_done(), "more may have come meanwhile");
        reading.handle_answer(12);
        reading.handle_answer_end().unwrap();
        assert!(reading.is_done());
    }

    #[test]
    fn a_log_that_does_not_go_on_is_given_up() {
        let mut reading = Reading::new(10..20, ASKED_BYTES_MAX);
        let given_up = (0..=EMPTY_MAX).find_map(|_| {
            reading.handle_answer(100);
            reading.handle_answer_end().err()
        });
        assert_eq!(given_up.unwrap(), "offset 10 cannot be read");
    }

    #[test]
    fn no_more_is_asked_for_than_is_likely_to_be_there() {
        let mut reading = Reading::new(0..1_000_000, ASKED_BYTES_MAX);
        assert_eq!(reading.ask_bytes(0), FIRST_BYTES);
        reading.handle_answer(1_000_000);
        pass(&mut reading, &batch(0, 100, -1, 0));
        assert_eq!(reading.ask_bytes(100), ASKED_BYTES_MAX);
        let last = reading.ask_bytes(1_000_000 - 10_000);
        assert!((106_100..106_100 * 2).contains(&(last - ASKED_BYTES_MIN)), "{last}");
        assert_eq!(Reading::new(0..10, 1).ask_bytes(0), ASKED_BYTES_MIN, "a slow reader asks for little");
    }

    #[test]
    fn the_next_request_goes_out_before_the_last_batch_is_read() {
        let mut reading = Reading::new(0..100, ASKED_BYTES_MAX);
        reading.handle_answer(50);
        let first = batch(0, 10, -1, 0);
        assert_eq!(reading.next_from(&first, 5_000), None, "more batches follow");
        assert_eq!(reading.next_from(&first, 500), Some(10));
        assert_eq!(reading.next_from(&batch(40, 10, -1, 0), 0), None, "the log ends there");
        reading.rewind(60);
        assert_eq!(reading.next_from(&first, 500), None, "that was read before");
    }

    #[test]
    fn payloads_are_kept_longer_the_more_often_they_are_missed() {
        let mut payloads = Payloads::new(false);
        assert!(!payloads.keep(1));
        payloads.handle_missed();
        assert!(payloads.keep(KEPT_BYTES_MIN as usize - 1));
        assert!(payloads.keep(1));
        assert!(!payloads.keep(1));
        payloads.handle_missed();
        assert!(payloads.keep(KEPT_BYTES_MIN as usize * 2 - 1));
        payloads.handle_used();
        assert!(payloads.keep(KEPT_BYTES_MIN as usize));
        assert!(!payloads.keep(1));
        assert!(Payloads::new(true).keep(usize::MAX));
    }
}
