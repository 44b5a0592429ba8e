//! What is worth saying about a link, before it runs and while it does.

use serde::Serialize;
use std::fmt;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Good to know.
    Note,
    /// It works, but not in the way that one may expect.
    Warning,
    /// A topic or partition is left out or will stop, or nothing works at all.
    Stops,
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "about", content = "name", rename_all = "lowercase")]
pub enum About {
    Link,
    Source,
    Target,
    Topic(String),
    Group(String),
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link => f.write_str("link"),
            Self::Source => f.write_str("source"),
            Self::Target => f.write_str("target"),
            Self::Topic(name) => write!(f, "topic {name}"),
            Self::Group(name) => write!(f, "group {name}"),
        }
    }
}

/// One sentence, and what to type about it if there is such a thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub weight: Weight,
    #[serde(flatten)]
    pub about: About,
    pub text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

impl Finding {
    pub fn new(weight: Weight, about: About, text: impl Into<String>) -> Self {
        Self { weight, about, text: text.into(), command: None }
    }

    pub fn of_topic(weight: Weight, topic: &str, text: impl Into<String>) -> Self {
        Self::new(weight, About::Topic(topic.to_owned()), text)
    }
}

/// Names in a sentence are cut off after so many.
const NAMES_SHOWN: usize = 10;

/// `a, b and 3 more`
pub fn names<T: fmt::Display>(all: impl IntoIterator<Item = T>) -> String {
    let mut all = all.into_iter();
    let shown: Vec<String> = all.by_ref().take(NAMES_SHOWN).map(|name| name.to_string()).collect();
    match all.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_find_what_a_finding_is_about_beside_its_text() {
        let json = |finding: &Finding| serde_json::to_value(finding).unwrap();
        let of_topic = Finding::of_topic(Weight::Stops, "t", "why");
        assert_eq!(
            json(&of_topic),
            serde_json::json!({"weight": "stops", "about": "topic", "name": "t", "text": "why"})
        );
        let of_target =
            Finding { command: Some("do".into()), ..Finding::new(Weight::Note, About::Target, "why") };
        assert_eq!(
            json(&of_target),
            serde_json::json!({"weight": "note", "about": "target", "text": "why", "command": "do"})
        );
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(names(["a", "b"]), "a, b");
        assert_eq!(names(1..=12), "1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more");
    }
}
