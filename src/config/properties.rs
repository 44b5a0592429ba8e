//! Kafka's client settings as they were written: in a `.properties` file, as Kafka's own tools take with `--command-config`, or
//! as keys of `[source]` and `[target]` in `twinlog.toml`. What they mean is [`super::security`]'s business.

use super::{ConfigError, Secret};
use std::collections::BTreeMap;

/// Keys with their values, and where each was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, Value>);

/// Every value may be a password until it is known which key it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub text: Secret,
    /// File, line and key, for errors.
    pub origin: String,
}

impl Properties {
    /// Reads a file in the format of `java.util.Properties`. `name` is what the file is called in errors.
    pub fn from_file(name: &str, content: &str) -> Result<Self, ConfigError> {
        let mut properties = Self::default();
        for (line, text) in logical_lines(content) {
            let (key, value) =
                split(&text).map_err(|problem| ConfigError(format!("{name}:{line}: {problem}")))?;
            let origin = format!("{name}:{line}: {key}");
            properties.set(key, value.into(), origin);
        }
        Ok(properties)
    }

    /// Of a key that is set twice the last value counts, as in Java.
    pub fn set(&mut self, key: String, text: Secret, origin: String) {
        self.0.insert(key, Value { text, origin });
    }

    /// Everything that is set here, and what `other` sets besides.
    pub fn or(mut self, other: Self) -> Self {
        for (key, value) in other.0 {
            self.0.entry(key).or_insert(value);
        }
        self
    }

    /// Takes a key out.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.0.remove(key)
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        self.0.values_mut()
    }
}

/// Lines without comments and blank ones, those that end in a backslash joined with the next; each with the number of its first.
fn logical_lines(content: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in content.lines().enumerate() {
        let text = line.trim_start_matches([' ', '\t', '\x0c']);
        let (number, mut joined) = match open.take() {
            Some(open) => open,
            None if text.is_empty() || text.starts_with(['#', '!']) => continue,
            None => (index + 1, String::new()),
        };
        let backslashes = text.len() - text.trim_end_matches('\\').len();
        if backslashes % 2 == 1 {
            joined.push_str(&text[..text.len() - 1]);
            open = Some((number, joined));
        } else {
            joined.push_str(text);
            lines.push((number, joined));
        }
    }
    lines.extend(open);
    lines
}

/// The key ends at the first `=`, `:` or blank that no backslash stands before.
fn split(line: &str) -> Result<(String, String), String> {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && matches!(c, '=' | ':' | ' ' | '\t' | '\x0c');
        escaped = !escaped && c == '\\';
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let blank = [' ', '\t', '\x0c'];
    let rest = rest.trim_start_matches(blank);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start_matches(blank);
    let key = unescape(key)?;
    if key.is_empty() {
        return Err("there is no key before the `=`".into());
    }
    // Java keeps blanks at the end of a value; Kafka trims what it reads, and so does this.
    Ok((key, unescape(value)?.trim_end().to_owned()))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    // UTF-16, as Java has it: two escapes may make one character.
    let mut units: Vec<u16> = Vec::new();
    while let Some(c) = chars.next() {
        let escape = if c == '\\' { chars.next() } else { None };
        if escape == Some('u') {
            let digits: String = chars.by_ref().take(4).collect();
            let unit = u16::from_str_radix(&digits, 16)
                .ok()
                .filter(|_| digits.len() == 4)
                .ok_or("\\u must be followed by four hexadecimal digits")?;
            units.push(unit);
            continue;
        }
        flush(&mut units, &mut plain)?;
        match (c, escape) {
            ('\\', Some('t')) => plain.push('\t'),
            ('\\', Some('n')) => plain.push('\n'),
            ('\\', Some('r')) => plain.push('\r'),
            ('\\', Some('f')) => plain.push('\x0c'),
            ('\\', Some(other)) => plain.push(other),
            ('\\', None) => {}
            (c, _) => plain.push(c),
        }
    }
    flush(&mut units, &mut plain)?;
    Ok(plain)
}

fn flush(units: &mut Vec<u16>, plain: &mut String) -> Result<(), String> {
    let text = String::from_utf16(units).map_err(|_| "\\u escapes that are no character")?;
    plain.push_str(&text);
    units.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(content: &str) -> Vec<(String, String)> {
        let properties = Properties::from_file("f", content).unwrap();
        properties.iter().map(|(key, value)| (key.to_owned(), value.text.expose().to_owned())).collect()
    }

    #[test]
    fn the_format_is_that_of_java() {
        let content = "# a comment\n! another\n\n a = 1 \nb:2\nc 3\nd=\n\
                       e = x\\\n    y\\\n  z\nf\\:g = h=i:j\nu = \\u00e9\\ud83d\\ude00\nt = a\\tb\\\\\na = 4\n";
        let expected = [
            ("a", "4"),
            ("b", "2"),
            ("c", "3"),
            ("d", ""),
            ("e", "xyz"),
            ("f:g", "h=i:j"),
            ("t", "a\tb\\"),
            ("u", "é😀"),
        ];
        let expected: Vec<_> = expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(read(content), expected);
    }

    #[test]
    fn where_a_value_stands_is_known() {
        let properties = Properties::from_file("client.properties", "\n#\nx=1\\\n2\ny=3").unwrap();
        assert_eq!(properties.get("x").unwrap().origin, "client.properties:3: x");
        assert_eq!(properties.get("y").unwrap().origin, "client.properties:5: y");
        let error = Properties::from_file("f", "a=1\n=2").unwrap_err();
        assert!(error.0.starts_with("f:2: there is no key"), "{error}");
        assert!(Properties::from_file("f", "a=\\u12").is_err());
        assert!(Properties::from_file("f", "a=\\ud83d").is_err());
    }

    #[test]
    fn the_first_of_two_sets_wins() {
        let [one, other] = ["a=1", "a=2\nb=3"].map(|text| Properties::from_file("f", text).unwrap());
        let both = one.or(other);
        assert_eq!(both.get("a").unwrap().text.expose(), "1");
        assert_eq!(both.get("b").unwrap().text.expose(), "3");
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(content in "\\PC*|[\\\\ua=:\\n \\t#0-9d]{0,60}") {
            let _ = Properties::from_file("f", &content);
        }
    }
}
