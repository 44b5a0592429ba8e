//! Where a topic's partitions stand, and what is left of them.

use super::{Facts, PartitionForecast, Place, handed_over};
use crate::config::{Mirror, OnLoss};
use crate::control::finding::{Finding, Weight, names};
use crate::control::ledger::Standing;
use crate::control::metadata::Topic;
use crate::control::offsets::Choice;
use crate::limits::SEED_OFFSETS_MIN;
use crate::shard::OffsetMode;

/// A partition that would be mirrored.
pub(super) struct Outlook {
    pub(super) forecast: PartitionForecast,
    /// Offsets that are left, and about how many bytes these are.
    pub(super) left: i64,
    pub(super) left_bytes: Option<u64>,
    /// Offsets that are unguarded, now and with the largest setting of the target.
    pub(super) unguarded: Option<(i64, i64)>,
}

/// What there is to say of a partition, in words that do not name it, so that partitions can share them.
struct Remark {
    partition: i32,
    weight: Weight,
    text: String,
}

/// The partitions that would be mirrored, and what is to be said of them and the others.
pub(super) fn forecast(
    config: &Mirror,
    facts: &Facts<'_>,
    topic: &Topic,
    choice: &Choice,
) -> (Vec<Outlook>, Vec<Finding>) {
    let (mut outlooks, mut remarks) = (Vec::new(), Vec::new());
    for partition in 0..i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX) {
        match outlook(config, facts, topic, partition, choice, &mut remarks) {
            Ok(outlook) => outlooks.push(outlook),
            Err(text) => remarks.push(Remark { partition, weight: Weight::Stops, text }),
        }
    }
    (outlooks, grouped(&topic.name, topic.partitions.len(), remarks))
}

/// The words that partitions share are said once.
fn grouped(topic: &str, count: usize, mut remarks: Vec<Remark>) -> Vec<Finding> {
    let mut findings = Vec::new();
    while let Some(first) = remarks.first() {
        let (weight, text) = (first.weight, first.text.clone());
        let (same, others): (Vec<Remark>, Vec<Remark>) =
            remarks.into_iter().partition(|remark| (remark.weight, &remark.text) == (weight, &text));
        remarks = others;
        let partitions = same.iter().map(|remark| remark.partition);
        let text = match same.len() {
            all if all == count && count > 1 => format!("all partitions: {text}"),
            1 => format!("partition {}: {text}", names(partitions)),
            _ => format!("partitions {}: {text}", names(partitions)),
        };
        findings.push(Finding::of_topic(weight, topic, text));
    }
    findings
}

/// One partition's outlook; or why it would not be mirrored.
fn outlook(
    config: &Mirror,
    facts: &Facts<'_>,
    topic: &Topic,
    partition: i32,
    choice: &Choice,
    remarks: &mut Vec<Remark>,
) -> Result<Outlook, String> {
    let name = &*topic.name;
    let key = (name.to_owned(), partition);
    if let Some(failover) = facts.ledger.failovers().get(&key) {
        return Err(handed_over(partition, failover));
    }
    let place = facts.places.get(&key).copied().unwrap_or_default();
    let twin = facts.target.observed.topics.get(name);
    let target_id = twin.map(|twin| twin.id).unwrap_or_default();
    let target_end = place.target_end.unwrap_or(0);
    let standing = facts.ledger.standing(name, partition, topic.id, target_id, target_end);
    let standing = standing.map_err(|(_, why)| why)?;
    let mut remark = |weight, text: String| remarks.push(Remark { partition, weight, text });
    if place.source_end.is_none() {
        remark(
            Weight::Warning,
            "its leader on the source does not answer, so its position is not compared".into(),
        );
    }
    let (mode, from_offset, seeds) = match standing {
        Standing::New => {
            let mode = choice.stands(None);
            if target_end > 0 && mode != OffsetMode::Shared {
                return Err("the target partition already has records that this link did not write; use the --link name that wrote \
                            them, mirror into a new topic, or go on with what another mirror began: twinlog take-over"
                    .into());
            }
            let has_seeds = mode == OffsetMode::Identical && place.begin.unwrap_or(0) > SEED_OFFSETS_MIN;
            (mode, place.begin, if has_seeds { place.begin.unwrap_or(0) } else { 0 })
        }
        Standing::Begun { mode, source_offset, seeds } => {
            resume(config, choice.stands(Some(mode)), source_offset, &place, &mut remark)?;
            (choice.stands(Some(mode)), Some(source_offset), seeds)
        }
    };
    let left = match (from_offset, place.source_end) {
        (Some(from), Some(end)) => (end - from.max(place.source_start.unwrap_or(from))).max(0),
        _ => 0,
    };
    let unguarded = match (left, from_offset, place.source_end, place.guarded) {
        (0, ..) => Some((0, 0)),
        (_, Some(from), Some(end), Some(guarded)) => Some(guarded.unguarded(from, end)),
        _ => None,
    };
    Ok(Outlook {
        forecast: PartitionForecast {
            partition,
            offsets: mode,
            is_begun: matches!(standing, Standing::Begun { .. }),
            from_offset,
            source_end: place.source_end,
            seeds,
            unguarded_offsets: unguarded.map(|(now, _)| now),
        },
        left,
        left_bytes: left_bytes(left, &place),
        unguarded,
    })
}

/// Whether the source still has what comes next.
fn resume(
    config: &Mirror,
    mode: OffsetMode,
    source_offset: i64,
    place: &Place,
    remark: &mut dyn FnMut(Weight, String),
) -> Result<(), String> {
    let goes_on = config.on_loss == OnLoss::RecordAndContinue;
    if let Some(start) = place.source_start.filter(|start| *start > source_offset) {
        if !goes_on {
            return Err(format!(
                "the source has deleted its records from offset {source_offset} to {} before they were mirrored; to go on behind \
                 them start with --on-loss record-and-continue",
                start - 1
            ));
        }
        let text =
            format!("source offsets {source_offset} to {} are lost, which the ledger will say", start - 1);
        remark(Weight::Warning, text);
    }
    if let Some(end) = place.source_end.filter(|end| *end < source_offset) {
        if !goes_on || mode == OffsetMode::Identical {
            return Err(format!(
                "the source ends at offset {end}, before {source_offset} up to which it is mirrored: it has lost records \
                 (unclean leader election)"
            ));
        }
        remark(
            Weight::Warning,
            format!("the source has lost its records from offset {end} to {}", source_offset - 1),
        );
    }
    Ok(())
}

/// The share of the log's size that is left.
fn left_bytes(left: i64, place: &Place) -> Option<u64> {
    let (start, end, bytes) = (place.source_start?, place.source_end?, place.source_bytes?);
    let share = left as f64 / (end - start).max(1) as f64;
    Some((bytes as f64 * share.clamp(0.0, 1.0)) as u64)
}
