//! What no compiler checks about this source: lengths, words that must not stay, and which folder may use which.

mod deploy;

use std::fs;
use std::path::{Path, PathBuf};

/// A file longer than this has outgrown one reader.
const FILE_LINES_MAX: usize = 1000;
const LINE_CHARS_MAX: usize = 132;

/// Modules in dependency order: each may use those before it.
const ORDER: [&str; 15] = [
    "time", "limits", "error", "config", "wire", "records", "stats", "conn", "shard", "control", "broker",
    "load", "report", "sim", "edge",
];

/// What only `edge`, the command line and the tests may name.
const IMPURE: [&str; 9] = [
    "glommio",
    "rustix",
    "libc::",
    "std::thread",
    "std::process",
    "std::fs",
    "TcpStream",
    "Instant::now",
    "SystemTime",
];

struct Source {
    /// Relative to the repository, with forward slashes.
    path: String,
    text: String,
}

impl Source {
    /// The module that the file belongs to: `wire` of `src/wire/batch.rs`.
    fn module(&self) -> &str {
        let inside = self.path.trim_start_matches("src/");
        inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
    }

    /// Lines with their numbers, without comments and without the tests at the end of the file.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines()
            .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
            .map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
    }

    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    fn at(&self, number: usize) -> String {
        format!("{}:{number}", self.path)
    }
}

#[test]
fn files_and_lines_are_short_enough() {
    let mut wrong = Vec::new();
    for source in rust_sources() {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{} has {lines} lines, more than {FILE_LINES_MAX}", source.path));
        }
        for (number, line) in source.lines() {
            if line.chars().count() > LINE_CHARS_MAX {
                wrong.push(format!("{} is longer than {LINE_CHARS_MAX} characters", source.at(number)));
            }
        }
    }
    none(&wrong);
}

#[test]
fn nothing_unfinished_is_left() {
    let marks = ["todo!(", "unimplemented!(", "dbg!(", "TODO", "FIXME", "XXX", "allow(dead_code)"];
    none(&mentions(&rust_sources(), &marks));
}

/// No path of somebody's machine.
#[test]
fn no_machine_is_named() {
    none(&mentions(&all_texts(), &["/root/", "/home/"]));
}

#[test]
fn pure_modules_name_nothing_impure() {
    let mut wrong = Vec::new();
    for source in rust_sources().into_iter().filter(|source| is_pure(source.module())) {
        for (number, line) in source.code() {
            for word in IMPURE.iter().filter(|word| line.contains(*word)) {
                wrong.push(format!("{} names {word}", source.at(number)));
            }
        }
    }
    none(&wrong);
}

#[test]
fn modules_use_only_what_stands_above_them() {
    let mut wrong = Vec::new();
    for source in rust_sources() {
        let Some(place) = rank(source.module()) else { continue };
        for (number, line) in source.code() {
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if rank(&used).is_some_and(|rank| rank > place) {
                    wrong.push(format!("{}: {} must not use {used}", source.at(number), source.module()));
                }
            }
        }
    }
    none(&wrong);
}

#[test]
fn every_module_has_its_place_in_the_order() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).expect("src/lib.rs");
    let modules = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let missing: Vec<_> = modules.filter(|module| rank(module).is_none()).map(str::to_owned).collect();
    none(&missing);
}

fn rank(module: &str) -> Option<usize> {
    ORDER.iter().position(|each| *each == module)
}

fn is_pure(module: &str) -> bool {
    // Reading the configuration file is the one thing that config does with the world.
    rank(module).is_some() && module != "edge" && module != "config"
}

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn mentions(sources: &[Source], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|source| source.path != "src/tests/tidy.rs") {
        for (number, line) in source.lines() {
            for word in words.iter().filter(|word| line.contains(*word)) {
                found.push(format!("{} says {word}", source.at(number)));
            }
        }
    }
    found
}

fn rust_sources() -> Vec<Source> {
    let mut found = Vec::new();
    for folder in ["src", "bench"] {
        collect(&root().join(folder), &["rs"], &mut found);
    }
    assert!(found.len() > 10, "the sources were not found");
    found
}

fn all_texts() -> Vec<Source> {
    let mut found = rust_sources();
    for folder in ["scripts", "perf", ".ci", "deploy"] {
        collect(
            &root().join(folder),
            &["", "sh", "md", "xml", "java", "json", "csv", "py", "properties", "toml", "yaml", "service"],
            &mut found,
        );
    }
    for file in ["README.md", "Cargo.toml", ".clippy.toml", ".deny.toml", ".gitignore"] {
        add(&root().join(file), &mut found);
    }
    found
}

fn collect(folder: &Path, extensions: &[&str], found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, extensions, found);
        } else if extensions.contains(&path.extension().and_then(|name| name.to_str()).unwrap_or_default()) {
            add(&path, found);
        }
    }
}

fn add(path: &Path, found: &mut Vec<Source>) {
    if let Ok(text) = fs::read_to_string(path) {
        let path = path.strip_prefix(root()).unwrap_or(path).to_string_lossy().replace('\\', "/");
        found.push(Source { path, text });
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
