//! Kerberos: two realms with a KDC each, one for either cluster, and one mirror between them.

use crate::judge::Judge;
use crate::kafka::{Place, base_port, script};
use crate::mirror::{Ended, Twinlog};
use crate::{await_until, load_bytes};
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const EAST: &str = "EAST.TEST";
const WEST: &str = "WEST.TEST";
/// Tickets of `mirror` live so long: a mirror gets new ones while the test looks on.
const TICKET_SECONDS: u64 = 8;

/// A realm with a KDC of its own, which ends when it goes out of scope.
struct Realm {
    name: &'static str,
    folder: TempDir,
    kdc: Option<Child>,
}

impl Realm {
    fn start(name: &'static str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut realm = Self { name, folder, kdc: None };
        let (folder, port) = (realm.folder.path().display(), port(name));
        realm.write(
            "kdc.conf",
            &format!(
                "[kdcdefaults]\n kdc_listen = 127.0.0.1:{port}\n kdc_tcp_listen = 127.0.0.1:{port}\n\
                 [realms]\n {name} = {{\n  database_name = {folder}/principals\n  key_stash_file = {folder}/stash\n }}\n\
                 [logging]\n kdc = FILE:{folder}/log\n"
            ),
        );
        realm.write("krb5.conf", &krb5_conf(&[name], name));
        realm.run("kdb5_util", &["-r", name, "create", "-s", "-P", "master-secret"]);
        let mut kdc = realm.command("krb5kdc");
        kdc.args(["-n", "-r", name]).stdout(Stdio::null()).stderr(Stdio::null());
        realm.kdc = Some(kdc.spawn().expect("krb5kdc"));
        await_until("the KDC listens", Duration::from_secs(20), || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        realm
    }

    fn write(&self, file: &str, content: &str) -> String {
        let path = self.path(file);
        fs::write(&path, content).expect("a file in a temporary folder");
        path
    }

    fn path(&self, file: &str) -> String {
        self.folder.path().join(file).to_string_lossy().into_owned()
    }

    fn admin(&self, query: &str) {
        self.run("kadmin.local", &["-r", self.name, "-q", query]);
    }

    /// A new principal, and a keytab with its key.
    fn principal(&self, name: &str) -> String {
        let keytab = self.path(&format!("{}.keytab", name.replace('/', "-")));
        self.admin(&format!("addprinc -randkey {name}"));
        self.admin(&format!("ktadd -k {keytab} {name}"));
        keytab
    }

    /// A cache with a ticket that lives this long.
    fn kinit(&self, keytab: &str, name: &str, seconds: u64) -> String {
        let cache = self.path(&format!("cache-{seconds}"));
        self.run("kinit", &["-k", "-t", keytab, "-c", &cache, "-l", &format!("{seconds}s"), name]);
        cache
    }

    fn run(&self, tool: &str, arguments: &[&str]) {
        let output = self.command(tool).args(arguments).output().expect("a tool of MIT Kerberos");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && !text.contains("while"), "{tool} {arguments:?}: {text}");
    }

    fn command(&self, tool: &str) -> Command {
        let mut command = Command::new(tool);
        command
            .env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()))
            .env("KRB5_CONFIG", self.path("krb5.conf"))
            .env("KRB5_KDC_PROFILE", self.path("kdc.conf"))
            .stdin(Stdio::null());
        command
    }

    fn stop_kdc(&mut self) {
        if let Some(mut kdc) = self.kdc.take() {
            let _ = kdc.kill();
            let _ = kdc.wait();
        }
    }
}

impl Drop for Realm {
    fn drop(&mut self) {
        self.stop_kdc();
    }
}

fn port(realm: &str) -> u16 {
    let port = base_port() + if realm == EAST { 210 } else { 220 };
    u16::try_from(port).expect("a port")
}

fn krb5_conf(realms: &[&str], default: &str) -> String {
    let mut text = format!(
        "[libdefaults]\n default_realm = {default}\n dns_lookup_kdc = false\n dns_canonicalize_hostname = false\n rdns = false\n \
         udp_preference_limit = 1\n[realms]\n"
    );
    for realm in realms {
        text += &format!(" {realm} = {{\n  kdc = 127.0.0.1:{}\n }}\n", port(realm));
    }
    text
}

