//! The yardstick: what it costs to pass bytes from one TCP connection to another on this machine, without any Kafka.
//!
//! `cargo bench --bench relay [-- --bytes N --rounds N --only NAME --json FILE]`. One thread sends page-cache pages (sendfile, as
//! Kafka does), one receives into a buffer and drops it; between them a relay of the kind at hand, alone on the last core,
//! whose CPU time is what is measured. `relay tls` does the same between TLS connections (AES-256-GCM), with rustls's own streams.
//! `shard copy`, `shard tls` and `shard splice` are Twinlog's own driver moving frames of
//! [`FRAME_BYTES`] without looking at them, so what they cost above a plain relay is the executor and the driver.

// A relay is nothing but sockets, threads and a clock.
#![allow(clippy::disallowed_methods)]

use bytes::{Bytes, BytesMut};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;
use twinlog::config::Security;
use twinlog::config::security::{Protocols, Tls, Trust};
use twinlog::edge::clock::thread_cpu_us;
use twinlog::edge::machine::Machine;
use twinlog::edge::runtime::{choose_cores, spawn_machine};
use twinlog::edge::security::Access;
use twinlog::edge::tls;
use twinlog::shard::{Action, Command, ConnId, Event, Out, Side, Want};
use twinlog::time::Now;

const FRAME_BYTES: usize = 128 << 10;
const FILE_BYTES: usize = 256 * FRAME_BYTES;

struct Options {
    bytes: usize,
    rounds: usize,
    only: String,
    json: Option<String>,
}

/// What one relay of the whole stream took.
struct Figure {
    cpu_us: u64,
    seconds: f64,
}

type Relay = fn(&Ends) -> Figure;

const RELAYS: [(&str, bool, Relay); 7] = [
    ("relay rw 64 KiB", false, |ends| blocking(ends, 64 << 10, read_write)),
    ("relay rw 1 MiB", false, |ends| blocking(ends, 1 << 20, read_write)),
    ("relay splice 1 MiB", false, |ends| blocking(ends, 1 << 20, through_pipe)),
    ("relay tls 64 KiB", true, |ends| blocking(ends, 64 << 10, tls_read_write)),
    ("shard copy", false, |ends| shard(ends, false)),
    ("shard splice", false, |ends| shard(ends, true)),
    ("shard tls", true, |ends| shard(ends, false)),
];

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    let mut lines = Vec::new();
    println!("{:20} {:>12} {:>10}", "relay", "CPU-s per GB", "MB/s");
    for round in 0..options.rounds {
        for (name, has_tls, relay) in RELAYS.into_iter().filter(|(name, ..)| name.contains(&options.only)) {
            let figure = relay(&Ends::start(options.bytes, has_tls));
            let gigabytes = options.bytes as f64 / 1e9;
            let cpu_s_per_gb = figure.cpu_us as f64 / 1e6 / gigabytes;
            let mb_per_s = gigabytes * 1e3 / figure.seconds;
            println!("{name:20} {cpu_s_per_gb:12.3} {mb_per_s:10.0}");
            lines.push(format!(
                r#"{{"what":"{name}","round":{round},"bytes":{},"cpu_s_per_gb":{cpu_s_per_gb:.4},"mb_per_s":{mb_per_s:.1}}}"#,
                options.bytes
            ));
        }
    }
    if let Some(file) = options.json
        && let Err(e) = std::fs::write(&file, lines.join("\n") + "\n")
    {
        eprintln!("cannot write {file}: {e}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn options() -> Result<Options, String> {
    let mut options = Options { bytes: 2 << 30, rounds: 3, only: String::new(), json: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--bytes" => options.bytes = value()?.parse().map_err(|e| format!("--bytes: {e}"))?,
            "--rounds" => options.rounds = value()?.parse().map_err(|e| format!("--rounds: {e}"))?,
            "--only" => options.only = value()?,
            "--json" => options.json = Some(value()?),
            // What cargo says in a smoke test.
            "--test" => (options.bytes, options.rounds) = (8 << 20, 1),
            "--bench" => {}
            other => {
                return Err(format!(
                    "{other}: unknown; there are --bytes N, --rounds N, --only NAME and --json FILE"
                ));
            }
        }
    }
    options.bytes = options.bytes.next_multiple_of(FILE_BYTES);
    Ok(options)
}

/// The two threads at the ends of the relay.
struct Ends {
    source: SocketAddr,
    target: SocketAddr,
    bytes: usize,
    certificate: Option<Certificate>,
    done: mpsc::Receiver<()>,
}

