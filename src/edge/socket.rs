//! One TCP connection: what can be done without waiting, done on the bare descriptor, and the two ways of waiting, left to
//! glommio.

use super::pipes::Pipe;
use super::security::Access;
use super::sys;
use super::tls::{CLOSED_IN_HANDSHAKE, Session, State};
use crate::config::Address;
use bytes::BytesMut;
use futures_lite::{AsyncRead, AsyncWrite};
use glommio::net::TcpStream;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use rustix::pipe::{SpliceFlags, splice};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// All attempts of one dial together take no longer, however many addresses a name has.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// A mark that was set too high costs this much and no more.
const LOW_MARK_WATCHDOG: Duration = Duration::from_millis(100);
/// The largest mark: a wake costs as much as copying some tens of KiB, and waiting for more only delays.
const LOW_MARK_BYTES_MAX: usize = 128 << 10;
/// A mark that every connection can reach, as the first window is 64 KiB.
const LOW_MARK_BYTES_SAFE: usize = 16 << 10;
const DISCARD_BYTES: usize = 16 << 10;
/// What a blocked writer hands to the kernel to wait with.
const SEND_BYTES: usize = 64 << 10;

/// What came of one operation that must not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    Moved(usize),
    /// Nothing can be moved right now.
    Blocked,
    /// The peer has ended its side.
    Ended,
}

/// A connected TCP socket in non-blocking mode, perhaps with TLS on it. Then what is received, sent and counted is what is inside
/// of TLS.
pub struct Socket {
    stream: RefCell<TcpStream>,
    tls: Option<RefCell<Tls>>,
    low_mark: Cell<usize>,
    /// The most that one operation ever took out of the socket.
    largest: Cell<usize>,
}

struct Tls {
    session: Session,
    context: Arc<Access>,
    /// Nothing was left in the socket at the last look.
    is_drained: bool,
}

impl Socket {
    /// Connects to the first of the name's addresses that answers. The error says what was tried.
    pub async fn dial(address: &Address) -> Result<Self, String> {
        let addresses =
            resolve(address).await.map_err(|e| format!("cannot resolve {}: {e}", address.host))?;
        let patience = DIAL_TIMEOUT / addresses.len().max(1) as u32;
        let mut cause = format!("{} has no address", address.host);
        for address in addresses {
            match TcpStream::connect_timeout(address, patience).await {
                Ok(stream) => return Self::new(stream).map_err(|e| format!("cannot set up the socket: {e}")),
                Err(e) => cause = format!("cannot connect to {address}: {}", io::Error::from(e)),
            }
        }
        Err(cause)
    }

