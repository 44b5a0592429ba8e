//! The doors to real clusters: the load is produced and read back through the wire.

use super::wire::{CLIENT_ID, Conn, topic_bytes};
use super::{Arrived, Inlet, Outlet, Settings, Stage, max_message_bytes};
use crate::config::{Address, Cluster};
use crate::edge::admin::Admin;
use crate::edge::clock;
use crate::limits::BATCH_HEADER_BYTES;
use crate::wire::TopicKey;
use crate::wire::fetch::{FetchPartition, FetchRequest, FetchWalk, Walked};
use crate::wire::produce::{self, Entry, Payload, Piece};
use bytes::{Bytes, BytesMut};
use smallvec::smallvec;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

const PRODUCE_VERSION: i16 = 7;
const FETCH_VERSION: i16 = 11;
/// Unanswered Produce requests to each broker.
const IN_FLIGHT_MAX: usize = 16;
/// How often in a row a partition may be refused for a passing reason, and the pause before it is asked for again.
const REFUSALS_MAX: u32 = 100;
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// Two clusters that others run. The benchmark's topic is created on the source, and deleted from both at the end.
pub struct Clusters {
    source: Vec<Address>,
    target: Vec<Address>,
    topic: String,
}

impl Clusters {
    pub fn new(source: Vec<Address>, target: Vec<Address>) -> Self {
        Self { source, target, topic: format!("twinlog-bench-{}", clock::now().wall_ms) }
    }

    pub(super) fn stage(&self, settings: &Settings) -> Result<Stage<Producer, Reader>, String> {
        let leaders = Conn::to_any(&self.source)?.create_topic(
            &self.topic,
            settings.partitions,
            max_message_bytes(settings),
        )?;
        self.await_leaders(settings.partitions)?;
        Ok(Stage {
            source: self.source.clone(),
            target: self.target.clone(),
            topic: self.topic.clone(),
            inlet: Producer::new(&self.topic, &leaders)?,
            outlet: Reader::new(&self.target, &self.topic, settings.partitions)?,
            // These clusters keep everything; what is under way only has to keep the mirror busy.
            window_bytes: 1 << 30,
            embedded: false,
        })
    }

    /// Metadata names the leaders of a new topic before the brokers know that they lead; what is sent to them then is refused.
    fn await_leaders(&self, partitions: u32) -> Result<(), String> {
        let cluster = Cluster::from(self.source.clone());
        let mut source = Admin::new(&cluster, CLIENT_ID, Duration::from_secs(10));
        let wanted: Vec<(String, i32)> = (0..partitions as i32).map(|at| (self.topic.clone(), at)).collect();
        for _ in 0..REFUSALS_MAX {
            if source.end_offsets(&wanted).len() == wanted.len() {
                return Ok(());
            }
            thread::sleep(REFUSED_PAUSE);
        }
        Err(format!("the partitions of {} have no leaders on the source", self.topic))
    }

    /// Removes what the benchmark left behind.
    pub fn clean_up(&self) {
        let ledger = format!("__twinlog.{}", self.topic);
        let on_source = Conn::to_any(&self.source).and_then(|mut conn| conn.delete_topics(&[&self.topic]));
        let on_target =
            Conn::to_any(&self.target).and_then(|mut conn| conn.delete_topics(&[&self.topic, &ledger]));
        for error in [on_source, on_target].into_iter().filter_map(Result::err) {
            tracing::warn!("cannot delete the topic {}: {error}", self.topic);
        }
    }
}

/// Sends one batch a request, with several requests under way.
pub struct Producer {
    topic: Bytes,
    conns: Vec<(Conn, usize)>,
    /// By partition: which connection.
    routes: Vec<usize>,
    scratch: BytesMut,
}

