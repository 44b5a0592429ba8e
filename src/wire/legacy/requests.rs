//! Requests and answers in versions that `kafka-protocol` does not have: ListOffsets 0 (before Kafka 0.10.1) and DescribeConfigs 0
//! (Kafka 0.11 and 1.0), in the crate's own types, so that who asks need not care.

use crate::wire::BadFrame;
use crate::wire::control;
use crate::wire::cursor::{Cursor, Read, Unread, put_length, put_string};
use crate::wire::frame::SIZE_BYTES;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{
    DescribeConfigsRequest, DescribeConfigsResponse, ListOffsetsRequest, ListOffsetsResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

const FETCH_KEY: i16 = 1;
const LIST_OFFSETS_KEY: i16 = 2;
const DESCRIBE_CONFIGS_KEY: i16 = 32;
/// Kafka's `ConfigSource.TOPIC_CONFIG` and `DEFAULT_CONFIG`: version 0 only says whether a setting is a default.
const SET_ON_TOPIC: i8 = 1;
const SET_NOWHERE: i8 = 5;

/// What [`list_offsets_answer`] says for a time when every segment of the log was written to later: begin at the log's start.
pub const BEFORE_ALL: i64 = -2;

/// A ListOffsets request of any version. Version 0 does not find records by their time: its answer is the begin of the last segment
/// that was written to for the last time before, so somewhat earlier.
pub fn list_offsets(
    request: &ListOffsetsRequest,
    version: i16,
    correlation_id: i32,
    client_id: &str,
) -> Bytes {
    if version > 0 {
        return control::encode(request, version, correlation_id, client_id);
    }
    with_header(LIST_OFFSETS_KEY, 0, correlation_id, client_id, |out| {
        out.put_i32(request.replica_id.0);
        put_length(out, request.topics.len(), false);
        for topic in &request.topics {
            put_string(out, topic.name.as_bytes(), false);
            put_length(out, topic.partitions.len(), false);
            for partition in &topic.partitions {
                out.put_i32(partition.partition_index);
                out.put_i64(partition.timestamp);
                out.put_i32(1); // offsets that are wanted at most
            }
        }
    })
}

pub fn list_offsets_answer(version: i16, frame: Bytes) -> Result<ListOffsetsResponse, BadFrame> {
    if version > 0 {
        return control::decode(version, frame);
    }
    whole("ListOffsetsResponse v0", &frame, |cursor| {
        let topics = array(cursor, |cursor| {
            let name = TopicName(string(cursor)?);
            let partitions = array(cursor, |cursor| {
                let partition = ListOffsetsPartitionResponse::default()
                    .with_partition_index(cursor.i32()?)
                    .with_error_code(cursor.i16()?);
                let offsets = array(cursor, Cursor::i64)?;
                Ok(partition.with_offset(offsets.first().copied().unwrap_or(BEFORE_ALL)))
            })?;
            Ok(ListOffsetsTopicResponse::default().with_name(name).with_partitions(partitions))
        })?;
        Ok(ListOffsetsResponse::default().with_topics(topics))
    })
}

/// A question that only brokers before Kafka 0.10 answer, which are those that do not know ApiVersions: a Fetch of nothing, in a
/// version that there is not. They do not look at the version; later ones close the connection.
pub fn are_you_old(correlation_id: i32, client_id: &str) -> Bytes {
    with_header(FETCH_KEY, 99, correlation_id, client_id, |out| {
        out.put_i32(-1); // replica id: a consumer
        [0, 0, 0].into_iter().for_each(|zero| out.put_i32(zero)); // no wait, no bytes, no topics
    })
}

/// A DescribeConfigs request of any version.
pub fn describe_configs(
    request: &DescribeConfigsRequest,
    version: i16,
    correlation_id: i32,
    client_id: &str,
) -> Bytes {
    if version > 0 {
        return control::encode(request, version, correlation_id, client_id);
    }
    with_header(DESCRIBE_CONFIGS_KEY, 0, correlation_id, client_id, |out| {
        put_length(out, request.resources.len(), false);
        for resource in &request.resources {
            out.put_i8(resource.resource_type);
            put_string(out, resource.resource_name.as_bytes(), false);
            match &resource.configuration_keys {
                None => out.put_i32(-1),
                Some(keys) => {
                    put_length(out, keys.len(), false);
                    keys.iter().for_each(|key| put_string(out, key.as_bytes(), false));
                }
            }
        }
    })
}

pub fn describe_configs_answer(version: i16, frame: Bytes) -> Result<DescribeConfigsResponse, BadFrame> {
    if version > 0 {
        return control::decode(version, frame);
    }
    whole("DescribeConfigsResponse v0", &frame, |cursor| {
        let throttle_ms = cursor.i32()?;
        let results = array(cursor, |cursor| {
            Ok(DescribeConfigsResult::default()
                .with_error_code(cursor.i16()?)
                .with_error_message(nullable(cursor)?)
                .with_resource_type(cursor.u8()? as i8)
                .with_resource_name(string(cursor)?)
                .with_configs(array(cursor, config)?))
        })?;
        Ok(DescribeConfigsResponse::default().with_throttle_time_ms(throttle_ms).with_results(results))
    })
}

fn config(cursor: &mut Cursor<'_>) -> Read<DescribeConfigsResourceResult> {
    let config = DescribeConfigsResourceResult::default()
        .with_name(string(cursor)?)
        .with_value(nullable(cursor)?)
        .with_read_only(cursor.u8()? != 0);
    let is_default = cursor.u8()? != 0;
    let is_sensitive = cursor.u8()? != 0;
    let config_source = if is_default { SET_NOWHERE } else { SET_ON_TOPIC };
    Ok(config.with_is_sensitive(is_sensitive).with_config_source(config_source))
}

fn with_header(
    api_key: i16,
    version: i16,
    correlation_id: i32,
    client_id: &str,
    put_body: impl FnOnce(&mut BytesMut),
) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i32(0);
    out.put_i16(api_key);
    out.put_i16(version);
    out.put_i32(correlation_id);
    put_string(&mut out, client_id.as_bytes(), false);
    put_body(&mut out);
    let size = (out.len() - SIZE_BYTES) as u32;
    out[..SIZE_BYTES].copy_from_slice(&size.to_be_bytes());
    out.freeze()
}

