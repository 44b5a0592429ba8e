//! The two clusters between which capacity is measured: their addresses, their topics, and what is tidied up at the end.

use super::Settings;
use super::threads::{Ids, Sample};
use crate::broker::SyntheticCluster;
use crate::config::{Address, Cluster, Draft, Merge, Mirror, text};
use crate::edge::admin::Admin;
use crate::edge::broker_task::{self, Server};
use crate::edge::clock;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What a synthetic cluster keeps; the mirror must never be further behind.
pub const RETENTION_BYTES: usize = 768 << 20;
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a topic may take to appear, or the mirror to bring what is left.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);
/// A round trip is the quickest of so many.
const ROUND_TRIPS: u32 = 20;
const CLIENT_ID: &str = "twinlog-capacity";

pub struct Stage {
    pub source: Cluster,
    pub target: Cluster,
    /// Begins every name.
    pub name: String,
    pub topics: Vec<String>,
    pub partitions: u32,
    embedded: Option<Embedded>,
}

/// Two clusters in this process, and the threads that serve them.
struct Embedded {
    source: Server,
    target: Server,
    pub source_threads: Ids,
    pub target_threads: Ids,
}

impl Stage {
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let name = format!("twinlog-capacity-{}", clock::now().wall_ms);
        let topics = match settings.topics() {
            1 => vec![name.clone()],
            count => (0..count).map(|number| format!("{name}-{number}")).collect(),
        };
        let (source, target, embedded) = match settings.clusters.clone() {
            Some((source, target)) => (source, target, None),
            None => {
                let embedded = Embedded::start()?;
                let (source, target) = (embedded.source.bootstrap(), embedded.target.bootstrap());
                (Cluster::from(source), Cluster::from(target), Some(embedded))
            }
        };
        Ok(Self { source, target, name, topics, partitions: settings.partitions(), embedded })
    }

    pub fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    /// The threads of the source's and the target's brokers, where they are here.
    pub fn broker_threads(&self) -> Option<(&Ids, &Ids)> {
        self.embedded.as_ref().map(|embedded| (&embedded.source_threads, &embedded.target_threads))
    }

    /// Where the probe goes, on the target.
    pub fn probe_topic(&self) -> String {
        format!("{}-probe", self.name)
    }

    /// How the mirror between them is run.
    pub fn mirror(&self, draft: &Draft) -> Result<Mirror, String> {
        let patterns = self.topics.iter().map(|topic| text::pattern(&regex::escape(topic)));
        let draft = Draft {
            source: Some(self.source.bootstrap.clone()),
            target: Some(self.target.bootstrap.clone()),
            topics: Some(patterns.collect::<Result<_, _>>()?),
            exclude: None,
            groups: None,
            link: Some(self.name.clone()),
            client_id: None,
            until_caught_up: None,
            both_directions: None,
            identical: None,
            append: None,
            listen: None,
            max_rate_bytes: None,
            max_rate_hours: None,
            // What is measured is batches that pass as they were sent.
            merge: Some(Merge::Never),
            transforms: None,
            dead_letter: None,
            ..draft.clone()
        };
        draft.build().map_err(|error| error.to_string())
    }

    /// The mirror makes the topics on the target; waits until it has.
    pub fn await_target(&self, stop: &AtomicBool, has_failed: impl Fn() -> bool) -> Result<(), String> {
        let mut admin = Admin::new(&self.target, CLIENT_ID, TIMEOUT);
        await_until("the mirror makes its topics on the target", stop, has_failed, || {
            let observed = admin.observe().map_err(|error| error.to_string())?;
            Ok(self.topics.iter().all(|topic| {
                observed
                    .topics
                    .get(topic)
                    .is_some_and(|found| found.partitions.len() == self.partitions as usize)
            }))
        })
    }

    /// Waits until the target has all that the source has.
    pub fn await_level(&self, stop: &AtomicBool, has_failed: impl Fn() -> bool) -> Result<(), String> {
        let places: Vec<(String, i32)> = self
            .topics
            .iter()
            .flat_map(|topic| (0..self.partitions as i32).map(|partition| (topic.clone(), partition)))
            .collect();
        let mut source = Admin::new(&self.source, CLIENT_ID, TIMEOUT);
        let mut target = Admin::new(&self.target, CLIENT_ID, TIMEOUT);
        await_until("the mirror has caught up", stop, has_failed, || {
            let (ours, theirs) = (source.end_offsets(&places), target.end_offsets(&places));
            Ok(ours.len() == places.len() && ours == theirs)
        })
    }

    /// The quickest round trips to the leader of a partition on either side.
    pub fn round_trips_us(&self) -> (u64, u64) {
        let round_trip_us = |cluster: &Cluster| {
            let mut admin = Admin::new(cluster, CLIENT_ID, TIMEOUT);
            let place = [(self.topics[0].clone(), 0)];
            let times = (0..ROUND_TRIPS).filter_map(|_| {
                // The first one looks for the leader and connects.
                let begin = Instant::now();
                (!admin.end_offsets(&place).is_empty()).then(|| begin.elapsed().as_micros() as u64)
            });
            times.min().unwrap_or(0)
        };
        (round_trip_us(&self.source), round_trip_us(&self.target))
    }

    /// How many brokers each cluster has.
    pub fn brokers(&self) -> Result<(usize, usize), String> {
        let count = |cluster: &Cluster| {
            let mut admin = Admin::new(cluster, CLIENT_ID, TIMEOUT);
            admin.observe().map(|observed| observed.brokers.len()).map_err(|error| error.to_string())
        };
        Ok((count(&self.source)?, count(&self.target)?))
    }

    /// Deletes what was made, or says what there is.
    pub fn tidy_up(self, keep: bool) {
        let ledger = format!("__twinlog.{}", self.name);
        let on_target: Vec<String> =
            self.topics.iter().cloned().chain([self.probe_topic(), ledger]).collect();
        if let Some(embedded) = self.embedded {
            embedded.stop();
            return;
        }
        if keep {
            tracing::warn!(
                "--keep: topics are left behind: {} on the source; {} on the target",
                self.topics.join(", "),
                on_target.join(", ")
            );
            return;
        }
        for (cluster, whose, topics) in
            [(&self.source, "source", &self.topics), (&self.target, "target", &on_target)]
        {
            let mut admin = Admin::new(cluster, CLIENT_ID, TIMEOUT);
            let deleted = admin.observe().map(drop).and_then(|()| admin.delete_topics(topics));
            if let Err(error) = deleted {
                tracing::warn!(
                    "topics of the {whose} cannot be deleted, please do: {}: {error}",
                    topics.join(", ")
                );
            }
        }
    }
}

