use super::*;
use crate::config::RegistryLogin;
use serde_json::{Value, json};
use std::io::Cursor;
use std::sync::{Arc, Mutex};
use tiny_http::{Request, Response, Server};

/// A registry in memory, as strict as Confluent's in what matters here.
#[derive(Default)]
struct State {
    versions: BTreeMap<(String, i32), (Value, bool)>,
    modes: BTreeMap<String, String>,
    levels: BTreeMap<String, String>,
    /// All that may change something.
    writes: Vec<String>,
    /// What it wants in the header `Authorization`.
    authorization: Option<&'static str>,
    forbids_modes: bool,
}

struct Fake {
    state: Arc<Mutex<State>>,
    server: Arc<Server>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.unblock();
    }
}

type Said = (u16, Value);

fn refused(code: i64, message: &str) -> Said {
    let status = if code < 42_000 { 404 } else { 422 };
    (status, json!({"error_code": code, "message": message}))
}

impl State {
    fn answer(&mut self, request: &mut Request) -> Said {
        let authorization = request.headers().iter().find(|header| header.field.equiv("Authorization"));
        if self.authorization.is_some()
            && authorization.map(|header| header.value.as_str()) != self.authorization
        {
            return (401, json!({"error_code": 401, "message": "Unauthorized"}));
        }
        let mut body = String::new();
        request.as_reader().read_to_string(&mut body).unwrap();
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        let method = request.method().to_string();
        if method != "GET" {
            self.writes.push(format!("{method} {}", request.url()));
        }
        let (path, query) = request.url().split_once('?').unwrap_or((request.url(), ""));
        let parts: Vec<String> = path.trim_matches('/').split('/').map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let deleted = query.contains("deleted=true");
        match (method.as_str(), parts.as_slice()) {
            ("GET", ["subjects"]) => {
                // Two at once, so that all are found only by who asks again.
                let offset = query.rsplit('=').next().and_then(|offset| offset.parse().ok()).unwrap();
                let names: BTreeSet<&String> = self.versions.keys().map(|(name, _)| name).collect();
                (200, json!(names.into_iter().skip(offset).take(2).collect::<Vec<_>>()))
            }
            ("GET", ["subjects", name, "versions"]) => {
                let of_name = self.versions.iter().filter(|((subject, _), _)| subject == name);
                let numbers: Vec<i32> = of_name
                    .filter(|(_, (_, is_deleted))| deleted || !is_deleted)
                    .map(|((_, n), _)| *n)
                    .collect();
                if numbers.is_empty() { refused(40401, "Subject not found.") } else { (200, json!(numbers)) }
            }
            ("GET", ["subjects", name, "versions", number]) => {
                match self.versions.get(&((*name).into(), number.parse().unwrap())) {
                    Some((version, _)) => (200, version.clone()),
                    None => refused(40402, "Version not found."),
                }
            }
            ("POST", ["subjects", name, "versions"]) => self.register(name, body),
            ("DELETE", ["subjects", name, "versions", number]) => {
                let key = ((*name).to_owned(), number.parse().unwrap());
                let refers = |version: &Value| {
                    let references = version["references"].as_array().into_iter().flatten();
                    references.clone().any(|other| other["subject"] == key.0 && other["version"] == key.1)
                };
                if self.versions.values().any(|(version, is_deleted)| !is_deleted && refers(version)) {
                    return refused(42206, "One or more references exist");
                }
                self.versions.get_mut(&key).unwrap().1 = true;
                (200, json!(key.1))
            }
            (_, ["mode", _]) if method != "GET" && self.forbids_modes => {
                refused(42205, "Mode changes are not allowed")
            }
            ("PUT", ["mode", name]) => {
                if !query.contains("force=true") && self.versions.keys().any(|(subject, _)| subject == name) {
                    return refused(42205, "Cannot import since found existing subjects");
                }
                self.modes.insert((*name).into(), body["mode"].as_str().unwrap().into());
                (200, body)
            }
            ("GET", ["mode", name]) => match self.modes.get(*name) {
                Some(mode) => (200, json!({"mode": mode})),
                None => refused(40409, "no mode"),
            },
            ("DELETE", ["mode", name]) => match self.modes.remove(*name) {
                Some(mode) => (200, json!({"mode": mode})),
                None => refused(40401, "Subject not found."),
            },
            ("GET", ["config"]) => {
                (200, json!({"compatibilityLevel": self.levels.get("").map_or("BACKWARD", |level| level)}))
            }
            ("GET", ["config", name]) => match self.levels.get(*name) {
                Some(level) => (200, json!({"compatibilityLevel": level})),
                None => refused(40408, "no level"),
            },
            ("PUT", ["config", name]) => {
                self.levels.insert((*name).into(), body["compatibility"].as_str().unwrap().into());
                (200, body)
            }
            _ => (404, json!("<html>")),
        }
    }

