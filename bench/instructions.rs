//! The work that `scripts/instructions` counts the instructions of, under callgrind, which counts the same on a busy machine as on
//! a quiet one.
//!
//!     instructions            names the scenarios
//!     instructions SCENARIO   does the work of one, and prints how many batches it was
//!
//! Only what happens below functions named `timed` is counted: getting ready is not.

mod world;

use std::hint::black_box;
use std::process::ExitCode;
use twinlog::load::Codec;
use twinlog::wire::batch::{BatchHeader, Stamp, restamp};
use twinlog::wire::rebuild::{Holes, rebuild};
use world::{BATCHES_PER_LANE, LANES, World, batches, batches_in};

type Scenario = (&'static str, fn() -> u64);

const SCENARIOS: [Scenario; 6] = [
    ("restamp", || restamped(128 << 10)),
    ("backlog of 1 KiB batches", || backlog(1 << 10)),
    ("backlog of 16 KiB batches", || backlog(16 << 10)),
    ("backlog of 128 KiB batches", || backlog(128 << 10)),
    ("rebuild without codec", || rebuilt(Codec::None)),
    ("rebuild lz4", || rebuilt(Codec::Lz4)),
];

fn main() -> ExitCode {
    let wanted = std::env::args().nth(1);
    match wanted.as_deref() {
        None => SCENARIOS.iter().for_each(|(name, _)| println!("{name}")),
        Some(wanted) => match SCENARIOS.iter().find(|(name, _)| *name == wanted) {
            Some((_, work)) => println!("{}", work()),
            None => {
                eprintln!("there is no scenario '{wanted}'");
                return ExitCode::from(2);
            }
        },
    }
    ExitCode::SUCCESS
}

fn backlog(batch_bytes: usize) -> u64 {
    World::new(&batches(batch_bytes)).run();
    u64::from(LANES) * BATCHES_PER_LANE
}

/// New producer fields and the checksum that fits them.
fn restamped(payload_bytes: usize) -> u64 {
    const BATCHES: u64 = 1000;
    let mut raw = batches(payload_bytes).batch(0, 0).header;
    timed(|| {
        for base_sequence in 0..BATCHES as i32 {
            let stamp = Stamp { producer_id: 42, producer_epoch: 1, base_sequence, is_transactional: false };
            restamp(black_box(&mut raw), black_box(stamp));
        }
    });
    BATCHES
}

/// Batches that lost their first record, as where a log begins within one.
fn rebuilt(codec: Codec) -> u64 {
    const BATCHES: u64 = 20;
    let batches = batches_in(codec, 16 << 10);
    for index in 0..BATCHES {
        let batch = batches.batch(0, index);
        let header = BatchHeader::parse(&batch.header).expect("a sound header");
        let payload = black_box(&batch.payload);
        let rest = timed(|| rebuild(&header, payload, header.base_offset + 1, Holes::Close));
        assert_eq!(rest.expect("a sound batch").len(), 1);
    }
    BATCHES
}

#[inline(never)]
fn timed<T>(work: impl FnOnce() -> T) -> T {
    black_box(work())
}
