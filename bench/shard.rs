//! What one shard costs for each batch, from the fetched bytes to the settled acknowledgement, with in-memory brokers on both
//! sides and no sockets: only the time inside the shard counts.
//!
//! `cargo bench --bench shard`. Throughput is in batches; a time is for a whole backlog of all lanes.

mod world;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use world::{BATCHES_PER_LANE, LANES, World, batches};

fn backlog(c: &mut Criterion) {
    let mut group = c.benchmark_group("shard");
    group.throughput(Throughput::Elements(u64::from(LANES) * BATCHES_PER_LANE));
    for batch_bytes in [1 << 10, 16 << 10, 128 << 10] {
        let batches = batches(batch_bytes);
        group.bench_with_input(BenchmarkId::new("backlog", batch_bytes), &batches, |bench, batches| {
            bench.iter_custom(|times| (0..times).map(|_| World::new(batches).run()).sum());
        });
    }
    group.finish();
}

criterion_group!(benches, backlog);
criterion_main!(benches);
