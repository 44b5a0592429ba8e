//! A real Prometheus that scrapes a mirror, by the example of the README, with the alert rules and the expressions of the
//! dashboard that are deployed; and `promtool`, which knows what is good form.
//!
//! `TWINLOG_E2E_PROMETHEUS` is the directory with both programs; `scripts/test e2e` brings them.

use crate::await_until;
use crate::kafka::repository;
use crate::synthetic::get;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);
/// What promtool says of a metric whose values have another unit than the base unit; those of MirrorMaker are in ms.
const IN_MS: &str = "metric names should not contain abbreviated units";

/// A Prometheus on this machine's loopback. It ends when this goes out of scope.
pub struct Prometheus {
    child: Child,
    port: String,
    _dir: TempDir,
}

impl Prometheus {
    /// Scrapes the mirror that listens on `mirror_port`. None: it is not installed here, which is said.
    pub fn start(port: u64, mirror_port: &str) -> Option<Self> {
        let Some(programs) = programs() else {
            println!("skipped: TWINLOG_E2E_PROMETHEUS names no directory that has prometheus and promtool");
            return None;
        };
        check_metrics(&programs.join("promtool"), mirror_port);
        let dir = TempDir::new().expect("a temporary directory");
        let config = dir.path().join("prometheus.yml");
        let example = example().replace("127.0.0.1:9464", &format!("127.0.0.1:{mirror_port}"));
        assert!(example.contains(mirror_port), "the README's example names no port to scrape: {example}");
        let global = "global: { scrape_interval: 500ms, evaluation_interval: 500ms }\n";
        std::fs::write(&config, global.to_owned() + &example).expect("a temporary file");
        let rules = dir.path().join("alerts.yaml");
        std::fs::copy(repository().join("deploy/alerts.yaml"), &rules).expect("the alert rules");
        promtool(&programs, &["check", "rules", &rules.display().to_string()]);
        promtool(&programs, &["check", "config", &config.display().to_string()]);
        let child = Command::new(programs.join("prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .spawn()
            .expect("prometheus");
        let prometheus = Self { child, port: port.to_string(), _dir: dir };
        await_until("prometheus is ready", PATIENCE, || {
            get(&prometheus.port, "/-/ready").is_ok_and(|answer| answer.contains("200 OK"))
        });
        Some(prometheus)
    }

    /// It scrapes the mirror, which has these series; and it can evaluate all that is deployed for it.
    pub fn takes(&self, series: &[&str]) {
        await_until("prometheus scrapes the mirror", PATIENCE, || {
            self.value("up{job=\"twinlog\"}") == Some(1.0)
        });
        for each in series {
            await_until(&format!("prometheus has {each}"), PATIENCE, || self.value(each).is_some());
        }
        let file = std::fs::read_to_string(repository().join("deploy/alerts.yaml")).expect("the alert rules");
        let rules = || {
            let answer = self.ask("/api/v1/rules");
            let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
            groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect()
        };
        await_until("every rule is evaluated", PATIENCE, || {
            let rules: Vec<Value> = rules();
            rules.iter().all(|rule| rule["health"] != "unknown") && !rules.is_empty()
        });
        let rules: Vec<Value> = rules();
        assert_eq!(rules.len(), file.matches("- alert: ").count());
        for rule in &rules {
            assert_eq!(rule["health"], "ok", "{rule}");
            self.evaluate(rule["query"].as_str().expect("a query"));
        }
        let dashboard = std::fs::read_to_string(repository().join("deploy/grafana-dashboard.json"))
            .expect("the dashboard");
        let dashboard: Value = serde_json::from_str(&dashboard).expect("JSON");
        let panels = dashboard["panels"].as_array().expect("panels");
        let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
        for target in targets {
            self.evaluate(&target["expr"].as_str().expect("an expression").replace("$link", ".*"));
        }
    }

    /// The alert comes.
    pub fn fires(&self, alert: &str) {
        let expression = format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\",link=\"mirror\"}}");
        await_until(&format!("{alert} fires"), PATIENCE, || self.value(&expression) == Some(1.0));
    }

    /// The first value of what the expression comes to.
    pub fn value(&self, expression: &str) -> Option<f64> {
        self.evaluate(expression)["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    fn evaluate(&self, expression: &str) -> Value {
        let answer = self.ask(&format!("/api/v1/query?query={}", in_url(expression)));
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer
    }

    fn ask(&self, path: &str) -> Value {
        let answer = get(&self.port, path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {answer}"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn programs() -> Option<PathBuf> {
    let told = std::env::var_os("TWINLOG_E2E_PROMETHEUS").map(PathBuf::from);
    let all = told.into_iter().chain([PathBuf::from("/usr/bin")]);
    let has = |dir: &Path, name: &str| dir.join(name).is_file();
    all.into_iter().find(|dir| has(dir, "prometheus") && has(dir, "promtool"))
}

/// What the README tells to scrape a mirror with.
fn example() -> String {
    let readme = std::fs::read_to_string(repository().join("README.md")).expect("the README");
    let begin =
        readme.find("```yaml\nrule_files:").expect("an example of a configuration") + "```yaml\n".len();
    readme[begin..].split("```").next().unwrap_or_default().to_owned()
}

/// Of our own names it has nothing to say; of MirrorMaker's only that they are in ms.
fn check_metrics(promtool: &Path, mirror_port: &str) {
    let answer = get(mirror_port, "/metrics").expect("metrics");
    let (_, metrics) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(metrics.contains("\nkafka_connect_mirror_mirrorsourceconnector_record_count{"), "{metrics}");
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(metrics.as_bytes()).expect("promtool reads");
    drop(input);
    let output = child.wait_with_output().expect("promtool");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    // 3: it is sound, and there is something to say of its form.
    assert_eq!(output.status.code(), Some(3), "{said}");
    let of_mirror_maker = |line: &&str| line.starts_with("kafka_connect_mirror_") && line.ends_with(IN_MS);
    let others: Vec<&str> = said.lines().filter(|line| !of_mirror_maker(line)).collect();
    assert!(others.is_empty() && said.contains("_replication_latency_ms_max "), "{others:?} of\n{said}");
}

fn promtool(programs: &Path, arguments: &[&str]) {
    let output = Command::new(programs.join("promtool")).args(arguments).output().expect("promtool");
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
}

fn in_url(text: &str) -> String {
    let byte = |byte: &u8| match byte.is_ascii_alphanumeric() {
        true => char::from(*byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.as_bytes().iter().map(byte).collect()
}
