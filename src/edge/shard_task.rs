//! Drives one shard on the glommio executor of its core.
//!
//! Everything that happens (bytes, a closed connection, a command, a timeout) is handed to the shard and followed by one
//! *turn*: do what it asks for, send what it has to send, pass on its events. A turn never waits. Waiting is left to one small
//! task for each thing that can be waited for: a reader per connection, a writer per blocked connection, a dial, the timer,
//! the commands.

use super::buffers::{Inlet, Pool};
use super::clock;
use super::line::Line;
use super::machine::Machine;
use super::mover::{Flushed, Outlet};
use super::pipes::Pipes;
use super::security::{Accesses, NoLogin};
use super::socket::{Socket, Tried};
use crate::config::Address;
use crate::shard::{Action, Command, ConnId, Event, Side, Want};
use crate::time::Now;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How old a published snapshot may be while anything happens.
const SNAPSHOT_EVERY_US: u64 = 200_000;
/// How long a reader waits for a chunk before the pool's budget is overdrawn by one.
const OVERDRAW_AFTER: Duration = Duration::from_secs(2);
const FOREVER: Duration = Duration::from_secs(3600);
/// How often, and how many times at most, the end looks whether a login is still being brought.
const LOGIN_LOOK: Duration = Duration::from_millis(10);
const LOGIN_LOOKS: usize = 200;

/// What a shard's thread has done so far. At most 0.2 s old while it is busy.
#[derive(Clone, Debug, Default)]
pub struct Snapshot<Look> {
    /// The shard's own account.
    pub shard: Look,
    /// CPU time of the thread, user and system.
    pub cpu_us: u64,
    /// Payload memory allocated; never shrinks, never exceeds the budget.
    pub pool_bytes: usize,
    /// Times a reader waited for its socket. Each may have been a wake of the thread, which costs as much as copying some
    /// tens of KiB.
    pub reader_waits: u64,
    /// Times a socket took no more and its queue had to wait.
    pub writer_waits: u64,
    /// Times reading stood still because every chunk of the pool was in use.
    pub pool_waits: u64,
}

/// Runs until the commands' sender is dropped. `events` are tagged with `index`.
pub async fn drive<M: Machine + 'static>(
    machine: M,
    index: usize,
    buffer_bytes: usize,
    accesses: Accesses,
    commands: Commands,
    events: mpsc::Sender<(usize, Event)>,
    published: Arc<Mutex<Snapshot<M::Look>>>,
) {
    let driver = Rc::new(Driver {
        machine: RefCell::new(machine),
        index,
        accesses,
        events,
        published,
        conns: RefCell::default(),
        dialing: RefCell::default(),
        pipes: RefCell::default(),
        pool: RefCell::new(Pool::new(buffer_bytes)),
        standing: RefCell::default(),
        timer: Nudge::default(),
        timer_at_us: Cell::new(u64::MAX),
        publish_at_us: Cell::new(None),
        counts: Cell::default(),
        logging_in: Cell::new(0),
    });
    glommio::spawn_local(keep_time(Rc::clone(&driver))).detach();
    driver.turn(clock::now());
    commands
        .each(|now, batch| {
            driver.machine.borrow_mut().handle_commands(now, batch);
            driver.turn(now);
        })
        .await;
    driver.stop();
    // Glommio's thread would panic if nobody were there to take what it brings.
    for _ in 0..LOGIN_LOOKS {
        if driver.logging_in.get() == 0 {
            break;
        }
        glommio::timer::sleep(LOGIN_LOOK).await;
    }
}

/// The receiving end of a shard's command channel: the commands, and a socket that says that there are some.
pub struct Commands {
    pub queue: mpsc::Receiver<Command>,
    pub bell: std::os::unix::net::UnixStream,
    pub line: Arc<Line>,
}

impl Commands {
    async fn each(self, mut handle: impl FnMut(Now, Vec<Command>)) {
        use futures_lite::AsyncReadExt;
        let mut bell = super::sys::adopt(self.bell);
        let mut rings = [0; 16];
        loop {
            self.line.answer();
            let mut batch = Vec::new();
            let closed = loop {
                match self.queue.try_recv() {
                    Ok(command) => batch.push(command),
                    Err(e) => break e == mpsc::TryRecvError::Disconnected,
                }
            };
            if !batch.is_empty() {
                handle(clock::now(), batch);
            }
            if closed {
                return;
            }
            // The end of the bell means that the sender is gone; the queue says so in the next round.
            let _ = bell.read(&mut rings).await;
        }
    }
}

