//! A running mirror, spoken to through its listener.

use super::http::read_token;
use super::https;
use crate::config::Secret;
use std::path::Path;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 64 << 20;

pub struct Remote {
    agent: ureq::Agent,
    url: String,
    token: Option<Secret>,
}

impl Remote {
    /// `at` is HOST:PORT, a port of this machine, or a URL.
    pub fn new(at: &str, token_file: Option<&Path>) -> Result<Self, String> {
        let at = at.trim_end_matches('/');
        let url = match at {
            _ if at.contains("://") => at.to_owned(),
            _ if at.parse::<u16>().is_ok() => format!("http://127.0.0.1:{at}"),
            _ => format!("http://{at}"),
        };
        let token = token_file.map(read_token).transpose()?;
        Ok(Self { agent: https::agent(None, TIMEOUT)?, url, token })
    }

    /// What is there. The error says why there is nothing.
    pub fn get(&self, path: &str) -> Result<String, String> {
        let url = format!("{}{path}", self.url);
        self.text(&url, self.agent.get(&url).call())
    }

    /// Asks for a change; the answer to it.
    pub fn post(&self, path: &str, body: &serde_json::Value) -> Result<String, String> {
        let url = format!("{}{path}", self.url);
        let mut request = self.agent.post(&url).header("Content-Type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {}", token.expose()));
        }
        self.text(&url, request.send(body.to_string()))
    }

    fn text(
        &self,
        url: &str,
        answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>,
    ) -> Result<String, String> {
        let mut answer = answer.map_err(|error| {
            format!("{url}: {error}; --at is where the mirror listens, which its --listen says")
        })?;
        let status = answer.status();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let body = body.map_err(|error| format!("{url}: {error}"))?;
        if status.is_success() {
            return Ok(body);
        }
        let why: String = body.chars().filter(|c| !c.is_control()).take(300).collect();
        Err(format!("{url}: {status}: {why}"))
    }
}
