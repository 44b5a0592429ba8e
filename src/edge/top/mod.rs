//! `twinlog top`: a running mirror in the terminal, as the page shows it in a browser.

mod screen;
mod text;

use super::remote::Remote;
use crate::stats::live::{LaneList, LiveLook, Order};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::widgets::TableState;
use serde::de::DeserializeOwned;
use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

const REFRESH: Duration = Duration::from_secs(1);
/// The longest time between two looks at the keys.
const TICK: Duration = Duration::from_millis(100);
/// Partitions that are listed.
const LISTED: usize = 200;

/// What is known of the mirror.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) look: LiveLook,
    pub(super) list: LaneList,
}

/// What is shown, and how.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) seen: Option<Seen>,
    pub(super) order: Order,
    /// Why there is nothing newer, or what became of the last key.
    pub(super) notice: Option<String>,
    pub(super) table: TableState,
    pub(super) can_change: bool,
}

/// Shows the mirror until `q`, or once where stdout is no terminal.
pub fn run(remote: &Arc<Remote>, can_change: bool) -> Result<(), String> {
    if !io::stdout().is_terminal() {
        let seen = ask(remote, Order::default())?;
        print!("{}", text::snapshot(&seen));
        return Ok(());
    }
    let order = Arc::new(Mutex::new(Order::default()));
    let news = follow(remote, &order).map_err(|error| error.to_string())?;
    let mut terminal = ratatui::try_init().map_err(|error| format!("the terminal: {error}"))?;
    let mut view = View { can_change, ..View::default() };
    let ended = show(&mut terminal, &mut view, remote, &order, &news);
    ratatui::restore();
    ended.map_err(|error| format!("the terminal: {error}"))
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    view: &mut View,
    remote: &Remote,
    order: &Mutex<Order>,
    news: &Receiver<Result<Seen, String>>,
) -> io::Result<()> {
    loop {
        terminal.draw(|frame| screen::draw(frame, view))?;
        if event::poll(TICK)?
            && let Event::Key(key) = event::read()?
            && key.kind == KeyEventKind::Press
        {
            match view.press(key) {
                Some(Wish::End) => return Ok(()),
                Some(Wish::Sort) => *order.lock().unwrap_or_else(PoisonError::into_inner) = view.order,
                Some(Wish::Pause) => view.notice = Some(pause(view, remote)),
                None => {}
            }
        }
        while let Ok(seen) = news.try_recv() {
            match seen {
                Ok(seen) => {
                    view.notice = view.notice.take().filter(|_| view.seen.is_some());
                    view.seen = Some(seen);
                }
                Err(problem) => view.notice = Some(problem),
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    End,
    Sort,
    Pause,
}

impl View {
    fn press(&mut self, key: KeyEvent) -> Option<Wish> {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        self.notice = None;
        match key.code {
            KeyCode::Char('c') if is_control => return Some(Wish::End),
            KeyCode::Char('q') | KeyCode::Esc => return Some(Wish::End),
            KeyCode::Char('s') => {
                self.order = match self.order {
                    Order::Records => Order::Age,
                    Order::Age => Order::Name,
                    Order::Name => Order::Records,
                };
                return Some(Wish::Sort);
            }
            KeyCode::Char('p') => return Some(Wish::Pause),
            KeyCode::Down | KeyCode::Char('j') => self.table.select_next(),
            KeyCode::Up | KeyCode::Char('k') => self.table.select_previous(),
            KeyCode::PageDown => self.table.scroll_down_by(10),
            KeyCode::PageUp => self.table.scroll_up_by(10),
            KeyCode::Home => self.table.select_first(),
            KeyCode::End => self.table.select_last(),
            _ => {}
        }
        None
    }
}

/// Pauses the partition that is selected, or resumes it. What came of it, in words.
fn pause(view: &View, remote: &Remote) -> String {
    if !view.can_change {
        return "to pause and resume start with --token-file".into();
    }
    let lanes = view.seen.as_ref().map_or(&[][..], |seen| &seen.list.lanes);
    let Some(lane) = view.table.selected().and_then(|at| lanes.get(at)) else {
        return "select a partition with the arrow keys first".into();
    };
    let (path, done) = if lane.state == "paused" { ("/resume", "resumed") } else { ("/pause", "paused") };
    let body = serde_json::json!({"topics": regex::escape(&lane.topic), "partitions": [lane.partition]});
    match remote.post(path, &body) {
        Ok(_) => format!("{}-{} {done}", lane.topic, lane.partition),
        Err(problem) => problem,
    }
}

/// Asks every second, for as long as somebody listens.
fn follow(remote: &Arc<Remote>, order: &Arc<Mutex<Order>>) -> io::Result<Receiver<Result<Seen, String>>> {
    let (tell, news) = mpsc::channel();
    let (remote, order) = (Arc::clone(remote), Arc::clone(order));
    thread::Builder::new().name("follow".into()).spawn(move || {
        loop {
            let wanted = *order.lock().unwrap_or_else(PoisonError::into_inner);
            if tell.send(ask(&remote, wanted)).is_err() {
                return;
            }
            for _ in 0..REFRESH.as_millis() / TICK.as_millis() {
                thread::sleep(TICK);
                if *order.lock().unwrap_or_else(PoisonError::into_inner) != wanted {
                    break;
                }
            }
        }
    })?;
    Ok(news)
}

fn ask(remote: &Remote, order: Order) -> Result<Seen, String> {
    let order = match order {
        Order::Records => "records",
        Order::Age => "age",
        Order::Name => "name",
    };
    let look = parsed(&remote.get("/live")?)?;
    let list = parsed(&remote.get(&format!("/lanes?order={order}&limit={LISTED}"))?)?;
    Ok(Seen { look, list })
}

fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("that is no mirror of this version of Twinlog: {error}"))
}

#[cfg(test)]
mod tests;