struct Driver<M: Machine> {
    machine: RefCell<M>,
    index: usize,
    accesses: Accesses,
    events: mpsc::Sender<(usize, Event)>,
    published: Arc<Mutex<Snapshot<M::Look>>>,
    conns: RefCell<BTreeMap<ConnId, Rc<Conn>>>,
    dialing: RefCell<BTreeSet<ConnId>>,
    pipes: RefCell<Pipes>,
    pool: RefCell<Pool>,
    /// Readers that leave their socket alone because the shard wants that or because the pool is empty.
    standing: RefCell<Vec<Rc<Conn>>>,
    timer: Nudge,
    /// When the timer task will look next; `u64::MAX` for never.
    timer_at_us: Cell<u64>,
    /// When the next snapshot is due; None when nothing happened since the last one.
    publish_at_us: Cell<Option<u64>>,
    counts: Cell<Counts>,
    /// Logins that are being brought.
    logging_in: Cell<usize>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    reader_waits: u64,
    writer_waits: u64,
    pool_waits: u64,
}

struct Conn {
    id: ConnId,
    side: Side,
    address: Address,
    socket: Socket,
    outlet: RefCell<Outlet>,
    /// A writer task waits for room in the socket.
    writing: Cell<bool>,
    /// What the reader stands still for.
    stands: Cell<Option<Stand>>,
    closed: Cell<bool>,
    reader: Nudge,
    writer: Nudge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// The shard wants nothing read.
    Paused,
    /// There is no chunk to read into.
    NoChunk,
    /// The pipe is full, or cannot be told from full.
    FullPipe,
}

