//! In place of `instance.rs` in a build without an interpreter.

use super::Limits;
use crate::wire::rebuild::{Change, Changed, Record};

/// There are none.
#[derive(Debug)]
pub enum Instance {}

impl Instance {
    pub(super) fn new(_: &[u8], _: Limits) -> Result<Self, String> {
        Err("this build has no WebAssembly; build with --features wasm".into())
    }
}

impl Change for Instance {
    fn change(&mut self, _: &Record<'_>, _: &mut Vec<u8>) -> Result<Changed, String> {
        match *self {}
    }
}
