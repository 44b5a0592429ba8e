//! Where a flow's keys are looked for: in its own scope, in those of its clusters, and among those for all; and what is told of
//! those that nobody looked for.

use super::super::properties::Value;
use super::super::{ClusterName, ConfigError, Properties};
use super::keys::{self, FLOW, Fate, Key, WORKER};
use super::scopes::{Scopes, of_client};
use super::settings::{Outcome, Settings};
use super::{clients, wrong};
use std::collections::BTreeSet;

pub struct Layers {
    pub flow: Properties,
    pub source: Properties,
    pub target: Properties,
    pub global: Properties,
    /// Origins of what somebody looked for, and will tell of.
    told: BTreeSet<String>,
}

/// What may stand before a client's key in the scope of a flow, of a cluster, and of none. What comes first counts.
type Places = [&'static [&'static str]; 3];

const SOURCE: Places = [
    &["source.consumer.", "consumer.", "source.cluster.", "source.admin.", "admin."],
    &["consumer.", "", "admin."],
    &[""],
];
/// Connect's own producer writes the records.
const TARGET: Places = [
    &["producer.override.", "target.producer.", "producer.", "target.cluster.", "target.admin.", "admin."],
    &["producer.", "", "admin."],
    &[""],
];
/// What only a consumer of the source has.
const CONSUMER: Places = [&["source.consumer.", "consumer."], &["consumer."], &[]];
const PRODUCER: Places = [&["producer.override.", "target.producer.", "producer."], &["producer."], &[]];

impl Layers {
    pub fn of(scopes: &Scopes, from: &str, to: &str) -> Self {
        let cluster = |name: &str| scopes.cluster.get(name).cloned().unwrap_or_default();
        let flow = scopes.flow.get(&(from.to_owned(), to.to_owned())).cloned().unwrap_or_default();
        Self {
            flow,
            source: cluster(from),
            target: cluster(to),
            global: scopes.global.clone(),
            told: BTreeSet::new(),
        }
    }

    /// A key of the flow, or else of all flows.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        let found = self.flow.get(key).or_else(|| self.global.get(key)).cloned()?;
        self.told.insert(found.origin.clone());
        Some(found)
    }

    /// A key of a cluster's clients that all of them have, such as how to log in.
    pub fn client(&mut self, side: ClusterName, key: &str) -> Option<Value> {
        let places = match side {
            ClusterName::Source => SOURCE,
            ClusterName::Target => TARGET,
        };
        self.look(side, key, places)
    }

    /// A key that only the consumer of the source, or the producer of the target, has.
    pub fn role(&mut self, side: ClusterName, key: &str) -> Option<Value> {
        let places = match side {
            ClusterName::Source => CONSUMER,
            ClusterName::Target => PRODUCER,
        };
        self.look(side, key, places)
    }

    fn look(&mut self, side: ClusterName, key: &str, places: Places) -> Option<Value> {
        let cluster = match side {
            ClusterName::Source => &self.source,
            ClusterName::Target => &self.target,
        };
        let layers = [&self.flow, cluster, &self.global];
        let found = layers.iter().zip(places).find_map(|(layer, before)| {
            before.iter().find_map(|before| layer.get(&format!("{before}{key}")))
        })?;
        self.told.insert(found.origin.clone());
        Some(found.clone())
    }

    /// Tells what becomes of all that nobody looked for; the error is what cannot be left out without harm.
    pub fn tell_rest(&self, settings: &mut Settings) -> Result<(), ConfigError> {
        let rest = |layer: &Properties| {
            let rest = layer.iter().filter(|(_, value)| !self.told.contains(&value.origin));
            rest.map(|(key, value)| (key.to_owned(), value.clone())).collect::<Vec<_>>()
        };
        for (key, value) in rest(&self.flow) {
            tell(settings, &key, &value, &of_flow(&key))?;
        }
        for (layer, other_role) in [(&self.source, "producer."), (&self.target, "consumer.")] {
            for (key, value) in rest(layer) {
                let verdict = if key.starts_with(other_role) { ignored(ONE_WAY) } else { of_cluster(&key) };
                tell(settings, &key, &value, &verdict)?;
            }
        }
        for (key, value) in rest(&self.global) {
            tell(settings, &key, &value, &of_all(&key, self.flow.get(&key)))?;
        }
        Ok(())
    }
}

