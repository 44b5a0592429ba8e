//! What other links say of themselves that write to our source: for mirroring in both directions, and against loops.
//!
//! Two links that mirror the same topic names between two clusters in opposite directions leave out each other's records. Loops
//! through more clusters are not resolved but refused, by topic: a link notes which clusters a topic's records may come from
//! ([`Key::Upstream`]), and does not write to any of them.

use super::format::{DataPid, Key, LaneValue, StateRecord};
use crate::shard::{OffsetMode, Writer};
use std::collections::{BTreeMap, BTreeSet};

/// One such link, as its state topic describes it.
#[derive(Debug, Default)]
pub struct Peer {
    /// The topic is read up to here.
    pub read_to: i64,
    pid: Option<DataPid>,
    lanes: BTreeMap<(String, i32), OffsetMode>,
    handed_over: BTreeSet<(String, i32)>,
    upstream: BTreeMap<String, Vec<String>>,
}

impl Peer {
    /// Takes what was read from the state topic, up to `end`. What is not understood is a newer version's.
    pub fn apply(&mut self, records: &[StateRecord], end: i64) {
        for record in records {
            if let Ok(key) = serde_json::from_slice(&record.key) {
                self.apply_one(key, record.value.as_deref());
            }
        }
        self.read_to = self.read_to.max(end);
    }

    fn apply_one(&mut self, key: Key, value: Option<&[u8]>) {
        match key {
            Key::Pid => self.pid = value.and_then(|value| serde_json::from_slice(value).ok()),
            Key::Lane { topic, partition } => {
                let lane: Option<LaneValue> = value.and_then(|value| serde_json::from_slice(value).ok());
                match lane.filter(|lane| !lane.runs.is_empty()) {
                    Some(lane) => drop(self.lanes.insert((topic, partition), lane.mode)),
                    None => drop(self.lanes.remove(&(topic, partition))),
                }
            }
            Key::Failover { topic, partition } => match value {
                Some(_) => drop(self.handed_over.insert((topic, partition))),
                None => drop(self.handed_over.remove(&(topic, partition))),
            },
            Key::Upstream { topic } => match value.and_then(|value| serde_json::from_slice(value).ok()) {
                Some(clusters) => drop(self.upstream.insert(topic, clusters)),
                None => drop(self.upstream.remove(&topic)),
            },
            Key::Owner { .. } | Key::Runs { .. } | Key::Loss { .. } | Key::Topic { .. } => {}
        }
    }

    /// How the link writes to one of its topics, if it does.
    fn mode(&self, topic: &str) -> Option<OffsetMode> {
        let lanes = self.lanes.range((topic.to_owned(), i32::MIN)..=(topic.to_owned(), i32::MAX));
        lanes.filter(|(place, _)| !self.handed_over.contains(place)).map(|(_, mode)| *mode).next()
    }
}

/// All links that write to one cluster, by their state topics' names.
#[derive(Debug, Default)]
pub struct Peers {
    pub links: BTreeMap<String, Peer>,
}

impl Peers {
    /// Who writes to `source` with this producer id, seen by a link from there to `target`.
    pub fn writer(&self, producer_id: i64, source: &str, target: &str) -> Writer {
        let is_it = |pid: &DataPid| pid.writes(producer_id) && pid.source_cluster == target;
        match self.writing_to(source).any(|(_, _, pid)| is_it(pid)) {
            true => Writer::Reverse,
            false => Writer::Client,
        }
    }

    /// The clusters that the records may come from of what `source` calls `topic`, when it is mirrored from there to `target`.
    ///
    /// # Errors
    /// They would come round in a circle: what to do about it.
    pub fn upstream(
        &self,
        topic: &str,
        mode: OffsetMode,
        source: &str,
        target: &str,
    ) -> Result<BTreeSet<String>, String> {
        let mut clusters = BTreeSet::from([source.to_owned()]);
        for (name, peer, pid) in self.writing_to(source) {
            // The other link may call it something else.
            let Some(topic) = pid.names.in_link(topic) else { continue };
            let Some(peer_mode) = peer.mode(topic) else { continue };
            if pid.source_cluster == target {
                let advice = match pid.names.is_identity() {
                    true => "to mirror it in both directions name it in --both-directions of both links",
                    false => "leave it out (--exclude)",
                };
                if mode != OffsetMode::Shared {
                    return Err(format!("the link of {name} mirrors it in the other direction; {advice}"));
                }
                if peer_mode != OffsetMode::Shared {
                    return Err(format!(
                        "the link of {name} mirrors it in the other direction without knowing of this one; {advice}"
                    ));
                }
                continue;
            }
            match peer.upstream.get(topic) {
                Some(further) => clusters.extend(further.iter().cloned()),
                None => drop(clusters.insert(pid.source_cluster.clone())),
            }
            if clusters.contains(target) {
                return Err(format!(
                    "its records would go round in a circle: what the link of {name} writes to the source comes from the target; \
                     leave it out of one of the links"
                ));
            }
        }
        Ok(clusters)
    }

