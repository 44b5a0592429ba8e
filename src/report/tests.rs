use super::*;
use crate::load::{
    CatchUp, Checked, LatencyRun, LoadFacts, MirrorFacts, StagesRun, SweepPoint, Tally, Throughput,
};
use crate::stats::{Passage, Sample, Stage};

const PLOTS: [&str; 5] = ["throughput", "latency-by-stage", "latency-heat-map", "catching-up", "cpu-per-gb"];

struct Recorded {
    report: BenchReport,
    phases: Vec<Phase>,
    timeline: Timeline,
    heat: Heat,
    stages: Stages,
}

/// A run as it might have been.
fn recorded() -> Recorded {
    let (mut timeline, mut heat, mut stages) = (Timeline::new(10_000), Heat::default(), Stages::default());
    for n in 0..600u64 {
        let sent_bytes = 200_000_000 + n * 1_000_000;
        timeline.record(Sample {
            at_us: n * 10_000,
            sent_bytes,
            arrived_bytes: sent_bytes.min(n * 2_000_000),
        });
        heat.record(n * 10_000, 300 + n * n % 5_000);
        let appended_us = 1_000_000 + n * 1_000;
        let fetched_us = appended_us + 100 + n % 50;
        let sent_us = fetched_us + 20 + n % 7;
        let acked_us = sent_us + 700 + n * n % 900;
        let passage = Passage { appended_us, fetched_us, sent_us, acked_us, visible_us: acked_us + n % 30 };
        stages.record(&passage);
        stages.record_total_us(passage.visible_us - appended_us + 5);
    }
    let throughput = Throughput::new(4_000_000_000, 16_000, 250, 5.0, 1.2);
    let point =
        |batch_bytes: usize| SweepPoint { batch_bytes, batch_wire_bytes: batch_bytes as u64, throughput };
    let report = BenchReport {
        partial: false,
        trouble: None,
        load: LoadFacts {
            partitions: 8,
            record_bytes: 1024,
            records_per_batch: 250,
            codec: "none",
            batch_wire_bytes: 262_000,
        },
        mirror: MirrorFacts {
            version: "1",
            mover: "auto",
            shards: 1,
            buffer_bytes: 64 << 20,
            machine_cores: 2,
            embedded_clusters: true,
        },
        catch_up: Some(CatchUp {
            bytes: 200_000_000,
            first_arrival_seconds: 0.2,
            seconds: 0.5,
            bytes_per_second: 6e8,
        }),
        throughput: Some(throughput),
        latency: Some(LatencyRun {
            seconds: 5.0,
            offered_bytes_per_second: 4e8,
            achieved_bytes_per_second: 4e8,
            mirror_cpu_seconds: 1.5,
            from_intended: stages.of(Stage::Total).percentiles(),
            from_sent: stages.of(Stage::Total).percentiles(),
        }),
        stages: Some(StagesRun {
            part: "even rate",
            stages: stages.figures(),
            shards: Vec::new(),
            batches_left_out: 0,
        }),
        checked: Checked {
            batches_sent: 16_000,
            records_sent: 4_000_000,
            under_way: 0,
            tally: Tally { arrived: 16_000, ..Tally::default() },
        },
        sweep: vec![point(1 << 20), point(16 << 10), point(64 << 10)],
        peak_rss_bytes: 300 << 20,
    };
    let phases = vec![
        Phase { name: Phase::CATCH_UP, begin_us: 0, end_us: 1_000_000 },
        Phase { name: "full speed", begin_us: 1_000_000, end_us: 3_000_000 },
        Phase { name: "even rate", begin_us: 3_000_000, end_us: 6_000_000 },
    ];
    Recorded { report, phases, timeline, heat, stages }
}

impl Recorded {
    fn page<'a>(&'a self, facts: &'a [(&'static str, String)]) -> Page<'a> {
        let Self { report, phases, timeline, heat, stages } = self;
        Page { facts, report, phases, timeline, heat, stages }
    }
}

fn facts() -> Vec<(&'static str, String)> {
    vec![("Command", "twinlog bench --topics '<a&b>'".to_owned())]
}

/// The page is XML, too, so that a parser can vouch for it.
fn parse(html: &str) -> roxmltree::Document<'_> {
    let text = html.strip_prefix("<!DOCTYPE html>\n").unwrap();
    roxmltree::Document::parse(text).unwrap_or_else(|error| panic!("{error}\n{html}"))
}

