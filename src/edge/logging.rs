//! Log lines on stderr, as text or as JSON, without tearing a live display that is drawn there.

use crate::config::LogFormat;
use indicatif::ProgressBar;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The live display, once there is one. Log lines are printed above it.
static DISPLAY: OnceLock<ProgressBar> = OnceLock::new();

/// Starts logging for the whole process. `RUST_LOG` picks what is shown; without it, everything from `info` on.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Stderr).with_target(false);
    match format {
        LogFormat::Text => lines.with_ansi(is_colourful()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}

/// From now on, log lines go above this display.
pub(super) fn print_above(display: &ProgressBar) {
    // A second display in one process would be drawn over; there is none.
    let _ = DISPLAY.set(display.clone());
}

fn is_colourful() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[derive(Clone, Copy)]
struct Stderr;

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match DISPLAY.get() {
            Some(display) if !display.is_finished() => display.suspend(|| io::stderr().write(line)),
            _ => io::stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
