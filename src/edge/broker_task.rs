//! Serves a synthetic cluster on loopback: one thread, epoll, one listener for each broker.
//!
//! The cluster is behind a lock, taken once for each request, so that the load generator and the checker of a benchmark can
//! use its doors without a socket. A request is read into one buffer of its own, and the batches in it stay there until
//! retention drops them; then the buffer serves the next request of its size.

mod connection;
mod frames;

use crate::broker::{Batch, Cluster, Reply, SyntheticCluster, Ticket};
use crate::config::Address;
use crate::edge::clock;
use crate::limits::BATCH_HEADER_BYTES;
use crate::time::Now;
use bytes::Bytes;
use connection::{Connection, Progress};
use frames::FramePool;
use kafka_protocol::error::ResponseError;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::fd::OwnedFd;
use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

const WAKE_TOKEN: u64 = u64::MAX;
/// Tokens below this are listeners.
const FIRST_CONNECTION_TOKEN: u64 = 1 << 16;
/// How long the thread sleeps at most, so that retention by time and producer expiry happen.
const SLEEP_MAX_US: u64 = 1_000_000;

/// Serves the cluster until `stop` is set. Addresses are printed to stdout.
///
/// # Errors
/// An address cannot be bound.
pub fn run(settings: SyntheticCluster, stop: &AtomicBool) -> io::Result<()> {
    let server = spawn(settings)?;
    let bootstrap: Vec<String> = server.bootstrap().iter().map(Address::to_string).collect();
    println!("A Kafka cluster in memory is at {}; Ctrl-C ends it, and all its data.", bootstrap.join(","));
    while !stop.load(Ordering::Relaxed) && !server.has_failed() {
        std::thread::sleep(Duration::from_millis(50));
    }
    server.stop()
}

/// Starts the cluster in a thread of its own. Brokers whose port is 0 get one from the system.
///
/// # Errors
/// An address cannot be bound; the message names it.
pub fn spawn(mut settings: SyntheticCluster) -> io::Result<Server> {
    let mut listeners = Vec::new();
    for (node, address) in &mut settings.brokers {
        let listener = TcpListener::bind((address.host.as_str(), address.port)).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot listen on {address}: {error}; is another broker running there?"),
            )
        })?;
        listener.set_nonblocking(true)?;
        address.port = listener.local_addr()?.port();
        listeners.push((*node, listener));
    }
    let bootstrap = settings.brokers.iter().map(|(_, address)| address.clone()).collect();
    let shared = Arc::new(Shared {
        cluster: Mutex::new(Cluster::new(settings)),
        wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        stop: AtomicBool::new(false),
    });
    let mut serving = Serving::new(Arc::clone(&shared), listeners)?;
    let thread = std::thread::Builder::new().name("broker".to_owned()).spawn(move || serving.serve())?;
    Ok(Server { shared, thread, bootstrap })
}

/// A cluster that is being served.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    thread: JoinHandle<io::Result<()>>,
    bootstrap: Vec<Address>,
}

/// The cluster, shared with the thread that serves it.
#[derive(Clone, Debug)]
pub struct ClusterHandle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    cluster: Mutex<Cluster>,
    wake: OwnedFd,
    stop: AtomicBool,
}

impl Server {
    /// Where the brokers listen.
    pub fn bootstrap(&self) -> Vec<Address> {
        self.bootstrap.clone()
    }

    pub fn cluster(&self) -> ClusterHandle {
        ClusterHandle(Arc::clone(&self.shared))
    }

    /// The thread has ended by itself; [`Server::stop`] tells why.
    pub fn has_failed(&self) -> bool {
        self.thread.is_finished()
    }

    /// Closes all connections and ends the thread. Handles go on working.
    ///
    /// # Errors
    /// What ended the thread, if it had ended by itself.
    pub fn stop(self) -> io::Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.wake();
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the broker's thread panicked")))
    }
}

impl ClusterHandle {
    /// [`Cluster::append`], and wakes fetches that wait for it.
    ///
    /// # Errors
    /// Those of a Produce request.
    pub fn append(
        &self,
        topic: &str,
        partition: i32,
        header: &[u8; BATCH_HEADER_BYTES],
        payload: Bytes,
    ) -> Result<i64, ResponseError> {
        self.with(|cluster, now| cluster.append(now, topic, partition, header, payload))
    }

    /// [`Cluster::read`].
    ///
    /// # Errors
    /// UNKNOWN_TOPIC_OR_PARTITION, OFFSET_OUT_OF_RANGE.
    pub fn read(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        max_bytes: usize,
        each: &mut impl FnMut(&Batch),
    ) -> Result<(), ResponseError> {
        self.0.lock().read(topic, partition, offset, max_bytes, each)
    }

