//! Handlers of the user's own: WebAssembly modules that keep, drop or change each record.
//!
//! A module exports
//!
//! | name | |
//! |---|---|
//! | `memory` | its memory |
//! | `twinlog_buffer(bytes: i32) -> i32` | the address of room for so many bytes, where records are put |
//! | `twinlog_record(at: i32, bytes: i32, timestamp_ms: i64) -> i64` | what becomes of the record that lies there |
//! | `_initialize()` | called once, before the others; not needed |
//!
//! The room serves until a record is longer; then more is asked for.
//!
//! What it gets is a record's body as it stands in a record batch (magic 2): the key, the value, the number of headers, and of each
//! header the key and the value. Before each stands its length, -1 for null, as a zigzag varint like the number of headers; those
//! are of 32 bits. It may overwrite that in place.
//!
//! It answers [`KEEP`], [`DROP`], [`FAIL`], or where a new body lies, in the same encoding: its address × 2^32 + its length. It has
//! to stay there until the next call. A record's time and offset are not the handler's: look-ups by time, retention, and what the
//! broker still knows of producers follow from them.
//!
//! Records are read again after any doubt, and what came of them must be the same. So a module may import nothing, neither a clock
//! nor chance, and must not remember records: its answer has to follow from the one before it.

#[cfg(not(feature = "wasm"))]
#[path = "wasm/absent.rs"]
mod instance;
#[cfg(feature = "wasm")]
mod instance;
#[cfg(all(test, feature = "wasm"))]
mod tests;

pub use instance::Instance;

use crate::limits::{
    HANDLER_FUEL_PER_RECORD, HANDLER_MEMORY_BYTES, HANDLER_MEMORY_BYTES_MAX, HANDLER_MODULE_BYTES_MAX,
};
use std::fmt;
use std::sync::Arc;

/// The answers of `twinlog_record` that are no new body.
pub const KEEP: i64 = 0;
pub const DROP: i64 = 1;
/// The handler cannot handle the record. It cannot say more, so that no record's contents come to stand in a log.
pub const FAIL: i64 = 2;

/// What a module may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of each instance, and so the longest record that it can be given.
    pub memory_bytes: usize,
    /// What a call may use up: about one unit for each of its instructions, and for each 64 bytes that one of them copies.
    pub fuel_per_record: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory_bytes: HANDLER_MEMORY_BYTES, fuel_per_record: HANDLER_FUEL_PER_RECORD }
    }
}

/// A handler that can be run, the same for all cores.
#[derive(Clone)]
pub struct Module {
    bytes: Arc<[u8]>,
    limits: Limits,
}

impl Module {
    /// `bytes`: WebAssembly in its binary format. The error says what is wrong with them or with the limits.
    pub fn compile(bytes: &[u8], limits: Limits) -> Result<Self, String> {
        if bytes.len() > HANDLER_MODULE_BYTES_MAX {
            return Err(format!(
                "the module is longer than {HANDLER_MODULE_BYTES_MAX} bytes; build it optimized and stripped"
            ));
        }
        if limits.memory_bytes > HANDLER_MEMORY_BYTES_MAX {
            return Err(format!(
                "a module may have up to {HANDLER_MEMORY_BYTES_MAX} bytes of memory; lower memory-bytes-max"
            ));
        }
        let module = Self { bytes: bytes.into(), limits };
        // Whatever can be wrong with it shows now and not at the first record.
        module.instance()?;
        Ok(module)
    }

    /// A handler with code and memory of its own, so that cores share nothing. It takes milliseconds: one a core, not one a lane.
    pub fn instance(&self) -> Result<Instance, String> {
        Instance::new(&self.bytes, self.limits)
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module").field("bytes", &self.bytes.len()).field("limits", &self.limits).finish()
    }
}
