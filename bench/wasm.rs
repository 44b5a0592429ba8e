//! What a handler costs for each record, beside what the batch it is in costs.
//!
//! `cargo bench --bench wasm`. Throughput is in records.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use twinlog::records::wasm::{Limits, Module};
use twinlog::wire::rebuild::{Change, Record, put_zigzag};

/// Says that it keeps the record.
const KEEP: &str = "(i64.const 0)";
/// Answers with the record itself as its new body, which the host checks and copies.
const ECHO: &str = "(i64.or
    (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32))
    (i64.extend_i32_u (local.get $bytes)))";
/// Looks at each byte of the record and keeps it.
const LOOK: &str = "(local $end i32)
    (local.set $end (i32.add (local.get $at) (local.get $bytes)))
    (loop $next
        (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 255)) (then unreachable))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $next (i32.lt_u (local.get $at) (local.get $end))))
    (i64.const 0)";

fn module(record: &str) -> Module {
    let text = format!(
        r#"(module
            (memory (export "memory") 3)
            (func (export "twinlog_buffer") (param i32) (result i32) (i32.const 1024))
            (func (export "twinlog_record") (param $at i32) (param $bytes i32) (param i64) (result i64) {record}))"#
    );
    Module::compile(&wat::parse_str(text).expect("the text is sound"), Limits::default()).expect("it runs")
}

/// No key, a value, no headers.
fn body(value_bytes: usize) -> Vec<u8> {
    let mut body = vec![1];
    put_zigzag(&mut body, value_bytes as i64);
    body.extend(std::iter::repeat_n(b'x', value_bytes));
    body.push(0);
    body
}

fn handlers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handler");
    group.throughput(Throughput::Elements(1));
    for (name, record) in [("keeps", KEEP), ("answers with a new body", ECHO), ("looks at each byte", LOOK)] {
        for value_bytes in [100, 1000] {
            let mut instance = module(record).instance().expect("it runs");
            let (body, mut new) = (body(value_bytes), Vec::new());
            group.bench_function(format!("{name}, {value_bytes} bytes"), |bencher| {
                bencher.iter(|| {
                    new.clear();
                    let record = Record { offset: 5, attributes: 0, timestamp_ms: 7, body: black_box(&body) };
                    black_box(instance.change(&record, &mut new)).expect("it has an answer")
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, handlers);
criterion_main!(benches);
