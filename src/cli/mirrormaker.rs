//! What was written for Kafka's MirrorMaker: a file of version 2, or the flags of version 1.

use super::link::content;
use clap::Args;
use std::path::{Path, PathBuf};
use twinlog::config::ConfigError;
use twinlog::config::mirrormaker::{self, File, Flow, MirrorMaker1};
use twinlog::config::placeholder::Machine;

#[derive(Clone, Debug, Default, Args)]
pub struct MirrorMakerArgs {
    /// MirrorMaker 2's configuration, connect-mirror-maker.properties: each flow that it enables becomes a link, all of them in
    /// this process. They share the cores and --buffer-bytes; --listen counts upwards, a port for each. `twinlog config import`
    /// says what becomes of each key
    #[arg(value_name = "MIRROR-MAKER-FILE")]
    file: Option<PathBuf>,

    /// Only the file's flows into these clusters
    #[arg(long, value_name = "CLUSTER", num_args = 1.., requires = "file", help_heading = "From MirrorMaker")]
    clusters: Vec<String>,

    /// MirrorMaker 1's file for its consumers, which is about the source
    #[arg(
        long = "consumer.config",
        value_name = "FILE",
        requires = "producer_config",
        conflicts_with = "file",
        help_heading = "From MirrorMaker"
    )]
    consumer_config: Option<PathBuf>,

    /// MirrorMaker 1's file for its producer, which is about the target
    #[arg(
        long = "producer.config",
        value_name = "FILE",
        requires = "consumer_config",
        help_heading = "From MirrorMaker"
    )]
    producer_config: Option<PathBuf>,

    /// MirrorMaker 1's topics: --include, called --whitelist before Kafka 3.0
    #[arg(long, value_name = "REGEX", requires = "consumer_config", help_heading = "From MirrorMaker")]
    include: Option<String>,

    #[arg(long, value_name = "REGEX", requires = "consumer_config", hide = true)]
    whitelist: Option<String>,

    #[arg(long = "num.streams", value_name = "N", requires = "consumer_config", hide = true)]
    num_streams: Option<String>,

    #[arg(long = "abort.on.send.failure", value_name = "BOOLEAN", requires = "consumer_config", hide = true)]
    abort_on_send_failure: Option<String>,

    #[arg(long = "offset.commit.interval.ms", value_name = "MS", requires = "consumer_config", hide = true)]
    offset_commit_interval_ms: Option<String>,

    #[arg(long = "new.consumer", requires = "consumer_config", hide = true)]
    new_consumer: bool,

    #[arg(
        long = "consumer.rebalance.listener",
        value_name = "CLASS",
        requires = "consumer_config",
        hide = true
    )]
    consumer_rebalance_listener: Option<String>,

    #[arg(long = "rebalance.listener.args", value_name = "ARGS", requires = "consumer_config", hide = true)]
    rebalance_listener_args: Option<String>,

    #[arg(long = "message.handler", value_name = "CLASS", requires = "consumer_config", hide = true)]
    message_handler: Option<String>,

    #[arg(long = "message.handler.args", value_name = "ARGS", requires = "consumer_config", hide = true)]
    message_handler_args: Option<String>,
}

impl MirrorMakerArgs {
    /// The files that these flags name.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.file, &self.consumer_config, &self.producer_config].into_iter().flatten()
    }

    /// The links that were asked for in MirrorMaker's ways; None: none were. Reads the files.
    pub fn flows(self) -> Result<Option<Vec<Flow>>, ConfigError> {
        if let Some(path) = &self.file {
            if path.extension().is_some_and(|extension| extension == "toml") {
                return Err(ConfigError(format!(
                    "{0} looks like a file of Twinlog's: --config {0}",
                    path.display()
                )));
            }
            return mirrormaker::flows(&file(path)?, &self.clusters, &Machine).map(Some);
        }
        let (Some(consumer), Some(producer)) = (&self.consumer_config, &self.producer_config) else {
            return Ok(None);
        };
        let (consumer, producer) = (file(consumer)?, file(producer)?);
        let first = MirrorMaker1 {
            consumer,
            producer,
            flags: self.flags(),
            include: self.include.or(self.whitelist),
        };
        first.flow(&Machine).map(|flow| Some(vec![flow]))
    }

    /// The same for a command that also has Twinlog's own flags; `named` is the one that names a cluster or its file.
    pub fn flows_beside(self, named: Option<&str>) -> Result<Option<Vec<Flow>>, ConfigError> {
        match (self.flows()?, named) {
            (Some(_), Some(flag)) => Err(ConfigError(format!(
                "{flag} cannot stand beside MirrorMaker's configuration, which says where the clusters are"
            ))),
            (flows, _) => Ok(flows),
        }
    }

    /// MirrorMaker 1's flags that were given, but for those that name files and topics.
    fn flags(&self) -> Vec<(&'static str, String)> {
        let new_consumer = self.new_consumer.then(String::new);
        let all = [
            ("--num.streams", &self.num_streams),
            ("--abort.on.send.failure", &self.abort_on_send_failure),
            ("--offset.commit.interval.ms", &self.offset_commit_interval_ms),
            ("--new.consumer", &new_consumer),
            ("--consumer.rebalance.listener", &self.consumer_rebalance_listener),
            ("--rebalance.listener.args", &self.rebalance_listener_args),
            ("--message.handler", &self.message_handler),
            ("--message.handler.args", &self.message_handler_args),
        ];
        all.into_iter().filter_map(|(flag, value)| Some((flag, value.clone()?))).collect()
    }
}

fn file(path: &Path) -> Result<File, ConfigError> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Ok(File {
        name: path.display().to_string(),
        path: absolute.display().to_string(),
        content: content(path)?,
    })
}
