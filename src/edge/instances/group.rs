//! What the coordinator of the instances' group is asked, and the thread that asks it.

use crate::config::{Instances, Mirror};
use crate::control::instances::{
    Ask, Ended, JoinAnswer, Joining, Member, MemberSettings, PROTOCOL_TYPE, Peer, group_id, protocol_name,
};
use crate::edge::admin::{Admin, AdminError, check};
use crate::edge::client::ClientError;
use crate::edge::clock;
use crate::edge::coordinators::{self, GROUP_KEY};
use crate::edge::outside::lock;
use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const JOIN_GROUP: (i16, i16) = (4, 9);
const SYNC_GROUP: (i16, i16) = (2, 5);
const HEARTBEAT: (i16, i16) = (2, 4);
const LEAVE_GROUP: (i16, i16) = (1, 5);
/// From these versions on a member may have a name of its own (KIP-345).
const JOIN_NAMED_MIN: i16 = 5;
const SYNC_NAMED_MIN: i16 = 3;
const HEARTBEAT_NAMED_MIN: i16 = 3;
const LEAVE_NAMED_MIN: i16 = 3;
/// From here on a request to sync says which protocol it is about.
const SYNC_TYPED_MIN: i16 = 5;
/// COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR.
const COORDINATOR_ERRORS: std::ops::RangeInclusive<i16> = 14..=16;
/// An answer to a join may take as long as the slowest instance has; a little later it will not come any more.
const JOIN_SLACK_MS: u64 = 5_000;
const NAP: Duration = Duration::from_millis(20);
/// How long a clean end waits for a question that is out.
const LEAVE_PATIENCE_MS: u64 = 3_000;

/// What an instance has heard from the group.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    pub(super) assigned: BTreeSet<u32>,
    /// When the coordinator last said that this instance is one of the group (steady clock, µs). None: not yet.
    pub(super) confirmed_us: Option<u64>,
    pub(super) trouble: Option<String>,
    /// It cannot be in the group.
    pub(super) ended: Option<String>,
}

/// The thread that keeps this instance in the group, and what it shares.
pub(super) struct Membership {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    heard: Mutex<Heard>,
    runs: Mutex<BTreeSet<u32>>,
    stop: AtomicBool,
}

impl Membership {
    pub(super) fn start(config: &Mirror, instances: &Instances, name: &str) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let group = Group::new(config, instances, name);
        let settings = MemberSettings {
            parts: instances.parts,
            name: name.to_owned(),
            timeout_ms: instances.timeout_ms,
        };
        let for_thread = Arc::clone(&shared);
        let run = move || stay(group, Member::new(settings), &for_thread);
        let thread = std::thread::Builder::new().name("instances".into()).spawn(run)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub(super) fn heard(&self) -> Heard {
        lock(&self.shared.heard).clone()
    }

    /// What this instance runs at this moment, or has not ended yet.
    pub(super) fn tell_runs(&self, runs: BTreeSet<u32>) {
        *lock(&self.shared.runs) = runs;
    }

    /// Everything has ended here: the others may run it at once.
    pub(super) fn leave(mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let until_us = clock::now().after_ms(LEAVE_PATIENCE_MS);
        let Some(thread) = self.thread.take() else { return };
        while !thread.is_finished() && clock::now().mono_us < until_us {
            std::thread::sleep(NAP);
        }
    }
}

fn stay(mut group: Group, mut member: Member, shared: &Shared) {
    while !shared.stop.load(Ordering::Relaxed) {
        let runs = lock(&shared.runs).clone();
        let Some(ask) = member.poll(clock::now(), &runs) else {
            std::thread::sleep(NAP);
            continue;
        };
        let before = member.assigned().clone();
        let ended = group.carry_out(&mut member, ask, &shared.runs).err().map(|Ended(why)| why);
        if *member.assigned() != before {
            tracing::info!(parts = ?member.assigned(), "this instance is to run these parts of the link");
        }
        let heard = Heard {
            assigned: member.assigned().clone(),
            confirmed_us: member.confirmed_us(),
            trouble: member.trouble().map(ToOwned::to_owned),
            ended,
        };
        let is_over = heard.ended.is_some();
        *lock(&shared.heard) = heard;
        if is_over {
            return;
        }
    }
    if let Err(error) = group.leave(member.member_id()) {
        tracing::debug!(%error, "the group will notice by itself that this instance has left");
    }
}

struct Group {
    admin: Admin,
    id: GroupId,
    protocol: StrBytes,
    name: StrBytes,
    timeout_ms: i32,
    coordinator: Option<i32>,
}

impl Group {
    fn new(config: &Mirror, instances: &Instances, name: &str) -> Self {
        let timeout = Duration::from_millis(instances.timeout_ms + JOIN_SLACK_MS);
        Self {
            admin: Admin::new(&config.target, &config.client_id, timeout),
            id: GroupId(StrBytes::from_string(group_id(&config.link))),
            protocol: StrBytes::from_string(protocol_name(instances.parts)),
            name: StrBytes::from_string(name.to_owned()),
            timeout_ms: i32::try_from(instances.timeout_ms).unwrap_or(i32::MAX),
            coordinator: None,
        }
    }

    fn carry_out(&mut self, member: &mut Member, ask: Ask, runs: &Mutex<BTreeSet<u32>>) -> Result<(), Ended> {
        let answered = self.ask(member, ask, runs);
        let now = clock::now();
        match answered {
            Ok(taken) => taken,
            Err(error) if error.is_passing() => {
                self.coordinator = None;
                tracing::debug!(%error, "the group of instances");
                member.on_failed(now, error.to_string());
                Ok(())
            }
            Err(error) => Err(Ended(format!("the group of this link's instances: {error}"))),
        }
    }

