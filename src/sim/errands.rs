//! The ledger's requests as control sends them, and what it makes of the answers.

use crate::control::ledger::{self, Todo, decode_batches};
use crate::shard::{LaneId, Side};
use crate::sim::control::{LINK, answer, request_frame};
use crate::sim::world::{Broken, World};
use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, InitProducerIdRequest, InitProducerIdResponse, ProduceRequest,
    ProduceResponse, ProducerId, TopicName, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

const FETCH_VERSION: i16 = 12;
const INIT_PRODUCER_ID_VERSION: i16 = 4;
const PRODUCE_VERSION: i16 = 9;

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    Read {
        from: i64,
    },
    Claim,
    Allocate,
    Append,
    /// Deletes what the source has no more; not the ledger's affair.
    Trim {
        lane: LaneId,
        offset: i64,
    },
    // Of transactions, see `transactions.rs`.
    Producer,
    Positions,
    AddPartitions,
    AddGroup,
    CommitPositions,
    EndTransaction,
    AppendToGap,
}

impl Errand {
    pub(super) fn is_of_transaction(self) -> bool {
        match self {
            Self::Producer
            | Self::Positions
            | Self::AddPartitions
            | Self::AddGroup
            | Self::CommitPositions
            | Self::EndTransaction
            | Self::AppendToGap => true,
            Self::Read { .. } | Self::Claim | Self::Allocate | Self::Append | Self::Trim { .. } => false,
        }
    }
}

impl World {
    /// Sends what the ledger wants sent.
    pub(super) fn ask_for_ledger(&mut self, index: usize, todo: Todo) {
        let any_node = self.target.nodes_up().first().copied();
        let leader = self.state_leader(index);
        let (errand, node, frame) = match todo {
            Todo::Read { from, .. } => (Errand::Read { from }, leader, fetch_frame(from)),
            Todo::Claim => {
                (Errand::Claim, any_node, init_producer_id_frame(Some(ledger::transactional_id(LINK))))
            }
            Todo::Allocate => (Errand::Allocate, any_node, init_producer_id_frame(None)),
            Todo::Append(append) => (Errand::Append, leader, produce_frame(append.batch)),
        };
        let Some(node) = node else {
            self.instances[index].ledger.on_failed();
            self.look_again(index);
            return;
        };
        if errand != Errand::Append {
            self.trace(|| format!("control of instance {index}: {errand:?} at node {node}"));
        }
        let call = self.call(index, Side::Target, node, errand, frame);
        self.instances[index].call = Some(call);
    }

    /// A call has ended, with an answer or without.
    pub(super) fn errand_done(
        &mut self,
        index: usize,
        errand: Errand,
        frame: Option<Bytes>,
    ) -> Result<(), Broken> {
        if errand.is_of_transaction() {
            self.coordinator_answered(index, errand, frame);
            return Ok(());
        }
        if let Errand::Trim { lane, offset } = errand {
            self.trimmed(index, lane, offset, frame);
            return self.control(index);
        }
        let settled = frame.and_then(|frame| self.take_answer(index, errand, frame));
        if settled != Some(true) {
            self.instances[index].ledger.on_failed();
            self.look_again(index);
        }
        self.control(index)
    }

    /// Whether the answer got the ledger any further; None if it cannot be read.
    fn take_answer(&mut self, index: usize, errand: Errand, frame: Bytes) -> Option<bool> {
        let now = self.now();
        let ledger = &mut self.instances[index].ledger;
        match errand {
            Errand::Claim | Errand::Allocate => {
                let answer: InitProducerIdResponse = answer(INIT_PRODUCER_ID_VERSION, frame)?;
                if answer.error_code != 0 {
                    return Some(false);
                }
                match errand {
                    Errand::Claim => ledger.on_claimed(answer.producer_id.0, answer.producer_epoch),
                    _ => ledger.on_allocated(answer.producer_id.0, answer.producer_epoch),
                }
            }
            Errand::Read { from } => {
                let answer: FetchResponse = answer(FETCH_VERSION, frame)?;
                let partition = answer.responses.first()?.partitions.first()?;
                if partition.error_code != 0 {
                    return Some(false);
                }
                let records = partition.records.clone().unwrap_or_default();
                let (records, end) = decode_batches(from, records).ok()?;
                ledger.on_read(now, &records, end, end >= partition.high_watermark);
            }
            Errand::Trim { .. } => return None,
            Errand::Append => {
                let answer: ProduceResponse = answer(PRODUCE_VERSION, frame)?;
                let partition = answer.responses.first()?.partition_responses.first()?;
                match partition.error_code {
                    0 => ledger.on_appended(now, partition.base_offset),
                    code => return Some(ledger.on_refused(code)),
                }
            }
            _ => return None,
        }
        Some(true)
    }
}

fn state_topic() -> TopicName {
    TopicName(StrBytes::from_string(ledger::state_topic(LINK)))
}

fn fetch_frame(from: i64) -> Bytes {
    let partition = FetchPartition::default().with_fetch_offset(from).with_partition_max_bytes(1 << 20);
    let request = FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(0)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![FetchTopic::default().with_topic(state_topic()).with_partitions(vec![partition])]);
    request_frame(&request, FETCH_VERSION)
}

fn init_producer_id_frame(transactional_id: Option<String>) -> Bytes {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(transactional_id.map(|id| TransactionalId(StrBytes::from_string(id))))
        .with_transaction_timeout_ms(60_000)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    request_frame(&request, INIT_PRODUCER_ID_VERSION)
}

fn produce_frame(batch: Bytes) -> Bytes {
    let partition = PartitionProduceData::default().with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(state_topic()).with_partition_data(vec![partition]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(800).with_topic_data(vec![topic]);
    request_frame(&request, PRODUCE_VERSION)
}
