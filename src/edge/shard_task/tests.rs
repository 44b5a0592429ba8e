//! The driver with a machine that only relays frames, between two threads that play source and target over real sockets.

use super::*;
use crate::edge::runtime::{ShardHandle, spawn_machine};
use crate::edge::security::Access;
use crate::shard::Out;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

mod tls;

const SOURCE: ConnId = ConnId(1);
const TARGET: ConnId = ConnId(2);
const BUFFER_BYTES: usize = 2 << 20;
/// What never comes is a failure, not a test that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq)]
enum How {
    /// Everything in one stream of bytes.
    Copy,
    /// Heads through memory, payloads through a pipe.
    Splice,
    /// As `Splice`, but every second frame is dropped.
    SpliceHalf,
}

/// Relays frames (u32 length, payload) from the source to the target and ends when the source does.
struct Relay {
    how: How,
    /// No more than this is queued; then the source has to wait.
    queue_bytes_max: usize,
    actions: VecDeque<Action>,
    outs: VecDeque<Out>,
    events: VecDeque<Event>,
    queued_bytes: usize,
    connected: usize,
    /// Payload bytes of the current frame that are still in the socket.
    payload: usize,
    frames: usize,
    wrong_mark: bool,
    timeout_at: Option<u64>,
}

impl Relay {
    fn new(how: How, source: SocketAddr, target: SocketAddr) -> Self {
        let dial = |conn, side, address: SocketAddr| Action::Dial { conn, side, address: address.into() };
        Self {
            how,
            queue_bytes_max: usize::MAX,
            actions: [dial(SOURCE, Side::Source, source), dial(TARGET, Side::Target, target)].into(),
            outs: VecDeque::new(),
            events: VecDeque::new(),
            queued_bytes: 0,
            connected: 0,
            payload: 0,
            frames: 0,
            wrong_mark: false,
            timeout_at: None,
        }
    }

    fn send(&mut self, bytes: Bytes) {
        self.queued_bytes += bytes.len();
        self.outs.push_back(Out::Bytes(bytes));
    }

    fn drops_frame(&self) -> bool {
        self.how == How::SpliceHalf && self.frames.is_multiple_of(2)
    }

    fn trouble(&mut self, side: Side, cause: &str) {
        let address = Address { host: String::new(), port: 0 };
        self.events.push_back(Event::BrokerTrouble { side, broker: 0, address, cause: cause.to_owned() });
    }
}

impl Machine for Relay {
    type Look = usize;

    fn handle_commands(&mut self, now: Now, commands: Vec<Command>) {
        for command in commands {
            match command {
                Command::Lease(lease) => self.timeout_at = Some(now.mono_us + lease.until_us),
                _ => self.events.push_back(Event::Drained),
            }
        }
    }

    fn handle_connected(&mut self, _: Now, _: ConnId) {
        self.connected += 1;
    }

    fn handle_closed(&mut self, _: Now, conn: ConnId, cause: &str) {
        self.trouble(if conn == SOURCE { Side::Source } else { Side::Target }, cause);
    }

    fn handle_input(&mut self, _: Now, conn: ConnId, input: &mut BytesMut) {
        if conn == TARGET {
            input.clear();
            return;
        }
        if self.how == How::Copy {
            let bytes = input.split().freeze();
            self.send(bytes);
        } else if let Some(head) = input.first_chunk::<4>() {
            self.payload = u32::from_be_bytes(*head) as usize;
            self.frames += 1;
            let head = input.split_to(4).freeze();
            assert!(input.is_empty(), "more than asked for");
            if !self.drops_frame() {
                self.send(head);
                self.queued_bytes += self.payload;
                self.outs.push_back(Out::Splice { from: SOURCE, bytes: self.payload });
            }
        }
        self.actions.push_back(Action::Transmit { conn: TARGET });
    }

    fn handle_moved(&mut self, _: Now, _: ConnId, bytes: usize) {
        self.payload -= bytes;
    }

    fn handle_timeout(&mut self, now: Now) {
        if self.timeout_at.is_some_and(|at| at <= now.mono_us) {
            self.timeout_at = None;
            self.events.push_back(Event::Drained);
        }
    }