    fn ask(
        &mut self,
        member: &mut Member,
        ask: Ask,
        runs: &Mutex<BTreeSet<u32>>,
    ) -> Result<Result<(), Ended>, AdminError> {
        let coordinator = self.coordinator()?;
        let (code, taken) = match ask {
            Ask::Join(joining) => {
                let (code, answer) = self.join(coordinator, joining)?;
                (code, member.on_joined(clock::now(), code, answer))
            }
            Ask::Sync { member_id, generation, assignments } => {
                let (code, assignment) = self.sync(coordinator, member_id, generation, assignments)?;
                (code, member.on_synced(clock::now(), code, &assignment, &lock(runs)))
            }
            Ask::Beat { member_id, generation } => {
                let code = self.beat(coordinator, member_id, generation)?;
                (code, member.on_beat(clock::now(), code))
            }
        };
        if COORDINATOR_ERRORS.contains(&code) {
            self.coordinator = None;
        }
        Ok(taken)
    }

    fn coordinator(&mut self) -> Result<i32, AdminError> {
        if let Some(coordinator) = self.coordinator {
            return Ok(coordinator);
        }
        self.admin.observe()?;
        let found = coordinators::find(
            &mut self.admin,
            GROUP_KEY,
            &self.id,
            "looking for the coordinator of this link's instances (READ on their group)",
        )?;
        self.coordinator = Some(found);
        Ok(found)
    }

    fn join(&mut self, coordinator: i32, joining: Joining) -> Result<(i16, JoinAnswer), ClientError> {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(self.protocol.clone())
            .with_metadata(Bytes::from(joining.metadata));
        let (min, max) = JOIN_GROUP;
        let answer = self.admin.client().call(coordinator, min, max, |version| {
            JoinGroupRequest::default()
                .with_group_id(self.id.clone())
                .with_session_timeout_ms(self.timeout_ms)
                .with_rebalance_timeout_ms(self.timeout_ms)
                .with_member_id(text(&joining.member_id))
                .with_group_instance_id(named(version >= JOIN_NAMED_MIN, &self.name))
                .with_protocol_type(StrBytes::from_static_str(PROTOCOL_TYPE))
                .with_protocols(vec![protocol])
                .with_reason(None)
        })?;
        let members = answer.members.into_iter();
        let joined = JoinAnswer {
            member_id: answer.member_id.to_string(),
            generation: answer.generation_id,
            leader: answer.leader.to_string(),
            members: members
                .map(|peer| Peer { member_id: peer.member_id.to_string(), metadata: peer.metadata.to_vec() })
                .collect(),
            skips_assignment: answer.skip_assignment,
        };
        Ok((answer.error_code, joined))
    }

    fn sync(
        &mut self,
        coordinator: i32,
        member_id: String,
        generation: i32,
        assignments: BTreeMap<String, Vec<u8>>,
    ) -> Result<(i16, Bytes), ClientError> {
        let assignments = assignments.into_iter().map(|(member, parts)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(text(&member))
                .with_assignment(Bytes::from(parts))
        });
        let assignments = assignments.collect();
        let (min, max) = SYNC_GROUP;
        let answer = self.admin.client().call(coordinator, min, max, |version| {
            let is_typed = version >= SYNC_TYPED_MIN;
            SyncGroupRequest::default()
                .with_group_id(self.id.clone())
                .with_generation_id(generation)
                .with_member_id(text(&member_id))
                .with_group_instance_id(named(version >= SYNC_NAMED_MIN, &self.name))
                .with_protocol_type(is_typed.then(|| StrBytes::from_static_str(PROTOCOL_TYPE)))
                .with_protocol_name(is_typed.then(|| self.protocol.clone()))
                .with_assignments(assignments)
        })?;
        Ok((answer.error_code, answer.assignment))
    }

    fn beat(&mut self, coordinator: i32, member_id: String, generation: i32) -> Result<i16, ClientError> {
        let (min, max) = HEARTBEAT;
        let answer = self.admin.client().call(coordinator, min, max, |version| {
            HeartbeatRequest::default()
                .with_group_id(self.id.clone())
                .with_generation_id(generation)
                .with_member_id(text(&member_id))
                .with_group_instance_id(named(version >= HEARTBEAT_NAMED_MIN, &self.name))
        })?;
        Ok(answer.error_code)
    }

    fn leave(&mut self, member_id: &str) -> Result<(), AdminError> {
        let (Some(coordinator), false) = (self.coordinator, member_id.is_empty()) else { return Ok(()) };
        let (min, max) = LEAVE_GROUP;
        let answer = self.admin.client().call(coordinator, min, max, |version| {
            let request = LeaveGroupRequest::default().with_group_id(self.id.clone());
            let member = MemberIdentity::default()
                .with_member_id(text(member_id))
                .with_group_instance_id(Some(self.name.clone()))
                .with_reason(None);
            match version >= LEAVE_NAMED_MIN {
                true => request.with_members(vec![member]),
                false => request.with_member_id(text(member_id)),
            }
        })?;
        check(answer.error_code, "leaving the group of instances")
    }
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// None has to be said; the default is an empty name.
fn named(may_be: bool, name: &StrBytes) -> Option<StrBytes> {
    may_be.then(|| name.clone())
}
