//! The seam between the driver and what it drives, so that tests and benchmarks can put something simpler in a shard's place.

use crate::conn::sasl::Login;
use crate::shard::{self, Action, Command, ConnId, Event, Out, Shard, Want};
use crate::time::Now;
use bytes::BytesMut;

/// What a driver needs of the thing it drives. [`Shard`] is the one that matters, and documents the methods.
pub trait Machine {
    /// What [`Machine::snapshot`] gives.
    type Look: Clone + Default + Send + 'static;

    fn handle_commands(&mut self, now: Now, commands: Vec<Command>);
    fn handle_connected(&mut self, now: Now, conn: ConnId);
    /// Only machines that ask for logins are brought any.
    fn handle_login(&mut self, _now: Now, _conn: ConnId, _login: Login) {}
    fn handle_closed(&mut self, now: Now, conn: ConnId, cause: &str);
    fn handle_input(&mut self, now: Now, conn: ConnId, input: &mut BytesMut);
    fn handle_moved(&mut self, now: Now, conn: ConnId, bytes: usize);
    /// Whether [`Machine::handle_sent`] is of use.
    fn times_batches(&self) -> bool {
        false
    }
    fn handle_sent(&mut self, _now: Now, _conn: ConnId, _bytes: u64) {}
    fn handle_timeout(&mut self, now: Now);
    fn want(&self, conn: ConnId) -> Want;
    fn poll_action(&mut self) -> Option<Action>;
    fn poll_transmit(&mut self, conn: ConnId) -> Option<Out>;
    fn poll_event(&mut self) -> Option<Event>;
    fn poll_timeout(&self) -> Option<u64>;
    fn snapshot(&self) -> Self::Look;
}

impl Machine for Shard {
    type Look = shard::Snapshot;

    fn handle_commands(&mut self, now: Now, commands: Vec<Command>) {
        self.handle_commands(now, commands);
    }

    fn handle_connected(&mut self, now: Now, conn: ConnId) {
        self.handle_connected(now, conn);
    }

    fn handle_login(&mut self, now: Now, conn: ConnId, login: Login) {
        self.handle_login(now, conn, login);
    }

    fn handle_closed(&mut self, now: Now, conn: ConnId, cause: &str) {
        self.handle_closed(now, conn, cause);
    }

    fn handle_input(&mut self, now: Now, conn: ConnId, input: &mut BytesMut) {
        self.handle_input(now, conn, input);
    }

    fn handle_moved(&mut self, now: Now, conn: ConnId, bytes: usize) {
        self.handle_moved(now, conn, bytes);
    }

    fn times_batches(&self) -> bool {
        self.times_batches()
    }

    fn handle_sent(&mut self, now: Now, conn: ConnId, bytes: u64) {
        self.handle_sent(now, conn, bytes);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.handle_timeout(now);
    }

    fn want(&self, conn: ConnId) -> Want {
        self.want(conn)
    }

    fn poll_action(&mut self) -> Option<Action> {
        self.poll_action()
    }

    fn poll_transmit(&mut self, conn: ConnId) -> Option<Out> {
        self.poll_transmit(conn)
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.poll_event()
    }

    fn poll_timeout(&self) -> Option<u64> {
        self.poll_timeout()
    }

    fn snapshot(&self) -> shard::Snapshot {
        self.snapshot()
    }
}
