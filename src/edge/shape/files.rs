//! A shape's file on disk: plain, or compressed if its name says so.

use crate::load::shape::{self, Captured};
use std::fs;
use std::io::Read;
use std::path::Path;

const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const ZSTD_LEVEL: i32 = 9;
/// More than the most batches of a file can take.
const TEXT_BYTES_MAX: u64 = 256 << 20;

/// Reads a file, whatever its name.
pub fn read_file(path: &Path) -> Result<Captured, String> {
    let name = path.display().to_string();
    let failed = |error: std::io::Error| format!("cannot read {name}: {error}");
    let bytes = fs::read(path).map_err(failed)?;
    let mut text = Vec::new();
    if bytes.starts_with(&ZSTD_MAGIC) {
        let decoder = zstd::stream::read::Decoder::with_buffer(&bytes[..]).map_err(failed)?;
        decoder.take(TEXT_BYTES_MAX).read_to_end(&mut text).map_err(failed)?;
    } else {
        text = bytes;
    }
    let text = String::from_utf8(text).map_err(|_| format!("{name} is no text, so it is no shape"))?;
    shape::read(&name, &text).map_err(|bad| bad.0)
}

/// Writes a file, compressed if its name ends in `.zst`. Returns its size.
pub fn write_file(path: &Path, captured: &Captured) -> Result<u64, String> {
    let failed = |error: std::io::Error| format!("cannot write {}: {error}", path.display());
    let mut bytes = shape::write(captured).into_bytes();
    if path.extension().is_some_and(|extension| extension == "zst") {
        bytes = zstd::bulk::compress(&bytes, ZSTD_LEVEL).map_err(failed)?;
    }
    fs::write(path, &bytes).map_err(failed)?;
    Ok(bytes.len() as u64)
}
