use super::*;
use crate::config::Draft;

fn read(content: &str) -> Result<Vec<Transform>, String> {
    Draft::from_toml("t", content).map(|draft| draft.transforms.unwrap_or_default()).map_err(|error| error.0)
}

/// One transform with these steps.
fn steps(typed: &str) -> Result<Vec<Step>, String> {
    let mut all = read(&format!("[[transform]]\ntopics = 't'\nsteps = [\n{typed}\n]"))?;
    Ok(all.remove(0).steps)
}

fn field(names: &[&str]) -> Field {
    let (name, way) = names.split_last().unwrap();
    Field { way: way.iter().map(|name| (*name).into()).collect(), name: (*name).into() }
}

#[test]
fn every_key_and_step_is_read() {
    let all = read(
        r#"
        [[transform]]
        topics = ['orders', 'clicks\..*']
        on-error = "drop"
        compression = "zstd"
        compression-level = -3
        steps = [
            { keep = { field = "country", equals = "DE" } },
            { drop = { header = "trace", matches = 'debug.*' } },
            { sample-percent = 12.5 },
            { mask = { field = "card.number", with = "\"*\"" } },
            { remove-field = ["a.b", "c"] },
            { rename-field = { from = "a.b", to = "c" } },
            { set-header = { name = "origin", value = "" } },
            { remove-header = 'x-.*' },
            { rename-header = { from = "a", to = "b" } },
            { timestamp = { field = "event_ms" } },
            { wasm = { module = "h.wasm", memory-bytes-max = "1MiB", fuel-per-record = 1_000 } },
        ]

        [[transform]]
        topics = '.*'
        compression = "source"
        steps = [{ wasm = { module = "h.wasm" } }]
        "#,
    )
    .unwrap();
    let [first, second] = &all[..] else { panic!("there are two") };
    assert!(first.topics[1].is_match("clicks.eu") && !first.topics[1].is_match("clicks"));
    assert_eq!(first.on_error, OnError::Drop);
    assert_eq!(first.compression, Some(Compression { codec: Codec::Zstd, level: Some(-3) }));
    let shown: Vec<_> = first.steps.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "keep",
            "drop",
            "sample-percent 12.5",
            "mask card.number",
            "remove-field a.b.c",
            "rename-field a.b to c",
            "set-header origin",
            "remove-header",
            "rename-header a to b",
            "timestamp event_ms",
            "wasm h.wasm",
        ]
    );
    assert!(matches!(&first.steps[3], Step::Mask { with, .. } if with == r#""\"*\"""#));
    assert!(matches!(&first.steps[4], Step::RemoveField(found) if *found == field(&["a.b", "c"])));
    assert!(matches!(&first.steps[5], Step::RenameField { from, .. } if *from == field(&["a", "b"])));
    assert!(matches!(&first.steps[7], Step::RemoveHeader(pattern) if pattern.is_match(b"x-\n")));

    assert_eq!((second.on_error, second.compression), (OnError::Stop, None));
    let module = Module { file: "h.wasm".into(), memory_bytes_max: 16 << 20, fuel_per_record: 1_000_000 };
    assert!(matches!(&second.steps[0], Step::Wasm(found) if *found == module));
}

#[test]
fn the_example_of_the_readme_is_read() {
    let readme = include_str!("../../../README.md");
    let example = readme.split("```").find(|block| block.starts_with("toml\n[[transform]]")).unwrap();
    let all = read(example.strip_prefix("toml").unwrap()).unwrap();
    assert_eq!(all[0].steps.len(), 5);
}

#[test]
fn conditions_are_read() {
    for (typed, expected) in [
        ("in = 'key', equals = 'a'", r#"Test(Whole(Key), Equals(Text("a")))"#),
        ("in = 'value', exists = true", "Test(Whole(Value), Exists(true))"),
        ("header = 'h', exists = false", r#"Test(Header("h"), Exists(false))"#),
        ("tombstone = true", "Test(Whole(Value), Exists(false))"),
        (
            "field = 'a.b', equals = -5",
            r#"Test(Field(Value, Field { way: ["a"], name: "b" }), Equals(Integer(-5)))"#,
        ),
        (
            "field = 'a', in = 'key', equals = 1.5",
            r#"Test(Field(Key, Field { way: [], name: "a" }), Equals(Float(1.5)))"#,
        ),
        ("not = { tombstone = false }", "Not(Test(Whole(Value), Exists(true)))"),
        (
            "any = [{ tombstone = true }, { all = [{ in = 'key', equals = 'a' }] }]",
            r#"Any([Test(Whole(Value), Exists(false)), All([Test(Whole(Key), Equals(Text("a")))])])"#,
        ),
    ] {
        let steps = steps(&format!("{{ keep = {{ {typed} }} }}")).unwrap();
        let Step::Keep(found) = &steps[0] else { panic!("{typed}") };
        assert_eq!(format!("{found:?}"), expected, "{typed}");
    }
}

#[test]
fn the_first_transform_that_matches_a_topic_applies() {
    let content = "
        [source]
        bootstrap = 'a:1'
        [target]
        bootstrap = 'b:1'
        [mirror]
        topics = '.*'
        [[transform]]
        topics = 'a|b'
        compression = 'gzip'
        [[transform]]
        topics = 'b|c'
        compression = 'lz4'
    ";
    let mirror = Draft::from_toml("t", content).unwrap().build().unwrap();
    let codec = |topic| Some(mirror.transform(topic)?.compression?.codec);
    assert_eq!(
        ["a", "b", "c", "d"].map(codec),
        [Some(Codec::Gzip), Some(Codec::Gzip), Some(Codec::Lz4), None]
    );
}

#[test]
fn errors_of_tables_name_the_line_the_key_and_what_is_valid() {
    for (content, expected) in [
        ("[transform]\ntopics = 't'", "t:1: a transform is a table in two brackets: [[transform]]"),
        ("[[transfrom]]\ntopics = 't'", "t:1: unknown table `transfrom`; did you mean [[transform]]?"),
        ("\n[[transform]]\nsteps = []", "t:2: transform: `topics` is missing"),
        ("[[transform]]\ntopics = 't'", "t:1: transform: it changes nothing; give it steps"),
        ("[[transform]]\ntopic = 't'", "t:2: unknown key `topic` in transform; did you mean `topics`?"),
        ("[[transform]]\ntopics = '('", "t:2: transform.topics: `(` is not a regular expression"),
        (
            "[[transform]]\ntopics = 't'\non-error = 'halt'",
            "t:3: transform.on-error: `halt` is none of: stop, drop, keep",
        ),
        (
            "[[transform]]\ntopics = 't'\ncompression = 'zip'",
            "t:3: transform.compression: `zip` is none of: none, gzip, snappy, lz4, zstd, source",
        ),
        (
            "[[transform]]\ntopics = 't'\ncompression-level = 1",
            "t:3: transform.compression-level: it takes a compression that has levels",
        ),
        (
            "[[transform]]\ntopics = 't'\ncompression = 'snappy'\ncompression-level = 1",
            "t:4: transform.compression-level: compression snappy has no levels",
        ),
        (
            "[[transform]]\ntopics = 't'\ncompression = 'gzip'\ncompression-level = 10",
            "t:4: transform.compression-level: 10 is no level of it; those are 1 to 9",
        ),
        ("[[transform]]\ntopics = 't'\nsteps = 5", "t:3: transform.steps: expected a list of tables"),
        (
            "[[transform]]\ntopics = 't'\nsteps = ['x']",
            "t:3: transform.steps: expected a table, found a string",
        ),
    ] {
        let error = read(content).unwrap_err();
        assert!(error.starts_with(expected), "{content:?}: {error}");
    }
}

#[test]
fn errors_of_steps_name_the_line_the_key_and_what_is_valid() {
    for (typed, expected) in [
        ("{ maks = {} }", "t:4: unknown key `maks` in transform.steps; did you mean `mask`?"),
        ("{}", "t:4: transform.steps: a step is a table of one key"),
        (
            "{ remove-field = 'a', timestamp = { field = 'b' } }",
            "t:4: transform.steps: a step is a table of one key",
        ),
        ("{ mask = 'a' }", "t:4: transform.steps.mask: expected a table, found a string"),
        ("{ mask = { field = 'a' } }", "t:4: transform.steps.mask: `with` is missing"),
        (
            "{ mask = { field = 'a', wiht = 'b' } }",
            "t:4: unknown key `wiht` in transform.steps.mask; did you mean `with`?",
        ),
        (
            "{ mask = { field = 'a', with = 1.5 } }",
            "t:4: transform.steps.mask.with: expected a string, an integer, true or false, found a number",
        ),
        ("{ remove-field = 'a..b' }", "t:4: transform.steps.remove-field: expected the name of a field"),
        ("{ remove-field = [] }", "t:4: transform.steps.remove-field: expected the name of a field"),
        ("{ remove-field = 5 }", "t:4: transform.steps.remove-field: expected a string or a list of strings"),
        ("{ remove-header = '[' }", "t:4: transform.steps.remove-header: `[` is not a regular expression"),
        ("{ set-header = { name = '', value = '' } }", "t:4: transform.steps.set-header.name: it is empty"),
        ("{ sample-percent = 0 }", "t:4: transform.steps.sample-percent: 0 is not a percentage"),
        ("{ sample-percent = 101 }", "t:4: transform.steps.sample-percent: 101 is not a percentage"),
        ("{ sample-percent = nan }", "t:4: transform.steps.sample-percent: NaN is not a percentage"),
        (
            "{ sample-percent = '5' }",
            "t:4: transform.steps.sample-percent: expected a number, found a string",
        ),
        (
            "{ wasm = { module = 'm', fuel-per-record = 0 } }",
            "t:4: transform.steps.wasm.fuel-per-record: 0 is not above 0",
        ),
        (
            "\n{ keep = { field = 'a' } }",
            "t:5: transform.steps.keep: it takes one of equals, matches and exists",
        ),
        (
            "{ keep = { field = 'a', equals = 'x', exists = true } }",
            "t:4: transform.steps.keep: it takes one of equals, matches and exists",
        ),
        ("{ keep = { equals = 'x' } }", "t:4: transform.steps.keep: it does not say what to look at"),
        (
            "{ keep = { header = 'h', in = 'key', equals = 'x' } }",
            "t:4: transform.steps.keep: a header is in neither key nor value",
        ),
        (
            "{ keep = { in = 'header', equals = 'x' } }",
            "t:4: transform.steps.keep.in: `header` is neither key nor value",
        ),
        (
            "{ keep = { in = 'key', equals = 5 } }",
            "t:4: transform.steps.keep.equals: expected a string, found an integer",
        ),
        (
            "{ drop = { tombstone = true, field = 'a' } }",
            "t:4: transform.steps.drop: `tombstone` stands alone",
        ),
        ("{ drop = { any = [] } }", "t:4: transform.steps.drop: `any` is a list of conditions"),
        (
            "{ drop = { not = { felid = 'a' } } }",
            "t:4: unknown key `felid` in transform.steps.drop.not; did you mean `field`?",
        ),
    ] {
        let error = steps(typed).unwrap_err();
        assert!(error.starts_with(expected), "{typed:?}: {error}");
    }
}
