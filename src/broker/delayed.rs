//! Answers that are not due yet: fetches that wait for data, produces that wait for replicas, group members that wait for
//! each other.

use super::api::fetch_1::PendingFetch;
use super::api::produce_0::PendingProduce;
use super::api::write_txn_markers_27::PendingMarkers;
use super::response::Response;
use super::topic::{PartitionKey, Topics};
use kafka_protocol::error::ResponseError;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Names an answer that will come later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

#[derive(Debug)]
pub enum Waiting {
    Fetch(PendingFetch),
    Produce(PendingProduce),
    Markers(PendingMarkers),
    /// The group coordinator holds the rest and finishes it by [`Delayed::finish`].
    Group,
}

/// What an append with acks=-1 waits for: that the high watermark reaches an offset under the same leader.
#[derive(Clone, Copy, Debug)]
pub struct Replication {
    pub key: PartitionKey,
    pub offset: i64,
    pub leader_epoch: i32,
}

impl Replication {
    /// How it ended. None: it goes on.
    pub fn look(&self, topics: &Topics, due: bool) -> Option<Result<(), ResponseError>> {
        match topics.partition(self.key) {
            None => Some(Err(ResponseError::UnknownTopicOrPartition)),
            Some(partition) if partition.leader_epoch != self.leader_epoch => {
                Some(Err(ResponseError::NotLeaderOrFollower))
            }
            Some(partition) if partition.log.high_watermark() >= self.offset => Some(Ok(())),
            Some(_) if due => Some(Err(ResponseError::RequestTimedOut)),
            Some(_) => None,
        }
    }
}

/// What a look at a waiting answer found.
#[derive(Debug)]
pub enum Checked {
    Answered(Response),
    StillWaiting(Waiting),
}

#[derive(Debug, Default)]
pub struct Delayed {
    tickets: u64,
    waiting: BTreeMap<Ticket, (Waiting, u64)>,
    deadlines: BTreeSet<(u64, Ticket)>,
    /// Something they wait for has moved.
    awake: VecDeque<Ticket>,
    finished: VecDeque<(Ticket, Response)>,
}

impl Delayed {
    /// Keeps an answer until something wakes it, at the latest until `deadline_us` (steady clock; `u64::MAX`: no deadline).
    pub fn add(&mut self, waiting: Waiting, deadline_us: u64) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.put_back(ticket, waiting, deadline_us);
        ticket
    }

    /// Keeps waiting after a look that changed nothing.
    pub fn put_back(&mut self, ticket: Ticket, waiting: Waiting, deadline_us: u64) {
        self.deadlines.insert((deadline_us, ticket));
        self.waiting.insert(ticket, (waiting, deadline_us));
    }

    pub fn wake(&mut self, tickets: impl IntoIterator<Item = Ticket>) {
        self.awake.extend(tickets);
    }

    /// Whoever asked has gone.
    pub fn cancel(&mut self, ticket: Ticket) -> Option<Waiting> {
        let (waiting, deadline_us) = self.waiting.remove(&ticket)?;
        self.deadlines.remove(&(deadline_us, ticket));
        Some(waiting)
    }

    /// The answer to a waiting request is known; ignored when the ticket was cancelled.
    pub fn finish(&mut self, ticket: Ticket, response: Response) {
        if self.cancel(ticket).is_some() {
            self.finished.push_back((ticket, response));
        }
    }

    pub fn next_finished(&mut self) -> Option<(Ticket, Response)> {
        self.finished.pop_front()
    }

    /// The next one to look at: woken, or due at `now_us`. It is taken out, with its deadline.
    pub fn next_to_check(&mut self, now_us: u64) -> Option<(Ticket, Waiting, u64)> {
        while let Some(ticket) = self.awake.pop_front() {
            if let Some((waiting, deadline_us)) = self.waiting.remove(&ticket) {
                self.deadlines.remove(&(deadline_us, ticket));
                return Some((ticket, waiting, deadline_us));
            }
        }
        let &(deadline_us, ticket) =
            self.deadlines.first().filter(|(deadline_us, _)| *deadline_us <= now_us)?;
        self.deadlines.remove(&(deadline_us, ticket));
        self.waiting.remove(&ticket).map(|(waiting, _)| (ticket, waiting, deadline_us))
    }

    /// 0 when there is something to do at once.
    pub fn poll_timeout(&self) -> Option<u64> {
        if self.finished.is_empty() && self.awake.is_empty() {
            self.deadlines.first().map(|&(deadline_us, _)| deadline_us).filter(|&due_us| due_us < u64::MAX)
        } else {
            Some(0)
        }
    }
}
