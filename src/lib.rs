//! Twinlog keeps a twin of Kafka topics on another cluster.
//!
//! The life of one batch, and where to read it:
//!
//! 1. [`wire::fetch`] walks a fetch response as it streams in and shows each batch's 61-byte header;
//! 2. [`shard`] asks the batch's lane for a verdict; a passing batch gets a new header ([`wire::batch`]), its checksum
//!    fixed without reading the payload ([`wire::crc`]);
//! 3. [`wire::produce`] frames it, and the payload follows as a handle: pool buffers, or bytes spliced by the kernel;
//! 4. the acknowledgement settles the lane, and [`control::ledger`] makes the progress durable on the target.
//!
//! Everything but `edge` is pure: no clock, no socket, no thread. `edge` is the only place that has them, and
//! `cargo check --lib --no-default-features` proves it.

pub mod broker;
pub mod config;
pub mod conn;
pub mod control;
#[cfg(feature = "edge")]
pub mod edge;
pub mod error;
pub mod limits;
pub mod load;
pub mod records;
#[cfg(feature = "edge")]
pub mod report;
pub mod shard;
pub mod sim;
pub mod stats;
pub mod time;
pub mod wire;
