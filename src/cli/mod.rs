//! What was typed. Turning it into what was meant is the business of [`twinlog::config`].

mod apply;
mod bench;
mod broker;
mod capacity;
mod client_topics;
mod config;
mod control;
mod failover;
mod groups;
mod ledger;
mod link;
mod load;
mod mirror;
mod mirrormaker;
mod offsets;
mod perf_test;
mod plan;
mod schemas;
mod shape;
mod shell;
mod sim;
mod take_over;
mod top;
mod verify;

pub use apply::ApplyArgs;
pub use bench::{BenchArgs, BenchPlan};
pub use broker::BrokerArgs;
pub use capacity::CapacityArgs;
pub use config::{ConfigArgs, ConfigCommand, ImportArgs};
pub use control::ControlArgs;
pub use failover::{FailbackArgs, FailoverArgs};
pub use groups::{GroupsArgs, GroupsCommand, GroupsLink};
pub use ledger::LedgerArgs;
pub use load::{LoadArgs, LoadPlan};
pub use mirror::{AskedLink, MirrorArgs};
pub use offsets::{OffsetsArgs, OffsetsCommand, TranslateArgs};
pub use plan::PlanArgs;
pub use schemas::SchemasArgs;
pub use shape::{CaptureArgs, DiffArgs, ShapeArgs, ShapeCommand, ShowArgs};
pub use shell::{CompletionsArgs, ManArgs};
pub use sim::SimArgs;
pub use take_over::TakeOverArgs;
pub use top::TopArgs;
pub use verify::VerifyArgs;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Parser, Subcommand};
use regex::Regex;
use twinlog::config::Address;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

/// Keeps a twin of Kafka topics on another cluster: same partitions, same batches, nothing lost, nothing doubled.
#[derive(Debug, Parser)]
#[command(name = "twinlog", version, styles = STYLES, max_term_width = 110, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  twinlog mirror --source east:9092 --target west:9092 --topics 'orders,clicks\\..*'
  twinlog plan   --source east:9092 --target west:9092 --topics 'orders,clicks\\..*'      # what would that do?
  twinlog bench                  # needs nothing else: two synthetic clusters, every record checked
  twinlog load   --target west:9092 --topic t --create --rate 50MB/s      # how fast are the brokers?
  twinlog capacity --slo p99=50ms --want 2GB/s                            # how many cores does a mirror need?
  twinlog broker --port 9092     # a Kafka cluster in memory, to try things with

Exit codes:
  0    done, or stopped by SIGTERM      3    done, but some partitions were given up; the log says why
  1    failed                           4    another instance took over the link
  2    wrong usage or configuration     130  stopped by Ctrl-C";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Mirror topics from one cluster to another, until stopped or until caught up.
    ///
    /// Mirrors every partition of the matching topics to the partition of the same number in the topic of the same name. Topics
    /// are created on the target with the source's configuration, new partitions and topics are followed, and a mirror that is
    /// stopped or killed goes on where it was: no record is lost or written twice.
    Mirror(MirrorArgs),
    /// Say what `mirror` would do with the same flags, and why; changes nothing.
    Plan(PlanArgs),
    /// Make the topics, and what else `plan` shows, on the target; mirrors nothing.
    Apply(ApplyArgs),
    /// Configurations: those of MirrorMaker turned into Twinlog's, and what a key means.
    Config(ConfigArgs),
    /// Change a running mirror: pause and resume partitions, limit its bandwidth.
    Control(ControlArgs),
    /// Watch a running mirror in the terminal: its figures, and its partitions, the sick ones first.
    Top(TopArgs),
    /// Consumer groups: where they stand on both clusters, and their offsets mirrored once.
    Groups(GroupsArgs),
    /// Offsets: from one cluster's to the other's.
    Offsets(OffsetsArgs),
    /// Compare what was mirrored with its source, record for record.
    Verify(VerifyArgs),
    /// Hand the topics over to the target's clients.
    Failover(FailoverArgs),
    /// Bring back what was written on the target since a failover.
    Failback(FailbackArgs),
    /// Go on where another mirror stopped, of whichever kind.
    TakeOver(TakeOverArgs),
    /// Copy subjects from one Schema Registry to another, with the same ids and versions.
    Schemas(SchemasArgs),
    /// List the source records that are not on the target and never will be.
    Ledger(LedgerArgs),
    /// Measure the mirror between two clusters, with every record checked on arrival.
    ///
    /// Puts a load into the source, mirrors it, and checks every batch that arrives on the target. First as fast as it goes, for
    /// the throughput and the cost; then at an even rate, for the latency from the moment each batch was meant to be sent.
    /// Without --source and --target, both clusters are synthetic ones inside this process.
    Bench(BenchArgs),
    /// Send a load to a cluster by a schedule, and measure the latency of every record.
    ///
    /// An open loop: what is due when is set beforehand, by a rate, steps, at random or in bursts, and does not wait for the
    /// brokers. Batches are encoded beforehand, so that one core fills a cluster. Reads workload files of OpenMessaging Benchmark,
    /// and can stand in for kafka-producer-perf-test.
    Load(Box<LoadArgs>),
    /// Capture what some topics' traffic looks like, without any of its contents, to be sent again by `load --shape`.
    Shape(ShapeArgs),
    /// Find out how much a mirror can do for a load of your shape, what limits it, and what a rate that you want takes.
    ///
    /// Raises a load between two clusters, yours or two synthetic ones, to the highest rate at which records still arrive in time;
    /// names what the limit is, and checks the rate that it found with a longer run.
    Capacity(Box<CapacityArgs>),
    /// Serve a synthetic Kafka cluster from memory on 127.0.0.1.
    ///
    /// A cluster for laptops, tests and demos: it lives in memory, keeps the newest records only, and forgets everything when it
    /// ends. Kafka's own clients and tools work with it.
    Broker(BrokerArgs),
    /// Run the mirror in a simulated world full of faults; one seed is one run.
    ///
    /// Each run builds two clusters, one or two mirrors between them, and lets the seed choose what goes wrong: brokers fail,
    /// leaders move, answers get lost, processes are killed. Then it checks that the target is what it should be. The same seed
    /// is the same run, on every machine.
    Sim(SimArgs),
    /// Print what a shell needs to complete these commands and their flags.
    Completions(CompletionsArgs),
    /// Print the manual page, or write one for each command.
    Man(ManArgs),
}

