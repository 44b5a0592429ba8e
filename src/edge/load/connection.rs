//! A connection to one broker that takes Produce requests one after the other, without waiting for the answers, and without ever
//! blocking the thread.

use super::Settings;
use crate::edge::client::{Client, ClientError};
use crate::edge::clock;
use crate::wire::TopicKey;
use crate::wire::frame::frame_bytes;
use crate::wire::produce::{self, Entry, Payload, Piece};
use bytes::{Buf, Bytes, BytesMut};
use rustix::event::{PollFd, PollFlags};
use std::collections::VecDeque;
use std::io::{self, IoSlice};

pub const PRODUCE_KEY: i16 = 0;
/// The oldest is the first with batches of magic 2; the newest that names topics.
pub const PRODUCE_VERSIONS: (i16, i16) = (3, 12);
const ANSWER_BYTES_MAX: usize = 16 << 20;
const READ_BYTES: usize = 16 << 10;
/// Slices in one write.
const SLICES_MAX: usize = 64;

/// A batch on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// Counted over all topics.
    pub lane: u32,
    pub index: u64,
    /// When it was meant to be sent; None at full speed.
    pub intended_us: Option<u64>,
    pub sent_us: u64,
    pub records: u32,
    pub value_bytes: u64,
    pub wire_bytes: u64,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Landed {
    pub flight: Flight,
    pub at_us: u64,
    /// Kafka's error code, 0 for none.
    pub error: i16,
}

struct Request {
    correlation_id: i32,
    flights: Vec<(Bytes, i32, Flight)>,
}

pub struct Connection {
    client: Client,
    version: i16,
    acks: i16,
    timeout_ms: i32,
    client_id: String,
    transactional_id: Option<String>,
    /// What is still to be written of the last request.
    out: VecDeque<Bytes>,
    incoming: BytesMut,
    unanswered: VecDeque<Request>,
    scratch: BytesMut,
    /// Since when the oldest unanswered request has been the oldest.
    waiting_since_us: u64,
    pub throttled_ms: u64,
}

impl Connection {
    pub fn new(mut client: Client, settings: &Settings) -> Result<Self, ClientError> {
        let timeout_ms = i32::try_from(settings.request_timeout_ms / 2).unwrap_or(i32::MAX);
        let (min, max) = PRODUCE_VERSIONS;
        let version = client.pick(PRODUCE_KEY, min, max)?;
        client.set_nonblocking(true).map_err(|cause| client.explain(PRODUCE_KEY, cause))?;
        Ok(Self {
            client,
            version,
            acks: settings.acks,
            timeout_ms,
            client_id: settings.client_id.clone(),
            transactional_id: settings.transactions.as_ref().map(|wanted| wanted.transactional_id.clone()),
            out: VecDeque::new(),
            incoming: BytesMut::new(),
            unanswered: VecDeque::new(),
            scratch: BytesMut::new(),
            waiting_since_us: 0,
            throttled_ms: 0,
        })
    }

    pub fn version(&self) -> i16 {
        self.version
    }

    /// Whether a request can be begun: the one before is on its way, and few are unanswered.
    pub fn has_room(&self, in_flight_max: usize) -> bool {
        self.out.is_empty() && !self.client.has_unsent() && self.unanswered.len() < in_flight_max
    }

    pub fn is_idle(&self) -> bool {
        self.out.is_empty() && !self.client.has_unsent() && self.unanswered.is_empty()
    }

    /// For how long the oldest unanswered request has been waiting.
    pub fn waiting_us(&self, now_us: u64) -> u64 {
        if self.unanswered.is_empty() { 0 } else { now_us.saturating_sub(self.waiting_since_us) }
    }

    /// Begins a request with these batches, each of another partition.
    pub fn begin(&mut self, batches: Vec<(Entry, Flight)>) {
        let correlation_id = self.client.next_correlation_id();
        let mut entries = Vec::with_capacity(batches.len());
        let mut flights = Vec::with_capacity(batches.len());
        for (entry, flight) in batches {
            if let TopicKey::Name(name) = &entry.topic {
                flights.push((name.clone(), entry.partition, flight));
            }
            entries.push(entry);
        }
        let head = produce::Head {
            version: self.version,
            correlation_id,
            client_id: &self.client_id,
            transactional_id: self.transactional_id.as_deref(),
            acks: self.acks,
            timeout_ms: self.timeout_ms,
        };
        let out = &mut self.out;
        produce::frame(head, &mut entries, &mut self.scratch, &mut |piece| match piece {
            Piece::Framing(bytes) => out.push_back(bytes),
            Piece::Payload(Payload::Ranges(ranges)) => out.extend(ranges),
            Piece::Payload(Payload::Stream(_)) => {}
        });
        if self.unanswered.is_empty() {
            self.waiting_since_us = clock::now().mono_us;
        }
        self.unanswered.push_back(Request { correlation_id, flights });
    }

