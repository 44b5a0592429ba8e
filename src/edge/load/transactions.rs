//! Transactions of a load, one after the other, each over all partitions.
//!
//! As Kafka's producer does, the load ends a transaction when all of it is acknowledged, and sends nothing until the next one has
//! begun. What is due meanwhile waits, and its latency says so.

use super::Settings;
use crate::control::transactions::Producer;
use crate::edge::admin::{Admin, AdminError};
use crate::edge::client::ClusterClient;
use crate::edge::clock;
use crate::edge::coordinators::{self, TRANSACTION_KEY};
use crate::error;
use crate::limits::BATCH_HEADER_BYTES;
use crate::load::TransactionCounts;
use crate::wire::batch::{Stamp, restamp};
use std::sync::Arc;
use std::time::Duration;

/// How the batches of a load are bound together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transactional {
    pub transactional_id: String,
    /// How long a transaction takes on batches.
    pub open_us: u64,
    /// So many of a hundred end with an abort.
    pub aborted_percent: u8,
}

pub(super) struct Transactions<'a> {
    wanted: &'a Transactional,
    admin: Admin,
    coordinator: Option<i32>,
    producer: Producer,
    /// All partitions, lane by lane.
    places: Vec<(Arc<str>, i32)>,
    /// By lane: the sequence of the next record.
    sequences: Vec<i32>,
    opened_us: u64,
    patience: Duration,
    pub counts: TransactionCounts,
}

/// The pause before a coordinator is asked again: it writes the markers of the transaction before.
const RETRY: Duration = Duration::from_millis(2);

impl<'a> Transactions<'a> {
    /// Gets a producer, and begins the first transaction.
    pub fn begin(wanted: &'a Transactional, settings: &Settings, partitions: u32) -> Result<Self, String> {
        let patience = Duration::from_millis(settings.request_timeout_ms);
        let topics = settings.topics.iter().map(|topic| Arc::<str>::from(topic.as_str()));
        let places = topics
            .flat_map(|topic| (0..partitions as i32).map(move |partition| (Arc::clone(&topic), partition)));
        let places: Vec<_> = places.collect();
        let mut transactions = Self {
            wanted,
            admin: Admin::new(&settings.target, &settings.client_id, patience),
            coordinator: None,
            producer: Producer { transactional_id: wanted.transactional_id.clone(), id: -1, epoch: -1 },
            sequences: vec![0; places.len()],
            places,
            opened_us: 0,
            patience,
            counts: TransactionCounts::default(),
        };
        // What stays open for longer is aborted by the coordinator.
        let timeout_ms =
            i32::try_from(wanted.open_us / 1000 + settings.request_timeout_ms).unwrap_or(i32::MAX);
        transactions.producer = transactions.insist("InitProducerId", |client, broker, producer| {
            Ok(coordinators::init(client, broker, &producer.transactional_id, timeout_ms)?)
        })?;
        transactions.open()?;
        Ok(transactions)
    }

    fn open(&mut self) -> Result<(), String> {
        let places = self.places.clone();
        self.insist("AddPartitionsToTxn", |client, broker, producer| {
            let codes = coordinators::join(client, broker, producer, places.iter().cloned())?;
            Ok((codes.into_values().find(|&code| code != 0).unwrap_or(0), ()))
        })?;
        self.opened_us = clock::now().mono_us;
        Ok(())
    }

    /// The transaction takes no more batches.
    pub fn is_over(&self, now_us: u64) -> bool {
        now_us >= self.opened_us + self.wanted.open_us
    }

    /// Ends the transaction, of which everything is acknowledged, and begins the next one.
    pub fn turn(&mut self) -> Result<(), String> {
        let ended = self.counts.committed + self.counts.aborted + 1;
        // Spread evenly.
        let aborts = ended * u64::from(self.wanted.aborted_percent) / 100 > self.counts.aborted;
        self.end(!aborts)?;
        self.open()
    }

    pub fn end(&mut self, commits: bool) -> Result<(), String> {
        self.insist("EndTxn", |client, broker, producer| {
            Ok((coordinators::end(client, broker, producer, commits)?, ()))
        })?;
        match commits {
            true => self.counts.committed += 1,
            false => self.counts.aborted += 1,
        }
        Ok(())
    }

    /// Makes a batch, which is sent next in its lane, part of the transaction.
    pub fn stamp(&mut self, lane: u32, header: &mut [u8; BATCH_HEADER_BYTES], records: u32) {
        let sequence = &mut self.sequences[lane as usize];
        let stamp = Stamp {
            producer_id: self.producer.id,
            producer_epoch: self.producer.epoch,
            base_sequence: *sequence,
            is_transactional: true,
        };
        restamp(header, stamp);
        // After the largest comes 0.
        *sequence = sequence.wrapping_add(records as i32) & i32::MAX;
    }

    pub fn transactional_id(&self) -> &str {
        &self.wanted.transactional_id
    }

    /// Asks until the coordinator has done it, or patience is over.
    fn insist<T>(
        &mut self,
        what: &str,
        mut ask: impl FnMut(&mut ClusterClient, i32, &Producer) -> Result<(i16, T), AdminError>,
    ) -> Result<T, String> {
        let until_us = clock::now().mono_us + self.patience.as_micros() as u64;
        loop {
            let problem = match self.try_to(&mut ask) {
                Ok((0, answer)) => return Ok(answer),
                Ok((code, _)) => AdminError::Refused { what: what.to_owned(), code },
                Err(error) => error,
            };
            if !matches!(problem, AdminError::Refused { code: error::CONCURRENT_TRANSACTIONS, .. }) {
                self.coordinator = None;
            }
            if !problem.is_passing() || problem.is_denied() || clock::now().mono_us >= until_us {
                return Err(format!("the transaction of {}: {problem}", self.wanted.transactional_id));
            }
            std::thread::sleep(RETRY);
        }
    }

    fn try_to<T>(
        &mut self,
        ask: &mut impl FnMut(&mut ClusterClient, i32, &Producer) -> Result<(i16, T), AdminError>,
    ) -> Result<(i16, T), AdminError> {
        let broker = match self.coordinator {
            Some(broker) => broker,
            None => {
                self.admin.observe()?;
                let id = &self.wanted.transactional_id;
                coordinators::find(&mut self.admin, TRANSACTION_KEY, id, "looking for its coordinator")?
            }
        };
        self.coordinator = Some(broker);
        ask(self.admin.client(), broker, &self.producer)
    }
}