    fn register(&mut self, name: &str, mut version: Value) -> Said {
        if self.modes.get(name).map(String::as_str) != Some("IMPORT") {
            return refused(42205, "Subject is not in import mode");
        }
        for other in version["references"].as_array().into_iter().flatten() {
            let key =
                (other["subject"].as_str().unwrap().to_owned(), other["version"].as_i64().unwrap() as i32);
            if !self.versions.contains_key(&key) {
                return refused(42201, "No schema reference found");
            }
        }
        if self
            .versions
            .values()
            .any(|(other, _)| other["id"] == version["id"] && other["schema"] != version["schema"])
        {
            return refused(42207, "Overwrite new schema with id is not permitted.");
        }
        version["subject"] = name.into();
        let (number, id) = (version["version"].as_i64().unwrap() as i32, version["id"].clone());
        self.versions.insert((name.into(), number), (version, false));
        (200, json!({"id": id}))
    }
}

fn decoded(segment: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = segment.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        match (byte, after) {
            (b'%', [a, b, after @ ..]) => {
                bytes.push(u8::from_str_radix(std::str::from_utf8(&[*a, *b]).unwrap(), 16).unwrap());
                rest = after;
            }
            _ => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}

impl Fake {
    fn start() -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").unwrap());
        let fake = Self { state: Arc::default(), server: Arc::clone(&server) };
        let state = Arc::clone(&fake.state);
        std::thread::spawn(move || {
            while let Ok(mut request) = server.recv() {
                let (status, body) = state.lock().unwrap().answer(&mut request);
                let body = body.to_string().into_bytes();
                let length = Some(body.len());
                let _ = request.respond(Response::new(
                    status.into(),
                    Vec::new(),
                    Cursor::new(body),
                    length,
                    None,
                ));
            }
        });
        fake
    }

    fn settings(&self) -> config::Registry {
        let url = format!("http://{}", self.server.server_addr().to_ip().unwrap());
        config::Registry { url, login: None, tls: None }
    }

    fn has(&self, name: &str, number: i32, id: i32, references: &[(&str, i32)]) {
        let references: Vec<Value> = references
            .iter()
            .map(|(subject, version)| json!({"name": subject, "subject": subject, "version": version}))
            .collect();
        let version = json!({"subject": name, "version": number, "id": id, "schemaType": "JSON",
                             "schema": format!("{{\"title\": \"{id}\"}}"), "references": references});
        self.state.lock().unwrap().versions.insert((name.into(), number), (version, false));
    }

    fn deletes(&self, name: &str, number: i32) {
        self.state.lock().unwrap().versions.get_mut(&(name.into(), number)).unwrap().1 = true;
    }

    fn level(&self, name: &str, level: &str) {
        self.state.lock().unwrap().levels.insert(name.into(), level.into());
    }

    fn writes(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().writes)
    }
}

fn copy(from: &Fake, to: &Fake, subjects: &str, dry_run: bool) -> Result<Outcome, String> {
    let subjects = crate::config::text::patterns(subjects).unwrap();
    let settings = Settings { from: from.settings(), to: to.settings(), subjects, dry_run };
    run(&settings, &AtomicBool::new(false))
}

/// A source with five subjects: one refers to another that comes later in the alphabet, and one is deleted.
fn source() -> Fake {
    let source = Fake::start();
    source.has("a/b", 1, 10, &[("z", 2)]);
    source.has("b", 1, 11, &[]);
    source.has("b", 3, 12, &[("a/b", 1)]);
    source.has("c", 1, 13, &[("y", 1)]);
    source.has("y", 1, 14, &[]);
    source.has("z", 1, 15, &[]);
    source.has("z", 2, 16, &[]);
    source.deletes("c", 1);
    source.deletes("y", 1);
    source.level("b", "FULL");
    source
}

#[test]
fn everything_arrives_under_its_id_and_once() {
    let (from, to) = (source(), Fake::start());
    let outcome = copy(&from, &to, ".*", false).unwrap();
    assert_eq!(outcome.problems, Vec::<String>::new());
    assert_eq!(outcome.copied.values().map(BTreeSet::len).sum::<usize>(), 7);
    assert_eq!((outcome.levels, outcome.same), (vec!["b".to_owned()], 0));
    {
        let (from, to) = (from.state.lock().unwrap(), to.state.lock().unwrap());
        assert_eq!(to.levels, from.levels);
        assert!(to.modes.is_empty(), "{:?}", to.modes);
        let keys = |state: &State| {
            let each = state
                .versions
                .iter()
                .map(|(key, (version, deleted))| (key.clone(), version["id"].clone(), *deleted));
            each.collect::<Vec<_>>()
        };
        assert_eq!(keys(&to), keys(&from));
    }
    to.writes();
    let again = copy(&from, &to, ".*", false).unwrap();
    assert_eq!((again.copied.len(), again.same, again.problems.len()), (0, 7, 0));
    assert_eq!(to.writes(), Vec::<String>::new());
}

