//! Frames as they follow each other on a connection: a size of 4 bytes, then that many bytes.

use super::BadFrame;
use bytes::{Buf, BytesMut};

/// Bytes of the size prefix.
pub const SIZE_BYTES: usize = 4;

/// Takes the next whole frame from the front of `input`, without its size prefix. None: it is not complete yet. A frame
/// that announces more than `limit` bytes is refused when its size is seen.
pub fn split_frame(input: &mut BytesMut, limit: usize) -> Result<Option<BytesMut>, BadFrame> {
    let Some(prefix) = input.first_chunk::<SIZE_BYTES>() else {
        return Ok(None);
    };
    let size = frame_bytes(*prefix, limit)?;
    if input.len() - SIZE_BYTES < size {
        return Ok(None);
    }
    input.advance(SIZE_BYTES);
    Ok(Some(input.split_to(size)))
}

/// Size of the frame that a prefix announces.
pub fn frame_bytes(prefix: [u8; SIZE_BYTES], limit: usize) -> Result<usize, BadFrame> {
    match usize::try_from(i32::from_be_bytes(prefix)) {
        // Every request and every answer begins with 4 bytes or more.
        Ok(size) if (4..=limit).contains(&size) => Ok(size),
        _ => Err(BadFrame::new("size of a frame", not_kafka(prefix, limit), 0)),
    }
}

fn not_kafka(prefix: [u8; SIZE_BYTES], limit: usize) -> String {
    match &prefix {
        [0x15 | 0x16, 0x03, _, _] => {
            "the other side speaks TLS on this port; set security.protocol to SSL or SASL_SSL, or use its plaintext listener".into()
        }
        b"HTTP" => "the other side speaks HTTP on this port; use the port of a Kafka listener".into(),
        _ => format!(
            "{} is no size between 4 and {limit} bytes; check that a Kafka broker listens on this port",
            i32::from_be_bytes(prefix)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_one_by_one_when_they_are_complete() {
        let mut input = BytesMut::new();
        for byte in b"\0\0\0\x05hello\0\0\0\x04next" {
            assert!(!input.starts_with(b"\0\0\0\x05hello"));
            input.extend_from_slice(&[*byte]);
            if let Some(frame) = split_frame(&mut input, 5).unwrap() {
                assert!(frame == b"hello"[..] || frame == b"next"[..]);
                assert!(input.is_empty());
            }
        }
        assert!(input.is_empty());
    }

    #[test]
    fn a_wrong_size_says_what_the_other_side_may_be() {
        let cause = |prefix: &[u8]| split_frame(&mut prefix.into(), 1 << 20).unwrap_err().to_string();
        assert!(cause(&[0x15, 3, 1, 0, 2]).contains("TLS"));
        assert!(cause(&[0x16, 3, 3, 1, 0]).contains("TLS"));
        assert!(cause(b"HTTP/1.1 400").contains("HTTP"));
        assert!(cause(&[0, 0x10, 0, 1]).contains("1048577"));
        assert!(cause(&[0xff; 4]).contains("-1"));
        assert!(cause(&[0, 0, 0, 3]).contains('3'));
    }
}
