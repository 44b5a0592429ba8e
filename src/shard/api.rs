//! The words that a shard and whoever drives it exchange.

use super::timing::Timings;
use crate::config::{Address, ExactlyOnce, Isolation, LargeGaps, Merge, Mover, OnLoss, Oversize, StartFrom};
pub use crate::conn::{ConnId, Out};
pub use crate::error::{Stop, StopKind};
use crate::records::Recipe;
use crate::records::letters::Letter;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use uuid::Uuid;

/// One lane of the whole link: an index that control gives out and never uses again for another partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    Source,
    Target,
}

/// What a shard may be told once and for all.
#[derive(Clone, Debug)]
pub struct Settings {
    pub client_id: String,
    pub mover: Mover,
    /// Payload bytes this shard may hold at a time.
    pub buffer_bytes: usize,
    pub fetch_bytes_max: usize,
    pub fetch_wait_ms: i32,
    /// Where the mirror is: leaders may send it to a replica there. Empty: they are not told.
    pub rack: String,
    pub request_timeout_ms: u64,
    pub zombie_bound_ms: u64,
    /// The largest gap that is filled with control records, and the largest that empty transactions fill where the link may not
    /// write those; what becomes of larger ones.
    pub gap_offsets_max: i64,
    pub gap_transactions_max: i64,
    /// A lane opens no further run while it has this many.
    pub runs_ahead_max: usize,
    /// Tell when each batch came and went: [`Event::Timed`].
    pub times_batches: bool,
    /// Count how long batches take by stage: [`super::Snapshot::stages`].
    pub counts_stages: bool,
    /// Keep of each lane what passed lately: [`super::Snapshot::passed`].
    pub counts_passed: bool,
    /// The most that is fetched in a second. None: no limit.
    pub bytes_per_second: Option<u64>,
    pub large_gaps: LargeGaps,
    /// The link may have a transaction open that fills gaps: it is to be aborted before a lane's position is asked for.
    pub may_have_open_gaps: bool,
    pub isolation: Isolation,
    pub exactly_once: ExactlyOnce,
    /// The shard's transactional id on the target: no other shard of the link has it.
    pub transactional_id: String,
    pub on_loss: OnLoss,
    pub merge: Merge,
    pub oversize: Oversize,
    /// What cannot be mirrored goes to the dead letters instead of stopping its lane.
    pub has_dead_letters: bool,
    pub connections_per_broker: usize,
    /// Whether connections to the source, and to the target, have to log in.
    pub has_sasl: [bool; 2],
    /// The target's static `producer.id.expiration.ms`; None when it could not be read (then no lane is ever guarded).
    pub producer_id_expiration_ms: Option<i64>,
    /// The link's producer id, the same for every lane and every incarnation, and its epoch.
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// In whose name gaps are filled: a producer id of the link that never writes a record.
    pub marker_producer_id: i64,
}

/// A batch is guarded only if the broker will remember it for at least this long: two clocks may differ by an hour.
const GUARD_SLACK_MS: i64 = 3_600_000;

/// Batches dated later than this are guarded: a target with that `producer.id.expiration.ms` will remember their producer until
/// every doubt is resolved.
pub fn guarded_after_ms(wall_ms: i64, producer_id_expiration_ms: i64) -> i64 {
    wall_ms.saturating_sub(producer_id_expiration_ms).saturating_add(GUARD_SLACK_MS)
}

/// A run: from `number` on, the record with number n is the source record at `source_offset + (n - number)` and stands on the
/// target at `target_offset + (n - number)`, until the next run begins. Numbers count the records appended to the target
/// partition; the sequence on the wire is the number mod 2^31. A `source_offset` of [`SEED`] means empty records that only move
/// the target's offsets on, and are deleted afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub number: i64,
    pub source_offset: i64,
    pub target_offset: i64,
    /// Leader epoch of the source batch that opened the run, -1 when unknown.
    pub source_epoch: i32,
}

/// The source offset of a run whose records are on no source.
pub const SEED: i64 = -1;

/// The source epoch of a run that begins behind records of others, which are as much part of the log as ours.
pub const BEHIND_OTHERS: i32 = -2;

/// The source epoch of a run whose records stand in a transaction of their own, and count only if that is committed. Its
/// `target_offset` holds if so. Where the last run is one of these, the position is the one that the last transaction committed.
pub const IN_TRANSACTION: i32 = -3;

