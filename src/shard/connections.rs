//! Which connections a lane has, and what becomes of it when one is gone.

use super::Shard;
use super::api::{Action, ConnId, Event, Side};
use super::lane::Path;
use super::sink::Sink;
use super::source::{Slot, Source};
use super::window::Window;
use crate::config::Address;
use crate::conn::Conn;
use crate::time::Now;
use crate::wire::TopicKey;

/// Pause before a broker is dialled again; doubles up to the second figure.
const DIAL_PAUSE_MS: (u64, u64) = (50, 2_000);

/// Which of the connections to one broker: one number, because each batch is looked up by it several times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Route(u64);

impl Route {
    const SPLICES: u64 = 1 << 63;
    const IS_FIRST: u64 = 1 << 62;
    const HIDES_RACK: u64 = 1 << 61;

    /// Lanes that copy share a few. Those that go before others have their own, and so have, at the source, those whose leader is
    /// not to be told where we are.
    fn copy(number: usize, is_first: bool, hides_rack: bool) -> Self {
        let first = if is_first { Self::IS_FIRST } else { 0 };
        Self(number as u64 | first | if hides_rack { Self::HIDES_RACK } else { 0 })
    }

    /// Lanes that splice have one for each pair of brokers, because one source connection feeds one target connection.
    fn splice(peer: i32) -> Self {
        Self(Self::SPLICES | u64::from(peer.cast_unsigned()))
    }

    fn path(self) -> Path {
        if self.0 & Self::SPLICES == 0 { Path::Copy } else { Path::Splice }
    }

    pub(super) fn is_first(self) -> bool {
        self.0 & Self::IS_FIRST != 0
    }

    pub(super) fn hides_rack(self) -> bool {
        self.0 & Self::HIDES_RACK != 0
    }
}

pub(super) type Key = (i32, Route);

pub(super) struct Broker {
    address: Address,
    dial_at_us: u64,
    pause_ms: u64,
    /// It closed the last connection on the question for its versions, as brokers before Kafka 0.10 do.
    may_be_old: bool,
}

impl Shard {
    pub(super) fn set_brokers(&mut self, now: Now, side: Side, brokers: Vec<(i32, Address)>) {
        let known = &mut self.brokers[side as usize];
        for (id, address) in brokers {
            let broker = known.entry(id).or_insert_with(|| Broker {
                address: address.clone(),
                dial_at_us: 0,
                pause_ms: 0,
                may_be_old: false,
            });
            if broker.address != address {
                *broker = Broker { address, dial_at_us: now.mono_us, pause_ms: 0, may_be_old: false };
            }
        }
    }

    /// Where the lane's connections should be, by its leaders and its path.
    fn keys_for(&self, slot: Slot) -> (Key, Key) {
        let member = &self.lanes[slot];
        let (source, target) = (member.source_broker(), member.lane.target.broker);
        match member.lane.path {
            Path::Copy => {
                let (is_first, hides_rack) = (member.is_first, member.read_at.is_leader_only());
                let connections = if is_first { 1 } else { self.settings.connections_per_broker.max(1) };
                let from_source = Route::copy(0, is_first, hides_rack);
                ((source, from_source), (target, Route::copy(slot % connections, is_first, false)))
            }
            Path::Splice => ((source, Route::splice(target)), (target, Route::splice(source))),
        }
    }

