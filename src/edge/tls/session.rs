//! One TLS connection without a socket: encrypted bytes go in and come out, and so does what is inside of them.
//!
//! What arrives lies in one buffer and is decrypted there, record by record (at most 16 KiB each); what was inside is copied to
//! where the reader wants it while it is still in the nearest cache. What is to be sent is gathered into whole records.

use bytes::BytesMut;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, Error};
use std::io::IoSlice;
use std::sync::Arc;

/// Room for what arrives: a fetch answer in steps that stay in the cache, and the longest message of a handshake (64 KiB).
const INCOMING_BYTES: usize = 160 << 10;
/// Plain bytes of one record (RFC 8446, section 5.1).
const RECORD_BYTES_MAX: usize = 16 << 10;
/// What a record adds: header, content type or explicit nonce, tag. Rounded up.
const RECORD_OVERHEAD_BYTES: usize = 64;
/// Plain bytes that are encrypted before they are sent.
const OUTGOING_BYTES: usize = 128 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Handshaking,
    Open,
    /// The peer has said that it is done.
    Ended,
}

pub struct Session {
    connection: UnbufferedClientConnection,
    state: State,
    /// `incoming[begin..end]` is encrypted and not looked at, or the beginning of a record.
    incoming: Box<[u8]>,
    begin: usize,
    end: usize,
    /// Decrypted, and the reader had no room: from `plain_at` on.
    plain: Vec<u8>,
    plain_at: usize,
    outgoing: Outgoing,
    /// A record that is being gathered.
    gathered: Vec<u8>,
}

impl Session {
    pub fn new(config: Arc<ClientConfig>, server: ServerName<'static>) -> Result<Self, Error> {
        let mut session = Self {
            connection: UnbufferedClientConnection::new(config, server)?,
            state: State::Handshaking,
            incoming: vec![0; INCOMING_BYTES].into(),
            begin: 0,
            end: 0,
            plain: Vec::new(),
            plain_at: 0,
            outgoing: Outgoing::default(),
            gathered: Vec::new(),
        };
        session.advance(&mut BytesMut::new(), &[])?;
        Ok(session)
    }

    pub fn state(&self) -> State {
        self.state
    }

    // Receiving.