    /// Writes what the socket takes and reads what has come.
    pub fn advance(&mut self, landed: &mut Vec<Landed>) -> Result<(), ClientError> {
        let written = self.write().map_err(|cause| self.client.explain(PRODUCE_KEY, cause))?;
        if written && self.acks == 0 {
            // There will be no answer: the socket has it, and that is all that is known.
            let at_us = clock::now().mono_us;
            for (_, _, flight) in self.unanswered.drain(..).flat_map(|request| request.flights) {
                landed.push(Landed { flight, at_us, error: 0 });
            }
        }
        if self.acks != 0 || written {
            self.read(landed)?;
        }
        if written && self.unanswered.is_empty() && self.client.is_login_due() {
            self.log_in_again()?;
        }
        Ok(())
    }

    /// Whether a login is due, for which everything has to be answered first.
    pub fn wants_login(&self) -> bool {
        self.client.is_login_due()
    }

    fn log_in_again(&mut self) -> Result<(), ClientError> {
        let blocking = |client: &mut Client, is_blocking: bool| {
            client.set_nonblocking(!is_blocking).map_err(|cause| client.explain(PRODUCE_KEY, cause))
        };
        blocking(&mut self.client, true)?;
        self.client.log_in()?;
        blocking(&mut self.client, false)
    }

    /// True when everything is written.
    fn write(&mut self) -> io::Result<bool> {
        while !self.out.is_empty() {
            let slices: Vec<IoSlice<'_>> =
                self.out.iter().take(SLICES_MAX).map(|bytes| IoSlice::new(bytes)).collect();
            let mut written = match self.client.write_raw(&slices) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            while let Some(front) = self.out.front_mut() {
                let part = front.len().min(written);
                front.advance(part);
                written -= part;
                if !front.is_empty() {
                    break;
                }
                self.out.pop_front();
            }
        }
        match self.client.flush_raw() {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn read(&mut self, landed: &mut Vec<Landed>) -> Result<(), ClientError> {
        loop {
            let before = self.incoming.len();
            self.incoming.resize(before + READ_BYTES, 0);
            let read = self.client.read_raw(&mut self.incoming[before..]);
            self.incoming.truncate(before + read.as_ref().copied().unwrap_or(0));
            match read {
                Ok(0) => return Err(self.client.explain(PRODUCE_KEY, io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => self.take_answers(landed).map_err(|cause| ClientError::NotKafka {
                    address: self.client.address().clone(),
                    cause,
                })?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.client.explain(PRODUCE_KEY, error)),
            }
        }
    }

    fn take_answers(&mut self, landed: &mut Vec<Landed>) -> Result<(), String> {
        while let Some(prefix) = self.incoming.first_chunk::<4>() {
            let size = frame_bytes(*prefix, ANSWER_BYTES_MAX).map_err(|bad| bad.to_string())?;
            if self.incoming.len() < 4 + size {
                break;
            }
            let frame = self.incoming.split_to(4 + size);
            self.answered(&frame[4..], landed)?;
        }
        Ok(())
    }

    fn answered(&mut self, frame: &[u8], landed: &mut Vec<Landed>) -> Result<(), String> {
        let at_us = clock::now().mono_us;
        let request = self.unanswered.pop_front().ok_or("it answers what nobody asked")?;
        self.waiting_since_us = at_us;
        let correlation_id = frame.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes));
        if correlation_id != Some(request.correlation_id) {
            return Err(format!(
                "it answered {correlation_id:?} instead of request {}",
                request.correlation_id
            ));
        }
        // Behind the correlation id stands an empty set of tagged fields, since versions are flexible.
        let header_bytes = if self.version >= 9 { 5 } else { 4 };
        let body = frame.get(header_bytes..).ok_or("an answer to Produce is cut short")?;
        let mut flights = request.flights;
        let throttled_ms = produce::read_answer(self.version, body, &mut |acked| {
            let is_it = |(topic, partition, _): &(Bytes, i32, Flight)| {
                *partition == acked.partition && acked.topic == TopicKey::Name(topic.clone())
            };
            if let Some(at) = flights.iter().position(is_it) {
                let (_, _, flight) = flights.swap_remove(at);
                landed.push(Landed { flight, at_us, error: acked.error });
            }
        })
        .map_err(|bad| bad.to_string())?;
        self.throttled_ms += u64::try_from(throttled_ms).unwrap_or(0);
        match flights.len() {
            0 => Ok(()),
            left => Err(format!("it says nothing of {left} of the batches that it was sent")),
        }
    }

    /// Everything that was on its way when the connection broke.
    pub fn abandon(self) -> impl Iterator<Item = Flight> {
        self.unanswered.into_iter().flat_map(|request| request.flights).map(|(_, _, flight)| flight)
    }

    /// What to wait for.
    pub fn poll_fd(&self) -> PollFd<'_> {
        let mut flags = PollFlags::IN;
        flags.set(PollFlags::OUT, !self.out.is_empty() || self.client.has_unsent());
        PollFd::new(self.client.socket(), flags)
    }
}
