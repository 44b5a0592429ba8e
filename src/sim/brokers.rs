//! The brokers' end of the simulated connections: requests in, answers out, and requests that outlive their connection.

use crate::broker::{Cluster, Reply, Response, Ticket};
use crate::shard::Side;
use crate::sim::network::split_request;
use crate::sim::world::{Broken, Moment, World};
use crate::time::Now;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use std::collections::BTreeMap;

/// One cluster with what the simulator must know about it.
pub(super) struct Half {
    pub(super) cluster: Cluster,
    /// By node.
    up: Vec<bool>,
    /// Who waits for an answer that comes later.
    waiting: BTreeMap<Ticket, Asker>,
    /// Requests whose connection is gone, until they are handled.
    orphans: BTreeMap<u64, (i32, Bytes)>,
    orphans_seen: u64,
    /// Connections are accepted, requests are answered; the brokers' clocks differ from the mirror's by this.
    pub(super) clock_skew_ms: i64,
}

/// Where an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    Connection(usize),
    /// A call of an instance's control.
    Call(u64),
}

impl Half {
    pub(super) fn new(cluster: Cluster, nodes: i32, clock_skew_ms: i64) -> Self {
        Self {
            cluster,
            up: vec![true; nodes as usize],
            waiting: BTreeMap::new(),
            orphans: BTreeMap::new(),
            orphans_seen: 0,
            clock_skew_ms,
        }
    }

    pub(super) fn is_up(&self, node: i32) -> bool {
        usize::try_from(node).is_ok_and(|node| self.up.get(node).copied().unwrap_or(false))
    }

    pub(super) fn nodes(&self) -> i32 {
        self.up.len() as i32
    }

    pub(super) fn nodes_up(&self) -> Vec<i32> {
        (0..self.nodes()).filter(|&node| self.is_up(node)).collect()
    }

    pub(super) fn set_up(&mut self, node: i32, up: bool) {
        self.up[node as usize] = up;
    }

    pub(super) fn now(&self, now: Now) -> Now {
        Now { wall_ms: now.wall_ms + self.clock_skew_ms, ..now }
    }
}

impl World {
    /// Bytes have arrived at the broker's machine.
    pub(super) fn arrived_up(&mut self, index: usize) {
        let now_us = self.now_us;
        let connection = &mut self.connections[index];
        if connection.left {
            return;
        }
        while let Some(piece) = connection.up.receive(now_us) {
            connection.requests.extend_from_slice(&piece);
        }
        // There is room to write again.
        let place = connection.place;
        self.schedule(now_us, Moment::Turn(place));
        self.take_next_request(index);
    }

    fn take_next_request(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if !connection.answering && connection.requests.len() >= 4 {
            connection.answering = true;
            let delay_us = self.net.around(self.plan.weather.delay_us / 4);
            self.schedule(self.now_us + delay_us, Moment::Handle(index));
        }
    }

    /// The broker works on the connection's next request.
    pub(super) fn handle(&mut self, index: usize) -> Result<(), Broken> {
        let (_, _, side, node) = self.names(index);
        let connection = &mut self.connections[index];
        connection.answering = false;
        if connection.left {
            return Ok(());
        }
        let Some(frame) = split_request(&mut connection.requests) else { return Ok(()) };
        connection.answering = true;
        self.trace(|| format!("{side:?} {node} is asked by connection {index}: {}", name_of(&frame)));
        self.ask_cluster(side, node, frame, Asker::Connection(index));
        self.answer_later(side);
        Ok(())
    }

    /// Hands a request to a broker and sees to the answer.
    pub(super) fn ask_cluster(&mut self, side: Side, node: i32, frame: Bytes, asker: Asker) {
        let now = self.now();
        let expiring = side == Side::Target && self.now_us < self.expiring_until_us;
        let half = self.half(side);
        if !half.is_up(node) {
            return;
        }
        let now = half.now(now);
        if expiring {
            half.cluster.expire_producers(now);
        }
        match half.cluster.handle_request(now, node, frame) {
            Reply::Now(response) => self.deliver(side, asker, Some(response)),
            Reply::Later(ticket) => {
                half.waiting.insert(ticket, asker);
            }
            Reply::None => self.deliver(side, asker, None),
            Reply::Close => {
                if let Asker::Connection(index) = asker {
                    self.close(index, "the broker closed the connection");
                }
            }
        }
    }

