//! Why there is no higher rate: everything that can run out was measured, and what is nearest to its bound is named.

use crate::stats::units;
use serde::Serialize;
use std::fmt;

/// A thread that is busy for so much of the time has no room for bursts.
const BUSY: f64 = 0.85;
/// A broker whose answers take so much of what is promised is its greater part.
const OF_SLO: f64 = 0.5;
const FULL: f64 = 0.9;
/// A partition's fetches are one after the other: so much of the time one is under way.
const ASKING: f64 = 0.7;
const THROTTLED: f64 = 0.05;
/// Cores that are never idle; and a thread that does not get one at once.
const FULL_MACHINE: f64 = 0.95;
const WAITING: f64 = 0.1;

/// What was measured while a rate was tried. Shares are of 1; busy ones of one core.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Evidence {
    pub seconds: f64,
    /// The strictest time of the SLO.
    pub slo_us: u64,
    pub sender_busy: f64,
    /// The busiest thread that reads back.
    pub reader_busy: f64,
    /// The busiest core of the mirror: what it worked, and for how long it could have worked and did not get the core.
    pub shard_busy: f64,
    pub shard_waiting: f64,
    /// All cores of the mirror together, and its control.
    pub mirror_busy: f64,
    /// All cores of the machine, whoever uses them: 1 when none is ever idle.
    pub machine_busy: f64,
    /// Where the clusters are in this process.
    pub source_broker_busy: Option<f64>,
    pub target_broker_busy: Option<f64>,
    /// Produce answers at the quantile of the SLO: to the load, and to a small probe on the target.
    pub source_answer_us: u64,
    pub target_answer_us: Option<u64>,
    /// The quickest answers.
    pub source_round_trip_us: u64,
    pub target_round_trip_us: u64,
    /// The mirror's buffers, at the most.
    pub buffered_bytes: u64,
    pub buffer_bytes: u64,
    pub throttled_ms: u64,
    /// Mean of what a fetch brought, and what one may bring.
    pub fetch_bytes: f64,
    pub fetch_bytes_max: f64,
    /// A second, of each connection.
    pub fetches_per_second: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limiter {
    LoadGenerator,
    MirrorCpu,
    MachineCpu,
    SourceBroker,
    TargetBroker,
    Quota,
    Buffers,
    Window,
    RoundTrip,
}

/// How near something is to its bound.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Sign {
    pub limiter: Limiter,
    /// 1 at the bound.
    pub pressure: f64,
    /// What was measured.
    pub measured: String,
}

/// All of them, the nearest to its bound first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Signs(pub Vec<Sign>);

impl Signs {
    pub fn of(evidence: &Evidence) -> Self {
        let percent = |share: f64| format!("{:.0} %", share * 100.0);
        let mut signs = Vec::new();
        let mut sign = |limiter, pressure: f64, measured: String| {
            if pressure > 0.0 {
                signs.push(Sign { limiter, pressure, measured });
            }
        };
        let Evidence { slo_us, seconds, .. } = *evidence;
        let of_slo = |us: u64| us as f64 / (slo_us.max(1) as f64 * OF_SLO);
        let (sender, reader) = (evidence.sender_busy, evidence.reader_busy);
        sign(
            Limiter::LoadGenerator,
            sender.max(reader) / FULL,
            format!(
                "the thread that sends is busy for {} of the time, the one that reads back for {}",
                percent(sender),
                percent(reader)
            ),
        );
        let (busy, waiting) = (evidence.shard_busy, evidence.shard_waiting);
        sign(
            Limiter::MirrorCpu,
            busy / BUSY,
            format!("its busiest core works for {} of the time", percent(busy)),
        );
        // Where no core is ever idle and the mirror waits for its own, answers and busy shares say little about anybody else.
        let is_full = evidence.machine_busy >= FULL_MACHINE && waiting >= WAITING;
        sign(
            Limiter::MachineCpu,
            if is_full { 2.0 + waiting } else { waiting.min(1.0) / BUSY },
            format!(
                "all of them together are at work for {} of the time; the mirror works for {} and waits for its core for {}",
                percent(evidence.machine_busy),
                percent(busy),
                percent(waiting)
            ),
        );
        for (limiter, busy, answer_us, whose) in [
            (Limiter::SourceBroker, evidence.source_broker_busy, Some(evidence.source_answer_us), "the load"),
            (Limiter::TargetBroker, evidence.target_broker_busy, evidence.target_answer_us, "a small probe"),
        ] {
            let answers = answer_us.map(|us| {
                format!(
                    "answers {whose} within {} at the SLO's quantile (SLO {})",
                    units::us(us),
                    units::us(slo_us)
                )
            });
            let works = busy.map(|busy| format!("its thread works for {} of the time", percent(busy)));
            let measured: Vec<String> = answers.into_iter().chain(works).collect();
            let pressure = answer_us.map_or(0.0, of_slo).max(busy.unwrap_or(0.0) / FULL);
            sign(limiter, pressure, measured.join("; "));
        }
        sign(
            Limiter::Quota,
            evidence.throttled_ms as f64 / (seconds.max(0.1) * 1e3) / THROTTLED,
            format!("brokers throttled for {} of {seconds:.0} s", units::us(evidence.throttled_ms * 1000)),
        );
        let full = evidence.buffered_bytes as f64 / evidence.buffer_bytes.max(1) as f64;
        sign(
            Limiter::Buffers,
            full / FULL,
            format!(
                "up to {} of {} are in use",
                units::memory(evidence.buffered_bytes),
                units::memory(evidence.buffer_bytes)
            ),
        );
        let round_trip_us = evidence.source_round_trip_us;
        let asking = evidence.fetches_per_second * round_trip_us as f64 / 1e6;
        let filled = evidence.fetch_bytes / evidence.fetch_bytes_max.max(1.0);
        sign(
            Limiter::Window,
            (asking / ASKING).min(filled / FULL),
            format!(
                "fetches bring {} of at most {}, and one is under way for {} of the time",
                units::memory(evidence.fetch_bytes as u64),
                units::memory(evidence.fetch_bytes_max as u64),
                percent(asking.min(1.0))
            ),
        );
        // To the source and back, to the target and back, and half of a way to the consumer.
        let way_us = round_trip_us + evidence.target_round_trip_us * 3 / 2;
        sign(
            Limiter::RoundTrip,
            way_us as f64 / slo_us.max(1) as f64,
            format!(
                "round trips of {} to the source and {} to the target",
                units::us(round_trip_us),
                units::us(evidence.target_round_trip_us)
            ),
        );
        signs.sort_by(|one, other| other.pressure.total_cmp(&one.pressure));
        Self(signs)
    }