impl Embedded {
    fn start() -> Result<Self, String> {
        let brokers = || Sample::take(0).ids("broker");
        let start = |name: &str| {
            let cluster = SyntheticCluster {
                cluster_id: format!("capacity-{name}"),
                brokers: vec![(1, Address { host: "127.0.0.1".into(), port: 0 })],
                auto_create_topics: false,
                retention_bytes: RETENTION_BYTES,
                ..SyntheticCluster::default()
            };
            broker_task::spawn(cluster).map_err(|error| format!("cannot start the {name} cluster: {error}"))
        };
        // A thread has its name once it runs.
        let started = |before: &Ids| {
            let begin = Instant::now();
            loop {
                let new: Ids = brokers().difference(before).copied().collect();
                if !new.is_empty() || begin.elapsed() > Duration::from_secs(2) {
                    return new;
                }
                thread::sleep(Duration::from_millis(1));
            }
        };
        let before = brokers();
        let source = start("source")?;
        let source_threads = started(&before);
        let before = brokers();
        let target = start("target")?;
        let target_threads = started(&before);
        Ok(Self { source, target, source_threads, target_threads })
    }

    fn stop(self) {
        for server in [self.source, self.target] {
            if let Err(error) = server.stop() {
                tracing::warn!("a synthetic cluster had ended by itself: {error}");
            }
        }
    }
}

/// Polls until it is so.
fn await_until(
    what: &str,
    stop: &AtomicBool,
    has_failed: impl Fn() -> bool,
    mut is_so: impl FnMut() -> Result<bool, String>,
) -> Result<(), String> {
    let begin = Instant::now();
    while !is_so()? {
        if stop.load(Ordering::Relaxed) {
            return Err("stopped".into());
        }
        if has_failed() {
            return Err("the mirror has ended".into());
        }
        if begin.elapsed() > PATIENCE {
            return Err(format!("waited for {} s in vain until {what}", PATIENCE.as_secs()));
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// The settings of the topic that is made on the source.
pub fn topic_configs() -> BTreeMap<String, String> {
    // Enough for every step, and gone soon if nobody deletes it.
    [("retention.ms", "3600000"), ("cleanup.policy", "delete")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}
