//! The header checksum of LZ4 frames in messages of format 0: Kafka before 0.10 computed it over too much (KIP-57), and readers of
//! that format do not look at it.

use crate::wire::codec::BadRecords;
use std::borrow::Cow;

const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
/// Flags at 4, block size at 5, then the checksum, unless the content's size comes before it.
const DESCRIPTOR_AT: usize = 4;
const HAS_CONTENT_SIZE: u8 = 0x08;
const HAS_DICTIONARY: u8 = 0x01;

/// The frame with the header checksum that the LZ4 specification wants.
pub(super) fn with_checksum(frame: &[u8]) -> Result<Cow<'_, [u8]>, BadRecords> {
    let flags = frame.get(DESCRIPTOR_AT).copied().filter(|_| frame.starts_with(&MAGIC));
    let flags = flags.ok_or(BadRecords::Records("it is no LZ4 frame"))?;
    let content_size = if flags & HAS_CONTENT_SIZE == 0 { 0 } else { 8 };
    let dictionary = if flags & HAS_DICTIONARY == 0 { 0 } else { 4 };
    let checksum_at = DESCRIPTOR_AT + 2 + content_size + dictionary;
    let (Some(descriptor), Some(&checksum)) = (frame.get(DESCRIPTOR_AT..checksum_at), frame.get(checksum_at))
    else {
        return Err(BadRecords::Records("an LZ4 frame is cut short"));
    };
    let right = (xxh32(descriptor) >> 8) as u8;
    if right == checksum {
        return Ok(Cow::Borrowed(frame));
    }
    let mut frame = frame.to_vec();
    frame[checksum_at] = right;
    Ok(Cow::Owned(frame))
}

/// XXH32 with seed 0, of less than 16 bytes: a frame's descriptor has no more than 14.
fn xxh32(bytes: &[u8]) -> u32 {
    const PRIMES: [u32; 5] = [0x9e37_79b1, 0x85eb_ca77, 0xc2b2_ae3d, 0x27d4_eb2f, 0x1656_67b1];
    debug_assert!(bytes.len() < 16);
    let mut hash = PRIMES[4].wrapping_add(bytes.len() as u32);
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let word = word.iter().rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
        hash = hash.wrapping_add(word.wrapping_mul(PRIMES[2])).rotate_left(17).wrapping_mul(PRIMES[3]);
    }
    for &byte in words.remainder() {
        hash = hash
            .wrapping_add(u32::from(byte).wrapping_mul(PRIMES[4]))
            .rotate_left(11)
            .wrapping_mul(PRIMES[0]);
    }
    hash = (hash ^ hash >> 15).wrapping_mul(PRIMES[1]);
    hash = (hash ^ hash >> 13).wrapping_mul(PRIMES[2]);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec;

    const LZ4: u8 = 3;

    #[test]
    fn the_specification_s_hash_is_computed() {
        assert_eq!(xxh32(b""), 0x02cc_5d05);
        assert_eq!(xxh32(b"a"), 0x550d_7456);
        assert_eq!(xxh32(b"abc"), 0x32d1_53ff);
        assert_eq!(xxh32(b"message digest"), 0x7c94_8494);
    }

    #[test]
    fn a_frame_with_a_wrong_header_checksum_is_read() {
        let records = b"abc".repeat(1000);
        let frame = codec::compress(codec::Compression::of(LZ4), &records).unwrap();
        assert_eq!(*with_checksum(&frame).unwrap(), frame, "a right one stays");
        let mut wrong = frame.clone();
        wrong[6] ^= 0x55;
        assert!(codec::decompress(LZ4, &wrong, 1 << 20).is_err());
        assert_eq!(*codec::decompress(LZ4, &with_checksum(&wrong).unwrap(), 1 << 20).unwrap(), records);
        for cut in 0..7 {
            assert!(with_checksum(&frame[..cut]).is_err());
        }
    }
}
