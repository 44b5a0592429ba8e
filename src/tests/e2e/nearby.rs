//! A mirror that stands in a rack with a replica of what it reads.

use crate::exact::same;
use crate::judge::Judge;
use crate::kafka::{Cluster, Place, script};
use crate::mirror::Twinlog;
use crate::synthetic::{base_port, get};
use crate::{await_until, load_bytes};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn the_replica_in_the_mirrors_rack_is_read_while_it_is_there() {
    let selector = "replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector";
    // The third is there so that a majority is when the second goes.
    let source = Cluster::start(Place::Source, 3, &["broker.rack=rack-{broker}", selector]);
    let target = Cluster::start(Place::Target, 1, &[]);
    let mut judge = Judge::start();
    // All partitions are led from the other rack.
    let topic = ["tool", source.name(), "topics", "--create", "--topic", "orders", "--replica-assignment"];
    script(&[&topic[..], &["0:1,0:1,0:1"]].concat()).unwrap_or_else(|error| panic!("{error}"));
    judge.produce(&source.bootstrap, "orders", 1, load_bytes() / 10, "codec=lz4");

    let flags = ["--source", &source.bootstrap, "--target", &target.bootstrap, "--topics", "orders"];
    Twinlog::new(&["plan", "--rack", "rack-9"]).with(&flags).run().ended_with(
        0,
        &["no broker is in the rack rack-9", "theirs are rack-0, rack-1, rack-2; did you mean rack-0?"],
    );
    let plan = Twinlog::new(&["plan", "--rack", "rack-1"]).with(&flags).run().ended_with(0, &[]);
    assert!(!plan.text.contains("leaders"), "{}", plan.text);

    let port = (base_port() + 320).to_string();
    let mut mirror = Twinlog::mirror(&source.bootstrap, &target.bootstrap, "orders")
        .with(&["--rack", "rack-1", "--listen", &port, "--metadata-refresh-ms", "1000"])
        .start();
    let is_caught_up =
        || get(&port, "/lanes").is_ok_and(|lanes| lanes.matches("\"lag_records\":0").count() == 3);
    await_until("what there is is mirrored", PATIENCE, is_caught_up);
    let (read, mirrored) =
        (metric(&port, "twinlog_replica_bytes_total"), metric(&port, "twinlog_bytes_total"));
    assert!(
        mirrored > 0.0 && read >= mirrored,
        "{mirrored} bytes were mirrored, {read} of them from the replica"
    );

    source.kill(1);
    judge.produce(&source.bootstrap, "orders", 2, load_bytes() / 10, "codec=lz4");
    await_until("the leader is read instead", PATIENCE, || metric(&port, "twinlog_bytes_total") > mirrored);
    await_until("all is mirrored", PATIENCE, is_caught_up);
    mirror.interrupt();
    mirror.end().ended_with(130, &[]);
    source.restart(1);
    same(&mut judge, &source, &target, "orders");
}

/// The sum over the mirror's cores.
fn metric(port: &str, name: &str) -> f64 {
    let metrics = get(port, "/metrics").expect("metrics");
    let values = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}
