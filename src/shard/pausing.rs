//! Lanes that are not to be read for a while, because somebody wishes so.

use super::api::LaneId;
use super::{LaneSnapshot, Member, Shard};
use crate::time::Now;

impl Shard {
    /// A paused lane is taken out of the next fetch. What a fetch under way brings is mirrored: it is paid for, and nothing has to
    /// be found anew when the lane goes on.
    pub(super) fn pause(&mut self, now: Now, lane: LaneId, paused: bool) {
        let Some(&slot) = self.slots.get(&lane) else { return };
        self.lanes[slot].is_paused = paused;
        self.refresh(now, slot);
    }
}

impl Member {
    pub(super) fn snapshot(&self) -> LaneSnapshot {
        let snapshot = self.lane.snapshot();
        match self.is_paused && !self.lane.is_stopped() {
            true => LaneSnapshot { state: "paused", is_read: false, ..snapshot },
            false => snapshot,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{Cluster, Reply, Response, SyntheticCluster, Ticket};
    use crate::config::{
        Address, ExactlyOnce, Isolation, LargeGaps, Merge, Mover, OnLoss, Oversize, StartFrom,
    };
    use crate::limits::RUNS_AHEAD_MAX;
    use crate::load::{Batches, Codec, Shape};
    use crate::shard::{
        Action, Command, ConnId, Event, LaneStart, Lease, OffsetMode, Out, Settings, Side, Want,
    };
    use crate::stats::Counters;
    use crate::wire::frame::split_frame;
    use bytes::BytesMut;
    use std::collections::BTreeMap;
    use uuid::Uuid;

    const MINUTE_MS: u64 = 60_000;
    const TOPIC: &str = "orders";
    const NODE: i32 = 1;
    /// Written to each source partition at the start.
    const BATCHES: u64 = 200;
    const BATCH_BYTES: usize = 4 << 10;
    const START: Now = Now { mono_us: 1_000_000, wall_ms: 1_800_000_000_000 };

    /// A shard between two clusters, whose connections take no time.
    struct World {
        now: Now,
        shard: Shard,
        lanes: u32,
        batches: Batches,
        clusters: [Cluster; 2],
        conns: BTreeMap<ConnId, Conn>,
        waiting: BTreeMap<(usize, Ticket), ConnId>,
        stopped: usize,
    }

    struct Conn {
        side: Side,
        requests: BytesMut,
        input: BytesMut,
    }

    impl World {
        fn new(lanes: u32) -> Self {
            Self::with(lanes, |_| (None, false))
        }

        /// The lanes are assigned, and have no leaders yet. `order` is a lane's limit and whether it goes first.
        fn with(lanes: u32, order: impl Fn(LaneId) -> (Option<usize>, bool)) -> Self {
            let clusters = [Side::Source, Side::Target].map(|side| {
                Cluster::new(SyntheticCluster {
                    cluster_id: format!("{side:?}"),
                    brokers: vec![(NODE, address(side))],
                    topics: vec![(TOPIC.into(), lanes as usize)],
                    ..SyntheticCluster::default()
                })
            });
            let shape = Shape::plain(BATCH_BYTES, 256, Codec::None, 50);
            let mut world = Self {
                now: START,
                shard: Shard::new(settings()),
                lanes,
                batches: Batches::new(shape, lanes, START.wall_ms - 60_000).unwrap(),
                clusters,
                conns: BTreeMap::new(),
                waiting: BTreeMap::new(),
                stopped: 0,
            };
            (0..lanes).for_each(|lane| (0..BATCHES).for_each(|_| world.append(lane)));
            for side in [Side::Source, Side::Target] {
                world.command(Command::Brokers { side, brokers: vec![(NODE, address(side))] });
            }
            world.command(Command::Lease(Lease { since_us: u64::MAX, until_us: u64::MAX }));
            for lane in (0..lanes).map(LaneId) {
                let (limit, is_first) = order(lane);
                world.command(Command::Assign(Box::new(LaneStart {
                    lane,
                    topic: TOPIC.into(),
                    names: [TOPIC.into(), TOPIC.into()],
                    partition: lane.0 as i32,
                    // Topics without ids are named.
                    source_topic_id: Uuid::nil(),
                    target_topic_id: Uuid::nil(),
                    from: StartFrom::Earliest,
                    runs: Vec::new(),
                    checkpoint: None,
                    mode: OffsetMode::Append,
                    zombies_until_us: 0,
                    recipe: None,
                    limit,
                    is_first,
                })));
            }
            world
        }

        fn lead(&mut self) {
            for lane in (0..self.lanes).map(LaneId) {
                for side in [Side::Source, Side::Target] {
                    self.command(Command::Leader { lane, side, broker: NODE, epoch: 0 });
                }
            }
        }

        fn command(&mut self, command: Command) {
            self.shard.handle_commands(self.now, [command]);
        }

        fn throttle(&mut self, bytes_per_second: Option<u64>) {
            self.command(Command::Throttle { bytes_per_second });
        }

        /// One more batch on the source.
        fn append(&mut self, lane: u32) {
            let index = self.ends(Side::Source, lane).0;
            let batch = self.batches.batch(lane, index);
            let source = &mut self.clusters[Side::Source as usize];
            source.append(self.now, TOPIC, lane as i32, &batch.header, batch.payload).unwrap();
        }

        /// Batches of the partition, and the end of its log.
        fn ends(&self, side: Side, lane: u32) -> (u64, i64) {
            let log = &self.clusters[side as usize].partition(TOPIC, lane as i32).unwrap().log;
            (log.batches().count() as u64, log.log_end_offset())
        }

        /// Batches on the target, lane by lane.
        fn mirrored(&self) -> Vec<u64> {
            (0..self.lanes).map(|lane| self.ends(Side::Target, lane).0).collect()
        }

        fn states(&self) -> Vec<&'static str> {
            self.shard.snapshot().lanes.iter().map(|lane| lane.state).collect()
        }

        fn counters(&self) -> Counters {
            self.shard.snapshot().counters
        }

        fn run_for(&mut self, ms: u64) {
            let until_us = self.now.mono_us + ms * 1_000;
            loop {
                while self.act() {}
                let due = [self.shard.poll_timeout()]
                    .into_iter()
                    .chain(self.clusters.iter().map(Cluster::poll_timeout));
                let next_us = due.flatten().min().unwrap_or(u64::MAX).max(self.now.mono_us + 1_000);
                if next_us > until_us {
                    break;
                }
                self.now.mono_us = next_us;
                self.shard.handle_timeout(self.now);
            }
            self.now.mono_us = until_us;
        }

        /// Everything that can be done at this moment. False: there was nothing.
        fn act(&mut self) -> bool {
            let mut acted = false;
            while let Some(action) = self.shard.poll_action() {
                acted = true;
                match action {
                    Action::Dial { conn, side, .. } => {
                        let (requests, input) = (BytesMut::new(), BytesMut::new());
                        self.conns.insert(conn, Conn { side, requests, input });
                        self.shard.handle_connected(self.now, conn);
                    }
                    Action::Transmit { conn } => self.transmit(conn),
                    action => panic!("{action:?}"),
                }
            }
            while let Some(event) = self.shard.poll_event() {
                acted = true;
                match event {
                    Event::RunWanted { lane, run } => self.command(Command::RunDurable { lane, run }),
                    Event::Stopped { .. } => self.stopped += 1,
                    _ => {}
                }
            }
            for side in 0..2 {
                while let Some((ticket, answer)) = self.clusters[side].poll(self.now) {
                    acted = true;
                    if let Some(conn) = self.waiting.remove(&(side, ticket)) {
                        self.answer(conn, &answer);
                    }
                }
            }
            acted
        }

        fn transmit(&mut self, id: ConnId) {
            while let Some(out) = self.shard.poll_transmit(id) {
                let Out::Bytes(bytes) = out else { panic!("nothing is spliced here") };
                self.conns.get_mut(&id).unwrap().requests.extend_from_slice(&bytes);
            }
            let conn = self.conns.get_mut(&id).unwrap();
            let side = conn.side as usize;
            let mut answers = Vec::new();
            while let Ok(Some(request)) = split_frame(&mut conn.requests, 1 << 30) {
                match self.clusters[side].handle_request(self.now, NODE, request.freeze()) {
                    Reply::Now(answer) => answers.push(answer),
                    Reply::Later(ticket) => drop(self.waiting.insert((side, ticket), id)),
                    Reply::None => {}
                    Reply::Close => panic!("the broker closes {id:?}"),
                }
            }
            answers.iter().for_each(|answer| self.answer(id, answer));
        }

        fn answer(&mut self, id: ConnId, answer: &Response) {
            assert!(matches!(self.shard.want(id), Want::Bytes { .. }));
            let mut input = std::mem::take(&mut self.conns.get_mut(&id).unwrap().input);
            answer.parts.iter().for_each(|part| input.extend_from_slice(part));
            self.shard.handle_input(self.now, id, &mut input);
            self.conns.get_mut(&id).unwrap().input = input;
        }
    }

    fn address(side: Side) -> Address {
        Address { host: "127.0.0.1".into(), port: 9092 + side as u16 }
    }

    fn settings() -> Settings {
        Settings {
            client_id: "test".into(),
            mover: Mover::Copy,
            buffer_bytes: 64 << 20,
            fetch_bytes_max: 64 << 10,
            fetch_wait_ms: 100,
            rack: String::new(),
            request_timeout_ms: 20_000,
            zombie_bound_ms: 30_000,
            gap_offsets_max: 0,
            gap_transactions_max: 0,
            runs_ahead_max: RUNS_AHEAD_MAX,
            times_batches: false,
            counts_stages: false,
            counts_passed: false,
            bytes_per_second: None,
            large_gaps: LargeGaps::Halt,
            may_have_open_gaps: false,
            isolation: Isolation::ReadCommitted,
            exactly_once: ExactlyOnce::Auto,
            transactional_id: "test".into(),
            on_loss: OnLoss::Halt,
            merge: Merge::Never,
            oversize: Oversize::Halt,
            has_dead_letters: false,
            marker_producer_id: -1,
            connections_per_broker: 1,
            has_sasl: [false; 2],
            producer_id_expiration_ms: Some(86_400_000),
            producer_id: 4711,
            producer_epoch: 0,
        }
    }

    fn pause(world: &mut World, lane: u32, paused: bool) {
        world.command(Command::Pause { lane: LaneId(lane), paused });
    }

    #[test]
    fn a_paused_lane_stands_still_and_the_others_go_on() {
        let mut world = World::new(3);
        pause(&mut world, 1, true);
        world.lead();
        world.run_for(MINUTE_MS);
        assert_eq!(world.mirrored(), [BATCHES, 0, BATCHES]);
        assert_eq!(world.states(), ["stream", "paused", "stream"]);
        let lanes = world.shard.snapshot().lanes;
        assert_eq!([lanes[0].is_read, lanes[1].is_read], [true, false]);
        pause(&mut world, 1, false);
        world.run_for(MINUTE_MS);
        assert_eq!((world.mirrored(), world.states()), (vec![BATCHES; 3], vec!["stream"; 3]));
    }

    /// Nothing is asked for again, lost or doubled when a lane is paused in the middle.
    #[test]
    fn what_is_under_way_settles() {
        let mut world = World::new(2);
        world.throttle(Some(200_000));
        world.lead();
        while world.mirrored()[0] == 0 {
            world.run_for(10);
        }
        pause(&mut world, 0, true);
        world.run_for(5_000);
        let settled = world.mirrored()[0];
        assert!((1..BATCHES).contains(&settled), "{settled}");
        world.run_for(MINUTE_MS);
        assert_eq!(world.mirrored(), [settled, BATCHES], "a paused lane went on");
        pause(&mut world, 0, false);
        world.run_for(MINUTE_MS);
        assert_eq!(world.mirrored(), [BATCHES; 2]);
        let counters = world.counters();
        assert_eq!((counters.batches, counters.batches_skipped), (2 * BATCHES, 0));
    }

    /// With nothing to fetch the broker is left alone, and it hears of it at once when there is something again.
    #[test]
    fn when_all_lanes_are_paused_nothing_is_asked_for() {
        let mut world = World::new(2);
        world.lead();
        world.run_for(MINUTE_MS);
        (0..2).for_each(|lane| pause(&mut world, lane, true));
        world.run_for(1_000);
        let fetches = world.counters().fetch_requests;
        world.append(1);
        world.run_for(MINUTE_MS);
        assert_eq!((world.counters().fetch_requests, world.mirrored()[1]), (fetches, BATCHES));
        pause(&mut world, 1, false);
        world.run_for(1_000);
        assert_eq!(world.mirrored(), [BATCHES, BATCHES + 1]);
    }

    #[test]
    fn the_limit_can_be_changed_at_any_time() {
        let mut world = World::new(1);
        world.throttle(Some(10_000));
        world.lead();
        world.run_for(MINUTE_MS);
        let slowly = world.mirrored()[0];
        assert!(slowly < BATCHES, "{slowly}");
        world.throttle(None);
        world.run_for(1_000);
        assert_eq!(world.mirrored(), [BATCHES]);
    }

    #[test]
    fn lanes_with_a_limit_of_their_own_hold_no_others_back() {
        let mut world = World::with(3, |lane| ((lane.0 < 2).then_some(0), false));
        world.command(Command::Limits(vec![20_000]));
        world.lead();
        world.run_for(10_000);
        let mirrored = world.mirrored();
        assert_eq!(mirrored[2], BATCHES);
        let bytes = (mirrored[0] + mirrored[1]) * BATCH_BYTES as u64;
        // At first one fetch brings what it may of each.
        assert!((150_000..2 * (256 << 10) + 200_000).contains(&bytes), "{bytes}");
        world.run_for(2 * MINUTE_MS);
        assert_eq!(world.mirrored(), [BATCHES; 3]);
        let counters = world.counters();
        assert_eq!((counters.batches, counters.batches_skipped), (3 * BATCHES, 0));
    }

    #[test]
    fn lanes_that_go_first_do_not_wait_for_the_limit() {
        let mut world = World::with(2, |lane| (None, lane.0 == 1));
        world.throttle(Some(10_000));
        world.lead();
        world.run_for(1_000);
        let mirrored = world.mirrored();
        assert!(mirrored[1] == BATCHES && mirrored[0] < BATCHES / 2, "{mirrored:?}");
        world.run_for(3 * MINUTE_MS);
        assert_eq!(world.mirrored(), [BATCHES; 2], "the others have what is left");
    }

    #[test]
    fn a_stopped_lane_is_stopped_whatever_is_wished() {
        let mut world = World::new(1);
        world.lead();
        world.throttle(Some(200_000));
        while world.mirrored()[0] == 0 {
            world.run_for(10);
        }
        let end = world.ends(Side::Source, 0).1;
        world.clusters[Side::Source as usize].delete_records(TOPIC, 0, end);
        world.run_for(MINUTE_MS);
        pause(&mut world, 0, true);
        pause(&mut world, 7, true);
        assert_eq!((world.stopped, world.states()), (1, vec!["stopped"]));
    }
}
