//! Batches that are opened on their way: many small ones that travel together, large ones that the target takes in pieces only.

use crate::await_until;
use crate::mirror::Twinlog;
use crate::pair::{Pair, run_cases};
use std::time::Duration;

const MERGED: &str = "they are merged from now on";

#[test]
#[ignore = "needs real Kafka: scripts/test e2e"]
fn batches_are_opened_where_it_helps() {
    let mut pair = Pair::start((1, 1), &[], &[]);
    run_cases(
        &mut pair,
        &[
            ("small batches are merged", small_batches_are_merged),
            ("a killed mirror goes on merging", a_killed_mirror_goes_on_merging),
            ("large batches are split", large_batches_are_split),
            ("the target takes larger batches", the_target_takes_larger_batches),
        ],
    );
}

/// A backlog of one-record batches, in two codecs.
fn ticks(pair: &mut Pair, topic: &str, records: u32) {
    pair.on_source("create", &format!("{topic} 2 1"));
    for codec in ["none", "lz4"] {
        let sent = ["load", "--target", &pair.source.bootstrap, "--topic", topic, "--codec", codec];
        let small = ["--record-bytes", "200", "--batch-bytes", "250", "--records", &records.to_string()];
        Twinlog::new(&sent).with(&small).run().succeeded();
    }
}

fn small_batches_are_merged(pair: &mut Pair) {
    ticks(pair, "ticks", 10_000);
    let ended = pair.mirror("ticks", "ticks").run();
    assert!(ended.text.contains(MERGED), "{}", ended.text);
    ended.succeeded();
    pair.same("ticks");

    let ended = pair.mirror("ticks", "unmerged").with(&["--merge", "never", "--offsets", "append"]);
    pair.on_target("delete", "ticks");
    let ended = ended.run();
    assert!(!ended.text.contains(MERGED), "{}", ended.text);
    ended.succeeded();
    pair.same("ticks");
}

fn a_killed_mirror_goes_on_merging(pair: &mut Pair) {
    ticks(pair, "tocks", 10_000);
    let mirror = pair.mirror("tocks", "tocks").with(&["--merge", "always", "--max-rate", "1MB/s"]);
    for _ in 0..2 {
        let before = pair.target_end("tocks");
        let running = mirror.start();
        await_until("some of it is on the target", Duration::from_secs(60), || {
            pair.target_end("tocks") > before
        });
        running.kill();
    }
    pair.mirror("tocks", "tocks").run().succeeded();
    pair.same("tocks");
}

fn large_batches_are_split(pair: &mut Pair) {
    for topic in ["pieces", "whole"] {
        pair.on_source("create", &format!("{topic} 2 1"));
        pair.on_source("produce", &format!("{topic} 1 3000000 batch=400000"));
        pair.on_source("produce", &format!("{topic} 2 3000000 batch=400000 codec=zstd"));
        // Twinlog leaves the settings of a topic that it did not create.
        pair.on_target("create", &format!("{topic} 2 1 max.message.bytes=100000"));
    }
    pair.mirror("pieces", "pieces").run().ended_with(0, &["are split (--oversize)"]);
    // All but that setting is the same.
    assert_eq!(pair.on_source("read", "pieces"), pair.on_target("read", "pieces"));
    let halting = pair.mirror("whole", "whole").with(&["--oversize", "halt"]);
    halting.run().ended_with(3, &["whole", "max.message.bytes"]);
}

fn the_target_takes_larger_batches(pair: &mut Pair) {
    pair.on_source("create", "roomy 2 1 max.message.bytes=800000");
    pair.on_source("produce", "roomy 1 3000000 batch=400000");
    pair.on_target("create", "roomy 2 1 max.message.bytes=100000");
    let raising = pair.mirror("roomy", "roomy").with(&["--oversize", "raise"]);
    let planned =
        pair.twinlog(&["plan", "--topics", "roomy", "--link", "roomy", "--oversize", "raise"]).run();
    planned.ended_with(0, &["max.message.bytes=100000", "it is raised when a larger batch comes"]);
    let ended = raising.run();
    assert!(!ended.text.contains("are split"), "{}", ended.text);
    let told = ended.text.matches("is raised from 100000 to").count();
    assert!((1..=2).contains(&told), "{}", ended.text);
    ended.succeeded();
    // Batches are the same, too; one setting is not.
    assert_eq!(pair.on_source("read", "roomy"), pair.on_target("read", "roomy"));

    // The source takes less by now than its batches have.
    pair.on_source("create", "lowered 1 1");
    pair.on_source("produce", "lowered 1 3000000 batch=400000");
    pair.on_target("create", "lowered 1 1 max.message.bytes=100000");
    pair.on_source("alter", "lowered max.message.bytes=200000");
    let ended = pair.mirror("lowered", "lowered").with(&["--oversize", "raise"]).run();
    ended.ended_with(0, &["is not raised for it", "takes 200000 by now", "are split"]);
    assert_eq!(pair.on_source("read", "lowered"), pair.on_target("read", "lowered"));
}
