//! One of several instances that share a link: it runs the parts that the group of instances assigns to it.
//!
//! [`group`] keeps it in the group and hears what to run, [`running`] runs that. What is said in between is little: a part that is
//! not assigned any more is ended, which frees its lock; then the group hears of it, and another instance begins with it. Parts
//! that stay where they are notice nothing. An instance that is cut off from the group goes on with what it has, until another
//! one has taken a part's lock.

mod group;
mod running;

use super::admin::Admin;
use super::clock;
use super::mirror::{self, MirrorError, Summary};
use super::outside::Outside;
use super::runtime;
use crate::config::{Instances, Mirror};
use crate::shard::Side;
use crate::stats::{InstanceLook, Report};
use group::{Heard, Membership};
use running::Running;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const NAP: Duration = Duration::from_millis(20);
const REPORT_MS: u64 = 1_000;
/// A part that ended for a reason that passes begins again after this time.
const AGAIN_MS: u64 = 1_000;

/// Runs this instance until `stop` is set, or it cannot go on. `observe` is called about once a second.
pub fn run(
    config: &Mirror,
    instances: &Instances,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(&Report),
) -> Result<Summary, MirrorError> {
    runtime::check_machine()?;
    let cores = runtime::choose_cores(&config.cores)?;
    let outside = Arc::new(Outside::of(config));
    let _listener = mirror::listen(config, &outside)?;
    check_division(config, stop)?;
    let name = instances.name.clone().unwrap_or_else(host_name);
    tracing::info!(instance = name, parts = instances.parts, "joining the instances of link {}", config.link);
    let membership = Membership::start(config, instances, &name).map_err(MirrorError::Thread)?;
    let mut instance = Instance {
        instances,
        name,
        running: Running::new(config, instances.parts, cores, &outside),
        not_before: BTreeMap::new(),
        summary: Summary::default(),
        outside,
        trouble_told: false,
    };
    let ended = instance.stay(&membership, stop, observe);
    // As they were, before all of them went to others.
    let lanes = instance.running.report(true).lanes;
    instance.end_all();
    membership.leave();
    ended?;
    Ok(Summary { report: Report { lanes, ..instance.running.report(true) }, ..instance.summary })
}

