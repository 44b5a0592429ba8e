//! The settings of a flow's clients: where the clusters are, how they are spoken to, and what else of a consumer's and a producer's
//! settings means something here.

use super::super::properties::Value;
use super::super::{ClusterName, ConfigError, StartFrom, security, text};
use super::flow::Reader;
use super::settings::{NOT_SET, Outcome, Toml, table};
use super::{scopes, wrong};
use crate::limits::FETCH_ANSWER_BYTES_MAX;

const FETCH_BYTES_MIN: u64 = 1 << 10;

/// Where a cluster is and how it is spoken to; false if nobody says where.
pub fn read(reader: &mut Reader<'_>, side: ClusterName) -> Result<bool, ConfigError> {
    let Some(servers) = reader.layers.client(side, "bootstrap.servers") else { return Ok(false) };
    let servers = reader.filled(servers)?;
    let addresses =
        Toml::List(scopes::list(servers.text.expose()).iter().map(|server| bare(server)).collect());
    reader.settings.set(table(side), "bootstrap", &addresses, &servers.origin)?;
    let spoken = Spoken::read(reader, side)?;
    if spoken.needs_mechanism {
        let value =
            Value { text: spoken.mechanism.clone().into(), origin: format!("sasl.mechanism {NOT_SET}") };
        reader.settings.set_property(side, "sasl.mechanism", value, "");
    }
    for key in security::names() {
        let Some(value) = reader.layers.client(side, key) else { continue };
        match spoken.why_unused(key) {
            Some(why) => reader.settings.unused(&value.origin, &format!("{why}, for the {}", table(side))),
            None => {
                let path = reader.paths[usize::from(side == ClusterName::Target)];
                reader.settings.set_property(side, key, value, path);
            }
        }
    }
    Ok(true)
}

/// Kafka's clients take `PROTOCOL://` before an address, and make nothing of it.
fn bare(server: &str) -> String {
    server.split_once("://").map_or(server, |(_, address)| address).to_owned()
}

/// What keys of security a cluster has a use for. Kafka's clients leave the others alone; Twinlog would complain of them.
struct Spoken {
    protocol: String,
    mechanism: String,
    /// Nobody says it, and so it is Kafka's default.
    needs_mechanism: bool,
}

impl Spoken {
    fn read(reader: &mut Reader<'_>, side: ClusterName) -> Result<Self, ConfigError> {
        let mut word = |key: &str| {
            let value = reader.layers.client(side, key).map(|value| reader.filled(value)).transpose()?;
            Ok(value.map(|value| value.text.expose().trim().to_ascii_uppercase()))
        };
        let protocol = word("security.protocol")?.unwrap_or_else(|| "PLAINTEXT".into());
        let mechanism = match word("sasl.mechanism")? {
            Some(mechanism) => Some(mechanism),
            None => word("sasl.mechanisms")?,
        };
        let needs_mechanism = protocol.starts_with("SASL") && mechanism.is_none();
        Ok(Self { protocol, mechanism: mechanism.unwrap_or_else(|| "GSSAPI".into()), needs_mechanism })
    }

    fn why_unused(&self, key: &str) -> Option<String> {
        let protocol = || Some(format!("security.protocol is {}", self.protocol));
        let mechanism = || Some(format!("sasl.mechanism is {}", self.mechanism));
        let is_kerberos = key.starts_with("sasl.kerberos.");
        let is_token = key.starts_with("sasl.oauthbearer.") || key == "sasl.login.callback.handler.class";
        match key {
            _ if key.starts_with("ssl.") && !self.protocol.ends_with("SSL") => protocol(),
            _ if key.starts_with("sasl.") && !self.protocol.starts_with("SASL") => protocol(),
            _ if is_kerberos && self.mechanism != "GSSAPI" => mechanism(),
            _ if is_token && self.mechanism != "OAUTHBEARER" => mechanism(),
            _ => None,
        }
    }
}

