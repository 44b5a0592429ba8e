//! Where source bytes lie while they are in this process: a fixed number of chunks, used over and over.
//!
//! A socket is read into a chunk's spare capacity. What the shard takes from its front leaves as `Bytes` slices, and the
//! chunk can be used again when the last of them is dropped; the pool finds that out by asking, not by being told.

use crate::limits::CHUNK_BYTES;
use bytes::BytesMut;

/// A chunk with less room than this is not read into again before it is reclaimed.
const ROOM_BYTES_MIN: usize = 16 << 10;
/// What a connection that receives only small answers reads into.
const SMALL_BYTES: usize = 16 << 10;

/// The chunks of one shard. They never take more memory than its budget; a reader that gets `None` waits.
pub struct Pool {
    /// Chunks with room, nothing unread in them; the last one back is the first one out, as it is likely still in the cache.
    free: Vec<BytesMut>,
    /// Used up, and slices of them were still about when last asked.
    retired: Vec<BytesMut>,
    chunks: usize,
    chunks_max: usize,
    /// Of `chunks_max`: beyond the budget, until a chunk comes back that can be done without.
    overdrawn: usize,
}

impl Pool {
    /// A pool of whole chunks within `budget_bytes`, at least two. Memory is allocated when it is first needed.
    pub fn new(budget_bytes: usize) -> Self {
        let chunks_max = (budget_bytes / CHUNK_BYTES).max(2);
        Self { free: Vec::new(), retired: Vec::new(), chunks: 0, chunks_max, overdrawn: 0 }
    }

    /// An empty chunk with some room. `None`: all are in use, and reading on has to wait until slices were dropped.
    pub fn take(&mut self) -> Option<BytesMut> {
        if !self.has_chunk() {
            return None;
        }
        if let Some(mut chunk) = self.free.pop() {
            let _whole = chunk.try_reclaim(CHUNK_BYTES);
            return Some(chunk);
        }
        self.chunks += 1;
        Some(BytesMut::with_capacity(CHUNK_BYTES))
    }

    /// Whether [`Pool::take`] would give a chunk.
    pub fn has_chunk(&mut self) -> bool {
        if self.free.is_empty() {
            self.reclaim();
        }
        !self.free.is_empty() || self.chunks < self.chunks_max
    }

    /// Allows one chunk beyond the budget. Only for when nothing else helps: batches that are collected in parts and together
    /// need more than there is would wait for each other for ever.
    pub fn overdraw(&mut self) {
        self.chunks_max += 1;
        self.overdrawn += 1;
    }

    /// Returns a chunk. Slices of it may still be about; a chunk with room left is given out again all the same, so that
    /// small answers on many connections share one.
    pub fn put_back(&mut self, mut chunk: BytesMut) {
        chunk.clear();
        if chunk.try_reclaim(CHUNK_BYTES) {
            self.keep(chunk);
        } else if chunk.capacity() >= ROOM_BYTES_MIN {
            self.free.push(chunk);
        } else {
            self.retired.push(chunk);
        }
    }

    /// [`Pool::take`], but with this much room at least; a chunk with less is retired. `bytes` must fit in a whole chunk.
    fn take_with_room(&mut self, bytes: usize) -> Option<BytesMut> {
        loop {
            let chunk = self.take()?;
            if chunk.capacity() >= bytes {
                return Some(chunk);
            }
            self.retired.push(chunk);
        }
    }

    /// Bytes allocated so far; never more than the budget and what it was overdrawn by.
    pub fn allocated_bytes(&self) -> usize {
        self.chunks * CHUNK_BYTES
    }

    fn reclaim(&mut self) {
        let mut i = 0;
        while i < self.retired.len() {
            if self.retired[i].try_reclaim(CHUNK_BYTES) {
                let chunk = self.retired.swap_remove(i);
                self.keep(chunk);
            } else {
                i += 1;
            }
        }
    }

    fn keep(&mut self, whole_chunk: BytesMut) {
        if self.overdrawn > 0 {
            self.overdrawn -= 1;
            self.chunks_max -= 1;
            self.chunks -= 1;
        } else {
            self.free.push(whole_chunk);
        }
    }
}

/// The receiving end of one connection: what has arrived and the shard has not taken yet, with room behind it.
pub struct Inlet {
    buffer: BytesMut,
    /// `buffer` is a chunk of the pool. A chunk that was filled and taken to its last byte cannot be told by its capacity.
    has_chunk: bool,
    /// An incomplete head on its way to the next chunk, when there was none to be had. It has memory of its own: two
    /// connections that held on to a chunk each for a head could wait for each other for ever.
    carried: BytesMut,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Receives payloads: reads into chunks of the pool, and holds none while it waits with nothing unread.
    Pooled,
    /// Receives small answers, into memory of its own.
    Own,
    /// A pooled one, while it collects a head that is too large for a chunk.
    LargeHead,
}

