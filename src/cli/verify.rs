//! `twinlog verify`.

use super::link::{GroupArgs, LinkArgs};
use clap::Args;
use std::path::PathBuf;
use twinlog::config::{ConfigError, text};
use twinlog::edge::verify::Settings;

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct VerifyArgs {
    #[command(flatten)]
    link: LinkArgs,

    #[command(flatten)]
    groups: GroupArgs,

    /// Compute every batch's checksum, instead of believing the ones that the brokers hold
    #[arg(long)]
    deep: bool,

    /// Look at this share of the data only, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u8).range(1..=100))]
    sample: u8,

    /// Read no more than this from both clusters together, in MB/s [default: as fast as it goes]
    #[arg(long, value_name = "MB/S")]
    rate: Option<u64>,

    /// Keep progress in this file, and go on from what it says
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,

    /// Print the outcome as one JSON object
    #[arg(long)]
    pub json: bool,
}

impl VerifyArgs {
    /// Without --topics, all that the link mirrors is meant.
    pub fn settings(self) -> Result<Settings, ConfigError> {
        let mut draft = self.groups.draft().or(self.link.draft()?);
        draft.topics = draft.topics.or_else(|| text::patterns(".*").ok());
        Ok(Settings {
            config: draft.build()?,
            deep: self.deep,
            sample_percent: self.sample,
            bytes_per_second: self.rate.map(|megabytes| megabytes.saturating_mul(1_000_000)),
            resume: self.resume,
        })
    }
}

const AFTER_HELP: &str = "\
Compares every partition that the link has mirrored, up to where it is mirrored at the start: offsets, timestamps, keys, values,
headers. Batches that came through untouched are compared by their checksums and not opened; what had to be rebuilt is compared
record by record. A mirror may run meanwhile. Settings of the topics are compared, too, and with --groups the groups' offsets.

Examples:
  twinlog verify --source east:9092 --target west:9092
  twinlog verify --config twinlog.toml --deep --rate 50 --resume verify.json

Exit codes: 0 the same, 1 something differs (the first difference of each partition is printed) or could not be compared.";
