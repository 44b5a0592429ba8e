//! Drives a shard as an executor would: reads and writes its connections, takes its actions and events, tells it the time.

use crate::shard::{Action, Command, ConnId, Out, Shard, Side, Want};
use crate::sim::network::{Stream, address, node_at};
use crate::sim::world::{Broken, Moment, World};
use bytes::{Buf, Bytes, BytesMut};
use std::collections::{BTreeMap, VecDeque};

/// One shard of an instance, with what its executor would keep.
pub(super) struct Slot {
    pub(super) shard: Shard,
    pub(super) connections: BTreeMap<ConnId, usize>,
    /// Commands on their way from control, with the moment when they arrive.
    pub(super) commands: VecDeque<(u64, Command)>,
    /// Payload under way from a source connection to a target connection.
    pipes: BTreeMap<(ConnId, ConnId), BytesMut>,
}

impl Slot {
    pub(super) fn new(shard: Shard) -> Self {
        Self { shard, connections: BTreeMap::new(), commands: VecDeque::new(), pipes: BTreeMap::new() }
    }
}

/// Which shard of which instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) instance: usize,
    pub(super) shard: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "instance {} shard {}", self.instance, self.shard)
    }
}

/// A TCP connection, from a shard to a broker.
pub(super) struct Connection {
    pub(super) place: Place,
    pub(super) conn: ConnId,
    pub(super) side: Side,
    pub(super) node: i32,
    /// Dialed, and accepted by the broker.
    pub(super) open: bool,
    /// The shard has closed it, or was told that it is closed.
    pub(super) left: bool,
    /// Towards the broker, and back.
    pub(super) up: Stream,
    pub(super) down: Stream,
    /// Arrived at the broker, not yet a whole request.
    pub(super) requests: BytesMut,
    /// The broker works on a request; it takes the next one of a connection only when this one is answered.
    pub(super) answering: bool,
    /// Arrived at the mirror's machine, not yet read.
    pub(super) received: BytesMut,
    /// Read, not yet taken by the shard.
    input: BytesMut,
    writes: bool,
    writing: Option<Out>,
}

/// The size of the kernel's pipe.
const PIPE_BYTES: usize = 2048;
/// Rounds of one turn, before it counts as going on for ever.
const ROUNDS_MAX: usize = 100_000;

impl World {
    /// Runs one shard until it has nothing more to do now.
    pub(super) fn turn(&mut self, place: Place) -> Result<(), Broken> {
        if self.instances[place.instance].paused_until_us > self.now_us {
            let until_us = self.instances[place.instance].paused_until_us;
            self.schedule(until_us, Moment::Turn(place));
            return Ok(());
        }
        let now = self.now();
        if self.slot(place).is_none() {
            return Ok(());
        }
        let mut commands = Vec::new();
        while let Some(command) = self.due_command(place) {
            if !matches!(command, Command::Lease(_)) {
                self.trace(|| format!("{place} <- {command:?}"));
            }
            commands.push(command);
        }
        if !commands.is_empty() {
            self.shard(place).handle_commands(now, commands);
        }
        if self.shard(place).poll_timeout().is_some_and(|due_us| due_us <= now.mono_us) {
            self.shard(place).handle_timeout(now);
        }
        for _ in 0..ROUNDS_MAX {
            let acted = self.take_actions(place);
            let moved = self.move_bytes(place);
            let told = self.take_events(place);
            if !(acted || moved || told) {
                return Ok(());
            }
        }
        Err(Broken::new(format!("{place} goes on for ever without the clock moving")))
    }

    fn due_command(&mut self, place: Place) -> Option<Command> {
        let now_us = self.now_us;
        let commands = &mut self.slot(place)?.commands;
        if commands.front()?.0 > now_us {
            return None;
        }
        commands.pop_front().map(|(_, command)| command)
    }

