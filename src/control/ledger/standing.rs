//! Where a partition stands, asked without binding it: for those who want to know what binding would come to.

use super::{Ledger, differs, source_recreated, target_recreated};
use crate::shard::{OffsetMode, SEED, StopKind};
use std::sync::Arc;
use uuid::Uuid;

/// What a lane would begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The link has not written to the partition, or only to another one of its name.
    New,
    Begun {
        mode: OffsetMode,
        /// The first source offset that is not on the target.
        source_offset: i64,
        /// Seeds that are still to come before it.
        seeds: i64,
    },
}

impl Ledger {
    /// What [`Self::bind`] would find, for a partition whose log ends at `target_end` on the target.
    ///
    /// # Errors
    /// As for binding: a topic is not the one that the ledger knows under this name.
    pub fn standing(
        &self,
        topic: &str,
        partition: i32,
        source_topic_id: Uuid,
        target_topic_id: Uuid,
        target_end: i64,
    ) -> Result<Standing, (StopKind, String)> {
        let Some(lane) = self.lanes.get(&(Arc::from(topic), partition)) else { return Ok(Standing::New) };
        match (differs(lane.source_topic_id, source_topic_id), differs(lane.target_topic_id, target_topic_id))
        {
            (true, true) => return Ok(Standing::New),
            (true, false) => return Err((StopKind::SourceRecreated, source_recreated(topic))),
            (false, true) => return Err((StopKind::TargetRecreated, target_recreated(topic))),
            (false, false) => {}
        }
        if !lane.is_begun() {
            return Ok(Standing::New);
        }
        // The log's end says nothing of the source's records while seeds are written, or when the target lost all that it had.
        let reached = self.reached(topic, partition, target_end).unwrap_or(0);
        let first = lane.runs.iter().find(|run| run.source_offset != SEED);
        let source_offset = first.map_or(reached, |run| reached.max(run.source_offset));
        let seeds = match (lane.mode, first) {
            (OffsetMode::Identical, Some(run)) => (run.target_offset - target_end).max(0),
            _ => 0,
        };
        Ok(Standing::Begun { mode: lane.mode, source_offset, seeds })
    }
}

#[cfg(test)]
pub(in crate::control) mod tests {
    use super::*;
    use crate::control::ledger::{Settings, StateRecord, Todo};
    use crate::time::Now;
    use bytes::Bytes;
    use serde_json::{Value, json};

    /// A ledger that has read this of the lane t-0: its mode, runs and checkpoint.
    pub(in crate::control) fn ledger(
        mode: &str,
        runs: Value,
        checkpoint: Value,
        others: &[(Value, Value)],
    ) -> Ledger {
        let id = |last: u128| Uuid::from_u128(last).to_string();
        let lane = json!({"source_topic_id": id(1), "target_topic_id": id(2), "mode": mode, "runs": runs,
            "checkpoint": checkpoint});
        let mut records = vec![(json!({"t": "lane", "topic": "t", "partition": 0}), lane)];
        records.extend(others.iter().cloned());
        let records: Vec<StateRecord> = (0..)
            .zip(records)
            .map(|(offset, (key, value))| StateRecord {
                offset,
                key: Bytes::from(key.to_string()),
                value: Some(Bytes::from(value.to_string())),
            })
            .collect();
        let mut ledger = Ledger::new(Settings {
            source_cluster: "A".into(),
            target_cluster: "B".into(),
            names: Default::default(),
            parts: None,
            instance: "i".into(),
            zombie_bound_ms: 1,
            producer_id_expiration_ms: None,
            shards: 0,
        });
        let now = Now { mono_us: 0, wall_ms: 0 };
        assert!(matches!(ledger.poll(now), Some(Todo::Read { .. })));
        ledger.on_read(now, &records, records.len() as i64, true);
        ledger
    }

    fn standing(ledger: &Ledger, ids: (u128, u128), target_end: i64) -> Result<Standing, StopKind> {
        let (source, target) = (Uuid::from_u128(ids.0), Uuid::from_u128(ids.1));
        ledger.standing("t", 0, source, target, target_end).map_err(|(kind, _)| kind)
    }

    #[test]
    fn a_partition_goes_on_at_what_the_target_has_and_not_at_the_checkpoint() {
        let appended = ledger("append", json!([[70, 70, 0, 0], [80, 95, 10, 0]]), json!([75, 75]), &[]);
        let begun = |source_offset| Ok(Standing::Begun { mode: OffsetMode::Append, source_offset, seeds: 0 });
        assert_eq!(standing(&appended, (1, 2), 7), begun(77));
        assert_eq!(standing(&appended, (1, 2), 12), begun(97));
        assert_eq!(standing(&appended, (0, 0), 12), begun(97), "ids may be unknown");
        let identical = ledger("identical", json!([[70, 70, 70, 0]]), json!([75, 75]), &[]);
        let begun = Standing::Begun { mode: OffsetMode::Identical, source_offset: 78, seeds: 0 };
        assert_eq!(standing(&identical, (1, 2), 78), Ok(begun));
    }

    #[test]
    fn seeds_that_are_to_come_are_no_records_of_the_source() {
        let seeding =
            ledger("identical", json!([[0, SEED, 0, -1], [5000, 5000, 5000, -1]]), Value::Null, &[]);
        let begun =
            |source_offset, seeds| Ok(Standing::Begun { mode: OffsetMode::Identical, source_offset, seeds });
        assert_eq!(standing(&seeding, (1, 2), 2000), begun(5000, 3000));
        assert_eq!(standing(&seeding, (1, 2), 5010), begun(5010, 0));
    }

    #[test]
    fn other_topics_of_the_same_name_are_told_apart() {
        let known = ledger("append", json!([[70, 70, 0, 0]]), json!([75, 75]), &[]);
        assert_eq!(standing(&known, (9, 2), 5), Err(StopKind::SourceRecreated));
        assert_eq!(standing(&known, (1, 9), 5), Err(StopKind::TargetRecreated));
        assert_eq!(standing(&known, (9, 9), 0), Ok(Standing::New), "whoever deleted both begins anew");
        assert_eq!(known.standing("u", 0, Uuid::nil(), Uuid::nil(), 0), Ok(Standing::New));
        let unbegun = ledger("append", json!([]), Value::Null, &[]);
        assert_eq!(standing(&unbegun, (1, 2), 0), Ok(Standing::New));
    }
}