#[test]
fn what_is_referred_to_comes_along_and_nothing_else() {
    let (from, to) = (source(), Fake::start());
    let outcome = copy(&from, &to, "a/.*", false).unwrap();
    assert_eq!(outcome.copied, BTreeMap::from([("a/b".into(), [1].into()), ("z".into(), [1, 2].into())]));
    assert!(copy(&from, &to, "nothing", false).unwrap_err().contains("check --subjects"));
}

#[test]
fn a_dry_run_says_the_same_and_changes_nothing() {
    let (from, to) = (source(), Fake::start());
    let outcome = copy(&from, &to, "b", true).unwrap();
    let expected = "to copy: a/b 1\nto copy: b 1, 3\nto copy: z 1, 2\n\
                    versions to copy: 5, there already: 0; compatibility levels to set: 1; problems: 0\n";
    assert_eq!(show(&outcome, true), expected);
    assert_eq!(to.writes(), Vec::<String>::new());
}

#[test]
fn what_differs_is_told_and_left_alone() {
    let (from, to) = (source(), Fake::start());
    to.has("b", 1, 99, &[]);
    to.has("b", 7, 98, &[]);
    to.level("", "NONE");
    let outcome = copy(&from, &to, "b", false).unwrap();
    assert_eq!(outcome.copied["b"], [3].into());
    let [default, ours, theirs] = [
        "default compatibility level is BACKWARD",
        "b version 1: the target has another",
        "b version 7: only",
    ]
    .map(|what| outcome.problems.iter().any(|problem| problem.contains(what)));
    assert!(default && ours && theirs && outcome.problems.len() == 3, "{:?}", outcome.problems);
    assert_eq!(to.state.lock().unwrap().versions[&("b".into(), 1)].0["id"], 99);
}

#[test]
fn an_id_that_is_taken_is_told_and_the_mode_is_set_back_all_the_same() {
    let (from, to) = (source(), Fake::start());
    to.has("other", 1, 15, &[]);
    to.state.lock().unwrap().versions.get_mut(&("other".into(), 1)).unwrap().0["schema"] = "{}".into();
    to.state.lock().unwrap().modes.insert("z".into(), "READWRITE".into());
    let outcome = copy(&from, &to, "z", false).unwrap();
    assert_eq!(outcome.copied["z"], [2].into());
    assert!(
        outcome.problems[0].contains("z version 1: POST") && outcome.problems[0].contains("not permitted"),
        "{outcome:?}"
    );
    assert_eq!(to.state.lock().unwrap().modes, BTreeMap::from([("z".into(), "READWRITE".into())]));
}

#[test]
fn a_registry_without_import_is_named() {
    let (from, to) = (source(), Fake::start());
    to.state.lock().unwrap().forbids_modes = true;
    let outcome = copy(&from, &to, "z", false).unwrap();
    assert!(outcome.copied.is_empty() && outcome.problems[0].contains("mode.mutability=true"), "{outcome:?}");
}

#[test]
fn a_stop_sets_the_modes_back() {
    let (from, to) = (source(), Fake::start());
    let settings =
        Settings { from: from.settings(), to: to.settings(), subjects: Vec::new(), dry_run: false };
    let outcome = run(&settings, &AtomicBool::new(true)).unwrap();
    assert!(outcome.copied.is_empty() && outcome.problems[0].contains("run it again"), "{outcome:?}");
    assert!(to.state.lock().unwrap().modes.is_empty());
}

#[test]
fn a_login_is_sent_and_never_shown() {
    let (from, to) = (source(), Fake::start());
    // me:hunter2
    from.state.lock().unwrap().authorization = Some("Basic bWU6aHVudGVyMg==");
    let mut settings =
        Settings { from: from.settings(), to: to.settings(), subjects: Vec::new(), dry_run: true };
    let stop = AtomicBool::new(false);
    settings.from.login = Some(RegistryLogin::Basic("me:hunter3".into()));
    let error = run(&settings, &stop).unwrap_err();
    assert!(
        error.contains("401") && error.contains("check basic.auth.user.info") && !error.contains("hunter"),
        "{error}"
    );
    settings.from.login = Some(RegistryLogin::Basic("me:hunter2".into()));
    assert_eq!(run(&settings, &stop).unwrap().copied.len(), 5);
    from.state.lock().unwrap().authorization = Some("Bearer t");
    settings.from.login = Some(RegistryLogin::Bearer("t".into()));
    assert_eq!(run(&settings, &stop).unwrap().copied.len(), 5);
}

#[test]
fn what_is_no_registry_is_named() {
    let (from, to) = (Fake::start(), Fake::start());
    let mut settings =
        Settings { from: from.settings(), to: to.settings(), subjects: Vec::new(), dry_run: true };
    settings.from.url += "/elsewhere";
    let error = run(&settings, &AtomicBool::new(false)).unwrap_err();
    assert!(error.contains("there is no Schema Registry at http://127.0.0.1:"), "{error}");
    drop(from);
    settings.from.url = "http://127.0.0.1:1".into();
    let error = run(&settings, &AtomicBool::new(false)).unwrap_err();
    assert!(error.starts_with("GET http://127.0.0.1:1/subjects"), "{error}");
}
