//! The page.

use super::Page;
use super::chart::Width;
use super::colours::dark_style;
use super::plots::{self, Plot, size};
use crate::load::{BenchReport, Throughput};
use crate::stats::{Percentiles, units};
use std::fmt::Write;

const STYLE: &str = "\
:root{color-scheme:light dark;--paper:#fff;--ink:#22262b;--soft:#5d646d;--rule:#d9dde2;--warn:#fff0d0;--warn-ink:#7a4b00}\
@media(prefers-color-scheme:dark){:root{--paper:#15181c;--ink:#dde1e6;--soft:#9aa2ac;--rule:#343a42;\
--warn:#4a3508;--warn-ink:#ffdf9e}}\
*{box-sizing:border-box}\
body{margin:0 auto;padding:1rem;max-width:56rem;background:var(--paper);color:var(--ink);font:16px/1.45 system-ui,sans-serif}\
h1{font-size:1.6rem;margin:.2rem 0 .8rem}h2{font-size:1.2rem;margin:2rem 0 .4rem}\
.partial{background:var(--warn);color:var(--warn-ink);padding:.6rem .8rem;border-radius:.3rem;margin:.8rem 0}\
.wide-table{overflow-x:auto}\
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}\
th,td{text-align:left;vertical-align:top;padding:.3rem .7rem .3rem 0;border-bottom:1px solid var(--rule)}\
th{font-weight:600}td.n,th.n{text-align:right}td.n{white-space:nowrap}\
.wide-table :is(td,th):first-child{position:sticky;left:0;background:var(--paper)}\
.facts th{width:9rem;color:var(--soft);font-weight:400}.facts td{overflow-wrap:anywhere}\
figure{margin:0}figcaption,p.note{color:var(--soft);font-size:.9rem;margin:.2rem 0}\
svg{display:block;width:100%;height:auto}svg.narrow{display:none}\
@media(max-width:640px){body{padding:.6rem}svg.wide{display:none}svg.narrow{display:block}.facts th{width:6.5rem}}";

/// The whole page.
pub fn html(page: &Page<'_>) -> Result<String, String> {
    let mut out = String::new();
    out.push_str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n<title>twinlog bench</title>\n");
    out.push_str(&format!(
        "<style>{STYLE}{}</style>\n</head>\n<body>\n<h1>twinlog bench</h1>\n",
        dark_style()
    ));
    if page.report.partial {
        let why = escape(page.report.trouble.as_deref().unwrap_or("no reason is known"));
        out.push_str(&format!(
            "<p class=\"partial\"><strong>Partial:</strong> the run ended early ({why}). What follows is of the part before.</p>\n"
        ));
    }
    let given = [("Load", page.report.load.to_string()), ("Mirror", page.report.mirror.to_string())];
    table(&mut out, page.facts.iter().map(|(name, value)| (*name, value.clone())).chain(given));
    out.push_str("<h2>Figures</h2>\n");
    table(&mut out, figures(page.report).into_iter());
    percentile_table(&mut out, page.report);
    sweep_table(&mut out, page.report);
    for plot in plots::plots(page) {
        figure(&mut out, &plot)?;
    }
    out.push_str("</body>\n</html>\n");
    Ok(out)
}

fn figures(report: &BenchReport) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    // The text has columns where a sentence has commas.
    let words = |run: &Throughput| run.to_string().replace("   (", " (").replace("   ", ", ");
    rows.extend(report.throughput.iter().flat_map(|run| [("Throughput", words(run)), ("Cost", run.cost())]));
    rows.extend(report.catch_up.iter().map(|run| ("Catching up", run.to_string())));
    rows.extend(report.latency.iter().map(|run| ("Even rate", format!("{run}; {}", run.cost()))));
    rows.push(("Checked", report.checked.to_string()));
    rows.extend(report.trouble.iter().map(|trouble| ("Trouble", trouble.clone())));
    rows.push(("Memory", report.memory()));
    rows
}

