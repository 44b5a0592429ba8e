//! What is changed of records on their way, as the tables `[[transform]]` of `twinlog.toml` say it. What the steps do is the
//! business of [`crate::records`].

mod reader;

pub(super) use reader::read;

use super::{Codec, text};
use regex::{Regex, bytes};
use std::fmt;

/// One table: for which topics, and what.
#[derive(Clone, Debug)]
pub struct Transform {
    /// It applies to a topic if one of these matches the whole name.
    pub topics: Vec<Regex>,
    pub on_error: OnError,
    /// Of the batches that are written. None: each with the codec that it had.
    pub compression: Option<Compression>,
    /// Each gets what the one before it left.
    pub steps: Vec<Step>,
}

impl Transform {
    /// Whether records can be left out, so that offsets cannot simply follow each other as on the source.
    pub fn may_drop(&self) -> bool {
        let drops =
            |step: &Step| matches!(step, Step::Keep(_) | Step::Drop(_) | Step::Sample { .. } | Step::Wasm(_));
        self.on_error == OnError::Drop || self.steps.iter().any(drops)
    }

    /// The topics' patterns, for messages.
    pub fn names(&self) -> String {
        let patterns: Vec<&str> = self.topics.iter().map(text::typed).collect();
        patterns.join(", ")
    }

    /// One line, for people.
    pub fn describe(&self) -> String {
        let mut parts: Vec<String> = self.steps.iter().map(ToString::to_string).collect();
        if !self.steps.is_empty() {
            let on_error = match self.on_error {
                OnError::Stop => "stop at errors",
                OnError::Drop => "drop what fails",
                OnError::Keep => "keep what fails as it came",
            };
            parts.push(on_error.into());
        }
        if let Some(Compression { codec, level }) = self.compression {
            let level = level.map(|level| format!(" {level}")).unwrap_or_default();
            parts.push(format!("compress with {codec}{level}"));
        }
        parts.join(", ")
    }
}

/// What becomes of a record that a step cannot handle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// Its partition stops there, with the cause; the others go on.
    #[default]
    Stop,
    /// It is left out.
    Drop,
    /// It goes on as it came, without what other steps made of it.
    Keep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    pub codec: Codec,
    /// None: the codec's default.
    pub level: Option<i32>,
}

#[derive(Clone, Debug)]
pub enum Step {
    /// Only records for which this holds go on.
    Keep(Condition),
    /// Only records for which this does not hold go on.
    Drop(Condition),
    /// So many records of a million go on: all with the same key, or none.
    Sample {
        ppm: u32,
    },
    /// Another value instead of a field's, as JSON.
    Mask {
        field: Field,
        with: String,
    },
    RemoveField(Field),
    /// Another name for a field, in the same object.
    RenameField {
        from: Field,
        to: String,
    },
    /// This header, once, with this value.
    SetHeader {
        name: String,
        value: String,
    },
    /// No headers with such names.
    RemoveHeader(bytes::Regex),
    RenameHeader {
        from: String,
        to: String,
    },
    /// The record's time is a field's number, in ms since the Unix epoch.
    Timestamp(Field),
    /// What a WebAssembly module makes of it.
    Wasm(Module),
}

impl Step {
    /// As the file has it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Keep(_) => "keep",
            Self::Drop(_) => "drop",
            Self::Sample { .. } => "sample-percent",
            Self::Mask { .. } => "mask",
            Self::RemoveField(_) => "remove-field",
            Self::RenameField { .. } => "rename-field",
            Self::SetHeader { .. } => "set-header",
            Self::RemoveHeader(_) => "remove-header",
            Self::RenameHeader { .. } => "rename-header",
            Self::Timestamp(_) => "timestamp",
            Self::Wasm(_) => "wasm",
        }
    }
}

/// One line, for people.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Keep(_) | Self::Drop(_) | Self::RemoveHeader(_) => Ok(()),
            Self::Sample { ppm } => write!(f, " {}", f64::from(*ppm) / 10_000.0),
            Self::Mask { field, .. } | Self::RemoveField(field) | Self::Timestamp(field) => {
                write!(f, " {field}")
            }
            Self::RenameField { from, to } => write!(f, " {from} to {to}"),
            Self::SetHeader { name, .. } => write!(f, " {name}"),
            Self::RenameHeader { from, to } => write!(f, " {from} to {to}"),
            Self::Wasm(module) => write!(f, " {}", module.file),
        }
    }
}

/// A file of WebAssembly, and what it may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its path.
    pub file: String,
    /// Of memory, for each core.
    pub memory_bytes_max: usize,
    /// Roughly the number of instructions that one record may take.
    pub fuel_per_record: u64,
}

/// A field of a JSON object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The names of the objects that it stands in, the outermost first. A list on the way stands for all of its elements.
    pub way: Vec<String>,
    pub name: String,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.way.iter().try_for_each(|name| write!(f, "{name}."))?;
        f.write_str(&self.name)
    }
}

/// What holds for some records and not for others.
#[derive(Clone, Debug)]
pub enum Condition {
    Not(Box<Condition>),
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Test(Subject, Test),
}

/// What is looked at. It may be absent: a null, a header or a field that is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    Whole(Part),
    /// Of several with this name, any.
    Header(String),
    /// Of a part that is JSON; any other has no fields. Of several, any.
    Field(Part, Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Key,
    Value,
}

#[derive(Clone, Debug)]
pub enum Test {
    Exists(bool),
    Equals(Scalar),
    Matches(bytes::Regex),
}

/// What a field, a header, a key or a value is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
}

#[cfg(test)]
mod tests;
