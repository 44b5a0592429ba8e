//! Where the results go. Room is made before the run: nobody measures for an hour to hear then that the disk is full.

use super::facts::{Facts, facts};
use super::{Outcome, Settings};
use crate::report::{self, Page};
use crate::stats::{Timeline, units};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

/// What a page, and what any other file may come to.
const PAGE_BYTES: usize = 4 << 20;
const OTHER_BYTES: usize = 1 << 20;

/// The files that were asked for.
pub struct Files {
    json: Option<Reserved>,
    report: Option<Reserved>,
    svg_dir: Option<PathBuf>,
}

impl Files {
    /// Makes sure that they can be written. The error says which not, and why.
    pub fn reserve(
        json: Option<&Path>,
        report: Option<&Path>,
        svg_dir: Option<&Path>,
        hlog: Option<&Path>,
    ) -> Result<Self, String> {
        if let Some(folder) = svg_dir {
            fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
            // Goes again at once.
            Reserved::new(&folder.join("room.svg"), OTHER_BYTES)?;
        }
        let files = Self {
            json: json.map(|path| Reserved::new(path, OTHER_BYTES)).transpose()?,
            report: report.map(|path| Reserved::new(path, PAGE_BYTES)).transpose()?,
            svg_dir: svg_dir.map(Path::to_owned),
        };
        if let Some(path) = hlog {
            // Others write it, while it is measured. The room must be there beside that of the rest.
            Reserved::new(path, OTHER_BYTES)?;
        }
        Ok(files)
    }

    /// Writes all that can be written. The error says what could not.
    pub fn write(self, settings: &Settings, outcome: &Outcome) -> Result<(), String> {
        let facts = [facts(), settings_of(settings)].concat();
        let mut troubles = Vec::new();
        if let Some(file) = self.json {
            troubles.extend(file.write(&json(&facts, outcome)).err());
        }
        let nothing = Timeline::new(1);
        let page = Page {
            facts: &facts,
            report: &outcome.report,
            phases: &outcome.phases,
            timeline: outcome.recorded.timeline.as_ref().unwrap_or(&nothing),
            heat: &outcome.recorded.heat,
            stages: &outcome.recorded.stages,
        };
        if let Some(file) = self.report {
            troubles.extend(report::html(&page).and_then(|text| file.write(&text)).err());
        }
        if let Some(folder) = self.svg_dir {
            troubles.extend(write_pictures(&folder, &page).err());
        }
        if troubles.is_empty() { Ok(()) } else { Err(troubles.join("; ")) }
    }
}

fn json(facts: &Facts, outcome: &Outcome) -> String {
    let facts: serde_json::Map<String, serde_json::Value> =
        facts.iter().map(|(name, value)| (name.to_lowercase(), value.clone().into())).collect();
    let Outcome { report, recorded, .. } = outcome;
    let json = report.json(facts.into(), recorded.omb.clone(), &recorded.total);
    format!("{json:#}\n")
}

fn write_pictures(folder: &Path, page: &Page<'_>) -> Result<(), String> {
    for picture in report::pictures(page)? {
        Reserved::new(&folder.join(&picture.file_name), 0)?.write(&picture.svg)?;
    }
    Ok(())
}

/// What was asked for and does not stand in the report.
fn settings_of(settings: &Settings) -> Facts {
    let Settings { external, size_bytes, backlog_bytes, .. } = settings;
    let clusters = match external {
        None => "two synthetic ones, in this process".to_owned(),
        Some((source, target)) => {
            let list = |addresses: &[crate::config::Address]| {
                addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
            };
            format!("from {} to {}", list(source), list(target))
        }
    };
    let size = |bytes: u64| if bytes == 0 { "none".to_owned() } else { units::memory(bytes) };
    let rate = settings.bytes_per_second.map_or("half of that speed".to_owned(), units::byte_rate);
    let parts = format!(
        "backlog {}; at full speed {}; {} s at {rate}",
        size(*backlog_bytes),
        size(*size_bytes),
        settings.seconds
    );
    vec![("Clusters", clusters), ("Parts", parts)]
}

/// A file that takes its place when it is written, and leaves what was there alone until then.
struct Reserved {
    path: PathBuf,
    file: File,
    /// Where it is written meanwhile; None for what is no file, such as a device or a pipe.
    aside: Option<PathBuf>,
}

impl Reserved {
    /// With room for so many bytes.
    fn new(path: &Path, room_bytes: usize) -> Result<Self, String> {
        let failed = |error: io::Error| failed(path, &error);
        // What a link points to is written, not the link.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if fs::metadata(&path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
            let file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
            return Ok(Self { path, file, aside: None });
        }
        if path.is_dir() {
            return Err(format!("cannot write {}: it is a folder; name a file in it", path.display()));
        }
        if let Ok(found) = fs::metadata(&path)
            && found.permissions().readonly()
        {
            return Err(format!("cannot write {}: it is read-only", path.display()));
        }
        let name = path.file_name().ok_or_else(|| format!("{} is no name for a file", path.display()))?;
        let aside = path.with_file_name(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
        let file = File::create(&aside).map_err(failed)?;
        let mut reserved = Self { path: path.clone(), file, aside: Some(aside) };
        let room = vec![0; room_bytes];
        reserved.file.write_all(&room).and_then(|()| reserved.file.sync_data()).map_err(failed)?;
        Ok(reserved)
    }

    fn write(mut self, text: &str) -> Result<(), String> {
        let written = match self.aside.clone() {
            None => self.file.write_all(text.as_bytes()),
            Some(aside) => self
                .file
                .rewind()
                .and_then(|()| self.file.write_all(text.as_bytes()))
                .and_then(|()| self.file.set_len(text.len() as u64))
                .and_then(|()| fs::rename(aside, &self.path)),
        };
        written.map_err(|error| failed(&self.path, &error))?;
        self.aside = None;
        Ok(())
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(aside) = &self.aside {
            // It is of no use to anybody.
            let _ = fs::remove_file(aside);
        }
    }
}

fn failed(path: &Path, error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "; the folder must exist",
        io::ErrorKind::StorageFull => "; make room, or choose another place",
        io::ErrorKind::PermissionDenied => "; choose a place where this user may write",
        _ => "",
    };
    format!("cannot write {}: {error}{hint}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_there_stays_until_the_new_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.html");
        fs::write(&path, "old").unwrap();
        drop(Reserved::new(&path, 1000).unwrap());
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names(folder.path()).len()), ("old", 1));
        Reserved::new(&path, 1000).unwrap().write("new").unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names(folder.path()).len()), ("new", 1));
    }

    #[test]
    fn what_cannot_be_written_is_told_before_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let error = |json: Option<&Path>, report, svg_dir| {
            Files::reserve(json, report, svg_dir, None).map(drop).unwrap_err()
        };
        let missing = folder.path().join("nowhere/out.json");
        let text = error(Some(&missing), None, None);
        assert!(text.contains("nowhere/out.json") && text.contains("folder must exist"), "{text}");
        let text = error(None, Some(folder.path()), None);
        assert!(text.contains("it is a folder"), "{text}");
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let text = error(None, None, Some(&file.join("pictures")));
        assert!(text.contains("file/pictures"), "{text}");
        assert_eq!(names(folder.path()), ["file"]);
    }

    #[test]
    fn a_full_disk_is_told() {
        let full = failed(Path::new("x.html"), &io::Error::from_raw_os_error(28));
        assert!(full.contains("No space left") && full.contains("make room"), "{full}");
        let Ok(device) = Reserved::new(Path::new("/dev/full"), 10) else { return };
        assert!(device.write("text").unwrap_err().contains("/dev/full"));
    }
}
