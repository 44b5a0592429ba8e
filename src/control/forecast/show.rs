//! A forecast for people.

use super::{Forecast, GroupForecast, OnTarget, TopicForecast};
use crate::control::finding::{About, Finding, Weight, names};
use crate::control::scram;
use crate::shard::OffsetMode;
use crate::stats::units;
use std::fmt::Write;
use std::time::Duration;

/// Topics first, each with what is to be said of it; then the rest, and in the last line what it comes to.
pub fn show(forecast: &Forecast) -> String {
    let Forecast { link, source, target, topics, groups, scram_users, findings, .. } = forecast;
    let cluster = |cluster: &super::Cluster| {
        // Before Kafka 0.10.1.
        let id = if cluster.id.is_empty() { "without an id" } else { &cluster.id };
        match cluster.brokers {
            1 => format!("{id} (1 broker)"),
            brokers => format!("{id} ({brokers} brokers)"),
        }
    };
    let mut text = format!("link {link}: cluster {} to cluster {}\n", cluster(source), cluster(target));
    for topic in topics {
        text += &show_topic(topic);
        findings
            .iter()
            .filter(|finding| is_of(finding, &topic.topic))
            .for_each(|of| text += &show_finding(of));
    }
    let is_shown = |finding: &Finding| topics.iter().any(|topic| is_of(finding, &topic.topic));
    let mut last = None;
    for finding in findings.iter().filter(|finding| !is_shown(finding)) {
        if last.replace(&finding.about) != Some(&finding.about) {
            let _ = writeln!(text, "{}", finding.about);
        }
        text += &show_finding(finding);
    }
    groups.iter().for_each(|group| text += &show_group(group));
    text += &scram_users.as_deref().map(scram::show).unwrap_or_default();
    text + &summary(forecast)
}

fn is_of(finding: &Finding, topic: &str) -> bool {
    matches!(&finding.about, About::Topic(name) if name == topic)
}

fn show_finding(finding: &Finding) -> String {
    let mark = match finding.weight {
        Weight::Note => "note",
        Weight::Warning => "warning",
        Weight::Stops => "STOPS",
    };
    let command = finding.command.as_ref().map(|command| format!("    {command}\n")).unwrap_or_default();
    format!("  {mark}: {}\n{command}", finding.text)
}

fn show_topic(forecast: &TopicForecast) -> String {
    let mut text = format!("topic {}", forecast.topic);
    if forecast.name_on_target != forecast.topic {
        text += &format!(", {} on the target", forecast.name_on_target);
    }
    text.push('\n');
    let mut line = |what: &str, of: String| text += &format!("  {what}: {of}\n");
    line("on the target", on_target(&forecast.on_target));
    line("offsets", offsets(forecast));
    line("position", position(forecast));
    if forecast.seeds > 0 {
        let time = units::duration(Duration::from_secs_f64(forecast.seeds_seconds));
        line("seeds", format!("{} empty records first, about {time}", count(forecast.seeds)));
    }
    if let Some(way) = &forecast.unguarded_way {
        let unguarded = match forecast.unguarded_offsets {
            Some(unguarded) => format!("{} unguarded offsets are sent", count(unguarded)),
            None => "all records are unguarded and sent".into(),
        };
        line("exactness", format!("{unguarded} {way}"));
    }
    text
}

fn on_target(on_target: &OnTarget) -> String {
    match on_target {
        OnTarget::Exists { partitions } => format!("exists with {}", partitions_of(*partitions)),
        OnTarget::Grows { from, to } => format!("would grow from {from} to {}", partitions_of(*to)),
        OnTarget::Created { partitions, replication_factor, configs } => {
            let configs: String = configs.iter().map(|(name, value)| format!(", {name}={value}")).collect();
            format!(
                "would be created with {}, replication factor {replication_factor}{configs}",
                partitions_of(*partitions)
            )
        }
    }
}

