//! Every maximum in one place, with the relations between them checked when the crate is compiled.

/// The fixed part of a record batch of magic 2 (Kafka's `DefaultRecordBatch.RECORD_BATCH_OVERHEAD`).
pub const BATCH_HEADER_BYTES: usize = 61;
/// A batch longer than this is refused as damage: no broker is configured for messages this large.
pub const BATCH_BYTES_MAX: usize = 256 << 20;
/// A batch that is taken apart may have this much in records when they are decompressed.
pub const RECORDS_BYTES_MAX: usize = 256 << 20;
/// Messages of old formats are collected up to here before they are converted; without compression so many bytes share a batch.
pub const OLD_BATCH_BYTES: usize = 256 << 10;
/// Small batches that are merged become one of so many bytes of records.
pub const MERGED_BYTES: usize = 256 << 10;
/// Where records are changed, a batch of more bytes of records is split, since they may have grown: what a topic takes unless it is
/// told otherwise is a little more.
pub const CHANGED_BYTES_MAX: usize = 1_000_000;
/// Empty records in one batch, where a target's offsets have to be moved on.
pub const SEEDS_PER_BATCH: i32 = 200_000;
/// A partition that begins at a higher source offset is seeded with those; up to here control records are as quick.
pub const SEED_OFFSETS_MIN: i64 = 1_000;
/// An answer that is collected whole (everything but Fetch) may be this long.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;
/// A fetch answer, which is walked and never collected, may announce this length.
pub const FETCH_ANSWER_BYTES_MAX: usize = 1 << 30;
/// A lane with more than this accepted and not sent is left out of the next fetch.
pub const LANE_PENDING_BYTES_MAX: usize = 2 << 20;
/// Lanes whose batches are this large on average are spliced when the mover is chosen automatically.
pub const SPLICE_BATCH_BYTES_MIN: usize = 256 << 10;
/// Batches packed into one Produce request.
pub const BATCHES_PER_REQUEST_MAX: usize = 256;
/// Slices handed to one vectored send: framing and payload for each batch, and some for batches that lie across buffers.
pub const IOV_MAX: usize = 1024;
/// The chunk of pool memory that a socket is read into.
pub const CHUNK_BYTES: usize = 1 << 20;
/// A link's memory for payloads unless it is told otherwise, and the least that it works with.
pub const BUFFER_BYTES: usize = 256 << 20;
pub const BUFFER_BYTES_MIN: usize = 4 * CHUNK_BYTES;
/// A lane opens no further run while it has this many, until some are settled. Each is in the ledger before its records are sent.
pub const RUNS_AHEAD_MAX: usize = 2_048;
/// A batch whose holes are closed has at most so many runs: with more it becomes several.
pub const RUNS_PER_BATCH_MAX: usize = 1_000;
/// The ledger takes so many runs of one lane that are not settled, since they are all in one record.
pub const LEDGER_RUNS_MAX: usize = 4_096;
/// The map of a lane's offsets reaches back so many runs behind those, where it has that many (append mode).
pub const HISTORY_RUNS_MAX: usize = 1 << 20;
/// A handler's WebAssembly module may be this long.
pub const HANDLER_MODULE_BYTES_MAX: usize = 16 << 20;
/// An instance of it may have so much memory unless it is told otherwise, and may be allowed this much.
pub const HANDLER_MEMORY_BYTES: usize = 16 << 20;
pub const HANDLER_MEMORY_BYTES_MAX: usize = 1 << 30;
/// What a record may use up there unless it is told otherwise, in units of fuel.
pub const HANDLER_FUEL_PER_RECORD: u64 = 1_000_000;
/// What it may have in tables of functions, beside its memory.
pub const HANDLER_TABLES_MAX: usize = 16;
pub const HANDLER_TABLE_ELEMENTS_MAX: usize = 64 << 10;
/// Stands before the names of the topics in which links keep their state.
pub const STATE_TOPIC_PREFIX: &str = "__twinlog.";
/// Topic names, by Kafka's own rule.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;

// A lane that waits for the ledger must not wait for runs that the ledger does not take.
const _: () = assert!(RUNS_AHEAD_MAX + RUNS_PER_BATCH_MAX < LEDGER_RUNS_MAX);
const _: () = assert!(BATCHES_PER_REQUEST_MAX * 3 < IOV_MAX);
const _: () = assert!(CHUNK_BYTES > 16 * BATCH_HEADER_BYTES);
const _: () = assert!(BATCH_BYTES_MAX < FETCH_ANSWER_BYTES_MAX);
