//! Kafka's own Java clients, kept in one process for all commands (see scripts/judge/Judge.java for what it can do).

use crate::kafka::{repository, script};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub struct Judge {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What a consumer read from one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionContent {
    pub begin: i64,
    pub end: i64,
    pub records: u64,
    /// Over offset, timestamp, timestamp type, key, headers and value of each record.
    pub digest: String,
}

impl Judge {
    pub fn start() -> Self {
        let source = repository().join("scripts/judge/Judge.java");
        let program =
            script(&["program", &source.to_string_lossy()]).unwrap_or_else(|error| panic!("{error}"));
        let mut child = Command::new("java")
            .args(["-Xmx768m", "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=off"])
            .args(program.lines())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("java is installed by scripts/kafka");
        let commands = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, commands, answers }
    }

    /// Carries out one command: the lines of its answer, or its complaint.
    pub fn ask(&mut self, command: &str) -> Result<Vec<String>, String> {
        writeln!(self.commands, "{command}").map_err(|error| format!("the judge is gone: {error}"))?;
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.answers.read_line(&mut line).map_err(|error| error.to_string())?;
            match line.trim_end() {
                _ if read == 0 => return Err(format!("the judge ended during '{command}'")),
                "ok" => return Ok(lines),
                text => match text.strip_prefix("error ") {
                    Some(error) => return Err(format!("{command}: {error}")),
                    None => lines.push(text.to_owned()),
                },
            }
        }
    }

    /// Like [`Judge::ask`], for what has to work.
    pub fn must(&mut self, command: &str) -> Vec<String> {
        self.ask(command).unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn create(
        &mut self,
        bootstrap: &str,
        topic: &str,
        partitions: usize,
        replicas: usize,
        configs: &str,
    ) {
        self.must(&format!("create {bootstrap} {topic} {partitions} {replicas} {configs}"));
    }

    /// How many records were acknowledged.
    pub fn produce(&mut self, bootstrap: &str, topic: &str, seed: u64, bytes: u64, options: &str) -> u64 {
        let lines = self.must(&format!("produce {bootstrap} {topic} {seed} {bytes} {options}"));
        lines[0].parse().expect("a number of records")
    }

    /// What a consumer reads from each partition.
    pub fn read(&mut self, bootstrap: &str, topic: &str) -> BTreeMap<i32, PartitionContent> {
        self.must(&format!("read {bootstrap} {topic}")).iter().map(|line| content(line)).collect()
    }

    pub fn configs(&mut self, bootstrap: &str, topic: &str) -> Vec<String> {
        self.must(&format!("configs {bootstrap} {topic}"))
    }

    pub fn topics(&mut self, bootstrap: &str) -> Vec<String> {
        self.must(&format!("topics {bootstrap}"))
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn content(line: &str) -> (i32, PartitionContent) {
    let words: Vec<&str> = line.split(' ').collect();
    let number = |index: usize| words[index].parse::<i64>().expect("a number");
    let records = words[3].parse().expect("a number");
    let partition = words[0].parse().expect("a number");
    (partition, PartitionContent { begin: number(1), end: number(2), records, digest: words[4].to_owned() })
}
