//! The thread that writes dead letters to their topic on the target. Control hands it the shards' letters, and hears when they are
//! written. One partition's letters are written together; what cannot be written is tried again, and keeps nobody else's back.

use super::admin::{Admin, AdminError, check};
use super::client_topics::by_its_own_names;
use super::{clock, ledger_io};
use crate::config::Mirror;
use crate::error;
use crate::records::letters::{self, Extent, Letter, Sender};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

const MESSAGE_TOO_LARGE: i16 = 10;
const RECORD_LIST_TOO_LARGE: i16 = 18;
const REPLICATION_MAX: usize = 3;
/// Pause before what could not be written is tried again.
const RETRY_MS: u64 = 1_000;
/// The longest wait for letters before the thread looks whether it is to end.
const NAP: Duration = Duration::from_millis(500);

/// Letters of one partition.
#[derive(Debug)]
pub(super) struct Post<Id> {
    /// Whose they are, for the answer.
    pub(super) id: Id,
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) letters: Vec<Letter>,
}

/// What became of a post.
#[derive(Debug)]
pub(super) enum Told<Id> {
    /// Acknowledged by all replicas.
    Written(Post<Id>),
    /// The topic does not take letters for now. Told once for each cause, until some are written.
    Waiting(String),
}

/// Seen from control.
pub(super) struct LetterTask<Id> {
    posts: Option<mpsc::Sender<Post<Id>>>,
    pub(super) told: Receiver<Told<Id>>,
    /// Posts without an answer.
    pub(super) open: usize,
    thread: Option<JoinHandle<()>>,
}

impl<Id: Send + 'static> LetterTask<Id> {
    pub(super) fn start(config: &Mirror, topic: &str) -> std::io::Result<Self> {
        let (posts, queue) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let timeout = Duration::from_millis(config.request_timeout_ms.min(10_000));
        // The topic has its name whatever the mirrored ones are called.
        let target = by_its_own_names(&config.target);
        let mut office = Office {
            admin: Admin::new(&target, &config.client_id, timeout),
            link: config.link.clone(),
            topic: topic.to_owned(),
            replication_factor: config.replication_factor,
            is_there: false,
        };
        let thread = std::thread::Builder::new()
            .name("dead letters".into())
            .spawn(move || run(&mut office, &queue, &tell))?;
        Ok(Self { posts: Some(posts), told, open: 0, thread: Some(thread) })
    }

    pub(super) fn send(&mut self, post: Post<Id>) {
        if let Some(posts) = &self.posts {
            // The thread ends only when this end is dropped.
            let _ = posts.send(post);
            self.open += 1;
        }
    }
}

impl<Id> Drop for LetterTask<Id> {
    fn drop(&mut self) {
        self.posts = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run<Id>(office: &mut Office, posts: &Receiver<Post<Id>>, tell: &mpsc::Sender<Told<Id>>) {
    let mut waiting: VecDeque<Post<Id>> = VecDeque::new();
    let mut told = None;
    let mut due_us = 0;
    loop {
        let now = clock::now();
        // At the start, too: who may not create the topic learns it before there are letters.
        let may_try = now.mono_us >= due_us && (!waiting.is_empty() || !office.is_there);
        if may_try {
            match office.work(waiting.front()) {
                Ok(()) => {
                    told = None;
                    if let Some(post) = waiting.pop_front() {
                        // Who waited may be gone.
                        let _ = tell.send(Told::Written(post));
                    }
                }
                Err(error) => {
                    waiting.rotate_left(1.min(waiting.len()));
                    due_us = clock::now().after_ms(RETRY_MS);
                    let cause = error.to_string();
                    if told.as_ref() != Some(&cause) {
                        let _ = tell.send(Told::Waiting(cause.clone()));
                    }
                    told = Some(cause);
                }
            }
        }
        let now = clock::now();
        let wait = match waiting.is_empty() && office.is_there {
            true => NAP,
            false => clock::until(now, due_us).min(NAP),
        };
        match posts.recv_timeout(wait) {
            Ok(post) => waiting.push_back(post),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

struct Office {
    admin: Admin,
    link: String,
    topic: String,
    replication_factor: Option<i16>,
    /// The topic is known to exist.
    is_there: bool,
}

impl Office {
    fn work<Id>(&mut self, post: Option<&Post<Id>>) -> Result<(), AdminError> {
        if !self.is_there {
            self.create()?;
        }
        let Some(post) = post else { return Ok(()) };
        let sender = Sender { link: &self.link.clone(), topic: &post.topic, partition: post.partition };
        self.write(&post.letters, sender, Extent::Whole)
    }

    fn create(&mut self) -> Result<(), AdminError> {
        let seen = self.admin.observe()?;
        if seen.topics.get(&self.topic).is_none_or(|topic| topic.error != 0) {
            let replication = i16::try_from(seen.brokers.len().clamp(1, REPLICATION_MAX)).unwrap_or(1);
            let replication = self.replication_factor.unwrap_or(replication);
            self.admin.create_topic(&self.topic.clone(), 1, replication, &Default::default())?;
        }
        self.is_there = true;
        Ok(())
    }

    /// Writes letters, as much of each as the topic takes.
    fn write(&mut self, letters: &[Letter], sender: Sender<'_>, extent: Extent) -> Result<(), AdminError> {
        let unwritable = |bad: crate::wire::codec::BadRecords| AdminError::Unwritable(bad.to_string());
        let batch = letters::batch(letters, sender, extent, clock::now().wall_ms).map_err(unwritable)?;
        let code = self.produce(batch)?;
        if !matches!(code, MESSAGE_TOO_LARGE | RECORD_LIST_TOO_LARGE) {
            return check(code, &format!("writing to the dead letters' topic {}", self.topic));
        }
        if letters.len() > 1 {
            let (some, others) = letters.split_at(letters.len() / 2);
            self.write(some, sender, extent)?;
            return self.write(others, sender, extent);
        }
        match extent.less() {
            Some(less) => self.write(letters, sender, less),
            None => check(code, &format!("writing to the dead letters' topic {}", self.topic)),
        }
    }

    /// Returns the error code, if the topic is where it was thought to be.
    fn produce(&mut self, batch: bytes::Bytes) -> Result<i16, AdminError> {
        let code = ledger_io::produce(&mut self.admin, &self.topic, batch)?.error_code;
        if error::is_retriable(code) {
            self.admin.look_up_leaders_again();
            // It may have been deleted.
            self.is_there = false;
        }
        Ok(code)
    }
}
