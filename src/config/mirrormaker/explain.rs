//! What becomes of one key of MirrorMaker or of Kafka's clients, for those who ask.

use super::keys::{self, FLOW, Fate, Key, WORKER};
use super::{clients, mm1, scopes};

/// A sentence for each thing that is called so; none if nothing is. What stands before a key in a file, such as `A->B.` or
/// `A.consumer.`, may be there.
pub fn explain(typed: &str) -> Vec<String> {
    let flow = typed.split_once("->").and_then(|(_, rest)| rest.split_once('.')).map(|(_, key)| key);
    let cluster = typed.split_once('.').map(|(_, key)| key);
    let ways = [Some(typed), flow, cluster].into_iter().flatten();
    ways.map(named).find(|found| !found.is_empty()).unwrap_or_default()
}

/// The names that there are, to find the nearest.
pub fn names() -> impl Iterator<Item = &'static str> {
    let own = FLOW.iter().chain(WORKER).map(|key| key.name);
    own.chain(clients::names()).filter(|name| !name.ends_with('.'))
}

fn named(key: &str) -> Vec<String> {
    let own =
        keys::find(FLOW, key).or_else(|| keys::find(WORKER, key)).map(|found| of_mirror_maker(key, found));
    let client = scopes::of_client(key);
    let client =
        clients::find(client).map(|(fate, text)| format!("Kafka's clients: {client} {}", words(fate, text)));
    let first = mm1::explain(key).map(|text| format!("MirrorMaker 1: {text}"));
    own.into_iter().chain(client).chain(first).collect()
}

fn of_mirror_maker(key: &str, found: &Key) -> String {
    let default = match found.default {
        None | Some("") => String::new(),
        Some(default) => format!(" (default: {default})"),
    };
    format!("MirrorMaker 2: {key}{default} {}", words(found.fate, found.text))
}

fn words(fate: Fate, text: &str) -> String {
    match fate {
        Fate::Used => format!("becomes: {text}"),
        Fate::Unused => format!("is ignored: {text}"),
        Fate::NotDone => format!("is not done: {text}"),
        Fate::Class(known) => {
            format!("may be {} alone, since Twinlog runs no Java classes; {text}", known.join(", "))
        }
        Fate::Refused => format!("is refused: {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_explained_with_and_without_its_scope() {
        for typed in ["sync.group.offsets.enabled", "east->us.west.sync.group.offsets.enabled"] {
            let said = explain(typed);
            assert!(
                typed.starts_with("east->us") || said[0].contains("(default: false) becomes: mirror.groups"),
                "{said:?}"
            );
        }
        let said = explain("A->B.topics.exclude");
        assert!(
            said[0].starts_with("MirrorMaker 2: topics.exclude (default: .*[\\-\\.]internal"),
            "{said:?}"
        );
        assert!(explain("us.consumer.linger.ms")[0].starts_with("Kafka's clients: linger.ms is ignored"));
        assert!(explain("num.streams")[0].starts_with("MirrorMaker 1: --num.streams is ignored"));
        assert!(explain("--whitelist")[0].contains("mirror.topics"));
        assert!(explain("zzz").is_empty());
        assert!(names().any(|name| name == "tasks.max"));
    }
}
