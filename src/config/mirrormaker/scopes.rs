//! Which cluster or flow a key of `connect-mirror-maker.properties` is about: `A->B.KEY`, `A.KEY`, or `KEY` for all.

use super::super::properties::Value;
use super::super::{ConfigError, Properties, nearest};
use super::keys::{self, FLOW, Key, WORKER};
use super::providers::Providers;
use super::{clients, wrong};
use std::collections::BTreeMap;

/// The file's keys by what they are about, without their scopes.
#[derive(Debug, Default)]
pub struct Scopes {
    /// In the order in which they are listed.
    pub clusters: Vec<String>,
    pub global: Properties,
    pub cluster: BTreeMap<String, Properties>,
    pub flow: BTreeMap<(String, String), Properties>,
}

/// What a key is about.
enum Scope {
    Global,
    Cluster(String),
    Flow(String, String),
}

impl Scopes {
    /// Every key of the file is one that there is; the error names the nearest.
    pub fn read(properties: &Properties) -> Result<Self, ConfigError> {
        let clusters = properties.get("clusters").ok_or_else(|| {
            ConfigError("there is no `clusters`, which lists the names of the clusters; is this a file of MirrorMaker 2?".into())
        })?;
        let clusters: Vec<String> = list(clusters.text.expose());
        let providers = Providers::of(properties);
        let mut scopes = Self { clusters, ..Self::default() };
        for (key, value) in properties.iter() {
            let (scope, rest) = scopes.split(key).map_err(|problem| wrong(value, problem))?;
            check(&scope, rest).map_err(|problem| wrong(value, problem))?;
            let text = providers.translate(value.text.expose(), &value.origin)?;
            let value = Value { text: text.into(), origin: value.origin.clone() };
            let about = match scope {
                Scope::Global => &mut scopes.global,
                Scope::Cluster(name) => scopes.cluster.entry(name).or_default(),
                Scope::Flow(from, to) => scopes.flow.entry((from, to)).or_default(),
            };
            about.set(rest.to_owned(), value.text, value.origin);
        }
        Ok(scopes)
    }

    /// The scope that a key begins with, and the rest. A cluster's name may have dots, so the longest counts.
    fn split<'k>(&self, key: &'k str) -> Result<(Scope, &'k str), String> {
        if let Some((from, rest)) = key.split_once("->") {
            self.must_be_there(from)?;
            return match self.longest(rest) {
                Some((to, rest)) => Ok((Scope::Flow(from.to_owned(), to.to_owned()), rest)),
                None => Err(self.no_cluster(rest.split('.').next().unwrap_or(rest))),
            };
        }
        Ok(match self.longest(key) {
            Some((name, rest)) => (Scope::Cluster(name.to_owned()), rest),
            None => (Scope::Global, key),
        })
    }

    fn longest<'k>(&self, key: &'k str) -> Option<(&str, &'k str)> {
        let named = self.clusters.iter();
        let named = named
            .filter_map(|name| Some((name.as_str(), key.strip_prefix(name.as_str())?.strip_prefix('.')?)));
        named.max_by_key(|(name, _)| name.len())
    }

    /// The error says which clusters there are.
    pub fn must_be_there(&self, name: &str) -> Result<(), String> {
        if self.clusters.iter().any(|cluster| cluster == name) { Ok(()) } else { Err(self.no_cluster(name)) }
    }

    fn no_cluster(&self, name: &str) -> String {
        match nearest(name, self.clusters.iter().map(String::as_str)) {
            Some(near) => format!("`clusters` has no `{name}`; did you mean `{near}`?"),
            None => format!("`clusters` has no `{name}`; it lists {}", self.clusters.join(", ")),
        }
    }
}

/// The parts of a list as Kafka reads it.
pub fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// What is wrong with a key, if anything is.
fn check(scope: &Scope, key: &str) -> Result<(), String> {
    let is_known = keys::find(FLOW, key).is_some()
        || keys::find(WORKER, key).is_some()
        || clients::find(of_client(key)).is_some();
    if is_known { Ok(()) } else { Err(unknown(scope, key)) }
}

