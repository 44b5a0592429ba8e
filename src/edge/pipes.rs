//! Kernel pipes: where a spliced payload lies between the source's socket and the target's.

use crate::shard::ConnId;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

/// What an unprivileged process may ask for by default (`/proc/sys/fs/pipe-max-size`).
const PIPE_BYTES: usize = 1 << 20;

/// One pipe, and how much is in it.
pub struct Pipe {
    pub reader: OwnedFd,
    pub writer: OwnedFd,
    pub bytes: usize,
}

/// A shard's pipes, one for each source connection that feeds a target connection, so that payloads of two sources never
/// mix.
///
/// A pipe lives as long as its target connection, and as its source or the bytes that the source put into it. Connection
/// numbers are never used again, so no byte of a broken answer can find its way into another request.
#[derive(Default)]
pub struct Pipes(BTreeMap<(ConnId, ConnId), Pipe>);

impl Pipes {
    /// The pipe from a source connection into a target connection, made when it is first asked for.
    pub fn open(&mut self, from: ConnId, into: ConnId) -> rustix::io::Result<&mut Pipe> {
        use std::collections::btree_map::Entry;
        match self.0.entry((from, into)) {
            Entry::Occupied(pipe) => Ok(pipe.into_mut()),
            Entry::Vacant(place) => {
                let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
                // Refused when this user already has many pipes; the small one works too, with more system calls.
                let _ = fcntl_setpipe_size(&writer, PIPE_BYTES);
                Ok(place.insert(Pipe { reader, writer, bytes: 0 }))
            }
        }
    }

    /// The pipe between the two, if there is one.
    pub fn get(&mut self, from: ConnId, into: ConnId) -> Option<&mut Pipe> {
        self.0.get_mut(&(from, into))
    }

    /// Drops the pipes that a closed connection leaves without use. What a source has put into a pipe was reported as moved and
    /// is still sent: its pipe stays until it is empty, when this is to be called again.
    pub fn close(&mut self, conn: ConnId) {
        self.0.retain(|&(from, into), pipe| into != conn && (from != conn || pipe.bytes > 0));
    }
}
