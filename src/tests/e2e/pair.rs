//! Two clusters and a judge, for tests that share what is dear to start.

use crate::exact::same;
use crate::judge::Judge;
use crate::kafka::{Cluster, Place};
use crate::mirror::Twinlog;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub struct Pair {
    pub source: Cluster,
    pub target: Cluster,
    pub judge: Judge,
}

impl Pair {
    /// So many brokers on each side, with these settings.
    pub fn start(
        (source, target): (usize, usize),
        source_settings: &[&str],
        target_settings: &[&str],
    ) -> Self {
        Self {
            source: Cluster::start(Place::Source, source, source_settings),
            target: Cluster::start(Place::Target, target, target_settings),
            judge: Judge::start(),
        }
    }

    /// `twinlog` with this command, from the source to the target.
    pub fn twinlog(&self, words: &[&str]) -> Twinlog {
        Twinlog::new(words).with(&["--source", &self.source.bootstrap, "--target", &self.target.bootstrap])
    }

    /// A mirror that catches up, by a link of its own name.
    pub fn mirror(&self, topics: &str, link: &str) -> Twinlog {
        self.twinlog(&["mirror", "--topics", topics, "--link", link, "--zombie-bound-ms", "2000"])
            .until_caught_up()
    }

    /// A command of the judge's for the source: what it is, the topic, and the rest.
    #[track_caller]
    pub fn on_source(&mut self, command: &str, rest: &str) -> Vec<String> {
        self.judge.must(&format!("{command} {} {rest}", self.source.bootstrap))
    }

    /// As [`Pair::on_source`], for the target.
    #[track_caller]
    pub fn on_target(&mut self, command: &str, rest: &str) -> Vec<String> {
        self.judge.must(&format!("{command} {} {rest}", self.target.bootstrap))
    }

    /// Where the topic's logs end on the target, added up; 0 before they are there.
    pub fn target_end(&mut self, topic: &str) -> i64 {
        let all = self.judge.ask(&format!("ends {} {topic}", self.target.bootstrap)).unwrap_or_default();
        all.iter().filter_map(|line| line.split(' ').next_back()?.parse::<i64>().ok()).sum()
    }

    /// The topic is the same on both sides, offsets included, for readers of either isolation level on the target.
    #[track_caller]
    pub fn same(&mut self, topic: &str) {
        same(&mut self.judge, &self.source, &self.target, topic);
        let committed = self.on_target("read", topic);
        assert_eq!(committed, self.on_target("read", &format!("{topic} uncommitted")), "{topic}");
    }

    /// The topic has the same records in the same order on both sides, whatever their offsets.
    #[track_caller]
    pub fn same_values(&mut self, topic: &str) {
        let read = format!("{topic} values");
        assert_eq!(values(&self.on_source("read", &read)), values(&self.on_target("read", &read)), "{topic}");
    }
}

/// Partition, number of records and a digest of their contents without offsets, of what the judge read.
pub fn values(lines: &[String]) -> Vec<String> {
    let columns = lines.iter().map(|line| line.split(' ').collect::<Vec<_>>());
    columns.map(|words| format!("{} {} {}", words[0], words[3], words[5])).collect()
}

/// A case and its name.
pub type Case<W> = (&'static str, fn(&mut W));

/// Cases that share a world. Each has its say even if another one failed. TWINLOG_E2E_CASE names one to run alone.
#[track_caller]
pub fn run_cases<W>(world: &mut W, cases: &[Case<W>]) {
    let only = std::env::var("TWINLOG_E2E_CASE").ok();
    let mut failed = Vec::new();
    for (name, case) in cases.iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)) {
        let begin = std::time::Instant::now();
        if catch_unwind(AssertUnwindSafe(|| case(world))).is_err() {
            failed.push(*name);
        }
        println!("case '{name}': {:.0} s", begin.elapsed().as_secs_f64());
    }
    assert!(failed.is_empty(), "{failed:?}; what each said is above");
}