    fn take_actions(&mut self, place: Place) -> bool {
        let mut acted = false;
        while let Some(action) = self.shard(place).poll_action() {
            acted = true;
            match action {
                Action::Dial { conn, side, address } => self.dial(place, conn, side, &address),
                Action::Close { conn } => {
                    self.trace(|| format!("{place} closes {conn:?}"));
                    self.forget(place, conn);
                }
                // Simulated brokers let everybody in.
                Action::Login { .. } => {}
                Action::Transmit { conn } => {
                    if let Some(&index) = self.slots(place).connections.get(&conn) {
                        self.connections[index].writes = true;
                    }
                }
            }
        }
        acted
    }

    fn dial(&mut self, place: Place, conn: ConnId, side: Side, to: &crate::config::Address) {
        let index = self.connections.len();
        let node = node_at(side, to).unwrap_or(-1);
        debug_assert!(node < 0 || *to == address(side, node));
        self.connections.push(Connection {
            place,
            conn,
            side,
            node,
            open: false,
            left: false,
            up: Stream::default(),
            down: Stream::default(),
            requests: BytesMut::new(),
            answering: false,
            received: BytesMut::new(),
            input: BytesMut::new(),
            writes: false,
            writing: None,
        });
        self.slots(place).connections.insert(conn, index);
        let delay_us = 1 + self.net.around(self.plan.weather.delay_us);
        self.trace(|| format!("{place} dials {conn:?} = connection {index} to {side:?} {node}"));
        self.schedule(self.now_us + delay_us, Moment::Dialed(index));
    }

    /// The broker has accepted the connection or not.
    pub(super) fn dialed(&mut self, index: usize) -> Result<(), Broken> {
        let (place, conn, side, node) = self.names(index);
        if self.connections[index].left {
            return Ok(());
        }
        if self.cluster(side).is_up(node) {
            self.connections[index].open = true;
            let now = self.now();
            self.shard(place).handle_connected(now, conn);
        } else {
            self.close(index, "connection refused");
        }
        self.turn(place)
    }

    /// The connection is gone, and the shard is told.
    pub(super) fn close(&mut self, index: usize, cause: &str) {
        let (place, conn, ..) = self.names(index);
        if self.connections[index].left {
            return;
        }
        self.trace(|| format!("connection {index} is closed: {cause}"));
        self.forget(place, conn);
        let now = self.now();
        self.shard(place).handle_closed(now, conn, cause);
        self.schedule(self.now_us, Moment::Turn(place));
    }

    /// The mirror's end of the connection is gone. What it had sent may still arrive.
    fn forget(&mut self, place: Place, conn: ConnId) {
        let slot = self.slots(place);
        slot.pipes.retain(|&(from, into), _| from != conn && into != conn);
        if let Some(index) = slot.connections.remove(&conn) {
            self.orphan(index);
        }
    }

    pub(super) fn names(&self, index: usize) -> (Place, ConnId, Side, i32) {
        let connection = &self.connections[index];
        (connection.place, connection.conn, connection.side, connection.node)
    }

    /// Bytes have arrived at the mirror's machine.
    pub(super) fn arrived_down(&mut self, index: usize) -> Result<(), Broken> {
        let now_us = self.now_us;
        let connection = &mut self.connections[index];
        if connection.left {
            return Ok(());
        }
        while let Some(piece) = connection.down.receive(now_us) {
            connection.received.extend_from_slice(&piece);
        }
        self.turn(self.connections[index].place)
    }

    fn move_bytes(&mut self, place: Place) -> bool {
        let mut indices: Vec<usize> = self.slots(place).connections.values().copied().collect();
        if !indices.is_empty() {
            let first = self.net.index(indices.len());
            indices.rotate_left(first);
        }
        let mut moved = false;
        for index in indices {
            moved |= self.write(place, index);
            moved |= self.read(place, index);
        }
        moved
    }

