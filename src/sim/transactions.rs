//! The requests for transactions as control sends them, and what it makes of the answers.

use crate::control::transactions::{Coordination, Done, Place, Position, Producer, Step, Todo};
use crate::shard::{Command, Side};
use crate::sim::control::{answer, request_frame};
use crate::sim::errands::Errand;
use crate::sim::pump;
use crate::sim::world::{Moment, World};
use crate::wire::batch::Stamp;
use crate::wire::seed::SeedBatch;
use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    EndTxnRequest, EndTxnResponse, GroupId, InitProducerIdRequest, InitProducerIdResponse,
    OffsetFetchRequest, OffsetFetchResponse, ProduceRequest, ProduceResponse, ProducerId, TopicName,
    TransactionalId, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};
use kafka_protocol::protocol::StrBytes;
use std::sync::Arc;

const INIT_PRODUCER_ID: i16 = 4;
const OFFSET_FETCH: i16 = 8;
/// Of the requests that belong to a transaction.
const IN_TRANSACTION: i16 = 3;
/// The coordinator gives a transaction up after this time.
const TRANSACTION_TIMEOUT_MS: i32 = 10_000;
const PRODUCE: i16 = 9;
const GROUP_ID_NOT_FOUND: i16 = 69;

impl World {
    pub(super) fn take_step(&mut self, index: usize, shard: usize, step: Step) {
        let places = step.lanes().into_iter().filter_map(|lane| {
            let partition = self.reference.partitions.get(lane.0 as usize)?;
            let topic_id = self.instances[index].target_topic_id(&partition.topic)?;
            Some(Place {
                lane,
                topic: Arc::clone(&partition.topic),
                partition: partition.partition,
                topic_id,
            })
        });
        let places = places.collect();
        if let Some(coordination) = self.instances[index].coordination.as_mut() {
            coordination.handle(shard, step, places);
        }
    }

    /// Asks what there is to ask, and passes on what came of it; a claim when its producer id is published.
    pub(super) fn drive_transactions(&mut self, index: usize) {
        let now = self.now();
        let instance = &mut self.instances[index];
        let Some(coordination) = instance.coordination.as_mut() else { return };
        while let Some(done) = coordination.poll_done() {
            instance.transactions_done.push(done);
        }
        let mut told = Vec::new();
        let ledger = &mut instance.ledger;
        instance.transactions_done.retain(|(shard, done)| {
            let is_told = done.to_publish().is_none_or(|producer_id| ledger.publish(producer_id));
            if is_told {
                told.push((*shard, done.clone()));
            }
            !is_told
        });
        if instance.transaction_call.is_none()
            && let Some(todo) = coordination.poll(now)
        {
            self.ask_coordinator(index, todo);
        }
        let instance = &mut self.instances[index];
        let due_us = instance.coordination.as_ref().and_then(Coordination::poll_timeout);
        let due_us = due_us
            .filter(|_| instance.transaction_call.is_none())
            .map(|at_us| at_us.max(now.mono_us + 1_000));
        // One look is enough for one moment.
        if let Some(due_us) = due_us.filter(|&due_us| instance.transactions_due_us != due_us) {
            instance.transactions_due_us = due_us;
            self.schedule(due_us, Moment::Control(index));
        }
        for (shard, done) in told {
            self.trace(|| format!("transaction of shard {shard} of instance {index}: {done:?}"));
            let command = match done {
                Done::Transaction(done) => Command::Transaction(done),
                Done::Gaps(done) => Command::Gaps(done),
            };
            self.command(pump::Place { instance: index, shard }, command);
        }
    }

    fn ask_coordinator(&mut self, index: usize, todo: Todo) {
        self.trace(|| format!("control of instance {index}: {todo:?}"));
        // Whichever broker is up coordinates.
        let node = match &todo {
            Todo::Append { topic, partition, .. } => self.instances[index].target_leader(topic, *partition),
            _ => self.target.nodes_up().first().copied(),
        };
        let wall_ms = self.now().wall_ms;
        let (errand, frame) = frame(todo, wall_ms);
        match node {
            Some(node) => {
                let call = self.call(index, Side::Target, node, errand, frame);
                self.instances[index].transaction_call = Some(call);
            }
            None => self.coordinator_answered(index, errand, None),
        }
    }

    /// A call to a coordinator has ended, with an answer or without.
    pub(super) fn coordinator_answered(&mut self, index: usize, errand: Errand, frame: Option<Bytes>) {
        let now = self.now();
        let Some(coordination) = self.instances[index].coordination.as_mut() else { return };
        let answered = frame.and_then(|frame| {
            match errand {
                Errand::Producer => {
                    let answer: InitProducerIdResponse = answer(INIT_PRODUCER_ID, frame)?;
                    coordination.on_producer(
                        now,
                        answer.error_code,
                        answer.producer_id.0,
                        answer.producer_epoch,
                    );
                }
                Errand::Positions => {
                    let answer: OffsetFetchResponse = answer(OFFSET_FETCH, frame)?;
                    let (code, positions) = positions(&answer)?;
                    coordination.on_positions(now, code, &positions);
                }
                Errand::AddPartitions => {
                    let answer: AddPartitionsToTxnResponse = answer(IN_TRANSACTION, frame)?;
                    let codes = answer.results_by_topic_v3_and_below.iter().flat_map(|topic| {
                        let name: Arc<str> = Arc::from(topic.name.as_str());
                        topic.results_by_partition.iter().map(move |partition| {
                            ((Arc::clone(&name), partition.partition_index), partition.partition_error_code)
                        })
                    });
                    coordination.on_joined(now, &codes.collect());
                }
                Errand::AddGroup => {
                    let answer: AddOffsetsToTxnResponse = answer(IN_TRANSACTION, frame)?;
                    coordination.on_done(now, answer.error_code);
                }
                Errand::CommitPositions => {
                    let answer: TxnOffsetCommitResponse = answer(IN_TRANSACTION, frame)?;
                    let codes = answer.topics.iter().flat_map(|topic| &topic.partitions);
                    let code = codes.map(|partition| partition.error_code).find(|&code| code != 0);
                    coordination.on_done(now, code.unwrap_or(0));
                }
                Errand::EndTransaction => {
                    let answer: EndTxnResponse = answer(IN_TRANSACTION, frame)?;
                    coordination.on_done(now, answer.error_code);
                }
                Errand::AppendToGap => {
                    let answer: ProduceResponse = answer(PRODUCE, frame)?;
                    let partition = answer.responses.first()?.partition_responses.first()?;
                    coordination.on_done(now, partition.error_code);
                }
                _ => return None,
            }
            Some(())
        });
        if answered.is_none() {
            coordination.on_failed(now);
        }
        self.schedule(self.now_us, Moment::Control(index));
    }
}

