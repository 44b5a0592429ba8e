//! The thread that asks the target's coordinators for the link's transactions. Control hands it the shards' steps, and hears what
//! became of them.

use super::admin::{Admin, AdminError, check};
use super::clock;
use super::coordinators::{self, GROUP_KEY, TRANSACTION_KEY, id};
use crate::config::Mirror;
use crate::control::transactions::{Coordination, Done, Place, Position, Producer, Step, Todo};
use crate::wire::batch::Stamp;
use crate::wire::seed::SeedBatch;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, GroupId, OffsetFetchRequest, ProduceRequest, ProducerId, TopicName,
    TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

const ADD_OFFSETS: (i16, i16) = (0, 3);
/// Later versions belong to transactions that end with a new epoch each (KIP-890).
const TXN_OFFSET_COMMIT: (i16, i16) = (0, 3);
/// The same; and from 13 on topics have ids instead of names.
const PRODUCE: (i16, i16) = (3, 11);
const ALL_REPLICAS: i16 = -1;
const PRODUCE_TIMEOUT_MS: i32 = 10_000;
/// From 7 on with `require_stable` (KIP-447), which is not needed after InitProducerId, but costs nothing.
const OFFSET_FETCH: (i16, i16) = (2, 9);
const OFFSET_FETCH_GROUPS_MIN: i16 = 8;
const OFFSET_FETCH_STABLE_MIN: i16 = 7;
/// The coordinator aborts what is open for longer: then its shard is gone.
const TRANSACTION_TIMEOUT_MS: i32 = 60_000;
const GROUP_ID_NOT_FOUND: i16 = 69;
/// The longest wait for a step before the thread looks whether it is to end.
const NAP: Duration = Duration::from_millis(500);

type Asked = (usize, Step, Vec<Place>);

/// Seen from control.
pub(super) struct TransactionTask {
    steps: Option<Sender<Asked>>,
    pub(super) done: Receiver<(usize, Done)>,
    /// Steps without an answer.
    pub(super) open: usize,
    thread: Option<JoinHandle<()>>,
}

impl TransactionTask {
    /// For a link that ever had `ids` shards.
    pub(super) fn start(config: &Mirror, ids: u32) -> std::io::Result<Self> {
        let (steps, queue) = mpsc::channel();
        let (tell, done) = mpsc::channel();
        let timeout = Duration::from_millis(config.request_timeout_ms.min(10_000));
        let mut coordinators = Coordinators {
            admin: Admin::new(&config.target, &config.client_id, timeout),
            known: BTreeMap::new(),
            seeds: None,
        };
        let mut coordination = Coordination::new(&config.link, ids);
        let thread = std::thread::Builder::new()
            .name("transactions".into())
            .spawn(move || run(&mut coordination, &mut coordinators, &queue, &tell))?;
        Ok(Self { steps: Some(steps), done, open: 0, thread: Some(thread) })
    }

    pub(super) fn send(&mut self, shard: usize, step: Step, places: Vec<Place>) {
        if let Some(steps) = &self.steps {
            // The thread ends only when this end is dropped.
            let _ = steps.send((shard, step, places));
            self.open += 1;
        }
    }
}

