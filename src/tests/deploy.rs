//! What is in `deploy`, and what the README says to operators: held against the code that it speaks of.

use super::{none, root};
use std::collections::BTreeSet;
use std::fs;
use twinlog::config::Draft;

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// From one heading of the second level to the next.
fn runbook() -> String {
    let readme = read("README.md");
    let (_, rest) = readme.split_once("\n## Runbook\n").expect("a runbook");
    rest.split("\n## ").next().unwrap_or_default().to_owned()
}

fn headings(readme: &str) -> impl Iterator<Item = &str> {
    readme.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim())
}

#[test]
fn every_kind_of_stop_and_every_exit_code_is_in_the_runbook() {
    let (runbook, errors) = (runbook(), read("src/error.rs"));
    let (_, kinds) = errors.split_once("pub enum StopKind {").expect("the kinds");
    let kinds = kinds.split('}').next().unwrap_or_default().lines().map(str::trim);
    let kinds: Vec<&str> = kinds.filter_map(|line| line.strip_suffix(',')).collect();
    assert!(kinds.len() > 10, "{kinds:?}");
    let kinds = kinds.iter().map(|kind| format!("`{kind}`"));
    let codes = [0, 1, 2, 3, 4, 130].map(|code| format!("\n| {code}: "));
    none(&kinds.chain(codes).filter(|word| !runbook.contains(word)).collect::<Vec<_>>());
}

/// By how its message begins.
#[test]
fn whatever_ends_a_mirror_is_in_the_runbook() {
    let runbook = runbook();
    let mut begins = Vec::new();
    for file in ["src/edge/mirror.rs", "src/edge/runtime.rs"] {
        for message in read(file).split("#[error(").skip(1).filter_map(|after| after.split('"').nth(1)) {
            begins.extend(
                message.split(['{', '(', '`', ':', '.', ';']).next().map(|begin| begin.trim().to_owned()),
            );
        }
    }
    begins.retain(|begin| begin.contains(' '));
    assert!(begins.len() > 10, "{begins:?}");
    none(&begins.into_iter().filter(|begin| !runbook.contains(begin.as_str())).collect::<Vec<_>>());
}

#[test]
fn every_alert_leads_to_a_section() {
    let (readme, runbook, alerts) = (read("README.md"), runbook(), read("deploy/alerts.yaml"));
    let sections: BTreeSet<&str> = headings(&readme).collect();
    let mut wrong = Vec::new();
    for alert in alerts.split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap_or_default();
        let section = alert.split_once("runbook: \"README: ").and_then(|(_, rest)| rest.split('"').next());
        if !section.is_some_and(|section| sections.contains(section)) {
            wrong.push(format!("{name} names no section: {section:?}"));
        }
        if !runbook.contains(&format!("\n| `{name}` | ")) {
            wrong.push(format!("{name} has no row"));
        }
    }
    none(&wrong);
}

#[test]
fn links_within_the_readme_lead_somewhere() {
    let readme = read("README.md");
    let anchor = |heading: &str| {
        let kept = heading.to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-'));
        kept.collect::<String>().replace(' ', "-")
    };
    let there: BTreeSet<String> = headings(&readme).map(anchor).collect();
    let links = readme.split("](#").skip(1).filter_map(|rest| rest.split(')').next());
    none(&links.filter(|link| !there.contains(*link)).map(str::to_owned).collect::<Vec<_>>());
}

/// As they are, and with all that they propose.
#[test]
fn the_configurations_are_read() {
    let example = read("deploy/example.toml");
    let proposed = |line: &str| match line.strip_prefix('#') {
        Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => format!("{key}\n"),
        _ => format!("{line}\n"),
    };
    let map = read("deploy/kubernetes.yaml");
    let (_, in_map) = map.split_once("  twinlog.toml: |\n").expect("the configuration");
    let in_map = in_map.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    for (name, content) in [
        ("example.toml", example.clone()),
        ("example.toml, all of it", example.lines().map(proposed).collect()),
        ("kubernetes.yaml", in_map.map(|line| format!("{line}\n")).collect()),
    ] {
        // The files of secrets are not here.
        let mut pieces = content.split("${file:");
        let mut content = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            content += "secret";
            content += piece.split_once('}').map_or(piece, |(_, after)| after);
        }
        let mirror = Draft::from_toml(name, &content).and_then(Draft::build);
        let mirror = mirror.unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!((mirror.link.as_str(), mirror.topics.len()), ("orders", 2), "{name}");
    }
}