impl Run {
    pub fn is_in_transaction(&self) -> bool {
        self.source_epoch == IN_TRANSACTION
    }
}

/// Which offsets records get on the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OffsetMode {
    /// One after the other: where the source has gaps, the target has none, and offsets differ from there on.
    #[default]
    Append,
    /// The source's: gaps are filled with control records, which no consumer sees.
    Identical,
    /// As they come, between records of others: the target's clients write to the partition, too, and another link mirrors it in
    /// the other direction. What that link wrote to the source is not mirrored back. A run's `target_offset` is then a lower
    /// bound of where its records stand.
    Shared,
}

/// Who writes with a producer id into the source's partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// A client of the source.
    Client,
    /// A link that mirrors the target to the source: its records come from there.
    Reverse,
}

/// The ledger was written by this instance at `since_us`, so nobody else owned the link then, and nobody relies on its silence
/// before `until_us` (steady clock, µs).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    pub since_us: u64,
    pub until_us: u64,
}

/// A lane's durable position: every record with a smaller number is on the target, replicated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub number: i64,
    pub source_offset: i64,
    /// Leader epoch of the source's last batch below `source_offset`, by which the source can tell whether it still has what was
    /// read there (KIP-595); -1 when unknown.
    pub source_epoch: i32,
}

impl Checkpoint {
    /// A position whose leader epoch on the source is not known.
    pub fn at(number: i64, source_offset: i64) -> Self {
        Self { number, source_offset, source_epoch: -1 }
    }

    /// The source has nothing any more of what it had from `source_end` on.
    pub fn cut(&mut self, source_end: i64) {
        if source_end < self.source_offset {
            *self = Self::at(self.number, source_end);
        }
    }
}

/// What control knows of a lane when it hands it to a shard.
#[derive(Clone, Debug)]
pub struct LaneStart {
    pub lane: LaneId,
    /// By the link's name, and by the names that the source and the target have for it.
    pub topic: Arc<str>,
    pub names: [Arc<str>; 2],
    pub partition: i32,
    pub source_topic_id: Uuid,
    pub target_topic_id: Uuid,
    pub from: StartFrom,
    /// From the ledger, oldest first. Empty: this link never wrote to the partition.
    pub runs: Vec<Run>,
    pub checkpoint: Option<Checkpoint>,
    pub mode: OffsetMode,
    /// The previous owner may still have requests under way until this moment (steady clock, µs).
    pub zombies_until_us: u64,
    /// What is changed of the topic's records. None: nothing, and batches pass as they are.
    pub recipe: Option<Arc<Recipe>>,
    /// Which of the limits of [`Command::Limits`] holds for it.
    pub limit: Option<usize>,
    /// It goes before the others.
    pub is_first: bool,
}

/// Control → shard.
#[derive(Clone, Debug)]
pub enum Command {
    /// Where the brokers of one side are; replaces what was known.
    Brokers {
        side: Side,
        brokers: Vec<(i32, Address)>,
    },
    Assign(Box<LaneStart>),
    /// Leader of the lane's partition on one side; -1 for the broker when there is none.
    Leader {
        lane: LaneId,
        side: Side,
        broker: i32,
        epoch: i32,
    },
    /// The run is in the ledger, acknowledged, and so is every earlier one that it did not replace (a run replaces those that
    /// were wanted before it with the same number): batches from its number on may be sent.
    RunDurable {
        lane: LaneId,
        run: Run,
    },
    /// This instance owns the link.
    Lease(Lease),
    /// The answer to [`Event::WriterWanted`].
    Writer {
        producer_id: i64,
        writer: Writer,
    },
    /// The answer to [`Event::Transaction`].
    Transaction(TransactionDone),
    /// The answer to [`Event::Gaps`].
    Gaps(GapsDone),
    /// The lane is not this shard's any more (its topic is gone, or another shard's turn).
    Remove {
        lane: LaneId,
    },
    /// Fetch no more for the lane, or again. What was fetched already is mirrored.
    Pause {
        lane: LaneId,
        paused: bool,
    },
    /// The answer to [`Event::RoomWanted`]: the target's topic takes batches of that size by now, or its brokers will in a moment;
    /// or it will not.
    Room {
        lane: LaneId,
        is_made: bool,
    },
    /// The answer to [`Event::Letters`]: they are in the dead letters' topic, acknowledged by all replicas. It may come late, and
    /// always comes.
    LettersWritten {
        lane: LaneId,
    },
    /// The most to fetch in a second from now on, instead of what the settings say. None: no limit.
    Throttle {
        bytes_per_second: Option<u64>,
    },
    /// The most to fetch in a second for lanes that have a limit of their own, all of the shard's with the same one together.
    Limits(Vec<u64>),
    /// Send no more; end each lane when what it sent is settled.
    Drain,
}

