//! Compression of a batch's records, as Kafka's clients write and read it.

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use std::borrow::Cow;
use std::io::{self, Read, Write};

/// Kafka's `CompressionType` ids.
const NONE: u8 = 0;
const GZIP: u8 = 1;
const SNAPPY: u8 = 2;
const LZ4: u8 = 3;
const ZSTD: u8 = 4;

/// What Java's snappy streams begin with (xerial snappy-java's `SnappyCodec`): magic, version 1, compatible version 1.
const XERIAL_HEADER: [u8; 16] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1];
const XERIAL_BLOCK_BYTES: usize = 32 << 10;

/// Why a batch's records cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BadRecords {
    #[error("its records cannot be decompressed: {0}")]
    Compression(#[from] io::Error),
    #[error("its records are more than {0} bytes when decompressed")]
    TooLarge(usize),
    #[error("it is compressed with codec {0}, which Kafka does not know")]
    Codec(u8),
    #[error("its records do not fit its header: {0}")]
    Records(&'static str),
    #[error("its checksum does not fit its records")]
    Checksum,
    #[error("its record at offset {offset} cannot be changed: {cause}")]
    Change { offset: i64, cause: String },
}

/// How records are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    pub codec: u8,
    /// gzip 1 to 9, lz4 1 to 17, zstd 1 to 22. None: the codec's default.
    pub level: Option<i32>,
}

impl Compression {
    /// At the codec's default level.
    pub fn of(codec: u8) -> Self {
        Self { codec, level: None }
    }
}

/// The records' bytes, at most `bytes_max` of them.
pub fn decompress(codec: u8, compressed: &[u8], bytes_max: usize) -> Result<Cow<'_, [u8]>, BadRecords> {
    let bytes = match codec {
        NONE if compressed.len() > bytes_max => return Err(BadRecords::TooLarge(bytes_max)),
        NONE => return Ok(Cow::Borrowed(compressed)),
        GZIP => read_all(MultiGzDecoder::new(compressed), bytes_max)?,
        SNAPPY => unsnappy(compressed, bytes_max)?,
        LZ4 => read_all(lz4::Decoder::new(compressed)?, bytes_max)?,
        ZSTD => read_all(zstd::stream::read::Decoder::with_buffer(compressed)?, bytes_max)?,
        _ => return Err(BadRecords::Codec(codec)),
    };
    Ok(Cow::Owned(bytes))
}

/// The reverse of [`decompress`].
pub fn compress<'a>(
    compression: Compression,
    records: impl Into<Cow<'a, [u8]>>,
) -> Result<Vec<u8>, BadRecords> {
    let Compression { codec, level } = compression;
    let records = records.into();
    match codec {
        NONE => Ok(records.into_owned()),
        GZIP => {
            let level = level.map_or(flate2::Compression::default(), |level| {
                flate2::Compression::new(level.unsigned_abs())
            });
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(&records)?;
            Ok(encoder.finish()?)
        }
        SNAPPY => snappy(&records),
        LZ4 => {
            // Kafka's reader knows no blocks that depend on each other.
            let mut encoder = lz4::EncoderBuilder::new()
                .block_mode(lz4::BlockMode::Independent)
                .block_size(lz4::BlockSize::Max64KB)
                .level(level.unwrap_or(0).unsigned_abs())
                .build(Vec::new())?;
            encoder.write_all(&records)?;
            let (compressed, done) = encoder.finish();
            done?;
            Ok(compressed)
        }
        ZSTD => Ok(zstd::bulk::compress(&records, level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL))?),
        _ => Err(BadRecords::Codec(codec)),
    }
}

fn read_all(reader: impl Read, bytes_max: usize) -> Result<Vec<u8>, BadRecords> {
    let mut bytes = Vec::new();
    reader.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > bytes_max { Err(BadRecords::TooLarge(bytes_max)) } else { Ok(bytes) }
}

/// In blocks as Java's streams have them, or in one piece.
fn unsnappy(compressed: &[u8], bytes_max: usize) -> Result<Vec<u8>, BadRecords> {
    let mut bytes = Vec::new();
    let Some(mut rest) =
        compressed.get(XERIAL_HEADER.len()..).filter(|_| compressed.starts_with(&XERIAL_HEADER[..8]))
    else {
        unsnap(compressed, &mut bytes, bytes_max)?;
        return Ok(bytes);
    };
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let block = tail.get(..length).ok_or(BadRecords::Records("a snappy block is cut short"))?;
        unsnap(block, &mut bytes, bytes_max)?;
        rest = &tail[length..];
    }
    Ok(bytes)
}

fn unsnap(block: &[u8], bytes: &mut Vec<u8>, bytes_max: usize) -> Result<(), BadRecords> {
    let length = snap::raw::decompress_len(block).map_err(io::Error::from)?;
    if length > bytes_max.saturating_sub(bytes.len()) {
        return Err(BadRecords::TooLarge(bytes_max));
    }
    bytes.extend(snap::raw::Decoder::new().decompress_vec(block).map_err(io::Error::from)?);
    Ok(())
}

fn snappy(records: &[u8]) -> Result<Vec<u8>, BadRecords> {
    let mut encoder = snap::raw::Encoder::new();
    let mut compressed = XERIAL_HEADER.to_vec();
    for block in records.chunks(XERIAL_BLOCK_BYTES) {
        let block = encoder.compress_vec(block).map_err(io::Error::from)?;
        compressed.extend((block.len() as u32).to_be_bytes());
        compressed.extend(block);
    }
    Ok(compressed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(
            codec in 0u8..5,
            bytes in proptest::collection::vec(0u8..8, 0..100_000),
        ) {
            let compressed = compress(Compression::of(codec), &bytes).unwrap();
            prop_assert_eq!(&*decompress(codec, &compressed, bytes.len()).unwrap(), &bytes);
            if !bytes.is_empty() {
                let refused = decompress(codec, &compressed, bytes.len() - 1);
                prop_assert!(matches!(refused, Err(BadRecords::TooLarge(_))));
            }
        }

        #[test]
        fn any_bytes_are_decompressed_or_refused(
            codec in 0u8..8,
            java: bool,
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let framed = if java { [&XERIAL_HEADER[..], &bytes].concat() } else { bytes };
            if let Ok(bytes) = decompress(codec, &framed, 10_000) {
                prop_assert!(bytes.len() <= 10_000);
            }
        }
    }
}
