//! One client's connection: requests are cut out of what comes in, one at a time, and answers go out in slices.

use super::frames::FramePool;
use crate::broker::{Response, Ticket};
use bytes::{Buf, Bytes};
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, sendmsg};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::TcpStream;

/// Kafka's `socket.request.max.bytes`.
const REQUEST_BYTES_MAX: usize = 100 << 20;
/// Reads are this large until a request's size is known; what lies beyond is read into the request's own buffer.
const INBOX_BYTES: usize = 16 << 10;
/// After so much input the other connections have their turn.
const TURN_BYTES: usize = 4 << 20;
const SLICES_PER_SEND: usize = 128;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) node: i32,
    socket: TcpStream,
    /// What was read and not yet cut into requests.
    inbox: Vec<u8>,
    /// Where in it the next request begins.
    cut: usize,
    /// A request that is larger than the inbox.
    large: Option<Large>,
    outgoing: VecDeque<Bytes>,
    ticket: Option<Ticket>,
    interest: EventFlags,
}

/// A request that is being read into a buffer of its own.
#[derive(Debug)]
struct Large {
    buffer: Vec<u8>,
    filled: usize,
    size: usize,
}

/// How far a connection got.
#[derive(Debug)]
pub(super) enum Progress {
    /// A whole request, without its size prefix.
    Frame(Bytes),
    /// It will be readable or writable again, or its answer will come.
    Waits,
    Closed,
}

impl Connection {
    pub(super) fn new(node: i32, socket: TcpStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        Ok(Self {
            node,
            socket,
            inbox: Vec::new(),
            cut: 0,
            large: None,
            outgoing: VecDeque::new(),
            ticket: None,
            interest: EventFlags::IN | EventFlags::RDHUP,
        })
    }

    pub(super) fn register(&self, epoll: &OwnedFd, token: u64) -> io::Result<()> {
        Ok(epoll::add(epoll, &self.socket, EventData::new_u64(token), self.interest)?)
    }

    /// Whether an answer is owed.
    pub(super) fn owes(&self) -> bool {
        self.ticket.is_some() || !self.outgoing.is_empty()
    }

    pub(super) fn ticket(&self) -> Option<Ticket> {
        self.ticket
    }

    pub(super) fn wait_for(&mut self, ticket: Ticket) {
        self.ticket = Some(ticket);
    }

    pub(super) fn answered(&mut self) {
        self.ticket = None;
    }

    pub(super) fn queue(&mut self, response: Response) {
        self.outgoing.extend(response.parts);
    }

    /// Sends what is to be sent, then the next request, if there is one and none is being served.
    pub(super) fn next_frame(
        &mut self,
        epoll: &OwnedFd,
        token: u64,
        frames: &FramePool,
        turn_bytes: &mut usize,
    ) -> Progress {
        let Ok(sent) = self.send() else { return Progress::Closed };
        let reads = sent && self.ticket.is_none();
        let progress = if reads { self.receive(frames, turn_bytes) } else { Progress::Waits };
        if let Progress::Waits = progress {
            // While a request is served more input is left in the socket, so that the client feels it.
            let input =
                if sent && !(self.owes() && self.has_input()) { EventFlags::IN } else { EventFlags::empty() };
            let output = if sent { EventFlags::empty() } else { EventFlags::OUT };
            let interest = input | output | EventFlags::RDHUP;
            if interest != self.interest {
                self.interest = interest;
                if epoll::modify(epoll, &self.socket, EventData::new_u64(token), interest).is_err() {
                    return Progress::Closed;
                }
            }
        }
        progress
    }

    /// Input lies in the socket although nobody reads it now: epoll would tell that again and again.
    fn has_input(&self) -> bool {
        let mut byte = [0];
        recv(&self.socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT).is_ok()
    }

    /// True when everything is sent.
    fn send(&mut self) -> Result<bool, Errno> {
        while !self.outgoing.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_PER_SEND];
            let mut count = 0;
            for (slice, part) in slices.iter_mut().zip(&self.outgoing) {
                *slice = IoSlice::new(part);
                count += 1;
            }
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let sent = sendmsg(&self.socket, &slices[..count], &mut SendAncillaryBuffer::default(), flags);
            match sent {
                Ok(sent) => self.drop_sent(sent),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn drop_sent(&mut self, mut sent: usize) {
        while let Some(part) = self.outgoing.front_mut() {
            if part.len() > sent {
                part.advance(sent);
                return;
            }
            sent -= part.len();
            self.outgoing.pop_front();
        }
    }

    fn receive(&mut self, frames: &FramePool, turn_bytes: &mut usize) -> Progress {
        loop {
            match self.cut_frame(frames) {
                Ok(Some(frame)) => return Progress::Frame(frame),
                Ok(None) => {}
                Err(()) => return Progress::Closed,
            }
            if *turn_bytes >= TURN_BYTES {
                return Progress::Waits;
            }
            let received = match &mut self.large {
                Some(large) => {
                    let room = &mut large.buffer[large.filled..large.size];
                    recv(&self.socket, room, RecvFlags::DONTWAIT).map(|(received, _)| {
                        large.filled += received;
                        received
                    })
                }
                None => {
                    self.inbox.reserve_exact(INBOX_BYTES - self.inbox.len());
                    let room = rustix::buffer::spare_capacity(&mut self.inbox);
                    recv(&self.socket, room, RecvFlags::DONTWAIT).map(|(received, _)| received)
                }
            };
            match received {
                Ok(0) => return Progress::Closed,
                Ok(received) => *turn_bytes += received,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Progress::Waits,
                Err(_) => return Progress::Closed,
            }
        }
    }

    /// The next whole request. When there is none, room is made for more of it.
    fn cut_frame(&mut self, frames: &FramePool) -> Result<Option<Bytes>, ()> {
        if let Some(large) = &self.large {
            if large.filled < large.size {
                return Ok(None);
            }
            return Ok(self.large.take().map(|large| frames.freeze(large.buffer, large.size)));
        }
        let rest = &self.inbox[self.cut..];
        let Some((prefix, body)) = rest.split_first_chunk::<4>() else {
            self.inbox.drain(..self.cut);
            self.cut = 0;
            return Ok(None);
        };
        let size = usize::try_from(i32::from_be_bytes(*prefix)).map_err(|_| ())?;
        if size > REQUEST_BYTES_MAX {
            return Err(());
        }
        if let Some(frame) = body.get(..size) {
            let frame = Bytes::copy_from_slice(frame);
            self.cut += 4 + size;
            return Ok(Some(frame));
        }
        if size + 4 <= INBOX_BYTES {
            self.inbox.drain(..self.cut);
        } else {
            let mut buffer = frames.take(size);
            buffer[..body.len()].copy_from_slice(body);
            self.large = Some(Large { buffer, filled: body.len(), size });
            self.inbox.clear();
        }
        self.cut = 0;
        Ok(None)
    }
}
