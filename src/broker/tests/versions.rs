//! Every version of every API that clients are told of is answered.

use super::*;
use crate::broker::api::SUPPORTED;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;

/// Calls an API in all its versions, each in a world of its own where a group `g` has a committed offset.
fn all<R: ApiRequest>(request: impl Fn(i16) -> R) -> Vec<R::Response>
where
    R::Response: Decodable + HeaderVersion,
{
    let &(_, first, last) = SUPPORTED.iter().find(|(api, ..)| *api as i16 == R::KEY).unwrap();
    let answers = (first..=last).map(|version| {
        let mut world = World::brokers(2);
        world.produce(Fake::plain(3).build());
        world.call(1, 2, &commit());
        match world.send(1, version, &request(version)) {
            Reply::Now(response) => parse::<R>(&response, version),
            Reply::Later(_) => world.poll::<R>(version).unwrap().1,
            other => panic!("API {} version {version}: {other:?}", R::KEY),
        }
    });
    answers.collect()
}

fn commit() -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(2);
    let topic = OffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

fn group() -> GroupId {
    GroupId(StrBytes::from_static_str("g"))
}

#[test]
fn the_data_path_answers_in_all_versions() {
    let id = World::brokers(2).cluster.topics.get(0).unwrap().id;
    for node in [1, 2] {
        let produced = all(|version| {
            let mut request = produce_request(-1, Fake::plain(1).build());
            if version >= 13 {
                request.topic_data[0].topic_id = id;
                request.topic_data[0].name = TopicName::default();
            }
            // An acknowledged batch and a refused one fill different fields.
            request.topic_data[0].partition_data[0].index = node - 1;
            request
        });
        let error = if node == 1 { 0 } else { 6 };
        assert!(produced.iter().all(|it| it.responses[0].partition_responses[0].error_code == error));
    }
    let fetched = all(|version| {
        let mut request = fetch_request(0);
        if version < 7 {
            request.session_epoch = FetchRequest::default().session_epoch;
        }
        request.topics[0].topic_id = if version >= 13 { id } else { uuid::Uuid::nil() };
        request
    });
    assert!(fetched.iter().all(|it| it.responses[0].partitions[0].high_watermark == 3));
    for (timestamp, expected) in [(-1, 3), (-2, 0)] {
        let listed = all(|_| {
            let partition = ListOffsetsPartition::default().with_timestamp(timestamp);
            let topic = ListOffsetsTopic::default().with_name(name("t")).with_partitions(vec![partition]);
            ListOffsetsRequest::default().with_topics(vec![topic])
        });
        assert!(listed.iter().all(|it| it.topics[0].partitions[0].offset == expected));
    }
    let initiated = all(|_| InitProducerIdRequest::default().with_transactional_id(None));
    assert!(initiated.iter().all(|it| it.error_code == 0));
    let ended = all(|_| {
        let partition = offset_for_leader_epoch_request::OffsetForLeaderPartition::default();
        let topic = offset_for_leader_epoch_request::OffsetForLeaderTopic::default();
        let topic = topic.with_topic(name("t")).with_partitions(vec![partition]);
        OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
    });
    assert!(ended.iter().all(|it| it.topics[0].partitions[0].end_offset == 3));
}

#[test]
fn transactions_answer_in_all_versions() {
    let id = || TransactionalId(StrBytes::from_static_str("nobody"));
    let added = all(|_| {
        let topic = add_partitions_to_txn_request::AddPartitionsToTxnTopic::default();
        let topic = topic.with_name(name("t")).with_partitions(vec![0]);
        AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(id())
            .with_v3_and_below_topics(vec![topic])
    });
    let code = |it: &AddPartitionsToTxnResponse| {
        it.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code
    };
    assert!(added.iter().all(|it| code(it) == 49));
    let added = all(|_| AddOffsetsToTxnRequest::default().with_transactional_id(id()).with_group_id(group()));
    assert!(added.iter().all(|it| it.error_code == 49));
    let ended = all(|_| EndTxnRequest::default().with_transactional_id(id()));
    assert!(ended.iter().all(|it| it.error_code == 49));
    let committed = all(|_| {
        let partition = txn_offset_commit_request::TxnOffsetCommitRequestPartition::default();
        let topic = txn_offset_commit_request::TxnOffsetCommitRequestTopic::default().with_name(name("t"));
        let topic = topic.with_partitions(vec![partition]);
        TxnOffsetCommitRequest::default()
            .with_transactional_id(id())
            .with_group_id(group())
            .with_topics(vec![topic])
    });
    assert!(committed.iter().all(|it| it.topics[0].partitions[0].error_code == 49));
    let described = all(|_| DescribeTransactionsRequest::default().with_transactional_ids(vec![id()]));
    assert!(described.iter().all(|it| it.transaction_states[0].error_code == 105));
    assert!(all(|_| ListTransactionsRequest::default()).iter().all(|it| it.transaction_states.is_empty()));
}

