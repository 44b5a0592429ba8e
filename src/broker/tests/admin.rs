//! Topics and configs, as an administrator sees them.

use super::*;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};

fn string(of: &'static str) -> StrBytes {
    StrBytes::from_static_str(of)
}

fn create(world: &mut World, topic: CreatableTopic) -> (i16, Option<StrBytes>) {
    let response = world.call(1, 7, &CreateTopicsRequest::default().with_topics(vec![topic]));
    (response.topics[0].error_code, response.topics[0].error_message.clone())
}

fn metadata(world: &mut World, topic: &'static str) -> metadata_response::MetadataResponseTopic {
    let wanted = MetadataRequestTopic::default().with_name(Some(name(topic)));
    let request =
        MetadataRequest::default().with_topics(Some(vec![wanted])).with_allow_auto_topic_creation(false);
    world.call(1, 12, &request).topics.remove(0)
}

fn config(world: &mut World, resource_type: i8, resource: &'static str, key: &str) -> Option<String> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(string(resource))
        .with_configuration_keys(None);
    let response = world.call(1, 4, &DescribeConfigsRequest::default().with_resources(vec![resource]));
    let config = response.results[0].configs.iter().find(|config| config.name.as_str() == key)?;
    config.value.as_ref().map(ToString::to_string)
}

#[test]
fn topics_are_created_as_asked_or_refused_with_the_reason() {
    let mut world = World::brokers(3);
    let topic = |of| CreatableTopic::default().with_name(name(of)).with_num_partitions(3);
    let setting = |key, value| {
        let setting = CreatableTopicConfig::default().with_name(string(key));
        vec![setting.with_value(Some(string(value)))]
    };
    assert_eq!(create(&mut world, topic("new").with_replication_factor(2)).0, 0);
    let made = metadata(&mut world, "new");
    let leaders: Vec<i32> = made.partitions.iter().map(|partition| partition.leader_id.0).collect();
    assert_eq!(leaders, [1, 2, 3]);
    assert_eq!(made.partitions[2].replica_nodes, [BrokerId(3), BrokerId(1)]);
    assert_eq!(create(&mut world, topic("new").with_replication_factor(1)).0, 36);
    assert_eq!(create(&mut world, topic("two words").with_replication_factor(1)).0, 17);
    assert_eq!(create(&mut world, topic("wide").with_replication_factor(4)).0, 38);
    assert_eq!(create(&mut world, topic("none").with_num_partitions(0).with_replication_factor(1)).0, 37);
    let unknown = topic("odd").with_replication_factor(1).with_configs(setting("no.such", "1"));
    let (error, message) = create(&mut world, unknown);
    assert_eq!((error, message.unwrap().contains("no.such")), (40, true));
    let recoded = topic("odd").with_replication_factor(1).with_configs(setting("compression.type", "gzip"));
    assert_eq!(create(&mut world, recoded).0, 40);
    let assignment = CreatableReplicaAssignment::default().with_broker_ids(vec![2.into()]);
    let placed = topic("placed").with_num_partitions(-1).with_assignments(vec![assignment]);
    assert_eq!(create(&mut world, placed).0, 0);
    assert_eq!(metadata(&mut world, "placed").partitions[0].leader_id.0, 2);
}

#[test]
fn topics_grow_and_go() {
    let mut world = World::new();
    let id = metadata(&mut world, "t").topic_id;
    let mut grow = |count| {
        let topic =
            CreatePartitionsTopic::default().with_name(name("t")).with_count(count).with_assignments(None);
        let request = CreatePartitionsRequest::default().with_topics(vec![topic]);
        world.call(1, 3, &request).results[0].error_code
    };
    assert_eq!((grow(2), grow(4)), (37, 0));
    assert_eq!(metadata(&mut world, "t").partitions.len(), 4);
    world.produce(Fake::plain(1).build());
    let topic = DeleteTopicState::default().with_name(None).with_topic_id(id);
    let request = DeleteTopicsRequest::default().with_topics(vec![topic]);
    assert_eq!(world.call(1, 6, &request).responses[0].name, Some(name("t")));
    assert_eq!(world.call(1, 6, &request).responses[0].error_code, 100);
    assert_eq!(metadata(&mut world, "t").error_code, 3);
    assert_eq!(world.cluster.stored_bytes, 0);
}

