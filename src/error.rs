//! Kafka's error codes and what each means for a mirror: retry, look up the leader, ask for the position, stop the lane.
//!
//! Source: Kafka's `Errors.java`. Codes that a newer broker invents are named `UNKNOWN` and treated with the most caution.

/// To a question for times, of a topic whose records (message format 0) have none.
pub const UNSUPPORTED_FOR_MESSAGE_FORMAT: i16 = 43;

/// This user may not do that with the topic.
pub const TOPIC_AUTHORIZATION_FAILED: i16 = 29;

/// The transaction before is not quite over.
pub const CONCURRENT_TRANSACTIONS: i16 = 51;

/// Why a lane stands still for good. Its text says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    pub kind: StopKind,
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopKind {
    /// A batch that has to be rebuilt (compaction left holes in it) and cannot be.
    Unreadable,
    /// The source's offsets have a gap that is too large to be filled.
    GapTooLarge,
    /// The source lost records that are on the target.
    SourceTruncated,
    /// The source deleted records before they were mirrored.
    SourceDeleted,
    DamagedBatch,
    BatchTooLarge,
    OtherWriter,
    TargetRecreated,
    SourceRecreated,
    Unauthorized,
    TargetRefuses,
    PositionUnknown,
}

/// What a lane does about the error code that came with its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    /// Nothing was written or read; the same may be tried again after a pause.
    Retry,
    /// Nothing was written or read here: the partition's leader, its epoch or its topic id is not what was thought. Read the
    /// metadata, then go on as after a doubt.
    LeaderUnknown,
    /// Produce: it may have been written, or what was assumed about the producer's state is wrong; ask for the position.
    /// Fetch: the offset is not in the log; ask where the log begins and ends.
    Ask,
    /// Produce: the broker found the batch's checksum wrong. It may have been damaged on the way: fetch it again; if the same
    /// batch is refused again, stop with [`StopKind::DamagedBatch`].
    Damaged,
    /// Fetch: the session is gone; begin a new one with a full request.
    SessionLost,
    /// Trying again cannot help until somebody changes something; [`advice`] says what.
    Stop(StopKind),
}

/// What a partition's error code in a Produce answer (acks = -1) means for the lane.
pub fn of_produce(code: i16) -> Verdict {
    match code {
        0 => Verdict::Ok,
        2 => Verdict::Damaged,
        3 | 5 | 6 | 8 | 9 | 72 | 74 | 75 | 80 | 100 | 103 => Verdict::LeaderUnknown,
        // Refused before the append.
        19 | 89 => Verdict::Retry,
        10 | 18 => Verdict::Stop(StopKind::BatchTooLarge),
        29..=31 | 53 | 58 | 65 => Verdict::Stop(StopKind::Unauthorized),
        17 | 21 | 32 | 35 | 42 | 43 | 44 | 76 | 87 => Verdict::Stop(StopKind::TargetRefuses),
        // 7, 13, 20, 56: may have been appended. 45, 46, 47, 59, 90: the producer's state is not what was thought.
        // -1 and whatever is not known: nothing can be assumed.
        _ => Verdict::Ask,
    }
}

/// What an error code of a Fetch answer (a partition's, or the whole answer's) means for the lane.
pub fn of_fetch(code: i16) -> Verdict {
    match code {
        0 => Verdict::Ok,
        1 => Verdict::Ask,
        3 | 5 | 6 | 8 | 9 | 72 | 74 | 75 | 80 | 100 | 103 => Verdict::LeaderUnknown,
        70 | 71 | 106 => Verdict::SessionLost,
        29 | 31 | 58 | 65 => Verdict::Stop(StopKind::Unauthorized),
        // The source cannot read its own log there.
        2 => Verdict::Stop(StopKind::DamagedBatch),
        _ => Verdict::Retry,
    }
}

