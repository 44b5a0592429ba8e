//! What a link should do, decided from what was observed: which topics to mirror, what to create on the target, and what is
//! durable of the lanes' progress; and what that comes to, before it is done ([`forecast`]). Pure; `edge` observes and carries out.

pub mod acls;
pub mod checkpoints;
pub mod config_sync;
pub mod configs;
pub mod deleted;
pub mod finding;
pub mod forecast;
pub mod groups;
pub mod heartbeats;
pub mod instances;
pub mod ledger;
pub mod metadata;
pub mod offset_map;
pub mod offsets;
pub mod pauses;
pub mod planner;
pub mod quotas;
pub mod reading;
pub mod room;
pub mod schemas;
pub mod scram;
pub mod take_over;
pub mod topics;
pub mod transactions;
pub mod verify;
