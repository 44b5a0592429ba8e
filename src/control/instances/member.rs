//! One instance's side of Kafka's classic group protocol: join, sync, heartbeat (`GroupCoordinator`, KIP-345 for its name).
//!
//! It asks nobody: [`Member::poll`] says what is to be asked of the group's coordinator, `on_*` take the answers.

use super::{Parts, assign};
use crate::error;
use crate::time::Now;
use std::collections::{BTreeMap, BTreeSet};

const ILLEGAL_GENERATION: i16 = 22;
const INCONSISTENT_GROUP_PROTOCOL: i16 = 23;
const UNKNOWN_MEMBER_ID: i16 = 25;
const INVALID_SESSION_TIMEOUT: i16 = 26;
const REBALANCE_IN_PROGRESS: i16 = 27;
const MEMBER_ID_REQUIRED: i16 = 79;
const FENCED_INSTANCE_ID: i16 = 82;
/// The pause after something that failed.
const RETRY_MS: u64 = 500;
/// The longest pause between two heartbeats: so long it takes at most until an instance hears that others came or went.
const BEAT_MS_MAX: u64 = 500;

#[derive(Clone, Debug)]
pub struct MemberSettings {
    pub parts: u32,
    pub name: String,
    pub timeout_ms: u64,
}

/// A question for the group's coordinator. Member id and generation as Kafka gave them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// [`Member::on_joined`]. The answer comes when all who live have joined.
    Join(Joining),
    /// What the leader decided, by member id, encoded; nothing from the others. [`Member::on_synced`].
    Sync { member_id: String, generation: i32, assignments: BTreeMap<String, Vec<u8>> },
    /// [`Member::on_beat`].
    Beat { member_id: String, generation: i32 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    /// Empty: none yet.
    pub member_id: String,
    /// What the instance runs, encoded.
    pub metadata: Vec<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinAnswer {
    pub member_id: String,
    pub generation: i32,
    pub leader: String,
    /// Only the leader hears who else is there.
    pub members: Vec<Peer>,
    /// The group stays as it is, and so does what was decided (KIP-814).
    pub skips_assignment: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub member_id: String,
    pub metadata: Vec<u8>,
}

/// Why an instance cannot be in the group. For people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended(pub String);

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Out,
    Joined { generation: i32, assignments: BTreeMap<String, Vec<u8>> },
    In { generation: i32, beat_at_us: u64 },
}

/// See the module.
#[derive(Debug)]
pub struct Member {
    settings: MemberSettings,
    state: State,
    member_id: String,
    not_before_us: u64,
    /// What this instance is to run, as far as it has heard.
    assigned: BTreeSet<u32>,
    /// Something is to be ended first; then the others are to know.
    gives_up: bool,
    confirmed_us: Option<u64>,
    trouble: Option<String>,
}

impl Member {
    pub fn new(settings: MemberSettings) -> Self {
        Self {
            settings,
            state: State::Out,
            member_id: String::new(),
            not_before_us: 0,
            assigned: BTreeSet::new(),
            gives_up: false,
            confirmed_us: None,
            trouble: None,
        }
    }

    /// What is to be asked now. `runs` is what the instance runs at this moment, or has not ended yet.
    pub fn poll(&mut self, now: Now, runs: &BTreeSet<u32>) -> Option<Ask> {
        if now.mono_us < self.not_before_us {
            return None;
        }
        if matches!(self.state, State::In { .. }) && self.gives_up && runs.is_subset(&self.assigned) {
            self.state = State::Out;
        }
        let member_id = self.member_id.clone();
        match &self.state {
            State::Out => Some(Ask::Join(Joining { member_id, metadata: Parts::encode(runs) })),
            State::Joined { generation, assignments } => {
                let (generation, assignments) = (*generation, assignments.clone());
                Some(Ask::Sync { member_id, generation, assignments })
            }
            State::In { generation, beat_at_us } => {
                (now.mono_us >= *beat_at_us).then_some(Ask::Beat { member_id, generation: *generation })
            }
        }
    }

    /// What this instance is to run. It holds until something else is heard, also while the group cannot be reached.
    pub fn assigned(&self) -> &BTreeSet<u32> {
        &self.assigned
    }

    /// When the coordinator last said that this instance is one of the group (steady clock, µs).
    pub fn confirmed_us(&self) -> Option<u64> {
        self.confirmed_us
    }

    /// What keeps it from being in the group at this moment. For people.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// The id that the coordinator gave it, once it has.
    pub fn member_id(&self) -> &str {
        &self.member_id
    }

    pub fn on_joined(&mut self, now: Now, code: i16, answer: JoinAnswer) -> Result<(), Ended> {
        match code {
            0 => {}
            MEMBER_ID_REQUIRED => {
                self.member_id = answer.member_id;
                return Ok(());
            }
            _ => return self.refused(now, code),
        }
        self.member_id = answer.member_id;
        let leads = self.member_id == answer.leader && !answer.skips_assignment;
        let mut assignments = BTreeMap::new();
        if leads {
            let members = answer.members.into_iter();
            let members: BTreeMap<String, BTreeSet<u32>> =
                members.map(|peer| (peer.member_id, Parts::decode(&peer.metadata))).collect();
            let assigned = assign(self.settings.parts, &members);
            assignments =
                assigned.iter().map(|(member, parts)| (member.clone(), Parts::encode(parts))).collect();
        }
        self.state = State::Joined { generation: answer.generation, assignments };
        Ok(())
    }

