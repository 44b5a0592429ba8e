//! From the file's tables to their meaning. Every error names the line, the key and what may stand there.

use super::{Compression, Condition, Field, Module, OnError, Part, Scalar, Step, Subject, Test, Transform};
use crate::config::file::{File, boolean, list, scalar, string, wrong_type};
use crate::config::{Codec, ConfigError, nearest, text};
use crate::limits::{HANDLER_FUEL_PER_RECORD, HANDLER_MEMORY_BYTES};
use std::ops::{Range, RangeInclusive};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

const TRANSFORM_KEYS: [&str; 5] = ["topics", "on-error", "compression", "compression-level", "steps"];
const STEPS: [&str; 11] = [
    "keep",
    "drop",
    "sample-percent",
    "mask",
    "remove-field",
    "rename-field",
    "set-header",
    "remove-header",
    "rename-header",
    "timestamp",
    "wasm",
];
const CONDITION_KEYS: [&str; 10] =
    ["field", "header", "in", "equals", "matches", "exists", "tombstone", "not", "all", "any"];

/// All tables `[[transform]]` of a file.
pub(in crate::config) fn read(
    file: &File<'_>,
    tables: &Spanned<DeValue<'_>>,
) -> Result<Vec<Transform>, ConfigError> {
    let Some(all) = tables.get_ref().as_array() else {
        let problem = "a transform is a table in two brackets: [[transform]]";
        return Err(file.error(Some(tables.span()), problem));
    };
    all.iter().map(|value| transform(&Table::new(file, "transform".into(), value)?)).collect()
}

fn transform(table: &Table<'_>) -> Result<Transform, ConfigError> {
    table.only(&TRANSFORM_KEYS)?;
    let topics = table.need("topics", |value| text::patterns(&list(value)?))?;
    let on_error = table.get("on-error", on_error)?.unwrap_or_default();
    let compression = compression(table)?;
    let steps = match table.tables("steps")? {
        Some(steps) => steps.iter().map(step).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    if steps.is_empty() && compression.is_none() {
        return Err(table.error("it changes nothing; give it steps, or a compression"));
    }
    Ok(Transform { topics, on_error, compression, steps })
}

fn on_error(value: &DeValue<'_>) -> Result<OnError, String> {
    match string(value)?.as_str() {
        "stop" => Ok(OnError::Stop),
        "drop" => Ok(OnError::Drop),
        "keep" => Ok(OnError::Keep),
        typed => Err(format!("`{typed}` is none of: stop, drop, keep")),
    }
}

fn compression(table: &Table<'_>) -> Result<Option<Compression>, ConfigError> {
    let codec = table.get("compression", |value| match string(value)?.as_str() {
        "source" => Ok(None),
        typed => typed.parse::<Codec>().map(Some).map_err(|problem| format!("{problem}, source")),
    })?;
    let codec = codec.flatten();
    let level = table.get("compression-level", |value| {
        let levels = levels(codec.ok_or("it takes a compression that has levels: gzip, lz4 or zstd")?)?;
        let level = integer(value)?;
        i32::try_from(level).ok().filter(|level| levels.contains(level)).ok_or_else(|| {
            format!("{level} is no level of it; those are {} to {}", levels.start(), levels.end())
        })
    })?;
    Ok(codec.map(|codec| Compression { codec, level }))
}

/// As Kafka has them (KIP-390).
fn levels(codec: Codec) -> Result<RangeInclusive<i32>, String> {
    match codec {
        Codec::None | Codec::Snappy => Err(format!("compression {codec} has no levels; leave this key out")),
        Codec::Gzip => Ok(1..=9),
        Codec::Lz4 => Ok(1..=17),
        Codec::Zstd => Ok(-131_072..=22),
    }
}

fn step(table: &Table<'_>) -> Result<Step, ConfigError> {
    table.only(&STEPS)?;
    let mut keys = table.entries.keys();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(table.error("a step is a table of one key; to do several things, write several steps"));
    };
    let key = key.get_ref().as_ref();
    Ok(match key {
        "keep" => Step::Keep(condition(&table.table(key)?)?),
        "drop" => Step::Drop(condition(&table.table(key)?)?),
        "sample-percent" => Step::Sample { ppm: table.need(key, ppm)? },
        "mask" => {
            let mask = table.table(key)?;
            mask.only(&["field", "with"])?;
            Step::Mask { field: mask.need("field", field)?, with: mask.need("with", json)? }
        }
        "remove-field" => Step::RemoveField(table.need(key, field)?),
        "rename-field" => {
            let rename = table.table(key)?;
            rename.only(&["from", "to"])?;
            Step::RenameField { from: rename.need("from", field)?, to: rename.need("to", string)? }
        }
        "set-header" => {
            let set = table.table(key)?;
            set.only(&["name", "value"])?;
            Step::SetHeader { name: set.need("name", name)?, value: set.need("value", string)? }
        }
        "remove-header" => Step::RemoveHeader(table.need(key, pattern)?),
        "rename-header" => {
            let rename = table.table(key)?;
            rename.only(&["from", "to"])?;
            Step::RenameHeader { from: rename.need("from", name)?, to: rename.need("to", name)? }
        }
        "timestamp" => {
            let time = table.table(key)?;
            time.only(&["field"])?;
            Step::Timestamp(time.need("field", field)?)
        }
        _ => Step::Wasm(module(&table.table(key)?)?),
    })
}

