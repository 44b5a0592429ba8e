//! One link at work: shards and control together, from the start to the summary.

use super::admin::{Admin, AdminError};
pub use super::control_task::TellTimings;
pub(super) use super::control_task::patiently;
use super::control_task::{End, Session};
use super::http::{Changes, Listener};
use super::ledger_io;
use super::outside::Outside;
use super::recipes::Recipes;
use super::runtime::{self, RuntimeError};
use crate::config::{LogFormat, Mirror, TopicNames, share};
use crate::control::ledger;
use crate::error;
use crate::shard::{LossCause, Side, Stop};
use crate::stats::{Report, units};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How a mirror ended that ended by itself, or was asked to.
#[derive(Debug, Default)]
pub struct Summary {
    pub report: Report,
    /// Lanes that stood still for good: topic, partition, why.
    pub stopped: Vec<(String, i32, Stop)>,
    /// Source records that were lost: topic, partition, first offset, offset after the last, why.
    pub lost: Vec<(String, i32, i64, i64, LossCause)>,
    /// Topics that were left out: topic, why.
    pub problems: Vec<(String, String)>,
}

impl Summary {
    /// Whether every lane did what it should.
    pub fn is_clean(&self) -> bool {
        self.stopped.is_empty() && self.problems.is_empty()
    }

    /// Prints what was done: as text for people, as one JSON object for programs.
    pub fn show(&self, format: LogFormat) {
        match format {
            LogFormat::Json => println!("{}", self.json()),
            LogFormat::Text => print!("{}", self.text()),
        }
    }

    /// The same for one of several links.
    pub fn show_of(&self, link: &str, format: LogFormat) {
        match format {
            LogFormat::Json => {
                let mut json = self.json();
                json["link"] = link.into();
                println!("{json}");
            }
            LogFormat::Text => print!("link {link}: {}", self.text()),
        }
    }

    fn text(&self) -> String {
        let Report { elapsed_us, totals, lanes, .. } = &self.report;
        let seconds = *elapsed_us as f64 / 1e6;
        let mut text = format!(
            "mirrored {} records in {} batches, {}, in {:.1} s ({}), CPU {:.2} s{}\n",
            units::count(totals.records),
            units::count(totals.batches),
            units::bytes(totals.bytes),
            seconds,
            units::byte_rate(totals.bytes as f64 / seconds.max(1e-6)),
            totals.cpu_us as f64 / 1e6,
            self.report.cpu_seconds_per_gb().map(|cpu| format!(" ({cpu:.3} s per GB)")).unwrap_or_default(),
        );
        text += &format!("{} lanes, {} caught up, {} stopped\n", lanes.total, lanes.caught_up, lanes.stopped);
        for (topic, partition, stop) in &self.stopped {
            text += &format!("stopped: {topic}-{partition}: {stop}\n");
        }
        for (topic, problem) in &self.problems {
            text += &format!("left out: {topic}: {problem}\n");
        }
        for (topic, partition, from, to, cause) in &self.lost {
            text += &format!(
                "lost: {topic}-{partition} source offsets {from} to {}: {}\n",
                to - 1,
                cause.words()
            );
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "report": self.report,
            "stopped": self.stopped.iter().map(|(topic, partition, stop)| serde_json::json!({
                "topic": topic, "partition": partition, "kind": format!("{:?}", stop.kind), "detail": stop.detail,
            })).collect::<Vec<_>>(),
            "left_out": self.problems.iter().map(|(topic, problem)| serde_json::json!({
                "topic": topic, "problem": problem,
            })).collect::<Vec<_>>(),
            "lost": self.lost.iter().map(|(topic, partition, from, to, cause)| serde_json::json!({
                "topic": topic, "partition": partition, "from_offset": from, "to_offset": to, "cause": format!("{cause:?}"),
            })).collect::<Vec<_>>(),
        })
    }

    /// Adds what another part of the same link came to, but for its report.
    pub(super) fn add(&mut self, other: Self) {
        self.stopped.extend(other.stopped);
        self.lost.extend(other.lost);
        let new = other.problems.into_iter().filter(|problem| !self.problems.contains(problem));
        let new: Vec<_> = new.collect();
        self.problems.extend(new);
    }

    pub(super) fn note_stop(&mut self, topic: &str, partition: i32, stop: Stop) {
        tracing::error!(topic, partition, kind = ?stop.kind, "the lane has stopped: {stop}");
        self.stopped.push((topic.to_owned(), partition, stop));
    }
}

