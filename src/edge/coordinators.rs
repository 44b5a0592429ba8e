//! What coordinators are asked for transactions: by control, and by a load that has some.

use super::admin::{Admin, AdminError, check};
use super::client::{ANY_BROKER, ClientError, ClusterClient};
use crate::control::transactions::Producer;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, FindCoordinatorRequest, InitProducerIdRequest, ProducerId,
    TopicName, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) const GROUP_KEY: i8 = 0;
pub(super) const TRANSACTION_KEY: i8 = 1;
const FIND_COORDINATOR: (i16, i16) = (1, 4);
/// From here on the answer is a list (KIP-699).
const FIND_COORDINATORS_MIN: i16 = 4;
const INIT_PRODUCER_ID: (i16, i16) = (1, 4);
/// Later versions are for brokers.
const ADD_PARTITIONS: (i16, i16) = (0, 3);
/// Later versions belong to transactions that end with a new epoch each (KIP-890).
const END_TXN: (i16, i16) = (0, 3);

/// The broker that answers for a key. `what` it is for stands in the error.
pub(super) fn find(admin: &mut Admin, key_type: i8, key: &str, what: &str) -> Result<i32, AdminError> {
    let (min, max) = FIND_COORDINATOR;
    let key = StrBytes::from_string(key.to_owned());
    let answer = admin.client().call(ANY_BROKER, min, max, |version| {
        let request = FindCoordinatorRequest::default().with_key_type(key_type);
        match version >= FIND_COORDINATORS_MIN {
            true => request.with_coordinator_keys(vec![key]),
            false => request.with_key(key),
        }
    })?;
    let (code, broker) = match answer.coordinators.first() {
        Some(found) => (found.error_code, found.node_id.0),
        None => (answer.error_code, answer.node_id.0),
    };
    check(code, what)?;
    Ok(broker)
}

/// Shuts out whoever had the transactional id before. Returns the error code, and the producer if that is 0.
pub(super) fn init(
    client: &mut ClusterClient,
    broker: i32,
    transactional_id: &str,
    timeout_ms: i32,
) -> Result<(i16, Producer), ClientError> {
    let (min, max) = INIT_PRODUCER_ID;
    let answer = client.call(broker, min, max, |_| {
        InitProducerIdRequest::default()
            .with_transactional_id(Some(id(transactional_id)))
            .with_transaction_timeout_ms(timeout_ms)
    })?;
    let producer = Producer {
        transactional_id: transactional_id.to_owned(),
        id: answer.producer_id.0,
        epoch: answer.producer_epoch,
    };
    Ok((answer.error_code, producer))
}

/// Makes partitions part of the producer's transaction. Returns the error code of each.
pub(super) fn join(
    client: &mut ClusterClient,
    broker: i32,
    producer: &Producer,
    partitions: impl IntoIterator<Item = (Arc<str>, i32)>,
) -> Result<BTreeMap<(Arc<str>, i32), i16>, ClientError> {
    let mut topics: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(partition);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        AddPartitionsToTxnTopic::default().with_name(topic_name(&topic)).with_partitions(partitions)
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
    Ok(codes)
}

/// Ends the producer's transaction. Returns the error code.
pub(super) fn end(
    client: &mut ClusterClient,
    broker: i32,
    producer: &Producer,
    commits: bool,
) -> Result<i16, ClientError> {
    let (min, max) = END_TXN;
    let answer = client.call(broker, min, max, |_| {
        EndTxnRequest::default()
            .with_transactional_id(id(&producer.transactional_id))
            .with_producer_id(ProducerId(producer.id))
            .with_producer_epoch(producer.epoch)
            .with_committed(commits)
    })?;
    Ok(answer.error_code)
}

pub(super) fn id(transactional_id: &str) -> TransactionalId {
    TransactionalId(StrBytes::from_string(transactional_id.to_owned()))
}

pub(super) fn topic_name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}
