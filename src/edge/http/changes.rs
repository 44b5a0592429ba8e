//! What can be changed of a running link, by whoever names the token.

use super::answers;
use super::server::{Answer, Method, Request};
use crate::config::{Secret, text};
use crate::control::pauses::Pattern;
use crate::edge::outside::Outside;
use crate::stats::Watch;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const HOW: &str =
    "nothing can be changed here: start the mirror with --control-token-file FILE, in which a token stands\n";

pub struct Changes {
    outside: Arc<Outside>,
    token_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    topics: String,
    partitions: Option<Vec<i32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    /// Without a limit it is null, and not left out.
    #[serde(deserialize_with = "Option::deserialize")]
    max_rate_bytes: Option<u64>,
}

impl Changes {
    /// The error: the file with the token is of no use.
    pub fn new(outside: &Arc<Outside>, token_file: Option<PathBuf>) -> Result<Self, String> {
        if let Some(path) = &token_file {
            read_token(path)?;
        }
        Ok(Self { outside: Arc::clone(outside), token_file })
    }

    /// None: the request is about something else.
    pub(super) fn answer(&self, request: &mut Request, watch: Option<&Watch>) -> Option<Answer> {
        let change = match request.path.as_str() {
            "/pause" => |changes: &Self, body: &[u8], watch: Option<&Watch>| changes.pause(body, watch, true),
            "/resume" => {
                |changes: &Self, body: &[u8], watch: Option<&Watch>| changes.pause(body, watch, false)
            }
            "/throttle" => |changes: &Self, body: &[u8], _: Option<&Watch>| changes.throttle(body),
            _ => return None,
        };
        if let Err(refused) = self.admit(request) {
            return Some(refused);
        }
        Some(request.body().and_then(|body| change(self, &body, watch)).unwrap_or_else(|refused| refused))
    }

    /// The error is the answer.
    fn admit(&self, request: &Request) -> Result<(), Answer> {
        let Some(path) = &self.token_file else {
            return Err(Answer::plain(405, HOW).with_header("Allow: "));
        };
        if request.method != Method::Post {
            return Err(Answer::plain(405, "POST what is to change, as JSON\n").with_header("Allow: POST"));
        }
        // It may be renewed while the mirror runs.
        let token = read_token(path).map_err(|problem| {
            tracing::error!("nothing can be changed over HTTP: {problem}");
            Answer::plain(503, "the mirror cannot read its token file; its log says why\n")
        })?;
        let named = request.authorization.as_deref().and_then(bearer);
        match named.is_some_and(|named| is_same(named, token.expose().as_bytes())) {
            true => Ok(()),
            false => {
                let how = "this needs the header `Authorization: Bearer TOKEN`, with the token of --control-token-file\n";
                Err(Answer::plain(401, how).with_header("WWW-Authenticate: Bearer"))
            }
        }
    }

    fn pause(&self, body: &[u8], watch: Option<&Watch>, paused: bool) -> Result<Answer, Answer> {
        let Which { topics, partitions } = parsed(body)?;
        let pattern = Pattern::new(&topics, partitions.clone()).map_err(|problem| refusal(400, &problem))?;
        let lanes = watch.map_or(&[][..], |watch| &watch.lanes);
        let matching = lanes.iter().filter(|lane| pattern.matches(&lane.topic, lane.partition)).count();
        self.outside.controls.set_paused(pattern, paused).map_err(|problem| refusal(409, &problem))?;
        let verb = if paused { "paused" } else { "resumed" };
        tracing::info!(topics, ?partitions, matching, "{verb} over HTTP");
        let answer = serde_json::json!({"topics": topics, "partitions": partitions, "paused": paused, "matching": matching});
        Ok(answers::json(&answer))
    }

    fn throttle(&self, body: &[u8]) -> Result<Answer, Answer> {
        let Limit { max_rate_bytes } = parsed(body)?;
        if let Some(rate) = max_rate_bytes {
            text::byte_rate(&rate.to_string()).map_err(|problem| {
                refusal(400, &format!("max_rate_bytes: {problem}; to stop partitions use /pause"))
            })?;
        }
        self.outside.controls.throttle(max_rate_bytes);
        tracing::info!(max_rate_bytes, "throttled over HTTP");
        Ok(answers::json(&serde_json::json!({"max_rate_bytes": max_rate_bytes})))
    }
}

fn parsed<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Answer> {
    serde_json::from_slice(body)
        .map_err(|error| refusal(400, &format!("the body is not what it should be: {error}")))
}

fn refusal(code: u16, problem: &str) -> Answer {
    Answer::plain(code, &format!("{problem}\n"))
}

/// The token of an `Authorization` header (RFC 6750).
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

/// How long it takes tells nothing of how much is right.
fn is_same(named: &[u8], token: &[u8]) -> bool {
    let (named, token) = (Sha256::digest(named), Sha256::digest(token));
    named.iter().zip(token.iter()).fold(0, |different, (one, other)| different | (one ^ other)) == 0
}

/// The token that both sides name: who listens, and who asks.
pub fn read_token(path: &Path) -> Result<Secret, String> {
    let failed = |problem: &str| format!("the token file {}: {problem}", path.display());
    let content = Secret::from(fs::read_to_string(path).map_err(|error| failed(&error.to_string()))?);
    match content.expose().trim() {
        "" => Err(failed("it is empty; put a long random word into it (openssl rand -hex 32)")),
        token if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Err(failed("a token is one word of printable ASCII characters"))
        }
        token => Ok(token.into()),
    }
}
