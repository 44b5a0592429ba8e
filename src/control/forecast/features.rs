//! What brokers do not speak, and what a mirror does without it.

use crate::config::{Mirror, StartFrom};
use crate::control::finding::{About, Finding, Weight, names};
use crate::shard::{DESCRIBE_PRODUCERS, LIST_OFFSETS, OFFSET_FOR_LEADER_EPOCH, Side, WRITE_TXN_MARKERS};
use crate::wire::fetch::BATCHES_MIN;
use crate::wire::versions::{Versions, api_name};
use std::collections::BTreeMap;

const METADATA_KEY: i16 = 3;
/// From here on topics have ids (KIP-516).
const METADATA_IDS: (i16, i16) = (10, 12);
const LIST_OFFSETS_KEY: i16 = 2;
const FETCH_KEY: i16 = 1;
/// Record batches; and the word of the leader on where logs part (KIP-595).
const FETCH_BATCHES: (i16, i16) = (BATCHES_MIN, 13);
const FETCH_DIVERGENCE: (i16, i16) = (12, 13);
/// From here on a fetch tells where it comes from (KIP-392).
const FETCH_RACKS: (i16, i16) = (11, 13);
const DESCRIBE_CONFIGS_KEY: i16 = 32;
const DESCRIBE_CONFIGS: (i16, i16) = (0, 4);
const LIST_OFFSETS_BY_TIME: (i16, i16) = (1, 9);
const LIST_GROUPS_KEY: i16 = 16;
const LIST_GROUPS: (i16, i16) = (0, 5);
/// From here on with the groups' states (KIP-518).
const LIST_GROUPS_STATES: (i16, i16) = (4, 5);
const DELETE_RECORDS_KEY: i16 = 21;
const DELETE_RECORDS: (i16, i16) = (0, 2);
const INIT_PRODUCER_ID_KEY: i16 = 22;
const INIT_PRODUCER_ID: (i16, i16) = (1, 4);
const OFFSET_FOR_LEADER_EPOCH_KEY: i16 = 23;
const WRITE_TXN_MARKERS_KEY: i16 = 27;
const DESCRIBE_CLUSTER_KEY: i16 = 60;
const DESCRIBE_CLUSTER: (i16, i16) = (0, 1);
const DESCRIBE_PRODUCERS_KEY: i16 = 61;

/// Something that a mirror makes use of.
struct Need {
    side: Side,
    api_key: i16,
    versions: (i16, i16),
    /// The first Kafka that has it.
    since: &'static str,
    weight: Weight,
    without: &'static str,
    /// Only for mirrors that make use of it.
    when: fn(&Mirror) -> bool,
}

const NO_POSITION: &str = "the mirror cannot find its position there, so every partition stops";

const fn need(side: Side, api_key: i16, versions: (i16, i16), since: &'static str) -> Need {
    Need { side, api_key, versions, since, weight: Weight::Stops, without: NO_POSITION, when: |_| true }
}

fn mirrors_groups(config: &Mirror) -> bool {
    !config.groups.is_empty()
}

const NEEDS: &[Need] = &[
    Need {
        weight: Weight::Note,
        without: "its message sets are made into record batches, with the same codec. Before Kafka 0.10 records have no timestamp, \
                  so all of them are unguarded",
        ..need(Side::Source, FETCH_KEY, FETCH_BATCHES, "0.11")
    },
    Need {
        weight: Weight::Note,
        without: "records that the source loses in an unclean leader election after they were mirrored are noticed only while its \
                  log ends before them",
        ..need(Side::Source, FETCH_KEY, FETCH_DIVERGENCE, "2.7")
    },
    Need {
        weight: Weight::Warning,
        without: "its topics' settings are not known: topics are created with the same partition count and the target's \
                  defaults (retention, compaction, max.message.bytes). Create those on the target yourself that need others",
        ..need(Side::Source, DESCRIBE_CONFIGS_KEY, DESCRIBE_CONFIGS, "0.11")
    },
    Need {
        weight: Weight::Warning,
        without: "partitions are read from their leaders, whatever --rack says",
        when: |config| config.rack.is_some(),
        ..need(Side::Source, FETCH_KEY, FETCH_RACKS, "2.4")
    },
    Need {
        weight: Weight::Warning,
        without: "a partition that begins at a time begins with a log segment that was written to around it, somewhat earlier",
        when: |config| matches!(config.from, StartFrom::TimestampMs(_)),
        ..need(Side::Source, LIST_OFFSETS_KEY, LIST_OFFSETS_BY_TIME, "0.10.1")
    },
    Need {
        weight: Weight::Warning,
        without: "groups cannot be listed: only those are mirrored that --groups names exactly, if they keep their offsets in \
                  Kafka and not in ZooKeeper",
        when: mirrors_groups,
        ..need(Side::Source, LIST_GROUPS_KEY, LIST_GROUPS, "0.9")
    },
    Need {
        weight: Weight::Note,
        without: "a topic that is deleted and made anew is not told from the one before",
        ..need(Side::Source, METADATA_KEY, METADATA_IDS, "2.8")
    },
    Need {
        weight: Weight::Note,
        without: "a topic that is deleted and made anew is not told from the one before",
        ..need(Side::Target, METADATA_KEY, METADATA_IDS, "2.8")
    },
    need(Side::Target, LIST_OFFSETS_KEY, LIST_OFFSETS, "2.2"),
    need(Side::Target, OFFSET_FOR_LEADER_EPOCH_KEY, OFFSET_FOR_LEADER_EPOCH, "2.1"),
    Need {
        without: "the link cannot take its lock, so the mirror does not start",
        ..need(Side::Target, INIT_PRODUCER_ID_KEY, INIT_PRODUCER_ID, "2.0")
    },
    Need {
        weight: Weight::Warning,
        without: "the mirror cannot ask what the brokers remember of it: one batch in flight per partition, however young",
        ..need(Side::Target, DESCRIBE_PRODUCERS_KEY, DESCRIBE_PRODUCERS, "2.8")
    },
    Need {
        // Each topic says what became of it.
        weight: Weight::Note,
        without: "gaps in the offsets cannot be filled with control records: `auto` appends, and where identical offsets are \
                  demanded transactions fill them",
        ..need(Side::Target, WRITE_TXN_MARKERS_KEY, WRITE_TXN_MARKERS, "2.8")
    },
    Need {
        weight: Weight::Warning,
        without: "with identical offsets the target keeps what the source deletes, seeds included",
        ..need(Side::Target, DELETE_RECORDS_KEY, DELETE_RECORDS, "0.11")
    },
    Need {
        weight: Weight::Note,
        without: "the brokers do not tell beforehand whether this user may write control records",
        ..need(Side::Target, DESCRIBE_CLUSTER_KEY, DESCRIBE_CLUSTER, "2.8")
    },
    Need {
        weight: Weight::Note,
        without: "whether a group has members there shows only when its positions are committed",
        when: mirrors_groups,
        ..need(Side::Target, LIST_GROUPS_KEY, LIST_GROUPS_STATES, "2.6")
    },
];

