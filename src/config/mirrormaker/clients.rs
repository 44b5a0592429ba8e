//! Keys of Kafka's own consumers, producers and admin clients: which become settings, and why the others do not.

use super::super::security;
use super::keys::Fate;

/// Those that become a setting of the link.
pub const USED: &[(&str, &str)] = &[
    ("bootstrap.servers", "source.bootstrap or target.bootstrap"),
    ("client.id", "mirror.client-id; one for both clusters"),
    ("request.timeout.ms", "mirror.request-timeout-ms; one for both clusters"),
    ("auto.offset.reset", "mirror.from (earliest or latest), for partitions that were never mirrored"),
    (
        "isolation.level",
        "mirror.isolation; read_uncommitted needs mirror.offsets = append, too. Unless it is set, aborted records are left out",
    ),
    ("fetch.max.bytes", "mirror.fetch-bytes-max"),
    ("fetch.max.wait.ms", "mirror.fetch-wait-ms"),
    ("client.rack", "mirror.rack, of the consumer"),
];

/// Why others mean nothing here. A name that ends in a dot stands for all that begin with it.
const UNUSED: &[(&str, &str)] = &[
    ("acks", "every batch is acknowledged by all replicas that are in sync"),
    ("allow.auto.create.topics", "the mirror creates topics itself"),
    ("auto.commit.interval.ms", NO_MEMBER),
    ("batch.size", AS_THEY_ARE),
    ("bootstrap.controllers", "the mirror speaks to brokers"),
    ("buffer.memory", "mirror.buffer-bytes bounds the memory for payloads"),
    ("compression.", "batches keep the codec that they have; [[transform]] can change it"),
    ("default.list.", "bytes pass as they are"),
    ("delivery.timeout.ms", RETRIED),
    ("enable.auto.commit", NO_MEMBER),
    ("enable.idempotence", EXACT),
    ("fetch.min.bytes", "what there is is fetched at once"),
    ("group.", NO_MEMBER),
    ("heartbeat.interval.ms", NO_MEMBER),
    ("interceptor.classes", "a Java class; [[transform]] changes records, `--listen` serves metrics"),
    ("internal.", "it is of the Java client"),
    ("key.deserializer", "bytes pass as they are"),
    ("key.serializer", "bytes pass as they are"),
    ("linger.ms", AS_THEY_ARE),
    ("max.block.ms", RETRIED),
    ("metadata.max.idle.ms", OF_CLIENTS),
    ("max.in.flight.requests.per.connection", EXACT),
    (
        "max.partition.fetch.bytes",
        "mirror.fetch-bytes-max bounds an answer, however many partitions it is for",
    ),
    ("max.poll.", NO_MEMBER),
    (
        "max.request.size",
        "the target's max.message.bytes counts; larger batches are split, or mirror.oversize says otherwise",
    ),
    ("partition.assignment.strategy", NO_MEMBER),
    ("partitioner.", "records keep their partition"),
    ("retries", RETRIED),
    ("retry.backoff.", RETRIED),
    ("session.timeout.ms", NO_MEMBER),
    ("share.", NO_MEMBER),
    ("ssl.client.auth", "it is of servers"),
    ("transaction.timeout.ms", EXACT),
    ("transaction.two.phase.commit.enable", EXACT),
    ("transactional.id", EXACT),
    ("value.deserializer", "bytes pass as they are"),
    ("value.serializer", "bytes pass as they are"),
    ("sasl.login.class", "it is of the Java client"),
    ("sasl.oauthbearer.clock.skew.seconds", OF_BROKERS),
    ("sasl.oauthbearer.expected.", OF_BROKERS),
    ("sasl.oauthbearer.jwks.", OF_BROKERS),
    ("sasl.oauthbearer.jwt.validator.class", "tokens are the broker's to judge"),
    ("sasl.oauthbearer.scope.claim.name", OF_BROKERS),
    ("sasl.oauthbearer.sub.claim.name", OF_BROKERS),
    ("sasl.oauthbearer.header.urlencode", "client id and secret go as they are"),
    // MirrorMaker 1's, and those of clients before Kafka 0.9.
    ("auto.create.topics.enable", "the mirror creates topics itself"),
    ("consumer.timeout.ms", NO_MEMBER),
    ("dual.commit.enabled", NO_MEMBER),
    ("fetch.message.max.bytes", "mirror.fetch-bytes-max bounds an answer, however many partitions it is for"),
    ("fetch.wait.max.ms", "mirror.fetch-wait-ms bounds it"),
    ("offsets.storage", NO_MEMBER),
    ("producer.type", "every batch is acknowledged, and many are under way"),
    ("queue.", "mirror.buffer-bytes bounds the memory for payloads"),
    ("queued.max.message.chunks", "mirror.buffer-bytes bounds the memory for payloads"),
    ("rebalance.", NO_MEMBER),
    ("request.required.acks", "every batch is acknowledged by all replicas that are in sync"),
    ("serializer.class", "bytes pass as they are"),
    ("zookeeper.", "the mirror speaks to brokers, not to ZooKeeper"),
];

