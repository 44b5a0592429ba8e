use super::*;
use crate::config::Draft;
use crate::wire::oracle::{changes, mutated};
use crate::wire::rebuild::put_zigzag;
use parts::put_bytes;
use proptest::collection::vec;
use proptest::prelude::*;

type Nullable = Option<&'static str>;

/// A record as tests write it: key, value, headers.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Seen {
    fn new(key: Nullable, value: Nullable, headers: &[(&str, Nullable)]) -> Self {
        let bytes = |text: Nullable| text.map(|text| text.as_bytes().to_vec());
        let headers = headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), bytes(*value)));
        Self { key: bytes(key), value: bytes(value), headers: headers.collect() }
    }

    fn body(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, self.key.as_deref());
        put_bytes(&mut out, self.value.as_deref());
        put_zigzag(&mut out, self.headers.len() as i64);
        for (name, value) in &self.headers {
            put_bytes(&mut out, Some(name));
            put_bytes(&mut out, value.as_deref());
        }
        out
    }

    fn read(body: &[u8]) -> Self {
        let parts = Parts::read(body).unwrap();
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let headers = parts.headers.iter().map(|header| (header.name.to_vec(), owned(header.value)));
        Self { key: owned(parts.key), value: owned(parts.value), headers: headers.collect() }
    }
}

fn value(text: Nullable) -> Seen {
    Seen::new(Some("k"), text, &[])
}

fn headers(headers: &[(&str, Nullable)]) -> Seen {
    Seen::new(None, Some("v"), headers)
}

/// A worker with these steps, and `more` lines of configuration.
fn worker_with(steps: &str, more: &str) -> Worker {
    recipe(steps, more).unwrap().worker().unwrap()
}

fn worker(steps: &str) -> Worker {
    worker_with(steps, "")
}

fn recipe(steps: &str, more: &str) -> Result<Recipe, String> {
    let content = format!("[[transform]]\ntopics = 't'\n{more}\nsteps = [{steps}]");
    let draft = Draft::from_toml("t", &content).unwrap();
    Recipe::new(&draft.transforms.unwrap()[0], &|file| Err(format!("{file} is not there")))
}

const OFFSET: i64 = 7;
const TIMESTAMP_MS: i64 = 1000;

/// What became of a record: its outcome, and the body that it then has.
fn change(worker: &mut Worker, body: &[u8]) -> (Result<Changed, String>, Vec<u8>) {
    let record = Record { offset: OFFSET, attributes: 0, timestamp_ms: TIMESTAMP_MS, body };
    let mut out = Vec::new();
    let outcome = worker.change(&record, &mut out);
    let is_new = matches!(outcome, Ok(Changed::New { .. }));
    (outcome, if is_new { out } else { body.to_vec() })
}

/// The record that comes of one that is changed, or an error's text.
fn changed(steps: &str, record: &Seen) -> Result<Option<Seen>, String> {
    let (outcome, body) = change(&mut worker(steps), &record.body());
    match outcome? {
        Changed::Same => Ok(None),
        Changed::New { timestamp_ms } => {
            assert_eq!(timestamp_ms, TIMESTAMP_MS);
            Ok(Some(Seen::read(&body)))
        }
        Changed::Dropped => panic!("{steps} drops"),
    }
}

fn passes(steps: &str, record: &Seen) -> bool {
    match change(&mut worker(steps), &record.body()).0.unwrap() {
        Changed::Same => true,
        Changed::Dropped => false,
        Changed::New { .. } => panic!("{steps} changes"),
    }
}