impl Producer {
    fn new(topic: &str, leaders: &[Address]) -> Result<Self, String> {
        let mut known: Vec<&Address> = Vec::new();
        let mut routes = Vec::new();
        for leader in leaders {
            let at = known.iter().position(|address| *address == leader).unwrap_or_else(|| {
                known.push(leader);
                known.len() - 1
            });
            routes.push(at);
        }
        let conns =
            known.into_iter().map(|address| Ok((Conn::to(address)?, 0))).collect::<Result<_, String>>()?;
        Ok(Self { topic: topic_bytes(topic), conns, routes, scratch: BytesMut::new() })
    }
}

impl Inlet for Producer {
    fn send(
        &mut self,
        partition: u32,
        header: [u8; BATCH_HEADER_BYTES],
        payload: Bytes,
    ) -> Result<(), String> {
        let (conn, in_flight) = &mut self.conns[self.routes[partition as usize]];
        if *in_flight == IN_FLIGHT_MAX {
            let answer = conn.read_frame()?;
            let mut refused = None;
            let body = answer.get(8..).unwrap_or_default();
            produce::read_answer(PRODUCE_VERSION, body, &mut |acked| {
                refused = Some(acked.error).filter(|code| *code != 0);
            })
            .map_err(|error| error.to_string())?;
            if let Some(code) = refused {
                return Err(format!("the source refuses the load: {}", crate::error::name(code)));
            }
            *in_flight -= 1;
        }
        let mut entries = vec![Entry {
            topic: TopicKey::Name(self.topic.clone()),
            partition: partition as i32,
            raw: header,
            payload: Payload::Ranges(smallvec![payload]),
        }];
        let correlation_id = conn.next_correlation_id();
        let mut pieces = Vec::new();
        let head = produce::Head {
            version: PRODUCE_VERSION,
            correlation_id,
            client_id: CLIENT_ID,
            transactional_id: None,
            acks: produce::ACKS_ALL,
            timeout_ms: 20_000,
        };
        produce::frame(head, &mut entries, &mut self.scratch, &mut |piece| pieces.push(piece));
        for piece in pieces {
            match piece {
                Piece::Framing(bytes) => conn.write(&bytes)?,
                Piece::Payload(Payload::Ranges(ranges)) => {
                    for bytes in ranges {
                        conn.write(&bytes)?;
                    }
                }
                Piece::Payload(Payload::Stream(_)) => {}
            }
        }
        *in_flight += 1;
        Ok(())
    }
}

/// Reads the target with long polls, a thread for each of its brokers.
pub struct Reader {
    admin: Conn,
    topic: String,
    partitions: u32,
    arriving: mpsc::Receiver<Result<Arrived, String>>,
    /// What a new thread sends into; gone when all threads run.
    sender: Option<mpsc::SyncSender<Result<Arrived, String>>>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Reader {
    fn new(target: &[Address], topic: &str, partitions: u32) -> Result<Self, String> {
        let (sender, arriving) = mpsc::sync_channel(1024);
        Ok(Self {
            admin: Conn::to_any(target)?,
            topic: topic.to_owned(),
            partitions,
            arriving,
            sender: Some(sender),
            over: Arc::default(),
            threads: Vec::new(),
        })
    }

    /// The topic is the mirror's to create, so it may take a while to appear.
    fn begin_reading(&mut self) -> Result<(), String> {
        let Some(leaders) = self.admin.leaders(&self.topic)? else {
            thread::sleep(Duration::from_millis(20));
            return Ok(());
        };
        if leaders.len() != self.partitions as usize {
            return Ok(());
        }
        let mut by_leader: BTreeMap<Address, Vec<i32>> = BTreeMap::new();
        for (partition, leader) in (0..).zip(leaders) {
            by_leader.entry(leader).or_default().push(partition);
        }
        let Some(sender) = self.sender.take() else { return Ok(()) };
        for (leader, partitions) in by_leader {
            let (sender, over) = (sender.clone(), Arc::clone(&self.over));
            let topic = topic_bytes(&self.topic);
            let thread = thread::Builder::new().name("reader".into()).spawn(move || {
                let ended =
                    Conn::to(&leader).and_then(|conn| read(conn, &topic, &partitions, &over, &sender));
                if let Err(error) = ended {
                    // The judge may be gone; then nobody wants to know.
                    let _ = sender.send(Err(error));
                }
            });
            self.threads.push(thread.map_err(|error| error.to_string())?);
        }
        Ok(())
    }
}

impl Outlet for Reader {
    fn receive(&mut self, arrived: &mut Vec<Arrived>) -> Result<(), String> {
        if self.sender.is_some() {
            self.begin_reading()?;
        }
        for batch in self.arriving.try_iter() {
            arrived.push(batch?);
        }
        Ok(())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A full channel would hold the thread up for ever.
            while !thread.is_finished() {
                for _ in self.arriving.try_iter() {}
                thread::sleep(Duration::from_millis(1));
            }
            let _ = thread.join();
        }
    }
}