impl Inlet {
    /// For a connection that receives payloads.
    pub fn pooled() -> Self {
        Self { buffer: BytesMut::new(), has_chunk: false, carried: BytesMut::new(), kind: Kind::Pooled }
    }

    /// For a connection that receives only small answers.
    pub fn own() -> Self {
        Self { kind: Kind::Own, ..Self::pooled() }
    }

    /// What has arrived, with the room that [`Inlet::make_room`] made.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Bytes that can be received without making more room.
    pub fn room(&self) -> usize {
        self.buffer.capacity() - self.buffer.len()
    }

    /// Sees to it that bytes can be received, and that `at_least` of them can lie in one piece behind an incomplete head.
    /// False: the pool is empty; try again when slices were dropped.
    ///
    /// A head too large for a chunk gets memory of its own, which grows only as fast as its bytes really arrive.
    pub fn make_room(&mut self, pool: &mut Pool, at_least: usize, at_most: usize) -> bool {
        if self.kind == Kind::LargeHead && self.buffer.is_empty() {
            *self = Self::pooled();
        }
        let head = self.buffer.len() + self.carried.len();
        if self.kind != Kind::Pooled {
            if self.room() < at_least.clamp(SMALL_BYTES / 4, SMALL_BYTES + head) {
                self.buffer.reserve(SMALL_BYTES + head);
            }
            return true;
        }
        let in_one_piece = if head == 0 { 1 } else { at_least };
        let room = self.room();
        if self.carried.is_empty() && room >= in_one_piece && room >= at_most.min(ROOM_BYTES_MIN) {
            return true;
        }
        if self.carried.is_empty() {
            self.carried = BytesMut::from(&self.buffer[..]);
            self.buffer.clear();
            self.rest(pool);
        }
        if head.saturating_add(in_one_piece) > CHUNK_BYTES / 2 {
            self.buffer = std::mem::take(&mut self.carried);
            self.buffer.reserve(CHUNK_BYTES);
            self.kind = Kind::LargeHead;
            return true;
        }
        let Some(chunk) = pool.take_with_room(head + in_one_piece.max(ROOM_BYTES_MIN)) else { return false };
        self.buffer = chunk;
        self.has_chunk = true;
        self.buffer.extend_from_slice(&std::mem::take(&mut self.carried));
        true
    }

    /// Called before waiting for the peer: a chunk with nothing unread in it goes back, for others to use meanwhile.
    pub fn rest(&mut self, pool: &mut Pool) {
        if self.has_chunk && self.buffer.is_empty() {
            self.has_chunk = false;
            pool.put_back(std::mem::take(&mut self.buffer));
        }
    }

