//! Users with SCRAM passwords (KIP-554): which of the source's the target lacks. Brokers never tell a password, nor what is derived
//! from it, so these have to be set anew.

use super::forecast::rights::quoted;
use super::quotas::user_on_target;
use crate::config::Mirror;
use serde::Serialize;
use std::collections::BTreeMap;

/// Iterations by user and mechanism, which is Kafka's number of it (`ScramMechanism`).
pub type Credentials = BTreeMap<(String, i8), i32>;

/// How a user may log in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Credential {
    pub mechanism: String,
    pub iterations: i32,
}

/// A user of the source who cannot log in in the same way on the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScramUser {
    pub user: String,
    pub user_on_target: String,
    #[serde(flatten)]
    pub credential: Credential,
    /// All that the user has on the target.
    pub on_target: Vec<Credential>,
    /// What sets the password on the target, taken from the shell's variable PASSWORD. None: it cannot be typed.
    pub command: Option<String>,
}

/// What the target lacks, or has with other iterations.
pub fn missing(config: &Mirror, source: &Credentials, target: &Credentials) -> Vec<ScramUser> {
    let lacking = source.iter().filter_map(|((user, mechanism), &iterations)| {
        let there = user_on_target(config, user);
        if target.get(&(there.clone(), *mechanism)) == Some(&iterations) {
            return None;
        }
        let on_target = target.range((there.clone(), i8::MIN)..=(there.clone(), i8::MAX));
        let on_target = on_target.map(|((_, mechanism), &iterations)| credential(*mechanism, iterations));
        Some(ScramUser {
            user: user.clone(),
            credential: credential(*mechanism, iterations),
            on_target: on_target.collect(),
            command: command(config, &there, *mechanism, iterations),
            user_on_target: there,
        })
    });
    lacking.collect()
}

fn credential(mechanism: i8, iterations: i32) -> Credential {
    let name = known(mechanism).map_or_else(|| format!("mechanism {mechanism}"), ToOwned::to_owned);
    Credential { mechanism: name, iterations }
}

fn known(mechanism: i8) -> Option<&'static str> {
    match mechanism {
        1 => Some("SCRAM-SHA-256"),
        2 => Some("SCRAM-SHA-512"),
        _ => None,
    }
}

/// The shell refuses the command while PASSWORD is not set, so that nobody gets a password that stands in a manual.
fn command(config: &Mirror, user: &str, mechanism: i8, iterations: i32) -> Option<String> {
    let mechanism = known(mechanism).filter(|_| !user.chars().any(char::is_control))?;
    let bootstrap = config.target.bootstrap.first().map(ToString::to_string).unwrap_or_default();
    Some(format!(
        "kafka-configs --bootstrap-server {bootstrap} --alter --add-config \
         \"{mechanism}=[iterations={iterations},password=${{PASSWORD:?}}]\" --entity-type users --entity-name {}",
        quoted(user)
    ))
}

/// For people.
pub fn show(users: &[ScramUser]) -> String {
    let mut text = "users with SCRAM passwords\n".to_owned();
    if users.is_empty() {
        text += "  the target has all of the source's, with the same mechanisms and iterations; whether the passwords are the same \
                 no broker tells\n";
        return text;
    }
    let with = |one: &Credential| format!("{} with {} iterations", one.mechanism, one.iterations);
    for user in users {
        let name = user.user.escape_debug();
        let renamed = match user.user_on_target == user.user {
            true => String::new(),
            false => format!(", {} on the target", user.user_on_target.escape_debug()),
        };
        let there = match user.on_target.is_empty() {
            true => "nothing".to_owned(),
            false => user.on_target.iter().map(with).collect::<Vec<_>>().join(", "),
        };
        text +=
            &format!("  {name}{renamed}: {} on the source; {there} on the target\n", with(&user.credential));
        text += &user.command.as_ref().map(|command| format!("    {command}\n")).unwrap_or_default();
    }
    text + "  (no broker tells passwords: put each into PASSWORD, by `read -rs PASSWORD`, before its command)\n"
}

