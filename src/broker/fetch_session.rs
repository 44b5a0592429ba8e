//! Incremental fetch sessions (KIP-227): what a consumer fetches is remembered, and only what changed is sent either way.

use super::topic::TopicIndex;
use kafka_protocol::error::ResponseError;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// Kafka's `max.incremental.fetch.session.cache.slots`. The session used longest ago gives way.
const SESSIONS_MAX: usize = 1000;

/// How a request names a topic: by name up to Fetch 12, then by id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicKey {
    Name(Arc<str>),
    Id(Uuid),
}

/// A partition that is to be fetched.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub topic: TopicKey,
    pub partition: i32,
    /// Which topic that is; looked up again when the topic is gone.
    pub resolved: Option<TopicIndex>,
    pub fetch_offset: i64,
    pub max_bytes: usize,
    /// -1: unknown to the consumer.
    pub current_leader_epoch: i32,
    pub last_fetched_epoch: i32,
    /// What the consumer was told last; -1 before that, and after an error.
    pub sent_high_watermark: i64,
    pub sent_log_start_offset: i64,
}

/// One consumer's session.
#[derive(Debug, Default)]
pub struct FetchSession {
    /// The epoch that the next request must carry.
    epoch: i32,
    used: u64,
    by_id: bool,
    /// None where a partition was forgotten.
    wanted: Vec<Option<Wanted>>,
    places: BTreeMap<(TopicKey, i32), usize>,
    /// Where the next answer begins, so that no partition starves the others.
    start: usize,
}

/// The sessions of one broker.
#[derive(Debug, Default)]
pub struct FetchSessions {
    sessions: BTreeMap<i32, FetchSession>,
    last_id: i32,
    uses: u64,
}

impl FetchSessions {
    /// Opens a session; its id is answered to the consumer.
    pub fn open(&mut self, by_id: bool, wanted: Vec<Wanted>) -> i32 {
        if self.sessions.len() >= SESSIONS_MAX
            && let Some(oldest) =
                self.sessions.iter().min_by_key(|(_, session)| session.used).map(|(&id, _)| id)
        {
            self.sessions.remove(&oldest);
        }
        self.last_id = (self.last_id & 0x3fff_ffff) + 1;
        let used = self.tick();
        let mut session = FetchSession { epoch: 1, used, by_id, ..FetchSession::default() };
        wanted.into_iter().for_each(|wanted| session.add(wanted));
        self.sessions.insert(self.last_id, session);
        self.last_id
    }

    /// Updates a session by an incremental request.
    ///
    /// # Errors
    /// FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR.
    pub fn update(
        &mut self,
        id: i32,
        epoch: i32,
        by_id: bool,
        wanted: Vec<Wanted>,
        forgotten: Vec<(TopicKey, i32)>,
    ) -> Result<(), ResponseError> {
        let used = self.tick();
        let session = self.sessions.get_mut(&id).ok_or(ResponseError::FetchSessionIdNotFound)?;
        if session.epoch != epoch {
            return Err(ResponseError::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(ResponseError::FetchSessionTopicIdError);
        }
        session.used = used;
        session.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        wanted.into_iter().for_each(|wanted| session.add(wanted));
        for key in forgotten {
            if let Some(place) = session.places.remove(&key) {
                session.wanted[place] = None;
            }
        }
        session.squeeze();
        Ok(())
    }

    pub fn get_mut(&mut self, id: i32) -> Option<&mut FetchSession> {
        self.sessions.get_mut(&id)
    }

    pub fn close(&mut self, id: i32) {
        self.sessions.remove(&id);
    }

    fn tick(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }
}

impl FetchSession {
    fn add(&mut self, wanted: Wanted) {
        let key = (wanted.topic.clone(), wanted.partition);
        match self.places.get(&key) {
            Some(&place) => {
                if let Some(known) = &mut self.wanted[place] {
                    known.fetch_offset = wanted.fetch_offset;
                    known.max_bytes = wanted.max_bytes;
                    known.current_leader_epoch = wanted.current_leader_epoch;
                    known.last_fetched_epoch = wanted.last_fetched_epoch;
                }
            }
            None => {
                self.places.insert(key, self.wanted.len());
                self.wanted.push(Some(wanted));
            }
        }
    }

    /// Gives the places of forgotten partitions back once they are the majority.
    fn squeeze(&mut self) {
        if self.places.len() * 2 >= self.wanted.len() {
            return;
        }
        self.wanted.retain(Option::is_some);
        self.start = 0;
        self.places.clear();
        for (place, wanted) in self.wanted.iter().enumerate() {
            if let Some(wanted) = wanted {
                self.places.insert((wanted.topic.clone(), wanted.partition), place);
            }
        }
    }

    /// All partitions, beginning after the last one that was served.
    pub fn wanted_mut(&mut self) -> impl Iterator<Item = (usize, &mut Wanted)> {
        let start = self.start.min(self.wanted.len());
        let (before, after) = self.wanted.split_at_mut(start);
        let after = after.iter_mut().enumerate().map(move |(at, wanted)| (start + at, wanted));
        let before = before.iter_mut().enumerate();
        after.chain(before).filter_map(|(at, wanted)| Some((at, wanted.as_mut()?)))
    }

    /// The partition at this place was the last that got data.
    pub fn served(&mut self, place: usize) {
        self.start = if place + 1 < self.wanted.len() { place + 1 } else { 0 };
    }
}
