//! Which topics of the source are to be mirrored.

use super::metadata::{Observed, Topic};
use crate::config::text::typed;
use crate::config::{Mirror, nearest};
use regex::Regex;

/// Names listed in an error message.
pub(super) const NAMES_SHOWN: usize = 10;

/// The topics that the configuration asks for, in the order of their names.
///
/// Topics that Kafka or its tools keep for themselves (internal, or `__` in front) are
/// mirrored only when a pattern is literally their name, and Twinlog's own state never is.
pub fn select<'a>(config: &Mirror, source: &'a Observed) -> Vec<&'a Topic> {
    let mut selected = select_by(&config.topics, &config.exclude, source);
    selected.retain(|topic| !is_dead_letters(config, &topic.name));
    selected
}

/// The same for patterns that are no mirror's.
pub fn select_by<'a>(topics: &[Regex], exclude: &[Regex], source: &'a Observed) -> Vec<&'a Topic> {
    source.topics.values().filter(|topic| is_wanted(topics, exclude, topic)).collect()
}

/// Where the topic would be on the target, dead letters are.
fn is_dead_letters(config: &Mirror, name: &str) -> bool {
    config
        .dead_letter
        .as_deref()
        .is_some_and(|dead_letter| config.target.names.on_cluster(name) == dead_letter)
}

/// Whether the configuration asks for a topic of this name, which is known to be mirrored.
pub fn is_selected(config: &Mirror, name: &str) -> bool {
    let is_in = |list: &[Regex]| list.iter().any(|pattern| pattern.is_match(name));
    is_in(&config.topics) && !is_in(&config.exclude) && !is_dead_letters(config, name)
}

fn is_wanted(topics: &[Regex], exclude: &[Regex], topic: &Topic) -> bool {
    let is_named = |pattern: &Regex| is_literally(pattern, &topic.name);
    let is_in = |list: &[Regex]| list.iter().any(|pattern| pattern.is_match(&topic.name));
    !is_ours(topic)
        && !is_in(exclude)
        && is_in(topics)
        && (!is_kept_back(topic) || topics.iter().any(is_named))
}

fn is_matched(config: &Mirror, topic: &Topic) -> bool {
    config.topics.iter().any(|pattern| pattern.is_match(&topic.name))
}

/// Kafka and its tools keep such topics for themselves.
fn is_kept_back(topic: &Topic) -> bool {
    topic.is_internal || topic.name.starts_with("__")
}

/// The state of some link.
fn is_ours(topic: &Topic) -> bool {
    topic.name.starts_with("__twinlog.")
}

fn is_literally(pattern: &Regex, name: &str) -> bool {
    typed(pattern).trim_start_matches('^').trim_end_matches('$').replace('\\', "") == name
}

/// Topics that match and are not mirrored all the same, by name, with the reason.
pub fn left_out<'a>(config: &Mirror, source: &'a Observed) -> Vec<(&'a str, &'static str)> {
    let why = |topic: &Topic| match () {
        () if is_ours(topic) => "a link keeps its own state in it",
        () if is_dead_letters(config, &topic.name) => {
            "its name on the target is that of the dead letters' topic"
        }
        () if config.exclude.iter().any(|pattern| pattern.is_match(&topic.name)) => "it is excluded",
        () => "internal topics are mirrored only when they are named in full",
    };
    let matching = source.topics.values().filter(|topic| is_matched(config, topic));
    matching
        .filter(|topic| {
            !is_wanted(&config.topics, &config.exclude, topic) || is_dead_letters(config, &topic.name)
        })
        .map(|topic| (&*topic.name, why(topic)))
        .collect()
}