/// A client's key without what says which client is meant.
pub fn of_client(key: &str) -> &str {
    let key = ["source.", "target."].iter().find_map(|side| key.strip_prefix(side)).unwrap_or(key);
    let roles = [
        "consumer.override.",
        "producer.override.",
        "admin.override.",
        "cluster.",
        "consumer.",
        "producer.",
        "admin.",
    ];
    roles.iter().find_map(|role| key.strip_prefix(role)).unwrap_or(key)
}

fn unknown(scope: &Scope, key: &str) -> String {
    let client = of_client(key);
    let near = match client == key {
        true => {
            let own =
                FLOW.iter().chain(WORKER).map(|Key { name, .. }| *name).filter(|name| !name.ends_with('.'));
            nearest(key, own.chain(clients::names()).filter(|name| !name.ends_with('.')))
        }
        false => nearest(client, clients::names().filter(|name| !name.ends_with('.'))),
    };
    let before = &key[..key.len() - client.len()];
    let scope = match scope {
        Scope::Global => String::new(),
        Scope::Cluster(name) => format!("{name}."),
        Scope::Flow(from, to) => format!("{from}->{to}."),
    };
    match near {
        Some(near) => format!("MirrorMaker has no key `{key}`; did you mean `{scope}{before}{near}`?"),
        None => format!(
            "MirrorMaker has no key `{key}`; leave it out (`clusters` names what may stand before a key)"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Result<Scopes, String> {
        Scopes::read(&Properties::from_file("f", content).unwrap()).map_err(|error| error.0)
    }

    #[test]
    fn keys_go_to_their_scopes() {
        let scopes = read(
            "clusters = us, us.east\nus.bootstrap.servers=a:1\nus.east.bootstrap.servers=b:2\nus->us.east.topics=t\n\
             us.east->us.enabled=true\nreplication.factor=3\nus.consumer.fetch.max.bytes=5\n",
        )
        .unwrap();
        assert_eq!(scopes.clusters, ["us", "us.east"]);
        let text = |properties: &Properties, key: &str| properties.get(key).unwrap().text.expose().to_owned();
        assert_eq!(text(&scopes.cluster["us"], "bootstrap.servers"), "a:1");
        assert_eq!(text(&scopes.cluster["us"], "consumer.fetch.max.bytes"), "5");
        assert_eq!(text(&scopes.cluster["us.east"], "bootstrap.servers"), "b:2");
        let flow = |from: &str, to: &str| &scopes.flow[&(from.to_owned(), to.to_owned())];
        assert_eq!(text(flow("us", "us.east"), "topics"), "t");
        assert_eq!(text(flow("us.east", "us"), "enabled"), "true");
        assert_eq!(text(&scopes.global, "replication.factor"), "3");
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_line_and_nearest() {
        for (line, expected) in [
            (
                "A->B.topcis=x",
                "f:2: A->B.topcis: MirrorMaker has no key `topcis`; did you mean `A->B.topics`?",
            ),
            (
                "replication.factr=1",
                "f:2: replication.factr: MirrorMaker has no key `replication.factr`; did you mean `replication.factor`?",
            ),
            ("A.consumer.fetch.max.bites=1", "did you mean `A.consumer.fetch.max.bytes`?"),
            ("A.ssl.trustore.location=x", "did you mean `A.ssl.truststore.location`?"),
            ("A->C.enabled=true", "f:2: A->C.enabled: `clusters` has no `C`"),
            ("a->B.enabled=true", "`clusters` has no `a`; did you mean `A`?"),
            ("zzz=1", "MirrorMaker has no key `zzz`; leave it out"),
        ] {
            let error = read(&format!("clusters=A,B\n{line}\n")).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
        assert!(read("A.bootstrap.servers=x:1").unwrap_err().contains("there is no `clusters`"));
    }
}
