use super::*;
use std::io;

struct Nothing;

impl Elsewhere for Nothing {
    fn file(&self, _: &str) -> io::Result<String> {
        Ok("from a file\n".into())
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

fn read(content: &str) -> Result<Security, ConfigError> {
    Security::read(Properties::from_file("c", content).unwrap(), &Nothing)
}

fn password(security: &Security) -> (&str, &str) {
    match &security.sasl.as_ref().unwrap().login {
        Login::Password { username, password } => (username, password.expose()),
        Login::Token { .. } | Login::Kerberos(_) => panic!("no password"),
    }
}

#[test]
fn nothing_said_means_plaintext() {
    assert_eq!(read("").unwrap(), Security::default());
    assert_eq!(read("security.protocol=PLAINTEXT").unwrap(), Security::default());
}

#[test]
fn kafkas_and_librdkafkas_names_mean_the_same() {
    let java = "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nsasl.jaas.config=\
        org.apache.kafka.common.security.scram.ScramLoginModule required username=\"alice\" password=\"${file:/pw}\";\n\
        ssl.truststore.location=/ca.pem\nssl.truststore.type=PEM\n";
    let c = "security.protocol=sasl_ssl\nsasl.mechanisms=SCRAM-SHA-512\nsasl.username=alice\n\
        sasl.password=${file:/pw}\nssl.ca.location=/ca.pem\n";
    let java = read(java).unwrap();
    assert_eq!(java, read(c).unwrap());
    assert_eq!(password(&java), ("alice", "from a file"));
    assert_eq!(java.sasl.as_ref().unwrap().mechanism, Mechanism::ScramSha512);
    let tls = java.tls.unwrap();
    assert!(tls.check_host && tls.protocols.tls12 && tls.protocols.tls13 && tls.identity.is_none());
    let format = Some(StoreFormat::Pem);
    assert_eq!(tls.trust, Trust::File(StoreFile { path: "/ca.pem".into(), format, password: None }));
}

#[test]
fn stores_of_every_kind_are_understood() {
    let tls = |content: &str| read(&format!("security.protocol=SSL\n{content}")).unwrap().tls.unwrap();
    assert_eq!(tls("").trust, Trust::System);
    assert_eq!(
        tls("ssl.truststore.type=PEM\nssl.truststore.certificates=abc").trust,
        Trust::Pem("abc".into())
    );
    let store = tls(
        "ssl.keystore.location=/k.p12\nssl.keystore.password=a\nssl.key.password=b\nssl.keystore.type=pkcs12",
    );
    let Some(Identity::Store { file, key_password }) = store.identity else { panic!("no store") };
    assert_eq!((file.path.as_str(), file.format), ("/k.p12", Some(StoreFormat::Java)));
    assert_eq!((file.password, key_password), (Some("a".into()), Some("b".into())));
    let pem = tls("ssl.keystore.type=PEM\nssl.keystore.key=K\nssl.keystore.certificate.chain=C").identity;
    assert_eq!(pem, Some(Identity::Pem { chain: "C".into(), key: "K".into(), key_password: None }));
    let files = tls("ssl.certificate.location=/c\nssl.key.location=/k").identity;
    assert_eq!(files, Some(Identity::PemFiles { chain: "/c".into(), key: "/k".into(), key_password: None }));
    let old = tls(
        "ssl.enabled.protocols=TLSv1.2,TLSv1.1\nssl.cipher.suites=TLS_RSA_X, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    );
    assert_eq!(old.protocols, Protocols { tls12: true, tls13: false });
    assert_eq!(old.cipher_suites, ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]);
    assert_eq!(tls("ssl.protocol=TLSv1.2").protocols, Protocols { tls12: true, tls13: false });
}

#[test]
fn tokens_come_from_a_file_or_an_endpoint() {
    let login = |content: &str| {
        let content = format!("security.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\n{content}");
        read(&content).map(|security| security.sasl.unwrap().login)
    };
    let file = login("sasl.oauthbearer.token.endpoint.url=file:///run/token").unwrap();
    let source = TokenSource::File("/run/token".into());
    assert_eq!(file, Login::Token { source, extensions: Vec::new() });
    let jaas = "sasl.oauthbearer.token.endpoint.url=https://idp/token\n\
        sasl.login.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler\n\
        sasl.jaas.config=x.OAuthBearerLoginModule required clientId=\"me\" clientSecret=\"s\" scope=\"kafka\" \
        extension_logicalCluster=\"lkc-1\";";
    let source = TokenSource::ClientCredentials {
        url: "https://idp/token".into(),
        client_id: "me".into(),
        client_secret: "s".into(),
        scope: Some("kafka".into()),
    };
    let extensions = vec![("logicalCluster".into(), "lkc-1".into())];
    assert_eq!(login(jaas).unwrap(), Login::Token { source, extensions });
    let missing = login("sasl.oauthbearer.token.endpoint.url=https://idp/token").unwrap_err();
    assert!(missing.0.contains("client.id"), "{missing}");
}

fn kerberos(content: &str) -> Result<(Kerberos, Vec<String>), ConfigError> {
    let security = read(&format!("security.protocol=SASL_SSL\n{content}"))?;
    match security.sasl.unwrap().login {
        Login::Kerberos(kerberos) => Ok((kerberos, security.warnings)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_keytab_is_given_as_java_or_as_librdkafka_has_it() {
    let jaas = "sasl.mechanism=GSSAPI\nsasl.jaas.config=com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true \
                storeKey=true doNotPrompt=true keyTab=\"FILE:/k\" principal=\"mirror@EAST\" serviceName=\"kafka\";";
    let keys = "sasl.mechanism=GSSAPI\nsasl.kerberos.service.name=kafka\nsasl.kerberos.keytab=/k\n\
                sasl.kerberos.principal=mirror@EAST";
    let tickets = Tickets::Keytab { path: "/k".into(), principal: "mirror@EAST".into() };
    let expected = Kerberos { service: "kafka".into(), tickets };
    assert_eq!(kerberos(jaas).unwrap(), (expected.clone(), Vec::new()));
    assert_eq!(kerberos(keys).unwrap(), (expected.clone(), Vec::new()));
    assert_eq!(
        kerberos(&keys.replace("sasl.mechanism=GSSAPI\n", "")).unwrap().0,
        expected,
        "Kafka's default"
    );
    assert_eq!(expected.principal(), Some("mirror@EAST"));
}

#[test]
fn tickets_come_out_of_a_cache_that_somebody_else_keeps() {
    let jaas = "sasl.kerberos.service.name=kafka\nsasl.kerberos.kinit.cmd=/kinit\nsasl.jaas.config=Krb5LoginModule required \
                useTicketCache=true ticketCache=\"/tmp/cc\" renewTGT=true debug=TRUE;";
    let (settings, warnings) = kerberos(jaas).unwrap();
    assert_eq!(settings.tickets, Tickets::Cache { name: Some("/tmp/cc".into()), principal: None });
    for (warning, expected) in warnings.iter().zip(["kinit.cmd: Twinlog", "renewTGT: whoever", "KRB5_TRACE"])
    {
        assert!(warning.contains(expected), "{warnings:?}");
    }
    let (default, warnings) = kerberos("sasl.kerberos.service.name=kafka").unwrap();
    assert_eq!(default.tickets, Tickets::Cache { name: None, principal: None });
    assert!(warnings.is_empty());
}

#[test]
fn kerberos_settings_that_mean_nothing_are_named() {
    let jaas = |options: &str| {
        format!("sasl.kerberos.service.name=kafka\nsasl.jaas.config=Krb5LoginModule required {options};")
    };
    for (content, expected) in [
        (jaas("useKeyTab=true keyTab=\"/k\""), "it has no principal"),
        (jaas("keyTab=\"/k\""), "it has keyTab, and no useKeyTab=true"),
        (jaas("doNotPrompt=true"), "nobody is asked for a password"),
        (jaas("isInitiator=false"), "is for brokers"),
        (jaas("useTicketCache=true tryFirstPass=true"), "its option tryFirstPass is not supported"),
        (jaas("useTicketCache=true serviceName=\"other\""), "serviceName=\"other\"; leave one of both out"),
        (jaas("useTicketCache=true") + "\nsasl.kerberos.keytab=/k", "sasl.jaas.config says the same"),
        ("sasl.kerberos.service.name=kafka/east@EAST".into(), "before the `/`"),
        (
            "sasl.kerberos.service.name=kafka\nsasl.kerberos.keytab=/k".into(),
            "sasl.kerberos.principal must say",
        ),
        (
            "sasl.mechanism=PLAIN\nsasl.username=a\nsasl.password=b\nsasl.kerberos.keytab=/k".into(),
            "sasl.mechanism PLAIN does not use it",
        ),
    ] {
        let error = kerberos(&content).unwrap_err();
        assert!(error.0.contains(expected), "{content}: {error}");
    }
}

#[test]
fn weak_settings_are_warned_of_and_unused_ones_named() {
    let open = read("security.protocol=SSL\nssl.endpoint.identification.algorithm=").unwrap();
    assert!(!open.tls.unwrap().check_host);
    assert!(open.warnings[0].contains("pose as"), "{:?}", open.warnings);
    let plain =
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.username=a\nsasl.password=b\nacks=all";
    let warnings = read(plain).unwrap().warnings;
    assert!(warnings[0].starts_with("c:5: acks: ") && warnings[1].contains("SASL_SSL"), "{warnings:?}");
}

#[test]
fn errors_name_place_key_and_what_to_do_and_never_a_secret() {
    let sasl = "security.protocol=SASL_SSL\nsasl.mechanism=PLAIN\n";
    for (content, expected) in [
        (
            "ssl.trustore.location=/x".to_owned(),
            "c:1: ssl.trustore.location: there is no setting `ssl.trustore.location`; did you mean `ssl.truststore.location`?",
        ),
        (
            "security.protocol=SASL-SSL".to_owned(),
            "c:1: security.protocol: `SASL-SSL` is none of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL; did you mean SASL_SSL?",
        ),
        (
            "sasl.username=a".to_owned(),
            "c:1: sasl.username: it would not be used; for that, set security.protocol to SASL_SSL",
        ),
        ("security.protocol=SASL_PLAINTEXT".to_owned(), "sasl.mechanism is not set"),
        (
            "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-1".to_owned(),
            "c:2: sasl.mechanism: `SCRAM-SHA-1` is none of",
        ),
        (
            "security.protocol=SASL_SSL\nsasl.mechanism=GSSAPI".to_owned(),
            "sasl.kerberos.service.name is not set (nor serviceName in sasl.jaas.config)",
        ),
        (format!("{sasl}sasl.username=a"), "sasl.password is not set"),
        (
            format!(
                "{sasl}sasl.jaas.config=x.ScramLoginModule required username=\"a\" password=\"hunter2\";"
            ),
            "c:3: sasl.jaas.config: sasl.mechanism PLAIN goes with PlainLoginModule, not with ScramLoginModule",
        ),
        (
            format!("{sasl}sasl.jaas.config=x.PlainLoginModule required user=\"a\" password=\"hunter2\";"),
            "c:3: sasl.jaas.config: it has no username",
        ),
        (
            format!("{sasl}sasl.username=a\nsasl.password=${{env:GONE}}"),
            "c:4: sasl.password: the environment has no variable GONE",
        ),
        (
            "security.protocol=SSL\nssl.truststore.type=BCFKS".to_owned(),
            "c:2: ssl.truststore.type: `BCFKS` is none of PEM, PKCS12, JKS",
        ),
        (
            "security.protocol=SSL\nssl.keystore.password=hunter2".to_owned(),
            "c:2: ssl.keystore.password: there is a password, and no",
        ),
        (
            "security.protocol=SSL\nssl.enabled.protocols=TLSv1.1".to_owned(),
            "c:2: ssl.enabled.protocols: Twinlog speaks",
        ),
        (
            "security.protocol=SSL\nssl.cipher.suites=TLS_AES_256_GCM_SHA385".to_owned(),
            "c:2: ssl.cipher.suites: none of these can be spoken; did you mean TLS_AES_256_GCM_SHA384?",
        ),
        (
            "security.protocol=SSL\nssl.engine.factory.class=x".to_owned(),
            "c:2: ssl.engine.factory.class: a Java class",
        ),
    ] {
        let error = read(&content).unwrap_err();
        assert!(error.0.starts_with(expected), "{content}: {error}");
        assert!(!error.0.contains("hunter2"), "{error}");
    }
}