    /// Binds the lane to the connections of its leaders, dialling them if need be. False: try again later.
    pub(super) fn bind(&mut self, now: Now, slot: Slot) -> bool {
        let (source_key, sink_key) = self.keys_for(slot);
        let member = &mut self.lanes[slot];
        let is_over = member.removed || member.lane.is_stopped();
        let (leaves_source, leaves_sink) =
            (is_over || member.source_key != Some(source_key), is_over || member.sink_key != Some(sink_key));
        // What was sent is answered where it was sent, or lost with that connection.
        if leaves_sink && member.sink_key.is_some() && !member.lane.is_idle() {
            return false;
        }
        if leaves_source {
            self.unbind_source(slot);
        }
        if leaves_sink {
            self.unbind_sink(slot);
        }
        if is_over {
            return true;
        }
        let has_sink = self.dial(now, Side::Target, sink_key);
        let has_source = self.dial(now, Side::Source, source_key);
        let member = &mut self.lanes[slot];
        if has_sink && member.sink_key.is_none() {
            member.sink_key = Some(sink_key);
            if let Some(sink) = self.sinks.get_mut(&sink_key) {
                sink.names_only |= member.lane.target_topic_id.is_nil();
                sink.lanes.insert(slot);
            }
        }
        if has_source && member.source_key.is_none() {
            member.source_key = Some(source_key);
            if let Some(source) = self.sources.get_mut(&source_key) {
                let id = member.lane.source_topic_id;
                source.names_only |= id.is_nil();
                source.insert(member.topic_key(Side::Source), TopicKey::Id(id), member.lane.partition, slot);
            }
        }
        self.refresh(now, slot);
        has_sink && has_source
    }

    pub(super) fn unbind_source(&mut self, slot: Slot) {
        let member = &mut self.lanes[slot];
        if let Some(source) = member.source_key.take().and_then(|key| self.sources.get_mut(&key)) {
            let id = TopicKey::Id(member.lane.source_topic_id);
            source.remove(&member.topic_key(Side::Source), &id, member.lane.partition, slot);
            // Or the rest of this answer, and the next connection's, would both count.
            if source.is_walking(slot) {
                member.lane.rewind();
            }
        }
    }

    fn unbind_sink(&mut self, slot: Slot) {
        let member = &mut self.lanes[slot];
        if let Some(sink) = member.sink_key.take().and_then(|key| self.sinks.get_mut(&key)) {
            sink.lanes.remove(&slot);
            sink.ready.retain(|&ready| ready != slot);
        }
        member.is_ready = false;
    }

    /// Whether the connection exists, dialled now if the broker's address is known and its pause is over.
    fn dial(&mut self, now: Now, side: Side, key: Key) -> bool {
        let exists = match side {
            Side::Source => self.sources.contains_key(&key),
            Side::Target => self.sinks.contains_key(&key),
        };
        if exists {
            return true;
        }
        let Some(broker) =
            self.brokers[side as usize].get(&key.0).filter(|broker| broker.dial_at_us <= now.mono_us)
        else {
            return false;
        };
        let conn_id = ConnId(self.conn_count);
        self.conn_count += 1;
        self.conns.insert(conn_id, (side, key));
        self.actions.push_back(Action::Dial { conn: conn_id, side, address: broker.address.clone() });
        let path = key.1.path();
        let (client_id, timeout_ms) = (self.client_id.clone(), self.settings.request_timeout_ms);
        let has_sasl = self.settings.has_sasl[side as usize];
        match side {
            Side::Source => {
                let mut conn = Conn::new(now, client_id, timeout_ms, has_sasl);
                if broker.may_be_old {
                    conn.suspect_old();
                }
                let window = Window::new(self.settings.fetch_bytes_max);
                self.sources.insert(key, Source::new(path, conn_id, conn, window));
            }
            Side::Target => {
                let conn = Conn::new(now, client_id, timeout_ms, has_sasl);
                self.sinks.insert(key, Sink::new(path, conn_id, conn));
            }
        }
        true
    }

    /// When the lane's broker may be dialled, if that is what it waits for.
    pub(super) fn dial_wait_us(&self, slot: Slot) -> Option<u64> {
        let member = &self.lanes[slot];
        let at = |side: Side, id: i32| self.brokers[side as usize].get(&id).map(|broker| broker.dial_at_us);
        let (source_us, target_us) =
            (at(Side::Source, member.source_broker())?, at(Side::Target, member.lane.target.broker)?);
        let waits = [
            member.source_key.is_none().then_some(source_us),
            member.sink_key.is_none().then_some(target_us),
        ];
        waits.into_iter().flatten().max()
    }