impl<M: Machine + 'static> Driver<M> {
    /// After something was handed to the shard: everything that follows from it.
    fn turn(self: &Rc<Self>, now: Now) {
        while let Some(action) = self.next_action() {
            match action {
                Action::Dial { conn, side, address } => {
                    self.dialing.borrow_mut().insert(conn);
                    glommio::spawn_local(dial(Rc::clone(self), conn, side, address)).detach();
                }
                Action::Login { conn, side } => {
                    glommio::spawn_local(log_in(Rc::clone(self), conn, side)).detach();
                }
                Action::Close { conn } => self.close(conn),
                Action::Transmit { conn } => self.flush(now, conn),
            }
        }
        while let Some(event) = self.next_event() {
            if event == Event::Drained {
                // Whoever hears of it reads the final figures.
                self.publish_now();
            }
            // Nobody listens any more only when the process is about to end.
            let _ = self.events.send((self.index, event));
        }
        self.wake_standing();
        self.publish(now);
        self.set_timer();
    }

    fn next_action(&self) -> Option<Action> {
        self.machine.borrow_mut().poll_action()
    }

    fn next_event(&self) -> Option<Event> {
        self.machine.borrow_mut().poll_event()
    }

    /// Sends what can be sent without waiting; a writer task takes over when the socket is full.
    fn flush(self: &Rc<Self>, now: Now, id: ConnId) {
        let Some(conn) = self.conn(id) else { return };
        if conn.writing.get() {
            return;
        }
        let flushed = {
            let mut machine = self.machine.borrow_mut();
            conn.outlet
                .borrow_mut()
                .flush(id, &conn.socket, &mut self.pipes.borrow_mut(), || machine.poll_transmit(id))
        };
        if self.machine.borrow().times_batches() {
            // Sending takes its time.
            let sent_bytes = conn.outlet.borrow().sent_bytes();
            self.machine.borrow_mut().handle_sent(clock::now(), id, sent_bytes);
        }
        for from in conn.outlet.borrow_mut().take_drained() {
            match self.conn(from) {
                Some(source) if source.stands.get() == Some(Stand::FullPipe) => source.reader.nudge(),
                Some(_) => {}
                None => self.pipes.borrow_mut().close(from),
            }
        }
        match flushed {
            Ok(Flushed::Empty | Flushed::AwaitsPipe(_)) => {}
            Ok(Flushed::Blocked) => {
                conn.writing.set(true);
                self.count(|counts| counts.writer_waits += 1);
                glommio::spawn_local(write_blocked(Rc::clone(self), conn)).detach();
            }
            Err(e) => self.lose(now, id, &format!("sending failed: {e}")),
        }
    }

    /// The connection broke; the shard is told. The caller's turn goes on with what the shard makes of it.
    fn lose(&self, now: Now, id: ConnId, cause: &str) {
        if self.conns.borrow().contains_key(&id) {
            self.close(id);
            self.machine.borrow_mut().handle_closed(now, id, cause);
        }
    }

    fn close(&self, id: ConnId) {
        self.dialing.borrow_mut().remove(&id);
        let Some(conn) = self.conns.borrow_mut().remove(&id) else { return };
        conn.closed.set(true);
        conn.socket.abort();
        conn.reader.nudge();
        conn.writer.nudge();
        self.pipes.borrow_mut().close(id);
        // A source may stand still for a pipe that has just gone.
        for other in self.conns.borrow().values() {
            if other.stands.get() == Some(Stand::FullPipe) {
                other.reader.nudge();
            }
        }
    }

    fn stop(&self) {
        let ids: Vec<ConnId> = self.conns.borrow().keys().copied().collect();
        for id in ids {
            self.close(id);
        }
        self.publish_now();
    }

    fn conn(&self, id: ConnId) -> Option<Rc<Conn>> {
        self.conns.borrow().get(&id).cloned()
    }

    /// Readers that stood still look again, those for whom that can make a difference.
    fn wake_standing(&self) {
        if self.standing.borrow().is_empty() {
            return;
        }
        self.standing.borrow_mut().retain(|conn| {
            let goes_on = match conn.stands.get() {
                Some(Stand::Paused) => self.machine.borrow().want(conn.id) != Want::Pause,
                Some(Stand::NoChunk) => self.pool.borrow_mut().has_chunk(),
                // It was closed meanwhile.
                Some(Stand::FullPipe) | None => return false,
            };
            if goes_on {
                conn.reader.nudge();
            }
            !goes_on
        });
    }

    /// A snapshot when one is due; otherwise sees to it that it will be.
    fn publish(&self, now: Now) {
        match self.publish_at_us.get() {
            Some(at_us) if now.mono_us < at_us => {}
            Some(_) => {
                self.publish_at_us.set(None);
                self.publish_now();
            }
            None => self.publish_at_us.set(Some(now.mono_us + SNAPSHOT_EVERY_US)),
        }
    }

    fn publish_now(&self) {
        let counts = self.counts.get();
        let snapshot = Snapshot {
            shard: self.machine.borrow().snapshot(),
            cpu_us: clock::thread_cpu_us(),
            pool_bytes: self.pool.borrow().allocated_bytes(),
            reader_waits: counts.reader_waits,
            writer_waits: counts.writer_waits,
            pool_waits: counts.pool_waits,
        };
        *self.published.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    fn next_timeout_us(&self) -> u64 {
        let shard = self.machine.borrow().poll_timeout().unwrap_or(u64::MAX);
        shard.min(self.publish_at_us.get().unwrap_or(u64::MAX))
    }

    /// A timer that fires too early does no harm, so it is only ever set to an earlier time from here.
    fn set_timer(&self) {
        let at_us = self.next_timeout_us();
        if at_us < self.timer_at_us.get() {
            self.timer_at_us.set(at_us);
            self.timer.nudge();
        }
    }

    fn count(&self, add: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        add(&mut counts);
        self.counts.set(counts);
    }
}

async fn dial<M: Machine + 'static>(driver: Rc<Driver<M>>, id: ConnId, side: Side, address: Address) {
    let dialed = match Socket::dial(&address).await {
        Ok(socket) => socket.secure(&address, &driver.accesses[side as usize]).await,
        Err(cause) => Err(cause),
    };
    if !driver.dialing.borrow_mut().remove(&id) {
        return;
    }
    let now = clock::now();
    match dialed {
        Ok(socket) => {
            let conn = Rc::new(Conn {
                id,
                side,
                address,
                socket,
                outlet: RefCell::default(),
                writing: Cell::new(false),
                stands: Cell::new(None),
                closed: Cell::new(false),
                reader: Nudge::default(),
                writer: Nudge::default(),
            });
            driver.conns.borrow_mut().insert(id, Rc::clone(&conn));
            driver.machine.borrow_mut().handle_connected(now, id);
            glommio::spawn_local(read(Rc::clone(&driver), conn)).detach();
        }
        Err(cause) => driver.machine.borrow_mut().handle_closed(now, id, &cause),
    }
    driver.turn(now);
}

