//! `twinlog.toml`: the tables `[source]`, `[target]` and `[mirror]`, with a key for every flag of `twinlog mirror`. In the first
//! two stand Kafka's own settings of clients, too. The tables `[[transform]]` are read by [`super::transforms`].

use super::text::{self, log_format};
use super::{ConfigError, Draft, hours, nearest, security, topic_rates, transforms};
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

impl Draft {
    /// Reads a config file's text. `name` is what the file is called in errors, which give the line and the key.
    pub fn from_toml(name: &str, content: &str) -> Result<Draft, ConfigError> {
        let file = File { name, content };
        let document = DeTable::parse(content).map_err(|error| file.error(error.span(), error.message()))?;
        let mut draft = Draft::default();
        for (table, value) in document.get_ref() {
            if table.get_ref() == TRANSFORM {
                draft.transforms = Some(transforms::read(&file, value)?);
                continue;
            }
            if table.get_ref() == PRINCIPALS {
                draft.principals = Some(file.principals(value)?);
                continue;
            }
            let Some(entries) =
                value.get_ref().as_table().filter(|_| TABLES.contains(&table.get_ref().as_ref()))
            else {
                return Err(file.not_a_table(table, value));
            };
            for (name, value) in entries {
                let key = KEYS.iter().find(|key| key.table == table.get_ref() && key.name == name.get_ref());
                let Some(key) = key else {
                    file.property(&mut draft, table.get_ref(), name, value)?;
                    continue;
                };
                (key.read)(&mut draft, value.get_ref()).map_err(|problem| {
                    file.error(Some(value.span()), &format!("{}.{}: {problem}", key.table, key.name))
                })?;
            }
        }
        Ok(draft)
    }

    /// Sets one key of the file, whose value is written as in the file.
    pub(super) fn set(&mut self, table: &str, name: &str, value: &str) -> Result<(), String> {
        let key = KEYS.iter().find(|key| key.table == table && key.name == name);
        let key = key.ok_or_else(|| format!("there is no key {table}.{name}"))?;
        let value = DeValue::parse(value).map_err(|error| error.message().to_owned())?;
        (key.read)(self, value.get_ref())
    }
}

/// The keys of the file, each with its table.
pub fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYS.iter().map(|key| (key.table, key.name))
}

const TABLES: [&str; 3] = ["source", "target", "mirror"];
/// A table that may be there many times.
const TRANSFORM: &str = "transform";
/// A table whose keys are not ours: who has another name on the target.
const PRINCIPALS: &str = "principals";