    /// Sends what the shard wants sent, as far as there is room.
    fn write(&mut self, place: Place, index: usize) -> bool {
        let mut moved = false;
        loop {
            let now_us = self.now_us;
            let connection = &mut self.connections[index];
            if connection.left || !connection.open {
                return moved;
            }
            let slot = &mut self.instances[place.instance].slots[place.shard];
            if connection.writing.is_none() {
                if !connection.writes {
                    return moved;
                }
                connection.writing = slot.shard.poll_transmit(connection.conn);
                moved = true;
            }
            let room = connection.up.room(&self.plan.weather);
            let piece = match &mut connection.writing {
                None => {
                    connection.writes = false;
                    return moved;
                }
                Some(_) if room == 0 => return moved,
                Some(Out::Bytes(bytes)) => bytes.split_to(bytes.len().min(room)),
                Some(Out::Splice { from, bytes }) => {
                    let Some(pipe) = slot.pipes.get_mut(&(*from, connection.conn)) else { return moved };
                    let piece = pipe.split_to(pipe.len().min(room).min(*bytes)).freeze();
                    *bytes -= piece.len();
                    if piece.is_empty() && *bytes > 0 {
                        return moved;
                    }
                    piece
                }
            };
            let finished = match &connection.writing {
                Some(Out::Bytes(rest)) => rest.is_empty(),
                Some(Out::Splice { bytes, .. }) => *bytes == 0,
                None => true,
            };
            if finished {
                connection.writing = None;
            }
            moved = true;
            let agenda = &mut self.agenda;
            connection.up.send(now_us, piece, &self.plan.weather, &mut self.net, |at_us| {
                agenda.add(at_us, Moment::ArrivedUp(index));
            });
        }
    }

    /// Reads as the shard wants it read.
    fn read(&mut self, place: Place, index: usize) -> bool {
        let connection = &self.connections[index];
        if connection.left || !connection.open {
            return false;
        }
        let (conn, available) = (connection.conn, connection.received.len());
        let want = self.slots(place).shard.want(conn);
        let now = self.now();
        let taken = match want {
            Want::Pause => return false,
            Want::Bytes { at_least, .. } if self.plan.weather.waits_for_low_water && available < at_least => {
                return false;
            }
            Want::Bytes { at_most: most, .. }
            | Want::Splice { bytes: most, .. }
            | Want::Discard { bytes: most } => self.some_of(available.min(most)),
        };
        if taken == 0 {
            return false;
        }
        let connection = &mut self.connections[index];
        match want {
            Want::Pause => return false,
            Want::Bytes { .. } => {
                let piece = connection.received.split_to(taken);
                let mut input = std::mem::take(&mut connection.input);
                input.extend_from_slice(&piece);
                self.shard(place).handle_input(now, conn, &mut input);
                self.connections[index].input = input;
            }
            Want::Discard { .. } => {
                connection.received.advance(taken);
                self.shard(place).handle_moved(now, conn, taken);
            }
            Want::Splice { into, .. } => {
                let pipe =
                    self.instances[place.instance].slots[place.shard].pipes.entry((conn, into)).or_default();
                let taken = taken.min(PIPE_BYTES.saturating_sub(pipe.len()));
                if taken == 0 {
                    return false;
                }
                pipe.extend_from_slice(&connection.received.split_to(taken));
                self.shard(place).handle_moved(now, conn, taken);
            }
        }
        true
    }

    /// A reader mostly takes all there is.
    fn some_of(&mut self, available: usize) -> usize {
        if available > 1 && self.net.percent(20) { 1 + self.net.index(available) } else { available }
    }

    fn take_events(&mut self, place: Place) -> bool {
        let mut told = false;
        while let Some(event) = self.shard(place).poll_event() {
            told = true;
            self.trace(|| format!("{place} -> {event:?}"));
            self.tell_control(place, event);
        }
        told
    }

    /// An answer leaves the broker.
    pub(super) fn answer(&mut self, index: usize, bytes: Bytes) {
        let now_us = self.now_us;
        let connection = &mut self.connections[index];
        let agenda = &mut self.agenda;
        connection.down.send(now_us, bytes, &self.plan.weather, &mut self.net, |at_us| {
            agenda.add(at_us, Moment::ArrivedDown(index));
        });
    }

    pub(super) fn slot(&mut self, place: Place) -> Option<&mut Slot> {
        self.instances.get_mut(place.instance)?.slots.get_mut(place.shard)
    }

    fn slots(&mut self, place: Place) -> &mut Slot {
        &mut self.instances[place.instance].slots[place.shard]
    }

    fn shard(&mut self, place: Place) -> &mut Shard {
        &mut self.slots(place).shard
    }
}
