//! HTTP/1.1 as far as it is needed: one request a connection, and bounds to everything that a client can send or keep waiting.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A client must have asked, and taken its answer, after so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// Clients at a time; more are turned away.
const CLIENTS_MAX: usize = 64;
/// Request line and headers.
const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
/// What a client may send behind them.
pub(super) const BODY_BYTES_MAX: usize = 64 << 10;
/// What is thrown away of a client that sends on though it is answered: closed at once, it might not see the answer.
const REST_BYTES_MAX: usize = 1 << 20;
/// So much of a body goes along with the head.
const HEAD_BODY_BYTES: usize = 16 << 10;
/// The longest time between two looks whether to end.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Other,
}

/// What a client asks, its body not read yet.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    /// Behind the question mark.
    pub(super) query: String,
    pub(super) authorization: Option<Vec<u8>>,
    /// Which types of content are wanted; empty if any will do.
    pub(super) accept: String,
    body: Body,
}

/// What is left to be read.
struct Body {
    stream: TcpStream,
    until: Instant,
    length: usize,
    /// Came together with the head.
    begun: Vec<u8>,
    is_expected: bool,
}

#[derive(Debug)]
pub(super) struct Answer {
    code: u16,
    content_type: &'static str,
    /// Whole lines but for their ends.
    headers: Vec<&'static str>,
    policy: Option<Arc<str>>,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn new(code: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { code, content_type, headers: Vec::new(), policy: None, body: body.into() }
    }

    pub(super) fn plain(code: u16, text: &str) -> Self {
        Self::new(code, "text/plain; charset=utf-8", text)
    }

    pub(super) fn with_header(mut self, line: &'static str) -> Self {
        self.headers.push(line);
        self
    }

    /// What a browser may do with it.
    pub(super) fn with_policy(mut self, policy: &Arc<str>) -> Self {
        self.policy = Some(Arc::clone(policy));
        self
    }
}

impl Request {
    /// The whole body. The error is the answer.
    pub(super) fn body(&mut self) -> Result<Vec<u8>, Answer> {
        let Body { stream, until, length, begun, is_expected } = &mut self.body;
        if *length > BODY_BYTES_MAX {
            return Err(Answer::plain(413, "the body is larger than 64 KiB\n"));
        }
        let mut body = std::mem::take(begun);
        body.truncate(*length);
        if std::mem::take(is_expected) && body.len() < *length {
            let asked = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
            asked.map_err(|_| Answer::plain(400, "the connection broke\n"))?;
        }
        while body.len() < *length {
            let mut piece = [0; 4096];
            let most = piece.len().min(*length - body.len());
            match read(stream, *until, &mut piece[..most]) {
                Ok(0) => return Err(Answer::plain(400, "the body is shorter than Content-Length says\n")),
                Ok(bytes) => body.extend_from_slice(&piece[..bytes]),
                Err(_) => return Err(Answer::plain(408, "the body did not come in time\n")),
            }
        }
        Ok(body)
    }
}

/// Listens until it is dropped.
pub(super) struct Server {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) fn start(
        address: SocketAddr,
        answer: impl Fn(&mut Request) -> Answer + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let answer: Arc<dyn Fn(&mut Request) -> Answer + Send + Sync> = Arc::new(answer);
        let thread = thread::Builder::new().name("http".into()).spawn(move || {
            let clients = Arc::new(AtomicUsize::new(0));
            while !over.load(Ordering::Relaxed) {
                accept(&listener, &answer, &clients);
            }
        })?;
        Ok(Self { address, is_over, thread: Some(thread) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // A thread that waits for a client ends with the process.
        self.thread.take().map(JoinHandle::join);
    }
}

fn accept(
    listener: &TcpListener,
    answer: &Arc<dyn Fn(&mut Request) -> Answer + Send + Sync>,
    clients: &Arc<AtomicUsize>,
) {
    let mut ready = [PollFd::new(listener, PollFlags::IN)];
    if !poll(&mut ready, Some(&TICK)).is_ok_and(|ready| ready > 0) {
        return;
    }
    let stream = match listener.accept() {
        Ok((stream, _)) => stream,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return,
        Err(error) => {
            // Of open files there may be too many for the moment.
            tracing::debug!(%error, "an HTTP client cannot be let in");
            return thread::sleep(Duration::from_millis(100));
        }
    };
    if clients.fetch_add(1, Ordering::Relaxed) >= CLIENTS_MAX {
        clients.fetch_sub(1, Ordering::Relaxed);
        return;
    }
    let (answer, here) = (Arc::clone(answer), Here(Arc::clone(clients)));
    let serve = move || {
        let _here = here;
        if let Err(error) = serve(stream, &*answer) {
            tracing::debug!(%error, "an HTTP client went away");
        }
    };
    if let Err(error) = thread::Builder::new().name("http-client".into()).spawn(serve) {
        tracing::debug!(%error, "an HTTP client cannot be served");
    }
}

/// A client that is counted.
struct Here(Arc<AtomicUsize>);

impl Drop for Here {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&mut Request) -> Answer) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    let until = Instant::now() + PATIENCE;
    let mut has_body = true;
    let answer = match read_head(&mut stream, until)? {
        Ok((mut request, is_head)) => {
            has_body = !is_head;
            answer(&mut request)
        }
        Err(answer) => answer,
    };
    write(&mut stream, until, &answer, has_body)?;
    let _ = stream.shutdown(Shutdown::Write);
    let mut rest = [0; 4096];
    let mut left = REST_BYTES_MAX;
    while left > 0
        && let Ok(bytes) = read(&mut stream, until, &mut rest)
        && bytes > 0
    {
        left = left.saturating_sub(bytes);
    }
    Ok(())
}

