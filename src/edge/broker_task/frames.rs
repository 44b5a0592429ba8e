//! Buffers for requests, used again once nothing refers to them: fresh memory costs more than the copy out of the socket.

use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

/// Requests smaller than this are not worth recycling.
const RECYCLED_FROM_BYTES: usize = 32 << 10;
const IDLE_BYTES_MAX: usize = 64 << 20;

/// Idle buffers, shared with the requests that will bring theirs back.
#[derive(Clone, Debug, Default)]
pub(super) struct FramePool {
    idle: Arc<Mutex<Idle>>,
}

#[derive(Debug, Default)]
struct Idle {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// A request's buffer, which goes back to its pool when the last slice of it is dropped.
struct Returned {
    buffer: Vec<u8>,
    bytes: usize,
    pool: FramePool,
}

impl FramePool {
    /// A buffer of at least `bytes`, which are zero or what an earlier request left there.
    pub(super) fn take(&self, bytes: usize) -> Vec<u8> {
        if bytes >= RECYCLED_FROM_BYTES {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let fits = |buffer: &Vec<u8>| (bytes..=bytes + bytes / 4).contains(&buffer.len());
            if let Some(at) = idle.buffers.iter().position(fits) {
                let buffer = idle.buffers.swap_remove(at);
                idle.bytes -= buffer.len();
                return buffer;
            }
        }
        vec![0; bytes]
    }

    /// The first `bytes` of a buffer as a request.
    pub(super) fn freeze(&self, buffer: Vec<u8>, bytes: usize) -> Bytes {
        if buffer.len() < RECYCLED_FROM_BYTES {
            return Bytes::from(buffer).slice(..bytes);
        }
        Bytes::from_owner(Returned { buffer, bytes, pool: self.clone() })
    }
}

impl AsRef<[u8]> for Returned {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.bytes]
    }
}

impl Drop for Returned {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut idle = self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.bytes + buffer.len() <= IDLE_BYTES_MAX {
            idle.bytes += buffer.len();
            idle.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_serves_again_when_its_last_slice_is_gone() {
        let pool = FramePool::default();
        let mut buffer = pool.take(100_000);
        buffer.fill(7);
        let at = buffer.as_ptr();
        let frame = pool.freeze(buffer, 99_999);
        let slice = frame.slice(50_000..50_010);
        drop(frame);
        let other = pool.take(100_000);
        assert_ne!(other.as_ptr(), at);
        assert_eq!(slice[..], [7; 10]);
        drop(slice);
        let again = pool.take(90_000);
        assert_eq!((again.as_ptr(), again.len()), (at, 100_000));
    }
}