const ONE_WAY: &str = "a link only reads from its source and only writes to its target";

/// What is to be told of a key: what becomes of it, and why.
type Verdict = (Fate, String);

fn of_key(key: &Key) -> Verdict {
    (key.fate, key.text.to_owned())
}

fn ignored(why: &str) -> Verdict {
    (Fate::Unused, why.to_owned())
}

fn of_flow(key: &str) -> Verdict {
    if let Some(key) = keys::find(FLOW, key) {
        return of_key(key);
    }
    if keys::find(WORKER, key).is_some() {
        return ignored("MirrorMaker 2 does not read it for a flow");
    }
    of_a_client(key)
}

fn of_cluster(key: &str) -> Verdict {
    match (keys::find(WORKER, key), keys::find(FLOW, key)) {
        (Some(Key { fate: Fate::Used, .. }), _) => ignored("MirrorMaker 2 does not read it for a cluster"),
        (Some(key), _) => of_key(key),
        // Those of Connect's workers.
        (None, Some(key)) if key.name.contains(".converter") => of_key(key),
        (None, Some(_)) => {
            ignored("MirrorMaker 2 does not read it for a cluster; it can stand alone, or behind A->B.")
        }
        (None, None) => of_a_client(key),
    }
}

fn of_all(key: &str, flows_own: Option<&Value>) -> Verdict {
    match keys::find(FLOW, key).or_else(|| keys::find(WORKER, key)) {
        Some(_) if flows_own.is_some() => ignored("the flow has its own"),
        Some(key) => of_key(key),
        None if clients::is_for_all(key) => ignored("both clusters have their own"),
        None => ignored(
            "MirrorMaker 2 does not read it without a cluster's name: write A.consumer.KEY or A.producer.KEY",
        ),
    }
}

fn of_a_client(key: &str) -> Verdict {
    if key.starts_with("source.producer.") || key.starts_with("target.consumer.") {
        return ignored(ONE_WAY);
    }
    let client = of_client(key);
    match clients::find(client) {
        Some((Fate::Used, _)) if client == key && !clients::is_for_all(key) => {
            ignored("MirrorMaker 2 reads it only with consumer., producer. or admin. before it")
        }
        Some((Fate::Used, _)) => {
            ignored("Twinlog has one client for each cluster, and another key counts for it")
        }
        Some((fate, text)) => (fate, text.to_owned()),
        None => ignored("there is no such key"),
    }
}

fn tell(
    settings: &mut Settings,
    key: &str,
    value: &Value,
    (fate, text): &Verdict,
) -> Result<(), ConfigError> {
    let said = value.text.expose().trim();
    let outcome = match fate {
        Fate::Used => Outcome::Means(text.clone()),
        Fate::Unused => Outcome::Unused(text.clone()),
        Fate::NotDone if is_as_here(key, said) => Outcome::Unused(text.clone()),
        Fate::NotDone => Outcome::Differs(text.clone()),
        Fate::Class(known) if known.contains(&said) => Outcome::Unused("it is the default".into()),
        Fate::Refused if said.is_empty() => Outcome::Unused("it is empty".into()),
        Fate::Class(_) => return Err(wrong(value, format!("Twinlog runs no Java classes; {text}"))),
        Fate::Refused => return Err(wrong(value, text)),
    };
    settings.tell(&value.origin, outcome);
    Ok(())
}

/// Whether a key that is not heeded asks for what is done anyway.
fn is_as_here(key: &str, said: &str) -> bool {
    match key {
        "refresh.topics.enabled" => said.eq_ignore_ascii_case("true"),
        "use.defaults.from" => said == "target",
        _ => said.eq_ignore_ascii_case("false"),
    }
}
