//! One partition of one cluster, read as a consumer of committed records reads it, but batch by batch, from the partition's
//! leader, wherever that is.

use super::tap::Tap;
use crate::config::Isolation;
use crate::control::reading::{ASKED_BYTES_MAX, Payloads, Reading, Verdict};
use crate::control::verify::Held;
use crate::edge::admin::{Admin, AdminError, check};
use crate::edge::client::ClientError;
use crate::wire::TopicKey;
use crate::wire::batch::BatchHeader;
use crate::wire::fetch::{FetchPartition, Walked};
use crate::wire::legacy::convert::convert;
use crate::wire::rebuild::{Holes, Packing};
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

/// Errors in a row, without anything read in between, before the partition is given up.
const ERRORS_MAX: u32 = 8;
const RETRY_MS: u64 = 100;

pub(in crate::edge) struct Reader {
    topic: String,
    /// What the cluster calls it; known when there is a connection.
    name: Bytes,
    partition: i32,
    reading: Reading,
    payloads: Payloads,
    /// The leader's id, and the connection to it.
    tap: Option<(i32, Tap)>,
    /// Read, and not yet handed out: messages of old formats, made into batches as a mirror does it.
    ready: VecDeque<Held>,
    isolation: Isolation,
    /// What is under way was asked for from somewhere else.
    is_stale: bool,
    /// The records' bytes of answers, as they came.
    bytes: u64,
    errors: u32,
}

/// Why nothing was read.
enum Failure {
    Cluster(AdminError),
    /// What is there cannot be read, now or later.
    Log(String),
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        Self::Cluster(error)
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Cluster(error.into())
    }
}

impl Reader {
    pub(in crate::edge) fn new(topic: &str, partition: i32, range: Range<i64>) -> Self {
        Self {
            topic: topic.to_owned(),
            name: Bytes::new(),
            partition,
            reading: Reading::new(range, ASKED_BYTES_MAX),
            payloads: Payloads::new(false),
            tap: None,
            ready: VecDeque::new(),
            isolation: Isolation::ReadCommitted,
            is_stale: false,
            bytes: 0,
            errors: 0,
        }
    }

    /// For a comparison that looks at payloads, and a rate that is not to be exceeded by much.
    pub(in crate::edge) fn for_comparison(
        topic: &str,
        partition: i32,
        range: Range<i64>,
        deep: bool,
        asked_bytes_max: u64,
    ) -> Self {
        let reading = Reading::new(range.clone(), asked_bytes_max);
        Self { reading, payloads: Payloads::new(deep), ..Self::new(topic, partition, range) }
    }

    /// As a consumer of uncommitted records reads.
    pub(in crate::edge) fn with_undecided(self) -> Self {
        Self { isolation: Isolation::ReadUncommitted, ..self }
    }

    pub(in crate::edge) fn is_done(&self) -> bool {
        self.reading.is_done() && self.ready.is_empty()
    }

