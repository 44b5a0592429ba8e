//! A shard between two in-memory clusters, for the benches that measure what happens inside of it.

// The stopwatch is the point of a benchmark.
#![allow(clippy::disallowed_methods)]

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use twinlog::broker::{Cluster, Reply, Response, SyntheticCluster, Ticket};
use twinlog::config::{
    Address, ExactlyOnce, Isolation, LargeGaps, Merge, Mover, OnLoss, Oversize, StartFrom,
};
use twinlog::limits::RUNS_AHEAD_MAX;
use twinlog::load::{Batches, Codec, Shape};
use twinlog::shard::{
    Action, Command, ConnId, Event, LaneId, LaneStart, Lease, OffsetMode, Out, Settings, Shard, Side, Want,
};
use twinlog::time::Now;
use twinlog::wire::control;
use twinlog::wire::frame::split_frame;
use uuid::Uuid;

pub const LANES: u32 = 32;
pub const BATCHES_PER_LANE: u64 = 32;
const TOPIC: &str = "orders";
const NODE: i32 = 1;
const START: Now = Now { mono_us: 1_000_000, wall_ms: 1_800_000_000_000 };

/// The backlog's batches, of about so many bytes.
pub fn batches(batch_bytes: usize) -> Batches {
    batches_in(Codec::None, batch_bytes)
}

pub fn batches_in(codec: Codec, batch_bytes: usize) -> Batches {
    let shape = Shape::plain(batch_bytes, 256, codec, 50);
    Batches::new(shape, LANES, START.wall_ms - 60_000).expect("the shape is possible")
}

/// A shard between two clusters, whose connections take no time.
pub struct World {
    now: Now,
    shard: Shard,
    clusters: [Cluster; 2],
    conns: BTreeMap<ConnId, Conn>,
    waiting: BTreeMap<(usize, Ticket), ConnId>,
    inside: Duration,
}

struct Conn {
    side: Side,
    requests: BytesMut,
    /// Answers that the shard has not wanted yet, and those it looks at.
    answers: BytesMut,
    input: BytesMut,
}

impl World {
    /// Everything ready to go: the source filled, the lanes assigned.
    pub fn new(batches: &Batches) -> Self {
        let mut clusters = [Side::Source, Side::Target].map(|side| {
            let mut cluster = Cluster::new(SyntheticCluster {
                cluster_id: format!("{side:?}"),
                brokers: vec![(NODE, address(side))],
                topics: vec![(TOPIC.into(), LANES as usize)],
                ..SyntheticCluster::default()
            });
            let id = topic_id(&mut cluster);
            (cluster, id)
        });
        for lane in 0..LANES {
            for index in 0..BATCHES_PER_LANE {
                let batch = batches.batch(lane, index);
                let appended = clusters[0].0.append(START, TOPIC, lane as i32, &batch.header, batch.payload);
                appended.expect("the source takes the load");
            }
        }
        let [source_topic_id, target_topic_id] = [clusters[0].1, clusters[1].1];
        let mut world = Self {
            now: START,
            shard: Shard::new(settings()),
            clusters: clusters.map(|(cluster, _)| cluster),
            conns: BTreeMap::new(),
            waiting: BTreeMap::new(),
            inside: Duration::ZERO,
        };
        for side in [Side::Source, Side::Target] {
            world.command(Command::Brokers { side, brokers: vec![(NODE, address(side))] });
        }
        world.command(Command::Lease(Lease { since_us: u64::MAX, until_us: u64::MAX }));
        for lane in (0..LANES).map(LaneId) {
            world.command(Command::Assign(Box::new(LaneStart {
                lane,
                topic: TOPIC.into(),
                names: [TOPIC.into(), TOPIC.into()],
                partition: lane.0 as i32,
                source_topic_id,
                target_topic_id,
                from: StartFrom::Earliest,
                runs: Vec::new(),
                checkpoint: None,
                mode: OffsetMode::Append,
                zombies_until_us: 0,
                recipe: None,
                limit: None,
                is_first: false,
            })));
            for side in [Side::Source, Side::Target] {
                world.command(Command::Leader { lane, side, broker: NODE, epoch: 0 });
            }
        }
        world.inside = Duration::ZERO;
        world
    }

    /// Mirrors the whole backlog. Returns the time spent inside the shard.
    pub fn run(mut self) -> Duration {
        let goal = u64::from(LANES) * BATCHES_PER_LANE;
        let mut rounds = 0;
        while self.shard.snapshot().counters.batches < goal {
            rounds += 1;
            assert!(rounds < 1_000_000, "the shard is stuck: {:?}", self.shard.snapshot());
            self.now.mono_us += 50;
            self.take_actions();
            self.take_events();
            self.deliver_late_answers();
            self.feed();
            if self.shard.poll_timeout().is_some_and(|due_us| due_us <= self.now.mono_us) {
                let now = self.now;
                self.timed(|shard| shard.handle_timeout(now));
            }
        }
        self.inside
    }