/// A cluster of one broker that lets only those in on its SASL listener who have a ticket of its realm, and wants to see one again
/// every few seconds. Stopped and deleted when it goes out of scope.
struct Guarded {
    name: String,
    /// The plain listener, for the judge.
    bootstrap: String,
    /// The other one.
    address: String,
}

impl Guarded {
    fn start(place: Place, realm: &Realm) -> Self {
        let keytab = realm.principal("kafka/127.0.0.1");
        let name = place.name();
        let _ = script(&["down", &name]);
        let port = place.ports();
        let address = format!("127.0.0.1:{}", port + 30);
        let plain = format!("PLAINTEXT://127.0.0.1:{port}");
        let sasl = format!("SASL_PLAINTEXT://{address}");
        let settings = [
            format!("listeners={plain},CONTROLLER://127.0.0.1:{},{sasl}", port + 1_000),
            format!("advertised.listeners={plain},{sasl}"),
            "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT"
                .to_owned(),
            "sasl.enabled.mechanisms=GSSAPI".to_owned(),
            "sasl.kerberos.service.name=kafka".to_owned(),
            format!(
                "listener.name.sasl_plaintext.gssapi.sasl.jaas.config=com.sun.security.auth.module.Krb5LoginModule required \
                 useKeyTab=true storeKey=true isInitiator=false keyTab=\"{keytab}\" principal=\"kafka/127.0.0.1@{}\";",
                realm.name
            ),
            "connections.max.reauth.ms=3000".to_owned(),
        ];
        let java = format!("-Djava.security.krb5.conf={}", realm.path("krb5.conf"));
        let port = port.to_string();
        let mut words = vec!["up", &name, "--port", &port, "--java", &java];
        words.extend(settings.iter().flat_map(|setting| ["--set", setting]));
        let bootstrap = script(&words).unwrap_or_else(|error| panic!("{error}")).trim().to_owned();
        Self { name, bootstrap, address }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = script(&["down", &self.name]);
    }
}

/// Client settings with these options of Java's login module.
fn of_java(cluster: &Guarded, options: &str) -> String {
    format!(
        "bootstrap.servers={}\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanism=GSSAPI\n\
         sasl.jaas.config=com.sun.security.auth.module.Krb5LoginModule required serviceName=\"kafka\" {options};\n",
        cluster.address
    )
}

fn with_keytab(cluster: &Guarded, keytab: &str, principal: &str) -> String {
    of_java(cluster, &format!("useKeyTab=true storeKey=true keyTab=\"{keytab}\" principal=\"{principal}\""))
}

/// Client settings as librdkafka has them.
fn of_librdkafka(cluster: &Guarded, keytab: &str, principal: &str) -> String {
    format!(
        "bootstrap.servers={}\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanisms=GSSAPI\nsasl.kerberos.service.name=kafka\n\
         sasl.kerberos.keytab={keytab}\nsasl.kerberos.principal={principal}\n",
        cluster.address
    )
}