/// The request, and whether it is a HEAD, which is a GET but for its answer's body. The inner error is the answer.
fn read_head(stream: &mut TcpStream, until: Instant) -> io::Result<Result<(Request, bool), Answer>> {
    let mut head = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let bytes = match read(stream, until, &mut piece) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Err(error) if is_late(&error) => return Ok(Err(Answer::plain(408, "no request came in time\n"))),
            read => read?,
        };
        head.extend_from_slice(&piece[..bytes]);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(&head) {
            Ok(httparse::Status::Complete(end)) => {
                let body = Body {
                    stream: stream.try_clone()?,
                    until,
                    length: 0,
                    begun: head[end..].to_vec(),
                    is_expected: false,
                };
                return Ok(request(&parsed, body));
            }
            Ok(httparse::Status::Partial) if head.len() < HEAD_BYTES_MAX => {}
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Ok(Err(Answer::plain(431, "the request's headers are too large\n")));
            }
            Err(error) => return Ok(Err(Answer::plain(400, &format!("this is no HTTP request: {error}\n")))),
        }
    }
}

fn request(parsed: &httparse::Request<'_, '_>, mut body: Body) -> Result<(Request, bool), Answer> {
    let bad = |why: &str| Answer::plain(400, &format!("{why}\n"));
    let mut lengths = Vec::new();
    let mut authorization = Vec::new();
    let mut accept = String::new();
    for header in parsed.headers.iter() {
        match header.name.to_ascii_lowercase().as_str() {
            "content-length" => lengths.push(header.value),
            "authorization" => authorization.push(header.value.to_vec()),
            "accept" => {
                accept += &String::from_utf8_lossy(header.value);
                accept += ",";
            }
            "transfer-encoding" => {
                return Err(Answer::plain(411, "send the body with a Content-Length\n"));
            }
            "expect" if header.value.eq_ignore_ascii_case(b"100-continue") => body.is_expected = true,
            "expect" => return Err(Answer::plain(417, "of Expect only 100-continue is known\n")),
            _ => {}
        }
    }
    if let [first, others @ ..] = lengths.as_slice() {
        let is_number = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
        if others.iter().any(|other| other != first) || !is_number {
            return Err(bad("the Content-Length is not a number"));
        }
        // One that is beyond all bounds is too large.
        body.length =
            std::str::from_utf8(first).ok().and_then(|text| text.parse().ok()).unwrap_or(usize::MAX);
    }
    if authorization.len() > 1 {
        return Err(bad("there are two Authorization headers"));
    }
    let method = parsed.method.unwrap_or_default();
    let target = parsed.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = Request {
        method: match method {
            "GET" | "HEAD" => Method::Get,
            "POST" => Method::Post,
            _ => Method::Other,
        },
        path: path.to_owned(),
        query: query.to_owned(),
        authorization: authorization.pop(),
        accept,
        body,
    };
    Ok((request, method == "HEAD"))
}

fn write(stream: &mut TcpStream, until: Instant, answer: &Answer, has_body: bool) -> io::Result<()> {
    let Answer { code, content_type, headers, policy, body } = answer;
    let mut text = format!(
        "HTTP/1.1 {code} {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nConnection: close\r\n\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n",
        reason(*code),
        body.len(),
    );
    for header in headers {
        text += header;
        text += "\r\n";
    }
    if let Some(policy) = policy {
        text += &format!("Content-Security-Policy: {policy}\r\n");
    }
    text += "\r\n";
    let mut head = text.into_bytes();
    // One packet for what is small; what is large is not copied.
    let body = if has_body { body.as_slice() } else { &[] };
    let (begin, rest) = body.split_at(body.len().min(HEAD_BODY_BYTES));
    head.extend_from_slice(begin);
    for mut left in [head.as_slice(), rest] {
        while !left.is_empty() {
            stream.set_write_timeout(Some(rest_of(until)?))?;
            let written = stream.write(left)?;
            left = &left[written..];
        }
    }
    Ok(())
}

fn read(stream: &mut TcpStream, until: Instant, piece: &mut [u8]) -> io::Result<usize> {
    stream.set_read_timeout(Some(rest_of(until)?))?;
    stream.read(piece)
}

/// A time-out of 0 would be none.
fn rest_of(until: Instant) -> io::Result<Duration> {
    let rest = until.saturating_duration_since(Instant::now());
    if rest.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(rest) }
}

fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

fn reason(code: u16) -> &'static str {
    match code {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "",
    }
}
