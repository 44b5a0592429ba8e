use super::*;
use crate::wire::rebuild::{Change, Changed, Record};

/// Of a record with no key, the value "hi" and no headers.
const BODY: &[u8] = &[1, 4, b'h', b'i', 0];

/// A module whose buffer is at 1024 of three pages. `rest` may declare more of it; `record` is the body of `twinlog_record`.
fn text(rest: &str, record: &str) -> String {
    format!(
        r#"(module
            (memory (export "memory") 3)
            (func (export "twinlog_buffer") (param i32) (result i32) (i32.const 1024))
            {rest}
            (func (export "twinlog_record") (param $at i32) (param $bytes i32) (param $time i64) (result i64)
                {record}))"#
    )
}

/// Answers with the body at `$at` that is longer than the record by `more`.
fn answer_with(more: i64) -> String {
    format!(
        "(i64.or
            (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32))
            (i64.add (i64.extend_i32_u (local.get $bytes)) (i64.const {more})))"
    )
}

fn compile_with(text: &str, limits: Limits) -> Result<Module, String> {
    Module::compile(&wat::parse_str(text).unwrap(), limits)
}

fn compile(text: &str) -> Result<Module, String> {
    compile_with(text, Limits::default())
}

fn instance(text: &str) -> Instance {
    compile(text).unwrap().instance().unwrap()
}

/// What the handler says, and the new body if there is one.
fn change(instance: &mut Instance, timestamp_ms: i64, body: &[u8]) -> Result<(Changed, Vec<u8>), String> {
    let mut new = Vec::new();
    let changed = instance.change(&Record { offset: 5, attributes: 0, timestamp_ms, body }, &mut new)?;
    Ok((changed, new))
}

#[test]
fn a_record_is_kept_dropped_or_changed() {
    let mut keeps = instance(&text("", "(i64.const 0)"));
    assert_eq!(change(&mut keeps, 7, BODY), Ok((Changed::Same, Vec::new())));

    let mut drops_all_of_7 =
        instance(&text("", "(i64.extend_i32_u (i64.eq (local.get $time) (i64.const 7)))"));
    assert_eq!(change(&mut drops_all_of_7, 7, BODY), Ok((Changed::Dropped, Vec::new())));
    assert_eq!(change(&mut drops_all_of_7, 8, BODY), Ok((Changed::Same, Vec::new())));

    let capital = "(i32.store8 (i32.add (local.get $at) (i32.const 2)) (i32.const 72))";
    let mut changes = instance(&text("", &format!("{capital} {}", answer_with(0))));
    let changed = (Changed::New { timestamp_ms: 7 }, vec![1, 4, b'H', b'i', 0]);
    assert_eq!(change(&mut changes, 7, BODY), Ok(changed));
}

#[test]
fn a_handler_that_cannot_handle_a_record_goes_on_with_the_next() {
    let twice_the_calls = "(global.set $calls (i64.add (global.get $calls) (i64.const 1)))
                           (i64.mul (global.get $calls) (i64.const 2))";
    let mut handler = instance(&text("(global $calls (mut i64) (i64.const 0))", twice_the_calls));
    assert!(change(&mut handler, 7, BODY).unwrap_err().contains("cannot handle the record"));
    assert!(change(&mut handler, 7, BODY).unwrap_err().contains("answered 4"), "it is the same handler");
}

#[test]
fn what_is_written_over_a_record_that_is_kept_does_not_matter() {
    let mut scribbles = instance(&text("", "(i64.store (local.get $at) (i64.const -1)) (i64.const 0)"));
    assert_eq!(change(&mut scribbles, 7, BODY), Ok((Changed::Same, Vec::new())));
}

#[test]
fn each_failure_says_which_it_is_and_the_next_record_finds_a_new_handler() {
    let cases = [
        ("(loop (br 0)) (i64.const 0)", "no answer within 1000000 units of fuel; raise fuel-per-record"),
        ("unreachable", "trapped: wasm `unreachable` instruction executed"),
        ("(i64.load (i32.const -8))", "trapped: out of bounds memory access"),
        (
            "(i64.extend_i32_s (memory.grow (i32.const 300)))",
            "more than its 16777216 bytes of memory; raise memory-bytes-max",
        ),
        ("(i64.const 3)", "answered 3, which is neither"),
        ("(i64.const -1)", "new body is longer than 268435456 bytes"),
        ("(i64.const 0x2ffff_00000002)", "new body lies outside of its memory"),
        // Zeroes are an empty key, an empty value, no header, and too much.
        ("(i64.const 0x10000_00000004)", "new body is none: bytes follow the last header"),
        ("(i64.const 0x10000_00000002)", "new body is none: it is cut short"),
    ];
    for (fails, problem) in cases {
        // It remembers that it was called, as a handler must not.
        let once = format!(
            "(if (global.get $called) (then (return (i64.const 1))))
            (global.set $called (i32.const 1))
            (if (i64.eq (local.get $time) (i64.const 7)) (then (return (block (result i64) {fails}))))
            (i64.const 0)"
        );
        let mut handler = instance(&text("(global $called (mut i32) (i32.const 0))", &once));
        let error = change(&mut handler, 7, BODY).unwrap_err();
        assert!(error.contains(problem), "{fails}: {error}");
        assert_eq!(change(&mut handler, 8, BODY), Ok((Changed::Same, Vec::new())), "{fails}");
        assert_eq!(change(&mut handler, 8, BODY), Ok((Changed::Dropped, Vec::new())), "{fails}");
    }
}

