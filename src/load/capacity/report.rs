//! What `twinlog capacity` found, for people and for programs.

use super::{Basis, Evidence, Plan, Signs};
use crate::load::Rate;
use crate::stats::{Percentiles, units};
use serde::Serialize;
use std::fmt;

#[derive(Clone, Debug, Serialize)]
pub struct CapacityReport {
    pub version: &'static str,
    pub setup: Setup,
    /// It ended early: everything here is what was found until then.
    pub partial: bool,
    pub trouble: Option<String>,
    /// In the order of their trial.
    pub tried: Vec<Tried>,
    /// The highest rate that held; None: none did.
    pub found: Option<Found>,
    /// Why there is no higher one.
    pub signs: Option<Signs>,
    pub plan: Option<Plan>,
    pub checks: Vec<Check>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Setup {
    pub slo: String,
    /// Both clusters live in this process.
    pub embedded_clusters: bool,
    /// What is sent.
    pub load: String,
    pub cores: usize,
    pub machine_cores: usize,
    pub mover: &'static str,
    pub buffer_bytes: usize,
    pub floor_bytes_per_second: f64,
    pub ceiling_bytes_per_second: Option<f64>,
}

/// A rate, and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    pub seconds: f64,
    pub offered: Rate,
    pub achieved: Rate,
    /// None: it held.
    pub missed: Option<String>,
    /// From the intended send to a consumer of the target.
    pub latency: Percentiles,
    /// From the actual send to the acknowledgement of the source.
    pub source: Percentiles,
    pub evidence: Evidence,
}

#[derive(Clone, Debug, Serialize)]
pub struct Found {
    pub rate: Rate,
    pub batches_per_second: f64,
    pub basis: Basis,
    pub per_core_bytes_per_second: f64,
    /// False: concluded from how busy the cores were.
    pub per_core_is_measured: bool,
}

/// The prediction, held against a longer run.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub predicted: Rate,
    pub tried: Tried,
}

impl Tried {
    pub fn has_held(&self) -> bool {
        self.missed.is_none()
    }

    /// One line.
    pub fn line(&self) -> String {
        let Self { offered, latency, .. } = self;
        let outcome =
            self.missed.as_ref().map_or_else(|| "holds".to_owned(), |missed| format!("no: {missed}"));
        format!(
            "{:>10}  p50 {:>8}   p99 {:>8}   max {:>8}   mirror {:>3.0} % of a core   {outcome}",
            units::byte_rate(offered.bytes_per_second),
            units::us(latency.p50_us),
            units::us(latency.p99_us),
            units::us(latency.max_us),
            self.evidence.mirror_busy * 100.0,
        )
    }
}

impl CapacityReport {
    /// A rate was found, and every part of the answer is there; the last check held.
    pub fn is_good(&self) -> bool {
        !self.partial
            && self.trouble.is_none()
            && self.found.is_some()
            && self.checks.last().is_none_or(|check| check.tried.has_held())
    }

    fn is_generator(&self) -> bool {
        self.signs.as_ref().is_some_and(Signs::is_generator)
    }

    fn impossible(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(last) = self.tried.last() else {
            return writeln!(f, "found       nothing: no rate was tried to its end");
        };
        writeln!(
            f,
            "found       NO RATE HOLDS: the SLO is missed at {}, the lowest that was tried: {}",
            units::byte_rate(last.offered.bytes_per_second),
            last.missed.as_deref().unwrap_or("it was not tried to its end"),
        )?;
        let evidence = &last.evidence;
        writeln!(
            f,
            "            there the source takes {} to acknowledge (p99), and round trips take {} and {}",
            units::us(last.source.p99_us),
            units::us(evidence.source_round_trip_us),
            units::us(evidence.target_round_trip_us),
        )
    }
}