#[test]
fn conditions_hold_for_what_they_say() {
    let json = r#" {"a": {"b": "DE", "n": 5, "big": 12345678901234567890, "x": 1.50, "t": true, "z": null},
        "l": [{"c": 1}, {"c": 2}, [{"c": "\u0064e"}]], "a.b": 1} "#;
    let record = Seen::new(Some("key-1"), Some(json), &[("h", Some("1")), ("h", Some("2")), ("e", None)]);
    for (condition, expected) in [
        ("in = 'key', equals = 'key-1'", true),
        ("in = 'key', equals = 'key'", false),
        ("in = 'key', matches = 'key-\\d+'", true),
        ("in = 'key', matches = 'key'", false),
        ("in = 'value', matches = '.*DE.*'", true),
        ("header = 'h', equals = '2'", true),
        ("header = 'h', matches = '[34]'", false),
        ("header = 'e', exists = true", true),
        ("header = 'e', matches = '.*'", false),
        ("header = 'x', exists = false", true),
        ("field = 'a.b', equals = 'DE'", true),
        ("field = 'a.b', equals = 'de'", false),
        ("field = 'a.b', matches = 'D.'", true),
        ("field = ['a.b'], equals = 1", true),
        ("field = 'a.n', equals = 5", true),
        ("field = 'a.n', equals = 5.0", true),
        ("field = 'a.n', equals = '5'", false),
        ("field = 'a.n', matches = '5'", true),
        ("field = 'a.x', equals = 1.5", true),
        ("field = 'a.x', matches = '1\\.50'", true),
        ("field = 'a.big', matches = '12345678901234567890'", true),
        ("field = 'a.t', equals = true", true),
        ("field = 'a.t', equals = false", false),
        ("field = 'a.z', exists = true", false),
        ("field = 'a.z', matches = '.*'", false),
        ("field = 'a', exists = true", true),
        ("field = 'b', exists = false", true),
        ("field = 'a.b.c', exists = true", false),
        ("field = 'l.c', equals = 2", true),
        ("field = 'l.c', equals = 'de'", true),
        ("field = 'l.c', equals = 3", false),
        ("field = 'a', in = 'key', exists = true", false),
        ("tombstone = true", false),
        ("tombstone = false", true),
        ("not = { field = 'a.n', equals = 5 }", false),
        ("all = [{ field = 'a.n', equals = 5 }, { tombstone = true }]", false),
        ("any = [{ field = 'a.n', equals = 5 }, { tombstone = true }]", true),
    ] {
        assert_eq!(passes(&format!("{{ keep = {{ {condition} }} }}"), &record), expected, "keep {condition}");
        assert_eq!(
            passes(&format!("{{ drop = {{ {condition} }} }}"), &record),
            !expected,
            "drop {condition}"
        );
    }
}

#[test]
fn what_is_null_or_no_json_has_no_fields() {
    for content in
        [None, Some(""), Some("text"), Some("{\"a\": 1"), Some("{\"a\": 1} 2"), Some("5"), Some("null")]
    {
        assert!(!passes("{ keep = { field = 'a', equals = 1 } }", &value(content)), "{content:?}");
        assert!(passes("{ keep = { field = 'a', exists = false } }", &value(content)), "{content:?}");
    }
    assert!(passes("{ keep = { tombstone = true } }", &value(None)));
    assert!(!passes("{ keep = { in = 'value', matches = '.*' } }", &value(None)));
}

