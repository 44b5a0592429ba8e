//! MirrorMaker 1, which is all flags, and a file for its consumers and one for its producer.

use super::super::placeholder::Elsewhere;
use super::super::{ClusterName, ConfigError, Properties, StartFrom, nearest};
use super::flow::{self, Reader};
use super::layers::Layers;
use super::scopes::Scopes;
use super::settings::{Settings, Toml};
use super::{File, Flow, clients, connections, wrong};

/// What was given to `kafka-mirror-maker.sh`.
#[derive(Clone, Debug)]
pub struct MirrorMaker1 {
    pub consumer: File,
    pub producer: File,
    /// `--include`, or `--whitelist`, as it was called before Kafka 3.0.
    pub include: Option<String>,
    /// The other flags, each with its value.
    pub flags: Vec<(&'static str, String)>,
}

const FLAGS: &[(&str, &str)] = &[
    ("--num.streams", "a link runs on all cores, one thread each: `--cores` takes a list"),
    (
        "--abort.on.send.failure",
        "no record is given up: a partition that cannot go on stops, with the reason, and the others go on",
    ),
    (
        "--offset.commit.interval.ms",
        "progress is kept in the topic __twinlog.LINK on the target, when it is needed",
    ),
    ("--new.consumer", "there is one way to read"),
    ("--consumer.rebalance.listener", "there is no consumer group, and Twinlog runs no Java classes"),
    ("--rebalance.listener.args", "there is no consumer group"),
];

/// What becomes of one of its flags, for `config explain`.
pub fn explain(flag: &str) -> Option<String> {
    let is_this = |name: &str| name.trim_start_matches('-') == flag.trim_start_matches('-');
    let known =
        FLAGS.iter().find(|(name, _)| is_this(name)).map(|(name, why)| format!("{name} is ignored: {why}"));
    known.or_else(|| {
        [
            ("--consumer.config", "settings of the source: source.bootstrap, and the same keys in [source]"),
            ("--producer.config", "settings of the target: target.bootstrap, and the same keys in [target]"),
            ("--whitelist", "mirror.topics; commas part it"),
            ("--include", "mirror.topics; commas part it"),
            ("--message.handler", HANDLER),
            ("--message.handler.args", HANDLER),
        ]
        .into_iter()
        .find(|(name, _)| is_this(name))
        .map(|(name, text)| format!("{name}: {text}"))
    })
}

const HANDLER: &str = "it is a Java class, which Twinlog does not run; steps in [[transform]] change records, and so do \
                       WebAssembly modules: README, Changing records on the way";

impl MirrorMaker1 {
    pub fn flow(&self, elsewhere: &dyn Elsewhere) -> Result<Flow, ConfigError> {
        if let Some((flag, _)) = self.flags.iter().find(|(flag, _)| flag.starts_with("--message.handler")) {
            return Err(ConfigError(format!("{flag}: {HANDLER}")));
        }
        let mut layers = Layers::of(&Scopes::default(), "", "");
        layers.source = of_role("consumer.", &self.consumer)?;
        layers.target = of_role("producer.", &self.producer)?;
        let group = layers.source.get("consumer.group.id").map(|value| value.text.expose().trim().to_owned());
        let mut reader = Reader {
            from: "source".into(),
            to: "target".into(),
            settings: Settings::default(),
            layers,
            paths: [&self.consumer.path, &self.producer.path],
            elsewhere,
        };
        let link = link(group.as_deref().unwrap_or_default());
        let origin = format!("{}: group.id", self.consumer.name);
        reader.settings.set("mirror", "link", &Toml::Text(link.clone()), &origin)?;
        for (side, file) in [(ClusterName::Source, &self.consumer), (ClusterName::Target, &self.producer)] {
            if !connections::read(&mut reader, side)? {
                return Err(ConfigError(format!("{}: bootstrap.servers is not set", file.name)));
            }
        }
        self.topics(&mut reader.settings)?;
        connections::tune(&mut reader, StartFrom::Latest)?;
        self.tell(&mut reader.settings);
        let Reader { mut settings, layers, .. } = reader;
        layers.tell_rest(&mut settings)?;
        let title = format!("of {} and {}", self.consumer.name, self.producer.name);
        Ok(Flow { group, ..Flow::of(link, title, settings) })
    }

    fn topics(&self, settings: &mut Settings) -> Result<(), ConfigError> {
        let include = self.include.as_deref().ok_or_else(|| {
            ConfigError("which topics? Add --include REGEX (or --whitelist, as it was called before)".into())
        })?;
        // MirrorMaker takes blanks out, and quotes at both ends.
        let include = include.replace(' ', "");
        let topics = flow::patterns(include.trim_matches(['"', '\'']))
            .map_err(|problem| ConfigError(format!("--include: {problem}")))?;
        settings.set("mirror", "topics", &Toml::List(topics), "--include")
    }

    fn tell(&self, settings: &mut Settings) {
        for (flag, _) in &self.flags {
            let why = FLAGS.iter().find(|(name, _)| name == flag).map(|(_, why)| *why);
            settings.unused(flag, why.unwrap_or_default());
        }
        let how = "records keep their partition, and topics their number of partitions (MirrorMaker 1: by the hash of the key)";
        settings.differs("partitions", how);
        let how = "where MirrorMaker 1 has filled topics, `twinlog take-over` with the same flags lets the link begin where it \
                   stood; other partitions begin where mirror.from says";
        settings.differs("group.id", how);
    }
}

/// The file's keys, as those of a consumer or producer of a cluster.
fn of_role(role: &str, file: &File) -> Result<Properties, ConfigError> {
    let mut properties = Properties::default();
    for (key, value) in Properties::from_file(&file.name, &file.content)?.iter() {
        // The name that producers had for it before Kafka 0.8.2.
        let key = if key == "metadata.broker.list" { "bootstrap.servers" } else { key };
        if clients::find(key).is_none() {
            let problem = match nearest(key, clients::names().filter(|name| !name.ends_with('.'))) {
                Some(near) => format!("there is no setting `{key}`; did you mean `{near}`?"),
                None => format!("there is no setting `{key}` of Kafka's clients; leave it out"),
            };
            return Err(wrong(value, problem));
        }
        properties.set(format!("{role}{key}"), value.text.clone(), value.origin.clone());
    }
    if properties.get(&format!("{role}bootstrap.servers")).is_none()
        && let Some(old) = properties.get(&format!("{role}zookeeper.connect"))
    {
        return Err(wrong(
            old,
            "Twinlog speaks to brokers, not to ZooKeeper; add bootstrap.servers = HOST:PORT of some brokers",
        ));
    }
    Ok(properties)
}

/// What tells one mirror into a cluster from another is its group.
fn link(group: &str) -> String {
    let may_stand = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match group {
        "" => "mirror".into(),
        group => group.chars().map(|c| if may_stand(c) { c } else { '-' }).take(200).collect(),
    }
}
