//! Workload files of OpenMessaging Benchmark: flat YAML, each key with a meaning of its own.

use crate::config::{ConfigError, nearest};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};

/// What a file says, as far as it does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workload {
    pub name: Option<String>,
    pub topics: Option<u32>,
    pub partitions_per_topic: Option<u32>,
    pub key_distributor: KeyDistributor,
    pub message_bytes: Option<usize>,
    pub has_random_payloads: bool,
    pub random_bytes_ratio: Option<f64>,
    pub payload_file: Option<String>,
    pub subscriptions_per_topic: Option<u32>,
    pub consumers_per_subscription: Option<u32>,
    /// Records a second, all topics together; 0: as many as are taken.
    pub producer_rate: Option<u64>,
    pub test_minutes: Option<u64>,
    pub warmup_minutes: Option<u64>,
    /// What was understood and has no effect here, with the reason.
    pub notes: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyDistributor {
    #[default]
    NoKey,
    RoundRobin,
    RandomNano,
}

/// A key, and what its value does.
type Key = (&'static str, fn(&mut Workload, &str) -> Result<(), String>);

const KEYS: &[Key] = &[
    ("name", |workload, text| {
        workload.name = Some(text.to_owned());
        Ok(())
    }),
    ("topics", |workload, text| set(&mut workload.topics, positive(text))),
    ("partitionsPerTopic", |workload, text| set(&mut workload.partitions_per_topic, positive(text))),
    ("keyDistributor", |workload, text| {
        workload.key_distributor = match text {
            "NO_KEY" => KeyDistributor::NoKey,
            "KEY_ROUND_ROBIN" => KeyDistributor::RoundRobin,
            "RANDOM_NANO" => KeyDistributor::RandomNano,
            _ => return Err(format!("`{text}` is none of: NO_KEY, KEY_ROUND_ROBIN, RANDOM_NANO")),
        };
        Ok(())
    }),
    ("messageSize", |workload, text| set(&mut workload.message_bytes, number(text))),
    ("useRandomizedPayloads", |workload, text| {
        workload.has_random_payloads =
            text.parse().map_err(|_| format!("`{text}` is neither true nor false"))?;
        Ok(())
    }),
    ("randomBytesRatio", |workload, text| {
        let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        set(
            &mut workload.random_bytes_ratio,
            ratio.ok_or_else(|| format!("`{text}` is not a ratio from 0 to 1")),
        )
    }),
    ("randomizedPayloadPoolSize", |workload, text| {
        note(
            workload,
            number::<u64>(text)?,
            0,
            "randomizedPayloadPoolSize: here are 16 batches of different payloads",
        )
    }),
    ("payloadFile", |workload, text| {
        workload.payload_file = Some(text.to_owned());
        Ok(())
    }),
    ("subscriptionsPerTopic", |workload, text| {
        let count = number(text)?;
        workload.subscriptions_per_topic = Some(count);
        note(workload, count.max(1), 1, "subscriptionsPerTopic: everything is read once")
    }),
    ("consumerPerSubscription", |workload, text| {
        let count = number(text)?;
        workload.consumers_per_subscription = Some(count);
        note(workload, count.max(1), 1, "consumerPerSubscription: there is one reader for each broker")
    }),
    ("producersPerTopic", |workload, text| {
        note(workload, number::<u64>(text)?, 1, "producersPerTopic: one thread sends everything")
    }),
    ("producerRate", |workload, text| {
        let rate = number(text)?;
        workload.producer_rate = Some(rate);
        match rate {
            0 => note(
                workload,
                1,
                0,
                "producerRate 0: sends as much as is taken, instead of looking for a rate that lasts",
            ),
            _ => Ok(()),
        }
    }),
    ("consumerBacklogSizeGB", |workload, text| {
        note(workload, number::<u64>(text)?, 0, "consumerBacklogSizeGB: no backlog is built and drained")
    }),
    ("backlogDrainRatio", |workload, text| {
        let ratio: Result<f64, _> = text.parse();
        ratio.map_err(|_| format!("`{text}` is not a number"))?;
        note(workload, 1, 0, "backlogDrainRatio: no backlog is built and drained")
    }),
    ("testDurationMinutes", |workload, text| set(&mut workload.test_minutes, number(text))),
    ("warmupDurationMinutes", |workload, text| set(&mut workload.warmup_minutes, number(text))),
];

fn set<T>(field: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    *field = Some(value?);
    Ok(())
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is not a whole number"))
}

fn positive(text: &str) -> Result<u32, String> {
    match number(text)? {
        0 => Err("must be 1 or more".into()),
        number => Ok(number),
    }
}

/// Says that a value has no effect, unless it is the one that asks for nothing.
fn note<T: PartialEq>(workload: &mut Workload, value: T, nothing: T, note: &str) -> Result<(), String> {
    if value != nothing {
        workload.notes.push(note.to_owned());
    }
    Ok(())
}

impl Workload {
    /// Reads a file's text. `file` is what it is called in errors, which give the line and the key.
    pub fn from_yaml(file: &str, content: &str) -> Result<Self, ConfigError> {
        let mut workload = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for (key, value, line) in entries(file, content)? {
            let wrong = |problem: String| ConfigError(format!("{file}:{line}: {key}: {problem}"));
            let Some((_, read)) = KEYS.iter().find(|(name, _)| *name == key) else {
                let names = KEYS.iter().map(|(name, _)| *name);
                let hint = match nearest(&key, names.clone()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the keys are {}", names.collect::<Vec<_>>().join(", ")),
                };
                return Err(ConfigError(format!(
                    "{file}:{line}: there is no key `{key}` in a workload; {hint}"
                )));
            };
            if seen.contains(&key) {
                return Err(wrong("is set twice".into()));
            }
            let value = value.ok_or_else(|| wrong("expected a single value".into()))?;
            read(&mut workload, &value).map_err(wrong)?;
            seen.push(key);
        }
        Ok(workload)
    }
}

/// The keys of the one mapping, their values (None for what is no scalar), and their lines.
fn entries(file: &str, content: &str) -> Result<Vec<(String, Option<String>, usize)>, ConfigError> {
    let mut entries: Vec<(String, Option<String>, usize)> = Vec::new();
    let mut key: Option<(String, usize)> = None;
    let mut depth = 0;
    let mut documents = 0;
    for event in Parser::new_from_str(content) {
        let (event, span): (Event<'_>, Span) = event
            .map_err(|error| ConfigError(format!("{file}:{}: {}", error.marker().line(), error.info())))?;
        let line = span.start.line();
        let no_mapping = || ConfigError(format!("{file}:{line}: a workload is a list of `key: value`"));
        match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return Err(ConfigError(format!("{file}:{line}: a file holds one workload")));
                }
            }
            Event::MappingStart(..) if depth == 0 => depth = 1,
            Event::Scalar(..) | Event::SequenceStart(..) if depth == 0 => return Err(no_mapping()),
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                if depth == 1 {
                    let (name, line) = key.take().ok_or_else(no_mapping)?;
                    entries.push((name, None, line));
                }
                depth += 1;
            }
            Event::MappingEnd | Event::SequenceEnd => depth -= 1,
            Event::Scalar(text, style, ..) if depth == 1 => match key.take() {
                None => key = Some((text.into_owned(), line)),
                // A key without anything behind it.
                Some((name, line)) if style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null") => {
                    entries.push((name, None, line));
                }
                Some((name, line)) => entries.push((name, Some(text.into_owned()), line)),
            },
            Event::Alias(_) if depth == 1 => {
                let (name, line) = key.take().ok_or_else(no_mapping)?;
                entries.push((name, None, line));
            }
            _ => {}
        }
    }
    if documents == 0 || (depth == 0 && entries.is_empty()) {
        return Err(ConfigError(format!("{file}: there is no workload in it")));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(content: &str) -> Result<Workload, ConfigError> {
        Workload::from_yaml("w.yaml", content)
    }

    #[test]
    fn a_workload_of_openmessaging_benchmark_is_understood() {
        let content = "# of 2022\nname: 1 topic / 3 partition / json\n\ntopics: 1\npartitionsPerTopic: 3\nmessageSize: 94\n\
                       payloadFile: \"payload/payload-json.data\"\nkeyDistributor: \"KEY_ROUND_ROBIN\"\n\
                       subscriptionsPerTopic: 1\nconsumerPerSubscription: 1\nproducersPerTopic: 3\nproducerRate: 50\n\
                       consumerBacklogSizeGB: 0\ntestDurationMinutes: 2\nwarmupDurationMinutes: 1\n";
        let workload = read(content).unwrap();
        assert_eq!(
            workload,
            Workload {
                name: Some("1 topic / 3 partition / json".into()),
                topics: Some(1),
                partitions_per_topic: Some(3),
                key_distributor: KeyDistributor::RoundRobin,
                message_bytes: Some(94),
                payload_file: Some("payload/payload-json.data".into()),
                subscriptions_per_topic: Some(1),
                consumers_per_subscription: Some(1),
                producer_rate: Some(50),
                test_minutes: Some(2),
                warmup_minutes: Some(1),
                notes: vec!["producersPerTopic: one thread sends everything".into()],
                ..Workload::default()
            }
        );
        let random =
            read("useRandomizedPayloads: true\nrandomBytesRatio: 0.5\nrandomizedPayloadPoolSize: 1000")
                .unwrap();
        assert_eq!((random.has_random_payloads, random.random_bytes_ratio), (true, Some(0.5)));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_key() {
        for (content, words) in [
            (
                "topics: 1\npartitionPerTopic: 3\n",
                "w.yaml:2: there is no key `partitionPerTopic`|`partitionsPerTopic`?",
            ),
            ("topics: 1\nzzz: 3\n", "w.yaml:2:|`zzz`|the keys are name, topics"),
            ("name: x\ntopics: many\n", "w.yaml:2: topics: `many` is not a whole number"),
            ("topics: 0\n", "w.yaml:1: topics: must be 1 or more"),
            ("topics:\n  - 1\n", "w.yaml:1: topics: expected a single value"),
            ("topics:\n", "w.yaml:1: topics: expected a single value"),
            ("topics: 1\n\ntopics: 2\n", "w.yaml:3: topics: is set twice"),
            ("keyDistributor: RANDOM\n", "w.yaml:1: keyDistributor:|NO_KEY"),
            ("randomBytesRatio: 2\n", "w.yaml:1: randomBytesRatio:|0 to 1"),
            ("useRandomizedPayloads: maybe\n", "w.yaml:1: useRandomizedPayloads:|true"),
            ("topics: \"1\nname: x\n", "w.yaml:"),
            ("- topics\n", "w.yaml:1: a workload is a list of `key: value`"),
            ("topics: 1\n---\ntopics: 2\n", "w.yaml:2: a file holds one workload"),
            ("", "w.yaml: there is no workload in it"),
        ] {
            let problem = read(content).unwrap_err().0;
            for word in words.split('|') {
                assert!(problem.contains(word), "{content:?}: {problem}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_by_name(content in "[a-zA-Z0-9:\\- \n\"'{}\\[\\]#&*!|>%@`,?]{0,200}") {
            if let Err(problem) = read(&content) {
                prop_assert!(problem.0.starts_with("w.yaml:"), "{problem}");
            }
        }
    }
}
