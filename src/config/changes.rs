//! What differs between two readings of the config file.

use super::file::list;
use std::collections::BTreeMap;
use toml::de::{DeTable, DeValue};

/// Tables whose values may be secret.
const SECRETIVE: [&str; 2] = ["source.", "target."];
const SHOWN: &str = "bootstrap";

/// A line for each key whose value is another one: what it was, and what it is. Of what stands in `[source]` and `[target]` only
/// that it has changed, since it may be secret. Both are to be files that can be read.
pub fn changes(before: &str, after: &str) -> Vec<String> {
    let (before, after) = (flat(before), flat(after));
    let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    let mut lines: Vec<String> = keys
        .filter_map(|key| match (before.get(key), after.get(key)) {
            (before, after) if before == after => None,
            (Some(_), Some(_)) if is_secretive(key) => Some(format!("{key}: changed")),
            (None, Some(_)) if is_secretive(key) => Some(format!("{key}: new")),
            (Some(before), Some(after)) => Some(format!("{key}: {before} -> {after}")),
            (None, Some(after)) => Some(format!("{key}: {after}, new")),
            (Some(_), None) => Some(format!("{key}: not there any more")),
            (None, None) => None,
        })
        .collect();
    lines.sort();
    lines
}

fn is_secretive(key: &str) -> bool {
    SECRETIVE.iter().any(|table| key.strip_prefix(table).is_some_and(|key| key != SHOWN))
}

fn flat(content: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if let Ok(document) = DeTable::parse(content) {
        for (name, value) in document.get_ref() {
            flatten(name.get_ref(), value.get_ref(), &mut found);
        }
    }
    found
}

fn flatten(name: &str, value: &DeValue<'_>, found: &mut BTreeMap<String, String>) {
    match value {
        DeValue::Table(entries) => {
            for (key, value) in entries {
                flatten(&format!("{name}.{}", key.get_ref()), value.get_ref(), found);
            }
        }
        DeValue::Array(parts) if parts.iter().any(|part| part.get_ref().is_table()) => {
            for (at, part) in (1..).zip(parts) {
                flatten(&format!("{name}[{at}]"), part.get_ref(), found);
            }
        }
        value => {
            let text =
                list(value).unwrap_or_else(|_| value.as_bool().map_or("?".into(), |on| on.to_string()));
            found.insert(name.to_owned(), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_that_differs_has_a_line_and_no_secret() {
        let before = "[source]\nbootstrap = 'a:1'\nsasl.jaas.config = 'old secret'\n[mirror]\ntopics = ['a', 'b']\n\
                      max-rate = '5MB/s'\nsync-topic-configs = false\n[[transform]]\ntopics = 'a'\n";
        let after = "[source]\nbootstrap = 'a:1,b:1'\nsasl.jaas.config = 'new secret'\nssl.keystore.password = 'x'\n[mirror]\n\
                     topics = ['a', 'c']\nsync-topic-configs = true\nlisten = 5\n[[transform]]\ntopics = 'c'\n";
        assert_eq!(
            changes(before, after),
            [
                "mirror.listen: 5, new",
                "mirror.max-rate: not there any more",
                "mirror.sync-topic-configs: false -> true",
                "mirror.topics: a,b -> a,c",
                "source.bootstrap: a:1 -> a:1,b:1",
                "source.sasl.jaas.config: changed",
                "source.ssl.keystore.password: new",
                "transform[1].topics: a -> c",
            ]
        );
        assert!(changes(after, after).is_empty());
    }
}
