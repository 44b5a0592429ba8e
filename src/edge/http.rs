//! What a running link shows over HTTP: metrics, health, and where every partition stands. Nothing can be changed through it.

use super::clock;
use crate::stats::{Watch, metrics};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use tiny_http::{Header, Method, Request, Response, Server};

/// Answers under way at once: a client that does not read must not keep the others waiting.
const THREADS: usize = 4;
const PATHS: &str = "there are /metrics (for Prometheus), /health, /ready and /status (JSON)\n";

/// Where control leaves the newest look at the link.
#[derive(Debug, Default)]
pub struct Board(Mutex<Option<Arc<Watch>>>);

impl Board {
    pub fn publish(&self, watch: Watch) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(watch));
    }

    fn latest(&self) -> Option<Arc<Watch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Listens until it is dropped.
pub struct Listener {
    server: Arc<Server>,
    threads: Vec<JoinHandle<()>>,
}

impl Listener {
    /// The error says why nobody can listen there.
    pub fn start(address: SocketAddr, board: &Arc<Board>) -> Result<Self, String> {
        let server = Arc::new(Server::http(address).map_err(|error| error.to_string())?);
        let mut listener = Self { server, threads: Vec::new() };
        for _ in 0..THREADS {
            let (server, board) = (Arc::clone(&listener.server), Arc::clone(board));
            let thread = thread::Builder::new().name("http".into()).spawn(move || serve(&server, &board));
            listener.threads.push(thread.map_err(|error| error.to_string())?);
        }
        tracing::info!("listening on http://{address}: {}", PATHS.trim_end());
        Ok(listener)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for _ in &self.threads {
            self.server.unblock();
        }
        // A thread that waits for a client to read its answer ends with the process.
        self.threads.retain(std::thread::JoinHandle::is_finished);
    }
}

fn serve(server: &Server, board: &Board) {
    while let Ok(request) = server.recv() {
        let answer = answer(&request, board.latest().as_ref());
        if let Err(error) = request.respond(answer) {
            tracing::debug!(%error, "an HTTP client went away");
        }
    }
}

type Answer = Response<std::io::Cursor<Vec<u8>>>;

fn answer(request: &Request, watch: Option<&Arc<Watch>>) -> Answer {
    if !matches!(request.method(), Method::Get | Method::Head) {
        return plain(405, "only GET and HEAD: nothing can be changed here\n");
    }
    let path = request.url().split('?').next().unwrap_or_default();
    let Some(watch) = watch else {
        return match path {
            "/metrics" | "/health" | "/ready" | "/status" => plain(503, "starting\n"),
            _ => plain(404, PATHS),
        };
    };
    let now = clock::now();
    match path {
        "/metrics" => match metrics::text(watch, now) {
            Ok(text) => typed(200, metrics::CONTENT_TYPE, text),
            Err(error) => plain(500, &format!("{error}\n")),
        },
        "/health" => match watch.problems(now) {
            none if none.is_empty() => plain(200, "healthy\n"),
            problems => plain(503, &(problems.join("\n") + "\n")),
        },
        "/ready" if watch.is_ready() => plain(200, "ready\n"),
        "/ready" => plain(503, "not every partition knows where it stands yet\n"),
        "/status" => match status(watch, &watch.problems(now)) {
            Ok(text) => typed(200, "application/json", text),
            Err(error) => plain(500, &format!("{error}\n")),
        },
        _ => plain(404, PATHS),
    }
}

fn status(watch: &Watch, problems: &[String]) -> serde_json::Result<String> {
    let mut status = serde_json::to_value(watch)?;
    status["problems"] = problems.into();
    Ok(status.to_string() + "\n")
}

fn plain(code: u16, text: &str) -> Answer {
    typed(code, "text/plain; charset=utf-8", text.to_owned())
}

fn typed(code: u16, content_type: &str, text: String) -> Answer {
    let response = Response::from_string(text).with_status_code(code);
    match Header::from_bytes("Content-Type", content_type) {
        Ok(header) => response.with_header(header),
        Err(()) => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{LaneLook, Pulse, Report};
    use crate::time::Now;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn watch(stopped: Option<&str>) -> Watch {
        let lane = LaneLook {
            topic: "orders".into(),
            partition: 3,
            offsets: "append",
            state: "stream",
            position: Some(5),
            source_end: Some(9),
            mirrored_timestamp_ms: None,
            still_ms: 0,
            stopped: stopped.map(Into::into),
        };
        Watch {
            version: "1",
            link: "l".into(),
            source_cluster: "S".into(),
            target_cluster: "T".into(),
            at: clock::now(),
            report: Report { lag: Some(crate::stats::Lag::default()), ..Report::default() },
            lanes: vec![lane],
            lost_offsets: 0,
            left_out: Vec::new(),
            still_ms_max: Pulse::still_ms_max(0),
        }
    }

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{request} HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn listen(board: &Arc<Board>) -> (Listener, SocketAddr) {
        let listener = Listener::start("127.0.0.1:0".parse().unwrap(), board).unwrap();
        let address = listener.server.server_addr().to_ip().unwrap();
        (listener, address)
    }

    #[test]
    fn everything_is_told_that_is_known_and_nothing_before() {
        let board = Arc::new(Board::default());
        let (_listener, address) = listen(&board);
        for path in ["/metrics", "/health", "/ready", "/status"] {
            assert!(ask(address, &format!("GET {path}")).contains("503"), "{path} before anything is known");
        }
        board.publish(watch(None));
        assert!(ask(address, "GET /health").contains("healthy"));
        assert!(ask(address, "GET /ready").contains("200"));
        let metrics = ask(address, "GET /metrics?name=x");
        assert!(metrics.contains("application/openmetrics-text"), "{metrics}");
        let series = r#"twinlog_partition_lag_records{link="l",topic="orders",partition="3"} 4"#;
        assert!(metrics.contains(series), "{metrics}");
        let status = ask(address, "GET /status");
        assert!(status.contains(r#""position":5"#) && status.contains(r#""problems":[]"#), "{status}");
        board.publish(watch(Some("too large")));
        let sick = ask(address, "GET /health");
        assert!(sick.contains("503") && sick.contains("orders-3 has stopped: too large"), "{sick}");
        board.publish(Watch { at: Now::default(), report: Report::default(), ..watch(None) });
        assert!(ask(address, "GET /ready").contains("503"));
    }

    #[test]
    fn nothing_else_is_there_and_nothing_can_be_changed() {
        let board = Arc::new(Board::default());
        let (listener, address) = listen(&board);
        assert!(ask(address, "GET /").contains("/metrics"));
        assert!(ask(address, "POST /metrics").contains("405"));
        assert!(ask(address, "nonsense").contains("400"));
        assert!(Listener::start(address, &board).is_err(), "somebody listens there already");
        drop(listener);
    }
}