/// What else becomes a setting. `from` is where MirrorMaker begins unless it is told.
pub fn tune(reader: &mut Reader<'_>, from: StartFrom) -> Result<(), ConfigError> {
    start(reader, from)?;
    isolation(reader)?;
    let fetch_bytes = |typed: &str| {
        let bytes = text::bytes(typed)?;
        Ok(Toml::Number(bytes.clamp(FETCH_BYTES_MIN, FETCH_ANSWER_BYTES_MAX as u64 / 2)))
    };
    of_role(reader, ClusterName::Source, "fetch.max.bytes", "fetch-bytes-max", &fetch_bytes)?;
    let ms = |typed: &str| text::milliseconds(typed).map(Toml::Number);
    of_role(reader, ClusterName::Source, "fetch.max.wait.ms", "fetch-wait-ms", &ms)?;
    of_role(reader, ClusterName::Source, "client.rack", "rack", &|typed| text::rack(typed).map(Toml::Text))?;
    one_for_both(reader, "request.timeout.ms", "request-timeout-ms", &ms)?;
    one_for_both(reader, "client.id", "client-id", &|typed| text::client_id(typed).map(Toml::Text))
}

type Read<'a> = &'a dyn Fn(&str) -> Result<Toml, String>;

fn of_role(
    reader: &mut Reader<'_>,
    side: ClusterName,
    key: &str,
    setting: &str,
    read: Read<'_>,
) -> Result<(), ConfigError> {
    match role(reader, side, key)? {
        Some(value) => set(reader, setting, &value, read),
        None => Ok(()),
    }
}

/// Twinlog has one setting where MirrorMaker has one for its consumer and one for its producer.
fn one_for_both(
    reader: &mut Reader<'_>,
    key: &str,
    setting: &str,
    read: Read<'_>,
) -> Result<(), ConfigError> {
    let consumers = role(reader, ClusterName::Source, key)?;
    let producers = role(reader, ClusterName::Target, key)?;
    let (one, other) = match (consumers, producers) {
        (Some(one), other) => (one, other),
        (None, Some(one)) => (one, None),
        (None, None) => return Ok(()),
    };
    if let Some(other) = other.filter(|other| other.origin != one.origin) {
        let why = format!("there is one mirror.{setting} for both clusters, and the consumer's counts");
        reader.settings.unused(&other.origin, &why);
    }
    set(reader, setting, &one, read)
}

fn role(reader: &mut Reader<'_>, side: ClusterName, key: &str) -> Result<Option<Value>, ConfigError> {
    reader.layers.role(side, key).map(|value| reader.filled(value)).transpose()
}

fn set(reader: &mut Reader<'_>, setting: &str, value: &Value, read: Read<'_>) -> Result<(), ConfigError> {
    let read = read(value.text.expose().trim()).map_err(|problem| wrong(value, problem))?;
    reader.settings.set("mirror", setting, &read, &value.origin)
}

fn start(reader: &mut Reader<'_>, default: StartFrom) -> Result<(), ConfigError> {
    let Some(value) = role(reader, ClusterName::Source, "auto.offset.reset")? else {
        if default == StartFrom::Latest {
            let origin = "auto.offset.reset (not set; a consumer begins with what comes from now on)";
            reader.settings.set("mirror", "from", &Toml::Text("latest".into()), origin)?;
        }
        return Ok(());
    };
    let from = match value.text.expose().trim().to_ascii_lowercase().as_str() {
        // As consumers had it before Kafka 0.9.
        "earliest" | "smallest" => "earliest",
        "latest" | "largest" => "latest",
        "none" => {
            reader.settings.differs(
                &value.origin,
                "partitions that were never mirrored begin with their earliest record",
            );
            return Ok(());
        }
        other => return Err(wrong(&value, format!("`{other}` is none of earliest, latest, none"))),
    };
    reader.settings.set("mirror", "from", &Toml::Text(from.into()), &value.origin)
}

fn isolation(reader: &mut Reader<'_>) -> Result<(), ConfigError> {
    let Some(value) = role(reader, ClusterName::Source, "isolation.level")? else {
        let how = "aborted transactions are left out, and offsets stay identical where the target allows it (MirrorMaker copies \
                   aborted records, too)";
        reader.settings.differs("isolation.level (not set)", how);
        return Ok(());
    };
    let isolation = match value.text.expose().trim() {
        "read_committed" => "read-committed",
        "read_uncommitted" => "read-uncommitted",
        other => return Err(wrong(&value, format!("`{other}` is none of read_committed, read_uncommitted"))),
    };
    reader.settings.set("mirror", "isolation", &Toml::Text(isolation.into()), &value.origin)?;
    if isolation == "read-uncommitted" {
        reader.settings.set_quietly("mirror", "offsets", &Toml::Text("append".into()), &value.origin)?;
        let what =
            "mirror.offsets = 'append', since offsets of records whose fate is open cannot be identical";
        reader.settings.tell(&value.origin, Outcome::Becomes(what.into()));
    }
    Ok(())
}
