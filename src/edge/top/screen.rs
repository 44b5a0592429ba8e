//! How it looks in a terminal.

use super::{View, text};
use crate::stats::live::{LaneLine, Order};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Paragraph, Row, Table};

pub(super) fn draw(frame: &mut Frame<'_>, view: &mut View) {
    let (mut lines, list) = match &view.seen {
        None => (vec![Line::from("asking the mirror…")], &[][..]),
        Some(seen) => {
            let mut lines: Vec<Line<'_>> = text::summary(&seen.look).into_iter().map(Line::from).collect();
            lines.extend(text::problems(&seen.look).into_iter().map(|problem| Line::styled(problem, BAD)));
            (lines, seen.list.lanes.as_slice())
        }
    };
    lines[0] = lines[0].clone().style(Modifier::BOLD);
    let head = u16::try_from(lines.len()).unwrap_or(u16::MAX).min(frame.area().height / 2);
    let parts = [Constraint::Length(head + 1), Constraint::Min(3), Constraint::Length(1)];
    let [above, middle, below] = Layout::vertical(parts).areas(frame.area());
    frame.render_widget(Paragraph::new(lines), above);
    let is_narrow = frame.area().width < 100;
    let rows = list.iter().map(|lane| row(lane, is_narrow));
    let heads = text::HEADS.map(|head| Cell::from(head).style(Modifier::UNDERLINED));
    let widths = match is_narrow {
        false => vec![
            Constraint::Fill(2),
            Constraint::Length(8),
            Constraint::Length(14),
            Constraint::Length(12),
            Constraint::Length(16),
            Constraint::Fill(3),
        ],
        true => {
            vec![Constraint::Fill(2), Constraint::Length(8), Constraint::Length(14), Constraint::Length(12)]
        }
    };
    let heads: Vec<Cell<'_>> = heads.into_iter().take(widths.len()).collect();
    let table = Table::new(rows, widths)
        .header(Row::new(heads))
        .row_highlight_style(Modifier::REVERSED)
        .column_spacing(2);
    frame.render_stateful_widget(table, middle, &mut view.table);
    frame.render_widget(footer(view), below);
}

const BAD: Style = Style::new().fg(Color::Red);

/// Where there is no room for what is wrong with it, its colour says that there is something.
fn row(lane: &LaneLine, is_narrow: bool) -> Row<'static> {
    let style = match (&lane.why, lane.state.as_str(), lane.lag_records) {
        (Some(_), _, _) => BAD,
        (None, "paused", _) => Style::new().fg(Color::Blue),
        (None, _, Some(0)) => Style::new().fg(Color::Green),
        _ => Style::new(),
    };
    let [name, state, behind, age, position, why] = text::row(lane);
    let right = |text: String| Cell::from(Line::from(text).right_aligned());
    let mut cells = vec![Cell::from(name), Cell::from(state), right(behind), right(age)];
    if !is_narrow {
        cells.extend([right(position), Cell::from(why)]);
    }
    Row::new(cells).style(style)
}

fn footer(view: &View) -> Paragraph<'static> {
    if let Some(notice) = &view.notice {
        let notice: String = notice.chars().filter(|c| !c.is_control()).collect();
        return Paragraph::new(notice).style(Color::Yellow);
    }
    let order = match view.order {
        Order::Records => "records behind",
        Order::Age => "age",
        Order::Name => "name",
    };
    let pause = if view.can_change { "   p pause or resume" } else { "" };
    Paragraph::new(format!("q quit   s sort (by {order})   ↑ ↓ select{pause}")).style(Modifier::DIM)
}