/// Whether asking the same again may succeed without anybody's help, for requests that only ask or that may be repeated
/// (everything control sends).
pub fn is_retriable(code: i16) -> bool {
    matches!(
        code,
        // -1, not 13 only: brokers answer it in the middle of start and stop.
        -1 | 3
            | 5
            | 6
            | 7
            | 8
            | 9
            | 13
            | 14
            | 15
            | 16
            | 19
            | 20
            | 41
            | 51
            | 56
            | 72
            | 74
            | 75
            | 78
            | 80
            | 89
            | 100
            | 103
    )
}

/// Whether the code says that a newer instance has taken the producer's or the transactional id's place.
pub fn is_fenced(code: i16) -> bool {
    matches!(code, 47 | 90)
}

/// Whether the code says that a transaction, or the producer in whose name it is, is over for the broker (KIP-98, KIP-890).
pub fn breaks_transaction(code: i16) -> bool {
    matches!(code, 45..=49 | 52 | 59 | 90 | 105 | 120)
}

/// Kafka's name of an error code.
pub fn name(code: i16) -> &'static str {
    usize::try_from(code.saturating_add(1)).ok().and_then(|at| NAMES.get(at)).copied().unwrap_or("UNKNOWN")
}

/// What the operator should do about an error code, as a sentence that may follow a colon.
pub fn advice(code: i16) -> &'static str {
    match code {
        -1 => "the broker failed while it handled the request; its server.log says why",
        1 => "the offset is not in the log any more; the records may have been deleted by retention",
        2 => {
            "the batch is damaged; check the disks of the broker that stores it (kafka-dump-log shows where)"
        }
        3 | 100 => "the topic or partition does not exist there, or was just created or deleted",
        5 | 80 | 83 => "the partition has no leader; check that its replicas' brokers are up",
        6 | 74 | 75 => "the leader moved; nothing to do unless it keeps moving",
        7 => "the replicas were too slow or the broker is overloaded",
        10 => {
            "raise max.message.bytes of the topic on the target (or message.max.bytes of its brokers) to the source's value"
        }
        14..=16 => {
            "the coordinator is starting or moving; check that __transaction_state has a leader for every partition"
        }
        17 => "the topic's name is not valid there",
        18 => "raise segment.bytes of the topic on the target: a batch must fit into one segment",
        19 | 20 => {
            "fewer replicas are in sync than min.insync.replicas asks for: start the missing brokers of the target or lower \
             min.insync.replicas of the topic"
        }
        29 => {
            "grant the mirror's principal READ and DESCRIBE_CONFIGS on the source's topics; READ, WRITE, \
             CREATE, ALTER and DESCRIBE_CONFIGS on the target's"
        }
        30 => {
            "grant the mirror's principal DESCRIBE on the groups of the source and READ on those of the target, the group \
             twinlog.<link> included"
        }
        31 => {
            "grant the mirror's principal IDEMPOTENT_WRITE and CREATE on the target cluster, DESCRIBE_CONFIGS on both"
        }
        32 => {
            "the target refuses the records' timestamps: set message.timestamp.before.max.ms and \
             message.timestamp.after.max.ms of the topic there to 9223372036854775807"
        }
        35 => "the broker is too old for this request or too new for this Twinlog",
        37 => "the number of partitions is not valid there",
        38 => "there are not enough brokers for this replication factor: set replication-factor",
        40 => "the target refuses a topic setting copied from the source; its message names the setting",
        41 => "the controller is moving",
        42 => "the broker refuses the request as malformed: please report it with both brokers' versions",
        43 => {
            "the topic's message format on the target is too old: set message.format.version to 2.0 or later"
        }
        44 => {
            "a policy of the target forbids it (create.topic.policy.class.name or \
             alter.config.policy.class.name): create the topic by hand"
        }
        45 | 46 | 59 => "somebody else writes with this link's producer id, or the broker lost its state",
        47 | 90 => "another instance of the link took over",
        53 => {
            "grant the mirror's principal WRITE and DESCRIBE on the transactional ids of the target that begin with \
             twinlog.<link>"
        }
        56 => "a disk of the broker failed or is full: see its server.log",
        58 => "the credentials were refused",
        76 => {
            "the target does not know the batches' compression (zstd needs inter.broker.protocol.version 2.1 or later)"
        }
        87 => {
            "the target refuses the records, for example those without a key on a compacted topic: make \
             cleanup.policy the same on both sides"
        }
        89 => "a quota of the target slows topic creation down (controller_mutation_rate)",
        _ => "see the broker's server.log",
    }
}