fn whole<'a, T>(
    what: &'static str,
    frame: &'a [u8],
    read: impl FnOnce(&mut Cursor<'a>) -> Read<T>,
) -> Result<T, BadFrame> {
    let mut cursor = Cursor::new(frame);
    let answer = cursor.i32().and_then(|_correlation_id| read(&mut cursor));
    match answer {
        Ok(answer) if cursor.remaining() == 0 => Ok(answer),
        Ok(_) => Err(BadFrame::new(what, "bytes follow the end", cursor.read())),
        Err(Unread::Short(_)) => Err(BadFrame::new(what, "it is cut short", cursor.read())),
        Err(Unread::Bad(cause)) => Err(BadFrame::new(what, cause, cursor.read())),
    }
}

/// Grows as elements are read, whatever is announced.
fn array<'a, T>(cursor: &mut Cursor<'a>, each: impl Fn(&mut Cursor<'a>) -> Read<T>) -> Read<Vec<T>> {
    let mut all = Vec::new();
    for _ in 0..cursor.length(false)? {
        all.push(each(cursor)?);
    }
    Ok(all)
}

fn string(cursor: &mut Cursor<'_>) -> Read<StrBytes> {
    Ok(nullable(cursor)?.unwrap_or_default())
}

fn nullable(cursor: &mut Cursor<'_>) -> Read<Option<StrBytes>> {
    let length = match cursor.i16()? {
        -1 => return Ok(None),
        length => usize::try_from(length).map_err(|_| Unread::Bad("a negative string length"))?,
    };
    let text =
        std::str::from_utf8(cursor.bytes(length)?).map_err(|_| Unread::Bad("a string is not UTF-8"))?;
    Ok(Some(StrBytes::from_string(text.to_owned())))
}
