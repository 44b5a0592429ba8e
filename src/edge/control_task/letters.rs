//! What control does for dead letters: it passes them on to the thread that writes them, and says what was written.

use super::Session;
use crate::edge::clock;
use crate::edge::letters::{LetterTask, Post, Told};
use crate::edge::mirror::MirrorError;
use crate::records::letters::Letter;
use crate::shard::{Command, LaneId};

/// So many letters are told one by one...
const SAID_MAX: u64 = 20;
/// ...in this time; of more than that only how many there are.
const SAID_MS: u64 = 10_000;

pub(super) struct Letters {
    task: Option<LetterTask<(usize, LaneId)>>,
    /// Letters that were told, and that were not, since the current period began.
    said: u64,
    unsaid: u64,
    until_us: u64,
}

impl Letters {
    pub(super) fn none() -> Self {
        Self { task: None, said: 0, unsaid: 0, until_us: 0 }
    }

    /// Whether answers are to come.
    pub(super) fn is_busy(&self) -> bool {
        self.task.as_ref().is_some_and(|task| task.open > 0)
    }
}

impl Session<'_> {
    pub(super) fn start_letters(&mut self) -> Result<(), MirrorError> {
        if let Some(topic) = &self.config.dead_letter {
            let task = LetterTask::start(self.config, topic).map_err(MirrorError::Letters)?;
            self.letters.task = Some(task);
        }
        Ok(())
    }

    pub(super) fn take_letters(&mut self, shard: usize, id: LaneId, letters: Vec<Letter>) {
        let lane = self.lanes.get(&id);
        match (&mut self.letters.task, lane) {
            (Some(task), Some(lane)) => {
                let (topic, partition) = (lane.topic.clone(), lane.partition);
                task.send(Post { id: (shard, id), topic, partition, letters });
            }
            // A partition that is gone has nothing to go on behind; its shard has the memory back.
            _ => self.shards[shard].send(Command::LettersWritten { lane: id }),
        }
    }

    pub(super) fn answer_letters(&mut self) {
        while let Some(task) = &mut self.letters.task
            && let Ok(told) = task.told.try_recv()
        {
            match told {
                Told::Written(Post { id: (shard, lane), topic, partition, letters }) => {
                    task.open = task.open.saturating_sub(1);
                    self.shards[shard].send(Command::LettersWritten { lane });
                    self.tell_letters(lane, &topic, partition, &letters);
                }
                Told::Waiting(cause) => {
                    let text =
                        format!("no dead letters can be written, so partitions with some wait: {cause}");
                    tracing::warn!("{text}");
                    self.note("dead letter", text);
                }
            }
        }
        if self.letters.unsaid > 0 && clock::now().mono_us >= self.letters.until_us {
            let more = std::mem::take(&mut self.letters.unsaid);
            tracing::warn!("{more} more went to the dead letters");
        }
    }

    fn tell_letters(&mut self, lane: LaneId, topic: &str, partition: i32, letters: &[Letter]) {
        if let [first, others @ ..] = letters {
            let (offset, reason) = (words(first), &first.reason);
            let others =
                if others.is_empty() { String::new() } else { format!(" (and {} more)", others.len()) };
            self.note_of(lane, "dead letter", &format!("{offset}: {reason}{others}"));
        }
        let now = clock::now();
        let Letters { said, unsaid, until_us, .. } = &mut self.letters;
        if now.mono_us >= *until_us && *unsaid == 0 {
            (*said, *until_us) = (0, now.after_ms(SAID_MS));
        }
        for letter in letters {
            if *said >= SAID_MAX {
                *unsaid += 1;
                continue;
            }
            *said += 1;
            tracing::warn!(
                topic,
                partition,
                offset = letter.offset,
                "to the dead letters: {}",
                letter.reason
            );
        }
    }
}

fn words(letter: &Letter) -> String {
    match letter.last_offset {
        Some(last) => format!("source offsets {} to {last}", letter.offset),
        None => format!("source offset {}", letter.offset),
    }
}