/// Why a mirror could not start, or could not go on. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error("{}: {error}", name(*side))]
    Cluster { side: Side, error: AdminError },
    #[error(
        "source and target are one cluster (id {cluster_id}); a topic cannot be mirrored into itself. Check --source and --target"
    )]
    SameCluster { cluster_id: String },
    #[error(
        "the target is Kafka {kafka}, and Twinlog mirrors to Kafka 2.2 or later, whose brokers can be asked where a log ends \
         without being mistaken. Upgrade it, or mirror to another cluster (the source may be as old as 0.8.2)"
    )]
    TargetTooOld { kafka: &'static str },
    #[error("{0}")]
    Transform(String),
    #[error("{0}")]
    NoTopics(String),
    #[error("every matching topic was left out: {0}")]
    NothingLeft(String),
    #[error(
        "another instance of link `{link}` took over; this one has stopped, and nothing is lost. If both were meant to run, \
         give one of them another --link and other topics"
    )]
    Fenced { link: String },
    #[error(
        "link `{link}` was used between clusters {source_id} and {target_id}, which are not these. Choose another --link, or \
         delete the topic __twinlog.{link} on the target if those clusters are gone for good"
    )]
    OtherClusters { link: String, source_id: String, target_id: String },
    #[error(
        "link `{link}` has written to the target's topics with {before}, and is told {now}. Tell it what it was told before, or \
         choose another --link, which begins anew"
    )]
    OtherNames { link: String, before: TopicNames, now: TopicNames },
    #[error(
        "link `{link}` is divided in {}, and is told {}. Tell it what it was told before; or choose another --link, and let \
         `twinlog take-over` find where the target stands",
        in_parts(*before),
        in_parts(*now)
    )]
    OtherParts { link: String, before: Option<u32>, now: Option<u32> },
    #[error(
        "link `{link}` has been run whole, by one process (topic __twinlog.{link} on the target), and cannot be divided among \
         instances. Choose another --link for them, and let `twinlog take-over` find where the target stands"
    )]
    Undivided { link: String },
    #[error(
        "link `{link}` is divided among instances (topics __twinlog.{link}.part-N on the target): add --instances auto, with the \
         same --parts"
    )]
    Divided { link: String },
    #[error("{0}")]
    Group(String),
    #[error("cannot listen on {address}: {cause}; choose another --listen, or leave it out")]
    Listen { address: SocketAddr, cause: String },
    #[error("control-token-file: {0}")]
    TokenFile(String),
    #[error("the thread for consumer groups cannot be started: {0}")]
    Groups(std::io::Error),
    #[error("the link's thread cannot be started: {0}")]
    Thread(std::io::Error),
    #[error("the thread for transactions cannot be started: {0}")]
    Transactions(std::io::Error),
    #[error("the thread for dead letters cannot be started: {0}")]
    Letters(std::io::Error),
    #[error("the link's ledger (topic __twinlog.{link} on the target): {cause}")]
    Ledger { link: String, cause: String },
}

impl MirrorError {
    /// What the end of a link's ledger means; None: it lapsed, and may be opened anew.
    pub(super) fn of_ledger(link: &str, end: ledger::End) -> Option<Self> {
        let link = link.to_owned();
        Some(match end {
            ledger::End::Lapsed => return None,
            ledger::End::Fenced => Self::Fenced { link },
            ledger::End::OtherClusters(pid) => {
                let pid = *pid;
                Self::OtherClusters { link, source_id: pid.source_cluster, target_id: pid.target_cluster }
            }
            ledger::End::OtherNames { before, now } => Self::OtherNames { link, before, now },
            ledger::End::OtherParts { before, now } => {
                let link = share::part_in(&link).map_or(link.as_str(), |(whole, _)| whole).to_owned();
                Self::OtherParts { link, before, now }
            }
            ledger::End::Unreadable(cause) => Self::Ledger { link, cause },
            ledger::End::Refused(code) => {
                let cause = format!("{}: {}", error::name(code), error::advice(code));
                Self::Ledger { link, cause }
            }
        })
    }

