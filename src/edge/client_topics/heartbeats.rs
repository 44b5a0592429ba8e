//! MirrorMaker 2's heartbeats (its `MirrorHeartbeatTask`), and how those of the source get to the target.
//!
//! MirrorMaker 2 mirrors topics of heartbeats like any others, with the alias of the source in front whatever its replication
//! policy says of other topics. Here they go beside the lanes: they may have been filled by MirrorMaker before, links without
//! prefixes do not rename topics, and what compaction took from a year of them is no gap worth filling. So they say that the two
//! clusters and the link's process are there, and `/metrics` how far behind the lanes are.

use super::{Repeating, WrittenTopic, by_its_own_names};
use crate::config::Mirror;
use crate::control::heartbeats::passed_on;
use crate::edge::admin::{Admin, AdminError, check};
use crate::edge::{clock, ledger_io};
use crate::wire::mirrormaker::Heartbeat;
use bytes::{Bytes, BytesMut};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

const OFFSET_OUT_OF_RANGE: i16 = 1;
/// Topics of heartbeats of one source: there is one for each cluster upstream.
const RELAYED_MAX: usize = 100;
/// Answers in a row that one topic may have before the next has its turn.
const ANSWERS_MAX: usize = 10;

/// The threads that send heartbeats. They end when this goes out of scope.
pub(in crate::edge) struct Heartbeats {
    threads: Vec<Repeating>,
}

impl Drop for Heartbeats {
    fn drop(&mut self) {
        // So that nobody waits for one after the other.
        self.threads.iter().for_each(Repeating::stop);
    }
}

impl Heartbeats {
    /// Starts those that are asked for.
    pub(in crate::edge) fn start(config: &Mirror) -> io::Result<Self> {
        let topics = &config.client_topics;
        let interval_ms = topics.heartbeats_interval_ms;
        let aliases = (topics.source_alias.clone(), topics.target_alias.clone());
        let back = (aliases.1.clone(), aliases.0.clone());
        let sides = [
            (topics.heartbeats.target, &config.target, "target", aliases),
            (topics.heartbeats.source, &config.source, "source", back),
        ];
        let mut threads = Vec::new();
        for (is_wanted, cluster, name, (from, to)) in sides {
            if is_wanted {
                let mut topic = WrittenTopic::new(
                    cluster,
                    &config.client_id,
                    timeout(config),
                    topics.heartbeats_topic.clone(),
                    topics.heartbeats_replication_factor,
                );
                let what = format!("writing heartbeats to topic {} of the {name}", topic.name());
                threads.push(Repeating::start(what, interval_ms, move || {
                    let timestamp_ms = clock::now().wall_ms;
                    let heartbeat = Heartbeat { source_alias: &from, target_alias: &to, timestamp_ms };
                    let record = heartbeat.record().ok_or_else(|| AdminError::missing("shorter aliases"))?;
                    topic.append(&[record], timestamp_ms)
                })?);
            }
        }
        if topics.heartbeats.relay {
            let mut relay = Relay::new(Arc::new(config.clone()));
            let what = "bringing the source's heartbeats to the target".to_owned();
            threads.push(Repeating::start(what, interval_ms, move || relay.round())?);
        }
        Ok(Self { threads })
    }
}

fn timeout(config: &Mirror) -> Duration {
    Duration::from_millis(config.request_timeout_ms.min(10_000))
}

/// Brings what the source's topics of heartbeats get to the target.
struct Relay {
    config: Arc<Mirror>,
    source: Admin,
    /// By the source's names.
    topics: BTreeMap<String, Relayed>,
    /// When to look for topics again (steady clock, µs).
    observe_at_us: u64,
}

struct Relayed {
    target: WrittenTopic,
    /// Where to read on. None: that is not known yet.
    position: Option<i64>,
}

impl Relay {
    fn new(config: Arc<Mirror>) -> Self {
        let source = Admin::new(&by_its_own_names(&config.source), &config.client_id, timeout(&config));
        Self { config, source, topics: BTreeMap::new(), observe_at_us: 0 }
    }

    /// What does not work for one topic does not keep the others.
    fn round(&mut self) -> Result<(), AdminError> {
        let now = clock::now();
        if now.mono_us >= self.observe_at_us {
            self.look()?;
            self.observe_at_us = now.after_ms(self.config.metadata_refresh_ms);
        }
        let mut done = Ok(());
        for (name, relayed) in &mut self.topics {
            done = done.and(relayed.bring(&mut self.source, name));
        }
        done
    }

    /// Which topics there are.
    fn look(&mut self) -> Result<(), AdminError> {
        let config = &self.config;
        let topics = &config.client_topics;
        let seen = self.source.observe()?.topics.values().filter(|topic| topic.error == 0);
        let found: BTreeMap<String, String> = seen
            .filter_map(|topic| Some((topic.name.to_string(), topics.relayed(&topic.name)?)))
            .take(RELAYED_MAX)
            .collect();
        self.topics.retain(|name, _| found.contains_key(name));
        for (name, there) in found {
            self.topics.entry(name).or_insert_with(|| Relayed {
                target: WrittenTopic::new(
                    &config.target,
                    &config.client_id,
                    timeout(config),
                    there,
                    topics.heartbeats_replication_factor,
                ),
                position: None,
            });
        }
        Ok(())
    }
}

impl Relayed {
    fn bring(&mut self, source: &mut Admin, name: &str) -> Result<(), AdminError> {
        // Clients look at the names first of all.
        self.target.create()?;
        let mut position = match self.position {
            Some(position) => position,
            None => Self::begin(source, name)?,
        };
        for _ in 0..ANSWERS_MAX {
            let answer = ledger_io::fetch(source, name, position)?;
            if answer.error_code == OFFSET_OUT_OF_RANGE {
                // Deleted and made anew, or too far behind.
                self.position = None;
                return Ok(());
            }
            source.note(check(answer.error_code, &format!("reading topic {name} of the source")))?;
            let unreadable = |error| AdminError::Unreadable(format!("{name}: {error}"));
            let (batches, end) =
                passed_on(&answer.records.unwrap_or_default(), position).map_err(unreadable)?;
            for batch in batches {
                let mut bytes = BytesMut::from(batch.header.to_raw().as_slice());
                bytes.extend_from_slice(&batch.payload);
                self.target.append_batch(Bytes::from(bytes))?;
            }
            let is_over = end == position || end >= answer.high_watermark;
            (position, self.position) = (end, Some(end));
            if is_over {
                break;
            }
        }
        Ok(())
    }

    /// Before the last heartbeat: there may never be another one.
    fn begin(source: &mut Admin, name: &str) -> Result<i64, AdminError> {
        let place = (name.to_owned(), 0);
        let end = source.end_offsets(std::slice::from_ref(&place)).remove(&place);
        let end = end.ok_or_else(|| AdminError::missing("the end of the source's topic of heartbeats"))?;
        Ok((end - 1).max(0))
    }
}
