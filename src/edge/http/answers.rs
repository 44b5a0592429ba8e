//! What can be looked at.

use super::page::Page;
use super::server::{Answer, Method, Request};
use crate::edge::clock;
use crate::edge::outside::Outside;
use crate::stats::Watch;
use crate::stats::live::{LaneList, Order, list, one};
use crate::stats::metrics::Format;
use crate::time::Now;
use serde::Serialize;
use std::sync::Arc;

pub(super) const PATHS: &str = "there are / (a page for people), /metrics (for Prometheus), /health and /ready, and as JSON \
                                /status, /live, /lanes and /events\n";
/// Partitions that are listed, unless told otherwise, and at the most.
const LISTED: (usize, usize) = (100, 1_000);

pub(super) fn answer(
    request: &Request,
    outside: &Outside,
    watch: Option<&Arc<Watch>>,
    page: &Page,
) -> Answer {
    if request.method != Method::Get {
        return Answer::plain(405, "only GET and HEAD: nothing can be changed here\n")
            .with_header("Allow: GET, HEAD");
    }
    let now = clock::now();
    match (request.path.as_str(), watch) {
        ("/", _) => page.answer(),
        ("/events", _) => json(&Events { events: outside.flight.open().last(usize::MAX) }),
        ("/metrics" | "/health" | "/ready" | "/status" | "/live" | "/lanes", None) => {
            Answer::plain(503, "starting\n")
        }
        ("/metrics", Some(watch)) => {
            let format = Format::asked_for(&request.accept);
            match outside.metrics(watch, now, format) {
                Ok(text) => Answer::new(200, format.content_type(), text).with_header("Vary: Accept"),
                Err(error) => Answer::plain(500, &format!("{error}\n")),
            }
        }
        ("/health", Some(watch)) => match watch.problems(now) {
            none if none.is_empty() => Answer::plain(200, &("healthy\n".to_owned() + &paused(watch))),
            problems => Answer::plain(503, &(problems.join("\n") + "\n" + &paused(watch))),
        },
        ("/ready", Some(watch)) if watch.is_ready() => Answer::plain(200, "ready\n"),
        ("/ready", Some(_)) => Answer::plain(503, "not every partition knows where it stands yet\n"),
        ("/status", Some(watch)) => json(&Status { watch, problems: watch.problems(now) }),
        ("/live", Some(watch)) => json(&outside.live(watch, now)),
        ("/lanes", Some(watch)) => match lanes(&request.query, watch, now) {
            Ok(lanes) => json(&lanes),
            Err(problem) => Answer::plain(400, &format!("{problem}\n")),
        },
        _ => Answer::plain(404, PATHS),
    }
}

#[derive(Serialize)]
struct Status<'a> {
    #[serde(flatten)]
    watch: &'a Watch,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct Events {
    events: Vec<crate::stats::Noted>,
}

/// That is no problem, but should not be forgotten.
fn paused(watch: &Watch) -> String {
    match watch.report.lanes.paused {
        0 => String::new(),
        1 => "1 partition is paused\n".into(),
        paused => format!("{paused} partitions are paused\n"),
    }
}

/// `order=records|age|name&limit=N`, or `at=N`.
fn lanes(query: &str, watch: &Watch, now: Now) -> Result<LaneList, String> {
    let (mut order, mut limit) = (Order::default(), LISTED.0);
    let number = |name: &str, text: &str| text.parse::<usize>().map_err(|_| format!("{name}: not a number"));
    for part in query.split('&').filter(|part| !part.is_empty()) {
        match part.split_once('=').unwrap_or((part, "")) {
            ("order", "records") => order = Order::Records,
            ("order", "age") => order = Order::Age,
            ("order", "name") => order = Order::Name,
            ("order", _) => return Err("order: it is one of records, age, name".into()),
            ("limit", text) => limit = number("limit", text)?.min(LISTED.1),
            ("at", text) => return Ok(one(watch, now, number("at", text)?)),
            _ => return Err("there are order=records|age|name, limit=N, and at=N".into()),
        }
    }
    Ok(list(watch, now, order, limit))
}

pub(super) fn json(value: &impl Serialize) -> Answer {
    match serde_json::to_string(value) {
        Ok(text) => Answer::new(200, "application/json", text + "\n"),
        Err(error) => Answer::plain(500, &format!("{error}\n")),
    }
}
