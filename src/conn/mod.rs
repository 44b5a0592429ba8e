//! One connection's life above TCP and TLS: dial → ApiVersions → SASL → ready, then requests and their answers in the order they
//! were sent.
//!
//! A broker answers the requests of one connection in order, so what is awaited is a queue. [`Conn`] keeps it, checks every
//! correlation id against it, and knows when an answer is overdue. It does no input or output: bytes come in through
//! [`Conn::read`], and go out through [`Conn::poll_transmit`].
//!
//! Brokers before Kafka 0.10 do not know ApiVersions, and close the connection on it ([`Conn::was_refused`] tells). The next
//! connection to such a broker asks something that only they answer ([`Conn::suspect_old`]): a newer one that happened to close
//! the connection, and would make old messages of its records when asked in an old way, is not taken for one of them.
//!
//! A broker may listen to a login only for so long (KIP-368). Before that time is over [`Conn::poll_login`] asks for another
//! [`Login`], which goes out behind the requests under way; until it is answered nothing else is sent, as the broker demands.

pub mod sasl;

use crate::limits::ANSWER_BYTES_MAX;
use crate::time::Now;
use crate::wire::control;
use crate::wire::frame::split_frame;
use crate::wire::legacy::requests;
use crate::wire::versions::Versions;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::protocol::StrBytes;
use sasl::{Exchange, Login, Step};
use std::collections::VecDeque;
use std::sync::Arc;

/// KIP-511 asks for a name and a version with the first request; brokers show them in their metrics.
const SOFTWARE_NAME: &str = "twinlog";

/// One TCP connection of one shard. Never used again after it is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u32);

/// What a connection's writer should send next, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Out {
    Bytes(Bytes),
    /// The next `bytes` that the source connection `from` puts into its pipe.
    Splice {
        from: ConnId,
        bytes: usize,
    },
}

/// Of the question that only old brokers answer.
const OLD_CORRELATION_ID: i32 = -1;
/// The share of a login's life after which the next one is due. Kafka's own client takes 85 % to 95 %.
const LOGIN_USED_PERCENT: u64 = 85;

pub struct Conn<T> {
    client_id: Arc<str>,
    request_timeout_ms: u64,
    has_sasl: bool,
    is_old: bool,
    phase: Phase,
    versions: Versions,
    awaited: VecDeque<Awaited<T>>,
    correlation_id: i32,
    outgoing: VecDeque<Out>,
    outgoing_bytes: usize,
    queued_bytes: u64,
    announced: bool,
    /// A login under way, and when it is given up.
    login: Option<(Exchange, u64)>,
    /// When the next login is due; `u64::MAX` for never.
    login_at_us: u64,
    login_asked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Dialing {
        deadline_us: u64,
    },
    Negotiating {
        version: i16,
        deadline_us: u64,
    },
    /// The first login waits to be handed in, or is under way.
    LoggingIn {
        deadline_us: u64,
    },
    Ready,
}

struct Awaited<T> {
    correlation_id: i32,
    deadline_us: u64,
    tag: T,
}

/// What [`Conn::read`] found.
pub enum Read<T> {
    /// Nothing whole yet.
    Incomplete,
    /// The handshake or another login is done; requests may be sent.
    Ready,
    /// The answer (response header included, size prefix not) to the oldest request.
    Answer { tag: T, frame: Bytes },
}

impl<T> Conn<T> {
    pub fn new(now: Now, client_id: Arc<str>, request_timeout_ms: u64, has_sasl: bool) -> Self {
        Self {
            client_id,
            request_timeout_ms,
            has_sasl,
            is_old: false,
            phase: Phase::Dialing { deadline_us: now.after_ms(request_timeout_ms) },
            versions: Versions::default(),
            awaited: VecDeque::new(),
            correlation_id: 0,
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
            queued_bytes: 0,
            announced: false,
            login: None,
            login_at_us: u64::MAX,
            login_asked: false,
        }
    }

    /// The broker may be one that does not know ApiVersions.
    pub fn suspect_old(&mut self) {
        self.is_old = true;
    }

    /// Whether the answer to ApiVersions is awaited. A broker that closes the connection then may be too old for the question.
    pub fn was_refused(&self) -> bool {
        matches!(self.phase, Phase::Negotiating { .. }) && !self.has_sasl && !self.is_old
    }

