//! One log that fences as a broker does, several instances, every answer perhaps lost.

use super::*;
use crate::wire::cursor::Cursor;

const ZOMBIE_BOUND_MS: u64 = 3_000;

/// The state topic's partition and the coordinator, as far as they matter here.
#[derive(Default)]
struct Target {
    log: Vec<StateRecord>,
    /// By producer id: epoch, first and last sequence of the last batch, and its offset.
    producers: BTreeMap<i64, (i16, i32, i32, i64)>,
    lock: (i64, i16),
    next_pid: i64,
}

impl Target {
    fn new() -> Self {
        Self { lock: (100, -1), next_pid: 5_000, ..Self::default() }
    }

    fn claim(&mut self) -> (i64, i16) {
        self.lock.1 += 1;
        self.lock
    }

    /// What `transactional.id.expiration.ms` does.
    fn forget_the_transactional_id(&mut self) {
        self.lock = (self.lock.0 + 1, -1);
    }

    fn append(&mut self, batch: &Bytes) -> Result<i64, i16> {
        let mut header = Cursor::new(&batch[43..]);
        let (pid, epoch, first) = (header.i64().unwrap(), header.i16().unwrap(), header.i32().unwrap());
        let base = self.log.len() as i64;
        let (mut records, _) = decode_batches(0, batch.clone()).unwrap();
        let last = first + records.len() as i32 - 1;
        if let Some(&(known, known_first, known_last, offset)) = self.producers.get(&pid) {
            match epoch.cmp(&known) {
                std::cmp::Ordering::Less => return Err(47),
                std::cmp::Ordering::Equal if (first, last) == (known_first, known_last) => return Ok(offset),
                std::cmp::Ordering::Equal if first != known_last + 1 => return Err(45),
                std::cmp::Ordering::Greater if first != 0 => return Err(45),
                _ => {}
            }
        }
        self.producers.insert(pid, (epoch, first, last, base));
        records.iter_mut().for_each(|record| record.offset += base);
        self.log.append(&mut records);
        Ok(base)
    }
}

fn settings(instance: &str) -> Settings {
    Settings {
        source_cluster: "A".into(),
        target_cluster: "B".into(),
        names: TopicNames::default(),
        parts: None,
        instance: instance.into(),
        zombie_bound_ms: ZOMBIE_BOUND_MS,
        producer_id_expiration_ms: Some(86_400_000),
        shards: 1,
    }
}

fn at_ms(ms: u64) -> Now {
    Now { mono_us: ms * 1000, wall_ms: ms as i64 }
}

/// Carries one thing out and answers; false when there is nothing to do.
fn step(target: &mut Target, ledger: &mut Ledger, now: Now) -> bool {
    match ledger.poll(now) {
        None => return false,
        Some(Todo::Read { from, .. }) => {
            let records = target.log[from as usize..].to_vec();
            ledger.on_read(now, &records, target.log.len() as i64, true);
        }
        Some(Todo::Claim) => {
            let (pid, epoch) = target.claim();
            ledger.on_claimed(pid, epoch);
        }
        Some(Todo::Allocate) => {
            target.next_pid += 1;
            ledger.on_allocated(target.next_pid, 0);
        }
        Some(Todo::Append(append)) => match target.append(&append.batch) {
            Ok(offset) => ledger.on_appended(now, offset),
            Err(code) => assert!(ledger.on_refused(code)),
        },
    }
    true
}

fn settle_down(target: &mut Target, ledger: &mut Ledger, now: Now) -> Vec<Effect> {
    while step(target, ledger, now) {}
    std::iter::from_fn(|| ledger.poll_effect()).collect()
}

fn open(target: &mut Target, instance: &str, now: Now) -> (Ledger, Vec<Effect>) {
    open_with(target, settings(instance), now)
}

fn open_with(target: &mut Target, settings: Settings, now: Now) -> (Ledger, Vec<Effect>) {
    let mut ledger = Ledger::new(settings);
    let effects = settle_down(target, &mut ledger, now);
    (ledger, effects)
}

fn bind(ledger: &mut Ledger) -> Bound {
    ledger.bind(LaneId(0), &Arc::from("t"), 0, Uuid::nil(), Uuid::nil(), OffsetMode::Append).unwrap()
}

fn run(number: i64, source_offset: i64) -> Run {
    Run { number, source_offset, target_offset: number - 70, source_epoch: 0 }
}