    /// Answers that have become due.
    pub(super) fn answer_later(&mut self, side: Side) {
        let now = self.now();
        loop {
            let half = self.half(side);
            let now = half.now(now);
            let Some((ticket, response)) = half.cluster.poll(now) else { return };
            if let Some(asker) = half.waiting.remove(&ticket) {
                self.deliver(side, asker, Some(response));
            }
        }
    }

    fn deliver(&mut self, side: Side, asker: Asker, response: Option<Response>) {
        let bytes = response.map(|response| flatten(&response));
        match asker {
            Asker::Call(call) => self.call_answered(call, bytes),
            Asker::Connection(index) => {
                if self.connections[index].left {
                    return;
                }
                debug_assert_eq!(self.connections[index].side, side);
                if let Some(bytes) = bytes {
                    self.answer(index, bytes);
                }
                self.connections[index].answering = false;
                self.take_next_request(index);
            }
        }
    }

    /// The mirror's end is gone. A random head of what it had sent still arrives, later, and whole requests in it are handled.
    pub(super) fn orphan(&mut self, index: usize) {
        let (_, _, side, node) = self.names(index);
        let connection = &mut self.connections[index];
        connection.left = true;
        let mut sent = std::mem::take(&mut connection.requests);
        for piece in connection.up.drain() {
            sent.extend_from_slice(&piece);
        }
        if !self.plan_is_on(crate::sim::plan::Fault::Reset) {
            return;
        }
        let arrived = self.net.index(sent.len() + 1);
        sent.truncate(if self.net.percent(50) { sent.len() } else { arrived });
        let orphans_until_us = self.now_us + self.orphans_within_ms() * 1000;
        let fills_until_us = self.now_us + self.orphans_within_ms().min(self.late_within_ms()) * 1000;
        let mut due_us = self.now_us;
        while let Some(frame) = split_request(&mut sent) {
            let until_us = if is_fill(&frame) { fills_until_us } else { orphans_until_us };
            due_us += self.net.below(until_us.saturating_sub(due_us) + 1);
            self.add_orphan(side, node, frame, due_us);
        }
    }

    fn add_orphan(&mut self, side: Side, node: i32, frame: Bytes, due_us: u64) {
        let half = self.half(side);
        half.orphans_seen += 1;
        let orphan = half.orphans_seen;
        half.orphans.insert(orphan, (node, frame));
        self.schedule(due_us, Moment::Orphan(side, orphan));
    }

    /// A request arrives whose connection is long gone.
    pub(super) fn handle_orphan(&mut self, side: Side, orphan: u64) {
        let now = self.now();
        let expiring = side == Side::Target && self.now_us < self.expiring_until_us;
        let half = self.half(side);
        let Some((node, frame)) = half.orphans.remove(&orphan) else { return };
        if half.is_up(node) {
            let now = half.now(now);
            if expiring {
                half.cluster.expire_producers(now);
            }
            let _nobody_reads_the_answer = half.cluster.handle_request(now, node, frame.clone());
        }
        self.trace(|| format!("{side:?} {node} is asked by nobody any more: {}", name_of(&frame)));
        self.answer_later(side);
    }

    /// Every connection to the broker breaks, and what its sockets held is lost.
    pub(super) fn break_connections(&mut self, side: Side, node: i32) {
        for index in 0..self.connections.len() {
            let connection = &mut self.connections[index];
            if connection.side == side && connection.node == node && !connection.left {
                connection.requests.clear();
                connection.up.drain().for_each(drop);
                self.close(index, "the broker went away");
            }
        }
    }
}

/// Nothing but the time keeps out control records that come too late.
fn is_fill(frame: &[u8]) -> bool {
    frame.first_chunk().is_some_and(|key| i16::from_be_bytes(*key) == ApiKey::WriteTxnMarkers as i16)
}

/// API and size of a request.
fn name_of(frame: &[u8]) -> String {
    let api = frame.first_chunk().map_or(-1, |key| i16::from_be_bytes(*key));
    format!("{} of {} bytes", crate::wire::versions::api_name(api), frame.len())
}

fn flatten(response: &Response) -> Bytes {
    let mut bytes = BytesMut::new();
    for part in &response.parts {
        bytes.extend_from_slice(part);
    }
    bytes.freeze()
}
