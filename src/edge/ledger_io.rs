//! Does what the ledger asks for: reads and writes the link's state topic, and takes the lock.

use super::admin::{Admin, AdminError, check};
use super::client::ANY_BROKER;
use super::clock;
use super::coordinators::{self, TRANSACTION_KEY, topic_name};
use crate::config::share;
use crate::control::ledger::{self, Ledger, Peers, StateRecord, Todo, decode_batches};
use crate::error;
use crate::time::Now;
use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{FetchRequest, InitProducerIdRequest, ProduceRequest};

/// The versions that name topics; of the ones with magic 2 the first.
const PRODUCE: (i16, i16) = (3, 9);
const FETCH: (i16, i16) = (4, 12);
const INIT_PRODUCER_ID: (i16, i16) = (1, 4);
/// The transaction coordinator demands a time-out; the link's lock never opens a transaction.
const TRANSACTION_TIMEOUT_MS: i32 = 60_000;
const READ_BYTES_MAX: i32 = 8 << 20;
const STATE_REPLICATION_MAX: usize = 3;
const PRODUCE_TIMEOUT_MS: i32 = 5_000;

/// Creates a link's state topic, unless it is there.
pub(super) fn create_state_topic(target: &mut Admin, link: &str) -> Result<(), AdminError> {
    let topic = ledger::state_topic(link);
    if target.observed().topics.contains_key(&topic) {
        return Ok(());
    }
    let replication =
        i16::try_from(target.observed().brokers.len().clamp(1, STATE_REPLICATION_MAX)).unwrap_or(1);
    let configs = [
        ("cleanup.policy", "compact"),
        // The ledger reads its own records back before it believes in them.
        ("min.compaction.lag.ms", "60000"),
        ("compression.type", "producer"),
        ("message.timestamp.type", "CreateTime"),
    ];
    let configs = configs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    target.create_topic(&topic, 1, replication, &configs)
}

/// What a small topic's only partition holds from an offset on, once; its name is the cluster's. What the broker says of the
/// partition is for the caller to judge.
pub(super) fn fetch(admin: &mut Admin, topic: &str, from: i64) -> Result<PartitionData, AdminError> {
    let leader = admin.leader(topic, 0)?;
    let partition = FetchPartition::default()
        .with_fetch_offset(from)
        .with_log_start_offset(-1)
        .with_partition_max_bytes(READ_BYTES_MAX);
    let topic = FetchTopic::default().with_topic(topic_name(topic)).with_partitions(vec![partition]);
    let answer = admin.client().call(leader, FETCH.0, FETCH.1, |_| {
        FetchRequest::default()
            .with_max_wait_ms(0)
            .with_min_bytes(0)
            .with_max_bytes(READ_BYTES_MAX)
            .with_session_epoch(-1)
            .with_topics(vec![topic])
    });
    let answer = admin.noted(answer)?;
    let partition = answer.responses.into_iter().next().and_then(|topic| topic.partitions.into_iter().next());
    partition.ok_or_else(|| AdminError::missing("the partition that was to be read"))
}

/// Writes a batch into a small topic's only partition; acknowledged by all replicas that are in sync. What the broker says of the
/// partition is for the caller to judge.
pub(super) fn produce(
    admin: &mut Admin,
    topic: &str,
    batch: Bytes,
) -> Result<PartitionProduceResponse, AdminError> {
    let leader = admin.leader(topic, 0)?;
    let partition = PartitionProduceData::default().with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![partition]);
    let answer = admin.client().call(leader, PRODUCE.0, PRODUCE.1, |_| {
        ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(PRODUCE_TIMEOUT_MS)
            .with_topic_data(vec![topic])
    });
    let answer = admin.noted(answer)?;
    let partition =
        answer.responses.into_iter().next().and_then(|topic| topic.partition_responses.into_iter().next());
    partition.ok_or_else(|| AdminError::missing("the answer for the partition that was written to"))
}

