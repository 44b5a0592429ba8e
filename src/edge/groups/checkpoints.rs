//! The groups' positions as checkpoints of MirrorMaker 2, whether or not the groups themselves are mirrored.

use super::client::GroupClient;
use super::{Answers, Asked, LAST_PATIENCE_MS, NAP_MS, Question};
use crate::config::{Cluster, Mirror};
use crate::control::checkpoints::{Standing, Written, instead};
use crate::control::groups::{Committed, named_by};
use crate::edge::admin::AdminError;
use crate::edge::client_topics::{Repeating, WrittenTopic};
use crate::edge::clock;
use crate::edge::outside::{Outside, lock};
use crate::stats::CheckpointTimes;
use crate::wire::mirrormaker::Checkpoint;
use std::io;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Records that are written before it is noted that they are.
const CHUNK: usize = 1_000;

/// A group's position on the source: group, topic, partition, what it committed.
type Found = (String, String, i32, Committed);

/// The groups of the source, and what the target says of them.
pub(in crate::edge) struct Checkpoints {
    config: Arc<Mirror>,
    source: GroupClient,
    topic: WrittenTopic,
    written: Written,
    /// How long they took, if anybody wants to know.
    times: Option<Arc<Mutex<CheckpointTimes>>>,
}

impl Checkpoints {
    pub(in crate::edge) fn new(config: Arc<Mirror>, outside: &Outside) -> Self {
        let timeout = Duration::from_millis(config.request_timeout_ms.min(10_000));
        let topics = &config.client_topics;
        let named = named_by(&topics.checkpoints, |group| topics.has_checkpoints_of(group));
        let source = GroupClient::new(&config.source, &config.client_id, timeout).naming(named);
        let (name, replicas) = (topics.checkpoints_topic.clone(), topics.checkpoints_replication_factor);
        let topic = WrittenTopic::new(&config.target, &config.client_id, timeout, name, replicas);
        let times = config.metrics_names.are_mirror_makers().then(|| Arc::clone(&outside.checkpoints));
        Self { config, source, topic, written: Written::default(), times }
    }

    /// As [`Self::round`], for the last time: what does not go well for the moment is tried again for a while.
    pub(in crate::edge) fn last_round(
        &mut self,
        translate: &mut dyn FnMut(Asked) -> Option<Answers>,
    ) -> Result<(), AdminError> {
        let until_us = clock::now().after_ms(LAST_PATIENCE_MS);
        loop {
            match self.round(translate) {
                Err(error) if error.is_passing() && clock::now().mono_us < until_us => {
                    std::thread::sleep(Duration::from_millis(NAP_MS));
                }
                done => return done,
            }
        }
    }

    /// Looks at all groups and writes what moved. `translate` answers in the order of the questions; None: it is gone.
    ///
    /// # Errors
    /// What did not get to the target is written by another round.
    pub(in crate::edge) fn round(
        &mut self,
        translate: &mut dyn FnMut(Asked) -> Option<Answers>,
    ) -> Result<(), AdminError> {
        // Clients look at the names of topics, even where there are no groups.
        self.topic.create()?;
        let mut groups: Vec<String> = self.source.list()?.into_keys().collect();
        groups.retain(|group| self.config.client_topics.has_checkpoints_of(group));
        self.written.keep(&groups);
        self.with_times(|times| times.keep(&groups));
        let mut found: Vec<Found> = Vec::new();
        for (group, positions) in self.source.fetch(&groups)? {
            self.written.keep_positions(&group, &positions);
            self.with_times(|times| times.keep_positions(&group, |place| positions.contains_key(place)));
            let of_group = positions.into_iter();
            found.extend(of_group.map(|((topic, partition), at)| (group.clone(), topic, partition, at)));
        }
        let Some(standings) = standings(found, translate) else { return Ok(()) };
        let news: Vec<Standing> =
            standings.into_iter().filter(|standing| self.written.is_news(standing)).collect();
        let made = clock::now();
        for chunk in news.chunks(CHUNK) {
            let records: Vec<_> =
                chunk.iter().filter_map(|standing| record(standing, &self.config.target)).collect();
            self.topic.append(&records, clock::now().wall_ms)?;
            chunk.iter().for_each(|standing| self.written.written(standing.clone()));
            let now = clock::now();
            let ms = now.mono_us.saturating_sub(made.mono_us) / 1000;
            self.with_times(|times| {
                for Standing { group, topic, partition, .. } in chunk {
                    times.record(now.mono_us, group, topic, *partition, ms);
                }
            });
        }
        if let Some(one) = news.first() {
            tracing::debug!(
                count = news.len(),
                group = one.group,
                topic = &*self.config.target.names.on_cluster(&one.topic),
                "wrote checkpoints"
            );
        }
        Ok(())
    }

