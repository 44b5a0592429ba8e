//! One connection to a broker, for the benchmark's own use: blocking, one thing at a time, no recovery. It speaks versions that
//! every broker from Kafka 2.4 on understands, so it does not ask which.

use crate::config::Address;
use crate::edge::clock;
use crate::limits::FETCH_ANSWER_BYTES_MAX;
use crate::wire::control;
use crate::wire::frame::frame_bytes;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request, StrBytes};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

pub const CLIENT_ID: &str = "twinlog-bench";
const TIMEOUT: Duration = Duration::from_secs(30);
const METADATA_VERSION: i16 = 7;
const CREATE_TOPICS_VERSION: i16 = 4;
const DELETE_TOPICS_VERSION: i16 = 3;

pub struct Conn {
    address: Address,
    stream: TcpStream,
    correlation_id: i32,
}

impl Conn {
    /// Connects to the first of the addresses that answers.
    pub fn to_any(addresses: &[Address]) -> Result<Self, String> {
        let mut failed = String::new();
        for address in addresses {
            match Self::to(address) {
                Ok(conn) => return Ok(conn),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    pub fn to(address: &Address) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("cannot connect to {address}: {error}");
        let found = (address.host.as_str(), address.port).to_socket_addrs().map_err(failed)?;
        let mut last = std::io::Error::other("the name has no address");
        for candidate in found {
            match TcpStream::connect_timeout(&candidate, Duration::from_secs(5)) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(failed)?;
                    stream.set_read_timeout(Some(TIMEOUT)).map_err(failed)?;
                    stream.set_write_timeout(Some(TIMEOUT)).map_err(failed)?;
                    return Ok(Self { address: address.clone(), stream, correlation_id: 0 });
                }
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }

    pub fn next_correlation_id(&mut self) -> i32 {
        self.correlation_id += 1;
        self.correlation_id
    }

    pub fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream.write_all(bytes).map_err(|error| format!("cannot write to {}: {error}", self.address))
    }

    /// The next answer with its size prefix.
    pub fn read_frame(&mut self) -> Result<BytesMut, String> {
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::UnexpectedEof => format!("{} closed the connection", self.address),
            _ => format!("cannot read from {}: {error}", self.address),
        };
        let mut prefix = [0; 4];
        self.stream.read_exact(&mut prefix).map_err(failed)?;
        let size = frame_bytes(prefix, FETCH_ANSWER_BYTES_MAX).map_err(|error| error.to_string())?;
        let mut frame = BytesMut::zeroed(prefix.len() + size);
        frame[..4].copy_from_slice(&prefix);
        self.stream.read_exact(&mut frame[4..]).map_err(failed)?;
        Ok(frame)
    }

    /// Asks, and waits for the answer.
    fn call<R>(&mut self, request: &R, version: i16) -> Result<R::Response, String>
    where
        R: Request + HeaderVersion,
        R::Response: Decodable + HeaderVersion,
    {
        let correlation_id = self.next_correlation_id();
        self.write(&control::encode(request, version, correlation_id, CLIENT_ID))?;
        let frame = self.read_frame()?.split_off(4).freeze();
        control::decode(version, frame).map_err(|error| format!("{}: {error}", self.address))
    }

    /// Where the partitions' leaders are, by partition; None while the topic or a leader is missing.
    pub fn leaders(&mut self, topic: &str) -> Result<Option<Vec<Address>>, String> {
        let wanted = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
        let request =
            MetadataRequest::default().with_topics(Some(vec![wanted])).with_allow_auto_topic_creation(false);
        let answer: MetadataResponse = self.call(&request, METADATA_VERSION)?;
        let Some(topic) = answer.topics.first().filter(|topic| topic.error_code == 0) else {
            return Ok(None);
        };
        let mut leaders: Vec<(i32, Option<Address>)> = topic
            .partitions
            .iter()
            .map(|partition| {
                let leader = answer.brokers.iter().find(|broker| broker.node_id == partition.leader_id);
                let address = leader.and_then(|broker| {
                    Some(Address { host: broker.host.to_string(), port: u16::try_from(broker.port).ok()? })
                });
                (partition.partition_index, address)
            })
            .collect();
        leaders.sort_by_key(|(partition, _)| *partition);
        Ok(leaders.into_iter().map(|(_, address)| address).collect())
    }

    /// Creates a topic with the cluster's default replication factor, and waits until all its partitions have leaders.
    pub fn create_topic(
        &mut self,
        topic: &str,
        partitions: u32,
        batch_bytes_max: usize,
    ) -> Result<Vec<Address>, String> {
        let max_bytes = StrBytes::from_string(batch_bytes_max.to_string());
        let config = CreatableTopicConfig::default()
            .with_name(StrBytes::from_static_str("max.message.bytes"))
            .with_value(Some(max_bytes));
        let wanted = CreatableTopic::default()
            .with_name(topic_name(topic))
            .with_num_partitions(partitions as i32)
            .with_replication_factor(-1)
            .with_configs(vec![config]);
        let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(20_000);
        let answer = self.call(&request, CREATE_TOPICS_VERSION)?;
        if let Some(refused) = answer.topics.iter().find(|topic| topic.error_code != 0) {
            return Err(format!(
                "{} does not create the topic {topic}: {} {}",
                self.address,
                crate::error::name(refused.error_code),
                refused.error_message.as_deref().unwrap_or_default(),
            ));
        }
        let deadline_us = clock::now().after_ms(20_000);
        while clock::now().mono_us < deadline_us {
            match self.leaders(topic)? {
                Some(leaders) if leaders.len() == partitions as usize => return Ok(leaders),
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        }
        Err(format!("the topic {topic} got no leaders on {}", self.address))
    }

    /// Deletes topics, if they are there.
    pub fn delete_topics(&mut self, topics: &[&str]) -> Result<(), String> {
        let names = topics.iter().copied().map(topic_name).collect();
        let request = DeleteTopicsRequest::default().with_topic_names(names).with_timeout_ms(20_000);
        self.call(&request, DELETE_TOPICS_VERSION).map(|_| ())
    }
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// The name as Fetch and Produce requests carry it.
pub fn topic_bytes(name: &str) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}
