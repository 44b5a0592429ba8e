//! A Schema Registry over HTTP: what copying needs of the API that Confluent's has, and others after it.

use crate::config::{self, RegistryLogin};
use crate::control::schemas::{Subject, Version};
use crate::edge::{https, tls};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;
use ureq::http::{Method, Request, StatusCode};

const TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: u64 = 64 << 20;
const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

pub(super) struct Registry {
    agent: ureq::Agent,
    url: String,
    login: Option<RegistryLogin>,
}

/// What a registry said.
struct Answer {
    status: StatusCode,
    body: Vec<u8>,
    /// The request, for errors.
    request: String,
}

#[derive(Deserialize)]
struct Refusal {
    error_code: Option<i64>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Registered {
    id: i32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    compatibility_level: Option<String>,
}

#[derive(Deserialize)]
struct Mode {
    mode: String,
}

impl Registry {
    pub(super) fn new(settings: &config::Registry) -> Result<Self, String> {
        let config::Registry { url, login, tls } = settings.clone();
        if login.is_some() && url.starts_with("http://") {
            tracing::warn!("the password or token for {url} goes over the network as it is; use https");
        }
        let agent = https::agent(tls.as_ref().map(tls::Context::new).as_ref(), TIMEOUT)?;
        Ok(Self { agent, url, login })
    }

    /// The names of all subjects, also of those whose versions are all deleted.
    pub(super) fn subjects(&self) -> Result<BTreeSet<String>, String> {
        let mut names = BTreeSet::new();
        loop {
            // Registries give as many at once as they like.
            let path = format!("/subjects?deleted=true&offset={}", names.len());
            let page: Vec<String> =
                self.get(&path)?.ok_or_else(|| format!("there is no Schema Registry at {}", self.url))?;
            let known = names.len();
            names.extend(page);
            if names.len() == known {
                return Ok(names);
            }
        }
    }

    /// A subject with everything that is in it. One that is not there has no versions.
    pub(super) fn subject(&self, name: &str) -> Result<Subject, String> {
        let path = format!("/subjects/{}/versions", encoded(name));
        let all: BTreeSet<i32> = self.get(&format!("{path}?deleted=true"))?.unwrap_or_default();
        let shown: BTreeSet<i32> =
            if all.is_empty() { BTreeSet::new() } else { self.get(&path)?.unwrap_or_default() };
        let mut subject = Subject { compatibility: self.compatibility(Some(name))?, ..Subject::default() };
        for number in all {
            // None: it was deleted for good meanwhile.
            if let Some(version) = self.get::<Version>(&format!("{path}/{number}?deleted=true"))? {
                let is_deleted = !shown.contains(&number);
                subject.versions.insert(number, Version { is_deleted, subject: name.to_owned(), ..version });
            }
        }
        Ok(subject)
    }

    /// Of a subject (None: it has none of its own), or the default.
    pub(super) fn compatibility(&self, subject: Option<&str>) -> Result<Option<String>, String> {
        let config: Option<Config> = self.get(&of("/config", subject))?;
        Ok(config.and_then(|config| config.compatibility_level))
    }

    pub(super) fn set_compatibility(&self, subject: &str, level: &str) -> Result<(), String> {
        let path = of("/config", Some(subject));
        self.ask(&Method::PUT, &path, Some(&json!({"compatibility": level})))?.success()
    }

    /// A subject's own mode, if it has one.
    pub(super) fn mode(&self, subject: &str) -> Result<Option<String>, String> {
        let mode: Option<Mode> = self.get(&of("/mode", Some(subject)))?;
        Ok(mode.map(|mode| mode.mode))
    }

    /// None: the registry's mode is the subject's again. By force, or IMPORT would first erase what is deleted there already, and
    /// be refused where something is left.
    pub(super) fn set_mode(&self, subject: &str, mode: Option<&str>) -> Result<(), String> {
        let path = of("/mode", Some(subject));
        match mode {
            Some(mode) => {
                self.ask(&Method::PUT, &format!("{path}?force=true"), Some(&json!({"mode": mode})))?.success()
            }
            None => self.ask(&Method::DELETE, &path, None)?.success(),
        }
    }

