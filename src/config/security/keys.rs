//! Which keys there are.

use crate::config::nearest;

/// Those that are understood. The last of each group are librdkafka's.
const KEYS: &[&str] = &[
    "security.protocol",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
    "ssl.truststore.certificates",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.keystore.key",
    "ssl.keystore.certificate.chain",
    "ssl.key.password",
    "ssl.endpoint.identification.algorithm",
    "ssl.enabled.protocols",
    "ssl.protocol",
    "ssl.cipher.suites",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "sasl.mechanism",
    "sasl.jaas.config",
    "sasl.login.callback.handler.class",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.oauthbearer.client.credentials.client.id",
    "sasl.oauthbearer.client.credentials.client.secret",
    "sasl.oauthbearer.scope",
    "sasl.kerberos.service.name",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "sasl.kerberos.keytab",
    "sasl.kerberos.principal",
];

/// Those of Kafka's clients that mean nothing here, though a file that other tools use too may well have them. They are told of in
/// the log. A name that ends in a dot stands for all that begin with it.
const OF_OTHERS: &[&str] = &[
    // Of the JVM.
    "ssl.provider",
    "ssl.keymanager.algorithm",
    "ssl.trustmanager.algorithm",
    "ssl.secure.random.implementation",
    "security.providers",
    // Of every client.
    "auto.include.jmx.reporter",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "config.providers",
    "config.providers.",
    "connections.max.idle.ms",
    "default.api.timeout.ms",
    "enable.metrics.push",
    "metadata.max.age.ms",
    "metadata.recovery.",
    "metric.reporters",
    "metrics.",
    "receive.buffer.bytes",
    "reconnect.backoff.",
    "request.timeout.ms",
    "retries",
    "retry.backoff.",
    "sasl.kerberos.kinit.cmd",
    "sasl.kerberos.min.time.before.relogin",
    "sasl.kerberos.ticket.renew.",
    "sasl.login.connect.timeout.ms",
    "sasl.login.read.timeout.ms",
    "sasl.login.refresh.",
    "sasl.login.retry.",
    "send.buffer.bytes",
    "socket.connection.setup.timeout.",
    // Of producers and consumers.
    "acks",
    "allow.auto.create.topics",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "batch.size",
    "buffer.memory",
    "check.crcs",
    "compression.",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.idempotence",
    "exclude.internal.topics",
    "fetch.",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "heartbeat.interval.ms",
    "interceptor.classes",
    "isolation.level",
    "key.deserializer",
    "key.serializer",
    "linger.ms",
    "max.",
    "partition.assignment.strategy",
    "partitioner.",
    "session.timeout.ms",
    "transaction.timeout.ms",
    "transactional.id",
    "value.deserializer",
    "value.serializer",
];

/// What is wrong with a key of a cluster, if anything is, as a sentence that names the nearest valid one.
pub fn key_problem(key: &str) -> Option<String> {
    if KEYS.contains(&key) || is_of_others(key) {
        return None;
    }
    Some(match key {
        "ssl.engine.factory.class" => {
            "a Java class cannot make Twinlog's TLS; set ssl.truststore.location and ssl.keystore.location instead".into()
        }
        "sasl.client.callback.handler.class" => {
            "a Java class cannot log Twinlog in; the mechanisms are PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER and GSSAPI"
                .into()
        }
        _ => match nearest(key, KEYS.iter().copied().chain(["bootstrap"])) {
            Some(near) => format!("there is no setting `{key}`; did you mean `{near}`?"),
            None => format!("there is no setting `{key}`; those of a cluster are bootstrap, {}", KEYS.join(", ")),
        },
    })
}

/// Whether a key is one that [`Security`](super::Security) reads.
pub fn is_understood(key: &str) -> bool {
    KEYS.contains(&key)
}

/// Whether a key names a Java class that does here what nothing else can do.
pub fn is_refused(key: &str) -> bool {
    matches!(key, "ssl.engine.factory.class" | "sasl.client.callback.handler.class")
}

/// Those that are understood.
pub fn names() -> impl Iterator<Item = &'static str> {
    KEYS.iter().copied()
}

/// Whether a key of Kafka's clients means nothing here.
pub fn is_of_others(key: &str) -> bool {
    OF_OTHERS.iter().any(|other| key == *other || (other.ends_with('.') && key.starts_with(other)))
}

/// What to say of a key for which [`is_of_others`].
pub(super) fn why_unused(key: &str) -> &'static str {
    match key.starts_with("sasl.kerberos.") {
        true => {
            "Twinlog does not use this setting: with a keytab it gets new tickets itself, early enough and without kinit, and \
             those in a ticket cache it only reads"
        }
        false => "Twinlog does not use this setting",
    }
}