/// Reads the partitions of one leader until it is over.
fn read(
    mut conn: Conn,
    topic: &Bytes,
    partitions: &[i32],
    over: &AtomicBool,
    into: &mpsc::SyncSender<Result<Arrived, String>>,
) -> Result<(), String> {
    let mut positions: Vec<FetchPartition> = partitions
        .iter()
        .map(|partition| FetchPartition {
            topic: TopicKey::Name(topic.clone()),
            partition: *partition,
            current_leader_epoch: -1,
            fetch_offset: 0,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            partition_max_bytes: 8 << 20,
        })
        .collect();
    let mut request = BytesMut::new();
    let mut refusals = 0;
    while !over.load(Ordering::Relaxed) {
        let mut is_refused = false;
        request.clear();
        FetchRequest {
            version: FETCH_VERSION,
            correlation_id: conn.next_correlation_id(),
            client_id: CLIENT_ID,
            max_wait_ms: 250,
            min_bytes: 1,
            max_bytes: 32 << 20,
            isolation: 0,
            session_id: 0,
            session_epoch: -1,
            partitions: &positions,
            forgotten: &[],
            rack: "",
        }
        .encode(&mut request);
        conn.write(&request)?;
        let mut frame = conn.read_frame()?;
        let mut walk = FetchWalk::new(FETCH_VERSION);
        let mut at = 0;
        loop {
            match walk.step(&mut frame).map_err(|error| error.to_string())? {
                // A topic that was just created has no leader yet, or one that does not know it.
                Walked::Partition(head)
                    if crate::error::is_retriable(head.error) && refusals < REFUSALS_MAX =>
                {
                    is_refused = true;
                }
                Walked::Partition(head) if head.error != 0 => {
                    return Err(format!(
                        "the target does not let us read: {}",
                        crate::error::name(head.error)
                    ));
                }
                Walked::Partition(head) => {
                    at = partitions.iter().position(|partition| *partition == head.partition).unwrap_or(at);
                }
                Walked::Batch { header, raw } => {
                    let payload = frame.split_to(header.payload_bytes()).freeze();
                    walk.take_payload(payload.len());
                    // A fetch returns the whole batch that holds the offset; here offsets are always batches' first.
                    positions[at].fetch_offset = header.next_offset();
                    let partition = positions[at].partition as u32;
                    let batch = Arrived { partition, header: raw, payload: smallvec![payload] };
                    if into.send(Ok(batch)).is_err() {
                        return Ok(());
                    }
                }
                Walked::Cut { bytes } => {
                    let _ = frame.split_to(bytes);
                    walk.take_payload(bytes);
                }
                Walked::OldFormat { .. } | Walked::Damaged(_) => {
                    return Err("the target holds no batches".into());
                }
                Walked::End => break,
                Walked::NeedMore => return Err("a Fetch answer ends too early".into()),
                _ => {}
            }
        }
        refusals = if is_refused { refusals + 1 } else { 0 };
        if is_refused {
            thread::sleep(REFUSED_PAUSE);
        }
    }
    Ok(())
}