fn module(table: &Table<'_>) -> Result<Module, ConfigError> {
    table.only(&["module", "memory-bytes-max", "fuel-per-record"])?;
    let memory = table.get("memory-bytes-max", |value| text::memory_bytes(&scalar(value)?))?;
    let fuel = table.get("fuel-per-record", |value| {
        let fuel = integer(value)?;
        u64::try_from(fuel).ok().filter(|fuel| *fuel > 0).ok_or_else(|| format!("{fuel} is not above 0"))
    })?;
    Ok(Module {
        file: table.need("module", name)?,
        memory_bytes_max: memory.unwrap_or(HANDLER_MEMORY_BYTES),
        fuel_per_record: fuel.unwrap_or(HANDLER_FUEL_PER_RECORD),
    })
}

fn condition(table: &Table<'_>) -> Result<Condition, ConfigError> {
    table.only(&CONDITION_KEYS)?;
    if let Some(key) = ["not", "all", "any", "tombstone"].iter().find(|key| table.entries.contains_key(**key))
    {
        if table.entries.len() > 1 {
            return Err(
                table.error(&format!("`{key}` stands alone; bind conditions together with all or any"))
            );
        }
        return Ok(match *key {
            "not" => Condition::Not(Box::new(condition(&table.table(key)?)?)),
            "all" => Condition::All(conditions(table, key)?),
            "any" => Condition::Any(conditions(table, key)?),
            _ => Condition::Test(Subject::Whole(Part::Value), Test::Exists(!table.need(key, truth)?)),
        });
    }
    let subject = subject(table)?;
    let equals = table.get("equals", |value| compared(value, &subject))?;
    let matches = table.get("matches", pattern)?;
    let exists = table.get("exists", truth)?;
    let test = match (equals, matches, exists) {
        (Some(scalar), None, None) => Test::Equals(scalar),
        (None, Some(pattern), None) => Test::Matches(pattern),
        (None, None, Some(exists)) => Test::Exists(exists),
        _ => return Err(table.error("it takes one of equals, matches and exists")),
    };
    Ok(Condition::Test(subject, test))
}

fn conditions(table: &Table<'_>, key: &str) -> Result<Vec<Condition>, ConfigError> {
    let all = table.tables(key)?.unwrap_or_default();
    if all.is_empty() {
        return Err(table.error(&format!("`{key}` is a list of conditions, and this one is empty")));
    }
    all.iter().map(condition).collect()
}

fn subject(table: &Table<'_>) -> Result<Subject, ConfigError> {
    let part = table.get("in", |value| match string(value)?.as_str() {
        "key" => Ok(Part::Key),
        "value" => Ok(Part::Value),
        typed => Err(format!("`{typed}` is neither key nor value")),
    })?;
    match (table.get("header", name)?, table.get("field", field)?, part) {
        (Some(header), None, None) => Ok(Subject::Header(header)),
        (Some(_), ..) => Err(table.error("a header is in neither key nor value, and has no fields")),
        (None, Some(field), part) => Ok(Subject::Field(part.unwrap_or(Part::Value), field)),
        (None, None, Some(part)) => Ok(Subject::Whole(part)),
        (None, None, None) => {
            Err(table.error("it does not say what to look at: field, header, or in = \"key\" or \"value\""))
        }
    }
}

/// Only what is in JSON has types.
fn compared(value: &DeValue<'_>, subject: &Subject) -> Result<Scalar, String> {
    if !matches!(subject, Subject::Field(..)) {
        return string(value).map(Scalar::Text);
    }
    match value {
        DeValue::String(text) => Ok(Scalar::Text(text.to_string())),
        DeValue::Integer(_) => integer(value).map(Scalar::Integer),
        DeValue::Float(_) => float(value).map(Scalar::Float),
        DeValue::Boolean(is) => Ok(Scalar::Boolean(*is)),
        _ => Err(wrong_type("a string, a number, true or false", value)),
    }
}

fn json(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(serde_json::Value::from(text.as_ref()).to_string()),
        DeValue::Integer(_) => integer(value).map(|number| number.to_string()),
        DeValue::Boolean(is) => Ok(is.to_string()),
        _ => Err(wrong_type("a string, an integer, true or false", value)),
    }
}