/// Brings what a login needs. A file may have to be read for it, or a token endpoint or a KDC asked.
async fn log_in<M: Machine + 'static>(driver: Rc<Driver<M>>, id: ConnId, side: Side) {
    let Some(host) = driver.conns.borrow().get(&id).map(|conn| conn.address.host.clone()) else { return };
    let access = Arc::clone(&driver.accesses[side as usize]);
    driver.logging_in.set(driver.logging_in.get() + 1);
    let login = glommio::executor().spawn_blocking(move || access.login(&host)).await;
    driver.logging_in.set(driver.logging_in.get() - 1);
    let now = clock::now();
    match login {
        Ok(Some(login)) => driver.machine.borrow_mut().handle_login(now, id, login),
        Ok(None) => {}
        Err(NoLogin { cause, .. }) => driver.lose(now, id, &cause),
    }
    driver.turn(now);
}

/// Reads as the shard wants it, until the connection is closed.
async fn read<M: Machine + 'static>(driver: Rc<Driver<M>>, conn: Rc<Conn>) {
    let mut inlet = match conn.side {
        Side::Source => Inlet::pooled(),
        Side::Target => Inlet::own(),
    };
    while !conn.closed.get() {
        match driver.read_once(&conn, &mut inlet) {
            Ok(Next::Again) => glommio::yield_if_needed().await,
            Ok(Next::Stand(why)) => {
                inlet.rest(&mut driver.pool.borrow_mut());
                conn.stands.set(Some(why));
                match why {
                    Stand::Paused => driver.standing.borrow_mut().push(Rc::clone(&conn)),
                    Stand::NoChunk => {
                        driver.count(|counts| counts.pool_waits += 1);
                        driver.standing.borrow_mut().push(Rc::clone(&conn));
                    }
                    // Whoever drains the pipe nudges.
                    Stand::FullPipe => {}
                }
                driver.stand(&conn, why).await;
                conn.stands.set(None);
            }
            Ok(Next::Wait { at_least }) => {
                inlet.rest(&mut driver.pool.borrow_mut());
                driver.count(|counts| counts.reader_waits += 1);
                if let Err(e) = wait(&conn, at_least).await {
                    driver.broke(conn.id, &receiving(&e));
                }
            }
            Err(cause) => driver.broke(conn.id, &cause),
        }
    }
    inlet.close(&mut driver.pool.borrow_mut());
}

/// Waits until there is something to receive, or until somebody nudges the reader.
async fn wait(conn: &Conn, at_least: usize) -> io::Result<()> {
    conn.socket.expect(at_least)?;
    poll_fn(|cx| match conn.reader.poll(cx) {
        Poll::Ready(()) => Poll::Ready(Ok(())),
        Poll::Pending => conn.socket.poll_readable(cx),
    })
    .await
}

/// What a reader does after one attempt.
enum Next {
    Again,
    /// Wait until the socket has something, preferably this much.
    Wait {
        at_least: usize,
    },
    Stand(Stand),
}

