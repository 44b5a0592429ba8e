//! The only place with sockets, threads, time and files.
//!
//! How bytes move, from the bottom up: [`socket`] does one non-blocking operation on one socket, [`buffers`] and [`pipes`]
//! hold what is on its way, [`mover`] empties a connection's queue into its socket, and [`shard_task`] drives a
//! [`Shard`](crate::shard::Shard) with them on the executor that [`runtime`] pinned to a core.

// Clocks, threads and environment variables are what this folder is for.
#![allow(clippy::disallowed_methods)]

mod acls;
pub mod admin;
pub mod apply;
pub mod bench;
pub mod broker_task;
pub mod buffers;
pub mod capacity;
pub mod client;
mod client_topics;
pub mod clock;
pub mod control_task;
mod coordinators;
pub mod failover;
pub mod groups;
mod gssapi;
mod held_link;
mod hlog;
mod http;
mod https;
pub mod instances;
pub mod ledger_io;
mod letters;
mod line;
pub mod links;
pub mod load;
pub mod logging;
pub mod machine;
pub mod mirror;
pub mod mover;
pub mod offsets;
mod outside;
pub mod pipes;
pub mod plan;
pub mod progress;
mod quotas;
mod recipes;
pub mod remote;
pub mod runtime;
pub mod schemas;
mod scram;
pub mod security;
pub mod shape;
pub mod shard_task;
pub mod signals;
pub mod sim_cmd;
pub mod socket;
mod sys;
pub mod take_over;
pub mod tls;
mod tokens;
pub mod top;
mod transactions;
pub mod usage;
pub mod verify;
