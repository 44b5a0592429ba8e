//! From two observed clusters to what is to be created and mirrored.

use super::configs::{self, TopicConfigs};
use super::metadata::{Observed, Topic};
use super::topics::{idle, select, unmatched};
use crate::config::Mirror;
use crate::error;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// A change to the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    CreateTopic {
        name: String,
        partitions: i32,
        replication_factor: i16,
        configs: BTreeMap<String, String>,
        /// Sentences on where the topic differs from the source's.
        notes: Vec<String>,
    },
    /// `count` is the new number of partitions.
    AddPartitions { name: String, count: i32 },
}

/// Why a topic is left out although it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub topic: String,
    /// What to do, too.
    pub message: String,
}

/// A partition that exists on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanePlan {
    pub topic: Arc<str>,
    pub partition: i32,
    pub source_topic_id: Uuid,
    pub target_topic_id: Uuid,
    /// Leader and its epoch on the source, and on the target; -1 for a broker when there is none.
    pub source: (i32, i32),
    pub target: (i32, i32),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// By topic and partition.
    pub lanes: Vec<LanePlan>,
    pub problems: Vec<Problem>,
    pub warnings: Vec<String>,
}

/// What to do, as far as it is known now; after the actions are carried out, observe and plan again.
///
/// `source_configs` holds every selected topic that does not exist on the target; one that it lacks becomes a problem, as a
/// topic must not be created with other settings. `is_ours` says whether this link created or has written to a target topic:
/// only then it may be given more partitions.
///
/// A topic with an error that passes by itself has neither lanes nor a problem this time.
pub fn plan(
    config: &Mirror,
    source: &Observed,
    target: &Observed,
    source_configs: &BTreeMap<String, TopicConfigs>,
    is_ours: &dyn Fn(&str) -> bool,
) -> Plan {
    let mut plan = Plan::default();
    let selected = select(config, source);
    if !selected.is_empty() {
        // When nothing is, `topics::no_match` has more to say.
        plan.warnings = unmatched(config, source);
        plan.warnings.extend(idle(config, &selected));
    }
    for topic in selected {
        let there = match config.target.names.checked(&topic.name) {
            Ok(there) => there,
            Err(problem) => {
                plan.problem(topic, format!("its name on the target: {problem}"));
                continue;
            }
        };
        if topic.error != 0 {
            // A topic on its way in or out is looked at again.
            if !error::is_retriable(topic.error) {
                plan.problem(topic, error_text("source", topic.error));
            }
            continue;
        }
        if topic.partitions.is_empty() {
            // Being made: there is nothing to read, and no topic can be created without partitions.
            continue;
        }
        match target.topics.get(&*topic.name) {
            None => plan.create(config, topic, target, source_configs.get(&*topic.name)),
            Some(twin) if matches!(twin.error, 3 | 100) => {
                plan.create(config, topic, target, source_configs.get(&*topic.name));
            }
            Some(twin) if twin.error != 0 => {
                if !error::is_retriable(twin.error) {
                    plan.problem(topic, error_text("target", twin.error));
                }
            }
            Some(twin) => plan.mirror(topic, twin, &there, is_ours),
        }
    }
    plan
}

fn error_text(side: &str, code: i16) -> String {
    format!("the {side} answers {}: {}", error::name(code), error::advice(code))
}

impl Plan {
    fn problem(&mut self, topic: &Topic, message: String) {
        self.problems.push(Problem { topic: topic.name.to_string(), message });
    }

    fn create(&mut self, config: &Mirror, topic: &Topic, target: &Observed, configs: Option<&TopicConfigs>) {
        let Some(configs) = configs else {
            let message = "its settings on the source cannot be read, so it is not created on the target: allow DescribeConfigs \
                           on it, or create it on the target yourself";
            return self.problem(topic, message.into());
        };
        let replication_factor =
            config.replication_factor.unwrap_or_else(|| replication_factor(topic, target));
        let copied = configs::for_target(configs, replication_factor);
        self.actions.push(Action::CreateTopic {
            name: topic.name.to_string(),
            partitions: count(topic),
            replication_factor,
            configs: copied.configs,
            notes: copied.notes,
        });
    }

