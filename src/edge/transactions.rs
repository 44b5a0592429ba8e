//! The thread that asks the target's coordinators for the shards' transactions. Control hands it the shards' steps, and hears
//! what became of them.

use super::admin::{Admin, AdminError, check};
use super::client::ANY_BROKER;
use super::clock;
use crate::config::Mirror;
use crate::control::transactions::{Place, Position, Producer, Todo, Transactor};
use crate::shard::{TransactionDone, TransactionStep};
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, FindCoordinatorRequest, GroupId,
    InitProducerIdRequest, OffsetFetchRequest, ProducerId, TopicName, TransactionalId,
    TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

const FIND_COORDINATOR: (i16, i16) = (1, 4);
/// From here on the answer is a list (KIP-699).
const FIND_COORDINATORS_MIN: i16 = 4;
const GROUP_KEY: i8 = 0;
const TRANSACTION_KEY: i8 = 1;
const INIT_PRODUCER_ID: (i16, i16) = (1, 4);
/// Later versions are for brokers.
const ADD_PARTITIONS: (i16, i16) = (0, 3);
const ADD_OFFSETS: (i16, i16) = (0, 3);
/// Later versions belong to transactions that end with a new epoch each (KIP-890).
const TXN_OFFSET_COMMIT: (i16, i16) = (0, 3);
const END_TXN: (i16, i16) = (0, 3);
/// From 7 on with `require_stable` (KIP-447), which is not needed after InitProducerId, but costs nothing.
const OFFSET_FETCH: (i16, i16) = (2, 9);
const OFFSET_FETCH_GROUPS_MIN: i16 = 8;
const OFFSET_FETCH_STABLE_MIN: i16 = 7;
/// The coordinator aborts what is open for longer: then its shard is gone.
const TRANSACTION_TIMEOUT_MS: i32 = 60_000;
const GROUP_ID_NOT_FOUND: i16 = 69;
/// The longest wait for a step before the thread looks whether it is to end.
const NAP: Duration = Duration::from_millis(500);

type Step = (usize, TransactionStep, Vec<Place>);

