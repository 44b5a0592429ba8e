//! Keeps quotas in step, if told to.

use super::Session;
use crate::control::quotas::{Entity, Quotas, Refused, changes, kept, refusals, wanted};
use crate::edge::admin::AdminError;
use crate::edge::{clock, quotas};
use crate::shard::Side;
use std::collections::BTreeSet;

#[derive(Default)]
pub(super) struct QuotaSync {
    /// When to look next (steady clock, µs).
    at_us: u64,
    /// What was wanted at the last look, and stands on the target.
    before: Option<Quotas>,
    /// Whose quotas the target did not let us change at the last look, which has been said.
    refused: BTreeSet<Entity>,
    /// Why the last look came to nothing, which has been said.
    trouble: Option<String>,
}

impl Session<'_> {
    /// Looks at both sides' quotas when it is time. What cannot be done is said once, and does not keep data from flowing.
    pub(super) fn sync_quotas(&mut self) {
        let now = clock::now();
        if !self.config.sync_quotas || now.mono_us < self.quota_sync.at_us {
            return;
        }
        self.quota_sync.at_us = now.after_ms(self.config.topic_configs_interval_ms);
        let trouble = self.try_sync_quotas().err().map(|(side, error)| {
            let side = if side == Side::Source { "source" } else { "target" };
            format!("cannot keep quotas in step, trying again later: {side}: {error}")
        });
        if let Some(trouble) = trouble.as_ref().filter(|_| trouble != self.quota_sync.trouble) {
            tracing::warn!("{trouble}");
        }
        self.quota_sync.trouble = trouble;
    }

    fn try_sync_quotas(&mut self) -> Result<(), (Side, AdminError)> {
        let on_target = |error| (Side::Target, error);
        let source = quotas::list(&mut self.source).map_err(|error| (Side::Source, error))?;
        let target = quotas::list(&mut self.target).map_err(on_target)?;
        let wanted = wanted(self.config, &source);
        let before = self.quota_sync.before.as_ref();
        let changes = changes(before, &wanted, &target);
        let refused = quotas::alter(&mut self.target, &changes, false).map_err(on_target)?;
        let entities: BTreeSet<Entity> = refused.iter().map(|refused| refused.entity.clone()).collect();
        for (limit, value) in changes.set.iter().filter(|(limit, _)| !entities.contains(&limit.entity)) {
            match target.get(limit) {
                Some(was) => tracing::info!("quota changed on the target: {limit}={value} (it was {was})"),
                None => tracing::info!("new quota on the target: {limit}={value}"),
            }
        }
        for limit in changes.remove.iter().filter(|limit| !entities.contains(&limit.entity)) {
            tracing::info!("quota taken back on the target: {limit}");
        }
        let is_new = |refused: &Refused| !self.quota_sync.refused.contains(&refused.entity);
        let news: Vec<Refused> = refused.iter().filter(|refused| is_new(refused)).cloned().collect();
        refusals(&news).iter().for_each(|sentence| tracing::warn!("{sentence}"));
        self.quota_sync.before = Some(kept(wanted, before, &changes, &refused));
        self.quota_sync.refused = entities;
        Ok(())
    }
}
