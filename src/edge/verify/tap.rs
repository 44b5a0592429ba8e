//! One connection that answers Fetch requests as a stream: the next request may be sent before the answer is read, no answer is
//! ever collected, and payloads that nobody wants are dropped where they are, in the kernel.

use crate::config::Isolation;
use crate::control::reading::ASKED_BYTES_MAX;
use crate::edge::client::{Client, ClientError};
use crate::wire::fetch::{FetchPartition, FetchRequest, FetchWalk, WHOLE_MIN, Walked};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::VecDeque;

const FETCH_KEY: i16 = 1;
/// The versions that name topics.
const VERSIONS: (i16, i16) = (0, 12);
const READ_UNCOMMITTED: u8 = 0;
const READ_COMMITTED: u8 = 1;
/// How long a broker waits for records before it answers that there are none.
const WAIT_MS: i32 = 200;
/// Received at a time where batches are small.
const INPUT_BYTES: usize = 64 << 10;
/// From this length on it is cheaper to leave a payload to a system call of its own than to receive it along with what is around.
const LARGE_BYTES: usize = 16 << 10;
/// A payload's memory grows by as much as has come, from this on, whatever is announced.
const TAKEN_BYTES_FIRST: usize = 256 << 10;
/// What is left of answers that are not wanted any more; a new connection is cheaper than reading more.
const DRAINED_BYTES_MAX: usize = 32 << 20;

pub(in crate::edge) struct Tap {
    client: Client,
    version: i16,
    walk: FetchWalk,
    input: BytesMut,
    request: BytesMut,
    /// Correlation ids of what was asked and is not answered whole, the oldest first.
    asked: VecDeque<i32>,
    /// The last payload was a large one, so the next one probably is: nothing of it is received with what is before it.
    is_large: bool,
}

impl Tap {
    pub(in crate::edge) fn new(client: Client) -> Result<Self, ClientError> {
        let version = client.pick(FETCH_KEY, VERSIONS.0, VERSIONS.1)?;
        Ok(Self {
            client,
            version,
            walk: FetchWalk::new(version),
            input: BytesMut::with_capacity(INPUT_BYTES),
            request: BytesMut::new(),
            asked: VecDeque::new(),
            is_large: false,
        })
    }

    /// The connection, to be used for something else. None: answers are under way.
    pub(in crate::edge) fn into_client(self) -> Option<Client> {
        self.is_idle().then_some(self.client)
    }

    /// Nothing is asked that is not answered.
    pub(in crate::edge) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    /// Another request is under way behind the answer at hand, or cannot go there, because it is time to log in again.
    pub(super) fn is_busy(&self) -> bool {
        self.asked.len() > 1 || self.client.is_login_due()
    }

    /// Of the answer at hand.
    pub(super) fn frame_remaining(&self) -> usize {
        self.walk.frame_remaining()
    }

    /// Asks for one partition's records, `isolation` being that of a consumer.
    pub(super) fn ask(
        &mut self,
        mut partition: FetchPartition,
        isolation: Isolation,
    ) -> Result<(), ClientError> {
        if self.version < WHOLE_MIN {
            // Of a message that is larger only a part would come.
            let bytes = i32::try_from(ASKED_BYTES_MAX).unwrap_or(i32::MAX);
            partition.partition_max_bytes = partition.partition_max_bytes.max(bytes);
        }
        let max_bytes = partition.partition_max_bytes;
        let isolation = if isolation == Isolation::ReadCommitted { READ_COMMITTED } else { READ_UNCOMMITTED };
        self.ask_all(&[partition], max_bytes, isolation)
    }