impl Ends {
    fn start(bytes: usize, has_tls: bool) -> Self {
        let source = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = TcpListener::bind("127.0.0.1:0").unwrap();
        let (tell, done) = mpsc::channel();
        let certificate = has_tls.then(Certificate::make);
        let server = certificate.as_ref().map(Certificate::server);
        let ends = Self {
            source: source.local_addr().unwrap(),
            target: target.local_addr().unwrap(),
            bytes,
            certificate,
            done,
        };
        if let Some(server) = server {
            tls_ends(server, source, target, bytes, tell);
            return ends;
        }
        thread::spawn(move || {
            pin(first_core());
            let file = frames();
            let (socket, _) = source.accept().unwrap();
            let mut left = bytes;
            while left > 0 {
                let mut offset = (bytes - left) as u64 % FILE_BYTES as u64;
                let n = (FILE_BYTES - offset as usize).min(left);
                left -= rustix::fs::sendfile(&socket, &file, Some(&mut offset), n).unwrap();
            }
        });
        thread::spawn(move || {
            pin(first_core());
            let (mut socket, _) = target.accept().unwrap();
            let mut buffer = vec![0; 1 << 20];
            let mut left = bytes;
            while left > 0 {
                left -= socket.read(&mut buffer).unwrap();
            }
            // Nobody listens any more when a round was cut short.
            let _ = tell.send(());
        });
        ends
    }
}

/// The same two threads, with TLS.
fn tls_ends(
    server: Arc<ServerConfig>,
    source: TcpListener,
    target: TcpListener,
    bytes: usize,
    tell: mpsc::Sender<()>,
) {
    let config = Arc::clone(&server);
    thread::spawn(move || {
        pin(first_core());
        let (socket, _) = source.accept().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
        let frame = frame();
        for _ in 0..bytes / FRAME_BYTES {
            stream.write_all(&frame).unwrap();
        }
        stream.flush().unwrap();
        // Until the relay is done with it.
        let _ = stream.read(&mut [0]);
    });
    thread::spawn(move || {
        pin(first_core());
        let (socket, _) = target.accept().unwrap();
        let mut stream = StreamOwned::new(ServerConnection::new(server).unwrap(), socket);
        let mut buffer = vec![0; 1 << 20];
        let mut left = bytes;
        while left > 0 {
            left -= stream.read(&mut buffer).unwrap();
        }
        let _ = tell.send(());
    });
}

/// A certificate of a server, which is its own authority.
struct Certificate {
    pem: String,
    der: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Certificate {
    fn make() -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        Self { pem: made.cert.pem(), der: made.cert.der().clone(), key: made.signing_key.serialize_der() }
    }

    fn server(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(tls::provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key);
        Arc::new(config.unwrap())
    }

    fn client(&self) -> Security {
        Security {
            tls: Some(Tls {
                trust: Trust::Pem(self.pem.clone()),
                identity: None,
                check_host: true,
                protocols: Protocols { tls12: true, tls13: true },
                cipher_suites: Vec::new(),
            }),
            ..Security::default()
        }
    }
}