/// Runs all parts of a divided link in this process, side by side, until each has ended: for commands that bring a link to a
/// point where it ends by itself.
pub(super) fn run_all(
    config: &Mirror,
    parts: u32,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(&Report),
) -> Result<Summary, MirrorError> {
    runtime::check_machine()?;
    let cores = runtime::choose_cores(&config.cores)?;
    let mut running = Running::new(config, parts, cores, &Arc::new(Outside::of(config)));
    for part in 0..parts {
        running.start(part)?;
    }
    let mut summary = Summary::default();
    let mut failed = None;
    let mut report_at_us = clock::now().after_ms(REPORT_MS);
    while !running.parts().is_empty() {
        if stop.load(Ordering::Relaxed) || failed.is_some() {
            running.parts().into_iter().for_each(|part| running.stop(part));
        }
        for (_, ended) in running.ended() {
            match ended {
                Ok(of_part) => summary.add(of_part),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if clock::now().mono_us >= report_at_us {
            report_at_us = clock::now().after_ms(REPORT_MS);
            observe(&running.report(true));
        }
        std::thread::sleep(NAP);
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(Summary { report: running.report(true), ..summary }),
    }
}

struct Instance<'a> {
    instances: &'a Instances,
    name: String,
    running: Running,
    /// Parts that ended by themselves, when, and what for: they begin again when that has passed.
    not_before: BTreeMap<u32, Pause>,
    summary: Summary,
    outside: Arc<Outside>,
    trouble_told: bool,
}

#[derive(Clone, Copy)]
struct Pause {
    ended_us: u64,
    /// Another instance took the part's lock. Unless the group says later than that that the part is to run here, it is right.
    is_fenced: bool,
}

impl Instance<'_> {
    fn stay(
        &mut self,
        membership: &Membership,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(&Report),
    ) -> Result<(), MirrorError> {
        let mut report_at_us = clock::now().mono_us;
        while !stop.load(Ordering::Relaxed) {
            let heard = membership.heard();
            if let Some(why) = heard.ended {
                return Err(MirrorError::Group(why));
            }
            self.follow(&heard)?;
            membership.tell_runs(self.running.parts());
            for (part, ended) in self.running.ended() {
                self.take_end(part, ended)?;
            }
            let now = clock::now();
            if now.mono_us >= report_at_us {
                report_at_us = now.after_ms(REPORT_MS);
                self.report(&heard, observe);
            }
            std::thread::sleep(NAP);
        }
        Ok(())
    }

    /// Ends what is not this instance's any more, and begins with what is.
    fn follow(&mut self, heard: &Heard) -> Result<(), MirrorError> {
        let runs = self.running.parts();
        runs.difference(&heard.assigned).for_each(|part| self.running.stop(*part));
        for part in heard.assigned.difference(&runs) {
            if self.may_begin(*part, heard) {
                self.not_before.remove(part);
                self.running.start(*part)?;
            }
        }
        Ok(())
    }

    fn may_begin(&self, part: u32, heard: &Heard) -> bool {
        let Some(pause) = self.not_before.get(&part) else { return true };
        let is_over = clock::now().mono_us >= pause.ended_us + AGAIN_MS * 1_000;
        let is_confirmed = heard.confirmed_us.is_some_and(|at_us| at_us > pause.ended_us);
        is_over && (is_confirmed || !pause.is_fenced)
    }

    /// A part has ended: because it was asked to, or for a reason that may pass, or for one that does not.
    fn take_end(&mut self, part: u32, ended: Result<Summary, MirrorError>) -> Result<(), MirrorError> {
        let error = match ended {
            Ok(summary) => {
                self.summary.add(summary);
                return Ok(());
            }
            Err(error) => error,
        };
        let is_fenced = matches!(error, MirrorError::Fenced { .. });
        if !is_fenced && !error.is_passing() {
            return Err(error);
        }
        if is_fenced {
            tracing::info!(part, "another instance runs this part now");
        } else {
            tracing::warn!(part, %error, "this part has ended, and is tried again");
        }
        self.not_before.insert(part, Pause { ended_us: clock::now().mono_us, is_fenced });
        Ok(())
    }

    fn report(&mut self, heard: &Heard, observe: &mut dyn FnMut(&Report)) {
        let report = self.running.report(heard.confirmed_us.is_some());
        observe(&report);
        let is_in_trouble = heard.trouble.is_some();
        if is_in_trouble != std::mem::replace(&mut self.trouble_told, is_in_trouble) {
            match &heard.trouble {
                Some(why) => tracing::warn!(
                    "the group of this link's instances cannot be reached, this one goes on with what it runs: {why}"
                ),
                None => tracing::info!("the group of this link's instances is back"),
            }
        }
        if self.outside.is_watched {
            let mut watch = self.running.watch(report);
            watch.instance = Some(InstanceLook {
                name: self.name.clone(),
                parts: self.running.parts().into_iter().collect(),
                of_parts: self.instances.parts,
                trouble: heard.trouble.clone(),
            });
            self.outside.board.publish(watch);
        }
    }

    /// Ends all parts cleanly, so that others can begin with them at once.
    fn end_all(&mut self) {
        while !self.running.parts().is_empty() {
            self.running.parts().into_iter().for_each(|part| self.running.stop(part));
            for (part, ended) in self.running.ended() {
                match ended {
                    Ok(summary) => self.summary.add(summary),
                    Err(error) => tracing::warn!(part, %error, "this part did not end cleanly"),
                }
            }
            std::thread::sleep(NAP);
        }
    }
}

fn check_division(config: &Mirror, stop: &AtomicBool) -> Result<(), MirrorError> {
    let timeout = Duration::from_millis(config.request_timeout_ms.min(10_000));
    let mut target = Admin::new(&config.target, &config.client_id, timeout);
    mirror::patiently(Side::Target, stop, || target.observe().map(drop))?;
    mirror::check_division(config, &target)
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let legal = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
    name.chars().map(legal).collect()
}
