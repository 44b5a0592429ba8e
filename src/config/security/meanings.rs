//! What each key of a cluster's security means, for those who ask.

/// Every key with its meaning; the default in brackets.
const MEANINGS: &[(&str, &str)] = &[
    ("security.protocol", "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL [default: PLAINTEXT]"),
    ("ssl.truststore.location", "file with the authorities that are trusted [default: this machine's]"),
    ("ssl.truststore.password", "password of that file; PKCS12 needs one, JKS is then checked for damage"),
    ("ssl.truststore.type", "PEM, PKCS12 or JKS [default: what the file looks like]"),
    ("ssl.truststore.certificates", "the authorities themselves, as PEM, in place of a file"),
    ("ssl.keystore.location", "file with the client's certificate and key, where brokers ask for one"),
    ("ssl.keystore.password", "password of that file"),
    ("ssl.keystore.type", "PEM, PKCS12 or JKS [default: what the file looks like]"),
    ("ssl.keystore.key", "the client's key itself, as PEM"),
    ("ssl.keystore.certificate.chain", "the client's certificates themselves, as PEM"),
    ("ssl.key.password", "password of the key within its file [default: that of the file]"),
    (
        "ssl.endpoint.identification.algorithm",
        "https: a broker's certificate must name its host; empty: it need not [default: https]",
    ),
    ("ssl.enabled.protocols", "TLSv1.2, TLSv1.3 or both [default: both]"),
    ("ssl.protocol", "the newest protocol: TLSv1.2 or TLSv1.3 [default: TLSv1.3]"),
    ("ssl.cipher.suites", "cipher suites by their IANA names [default: all that are safe]"),
    ("ssl.ca.location", "librdkafka's name for ssl.truststore.location, as PEM"),
    ("ssl.certificate.location", "librdkafka's: PEM file with the client's certificates"),
    ("ssl.key.location", "librdkafka's: PEM file with the client's key"),
    ("sasl.mechanism", "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or GSSAPI"),
    (
        "sasl.jaas.config",
        "a login module and its options, as Java's clients have it: user and password, keytab, client id",
    ),
    ("sasl.login.callback.handler.class", "Kafka's own class for OAUTHBEARER; others are refused"),
    ("sasl.oauthbearer.token.endpoint.url", "where tokens come from: file:///PATH, or an https address"),
    ("sasl.oauthbearer.client.credentials.client.id", "client id for the address that tokens come from"),
    ("sasl.oauthbearer.client.credentials.client.secret", "its secret"),
    ("sasl.oauthbearer.scope", "what to ask a token for"),
    ("sasl.kerberos.service.name", "what the brokers' principals begin with, mostly kafka"),
    ("sasl.mechanisms", "librdkafka's name for sasl.mechanism"),
    ("sasl.username", "user, for PLAIN and SCRAM"),
    ("sasl.password", "password, for PLAIN and SCRAM"),
    ("sasl.kerberos.keytab", "file with the principal's keys"),
    ("sasl.kerberos.principal", "who logs in: NAME@REALM"),
];

/// What a key means, if it is one of those that are understood.
pub fn meaning(key: &str) -> Option<&'static str> {
    MEANINGS.iter().find(|(name, _)| *name == key).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::super::keys;
    use super::*;

    #[test]
    fn every_key_has_a_meaning() {
        for key in keys::names() {
            assert!(meaning(key).is_some(), "{key}");
        }
        assert_eq!(MEANINGS.len(), keys::names().count());
    }
}
