//! Consumer groups of the classic protocol, as Kafka's `GroupCoordinator` runs them: members join, the leader assigns, all
//! sync; offsets are kept for ever.
//!
//! A join or a sync that has to wait keeps its ticket in the member; [`Groups::take_answers`] hands over what became due.

use super::Ticket;
use super::api::Request;
use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use std::collections::{BTreeMap, BTreeSet};

/// All groups, by group id.
#[derive(Debug, Default)]
pub struct Groups {
    groups: BTreeMap<String, Group>,
    members_named: u64,
    answers: Vec<GroupAnswer>,
}

/// An answer that a member has waited for.
#[derive(Debug)]
pub struct GroupAnswer {
    pub ticket: Ticket,
    pub request: Request,
    pub answer: Outcome,
}

#[derive(Debug)]
pub enum Outcome {
    Joined(Result<Joined, ResponseError>),
    Synced(Result<Synced, ResponseError>),
}

/// What a member is told when a generation begins.
#[derive(Clone, Debug)]
pub struct Joined {
    pub generation: i32,
    pub protocol_type: String,
    pub protocol: String,
    pub leader: String,
    pub member_id: String,
    /// (member id, group instance id, metadata); for the leader only.
    pub members: Vec<(String, Option<String>, Bytes)>,
}

#[derive(Clone, Debug)]
pub struct Synced {
    pub protocol_type: String,
    pub protocol: String,
    pub assignment: Bytes,
}

/// Answered at once, or by [`Groups::take_answers`] later.
#[derive(Debug)]
pub enum Answer<T> {
    Now(T),
    Later,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

#[derive(Debug, Default)]
pub struct Group {
    pub state: State,
    pub generation: i32,
    pub protocol_type: String,
    pub protocol: String,
    pub leader: String,
    pub members: BTreeMap<String, Member>,
    pub offsets: BTreeMap<(String, i32), Committed>,
    /// What open transactions committed, by producer id: in force when they commit, gone when they abort (KIP-98).
    pending: BTreeMap<i64, BTreeMap<(String, i32), Committed>>,
    /// Ids that were given out and have not joined yet.
    named: BTreeSet<String>,
    /// When the join phase ends whoever is missing, and when it may end at the earliest.
    join_ends_us: u64,
    join_open_until_us: u64,
}

#[derive(Debug)]
pub struct Member {
    pub instance_id: Option<String>,
    pub client_id: String,
    pub assignment: Bytes,
    protocols: Vec<(String, Bytes)>,
    session_timeout_us: u64,
    rebalance_timeout_us: u64,
    expires_us: u64,
    joining: Option<(Ticket, Request)>,
    syncing: Option<(Ticket, Request)>,
}

#[derive(Clone, Debug)]
pub struct Committed {
    pub offset: i64,
    pub leader_epoch: i32,
    pub metadata: String,
}

/// A member's wish to join.
#[derive(Debug)]
pub struct Join {
    pub group_id: String,
    pub member_id: String,
    pub instance_id: Option<String>,
    pub protocol_type: String,
    /// In the member's order of preference.
    pub protocols: Vec<(String, Bytes)>,
    pub session_timeout_us: u64,
    pub rebalance_timeout_us: u64,
    /// The coordinator names new members before they may join (KIP-394).
    pub id_required: bool,
    /// `group.initial.rebalance.delay.ms`, for a group that had no members.
    pub initial_delay_us: u64,
}

/// Who speaks, and in which generation it thinks the group is.
#[derive(Clone, Copy, Debug)]
pub struct Speaker<'a> {
    pub member_id: &'a str,
    pub generation: i32,
}

impl State {
    /// As DescribeGroups and ListGroups spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

impl Member {
    /// What the member said of itself under a protocol.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map_or_else(Bytes::new, |(_, metadata)| metadata.clone())
    }
}