fn positions(answer: &OffsetFetchResponse) -> Option<(i16, Vec<Position>)> {
    let group = answer.groups.first()?;
    let mut code = if group.error_code == GROUP_ID_NOT_FOUND { 0 } else { group.error_code };
    let mut positions = Vec::new();
    for topic in &group.topics {
        for partition in &topic.partitions {
            code = if code == 0 { partition.error_code } else { code };
            positions.push(Position {
                topic: Arc::from(topic.name.as_str()),
                partition: partition.partition_index,
                source_offset: partition.committed_offset,
                metadata: partition.metadata.as_ref().map(ToString::to_string).unwrap_or_default(),
            });
        }
    }
    Some((code, positions))
}

fn frame(todo: Todo, wall_ms: i64) -> (Errand, Bytes) {
    let id = |producer: &Producer| TransactionalId(StrBytes::from_string(producer.transactional_id.clone()));
    let group_id = |group: String| GroupId(StrBytes::from_string(group));
    let topic_name = |topic: &str| TopicName(StrBytes::from_string(topic.to_owned()));
    match todo {
        Todo::Init { transactional_id } => {
            let request = InitProducerIdRequest::default()
                .with_transactional_id(Some(TransactionalId(StrBytes::from_string(transactional_id))))
                .with_transaction_timeout_ms(TRANSACTION_TIMEOUT_MS)
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1);
            (Errand::Producer, request_frame(&request, INIT_PRODUCER_ID))
        }
        Todo::Positions { group } => {
            let group = OffsetFetchRequestGroup::default().with_group_id(group_id(group)).with_topics(None);
            let request = OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(true);
            (Errand::Positions, request_frame(&request, OFFSET_FETCH))
        }
        Todo::AddPartitions { producer, partitions } => {
            let topics = partitions.iter().map(|(topic, partition)| {
                AddPartitionsToTxnTopic::default()
                    .with_name(topic_name(topic))
                    .with_partitions(vec![*partition])
            });
            let request = AddPartitionsToTxnRequest::default()
                .with_v3_and_below_transactional_id(id(&producer))
                .with_v3_and_below_producer_id(ProducerId(producer.id))
                .with_v3_and_below_producer_epoch(producer.epoch)
                .with_v3_and_below_topics(topics.collect());
            (Errand::AddPartitions, request_frame(&request, IN_TRANSACTION))
        }
        Todo::AddGroup { producer, group } => {
            let request = AddOffsetsToTxnRequest::default()
                .with_transactional_id(id(&producer))
                .with_producer_id(ProducerId(producer.id))
                .with_producer_epoch(producer.epoch)
                .with_group_id(group_id(group));
            (Errand::AddGroup, request_frame(&request, IN_TRANSACTION))
        }
        Todo::CommitPositions { producer, group, positions } => {
            let topics = positions.into_iter().map(|position| {
                let partition = TxnOffsetCommitRequestPartition::default()
                    .with_partition_index(position.partition)
                    .with_committed_offset(position.source_offset)
                    .with_committed_metadata(Some(StrBytes::from_string(position.metadata)));
                TxnOffsetCommitRequestTopic::default()
                    .with_name(topic_name(&position.topic))
                    .with_partitions(vec![partition])
            });
            let request = TxnOffsetCommitRequest::default()
                .with_transactional_id(id(&producer))
                .with_group_id(group_id(group))
                .with_producer_id(ProducerId(producer.id))
                .with_producer_epoch(producer.epoch)
                .with_topics(topics.collect());
            (Errand::CommitPositions, request_frame(&request, IN_TRANSACTION))
        }
        Todo::End { producer, commits } => {
            let request = EndTxnRequest::default()
                .with_transactional_id(id(&producer))
                .with_producer_id(ProducerId(producer.id))
                .with_producer_epoch(producer.epoch)
                .with_committed(commits);
            (Errand::EndTransaction, request_frame(&request, IN_TRANSACTION))
        }
        Todo::Append { producer, topic, partition, base_sequence, records } => {
            let stamp = Stamp {
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                base_sequence,
                is_transactional: true,
            };
            let seeds = SeedBatch::new(records, wall_ms).expect("there is memory");
            let data = PartitionProduceData::default()
                .with_index(partition)
                .with_records(Some(seeds.stamped(stamp)));
            let topic =
                TopicProduceData::default().with_name(topic_name(&topic)).with_partition_data(vec![data]);
            let request = ProduceRequest::default()
                .with_transactional_id(Some(id(&producer)))
                .with_acks(-1)
                .with_timeout_ms(800)
                .with_topic_data(vec![topic]);
            (Errand::AppendToGap, request_frame(&request, PRODUCE))
        }
    }
}