    fn with_times(&self, note: impl FnOnce(&mut CheckpointTimes)) {
        if let Some(times) = &self.times {
            note(&mut lock(times));
        }
    }
}

/// None: a name is too long for the format.
fn record(standing: &Standing, target: &Cluster) -> Option<(bytes::Bytes, bytes::Bytes)> {
    let checkpoint = Checkpoint {
        group: &standing.group,
        topic: &target.names.on_cluster(&standing.topic),
        partition: standing.partition,
        upstream_offset: standing.upstream.offset,
        downstream_offset: standing.downstream_offset,
        metadata: &standing.upstream.metadata,
    };
    checkpoint.record()
}

/// What the positions are on the target; those that are nothing there are left out. None: nobody answers any more.
fn standings(
    found: Vec<Found>,
    translate: &mut dyn FnMut(Asked) -> Option<Answers>,
) -> Option<Vec<Standing>> {
    let asked = found.iter().map(|(_, topic, partition, at)| (topic.clone(), *partition, at.offset));
    let answers = translate(asked.collect())?;
    // Of groups that are ahead of the mirror it is asked what all that is mirrored comes to.
    let ahead = found.iter().zip(&answers).filter_map(|((_, topic, partition, _), answer)| {
        Some((topic.clone(), *partition, instead((*answer).err()?)?))
    });
    let mut mirrored = match ahead.collect::<Asked>() {
        ahead if ahead.is_empty() => Answers::new(),
        ahead => translate(ahead)?,
    }
    .into_iter();
    let standings =
        found.into_iter().zip(answers).filter_map(|((group, topic, partition, upstream), answer)| {
            let downstream_offset = match answer {
                Ok(offset) => offset,
                Err(unmapped) => {
                    instead(unmapped)?;
                    mirrored.next()?.ok()?
                }
            };
            Some(Standing { group, topic, partition, upstream, downstream_offset })
        });
    Some(standings.collect())
}

/// The thread that writes checkpoints, and its questions.
pub struct CheckpointTask {
    pub questions: Receiver<Question>,
    thread: Option<Repeating>,
}

impl CheckpointTask {
    /// Starts the thread.
    pub fn start(config: &Mirror, outside: &Outside) -> io::Result<Self> {
        let (ask, questions) = mpsc::channel();
        let mut translate = move |offsets: Asked| {
            let (answer, answered) = mpsc::channel();
            ask.send(Question { offsets, answer }).ok()?;
            answered.recv().ok()
        };
        let topics = &config.client_topics;
        let what = format!("writing checkpoints of consumer groups to topic {}", topics.checkpoints_topic);
        let mut checkpoints = Checkpoints::new(Arc::new(config.clone()), outside);
        let round = move || checkpoints.round(&mut translate);
        let thread = Repeating::start(what, topics.checkpoints_interval_ms, round)?;
        Ok(Self { questions, thread: Some(thread) })
    }
}

impl Drop for CheckpointTask {
    fn drop(&mut self) {
        // The thread may wait for an answer.
        let (_, closed) = mpsc::channel();
        self.questions = closed;
        self.thread = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::offset_map::Unmapped;

    #[test]
    fn positions_ahead_of_the_mirror_stand_at_its_end_and_unknown_ones_nowhere() {
        let at = |topic: &str, offset: i64| {
            ("g".to_owned(), topic.to_owned(), 0, Committed { offset, metadata: String::new() })
        };
        let found =
            vec![at("ahead", 90), at("mapped", 10), at("not-mirrored", 5), at("old", 1), at("ahead", 91)];
        let mut questions = Vec::new();
        let mut translate = |asked: Asked| {
            let one = |(topic, _, offset): &(String, i32, i64)| match topic.as_str() {
                "ahead" if *offset > 80 => Err(Unmapped::NotMirrored { mirrored_to: 80 }),
                "ahead" | "mapped" => Ok(offset - 3),
                "old" => Err(Unmapped::TooOld { known_from: 4 }),
                _ => Err(Unmapped::Unknown),
            };
            let answers = asked.iter().map(one).collect();
            questions.push(asked.len());
            Some(answers)
        };
        let standings = standings(found, &mut translate).unwrap();
        let shown: Vec<_> = standings
            .iter()
            .map(|each| (each.topic.as_str(), each.upstream.offset, each.downstream_offset))
            .collect();
        assert_eq!(shown, [("ahead", 90, 77), ("mapped", 10, 7), ("ahead", 91, 77)]);
        assert_eq!(questions, [5, 2]);
        assert_eq!(super::standings(Vec::new(), &mut |_| None), None);
    }
}
