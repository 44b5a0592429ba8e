//! Who runs what: evenly, with as few moves as that takes.

use std::collections::{BTreeMap, BTreeSet};

/// Which parts each member runs from now on, `members` being those that it runs now.
///
/// Numbers differ by one at most, and a part moves only where that takes it. A part that moves is nobody's at first: who runs it
/// is to end it before another begins (the idea of KIP-429). It then joins again, and the part is free.
pub fn assign(parts: u32, members: &BTreeMap<String, BTreeSet<u32>>) -> BTreeMap<String, BTreeSet<u32>> {
    if members.is_empty() {
        return BTreeMap::new();
    }
    let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
    let (least, with_one_more) = (parts / count, (parts % count) as usize);
    // Those that run the most keep one more, or parts would move for nothing.
    let mut order: Vec<&String> = members.keys().collect();
    order.sort_by_key(|member| (std::cmp::Reverse(members[*member].len()), *member));
    let quotas = order.iter().enumerate().map(|(at, member)| {
        let quota = least + u32::from(at < with_one_more);
        (*member, quota as usize)
    });
    let quotas: Vec<(&String, usize)> = quotas.collect();

    let mut free: BTreeSet<u32> = (0..parts).collect();
    let mut assigned: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for (member, quota) in &quotas {
        let kept: BTreeSet<u32> =
            members[*member].iter().copied().filter(|part| free.contains(part)).take(*quota).collect();
        free.retain(|part| !kept.contains(part));
        assigned.insert((*member).clone(), kept);
    }
    let runs_now: BTreeSet<u32> = members.values().flatten().copied().collect();
    let mut free = free.into_iter();
    for (member, quota) in quotas {
        let runs = assigned.entry(member.clone()).or_default();
        let missing = quota.saturating_sub(runs.len());
        runs.extend(free.by_ref().take(missing).filter(|part| !runs_now.contains(part)));
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::instances::Parts;

    type Members = BTreeMap<String, BTreeSet<u32>>;

    fn members<const N: usize>(all: [(&str, &[u32]); N]) -> Members {
        all.into_iter().map(|(name, parts)| (name.to_owned(), parts.iter().copied().collect())).collect()
    }

    /// Rounds of assigning and joining again until nothing changes.
    fn settle(parts: u32, mut now: Members) -> (Members, usize, usize) {
        let (mut moves, mut rounds) = (0, 0);
        loop {
            let next = assign(parts, &now);
            rounds += 1;
            moves += next.iter().map(|(name, runs)| runs.difference(&now[name]).count()).sum::<usize>();
            if next == now {
                return (now, moves, rounds);
            }
            assert!(rounds < 5, "it does not settle");
            now = next;
        }
    }

    fn check(parts: u32, settled: &Members) {
        let all: Vec<u32> = settled.values().flatten().copied().collect();
        assert_eq!(all.len(), parts as usize);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "none is run twice");
        let (least, most) =
            (settled.values().map(BTreeSet::len).min(), settled.values().map(BTreeSet::len).max());
        assert!(most.unwrap() - least.unwrap() <= 1, "{settled:?}");
    }

    #[test]
    fn a_part_that_moves_is_nobody_s_first() {
        let now = members([("a", &[0, 1, 2, 3]), ("b", &[])]);
        let first = assign(4, &now);
        assert_eq!(first, members([("a", &[0, 1]), ("b", &[])]));
        assert_eq!(assign(4, &first), members([("a", &[0, 1]), ("b", &[2, 3])]));
    }

    #[test]
    fn what_two_believe_to_run_only_one_keeps() {
        let claimed_twice = members([("a", &[0, 1]), ("b", &[1, 0])]);
        let (settled, ..) = settle(2, claimed_twice);
        check(2, &settled);
    }

    #[test]
    fn more_instances_than_parts_and_numbers_that_do_not_exist_are_no_matter() {
        let (settled, ..) = settle(2, members([("a", &[]), ("b", &[7, 1]), ("c", &[])]));
        check(2, &settled);
        assert!(settled["b"].contains(&1));
        assert_eq!(assign(2, &Members::new()), Members::new());
    }

    /// A hundred instances that come, go and die: nobody's part moves but those that must. With 100,000 partitions each part has
    /// a hundred of them, and the group knows nothing of that.
    #[test]
    fn a_hundred_instances_move_no_more_than_they_must() {
        const PARTS: u32 = 1_000;
        let empty: Members = (0..100).map(|n| (format!("i{n:03}"), BTreeSet::new())).collect();
        let (mut now, moves, _) = settle(PARTS, empty);
        check(PARTS, &now);
        assert_eq!(moves, PARTS as usize);
        // What the group's coordinator keeps of every member: what it said, and what was decided.
        let bytes: usize = now.values().map(|parts| 2 * Parts::encode(parts).len()).sum();
        assert!(bytes < 20_000, "{bytes} bytes");
        for round in 0..50 {
            let name = format!("i{:03}", round * 7 % 100);
            let lost = now.remove(&name).map_or(0, |parts| parts.len());
            let (after, moves, _) = settle(PARTS, now);
            check(PARTS, &after);
            assert_eq!(moves, lost, "only what the dead one ran moves");
            now = after;
            now.insert(name, BTreeSet::new());
            let (after, moves, _) = settle(PARTS, now);
            check(PARTS, &after);
            assert_eq!(moves, PARTS as usize / 100, "only what the new one is to run moves");
            now = after;
        }
    }
}