#[test]
fn the_page_is_well_formed_and_holds_every_plot_twice() {
    let (recorded, facts) = (recorded(), facts());
    let html = html(&recorded.page(&facts)).unwrap();
    let page = parse(&html);
    let headings: Vec<_> = page.descendants().filter_map(|node| node.attribute("id")).collect();
    assert_eq!(headings, PLOTS);
    let svgs = page.descendants().filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "svg")));
    let classes: Vec<_> = svgs.clone().map(|svg| svg.attribute("class").unwrap()).collect();
    assert_eq!(classes, ["wide", "narrow"].repeat(PLOTS.len()));
    for svg in svgs {
        let shapes = svg.descendants().filter(roxmltree::Node::is_element).count();
        assert!(shapes > 20, "{shapes} shapes in {:?}", svg.attribute("aria-label"));
        assert!(svg.attribute("viewBox").is_some());
    }
    // It needs nothing else, and what was typed is text.
    assert!(!html.contains("src=") && !html.contains("href=") && !html.contains("url("));
    assert!(html.contains("'&lt;a&amp;b&gt;'"));
    assert!(!html.contains("Partial"));
}

#[test]
fn the_percentiles_are_those_of_the_histograms() {
    let (recorded, facts) = (recorded(), facts());
    let html = html(&recorded.page(&facts)).unwrap();
    let page = parse(&html);
    let rows: Vec<Vec<String>> = page
        .descendants()
        .filter(|node| node.has_tag_name("tr"))
        .map(|row| row.children().filter_map(|cell| cell.text()).map(str::to_owned).collect())
        .collect();
    for stage in Stage::ALL {
        let latency = recorded.stages.of(stage);
        let times = [0.5, 0.9, 0.99, 0.999, 0.9999, 1.0].map(|quantile| units::us(latency.at_us(quantile)));
        let row = rows.iter().find(|row| row.first().is_some_and(|name| name == stage.words())).unwrap();
        assert_eq!((row[1].as_str(), &row[3..]), ("600", &times[..]), "{row:?}");
    }
}

#[test]
fn what_there_is_nothing_to_plot_of_says_how_to_get_it() {
    let mut recorded = recorded();
    recorded.report.sweep.clear();
    recorded.phases.remove(0);
    recorded.report.partial = true;
    recorded.report.trouble = Some("interrupted".into());
    let facts = facts();
    let page = recorded.page(&facts);
    let html = html(&page).unwrap();
    parse(&html);
    assert!(html.contains("--sweep 4KiB") && html.contains("--backlog SIZE"), "{html}");
    assert!(html.contains("<strong>Partial:</strong> the run ended early (interrupted)"), "{html}");
    let names: Vec<_> = pictures(&page).unwrap().into_iter().map(|picture| picture.file_name).collect();
    assert_eq!(names, ["throughput.svg", "latency-by-stage.svg", "latency-heat-map.svg"]);
}

#[test]
fn a_run_that_ended_at_once_makes_a_page_all_the_same() {
    let mut recorded = recorded();
    recorded.report.throughput = None;
    recorded.report.latency = None;
    recorded.report.stages = None;
    recorded.report.catch_up = None;
    let nothing = Recorded {
        timeline: Timeline::new(1),
        heat: Heat::default(),
        stages: Stages::default(),
        phases: Vec::new(),
        ..recorded
    };
    let facts = facts();
    parse(&html(&nothing.page(&facts)).unwrap());
}

#[test]
fn each_picture_stands_alone() {
    let (recorded, facts) = (recorded(), facts());
    let pictures = pictures(&recorded.page(&facts)).unwrap();
    assert_eq!(pictures.len(), PLOTS.len());
    for (picture, name) in pictures.iter().zip(PLOTS) {
        assert_eq!(picture.file_name, format!("{name}.svg"));
        let svg = roxmltree::Document::parse(&picture.svg).unwrap();
        let texts: Vec<_> = svg.descendants().filter_map(|node| node.text()).map(str::trim).collect();
        assert!(texts.iter().any(|text| text.starts_with("twinlog 1, 8 partitions")), "{texts:?}");
        assert!(picture.svg.contains("prefers-color-scheme:dark"));
    }
}
