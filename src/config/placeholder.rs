//! `${file:PATH}`, `${file:PATH:KEY}` and `${env:NAME}` in the values of a cluster's settings, so that secrets need not stand in
//! the configuration. The names are those of Kafka's `FileConfigProvider` and `EnvVarConfigProvider` (KIP-297, KIP-421).

use super::Properties;
use std::io;

/// Where values come from that do not stand in the configuration itself.
pub trait Elsewhere {
    fn file(&self, path: &str) -> io::Result<String>;
    fn variable(&self, name: &str) -> Option<String>;
}

/// This machine's files, and this process's environment.
pub struct Machine;

impl Elsewhere for Machine {
    fn file(&self, path: &str) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    // Reading settings is what this module is for.
    #[allow(clippy::disallowed_methods)]
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}

/// `text` with its placeholders replaced. What is put in their place is not looked at again. The error does not quote `text`,
/// which may be a secret in parts.
pub fn fill(text: &str, elsewhere: &dyn Elsewhere) -> Result<String, String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find("${") {
        let (before, from) = rest.split_at(begin);
        let Some(end) = from.find('}') else { break };
        filled.push_str(before);
        let inside = &from[2..end];
        match inside.split_once(':') {
            Some(("env", name)) => {
                let value = elsewhere.variable(name);
                filled.push_str(&value.ok_or(format!("the environment has no variable {name}"))?);
            }
            Some(("file", what)) => filled.push_str(&from_file(what, elsewhere)?),
            Some((provider, _)) if provider.chars().all(char::is_alphanumeric) => {
                return Err(format!(
                    "there is no placeholder ${{{provider}:…}}; there are ${{file:PATH}}, ${{file:PATH:KEY}} and ${{env:NAME}}"
                ));
            }
            // Passwords may look like anything.
            _ => filled.push_str(&from[..=end]),
        }
        rest = &from[end + 1..];
    }
    filled.push_str(rest);
    Ok(filled)
}

/// `PATH:KEY` is a value of a `.properties` file, `PATH` a file that holds nothing but the value.
fn from_file(what: &str, elsewhere: &dyn Elsewhere) -> Result<String, String> {
    let read = |path: &str| elsewhere.file(path).map_err(|error| format!("cannot read {path}: {error}"));
    let Some((path, key)) =
        what.rsplit_once(':').filter(|(path, key)| !path.is_empty() && !key.contains('/'))
    else {
        return Ok(read(what)?.trim_end_matches(['\r', '\n']).to_owned());
    };
    let properties = Properties::from_file(path, &read(path)?).map_err(|error| error.0)?;
    let value = properties.get(key).ok_or(format!("{path} has no key {key}"))?;
    Ok(value.text.expose().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Made;

    impl Elsewhere for Made {
        fn file(&self, path: &str) -> io::Result<String> {
            match path {
                "/run/pw" => Ok("one ${env:X}\n".into()),
                "/etc/secrets.properties" => Ok("# all\npassword = two\n".into()),
                _ => Err(io::ErrorKind::NotFound.into()),
            }
        }

        fn variable(&self, name: &str) -> Option<String> {
            (name == "PW").then(|| "three".into())
        }
    }

    #[test]
    fn placeholders_are_replaced_once() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a ${file:/run/pw} b", "a one ${env:X} b"),
            ("${file:/etc/secrets.properties:password}", "two"),
            ("\"${env:PW}\";", "\"three\";"),
            ("$x ${ {} ${open", "$x ${ {} ${open"),
            ("${}", "${}"),
        ] {
            assert_eq!(fill(text, &Made).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for (text, expected) in [
            ("${env:NONE}", "no variable NONE"),
            ("${file:/nowhere}", "cannot read /nowhere"),
            ("${file:/etc/secrets.properties:other}", "/etc/secrets.properties has no key other"),
            ("${vault:x}", "${vault:…}"),
        ] {
            let error = fill(text, &Made).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