    /// Puts a version there under its own number and id. The inner error: the registry will not have it.
    pub(super) fn register(&self, version: &Version) -> Result<Result<(), String>, String> {
        let body = serde_json::to_value(version).map_err(|error| error.to_string())?;
        let path = format!("/subjects/{}/versions", encoded(&version.subject));
        let registered = self.ask(&Method::POST, &path, Some(&body))?.json::<Registered>();
        Ok(registered.and_then(|Registered { id }| match id == version.id {
            true => Ok(()),
            false => Err(format!(
                "it was registered with id {id} instead of {}: the registry does not take ids",
                version.id
            )),
        }))
    }

    /// Hides a version; its id can still be looked up.
    pub(super) fn delete(&self, version: &Version) -> Result<Result<(), String>, String> {
        let path = format!("/subjects/{}/versions/{}", encoded(&version.subject), version.version);
        Ok(self.ask(&Method::DELETE, &path, None)?.success())
    }

    /// None: there is no such thing.
    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, String> {
        let answer = self.ask(&Method::GET, path, None)?;
        if answer.status == StatusCode::NOT_FOUND { Ok(None) } else { answer.json().map(Some) }
    }

    /// The error: there was no answer.
    fn ask(&self, method: &Method, path: &str, body: Option<&Value>) -> Result<Answer, String> {
        let url = format!("{}{path}", self.url);
        let request = format!("{method} {url}");
        let failed = |error: &dyn std::fmt::Display| format!("{request}: {error}");
        let mut builder = Request::builder().method(method).uri(&url).header("Accept", CONTENT_TYPE);
        match &self.login {
            Some(RegistryLogin::Basic(user)) => {
                builder =
                    builder.header("Authorization", format!("Basic {}", STANDARD.encode(user.expose())));
            }
            Some(RegistryLogin::Bearer(token)) => {
                builder = builder.header("Authorization", format!("Bearer {}", token.expose()));
            }
            None => {}
        }
        let answer = match body {
            Some(body) => {
                let request = builder.header("Content-Type", CONTENT_TYPE).body(body.to_string());
                self.agent.run(request.map_err(|error| failed(&error))?)
            }
            None => self.agent.run(builder.body(()).map_err(|error| failed(&error))?),
        };
        let mut answer = answer.map_err(|error| failed(&error))?;
        let status = answer.status();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        Ok(Answer { status, body: body.map_err(|error| failed(&error))?, request })
    }
}

impl Answer {
    fn success(self) -> Result<(), String> {
        if self.status.is_success() { Ok(()) } else { Err(self.refusal()) }
    }

    fn json<T: DeserializeOwned>(self) -> Result<T, String> {
        if !self.status.is_success() {
            return Err(self.refusal());
        }
        // What the parser has to say may quote a schema.
        serde_json::from_slice(&self.body).map_err(|_| {
            format!("{}: the answer is not what a Schema Registry says; check the URL", self.request)
        })
    }

    fn refusal(&self) -> String {
        let refusal =
            serde_json::from_slice(&self.body).unwrap_or(Refusal { error_code: None, message: None });
        let message: String =
            refusal.message.unwrap_or_default().chars().filter(|c| !c.is_control()).take(300).collect();
        let mut text = format!("{}: {}", self.request, self.status);
        if !message.is_empty() {
            let _ = write!(text, ", {message}");
        }
        match (self.status, refusal.error_code) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                text + "; check basic.auth.user.info and its rights"
            }
            (_, Some(42205)) => {
                text + "; the target's registry has to allow it (mode.mutability=true), and not be read-only"
            }
            _ => text,
        }
    }
}

fn of(path: &str, subject: Option<&str>) -> String {
    match subject {
        Some(subject) => format!("{path}/{}", encoded(subject)),
        None => path.to_owned(),
    }
}

/// A name as one segment of a URL's path.
fn encoded(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_is_one_segment() {
        assert_eq!(super::encoded(":.c:a/b ä"), "%3A.c%3Aa%2Fb%20%C3%A4");
    }
}
