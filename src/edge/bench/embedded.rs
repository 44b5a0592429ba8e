//! Two synthetic clusters in this process. The mirror reaches them through sockets as it would any other; the load goes in and
//! comes out through their in-process doors, which take the machine's time from nobody.

use super::{Arrived, Inlet, Outlet, Settings, Stage};
use crate::broker::SyntheticCluster;
use crate::config::Address;
use crate::edge::broker_task::{self, ClusterHandle, Server};
use crate::limits::BATCH_HEADER_BYTES;
use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use smallvec::smallvec;

const TOPIC: &str = "bench";
/// What may be under way. Enough to keep the mirror busy.
const WINDOW_BYTES: u64 = 96 << 20;
/// What each cluster keeps. Much more than is under way: a partition may fall behind the others.
const RETENTION_BYTES: usize = 4 * WINDOW_BYTES as usize;
/// Read from one partition at a time.
const READ_BYTES: usize = 8 << 20;

pub(super) struct Clusters {
    source: Server,
    target: Server,
    partitions: u32,
}

impl Clusters {
    pub(super) fn start(settings: &Settings) -> Result<Self, String> {
        let start = |name: &str, topics: Vec<(String, usize)>| {
            let cluster = SyntheticCluster {
                cluster_id: format!("bench-{name}"),
                brokers: vec![(1, Address { host: "127.0.0.1".into(), port: 0 })],
                topics,
                auto_create_topics: false,
                retention_bytes: RETENTION_BYTES,
                ..SyntheticCluster::default()
            };
            broker_task::spawn(cluster).map_err(|error| format!("cannot start the {name} cluster: {error}"))
        };
        Ok(Self {
            source: start("source", vec![(TOPIC.into(), settings.partitions as usize)])?,
            target: start("target", Vec::new())?,
            partitions: settings.partitions,
        })
    }

    pub(super) fn stage(&self) -> Stage<Door, Reader> {
        Stage {
            source: self.source.bootstrap(),
            target: self.target.bootstrap(),
            topic: TOPIC.into(),
            inlet: Door(self.source.cluster()),
            outlet: Reader { cluster: self.target.cluster(), positions: vec![0; self.partitions as usize] },
            window_bytes: WINDOW_BYTES,
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
            let mut take = |batch: &crate::broker::Batch| {
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