/// A state topic's records from an offset on to the high watermark, and where that is.
pub(super) fn read_state(
    admin: &mut Admin,
    topic: &str,
    from: i64,
) -> Result<(Vec<StateRecord>, i64), AdminError> {
    let mut position = from;
    let (mut records, mut is_end) = (Vec::new(), false);
    while !is_end {
        let partition = fetch(admin, topic, position)?;
        // The log begins after the position when records before it were deleted.
        if partition.error_code == 1 && partition.log_start_offset > position {
            position = partition.log_start_offset;
            continue;
        }
        admin.note(check(partition.error_code, "reading the link's state topic"))?;
        let (read, end) = decode_batches(position, partition.records.unwrap_or_default())
            .map_err(AdminError::Unreadable)?;
        records.extend(read);
        is_end = end >= partition.high_watermark || end == position;
        position = end;
    }
    Ok((records, position))
}

/// What the links have written into their state topics on this cluster since the last look, to its end.
pub(super) fn read_peers(admin: &mut Admin, peers: &mut Peers) -> Result<(), AdminError> {
    let topics = admin.observed().topics.values();
    let is_state = |name: &str| name.starts_with(ledger::STATE_TOPIC_PREFIX);
    let names: Vec<String> = topics
        .filter(|topic| topic.error == 0 && is_state(&topic.name))
        .map(|topic| topic.name.to_string())
        .collect();
    for name in names {
        let from = peers.links.get(&name).map_or(0, |peer| peer.read_to);
        match read_state(admin, &name, from) {
            Ok((records, end)) => peers.links.entry(name).or_default().apply(&records, end),
            Err(error) => {
                // The topic may have been made anew: then it is read from its begin.
                peers.links.remove(&name);
                return Err(error);
            }
        }
    }
    Ok(())
}

/// The names under which the link keeps ledgers on the target: its own, or those of its parts. Empty: it never wrote there.
pub(super) fn ledgers_of(target: &Admin, link: &str) -> Vec<String> {
    let there = target.observed().topics.values().filter(|topic| topic.error == 0);
    let names = there.filter_map(|topic| topic.name.strip_prefix(ledger::STATE_TOPIC_PREFIX));
    let mut found: Vec<(Option<u32>, String)> = names
        .filter_map(|name| match share::part_in(name) {
            Some((whole, part)) => (whole == link).then(|| (Some(part), name.to_owned())),
            None => (name == link).then(|| (None, name.to_owned())),
        })
        .collect();
    found.sort();
    // A link is either whole or divided; if a topic of the other kind was left behind, the whole counts.
    let is_whole = found.first().is_some_and(|(part, _)| part.is_none());
    found.into_iter().take(if is_whole { 1 } else { usize::MAX }).map(|(_, name)| name).collect()
}

/// In how many parts the link is divided, as far as one of them has written that.
pub(super) fn parts_of(target: &mut Admin, link: &str) -> Result<Option<u32>, AdminError> {
    for part in ledgers_of(target, link) {
        let (records, _) = read_state(target, &ledger::state_topic(&part), 0)?;
        if let Some(parts) = records.iter().find_map(ledger::parts_told) {
            return Ok(Some(parts));
        }
    }
    Ok(None)
}

/// The link's memory as it is now, of all its parts together, read without taking a lock. None: the link never wrote to this
/// cluster.
pub(super) fn read_ledger(
    target: &mut Admin,
    link: &str,
    settings: ledger::Settings,
) -> Result<Option<Ledger>, AdminError> {
    let links = ledgers_of(target, link);
    if links.is_empty() {
        return Ok(None);
    }
    let mut records = Vec::new();
    for link in &links {
        records.extend(read_state(target, &ledger::state_topic(link), 0)?.0);
    }
    let parts = records.iter().find_map(ledger::parts_told);
    let mut ledger = Ledger::new(ledger::Settings { parts, ..settings });
    if let Some(Todo::Read { .. }) = ledger.poll(clock::now()) {
        ledger.on_read(clock::now(), &records, 0, true);
    }
    Ok(Some(ledger))
}