#[test]
fn a_recursion_without_end_is_a_trap() {
    let record = "(call $self)";
    let mut handler =
        instance(&text("(func $self (result i64) (i64.add (call $self) (i64.const 1)))", record));
    let error = change(&mut handler, 7, BODY).unwrap_err();
    assert!(error.contains("call stack exhausted") || error.contains("fuel"), "{error}");
}

#[test]
fn a_longer_record_gets_more_room() {
    // The buffer is the memory's end, enlarged by what is asked for; how often it was asked is how many pages there are.
    let text = r#"(module
        (memory (export "memory") 1)
        (func (export "twinlog_buffer") (param $bytes i32) (result i32)
            (i32.mul (i32.const 65536) (memory.grow
                (i32.div_u (i32.add (local.get $bytes) (i32.const 65535)) (i32.const 65536)))))
        (func (export "twinlog_record") (param i32 i32 i64) (result i64)
            (i64.extend_i32_u (i32.ge_u (memory.size) (i32.const 3)))))"#;
    let mut handler = instance(text);
    for _ in 0..3 {
        assert_eq!(change(&mut handler, 7, BODY).unwrap().0, Changed::Same);
    }
    assert_eq!(
        change(&mut handler, 7, &vec![0; 65_536]).unwrap().0,
        Changed::Dropped,
        "two pages by now, and one more"
    );
    let error = change(&mut handler, 7, &vec![0; 17 << 20]).unwrap_err();
    assert!(error.contains("raise memory-bytes-max"), "{error}");
    assert_eq!(change(&mut handler, 7, BODY).unwrap().0, Changed::Same);
}

#[test]
fn a_buffer_outside_of_the_memory_is_no_buffer() {
    for at in ["196600", "-1"] {
        let text = text("", "(i64.const 0)").replace("i32.const 1024", &format!("i32.const {at}"));
        let error = change(&mut instance(&text), 7, &[0; 100]).unwrap_err();
        assert!(error.contains("buffer outside of its memory"), "{error}");
    }
}

#[test]
fn what_cannot_run_is_refused_before_the_first_record() {
    let sound = text("", "(i64.const 0)");
    let imports = sound.replace("(module", r#"(module (import "env" "now" (func (result i64)))"#);
    let cases = [
        (imports, r#"imports "now" from "env"; build it without"#),
        (sound.replace(r#"(export "memory")"#, ""), "does not export its memory"),
        (sound.replace("twinlog_buffer", "buffer"), "does not export twinlog_buffer(i32) -> i32"),
        (sound.replace("twinlog_record", "record"), "does not export twinlog_record(i32, i32, i64) -> i64"),
        (
            sound.replace("(param $time i64)", "(param $time i32)"),
            "does not export twinlog_record(i32, i32, i64) -> i64",
        ),
        (
            sound.replace(r#"(export "memory") 3"#, r#"(export "memory") 300"#),
            "with 16777216 bytes of memory",
        ),
        (text("(memory 1)", "(i64.const 0)"), "memories"),
        (text("(table 70000 funcref)", "(i64.const 0)"), "table"),
        (text("(func $start unreachable) (start $start)", "(i64.const 0)"), "trapped: wasm `unreachable`"),
        (text(r#"(func (export "_initialize") (loop (br 0)))"#, "(i64.const 0)"), "units of fuel"),
    ];
    for (text, problem) in cases {
        let error = compile(&text).unwrap_err();
        assert!(error.contains(problem), "{problem}: {error}");
    }
    let error = Module::compile(b"\0asm, or so", Limits::default()).unwrap_err();
    assert!(error.starts_with("it is no WebAssembly module"), "{error}");
    let error = compile_with(&sound, Limits { memory_bytes: 2 << 30, ..Limits::default() }).unwrap_err();
    assert!(error.contains("lower memory-bytes-max"), "{error}");
    let error = Module::compile(&vec![0; HANDLER_MODULE_BYTES_MAX + 1], Limits::default()).unwrap_err();
    assert!(error.contains("longer than"), "{error}");
}

#[test]
fn a_handler_is_initialized_once() {
    let rest = r#"(global $n (mut i64) (i64.const -1))
                  (func (export "_initialize") (global.set $n (i64.add (global.get $n) (i64.const 1))))"#;
    let mut handler = instance(&text(rest, "(global.get $n)"));
    assert_eq!(change(&mut handler, 7, BODY).unwrap().0, Changed::Same);
}

#[test]
fn a_module_is_for_all_cores() {
    fn is_shared<T: Send + Sync + Clone>(_: &T) {}
    is_shared(&compile(&text("", "(i64.const 0)")).unwrap());
}
