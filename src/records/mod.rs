//! Changing records on their way, for topics that need it.

pub mod wasm;