/// What to tell a user whose patterns select nothing: why, and what there is.
pub fn no_match(config: &Mirror, source: &Observed) -> String {
    let patterns = config.topics.iter().map(typed).collect::<Vec<_>>().join(", ");
    let (kept_back, names): (Vec<&Topic>, Vec<&Topic>) =
        source.topics.values().partition(|topic| is_kept_back(topic));
    let excluded = names_of(names.iter().copied().filter(|topic| is_matched(config, topic)));
    if !excluded.is_empty() {
        return format!(
            "every topic of the source that matches {patterns} is excluded: {}",
            shown(&excluded)
        );
    }
    let mut text = format!("no topic of the source matches {patterns}");
    let kept_back =
        names_of(kept_back.into_iter().filter(|topic| is_matched(config, topic) && !is_ours(topic)));
    if !kept_back.is_empty() {
        text += &format!(
            " except {}; internal topics are mirrored only when they are named in full, and not excluded",
            shown(&kept_back)
        );
    }
    let names = names_of(names);
    if let Some(alike) =
        config.topics.iter().find_map(|pattern| nearest(typed(pattern), names.iter().copied()))
    {
        text += &format!("; did you mean {alike}?");
    }
    match names.len() {
        0 => text += "; it has no topics that this user may see (that takes DESCRIBE on them)",
        count if count <= NAMES_SHOWN => text += &format!("; its topics are {}", shown(&names)),
        count => text += &format!("; it has {count} topics, such as {}", shown(&names)),
    }
    text
}

/// A sentence for each pattern that no topic of the source matches: a mistake, or a topic that is still to come.
pub fn unmatched(config: &Mirror, source: &Observed) -> Vec<String> {
    let is_idle = |pattern: &&Regex| !source.topics.keys().any(|name| pattern.is_match(name));
    let sentence = |pattern: &Regex| {
        let typed = typed(pattern);
        let alike = nearest(typed, source.topics.keys().map(String::as_str));
        let hint = alike.map(|alike| format!("; did you mean {alike}?")).unwrap_or_default();
        format!("no topic of the source matches {typed} yet{hint}")
    };
    config.topics.iter().filter(is_idle).map(sentence).collect()
}

/// A sentence for each pattern that singles out topics to be mirrored, and finds none.
pub fn idle(config: &Mirror, selected: &[&Topic]) -> Vec<String> {
    let first = config.first.iter().map(|pattern| ("--first", pattern));
    let rates = config.max_rate_topics.iter().map(|rate| ("--max-rate-topics", &rate.topics));
    let names = || selected.iter().map(|topic| &*topic.name);
    let is_idle = |(_, pattern): &(&str, &Regex)| !names().any(|name| pattern.is_match(name));
    let sentence = |(flag, pattern): (&str, &Regex)| {
        let typed = typed(pattern);
        let hint =
            nearest(typed, names()).map(|alike| format!("; did you mean {alike}?")).unwrap_or_default();
        format!("no topic that is mirrored matches {typed} of {flag} yet{hint}")
    };
    first.chain(rates).filter(is_idle).map(sentence).collect()
}

fn names_of<'a>(topics: impl IntoIterator<Item = &'a Topic>) -> Vec<&'a str> {
    topics.into_iter().map(|topic| &*topic.name).collect()
}