/// A file of frames, in memory: a length, and bytes that do not matter.
fn frames() -> std::os::fd::OwnedFd {
    let file = rustix::fs::memfd_create("frames", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let frame = frame();
    for _ in 0..FILE_BYTES / FRAME_BYTES {
        assert_eq!(rustix::io::write(&file, &frame).unwrap(), FRAME_BYTES);
    }
    file
}

fn frame() -> Vec<u8> {
    let mut frame: Vec<u8> = (0..FRAME_BYTES).map(|i| (i * 31 % 251) as u8).collect();
    frame[..4].copy_from_slice(&((FRAME_BYTES - 4) as u32).to_be_bytes());
    frame
}

fn first_core() -> usize {
    choose_cores(&[]).unwrap()[0]
}

fn last_core() -> usize {
    *choose_cores(&[]).unwrap().last().unwrap()
}

fn pin(core: usize) {
    core_affinity::set_for_current(core_affinity::CoreId { id: core });
}

/// Runs a relay with blocking sockets on a thread of its own.
fn blocking(ends: &Ends, chunk_bytes: usize, relay: fn(&Line, TcpStream, TcpStream)) -> Figure {
    let (source, target, bytes) = (ends.source, ends.target, ends.bytes);
    let tls = ends
        .certificate
        .as_ref()
        .map(|made| tls::Context::new(made.client().tls.as_ref().unwrap()).config().unwrap());
    let line = Line { bytes, chunk_bytes, tls };
    thread::spawn(move || {
        pin(last_core());
        let source = TcpStream::connect(source).unwrap();
        let target = TcpStream::connect(target).unwrap();
        target.set_nodelay(true).unwrap();
        let began = Instant::now();
        relay(&line, source, target);
        Figure { cpu_us: thread_cpu_us(), seconds: began.elapsed().as_secs_f64() }
    })
    .join()
    .unwrap()
}

/// What a relay has to do.
struct Line {
    bytes: usize,
    chunk_bytes: usize,
    tls: Option<Arc<ClientConfig>>,
}

fn tls_read_write(line: &Line, source: TcpStream, target: TcpStream) {
    let secure = |socket: TcpStream| {
        let name = ServerName::try_from("127.0.0.1").unwrap();
        StreamOwned::new(ClientConnection::new(Arc::clone(line.tls.as_ref().unwrap()), name).unwrap(), socket)
    };
    let (mut source, mut target) = (secure(source), secure(target));
    let mut buffer = vec![0; line.chunk_bytes];
    let mut left = line.bytes;
    while left > 0 {
        let n = source.read(&mut buffer).unwrap();
        target.write_all(&buffer[..n]).unwrap();
        left -= n;
    }
    target.flush().unwrap();
    // Until the other end has read it all: a socket that is closed with something unread takes back what was sent.
    let _ = target.read(&mut [0]);
}

fn read_write(line: &Line, mut source: TcpStream, mut target: TcpStream) {
    let (mut left, chunk_bytes) = (line.bytes, line.chunk_bytes);
    let mut buffer = vec![0; chunk_bytes];
    while left > 0 {
        let n = source.read(&mut buffer).unwrap();
        target.write_all(&buffer[..n]).unwrap();
        left -= n;
    }
}

fn through_pipe(line: &Line, source: TcpStream, target: TcpStream) {
    let (mut left, chunk_bytes) = (line.bytes, line.chunk_bytes);
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    fcntl_setpipe_size(&writer, chunk_bytes).unwrap();
    while left > 0 {
        let mut n = splice(&source, None, &writer, None, chunk_bytes, SpliceFlags::MOVE).unwrap();
        left -= n;
        while n > 0 {
            n -= splice(&reader, None, &target, None, n, SpliceFlags::MOVE).unwrap();
        }
    }
}

/// Runs Twinlog's driver with a machine that passes frames on.
fn shard(ends: &Ends, spliced: bool) -> Figure {
    let (events, _events) = mpsc::channel();
    let frames = Frames::new(spliced, ends.source, ends.target);
    let security = ends.certificate.as_ref().map(Certificate::client).unwrap_or_default();
    let accesses = [Access::new(&security), Access::new(&security)];
    let began = Instant::now();
    let shard = spawn_machine(last_core(), 0, 64 << 20, move || frames, accesses, events).unwrap();
    ends.done.recv().unwrap();
    let seconds = began.elapsed().as_secs_f64();
    let last = shard.join().unwrap();
    Figure { cpu_us: last.cpu_us, seconds }
}

const SOURCE: ConnId = ConnId(0);
const TARGET: ConnId = ConnId(1);

/// Passes frames from the source to the target.
struct Frames {
    spliced: bool,
    connected: usize,
    /// Of the frame at hand, still in the socket.
    payload: usize,
    actions: VecDeque<Action>,
    outs: VecDeque<Out>,
}

impl Frames {
    fn new(spliced: bool, source: SocketAddr, target: SocketAddr) -> Self {
        let dial = |conn, side, address: SocketAddr| Action::Dial { conn, side, address: address.into() };
        let actions = [dial(SOURCE, Side::Source, source), dial(TARGET, Side::Target, target)].into();
        Self { spliced, connected: 0, payload: 0, actions, outs: VecDeque::new() }
    }

    fn send(&mut self, out: Out) {
        self.outs.push_back(out);
        self.actions.push_back(Action::Transmit { conn: TARGET });
    }
}

impl Machine for Frames {
    type Look = ();

    fn handle_commands(&mut self, _: Now, _: Vec<Command>) {}

    fn handle_connected(&mut self, _: Now, _: ConnId) {
        self.connected += 1;
    }

    fn handle_closed(&mut self, _: Now, _: ConnId, _: &str) {}

    fn handle_input(&mut self, _: Now, conn: ConnId, input: &mut BytesMut) {
        if conn == TARGET {
            return input.clear();
        }
        if !self.spliced {
            let bytes: Bytes = input.split().freeze();
            self.payload = (self.payload + FRAME_BYTES - bytes.len() % FRAME_BYTES) % FRAME_BYTES;
            return self.send(Out::Bytes(bytes));
        }
        if let Some(head) = input.first_chunk::<4>() {
            self.payload = u32::from_be_bytes(*head) as usize;
            let head = input.split().freeze();
            self.send(Out::Bytes(head));
            self.send(Out::Splice { from: SOURCE, bytes: self.payload });
        }
    }

    fn handle_moved(&mut self, _: Now, _: ConnId, bytes: usize) {
        self.payload -= bytes;
    }

    fn handle_timeout(&mut self, _: Now) {}

    fn want(&self, conn: ConnId) -> Want {
        match (conn, self.payload) {
            (TARGET, _) => Want::Bytes { at_least: 1, at_most: usize::MAX },
            _ if self.connected < 2 => Want::Pause,
            (_, 0) if self.spliced => Want::Bytes { at_least: 4, at_most: 4 },
            (_, bytes) if self.spliced => Want::Splice { bytes, into: TARGET },
            (_, 0) => Want::Bytes { at_least: FRAME_BYTES, at_most: usize::MAX },
            (_, at_least) => Want::Bytes { at_least, at_most: usize::MAX },
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_transmit(&mut self, _: ConnId) -> Option<Out> {
        self.outs.pop_front()
    }

    fn poll_event(&mut self) -> Option<Event> {
        None
    }

    fn poll_timeout(&self) -> Option<u64> {
        None
    }

    fn snapshot(&self) {}
}
