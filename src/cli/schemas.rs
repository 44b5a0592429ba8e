//! `twinlog schemas`.

use super::link::content;
use super::{Patterns, some_of};
use clap::Args;
use std::path::PathBuf;
use twinlog::config::placeholder::Machine;
use twinlog::config::{ConfigError, Properties, Registry, text};
use twinlog::edge::schemas::Settings;

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct SchemasArgs {
    /// Registry to copy from
    #[arg(long, value_name = "URL")]
    from: Option<String>,

    /// Registry to copy to
    #[arg(long, value_name = "URL")]
    to: Option<String>,

    /// File with settings of a client of the first (schema.registry.url, basic.auth.user.info, bearer.auth.token,
    /// schema.registry.ssl.truststore.*)
    #[arg(long, value_name = "FILE")]
    from_config: Option<PathBuf>,

    /// The same for the second
    #[arg(long, value_name = "FILE")]
    to_config: Option<PathBuf>,

    /// Subjects to copy, and with them what they refer to: regular expressions that match the whole name; may be given again
    /// [default: all]
    #[arg(long, value_name = "REGEX[,…]", value_parser = text::patterns)]
    subjects: Vec<Patterns>,

    /// Only say what would be copied, and what differs
    #[arg(long)]
    dry_run: bool,
}

impl SchemasArgs {
    /// Reads the files that are named.
    pub fn settings(self) -> Result<Settings, ConfigError> {
        Ok(Settings {
            from: registry("--from", self.from, self.from_config)?,
            to: registry("--to", self.to, self.to_config)?,
            subjects: some_of(self.subjects).unwrap_or_default(),
            dry_run: self.dry_run,
        })
    }
}

fn registry(flag: &str, url: Option<String>, file: Option<PathBuf>) -> Result<Registry, ConfigError> {
    let properties = match file {
        Some(path) => Properties::from_file(&path.display().to_string(), &content(&path)?)?,
        None => Properties::default(),
    };
    Registry::read(url, &properties, &Machine).map_err(|error| ConfigError(format!("{flag}: {error}")))
}

const AFTER_HELP: &str = "\
Versions keep their numbers and ids, so that mirrored records can be read with the target's registry: subjects are put into IMPORT
mode meanwhile, and back. Deleted versions come along as deleted ones, since records may have their ids. Compatibility levels
are copied where the target has none. What is there already and the same is left alone; what differs is told, and left alone, too.

Examples:
  twinlog schemas --from http://registry-east:8081 --to http://registry-west:8081 --dry-run
  twinlog schemas --from http://registry-east:8081 --to-config west.properties --subjects 'orders-.*'

  # west.properties
  schema.registry.url=https://registry-west:8081
  basic.auth.user.info=mirror:${file:/run/secrets/registry-password}

Exit codes: 0 the target has all that was asked for, 1 something differs or failed, 2 wrong usage.";