#[test]
fn a_new_link_publishes_its_producer_id_and_keeps_it() {
    let mut target = Target::new();
    let (_, effects) = open(&mut target, "a", at_ms(0));
    let producer_id = 5_001;
    assert_eq!(
        effects[0],
        Effect::Open {
            producer_id,
            producer_epoch: 0,
            marker_producer_id: producer_id + 1,
            zombies_until_us: 0
        }
    );
    let (_, effects) = open(&mut target, "b", at_ms(10));
    let silence_us = (1_000 + ZOMBIE_BOUND_MS) * 1000;
    assert_eq!(
        effects[0],
        Effect::Open {
            producer_id,
            producer_epoch: 0,
            marker_producer_id: producer_id + 1,
            zombies_until_us: 10_000 + silence_us
        }
    );
}

#[test]
fn a_run_is_durable_only_once_acknowledged_and_survives() {
    let mut target = Target::new();
    let (mut first, _) = open(&mut target, "a", at_ms(0));
    assert_eq!(bind(&mut first), Bound::default());
    first.want_run(LaneId(0), run(0, 70));
    let Some(Todo::Append(append)) = first.poll(at_ms(1)) else { panic!("a run is written at once") };
    assert_eq!(first.poll_effect(), None);
    // The answer is lost; the same bytes go out again, and the broker knows them.
    let offset = target.append(&append.batch).unwrap();
    first.on_failed();
    assert_eq!(first.poll(at_ms(2)), Some(Todo::Append(append.clone())));
    assert_eq!(target.append(&append.batch), Ok(offset));
    first.on_appended(at_ms(3), offset);
    assert_eq!(first.poll_effect(), Some(Effect::RunDurable { lane: LaneId(0), run: run(0, 70) }));
    assert_eq!(
        first.poll_effect(),
        Some(Effect::Lease(Lease { since_us: 1_000, until_us: 1_000 + 1_000_000 })),
        "from the first sending"
    );

    let (mut second, _) = open(&mut target, "b", at_ms(5));
    assert_eq!(
        bind(&mut second),
        Bound { runs: vec![run(0, 70)], checkpoint: None, mode: OffsetMode::Append }
    );
}

#[test]
fn the_older_instance_is_fenced_by_the_owner_record_not_by_the_claim() {
    let mut target = Target::new();
    let (mut old, _) = open(&mut target, "a", at_ms(0));
    bind(&mut old);
    let mut new = Ledger::new(settings("b"));
    assert!(step(&mut target, &mut new, at_ms(1)), "read");
    assert!(step(&mut target, &mut new, at_ms(1)), "claim");
    // Between claim and owner record the old one still writes, and the new one will see it.
    old.want_run(LaneId(0), run(0, 7));
    assert!(
        settle_down(&mut target, &mut old, at_ms(2))
            .contains(&Effect::RunDurable { lane: LaneId(0), run: run(0, 7) })
    );
    settle_down(&mut target, &mut new, at_ms(3));
    assert_eq!(bind(&mut new).runs, [run(0, 7)]);
    old.want_run(LaneId(0), run(5, 9));
    assert_eq!(settle_down(&mut target, &mut old, at_ms(4)), [Effect::Ended(End::Fenced)]);
    assert_eq!(old.poll(at_ms(5)), None);
}

#[test]
fn an_owner_with_a_forgotten_transactional_id_is_locked_out_too() {
    let mut target = Target::new();
    let (mut old, _) = open(&mut target, "a", at_ms(0));
    bind(&mut old);
    target.forget_the_transactional_id();
    let mut new = Ledger::new(settings("b"));
    for what in ["read", "claim", "own", "read"] {
        assert!(step(&mut target, &mut new, at_ms(1)), "{what}");
    }
    // Its own record did not fence the old one: other producer id.
    old.want_run(LaneId(0), run(0, 7));
    assert!(
        settle_down(&mut target, &mut old, at_ms(2))
            .contains(&Effect::RunDurable { lane: LaneId(0), run: run(0, 7) })
    );
    let effects = settle_down(&mut target, &mut new, at_ms(3));
    assert!(
        matches!(effects[0], Effect::Open { zombies_until_us, .. } if zombies_until_us == 4_003_000),
        "{effects:?}"
    );
    assert_eq!(bind(&mut new).runs, [run(0, 7)]);
    old.want_run(LaneId(0), run(5, 9));
    assert_eq!(settle_down(&mut target, &mut old, at_ms(4)), [Effect::Ended(End::Fenced)]);
}