/// What the brokers of either side lack, by what they said when connections to them were made.
pub fn missing(
    config: &Mirror,
    source: &BTreeMap<i32, Versions>,
    target: &BTreeMap<i32, Versions>,
) -> Vec<Finding> {
    let wanted = NEEDS.iter().filter(|need| (need.when)(config));
    let finding = |need: &Need| {
        let (about, brokers, side) = match need.side {
            Side::Source => (About::Source, source, "source"),
            Side::Target => (About::Target, target, "target"),
        };
        let (min, max) = need.versions;
        let lacks = |versions: &Versions| versions.pick(need.api_key, min, max).is_none();
        let lacking: Vec<i32> =
            brokers.iter().filter(|(_, versions)| lacks(versions)).map(|(id, _)| *id).collect();
        let who = match lacking.len() {
            0 => return None,
            all if all == brokers.len() => format!("the {side} does not speak"),
            1 => format!("broker {} of the {side} does not speak", lacking[0]),
            _ => format!("brokers {} of the {side} do not speak", names(&lacking)),
        };
        let api = api_name(need.api_key);
        let text = format!("{who} {api} version {min} (Kafka {} and later do): {}", need.since, need.without);
        Some(Finding::new(need.weight, about, text))
    };
    wanted.filter_map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::text::patterns;
    use crate::control::topics::tests::config;
    use kafka_protocol::messages::ApiVersionsResponse;
    use kafka_protocol::messages::api_versions_response::ApiVersion;

    fn versions(leave_out: &[(i16, i16)]) -> Versions {
        let range = |need: &Need| {
            let (_, mut max) = need.versions;
            if let Some((_, bound)) = leave_out.iter().find(|(key, _)| *key == need.api_key) {
                max = *bound;
            }
            ApiVersion::default().with_api_key(need.api_key).with_min_version(0).with_max_version(max)
        };
        Versions::from(&ApiVersionsResponse::default().with_api_keys(NEEDS.iter().map(range).collect()))
    }

    fn brokers(all: &[&[(i16, i16)]]) -> BTreeMap<i32, Versions> {
        (1..).zip(all.iter().map(|leave_out| versions(leave_out))).collect()
    }

    #[test]
    fn new_brokers_lack_nothing() {
        let new = brokers(&[&[], &[]]);
        let with_groups = crate::config::Mirror { groups: patterns(".*").unwrap(), ..config(&["t"], &[]) };
        assert_eq!(missing(&with_groups, &new, &new), []);
    }

    #[test]
    fn what_an_old_broker_lacks_is_named_with_what_follows() {
        let (new, old) = (brokers(&[&[]]), brokers(&[&[(DESCRIBE_PRODUCERS_KEY, -1)], &[(27, 0), (61, -1)]]));
        let found = missing(&config(&["t"], &[]), &new, &old);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(
            found[0].text.starts_with("the target does not speak DescribeProducers version 0 (Kafka 2.8")
        );
        assert!(found[1].text.starts_with("broker 2 of the target does not speak WriteTxnMarkers version 1"));
        assert_eq!((found[0].weight, &found[1].about), (Weight::Warning, &About::Target));
        assert_eq!(found[1].weight, Weight::Note);
    }

    #[test]
    fn a_source_before_api_versions_can_be_mirrored() {
        let (old, new) = (BTreeMap::from([(1, Versions::before_api_versions())]), brokers(&[&[]]));
        let found = missing(&config(&["t"], &[]), &old, &new);
        assert!(found.iter().all(|finding| finding.weight < Weight::Stops), "{found:?}");
        let says = |words: &str| found.iter().any(|finding| finding.text.contains(words));
        assert!(says("DescribeConfigs version 0 (Kafka 0.11") && says("made into record batches"));
    }

    #[test]
    fn groups_count_only_when_they_are_mirrored() {
        let (new, old) = (brokers(&[&[]]), brokers(&[&[(LIST_GROUPS_KEY, 3)]]));
        assert_eq!(missing(&config(&["t"], &[]), &new, &old), []);
        let with_groups = crate::config::Mirror { groups: patterns(".*").unwrap(), ..config(&["t"], &[]) };
        assert_eq!(missing(&with_groups, &new, &old)[0].weight, Weight::Note);
    }
}