    /// What is at its bound, and the nearest to it.
    pub fn limiter(&self) -> Option<&Sign> {
        self.0.first().filter(|sign| sign.pressure >= 1.0)
    }

    /// The load and its measurement are at their own bound: what was found says little about the mirror.
    pub fn is_generator(&self) -> bool {
        self.limiter().is_some_and(|sign| sign.limiter == Limiter::LoadGenerator)
    }
}

impl fmt::Display for Limiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LoadGenerator => "the load generator itself",
            Self::MirrorCpu => "CPU of the mirror",
            Self::MachineCpu => "this machine's cores, which others use, too",
            Self::SourceBroker => "source broker",
            Self::TargetBroker => "target broker",
            Self::Quota => "quotas of the brokers",
            Self::Buffers => "the mirror's buffers (--buffer-bytes)",
            Self::Window => "the window: one fetch at a time (fetch-bytes-max)",
            Self::RoundTrip => "network, round trips",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Evidence {
        Evidence {
            seconds: 5.0,
            slo_us: 50_000,
            sender_busy: 0.2,
            reader_busy: 0.2,
            shard_busy: 0.3,
            mirror_busy: 0.3,
            source_answer_us: 2_000,
            target_answer_us: Some(2_000),
            source_round_trip_us: 200,
            target_round_trip_us: 200,
            buffered_bytes: 1 << 20,
            buffer_bytes: 64 << 20,
            fetch_bytes: 1e5,
            fetch_bytes_max: 8e6,
            fetches_per_second: 500.0,
            ..Evidence::default()
        }
    }

    fn limiter(evidence: &Evidence) -> Option<Limiter> {
        Signs::of(evidence).limiter().map(|sign| sign.limiter)
    }

    #[test]
    fn what_is_at_its_bound_is_named() {
        assert_eq!(limiter(&quiet()), None);
        let cases = [
            (Evidence { sender_busy: 0.99, ..quiet() }, Limiter::LoadGenerator),
            (Evidence { reader_busy: 0.95, ..quiet() }, Limiter::LoadGenerator),
            (Evidence { shard_busy: 0.97, ..quiet() }, Limiter::MirrorCpu),
            (Evidence { shard_waiting: 0.9, ..quiet() }, Limiter::MachineCpu),
            (
                Evidence {
                    shard_waiting: 0.3,
                    machine_busy: 0.99,
                    target_answer_us: Some(40_000),
                    ..quiet()
                },
                Limiter::MachineCpu,
            ),
            (Evidence { source_answer_us: 40_000, ..quiet() }, Limiter::SourceBroker),
            (Evidence { source_broker_busy: Some(0.99), ..quiet() }, Limiter::SourceBroker),
            (Evidence { target_answer_us: Some(60_000), ..quiet() }, Limiter::TargetBroker),
            (Evidence { target_broker_busy: Some(0.99), ..quiet() }, Limiter::TargetBroker),
            (Evidence { throttled_ms: 2_000, ..quiet() }, Limiter::Quota),
            (Evidence { buffered_bytes: 64 << 20, ..quiet() }, Limiter::Buffers),
            (
                Evidence {
                    source_round_trip_us: 15_000,
                    fetch_bytes: 7.9e6,
                    fetches_per_second: 60.0,
                    ..quiet()
                },
                Limiter::Window,
            ),
            (
                Evidence { source_round_trip_us: 30_000, target_round_trip_us: 30_000, ..quiet() },
                Limiter::RoundTrip,
            ),
        ];
        for (evidence, expected) in cases {
            assert_eq!(limiter(&evidence), Some(expected), "{evidence:?}");
        }
        let busiest = Evidence { shard_busy: 0.9, target_answer_us: Some(200_000), ..quiet() };
        assert_eq!(limiter(&busiest), Some(Limiter::TargetBroker));
        assert!(Signs::of(&Evidence { sender_busy: 1.0, ..quiet() }).is_generator());
    }
}