#[test]
fn a_released_link_is_taken_up_without_waiting() {
    let mut target = Target::new();
    let (mut first, _) = open(&mut target, "a", at_ms(0));
    bind(&mut first);
    first.want_run(LaneId(0), run(0, 7));
    first.settle(LaneId(0), Checkpoint::at(0, 7));
    first.release();
    assert_eq!(settle_down(&mut target, &mut first, at_ms(1)).last(), Some(&Effect::Released));
    let (_, effects) = open(&mut target, "b", at_ms(2));
    assert!(matches!(effects[0], Effect::Open { zombies_until_us: 2_000, .. }), "{effects:?}");
}

#[test]
fn a_release_does_not_hide_the_zombies_before_it() {
    let mut target = Target::new();
    let (_killed, _) = open(&mut target, "a", at_ms(0));
    let (mut brief, _) = open(&mut target, "b", at_ms(100));
    brief.release();
    settle_down(&mut target, &mut brief, at_ms(200));
    let (_, effects) = open(&mut target, "c", at_ms(300));
    // b had to wait until 4,100 ms.
    let expected = 300_000 + 3_900_000;
    assert!(
        matches!(effects[0], Effect::Open { zombies_until_us, .. } if zombies_until_us == expected),
        "{effects:?}"
    );
}

#[test]
fn another_pair_of_clusters_is_refused_before_anybody_is_locked_out() {
    let mut target = Target::new();
    let (mut owner, _) = open(&mut target, "a", at_ms(0));
    let mut other = Ledger::new(Settings { source_cluster: "C".into(), ..settings("b") });
    let effects = settle_down(&mut target, &mut other, at_ms(1));
    assert!(matches!(&effects[..], [Effect::Ended(End::OtherClusters(pid))] if pid.source_cluster == "A"));
    bind(&mut owner);
    owner.want_run(LaneId(0), run(0, 7));
    assert_eq!(
        settle_down(&mut target, &mut owner, at_ms(2))[0],
        Effect::RunDurable { lane: LaneId(0), run: run(0, 7) }
    );
}

#[test]
fn other_names_on_the_target_are_refused_before_anybody_is_locked_out() {
    let mut target = Target::new();
    let east = TopicNames::new(Some("east.".into()), Vec::new()).unwrap();
    let (owner, _) = open_with(&mut target, Settings { names: east.clone(), ..settings("a") }, at_ms(0));
    assert_eq!(owner.names(), Some(&east));
    let effects = settle_down(&mut target, &mut Ledger::new(settings("b")), at_ms(1));
    let now = TopicNames::default();
    assert_eq!(effects, [Effect::Ended(End::OtherNames { before: east.clone(), now })]);
    open_with(&mut target, Settings { names: east, ..settings("c") }, at_ms(2));
}

#[test]
fn a_link_keeps_its_number_of_parts() {
    let mut target = Target::new();
    let divided = |parts| Settings { parts, ..settings("a") };
    open_with(&mut target, divided(Some(4)), at_ms(0));
    for now in [None, Some(5)] {
        let lock = target.lock;
        let (_, effects) = open_with(&mut target, divided(now), at_ms(10));
        assert_eq!(effects, [Effect::Ended(End::OtherParts { before: Some(4), now })]);
        assert_eq!(target.lock, lock, "nobody is locked out");
    }
    let (ledger, effects) = open_with(&mut target, divided(Some(4)), at_ms(20));
    assert!(matches!(effects[0], Effect::Open { .. }));
    assert_eq!(ledger.parts(), Some(4));
}

/// The first part of a link need not have a partition of each topic that it sees to.
#[test]
fn a_topic_that_was_adopted_is_known_to_every_later_owner() {
    let mut target = Target::new();
    let (mut first, _) = open(&mut target, "a", at_ms(0));
    assert!(!first.knows("t"));
    first.adopt("t");
    settle_down(&mut target, &mut first, at_ms(1));
    let (second, _) = open(&mut target, "b", at_ms(2));
    assert!(second.knows("t") && !second.knows("u"));
}

#[test]
fn the_parts_of_a_link_can_be_looked_at_together() {
    let mut looked = Ledger::new(Settings { parts: Some(2), ..settings("look") });
    let mut pids = Vec::new();
    let mut records = Vec::new();
    for (topic, first_pid) in [("t", 5_000), ("u", 6_000)] {
        let mut target = Target { next_pid: first_pid, ..Target::new() };
        let (mut part, effects) =
            open_with(&mut target, Settings { parts: Some(2), ..settings("a") }, at_ms(0));
        let Effect::Open { producer_id, .. } = effects[0] else { panic!("{effects:?}") };
        pids.push(producer_id);
        part.go_on_behind_others(topic, 0, (Uuid::nil(), Uuid::nil()), OffsetMode::Append, (7, 9));
        part.release();
        settle_down(&mut target, &mut part, at_ms(1));
        records.append(&mut target.log);
    }
    assert!(matches!(looked.poll(at_ms(2)), Some(Todo::Read { .. })));
    looked.on_read(at_ms(2), &records, 0, true);
    assert_eq!(looked.poll_effect(), None);
    assert_eq!(looked.partitions().collect::<Vec<_>>(), [("t", 0), ("u", 0)]);
    assert!(pids.into_iter().all(|pid| looked.is_ours(pid)));
}