    /// Called when the connection is gone: what was left unread is dropped.
    pub fn close(&mut self, pool: &mut Pool) {
        self.buffer.clear();
        self.rest(pool);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn fill(chunk: &mut BytesMut, bytes: usize) -> Bytes {
        chunk.resize(chunk.len() + bytes, 7);
        chunk.split().freeze()
    }

    #[test]
    fn the_budget_holds_until_slices_are_dropped() {
        let mut pool = Pool::new(3 * CHUNK_BYTES);
        let mut slices = Vec::new();
        for _ in 0..3 {
            let mut chunk = pool.take().unwrap();
            slices.push(fill(&mut chunk, CHUNK_BYTES));
            pool.put_back(chunk);
        }
        assert!(pool.take().is_none());
        assert_eq!(pool.allocated_bytes(), 3 * CHUNK_BYTES);

        let kept = slices.pop().unwrap();
        slices.clear();
        let chunk = pool.take().unwrap();
        assert_eq!(chunk.capacity(), CHUNK_BYTES);
        let other = pool.take().unwrap();
        assert_eq!(other.capacity(), CHUNK_BYTES);
        assert!(pool.take().is_none(), "a slice of the third chunk is still about");
        assert!(kept.iter().all(|&b| b == 7), "nobody wrote into the chunk meanwhile");
    }

    #[test]
    fn an_overdraft_is_paid_back() {
        let mut pool = Pool::new(2 * CHUNK_BYTES);
        let chunks = [pool.take().unwrap(), pool.take().unwrap()];
        assert!(!pool.has_chunk());
        pool.overdraw();
        let third = pool.take().unwrap();
        assert!(!pool.has_chunk());
        pool.put_back(third);
        assert!(!pool.has_chunk());
        assert_eq!(pool.allocated_bytes(), 2 * CHUNK_BYTES);
        chunks.into_iter().for_each(|chunk| pool.put_back(chunk));
        assert!(pool.take().is_some() && pool.take().is_some() && pool.take().is_none());
    }

    #[test]
    fn a_chunk_with_room_is_shared_and_its_slices_stay_whole() {
        let mut pool = Pool::new(2 * CHUNK_BYTES);
        let mut chunk = pool.take().unwrap();
        let first = fill(&mut chunk, 1000);
        pool.put_back(chunk);
        let mut chunk = pool.take().unwrap();
        assert_eq!(chunk.capacity(), CHUNK_BYTES - 1000);
        chunk.extend_from_slice(&[9; 1000]);
        assert!(first.iter().all(|&b| b == 7));
        assert_eq!(pool.allocated_bytes(), CHUNK_BYTES);
    }

    #[test]
    fn an_incomplete_head_moves_to_the_next_chunk() {
        let mut pool = Pool::new(2 * CHUNK_BYTES);
        let mut inlet = Inlet::pooled();
        assert!(inlet.make_room(&mut pool, 1, CHUNK_BYTES));
        let slice = fill(inlet.buffer(), CHUNK_BYTES - 10);
        inlet.buffer().extend_from_slice(b"0123456789");
        assert!(inlet.make_room(&mut pool, 61, CHUNK_BYTES));
        assert_eq!(&inlet.buffer()[..], b"0123456789");
        assert!(inlet.room() >= 61);
        assert_eq!(slice.len(), CHUNK_BYTES - 10);
    }

    #[test]
    fn a_chunk_that_was_filled_to_its_last_byte_comes_back() {
        let mut pool = Pool::new(2 * CHUNK_BYTES);
        let mut inlet = Inlet::pooled();
        for _ in 0..5 {
            assert!(inlet.make_room(&mut pool, 1, usize::MAX));
            let room = inlet.room();
            drop(fill(inlet.buffer(), room));
        }
        inlet.rest(&mut pool);
        assert!(pool.take().is_some() && pool.take().is_some());
    }

    #[test]
    fn a_head_survives_an_empty_pool_and_pins_no_chunk() {
        let mut pool = Pool::new(2 * CHUNK_BYTES);
        let mut inlet = Inlet::pooled();
        let mut other = pool.take().unwrap();
        let other_slice = fill(&mut other, CHUNK_BYTES);
        pool.put_back(other);
        assert!(inlet.make_room(&mut pool, 1, CHUNK_BYTES));
        let slice = fill(inlet.buffer(), CHUNK_BYTES - 3);
        inlet.buffer().extend_from_slice(b"abc");
        assert!(!inlet.make_room(&mut pool, 61, CHUNK_BYTES));
        assert!(!inlet.make_room(&mut pool, 61, CHUNK_BYTES));
        drop(slice);
        assert!(inlet.make_room(&mut pool, 61, CHUNK_BYTES));
        assert_eq!(&inlet.buffer()[..], b"abc");
        drop(other_slice);
    }

    #[test]
    fn a_resting_inlet_holds_no_chunk() {
        let mut pool = Pool::new(2 * CHUNK_BYTES);
        let mut inlets: Vec<Inlet> = (0..2000).map(|_| Inlet::pooled()).collect();
        for inlet in &mut inlets {
            assert!(inlet.make_room(&mut pool, 4, CHUNK_BYTES));
            drop(fill(inlet.buffer(), 100));
            inlet.rest(&mut pool);
        }
        assert_eq!(pool.allocated_bytes(), CHUNK_BYTES);
    }

    #[test]
    fn a_large_head_grows_only_with_what_arrives() {
        let mut pool = Pool::new(2 * CHUNK_BYTES);
        for mut inlet in [Inlet::pooled(), Inlet::own()] {
            assert!(inlet.make_room(&mut pool, 4, usize::MAX));
            inlet.buffer().extend_from_slice(&[1; 100]);
            for _ in 0..400 {
                assert!(inlet.make_room(&mut pool, 64 << 20, usize::MAX));
                let step = inlet.room().min(8 << 10);
                let len = inlet.buffer().len();
                inlet.buffer().resize(len + step, 1);
                assert!(inlet.buffer().capacity() <= 4 * len + 2 * CHUNK_BYTES);
            }
            assert!(inlet.buffer().iter().all(|&b| b == 1));
            inlet.buffer().clear();
            assert!(inlet.make_room(&mut pool, 4, usize::MAX));
        }
    }
}