/// The state topic of one link, on the target.
pub struct LedgerIo {
    topic: String,
    transactional_id: String,
    coordinator: Option<i32>,
}

impl LedgerIo {
    pub fn new(link: &str) -> Self {
        Self {
            topic: ledger::state_topic(link),
            transactional_id: ledger::transactional_id(link),
            coordinator: None,
        }
    }

    /// One thing that the ledger asked for. An error settles nothing: the ledger will ask for the same again.
    pub fn carry_out(
        &mut self,
        now: impl Fn() -> Now,
        target: &mut Admin,
        ledger: &mut Ledger,
        todo: Todo,
    ) -> Result<(), AdminError> {
        let done = match todo {
            Todo::Read { from, until } => self.read(&now, target, ledger, from, until),
            Todo::Claim => self.claim(target, ledger),
            Todo::Allocate => Self::allocate(target, ledger),
            Todo::Append(append) => self.append(&now, target, ledger, append.batch),
        };
        if done.is_err() {
            ledger.on_failed();
        }
        done
    }

    fn read(
        &self,
        now: impl Fn() -> Now,
        target: &mut Admin,
        ledger: &mut Ledger,
        from: i64,
        until: i64,
    ) -> Result<(), AdminError> {
        let (records, end) = read_state(target, &self.topic, from)?;
        if end < until {
            return Err(AdminError::missing("the end of the state topic, which is not replicated yet"));
        }
        ledger.on_read(now(), &records, end, true);
        Ok(())
    }

    fn claim(&mut self, target: &mut Admin, ledger: &mut Ledger) -> Result<(), AdminError> {
        let coordinator = match self.coordinator {
            Some(coordinator) => coordinator,
            None => coordinators::find(
                target,
                TRANSACTION_KEY,
                &self.transactional_id,
                "looking for the transaction coordinator, which keeps the link's lock",
            )?,
        };
        let id = &self.transactional_id;
        let claimed = coordinators::init(target.client(), coordinator, id, TRANSACTION_TIMEOUT_MS)
            .map_err(AdminError::from)
            .and_then(|(code, lock)| {
                check(code, "taking the link's lock (InitProducerId with its transactional id)")?;
                Ok(lock)
            });
        if claimed.is_err() {
            self.coordinator = None;
        }
        let lock = claimed?;
        self.coordinator = Some(coordinator);
        ledger.on_claimed(lock.id, lock.epoch);
        Ok(())
    }

    fn allocate(target: &mut Admin, ledger: &mut Ledger) -> Result<(), AdminError> {
        let answer = target.client().call(ANY_BROKER, INIT_PRODUCER_ID.0, INIT_PRODUCER_ID.1, |_| {
            // The default is an empty id, not none, and brokers refuse it.
            InitProducerIdRequest::default()
                .with_transactional_id(None)
                .with_transaction_timeout_ms(TRANSACTION_TIMEOUT_MS)
        })?;
        check(answer.error_code, "allocating the link's producer id (InitProducerId)")?;
        ledger.on_allocated(answer.producer_id.0, answer.producer_epoch);
        Ok(())
    }

    fn append(
        &self,
        now: impl Fn() -> Now,
        target: &mut Admin,
        ledger: &mut Ledger,
        batch: Bytes,
    ) -> Result<(), AdminError> {
        let partition = produce(target, &self.topic, batch)?;
        if partition.error_code == 0 {
            ledger.on_appended(now(), partition.base_offset);
            return Ok(());
        }
        if ledger.on_refused(partition.error_code) {
            tracing::debug!(
                error = error::name(partition.error_code),
                "the target refused a record of the ledger"
            );
            return Ok(());
        }
        target.note(check(partition.error_code, "writing the link's state topic"))
    }
}
