//! `twinlog take-over`.

use super::link::{LinkArgs, content};
use super::mirrormaker::MirrorMakerArgs;
use clap::Args;
use std::collections::BTreeMap;
use std::path::PathBuf;
use twinlog::config::{ConfigError, Draft};
use twinlog::edge::take_over::Settings;

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct TakeOverArgs {
    #[command(flatten)]
    mirror_maker: MirrorMakerArgs,

    #[command(flatten)]
    link: LinkArgs,

    /// The other mirror's consumer group on the source: where its records are not found again, its committed offsets count
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,

    /// The same from a file, with a line `TOPIC PARTITION OFFSET` for each partition: the offset of the next record to be mirrored
    #[arg(long, value_name = "FILE")]
    offsets_file: Option<PathBuf>,

    /// Only say where the link would go on
    #[arg(long)]
    dry_run: bool,

    /// Print the outcome as one JSON object
    #[arg(long)]
    pub json: bool,
}

impl TakeOverArgs {
    /// What to take over: one link, or those of MirrorMaker's configuration. Reads the files.
    pub fn settings(self) -> Result<Vec<Settings>, ConfigError> {
        let told = match &self.offsets_file {
            Some(path) => told(&path.display().to_string(), &content(path)?)?,
            None => BTreeMap::new(),
        };
        let flows = self.mirror_maker.flows_beside(self.link.names_cluster())?;
        let flags = self.link.draft()?;
        let links = match flows {
            None => vec![(flags, None)],
            Some(flows) => flows.into_iter().map(|flow| (flags.clone().or(flow.draft), flow.group)).collect(),
        };
        let settings = |(draft, group): (Draft, Option<String>)| {
            let (group, told) = (self.group.clone().or(group), told.clone());
            Ok(Settings { config: draft.build()?, group, told, dry_run: self.dry_run })
        };
        links.into_iter().map(settings).collect()
    }
}

fn told(name: &str, content: &str) -> Result<BTreeMap<(String, i32), i64>, ConfigError> {
    let mut told = BTreeMap::new();
    let lines = (1..).zip(content.lines().map(str::trim));
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let wrong = || ConfigError(format!("{name}:{number}: expected a topic, a partition and an offset"));
        let [topic, partition, offset] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            return Err(wrong());
        };
        let (partition, offset) = partition.parse().ok().zip(offset.parse().ok()).ok_or_else(wrong)?;
        if partition < 0 || offset < 0 {
            return Err(wrong());
        }
        told.insert((topic.to_owned(), partition), offset);
    }
    Ok(told)
}

const AFTER_HELP: &str = "\
For topics that another mirror (MirrorMaker 1 or 2, uReplicator, Brooklin, ...) has filled so far: stop it, take over, then start
`twinlog mirror` with the same flags. For each partition the last records on the target are looked for in the source, so that
nothing is lost or doubled however the other mirror ended. Topics have to be in the same partitions, and their records unchanged;
for others say where it stood.

Examples:
  MirrorMaker 2 with its prefix; first only look:
    twinlog take-over --source east:9092 --target west:9092 --topics 'orders|clicks' --prefix east. --dry-run
    twinlog take-over --source east:9092 --target west:9092 --topics 'orders|clicks' --prefix east.
    twinlog mirror    --source east:9092 --target west:9092 --topics 'orders|clicks' --prefix east.

  The same by its own file:
    twinlog take-over connect-mirror-maker.properties --dry-run

  MirrorMaker 1, which chose partitions by itself: by its group's offsets
    twinlog take-over --source east:9092 --target west:9092 --topics orders --group mirrormaker

Exit code 3: some partitions were left out.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_an_offsets_file() {
        let found = told("f", "# exported\norders 0 17\n\n  clicks 3 0\n").unwrap();
        assert_eq!(found, [(("orders".into(), 0), 17), (("clicks".into(), 3), 0)].into());
        for bad in ["orders 0", "orders x 1", "orders 0 -1", "orders 0 1 2"] {
            assert!(
                told("f", &format!("a 0 0\n{bad}\n")).unwrap_err().0.starts_with("f:2: expected"),
                "{bad}"
            );
        }
    }
}
