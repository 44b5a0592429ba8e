//! TLS and SASL against real brokers: the twin is the same, and every wrong setting says what to do.

use crate::judge::Judge;
use crate::kafka::{Place, script};
use crate::mirror::{Ended, Twinlog};
use crate::{await_until, load_bytes};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// A cluster of one broker with a listener for everything. Stopped and deleted when it goes out of scope.
struct Secured {
    name: String,
    /// The plain listener, for the judge.
    bootstrap: String,
    folder: TempDir,
}

impl Secured {
    fn start(place: Place, settings: &[&str]) -> Self {
        let name = place.name();
        let _ = script(&["down", &name]);
        let port = place.ports().to_string();
        let mut words = vec!["up", &name, "--port", &port, "--secure"];
        words.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        let bootstrap = script(&words).unwrap_or_else(|error| panic!("{error}")).trim().to_owned();
        Self { name, bootstrap, folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// What a client has to set for a listener.
    fn client(&self, protocol: &str, mechanism: &str) -> String {
        script(&["client", (&self.name), protocol, mechanism]).unwrap_or_else(|error| panic!("{error}"))
    }

    fn tls(&self, file: &str) -> String {
        let folder = script(&["tls", &self.name]).unwrap_or_else(|error| panic!("{error}"));
        format!("{}/{file}", folder.trim())
    }

    /// A file with client settings.
    fn file(&self, name: &str, content: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        fs::write(&path, content).expect("a temporary file");
        path.to_string_lossy().into_owned()
    }

    /// A token as brokers take it that check no signature.
    fn token_file(&self) -> String {
        let content = format!(
            "bootstrap.servers={}\nsecurity.protocol=SASL_SSL\nsasl.mechanism=OAUTHBEARER\nssl.ca.location={}\n\
             sasl.oauthbearer.token.endpoint.url=file://{}\n",
            self.address("SASL_SSL"),
            self.tls("ca.pem"),
            self.file("token", &unsigned_token("mirror", 3_600)),
        );
        self.file("token.properties", &content)
    }

    /// A listener's address.
    fn address(&self, protocol: &str) -> String {
        let content = self.client(protocol, "PLAIN");
        let line = content.lines().find_map(|line| line.strip_prefix("bootstrap.servers="));
        line.expect("bootstrap.servers").to_owned()
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        let _ = script(&["down", &self.name]);
    }
}

fn unsigned_token(who: &str, seconds: u64) -> String {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let claims = format!(r#"{{"sub":"{who}","iat":{now},"exp":{}}}"#, now + seconds);
    format!("{}.{}.", base64(br#"{"alg":"none"}"#), base64(claims.as_bytes()))
}

/// Of the kind for URLs, without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    text
}

fn mirror(source_config: &str, target_config: &str, topics: &str) -> Twinlog {
    Twinlog::new(&[
        "mirror",
        "--topics",
        topics,
        "--source-config",
        source_config,
        "--target-config",
        target_config,
    ])
}

/// Whoever may not write control records fills gaps with empty transactions, if identical offsets are demanded.
#[test]
#[ignore = "needs Java and two Kafka clusters"]
fn without_the_right_to_control_records_transactions_fill_the_gaps() {
    let authorizer = [
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found=true",
        "super.users=User:ANONYMOUS",
    ];
    let (source, target) = (Secured::start(Place::Source, &[]), Secured::start(Place::Target, &authorizer));
    let mut judge = Judge::start();
    let plain = source.file("plain.properties", &source.client("SASL_PLAINTEXT", "PLAIN"));
    let user = target.file("plain.properties", &target.client("SASL_PLAINTEXT", "PLAIN"));
    judge.must(&format!("deny-cluster {}", target.bootstrap));
    judge.create(&source.bootstrap, "gaps", 2, 1, "");
    judge.produce(&source.bootstrap, "gaps", 1, 100_000, "");
    judge.must(&format!("transact {} gaps 1 20", source.bootstrap));
    judge.must(&format!("quota {} user=a,client-id= producer_byte_rate=1000", source.bootstrap));
    let in_step = ["--sync-quotas", "--topic-configs-interval-ms", "20"];
    let left_to_itself = mirror(&plain, &user, "gaps").with(&["--link", "auto"]).with(&in_step);
    let no_quotas = "its quotas be changed: `user a, client-id default`: CLUSTER_AUTHORIZATION_FAILED: grant the mirror's \
                     principal ALTER_CONFIGS";
    let ended = left_to_itself.until_caught_up().run();
    let ended = ended.ended_with(0, &["offsets: Append", "ALTER or CLUSTER_ACTION", no_quotas]);
    assert_eq!(ended.text.matches(no_quotas).count(), 1, "it is told once:\n{}", ended.text);
    judge.must(&format!("delete {} gaps", target.bootstrap));

    let demand = || mirror(&plain, &user, "gaps").with(&["--offsets", "identical"]);
    let few = demand().with(&["--link", "few", "--gap-transactions-max", "1"]).until_caught_up();
    few.run().ended_with(3, &["gap-transactions-max (1)", "CLUSTER_AUTHORIZATION_FAILED"]);
    judge.must(&format!("delete {} gaps", target.bootstrap));

    let demand = demand().with(&["--link", "enough", "--zombie-bound-ms", "2000"]);
    let running = demand.start();
    std::thread::sleep(Duration::from_millis(1_500));
    running.kill();
    demand.until_caught_up().run().succeeded();
    for question in ["list", "ends"] {
        let of = |judge: &mut Judge, bootstrap: &str| judge.must(&format!("{question} {bootstrap} gaps"));
        assert_eq!(of(&mut judge, &source.bootstrap), of(&mut judge, &target.bootstrap), "{question}");
    }
}

/// Every way in gives the same twin, with the same offsets.
#[test]
#[ignore = "needs Java and two Kafka clusters"]
fn a_twin_over_tls_and_sasl_is_the_same() {
    let (source, target) = (Secured::start(Place::Source, &[]), Secured::start(Place::Target, &[]));
    let mut judge = Judge::start();
    let scram = source.file("scram.properties", &source.client("SASL_SSL", "SCRAM-SHA-512"));
    let mutual = target.file("mutual.properties", &target.client("SSL", ""));
    let jks = target.client("SSL", "").replace("client.p12", "client.jks").replace("ca.p12", "ca.jks");
    let jks = target.file("jks.properties", &jks);
    let pem = format!(
        "bootstrap.servers={}\nsecurity.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.certificates=${{file:{}}}\n\
         ssl.keystore.type=PEM\nssl.keystore.location={}\nssl.enabled.protocols=TLSv1.2\n",
        target.address("SSL"),
        target.tls("ca.pem"),
        target.tls("client.pem"),
    );
    let pem = target.file("pem.properties", &pem);
    let plain = source.file("plain.properties", &source.client("SASL_PLAINTEXT", "PLAIN"));
    let scram_256 = target.file("scram256.properties", &target.client("SASL_PLAINTEXT", "SCRAM-SHA-256"));
    for (topic, source_config, target_config) in [
        ("one", &scram, &mutual),
        ("two", &source.token_file(), &jks),
        ("three", &plain, &pem),
        ("four", &plain, &scram_256),
    ] {
        judge.create(&source.bootstrap, topic, 3, 1, "");
        judge.produce(&source.bootstrap, topic, 1, load_bytes() / 8, "codec=lz4");
        judge.produce(&source.bootstrap, topic, 2, load_bytes() / 100, "batch=1000 record=300");
        judge.must(&format!("transact {} {topic} 3 20", source.bootstrap));
        let flags = ["--link", topic];
        mirror(source_config, target_config, topic).with(&flags).until_caught_up().run().succeeded();
        let expected = judge.must(&format!("list {} {topic}", source.bootstrap));
        assert_eq!(
            judge.must(&format!("list {} {topic}", target.bootstrap)),
            expected,
            "{topic}: offsets and digests"
        );
        assert!(!expected.is_empty());
        let words =
            ["verify", "--source-config", source_config, "--target-config", target_config, "--topics", topic];
        Twinlog::new(&words).with(&flags).run().succeeded();
    }
}

/// Brokers that want another login every few seconds, and end connections that bring none: nothing breaks.
#[test]
#[ignore = "needs Java and two Kafka clusters"]
fn logins_are_renewed_while_data_flows() {
    let settings = ["connections.max.reauth.ms=3000"];
    let (source, target) =
        (Secured::start(Place::Source, &settings), Secured::start(Place::Target, &settings));
    let mut judge = Judge::start();
    judge.create(&source.bootstrap, "long", 2, 1, "");
    let source_config = source.file("scram.properties", &source.client("SASL_SSL", "SCRAM-SHA-512"));
    let mut running = mirror(&source_config, &target.token_file(), "long").start();
    for seed in 0..12 {
        judge.produce(&source.bootstrap, "long", seed, 2_000_000, "batch=20000");
        std::thread::sleep(Duration::from_secs(1));
    }
    let expected = judge.must(&format!("list {} long", source.bootstrap));
    await_until("the twin is whole", Duration::from_secs(60), || {
        judge.ask(&format!("list {} long", target.bootstrap)).is_ok_and(|found| found == expected)
    });
    running.interrupt();
    let ended = running.end().ended_with(130, &[]);
    // A broker ends connections whose login is over at their next request, and that would be told.
    assert!(!ended.text.contains("WARN"), "{}", ended.text);
}

/// A certificate that is replaced while the mirror runs is used by the connections that are made from then on.
#[test]
#[ignore = "needs Java and two Kafka clusters"]
fn certificates_are_replaced_without_a_restart() {
    let (source, target) = (Secured::start(Place::Source, &[]), Secured::start(Place::Target, &[]));
    let mut judge = Judge::start();
    judge.create(&source.bootstrap, "kept", 1, 1, "");
    let store = target.file("store.p12", "");
    fs::copy(target.tls("client.p12"), &store).expect("a store");
    let mutual = target.client("SSL", "").replace(&target.tls("client.p12"), &store);
    let mutual = target.file("mutual.properties", &mutual);
    let source_config = source.file("scram.properties", &source.client("SASL_SSL", "SCRAM-SHA-512"));
    let mut running = mirror(&source_config, &mutual, "kept").start();
    judge.produce(&source.bootstrap, "kept", 1, 200_000, "");
    let whole = |judge: &mut Judge| {
        let expected = judge.must(&format!("list {} kept", source.bootstrap));
        await_until("the twin is whole", Duration::from_secs(90), || {
            judge.ask(&format!("list {} kept", target.bootstrap)).is_ok_and(|found| found == expected)
        });
    };
    whole(&mut judge);
    // Java's own format in the same place, and a broker that has forgotten all its connections.
    fs::copy(target.tls("client.jks"), &store).expect("another store");
    script(&["stop", &target.name]).expect("a stop");
    script(&["start", &target.name]).expect("a start");
    judge.produce(&source.bootstrap, "kept", 2, 200_000, "");
    whole(&mut judge);
    running.interrupt();
    running.end().ended_with(130, &["certificates were read again"]);
}

/// Exit code and message of everything that is often wrong.
#[test]
#[ignore = "needs Java and two Kafka clusters"]
fn wrong_settings_say_what_to_do() {
    let source = Secured::start(Place::Source, &[]);
    let plain_target = source.file("target.properties", "bootstrap.servers=127.0.0.1:1\n");
    let attempt = |content: &str| -> Ended {
        let config = source.file("source.properties", content);
        mirror(&config, &plain_target, "x").until_caught_up().patience(60).run()
    };
    let scram = source.client("SASL_SSL", "SCRAM-SHA-512");
    let mutual = source.client("SSL", "");
    let own_ca = source.tls("ca.p12");
    let other_ca = source.tls("other.p12");
    make_other_authority(&other_ca);
    let lines_of = |content: &str, but: &str| -> String {
        content.lines().filter(|line| !line.contains(but)).map(|line| format!("{line}\n")).collect()
    };
    let sasl_to_ssl = scram.replace(&source.address("SASL_SSL"), &source.address("SSL"));
    let identity =
        format!("ssl.keystore.location={}\nssl.keystore.password=store-secret\n", source.tls("client.p12"));
    let expired = source.file("expired", &unsigned_token("mirror", 0));
    let token =
        lines_of(&scram, "sasl.") + "sasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.token.endpoint.url=file://";
    for (what, content, code, expected) in [
        ("wrong password", scram.replace("mirror-secret", "guess"), 1, "SASL_AUTHENTICATION_FAILED"),
        (
            "wrong mechanism",
            scram.replace("SCRAM-SHA-512", "PLAIN"),
            2,
            "goes with PlainLoginModule, not with ScramLoginModule",
        ),
        (
            "no TLS on a TLS port",
            source
                .client("SASL_PLAINTEXT", "PLAIN")
                .replace(&source.address("SASL_PLAINTEXT"), &source.address("SASL_SSL")),
            1,
            "TLS",
        ),
        (
            "TLS on a plain port",
            scram.replace(&source.address("SASL_SSL"), &source.address("SASL_PLAINTEXT")),
            1,
            "set security.protocol to PLAINTEXT or SASL_PLAINTEXT",
        ),
        (
            "no SASL on a SASL port",
            lines_of(&scram, "sasl.").replace("SASL_SSL", "SSL"),
            1,
            "does it expect SASL on this port",
        ),
        ("SASL on a port without", format!("{sasl_to_ssl}{identity}"), 1, "does not use SASL"),
        (
            "unknown authority",
            scram.replace(&own_ca, &other_ca),
            1,
            "not signed by an authority in the trust store",
        ),
        ("host name", scram.replace("127.0.0.1", "localhost"), 1, "ssl.endpoint.identification.algorithm"),
        ("no client certificate", lines_of(&mutual, "keystore"), 1, "set ssl.keystore.location"),
        ("wrong store password", scram.replace("store-secret", "guess"), 1, "check ssl.truststore.password"),
        ("expired token", format!("{token}{expired}\n"), 1, "SASL_AUTHENTICATION_FAILED"),
        ("no token", format!("{token}/nowhere/token\n"), 1, "cannot read the token file /nowhere/token"),
        (
            "mistyped key",
            scram.replace("ssl.truststore.location", "ssl.trustore.location"),
            2,
            "did you mean `ssl.truststore.location`?",
        ),
    ] {
        let ended = attempt(&content);
        let ended = ended.ended_with(code, &[expected]);
        for secret in ["mirror-secret", "store-secret", "guess"] {
            assert!(!ended.text.contains(secret), "{what}:\n{}", ended.text);
        }
    }
    // The host name need not be checked; then the way is free, and the target is asked.
    let unchecked = scram.replace("127.0.0.1", "localhost") + "ssl.endpoint.identification.algorithm=\n";
    attempt(&unchecked).ended_with(1, &["can pose as a broker", "127.0.0.1:1 cannot be reached"]);
    // A mechanism that the brokers do not have: they say which they have.
    script(&["set", &source.name, "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256"]).expect("a setting");
    script(&["stop", &source.name]).expect("a stop");
    script(&["start", &source.name]).expect("a start");
    attempt(&scram).ended_with(1, &["but PLAIN, SCRAM-SHA-256"]);
}

/// A trust store without the brokers' authority.
fn make_other_authority(path: &str) {
    let made = std::process::Command::new("keytool")
        .args([
            "-genkeypair",
            "-keystore",
            path,
            "-storepass",
            "store-secret",
            "-alias",
            "other",
            "-keyalg",
            "EC",
        ])
        .args(["-dname", "CN=other", "-ext", "bc:c"])
        .output()
        .expect("keytool comes with Java");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
}
