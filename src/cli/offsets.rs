//! `twinlog offsets`.

use super::link::LinkArgs;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use twinlog::config::{ConfigError, Draft};

#[derive(Debug, Args)]
pub struct OffsetsArgs {
    #[command(subcommand)]
    pub command: OffsetsCommand,
}

#[derive(Debug, Subcommand)]
pub enum OffsetsCommand {
    /// Say which offset on the target an offset on the source became
    ///
    /// For positions that are kept outside Kafka (Flink, Spark, a database). An offset is taken as a consumer's position, the next
    /// record to read: whoever goes on at the answer reads every record once. Exit code 1 if an offset has no counterpart.
    Translate(TranslateArgs),
}

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct TranslateArgs {
    #[command(flatten)]
    link: LinkArgs,

    /// Topic of the offset
    #[arg(long, requires = "offset")]
    topic: Option<String>,

    /// Its partition
    #[arg(long, value_name = "N", default_value_t = 0)]
    partition: i32,

    /// The offset to translate
    #[arg(long, value_name = "N", requires = "topic", required_unless_present = "file")]
    offset: Option<i64>,

    /// File with many, one a line: topic, partition and offset, separated by blanks; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "offset")]
    file: Option<PathBuf>,

    /// From the target's offsets to the source's
    #[arg(long)]
    pub reverse: bool,

    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

impl TranslateArgs {
    pub fn offset(&self) -> Option<(String, i32, i64)> {
        Some((self.topic.clone()?, self.partition, self.offset?))
    }

    pub fn file(&self) -> Option<PathBuf> {
        self.file.clone()
    }

    pub fn draft(self) -> Result<Draft, ConfigError> {
        self.link.draft()
    }
}

const AFTER_HELP: &str = "\
Examples:
  twinlog offsets translate --target west:9092 --topic orders --partition 3 --offset 81230
  twinlog offsets translate --target west:9092 --file positions.txt --json
  ... | twinlog offsets translate --target west:9092 --file - --reverse";
