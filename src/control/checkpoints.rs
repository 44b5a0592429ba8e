//! Which positions of the source's consumer groups are still to be written for MirrorMaker 2's client library
//! (`RemoteClusterUtils.translateOffsets`), as its `MirrorCheckpointTask` does.

use super::groups::{Committed, Positions};
use super::offset_map::Unmapped;
use std::collections::BTreeMap;

/// A group's position, and what it is on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub group: String,
    /// The link's name of it.
    pub topic: String,
    pub partition: i32,
    pub upstream: Committed,
    pub downstream_offset: i64,
}

/// By topic and partition: what a group committed, and what that is on the target.
type Standings = BTreeMap<(String, i32), (Committed, i64)>;

/// What was written of each group. It holds no more than what the source's groups have committed at the last look.
///
/// Nothing is ever taken back: a checkpoint without a value would end a client's look at the topic with an exception
/// (`MirrorClient.remoteConsumerOffsets`), so the last one of a group that is gone stays, as MirrorMaker 2 leaves it.
#[derive(Debug, Default)]
pub struct Written {
    groups: BTreeMap<String, Standings>,
}

impl Written {
    /// Forgets groups that are not among these, which are all that there are.
    pub fn keep<'a>(&mut self, groups: impl IntoIterator<Item = &'a String>) {
        let mut kept = BTreeMap::new();
        for group in groups {
            if let Some((group, standings)) = self.groups.remove_entry(group) {
                kept.insert(group, standings);
            }
        }
        self.groups = kept;
    }

    /// Forgets what the group has committed no more.
    pub fn keep_positions(&mut self, group: &str, positions: &Positions) {
        if let Some(standings) = self.groups.get_mut(group) {
            standings.retain(|place, _| positions.contains_key(place));
        }
    }

    /// Whether this is another position than the one that was written last, forward or back.
    pub fn is_news(&self, standing: &Standing) -> bool {
        let place = (standing.topic.clone(), standing.partition);
        let written = self.groups.get(&standing.group).and_then(|standings| standings.get(&place));
        written.is_none_or(|(upstream, offset)| {
            *upstream != standing.upstream || *offset != standing.downstream_offset
        })
    }

    /// It is on the target now.
    pub fn written(&mut self, standing: Standing) {
        let place = (standing.topic, standing.partition);
        let about = (standing.upstream, standing.downstream_offset);
        self.groups.entry(standing.group).or_default().insert(place, about);
    }
}

/// The position to ask for in place of one that is not mirrored yet: all that is. Who goes on from there reads every record that
/// the group has not, and again what it read ahead of the mirror. None: there is none to be had.
pub fn instead(unmapped: Unmapped) -> Option<i64> {
    match unmapped {
        Unmapped::NotMirrored { mirrored_to } => Some(mirrored_to),
        Unmapped::Unknown | Unmapped::Shared | Unmapped::TooOld { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(group: &str, partition: i32, offset: i64, downstream_offset: i64) -> Standing {
        let upstream = Committed { offset, metadata: String::new() };
        Standing { group: group.into(), topic: "t".into(), partition, upstream, downstream_offset }
    }

    #[test]
    fn what_moved_in_whichever_direction_is_written_once() {
        let mut written = Written::default();
        let first = standing("g", 0, 10, 8);
        assert!(written.is_news(&first));
        written.written(first.clone());
        assert!(!written.is_news(&first));
        for other in [standing("g", 0, 11, 9), standing("g", 0, 9, 7), standing("g", 0, 10, 9)] {
            assert!(written.is_news(&other), "{other:?}");
        }
        let noted = Standing { upstream: Committed { offset: 10, metadata: "m".into() }, ..first };
        assert!(written.is_news(&noted));
        assert!(written.is_news(&standing("g", 1, 10, 8)) && written.is_news(&standing("h", 0, 10, 8)));
    }

    #[test]
    fn what_is_gone_from_the_source_takes_no_room() {
        let mut written = Written::default();
        for each in [standing("g", 0, 1, 1), standing("g", 1, 1, 1), standing("h", 0, 1, 1)] {
            written.written(each);
        }
        written.keep(["g".to_owned(), "x".to_owned()].iter());
        let left: Positions =
            [(("t".to_owned(), 0), Committed { offset: 1, metadata: String::new() })].into();
        written.keep_positions("g", &left);
        assert!(!written.is_news(&standing("g", 0, 1, 1)));
        assert!(written.is_news(&standing("g", 1, 1, 1)) && written.is_news(&standing("h", 0, 1, 1)));
    }

    #[test]
    fn ahead_of_the_mirror_stands_where_the_mirror_is() {
        assert_eq!(instead(Unmapped::NotMirrored { mirrored_to: 7 }), Some(7));
        for none in [Unmapped::Unknown, Unmapped::Shared, Unmapped::TooOld { known_from: 3 }] {
            assert_eq!(instead(none), None);
        }
    }
}
