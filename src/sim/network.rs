//! A TCP connection as both ends see it: bytes in order, cut anywhere, late, stalled, or never arriving.

use crate::config::Address;
use crate::shard::Side;
use crate::sim::random::Random;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// How rough the network of one run is.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    /// Typical time between sending and receiving.
    pub(super) delay_us: u64,
    /// Bytes are cut into pieces of at most this many.
    pub(super) piece_bytes_max: usize,
    /// Bytes under way (sent and not yet received) in one direction, before the sender has to wait.
    pub(super) window_bytes: usize,
    /// Readers wait for as many bytes as the shard says are sure to come, as SO_RCVLOWAT does.
    pub(super) waits_for_low_water: bool,
}

/// One direction of a connection.
#[derive(Default)]
pub(super) struct Stream {
    under_way: VecDeque<(u64, Bytes)>,
    held_bytes: usize,
    last_arrival_us: u64,
    stalled_until_us: u64,
    /// Everything sent from now on vanishes; the sender does not notice.
    pub(super) severed: bool,
}

impl Stream {
    /// How many bytes the sender may send now.
    pub(super) fn room(&self, weather: &Weather) -> usize {
        if self.severed { weather.window_bytes } else { weather.window_bytes.saturating_sub(self.held_bytes) }
    }

    /// Puts bytes on their way and tells when they arrive, one moment for each piece.
    pub(super) fn send(
        &mut self,
        now_us: u64,
        mut bytes: Bytes,
        weather: &Weather,
        random: &mut Random,
        mut arrives: impl FnMut(u64),
    ) {
        if self.severed {
            return;
        }
        while !bytes.is_empty() {
            let whole = random.percent(70);
            let most = bytes.len().min(weather.piece_bytes_max);
            let piece = bytes.split_to(if whole { most } else { 1 + random.index(most) });
            let earliest = now_us.max(self.stalled_until_us) + 1 + random.around(weather.delay_us);
            self.last_arrival_us = self.last_arrival_us.max(earliest);
            self.held_bytes += piece.len();
            self.under_way.push_back((self.last_arrival_us, piece));
            arrives(self.last_arrival_us);
        }
    }

    /// The next piece that has arrived by now.
    pub(super) fn receive(&mut self, now_us: u64) -> Option<Bytes> {
        if self.under_way.front()?.0 > now_us {
            return None;
        }
        let (_, piece) = self.under_way.pop_front()?;
        self.held_bytes -= piece.len();
        Some(piece)
    }

    /// Nothing arrives before `until_us`; tells the new moment for each piece under way.
    pub(super) fn stall(&mut self, until_us: u64, mut arrives: impl FnMut(u64)) {
        self.stalled_until_us = self.stalled_until_us.max(until_us);
        self.last_arrival_us = self.last_arrival_us.max(until_us);
        for (arrival_us, _) in &mut self.under_way {
            *arrival_us = (*arrival_us).max(until_us);
            arrives(*arrival_us);
        }
    }

    /// What is under way, taken off the wire.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Bytes> + '_ {
        self.held_bytes = 0;
        self.under_way.drain(..).map(|(_, piece)| piece)
    }
}

/// A size-prefixed request at the head of `input`, without its prefix.
pub(super) fn split_request(input: &mut BytesMut) -> Option<Bytes> {
    let size = u32::from_be_bytes(*input.first_chunk()?) as usize;
    if input.len() < 4 + size {
        return None;
    }
    let mut frame = input.split_to(4 + size).freeze();
    Some(frame.split_off(4))
}

/// Where the simulated brokers say they listen.
pub(super) fn address(side: Side, node: i32) -> Address {
    let host = match side {
        Side::Source => "source.sim",
        Side::Target => "target.sim",
    };
    Address { host: host.to_owned(), port: 9092 + node as u16 }
}

/// The broker behind an address made by [`address`].
pub(super) fn node_at(side: Side, at: &Address) -> Option<i32> {
    let node = i32::from(at.port) - 9092;
    (node >= 0 && *at == address(side, node)).then_some(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_arrive_once_and_in_order_whatever_the_pieces() {
        let weather =
            Weather { delay_us: 500, piece_bytes_max: 7, window_bytes: 1 << 20, waits_for_low_water: true };
        let mut random = Random::new(3, "stream");
        let mut stream = Stream::default();
        let sent: Vec<u8> = (0..200).collect();
        let mut last_us = 0;
        stream.send(10, Bytes::from(sent.clone()), &weather, &mut random, |at_us| last_us = at_us);
        stream.stall(50_000, |at_us| last_us = last_us.max(at_us));
        assert_eq!(stream.receive(49_999), None);
        let received: Vec<u8> = std::iter::from_fn(|| stream.receive(last_us)).flatten().collect();
        assert_eq!(received, sent);
        assert_eq!(stream.room(&weather), weather.window_bytes);
    }

    #[test]
    fn addresses_lead_back_to_their_node() {
        assert_eq!(node_at(Side::Target, &address(Side::Target, 2)), Some(2));
        assert_eq!(node_at(Side::Source, &address(Side::Target, 2)), None);
    }
}