fn ppm(value: &DeValue<'_>) -> Result<u32, String> {
    let percent = float(value)?;
    let ppm = (percent * 10_000.0).round();
    match (1.0..=1e6).contains(&ppm) {
        true => Ok(ppm as u32),
        false => Err(format!("{percent} is not a percentage (0.0001 to 100)")),
    }
}

/// `a.b`, or a list of names, for names that contain dots.
fn field(value: &DeValue<'_>) -> Result<Field, String> {
    let mut way: Vec<String> = match value {
        DeValue::Array(names) => names.iter().map(|name| string(name.get_ref())).collect::<Result<_, _>>()?,
        DeValue::String(names) => names.split('.').map(Into::into).collect(),
        _ => return Err(wrong_type("a string or a list of strings", value)),
    };
    match way.pop() {
        Some(name) if !name.is_empty() && !way.iter().any(String::is_empty) => Ok(Field { way, name }),
        _ => Err("expected the name of a field, or several with dots between them: a, a.b".into()),
    }
}

fn name(value: &DeValue<'_>) -> Result<String, String> {
    string(value).and_then(|name| if name.is_empty() { Err("it is empty".into()) } else { Ok(name) })
}

fn pattern(value: &DeValue<'_>) -> Result<regex::bytes::Regex, String> {
    text::content_pattern(&string(value)?)
}

fn truth(value: &DeValue<'_>) -> Result<bool, String> {
    text::boolean(&boolean(value)?)
}

fn integer(value: &DeValue<'_>) -> Result<i64, String> {
    let number = value.as_integer().ok_or_else(|| wrong_type("an integer", value))?;
    i64::from_str_radix(number.as_str(), number.radix()).map_err(|_| format!("{number} has too many digits"))
}

fn float(value: &DeValue<'_>) -> Result<f64, String> {
    let Some(number) = value.as_float() else {
        return integer(value).map(|number| number as f64).map_err(|_| wrong_type("a number", value));
    };
    number.as_str().parse().map_err(|_| format!("{number} is not a number"))
}

/// A table of the file, and the way to it, for errors.
struct Table<'a> {
    file: &'a File<'a>,
    way: String,
    entries: &'a DeTable<'a>,
    span: Range<usize>,
}

impl<'a> Table<'a> {
    fn new(file: &'a File<'a>, way: String, value: &'a Spanned<DeValue<'a>>) -> Result<Self, ConfigError> {
        match value.get_ref() {
            DeValue::Table(entries) => Ok(Self { file, way, entries, span: value.span() }),
            other => {
                let problem = format!("{way}: {}", wrong_type("a table", other));
                Err(file.error(Some(value.span()), &problem))
            }
        }
    }

    fn error(&self, problem: &str) -> ConfigError {
        self.file.error(Some(self.span.clone()), &format!("{}: {problem}", self.way))
    }

    /// No other keys than these may be there.
    fn only(&self, valid: &[&str]) -> Result<(), ConfigError> {
        let is_unknown = |key: &&Spanned<DeString<'_>>| !valid.contains(&key.get_ref().as_ref());
        let Some(key) = self.entries.keys().find(is_unknown) else { return Ok(()) };
        let typed = key.get_ref();
        let hint = match nearest(typed, valid.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("valid keys are {}", valid.join(", ")),
        };
        let problem = format!("unknown key `{typed}` in {}; {hint}", self.way);
        Err(self.file.error(Some(key.span()), &problem))
    }

    fn get<T>(
        &self,
        key: &str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.entries.get(key) else { return Ok(None) };
        let read = read(value.get_ref());
        read.map(Some)
            .map_err(|problem| self.file.error(Some(value.span()), &format!("{}.{key}: {problem}", self.way)))
    }

    fn need<T>(
        &self,
        key: &str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        self.get(key, read)?.ok_or_else(|| self.error(&format!("`{key}` is missing")))
    }

    fn table(&self, key: &str) -> Result<Table<'a>, ConfigError> {
        let value = self.entries.get(key).ok_or_else(|| self.error(&format!("`{key}` is missing")))?;
        Table::new(self.file, format!("{}.{key}", self.way), value)
    }

    fn tables(&self, key: &str) -> Result<Option<Vec<Table<'a>>>, ConfigError> {
        let Some(value) = self.entries.get(key) else { return Ok(None) };
        let way = format!("{}.{key}", self.way);
        let Some(all) = value.get_ref().as_array() else {
            let problem = format!("{way}: {}", wrong_type("a list of tables", value.get_ref()));
            return Err(self.file.error(Some(value.span()), &problem));
        };
        all.iter().map(|value| Table::new(self.file, way.clone(), value)).collect::<Result<_, _>>().map(Some)
    }
}
