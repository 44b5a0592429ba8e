//! What the state topic's records say, taken into the state one by one.

use super::format::{Key, LaneValue};
use super::{DataPid, End, Lane, Ledger, Owner, StateRecord};
use std::sync::Arc;

impl Ledger {
    /// Takes one record of the log into the state.
    pub(super) fn apply(&mut self, record: &StateRecord) -> Result<(), End> {
        let unreadable = |what: serde_json::Error| {
            let key = String::from_utf8_lossy(&record.key);
            End::Unreadable(format!(
                "the record at offset {} with key {key} is not Twinlog's: {what}",
                record.offset
            ))
        };
        let key: Key = serde_json::from_slice(&record.key).map_err(unreadable)?;
        let value = record.value.as_deref();
        match key {
            Key::Owner { pid } => {
                if let Some(value) = value {
                    self.saw_owner(record.offset, pid, serde_json::from_slice(value).map_err(unreadable)?)?;
                }
            }
            Key::Pid => {
                if let Some(value) = value {
                    let pid: DataPid = serde_json::from_slice(value).map_err(unreadable)?;
                    match &mut self.data_pid {
                        Some(known) if known.producer_id != pid.producer_id => known.join(pid),
                        known => *known = Some(pid),
                    }
                }
            }
            Key::Lane { topic, partition } => {
                let place = (Arc::from(topic), partition);
                match value {
                    None => drop(self.lanes.remove(&place)),
                    Some(value) => {
                        let value: LaneValue = serde_json::from_slice(value).map_err(unreadable)?;
                        let known = self.lanes.remove(&place).unwrap_or_default();
                        self.lanes.insert(place, Lane::from(value).after(known));
                    }
                }
            }
            Key::Runs { topic, partition, id, chunk } => {
                let lane = self.lanes.entry((Arc::from(topic), partition)).or_default();
                match value {
                    None => lane.drop_chunk(chunk),
                    Some(value) => {
                        lane.take_chunk(&id, chunk, serde_json::from_slice(value).map_err(unreadable)?);
                    }
                }
            }
            Key::Loss { topic, partition, from } => {
                let place = (topic, partition, from);
                match value {
                    None => drop(self.losses.remove(&place)),
                    Some(value) => {
                        let loss = serde_json::from_slice(value).map_err(unreadable)?;
                        self.losses.insert(place, loss);
                    }
                }
            }
            Key::Topic { topic } => match value {
                None => drop(self.topics.remove(&topic)),
                Some(_) => drop(self.topics.insert(topic)),
            },
            Key::Upstream { topic } => {
                match value {
                    None => drop(self.upstream.remove(&topic)),
                    Some(value) => {
                        let clusters = serde_json::from_slice(value).map_err(unreadable)?;
                        self.upstream.insert(topic, clusters);
                    }
                };
            }
            Key::Failover { topic, partition } => {
                let place = (topic, partition);
                match value {
                    None => drop(self.failovers.remove(&place)),
                    Some(value) => {
                        let failover = serde_json::from_slice(value).map_err(unreadable)?;
                        self.failovers.insert(place, failover);
                    }
                }
            }
        }
        Ok(())
    }

    fn saw_owner(&mut self, offset: i64, pid: i64, owner: Owner) -> Result<(), End> {
        if owner.instance == self.settings.instance {
            self.owner_is_seen |= Some(offset) == self.owner_offset && !owner.fenced;
            return Ok(());
        }
        if pid == self.lock.0 && owner.epoch >= self.lock.1 {
            return Err(End::Fenced);
        }
        if self.owner_offset.is_some_and(|own| offset > own) {
            // A newer claim with a lock that came after ours, or a sign of life of an owner still to be locked out. If somebody
            // else has locked it out by now, it may have written after our record; we do it, too, and own again.
            match self.owners.get_mut(&pid) {
                Some(known) if known.epoch < owner.epoch => *known = Owner { fenced: false, ..owner },
                Some(_) => {}
                None if pid == self.lock.0 => {}
                None => return Err(End::Fenced),
            }
            return Ok(());
        }
        self.owners.insert(pid, owner);
        self.last_owner = Some(pid);
        Ok(())
    }
}
