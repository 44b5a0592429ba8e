//! Several instances of one link: a Kafka group on the target says which instance runs which of the link's parts.
//!
//! The group only says who *should* run a part. Who *does* is decided by the part's lock ([`super::ledger`]), so a group that is
//! mistaken for a while (an instance that is cut off, two that believe in the same assignment) costs a restart of a part and no
//! record.
//!
//! [`assign`] is what the group's leader decides, [`Member`] is one instance's side of Kafka's classic group protocol.

mod assignment;
mod member;

pub use assignment::assign;
pub use member::{Ask, Ended, JoinAnswer, Joining, Member, MemberSettings, Peer};

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Kafka's `protocol_type` for groups of instances.
pub const PROTOCOL_TYPE: &str = "twinlog";

/// The group of a link's instances. No link's name has a colon.
pub fn group_id(link: &str) -> String {
    format!("twinlog.{link}:instances")
}

/// The name of the assignment protocol. Instances that were told of other numbers of parts cannot be in one group.
pub fn protocol_name(parts: u32) -> String {
    format!("twinlog-{parts}-parts")
}

/// What an instance says when it joins, and what the leader answers: parts by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    pub parts: BTreeSet<u32>,
}

impl Parts {
    pub fn encode(parts: &BTreeSet<u32>) -> Vec<u8> {
        serde_json::to_vec(&Self { parts: parts.clone() }).expect("numbers are encodable")
    }

    /// What cannot be read is no part.
    pub fn decode(bytes: &[u8]) -> BTreeSet<u32> {
        serde_json::from_slice::<Self>(bytes).map(|read| read.parts).unwrap_or_default()
    }
}