/// Names of the codes from -1 on.
const NAMES: &[&str] = &[
    "UNKNOWN_SERVER_ERROR",
    "NONE",
    "OFFSET_OUT_OF_RANGE",
    "CORRUPT_MESSAGE",
    "UNKNOWN_TOPIC_OR_PARTITION",
    "INVALID_FETCH_SIZE",
    "LEADER_NOT_AVAILABLE",
    "NOT_LEADER_OR_FOLLOWER",
    "REQUEST_TIMED_OUT",
    "BROKER_NOT_AVAILABLE",
    "REPLICA_NOT_AVAILABLE",
    "MESSAGE_TOO_LARGE",
    "STALE_CONTROLLER_EPOCH",
    "OFFSET_METADATA_TOO_LARGE",
    "NETWORK_EXCEPTION",
    "COORDINATOR_LOAD_IN_PROGRESS",
    "COORDINATOR_NOT_AVAILABLE",
    "NOT_COORDINATOR",
    "INVALID_TOPIC_EXCEPTION",
    "RECORD_LIST_TOO_LARGE",
    "NOT_ENOUGH_REPLICAS",
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
    "INVALID_REQUIRED_ACKS",
    "ILLEGAL_GENERATION",
    "INCONSISTENT_GROUP_PROTOCOL",
    "INVALID_GROUP_ID",
    "UNKNOWN_MEMBER_ID",
    "INVALID_SESSION_TIMEOUT",
    "REBALANCE_IN_PROGRESS",
    "INVALID_COMMIT_OFFSET_SIZE",
    "TOPIC_AUTHORIZATION_FAILED",
    "GROUP_AUTHORIZATION_FAILED",
    "CLUSTER_AUTHORIZATION_FAILED",
    "INVALID_TIMESTAMP",
    "UNSUPPORTED_SASL_MECHANISM",
    "ILLEGAL_SASL_STATE",
    "UNSUPPORTED_VERSION",
    "TOPIC_ALREADY_EXISTS",
    "INVALID_PARTITIONS",
    "INVALID_REPLICATION_FACTOR",
    "INVALID_REPLICA_ASSIGNMENT",
    "INVALID_CONFIG",
    "NOT_CONTROLLER",
    "INVALID_REQUEST",
    "UNSUPPORTED_FOR_MESSAGE_FORMAT",
    "POLICY_VIOLATION",
    "OUT_OF_ORDER_SEQUENCE_NUMBER",
    "DUPLICATE_SEQUENCE_NUMBER",
    "INVALID_PRODUCER_EPOCH",
    "INVALID_TXN_STATE",
    "INVALID_PRODUCER_ID_MAPPING",
    "INVALID_TRANSACTION_TIMEOUT",
    "CONCURRENT_TRANSACTIONS",
    "TRANSACTION_COORDINATOR_FENCED",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    "SECURITY_DISABLED",
    "OPERATION_NOT_ATTEMPTED",
    "KAFKA_STORAGE_ERROR",
    "LOG_DIR_NOT_FOUND",
    "SASL_AUTHENTICATION_FAILED",
    "UNKNOWN_PRODUCER_ID",
    "REASSIGNMENT_IN_PROGRESS",
    "DELEGATION_TOKEN_AUTH_DISABLED",
    "DELEGATION_TOKEN_NOT_FOUND",
    "DELEGATION_TOKEN_OWNER_MISMATCH",
    "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED",
    "DELEGATION_TOKEN_AUTHORIZATION_FAILED",
    "DELEGATION_TOKEN_EXPIRED",
    "INVALID_PRINCIPAL_TYPE",
    "NON_EMPTY_GROUP",
    "GROUP_ID_NOT_FOUND",
    "FETCH_SESSION_ID_NOT_FOUND",
    "INVALID_FETCH_SESSION_EPOCH",
    "LISTENER_NOT_FOUND",
    "TOPIC_DELETION_DISABLED",
    "FENCED_LEADER_EPOCH",
    "UNKNOWN_LEADER_EPOCH",
    "UNSUPPORTED_COMPRESSION_TYPE",
    "STALE_BROKER_EPOCH",
    "OFFSET_NOT_AVAILABLE",
    "MEMBER_ID_REQUIRED",
    "PREFERRED_LEADER_NOT_AVAILABLE",
    "GROUP_MAX_SIZE_REACHED",
    "FENCED_INSTANCE_ID",
    "ELIGIBLE_LEADERS_NOT_AVAILABLE",
    "ELECTION_NOT_NEEDED",
    "NO_REASSIGNMENT_IN_PROGRESS",
    "GROUP_SUBSCRIBED_TO_TOPIC",
    "INVALID_RECORD",
    "UNSTABLE_OFFSET_COMMIT",
    "THROTTLING_QUOTA_EXCEEDED",
    "PRODUCER_FENCED",
    "RESOURCE_NOT_FOUND",
    "DUPLICATE_RESOURCE",
    "UNACCEPTABLE_CREDENTIAL",
    "INCONSISTENT_VOTER_SET",
    "INVALID_UPDATE_VERSION",
    "FEATURE_UPDATE_FAILED",
    "PRINCIPAL_DESERIALIZATION_FAILURE",
    "SNAPSHOT_NOT_FOUND",
    "POSITION_OUT_OF_RANGE",
    "UNKNOWN_TOPIC_ID",
    "DUPLICATE_BROKER_REGISTRATION",
    "BROKER_ID_NOT_REGISTERED",
    "INCONSISTENT_TOPIC_ID",
    "INCONSISTENT_CLUSTER_ID",
    "TRANSACTIONAL_ID_NOT_FOUND",
    "FETCH_SESSION_TOPIC_ID_ERROR",
    "INELIGIBLE_REPLICA",
    "NEW_LEADER_ELECTED",
    "OFFSET_MOVED_TO_TIERED_STORAGE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_at_their_codes() {
        for (code, expected) in [
            (-1, "UNKNOWN_SERVER_ERROR"),
            (0, "NONE"),
            (10, "MESSAGE_TOO_LARGE"),
            (29, "TOPIC_AUTHORIZATION_FAILED"),
            (45, "OUT_OF_ORDER_SEQUENCE_NUMBER"),
            (56, "KAFKA_STORAGE_ERROR"),
            (76, "UNSUPPORTED_COMPRESSION_TYPE"),
            (87, "INVALID_RECORD"),
            (90, "PRODUCER_FENCED"),
            (100, "UNKNOWN_TOPIC_ID"),
            (109, "OFFSET_MOVED_TO_TIERED_STORAGE"),
            (110, "UNKNOWN"),
            (i16::MIN, "UNKNOWN"),
            (i16::MAX, "UNKNOWN"),
        ] {
            assert_eq!(name(code), expected, "code {code}");
        }
    }

    #[test]
    fn what_may_have_been_appended_is_asked_for() {
        for code in [-1, 7, 13, 20, 45, 46, 47, 56, 59, 90, 999] {
            assert_eq!(of_produce(code), Verdict::Ask, "code {code}");
        }
    }

    #[test]
    fn no_error_is_taken_for_success() {
        for code in (i16::MIN..=i16::MAX).filter(|&code| code != 0) {
            assert_ne!(of_produce(code), Verdict::Ok);
            assert_ne!(of_fetch(code), Verdict::Ok);
        }
    }
}