    /// `assignment` is what the leader decided for this instance.
    pub fn on_synced(
        &mut self,
        now: Now,
        code: i16,
        assignment: &[u8],
        runs: &BTreeSet<u32>,
    ) -> Result<(), Ended> {
        if code != 0 {
            return self.refused(now, code);
        }
        let State::Joined { generation, .. } = self.state else { return Ok(()) };
        let mut assigned = Parts::decode(assignment);
        assigned.retain(|part| *part < self.settings.parts);
        self.gives_up = !runs.is_subset(&assigned);
        self.assigned = assigned;
        self.state = State::In { generation, beat_at_us: now.after_ms(self.beat_ms()) };
        self.confirm(now);
        Ok(())
    }

    pub fn on_beat(&mut self, now: Now, code: i16) -> Result<(), Ended> {
        if code != 0 {
            return self.refused(now, code);
        }
        if let State::In { generation, .. } = self.state {
            self.state = State::In { generation, beat_at_us: now.after_ms(self.beat_ms()) };
            self.confirm(now);
        }
        Ok(())
    }

    /// No answer came; the same again in a moment.
    pub fn on_failed(&mut self, now: Now, why: String) {
        self.trouble = Some(why);
        self.not_before_us = now.after_ms(RETRY_MS);
    }

    fn beat_ms(&self) -> u64 {
        (self.settings.timeout_ms / 6).clamp(1, BEAT_MS_MAX)
    }

    fn confirm(&mut self, now: Now) {
        self.confirmed_us = Some(now.mono_us);
        self.trouble = None;
    }