/// One key of the file and how its value gets into the draft.
struct Key {
    table: &'static str,
    name: &'static str,
    read: fn(&mut Draft, &DeValue<'_>) -> Result<(), String>,
}

macro_rules! keys {
    ($($table:ident . $name:literal => $field:ident: $value:ident, $read:expr;)*) => {
        &[$(Key {
            table: stringify!($table),
            name: $name,
            read: |draft, value| {
                draft.$field = Some($read(&$value(value)?)?);
                Ok(())
            },
        }),*]
    };
}

const KEYS: &[Key] = keys! {
    source."bootstrap" => source: list, text::addresses;
    target."bootstrap" => target: list, text::addresses;
    mirror."topics" => topics: list, text::patterns;
    mirror."exclude" => exclude: list, text::patterns;
    mirror."prefix" => prefix: string, text::prefix;
    mirror."rename" => rename: list, text::renames;
    mirror."from" => from: scalar, text::start_from;
    mirror."offsets" => offsets: string, text::offsets;
    mirror."identical" => identical: list, text::patterns;
    mirror."append" => append: list, text::patterns;
    mirror."both-directions" => both_directions: list, text::patterns;
    mirror."shared" => shared: list, text::patterns;
    mirror."gap-offsets-max" => gap_offsets_max: integer, text::offset_count;
    mirror."gap-transactions-max" => gap_transactions_max: integer, text::offset_count;
    mirror."large-gaps" => large_gaps: string, text::large_gaps;
    mirror."seed-offsets-max" => seed_offsets_max: integer, text::offset_count;
    mirror."exactly-once" => exactly_once: string, text::exactly_once;
    mirror."isolation" => isolation: string, text::isolation;
    mirror."on-loss" => on_loss: string, text::on_loss;
    mirror."merge" => merge: string, text::merge;
    mirror."oversize" => oversize: string, text::oversize;
    mirror."dead-letter" => dead_letter: string, text::dead_letter;
    mirror."groups" => groups: list, text::patterns;
    mirror."groups-exclude" => groups_exclude: list, text::patterns;
    mirror."groups-rewind" => groups_rewind: boolean, text::boolean;
    mirror."groups-interval-ms" => groups_interval_ms: integer, text::milliseconds;
    mirror."source-alias" => source_alias: string, text::alias;
    mirror."target-alias" => target_alias: string, text::alias;
    mirror."alias-separator" => alias_separator: string, text::prefix;
    mirror."checkpoints" => checkpoints: list, text::patterns;
    mirror."checkpoints-exclude" => checkpoints_exclude: list, text::patterns;
    mirror."checkpoints-topic" => checkpoints_topic: string, text::topic_name;
    mirror."checkpoints-interval-ms" => checkpoints_interval_ms: integer, text::milliseconds;
    mirror."checkpoints-replication-factor" => checkpoints_replication_factor: integer, text::replication_factor;
    mirror."heartbeats" => heartbeats: list, text::heartbeats;
    mirror."heartbeats-topic" => heartbeats_topic: string, text::topic_name;
    mirror."heartbeats-interval-ms" => heartbeats_interval_ms: integer, text::milliseconds;
    mirror."heartbeats-replication-factor" => heartbeats_replication_factor: integer, text::replication_factor;
    mirror."until-caught-up" => until_caught_up: boolean, text::boolean;
    mirror."mover" => mover: string, text::mover;
    mirror."cores" => cores: list, text::cores;
    mirror."link" => link: string, text::link;
    mirror."buffer-bytes" => buffer_bytes: scalar, text::memory_bytes;
    mirror."max-rate" => max_rate_bytes: scalar, text::byte_rate;
    mirror."max-rate-hours" => max_rate_hours: list, hours::rate_hours;
    mirror."max-rate-topics" => max_rate_topics: list, topic_rates;
    mirror."first" => first: list, text::patterns;
    mirror."replication-factor" => replication_factor: integer, text::replication_factor;
    mirror."sync-topic-configs" => sync_topic_configs: boolean, text::boolean;
    mirror."deleted-topics" => deleted_topics: string, text::deleted_topics;
    mirror."sync-acls" => sync_acls: string, text::sync_acls;
    mirror."sync-quotas" => sync_quotas: boolean, text::boolean;
    mirror."topic-configs-interval-ms" => topic_configs_interval_ms: integer, text::milliseconds;
    mirror."metadata-refresh-ms" => metadata_refresh_ms: integer, text::milliseconds;
    mirror."zombie-bound-ms" => zombie_bound_ms: integer, text::milliseconds;
    mirror."client-id" => client_id: string, text::client_id;
    mirror."fetch-bytes-max" => fetch_bytes_max: scalar, text::memory_bytes;
    mirror."fetch-wait-ms" => fetch_wait_ms: integer, text::milliseconds;
    mirror."rack" => rack: string, text::rack;
    mirror."request-timeout-ms" => request_timeout_ms: integer, text::milliseconds;
    mirror."connections-per-broker" => connections_per_broker: integer, text::count;
    mirror."listen" => listen: scalar, text::listen;
    mirror."metrics-names" => metrics_names: string, text::metrics_names;
    mirror."control-token-file" => control_token_file: string, text::file;
    mirror."pause" => pause: list, text::patterns;
    mirror."instances" => instances: string, text::instances;
    mirror."parts" => parts: integer, text::parts;
    mirror."instance" => instance: string, text::instance;
    mirror."instance-timeout-ms" => instance_timeout_ms: integer, text::milliseconds;
    mirror."log-format" => log_format: string, log_format;
};

// Each of these insists on a TOML type and hands on the text that the command line would have had.

pub(super) fn string(value: &DeValue<'_>) -> Result<String, String> {
    value.as_str().map(Into::into).ok_or_else(|| wrong_type("a string", value))
}

fn integer(value: &DeValue<'_>) -> Result<String, String> {
    value.as_integer().map(ToString::to_string).ok_or_else(|| wrong_type("an integer", value))
}

pub(super) fn boolean(value: &DeValue<'_>) -> Result<String, String> {
    value.as_bool().map(|b| b.to_string()).ok_or_else(|| wrong_type("true or false", value))
}

pub(super) fn scalar(value: &DeValue<'_>) -> Result<String, String> {
    if let DeValue::Datetime(time) = value {
        return Ok(time.to_string());
    }
    string(value).or_else(|_| integer(value)).map_err(|_| wrong_type("a string or an integer", value))
}

pub(super) fn list(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::Array(parts) => {
            let parts: Result<Vec<_>, _> = parts.iter().map(|part| scalar(part.get_ref())).collect();
            parts.map(|parts| parts.join(","))
        }
        _ => scalar(value).map_err(|_| wrong_type("a string or a list", value)),
    }
}

