use super::*;
use crate::config::text::patterns;
use crate::control::ledger::{self, standing_tests};
use crate::control::topics::tests::{cluster, config};

/// Facts about two clusters on which nothing was mirrored yet.
struct World {
    source: Observed,
    target: Observed,
    ledger: Ledger,
    peers: Peers,
}

impl World {
    fn new(source: &[(&str, usize)], target: &[(&str, usize)]) -> Self {
        let other = |mut observed: Observed| {
            observed.cluster_id = "B".into();
            observed
        };
        let settings = ledger::Settings {
            source_cluster: "A".into(),
            target_cluster: "B".into(),
            names: Default::default(),
            parts: None,
            instance: "i".into(),
            zombie_bound_ms: 1,
            producer_id_expiration_ms: None,
            shards: 0,
        };
        Self {
            source: cluster(3, source),
            target: other(cluster(2, target)),
            ledger: Ledger::new(settings),
            peers: Peers::default(),
        }
    }

    /// Every partition begins at `start` and ends at 1000; the last 300 offsets are young.
    fn facts(&self, start: i64) -> Facts<'_> {
        let place = Place {
            source_start: Some(start),
            source_end: Some(1000),
            source_bytes: Some(50_000),
            begin: Some(start),
            guarded: Some(Guarded {
                now: exactness::Since::Offset(700),
                at_best: exactness::Since::Offset(0),
                first: exactness::Since::Offset(0),
            }),
            target_end: Some(0),
        };
        let partitions = self.source.topics.values().flat_map(|topic| {
            (0..).zip(&topic.partitions).map(|(number, _): (i32, _)| (topic.name.to_string(), number))
        });
        let known = |observed: &Observed| {
            observed.topics.keys().map(|name| (name.clone(), TopicConfigs::default())).collect()
        };
        let side = |observed: &Observed| ClusterFacts {
            configs: known(observed),
            observed: observed.clone(),
            ..ClusterFacts::default()
        };
        Facts {
            places: partitions.map(|key| (key, place)).collect(),
            source: side(&self.source),
            target: side(&self.target),
            ledger: &self.ledger,
            peers: &self.peers,
            cannot_fill: None,
            producer_id_expiration_ms: Some(86_400_000),
            refused: BTreeMap::new(),
            positions: Vec::new(),
            trouble: Vec::new(),
        }
    }
}

fn stops(forecast: &Forecast) -> Vec<String> {
    let stops = forecast.findings.iter().filter(|finding| finding.weight == Weight::Stops);
    stops.map(|finding| format!("{}: {}", finding.about, finding.text)).collect()
}

#[test]
fn a_new_topic_is_created_and_its_records_are_counted() {
    let world = World::new(&[("t", 2)], &[]);
    let forecast = forecast(&config(&["t"], &[]), &world.facts(500));
    assert!(forecast.is_clean(), "{:?}", forecast.findings);
    let topic = &forecast.topics[0];
    assert!(matches!(topic.on_target, OnTarget::Created { partitions: 2, replication_factor: 2, .. }));
    assert_eq!((topic.left_offsets, topic.left_bytes), (1000, Some(100_000)));
    assert_eq!((topic.seeds, topic.unguarded_offsets), (0, Some(400)));
    assert_eq!(topic.offsets, OffsetMode::Identical);
    assert!(topic.offsets_because.as_ref().unwrap().contains("control records"));
    let text = show(&forecast);
    assert!(text.contains("would be created with 2 partitions, replication factor 2"), "{text}");
    assert!(text.contains("2 begin at offset 500; 1,000 offsets to mirror (about 100 kB)"), "{text}");
    assert!(
        text.contains("exactness: 400 unguarded offsets are sent with one batch in flight per partition"),
        "{text}"
    );
    assert!(text.ends_with("1 warnings, 0 left out or to be stopped\n"), "{text}");
}

#[test]
fn what_begins_high_is_seeded_and_takes_time() {
    let world = World::new(&[("t", 1)], &[]);
    let mut facts = world.facts(0);
    let begin = 30 * SEEDS_PER_SECOND;
    let place = facts.places.get_mut(&("t".to_owned(), 0)).unwrap();
    (place.begin, place.source_start, place.source_end) = (Some(begin), Some(begin), Some(begin + 5));
    let seeded = forecast(&config(&["t"], &[]), &facts);
    assert_eq!((seeded.topics[0].seeds, seeded.topics[0].seeds_seconds), (begin, 30.0));
    assert!(show(&seeded).contains("150,000,000 empty records first, about 30.0 s"), "{}", show(&seeded));
    let appending = Mirror { seed_offsets_max: 5, ..config(&["t"], &[]) };
    let appended = forecast(&appending, &facts);
    assert_eq!((appended.topics[0].offsets, appended.topics[0].seeds), (OffsetMode::Append, 0));
}