#[test]
#[ignore = "needs Java, two Kafka clusters and MIT Kerberos' KDC"]
fn a_mirror_between_two_realms() {
    if !Path::new("/usr/sbin/krb5kdc").exists() || !Path::new("/usr/bin/kinit").exists() {
        println!("skipped: krb5-kdc, krb5-admin-server and krb5-user are not installed");
        return;
    }
    let (east, mut west) = (Realm::start(EAST), Realm::start(WEST));
    let (source, target) = std::thread::scope(|scope| {
        let source = scope.spawn(|| Guarded::start(Place::Source, &east));
        let target = Guarded::start(Place::Target, &west);
        (source.join().expect("the source"), target)
    });
    let keytabs = [&east, &west].map(|realm| {
        let keytab = realm.principal("mirror");
        realm.admin(&format!("modprinc -maxlife {TICKET_SECONDS}s mirror"));
        keytab
    });
    let krb5_conf = east.write("both.conf", &krb5_conf(&[EAST, WEST], EAST));
    let source_config = east.write("source", &with_keytab(&source, &keytabs[0], "mirror@EAST.TEST"));
    let target_config = west.write("target", &of_librdkafka(&target, &keytabs[1], "mirror@WEST.TEST"));
    let twinlog = |words: &[&str]| Twinlog::new(words).variable("KRB5_CONFIG", &krb5_conf);
    let configs = ["--source-config", &source_config, "--target-config", &target_config, "--topics", "t"];
    let mirror = twinlog(&["mirror"]).with(&configs);
    let mut judge = Judge::start();
    judge.create(&source.bootstrap, "t", 3, 1, "");
    judge.produce(&source.bootstrap, "t", 1, load_bytes() / 8, "codec=lz4");
    mirror_survives_kills_and_the_end_of_tickets(&mirror, &mut judge, &source, &target);
    twinlog(&["verify"]).with(&configs).run().succeeded();

    let cache = |name: &str| of_java(&source, &format!("useTicketCache=true ticketCache=\"{name}\""));
    let mine = east.kinit(&east.principal("reader"), "reader", 600);
    let default = format!(
        "bootstrap.servers={}\nsecurity.protocol=SASL_PLAINTEXT\nsasl.kerberos.service.name=kafka\n",
        source.address
    );
    for content in [cache(&mine), default] {
        let config = east.write("cached", &content);
        let own = ["--source-config", &config, "--target-config", &target_config, "--topics", "t"];
        twinlog(&["verify"]).with(&own).variable("KRB5CCNAME", &mine).run().succeeded();
    }

    let attempt = |content: &str, krb5_conf: &str| -> Ended {
        let config = east.write("wrong", content);
        let words =
            ["mirror", "--source-config", &config, "--target-config", &target_config, "--topics", "t"];
        Twinlog::new(&words).variable("KRB5_CONFIG", krb5_conf).until_caught_up().patience(60).run()
    };
    let over = east.kinit(&keytabs[0], "mirror", 1);
    std::thread::sleep(Duration::from_secs(2));
    let gone = east.principal("gone");
    east.admin("delprinc -force gone");
    let stale = east.principal("stale");
    east.admin(&format!("ktadd -k {} stale", east.path("newer.keytab")));
    let right = with_keytab(&source, &keytabs[0], "mirror@EAST.TEST");
    let no_realms = east.write("no-realms.conf", "[libdefaults]\n dns_lookup_kdc = false\n");
    for (content, krb5_conf, expected) in [
        (with_keytab(&source, &keytabs[1], "mirror@EAST.TEST"), &krb5_conf, "`klist -k"),
        (with_keytab(&source, "/nowhere", "mirror@EAST.TEST"), &krb5_conf, "cannot read the keytab /nowhere"),
        (with_keytab(&source, &gone, "gone@EAST.TEST"), &krb5_conf, "check gone@EAST.TEST and its realm"),
        (
            with_keytab(&source, &stale, "stale@EAST.TEST"),
            &krb5_conf,
            "does not hold the newest key of stale@",
        ),
        (right.replace("\"kafka\"", "\"kafak\""), &krb5_conf, "has to be kafak/127.0.0.1@REALM"),
        (right.clone(), &no_realms, "under [realms] of krb5.conf"),
        (cache("/nowhere"), &krb5_conf, "run kinit for the principal"),
        (cache(&over), &krb5_conf, "run kinit again"),
    ] {
        attempt(&content, krb5_conf).ended_with(1, &[expected]);
    }
    west.stop_kdc();
    attempt(&right, &krb5_conf)
        .ended_with(1, &["no login: Kerberos: ", "check that a KDC of this realm runs"]);
}

/// Killed in the middle, it goes on; and it stays logged in while tickets end and brokers want to see new ones.
fn mirror_survives_kills_and_the_end_of_tickets(
    mirror: &Twinlog,
    judge: &mut Judge,
    source: &Guarded,
    target: &Guarded,
) {
    let running = mirror.start();
    await_until("the mirror has begun", Duration::from_secs(30), || {
        let ends = judge.ask(&format!("ends {} t", target.bootstrap));
        ends.is_ok_and(|ends| ends.iter().any(|end| !end.ends_with(" 0")))
    });
    running.kill();
    let mut running = mirror.start();
    for seed in 2..2 + TICKET_SECONDS * 3 / 2 {
        judge.produce(&source.bootstrap, "t", seed, 200_000, "batch=20000");
        std::thread::sleep(Duration::from_secs(1));
    }
    let expected = judge.must(&format!("list {} t", source.bootstrap));
    await_until("the twin is whole", Duration::from_secs(60), || {
        judge.ask(&format!("list {} t", target.bootstrap)).is_ok_and(|found| found == expected)
    });
    running.interrupt();
    let ended = running.end().ended_with(130, &[]);
    // A broker ends connections whose login is over at their next request, and that would be told.
    assert!(!ended.text.contains("WARN"), "{}", ended.text);
}
