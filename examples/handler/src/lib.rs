//! A handler for Twinlog: hides card numbers in values, all but their last four digits, and says so in a header. Records of
//! topics' tests, with the header `test`, are dropped.
//!
//!     rustup target add wasm32-unknown-unknown
//!     cargo build --release --target wasm32-unknown-unknown
//!
//! makes `target/wasm32-unknown-unknown/release/handler.wasm`. For a handler of your own, change [`handle`]; `abi.rs` is what
//! Twinlog calls, `record.rs` the encoding of records.

mod abi;
mod record;

use abi::Answer;
use record::Record;

/// So many digits in a row are taken for the number of a card.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 13..=19;
/// So many of them stay.
const DIGITS_SHOWN: usize = 4;

/// What becomes of a record. It has to follow from the record alone, and the same record has to have the same answer always.
fn handle(record: &mut Record<'_>, _timestamp_ms: i64) -> Answer {
    if record.headers.iter().any(|(key, _)| key.as_ref() == b"test") {
        return Answer::Drop;
    }
    let Some(masked) = record.value.as_deref().and_then(mask) else { return Answer::Keep };
    record.value = Some(masked.into());
    record.headers.push((b"masked".into(), Some(b"card".into())));
    Answer::Changed
}

/// The text with its card numbers hidden. None: it has none.
fn mask(text: &[u8]) -> Option<Vec<u8>> {
    let mut masked = text.to_vec();
    let mut found = false;
    for run in masked.chunk_by_mut(|a, b| a.is_ascii_digit() == b.is_ascii_digit()) {
        if run[0].is_ascii_digit() && CARD_DIGITS.contains(&run.len()) {
            let hidden = run.len() - DIGITS_SHOWN;
            run[..hidden].fill(b'*');
            found = true;
        }
    }
    found.then_some(masked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_hidden() {
        let mut record =
            Record { key: None, value: Some(b"pay 4111111111111111, 2026"[..].into()), headers: Vec::new() };
        assert_eq!(handle(&mut record, 0), Answer::Changed);
        assert_eq!(record.value.as_deref(), Some(&b"pay ************1111, 2026"[..]));
        assert_eq!(record.headers.len(), 1);
    }

    #[test]
    fn all_else_stays() {
        let values: [Option<&[u8]>; 4] =
            [None, Some(b""), Some(b"order 123456 of 20260101"), Some(b"12345678901234567890")];
        for value in values {
            let value = value.map(Into::into);
            let mut record = Record { key: Some(b"k"[..].into()), value, headers: Vec::new() };
            assert_eq!(handle(&mut record, 0), Answer::Keep);
        }
    }

    #[test]
    fn tests_are_dropped() {
        let mut record = Record { key: None, value: None, headers: vec![(b"test"[..].into(), None)] };
        assert_eq!(handle(&mut record, 0), Answer::Drop);
    }
}