    /// Whether requests may be sent now.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready && self.login.is_none()
    }

    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// Requests sent or queued and not yet answered.
    pub fn awaited(&self) -> usize {
        self.awaited.len()
    }

    /// The request whose answer comes next.
    pub fn front(&self) -> Option<&T> {
        self.awaited.front().map(|awaited| &awaited.tag)
    }

    /// What is awaited, the next answer first.
    pub fn tags(&self) -> impl Iterator<Item = &T> {
        self.awaited.iter().map(|awaited| &awaited.tag)
    }

    /// Bytes queued and not yet taken by the writer.
    pub fn outgoing_bytes(&self) -> usize {
        self.outgoing_bytes
    }

    /// Bytes ever queued.
    pub fn queued_bytes(&self) -> u64 {
        self.queued_bytes
    }

    /// When this connection is to be given up, if nothing is answered before.
    pub fn deadline_us(&self) -> Option<u64> {
        match self.phase {
            Phase::Dialing { deadline_us }
            | Phase::Negotiating { deadline_us, .. }
            | Phase::LoggingIn { deadline_us } => Some(deadline_us),
            Phase::Ready => {
                let awaited = self.awaited.front().map(|awaited| awaited.deadline_us);
                awaited.or(self.login.as_ref().map(|(_, deadline_us)| *deadline_us))
            }
        }
    }

    /// When [`Self::poll_login`] will ask again, if it will.
    pub fn login_at_us(&self) -> Option<u64> {
        (self.login_at_us != u64::MAX && !self.login_asked).then_some(self.login_at_us)
    }

    /// What [`Self::deadline_us`] waited for, in words.
    pub fn overdue(&self) -> &'static str {
        match self.phase {
            Phase::Dialing { .. } => "the broker did not accept the connection in time",
            Phase::Negotiating { .. } => {
                "the broker did not answer the first request (ApiVersions) in time; does it speak TLS on this port?"
            }
            Phase::LoggingIn { .. } => "the login was not done in time",
            Phase::Ready => "the broker did not answer a request in time",
        }
    }

    /// TCP is up: the handshake begins.
    pub fn handle_connected(&mut self, now: Now) {
        if self.is_old {
            let deadline_us = now.after_ms(self.request_timeout_ms);
            self.phase = Phase::Negotiating { version: 0, deadline_us };
            let question = requests::are_you_old(OLD_CORRELATION_ID, &self.client_id);
            self.queue(Out::Bytes(question));
        } else {
            self.negotiate(now, 3);
        }
    }

    /// Takes at most one answer out of `input`.
    pub fn read(&mut self, now: Now, input: &mut BytesMut) -> Result<Read<T>, String> {
        let Some(frame) = split_frame(input, ANSWER_BYTES_MAX).map_err(|bad| bad.to_string())? else {
            return Ok(Read::Incomplete);
        };
        let frame = frame.freeze();
        match self.phase {
            Phase::Dialing { .. } => Err("the broker spoke before it was asked".into()),
            Phase::Negotiating { version, .. } => self.negotiated(now, version, frame),
            // Logins go out behind all other requests, and nothing behind them.
            Phase::LoggingIn { .. } | Phase::Ready if self.awaited.is_empty() => self.logged_in(now, frame),
            Phase::LoggingIn { .. } => Err("the broker spoke before it was asked".into()),
            Phase::Ready => {
                let correlation_id = frame
                    .first_chunk::<4>()
                    .map(|bytes| i32::from_be_bytes(*bytes))
                    .ok_or("an answer is too short to carry a correlation id")?;
                Ok(Read::Answer { tag: self.answered(correlation_id)?, frame })
            }
        }
    }

    /// The answer with this correlation id has begun: which request was it? An error means the stream cannot be trusted.
    pub fn answered(&mut self, correlation_id: i32) -> Result<T, String> {
        let Some(awaited) = self.awaited.pop_front() else {
            return Err("the broker sent an answer that nobody asked for".into());
        };
        if awaited.correlation_id != correlation_id {
            return Err(format!(
                "the broker answered request {correlation_id} while request {} was next",
                awaited.correlation_id
            ));
        }
        Ok(awaited.tag)
    }

    /// The id that the next request must carry.
    pub fn next_correlation_id(&self) -> i32 {
        self.correlation_id
    }

    /// Queues a request that carries [`Self::next_correlation_id`]. `patience_ms` is how long the broker may hold it on purpose.
    pub fn send(&mut self, now: Now, tag: T, patience_ms: u64, request: Bytes) {
        self.await_answer(now, tag, patience_ms);
        self.queue(Out::Bytes(request));
    }

    /// Counts a request as sent whose bytes are queued by [`Self::queue`].
    pub fn await_answer(&mut self, now: Now, tag: T, patience_ms: u64) {
        let deadline_us = now.after_ms(self.request_timeout_ms + patience_ms);
        self.awaited.push_back(Awaited { correlation_id: self.correlation_id, deadline_us, tag });
        self.correlation_id = self.correlation_id.wrapping_add(1) & i32::MAX;
    }

    pub fn queue(&mut self, out: Out) {
        let bytes = out_bytes(&out);
        self.outgoing_bytes += bytes;
        self.queued_bytes += bytes as u64;
        self.outgoing.push_back(out);
    }

    pub fn poll_transmit(&mut self) -> Option<Out> {
        let out = self.outgoing.pop_front();
        match &out {
            Some(out) => self.outgoing_bytes -= out_bytes(out),
            None => self.announced = false,
        }
        out
    }

    /// True once for every time that something begins to wait for the writer.
    pub fn announce(&mut self) -> bool {
        let announce = !self.announced && !self.outgoing.is_empty();
        self.announced |= announce;
        announce
    }

    fn negotiate(&mut self, now: Now, version: i16) {
        self.phase = Phase::Negotiating { version, deadline_us: now.after_ms(self.request_timeout_ms) };
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(SOFTWARE_NAME))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let request = control::encode(&request, version, -1, &self.client_id);
        self.queue(Out::Bytes(request));
    }

    fn negotiated(&mut self, now: Now, version: i16, frame: Bytes) -> Result<Read<T>, String> {
        if self.is_old {
            if control::correlation_id(&frame) != Ok(OLD_CORRELATION_ID) {
                return Err("the broker answered something else than what it was asked".into());
            }
            self.versions = Versions::before_api_versions();
            self.phase = Phase::Ready;
            return Ok(Read::Ready);
        }
        let Some(versions) = Versions::read(version, frame).map_err(|bad| bad.to_string())? else {
            // Older than our question: once more, as simply as it goes.
            self.negotiate(now, 0);
            return Ok(Read::Incomplete);
        };
        self.versions = versions;
        if self.has_sasl {
            self.phase = Phase::LoggingIn { deadline_us: now.after_ms(self.request_timeout_ms) };
            self.login_at_us = now.mono_us;
            return Ok(Read::Incomplete);
        }
        self.phase = Phase::Ready;
        Ok(Read::Ready)
    }

    // Logins.

    /// True once for every time that a login is due: [`Self::handle_login`] is to bring one.
    pub fn poll_login(&mut self, now: Now) -> bool {
        let is_due = !self.login_asked && self.login_at_us <= now.mono_us;
        self.login_asked |= is_due;
        is_due
    }

    /// What [`Self::poll_login`] asked for.
    pub fn handle_login(&mut self, now: Now, login: Login) -> Result<(), String> {
        if !self.login_asked {
            return Ok(());
        }
        let exchange = Exchange::new(login, &self.versions).map_err(|error| error.to_string())?;
        // It waits behind what is under way.
        let deadline_us = self.awaited.back().map_or(now.mono_us, |awaited| awaited.deadline_us);
        self.login = Some((exchange, deadline_us.max(now.after_ms(self.request_timeout_ms))));
        self.send_login();
        Ok(())
    }

    fn send_login(&mut self) {
        if let Some((exchange, _)) = &self.login {
            let request = exchange.request(self.correlation_id, &self.client_id);
            self.queue(Out::Bytes(request));
        }
    }

    fn logged_in(&mut self, now: Now, frame: Bytes) -> Result<Read<T>, String> {
        let Some((exchange, _)) = &mut self.login else {
            return Err("the broker sent an answer that nobody asked for".into());
        };
        let answered = control::correlation_id(&frame).map_err(|bad| bad.to_string())?;
        if answered != self.correlation_id {
            return Err(format!(
                "the broker answered request {answered} while {} was next",
                self.correlation_id
            ));
        }
        self.correlation_id = self.correlation_id.wrapping_add(1) & i32::MAX;
        match exchange.answer(frame).map_err(|error| error.to_string())? {
            Step::Next => {
                self.send_login();
                Ok(Read::Incomplete)
            }
            Step::Done { lifetime_ms } => {
                self.login = None;
                self.login_asked = false;
                self.login_at_us = login_due_us(now, lifetime_ms);
                self.phase = Phase::Ready;
                Ok(Read::Ready)
            }
        }
    }
}

/// When a login that the broker listens to for this long has to be followed by another one; `u64::MAX` for never.
pub fn login_due_us(now: Now, lifetime_ms: u64) -> u64 {
    match lifetime_ms {
        0 => u64::MAX,
        _ => now.mono_us.saturating_add(lifetime_ms.saturating_mul(1_000) / 100 * LOGIN_USED_PERCENT),
    }
}

fn out_bytes(out: &Out) -> usize {
    match out {
        Out::Bytes(bytes) => bytes.len(),
        Out::Splice { bytes, .. } => *bytes,
    }
}

#[cfg(test)]
mod tests;