    /// Anything else, hooks included. The cluster is locked meanwhile.
    pub fn with<T>(&self, work: impl FnOnce(&mut Cluster, Now) -> T) -> T {
        let now = clock::now();
        let mut cluster = self.0.lock();
        let result = work(&mut cluster, now);
        let due = cluster.poll_timeout() == Some(0);
        drop(cluster);
        if due {
            self.0.wake();
        }
        result
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        // It can only fail when it has been woken 2^64 times, or would have to wait; either way it is awake.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

/// What the thread owns.
#[derive(Debug)]
struct Serving {
    shared: Arc<Shared>,
    epoll: OwnedFd,
    listeners: Vec<(i32, TcpListener)>,
    connections: BTreeMap<u64, Connection>,
    last_token: u64,
    /// Whose answer it is that will come later.
    tickets: BTreeMap<Ticket, u64>,
    frames: FramePool,
}

impl Serving {
    fn new(shared: Arc<Shared>, listeners: Vec<(i32, TcpListener)>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &shared.wake, EventData::new_u64(WAKE_TOKEN), EventFlags::IN)?;
        for (token, (_, listener)) in (0..).zip(&listeners) {
            epoll::add(&epoll, listener, EventData::new_u64(token), EventFlags::IN)?;
        }
        Ok(Self {
            shared,
            epoll,
            listeners,
            connections: BTreeMap::new(),
            last_token: FIRST_CONNECTION_TOKEN,
            tickets: BTreeMap::new(),
            frames: FramePool::default(),
        })
    }

    fn serve(&mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(64);
        while !self.shared.stop.load(Ordering::Relaxed) {
            let timeout = self.sleep_at_most();
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for &epoll::Event { data, flags } in &events {
                match data.u64() {
                    WAKE_TOKEN => {
                        let _ = rustix::io::read(&self.shared.wake, &mut [0; 8]);
                    }
                    token if token < FIRST_CONNECTION_TOKEN => self.accept(token)?,
                    token => self.turn(token, flags),
                }
            }
            self.answer_delayed();
        }
        Ok(())
    }

    fn sleep_at_most(&self) -> Timespec {
        let due_us = self.shared.lock().poll_timeout().unwrap_or(u64::MAX);
        let us = due_us.saturating_sub(clock::now().mono_us).min(SLEEP_MAX_US);
        Timespec { tv_sec: (us / 1_000_000) as i64, tv_nsec: (us % 1_000_000 * 1000) as i64 }
    }

    fn accept(&mut self, listener: u64) -> io::Result<()> {
        let Some((node, listener)) = usize::try_from(listener).ok().and_then(|at| self.listeners.get(at))
        else {
            return Ok(());
        };
        loop {
            match listener.accept() {
                Ok((socket, _)) => {
                    self.last_token += 1;
                    let connection = Connection::new(*node, socket)?;
                    connection.register(&self.epoll, self.last_token)?;
                    self.connections.insert(self.last_token, connection);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The peer has gone already, or descriptors are short; other connections go on.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    return Ok(());
                }
            }
        }
    }

    /// Does for a connection what can be done now.
    fn turn(&mut self, token: u64, flags: EventFlags) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        let gone = flags.intersects(EventFlags::HUP | EventFlags::ERR)
            || (flags.contains(EventFlags::RDHUP) && connection.owes());
        let progress = if gone { Progress::Closed } else { self.work(token) };
        if let Progress::Closed = progress {
            self.close(token);
        }
    }

    /// Sends, reads and serves until the connection has to wait for something.
    fn work(&mut self, token: u64) -> Progress {
        let Some(connection) = self.connections.get_mut(&token) else { return Progress::Closed };
        let mut served_bytes = 0;
        loop {
            match connection.next_frame(&self.epoll, token, &self.frames, &mut served_bytes) {
                Progress::Frame(frame) => {
                    let now = clock::now();
                    match self.shared.lock().handle_request(now, connection.node, frame) {
                        Reply::Now(response) => connection.queue(response),
                        Reply::Later(ticket) => {
                            connection.wait_for(ticket);
                            self.tickets.insert(ticket, token);
                        }
                        Reply::None => {}
                        Reply::Close => return Progress::Closed,
                    }
                }
                other => return other,
            }
        }
    }

    fn answer_delayed(&mut self) {
        loop {
            let now = clock::now();
            let Some((ticket, response)) = self.shared.lock().poll(now) else { return };
            let Some(token) = self.tickets.remove(&ticket) else { continue };
            if let Some(connection) = self.connections.get_mut(&token) {
                connection.answered();
                connection.queue(response);
                if let Progress::Closed = self.work(token) {
                    self.close(token);
                }
            }
        }
    }

    fn close(&mut self, token: u64) {
        let Some(connection) = self.connections.remove(&token) else { return };
        if let Some(ticket) = connection.ticket() {
            self.tickets.remove(&ticket);
            self.shared.lock().cancel(ticket);
        }
    }
}

#[cfg(test)]
mod tests;