    fn writing_to<'a>(&'a self, cluster: &'a str) -> impl Iterator<Item = (&'a str, &'a Peer, &'a DataPid)> {
        let here = move |pid: &&DataPid| pid.target_cluster == cluster;
        self.links
            .iter()
            .filter_map(move |(name, peer)| Some((name.as_str(), peer, peer.pid.as_ref().filter(here)?)))
    }
}

#[cfg(test)]
pub(in crate::control) mod tests {
    use super::*;
    use bytes::Bytes;
    use serde_json::{Value, json};

    pub(in crate::control) fn peer(from: &str, to: &str, mode: &str, others: &[(Value, Value)]) -> Peer {
        let nil = "00000000-0000-0000-0000-000000000000";
        let lane = json!({"source_topic_id": nil, "target_topic_id": nil, "mode": mode, "runs": [[0, 0, 0, 0]],
            "checkpoint": null});
        let pid = json!({"producer_id": 7, "producer_epoch": 0, "marker_producer_id": 8, "source_cluster": from,
            "target_cluster": to});
        let mut records =
            vec![(json!({"t": "pid"}), pid), (json!({"t": "lane", "topic": "t", "partition": 3}), lane)];
        records.extend(others.iter().cloned());
        let records: Vec<StateRecord> = (0..)
            .zip(records)
            .map(|(offset, (key, value))| StateRecord {
                offset,
                key: Bytes::from(key.to_string()),
                value: (!value.is_null()).then(|| Bytes::from(value.to_string())),
            })
            .collect();
        let mut peer = Peer::default();
        peer.apply(&records, 9);
        peer
    }

    pub(in crate::control) fn peers(links: Vec<Peer>) -> Peers {
        Peers {
            links: (0..).zip(links).map(|(at, peer): (i32, Peer)| (format!("link-{at}"), peer)).collect(),
        }
    }

    fn clusters(names: &[&str]) -> Result<BTreeSet<String>, String> {
        Ok(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn the_other_direction_has_to_be_known_on_both_sides() {
        let upstream =
            |peer_mode: &str, mode| peers(vec![peer("b", "a", peer_mode, &[])]).upstream("t", mode, "a", "b");
        assert_eq!(upstream("shared", OffsetMode::Shared), clusters(&["a"]));
        assert!(upstream("shared", OffsetMode::Identical).unwrap_err().contains("--both-directions"));
        assert!(upstream("append", OffsetMode::Shared).unwrap_err().contains("without knowing"));
    }

    #[test]
    fn what_was_handed_over_or_is_another_topic_is_no_other_direction() {
        let failover = (json!({"t": "failover", "topic": "t", "partition": 3}), json!({}));
        let links = peers(vec![peer("b", "a", "identical", &[failover])]);
        assert_eq!(links.upstream("t", OffsetMode::Identical, "a", "b"), clusters(&["a"]));
        let links = peers(vec![peer("b", "a", "identical", &[])]);
        assert_eq!(links.upstream("u", OffsetMode::Identical, "a", "b"), clusters(&["a"]));
        // A copy of the state topic of a link to somewhere else.
        let links = peers(vec![peer("b", "d", "identical", &[])]);
        assert_eq!(links.upstream("t", OffsetMode::Identical, "a", "b"), clusters(&["a"]));
    }

    #[test]
    fn a_circle_through_three_clusters_is_refused_and_a_chain_is_not() {
        let further = |from: &[&str]| (json!({"t": "upstream", "topic": "t"}), json!(from));
        let chain = peers(vec![peer("b", "c", "identical", &[further(&["b", "d"])])]);
        assert_eq!(chain.upstream("t", OffsetMode::Identical, "c", "a"), clusters(&["b", "c", "d"]));
        let circle = peers(vec![peer("b", "c", "identical", &[further(&["b", "a"])])]);
        assert!(circle.upstream("t", OffsetMode::Identical, "c", "a").unwrap_err().contains("circle"));
    }

    #[test]
    fn only_the_other_direction_s_producer_id_is_told_from_clients() {
        let links = peers(vec![peer("b", "a", "shared", &[]), peer("c", "a", "append", &[])]);
        assert_eq!(links.writer(7, "a", "b"), Writer::Reverse);
        assert_eq!(links.writer(9, "a", "b"), Writer::Client);
        assert_eq!(links.writer(7, "a", "d"), Writer::Client, "a chain passes on what another link wrote");
    }
}