fn shown(names: &[&str]) -> String {
    names.iter().take(NAMES_SHOWN).copied().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::{Draft, text};
    use crate::control::metadata::Partition;
    use std::collections::BTreeSet;
    use uuid::Uuid;

    pub(crate) fn config(topics: &[&str], exclude: &[&str]) -> Mirror {
        let patterns = |texts: &[&str]| Some(texts.iter().map(|text| text::pattern(text).unwrap()).collect());
        let draft = Draft {
            source: text::addresses("a:1").ok(),
            target: text::addresses("b:1").ok(),
            topics: patterns(topics),
            exclude: patterns(exclude),
            ..Draft::default()
        };
        draft.build().unwrap()
    }

    pub(crate) fn cluster(brokers: i32, topics: &[(&str, usize)]) -> Observed {
        let address = |id: i32| crate::config::Address { host: format!("h{id}"), port: 9092 };
        let topic = |name: &str, partitions: usize| Topic {
            name: name.into(),
            id: Uuid::nil(),
            partitions: vec![Partition { leader: 0, leader_epoch: 1, replicas: 3 }; partitions],
            is_internal: name == "__consumer_offsets",
            error: 0,
        };
        Observed {
            cluster_id: "A".into(),
            controller: 0,
            brokers: (0..brokers).map(|id| (id, address(id))).collect(),
            racks: BTreeSet::new(),
            topics: topics
                .iter()
                .map(|&(name, partitions)| (name.to_owned(), topic(name, partitions)))
                .collect(),
        }
    }

    fn selected(topics: &[&str], exclude: &[&str]) -> Vec<String> {
        let names = ["a", "ab", "b", "clicks.eu", "__consumer_offsets", "__mine", "__twinlog.l"];
        let source = cluster(1, &names.map(|name| (name, 1)));
        select(&config(topics, exclude), &source).iter().map(|topic| topic.name.to_string()).collect()
    }

    #[test]
    fn a_pattern_matches_whole_names() {
        assert_eq!(selected(&["a"], &[]), ["a"]);
        assert_eq!(selected(&["a|ab"], &[]), ["a", "ab"]);
        assert_eq!(selected(&["^a.*$"], &[]), ["a", "ab"]);
        assert_eq!(selected(&["clicks\\..*", "b"], &[]), ["b", "clicks.eu"]);
        assert_eq!(selected(&[".*"], &["a.*"]), ["b", "clicks.eu"]);
    }

    #[test]
    fn the_dead_letters_are_left_out() {
        let config = Mirror { dead_letter: Some("b".into()), ..config(&[".*"], &[]) };
        let source = cluster(1, &[("a", 1), ("b", 1)]);
        let names: Vec<&str> = select(&config, &source).iter().map(|topic| &*topic.name).collect();
        assert_eq!(names, ["a"]);
        assert!(!is_selected(&config, "b") && is_selected(&config, "a"));
        assert_eq!(left_out(&config, &source)[0].0, "b");
    }

    #[test]
    fn internal_topics_only_by_name_and_our_own_never() {
        assert_eq!(selected(&["__.*"], &[]), Vec::<String>::new());
        assert_eq!(selected(&["__mine"], &[]), ["__mine"]);
        assert_eq!(selected(&["^__consumer_offsets$"], &[]), ["__consumer_offsets"]);
        assert_eq!(selected(&["__twinlog.l"], &[]), Vec::<String>::new());
    }

    #[test]
    fn what_matches_and_is_left_out_has_its_reason() {
        let source = cluster(1, &[("a", 1), ("b", 1), ("__consumer_offsets", 1), ("__twinlog.l", 1)]);
        let found = left_out(&config(&["a", "__.*"], &["a"]), &source);
        let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["__consumer_offsets", "__twinlog.l", "a"]);
        assert!(
            found[0].1.contains("in full") && found[1].1.contains("state") && found[2].1.contains("excluded")
        );
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_told_though_others_do() {
        let source = cluster(1, &[("orders", 1), ("clicks", 1)]);
        assert_eq!(
            unmatched(&config(&["orders", "clikcs", ".*z"], &[]), &source),
            [
                "no topic of the source matches clikcs yet; did you mean clicks?",
                "no topic of the source matches .*z yet"
            ]
        );
    }

    #[test]
    fn who_singles_out_nothing_is_told() {
        let source = cluster(1, &[("orders", 1), ("clicks", 1)]);
        let config = Mirror {
            first: text::patterns("order,clicks").unwrap(),
            max_rate_topics: crate::config::topic_rates("orders=1MB/s,x.*=2MB/s").unwrap(),
            ..config(&["orders"], &[])
        };
        assert_eq!(
            idle(&config, &select(&config, &source)),
            [
                "no topic that is mirrored matches order of --first yet; did you mean orders?",
                "no topic that is mirrored matches clicks of --first yet",
                "no topic that is mirrored matches x.* of --max-rate-topics yet"
            ]
        );
    }

    #[test]
    fn who_matches_nothing_learns_what_there_is() {
        let source = cluster(1, &[("orders", 1), ("clicks", 1), ("__x", 1)]);
        let text = no_match(&config(&["oders"], &[]), &source);
        assert_eq!(
            text,
            "no topic of the source matches oders; did you mean orders?; its topics are clicks, orders"
        );
        assert!(no_match(&config(&["x"], &[]), &cluster(1, &[])).contains("DESCRIBE"));
        assert_eq!(
            no_match(&config(&["or.*"], &["orders"]), &source),
            "every topic of the source that matches or.* is excluded: orders"
        );
        let text = no_match(&config(&["__.*"], &[]), &cluster(1, &[("__x", 1), ("__twinlog.l", 1)]));
        assert!(text.contains("matches __.* except __x; internal topics"), "{text}");
        let names: Vec<String> = (0..30).map(|n| format!("t{n:02}")).collect();
        let many: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 1)).collect();
        assert!(
            no_match(&config(&["zzzz"], &[]), &cluster(1, &many)).contains("30 topics, such as t00, t01")
        );
    }
}