/// Seen from control.
pub(super) struct TransactionTask {
    steps: Option<Sender<Step>>,
    pub(super) done: Receiver<(usize, TransactionDone)>,
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
        };
        let mut transactor = Transactor::new(&config.link, ids);
        let thread = std::thread::Builder::new()
            .name("transactions".into())
            .spawn(move || run(&mut transactor, &mut coordinators, &queue, &tell))?;
        Ok(Self { steps: Some(steps), done, open: 0, thread: Some(thread) })
    }

    pub(super) fn send(&mut self, shard: usize, step: TransactionStep, places: Vec<Place>) {
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
    transactor: &mut Transactor,
    coordinators: &mut Coordinators,
    steps: &Receiver<Step>,
    tell: &Sender<(usize, TransactionDone)>,
) {
    loop {
        let now = clock::now();
        let wait = transactor.poll_timeout().map_or(NAP, |at_us| clock::until(now, at_us).min(NAP));
        match steps.recv_timeout(wait) {
            Ok((shard, step, places)) => transactor.handle(shard, step, places),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some(todo) = transactor.poll(clock::now()) {
            if let Err(error) = coordinators.carry_out(transactor, todo) {
                match error.is_passing() {
                    true => transactor.on_failed(clock::now()),
                    false => transactor.on_refused(error.to_string()),
                }
                tracing::debug!(%error, "asking a coordinator of the target");
            }
            while let Some(done) = transactor.poll_done() {
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
}

impl Coordinators {
    /// Asks, and hands the answer in. An error is no answer.
    fn carry_out(&mut self, transactor: &mut Transactor, todo: Todo) -> Result<(), AdminError> {
        let key = match &todo {
            Todo::Init { transactional_id } => (TRANSACTION_KEY, transactional_id.clone()),
            Todo::Positions { group } | Todo::CommitPositions { group, .. } => (GROUP_KEY, group.clone()),
            Todo::AddPartitions { producer, .. }
            | Todo::AddGroup { producer, .. }
            | Todo::End { producer } => (TRANSACTION_KEY, producer.transactional_id.clone()),
        };
        let broker = self.coordinator(&key)?;
        let answered = self.ask(broker, transactor, todo);
        // It may have moved.
        if !matches!(answered, Ok(0)) {
            self.known.remove(&key);
        }
        answered.map(drop)
    }

    /// Returns the answer's error code, which the transactor has been told.
    fn ask(&mut self, broker: i32, transactor: &mut Transactor, todo: Todo) -> Result<i16, AdminError> {
        let client = self.admin.client();
        match todo {
            Todo::Init { transactional_id } => {
                let (min, max) = INIT_PRODUCER_ID;
                let answer = client.call(broker, min, max, |_| {
                    InitProducerIdRequest::default()
                        .with_transactional_id(Some(id(&transactional_id)))
                        .with_transaction_timeout_ms(TRANSACTION_TIMEOUT_MS)
                })?;
                let code = answer.error_code;
                transactor.on_producer(clock::now(), code, answer.producer_id.0, answer.producer_epoch);
                Ok(code)
            }
            Todo::Positions { group } => {
                let (code, positions) = self.positions(broker, &group)?;
                transactor.on_positions(clock::now(), code, &positions);
                Ok(code)
            }
            Todo::AddPartitions { producer, partitions } => {
                let mut topics: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
                for (topic, partition) in partitions {
                    topics.entry(topic).or_default().push(partition);
                }
                let topics = topics.iter().map(|(topic, partitions)| {
                    AddPartitionsToTxnTopic::default()
                        .with_name(topic_name(topic))
                        .with_partitions(partitions.clone())
                });
                let topics = topics.collect();
                let (min, max) = ADD_PARTITIONS;
                let answer = client.call(broker, min, max, |_| {
                    AddPartitionsToTxnRequest::default()
                        .with_v3_and_below_transactional_id(id(&producer.transactional_id))
                        .with_v3_and_below_producer_id(ProducerId(producer.id))
                        .with_v3_and_below_producer_epoch(producer.epoch)
                        .with_v3_and_below_topics(topics)
                })?;
                let mut codes = BTreeMap::new();
                for topic in &answer.results_by_topic_v3_and_below {
                    for partition in &topic.results_by_partition {
                        let place = (Arc::from(topic.name.as_str()), partition.partition_index);
                        codes.insert(place, partition.partition_error_code);
                    }
                }
                transactor.on_joined(clock::now(), &codes);
                Ok(codes.values().copied().find(|&code| code != 0).unwrap_or(0))
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
                transactor.on_done(clock::now(), answer.error_code);
                Ok(answer.error_code)
            }
            Todo::CommitPositions { producer, group, positions } => {
                let code = self.commit_positions(broker, &producer, &group, positions)?;
                transactor.on_done(clock::now(), code);
                Ok(code)
            }
            Todo::End { producer } => {
                let (min, max) = END_TXN;
                let answer = client.call(broker, min, max, |_| {
                    EndTxnRequest::default()
                        .with_transactional_id(id(&producer.transactional_id))
                        .with_producer_id(ProducerId(producer.id))
                        .with_producer_epoch(producer.epoch)
                        .with_committed(true)
                })?;
                transactor.on_done(clock::now(), answer.error_code);
                Ok(answer.error_code)
            }
        }
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
            positions.push(Position {
                topic: Arc::from(topic.as_str()),
                partition,
                source_offset: offset,
                metadata,
            });
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
            TxnOffsetCommitRequestTopic::default().with_name(topic_name(&topic)).with_partitions(partitions)
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
        let (min, max) = FIND_COORDINATOR;
        let name = StrBytes::from_string(key.1.clone());
        let answer = self.admin.client().call(ANY_BROKER, min, max, |version| {
            let request = FindCoordinatorRequest::default().with_key_type(key.0);
            match version >= FIND_COORDINATORS_MIN {
                true => request.with_coordinator_keys(vec![name]),
                false => request.with_key(name),
            }
        })?;
        let (code, broker) = match answer.coordinators.first() {
            Some(found) => (found.error_code, found.node_id.0),
            None => (answer.error_code, answer.node_id.0),
        };
        check(code, "looking for a coordinator of the target")?;
        self.known.insert(key.clone(), broker);
        Ok(broker)
    }
}

fn id(transactional_id: &str) -> TransactionalId {
    TransactionalId(StrBytes::from_string(transactional_id.to_owned()))
}

fn group_id(group: &str) -> GroupId {
    GroupId(StrBytes::from_string(group.to_owned()))
}

fn topic_name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}
