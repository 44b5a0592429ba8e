//! What Twinlog calls. A handler runs in one thread and is called once at a time.

use crate::handle;
use crate::record::Record;
use std::cell::RefCell;

/// What becomes of a record.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Keep,
    Drop,
    /// It is as the handler left it.
    Changed,
}

const KEEP: i64 = 0;
const DROP: i64 = 1;
/// Stops the partition, or whatever the transform's `on-error` says.
const FAIL: i64 = 2;

thread_local! {
    static INPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The address of room for a record of so many bytes.
#[unsafe(no_mangle)]
pub extern "C" fn twinlog_buffer(bytes: i32) -> i32 {
    INPUT.with_borrow_mut(|input| {
        input.resize(bytes as usize, 0);
        input.as_ptr() as i32
    })
}

/// What becomes of the record that was put there, which is `bytes` long.
#[unsafe(no_mangle)]
pub extern "C" fn twinlog_record(_at: i32, bytes: i32, timestamp_ms: i64) -> i64 {
    INPUT.with_borrow(|input| {
        let Some(mut record) = input.get(..bytes as usize).and_then(Record::decode) else { return FAIL };
        match handle(&mut record, timestamp_ms) {
            Answer::Keep => KEEP,
            Answer::Drop => DROP,
            Answer::Changed => OUTPUT.with_borrow_mut(|output| {
                output.clear();
                record.encode(output);
                (output.as_ptr() as i64) << 32 | output.len() as i64
            }),
        }
    })
}
