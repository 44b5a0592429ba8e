//! A chart as data, and its drawing as SVG, wide for a screen or narrow for a phone.

use super::axis::{Axis, text_px};
use super::colours::{AXIS, Colour, FAINT, GRID, INK, PAPER, SHADES, dark_style};
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

#[derive(Clone, Debug, Default)]
pub struct Chart {
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
    pub cells: Vec<Cell>,
    /// What the lightest and the darkest shade stand for; None where there are none.
    pub shades: Option<(String, String)>,
    /// Spans of x that have names.
    pub spans: Vec<(f64, f64, String)>,
}

#[derive(Clone, Debug)]
pub struct Line {
    pub name: String,
    pub colour: Colour,
    pub points: Vec<(f64, f64)>,
    pub has_dots: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub from: (f64, f64),
    pub to: (f64, f64),
    pub shade: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    Wide,
    Narrow,
}

impl Width {
    fn size(self) -> (u32, u32) {
        match self {
            Self::Wide => (860, 400),
            Self::Narrow => (370, 330),
        }
    }
}

const TEXT_PX: i32 = 13;
const ROW_PX: i32 = 20;
/// plotters takes font sizes 1.24 times as large as they come out.
const FONT_SCALE: f64 = 1.24;
const LEFT_PX: i32 = 58;
const RIGHT_PX: i32 = 18;
const BOTTOM_PX: i32 = 44;

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

impl Chart {
    /// With a title and a style sheet, to stand alone.
    pub fn file(&self, title: &str, subtitle: &str) -> Result<String, String> {
        let svg = self.draw(Width::Wide, Some((title, subtitle)))?;
        let (tag, rest) = svg.split_once('>').ok_or("a picture has no beginning")?;
        Ok(format!("{tag}>\n<style>{}</style>{rest}", dark_style()))
    }

    /// Without, to stand in a page that has both.
    pub fn inline(&self, width: Width) -> Result<String, String> {
        self.draw(width, None)
    }

    fn draw(&self, width: Width, titles: Option<(&str, &str)>) -> Result<String, String> {
        let mut svg = String::new();
        let (w, h) = width.size();
        let rows = self.legend_rows(w as i32);
        let head_px = if titles.is_some() { 50 } else { 4 };
        let top_px = head_px
            + rows.len() as i32 * ROW_PX
            + ROW_PX
            + 8
            + if self.spans.is_empty() { 0 } else { ROW_PX };
        let size = (w, h + u32::try_from(head_px).unwrap_or(0));
        {
            let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
            area.fill(&PAPER.rgb()).map_err(failed)?;
            if let Some((title, subtitle)) = titles {
                write(&area, title, (12, 20), TEXT_PX + 4, INK, HPos::Left)?;
                write(&area, subtitle, (12, 40), TEXT_PX - 1, AXIS, HPos::Left)?;
            }
            for (number, row) in rows.iter().enumerate() {
                self.draw_legend(&area, row, head_px + number as i32 * ROW_PX + ROW_PX / 2)?;
            }
            let label_y = head_px + rows.len() as i32 * ROW_PX + ROW_PX / 2;
            write(&area, &self.y.label, (12, label_y), TEXT_PX, INK, HPos::Left)?;
            self.draw_plot(&area, top_px, width)?;
            let middle = (LEFT_PX + w as i32 - RIGHT_PX) / 2;
            write(&area, &self.x.label, (middle, size.1 as i32 - 10), TEXT_PX, INK, HPos::Center)?;
            area.present().map_err(failed)?;
        }
        Ok(svg)
    }

    fn draw_plot(&self, area: &Area<'_>, top_px: i32, width: Width) -> Result<(), String> {
        let mut chart = ChartBuilder::on(area)
            .margin_top(top_px)
            .margin_right(RIGHT_PX)
            .margin_bottom(ROW_PX)
            .x_label_area_size(BOTTOM_PX - ROW_PX)
            .y_label_area_size(LEFT_PX)
            .build_cartesian_2d(Scale::of(&self.x), Scale::of(&self.y))
            .map_err(failed)?;
        let plot_px = f64::from(width.size().0) - f64::from(LEFT_PX + RIGHT_PX);
        let x = self.x.thinned(plot_px);
        let x_text = |at: &f64| label(&x, *at);
        let y_text = |at: &f64| label(&self.y, *at);
        chart
            .configure_mesh()
            .bold_line_style(GRID.rgb())
            .light_line_style(FAINT.rgb())
            .axis_style(AXIS.rgb())
            .label_style(font(TEXT_PX).color(&INK.rgb()))
            .x_label_formatter(&x_text)
            .y_label_formatter(&y_text)
            .draw()
            .map_err(failed)?;
        let cells = self.cells.iter().map(|cell| {
            Rectangle::new([cell.from, cell.to], SHADES[cell.shade.min(SHADES.len() - 1)].rgb().filled())
        });
        chart.draw_series(cells).map_err(failed)?;
        for line in &self.lines {
            let style = line.colour.rgb().stroke_width(2);
            // What lies above the end of the axis is drawn at its end.
            let points = line.points.iter().map(|(x, y)| (*x, y.clamp(self.y.from, self.y.to)));
            let points: Vec<(f64, f64)> = points.collect();
            if line.has_dots {
                let dots = points.iter().map(|at| Circle::new(*at, 4, line.colour.rgb().filled()));
                chart.draw_series(dots).map_err(failed)?;
            }
            chart.draw_series(LineSeries::new(points, style)).map_err(failed)?;
        }
        self.draw_spans(area, &chart, top_px)
    }

