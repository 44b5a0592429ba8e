//! What to copy from one Schema Registry to another so that both have the same schemas under the same ids and versions.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The subjects of a registry by their names, or some of them.
pub type Subjects = BTreeMap<String, Subject>;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Subject {
    /// By their numbers, deleted ones included: records have their ids still.
    pub versions: BTreeMap<i32, Version>,
    /// How new versions have to fit old ones (`BACKWARD`, …). None: as the registry's default says.
    pub compatibility: Option<String>,
}

/// A version of a subject, as a registry tells it and as it is told to one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    #[serde(skip_serializing)]
    pub subject: String,
    pub version: i32,
    pub id: i32,
    #[serde(default = "avro")]
    pub schema_type: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_set: Option<Value>,
    pub schema: String,
    /// Not shown any more; its id can still be looked up.
    #[serde(skip)]
    pub is_deleted: bool,
}

impl Version {
    fn key(&self) -> (&str, i32) {
        (&self.subject, self.version)
    }
}

/// A version of another subject that a schema uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    pub name: String,
    pub subject: String,
    pub version: i32,
}

/// Registries leave it out.
fn avro() -> String {
    "AVRO".into()
}

/// What makes the target like the source.
#[derive(Debug, Default, PartialEq)]
pub struct Plan<'a> {
    /// Versions that the target lacks, each behind those that it refers to.
    pub missing: Vec<&'a Version>,
    /// (subject, level): compatibility levels that the target lacks.
    pub levels: Vec<(&'a str, &'a str)>,
    /// Versions that are the same on both sides.
    pub same: usize,
    /// What the target has otherwise, and is left as it is.
    pub different: Vec<String>,
}

pub fn plan<'a>(source: &'a Subjects, target: &Subjects) -> Plan<'a> {
    let mut plan = Plan::default();
    for version in in_order(source) {
        match target.get(&version.subject).and_then(|subject| subject.versions.get(&version.version)) {
            None => plan.missing.push(version),
            Some(other) => match difference(version, other) {
                None => plan.same += 1,
                Some(what) => {
                    plan.different.push(format!("{} version {}: {what}", version.subject, version.version));
                }
            },
        }
    }
    for (name, subject) in source {
        let other = target.get(name);
        for version in other.into_iter().flat_map(|other| other.versions.keys()) {
            if !subject.versions.contains_key(version) {
                plan.different.push(format!("{name} version {version}: only the target has it"));
            }
        }
        match (&subject.compatibility, other.and_then(|other| other.compatibility.as_ref())) {
            (Some(level), None) => plan.levels.push((name, level)),
            (level, Some(other)) if level.as_ref() != Some(other) => {
                let level = level.as_deref().unwrap_or("the default");
                plan.different.push(format!(
                    "{name}: its compatibility level is {level} at the source, {other} at the target"
                ));
            }
            _ => {}
        }
    }
    plan
}

/// All versions, each behind those that it refers to.
fn in_order(subjects: &Subjects) -> Vec<&Version> {
    let referred = |reference: &Reference| subjects.get(&reference.subject)?.versions.get(&reference.version);
    let mut order = Vec::new();
    let (mut seen, mut placed) = (BTreeSet::new(), BTreeSet::new());
    for version in subjects.values().flat_map(|subject| subject.versions.values()) {
        let mut open = vec![version];
        while let Some(version) = open.pop() {
            if placed.contains(&version.key()) {
                continue;
            }
            // When it is seen again, all that it refers to has been placed, but for references in a circle.
            let is_new = seen.insert(version.key());
            let first: Vec<&Version> = match is_new {
                true => version
                    .references
                    .iter()
                    .filter_map(referred)
                    .filter(|other| !seen.contains(&other.key()))
                    .collect(),
                false => Vec::new(),
            };
            if first.is_empty() {
                placed.insert(version.key());
                order.push(version);
            } else {
                open.push(version);
                open.extend(first);
            }
        }
    }
    order
}

fn difference(ours: &Version, theirs: &Version) -> Option<String> {
    let is_same_schema = ours.schema_type == theirs.schema_type
        && ours.references == theirs.references
        && (ours.schema == theirs.schema || is_same_json(&ours.schema, &theirs.schema));
    match () {
        () if !is_same_schema => Some("the target has another schema".into()),
        () if ours.id != theirs.id => {
            Some(format!("its id is {} at the source, {} at the target", ours.id, theirs.id))
        }
        () if ours.metadata != theirs.metadata || ours.rule_set != theirs.rule_set => {
            Some("the target has other metadata or rules".into())
        }
        () if ours.is_deleted != theirs.is_deleted => {
            let (deleted, shown) = if ours.is_deleted { ("source", "target") } else { ("target", "source") };
            Some(format!("it is deleted at the {deleted}, not at the {shown}"))
        }
        () => None,
    }
}