impl<M: Machine + 'static> Driver<M> {
    /// One attempt to do what the shard wants with a socket. An error is the cause for which the connection is lost.
    fn read_once(self: &Rc<Self>, conn: &Rc<Conn>, inlet: &mut Inlet) -> Result<Next, String> {
        let want = self.machine.borrow().want(conn.id);
        match want {
            Want::Pause => Ok(Next::Stand(Stand::Paused)),
            Want::Bytes { at_least, at_most } => {
                if !inlet.make_room(&mut self.pool.borrow_mut(), at_least, at_most) {
                    return Ok(Next::Stand(Stand::NoChunk));
                }
                let asked = inlet.room().min(at_most);
                let tried = conn.socket.receive(inlet.buffer(), at_most).map_err(|e| receiving(&e))?;
                let Some(n) = moved(tried)? else { return Ok(Next::Wait { at_least }) };
                let now = clock::now();
                self.machine.borrow_mut().handle_input(now, conn.id, inlet.buffer());
                self.turn(now);
                Ok(self.next_after(conn, conn.socket.may_have_more(n < asked)))
            }
            Want::Splice { bytes, into } if self.conns.borrow().contains_key(&into) => {
                self.splice(conn, bytes, into)
            }
            Want::Discard { bytes } | Want::Splice { bytes, .. } => {
                let tried = conn.socket.discard(bytes).map_err(|e| receiving(&e))?;
                let Some(n) = moved(tried)? else { return Ok(Next::Wait { at_least: bytes }) };
                let now = clock::now();
                self.machine.borrow_mut().handle_moved(now, conn.id, n);
                self.turn(now);
                Ok(Next::Again)
            }
        }
    }

    fn splice(self: &Rc<Self>, conn: &Rc<Conn>, bytes: usize, into: ConnId) -> Result<Next, String> {
        let (tried, in_pipe) = {
            let mut pipes = self.pipes.borrow_mut();
            let pipe = pipes.open(conn.id, into).map_err(|e| format!("cannot make a pipe: {e}"))?;
            (conn.socket.splice_into(pipe, bytes).map_err(|e| receiving(&e))?, pipe.bytes)
        };
        let Some(n) = moved(tried)? else {
            // With something in the pipe it may be full, or the socket empty. Draining the pipe decides it.
            return Ok(if in_pipe > 0 {
                Next::Stand(Stand::FullPipe)
            } else {
                Next::Wait { at_least: bytes }
            });
        };
        let now = clock::now();
        self.machine.borrow_mut().handle_moved(now, conn.id, n);
        self.flush(now, into);
        self.turn(now);
        Ok(Next::Again)
    }

    /// When the socket is empty, another attempt would only cost a system call.
    fn next_after(&self, conn: &Conn, may_have_more: bool) -> Next {
        if !may_have_more
            && !conn.closed.get()
            && let Want::Bytes { at_least, .. } = self.machine.borrow().want(conn.id)
        {
            return Next::Wait { at_least };
        }
        Next::Again
    }

    /// Until somebody nudges. A reader without a chunk also looks at the clock: when nothing is being sent that could free
    /// one, it takes one more.
    async fn stand(&self, conn: &Conn, why: Stand) {
        loop {
            let patience = if why == Stand::NoChunk { OVERDRAW_AFTER } else { FOREVER };
            let mut clock = pin!(glommio::timer::sleep(patience));
            let nudged = poll_fn(|cx| match conn.reader.poll(cx) {
                Poll::Ready(()) => Poll::Ready(true),
                Poll::Pending => clock.as_mut().poll(cx).map(|()| false),
            });
            if nudged.await {
                return;
            }
            let sends = self.conns.borrow().values().any(|conn| conn.writing.get());
            if why == Stand::NoChunk && !sends {
                tracing::warn!("the buffers are too small for the batches under way; one more chunk is used");
                return self.pool.borrow_mut().overdraw();
            }
        }
    }

    fn broke(self: &Rc<Self>, id: ConnId, cause: &str) {
        let now = clock::now();
        self.lose(now, id, cause);
        self.turn(now);
    }
}

fn moved(tried: Tried) -> Result<Option<usize>, String> {
    match tried {
        Tried::Moved(n) => Ok(Some(n)),
        Tried::Blocked => Ok(None),
        Tried::Ended => Err("the broker closed the connection".to_owned()),
    }
}

fn receiving(e: &io::Error) -> String {
    format!("receiving failed: {e}")
}

/// Waits until the socket takes bytes again and goes on flushing.
async fn write_blocked<M: Machine + 'static>(driver: Rc<Driver<M>>, conn: Rc<Conn>) {
    let sent = poll_fn(|cx| {
        if conn.closed.get() {
            return Poll::Ready(Ok(0));
        }
        // Only closing nudges a writer.
        let _ = conn.writer.poll(cx);
        let outlet = conn.outlet.borrow();
        conn.socket.poll_send(cx, outlet.front())
    })
    .await;
    conn.writing.set(false);
    if conn.closed.get() {
        return;
    }
    let now = clock::now();
    match sent {
        Ok(n) => {
            conn.outlet.borrow_mut().sent(n);
            driver.flush(now, conn.id);
        }
        Err(e) => driver.lose(now, conn.id, &format!("sending failed: {e}")),
    }
    driver.turn(now);
}

/// Tells the shard when its time has come.
async fn keep_time<M: Machine + 'static>(driver: Rc<Driver<M>>) {
    loop {
        let at_us = driver.next_timeout_us();
        driver.timer_at_us.set(at_us);
        let now = clock::now();
        if at_us <= now.mono_us {
            driver.machine.borrow_mut().handle_timeout(now);
            driver.turn(now);
            glommio::yield_if_needed().await;
            continue;
        }
        let rest = if at_us == u64::MAX { FOREVER } else { clock::until(now, at_us) };
        let mut sleep = pin!(glommio::timer::sleep(rest));
        poll_fn(|cx| match driver.timer.poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => sleep.as_mut().poll(cx),
        })
        .await;
    }
}

/// Wakes one waiting task of the same executor; a nudge that comes first is not lost.
#[derive(Default)]
struct Nudge {
    nudged: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Nudge {
    fn nudge(&self) {
        self.nudged.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.nudged.take() {
            self.waker.borrow_mut().take();
            return Poll::Ready(());
        }
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