    /// A line where each span begins, and its name above if there is room.
    fn draw_spans(
        &self,
        area: &Area<'_>,
        chart: &ChartContext<'_, SVGBackend<'_>, Cartesian2d<Scale, Scale>>,
        top_px: i32,
    ) -> Result<(), String> {
        for (from, to, name) in &self.spans {
            let (begin_x, top_y) = chart.backend_coord(&(from.max(self.x.from), self.y.to));
            let (end_x, bottom_y) = chart.backend_coord(&(to.min(self.x.to), self.y.from));
            let line = PathElement::new(vec![(begin_x, top_y), (begin_x, bottom_y)], AXIS.rgb());
            area.draw(&line).map_err(failed)?;
            if text_px(name) < f64::from(end_x - begin_x) {
                let middle = (begin_x + end_x) / 2;
                write(area, name, (middle, top_px - ROW_PX / 2), TEXT_PX - 1, AXIS, HPos::Center)?;
            }
        }
        Ok(())
    }

    /// Names of lines, as many to a row as fit.
    fn legend_rows(&self, width_px: i32) -> Vec<Vec<(i32, usize)>> {
        if self.shades.is_some() {
            return vec![Vec::new()];
        }
        let mut rows: Vec<Vec<(i32, usize)>> = Vec::new();
        let mut x = width_px;
        let names = if self.lines.len() > 1 { &self.lines[..] } else { &[] };
        for (number, line) in names.iter().enumerate() {
            let item_px = text_px(&line.name) as i32 + 40;
            if x + item_px > width_px {
                rows.push(Vec::new());
                x = 12;
            }
            if let Some(row) = rows.last_mut() {
                row.push((x, number));
            }
            x += item_px;
        }
        rows
    }

    fn draw_legend(&self, area: &Area<'_>, row: &[(i32, usize)], y: i32) -> Result<(), String> {
        for &(x, number) in row {
            let Line { name, colour, .. } = &self.lines[number];
            let line = PathElement::new(vec![(x, y), (x + 20, y)], colour.rgb().stroke_width(3));
            area.draw(&line).map_err(failed)?;
            write(area, name, (x + 26, y), TEXT_PX, INK, HPos::Left)?;
        }
        let Some((least, most)) = &self.shades else { return Ok(()) };
        write(area, least, (12, y), TEXT_PX, INK, HPos::Left)?;
        let mut x = 12 + text_px(least) as i32 + 8;
        for shade in SHADES {
            let square = Rectangle::new([(x, y - 6), (x + 16, y + 6)], shade.rgb().filled());
            area.draw(&square).map_err(failed)?;
            x += 16;
        }
        write(area, most, (x + 8, y), TEXT_PX, INK, HPos::Left)
    }
}

/// An axis as plotters wants it.
struct Scale {
    inner: RangedCoordf64,
    bold: Vec<f64>,
    light: Vec<f64>,
}

impl Scale {
    fn of(axis: &Axis) -> Self {
        let bold = axis.ticks.iter().map(|(at, _)| *at).collect();
        Self { inner: (axis.from..axis.to).into(), bold, light: axis.light.clone() }
    }
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.inner.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { self.light.clone() } else { self.bold.clone() }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.inner.range()
    }
}

fn font(px: i32) -> plotters::style::TextStyle<'static> {
    ("sans-serif", f64::from(px) * FONT_SCALE).into_font().color(&INK.rgb())
}

fn write(
    area: &Area<'_>,
    text: &str,
    at: (i32, i32),
    px: i32,
    colour: Colour,
    side: HPos,
) -> Result<(), String> {
    let rgb = colour.rgb();
    let style = font(px).color(&rgb).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style)).map_err(failed)
}

/// The text at a tick.
fn label(axis: &Axis, at: f64) -> String {
    let found = axis.ticks.iter().find(|(tick, _)| (tick - at).abs() < 1e-9);
    found.map(|(_, text)| text.clone()).unwrap_or_default()
}

fn failed<E: std::fmt::Display>(error: E) -> String {
    format!("cannot draw a picture: {error}")
}