    fn mirror(&mut self, topic: &Topic, twin: &Topic, there: &str, is_ours: &dyn Fn(&str) -> bool) {
        let name = &topic.name;
        let (wanted, found) = (count(topic), count(twin));
        if found < wanted {
            if !is_ours(name) {
                let message = format!(
                    "topic {name} has {wanted} partitions on the source and {found} on the target, and this link did not make \
                     it; add partitions to it (kafka-topics --alter --topic {there} --partitions {wanted}), or delete it and \
                     let Twinlog create it"
                );
                self.problem(topic, message);
                return;
            }
            self.actions.push(Action::AddPartitions { name: name.to_string(), count: wanted });
        } else if found > wanted {
            self.warnings.push(format!(
                "topic {name} has {found} partitions on the target and {wanted} on the source; the partitions from {wanted} on \
                 get nothing, and producers that go over to the target will spread keys differently"
            ));
        }
        for ((partition, source), target) in (0..).zip(&topic.partitions).zip(&twin.partitions) {
            self.lanes.push(LanePlan {
                topic: topic.name.clone(),
                partition,
                source_topic_id: topic.id,
                target_topic_id: twin.id,
                source: (source.leader, source.leader_epoch),
                target: (target.leader, target.leader_epoch),
            });
        }
    }
}

fn count(topic: &Topic) -> i32 {
    i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX)
}

/// The source's, as far as the target has brokers.
fn replication_factor(topic: &Topic, target: &Observed) -> i16 {
    let brokers = i16::try_from(target.brokers.len()).unwrap_or(i16::MAX);
    topic.replication_factor().min(brokers).max(1)
}

#[cfg(test)]
mod tests {
    use super::super::topics::tests::{cluster, config};
    use super::*;
    use crate::config::TopicNames;

    fn known(names: &[&str]) -> BTreeMap<String, TopicConfigs> {
        let configs = TopicConfigs {
            own: [("retention.ms".to_owned(), "5".to_owned())].into(),
            ..TopicConfigs::default()
        };
        names.iter().map(|name| ((*name).to_owned(), configs.clone())).collect()
    }

    #[test]
    fn a_missing_topic_is_created_like_the_source_within_the_target_s_means() {
        let source = cluster(3, &[("t", 4)]);
        let plan = plan(&config(&["t"], &[]), &source, &cluster(2, &[]), &known(&["t"]), &|_| false);
        let configs = [("retention.ms".to_owned(), "5".to_owned())].into();
        let create = Action::CreateTopic {
            name: "t".into(),
            partitions: 4,
            replication_factor: 2,
            configs,
            notes: vec![],
        };
        assert_eq!(plan, Plan { actions: vec![create], ..Plan::default() });
    }

    #[test]
    fn the_configured_replication_factor_wins() {
        let wanted = Mirror { replication_factor: Some(1), ..config(&["t"], &[]) };
        let plan = plan(&wanted, &cluster(3, &[("t", 1)]), &cluster(3, &[]), &known(&["t"]), &|_| false);
        assert!(matches!(plan.actions[0], Action::CreateTopic { replication_factor: 1, .. }));
    }

    #[test]
    fn partitions_on_both_sides_are_lanes() {
        let plan = plan(
            &config(&[".*"], &[]),
            &cluster(1, &[("a", 1), ("b", 2)]),
            &cluster(1, &[("a", 1), ("b", 2)]),
            &known(&[]),
            &|_| false,
        );
        let lanes: Vec<(&str, i32)> = plan.lanes.iter().map(|lane| (&*lane.topic, lane.partition)).collect();
        assert_eq!(lanes, [("a", 0), ("b", 0), ("b", 1)]);
        assert!(plan.actions.is_empty() && plan.problems.is_empty() && plan.warnings.is_empty());
    }

    #[test]
    fn a_topic_of_unknown_settings_is_not_created_with_others() {
        let source = cluster(1, &[("t", 1), ("u", 1)]);
        let plan = plan(&config(&["t|u"], &[]), &source, &cluster(1, &[]), &known(&["u"]), &|_| false);
        assert_eq!(plan.actions.len(), 1, "the other topic is");
        assert_eq!(plan.problems[0].topic, "t");
        assert!(plan.problems[0].message.contains("DescribeConfigs"));
    }

    #[test]
    fn a_topic_without_partitions_is_waited_for() {
        let plan =
            plan(&config(&["t"], &[]), &cluster(1, &[("t", 0)]), &cluster(1, &[]), &known(&["t"]), &|_| true);
        assert_eq!(plan, Plan::default());
    }