/// Those without which a login would fail.
const REFUSED: &[&str] = &["sasl.oauthbearer.assertion.", "sasl.oauthbearer.jwt.retriever.class"];

const NO_MEMBER: &str =
    "the mirror is no member of a group; progress is kept in the topic __twinlog.LINK on the target";
const AS_THEY_ARE: &str =
    "batches pass as the source has them; small ones are merged where that is needed (mirror.merge)";
const RETRIED: &str = "the mirror tries again until it is stopped, and asks the broker what it has";
const EXACT: &str = "the mirror has its own way to write exactly once";
const OF_BROKERS: &str = "only brokers use it";
const OF_CLIENTS: &str = "it is of Kafka's own clients, and Twinlog has no such setting";

const TOKENS: &str = "tokens come from sasl.oauthbearer.token.endpoint.url: a file, or an https address with client credentials";

/// A client's key, and what becomes of it; None: there is no such key.
pub fn find(key: &str) -> Option<(Fate, &'static str)> {
    let is_meant = |name: &str| name == key || (name.ends_with('.') && key.starts_with(name));
    let told =
        |all: &'static [(&str, &str)]| all.iter().find(|(name, _)| is_meant(name)).map(|(_, text)| *text);
    Some(match key {
        _ if REFUSED.iter().any(|name| is_meant(name)) => (Fate::Refused, TOKENS),
        _ if security::is_refused(key) => (Fate::Refused, "a Java class"),
        _ if security::is_understood(key) => (Fate::Used, "the same key in [source] or [target]"),
        _ => match (told(USED), told(UNUSED)) {
            (Some(text), _) => (Fate::Used, text),
            (None, Some(text)) => (Fate::Unused, text),
            (None, None) if is_of_others(key) => (Fate::Unused, OF_CLIENTS),
            (None, None) => return None,
        },
    })
}

/// Those that begin with these are all listed here, so what is not is a mistake.
fn is_of_others(key: &str) -> bool {
    security::is_of_others(key) && !key.starts_with("fetch.") && !key.starts_with("max.")
}

/// The names that there are, to find the nearest.
pub fn names() -> impl Iterator<Item = &'static str> {
    USED.iter().chain(UNUSED).map(|(name, _)| *name).chain(security::names())
}

/// Whether MirrorMaker gives a key without `consumer.`, `producer.` or `admin.` to all clients of a cluster.
pub fn is_for_all(key: &str) -> bool {
    key == "bootstrap.servers"
        || key == "security.protocol"
        || key.starts_with("ssl.")
        || key.starts_with("sasl.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_key_is_used_unused_or_unknown() {
        for (key, fate) in [
            ("fetch.max.bytes", Some(Fate::Used)),
            ("sasl.jaas.config", Some(Fate::Used)),
            ("ssl.engine.factory.class", Some(Fate::Refused)),
            ("linger.ms", Some(Fate::Unused)),
            ("compression.zstd.level", Some(Fate::Unused)),
            ("client.rack", Some(Fate::Used)),
            ("sasl.oauthbearer.jwks.endpoint.url", Some(Fate::Unused)),
            ("fetch.max.bites", None),
        ] {
            assert_eq!(find(key).map(|(fate, _)| fate), fate, "{key}");
        }
    }

    #[test]
    fn no_key_is_listed_twice() {
        for (index, (name, _)) in UNUSED.iter().enumerate() {
            assert!(UNUSED[..index].iter().all(|(other, _)| other != name), "{name}");
            assert!(USED.iter().all(|(other, _)| other != name) && !security::is_understood(name), "{name}");
        }
    }
}