// The command-line library takes a bare `Vec` for an argument that may be given again.
type Addresses = Vec<Address>;
type Patterns = Vec<Regex>;
type Renames = Vec<(String, String)>;
type TopicRates = Vec<twinlog::config::TopicRate>;
type Cores = Vec<usize>;

/// What an argument says that may be given again; None when it was not given.
fn some_of<T>(all: Vec<Vec<T>>) -> Option<Vec<T>> {
    (!all.is_empty()).then(|| all.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use twinlog::config::StartFrom;

    #[test]
    fn the_commands_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_a_draft() {
        let line = "twinlog mirror --source a:1,b:2 --target c:3 --topics x,y --topics z --from latest --cores 0..1 \
                    --until-caught-up --buffer-bytes 64MiB";
        let Command::Mirror(args) = Cli::parse_from(line.split_whitespace()).command else {
            panic!("not a mirror")
        };
        let mirror = args.draft().unwrap().build().unwrap();
        assert_eq!((mirror.source.bootstrap.len(), mirror.topics.len()), (2, 3));
        assert_eq!(
            (mirror.from, mirror.cores, mirror.until_caught_up),
            (StartFrom::Latest, vec![0, 1], true)
        );
        assert_eq!(mirror.buffer_bytes, 64 << 20);
    }

    #[test]
    fn a_plan_takes_what_a_mirror_takes() {
        let line = "twinlog plan --source a:1 --target c:3 --topics x --offsets append --json";
        let Command::Plan(args) = Cli::parse_from(line.split_whitespace()).command else {
            panic!("not a plan")
        };
        assert!(args.json);
        assert_eq!(args.mirror.draft().unwrap().build().unwrap().offsets, twinlog::config::Offsets::Append);
    }

    #[test]
    fn every_default_in_the_help_is_the_default() {
        let line = ["twinlog", "mirror", "--source", "a:1", "--target", "c:3", "--topics", "x"];
        let Command::Mirror(args) = Cli::parse_from(line).command else { panic!("not a mirror") };
        let mirror = args.draft().unwrap().build().unwrap();
        let help = Cli::command().find_subcommand_mut("mirror").unwrap().render_long_help().to_string();
        for default in [
            format!("[default: {}]", mirror.link),
            format!("[default: {}]", mirror.zombie_bound_ms),
            format!("[default: {}]", mirror.metadata_refresh_ms),
            format!("[default: {}]", mirror.fetch_wait_ms),
            format!("[default: {}]", mirror.request_timeout_ms),
            format!("[default: {}]", mirror.connections_per_broker),
            format!("[default: {}]", mirror.gap_offsets_max),
            format!("[default: {}]", mirror.gap_transactions_max),
            format!("[default: {}]", mirror.groups_interval_ms),
            format!("[default: {}]", mirror.seed_offsets_max),
            format!("[default: {}]", mirror.client_topics.checkpoints_interval_ms),
            format!("[default: {}]", mirror.client_topics.heartbeats_interval_ms),
            format!("[default: {}MiB]", mirror.buffer_bytes >> 20),
            format!("[default: {}MiB]", mirror.fetch_bytes_max >> 20),
        ] {
            assert!(help.contains(&default), "{default} is not in the help");
        }
    }
}
