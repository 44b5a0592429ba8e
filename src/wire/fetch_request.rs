//! A Fetch request, encoded by hand: it is sent once for every answer, with up to thousands of partitions.

use super::TopicKey;
use super::cursor::{put_length, put_string};
use super::fetch::{BATCHES_MIN, VERSIONS, WHOLE_MIN};
use super::frame::SIZE_BYTES;
use bytes::{BufMut, BytesMut};

const FETCH_KEY: i16 = 1;

/// What to ask a broker for. The fields that `version` does not have are left out.
#[derive(Clone, Copy, Debug)]
pub struct FetchRequest<'a> {
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: &'a str,
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    /// Since version 3.
    pub max_bytes: i32,
    /// Since version 4. 0 read_uncommitted, 1 read_committed: up to the last stable offset, with the list of aborted transactions.
    pub isolation: u8,
    /// Incremental fetch session (KIP-227), since version 7: id 0 with epoch 0 asks for a new one, epoch -1 for none.
    pub session_id: i32,
    pub session_epoch: i32,
    /// Consecutive partitions of one topic are sent as one topic.
    pub partitions: &'a [FetchPartition],
    /// Partitions to take out of the session, since version 7.
    pub forgotten: &'a [(TopicKey, i32)],
    /// Since version 11 (KIP-392); empty for none.
    pub rack: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    /// By id since version 13, by name before.
    pub topic: TopicKey,
    pub partition: i32,
    /// -1: do not check. Since version 9 (KIP-320).
    pub current_leader_epoch: i32,
    pub fetch_offset: i64,
    /// -1: unknown. Since version 12 (KIP-595).
    pub last_fetched_epoch: i32,
    /// -1 for whoever is not a replica. Since version 5.
    pub log_start_offset: i64,
    pub partition_max_bytes: i32,
}

impl FetchRequest<'_> {
    /// Appends the request with its size prefix.
    ///
    /// # Panics
    /// For a version outside [`VERSIONS`], a topic not keyed as the version wants it, and a client id or rack beyond 32,767
    /// bytes.
    pub fn encode(&self, out: &mut BytesMut) {
        let (version, flexible) = (self.version, self.version >= 12);
        assert!(VERSIONS.contains(&version), "Fetch version {version} is not spoken here");
        let start = out.len();
        out.put_i32(0);
        out.put_i16(FETCH_KEY);
        out.put_i16(version);
        out.put_i32(self.correlation_id);
        put_string(out, self.client_id.as_bytes(), false);
        put_no_tags(out, flexible);

        out.put_i32(-1); // replica id: a consumer
        out.put_i32(self.max_wait_ms);
        out.put_i32(self.min_bytes);
        if version >= WHOLE_MIN {
            out.put_i32(self.max_bytes);
        }
        if version >= BATCHES_MIN {
            out.put_u8(self.isolation);
        }
        if version >= 7 {
            out.put_i32(self.session_id);
            out.put_i32(self.session_epoch);
        }
        self.put_topics(out, self.partitions, |partition| &partition.topic, Self::put_partition);
        if version >= 7 {
            self.put_topics(
                out,
                self.forgotten,
                |(topic, _)| topic,
                |_, out, (_, partition)| out.put_i32(*partition),
            );
        }
        if version >= 11 {
            put_string(out, self.rack.as_bytes(), flexible);
        }
        put_no_tags(out, flexible);

        let size = i32::try_from(out.len() - start - SIZE_BYTES).expect("a request fits in 31 bits");
        out[start..start + SIZE_BYTES].copy_from_slice(&size.to_be_bytes());
    }

    fn put_topics<T>(
        &self,
        out: &mut BytesMut,
        items: &[T],
        topic_of: impl Fn(&T) -> &TopicKey,
        put: impl Fn(&Self, &mut BytesMut, &T),
    ) {
        let flexible = self.version >= 12;
        let topics = || items.chunk_by(|a, b| topic_of(a) == topic_of(b));
        put_length(out, topics().count(), flexible);
        for of_topic in topics() {
            let topic = topic_of(&of_topic[0]);
            assert_eq!(topic.is_id(), self.version >= 13, "topics have ids since Fetch version 13");
            topic.put(out, flexible);
            put_length(out, of_topic.len(), flexible);
            of_topic.iter().for_each(|item| put(self, out, item));
            put_no_tags(out, flexible);
        }
    }

    fn put_partition(&self, out: &mut BytesMut, partition: &FetchPartition) {
        out.put_i32(partition.partition);
        if self.version >= 9 {
            out.put_i32(partition.current_leader_epoch);
        }
        out.put_i64(partition.fetch_offset);
        if self.version >= 12 {
            out.put_i32(partition.last_fetched_epoch);
        }
        if self.version >= 5 {
            out.put_i64(partition.log_start_offset);
        }
        out.put_i32(partition.partition_max_bytes);
        put_no_tags(out, self.version >= 12);
    }
}

fn put_no_tags(out: &mut BytesMut, flexible: bool) {
    if flexible {
        out.put_u8(0);
    }
}