#[test]
fn fields_are_changed_and_nothing_else() {
    for (step, before, after) in [
        // Order, spaces and digits stay.
        (
            "{ mask = { field = 'card.number', with = '***' } }",
            r#"{"z" : 1.0e2,"card": {"number": "4111\"", "x":[1, 2]} , "big":12345678901234567890123}"#,
            Some(r#"{"z" : 1.0e2,"card": {"number": "***", "x":[1, 2]} , "big":12345678901234567890123}"#),
        ),
        ("{ mask = { field = 'a', with = 0 } }", r#"{"a":{"b":[1]}}"#, Some(r#"{"a":0}"#)),
        ("{ mask = { field = 'a', with = true } }", r#"{"a":null}"#, Some(r#"{"a":true}"#)),
        // All that a reader could take for the field.
        (
            "{ mask = { field = 'a', with = 'x' } }",
            r#"{"a":1,"\u0061":2}"#,
            Some(r#"{"a":"x","\u0061":"x"}"#),
        ),
        (
            "{ mask = { field = 'l.a', with = 'x' } }",
            r#"{"l":[{"a":1},[{"a":2}],3,{"b":4}],"a":5}"#,
            Some(r#"{"l":[{"a":"x"},[{"a":"x"}],3,{"b":4}],"a":5}"#),
        ),
        ("{ mask = { field = 'a', with = 'x' } }", r#"[{"a":1}]"#, Some(r#"[{"a":"x"}]"#)),
        ("{ mask = { field = 'a', with = 'x' } }", r#"{"a":"x"}"#, None),
        ("{ mask = { field = 'a', with = 'x' } }", r#"{"b":{"a":1}}"#, None),
        ("{ mask = { field = 'a.b', with = 'x' } }", r#"{"a":"b"}"#, None),
        ("{ mask = { field = 'a', with = 'x' } }", "5", None),
        // What Schema Registry's serializers write.
        (
            "{ mask = { field = 'a', with = 'x' } }",
            "\0\0\0\u{1}\u{2}{\"a\":1}",
            Some("\0\0\0\u{1}\u{2}{\"a\":\"x\"}"),
        ),
        ("{ remove-field = 'a' }", r#"{"a":1}"#, Some("{}")),
        ("{ remove-field = 'a' }", r#"{ "a" : 1 }"#, Some("{  }")),
        ("{ remove-field = 'a' }", r#"{"a":1 , "b":2}"#, Some(r#"{"b":2}"#)),
        ("{ remove-field = 'a' }", r#"{"b":2 , "a":1}"#, Some(r#"{"b":2}"#)),
        ("{ remove-field = 'a' }", r#"{"b":2, "a":1, "c":3}"#, Some(r#"{"b":2, "c":3}"#)),
        ("{ remove-field = 'a' }", r#"{"a":1,"a":2}"#, Some("{}")),
        ("{ remove-field = 'a' }", r#"{"b":2,"a":1,"a":2}"#, Some(r#"{"b":2}"#)),
        ("{ remove-field = 'a' }", r#"{"a":1,"b":2,"a":3,"a":4,"c":5}"#, Some(r#"{"b":2,"c":5}"#)),
        ("{ remove-field = 'l.a' }", r#"{"l":[{"a":1},{"b":2,"a":3}]}"#, Some(r#"{"l":[{},{"b":2}]}"#)),
        ("{ remove-field = 'x' }", r#"{"a":1}"#, None),
        ("{ rename-field = { from = 'o.a', to = 'b' } }", r#"{"o":{"a" :1}}"#, Some(r#"{"o":{"b" :1}}"#)),
        ("{ rename-field = { from = 'a', to = '\"' } }", r#"{"a":1}"#, Some(r#"{"\"":1}"#)),
        ("{ rename-field = { from = 'a', to = 'b' } }", r#"{"b":1}"#, None),
        (
            "{ rename-field = { from = 'l.a', to = 'b' } }",
            r#"{"l":[{"a":1},{"b":2}],"b":3}"#,
            Some(r#"{"l":[{"b":1},{"b":2}],"b":3}"#),
        ),
    ] {
        let found = changed(step, &value(Some(before))).unwrap();
        assert_eq!(found, after.map(|after| value(Some(after))), "{step} {before}");
        // Once more changes nothing more, where the step does not take what it made.
        let twice = format!("{step}, {step}");
        assert_eq!(changed(&twice, &value(Some(before))).unwrap(), found, "{twice} {before}");
        assert_eq!(changed(step, &value(None)).unwrap(), None, "{step} of a tombstone");
    }
}

#[test]
fn headers_are_changed_and_nothing_else() {
    let before = [("a", Some("1")), ("b", None), ("a", Some("2"))];
    for (step, after) in [
        (
            "{ set-header = { name = 'c', value = '3' } }",
            Some(vec![before[0], before[1], before[2], ("c", Some("3"))]),
        ),
        ("{ set-header = { name = 'a', value = '1' } }", Some(vec![before[1], before[0]])),
        ("{ set-header = { name = 'b', value = '' } }", Some(vec![before[0], before[2], ("b", Some(""))])),
        ("{ remove-header = 'a' }", Some(vec![before[1]])),
        ("{ remove-header = '.*' }", Some(vec![])),
        ("{ remove-header = 'aa?b' }", None),
        ("{ rename-header = { from = 'b', to = 'c' } }", Some(vec![before[0], ("c", None), before[2]])),
        (
            "{ rename-header = { from = 'a', to = 'b' } }",
            Some(vec![("b", Some("1")), before[1], ("b", Some("2"))]),
        ),
        ("{ rename-header = { from = 'c', to = 'd' } }", None),
    ] {
        let found = changed(step, &headers(&before)).unwrap();
        assert_eq!(found, after.map(|after| headers(&after)), "{step}");
    }
    let set = "{ set-header = { name = 'a', value = '1' } }";
    assert_eq!(changed(set, &headers(&[("a", Some("1"))])), Ok(None));
    assert_eq!(
        changed(set, &Seen::new(None, None, &[])),
        Ok(Some(Seen::new(None, None, &[("a", Some("1"))])))
    );
}

#[test]
fn steps_follow_each_other_and_the_first_that_drops_ends_it() {
    let steps = "
        { rename-field = { from = 'a', to = 'b' } },
        { keep = { field = 'b', exists = true } },
        { timestamp = { field = 't' } },
        { set-header = { name = 'h', value = 'x' } },
        { remove-field = 't' },
    ";
    let mut worker = worker(steps);
    let (outcome, body) = change(&mut worker, &value(Some(r#"{"a":1,"t":5}"#)).body());
    assert_eq!(outcome, Ok(Changed::New { timestamp_ms: 5 }));
    assert_eq!(Seen::read(&body), Seen::new(Some("k"), Some(r#"{"b":1}"#), &[("h", Some("x"))]));
    let (outcome, _) = change(&mut worker, &value(Some(r#"{"x":1}"#)).body());
    assert_eq!(outcome, Ok(Changed::Dropped));
    assert_eq!(worker.tally(), Tally { seen: 2, changed: 1, dropped: 1, failed: 0 });
}

#[test]
fn a_time_is_taken_from_a_field() {
    let step = "{ timestamp = { field = 'e.ms' } }";
    for (content, expected) in [
        (Some(r#"{"e":{"ms":1700000000000}}"#), Ok(Changed::New { timestamp_ms: 1_700_000_000_000 })),
        (Some(r#"{"e":{"ms":1000}}"#), Ok(Changed::Same)),
        (None, Ok(Changed::Same)),
        (Some("{}"), Err("its value has no field e.ms")),
        (Some(r#"{"e":{"ms":-1}}"#), Err("its field e.ms is no whole number")),
        (Some(r#"{"e":{"ms":1.5}}"#), Err("its field e.ms is no whole number")),
        (Some(r#"{"e":{"ms":"7"}}"#), Err("its field e.ms is no whole number")),
        (Some("x"), Err("its value is no JSON")),
    ] {
        let before = value(content).body();
        let (outcome, body) = change(&mut worker(step), &before);
        assert_eq!(body, before);
        match expected {
            Ok(expected) => assert_eq!(outcome, Ok(expected), "{content:?}"),
            Err(expected) => assert!(outcome.unwrap_err().contains(expected), "{content:?}"),
        }
    }
}

#[test]
fn a_sample_has_all_records_of_a_key_and_about_the_right_number_of_keys() {
    for (percent, ppm) in [("0.1", 1_000), ("12.5", 125_000), ("50", 500_000), ("100", 1_000_000)] {
        let step = format!("{{ sample-percent = {percent} }}");
        let mut worker = worker(&step);
        let mut kept = 0u64;
        const KEYS: u64 = 50_000;
        for key in 0..KEYS {
            let record = |value: &str| Seen {
                key: Some(format!("customer-{key}").into_bytes()),
                value: Some(value.as_bytes().to_vec()),
                headers: Vec::new(),
            };
            let is_kept = |outcome| outcome == Ok(Changed::Same);
            let first = is_kept(change(&mut worker, &record("a").body()).0);
            assert_eq!(is_kept(change(&mut worker, &record("b").body()).0), first);
            kept += u64::from(first);
        }
        let expected = KEYS * ppm / 1_000_000;
        assert!(kept.abs_diff(expected) <= expected / 10 + 20, "{percent} %: {kept} of {KEYS}");
    }
}

#[test]
fn on_error_decides_what_becomes_of_records_that_a_step_cannot_handle() {
    let steps = "{ set-header = { name = 'h', value = 'x' } }, { mask = { field = 'secret', with = '*' } }";
    let before = value(Some("{\"secret\": \"hunter2\" oh}")).body();
    for (on_error, expected) in [("drop", Changed::Dropped), ("keep", Changed::Same)] {
        let mut worker = worker_with(steps, &format!("on-error = '{on_error}'"));
        assert_eq!(change(&mut worker, &before), (Ok(expected), before.clone()));
        let dropped = u64::from(on_error == "drop");
        assert_eq!(worker.tally(), Tally { seen: 1, changed: 0, dropped, failed: 1 });
    }
    let error = change(&mut worker(steps), &before).0.unwrap_err();
    assert!(error.starts_with("step 2 (mask): its value is no JSON (line 1, column "), "{error}");
    assert!(error.contains("on-error") && !error.contains("hunter2"), "{error}");

    let taken = "{ rename-field = { from = 'a', to = 'b' } }";
    let error = changed(taken, &value(Some(r#"{"b":1,"a":2}"#))).unwrap_err();
    assert!(error.starts_with("step 1 (rename-field): its value has a field b already, beside a"), "{error}");
}

#[test]
fn damage_stops_whatever_on_error_says() {
    let steps = "{ set-header = { name = 'h', value = 'x' } }";
    for on_error in ["stop", "drop", "keep"] {
        let mut worker = worker_with(steps, &format!("on-error = '{on_error}'"));
        for body in
            [&[][..], &[1], &[1, 1], &[1, 1, 1], &[1, 1, 2], &[1, 1, 2, 1, 1], &[1, 1, 0, 0], &[3, 1, 0]]
        {
            let error = change(&mut worker, body).0.unwrap_err();
            assert!(error.contains("do not fit its length"), "{body:?}: {error}");
        }
    }
}

#[test]
fn a_recipe_says_what_it_does() {
    let filter = recipe("{ keep = { tombstone = false } }", "").unwrap();
    assert!(filter.transform.may_drop());
    assert_eq!((filter.transform.describe().as_str(), filter.compression()), ("keep, stop at errors", None));
    let mask = recipe(
        "{ mask = { field = 'a.b', with = '' } }, { sample-percent = 100 }",
        "compression = 'zstd'\ncompression-level = 9\non-error = 'keep'",
    );
    let mask = mask.unwrap();
    assert_eq!(
        mask.transform.describe(),
        "mask a.b, sample-percent 100, keep what fails as it came, compress with zstd 9"
    );
    assert_eq!(mask.compression(), Some(Compression { codec: 4, level: Some(9) }));
    let header = "{ set-header = { name = 'a', value = '' } }";
    assert!(!recipe(header, "").unwrap().transform.may_drop());
    assert!(recipe(header, "on-error = 'drop'").unwrap().transform.may_drop());
    let missing = recipe("{ wasm = { module = 'm.wasm' } }", "").unwrap_err();
    assert_eq!(missing, "step 1 (wasm): m.wasm is not there");
}

/// One step of each kind.
const ALL: &str = "
    { drop = { any = [{ field = 'a.b', equals = 9 }, { header = 'h', matches = 'x+' }, { in = 'key', equals = 'q' }] } },
    { keep = { not = { field = 'c', in = 'key', matches = '9' } } },
    { mask = { field = 'a.b', with = '*' } },
    { remove-field = 'c' },
    { rename-field = { from = 'd', to = 'e' } },
    { set-header = { name = 'h', value = 'v' } },
    { rename-header = { from = 'h', to = 'i' } },
    { remove-header = 'h.*' },
    { timestamp = { field = 't' } },
    { sample-percent = 99 },
";

/// Records that steps have something to do with.
fn any_record() -> impl Strategy<Value = Seen> {
    let bytes = || vec(any::<u8>(), 0..20);
    let json = r#"\{("(a|c|d|t|\\u0061)": ?([0-9]{1,3}|"x"|null|\{"b":[0-9]\}|\[\{"b":1\}\])){0,1}(,"(b|c|c|e)":5){0,3}\}"#;
    let text = prop_oneof![json, "[{}\\[\\]\",:abc0-9\\\\ ]{0,20}"].prop_map(String::into_bytes);
    let content = || prop::option::of(prop_oneof![bytes(), text.clone()]);
    let header = (prop_oneof![Just(b"h".to_vec()), bytes()], prop::option::of(bytes()));
    (content(), content(), vec(header, 0..4)).prop_map(|(key, value, headers)| Seen { key, value, headers })
}

proptest! {
    #[test]
    fn records_come_back_as_they_were_written(record in any_record()) {
        let body = record.body();
        prop_assert_eq!(&Seen::read(&body), &record);
        let mut again = Vec::new();
        Parts::read(&body).unwrap().write(&mut again);
        prop_assert_eq!(&again, &body);
        for cut in 0..body.len() {
            prop_assert!(Parts::read(&body[..cut]).is_err());
        }
    }

    #[test]
    fn any_record_has_an_outcome_which_is_a_record_and_the_same_again(record in any_record()) {
        let mut worker = worker_with(ALL, "on-error = 'keep'");
        let body = record.body();
        let (outcome, new) = change(&mut worker, &body);
        prop_assert!(outcome.is_ok(), "{:?}", outcome);
        let after = Seen::read(&new);
        prop_assert_eq!(&after.key, &record.key);
        if let (Some(before), Some(after)) = (&record.value, &after.value) {
            let is_json = |bytes: &[u8]| {
                serde_json::from_slice::<serde::de::IgnoredAny>(json::split_frame(bytes).1).is_ok()
            };
            prop_assert!(!is_json(before) || is_json(after), "{:?} became {:?}", record, after);
        }
        prop_assert_eq!(change(&mut worker, &body), (outcome, new));
    }

    #[test]
    fn damaged_records_are_refused_or_changed_and_nothing_panics(
        record in any_record(),
        changes in changes(),
    ) {
        let damaged = mutated(&record.body(), &changes);
        let _ = change(&mut worker_with(ALL, "on-error = 'keep'"), &damaged);
    }

    #[test]
    fn random_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..100)) {
        let _ = change(&mut worker_with(ALL, "on-error = 'drop'"), &bytes);
    }

    #[test]
    fn steps_that_find_nothing_leave_a_record_alone(record in any_record()) {
        let steps = "
            { keep = { not = { field = 'nowhere', exists = true } } },
            { remove-header = 'nothing' },
            { rename-header = { from = 'nothing', to = 'h' } },
            { sample-percent = 100 },
        ";
        prop_assert_eq!(change(&mut worker(steps), &record.body()).0, Ok(Changed::Same));
    }
}