/// Registries of different versions write the same schema with other blanks.
fn is_same_json(a: &str, b: &str) -> bool {
    match (serde_json::from_str::<Value>(a), serde_json::from_str::<Value>(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(subject: &str, version: i32, id: i32, references: &[(&str, i32)]) -> Version {
        let references = references.iter().map(|(subject, version)| Reference {
            name: (*subject).into(),
            subject: (*subject).into(),
            version: *version,
        });
        Version {
            subject: subject.into(),
            version,
            id,
            schema_type: avro(),
            references: references.collect(),
            metadata: None,
            rule_set: None,
            schema: format!("{{\"type\": \"string\", \"n\": {id}}}"),
            is_deleted: false,
        }
    }

    type Change = fn(&mut Version);

    fn subjects(versions: &[Version]) -> Subjects {
        let mut subjects = Subjects::new();
        for version in versions {
            let subject = subjects.entry(version.subject.clone()).or_default();
            subject.versions.insert(version.version, version.clone());
        }
        subjects
    }

    fn names(versions: &[&Version]) -> Vec<String> {
        versions.iter().map(|version| format!("{} {}", version.subject, version.version)).collect()
    }

    #[test]
    fn what_is_referred_to_comes_first() {
        let source = subjects(&[
            version("a", 1, 9, &[("c", 2), ("b", 1)]),
            version("a", 2, 1, &[("a", 1)]),
            version("b", 1, 5, &[("c", 1), ("nowhere", 1)]),
            version("c", 1, 3, &[]),
            version("c", 2, 4, &[("d", 1)]),
            version("d", 1, 2, &[]),
        ]);
        let plan = plan(&source, &Subjects::new());
        assert_eq!(names(&plan.missing), ["c 1", "b 1", "d 1", "c 2", "a 1", "a 2"]);
    }

    #[test]
    fn a_circle_ends() {
        let source = subjects(&[version("a", 1, 1, &[("b", 1)]), version("b", 1, 2, &[("a", 1), ("b", 1)])]);
        assert_eq!(plan(&source, &Subjects::new()).missing.len(), 2);
    }

    #[test]
    fn what_is_there_is_left_alone_and_what_differs_is_told() {
        let source = subjects(&[version("a", 1, 1, &[]), version("a", 2, 2, &[]), version("a", 3, 3, &[])]);
        let mut target =
            subjects(&[version("a", 1, 1, &[]), version("a", 2, 7, &[]), version("a", 4, 4, &[])]);
        let plan = plan(&source, &target);
        assert_eq!((names(&plan.missing), plan.same), (vec!["a 3".into()], 1));
        assert_eq!(
            plan.different,
            ["a version 2: the target has another schema", "a version 4: only the target has it"]
        );

        let cases: [(Change, &str); 5] = [
            (|version| version.id = 8, "its id is 1 at the source, 8 at the target"),
            (|version| version.schema_type = "JSON".into(), "the target has another schema"),
            (|version| version.metadata = Some(Value::Null), "the target has other metadata or rules"),
            (|version| version.is_deleted = true, "it is deleted at the target, not at the source"),
            (|version| version.schema = "{\"n\":1,\"type\":\"string\"}".into(), ""),
        ];
        for (change, expected) in cases {
            target = subjects(&[
                version("a", 1, 1, &[]),
                source["a"].versions[&2].clone(),
                source["a"].versions[&3].clone(),
            ]);
            let Some(theirs) = target.get_mut("a").and_then(|a| a.versions.get_mut(&1)) else {
                panic!("it is there")
            };
            change(theirs);
            let different = super::plan(&source, &target).different;
            let expected: Vec<String> =
                if expected.is_empty() { Vec::new() } else { vec![format!("a version 1: {expected}")] };
            assert_eq!(different, expected);
        }
    }

    #[test]
    fn a_level_is_set_where_there_is_none() {
        let with = |level: Option<&str>| {
            let mut subjects = subjects(&[version("a", 1, 1, &[])]);
            subjects.entry("a".into()).or_default().compatibility = level.map(str::to_owned);
            subjects
        };
        let full = with(Some("FULL"));
        assert_eq!(plan(&full, &with(None)).levels, [("a", "FULL")]);
        let same = plan(&full, &full);
        assert_eq!((same.levels, same.different), (vec![], vec![]));
        let other = "a: its compatibility level is FULL at the source, NONE at the target";
        assert_eq!(plan(&full, &with(Some("NONE"))).different, [other]);
        let other = "a: its compatibility level is the default at the source, NONE at the target";
        assert_eq!(plan(&with(None), &with(Some("NONE"))).different, [other]);
    }

    #[test]
    fn a_version_is_told_as_registries_take_it() {
        let told = r#"{"subject": "a", "version": 2, "id": 7, "guid": "x", "schemaType": "PROTOBUF", "schema": "s",
                       "references": [{"name": "n", "subject": "b", "version": 1}]}"#;
        let version: Version = serde_json::from_str(told).unwrap();
        let expected = serde_json::json!({
            "version": 2, "id": 7, "schemaType": "PROTOBUF", "schema": "s",
            "references": [{"name": "n", "subject": "b", "version": 1}],
        });
        assert_eq!(serde_json::to_value(&version).unwrap(), expected);
        let avro: Version =
            serde_json::from_str(r#"{"subject": "a", "version": 2, "id": 7, "schema": "s"}"#).unwrap();
        assert_eq!(avro.schema_type, "AVRO");
    }
}
