//! `twinlog schemas`: subjects copied from one Schema Registry to another, with the same ids and versions, so that what is mirrored
//! can be read with the target's registry.

mod registry;
#[cfg(test)]
mod tests;

use crate::config;
use crate::control::schemas::{Plan, Subjects, Version, plan};
use regex::Regex;
use registry::Registry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};

/// The mode in which a registry takes ids and versions from whoever registers.
const IMPORT: &str = "IMPORT";

pub struct Settings {
    pub from: config::Registry,
    pub to: config::Registry,
    /// Empty: all. What the subjects refer to is copied with them.
    pub subjects: Vec<Regex>,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// What was done, or would be.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Versions that the target has got, by subject.
    pub copied: BTreeMap<String, BTreeSet<i32>>,
    /// Subjects that have got a compatibility level.
    pub levels: Vec<String>,
    pub same: usize,
    /// What is not as on the source.
    pub problems: Vec<String>,
}

/// The error: it is not known what would have to be done. Whatever fails later is among the problems, and what it left undone is
/// done by running it again.
pub fn run(settings: &Settings, stop: &AtomicBool) -> Result<Outcome, String> {
    let (source, target) = (Registry::new(&settings.from)?, Registry::new(&settings.to)?);
    let ours = selected(&source, &settings.subjects)?;
    if ours.is_empty() {
        return Err("no subject of the source matches; check --subjects".into());
    }
    let mut theirs = Subjects::new();
    for name in ours.keys() {
        theirs.insert(name.clone(), target.subject(name)?);
    }
    let plan = plan(&ours, &theirs);
    let mut outcome = Outcome { same: plan.same, problems: plan.different.clone(), ..Outcome::default() };
    if ours.values().any(|subject| subject.compatibility.is_none()) {
        let defaults = (source.compatibility(None)?, target.compatibility(None)?);
        if let (Some(ours), Some(theirs)) = &defaults
            && ours != theirs
        {
            outcome.problems.push(format!(
                "the default compatibility level is {ours} at the source, {theirs} at the target; some subjects have no other"
            ));
        }
    }
    if settings.dry_run {
        plan.missing.iter().for_each(|version| outcome.has(version));
        outcome.levels = plan.levels.iter().map(|(name, _)| (*name).to_owned()).collect();
        return Ok(outcome);
    }
    // What was done by then is worth telling, too.
    if let Err(error) = carry_out(&target, &plan, stop, &mut outcome) {
        outcome.problems.push(error);
    }
    Ok(outcome)
}

fn carry_out(
    target: &Registry,
    plan: &Plan<'_>,
    stop: &AtomicBool,
    outcome: &mut Outcome,
) -> Result<(), String> {
    register(target, plan, stop, outcome)?;
    for (name, level) in &plan.levels {
        target.set_compatibility(name, level)?;
        outcome.levels.push((*name).to_owned());
    }
    Ok(())
}

impl Outcome {
    fn has(&mut self, version: &Version) {
        self.copied.entry(version.subject.clone()).or_default().insert(version.version);
    }
}

/// The subjects that are meant, and those that they refer to.
fn selected(source: &Registry, patterns: &[Regex]) -> Result<Subjects, String> {
    let is_meant =
        |name: &String| patterns.is_empty() || patterns.iter().any(|pattern| pattern.is_match(name));
    let mut subjects = Subjects::new();
    let mut open: Vec<String> = source.subjects()?.into_iter().filter(is_meant).collect();
    while let Some(name) = open.pop() {
        if subjects.contains_key(&name) {
            continue;
        }
        let subject = source.subject(&name)?;
        let references = subject.versions.values().flat_map(|version| &version.references);
        open.extend(references.map(|reference| reference.subject.clone()));
        subjects.insert(name, subject);
    }
    Ok(subjects)
}

/// Registers what is missing, in IMPORT mode. However it ends, each subject gets its old mode back.
fn register(
    target: &Registry,
    plan: &Plan<'_>,
    stop: &AtomicBool,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let names: BTreeSet<&str> = plan.missing.iter().map(|version| version.subject.as_str()).collect();
    let mut modes = Vec::new();
    let begun = names.into_iter().try_for_each(|name| {
        let mode = target.mode(name)?;
        target.set_mode(name, Some(IMPORT))?;
        modes.push((name, mode));
        Ok(())
    });
    let done = begun.and_then(|()| register_all(target, &plan.missing, stop, outcome));
    for (name, mode) in modes {
        if let Err(error) = target.set_mode(name, mode.as_deref()) {
            let mode = mode.as_deref().unwrap_or("the registry's own");
            outcome
                .problems
                .push(format!("{name} is left in IMPORT mode; set it back to {mode} by hand: {error}"));
        } else if mode.as_deref() == Some(IMPORT) {
            outcome.problems.push(format!(
                "{name} was in IMPORT mode before and still is; clients cannot register there"
            ));
        }
    }
    done
}

fn register_all(
    target: &Registry,
    missing: &[&Version],
    stop: &AtomicBool,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let mut deleted = Vec::new();
    for &version in missing.iter().take_while(|_| !stop.load(Ordering::Acquire)) {
        match target.register(version)? {
            Ok(()) => {
                outcome.has(version);
                deleted.extend(version.is_deleted.then_some(version));
            }
            Err(problem) => {
                outcome.problems.push(format!("{} version {}: {problem}", version.subject, version.version));
            }
        }
    }
    // What refers to others goes first.
    for version in deleted.iter().rev() {
        if let Err(problem) = target.delete(version)? {
            let Version { subject, version, .. } = version;
            outcome.problems.push(format!(
                "{subject} version {version} could not be deleted as on the source: {problem}"
            ));
        }
    }
    match stop.load(Ordering::Acquire) {
        true => Err("stopped before everything was copied; run it again for the rest".into()),
        false => Ok(()),
    }
}

/// For people.
pub fn show(outcome: &Outcome, dry_run: bool) -> String {
    let (to_come, levels) = match dry_run {
        true => ("to copy", "to set"),
        false => ("copied", "set"),
    };
    let mut text = String::new();
    for (subject, versions) in &outcome.copied {
        let numbers: Vec<String> = versions.iter().map(i32::to_string).collect();
        let _ = writeln!(text, "{to_come}: {subject} {}", numbers.join(", "));
    }
    for problem in &outcome.problems {
        let _ = writeln!(text, "problem: {problem}");
    }
    let copied: usize = outcome.copied.values().map(BTreeSet::len).sum();
    let Outcome { levels: set, same, problems, .. } = outcome;
    let _ = writeln!(
        text,
        "versions {to_come}: {copied}, there already: {same}; compatibility levels {levels}: {}; problems: {}",
        set.len(),
        problems.len()
    );
    text
}