    #[test]
    fn a_pattern_without_topics_is_worth_a_warning() {
        let source = cluster(1, &[("t", 1)]);
        let plan = plan(&config(&["t", "nothing"], &[]), &source, &source, &known(&[]), &|_| false);
        assert_eq!(plan.lanes.len(), 1);
        assert_eq!(plan.warnings, ["no topic of the source matches nothing yet"]);
    }

    #[test]
    fn a_deleted_topic_is_created_again_and_a_forbidden_one_left_out() {
        let source = cluster(1, &[("t", 1), ("u", 1), ("v", 1)]);
        let mut target = source.clone();
        for (topic, error) in [("t", 3), ("u", 29), ("v", 5)] {
            let twin = target.topics.get_mut(topic).unwrap();
            (twin.error, twin.partitions) = (error, vec![]);
        }
        let plan = plan(&config(&[".*"], &[]), &source, &target, &known(&["t"]), &|_| true);
        assert!(matches!(&plan.actions[..], [Action::CreateTopic { name, .. }] if name == "t"));
        assert_eq!(plan.problems.len(), 1);
        assert!(plan.problems[0].message.contains("the target answers TOPIC_AUTHORIZATION_FAILED"));
        assert!(plan.lanes.is_empty());
    }

    #[test]
    fn a_lane_without_a_leader_is_planned_all_the_same() {
        let mut source = cluster(1, &[("t", 1)]);
        let target = source.clone();
        source.topics.get_mut("t").unwrap().partitions[0] = crate::control::metadata::Partition::default();
        let plan = plan(&config(&["t"], &[]), &source, &target, &known(&[]), &|_| false);
        assert_eq!((plan.lanes[0].source, plan.lanes[0].target), ((-1, -1), (0, 1)));
    }

    #[test]
    fn growth_is_followed_only_on_topics_of_ours() {
        let (source, target) = (cluster(1, &[("t", 3)]), cluster(1, &[("t", 2)]));
        let ours = plan(&config(&["t"], &[]), &source, &target, &known(&[]), &|_| true);
        assert_eq!(ours.actions, [Action::AddPartitions { name: "t".into(), count: 3 }]);
        assert_eq!(ours.lanes.len(), 2, "what is there goes on meanwhile");
        let foreign = plan(&config(&["t"], &[]), &source, &target, &known(&[]), &|_| false);
        assert!(foreign.actions.is_empty() && foreign.lanes.is_empty());
        assert!(foreign.problems[0].message.contains("3 partitions on the source and 2 on the target"));
    }

    #[test]
    fn topics_that_would_share_a_name_on_the_target_are_left_out() {
        let names = TopicNames::new(None, vec![("t".into(), "u".into())]).unwrap();
        let mut renaming = config(&[".*"], &[]);
        renaming.target.names = names;
        let source = cluster(1, &[("t", 1), ("u", 1)]);
        let plan = plan(&renaming, &source, &cluster(1, &[]), &known(&["t", "u"]), &|_| false);
        assert!(matches!(&plan.actions[..], [Action::CreateTopic { name, .. }] if name == "t"));
        assert_eq!(plan.problems[0].topic, "u");
        assert!(plan.problems[0].message.contains("t is called u there"), "{:?}", plan.problems);
    }

    #[test]
    fn more_partitions_on_the_target_are_worth_a_warning() {
        let plan = plan(
            &config(&["t"], &[]),
            &cluster(1, &[("t", 1)]),
            &cluster(1, &[("t", 2)]),
            &known(&[]),
            &|_| false,
        );
        assert_eq!(plan.lanes.len(), 1);
        assert!(plan.warnings[0].contains("2 partitions on the target and 1 on the source"));
    }

    #[test]
    fn a_topic_that_may_not_be_read_is_a_problem_and_one_in_transition_is_not() {
        let mut source = cluster(1, &[("t", 1), ("u", 1)]);
        source.topics.get_mut("t").unwrap().error = 29;
        source.topics.get_mut("u").unwrap().error = 5;
        let plan = plan(&config(&[".*"], &[]), &source, &cluster(1, &[]), &known(&["t", "u"]), &|_| false);
        assert_eq!(plan.problems.len(), 1);
        assert!(plan.problems[0].message.contains("TOPIC_AUTHORIZATION_FAILED"));
        assert!(plan.actions.is_empty());
    }
}
