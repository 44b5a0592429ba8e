//! A link whose locks this process holds without mirroring: for commands that change what the link remembers.

use super::admin::{Admin, AdminError};
use super::ledger_io::{self, LedgerIo, create_state_topic};
use super::{
    clock,
    mirror::{self, MirrorError},
};
use crate::config::{Mirror, share};
use crate::control::ledger::{self, Effect, End, Ledger};
use crate::shard::Side;
use std::time::Duration;

/// How long the target may be out of reach.
const PATIENCE_MS: u64 = 20_000;
const RETRY_MS: u64 = 200;

pub(super) struct HeldLink {
    pub(super) target: Admin,
    /// What earlier owners sent may be under way until then (steady clock, µs).
    pub(super) zombies_until_us: u64,
    /// One, or as many as the link has parts.
    parts: Vec<Held>,
}

/// A ledger that this process owns.
struct Held {
    link: String,
    ledger: Ledger,
    io: LedgerIo,
}

impl HeldLink {
    /// Takes the lock of the configuration's link, or of all its parts. A running mirror of that link is locked out, and ends.
    pub(super) fn take(config: &Mirror, source_cluster: &str) -> Result<Self, MirrorError> {
        let timeout = Duration::from_millis(config.request_timeout_ms.min(10_000));
        let mut target = Admin::new(&config.target, &config.client_id, timeout);
        let on_target = |error: AdminError| MirrorError::Cluster { side: Side::Target, error };
        let target_cluster = target.observe().map_err(on_target)?.cluster_id.clone();
        let parts = match &config.instances {
            Some(instances) => Some(instances.parts),
            None => ledger_io::parts_of(&mut target, &config.link).map_err(on_target)?,
        };
        if config.instances.is_some() || parts.is_none() {
            mirror::check_division(config, &target)?;
        }
        let links: Vec<String> = match parts {
            Some(parts) => (0..parts).map(|part| share::link_of_part(&config.link, part)).collect(),
            None => vec![config.link.clone()],
        };
        let producer_id_expiration_ms = target.producer_id_expiration_ms().map_err(on_target)?;
        let mut held = Self { target, zombies_until_us: 0, parts: Vec::new() };
        for link in links {
            create_state_topic(&mut held.target, &link).map_err(on_target)?;
            let ledger = Ledger::new(ledger::Settings {
                source_cluster: source_cluster.to_owned(),
                target_cluster: target_cluster.clone(),
                names: config.target.names.clone(),
                parts,
                instance: format!("{}-{}", std::process::id(), clock::now().wall_ms),
                zombie_bound_ms: config.zombie_bound_ms,
                producer_id_expiration_ms,
                shards: 0,
            });
            let io = LedgerIo::new(&link);
            let mut part = Held { link, ledger, io };
            let zombies_until_us = part.work(&mut held.target, |effect| match effect {
                Effect::Open { zombies_until_us, .. } => Some(zombies_until_us),
                _ => None,
            })?;
            held.zombies_until_us = held.zombies_until_us.max(zombies_until_us);
            held.parts.push(part);
        }
        Ok(held)
    }

    /// The ledger that has the partition.
    pub(super) fn ledger(&mut self, topic: &str, partition: i32) -> &mut Ledger {
        let part = share::part_of(topic, partition, u32::try_from(self.parts.len()).unwrap_or(u32::MAX));
        &mut self.parts[part as usize].ledger
    }

    /// The partitions that the link has begun to mirror.
    pub(super) fn partitions(&self) -> impl Iterator<Item = (&str, i32)> {
        self.parts.iter().flat_map(|part| part.ledger.partitions())
    }

    /// Writes what has been changed, and gives the locks back.
    pub(super) fn release(mut self) -> Result<(), MirrorError> {
        for part in &mut self.parts {
            part.ledger.release();
            part.work(&mut self.target, |effect| matches!(effect, Effect::Released).then_some(()))?;
        }
        Ok(())
    }
}

impl Held {
    /// Does what the ledger asks for until it says what is waited for.
    fn work<T>(
        &mut self,
        target: &mut Admin,
        wanted: impl Fn(Effect) -> Option<T>,
    ) -> Result<T, MirrorError> {
        let until_us = clock::now().after_ms(PATIENCE_MS);
        loop {
            if let Some(todo) = self.ledger.poll(clock::now())
                && let Err(error) = self.io.carry_out(clock::now, target, &mut self.ledger, todo)
            {
                if !error.is_passing() || clock::now().mono_us >= until_us {
                    return Err(MirrorError::Cluster { side: Side::Target, error });
                }
                std::thread::sleep(Duration::from_millis(RETRY_MS));
            }
            while let Some(effect) = self.ledger.poll_effect() {
                if let Effect::Ended(end) = effect {
                    return Err(self.ended(end));
                }
                if let Some(found) = wanted(effect) {
                    return Ok(found);
                }
            }
            if clock::now().mono_us >= until_us {
                let cause = "the target did not answer in time".to_owned();
                return Err(MirrorError::Ledger { link: self.link.clone(), cause });
            }
        }
    }

    fn ended(&self, end: End) -> MirrorError {
        MirrorError::of_ledger(&self.link, end).unwrap_or_else(|| MirrorError::Ledger {
            link: self.link.clone(),
            cause: "the lock lapsed; try again".into(),
        })
    }
}