    fn new(stream: TcpStream) -> io::Result<Self> {
        let fd = sys::borrow(&stream);
        // glommio leaves its sockets blocking and asks call by call; splice has no such flag that also holds for sockets.
        fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)?;
        rustix::net::sockopt::set_tcp_nodelay(fd, true)?;
        let stream = RefCell::new(stream);
        Ok(Self { stream, tls: None, low_mark: Cell::new(1), largest: Cell::new(0) })
    }

    /// Puts TLS on a socket that has just been dialled. The error says what to do.
    pub async fn secure(self, address: &Address, access: &Arc<Access>) -> Result<Self, String> {
        if access.tls.is_none() {
            return Ok(self);
        }
        let begin = (Arc::clone(access), address.clone());
        // Files may have to be read.
        let session = glommio::executor().spawn_blocking(move || {
            let (access, address) = begin;
            access.tls.as_ref().map(|tls| tls.session(&address)).transpose()
        });
        let Some(session) = session.await? else { return Ok(self) };
        let context = Arc::clone(access);
        let secured = Self { tls: Some(RefCell::new(Tls { session, context, is_drained: false })), ..self };
        let shaken = glommio::timer::timeout(DIAL_TIMEOUT, async { Ok(secured.shake_hands().await) }).await;
        shaken.unwrap_or_else(|_: glommio::GlommioError<()>| {
            Err("the broker did not answer the TLS handshake in time; does it speak TLS on this port?".into())
        })?;
        Ok(secured)
    }

    async fn shake_hands(&self) -> Result<(), String> {
        let Some(tls) = &self.tls else { return Ok(()) };
        // What follows the handshake is left to whoever receives.
        let mut nothing = BytesMut::new();
        loop {
            if self.flush_tls(&mut tls.borrow_mut()).map_err(broken)? {
                match tls.borrow().session.state() {
                    State::Handshaking => {}
                    State::Open => return Ok(()),
                    State::Ended => return Err("the broker ended TLS at once".into()),
                }
            } else {
                poll_fn(|cx| self.poll_send(cx, &[])).await.map_err(broken)?;
                continue;
            }
            match self.receive(&mut nothing, usize::MAX) {
                Ok(Tried::Moved(_)) => {}
                // With TLS 1.2 nothing more comes when it is done.
                Ok(Tried::Blocked)
                    if tls.borrow().session.state() != State::Handshaking || self.has_unsent() => {}
                Ok(Tried::Blocked) => poll_fn(|cx| self.poll_readable(cx)).await.map_err(broken)?,
                Ok(Tried::Ended) => return Err(CLOSED_IN_HANDSHAKE.into()),
                Err(e) => {
                    // The broker is told why.
                    let _ = self.flush_tls(&mut tls.borrow_mut());
                    return Err(broken(e));
                }
            }
        }
    }

    /// Whether a look at the socket may find more, after one that found less than there was room for if `short`.
    pub fn may_have_more(&self, short: bool) -> bool {
        match &self.tls {
            None => !short,
            Some(tls) => !tls.borrow().is_drained,
        }
    }

    /// Receives up to `at_most` bytes behind what is in `buffer`, within its capacity. Under TLS `at_most` counts for nothing.
    pub fn receive(&self, buffer: &mut BytesMut, at_most: usize) -> io::Result<Tried> {
        if let Some(tls) = &self.tls {
            return self.receive_tls(&mut tls.borrow_mut(), buffer);
        }
        let received =
            self.with_fd(|fd| ended_at_zero(sys::receive(fd, buffer, at_most, RecvFlags::DONTWAIT)))?;
        self.took(received);
        Ok(received)
    }

    fn receive_tls(&self, tls: &mut Tls, buffer: &mut BytesMut) -> io::Result<Tried> {
        let before = buffer.len();
        tls.session.take(buffer).map_err(|e| tls.error(&e))?;
        while buffer.len() == before && !tls.session.has_plain() && tls.session.state() != State::Ended {
            let room = tls.session.room();
            let room_bytes = room.len();
            let received = self.with_fd(|fd| {
                ended_at_zero(rustix::net::recv(fd, room, RecvFlags::DONTWAIT).map(|(_, n)| n))
            })?;
            let Tried::Moved(n) = received else {
                tls.is_drained = true;
                return Ok(received);
            };
            self.took(received);
            tls.is_drained = n < room_bytes;
            tls.session.received(n, buffer).map_err(|e| tls.error(&e))?;
            // Answers to what TLS itself asked.
            self.flush_tls(tls)?;
            // What follows may wait for what was just sent.
            if tls.is_drained && buffer.len() == before && !tls.session.has_plain() {
                break;
            }
        }
        tls.is_drained &= !tls.session.has_plain();
        Ok(match buffer.len() - before {
            0 if tls.session.state() == State::Ended => Tried::Ended,
            // A part of a record, or something that only TLS cares about.
            0 => Tried::Blocked,
            n => Tried::Moved(n),
        })
    }

    /// Sends what is encrypted. False: the socket takes no more.
    fn flush_tls(&self, tls: &mut Tls) -> io::Result<bool> {
        while !tls.session.outgoing().is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match self.with_fd(|fd| tried(rustix::net::send(fd, tls.session.outgoing(), flags)))? {
                Tried::Moved(n) => tls.session.sent(n),
                Tried::Blocked | Tried::Ended => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Receives and drops up to `bytes`.
    pub fn discard(&self, bytes: usize) -> io::Result<Tried> {
        let mut scratch = [MaybeUninit::<u8>::uninit(); DISCARD_BYTES];
        let len = bytes.min(DISCARD_BYTES);
        self.with_fd(|fd| {
            ended_at_zero(rustix::net::recv(fd, &mut scratch[..len], RecvFlags::DONTWAIT).map(|(_, n)| n))
        })
    }

    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Whether something that was taken for sending is still here.
    pub fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.borrow().session.outgoing().is_empty())
    }

    /// Sends as much of the slices as the socket takes. `more`: something follows at once, so do not send a short segment.
    pub fn send(&self, slices: &[IoSlice<'_>], more: bool) -> io::Result<Tried> {
        if let Some(tls) = &self.tls {
            let tls = &mut *tls.borrow_mut();
            if !self.flush_tls(tls)? {
                return Ok(Tried::Blocked);
            }
            let taken = tls.session.encrypt(slices).map_err(|e| tls.error(&e))?;
            self.flush_tls(tls)?;
            return Ok(Tried::Moved(taken));
        }
        let mut flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        flags.set(SendFlags::MORE, more);
        self.with_fd(|fd| tried(rustix::net::sendmsg(fd, slices, &mut SendAncillaryBuffer::default(), flags)))
    }

    /// Moves up to `bytes` of what has arrived into the pipe. `Blocked` may also mean that the pipe is full.
    pub fn splice_into(&self, pipe: &mut Pipe, bytes: usize) -> io::Result<Tried> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let moved = self.with_fd(|fd| ended_at_zero(splice(fd, None, &pipe.writer, None, bytes, flags)))?;
        self.took(moved);
        if let Tried::Moved(n) = moved {
            pipe.bytes += n;
        }
        Ok(moved)
    }

    /// Sends up to `bytes` out of the pipe.
    pub fn splice_from(&self, pipe: &mut Pipe, bytes: usize, more: bool) -> io::Result<Tried> {
        let mut flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        flags.set(SpliceFlags::MORE, more);
        let moved = self.with_fd(|fd| tried(splice(&pipe.reader, None, fd, None, bytes, flags)))?;
        if let Tried::Moved(n) = moved {
            pipe.bytes -= n;
        }
        Ok(moved)
    }

    /// From how many bytes on the socket counts as readable. They should be sure to come: when they are not, each wait takes
    /// the watchdog's time.
    ///
    /// The mark stays at half of what the socket is known to hold. Above that, the sender's rules against small segments may
    /// keep it from filling the window up to the mark, and both sides wait; and the kernel may clamp the window to the mark.
    pub fn expect(&self, bytes: usize) -> io::Result<()> {
        // Encrypted bytes are more than what is inside of them, so what is sure to come inside is sure to come outside.
        let unread = self.tls.as_ref().map_or(0, |tls| tls.borrow().session.unread_bytes());
        let bytes = bytes.saturating_sub(unread);
        let mark = bytes.clamp(1, (self.largest.get() / 2).clamp(LOW_MARK_BYTES_SAFE, LOW_MARK_BYTES_MAX));
        if mark == self.low_mark.get() {
            return Ok(());
        }
        self.with_fd(|fd| sys::set_low_mark(fd, mark))?;
        self.low_mark.set(mark);
        let watchdog = (mark > 1).then_some(LOW_MARK_WATCHDOG);
        self.stream.borrow().set_read_timeout(watchdog).map_err(io::Error::from)
    }

    /// Ready when there is something to receive, bytes or the end, or when the watchdog barked: only receiving tells. Takes
    /// nothing out of the socket but its error, which the kernel tells only once.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_read(cx, &mut []).map(|result| match result {
            Err(e) if e.kind() != io::ErrorKind::TimedOut => Err(e),
            _ => Ok(()),
        })
    }

    /// Sends some of `bytes` as soon as the socket takes any, under TLS of what is encrypted already, and tells how many of `bytes`
    /// it took. glommio has no other way to wait for room.
    pub fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(tls) = &self.tls {
            let tls = &mut *tls.borrow_mut();
            let outgoing = tls.session.outgoing();
            let outgoing = &outgoing[..outgoing.len().min(SEND_BYTES)];
            if outgoing.is_empty() {
                return Poll::Ready(Ok(0));
            }
            return match Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, outgoing) {
                Poll::Ready(Ok(n)) => {
                    tls.session.sent(n);
                    Poll::Ready(Ok(0))
                }
                other => other,
            };
        }
        let bytes = &bytes[..bytes.len().min(SEND_BYTES)];
        Pin::new(&mut *self.stream.borrow_mut()).poll_write(cx, bytes)
    }

    /// Resets the connection at once; what the kernel still held for sending is dropped.
    pub fn abort(&self) {
        // Fails only when the connection is already gone.
        let _ = self.with_fd(|fd| rustix::net::connect_unspec(fd));
    }

    fn took(&self, tried: Tried) {
        if let Tried::Moved(n) = tried
            && n > self.largest.get()
        {
            self.largest.set(n);
        }
    }

    fn with_fd<T>(&self, operation: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        operation(sys::borrow(&*self.stream.borrow()))
    }
}

impl Tls {
    fn error(&self, error: &rustls::Error) -> io::Error {
        match &self.context.tls {
            Some(tls) => io::Error::other(tls.explain(error)),
            None => io::Error::other(error.to_string()),
        }
    }
}

/// What a connection broke of while TLS was put on it.
fn broken(e: io::Error) -> String {
    match e.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => CLOSED_IN_HANDSHAKE.into(),
        _ => e.to_string(),
    }
}

/// getaddrinfo blocks, so it runs on the executor's helper thread; an address that is none needs no look-up.
async fn resolve(address: &Address) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = address.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, address.port)]);
    }
    let name = (address.host.clone(), address.port);
    glommio::executor().spawn_blocking(move || name.to_socket_addrs().map(Iterator::collect)).await
}

fn tried(result: rustix::io::Result<usize>) -> io::Result<Tried> {
    match result {
        Ok(n) => Ok(Tried::Moved(n)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(Tried::Blocked),
        Err(e) => Err(e.into()),
    }
}

fn ended_at_zero(result: rustix::io::Result<usize>) -> io::Result<Tried> {
    Ok(match tried(result)? {
        Tried::Moved(0) => Tried::Ended,
        other => other,
    })
}
