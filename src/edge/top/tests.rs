use super::*;
use crate::stats::LaneCounts;
use crate::stats::live::LaneLine;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

fn seen() -> Seen {
    let lane = |at: usize, lag, why: Option<&str>| LaneLine {
        at,
        topic: "orders".into(),
        partition: at as i32,
        state: if why.is_some() { "stopped" } else { "stream" }.into(),
        position: Some(5),
        lag_records: Some(lag),
        lag_ms: Some(lag * 1_000),
        why: why.map(Into::into),
        ..LaneLine::default()
    };
    let look = LiveLook {
        link: "east\x1b[31m".into(),
        bytes_per_second: 5e6,
        lag_records: Some(1_234),
        lag_ms: Some(2_500),
        cores: 2,
        lanes: LaneCounts { total: 3, stopped: 1, ..LaneCounts::default() },
        sick_count: 1,
        problems: vec!["clicks is left out: no right to read it".into()],
        ..LiveLook::default()
    };
    let lanes = vec![lane(2, 7, Some("has stopped: too large")), lane(0, 1_227, None), lane(1, 0, None)];
    Seen { look, list: LaneList { total: 300, lanes } }
}

fn screen(view: &mut View, width: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, 20)).unwrap();
    terminal.draw(|frame| screen::draw(frame, view)).unwrap();
    terminal.backend().to_string()
}

fn key(code: KeyCode) -> KeyEvent {
    KeyEvent::new(code, KeyModifiers::NONE)
}

#[test]
fn a_snapshot_says_it_in_plain_text() {
    let text = text::snapshot(&seen());
    let squeezed: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let squeezed = squeezed.join("\n");
    for part in [
        "5.00 MB/s",
        "1,234 records behind, 2.50 s",
        "1 in need of attention",
        "clicks is left out",
        "orders-2 stopped 7 7.00 s 5 has stopped: too large",
        "orders-1 stream 0 - 5",
        "and 297 more",
    ] {
        assert!(squeezed.contains(part), "{part} is not in\n{text}");
    }
    assert!(!text.contains('\x1b'), "{text:?}");
}

#[test]
fn the_screen_fits_wide_and_narrow_terminals() {
    let mut view = View { seen: Some(seen()), can_change: true, ..View::default() };
    let wide = screen(&mut view, 140);
    for part in [
        "1,234 records behind",
        "orders-2",
        "has stopped: too large",
        "p pause or resume",
        "clicks is left out",
    ] {
        assert!(wide.contains(part), "{part} is not in\n{wide}");
    }
    let narrow = screen(&mut view, 60);
    assert!(
        narrow.contains("orders-2") && narrow.contains("1,227") && !narrow.contains("too large"),
        "{narrow}"
    );
    assert!(screen(&mut View::default(), 10).contains("asking"));
}

#[test]
fn keys_do_what_the_footer_says() {
    let mut view = View { seen: Some(seen()), ..View::default() };
    assert_eq!(view.press(key(KeyCode::Char('s'))), Some(Wish::Sort));
    assert_eq!(view.order, Order::Age);
    assert!(screen(&mut view, 140).contains("sort (by age)"));
    assert_eq!(view.press(key(KeyCode::Down)), None);
    assert_eq!(view.table.selected(), Some(0));
    assert_eq!(view.press(key(KeyCode::Char('p'))), Some(Wish::Pause));
    let remote = Remote::new("127.0.0.1:1", None).unwrap();
    assert!(pause(&view, &remote).contains("--token-file"));
    view.can_change = true;
    assert!(pause(&view, &remote).contains("http://127.0.0.1:1/pause"), "nobody listens there");
    assert_eq!(view.press(key(KeyCode::Char('q'))), Some(Wish::End));
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(view.press(interrupt), Some(Wish::End));
}
