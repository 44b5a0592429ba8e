//! Two synthetic clusters in this process. The mirror reaches them through sockets as it would any other; the load goes in and
//! comes out through their in-process doors, which take the machine's time from nobody.

use super::{Arrived, Inlet, Outlet, Settings, Stage, max_message_bytes};
use crate::broker::topic_config::TopicConfig;
use crate::broker::{Batch, SyntheticCluster};
use crate::config::Address;
use crate::edge::broker_task::{self, ClusterHandle, Server};
use crate::limits::BATCH_HEADER_BYTES;
use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use smallvec::smallvec;

const TOPIC: &str = "bench";
/// What may be under way, or a batch for each partition if that is more. Enough to keep the mirror busy.
const WINDOW_BYTES: usize = 64 << 20;
/// How much more than that each cluster keeps: a partition may fall behind the others.
const RETENTION_WINDOWS: usize = 4;
/// Read from one partition at a time.
const READ_BYTES: usize = 8 << 20;

pub(super) struct Clusters {
    source: Server,
    target: Server,
    partitions: u32,
    window_bytes: usize,
}

impl Clusters {
    pub(super) fn start(settings: &Settings) -> Result<Self, String> {
        let window_bytes = WINDOW_BYTES.max(settings.partitions as usize * settings.shape.batch_bytes);
        let backlog_bytes = settings.backlog_bytes as usize;
        let start = |name: &str, backlog_bytes: usize| {
            let cluster = SyntheticCluster {
                cluster_id: format!("bench-{name}"),
                brokers: vec![(1, Address { host: "127.0.0.1".into(), port: 0 })],
                auto_create_topics: false,
                retention_bytes: (RETENTION_WINDOWS * window_bytes).max(backlog_bytes + window_bytes),
                ..SyntheticCluster::default()
            };
            broker_task::spawn(cluster).map_err(|error| format!("cannot start the {name} cluster: {error}"))
        };
        let clusters = Self {
            // What batches take beside their bytes counts, too; the bytes themselves are shared.
            source: start("source", backlog_bytes.saturating_mul(2))?,
            target: start("target", backlog_bytes)?,
            partitions: settings.partitions,
            window_bytes,
        };
        let mut config = TopicConfig::default();
        config.set("max.message.bytes", &max_message_bytes(settings).to_string())?;
        clusters
            .source
            .cluster()
            .with(|cluster, _| cluster.add_topic(TOPIC, settings.partitions as usize, 1, config));
        Ok(clusters)
    }

    pub(super) fn stage(&self) -> Stage<Door, Reader> {
        Stage {
            source: self.source.bootstrap(),
            target: self.target.bootstrap(),
            topic: TOPIC.into(),
            inlet: Door(self.source.cluster()),
            outlet: Reader { cluster: self.target.cluster(), positions: vec![0; self.partitions as usize] },
            window_bytes: self.window_bytes as u64,
            embedded: true,
        }
    }

    pub(super) fn stop(self) {
        for server in [self.source, self.target] {
            if let Err(error) = server.stop() {
                tracing::warn!("a synthetic cluster had ended by itself: {error}");
            }
        }
    }
}

pub(super) struct Door(ClusterHandle);

impl Inlet for Door {
    fn send(
        &mut self,
        partition: u32,
        header: [u8; BATCH_HEADER_BYTES],
        payload: Bytes,
    ) -> Result<(), String> {
        match self.0.append(TOPIC, partition as i32, &header, payload) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the source refuses the load: {error}")),
        }
    }
}

pub(super) struct Reader {
    cluster: ClusterHandle,
    /// By partition, the offset to read next.
    positions: Vec<i64>,
}

impl Outlet for Reader {
    fn receive(&mut self, arrived: &mut Vec<Arrived>) -> Result<(), String> {
        for (partition, position) in (0..).zip(&mut self.positions) {
            let from = *position;
            let mut take = |batch: &Batch| {
                *position = batch.last_offset() + 1;
                let payload = smallvec![batch.payload.clone()];
                arrived.push(Arrived { partition, header: *batch.header(), payload });
            };
            match self.cluster.read(TOPIC, partition as i32, from, READ_BYTES, &mut take) {
                // The mirror has not created the topic yet.
                Ok(()) | Err(ResponseError::UnknownTopicOrPartition) => {}
                Err(error) => {
                    return Err(format!("cannot read partition {partition} of the target: {error}"));
                }
            }
        }
        Ok(())
    }
}