#[test]
fn topics_that_one_may_expect_and_that_are_left_out_are_explained() {
    let names = ["a", "b", "c", "d", "__consumer_offsets"].map(|name| (name, 3));
    let mut world = World::new(&names, &[("a", 3), ("b", 2), ("c", 3), ("d", 3)]);
    world.target.topics.get_mut("c").unwrap().error = 29;
    let mut facts = world.facts(0);
    facts.places.get_mut(&("d".to_owned(), 1)).unwrap().target_end = Some(7);
    let forecast = forecast(&config(&[".*"], &["a"]), &facts);
    let text = stops(&forecast).join("\n");
    assert!(
        text.contains("topic b: left out: topic b has 3 partitions on the source and 2 on the target"),
        "{text}"
    );
    assert!(text.contains("topic c: left out: the target answers TOPIC_AUTHORIZATION_FAILED"), "{text}");
    assert!(text.contains("topic d: partition 1: the target partition already has records"), "{text}");
    assert_eq!(stops(&forecast).len(), 3, "{text}");
    let notes: Vec<&Finding> =
        forecast.findings.iter().filter(|finding| finding.text.starts_with("not mirrored")).collect();
    assert_eq!(notes.len(), 2, "excluded and internal ones are as they should be: {notes:?}");
    assert_eq!(forecast.topics.len(), 1);
    assert_eq!(forecast.topics[0].partitions.len(), 2, "the others of d are mirrored");
}

#[test]
fn a_pattern_that_selects_nothing_is_no_plan() {
    let world = World::new(&[("orders", 1)], &[]);
    let nothing = forecast(&config(&["ordres"], &[]), &world.facts(0));
    assert!(stops(&nothing)[0].contains("did you mean orders?"), "{:?}", nothing.findings);
}

#[test]
fn what_the_target_would_refuse_is_left_out_with_its_words() {
    let world = World::new(&[("t", 1), ("u", 1), ("v", 1)], &[]);
    let mut facts = world.facts(0);
    facts.refused = [("t".to_owned(), "POLICY_VIOLATION".to_owned())].into();
    facts.target.rights.uncreatable = ["u".to_owned()].into();
    let forecast = forecast(&config(&["t|u|v"], &[]), &facts);
    assert_eq!(forecast.topics.iter().map(|topic| topic.topic.as_str()).collect::<Vec<_>>(), ["v"]);
    let text = stops(&forecast).join("\n");
    assert!(text.contains("topic t: left out: POLICY_VIOLATION"), "{text}");
    assert!(text.contains("target: missing right CREATE on topic u"), "{text}");
}

#[test]
fn without_control_records_auto_appends_and_transactions_fill_gaps_on_demand() {
    let world = World::new(&[("t", 1), ("u", 1)], &[]);
    let mut facts = world.facts(0);
    facts.cannot_fill = Some("it is old".into());
    let both = Mirror { identical: patterns("u").unwrap(), ..config(&["t|u"], &[]) };
    let forecast = forecast(&both, &facts);
    assert_eq!(forecast.topics[0].offsets, OffsetMode::Append);
    assert!(forecast.topics[0].offsets_because.as_ref().unwrap().contains("it is old"));
    assert_eq!(forecast.topics[1].offsets, OffsetMode::Identical);
    assert!(forecast.topics[1].offsets_because.as_ref().unwrap().contains("empty transactions"));
}

#[test]
fn a_target_that_tells_nothing_guards_nothing() {
    let world = World::new(&[("t", 1)], &[]);
    let mut facts = world.facts(0);
    facts.producer_id_expiration_ms = None;
    facts.places.values_mut().for_each(|place| place.guarded = None);
    let forecast = forecast(&config(&["t"], &[]), &facts);
    assert_eq!(forecast.topics[0].unguarded_offsets, None);
    assert!(forecast.findings.iter().any(|finding| finding.text.contains("nothing counts as guarded")));
}

#[test]
fn a_partition_that_does_not_answer_is_named_and_mirrored_all_the_same() {
    let world = World::new(&[("t", 3)], &[]);
    let mut facts = world.facts(0);
    facts.places.insert(("t".to_owned(), 1), Place::default());
    let forecast = forecast(&config(&["t"], &[]), &facts);
    assert_eq!(forecast.topics[0].partitions.len(), 3);
    let silent = forecast.findings.iter().find(|finding| finding.text.contains("does not answer"));
    assert!(silent.unwrap().text.starts_with("partition 1: "), "{silent:?}");
    assert_eq!(forecast.topics[0].left_bytes, None);
}

/// The world of a link that has mirrored 400 offsets of t-0.
fn begun(mode: &str, others: &[(serde_json::Value, serde_json::Value)]) -> World {
    let runs = serde_json::json!([[0, 0, 0, 0]]);
    let ledger = standing_tests::ledger(mode, runs, serde_json::json!([390, 390]), others);
    World { ledger, ..World::new(&[("t", 1)], &[("t", 1)]) }
}