    /// The connection is gone, with all that was under way on it.
    pub(super) fn lose(&mut self, now: Now, conn_id: ConnId, cause: &str) {
        let Some((side, key)) = self.conns.remove(&conn_id) else { return };
        self.counters.connections_lost += 1;
        let lanes: Vec<Slot> = match side {
            Side::Source => self.lose_source(now, key),
            Side::Target => self.lose_sink(now, key),
        };
        if let Some(broker) = self.brokers[side as usize].get_mut(&key.0) {
            // When it is back it may be a newer one.
            broker.may_be_old = false;
            broker.dial_at_us = now.after_ms(broker.pause_ms.max(DIAL_PAUSE_MS.0));
            broker.pause_ms = (broker.pause_ms * 2).clamp(DIAL_PAUSE_MS.0, DIAL_PAUSE_MS.1);
            let (address, cause) = (broker.address.clone(), cause.to_owned());
            self.events.push_back(Event::BrokerTrouble { side, broker: key.0, address, cause });
        }
        if let Some(&slot) = lanes.first() {
            self.events.push_back(Event::LeaderUnknown { lane: self.lanes[slot].lane.id, side });
        }
        for slot in lanes {
            self.unbound.insert(slot);
            self.refresh(now, slot);
        }
    }

    /// A source broker closed the connection on the first question. If the next connection comes to nothing either, that was not
    /// because of its age.
    pub(super) fn lose_old(&mut self, now: Now, conn_id: ConnId) {
        let Some((_, key)) = self.conns.remove(&conn_id) else { return };
        if let Some(broker) = self.brokers[Side::Source as usize].get_mut(&key.0) {
            broker.may_be_old = true;
            broker.dial_at_us = now.mono_us;
        }
        for slot in self.lose_source(now, key) {
            self.unbound.insert(slot);
            self.refresh(now, slot);
        }
    }

    fn lose_source(&mut self, now: Now, key: Key) -> Vec<Slot> {
        let Some(source) = self.sources.remove(&key) else { return Vec::new() };
        let lanes: Vec<Slot> = source.slots().collect();
        for &slot in &lanes {
            let member = &mut self.lanes[slot];
            member.source_key = None;
            if source.is_collecting(slot) {
                member.lane.rewind();
            }
            member.lane.forget_source_questions();
            if member.read_at.is_replica() {
                self.read_at_leader_only(now, slot);
            }
        }
        // A payload that breaks off in the middle leaves half a request at the target.
        if let Some(into) = source.splicing_into() {
            self.actions.push_back(Action::Close { conn: into });
            self.lose(now, into, "the source connection broke while a batch was spliced into this one");
        }
        lanes
    }

    fn lose_sink(&mut self, now: Now, key: Key) -> Vec<Slot> {
        let Some(sink) = self.sinks.remove(&key) else { return Vec::new() };
        let lanes: Vec<Slot> = sink.lanes.iter().copied().collect();
        for &slot in &lanes {
            let member = &mut self.lanes[slot];
            member.sink_key = None;
            member.is_ready = false;
            member.lane.handle_connection_lost(now, &self.settings);
        }
        let feeding = self.sources.values().find(|source| source.splicing_into() == Some(sink.conn_id));
        if let Some(conn) = feeding.map(|source| source.conn_id) {
            self.actions.push_back(Action::Close { conn });
            self.lose(now, conn, "the target connection broke while a batch was spliced into it");
        }
        lanes
    }

    /// The connection is up: the next loss is not a repeated one.
    pub(super) fn reset_pause(&mut self, side: Side, broker: i32) {
        if let Some(broker) = self.brokers[side as usize].get_mut(&broker) {
            broker.pause_ms = 0;
        }
    }

    pub(super) fn deadlines(&self) -> impl Iterator<Item = (ConnId, u64, &'static str)> {
        let sources = self
            .sources
            .values()
            .map(|source| (source.conn_id, source.conn.deadline_us(), source.conn.overdue()));
        let sinks =
            self.sinks.values().map(|sink| (sink.conn_id, sink.conn.deadline_us(), sink.conn.overdue()));
        sources.chain(sinks).filter_map(|(conn, deadline_us, cause)| Some((conn, deadline_us?, cause)))
    }
}
