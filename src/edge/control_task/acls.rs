//! Keeps access rules in step, if told to.

use super::Session;
use crate::config::SyncAcls;
use crate::control::acls::{Acl, changes, wanted};
use crate::edge::admin::AdminError;
use crate::edge::{acls, clock};
use crate::error;
use crate::shard::Side;
use std::collections::BTreeSet;

#[derive(Default)]
pub(super) struct AclSync {
    /// When to look next (steady clock, µs).
    at_us: u64,
    /// Topics that are or were mirrored: one that a broker does not list for a moment keeps its rules.
    topics: BTreeSet<String>,
    /// What was wanted at the last look, and stands on the target.
    before: Option<BTreeSet<Acl>>,
    /// What the target did not let us change at the last look, which has been said.
    refused: BTreeSet<Acl>,
    told_of_none: bool,
}

impl Session<'_> {
    /// Looks at both sides' rules when it is time. What cannot be done is said, and does not keep data from flowing.
    pub(super) fn sync_acls(&mut self) {
        let now = clock::now();
        if self.config.sync_acls == SyncAcls::None || now.mono_us < self.acl_sync.at_us {
            return;
        }
        self.acl_sync.at_us = now.after_ms(self.config.topic_configs_interval_ms);
        if let Err((side, error)) = self.try_sync_acls() {
            tracing::warn!(?side, %error, "cannot keep access rules in step, trying again later");
        }
    }

    fn try_sync_acls(&mut self) -> Result<(), (Side, AdminError)> {
        let source = acls::list(&mut self.source).map_err(|error| (Side::Source, error))?;
        let target = acls::list(&mut self.target).map_err(|error| (Side::Target, error))?;
        let (Some(source), Some(target)) = (source, target) else {
            if !std::mem::replace(&mut self.acl_sync.told_of_none, true) {
                tracing::warn!(
                    "one of the clusters has no authorizer, so there are no access rules to keep in step"
                );
            }
            return Ok(());
        };
        let topics = self.topics_in_step();
        self.acl_sync.topics.extend(topics);
        let mut wanted = wanted(self.config, &source, &self.acl_sync.topics);
        let changes = changes(self.acl_sync.before.as_ref(), &wanted, &target);
        let on_target = |error| (Side::Target, error);
        let not_created = acls::create(&mut self.target, &changes.create).map_err(on_target)?;
        let not_deleted = acls::delete(&mut self.target, &changes.delete).map_err(on_target)?;
        for acl in changes.create.iter().filter(|acl| not_created.iter().all(|(refused, ..)| refused != *acl))
        {
            tracing::info!("new access rule on the target: {acl}");
        }
        for acl in changes.delete.iter().filter(|acl| not_deleted.iter().all(|(refused, ..)| refused != *acl))
        {
            tracing::info!("access rule taken back on the target: {acl}");
        }
        let mut refused = BTreeSet::new();
        for (acl, code, said) in not_created.into_iter().chain(not_deleted) {
            if !self.acl_sync.refused.contains(&acl) {
                let (name, advice) = (error::name(code), error::advice(code));
                tracing::warn!(
                    "the target does not let its access rules be changed: {acl}: {name}: {advice} {said}"
                );
            }
            refused.insert(acl);
        }
        // What is still to be taken back is so at the next look, too.
        wanted.extend(refused.iter().cloned());
        self.acl_sync.refused = refused;
        self.acl_sync.before = Some(wanted);
        Ok(())
    }
}