#[test]
fn what_was_begun_goes_on_in_its_way() {
    let world = begun("append", &[]);
    let mut facts = world.facts(0);
    facts.places.get_mut(&("t".to_owned(), 0)).unwrap().target_end = Some(400);
    let forecast = forecast(&config(&["t"], &[]), &facts);
    let topic = &forecast.topics[0];
    assert_eq!(
        (topic.offsets, &topic.offsets_because),
        (OffsetMode::Append, &None),
        "though it could be identical"
    );
    assert_eq!((topic.left_offsets, topic.unguarded_offsets), (600, Some(300)));
    assert_eq!(topic.left_bytes, Some(30_000));
    let text = show(&forecast);
    assert!(text.contains("offsets: appended, as the partitions were begun"), "{text}");
    assert!(text.contains("position: 1 go on from offset 400; 600 offsets"), "{text}");
}

#[test]
fn what_the_source_lost_stops_the_partition_unless_it_is_told_to_go_on() {
    let world = begun("append", &[]);
    let told = Mirror { on_loss: crate::config::OnLoss::RecordAndContinue, ..config(&["t"], &[]) };
    for (start, end, words) in [
        (450, 1000, "has deleted its records from offset 390 to 449"),
        (0, 300, "ends at offset 300, before 390"),
    ] {
        let mut facts = world.facts(start);
        facts.places.values_mut().for_each(|place| place.source_end = Some(end));
        let halting = forecast(&config(&["t"], &[]), &facts);
        assert!(stops(&halting)[0].contains(words), "{:?}", halting.findings);
        assert!(halting.topics.is_empty());
        let going_on = forecast(&told, &facts);
        assert!(going_on.is_clean() && going_on.count(Weight::Warning) >= 1, "{:?}", going_on.findings);
    }
}

#[test]
fn what_was_failed_over_or_comes_from_the_target_is_not_mirrored_back() {
    let failover =
        serde_json::json!({"source_offset": 7, "target_offset": 7, "is_forced": false, "at_ms": 0});
    let key = serde_json::json!({"t": "failover", "topic": "t", "partition": 0});
    let world = begun("append", &[(key, failover)]);
    let over = forecast(&config(&["t"], &[]), &world.facts(0));
    assert!(stops(&over)[0].contains("bring it back with twinlog failback"), "{:?}", over.findings);

    let mut world = begun("append", &[]);
    world.peers = ledger::peers_tests::peers(vec![ledger::peers_tests::peer("B", "A", "append", &[])]);
    let back = forecast(&config(&["t"], &[]), &world.facts(0));
    assert!(stops(&back)[0].contains("mirrors it in the other direction"), "{:?}", back.findings);
}

#[test]
fn groups_follow_their_topics() {
    let world = World::new(&[("t", 2)], &[]);
    let mut facts = world.facts(0);
    let position =
        |topic: &str, partition, state| Position { group: "g".into(), topic: topic.into(), partition, state };
    facts.positions = vec![
        position("other", 0, State::Not(Reason::Unmapped(Unmapped::Unknown))),
        position("t", 0, State::Not(Reason::Unmapped(Unmapped::Unknown))),
        position("t", 1, State::Not(Reason::Active)),
    ];
    let forecast = forecast(&config(&["t"], &[]), &facts);
    let group = &forecast.groups[0];
    assert_eq!((group.positions, group.skipped.len()), (1, 2));
    let text = show(&forecast);
    assert!(text.contains("skipped: other 0: it is not mirrored"), "{text}");
    assert!(text.contains("skipped: t 1: the group has members on the target"), "{text}");
}

#[test]
fn changed_records_are_told_with_the_offsets_that_follow_from_them() {
    let world = World::new(&[("t", 1), ("u", 1)], &[]);
    let table = "[[transform]]\ntopics = ['t']\nsteps = [{ drop = { header = 'debug', exists = true } }]";
    let draft = crate::config::Draft::from_toml("test", table).unwrap();
    let changing = Mirror { transforms: draft.transforms.unwrap(), ..config(&["t", "u"], &[]) };
    let forecast = forecast(&changing, &world.facts(0));
    let modes: Vec<OffsetMode> = forecast.topics.iter().map(|topic| topic.offsets).collect();
    assert_eq!(modes, [OffsetMode::Append, OffsetMode::Identical]);
    let text = show(&forecast);
    assert!(text.contains("its transform can drop records"), "{text}");
    assert!(text.contains("the records of topic t are changed on their way: drop, stop at errors"), "{text}");
    assert!(!text.contains("topic u are changed"), "{text}");
}

#[test]
fn programs_get_the_same() {
    let world = World::new(&[("t", 1)], &[]);
    let json = serde_json::to_value(forecast(&config(&["t"], &[]), &world.facts(0))).unwrap();
    assert_eq!(json["topics"][0]["on_target"]["state"], "created");
    assert_eq!(json["topics"][0]["offsets"], "identical");
    assert_eq!(json["topics"][0]["partitions"][0]["unguarded_offsets"], 700);
    assert_eq!(json["findings"][0]["weight"], "warning");
}
