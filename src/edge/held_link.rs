//! A link whose lock this process holds without mirroring: for commands that change what the link remembers.

use super::admin::{Admin, AdminError};
use super::ledger_io::{LedgerIo, create_state_topic};
use super::{clock, mirror::MirrorError};
use crate::config::Mirror;
use crate::control::ledger::{self, Effect, End, Ledger};
use crate::shard::Side;
use std::time::Duration;

/// How long the target may be out of reach.
const PATIENCE_MS: u64 = 20_000;
const RETRY_MS: u64 = 200;

pub(super) struct HeldLink {
    pub(super) target: Admin,
    pub(super) ledger: Ledger,
    /// What earlier owners sent may be under way until then (steady clock, µs).
    pub(super) zombies_until_us: u64,
    io: LedgerIo,
    link: String,
}

impl HeldLink {
    /// Takes the lock of the configuration's link. A running mirror of that link is locked out, and ends.
    pub(super) fn take(config: &Mirror, source_cluster: &str) -> Result<Self, MirrorError> {
        let timeout = Duration::from_millis(config.request_timeout_ms.min(10_000));
        let mut target = Admin::new(&config.target, &config.client_id, timeout);
        let on_target = |error: AdminError| MirrorError::Cluster { side: Side::Target, error };
        let target_cluster = target.observe().map_err(on_target)?.cluster_id.clone();
        create_state_topic(&mut target, &config.link).map_err(on_target)?;
        let producer_id_expiration_ms = target.producer_id_expiration_ms().map_err(on_target)?;
        let ledger = Ledger::new(ledger::Settings {
            source_cluster: source_cluster.to_owned(),
            target_cluster,
            names: config.target.names.clone(),
            instance: format!("{}-{}", std::process::id(), clock::now().wall_ms),
            zombie_bound_ms: config.zombie_bound_ms,
            producer_id_expiration_ms,
            shards: 0,
        });
        let io = LedgerIo::new(&config.link);
        let mut held = Self { target, ledger, zombies_until_us: 0, io, link: config.link.clone() };
        held.work(|effect| match effect {
            Effect::Open { zombies_until_us, .. } => Some(zombies_until_us),
            _ => None,
        })
        .map(|zombies_until_us| Self { zombies_until_us, ..held })
    }

    /// Writes what has been changed, and gives the lock back.
    pub(super) fn release(mut self) -> Result<(), MirrorError> {
        self.ledger.release();
        self.work(|effect| matches!(effect, Effect::Released).then_some(()))
    }

    /// Does what the ledger asks for until it says what is waited for.
    fn work<T>(&mut self, wanted: impl Fn(Effect) -> Option<T>) -> Result<T, MirrorError> {
        let until_us = clock::now().after_ms(PATIENCE_MS);
        loop {
            if let Some(todo) = self.ledger.poll(clock::now())
                && let Err(error) = self.io.carry_out(clock::now, &mut self.target, &mut self.ledger, todo)
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