    fn want(&self, conn: ConnId) -> Want {
        match conn {
            TARGET => Want::Bytes { at_least: 1, at_most: usize::MAX },
            _ if self.connected < 2 => Want::Pause,
            _ if self.payload > 0 && self.drops_frame() => Want::Discard { bytes: self.payload },
            _ if self.payload > 0 => Want::Splice { bytes: self.payload, into: TARGET },
            _ if self.queued_bytes > self.queue_bytes_max => Want::Pause,
            _ if self.how == How::Copy && self.wrong_mark => {
                Want::Bytes { at_least: 1 << 20, at_most: usize::MAX }
            }
            _ if self.how == How::Copy => Want::Bytes { at_least: 1, at_most: usize::MAX },
            _ => Want::Bytes { at_least: 4, at_most: 4 },
        }
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn poll_transmit(&mut self, _: ConnId) -> Option<Out> {
        let out = self.outs.pop_front()?;
        self.queued_bytes -= match &out {
            Out::Bytes(bytes) => bytes.len(),
            Out::Splice { bytes, .. } => *bytes,
        };
        Some(out)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<u64> {
        self.timeout_at
    }

    fn snapshot(&self) -> usize {
        self.frames
    }
}

/// Pseudo-random numbers, the same in every run.
fn scramble(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// Frames of all sizes, as one stream.
fn frames(seed: u64, bytes_max: usize) -> Vec<Vec<u8>> {
    let mut next = scramble(seed);
    let mut frames = Vec::new();
    let mut bytes = 0;
    while bytes < bytes_max {
        let len = match next() % 4 {
            0 => next() % 10,
            1 => next() % 5_000,
            2 => next() % 200_000,
            _ => next() % 2_000_000,
        } as usize;
        let mut frame = (len as u32).to_be_bytes().to_vec();
        frame.extend((0..len.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(len));
        bytes += frame.len();
        frames.push(frame);
    }
    frames
}

struct World {
    shard: ShardHandle<Relay>,
    events: mpsc::Receiver<(usize, Event)>,
}

impl World {
    fn start(relay: impl FnOnce() -> Relay + Send + 'static) -> Self {
        Self::start_with([Access::open(), Access::open()], relay)
    }

    fn start_with(accesses: Accesses, relay: impl FnOnce() -> Relay + Send + 'static) -> Self {
        let (tx, events) = mpsc::channel();
        Self { shard: spawn_machine(0, 7, BUFFER_BYTES, relay, accesses, tx).unwrap(), events }
    }

    /// The next trouble that the machine heard of.
    fn trouble(&self) -> (Side, String) {
        match self.events.recv_timeout(PATIENCE).unwrap() {
            (7, Event::BrokerTrouble { side, cause, .. }) => (side, cause),
            other => panic!("{other:?}"),
        }
    }
}

/// Accepts one connection and writes the stream to it in pieces of odd sizes, then waits for the peer to close.
fn source(stream: Vec<u8>, seed: u64) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_nodelay(true).unwrap();
        let mut next = scramble(seed);
        let mut rest = &stream[..];
        while !rest.is_empty() {
            let piece = match next() % 3 {
                0 => next() % 100,
                1 => next() % 10_000,
                _ => next() % 1_000_000,
            } as usize;
            let (now, later) = rest.split_at(piece.clamp(1, rest.len()));
            socket.write_all(now).unwrap();
            rest = later;
            if next().is_multiple_of(8) {
                thread::yield_now();
            }
        }
        let _ = socket.read(&mut [0; 1]);
    });
    (address, thread)
}

/// Accepts one connection and reads `bytes` from it, with the given receive buffer and a pause now and then.
fn target(bytes: usize, buffer_bytes: Option<usize>) -> (SocketAddr, JoinHandle<(Vec<u8>, TcpStream)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    if let Some(bytes) = buffer_bytes {
        rustix::net::sockopt::set_socket_recv_buffer_size(&listener, bytes).unwrap();
    }
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut all = vec![0; bytes];
        for (i, piece) in all.chunks_mut(1 << 20).enumerate() {
            if i % 4 == 0 {
                thread::sleep(Duration::from_millis(2));
            }
            socket.read_exact(piece).unwrap();
        }
        (all, socket)
    });
    (address, thread)
}

/// Relays a stream and returns whether it came through whole, with the shard's last snapshot.
fn relay(
    how: How,
    target_buffer: Option<usize>,
    change: fn(&mut Relay),
    expected: impl Fn(usize) -> bool,
) -> Snapshot<usize> {
    let frames = frames(how as u64 + 11, 8 << 20);
    let sent: Vec<u8> = frames.concat();
    let wanted: Vec<u8> = frames
        .iter()
        .enumerate()
        .filter(|(i, _)| expected(*i))
        .flat_map(|(_, frame)| frame.clone())
        .collect();
    let (target_at, target) = target(wanted.len(), target_buffer);
    let (source_at, source) = source(sent, 5);
    let world = World::start(move || {
        let mut relay = Relay::new(how, source_at, target_at);
        change(&mut relay);
        relay
    });
    let (arrived, socket) = target.join().unwrap();
    assert!(arrived == wanted, "the stream was changed on its way");
    let last = world.shard.join().unwrap();
    source.join().unwrap();
    drop(socket);
    last
}

#[test]
fn a_copied_stream_arrives_whole() {
    let last = relay(How::Copy, None, |_| {}, |_| true);
    assert!(last.pool_bytes <= BUFFER_BYTES);
    assert!(last.cpu_us > 0);
}

#[test]
fn a_spliced_stream_arrives_whole() {
    let last = relay(How::Splice, None, |_| {}, |_| true);
    assert!(last.shard > 10, "{} frames", last.shard);
}

