//! A link in parts, which several instances run beside each other.

/// The most parts that a link can have: each is a thread, and a state topic on the target.
pub const PARTS_MAX: u32 = 1_024;
/// Parts of a link that nobody said anything about.
pub const PARTS: u32 = 16;
const INFIX: &str = ".part-";

/// What an instance is told of the others: they form a Kafka group on the target, which says who runs which of the link's parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instances {
    /// In how many parts the link's partitions are divided, once and for all.
    pub parts: u32,
    /// The group's `group.instance.id` (KIP-345): an instance that is back under its name in time finds its parts untouched. None:
    /// the host's name.
    pub name: Option<String>,
    /// Kafka's `session.timeout.ms`: an instance that is not heard of for so long is gone, and others run its parts.
    pub timeout_ms: u64,
}

/// One of the parts of a link: a link of its own with its own ledger, lock and producer ids, that mirrors some partitions of each
/// topic. The first part also sees to what the parts have in common: topics, their settings, access rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub part: u32,
    pub parts: u32,
}

impl Share {
    /// Whether the partition is this part's. Topics begin at different parts, so that small ones do not all fall to the first.
    pub fn has(self, topic: &str, partition: i32) -> bool {
        part_of(topic, partition, self.parts) == self.part
    }

    pub fn leads(self) -> bool {
        self.part == 0
    }
}

/// Whose the partition is. It stays so for ever: the part's ledger says how far it was mirrored.
pub fn part_of(topic: &str, partition: i32, parts: u32) -> u32 {
    let begin = u64::from(crc32c::crc32c(topic.as_bytes()));
    let part = begin.wrapping_add(u64::from(partition.unsigned_abs())) % u64::from(parts.max(1));
    u32::try_from(part).unwrap_or(0)
}

/// What a part is called where links are.
pub fn link_of_part(link: &str, part: u32) -> String {
    format!("{link}{INFIX}{part}")
}

/// The link and the number, of the name of a part.
pub fn part_in(name: &str) -> Option<(&str, u32)> {
    let (link, part) = name.rsplit_once(INFIX)?;
    let number = part.parse().ok().filter(|number: &u32| number.to_string() == part)?;
    Some((link, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_is_one_part_s() {
        for parts in [1, 2, 16, 1_000] {
            for partition in [0, 1, 999, i32::MAX] {
                let shares = (0..parts).map(|part| Share { part, parts });
                assert_eq!(shares.filter(|share| share.has("orders", partition)).count(), 1);
            }
        }
        // Ledgers out there rely on it.
        assert_eq!(
            (part_of("orders", 0, 16), part_of("orders", 1, 16), part_of("clicks", 0, 16)),
            (10, 11, 12)
        );
    }

    #[test]
    fn partitions_of_a_topic_are_spread_evenly() {
        let mut counts = [0; 16];
        (0..64).for_each(|partition| counts[part_of("t", partition, 16) as usize] += 1);
        assert_eq!(counts, [4; 16]);
    }

    #[test]
    fn a_part_s_name_tells_its_link() {
        assert_eq!(part_in(&link_of_part("east.part-1", 12)), Some(("east.part-1", 12)));
        for other in ["east", "east.part-", "east.part-x", "east.part-01", "east.part--1"] {
            assert_eq!(part_in(other), None, "{other}");
        }
    }
}
