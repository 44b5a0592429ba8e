//! What a configuration of MirrorMaker comes to: Twinlog's settings, and a line for each key that says what became of it.

use super::super::properties::Value;
use super::super::{ClusterName, ConfigError, Draft, Properties};
use std::fmt;

/// Behind a key that nobody set.
pub const NOT_SET: &str = "(not set)";

/// A value as `twinlog.toml` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Toml {
    Text(String),
    List(Vec<String>),
    Number(u64),
    Flag(bool),
}

impl fmt::Display for Toml {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::List(all) => {
                let all: Vec<String> = all.iter().map(|text| quoted(text)).collect();
                write!(f, "[{}]", all.join(", "))
            }
            Self::Number(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
        }
    }
}

/// As it is between single quotes, where that is possible: expressions are full of backslashes.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c != '\'' && !c.is_control();
    if text.chars().all(is_plain) {
        return format!("'{text}'");
    }
    let escaped: String = text
        .chars()
        .map(|c| match c {
            '"' => "\\\"".into(),
            '\\' => "\\\\".into(),
            c if c.is_control() => format!("\\u{:04x}", c as u32),
            c => c.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}

/// What became of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// File, line and key, or the key alone where nobody set it.
    pub origin: String,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A setting.
    Becomes(String),
    /// Part of one.
    Means(String),
    /// Nothing is lost with it.
    Unused(String),
    /// Something that MirrorMaker would do is not done, or done differently.
    Differs(String),
}

impl Line {
    /// Whether somebody asked for what is not done, or done differently.
    pub fn is_warning(&self) -> bool {
        matches!(self.outcome, Outcome::Differs(_)) && !self.origin.ends_with(NOT_SET)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::Becomes(what) => write!(f, "{} becomes {what}", self.origin),
            Outcome::Unused(why) => write!(f, "{} is ignored: {why}", self.origin),
            Outcome::Means(what) | Outcome::Differs(what) => write!(f, "{}: {what}", self.origin),
        }
    }
}

/// One link's settings in the making.
#[derive(Debug, Default)]
pub struct Settings {
    pub draft: Draft,
    pub lines: Vec<Line>,
    /// Table and line of the file.
    written: Vec<(&'static str, String)>,
}

impl Settings {
    /// Sets a key of a table. Errors are told of `origin`.
    pub fn set(
        &mut self,
        table: &'static str,
        key: &str,
        value: &Toml,
        origin: &str,
    ) -> Result<(), ConfigError> {
        self.set_quietly(table, key, value, origin)?;
        self.tell(origin, Outcome::Becomes(format!("{table}.{key} = {value}")));
        Ok(())
    }

    /// [`Settings::set`] of what another line tells.
    pub fn set_quietly(
        &mut self,
        table: &'static str,
        key: &str,
        value: &Toml,
        origin: &str,
    ) -> Result<(), ConfigError> {
        let set = self.draft.set(table, key, &value.to_string());
        set.map_err(|problem| ConfigError(format!("{origin}: {problem}")))?;
        self.written.push((table, format!("{key} = {value}")));
        Ok(())
    }

    /// Sets a key of Kafka's clients. `file` is the absolute path of where it stands.
    pub fn set_property(&mut self, side: ClusterName, key: &str, value: Value, file: &str) {
        let table = table(side);
        let text = written(key, &value, file);
        self.written.push((table, format!("{key} = {}", Toml::Text(text))));
        self.tell(&value.origin, Outcome::Becomes(format!("{table}.{key}")));
        let properties: &mut Properties = match side {
            ClusterName::Source => &mut self.draft.source_properties,
            ClusterName::Target => &mut self.draft.target_properties,
        };
        properties.set(key.to_owned(), value.text, value.origin);
    }

    pub fn tell(&mut self, origin: &str, outcome: Outcome) {
        self.lines.push(Line { origin: origin.to_owned(), outcome });
    }

    pub fn unused(&mut self, origin: &str, why: &str) {
        self.tell(origin, Outcome::Unused(why.to_owned()));
    }

    pub fn differs(&mut self, origin: &str, how: &str) {
        self.tell(origin, Outcome::Differs(how.to_owned()));
    }

    /// The settings as `twinlog.toml` has them.
    pub fn toml(&self) -> String {
        let mut text = String::new();
        for table in ["source", "target", "mirror"] {
            text += &format!("[{table}]\n");
            for (_, line) in self.written.iter().filter(|(of, _)| *of == table) {
                text += &format!("{line}\n");
            }
            text += "\n";
        }
        text
    }
}

pub fn table(side: ClusterName) -> &'static str {
    match side {
        ClusterName::Source => "source",
        ClusterName::Target => "target",
    }
}

/// A secret is not written down once more: what is written says where it stands.
fn written(key: &str, value: &Value, file: &str) -> String {
    let text = value.text.expose();
    let is_secret = ["password", "jaas", "secret", "keystore.key"].iter().any(|word| key.contains(word));
    match value.origin.rsplit_once(": ") {
        Some((_, written_as)) if is_secret && !text.contains("${") => {
            format!("${{file:{file}:{written_as}}}")
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_so_that_they_are_read_as_they_were() {
        for text in ["plain", r"clicks\..*", "it's", "a\"b\\c'\n", "é😀"] {
            let written = format!("[mirror]\nclient-id = {}", Toml::Text(text.into()));
            let read: toml::Table = written.parse().unwrap();
            assert_eq!(read["mirror"]["client-id"].as_str(), Some(text), "{written}");
        }
        assert_eq!(Toml::List(vec!["a".into(), "b".into()]).to_string(), "['a', 'b']");
    }

    #[test]
    fn secrets_are_not_written_down() {
        let value = |text: &str| Value { text: text.into(), origin: "f:3: B.ssl.key.password".into() };
        assert_eq!(written("ssl.key.password", &value("hunter2"), "/f"), "${file:/f:B.ssl.key.password}");
        assert_eq!(written("ssl.key.password", &value("${env:PW}"), "/f"), "${env:PW}");
        assert_eq!(written("ssl.protocol", &value("TLS"), "/f"), "TLS");
    }
}