impl Groups {
    pub fn get(&self, group_id: &str) -> Option<&Group> {
        self.groups.get(group_id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Group)> {
        self.groups.iter()
    }

    /// A member joins, or joins again. `ticket` is kept when the answer has to wait.
    ///
    /// # Errors
    /// Those of JoinGroup; MEMBER_ID_REQUIRED comes with the id to use.
    pub fn join(
        &mut self,
        request: &Request,
        join: Join,
        ticket: impl FnOnce() -> Ticket,
    ) -> Answer<Result<Joined, (ResponseError, String)>> {
        let refuse = |error, member_id: &str| Answer::Now(Err((error, member_id.to_owned())));
        if join.group_id.is_empty() {
            return refuse(ResponseError::InvalidGroupId, &join.member_id);
        }
        let group = self.groups.entry(join.group_id.clone()).or_default();
        if !group.members.is_empty() && !group.accepts(&join) {
            return refuse(ResponseError::InconsistentGroupProtocol, &join.member_id);
        }
        let mut member_id = join.member_id.clone();
        if member_id.is_empty() {
            self.members_named += 1;
            let prefix = join.instance_id.as_deref().unwrap_or(&request.client_id);
            member_id = format!("{prefix}-{:08}", self.members_named);
            if let Some(instance_id) = &join.instance_id {
                group.replace_static(instance_id, &member_id, &mut self.answers);
            } else if join.id_required {
                group.named.insert(member_id.clone());
                return refuse(ResponseError::MemberIdRequired, &member_id);
            }
        } else if !group.members.contains_key(&member_id) && !group.named.remove(&member_id) {
            let fenced = join.instance_id.as_ref().is_some_and(|instance| group.has_instance(instance));
            let error = if fenced { ResponseError::FencedInstanceId } else { ResponseError::UnknownMemberId };
            return refuse(error, &member_id);
        }
        let now_us = request.now.mono_us;
        if let Some(member) = group.members.get_mut(&member_id) {
            member.expires_us = now_us + member.session_timeout_us;
            let same = member.protocols == join.protocols;
            let settled = match group.state {
                State::CompletingRebalance => same,
                State::Stable => same && group.leader != member_id,
                State::Empty | State::PreparingRebalance => false,
            };
            if settled {
                return Answer::Now(Ok(group.joined(&member_id)));
            }
        }
        let before = group.members.remove(&member_id);
        group.protocol_type.clone_from(&join.protocol_type);
        group.members.insert(
            member_id,
            Member {
                instance_id: join.instance_id,
                client_id: request.client_id.to_string(),
                assignment: before.map_or_else(Bytes::new, |member| member.assignment),
                protocols: join.protocols,
                session_timeout_us: join.session_timeout_us,
                rebalance_timeout_us: join.rebalance_timeout_us,
                expires_us: now_us + join.session_timeout_us,
                joining: Some((ticket(), request.clone())),
                syncing: None,
            },
        );
        let delay_us = if group.state == State::Empty { join.initial_delay_us } else { 0 };
        group.prepare_rebalance(now_us, delay_us, &mut self.answers);
        group.try_complete_join(now_us, &mut self.answers);
        Answer::Later
    }

    /// A member asks for its assignment; the leader brings all of them.
    ///
    /// # Errors
    /// Those of SyncGroup.
    pub fn sync(
        &mut self,
        request: &Request,
        group_id: &str,
        speaker: Speaker<'_>,
        assignments: Vec<(String, Bytes)>,
        ticket: impl FnOnce() -> Ticket,
    ) -> Answer<Result<Synced, ResponseError>> {
        let now_us = request.now.mono_us;
        let group = match self.spoken_to(group_id, speaker, now_us) {
            Ok(group) => group,
            Err(error) => return Answer::Now(Err(error)),
        };
        match group.state {
            State::Stable => return Answer::Now(Ok(group.synced(speaker.member_id))),
            State::CompletingRebalance => {}
            State::Empty | State::PreparingRebalance => {
                return Answer::Now(Err(ResponseError::RebalanceInProgress));
            }
        }
        if group.leader != speaker.member_id {
            if let Some(member) = group.members.get_mut(speaker.member_id) {
                member.syncing = Some((ticket(), request.clone()));
            }
            return Answer::Later;
        }
        group.members.values_mut().for_each(|member| member.assignment = Bytes::new());
        for (member_id, assignment) in assignments {
            if let Some(member) = group.members.get_mut(&member_id) {
                // A copy, as a slice would keep the whole request in memory.
                member.assignment = Bytes::copy_from_slice(&assignment);
            }
        }
        group.state = State::Stable;
        let synced = group.synced(speaker.member_id);
        let ids: Vec<String> = group.members.keys().cloned().collect();
        let mut answers = Vec::new();
        for member_id in ids {
            let answer = Outcome::Synced(Ok(group.synced(&member_id)));
            if let Some(member) = group.members.get_mut(&member_id) {
                member.expires_us = now_us + member.session_timeout_us;
                let waited = member.syncing.take();
                answers.extend(waited.map(|(ticket, request)| GroupAnswer { ticket, request, answer }));
            }
        }
        self.answers.append(&mut answers);
        Answer::Now(Ok(synced))
    }

    /// # Errors
    /// REBALANCE_IN_PROGRESS tells the member to join again; ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID.
    pub fn heartbeat(
        &mut self,
        group_id: &str,
        speaker: Speaker<'_>,
        now_us: u64,
    ) -> Result<(), ResponseError> {
        match self.spoken_to(group_id, speaker, now_us)?.state {
            State::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            State::Empty => Err(ResponseError::UnknownMemberId),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// Removes a member, named by its id or, if that is empty, by its instance id.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID.
    pub fn leave(
        &mut self,
        group_id: &str,
        member_id: &str,
        instance_id: Option<&str>,
        now_us: u64,
    ) -> Result<(), ResponseError> {
        let group = self.groups.get_mut(group_id).ok_or(ResponseError::UnknownMemberId)?;
        let by_instance = || {
            let named = group.members.iter().find(|(_, member)| member.instance_id.as_deref() == instance_id);
            named.filter(|_| instance_id.is_some()).map(|(id, _)| id.clone())
        };
        let id = if member_id.is_empty() { by_instance() } else { Some(member_id.to_owned()) };
        let left = id.and_then(|id| group.members.remove(&id)).ok_or(ResponseError::UnknownMemberId)?;
        if let Some((ticket, request)) = left.joining {
            let answer = Outcome::Joined(Err(ResponseError::UnknownMemberId));
            self.answers.push(GroupAnswer { ticket, request, answer });
        }
        group.prepare_rebalance(now_us, 0, &mut self.answers);
        group.try_complete_join(now_us, &mut self.answers);
        Ok(())
    }

    /// Keeps an offset, of a member or (generation below 0) of somebody who assigns partitions by hand.
    ///
    /// # Errors
    /// ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID.
    pub fn commit(
        &mut self,
        group_id: &str,
        speaker: Speaker<'_>,
        now_us: u64,
        offsets: Vec<((String, i32), Committed)>,
    ) -> Result<(), ResponseError> {
        let group = if speaker.generation < 0 {
            let group = self.groups.entry(group_id.to_owned()).or_default();
            if group.state != State::Empty {
                return Err(ResponseError::UnknownMemberId);
            }
            group
        } else {
            self.spoken_to(group_id, speaker, now_us)?
        };
        group.offsets.extend(offsets);
        Ok(())
    }

    /// Keeps offsets for a producer's open transaction. `speaker`: the member that the producer works for, as far as it says
    /// (KIP-447).
    ///
    /// # Errors
    /// ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID.
    pub fn commit_in_transaction(
        &mut self,
        group_id: &str,
        speaker: Option<Speaker<'_>>,
        now_us: u64,
        producer_id: i64,
        offsets: Vec<((String, i32), Committed)>,
    ) -> Result<(), ResponseError> {
        let group = match speaker {
            Some(speaker) => self.spoken_to(group_id, speaker, now_us)?,
            None => self.groups.entry(group_id.to_owned()).or_default(),
        };
        group.pending.entry(producer_id).or_default().extend(offsets);
        Ok(())
    }

    /// A producer's transaction ends: what it committed becomes so, or never was.
    pub fn end_transaction(&mut self, group_id: &str, producer_id: i64, commits: bool) {
        let Some(group) = self.groups.get_mut(group_id) else { return };
        let pending = group.pending.remove(&producer_id).unwrap_or_default();
        if commits {
            group.offsets.extend(pending);
        }
    }

    /// # Errors
    /// GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.
    pub fn delete(&mut self, group_id: &str) -> Result<(), ResponseError> {
        match self.groups.get(group_id) {
            None => Err(ResponseError::GroupIdNotFound),
            Some(group) if !group.members.is_empty() => Err(ResponseError::NonEmptyGroup),
            Some(_) => {
                self.groups.remove(group_id);
                Ok(())
            }
        }
    }

    /// Ends join phases and sessions that are over.
    pub fn handle_timeout(&mut self, now_us: u64) {
        for group in self.groups.values_mut() {
            let count = group.members.len();
            group.members.retain(|_, member| member.is_waiting() || now_us < member.expires_us);
            if group.members.len() < count {
                group.prepare_rebalance(now_us, 0, &mut self.answers);
            }
            group.try_complete_join(now_us, &mut self.answers);
        }
    }

    /// When [`Groups::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<u64> {
        self.groups.values().filter_map(Group::timeout).min()
    }

    /// What members have waited for.
    pub fn take_answers(&mut self) -> Vec<GroupAnswer> {
        std::mem::take(&mut self.answers)
    }

    fn spoken_to(
        &mut self,
        group_id: &str,
        speaker: Speaker<'_>,
        now_us: u64,
    ) -> Result<&mut Group, ResponseError> {
        let group = self.groups.get_mut(group_id).ok_or(ResponseError::UnknownMemberId)?;
        let member = group.members.get_mut(speaker.member_id).ok_or(ResponseError::UnknownMemberId)?;
        if speaker.generation != group.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        member.expires_us = now_us + member.session_timeout_us;
        Ok(group)
    }
}

impl Member {
    fn is_waiting(&self) -> bool {
        self.joining.is_some() || self.syncing.is_some()
    }
}

impl Group {
    /// Whether an open transaction may change this partition's offset (`hasPendingTransactionalOffsets`).
    pub fn is_unstable(&self, topic: &str, partition: i32) -> bool {
        let place = |(of, index): &(String, i32)| of == topic && *index == partition;
        self.pending.values().any(|offsets| offsets.keys().any(place))
    }

    fn accepts(&self, join: &Join) -> bool {
        let others = || self.members.iter().filter(|(id, _)| **id != join.member_id);
        let common =
            |name: &str| others().all(|(_, member)| member.protocols.iter().any(|(known, _)| known == name));
        others().next().is_none()
            || (self.protocol_type == join.protocol_type
                && join.protocols.iter().any(|(name, _)| common(name)))
    }

    fn has_instance(&self, instance_id: &str) -> bool {
        self.members.values().any(|member| member.instance_id.as_deref() == Some(instance_id))
    }

    /// A static member that comes back takes its place under a new id; whoever has the old one is fenced.
    fn replace_static(&mut self, instance_id: &str, member_id: &str, answers: &mut Vec<GroupAnswer>) {
        let place =
            self.members.iter().find(|(_, member)| member.instance_id.as_deref() == Some(instance_id));
        let Some(old_id) = place.map(|(id, _)| id.clone()) else {
            self.named.insert(member_id.to_owned());
            return;
        };
        if let Some(mut member) = self.members.remove(&old_id) {
            let fenced = ResponseError::FencedInstanceId;
            let joining = member.joining.take().map(|waited| (waited, Outcome::Joined(Err(fenced))));
            let syncing = member.syncing.take().map(|waited| (waited, Outcome::Synced(Err(fenced))));
            for ((ticket, request), answer) in joining.into_iter().chain(syncing) {
                answers.push(GroupAnswer { ticket, request, answer });
            }
            self.members.insert(member_id.to_owned(), member);
        }
    }

    fn prepare_rebalance(&mut self, now_us: u64, delay_us: u64, answers: &mut Vec<GroupAnswer>) {
        for member in self.members.values_mut() {
            let answer = Outcome::Synced(Err(ResponseError::RebalanceInProgress));
            let waited = member.syncing.take();
            answers.extend(waited.map(|(ticket, request)| GroupAnswer { ticket, request, answer }));
        }
        if self.state != State::PreparingRebalance {
            self.state = State::PreparingRebalance;
            let patience_us = self.members.values().map(|member| member.rebalance_timeout_us).max();
            self.join_ends_us = now_us + patience_us.unwrap_or(0).max(delay_us);
            self.join_open_until_us = now_us + delay_us;
        }
    }

    /// Begins the next generation once all members have joined, or the time for it is over.
    fn try_complete_join(&mut self, now_us: u64, answers: &mut Vec<GroupAnswer>) {
        if self.state != State::PreparingRebalance || now_us < self.join_open_until_us {
            return;
        }
        if now_us >= self.join_ends_us {
            self.members.retain(|_, member| member.joining.is_some());
        }
        if self.members.values().any(|member| member.joining.is_none()) {
            return;
        }
        self.generation += 1;
        if self.members.is_empty() {
            self.state = State::Empty;
            self.protocol.clear();
            self.leader.clear();
            return;
        }
        self.state = State::CompletingRebalance;
        self.protocol = self.elect_protocol();
        if !self.members.contains_key(&self.leader) {
            self.leader = self.members.keys().next().cloned().unwrap_or_default();
        }
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for member_id in ids {
            let joined = self.joined(&member_id);
            if let Some(member) = self.members.get_mut(&member_id) {
                member.expires_us = now_us + member.session_timeout_us;
                let answer = Outcome::Joined(Ok(joined));
                let waited = member.joining.take();
                answers.extend(waited.map(|(ticket, request)| GroupAnswer { ticket, request, answer }));
            }
        }
    }

    /// Of the protocols that all members know, the one that most of them like best.
    fn elect_protocol(&self) -> String {
        let known_by_all = |name: &str| {
            self.members.values().all(|member| member.protocols.iter().any(|(known, _)| known == name))
        };
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let best = member.protocols.iter().find(|(name, _)| known_by_all(name));
            if let Some((name, _)) = best {
                *votes.entry(name).or_default() += 1;
            }
        }
        votes
            .into_iter()
            .max_by_key(|&(_, count)| count)
            .map_or_else(String::new, |(name, _)| name.to_owned())
    }

    fn joined(&self, member_id: &str) -> Joined {
        let described = |(id, member): (&String, &Member)| {
            (id.clone(), member.instance_id.clone(), member.metadata(&self.protocol))
        };
        let leads = self.leader == member_id;
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member_id: member_id.to_owned(),
            members: if leads { self.members.iter().map(described).collect() } else { Vec::new() },
        }
    }

    fn synced(&self, member_id: &str) -> Synced {
        let member = self.members.get(member_id);
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: member.map_or_else(Bytes::new, |member| member.assignment.clone()),
        }
    }

    fn timeout(&self) -> Option<u64> {
        let sessions = self.members.values().filter(|member| !member.is_waiting());
        let session = sessions.map(|member| member.expires_us).min();
        let join = (self.state == State::PreparingRebalance).then(|| {
            let all_here = self.members.values().all(|member| member.joining.is_some());
            if all_here { self.join_open_until_us } else { self.join_ends_us }
        });
        session.into_iter().chain(join).min()
    }
}