#[test]
fn checkpoints_are_written_together_and_drop_the_runs_before_them() {
    let mut target = Target::new();
    let (mut ledger, _) = open(&mut target, "a", at_ms(0));
    bind(&mut ledger);
    for (number, offset) in [(0, 0), (10, 20), (30, 50)] {
        ledger.want_run(LaneId(0), run(number, offset));
    }
    settle_down(&mut target, &mut ledger, at_ms(1));
    let before = target.log.len();
    for number in 11..20 {
        ledger.settle(LaneId(0), Checkpoint { source_epoch: 3, ..Checkpoint::at(number, number + 10) });
    }
    assert_eq!(ledger.poll(at_ms(200)), None, "not yet");
    assert_eq!(ledger.poll_timeout(), Some(1_000 + 333_333));
    settle_down(&mut target, &mut ledger, at_ms(1_100));
    assert_eq!(target.log.len(), before + 1);
    let (mut next, _) = open(&mut target, "b", at_ms(1_200));
    let bound = bind(&mut next);
    assert_eq!(bound.runs, [run(0, 0), run(10, 20), run(30, 50)], "the run before may end in a gap");
    assert_eq!(bound.checkpoint, Some(Checkpoint { source_epoch: 3, ..Checkpoint::at(19, 29) }));
}

#[test]
fn neither_signs_of_life_nor_new_runs_put_checkpoints_off() {
    let mut target = Target::new();
    let (mut ledger, _) = open(&mut target, "a", at_ms(0));
    bind(&mut ledger);
    ledger.want_run(LaneId(0), run(0, 0));
    ledger.want_run(LaneId(1), run(0, 0));
    ledger.bind(LaneId(1), &Arc::from("t"), 1, Uuid::nil(), Uuid::nil(), OffsetMode::Append).unwrap();
    for tick in 1..30i64 {
        ledger.settle(LaneId(0), Checkpoint::at(tick, tick));
        ledger.want_run(LaneId(1), run(tick, 2 * tick));
        settle_down(&mut target, &mut ledger, at_ms(tick as u64 * 100));
    }
    let (mut next, _) = open(&mut target, "b", at_ms(3_000));
    let position = bind(&mut next).checkpoint.unwrap().number;
    assert!(position >= 19, "the checkpoint in the log is {position}, more than a second old");
}

#[test]
fn an_idle_owner_renews_and_a_cut_off_one_lapses() {
    let mut target = Target::new();
    let (mut ledger, _) = open(&mut target, "a", at_ms(0));
    let renewal_us = ledger.poll_timeout().unwrap();
    assert!(renewal_us < 1_000_000, "before the lease ends");
    let effects = settle_down(&mut target, &mut ledger, Now { mono_us: renewal_us + 1, wall_ms: 0 });
    assert_eq!(
        effects,
        [Effect::Lease(Lease { since_us: renewal_us + 1, until_us: renewal_us + 1 + 1_000_000 })]
    );
    assert_eq!(settle_down(&mut target, &mut ledger, at_ms(3_700_000)), [Effect::Ended(End::Lapsed)]);
}

#[test]
fn a_recreated_topic_stops_unless_both_are_new() {
    let mut target = Target::new();
    let (mut ledger, _) = open(&mut target, "a", at_ms(0));
    let topic = Arc::from("t");
    let [a, b, c, d] = [1, 2, 3, 4].map(Uuid::from_u128);
    ledger.bind(LaneId(0), &topic, 0, a, b, OffsetMode::Append).unwrap();
    ledger.want_run(LaneId(0), run(0, 7));
    settle_down(&mut target, &mut ledger, at_ms(1));
    let (mut next, _) = open(&mut target, "b", at_ms(2));
    assert!(next.knows("t"));
    assert_eq!(
        next.bind(LaneId(0), &topic, 0, c, b, OffsetMode::Append).unwrap_err().0,
        StopKind::SourceRecreated
    );
    assert_eq!(
        next.bind(LaneId(0), &topic, 0, a, d, OffsetMode::Append).unwrap_err().0,
        StopKind::TargetRecreated
    );
    assert_eq!(next.bind(LaneId(0), &topic, 0, a, b, OffsetMode::Append).unwrap().runs, [run(0, 7)]);
    assert_eq!(next.bind(LaneId(0), &topic, 0, c, d, OffsetMode::Append).unwrap(), Bound::default());
}