#[test]
fn configs_are_changed_all_or_nothing_and_take_effect() {
    let mut world = World::new();
    let mut alter = |changes: &[(&'static str, i8, &'static str)]| {
        let changes = changes.iter().map(|&(key, operation, value)| {
            AlterableConfig::default()
                .with_name(string(key))
                .with_config_operation(operation)
                .with_value(Some(string(value)))
        });
        let resource = AlterConfigsResource::default().with_resource_type(2).with_resource_name(string("t"));
        let resource = resource.with_configs(changes.collect());
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        world.call(1, 1, &request).responses[0].error_code
    };
    assert_eq!(alter(&[("max.message.bytes", 0, "100")]), 0);
    assert_eq!(alter(&[("max.message.bytes", 0, "5000000"), ("retention.ms", 0, "soon")]), 40);
    assert_eq!(alter(&[("cleanup.policy", 2, "compact")]), 0);
    assert_eq!(config(&mut world, 2, "t", "cleanup.policy").as_deref(), Some("delete,compact"));
    assert_eq!(world.produce(Fake::plain(1).build()).0, 10);
    assert_eq!(config(&mut world, 4, "1", "producer.id.expiration.ms").as_deref(), Some("86400000"));
}

#[test]
fn records_are_deleted_up_to_the_high_watermark_and_epochs_end_where_they_did() {
    let mut world = World::brokers(2);
    world.produce(Fake::plain(5).build());
    let mut delete = |offset| {
        let partition = DeleteRecordsPartition::default().with_offset(offset);
        let topic = DeleteRecordsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
        let response = world.call(1, 2, &DeleteRecordsRequest::default().with_topics(vec![topic]));
        let answer = &response.topics[0].partitions[0];
        (answer.error_code, answer.low_watermark)
    };
    assert_eq!((delete(6), delete(3), delete(-1)), ((1, -1), (0, 3), (0, 5)));
    world.cluster.move_leader("t", 0, 2);
    world.cluster.move_leader("t", 0, 1);
    world.produce(Fake::plain(2).build());
    let mut end = |epoch| {
        let partition =
            OffsetForLeaderPartition::default().with_current_leader_epoch(2).with_leader_epoch(epoch);
        let topic = OffsetForLeaderTopic::default().with_topic(name("t")).with_partitions(vec![partition]);
        let response = world.call(1, 4, &OffsetForLeaderEpochRequest::default().with_topics(vec![topic]));
        let answer = &response.topics[0].partitions[0];
        (answer.leader_epoch, answer.end_offset)
    };
    assert_eq!((end(0), end(2), end(3)), ((0, 5), (2, 7), (-1, -1)));
}

#[test]
fn a_cluster_describes_itself_without_brokers_that_are_down() {
    let mut world = World::brokers(3);
    world.cluster.node_down(3);
    let cluster = world.call(1, 0, &DescribeClusterRequest::default());
    assert_eq!((cluster.cluster_id.as_str(), cluster.brokers.len()), ("synthetic", 2));
    let coordinator = FindCoordinatorRequest::default().with_coordinator_keys(vec![string("g")]);
    assert_eq!(world.call(1, 4, &coordinator).coordinators[0].node_id.0, 1);
    let topic = metadata(&mut world, "t");
    assert_eq!(topic.partitions[1].replica_nodes, [BrokerId(2), BrokerId(3)]);
    assert_eq!(topic.partitions[1].isr_nodes, [BrokerId(2)]);
    world.cluster.node_down(2);
    assert_eq!(metadata(&mut world, "t").partitions[1].error_code, 5);
    world.cluster.node_up(3);
    let moved = &metadata(&mut world, "t").partitions[1];
    assert_eq!((moved.leader_id.0, moved.leader_epoch), (3, 2));
}