#[cfg(test)]
mod tests {
    use super::super::topics::tests::config;
    use super::*;

    fn credentials(all: &[(&str, i8, i32)]) -> Credentials {
        all.iter()
            .map(|(user, mechanism, iterations)| (((*user).to_owned(), *mechanism), *iterations))
            .collect()
    }

    #[test]
    fn what_is_missing_or_otherwise_there_is_listed_with_its_command() {
        let mut config = config(&["t"], &[]);
        config.principals = [("User:c".to_owned(), "User:it's".to_owned())].into();
        let source = credentials(&[
            ("a", 2, 8192),
            ("b", 1, 4096),
            ("b", 2, 4096),
            ("c", 1, 4096),
            ("d", 1, 9000),
            ("same", 2, 4096),
        ]);
        let target =
            credentials(&[("b", 1, 4096), ("c", 1, 4096), ("d", 1, 4096), ("own", 1, 1), ("same", 2, 4096)]);
        let found = missing(&config, &source, &target);
        let of = |user: &ScramUser| {
            let there: Vec<i32> = user.on_target.iter().map(|one| one.iterations).collect();
            format!("{} {} {there:?}", user.user, user.credential.mechanism)
        };
        assert_eq!(
            found.iter().map(of).collect::<Vec<_>>(),
            ["a SCRAM-SHA-512 []", "b SCRAM-SHA-512 [4096]", "c SCRAM-SHA-256 []", "d SCRAM-SHA-256 [4096]"]
        );
        assert_eq!(
            found[0].command.as_deref(),
            Some(
                "kafka-configs --bootstrap-server b:1 --alter --add-config \
                 \"SCRAM-SHA-512=[iterations=8192,password=${PASSWORD:?}]\" --entity-type users --entity-name a"
            )
        );
        assert!(found[2].command.as_ref().unwrap().ends_with(r"--entity-name 'it'\''s'"));
        let text = show(&found);
        let lines = [
            "  a: SCRAM-SHA-512 with 8192 iterations on the source; nothing on the target\n    kafka-configs ",
            "  c, it\\'s on the target: SCRAM-SHA-256 with 4096 iterations on the source; nothing on the target\n",
            "  d: SCRAM-SHA-256 with 9000 iterations on the source; SCRAM-SHA-256 with 4096 iterations on the target\n",
        ];
        lines.iter().for_each(|line| assert!(text.contains(line), "{line} is not in {text}"));
    }

    #[test]
    fn a_name_that_would_do_something_to_a_terminal_is_shown_and_not_typed() {
        let source = credentials(&[("\x1b[2J", 2, 4096), ("new", 9, 1)]);
        let found = missing(&config(&["t"], &[]), &source, &Credentials::new());
        assert!(found.iter().all(|user| user.command.is_none()), "{found:?}");
        let text = show(&found);
        assert!(!text.contains('\x1b') && text.contains("  new: mechanism 9 with 1 iterations"), "{text}");
    }

    #[test]
    fn programs_find_all_of_it_beside_each_other() {
        let source = credentials(&[("a", 1, 4096)]);
        let found = missing(&config(&["t"], &[]), &source, &credentials(&[("a", 2, 8192)]));
        let json = serde_json::to_value(&found[0]).unwrap();
        assert_eq!(
            (&json["user"], &json["mechanism"], &json["iterations"]),
            (&"a".into(), &"SCRAM-SHA-256".into(), &4096.into())
        );
        assert_eq!(
            json["on_target"],
            serde_json::json!([{"mechanism": "SCRAM-SHA-512", "iterations": 8192}])
        );
    }

    #[test]
    fn where_nothing_is_missing_that_is_said() {
        assert!(show(&[]).contains("the target has all of the source's"));
    }
}