#[test]
fn administration_answers_in_all_versions() {
    for known in ["t", "unknown"] {
        let described = all(|version| {
            let topic = MetadataRequestTopic::default().with_name(Some(name(known)));
            let request = MetadataRequest::default().with_topics(Some(vec![topic]));
            if version >= 4 { request.with_allow_auto_topic_creation(false) } else { request }
        });
        assert!(described.iter().all(|it| it.topics.len() == 1 && it.brokers.len() == 2));
        let described = all(|_| {
            let resource = DescribeConfigsResource::default().with_resource_type(2);
            let resource = resource.with_resource_name(StrBytes::from_static_str(known));
            DescribeConfigsRequest::default().with_resources(vec![resource.with_configuration_keys(None)])
        });
        assert!(described.iter().all(|it| it.results[0].configs.is_empty() == (known == "unknown")));
        let deleted = all(|version| {
            let request = DeleteTopicsRequest::default();
            if version >= 6 {
                request.with_topics(vec![DeleteTopicState::default().with_name(Some(name(known)))])
            } else {
                request.with_topic_names(vec![name(known)])
            }
        });
        assert!(deleted.iter().all(|it| it.responses[0].error_code == if known == "t" { 0 } else { 3 }));
        let created = all(|_| {
            let topic = CreatableTopic::default().with_name(name(known)).with_num_partitions(1);
            CreateTopicsRequest::default().with_topics(vec![topic.with_replication_factor(1)])
        });
        assert!(created.iter().all(|it| it.topics[0].error_code == if known == "t" { 36 } else { 0 }));
        let emptied = all(|_| {
            let partition = delete_records_request::DeleteRecordsPartition::default().with_offset(-1);
            let topic = delete_records_request::DeleteRecordsTopic::default().with_name(name(known));
            DeleteRecordsRequest::default().with_topics(vec![topic.with_partitions(vec![partition])])
        });
        assert!(
            emptied
                .iter()
                .all(|it| it.topics[0].partitions[0].low_watermark == if known == "t" { 3 } else { -1 })
        );
        let grown = all(|_| {
            let topic = create_partitions_request::CreatePartitionsTopic::default().with_name(name(known));
            let topic = topic.with_count(9).with_assignments(None);
            CreatePartitionsRequest::default().with_topics(vec![topic])
        });
        assert!(grown.iter().all(|it| it.results[0].error_code == if known == "t" { 0 } else { 3 }));
        let altered = all(|_| {
            let resource = alter_configs_request::AlterConfigsResource::default().with_resource_type(2);
            let resource = resource.with_resource_name(StrBytes::from_static_str(known));
            AlterConfigsRequest::default().with_resources(vec![resource])
        });
        assert!(altered.iter().all(|it| it.responses[0].error_code == if known == "t" { 0 } else { 3 }));
        let altered = all(|_| {
            let resource = incremental_alter_configs_request::AlterConfigsResource::default();
            let resource =
                resource.with_resource_type(2).with_resource_name(StrBytes::from_static_str(known));
            IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
        });
        assert!(altered.iter().all(|it| it.responses[0].error_code == if known == "t" { 0 } else { 3 }));
    }
    assert_eq!(all(|_| ApiVersionsRequest::default())[0].api_keys.len(), SUPPORTED.len());
    assert!(all(|_| DescribeClusterRequest::default()).iter().all(|it| it.brokers.len() == 2));
}

#[test]
fn groups_answer_in_all_versions() {
    let found = all(|version| {
        let request = FindCoordinatorRequest::default();
        if version >= 4 {
            request.with_coordinator_keys(vec![StrBytes::from_static_str("g")])
        } else {
            request.with_key(StrBytes::from_static_str("g"))
        }
    });
    assert!(found.iter().all(|it| it.error_code == 0));
    let joined = all(|_| {
        let protocol = JoinGroupRequestProtocol::default().with_name(StrBytes::from_static_str("range"));
        let request = JoinGroupRequest::default().with_group_id(group()).with_session_timeout_ms(6000);
        request.with_protocols(vec![protocol]).with_protocol_type(StrBytes::from_static_str("consumer"))
    });
    assert!(
        joined.iter().enumerate().all(|(version, it)| it.error_code == if version >= 4 { 79 } else { 0 })
    );
    let unknown = StrBytes::from_static_str("nobody");
    let synced = all(|_| SyncGroupRequest::default().with_group_id(group()).with_member_id(unknown.clone()));
    assert!(synced.iter().all(|it| it.error_code == 25));
    let beaten = all(|_| HeartbeatRequest::default().with_group_id(group()).with_member_id(unknown.clone()));
    assert!(beaten.iter().all(|it| it.error_code == 25));
    let left = all(|version| {
        let request = LeaveGroupRequest::default().with_group_id(group());
        if version >= 3 {
            let member = leave_group_request::MemberIdentity::default().with_member_id(unknown.clone());
            request.with_members(vec![member])
        } else {
            request.with_member_id(unknown.clone())
        }
    });
    assert!(left.iter().all(|it| it.members.first().map_or(it.error_code, |member| member.error_code) == 25));
    assert!(all(|_| commit()).iter().all(|it| it.topics[0].partitions[0].error_code == 0));
    let fetched = all(|version| {
        let request = OffsetFetchRequest::default();
        if version >= 8 {
            let group = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(None);
            request.with_groups(vec![group])
        } else {
            let topic = offset_fetch_request::OffsetFetchRequestTopic::default().with_name(name("t"));
            request.with_group_id(group()).with_topics(Some(vec![topic.with_partition_indexes(vec![0])]))
        }
    });
    for response in fetched {
        let single = response.topics.first().map(|topic| topic.partitions[0].committed_offset);
        let offset = single.unwrap_or_else(|| response.groups[0].topics[0].partitions[0].committed_offset);
        assert_eq!(offset, 2);
    }
    for known in [group(), GroupId(unknown)] {
        let described = all(|_| DescribeGroupsRequest::default().with_groups(vec![known.clone()]));
        assert!(described.iter().all(|it| it.groups[0].group_id == known));
        let deleted = all(|_| DeleteGroupsRequest::default().with_groups_names(vec![known.clone()]));
        assert!(deleted.iter().all(|it| it.results[0].error_code == if known == group() { 0 } else { 69 }));
    }
    assert!(all(|_| ListGroupsRequest::default()).iter().all(|it| it.groups.len() == 1));
}
