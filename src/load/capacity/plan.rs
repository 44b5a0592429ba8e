//! What it takes for a rate that is wanted, from what was measured at another one.

use super::Limiter;
use serde::Serialize;

/// How busy a core may be for the latency to stay what it is, where the measurement was limited by something else.
const BUSY_PLANNED: f64 = 0.7;
/// Below this share of a core a conclusion from it is a guess.
const IDLE: f64 = 0.25;
/// What the way over the network adds: headers of TCP and IP, acknowledgements, requests.
const NETWORK: f64 = 1.05;
/// A process without buffers, and what each core adds: rings, sockets, lanes.
const MEMORY_BYTES: u64 = 48 << 20;
const MEMORY_BYTES_CORE: u64 = 8 << 20;
const BUFFER_BYTES_MIN: u64 = 64 << 20;
const BUFFER_BYTES_CORE: u64 = 16 << 20;

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Basis {
    pub bytes_per_second: f64,
    pub cores: usize,
    /// What the mirror worked on all of its cores together: 1 is one core.
    pub mirror_busy: f64,
    pub limiter: Option<Limiter>,
    pub buffered_bytes: u64,
    /// From a fetch to the acknowledgement of what it brought.
    pub way_us: u64,
    pub source_brokers: usize,
    pub target_brokers: usize,
    /// Large batches go through a pipe for each pair of brokers.
    pub splices: bool,
    pub partitions: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    pub wanted_bytes_per_second: f64,
    pub cores: u64,
    /// How busy they would be.
    pub cores_busy: f64,
    /// To the brokers of each cluster.
    pub source_connections: u64,
    pub target_connections: u64,
    pub buffer_bytes: u64,
    pub memory_bytes: u64,
    /// In each direction: from the source, and to the target.
    pub network_bits_per_second: f64,
    pub notes: Vec<String>,
}

impl Basis {
    /// At the limit of one core, as far as is known; and whether that was measured or is concluded from how busy the core was.
    pub fn per_core(&self) -> (f64, bool) {
        let each = self.bytes_per_second / self.cores.max(1) as f64;
        if matches!(self.limiter, Some(Limiter::MirrorCpu)) {
            return (each, true);
        }
        let concluded = self.bytes_per_second / self.mirror_busy.max(0.001) * BUSY_PLANNED;
        // Never less than what it did.
        if concluded > each { (concluded, false) } else { (each, true) }
    }

    pub fn plan(&self, wanted_bytes_per_second: f64) -> Plan {
        let (per_core, is_measured) = self.per_core();
        let cores = (wanted_bytes_per_second / per_core.max(1.0)).ceil().max(1.0) as u64;
        let times = wanted_bytes_per_second / self.bytes_per_second.max(1.0);
        let (sources, targets) = (self.source_brokers as u64, self.target_brokers as u64);
        let spliced = if self.splices { sources * targets } else { 0 };
        let under_way = wanted_bytes_per_second * self.way_us as f64 / 1e6 * 2.0;
        let seen = self.buffered_bytes as f64 * times * 1.5;
        let buffer_bytes = (under_way.max(seen) as u64).max(cores * BUFFER_BYTES_CORE).max(BUFFER_BYTES_MIN);
        let buffer_bytes = buffer_bytes.div_ceil(BUFFER_BYTES_MIN) * BUFFER_BYTES_MIN;
        let mut notes = Vec::new();
        if !is_measured {
            notes.push(format!(
                "what a core can do is concluded: something else was the limit while the mirror worked {:.0} % of a core",
                self.mirror_busy * 100.0
            ));
        }
        if !is_measured && self.mirror_busy < IDLE * self.cores as f64 {
            notes.push("from so idle a core that is a guess: batches come together at higher rates, which saves work, and other \
                 limits come first"
                    .into());
        }
        match self.limiter {
            Some(limiter @ (Limiter::SourceBroker | Limiter::TargetBroker | Limiter::Quota))
                if times > 1.0 =>
            {
                notes.push(format!("{limiter}: it takes {times:.1} times of what there is now"));
            }
            _ => {}
        }
        if cores > self.partitions {
            notes.push(format!(
                "a partition belongs to one core, and there are {} partitions: more cores than that have nothing to do",
                self.partitions
            ));
        }
        Plan {
            wanted_bytes_per_second,
            cores,
            cores_busy: self.mirror_busy * times / cores as f64,
            source_connections: cores * (sources + spliced),
            target_connections: cores * (targets + spliced),
            buffer_bytes,
            memory_bytes: MEMORY_BYTES + cores * MEMORY_BYTES_CORE + buffer_bytes,
            network_bits_per_second: wanted_bytes_per_second * 8.0 * NETWORK,
            notes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basis() -> Basis {
        Basis {
            bytes_per_second: 200e6,
            cores: 1,
            mirror_busy: 0.95,
            limiter: Some(Limiter::MirrorCpu),
            buffered_bytes: 10 << 20,
            way_us: 10_000,
            source_brokers: 3,
            target_brokers: 3,
            splices: false,
            partitions: 64,
        }
    }

    #[test]
    fn a_busy_core_is_taken_as_it_is() {
        assert_eq!(basis().per_core(), (200e6, true));
        let plan = basis().plan(2e9);
        assert_eq!((plan.cores, plan.source_connections, plan.target_connections), (10, 30, 30));
        // 10 MiB at 200 MB/s become 150 MiB, and each core has 16.
        assert_eq!(plan.buffer_bytes, 192 << 20);
        assert!(plan.memory_bytes > plan.buffer_bytes && plan.notes.is_empty(), "{plan:?}");
        assert_eq!(plan.network_bits_per_second, 2e9 * 8.0 * 1.05);
        assert!((0.9..1.0).contains(&plan.cores_busy), "{plan:?}");
    }

    #[test]
    fn a_core_that_had_nothing_to_do_is_concluded_from() {
        let basis = Basis { mirror_busy: 0.35, limiter: Some(Limiter::TargetBroker), ..basis() };
        let (per_core, is_measured) = basis.per_core();
        assert!((per_core - 400e6).abs() < 1.0 && !is_measured, "{per_core}");
        let plan = basis.plan(1e9);
        assert_eq!(plan.cores, 3);
        let notes = plan.notes.join("; ");
        assert!(
            notes.contains("concluded") && notes.contains("target broker: it takes 5.0 times"),
            "{notes}"
        );
    }

    #[test]
    fn splicing_takes_a_connection_for_each_pair_of_brokers() {
        let plan = Basis { splices: true, ..basis() }.plan(200e6);
        assert_eq!((plan.cores, plan.source_connections), (1, 12));
    }

    #[test]
    fn more_cores_than_partitions_are_said_to_be_useless() {
        let plan = Basis { partitions: 4, ..basis() }.plan(2e9);
        assert!(plan.notes.iter().any(|note| note.contains("4 partitions")), "{plan:?}");
    }
}
