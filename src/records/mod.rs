//! Changing records on their way, for the topics that a `[[transform]]` names: their batches leave the way on which nothing is
//! opened, [`rebuild`](crate::wire::rebuild) takes them apart, and a [`Worker`] judges each record.

mod json;
pub mod letters;
mod parts;
mod steps;
pub mod wasm;

use crate::config::transforms::{OnError, Step, Transform};
use crate::wire::codec::Compression;
use crate::wire::rebuild::{Change, Changed, Record};
use parts::Parts;
use steps::{Scratch, apply};
use wasm::{Instance, Limits, Module};

/// What a transform comes to, the same for all cores.
#[derive(Clone, Debug)]
pub struct Recipe {
    transform: Transform,
    /// For each step what it runs, if that is a module.
    modules: Vec<Option<Module>>,
}

impl Recipe {
    /// `load` reads a module's file. The error says which step cannot be had, and why.
    pub fn new(
        transform: &Transform,
        load: &dyn Fn(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Self, String> {
        let compiled = |(at, step): (usize, &Step)| {
            let Step::Wasm(settings) = step else { return Ok(None) };
            let limits =
                Limits { memory_bytes: settings.memory_bytes_max, fuel_per_record: settings.fuel_per_record };
            let module = load(&settings.file).and_then(|bytes| {
                Module::compile(&bytes, limits).map_err(|why| format!("{}: {why}", settings.file))
            });
            module.map(Some).map_err(|why| format!("{}: {why}", called(at, step)))
        };
        let modules = transform.steps.iter().enumerate().map(compiled).collect::<Result<_, String>>()?;
        Ok(Self { transform: transform.clone(), modules })
    }

    /// Each core has its own: expressions that are shared would have cores wait for each other.
    pub fn worker(&self) -> Result<Worker, String> {
        let instance = |module: &Option<Module>| module.as_ref().map(Module::instance).transpose();
        Ok(Worker {
            on_error: self.transform.on_error,
            steps: self.transform.steps.clone(),
            handlers: self.modules.iter().map(instance).collect::<Result<_, _>>()?,
            scratch: Scratch::default(),
            next: Vec::new(),
            tally: Tally::default(),
        })
    }

    /// Of what is written. None: as it was.
    pub fn compression(&self) -> Option<Compression> {
        let chosen = self.transform.compression?;
        Some(Compression { codec: chosen.codec.id(), level: chosen.level })
    }
}

/// A core's.
#[derive(Debug)]
pub struct Worker {
    on_error: OnError,
    steps: Vec<Step>,
    /// For each step the module at work, if it is one.
    handlers: Vec<Option<Instance>>,
    scratch: Scratch,
    /// A step's output; the record's body before that step stands in the caller's.
    next: Vec<u8>,
    tally: Tally,
}

/// Records since the start, those that were read again counted again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub seen: u64,
    pub changed: u64,
    pub dropped: u64,
    /// That a step could not handle, whatever became of them.
    pub failed: u64,
}

/// Why a record has no outcome. It shows nothing of the record's contents.
enum Failure {
    /// It is no record; no setting makes one of it.
    Damaged,
    Step {
        at: usize,
        why: String,
    },
}

impl Worker {
    pub fn tally(&self) -> Tally {
        self.tally
    }

    fn run(&mut self, record: &Record<'_>, body: &mut Vec<u8>) -> Result<Changed, Failure> {
        let mut outcome = Changed::Same;
        let mut record = *record;
        for (at, step) in self.steps.iter().enumerate() {
            let now = match outcome {
                Changed::Same => record,
                _ => Record { body: body.as_slice(), ..record },
            };
            let parts = Parts::read(now.body).map_err(|_| Failure::Damaged)?;
            self.next.clear();
            let changed = match &mut self.handlers[at] {
                Some(handler) => handler.change(&now, &mut self.next),
                None => apply(step, &now, &parts, &mut self.scratch, &mut self.next),
            };
            let changed = changed.map_err(|why| Failure::Step { at, why })?;
            match changed {
                Changed::Same => {}
                Changed::New { timestamp_ms } => {
                    record.timestamp_ms = timestamp_ms;
                    outcome = changed;
                    std::mem::swap(body, &mut self.next);
                }
                Changed::Dropped => return Ok(changed),
            }
        }
        Ok(outcome)
    }

    /// What becomes of a record without an outcome.
    fn failed(&mut self, failure: Failure) -> Result<Changed, String> {
        self.tally.failed += 1;
        match (failure, self.on_error) {
            (Failure::Damaged, _) => {
                Err("its key, value and headers do not fit its length; check the source's log for damage"
                    .into())
            }
            (Failure::Step { at, why }, OnError::Stop) => {
                let step = called(at, &self.steps[at]);
                Err(format!("{step}: {why}; change that step, or set on-error to drop or keep such records"))
            }
            (Failure::Step { .. }, OnError::Drop) => Ok(Changed::Dropped),
            (Failure::Step { .. }, OnError::Keep) => Ok(Changed::Same),
        }
    }
}

impl Change for Worker {
    fn change(&mut self, record: &Record<'_>, body: &mut Vec<u8>) -> Result<Changed, String> {
        let outcome = self.run(record, body).or_else(|failure| self.failed(failure));
        self.tally.seen += 1;
        match outcome {
            Ok(Changed::New { .. }) => self.tally.changed += 1,
            Ok(Changed::Dropped) => self.tally.dropped += 1,
            Ok(Changed::Same) | Err(_) => {}
        }
        outcome
    }
}

fn called(at: usize, step: &Step) -> String {
    format!("step {} ({})", at + 1, step.name())
}

#[cfg(test)]
mod tests;
