//! The link's memory, read without taking the lock: for commands that ask where things stand.

use super::admin::{Admin, AdminError};
use super::groups::{Answers, Asked};
use super::ledger_io;
use crate::config::{Cluster, TopicNames};
use crate::control::ledger::{self, Effect, End, Ledger, state_topic};
use std::time::Duration;

/// Why the link's state cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OffsetsError {
    #[error("the target: {0}")]
    Target(#[from] AdminError),
    #[error(
        "the target has no topic {0}, so no link of this name ever wrote to it; check --target and --link (mirror's default is \
         `mirror`)"
    )]
    NoLink(String),
    #[error(
        "link `{link}` has written to the target's topics with {before}, and this command is told {now}; tell it the same"
    )]
    OtherNames { link: String, before: TopicNames, now: TopicNames },
    #[error("the link's state (topic __twinlog.{link} on the target) cannot be read: {cause}")]
    Unreadable { link: String, cause: String },
}

/// What a link's state topic said when it was read.
pub struct LinkState {
    pub ledger: Ledger,
}

impl LinkState {
    /// Reads the state topic to its end.
    pub fn read(
        target: &Cluster,
        link: &str,
        client_id: &str,
        timeout: Duration,
    ) -> Result<Self, OffsetsError> {
        let mut admin = Admin::new(target, client_id, timeout);
        admin.observe()?;
        let settings = ledger::Settings {
            source_cluster: String::new(),
            target_cluster: String::new(),
            names: target.names.clone(),
            parts: None,
            instance: String::new(),
            zombie_bound_ms: 1,
            producer_id_expiration_ms: None,
            shards: 0,
        };
        let ledger = ledger_io::read_ledger(&mut admin, link, settings)?;
        let mut ledger = ledger.ok_or_else(|| OffsetsError::NoLink(state_topic(link)))?;
        while let Some(effect) = ledger.poll_effect() {
            // That this is about other clusters is nothing: nobody said which they are.
            if let Effect::Ended(End::Unreadable(cause)) = effect {
                return Err(OffsetsError::Unreadable { link: link.to_owned(), cause });
            }
        }
        match ledger.names().filter(|before| **before != target.names) {
            Some(before) => {
                let (link, before, now) = (link.to_owned(), before.clone(), target.names.clone());
                Err(OffsetsError::OtherNames { link, before, now })
            }
            None => Ok(Self { ledger }),
        }
    }

    /// Positions on the target for positions on the source.
    pub fn translate(&self, asked: &Asked) -> Answers {
        let one = |(topic, partition, offset): &(String, i32, i64)| {
            self.ledger.target_of(topic, *partition, *offset)
        };
        asked.iter().map(one).collect()
    }
}
