//! What is to become of the consumer groups' committed offsets: which go to the target, and why the others do not.

use super::offset_map::Unmapped;
use super::topics::NAMES_SHOWN;
use crate::config::text::typed;
use crate::config::{Mirror, nearest};
use std::collections::BTreeMap;

/// A position that a group committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub offset: i64,
    /// Whatever the consumer put there; it goes along.
    pub metadata: String,
}

/// A group's committed positions, by topic and partition.
pub type Positions = BTreeMap<(String, i32), Committed>;

/// Why a position of the source is not on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The offset has no counterpart, for now or for good.
    Unmapped(Unmapped),
    /// The target's position is further on.
    Ahead { target_offset: i64 },
    /// The group has members on the target: they decide.
    Active,
    /// The target refuses it with this error code.
    Refused(i16),
}

impl Reason {
    /// A moment later it may go.
    pub fn is_passing(&self) -> bool {
        self.is_passing_refusal() || matches!(self, Self::Unmapped(Unmapped::NotMirrored { .. }))
    }

    /// As [`Self::is_passing`], without more being mirrored.
    pub fn is_passing_refusal(&self) -> bool {
        matches!(self, Self::Refused(code) if crate::error::is_retriable(*code))
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unmapped(why) => why.fmt(f),
            Self::Ahead { target_offset } => write!(
                f,
                "the target's position {target_offset} is further on; --groups-rewind would set it back"
            ),
            Self::Active => f.write_str("the group has members on the target, which commit for themselves"),
            Self::Refused(code) => {
                write!(f, "{}: {}", crate::error::name(*code), crate::error::advice(*code))
            }
        }
    }
}

/// Where a position stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Same,
    ToBeMirrored,
    Not(Reason),
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Same => f.write_str("same"),
            Self::ToBeMirrored => f.write_str("to be mirrored"),
            Self::Not(reason) => reason.fmt(f),
        }
    }
}

impl State {
    /// `is_active`: the group has members on the target.
    pub fn of(decided: Result<Option<Committed>, Reason>, is_active: bool) -> Self {
        match decided {
            Ok(None) => Self::Same,
            Ok(Some(_)) if is_active => Self::Not(Reason::Active),
            Ok(Some(_)) => Self::ToBeMirrored,
            Err(reason) => Self::Not(reason),
        }
    }
}

/// Whether the group's positions are to be mirrored.
pub fn is_wanted(config: &Mirror, group: &str) -> bool {
    let is_in = |list: &[regex::Regex]| list.iter().any(|pattern| pattern.is_match(group));
    is_in(&config.groups) && !is_in(&config.groups_exclude)
}

/// The groups that the configuration names exactly, for a source that does not list its groups.
pub fn named(config: &Mirror) -> Vec<String> {
    named_by(&config.groups, |group| is_wanted(config, group))
}

/// Those that patterns name exactly, of the groups that are wanted.
pub fn named_by(patterns: &[regex::Regex], is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let names = patterns
        .iter()
        .map(|pattern| typed(pattern).trim_start_matches('^').trim_end_matches('$').replace('\\', ""));
    names.filter(|name| !name.contains(is_pattern) && is_wanted(name)).collect()
}

fn is_pattern(character: char) -> bool {
    "*+?()[]{}|^$".contains(character)
}

/// What to tell a user whose patterns match none of the source's groups: which there are. None: some match.
pub fn no_match(config: &Mirror, groups: &[String]) -> Option<String> {
    if config.groups.is_empty() || groups.iter().any(|group| is_wanted(config, group)) {
        return None;
    }
    let typed: Vec<&str> = config.groups.iter().map(typed).collect();
    let mut text = format!("no consumer group of the source matches {}", typed.join(", "));
    let alike = typed.iter().find_map(|typed| nearest(typed, groups.iter().map(String::as_str)));
    if let Some(alike) = alike {
        text += &format!("; did you mean {alike}?");
    }
    text += &match groups.len() {
        0 => "; it has no groups that this user may see (that takes DESCRIBE on them)".to_owned(),
        count if count <= NAMES_SHOWN => format!("; its groups are {}", groups.join(", ")),
        count => format!("; it has {count} groups, such as {}", groups[..NAMES_SHOWN].join(", ")),
    };
    Some(text)
}

/// One position on its way: what to commit, that nothing is to be done (None), or why it cannot be.
pub fn decide(
    source: &Committed,
    translated: Result<i64, Unmapped>,
    target: Option<&Committed>,
    rewind: bool,
) -> Result<Option<Committed>, Reason> {
    let offset = translated.map_err(Reason::Unmapped)?;
    match target {
        Some(target) if target.offset == offset && target.metadata == source.metadata => Ok(None),
        Some(target) if target.offset > offset && !rewind => {
            Err(Reason::Ahead { target_offset: target.offset })
        }
        _ => Ok(Some(Committed { offset, metadata: source.metadata.clone() })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64, metadata: &str) -> Committed {
        Committed { offset, metadata: metadata.into() }
    }

    #[test]
    fn a_position_goes_forward_and_backward_only_when_asked() {
        let decide = |target: Option<&Committed>, rewind| decide(&at(7, "m"), Ok(5), target, rewind);
        assert_eq!(decide(None, false), Ok(Some(at(5, "m"))));
        assert_eq!(decide(Some(&at(4, "m")), false), Ok(Some(at(5, "m"))));
        assert_eq!(decide(Some(&at(5, "m")), false), Ok(None));
        assert_eq!(decide(Some(&at(5, "old")), false), Ok(Some(at(5, "m"))));
        assert_eq!(decide(Some(&at(6, "m")), false), Err(Reason::Ahead { target_offset: 6 }));
        assert_eq!(decide(Some(&at(6, "m")), true), Ok(Some(at(5, "m"))));
    }

    #[test]
    fn only_what_is_no_pattern_names_a_group() {
        let groups = crate::config::text::patterns(r"readers,a\.b,a.c,w.*,x|y").unwrap();
        let excluded = crate::config::text::patterns("a.c").unwrap();
        let config =
            Mirror { groups, groups_exclude: excluded, ..crate::control::topics::tests::config(&["t"], &[]) };
        assert_eq!(named(&config), ["readers", "a.b"]);
    }

    #[test]
    fn a_mistyped_group_is_answered_with_the_nearest() {
        let config = |group: &str| Mirror {
            groups: crate::config::text::patterns(group).unwrap(),
            ..super::super::topics::tests::config(&["t"], &[])
        };
        let groups = ["billing".to_owned(), "etl-1".to_owned()];
        assert_eq!(no_match(&config("etl-.*"), &groups), None);
        let text = no_match(&config("biling"), &groups).unwrap();
        assert!(text.contains("biling; did you mean billing?") && text.contains("billing, etl-1"), "{text}");
        assert!(no_match(&config(".*"), &[]).unwrap().contains("no groups"));
    }

    #[test]
    fn what_is_not_mirrored_yet_is_not_committed() {
        let ahead = Unmapped::NotMirrored { mirrored_to: 3 };
        assert_eq!(decide(&at(7, ""), Err(ahead), None, true), Err(Reason::Unmapped(ahead)));
    }
}