fn partitions_of(count: i32) -> String {
    if count == 1 { "1 partition".into() } else { format!("{count} partitions") }
}

fn offsets(forecast: &TopicForecast) -> String {
    let word = |mode| match mode {
        OffsetMode::Identical => "identical",
        OffsetMode::Append => "appended",
        OffsetMode::Shared => "the target's own, between others' records",
    };
    let mut text = word(forecast.offsets).to_owned();
    match &forecast.offsets_because {
        Some(why) => text += &format!(", because {why}"),
        None if forecast.partitions.iter().any(|partition| partition.is_begun) => {
            text += ", as the partitions were begun";
        }
        None => {}
    }
    let others: Vec<i32> = forecast
        .partitions
        .iter()
        .filter(|partition| partition.offsets != forecast.offsets)
        .map(|partition| partition.partition)
        .collect();
    match forecast.partitions.iter().find(|partition| partition.offsets != forecast.offsets) {
        Some(other) => text + &format!("; {} in partitions {}", word(other.offsets), names(others)),
        None => text,
    }
}

fn position(forecast: &TopicForecast) -> String {
    let begun = forecast.partitions.iter().filter(|partition| partition.is_begun).count();
    let new = forecast.partitions.len() - begun;
    let from = |is_begun: bool| {
        let of = forecast.partitions.iter().filter(move |partition| partition.is_begun == is_begun);
        let offsets = of.filter_map(|partition| partition.from_offset);
        match (offsets.clone().min(), offsets.max()) {
            (Some(first), Some(last)) if first == last => format!("offset {first}"),
            (Some(first), Some(last)) => format!("offsets {first} to {last}"),
            _ => "an offset that is not known".into(),
        }
    };
    let mut parts = Vec::new();
    if begun > 0 {
        parts.push(format!("{begun} go on from {}", from(true)));
    }
    if new > 0 {
        parts.push(format!("{new} begin at {}", from(false)));
    }
    let bytes = forecast.left_bytes.filter(|bytes| *bytes > 0);
    let bytes = bytes.map(|bytes| format!(" (about {})", units::bytes(bytes))).unwrap_or_default();
    format!("{}; {} offsets to mirror{bytes}", parts.join(", "), count(forecast.left_offsets))
}

fn count(offsets: i64) -> String {
    units::count(offsets.max(0).unsigned_abs())
}

fn show_group(forecast: &GroupForecast) -> String {
    let mut text = format!("group {}\n  positions to mirror: {}\n", forecast.group, forecast.positions);
    let mut left = &forecast.skipped[..];
    // In the order of topics, so those of one kind stand together.
    while let Some(first) = left.first() {
        let same =
            left.iter().take_while(|skipped| (&skipped.topic, &skipped.why) == (&first.topic, &first.why));
        let partitions: Vec<i32> = same.map(|skipped| skipped.partition).collect();
        left = &left[partitions.len()..];
        let _ = writeln!(text, "  skipped: {} {}: {}", first.topic, names(partitions), first.why);
    }
    text
}

fn summary(forecast: &Forecast) -> String {
    let sum = |of: fn(&TopicForecast) -> i64| forecast.topics.iter().map(of).sum::<i64>();
    let seconds: f64 = forecast.topics.iter().map(|topic| topic.seeds_seconds).sum();
    let seeds = match sum(|topic| topic.seeds) {
        0 => String::new(),
        seeds => {
            format!(", {} seeds (about {})", count(seeds), units::duration(Duration::from_secs_f64(seconds)))
        }
    };
    format!(
        "{} topics, {} partitions, {} offsets to mirror{seeds}; {} warnings, {} left out or to be stopped\n",
        forecast.topics.len(),
        forecast.topics.iter().map(|topic| topic.partitions.len()).sum::<usize>(),
        count(sum(|topic| topic.left_offsets)),
        forecast.count(Weight::Warning),
        forecast.count(Weight::Stops),
    )
}
