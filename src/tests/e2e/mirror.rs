//! The binary under test.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `twinlog` with its arguments, not started yet.
#[derive(Clone)]
pub struct Twinlog {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    patience: Duration,
}

/// A `twinlog` that runs. Killed when it goes out of scope; when that is because the test failed, what it printed is shown.
pub struct Running {
    child: Child,
    log: tempfile::NamedTempFile,
    command: String,
}

/// How a `twinlog` ended. `text` is all that it printed.
pub struct Ended {
    pub code: Option<i32>,
    pub text: String,
    command: String,
}

impl Twinlog {
    pub fn new(arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Self { arguments, environment: Vec::new(), patience: Duration::from_secs(300) }
    }

    pub fn mirror(source: &str, target: &str, topics: &str) -> Self {
        Self::new(&["mirror", "--source", source, "--target", target, "--topics", topics])
    }

    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    pub fn until_caught_up(self) -> Self {
        self.with(&["--until-caught-up"])
    }

    /// Sets a variable of its environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn patience(mut self, seconds: u64) -> Self {
        self.patience = Duration::from_secs(seconds);
        self
    }

    pub fn start(&self) -> Running {
        let log = tempfile::NamedTempFile::new().expect("a temporary file");
        let to = |log: &tempfile::NamedTempFile| {
            Stdio::from(log.as_file().try_clone().expect("the same file again"))
        };
        let child = Command::new(binary())
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(to(&log))
            .stderr(to(&log))
            .spawn()
            .expect("the twinlog binary");
        Running { child, log, command: format!("twinlog {}", self.arguments.join(" ")) }
    }

    /// Runs to the end; what takes longer than its patience fails the test.
    pub fn run(&self) -> Ended {
        let mut running = self.start();
        let begin = Instant::now();
        while !running.has_ended() {
            assert!(begin.elapsed() < self.patience, "{} still runs:\n{}", running.command, running.text());
            std::thread::sleep(Duration::from_millis(20));
        }
        running.end()
    }
}

impl Running {
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_some()
    }

    /// kill -9.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGINT, as Ctrl-C sends it.
    pub fn interrupt(&self) {
        self.signal("-INT");
    }

    /// Stands still until [`Self::thaw`], as a machine that hangs.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// The configuration is to be read again.
    pub fn hang_up(&self) {
        self.signal("-HUP");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().expect("kill");
        assert!(sent.success(), "{} had ended:\n{}", self.command, self.text());
    }

    /// Waits for it to end.
    pub fn end(&mut self) -> Ended {
        let status = self.child.wait().expect("our child");
        Ended { code: status.code(), text: self.text(), command: self.command.clone() }
    }

    pub fn text(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(self.log.path()) {
            let _ = file.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the test failed while {} ran, which printed:\n{}", self.command, self.text());
        }
    }
}

impl Ended {
    #[track_caller]
    pub fn succeeded(self) -> Self {
        self.ended_with(0, &[])
    }

    /// The exit code is this, and what was printed has each of these in it.
    #[track_caller]
    pub fn ended_with(self, code: i32, words: &[&str]) -> Self {
        let Self { text, command, .. } = &self;
        assert_eq!(self.code, Some(code), "exit code of {command}, which printed:\n{text}");
        for word in words {
            assert!(text.contains(word), "{command} did not say '{word}' but:\n{text}");
        }
        assert!(!text.contains("panicked at"), "{command} panicked:\n{text}");
        self
    }
}

/// The binary under test: TWINLOG_BIN, or the one built with the tests.
pub fn binary() -> PathBuf {
    std::env::var_os("TWINLOG_BIN").map_or_else(|| env!("CARGO_BIN_EXE_twinlog").into(), PathBuf::from)
}
