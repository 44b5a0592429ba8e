//! The sending end of one connection: what the shard wants sent, in order, and how it gets into the socket.
//!
//! Copied payloads are slices of pool chunks and go out with their framing in one vectored send. A spliced payload is in a
//! pipe, or not even that yet, and moves when the queue gets to it.

use super::pipes::{Pipe, Pipes};
use super::socket::{Socket, Tried};
use crate::limits::IOV_MAX;
use crate::shard::{ConnId, Out};
use bytes::{Buf, Bytes};
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::io::{self, IoSlice};

/// What is taken out of a pipe so that glommio can wait with it until the socket takes something again.
const SPILL_BYTES: usize = 4 << 10;
/// No more is taken from the shard at a time. What stays there counts as held, so that it fetches no more than it should.
const QUEUE_BYTES_MAX: usize = 1 << 20;

/// Where a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// All that there was is sent.
    Empty,
    /// The socket takes no more: it has encrypted bytes to wait with, or [`Outlet::front`] has something.
    Blocked,
    /// The next bytes come from this source connection, and its pipe is empty.
    AwaitsPipe(ConnId),
}

/// The queue of one connection.
#[derive(Default)]
pub struct Outlet {
    queue: VecDeque<Out>,
    bytes: usize,
    /// Ever taken by the socket.
    sent_bytes: u64,
    /// Sources whose pipes were drained since the last [`Outlet::take_drained`].
    drained: SmallVec<[ConnId; 4]>,
}

impl Outlet {
    /// Sends all that `next` gives and the socket takes.
    pub fn flush(
        &mut self,
        conn: ConnId,
        socket: &Socket,
        pipes: &mut Pipes,
        mut next: impl FnMut() -> Option<Out>,
    ) -> io::Result<Flushed> {
        loop {
            let more = self.refill(&mut next);
            let sent_all = match self.queue.front() {
                None if socket.has_unsent() => return Ok(Flushed::Blocked),
                None => return Ok(Flushed::Empty),
                Some(Out::Bytes(_)) => self.send(socket, more)?,
                Some(&Out::Splice { from, bytes }) => {
                    let Some(pipe) = pipes.get(from, conn).filter(|pipe| pipe.bytes > 0) else {
                        return Ok(Flushed::AwaitsPipe(from));
                    };
                    let in_pipe = pipe.bytes.min(bytes);
                    let more = more || self.queue.len() > 1 || in_pipe < bytes;
                    match socket.splice_from(pipe, in_pipe, more)? {
                        Tried::Moved(n) => {
                            self.sent_bytes += n as u64;
                            self.spliced(from, n);
                            n > 0
                        }
                        Tried::Blocked | Tried::Ended => {
                            let spill = spill(pipe, in_pipe)?;
                            self.spliced(from, spill.len());
                            self.bytes += spill.len();
                            self.queue.push_front(Out::Bytes(spill));
                            false
                        }
                    }
                }
            };
            if !sent_all {
                return Ok(Flushed::Blocked);
            }
        }
    }

    /// The bytes to wait with when the socket is blocked.
    pub fn front(&self) -> &[u8] {
        match self.queue.front() {
            Some(Out::Bytes(bytes)) => bytes,
            _ => &[],
        }
    }

    /// Bytes that the socket has taken so far.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// Takes bytes that were sent off the front.
    pub fn sent(&mut self, mut bytes: usize) {
        self.sent_bytes += bytes as u64;
        while let Some(Out::Bytes(front)) = self.queue.front_mut() {
            let n = bytes.min(front.len());
            front.advance(n);
            bytes -= n;
            self.bytes -= n;
            if !front.is_empty() {
                return;
            }
            self.queue.pop_front();
        }
    }

    /// The sources in whose pipes there is room again.
    pub fn take_drained(&mut self) -> SmallVec<[ConnId; 4]> {
        std::mem::take(&mut self.drained)
    }

    /// True when there may be more than the queue holds.
    fn refill(&mut self, next: &mut impl FnMut() -> Option<Out>) -> bool {
        while self.queue.len() < IOV_MAX && self.bytes < QUEUE_BYTES_MAX {
            let Some(out) = next() else { return false };
            match &out {
                Out::Bytes(bytes) => self.bytes += bytes.len(),
                Out::Splice { bytes: 0, .. } => continue,
                Out::Splice { bytes, .. } => self.bytes += bytes,
            }
            self.queue.push_back(out);
        }
        true
    }

    /// One vectored send of the bytes at the front. False: the socket takes no more.
    fn send(&mut self, socket: &Socket, more: bool) -> io::Result<bool> {
        let mut slices = SmallVec::<[IoSlice<'_>; 32]>::new();
        let mut bytes = 0;
        for out in self.queue.iter().take(IOV_MAX) {
            let Out::Bytes(b) = out else { break };
            slices.push(IoSlice::new(b));
            bytes += b.len();
        }
        if bytes == 0 {
            drop(slices);
            self.sent(0);
            return Ok(true);
        }
        let more = more || slices.len() < self.queue.len();
        let sent = match socket.send(&slices, more)? {
            Tried::Moved(n) => n,
            Tried::Blocked | Tried::Ended => 0,
        };
        drop(slices);
        self.sent(sent);
        // TLS takes a part at a time, and leaves what the socket does not take where it can be asked for.
        Ok(if socket.has_tls() { sent > 0 && !socket.has_unsent() } else { sent == bytes })
    }

    fn spliced(&mut self, from: ConnId, n: usize) {
        if let Some(Out::Splice { bytes, .. }) = self.queue.front_mut() {
            *bytes -= n;
            self.bytes -= n;
            if *bytes == 0 {
                self.queue.pop_front();
            }
        }
        if !self.drained.contains(&from) {
            self.drained.push(from);
        }
    }
}

fn spill(pipe: &mut Pipe, at_most: usize) -> io::Result<Bytes> {
    let mut spill = vec![0; at_most.min(SPILL_BYTES)];
    let n = rustix::io::read(&pipe.reader, &mut spill)?;
    pipe.bytes -= n;
    spill.truncate(n);
    Ok(spill.into())
}