/// Shard → control.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Make this run durable, then answer with `RunDurable`, in the order in which runs are wanted.
    RunWanted { lane: LaneId, run: Run },
    /// The lane has found its position, and sends nothing before a `Lease` that was granted after that: renew it now.
    LeaseWanted { lane: LaneId },
    /// A lane whose partition is mirrored in both directions met a producer id for the first time, and reads on when it is told
    /// whose it is: see [`Command::Writer`].
    WriterWanted { producer_id: i64 },
    /// The next step of the shard's transaction on the target. The next one follows when this one is answered.
    Transaction(TransactionStep),
    /// Gaps are to be filled by transactions. The next step follows when this one is answered.
    Gaps(GapsStep),
    /// The lane's position moved; for the next checkpoint, and for progress displays.
    Settled { lane: LaneId, checkpoint: Checkpoint },
    /// The lane's leader on that side is not where it was said to be: read the metadata now.
    LeaderUnknown { lane: LaneId, side: Side },
    /// The lane has halted for good; the others go on.
    Stopped { lane: LaneId, stop: Stop },
    /// Records that are not on the target and never will be, with the cause. Goes into the gap ledger.
    Lost { lane: LaneId, from_offset: i64, to_offset: i64, cause: LossCause },
    /// The source's log begins here, and the target's has every record from here on: what the target has before is to be
    /// deleted. Only for lanes with identical offsets.
    Trim { lane: LaneId, offset: i64 },
    /// The lane reached the source's high watermark for the first time since it was assigned.
    CaughtUp { lane: LaneId },
    /// The target takes none of the lane's batches for now, with this error code of Kafka's; the lane tries again by itself.
    /// Told once for each code, until a batch is taken.
    Refused { lane: LaneId, code: i16 },
    /// The target's topic is to take batches of so many bytes. The lane waits for [`Command::Room`].
    RoomWanted { lane: LaneId, batch_bytes: usize },
    /// These records or batches of the source cannot be mirrored. The lane goes on behind them when they are written to the dead
    /// letters. One such event of a lane is under way at a time, and only so many of a shard.
    Letters { lane: LaneId, letters: Vec<Letter> },
    /// Batches of the lane are put together anew from now on, or no more.
    Repacking { lane: LaneId, what: Repacking },
    /// A broker could not be reached or spoken to; the shard tries again by itself.
    BrokerTrouble { side: Side, broker: i32, address: Address, cause: String },
    /// When batches that were acknowledged came and went; a few times a second.
    Timed(Timings),
    /// All lanes are drained.
    Drained,
}

/// Why a lane takes batches apart that the target would take in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repacking {
    /// They are of so many bytes on average, and so many wait behind those under way.
    Merging { batch_bytes: usize, waiting: usize },
    /// They come slowly by now, or are large.
    NotMerging,
    /// The target refused one of `batch_bytes`: those of more than `split_bytes` are split.
    Splitting { batch_bytes: usize, split_bytes: usize },
    /// The target refused one of `batch_bytes` though its topic's max.message.bytes is larger: it is as if it had not been raised.
    RaisedInVain { batch_bytes: usize },
}

impl std::fmt::Display for Repacking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Merging { batch_bytes, waiting } => write!(
                f,
                "batches of {batch_bytes} bytes come faster than one a request can carry ({waiting} wait): they are merged from \
                 now on (--merge)"
            ),
            Self::NotMerging => {
                f.write_str("batches are not merged any more: they come slowly, or are large by now")
            }
            Self::Splitting { batch_bytes, split_bytes } => write!(
                f,
                "the target takes no batch of {batch_bytes} bytes (its max.message.bytes is smaller than the source's): those of \
                 more than {split_bytes} are split (--oversize)"
            ),
            Self::RaisedInVain { batch_bytes } => write!(
                f,
                "the target takes no batch of {batch_bytes} bytes though its max.message.bytes allows it by now: batches are split \
                 instead (--oversize)"
            ),
        }
    }
}