    /// Asks for records of several partitions, those of a topic beside each other.
    pub(in crate::edge) fn ask_all(
        &mut self,
        partitions: &[FetchPartition],
        max_bytes: i32,
        isolation: u8,
    ) -> Result<(), ClientError> {
        if self.is_idle() && self.client.is_login_due() {
            self.client.log_in()?;
        }
        let correlation_id = self.client.next_correlation_id();
        self.request.clear();
        FetchRequest {
            version: self.version,
            correlation_id,
            client_id: self.client.client_id(),
            max_wait_ms: WAIT_MS,
            min_bytes: 1,
            max_bytes,
            isolation,
            session_id: 0,
            session_epoch: -1,
            partitions,
            forgotten: &[],
            rack: "",
        }
        .encode(&mut self.request);
        self.client.send(FETCH_KEY, &self.request)?;
        self.asked.push_back(correlation_id);
        Ok(())
    }

    /// What comes next of the answers. After a batch, a message or a cut, [`Self::skip`] or [`Self::take`] comes first.
    pub(in crate::edge) fn step(&mut self) -> Result<Walked, ClientError> {
        loop {
            match self.walk.step(&mut self.input).map_err(|bad| self.client.not_kafka(bad.to_string()))? {
                Walked::NeedMore => {
                    let at_most = if self.is_large { self.walk.at_least() } else { INPUT_BYTES };
                    self.input.reserve(at_most.max(1));
                    self.client.receive(FETCH_KEY, &mut self.input, at_most)?;
                }
                Walked::Head { correlation_id } => match self.asked.front() {
                    Some(asked) if *asked == correlation_id => {}
                    asked => {
                        let asked = asked.copied().unwrap_or(-1);
                        let cause = format!("it answered request {correlation_id} instead of {asked}");
                        return Err(self.client.not_kafka(cause));
                    }
                },
                Walked::End => {
                    self.asked.pop_front();
                    return Ok(Walked::End);
                }
                walked => return Ok(walked),
            }
        }
    }

    /// Drops that much of a payload, or of what was cut.
    pub(in crate::edge) fn skip(&mut self, bytes: usize) -> Result<(), ClientError> {
        self.is_large = bytes >= LARGE_BYTES;
        let mut left = bytes;
        loop {
            let here = left.min(self.input.len());
            self.input.advance(here);
            self.walk.take_payload(here);
            left -= here;
            if left == 0 {
                return Ok(());
            }
            if self.is_large {
                let dropped = self.client.discard(FETCH_KEY, left)?;
                self.walk.take_payload(dropped);
                left -= dropped;
            } else {
                self.input.reserve(INPUT_BYTES);
                self.client.receive(FETCH_KEY, &mut self.input, INPUT_BYTES)?;
            }
        }
    }

    /// Takes that much of a payload.
    pub(super) fn take(&mut self, bytes: usize) -> Result<Bytes, ClientError> {
        self.is_large = bytes >= LARGE_BYTES;
        let mut payload = BytesMut::with_capacity(bytes.min(TAKEN_BYTES_FIRST));
        loop {
            let here = (bytes - payload.len()).min(self.input.len());
            payload.extend_from_slice(&self.input[..here]);
            self.input.advance(here);
            self.walk.take_payload(here);
            let left = bytes - payload.len();
            if left == 0 {
                return Ok(payload.freeze());
            }
            if self.is_large {
                payload.reserve(left.min(payload.len().max(TAKEN_BYTES_FIRST)));
                let before = payload.len();
                self.client.receive(FETCH_KEY, &mut payload, left)?;
                self.walk.take_payload(payload.len() - before);
            } else {
                self.input.reserve(INPUT_BYTES);
                self.client.receive(FETCH_KEY, &mut self.input, INPUT_BYTES)?;
            }
        }
    }

    /// Drops all answers that are under way. False: there is too much of them.
    pub(super) fn drain(&mut self) -> Result<bool, ClientError> {
        let mut drained = 0;
        while !self.is_idle() {
            if drained + self.frame_remaining() > DRAINED_BYTES_MAX {
                return Ok(false);
            }
            let bytes = match self.step()? {
                Walked::Batch { header, .. } => header.payload_bytes(),
                Walked::OldFormat { message } => message.bytes,
                Walked::Cut { bytes } => bytes,
                _ => continue,
            };
            self.skip(bytes)?;
            drained += bytes;
        }
        Ok(true)
    }
}
