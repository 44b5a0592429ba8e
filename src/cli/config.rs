//! `twinlog config`.

use super::mirrormaker::MirrorMakerArgs;
use clap::{Args, CommandFactory, Subcommand};
use std::path::PathBuf;
use twinlog::config::mirrormaker::Flow;
use twinlog::config::{self, ConfigError, mirrormaker, nearest, security};

#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    pub command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Turn a configuration of MirrorMaker into twinlog.toml, and say what became of each key
    Import(Box<ImportArgs>),
    /// Say what a key means: one of Twinlog's, of MirrorMaker's, or of Kafka's clients
    Explain(ExplainArgs),
}

#[derive(Debug, Args)]
#[command(after_help = IMPORT_AFTER_HELP)]
pub struct ImportArgs {
    #[command(flatten)]
    mirror_maker: MirrorMakerArgs,

    /// Directory for the files, one for each flow: SOURCE-TARGET.toml [default: print them]
    #[arg(long, value_name = "DIR")]
    pub out_dir: Option<PathBuf>,
}

impl ImportArgs {
    /// Reads the files that are named.
    pub fn flows(self) -> Result<Vec<Flow>, ConfigError> {
        let missing = "what is to be imported? Name a connect-mirror-maker.properties, or MirrorMaker 1's files with \
                       --consumer.config and --producer.config";
        self.mirror_maker.flows()?.ok_or_else(|| ConfigError(missing.into()))
    }
}

#[derive(Debug, Args)]
#[command(after_help = EXPLAIN_AFTER_HELP)]
pub struct ExplainArgs {
    /// The key, as it stands in a file or on the command line
    key: String,
}

impl ExplainArgs {
    /// What there is to say; the error names the nearest key.
    pub fn answer(&self) -> Result<String, ConfigError> {
        let mut said = own(&self.key);
        said.extend(of_security(&self.key));
        said.extend(of_transform(&self.key));
        said.extend(mirrormaker::explain(&self.key));
        if !said.is_empty() {
            return Ok(said.join("\n\n"));
        }
        let own = config::keys().map(|(_, name)| name);
        let hint = match nearest(&self.key, own.chain(mirrormaker::names()).chain(security::names())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`twinlog mirror --help` lists Twinlog's".into(),
        };
        Err(ConfigError(format!("there is no key `{}`; {hint}", self.key)))
    }
}

/// What the help says of Twinlog's own keys of that name.
fn own(typed: &str) -> Vec<String> {
    let name = typed.trim_start_matches('-');
    let keys = config::keys().filter(|(table, key)| name == *key || name == format!("{table}.{key}"));
    keys.map(|(table, key)| format!("Twinlog: {key} in [{table}] of twinlog.toml{}", of_flag(table, key)))
        .collect()
}

fn of_security(key: &str) -> Option<String> {
    let key = key.strip_prefix("source.").or(key.strip_prefix("target.")).unwrap_or(key);
    let meaning = security::meaning(key)?;
    Some(format!(
        "Twinlog: {key} in [source] and [target] of twinlog.toml, and in --source-config and --target-config\n{meaning}"
    ))
}

/// The keys of [[transform]], but for those within its steps.
const TRANSFORM: [(&str, &str); 4] = [
    (
        "on-error",
        "what becomes of a record that a step cannot handle: stop (its partition), drop, keep [default: stop]",
    ),
    ("compression", "of what is written: source, none, gzip, snappy, lz4, zstd [default: source]"),
    ("compression-level", "level of gzip, lz4 or zstd [default: the codec's own]"),
    ("steps", "what is done with each record, one after the other"),
];

fn of_transform(key: &str) -> Option<String> {
    let key = key.strip_prefix("transform.").unwrap_or(key);
    let (_, meaning) = TRANSFORM.iter().find(|(name, _)| *name == key)?;
    Some(format!(
        "Twinlog: {key} in [[transform]] of twinlog.toml (README: Changing records on the way)\n{meaning}"
    ))
}

fn of_flag(table: &str, key: &str) -> String {
    let flag = if key == "bootstrap" { table } else { key };
    let command = super::Cli::command();
    let Some(argument) = command
        .find_subcommand("mirror")
        .and_then(|mirror| mirror.get_arguments().find(|argument| argument.get_long() == Some(flag)))
    else {
        return String::new();
    };
    let value = match argument.get_value_names() {
        Some([value, ..]) if argument.get_action().takes_values() => format!(" {value}"),
        _ => String::new(),
    };
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    format!(", --{flag}{value}\n{help}")
}

const IMPORT_AFTER_HELP: &str = "\
Passwords are not written down once more: the new file says in which file and under which key they stand.

Examples:
  twinlog config import connect-mirror-maker.properties                    # looks, and changes nothing
  twinlog config import connect-mirror-maker.properties --out-dir links
  twinlog plan --config links/east-west.toml                               # what would it do?
  twinlog config import --consumer.config consumer.properties --producer.config producer.properties --include 'orders|clicks'

Exit codes: 0 done, 1 a file cannot be written, 2 something in it cannot be had; the message names the key.";

const EXPLAIN_AFTER_HELP: &str = "\
Examples:
  twinlog config explain groups-interval-ms
  twinlog config explain 'east->west.sync.group.offsets.enabled'
  twinlog config explain sasl.jaas.config";

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(key: &str) -> Result<String, String> {
        ExplainArgs { key: key.into() }.answer().map_err(|error| error.0)
    }

    #[test]
    fn every_key_of_the_file_is_explained_by_its_flag() {
        for (table, key) in config::keys() {
            let text = explained(&format!("{table}.{key}")).unwrap();
            assert!(text.lines().nth(1).is_some_and(|help| help.len() > 20), "{table}.{key}: {text}");
        }
        let text = explained("connections-per-broker").unwrap();
        assert!(text.contains("[default: 1]") && text.contains("in [mirror]"), "{text}");
    }

    #[test]
    fn keys_of_both_are_explained_twice_and_unknown_ones_are_named() {
        let text = explained("topics").unwrap();
        assert!(
            text.contains("Twinlog: topics in [mirror]") && text.contains("MirrorMaker 2: topics"),
            "{text}"
        );
        let text = explained("sasl.jaas.config").unwrap();
        assert!(
            text.contains("a login module") && text.contains("the same key in [source] or [target]"),
            "{text}"
        );
        assert!(explained("on-error").unwrap().contains("[default: stop]"));
        assert!(
            explained("sync.topic.config.enabled")
                .unwrap_err()
                .contains("did you mean `sync.topic.configs.enabled`?")
        );
    }
}
