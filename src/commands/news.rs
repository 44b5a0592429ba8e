//! The configuration of a running mirror, read again when SIGHUP says so.

use crate::cli::MirrorArgs;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use twinlog::config::{Mirror, changes};
use twinlog::edge::mirror;
use twinlog::edge::signals::Stop;

/// Files that are written to are read again, but not for ever.
const READINGS_MAX: usize = 100;

/// What is to run from now on, once there is something new.
#[derive(Clone, Default)]
pub struct News(Arc<Mutex<Option<Vec<Mirror>>>>);

impl News {
    pub fn take(&self) -> Option<Vec<Mirror>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Listens to signals; to SIGHUP, too, if there are files to read again. What is wrong is told, and changes nothing.
    pub fn listen(self, args: MirrorArgs) -> std::io::Result<Stop> {
        let files = args.files();
        if files.is_empty() {
            return Stop::on_signals();
        }
        let mut before = contents(&files);
        Stop::on_signals_or_news(move || {
            let (now, links) = read(&args, &files);
            let links = match links {
                Ok(links) => links,
                Err(error) => {
                    tracing::error!("the configuration is not taken, the one before stays in force: {error}");
                    return false;
                }
            };
            let lines = differences(&before, &now);
            if lines.is_empty() {
                tracing::info!("the configuration is as it was");
                return false;
            }
            lines.iter().for_each(|line| tracing::info!("configuration: {line}"));
            tracing::info!("the mirror ends cleanly, and begins again with that");
            before = now;
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(links);
            true
        })
    }
}

/// What the files say, and what there would be to run by that: read again while somebody writes to them.
fn read(args: &MirrorArgs, files: &[PathBuf]) -> (BTreeMap<PathBuf, String>, Result<Vec<Mirror>, String>) {
    let mut said = contents(files);
    for _ in 1..READINGS_MAX {
        let links = links(args.clone());
        let now = contents(files);
        if now == said {
            return (now, links);
        }
        said = now;
    }
    (said, Err("it changes all the time".into()))
}

/// What there would be to run.
fn links(args: MirrorArgs) -> Result<Vec<Mirror>, String> {
    let asked = args.links().map_err(|error| error.to_string())?;
    let build = |draft: twinlog::config::Draft| {
        let config = draft.build().map_err(|error| error.to_string())?;
        mirror::check(&config).map_err(|error| error.to_string())?;
        Ok(config)
    };
    asked.into_iter().map(|link| build(link.draft)).collect()
}

fn contents(files: &[PathBuf]) -> BTreeMap<PathBuf, String> {
    let read = |file: &PathBuf| Some((file.clone(), std::fs::read_to_string(file).ok()?));
    files.iter().filter_map(read).collect()
}

/// Of files in TOML each key that differs, of others only that they do.
fn differences(before: &BTreeMap<PathBuf, String>, now: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let mut lines = Vec::new();
    for (file, content) in now {
        let known = before.get(file).map_or("", String::as_str);
        match file.extension().is_some_and(|extension| extension == "toml") {
            true => lines.extend(changes(known, content)),
            false if known != content => lines.push(format!("{} has changed", file.display())),
            false => {}
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_other_files_it_is_only_said_that_they_changed() {
        let files = |toml: &str, properties: &str| {
            let files = [("a.toml", toml), ("b.properties", properties)];
            files.map(|(name, content)| (PathBuf::from(name), content.to_owned())).into()
        };
        let before = files("[mirror]\nmax-rate = '1MB/s'\n", "ssl.key.password=old\n");
        let now = files("[mirror]\nmax-rate = '2MB/s'\n", "ssl.key.password=new\n");
        assert_eq!(
            differences(&before, &now),
            ["mirror.max-rate: 1MB/s -> 2MB/s", "b.properties has changed"]
        );
        assert!(differences(&now, &now).is_empty());
    }
}