impl Drop for TransactionTask {
    fn drop(&mut self) {
        self.steps = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(
    coordination: &mut Coordination,
    coordinators: &mut Coordinators,
    steps: &Receiver<Asked>,
    tell: &Sender<(usize, Done)>,
) {
    loop {
        let now = clock::now();
        let wait = coordination.poll_timeout().map_or(NAP, |at_us| clock::until(now, at_us).min(NAP));
        match steps.recv_timeout(wait) {
            Ok((shard, step, places)) => coordination.handle(shard, step, places),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some(todo) = coordination.poll(clock::now()) {
            if let Err(error) = coordinators.carry_out(coordination, todo) {
                match error.is_passing() {
                    true => coordination.on_failed(clock::now()),
                    false => coordination.on_refused(error.to_string()),
                }
                tracing::debug!(%error, "asking a coordinator of the target");
            }
            while let Some(done) = coordination.poll_done() {
                // Who waited may be gone.
                let _ = tell.send(done);
            }
        }
    }
}

/// The target's coordinators, by the key type and the key that they are responsible for.
struct Coordinators {
    admin: Admin,
    known: BTreeMap<(i8, String), i32>,
    /// What gaps were last filled with.
    seeds: Option<SeedBatch>,
}

impl Coordinators {
    /// Asks, and hands the answer in. An error is no answer.
    fn carry_out(&mut self, coordination: &mut Coordination, todo: Todo) -> Result<(), AdminError> {
        if let Todo::Append { producer, topic, partition, base_sequence, records } = &todo {
            let code = self.append(producer, topic, *partition, *base_sequence, *records)?;
            coordination.on_done(clock::now(), code);
            return Ok(());
        }
        let key = match &todo {
            Todo::Init { transactional_id } => (TRANSACTION_KEY, transactional_id.clone()),
            Todo::Positions { group } | Todo::CommitPositions { group, .. } => (GROUP_KEY, group.clone()),
            Todo::AddPartitions { producer, .. }
            | Todo::AddGroup { producer, .. }
            | Todo::End { producer, .. }
            | Todo::Append { producer, .. } => (TRANSACTION_KEY, producer.transactional_id.clone()),
        };
        let broker = self.coordinator(&key)?;
        let answered = self.ask(broker, coordination, todo);
        // It may have moved.
        if !matches!(answered, Ok(0)) {
            self.known.remove(&key);
        }
        answered.map(drop)
    }

    /// Returns the answer's error code, which is handed in.
    fn ask(&mut self, broker: i32, coordination: &mut Coordination, todo: Todo) -> Result<i16, AdminError> {
        if let Todo::AddPartitions { producer, partitions } = todo {
            let codes = self.join(broker, &producer, partitions)?;
            coordination.on_joined(clock::now(), &codes);
            return Ok(codes.values().copied().find(|&code| code != 0).unwrap_or(0));
        }
        let client = self.admin.client();
        match todo {
            Todo::Init { transactional_id } => {
                let (code, producer) =
                    coordinators::init(client, broker, &transactional_id, TRANSACTION_TIMEOUT_MS)?;
                coordination.on_producer(clock::now(), code, producer.id, producer.epoch);
                Ok(code)
            }
            Todo::Positions { group } => {
                let (code, positions) = self.positions(broker, &group)?;
                coordination.on_positions(clock::now(), code, &positions);
                Ok(code)
            }
            Todo::AddGroup { producer, group } => {
                let (min, max) = ADD_OFFSETS;
                let answer = client.call(broker, min, max, |_| {
                    AddOffsetsToTxnRequest::default()
                        .with_transactional_id(id(&producer.transactional_id))
                        .with_producer_id(ProducerId(producer.id))
                        .with_producer_epoch(producer.epoch)
                        .with_group_id(group_id(&group))
                })?;
                coordination.on_done(clock::now(), answer.error_code);
                Ok(answer.error_code)
            }
            Todo::CommitPositions { producer, group, positions } => {
                let code = self.commit_positions(broker, &producer, &group, positions)?;
                coordination.on_done(clock::now(), code);
                Ok(code)
            }
            Todo::End { producer, commits } => {
                let code = coordinators::end(client, broker, &producer, commits)?;
                coordination.on_done(clock::now(), code);
                Ok(code)
            }
            // Done before, and not a coordinator's.
            Todo::AddPartitions { .. } | Todo::Append { .. } => Ok(0),
        }
    }

    /// Makes partitions part of the producer's transaction.
    fn join(
        &mut self,
        broker: i32,
        producer: &Producer,
        partitions: Vec<(Arc<str>, i32)>,
    ) -> Result<BTreeMap<(Arc<str>, i32), i16>, AdminError> {
        let on_wire =
            |(topic, partition): (Arc<str>, i32)| (Arc::from(self.admin.on_wire(&topic).as_str()), partition);
        let partitions: Vec<(Arc<str>, i32)> = partitions.into_iter().map(on_wire).collect();
        let codes = coordinators::join(self.admin.client(), broker, producer, partitions)?;
        let in_link = |((name, partition), code): ((Arc<str>, i32), i16)| {
            Some(((self.admin.in_link(&name)?.into(), partition), code))
        };
        Ok(codes.into_iter().filter_map(in_link).collect())
    }

    /// Empty records, for the partition's leader.
    fn append(
        &mut self,
        producer: &Producer,
        topic: &str,
        partition: i32,
        base_sequence: i32,
        records: i32,
    ) -> Result<i16, AdminError> {
        let stamp = Stamp {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence,
            is_transactional: true,
        };
        let known = self.seeds.take().filter(|seeds| seeds.header.record_count == records);
        let seeds = known.map_or_else(|| SeedBatch::new(records, clock::now().wall_ms), Ok);
        let seeds = seeds.map_err(|_| AdminError::Missing("the memory for records that fill a gap"))?;
        let batch = seeds.stamped(stamp);
        self.seeds = Some(seeds);
        let leader = self.admin.leader(topic, usize::try_from(partition).unwrap_or(usize::MAX))?;
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
        let data =
            TopicProduceData::default().with_name(self.admin.on_wire(topic)).with_partition_data(vec![data]);
        let (min, max) = PRODUCE;
        let answer = self.admin.client().call(leader, min, max, |_| {
            ProduceRequest::default()
                .with_transactional_id(Some(id(&producer.transactional_id)))
                .with_acks(ALL_REPLICAS)
                .with_timeout_ms(PRODUCE_TIMEOUT_MS)
                .with_topic_data(vec![data])
        });
        let answer = self.admin.noted(answer)?;
        let code = answer.responses.first().and_then(|topic| topic.partition_responses.first());
        let code = code.ok_or(AdminError::Missing("what became of records that fill a gap"))?.error_code;
        // The leader may have moved.
        let _ = self.admin.note(check(code, "filling a gap"));
        Ok(code)
    }

    fn positions(&mut self, broker: i32, group: &str) -> Result<(i16, Vec<Position>), AdminError> {
        let (min, max) = OFFSET_FETCH;
        let answer = self.admin.client().call(broker, min, max, |version| {
            let request =
                OffsetFetchRequest::default().with_require_stable(version >= OFFSET_FETCH_STABLE_MIN);
            if version < OFFSET_FETCH_GROUPS_MIN {
                return request.with_group_id(group_id(group)).with_topics(None);
            }
            let group = OffsetFetchRequestGroup::default()
                .with_group_id(group_id(group))
                .with_member_epoch(-1)
                .with_topics(None);
            request.with_groups(vec![group])
        })?;
        let mut code = answer.error_code;
        let mut positions = Vec::new();
        let mut take = |topic: &TopicName, partition: i32, offset, metadata: Option<&StrBytes>, refused| {
            code = if code == 0 { refused } else { code };
            let metadata = metadata.map(ToString::to_string).unwrap_or_default();
            let Some(topic) = self.admin.in_link(topic) else { return };
            positions.push(Position { topic: topic.into(), partition, source_offset: offset, metadata });
        };
        for topic in &answer.topics {
            for at in &topic.partitions {
                let metadata = at.metadata.as_ref();
                take(&topic.name, at.partition_index, at.committed_offset, metadata, at.error_code);
            }
        }
        for topic in answer.groups.iter().flat_map(|group| &group.topics) {
            for at in &topic.partitions {
                let metadata = at.metadata.as_ref();
                take(&topic.name, at.partition_index, at.committed_offset, metadata, at.error_code);
            }
        }
        let of_group = answer.groups.iter().map(|group| group.error_code).find(|&code| code != 0);
        // A group that nobody ever committed to is not there, which is no error here.
        Ok(match of_group.unwrap_or(code) {
            GROUP_ID_NOT_FOUND => (0, Vec::new()),
            code => (code, positions),
        })
    }

    fn commit_positions(
        &mut self,
        broker: i32,
        producer: &Producer,
        group: &str,
        positions: Vec<Position>,
    ) -> Result<i16, AdminError> {
        let mut topics: BTreeMap<Arc<str>, Vec<TxnOffsetCommitRequestPartition>> = BTreeMap::new();
        for position in positions {
            topics.entry(position.topic).or_default().push(
                TxnOffsetCommitRequestPartition::default()
                    .with_partition_index(position.partition)
                    .with_committed_offset(position.source_offset)
                    .with_committed_metadata(Some(StrBytes::from_string(position.metadata))),
            );
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            TxnOffsetCommitRequestTopic::default()
                .with_name(self.admin.on_wire(&topic))
                .with_partitions(partitions)
        });
        let topics = topics.collect();
        let (min, max) = TXN_OFFSET_COMMIT;
        let answer = self.admin.client().call(broker, min, max, |_| {
            TxnOffsetCommitRequest::default()
                .with_transactional_id(id(&producer.transactional_id))
                .with_group_id(group_id(group))
                .with_producer_id(ProducerId(producer.id))
                .with_producer_epoch(producer.epoch)
                .with_topics(topics)
        })?;
        let codes = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|at| at.error_code);
        Ok(codes.into_iter().find(|&code| code != 0).unwrap_or(0))
    }

    fn coordinator(&mut self, key: &(i8, String)) -> Result<i32, AdminError> {
        if let Some(&broker) = self.known.get(key) {
            return Ok(broker);
        }
        self.admin.observe()?;
        let broker =
            coordinators::find(&mut self.admin, key.0, &key.1, "looking for a coordinator of the target")?;
        self.known.insert(key.clone(), broker);
        Ok(broker)
    }
}

fn group_id(group: &str) -> GroupId {
    GroupId(StrBytes::from_string(group.to_owned()))
}