pub(super) fn wrong_type(expected: &str, found: &DeValue<'_>) -> String {
    let found = match found {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    format!("expected {expected}, found {found}")
}

/// The file, for errors that point into it.
pub(super) struct File<'a> {
    name: &'a str,
    content: &'a str,
}

impl File<'_> {
    pub(super) fn error(&self, span: Option<Range<usize>>, problem: &str) -> ConfigError {
        let problem = problem.trim().replace('\n', "; ");
        match span.and_then(|span| self.content.get(..span.start)) {
            Some(before) => {
                let line = before.matches('\n').count() + 1;
                ConfigError(format!("{}:{line}: {problem}", self.name))
            }
            None => ConfigError(format!("{}: {problem}", self.name)),
        }
    }

    /// `"User:a" = "User:b"`: the source's name of a principal, and the target's.
    fn principals(&self, value: &Spanned<DeValue<'_>>) -> Result<BTreeMap<String, String>, ConfigError> {
        let wrong = |problem: &str| self.error(Some(value.span()), &format!("[{PRINCIPALS}]: {problem}"));
        let entries = value.get_ref().as_table().ok_or_else(|| wrong("it must be a table of keys"))?;
        let mut principals = BTreeMap::new();
        for (from, to) in entries {
            let to = string(to.get_ref())
                .map_err(|problem| self.error(Some(to.span()), &format!("[{PRINCIPALS}]: {problem}")))?;
            for each in [from.get_ref(), to.as_str()] {
                if !each.contains(':') {
                    let problem = format!("[{PRINCIPALS}]: `{each}` is no principal, such as User:alice");
                    return Err(self.error(Some(from.span()), &problem));
                }
            }
            principals.insert(from.get_ref().to_string(), to);
        }
        Ok(principals)
    }

    /// A key of Kafka's clients about a cluster. TOML takes its dots for tables within tables.
    fn property(
        &self,
        draft: &mut Draft,
        table: &str,
        name: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), ConfigError> {
        let properties = match table {
            "source" => &mut draft.source_properties,
            "target" => &mut draft.target_properties,
            _ => return Err(self.unknown_key(table, name)),
        };
        let mut open = vec![(name.get_ref().to_string(), value)];
        while let Some((key, value)) = open.pop() {
            if let DeValue::Table(entries) = value.get_ref() {
                open.extend(entries.iter().map(|(name, value)| (format!("{key}.{}", name.get_ref()), value)));
                continue;
            }
            if let Some(problem) = security::key_problem(&key) {
                let is_elsewhere = KEYS.iter().any(|other| other.name == key);
                let span = Some(name.span());
                return Err(match is_elsewhere || !key.contains('.') {
                    true => self.unknown_key(table, name),
                    false => self.error(span, &format!("in [{table}]: {problem}")),
                });
            }
            let origin = self.error(Some(value.span()), &format!("{table}.{key}")).0;
            let text =
                list(value.get_ref()).map_err(|problem| ConfigError(format!("{origin}: {problem}")))?;
            properties.set(key, text.into(), origin);
        }
        Ok(())
    }

    fn unknown_key(&self, table: &str, key: &Spanned<DeString<'_>>) -> ConfigError {
        let typed = key.get_ref();
        let here = || KEYS.iter().filter(|key| key.table == table).map(|key| key.name);
        let elsewhere = KEYS.iter().find(|key| key.name == typed);
        let hint = match (nearest(typed, here()), elsewhere) {
            (Some(near), _) => format!("did you mean `{near}`?"),
            (None, Some(key)) => format!("that key belongs into [{}]", key.table),
            (None, None) => format!("valid keys are {}", here().collect::<Vec<_>>().join(", ")),
        };
        self.error(Some(key.span()), &format!("unknown key `{typed}` in [{table}]; {hint}"))
    }

    fn not_a_table(&self, name: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>) -> ConfigError {
        let typed = name.get_ref();
        let problem = if TABLES.contains(&typed.as_ref()) {
            format!("[{typed}] must be a table of keys")
        } else if let Some(key) = KEYS.iter().find(|key| key.name == typed) {
            format!("`{typed}` stands outside of any table; it belongs into [{}]", key.table)
        } else {
            let is_key = !value.get_ref().is_table() && !value.get_ref().is_array();
            let what = if is_key { "key" } else { "table" };
            let hint = match nearest(typed, TABLES.into_iter().chain([TRANSFORM, PRINCIPALS])) {
                Some(TRANSFORM) => "did you mean [[transform]]?".into(),
                Some(near) => format!("did you mean [{near}]?"),
                None => {
                    "valid tables are [source], [target], [mirror], [principals] and [[transform]]".into()
                }
            };
            format!("unknown {what} `{typed}`; {hint}")
        };
        self.error(Some(name.span()), &problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        DeletedTopics, ExactlyOnce, Heartbeats, Isolation, LargeGaps, LogFormat, Merge, MetricsNames, Mover,
        Offsets, OnLoss, Oversize, StartFrom, SyncAcls, rate_of,
    };

    #[test]
    fn every_key_is_read() {
        let content = r#"
            [source]
            bootstrap = ["a:1", "b:2"]
            [target]
            bootstrap = "c:3,d:4"
            [mirror]
            topics = ['orders', 'clicks\..*']
            exclude = "x.*"
            prefix = "east."
            rename = ["orders=orders-v2"]
            from = 2026-01-31T08:00:00Z
            offsets = "append"
            identical = "i"
            append = ["a"]
            shared = ["s"]
            gap-offsets-max = 5
            gap-transactions-max = 7
            large-gaps = "aborted-records"
            seed-offsets-max = 6
            exactly-once = "sequences"
            isolation = "read-committed"
            on-loss = "record-and-continue"
            merge = "never"
            oversize = "halt"
            dead-letter = "odd"
            groups = "g.*"
            groups-exclude = "gx"
            groups-rewind = true
            groups-interval-ms = 77
            source-alias = "east"
            target-alias = "west"
            alias-separator = "_"
            checkpoints = "c.*"
            checkpoints-exclude = "cx"
            checkpoints-topic = "my-checkpoints"
            checkpoints-interval-ms = 78
            checkpoints-replication-factor = 3
            heartbeats = ["target", "relay"]
            heartbeats-topic = "beats"
            heartbeats-interval-ms = 79
            heartbeats-replication-factor = 4
            until-caught-up = true
            mover = "splice"
            cores = [0, 2]
            link = "east"
            buffer-bytes = "64MiB"
            replication-factor = 2
            max-rate = "50MB/s"
            max-rate-hours = ["08:00-18:00=20MB/s", "Sat 00:00-24:00=none"]
            max-rate-topics = ['c\..{1,2}=5MB/s', 'd=6MB/s']
            first = ["f.*"]
            rack = "eu-1a"
            listen = 9464
            metrics-names = "both"
            control-token-file = "/token"
            pause = ["p.*"]
            sync-topic-configs = true
            deleted-topics = "flag"
            sync-acls = "readers"
            sync-quotas = true
            topic-configs-interval-ms = 88
            metadata-refresh-ms = 1_000
            zombie-bound-ms = 5000
            client-id = "me"
            fetch-bytes-max = 1048576
            fetch-wait-ms = 100
            request-timeout-ms = 9000
            connections-per-broker = 3
            log-format = "json"
        "#;
        // What does not go together with the rest.
        let elsewhere = ["both-directions", "instances", "parts", "instance", "instance-timeout-ms"];
        for key in KEYS.iter().filter(|key| !elsewhere.contains(&key.name)) {
            assert!(content.contains(key.name), "{} is not tried", key.name);
        }
        let draft = Draft::from_toml("t", content).unwrap();
        assert_eq!(draft.log_format, Some(LogFormat::Json));
        let mirror = draft.build().unwrap();
        assert_eq!((mirror.source.bootstrap.len(), mirror.target.bootstrap.len()), (2, 2));
        assert!(mirror.topics[1].is_match("clicks.eu") && mirror.exclude[0].is_match("xyz"));
        assert_eq!(mirror.from, StartFrom::TimestampMs(1_769_846_400_000));
        assert_eq!((mirror.offsets, mirror.isolation), (Offsets::Append, Isolation::ReadCommitted));
        assert_eq!(mirror.exactly_once, ExactlyOnce::Sequences);
        assert!(mirror.identical[0].is_match("i") && mirror.append[0].is_match("a"));
        assert!(mirror.shared[0].is_match("s"));
        let names = &mirror.target.names;
        assert_eq!((&*names.on_cluster("orders"), &*names.on_cluster("x")), ("orders-v2", "east.x"));
        let both = Draft::from_toml("t", "[mirror]\nboth-directions = ['b']").unwrap();
        assert!(both.both_directions.unwrap()[0].is_match("b"));
        let shared = "[mirror]\ninstances = 'auto'\nparts = 8\ninstance = 'one'\ninstance-timeout-ms = 6000";
        let shared = Draft::from_toml("t", shared).unwrap();
        assert_eq!(
            (shared.instances, shared.parts, shared.instance_timeout_ms),
            (Some(true), Some(8), Some(6_000))
        );
        assert_eq!(shared.instance.as_deref(), Some("one"));
        assert!(mirror.groups[0].is_match("g1") && mirror.groups_exclude[0].is_match("gx"));
        assert_eq!((mirror.groups_rewind, mirror.groups_interval_ms), (true, 77));
        let topics = &mirror.client_topics;
        assert_eq!(topics.relayed("x_beats").as_deref(), Some("east_x_beats"));
        assert!(topics.relayed("west_beats").is_none() && topics.has_checkpoints_of("c1"));
        assert!(!topics.has_checkpoints_of("cx"));
        assert_eq!(
            (topics.checkpoints_topic.as_str(), topics.checkpoints_interval_ms),
            ("my-checkpoints", 78)
        );
        assert_eq!(topics.heartbeats, Heartbeats { target: true, source: false, relay: true });
        assert_eq!((topics.heartbeats_topic.as_str(), topics.heartbeats_interval_ms), ("beats", 79));
        assert_eq!(topics.checkpoints_replication_factor, Some(3));
        assert_eq!(topics.heartbeats_replication_factor, Some(4));
        assert_eq!(mirror.on_loss, OnLoss::RecordAndContinue);
        assert_eq!((mirror.merge, mirror.oversize), (Merge::Never, Oversize::Halt));
        assert_eq!(mirror.dead_letter.as_deref(), Some("odd"));
        assert_eq!((mirror.gap_offsets_max, mirror.seed_offsets_max), (5, 6));
        assert_eq!((mirror.gap_transactions_max, mirror.large_gaps), (7, LargeGaps::AbortedRecords));
        assert_eq!((mirror.mover, mirror.cores), (Mover::Splice, vec![0, 2]));
        assert_eq!((mirror.buffer_bytes, mirror.replication_factor), (64 << 20, Some(2)));
        assert_eq!(mirror.max_rate_hours.at(9 * 3_600_000), Some(Some(20_000_000)));
        assert_eq!((mirror.max_rate_bytes, mirror.listen), (Some(50_000_000), "127.0.0.1:9464".parse().ok()));
        assert_eq!(mirror.metrics_names, MetricsNames::Both);
        assert_eq!(mirror.control_token_file.as_deref(), Some("/token".as_ref()));
        assert!(mirror.pause[0].is_match("px") && mirror.pause.len() == 1);
        assert_eq!((mirror.sync_topic_configs, mirror.topic_configs_interval_ms), (true, 88));
        let rates = &mirror.max_rate_topics;
        assert_eq!((rate_of(rates, "c.1"), rates[1].bytes_per_second), (Some(0), 6_000_000));
        assert!(mirror.first[0].is_match("f1") && mirror.rack.as_deref() == Some("eu-1a"));
        assert_eq!(mirror.deleted_topics, DeletedTopics::Flag);
        assert_eq!((mirror.sync_acls, mirror.sync_quotas), (SyncAcls::Readers, true));
        assert_eq!((mirror.metadata_refresh_ms, mirror.zombie_bound_ms), (1000, 5000));
        assert_eq!((mirror.fetch_bytes_max, mirror.fetch_wait_ms), (1 << 20, 100));
        assert_eq!((mirror.request_timeout_ms, mirror.connections_per_broker), (9000, 3));
        assert_eq!((mirror.client_id.as_str(), mirror.link.as_str()), ("me", "east"));
    }

    #[test]
    fn settings_of_kafkas_clients_may_be_written_in_three_ways() {
        let content = "
            [source]
            security.protocol = 'SASL_SSL'
            sasl = { mechanism = 'PLAIN', username = 'a' }
            'sasl.password' = 'b'
            [source.ssl]
            enabled.protocols = ['TLSv1.3']
        ";
        let draft = Draft::from_toml("t", content).unwrap();
        let found: Vec<_> = draft
            .source_properties
            .iter()
            .map(|(key, value)| format!("{key}={} {}", value.text.expose(), value.origin))
            .collect();
        assert_eq!(
            found,
            [
                "sasl.mechanism=PLAIN t:4: source.sasl.mechanism",
                "sasl.password=b t:5: source.sasl.password",
                "sasl.username=a t:4: source.sasl.username",
                "security.protocol=SASL_SSL t:3: source.security.protocol",
                "ssl.enabled.protocols=TLSv1.3 t:7: source.ssl.enabled.protocols",
            ]
        );
    }

    #[test]
    fn principals_with_other_names_on_the_target() {
        let read = |content: &str| Draft::from_toml("t", content).map(|draft| draft.principals.unwrap());
        let found = read("[principals]\n'User:CN=a,O=b' = 'User:c'").unwrap();
        assert_eq!(found, [("User:CN=a,O=b".to_owned(), "User:c".to_owned())].into());
        let error = read("[principals]\n'alice' = 'User:c'").unwrap_err();
        assert_eq!(error.0, "t:2: [principals]: `alice` is no principal, such as User:alice");
    }

    #[test]
    fn errors_name_file_line_key_and_the_nearest_valid_key() {
        for (content, expected) in [
            ("[mirror]\ntopcis = 'x'", "f.toml:2: unknown key `topcis` in [mirror]; did you mean `topics`?"),
            (
                "[mirror]\nbootstrap = 'x'",
                "f.toml:2: unknown key `bootstrap` in [mirror]; that key belongs into [source]",
            ),
            ("[target]\nzzz = 1", "f.toml:2: unknown key `zzz` in [target]; valid keys are bootstrap"),
            (
                "[source]\nssl.trustore.location = 'x'",
                "f.toml:2: in [source]: there is no setting `ssl.trustore.location`; did you mean \
                 `ssl.truststore.location`?",
            ),
            (
                "[source]\n[source.sasl]\nmechanism = 1.5",
                "f.toml:3: source.sasl.mechanism: expected a string or a list, found a number",
            ),
            ("\n[sorce]\n", "f.toml:2: unknown table `sorce`; did you mean [source]?"),
            ("link = 'x'", "f.toml:1: `link` stands outside of any table; it belongs into [mirror]"),
            ("source = 'a:1'", "f.toml:1: [source] must be a table of keys"),
            ("[mirror]\n\nmover = 7", "f.toml:3: mirror.mover: expected a string, found an integer"),
            (
                "[mirror]\nuntil-caught-up = 'yes'",
                "f.toml:2: mirror.until-caught-up: expected true or false, found a string",
            ),
            (
                "[mirror]\nbuffer-bytes = 1.5",
                "f.toml:2: mirror.buffer-bytes: expected a string or an integer, found a number",
            ),
            (
                "[mirror]\nzombie-bound-ms = -1",
                "f.toml:2: mirror.zombie-bound-ms: `-1` is not a number of milliseconds",
            ),
            ("[source]\nbootstrap = 'a'", "f.toml:2: source.bootstrap: `a` has no port"),
            ("[mirror]\ntopics = '('", "f.toml:2: mirror.topics: `(` is not a regular expression"),
            ("[mirror\n", "f.toml:1: "),
        ] {
            let error = Draft::from_toml("f.toml", content).unwrap_err();
            assert!(error.0.starts_with(expected), "{content:?}: {error}");
        }
    }
}