/// Instances come, race, lose answers and die at any step. What one was told is durable, every later owner knows; and nobody
/// relies on the silence of an owner whose lease has not ended.
#[test]
fn whatever_the_interleaving_acknowledged_runs_reach_every_later_owner() {
    // In the last one somebody else locks an owner out while another instance is opening.
    for seed in (1..400u64).chain([887]) {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut pick = move |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut target = Target::new();
        let mut durable: Vec<i64> = Vec::new();
        let mut instances: Vec<(Ledger, bool)> = Vec::new();
        let mut leases: Vec<u64> = Vec::new();
        let mut opened = 0;
        for tick in 0..400u64 {
            let now = at_ms(tick * 50);
            if instances.is_empty() || pick(60) == 0 {
                instances.push((Ledger::new(settings(&format!("{seed}/{tick}"))), false));
                leases.push(0);
            }
            if pick(150) == 0 {
                target.forget_the_transactional_id();
            }
            let at = pick(instances.len() as u64) as usize;
            let (ledger, is_open) = &mut instances[at];
            if *is_open && pick(3) == 0 {
                let next = bind(ledger).runs.last().map_or(0, |run| run.number) + 1 + pick(3) as i64;
                ledger.want_run(LaneId(0), run(next, next));
            }
            match ledger.poll(now) {
                None => {}
                Some(Todo::Read { from, until }) => {
                    let end = (from + pick(5) as i64).min(target.log.len() as i64).max(from);
                    let records = target.log[from as usize..end as usize].to_vec();
                    ledger.on_read(now, &records, end, end == target.log.len() as i64 && end >= until);
                }
                Some(Todo::Claim) => {
                    let (pid, epoch) = target.claim();
                    if pick(4) == 0 { ledger.on_failed() } else { ledger.on_claimed(pid, epoch) }
                }
                Some(Todo::Allocate) => ledger.on_allocated(7, 0),
                Some(Todo::Append(append)) => match pick(4) {
                    0 => ledger.on_failed(),
                    1 => {
                        let _ = target.append(&append.batch);
                        ledger.on_failed();
                    }
                    _ => match target.append(&append.batch) {
                        Ok(offset) => ledger.on_appended(now, offset),
                        Err(code) => assert!(ledger.on_refused(code), "seed {seed}: {code}"),
                    },
                },
            }
            while let Some(effect) = instances[at].0.poll_effect() {
                match effect {
                    Effect::Open { zombies_until_us, .. } => {
                        let (ledger, is_open) = &mut instances[at];
                        *is_open = true;
                        opened += 1;
                        let known: Vec<i64> = bind(ledger).runs.iter().map(|run| run.number).collect();
                        let missing: Vec<_> =
                            durable.iter().filter(|number| !known.contains(number)).collect();
                        // Perhaps it was overtaken while it read; then it can append nothing, and its lease ends soon.
                        let (pid, epoch) = ledger.lock;
                        let is_overtaken = target.producers[&pid].0 != epoch;
                        assert!(
                            is_overtaken || missing.is_empty(),
                            "seed {seed}, tick {tick}: {missing:?} are lost"
                        );
                        let others = leases.iter().enumerate().filter(|(other, _)| *other != at);
                        let latest = others.map(|(_, until)| *until).max().unwrap_or(0);
                        let silent_us = latest + ZOMBIE_BOUND_MS * 1000;
                        assert!(
                            is_overtaken || latest <= now.mono_us || zombies_until_us >= silent_us,
                            "seed {seed}, tick {tick}: an earlier owner may still send"
                        );
                    }
                    Effect::RunDurable { run, .. } => durable.push(run.number),
                    Effect::Lease(lease) => leases[at] = lease.until_us,
                    Effect::Released | Effect::Ended(End::Fenced) => instances[at].1 = false,
                    Effect::Ended(end) => panic!("seed {seed}: {end:?}"),
                }
            }
            if pick(80) == 0 {
                // kill -9; its lease is remembered.
                let at = pick(instances.len() as u64) as usize;
                instances[at] = (Ledger::new(settings(&format!("{seed}/{tick}/again"))), false);
                leases.push(leases[at]);
                leases[at] = 0;
            }
        }
        assert!(opened > 0, "seed {seed}: nobody ever opened");
    }
}