    /// All work of the shard is done below this function, which is how the instructions are told apart that are its.
    #[inline(never)]
    fn timed<T>(&mut self, work: impl FnOnce(&mut Shard) -> T) -> T {
        let start = Instant::now();
        let result = work(&mut self.shard);
        self.inside += start.elapsed();
        result
    }

    fn command(&mut self, command: Command) {
        let now = self.now;
        self.timed(|shard| shard.handle_commands(now, [command]));
    }

    fn take_actions(&mut self) {
        while let Some(action) = self.timed(Shard::poll_action) {
            match action {
                Action::Dial { conn, side, .. } => {
                    let buffer = BytesMut::new;
                    self.conns
                        .insert(conn, Conn { side, requests: buffer(), answers: buffer(), input: buffer() });
                    let now = self.now;
                    self.timed(|shard| shard.handle_connected(now, conn));
                }
                Action::Close { conn } => panic!("the shard closes {conn:?}"),
                Action::Login { conn, .. } => panic!("{conn:?} needs no login"),
                Action::Transmit { conn } => self.transmit(conn),
            }
        }
    }

    fn transmit(&mut self, conn: ConnId) {
        while let Some(out) = self.timed(|shard| shard.poll_transmit(conn)) {
            let Out::Bytes(bytes) = out else { panic!("nothing is spliced here") };
            if let Some(conn) = self.conns.get_mut(&conn) {
                conn.requests.extend_from_slice(&bytes);
            }
        }
        let Some(Conn { side, requests, answers, .. }) = self.conns.get_mut(&conn) else { return };
        let cluster = &mut self.clusters[*side as usize];
        while let Ok(Some(request)) = split_frame(requests, 1 << 30) {
            match cluster.handle_request(self.now, NODE, request.freeze()) {
                Reply::Now(answer) => put(answers, answer),
                Reply::Later(ticket) => {
                    self.waiting.insert((*side as usize, ticket), conn);
                }
                Reply::None => {}
                Reply::Close => panic!("the broker closes {conn:?}"),
            }
        }
    }

    fn deliver_late_answers(&mut self) {
        for (side, cluster) in self.clusters.iter_mut().enumerate() {
            while let Some((ticket, answer)) = cluster.poll(self.now) {
                let conn = self.waiting.remove(&(side, ticket)).and_then(|conn| self.conns.get_mut(&conn));
                if let Some(conn) = conn {
                    put(&mut conn.answers, answer);
                }
            }
        }
    }

    /// Hands in what has been answered, as the shard wants it.
    fn feed(&mut self) {
        let conns: Vec<ConnId> = self.conns.keys().copied().collect();
        for id in conns {
            let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.answers.is_empty()) else {
                continue;
            };
            let Want::Bytes { at_most, .. } = self.shard.want(id) else { continue };
            let piece = conn.answers.split_to(conn.answers.len().min(at_most).min(1 << 20));
            let mut input = std::mem::take(&mut conn.input);
            if input.is_empty() {
                input = piece;
            } else {
                input.extend_from_slice(&piece);
            }
            let now = self.now;
            self.timed(|shard| shard.handle_input(now, id, &mut input));
            if let Some(conn) = self.conns.get_mut(&id) {
                conn.input = input;
            }
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.timed(Shard::poll_event) {
            match event {
                Event::RunWanted { lane, run, .. } => self.command(Command::RunDurable { lane, run }),
                // The lease is given for ever.
                Event::LeaseWanted { .. } | Event::Settled { .. } | Event::CaughtUp { .. } => {}
                event => panic!("{event:?}"),
            }
        }
    }
}

fn put(answers: &mut BytesMut, answer: Response) {
    for part in answer.parts {
        answers.extend_from_slice(&part);
    }
}

fn settings() -> Settings {
    Settings {
        client_id: "bench".into(),
        mover: Mover::Copy,
        buffer_bytes: 64 << 20,
        fetch_bytes_max: 8 << 20,
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
        transactional_id: "bench".into(),
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

fn address(side: Side) -> Address {
    Address { host: "127.0.0.1".into(), port: 9092 + side as u16 }
}

fn topic_id(cluster: &mut Cluster) -> Uuid {
    const VERSION: i16 = 12;
    let name = TopicName(StrBytes::from_static_str(TOPIC));
    let topic = MetadataRequestTopic::default().with_name(Some(name));
    let request =
        control::encode(&MetadataRequest::default().with_topics(Some(vec![topic])), VERSION, 1, "bench");
    let Reply::Now(answer) = cluster.handle_request(START, NODE, request.slice(4..)) else {
        panic!("no metadata")
    };
    let answer: Bytes = answer.to_bytes().slice(4..);
    let answer: MetadataResponse = control::decode(VERSION, answer).expect("metadata");
    answer.topics[0].topic_id
}