    /// Bytes read since this was asked last.
    pub(super) fn take_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.bytes)
    }

    /// Payloads are of use, here or on the other side.
    pub(super) fn handle_used(&mut self) {
        self.payloads.handle_used();
    }

    /// A payload was missed: reads from there again if that is on this side, and keeps payloads for a while.
    pub(super) fn handle_missed(&mut self, from: Option<i64>) {
        self.payloads.handle_missed();
        if let Some(from) = from {
            self.reading.rewind(from);
            self.ready.clear();
            self.is_stale = true;
        }
    }

    /// The next batch of committed records. None: there was none in what came, or an error that may pass; unless
    /// [`Self::is_done`], ask again.
    pub(in crate::edge) fn next(&mut self, admin: &mut Admin) -> Result<Option<Held>, String> {
        let before = self.reading.position();
        let found = self.advance(admin);
        if self.reading.position() > before {
            self.errors = 0;
        }
        let error = match found {
            Ok(found) => return Ok(found),
            Err(Failure::Log(cause)) => return Err(cause),
            Err(Failure::Cluster(error)) => error,
        };
        self.tap = None;
        self.errors += 1;
        if !error.is_passing() || self.errors > ERRORS_MAX {
            return Err(error.to_string());
        }
        tracing::debug!(topic = self.topic, partition = self.partition, "reading again: {error}");
        admin.look_up_leaders_again();
        std::thread::sleep(Duration::from_millis(RETRY_MS << self.errors.min(5)));
        Ok(None)
    }

    /// Gives the connection back, for the next partition to be read.
    pub(in crate::edge) fn close(mut self, admin: &mut Admin) {
        let Some((leader, mut tap)) = self.tap.take() else { return };
        if matches!(tap.drain(), Ok(true))
            && let Some(client) = tap.into_client()
        {
            admin.client().give_back(leader, client);
        }
    }

    fn advance(&mut self, admin: &mut Admin) -> Result<Option<Held>, Failure> {
        if self.is_stale {
            if let Some((_, tap)) = &mut self.tap
                && !tap.drain()?
            {
                self.tap = None;
            }
            self.is_stale = false;
        }
        let held = self.ready.pop_front();
        if held.is_some() || self.is_done() {
            return Ok(held);
        }
        let (leader, mut tap) = match self.tap.take() {
            Some(tap) => tap,
            None => {
                let partition = usize::try_from(self.partition).unwrap_or(usize::MAX);
                let leader = admin.leader(&self.topic, partition)?;
                self.name = admin.on_wire(&self.topic).0.into();
                (leader, Tap::new(admin.client().lend(leader)?)?)
            }
        };
        if tap.is_idle() {
            self.ask(&mut tap, self.reading.position())?;
        }
        let found = self.walk(&mut tap)?;
        self.tap = Some((leader, tap));
        Ok(found)
    }

    fn ask(&self, tap: &mut Tap, from: i64) -> Result<(), ClientError> {
        let bytes = i32::try_from(self.reading.ask_bytes(from)).unwrap_or(i32::MAX);
        let partition = FetchPartition {
            topic: TopicKey::Name(self.name.clone()),
            partition: self.partition,
            current_leader_epoch: -1,
            fetch_offset: from,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            partition_max_bytes: bytes,
        };
        tap.ask(partition, self.isolation)
    }

    /// Goes on in the answer at hand, to the next committed batch or to the answer's end.
    fn walk(&mut self, tap: &mut Tap) -> Result<Option<Held>, Failure> {
        loop {
            match tap.step()? {
                Walked::Response { error, .. } => check(error, "reading")?,
                Walked::Partition(head) => {
                    check(head.error, "reading")?;
                    let stable = head.last_stable_offset;
                    self.reading.handle_answer(if stable >= 0 { stable } else { head.high_watermark });
                }
                Walked::Aborted { producer_id, first_offset } => {
                    self.reading
                        .handle_aborted(producer_id, first_offset)
                        .map_err(|what| Failure::Log(what.to_owned()))?;
                }
                Walked::Batch { header, raw } => {
                    self.bytes += header.batch_bytes as u64;
                    let payload_bytes = header.payload_bytes();
                    let verdict = self.reading.handle_batch(&header);
                    if verdict == Verdict::Beyond {
                        tap.skip(payload_bytes)?;
                        self.reading.handle_beyond();
                        return Ok(None);
                    }
                    let left = tap.frame_remaining().saturating_sub(payload_bytes);
                    if let Some(from) = self.reading.next_from(&header, left)
                        && !tap.is_busy()
                    {
                        self.ask(tap, from)?;
                    }
                    let payload = if verdict == Verdict::Committed && self.payloads.keep(header.batch_bytes) {
                        Some(tap.take(payload_bytes)?)
                    } else {
                        tap.skip(payload_bytes)?;
                        None
                    };
                    self.reading.handle_passed(&header);
                    if verdict == Verdict::Committed {
                        return Ok(Some(Held::new(header, raw, payload)));
                    }
                }
                Walked::OldFormat { message } => {
                    self.bytes += message.bytes as u64;
                    if message.offset < self.reading.position() {
                        tap.skip(message.bytes)?;
                        continue;
                    }
                    let bytes = tap.take(message.bytes)?;
                    self.convert(&bytes)?;
                    if let Some(held) = self.ready.pop_front() {
                        return Ok(Some(held));
                    }
                    if self.reading.is_done() {
                        return Ok(None);
                    }
                }
                Walked::Damaged(bad) => return Err(Failure::Log(bad.to_string())),
                Walked::Cut { bytes } => tap.skip(bytes)?,
                Walked::End => {
                    self.reading.handle_answer_end().map_err(Failure::Log)?;
                    return Ok(None);
                }
                _ => {}
            }
        }
    }

    fn convert(&mut self, message: &[u8]) -> Result<(), Failure> {
        let converted = convert(message, self.reading.position(), Packing::apart(Holes::Split), None);
        for batch in converted.map_err(|bad| Failure::Log(bad.to_string()))?.batches {
            let base_offset = batch.runs.first().map_or(0, |(offset, _)| *offset);
            let header = BatchHeader { base_offset, ..batch.header };
            match self.reading.handle_batch(&header) {
                Verdict::Beyond => self.reading.handle_beyond(),
                Verdict::LeftOut => {}
                Verdict::Committed => {
                    self.reading.handle_passed(&header);
                    self.ready.push_back(Held::new(header, header.to_raw(), Some(batch.payload)));
                }
            }
        }
        Ok(())
    }
}