    /// Whether the same may go well a little later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Cluster { error, .. } => error.is_passing() && !error.is_denied(),
            Self::Ledger { .. } => true,
            _ => false,
        }
    }

    /// The process's exit code: 2 for what the user asked for, 4 for being fenced, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::SameCluster { .. }
            | Self::Transform(_)
            | Self::TokenFile(_)
            | Self::NoTopics(_)
            | Self::OtherClusters { .. }
            | Self::OtherNames { .. }
            | Self::OtherParts { .. }
            | Self::Undivided { .. }
            | Self::Divided { .. }
            | Self::Group(_) => 2,
            Self::Runtime(RuntimeError::NoSuchCore { .. } | RuntimeError::CoreTwice { .. }) => 2,
            Self::Fenced { .. } => 4,
            _ => 1,
        }
    }
}

fn in_parts(parts: Option<u32>) -> String {
    parts.map_or("no parts".into(), |parts| format!("{parts} parts"))
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Source => "source",
        Side::Target => "target",
    }
}

/// Whether a mirror with this configuration can begin at all, as far as that can be told without asking a cluster.
pub fn check(config: &Mirror) -> Result<(), MirrorError> {
    runtime::choose_cores(&config.cores)?;
    Recipes::load(config).map(drop).map_err(MirrorError::Transform)
}

/// Mirrors until everything is caught up with (if so configured), `stop` is set, or it cannot go on. `observe` is called about
/// once a second.
pub fn run(
    config: &Mirror,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(&Report),
) -> Result<Summary, MirrorError> {
    run_timed(config, stop, observe, None)
}

/// [`run`], with each batch timed if somebody is to be told.
pub fn run_timed(
    config: &Mirror,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(&Report),
    timings: Option<&TellTimings>,
) -> Result<Summary, MirrorError> {
    runtime::check_machine()?;
    let cores = runtime::choose_cores(&config.cores)?;
    if config.zombie_bound_ms < config.request_timeout_ms {
        tracing::warn!(
            config.zombie_bound_ms,
            config.request_timeout_ms,
            "the zombie bound is shorter than the request time-out: a request that a slow broker still holds when the bound is \
             over could double records older than the target's producer.id.expiration.ms"
        );
    }
    let outside = Arc::new(Outside::of(config));
    let _listener = listen(config, &outside)?;
    sessions(config, &cores, stop, observe, timings, &outside)
}

/// Serves what is to be seen of the link over HTTP, if so configured, until it is dropped.
pub(super) fn listen(config: &Mirror, outside: &Arc<Outside>) -> Result<Option<Listener>, MirrorError> {
    let Some(address) = config.listen else { return Ok(None) };
    let changes = Changes::new(outside, config.control_token_file.clone()).map_err(MirrorError::TokenFile)?;
    let listener = Listener::start(address, outside, changes);
    listener.map(Some).map_err(|cause| MirrorError::Listen { address, cause })
}

/// A link is run whole or in parts, once and for all: its ledgers are where the other kind would not look.
pub(super) fn check_division(config: &Mirror, target: &Admin) -> Result<(), MirrorError> {
    let known = ledger_io::ledgers_of(target, &config.link);
    let (is_whole, link) = (known.contains(&config.link), config.link.clone());
    match (&config.instances, config.share) {
        (Some(_), _) if is_whole => Err(MirrorError::Undivided { link }),
        (None, None) if !known.is_empty() && !is_whole => Err(MirrorError::Divided { link }),
        _ => Ok(()),
    }
}

/// One session after the other, each with the lock taken anew.
pub(super) fn sessions(
    config: &Mirror,
    cores: &[usize],
    stop: &AtomicBool,
    observe: &mut dyn FnMut(&Report),
    timings: Option<&TellTimings>,
    outside: &Arc<Outside>,
) -> Result<Summary, MirrorError> {
    loop {
        let session = Session::start(config, cores, stop, timings.cloned(), outside)?;
        match session.run(stop, observe)? {
            End::Done(summary) => return Ok(*summary),
            // Takes the lock anew; what was sent meanwhile is found by asking.
            End::Lapsed => tracing::warn!("the link's lock lapsed, it is taken anew"),
        }
    }
}