    /// Where bytes from the socket go; [`Self::received`] says how many there were.
    pub fn room(&mut self) -> &mut [u8] {
        if self.begin > 0 {
            self.incoming.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        &mut self.incoming[self.end..]
    }

    /// So many bytes arrived. What can be decrypted of them goes into the spare capacity of `into`, or waits for [`Self::take`].
    pub fn received(&mut self, bytes: usize, into: &mut BytesMut) -> Result<(), Error> {
        self.end += bytes;
        self.take(into)
    }

    /// What is decrypted, or can be, as far as there is room for it.
    pub fn take(&mut self, into: &mut BytesMut) -> Result<(), Error> {
        self.hand_over(into);
        if self.plain.is_empty() && self.begin < self.end {
            self.advance(into, &[])?;
        }
        Ok(())
    }

    /// Bytes that arrived and do not make a whole record yet, or are waiting for room. What is inside of a record to come is
    /// shorter than the record.
    pub fn unread_bytes(&self) -> usize {
        self.end - self.begin
    }

    /// Decrypted bytes that wait for room.
    pub fn has_plain(&self) -> bool {
        !self.plain.is_empty()
    }

    fn hand_over(&mut self, into: &mut BytesMut) {
        let waiting = &self.plain[self.plain_at..];
        let n = waiting.len().min(into.capacity() - into.len());
        into.extend_from_slice(&waiting[..n]);
        self.plain_at += n;
        if self.plain_at == self.plain.len() {
            self.plain.clear();
            self.plain_at = 0;
        }
    }

    /// Encrypts `to_send`, or if that is nothing goes on until more has to arrive, or there is no room for what did.
    fn advance(&mut self, into: &mut BytesMut, to_send: &[u8]) -> Result<(), Error> {
        loop {
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(&mut self.incoming[self.begin..self.end]);
            let mut is_done = false;
            match state {
                Err(error) => {
                    self.begin += discard;
                    self.queue_alert();
                    return Err(error);
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    // It may follow the handshake's last message at once.
                    self.state = State::Open;
                    while let Some(record) = traffic.next_record() {
                        let payload = record?.payload;
                        let room = if self.plain.is_empty() { into.capacity() - into.len() } else { 0 };
                        let (fits, waits) = payload.split_at(payload.len().min(room));
                        into.extend_from_slice(fits);
                        self.plain.extend_from_slice(waits);
                    }
                    is_done = !self.plain.is_empty() && to_send.is_empty();
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    self.outgoing.append(0, |room| match data.encode(room) {
                        Ok(n) => Ok(Ok(n)),
                        Err(EncodeError::InsufficientSize(short)) => Ok(Err(short.required_size)),
                        Err(EncodeError::AlreadyEncoded) => Ok(Ok(0)),
                    })?;
                }
                // It is in `outgoing`, and is sent before anything else.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    self.state = State::Open;
                    if !to_send.is_empty() {
                        let records = to_send.len().div_ceil(RECORD_BYTES_MAX);
                        let room = to_send.len() + records * RECORD_OVERHEAD_BYTES;
                        self.outgoing.append(room, |room| match traffic.encrypt(to_send, room) {
                            Ok(n) => Ok(Ok(n)),
                            Err(EncryptError::InsufficientSize(short)) => Ok(Err(short.required_size)),
                            Err(EncryptError::EncryptExhausted) => Err(Error::EncryptError),
                        })?;
                    }
                    is_done = true;
                }
                Ok(ConnectionState::BlockedHandshake) if to_send.is_empty() => is_done = true,
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.state = State::Ended;
                    is_done = true;
                }
                // A client gets no early data, and `encrypt` is called when the handshake is over.
                Ok(_) => return Err(Error::General("an unexpected state of TLS".into())),
            }
            self.begin += discard;
            if is_done {
                break;
            }
        }
        if self.end - self.begin == INCOMING_BYTES && self.plain.is_empty() {
            return Err(Error::General("a message is longer than TLS allows".into()));
        }
        Ok(())
    }

    /// The peer is told what we did not like.
    fn queue_alert(&mut self) {
        let status = self.connection.process_tls_records(&mut self.incoming[self.begin..self.end]);
        if let Ok(ConnectionState::EncodeTlsData(mut data)) = status.state {
            // It is a few bytes; whether the peer hears of it changes nothing for us.
            let _ = self.outgoing.append(0, |room| Ok(Ok(data.encode(room).unwrap_or(0))));
        }
    }

    // Sending.

    /// Bytes for the socket; [`Self::sent`] says how many of them it took.
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing.bytes[self.outgoing.begin..self.outgoing.end]
    }

    pub fn sent(&mut self, bytes: usize) {
        self.outgoing.begin += bytes;
        if self.outgoing.begin == self.outgoing.end {
            (self.outgoing.begin, self.outgoing.end) = (0, 0);
        }
    }

    /// Encrypts what the slices hold, from their front on, as much as is worth sending at a time. Returns how many bytes that are.
    pub fn encrypt(&mut self, slices: &[IoSlice<'_>]) -> Result<usize, Error> {
        let mut taken = 0;
        for slice in slices {
            let mut rest: &[u8] = slice;
            while !rest.is_empty() && taken < OUTGOING_BYTES {
                // Whole records come straight from where they are, the rest is gathered with what follows.
                let n = match self.gathered.is_empty() {
                    true => (rest.len() / RECORD_BYTES_MAX * RECORD_BYTES_MAX).min(OUTGOING_BYTES),
                    false => 0,
                };
                if n > 0 {
                    self.advance(&mut BytesMut::new(), &rest[..n])?;
                    rest = &rest[n..];
                    taken += n;
                    continue;
                }
                let n = rest.len().min(RECORD_BYTES_MAX - self.gathered.len());
                self.gathered.extend_from_slice(&rest[..n]);
                rest = &rest[n..];
                taken += n;
                if self.gathered.len() == RECORD_BYTES_MAX {
                    self.write_gathered()?;
                }
            }
        }
        self.write_gathered()?;
        Ok(taken)
    }

    fn write_gathered(&mut self) -> Result<(), Error> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let mut gathered = std::mem::take(&mut self.gathered);
        let written = self.advance(&mut BytesMut::new(), &gathered);
        gathered.clear();
        self.gathered = gathered;
        written
    }
}

/// Encrypted bytes to be sent, in `bytes[begin..end]`. The vector only grows, so that it is not filled with zeros again and again.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
}

impl Outgoing {
    /// Lets `write` put bytes into `room` bytes at the end; it answers with their number, or with the room that it needs.
    fn append(
        &mut self,
        room: usize,
        mut write: impl FnMut(&mut [u8]) -> Result<Result<usize, usize>, Error>,
    ) -> Result<(), Error> {
        let mut room = room.max(4 << 10);
        loop {
            if self.bytes.len() < self.end + room {
                self.bytes.resize(self.end + room, 0);
            }
            match write(&mut self.bytes[self.end..])? {
                Ok(n) => {
                    self.end += n;
                    return Ok(());
                }
                Err(required) => room = required.max(room + 1),
            }
        }
    }
}