impl fmt::Display for CapacityReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setup { slo, load, cores, mover, buffer_bytes, machine_cores, embedded_clusters, .. } =
            &self.setup;
        writeln!(f, "SLO         {slo}, from the intended send to a consumer of the target")?;
        writeln!(f, "load        {load}")?;
        writeln!(
            f,
            "mirror      {cores} of {machine_cores} cores, mover {mover}, {} of buffers{}",
            units::memory(*buffer_bytes as u64),
            if *embedded_clusters {
                "; both clusters, the sender and the reader have the same cores"
            } else {
                ""
            },
        )?;
        for tried in &self.tried {
            writeln!(f, "  {}", tried.line())?;
        }
        match &self.found {
            None => self.impossible(f)?,
            Some(found) => show_found(f, found, self)?,
        }
        if let Some(signs) = &self.signs {
            show_signs(f, signs)?;
        }
        if let Some(plan) = &self.plan {
            show_plan(f, plan)?;
        }
        for check in &self.checks {
            writeln!(
                f,
                "check       {:.0} s at {}: {}; p50 {}, p99 {}, p99.9 {}, max {}",
                check.tried.seconds,
                units::byte_rate(check.predicted.bytes_per_second),
                match &check.tried.missed {
                    None => "the SLO held".to_owned(),
                    Some(missed) => format!("THE SLO DID NOT HOLD: {missed}"),
                },
                units::us(check.tried.latency.p50_us),
                units::us(check.tried.latency.p99_us),
                units::us(check.tried.latency.p99_9_us),
                units::us(check.tried.latency.max_us),
            )?;
        }
        if self.checks.is_empty() && self.found.is_some() {
            writeln!(f, "check       none was made")?;
        }
        match (&self.trouble, self.partial) {
            (Some(trouble), _) => write!(f, "PARTIAL     it ended early: {trouble}"),
            (None, true) => write!(f, "PARTIAL     it was stopped"),
            (None, false) => write!(f, "everything that was asked for was measured"),
        }
    }
}

fn show_found(f: &mut fmt::Formatter<'_>, found: &Found, report: &CapacityReport) -> fmt::Result {
    writeln!(
        f,
        "found       {}, {} hold{}",
        found.rate,
        units::rate(found.batches_per_second, "batches"),
        if report.is_generator() {
            "; MORE THAN THAT THE LOAD GENERATOR DOES NOT DO, so the mirror may be able to do more"
        } else {
            ""
        },
    )?;
    let share = found.per_core_bytes_per_second / found.rate.bytes_per_second.max(1.0);
    writeln!(
        f,
        "per core    {}, {}, {}{}",
        units::byte_rate(found.per_core_bytes_per_second),
        units::rate(found.rate.records_per_second * share, "records"),
        units::rate(found.batches_per_second * share, "batches"),
        if found.per_core_is_measured {
            " (measured)".to_owned()
        } else {
            format!(
                " (concluded: at the rate found, the mirror worked {:.0} % of a core; a core may work 70 %)",
                found.basis.mirror_busy * 100.0
            )
        },
    )
}

fn show_signs(f: &mut fmt::Formatter<'_>, signs: &Signs) -> fmt::Result {
    match signs.limiter() {
        Some(sign) => writeln!(f, "limited by  {}: {}", sign.limiter, sign.measured)?,
        None => writeln!(f, "limited by  nothing that was measured is at its bound; the nearest to it:")?,
    }
    let skip = usize::from(signs.limiter().is_some());
    for sign in signs.0.iter().skip(skip).take(3) {
        writeln!(
            f,
            "            {:.0} % of its bound: {}: {}",
            sign.pressure * 100.0,
            sign.limiter,
            sign.measured
        )?;
    }
    Ok(())
}

fn show_plan(f: &mut fmt::Formatter<'_>, plan: &Plan) -> fmt::Result {
    writeln!(
        f,
        "plan        for {}: {} cores ({:.0} % busy), {} connections to the source and {} to the target, --buffer-bytes {}MiB, \
         {} of memory,",
        units::byte_rate(plan.wanted_bytes_per_second),
        plan.cores,
        plan.cores_busy * 100.0,
        units::count(plan.source_connections),
        units::count(plan.target_connections),
        plan.buffer_bytes >> 20,
        units::memory(plan.memory_bytes),
    )?;
    writeln!(f, "            network {:.1} Gbit/s in and as much out", plan.network_bits_per_second / 1e9)?;
    for note in &plan.notes {
        writeln!(f, "            {note}")?;
    }
    Ok(())
}
