//! Members of one group: joins, syncs, heartbeats, and what becomes of those who are silent.

use super::*;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;

fn group() -> GroupId {
    GroupId(StrBytes::from_static_str("g"))
}

fn join(member_id: &StrBytes) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(StrBytes::from_static_str("range"))
        .with_metadata(Bytes::from_static(b"topics"));
    JoinGroupRequest::default()
        .with_group_id(group())
        .with_member_id(member_id.clone())
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(30_000)
        .with_protocol_type(StrBytes::from_static_str("consumer"))
        .with_protocols(vec![protocol])
}

fn heartbeat(world: &mut World, member_id: &StrBytes, generation: i32) -> i16 {
    let request = HeartbeatRequest::default()
        .with_group_id(group())
        .with_member_id(member_id.clone())
        .with_generation_id(generation);
    world.call(1, 4, &request).error_code
}

/// A new member's id: the first join is answered with it.
fn named(world: &mut World) -> StrBytes {
    let refused = world.call(1, 9, &join(&StrBytes::default()));
    assert_eq!(refused.error_code, 79);
    refused.member_id
}

fn later(reply: Reply) -> Ticket {
    match reply {
        Reply::Later(ticket) => ticket,
        other => panic!("not to be answered yet: {other:?}"),
    }
}

/// One member, joined alone and synced.
fn alone(world: &mut World) -> StrBytes {
    let member_id = named(world);
    later(world.send(1, 9, &join(&member_id)));
    let (_, joined) = world.poll::<JoinGroupRequest>(9).unwrap();
    assert_eq!((joined.error_code, joined.members.len()), (0, 1));
    let synced = world.call(1, 5, &sync(&member_id, joined.generation_id, &[(&member_id, b"all")]));
    assert_eq!((synced.error_code, &synced.assignment[..]), (0, &b"all"[..]));
    member_id
}

fn sync(
    member_id: &StrBytes,
    generation: i32,
    assignments: &[(&StrBytes, &'static [u8])],
) -> SyncGroupRequest {
    let assignments = assignments.iter().map(|(member_id, assignment)| {
        SyncGroupRequestAssignment::default()
            .with_member_id((*member_id).clone())
            .with_assignment(Bytes::from_static(assignment))
    });
    SyncGroupRequest::default()
        .with_group_id(group())
        .with_member_id(member_id.clone())
        .with_generation_id(generation)
        .with_assignments(assignments.collect())
}

#[test]
fn a_second_member_makes_the_first_join_again_and_both_sync() {
    let mut world = World::new();
    let first = alone(&mut world);
    assert_eq!(heartbeat(&mut world, &first, 1), 0);
    let second = named(&mut world);
    let waits = later(world.send(1, 9, &join(&second)));
    assert!(world.poll::<JoinGroupRequest>(9).is_none());
    assert_eq!(heartbeat(&mut world, &first, 1), 27);
    later(world.send(1, 9, &join(&first)));
    let joins = [world.poll::<JoinGroupRequest>(9).unwrap(), world.poll::<JoinGroupRequest>(9).unwrap()];
    assert!(joins.iter().all(|(_, joined)| joined.generation_id == 2 && joined.leader == first));
    let leads = joins.iter().find(|(ticket, _)| *ticket != waits).unwrap();
    assert_eq!(leads.1.members.len(), 2);
    let waits = later(world.send(1, 5, &sync(&second, 2, &[])));
    let assignments: &[(&StrBytes, &'static [u8])] = &[(&first, b"one"), (&second, b"two")];
    assert_eq!(world.call(1, 5, &sync(&first, 2, assignments)).assignment[..], b"one"[..]);
    let (ticket, synced) = world.poll::<SyncGroupRequest>(5).unwrap();
    assert_eq!((ticket, &synced.assignment[..]), (waits, &b"two"[..]));
    assert_eq!(heartbeat(&mut world, &second, 2), 0);
    assert_eq!(heartbeat(&mut world, &second, 1), 22);
}

#[test]
fn silent_members_are_removed_and_those_who_leave_make_room() {
    let mut world = World::new();
    let silent = alone(&mut world);
    assert_eq!(world.cluster.poll_timeout(), Some(T0.mono_us + 10_000_000));
    world.pass_ms(10_000);
    assert!(world.poll::<JoinGroupRequest>(9).is_none());
    assert_eq!(heartbeat(&mut world, &silent, 1), 25);
    let next = alone(&mut world);
    let member = MemberIdentity::default().with_member_id(next.clone());
    let leave = LeaveGroupRequest::default().with_group_id(group()).with_members(vec![member]);
    assert_eq!(world.call(1, 5, &leave).members[0].error_code, 0);
    assert_eq!(heartbeat(&mut world, &next, 3), 25);
    let described = world.call(1, 5, &DescribeGroupsRequest::default().with_groups(vec![group()]));
    assert_eq!(described.groups[0].group_state.as_str(), "Empty");
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![group()]);
    assert_eq!(world.call(1, 2, &delete).results[0].error_code, 0);
    assert!(world.call(1, 5, &ListGroupsRequest::default()).groups.is_empty());
}

#[test]
fn a_member_that_does_not_join_again_is_left_behind() {
    let mut world = World::new();
    let first = alone(&mut world);
    let second = named(&mut world);
    later(world.send(1, 9, &join(&second)));
    for _ in 0..4 {
        world.pass_ms(7_000);
        assert_eq!(heartbeat(&mut world, &first, 1), 27);
        assert!(world.poll::<JoinGroupRequest>(9).is_none());
    }
    world.pass_ms(2_000);
    let (_, joined) = world.poll::<JoinGroupRequest>(9).unwrap();
    assert_eq!((joined.error_code, joined.leader), (0, second));
    assert_eq!(heartbeat(&mut world, &first, 1), 25);
}

#[test]
fn offsets_are_kept_for_members_and_for_those_who_need_no_group() {
    let mut world = World::new();
    let commit = |member_id: StrBytes, generation, offset| {
        let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
        let topic = OffsetCommitRequestTopic::default().with_name(name("t")).with_partitions(vec![partition]);
        OffsetCommitRequest::default()
            .with_group_id(group())
            .with_member_id(member_id)
            .with_generation_id_or_member_epoch(generation)
            .with_topics(vec![topic])
    };
    let error = |response: OffsetCommitResponse| response.topics[0].partitions[0].error_code;
    assert_eq!(error(world.call(1, 9, &commit(StrBytes::default(), -1, 5))), 0);
    let member_id = alone(&mut world);
    assert_eq!(error(world.call(1, 9, &commit(StrBytes::default(), -1, 6))), 25);
    assert_eq!(error(world.call(1, 9, &commit(member_id.clone(), 7, 6))), 22);
    let fetch = OffsetFetchRequestGroup::default().with_group_id(group()).with_topics(None);
    let fetch = OffsetFetchRequest::default().with_groups(vec![fetch]);
    let committed =
        |world: &mut World| world.call(1, 9, &fetch).groups[0].topics[0].partitions[0].committed_offset;
    assert_eq!(committed(&mut world), 5);
    assert_eq!(error(world.call(1, 9, &commit(member_id, 1, 8))), 0);
    assert_eq!(committed(&mut world), 8);
}