    fn refused(&mut self, now: Now, code: i16) -> Result<(), Ended> {
        match code {
            REBALANCE_IN_PROGRESS => self.state = State::Out,
            // Somebody came back under its name meanwhile, or it was not heard of for too long.
            UNKNOWN_MEMBER_ID => {
                self.member_id.clear();
                self.state = State::Out;
            }
            ILLEGAL_GENERATION => self.state = State::Out,
            FENCED_INSTANCE_ID => {
                return Err(Ended(format!(
                    "another process runs as instance `{}` of this link; give each its own name with --instance",
                    self.settings.name
                )));
            }
            INCONSISTENT_GROUP_PROTOCOL => {
                return Err(Ended(format!(
                    "the other instances of this link were not told of {} parts; give all the same --parts",
                    self.settings.parts
                )));
            }
            INVALID_SESSION_TIMEOUT => {
                return Err(Ended(format!(
                    "the target takes no --instance-timeout-ms of {}; it has to be within the brokers' \
                     group.min.session.timeout.ms and group.max.session.timeout.ms (6000 and 1800000 unless they were changed)",
                    self.settings.timeout_ms
                )));
            }
            _ if error::is_retriable(code) => self.on_failed(now, error::name(code).to_owned()),
            _ => {
                let (name, advice) = (error::name(code), error::advice(code));
                return Err(Ended(format!(
                    "the target does not let instances form a group: {name}: {advice}"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_ms(ms: u64) -> Now {
        Now { mono_us: ms * 1000, wall_ms: 0 }
    }

    fn set<const N: usize>(parts: [u32; N]) -> BTreeSet<u32> {
        parts.into()
    }

    fn member() -> Member {
        Member::new(MemberSettings { parts: 4, name: "one".into(), timeout_ms: 10_000 })
    }

    fn answer(members: &[(&str, &BTreeSet<u32>)]) -> JoinAnswer {
        JoinAnswer {
            member_id: "a".into(),
            generation: 7,
            leader: "a".into(),
            members: members
                .iter()
                .map(|(id, runs)| Peer { member_id: (*id).into(), metadata: Parts::encode(runs) })
                .collect(),
            skips_assignment: false,
        }
    }

    /// Joined and told what to run, at 0 ms.
    fn told(member: &mut Member, runs: &BTreeSet<u32>, assigned: &BTreeSet<u32>) {
        assert!(matches!(member.poll(at_ms(0), runs), Some(Ask::Join(_))));
        member.on_joined(at_ms(0), 0, answer(&[("a", runs)])).unwrap();
        assert!(matches!(member.poll(at_ms(0), runs), Some(Ask::Sync { generation: 7, .. })));
        member.on_synced(at_ms(0), 0, &Parts::encode(assigned), runs).unwrap();
    }

    #[test]
    fn the_leader_decides_for_all_and_then_beats() {
        let mut member = member();
        let nothing = set([]);
        assert_eq!(
            member.poll(at_ms(0), &nothing),
            Some(Ask::Join(Joining { member_id: String::new(), metadata: Parts::encode(&nothing) }))
        );
        member.on_joined(at_ms(0), 0, answer(&[("a", &nothing), ("b", &set([0, 1]))])).unwrap();
        let Some(Ask::Sync { assignments, .. }) = member.poll(at_ms(0), &nothing) else { panic!() };
        assert_eq!(Parts::decode(&assignments["a"]), set([2, 3]));
        assert_eq!(Parts::decode(&assignments["b"]), set([0, 1]));
        member.on_synced(at_ms(0), 0, &assignments["a"], &nothing).unwrap();
        assert_eq!(member.assigned(), &set([2, 3]));
        assert_eq!(member.poll(at_ms(400), &set([2, 3])), None);
        assert!(matches!(member.poll(at_ms(1_000), &set([2, 3])), Some(Ask::Beat { generation: 7, .. })));
        member.on_beat(at_ms(1_000), 0).unwrap();
        assert_eq!(member.confirmed_us(), Some(1_000_000));
    }

    #[test]
    fn what_is_given_up_is_told_once_it_is_ended() {
        let mut member = member();
        let runs = set([0, 1, 2, 3]);
        told(&mut member, &runs, &set([0, 1]));
        assert_eq!(member.poll(at_ms(1), &runs), None, "it is still being ended");
        assert_eq!(member.poll(at_ms(2), &set([0, 1, 3])), None);
        let Some(Ask::Join(joining)) = member.poll(at_ms(3), &set([0, 1])) else { panic!() };
        assert_eq!(joining.member_id, "a");
        assert_eq!(Parts::decode(&joining.metadata), set([0, 1]));
    }

    #[test]
    fn who_is_cut_off_goes_on_and_joins_anew() {
        let mut member = member();
        let runs = set([0, 1]);
        told(&mut member, &runs, &runs);
        assert!(matches!(member.poll(at_ms(1_000), &runs), Some(Ask::Beat { .. })));
        member.on_failed(at_ms(1_000), "cut".into());
        assert_eq!((member.assigned(), member.trouble()), (&runs, Some("cut")));
        assert_eq!(member.poll(at_ms(1_100), &runs), None);
        assert!(matches!(member.poll(at_ms(1_500), &runs), Some(Ask::Beat { .. })));
        member.on_beat(at_ms(1_500), UNKNOWN_MEMBER_ID).unwrap();
        let Some(Ask::Join(joining)) = member.poll(at_ms(1_500), &runs) else { panic!() };
        assert_eq!(joining.member_id, "");
        assert_eq!(member.assigned(), &runs, "until it hears otherwise");
        assert_eq!(member.confirmed_us(), Some(0));
    }

    #[test]
    fn others_that_come_or_go_are_joined_with() {
        for code in [REBALANCE_IN_PROGRESS, ILLEGAL_GENERATION] {
            let mut member = member();
            told(&mut member, &set([0]), &set([0]));
            member.on_beat(at_ms(1_000), code).unwrap();
            let Some(Ask::Join(joining)) = member.poll(at_ms(1_000), &set([0])) else { panic!() };
            assert_eq!(joining.member_id, "a");
        }
    }

    #[test]
    fn a_member_that_needs_an_id_joins_again_with_it() {
        let mut member = member();
        let needed = JoinAnswer { member_id: "new".into(), ..JoinAnswer::default() };
        member.on_joined(at_ms(0), MEMBER_ID_REQUIRED, needed).unwrap();
        assert!(
            matches!(member.poll(at_ms(0), &set([])), Some(Ask::Join(joining)) if joining.member_id == "new")
        );
    }

    #[test]
    fn what_cannot_go_well_says_what_to_do() {
        for (code, expected) in [
            (FENCED_INSTANCE_ID, "--instance"),
            (INCONSISTENT_GROUP_PROTOCOL, "--parts"),
            (INVALID_SESSION_TIMEOUT, "--instance-timeout-ms"),
            (30, "GROUP_AUTHORIZATION_FAILED"),
        ] {
            let Err(Ended(why)) = member().on_joined(at_ms(0), code, JoinAnswer::default()) else {
                panic!("{code}")
            };
            assert!(why.contains(expected), "{why}");
        }
        // A coordinator that is being found is waited for.
        let mut member = member();
        member.on_joined(at_ms(0), 16, JoinAnswer::default()).unwrap();
        assert_eq!(member.poll(at_ms(1), &set([])), None);
    }

    #[test]
    fn hostile_metadata_is_no_part() {
        let mut member = member();
        let peers = ["", "{", "{\"parts\":[-1]}", "[]"];
        let members = peers.map(|text| Peer { member_id: text.into(), metadata: text.into() }).into();
        let answer =
            JoinAnswer { members, member_id: "a".into(), leader: "a".into(), ..JoinAnswer::default() };
        member.on_joined(at_ms(0), 0, answer).unwrap();
        member.on_synced(at_ms(0), 0, b"{\"parts\":[3,4,99]}", &set([])).unwrap();
        assert_eq!(member.assigned(), &set([3]));
    }
}