/// A step of a transaction on the target; what the coordinators are asked for it is control's business. The batches between
/// two steps are the shard's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionStep {
    /// Abort whatever may be open, so that no earlier batch can count any more, and say where these lanes stand.
    Claim { lanes: Vec<LaneId> },
    /// The partitions of these lanes are part of the transaction from now on.
    Join { lanes: Vec<LaneId> },
    /// Commit the batches, and with them the lanes' positions.
    Commit { positions: Vec<(LaneId, Checkpoint)> },
}

/// What became of a [`TransactionStep`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionDone {
    /// In whose name the batches of the next transactions are sent, sequences from 0 on in every partition; and the positions
    /// that earlier transactions committed, of those lanes that have any.
    Claimed { producer_id: i64, producer_epoch: i16, positions: Vec<(LaneId, Checkpoint)> },
    /// The partitions are in the transaction; or, if some are refused, none is.
    Joined { refused: Vec<(LaneId, Stop)> },
    /// If it took more than one attempt, an earlier one may yet be under way, and would commit the next transaction in the middle
    /// (KIP-890): then a claim has to come first.
    Committed { is_last_word: bool },
    /// The fate of the transaction is not known: only another claim tells.
    Broken,
    /// The target refuses, and will again.
    Refused(Stop),
}

/// A step of filling gaps by transactions that are aborted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GapsStep {
    /// Abort whatever may be open, so that nothing of before can be appended any more.
    Claim,
    /// Fill, unless there was another claim since this one: the lanes asked for their log ends under it. Then claim again.
    Fill { claim: u64, lanes: Vec<(LaneId, GapFill)> },
}

/// `times` transactions one after the other, each of so many empty records and the marker that aborts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapFill {
    pub records: i64,
    pub times: i64,
}

/// What became of a [`GapsStep`]. How much was filled is for the log ends to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GapsDone {
    /// Nothing of before is under way any more. `stopped` are lanes whose partitions the target refuses.
    Claimed { producer_id: i64, claim: u64, stopped: Vec<(LaneId, Stop)> },
    /// The target refuses such transactions, and will again.
    Refused(Stop),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LossCause {
    /// The source deleted the records (retention, DeleteRecords) before they could be read.
    SourceRetention,
    /// The source lost records that had been mirrored or announced (unclean election).
    SourceTruncation,
}

impl LossCause {
    /// What happened, and what the target has of it.
    pub fn words(self) -> &'static str {
        match self {
            Self::SourceRetention => {
                "the source deleted them before they were mirrored, so they are not on the target"
            }
            Self::SourceTruncation => {
                "the source lost them (unclean leader election); what was mirrored of them stays on the target, and what the \
                 source has there now comes behind it"
            }
        }
    }
}

/// A connection of the shard, seen from the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Dial {
        conn: ConnId,
        side: Side,
        address: Address,
    },
    /// Close at once, dropping what was not sent. The driver does not answer with `handle_closed`.
    Close {
        conn: ConnId,
    },
    /// The connection has to log in, at its start or again: bring what that needs by `handle_login`.
    Login {
        conn: ConnId,
        side: Side,
    },
    /// `poll_transmit` has something for this connection (told once, until it was drained to None).
    Transmit {
        conn: ConnId,
    },
}

/// What a connection's reader should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Receive and hand in by `handle_input`. `at_least` more bytes are needed for any progress and are sure to come when the
    /// answer is under way (so they may serve as SO_RCVLOWAT); `at_most` more may be taken out of the socket: beyond them may
    /// lie a payload that is to be spliced.
    Bytes { at_least: usize, at_most: usize },
    /// Move the next `bytes` of this socket into the pipe towards `into`, and report by `handle_moved`.
    Splice { bytes: usize, into: ConnId },
    /// Read and drop `bytes`, and report by `handle_moved`.
    Discard { bytes: usize },
    /// Leave the socket alone until the next `Transmit` or `handle_*`.
    Pause,
}

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}