#[test]
fn a_slow_target_blocks_and_loses_nothing() {
    assert!(relay(How::Copy, Some(4096), |_| {}, |_| true).writer_waits > 0);
    assert!(relay(How::Splice, Some(4096), |_| {}, |_| true).writer_waits > 0);
}

#[test]
fn dropped_frames_leave_no_trace() {
    relay(How::SpliceHalf, Some(4096), |_| {}, |i| (i + 1) % 2 == 1);
}

#[test]
fn a_paused_source_goes_on_when_the_target_has_taken_its_share() {
    relay(How::Copy, Some(4096), |relay| relay.queue_bytes_max = 100_000, |_| true);
    relay(How::Splice, Some(4096), |relay| relay.queue_bytes_max = 100_000, |_| true);
}

#[test]
fn what_a_closed_source_had_put_into_the_pipe_is_still_sent() {
    let mut frame = 300_000u32.to_be_bytes().to_vec();
    frame.resize(300_004, 9);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let source_at = listener.local_addr().unwrap();
    // The target takes nothing until the source is gone, so that the pipe cannot be empty by then.
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size(&target, 4096).unwrap();
    let target_at = target.local_addr().unwrap();
    let stream = frame.repeat(20);
    let sent = stream.clone();
    let world = World::start(move || Relay::new(How::Splice, source_at, target_at));
    let (mut source, _) = listener.accept().unwrap();
    let (mut target, _) = target.accept().unwrap();
    target.set_read_timeout(Some(PATIENCE)).unwrap();
    let sender = thread::spawn(move || {
        let _ = source.write_all(&sent);
    });
    let mut arrived = vec![0; stream.len() - 300_000];
    target.read_exact(&mut arrived).unwrap();
    sender.join().unwrap();
    assert_eq!(world.trouble().0, Side::Source);
    let mut rest = vec![0; 300_000];
    target.read_exact(&mut rest).unwrap();
    arrived.extend(rest);
    assert!(arrived == stream);
}

#[test]
fn a_mark_that_is_never_reached_only_delays() {
    let (target_at, target) = target(1000, None);
    let (source_at, _source) = source(vec![5; 1000], 5);
    let _world =
        World::start(move || Relay { wrong_mark: true, ..Relay::new(How::Copy, source_at, target_at) });
    assert_eq!(target.join().unwrap().0, vec![5; 1000]);
}

#[test]
fn the_machine_hears_how_each_connection_ended() {
    let (target_at, target) = target(10, None);
    let source_at = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = source_at.local_addr().unwrap();
    let world = World::start(move || Relay::new(How::Copy, address, target_at));
    let (mut source, _) = source_at.accept().unwrap();
    source.write_all(&[1; 10]).unwrap();
    let (_, target) = target.join().unwrap();
    drop(source);
    assert_eq!(world.trouble(), (Side::Source, "the broker closed the connection".to_owned()));
    rustix::net::sockopt::set_socket_linger(&target, Some(Duration::ZERO)).unwrap();
    drop(target);
    let (side, cause) = world.trouble();
    assert_eq!(side, Side::Target);
    assert!(cause.contains("reset"), "{cause}");
}

#[test]
fn a_dial_that_fails_says_why() {
    // Bound and dropped: nobody listens there.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let world = World::start(move || {
        let mut relay = Relay::new(How::Copy, nobody, nobody);
        relay.actions.truncate(1);
        relay
    });
    let (side, cause) = world.trouble();
    assert_eq!(side, Side::Source);
    assert!(cause.contains("refused") && cause.contains(&nobody.to_string()), "{cause}");
}

#[test]
fn a_name_is_looked_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let world = World::start(move || {
        let mut relay = Relay::new(How::Copy, ([127, 0, 0, 1], port).into(), ([127, 0, 0, 1], port).into());
        let address = Address { host: "localhost".to_owned(), port };
        relay.actions = [Action::Dial { conn: SOURCE, side: Side::Source, address }].into();
        relay
    });
    listener.accept().unwrap();
    drop(world);
}

#[test]
fn a_shard_that_ends_closes_its_connections() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let world = World::start(move || Relay::new(How::Copy, address, address));
    let mut sockets = [listener.accept().unwrap().0, listener.accept().unwrap().0];
    drop(world);
    for socket in &mut sockets {
        assert!(matches!(socket.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
}

#[test]
fn commands_and_timeouts_reach_the_machine() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    let world = World::start(move || {
        let mut relay = Relay::new(How::Copy, address, address);
        relay.actions.clear();
        relay
    });
    for _ in 0..100 {
        world.shard.send(Command::Drain);
        assert_eq!(world.events.recv_timeout(PATIENCE).unwrap(), (7, Event::Drained));
    }
    world.shard.send(Command::Lease(crate::shard::Lease { since_us: 0, until_us: 3_000 }));
    assert_eq!(world.events.recv_timeout(PATIENCE).unwrap(), (7, Event::Drained));
    assert_eq!(world.shard.join().unwrap().shard, 0);
}