fn percentile_table(out: &mut String, report: &BenchReport) {
    let mut rows: Vec<(&str, Percentiles)> = Vec::new();
    if let Some(run) = &report.stages {
        rows.extend(run.stages.iter().map(|figures| (figures.words, figures.percentiles)));
    }
    if let Some(run) = &report.latency {
        rows.push(("actual send to visible", run.from_sent));
    }
    if rows.is_empty() {
        return;
    }
    let part = report.stages.as_ref().map_or("an even rate", |run| run.part);
    heading(out, &format!("Latency at {part}"));
    let names = ["from … to …", "batches", "mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
    let cells = rows.iter().map(|(name, at)| {
        let mean = units::us(at.mean_us.round() as u64);
        let times = [at.p50_us, at.p90_us, at.p99_us, at.p99_9_us, at.p99_99_us, at.max_us].map(units::us);
        [(*name).to_owned(), units::count(at.count), mean].into_iter().chain(times).collect()
    });
    number_table(out, &names, cells.collect());
    note(
        out,
        "A batch that the consumer had before its acknowledgement was back counts as 0 in \u{201c}acknowledged to visible\u{201d}. \
         Percentiles of stages do not add up to those of the whole.",
    );
}

fn sweep_table(out: &mut String, report: &BenchReport) {
    if report.sweep.is_empty() {
        return;
    }
    heading(out, "Size of batches");
    let names = ["before compression", "on the wire", "CPU-seconds per GB", "throughput", "batches"];
    let cells = report.sweep.iter().map(|point| {
        vec![
            size(point.batch_bytes),
            units::memory(point.batch_wire_bytes),
            format!("{:.3}", point.throughput.mirror_cpu_seconds_per_gb),
            units::byte_rate(point.throughput.bytes_per_second),
            units::rate(point.throughput.batches as f64 / point.throughput.seconds.max(1e-9), "batches"),
        ]
    });
    number_table(out, &names, cells.collect());
}

/// Drawn twice; the style sheet shows what fits.
fn figure(out: &mut String, plot: &Plot) -> Result<(), String> {
    let Plot { name, title, caption, chart } = plot;
    out.push_str(&format!("<h2 id=\"{name}\">{}</h2>\n", escape(title)));
    let Some(chart) = chart else {
        note(out, caption);
        return Ok(());
    };
    out.push_str("<figure>\n");
    for (width, class) in [(Width::Wide, "wide"), (Width::Narrow, "narrow")] {
        let svg = chart.inline(width)?;
        let named = format!("<svg class=\"{class}\" role=\"img\" aria-label=\"{}\" ", escape(title));
        out.push_str(&svg.replacen("<svg ", &named, 1));
    }
    out.push_str(&format!("<figcaption>{}</figcaption>\n</figure>\n", escape(caption)));
    Ok(())
}

fn table<'a>(out: &mut String, rows: impl Iterator<Item = (&'a str, String)>) {
    out.push_str("<table class=\"facts\">\n");
    for (name, value) in rows {
        // Writing into a string does not fail.
        let _ = writeln!(out, "<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(&value));
    }
    out.push_str("</table>\n");
}

fn number_table(out: &mut String, names: &[&str], rows: Vec<Vec<String>>) {
    let class = |at: usize| if at == 0 { "" } else { " class=\"n\"" };
    out.push_str("<div class=\"wide-table\"><table>\n<tr>");
    for (at, name) in names.iter().enumerate() {
        let _ = write!(out, "<th{}>{}</th>", class(at), escape(name));
    }
    out.push_str("</tr>\n");
    for row in rows {
        out.push_str("<tr>");
        for (at, cell) in row.iter().enumerate() {
            let _ = write!(out, "<td{}>{}</td>", class(at), escape(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
}

fn heading(out: &mut String, text: &str) {
    out.push_str(&format!("<h2>{}</h2>\n", escape(text)));
}

fn note(out: &mut String, text: &str) {
    out.push_str(&format!("<p class=\"note\">{}</p>\n", escape(text)));
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Not allowed in a page.
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
