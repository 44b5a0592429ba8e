//! How a cluster is spoken to: TLS, SASL, both or neither. Configured under the names of Kafka's clients (`SslConfigs` and
//! `SaslConfigs` in Kafka's source), of which this module knows those that mean something outside of a JVM.

mod jaas;
mod kerberos;
mod keys;
mod meanings;
mod sasl;
mod tls;

pub use kerberos::{Kerberos, Tickets};
pub use keys::{is_of_others, is_refused, is_understood, key_problem, names};
pub use meanings::meaning;
pub use sasl::{Login, Mechanism, Sasl, TokenSource};
pub use tls::{Identity, Protocols, StoreFile, StoreFormat, Tls, Trust};

use super::placeholder::{self, Elsewhere};
use super::properties::{Properties, Value};
use super::{ConfigError, nearest};

/// One cluster's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// None: bytes travel as they are.
    pub tls: Option<Tls>,
    /// None: the cluster is not told who we are, other than by a certificate.
    pub sasl: Option<Sasl>,
    /// What whoever runs this should know.
    pub warnings: Vec<String>,
}

impl Security {
    /// The meaning of a cluster's properties. Every error names the place and the key.
    pub fn read(mut properties: Properties, elsewhere: &dyn Elsewhere) -> Result<Self, ConfigError> {
        for value in properties.values_mut() {
            let filled = placeholder::fill(value.text.expose(), elsewhere)
                .map_err(|problem| ConfigError(format!("{}: {problem}", value.origin)))?;
            value.text = filled.into();
        }
        let mut warnings = Vec::new();
        for (key, value) in properties.iter() {
            if let Some(problem) = key_problem(key) {
                return Err(ConfigError(format!("{}: {problem}", value.origin)));
            }
            if keys::is_of_others(key) {
                warnings.push(format!("{}: {}", value.origin, keys::why_unused(key)));
            }
        }
        let mut reader = Reader { properties, warnings };
        let (has_tls, has_sasl) = reader.protocol()?;
        let tls = if has_tls { Some(tls::read(&mut reader)?) } else { None };
        let sasl = if has_sasl { Some(sasl::read(&mut reader)?) } else { None };
        if let Some((key, value)) = reader.properties.iter().find(|(key, _)| !keys::is_of_others(key)) {
            let problem = match &sasl {
                Some(Sasl { mechanism, .. }) if key.starts_with("sasl.") => {
                    format!("sasl.mechanism {mechanism} does not use it; leave it out")
                }
                _ => {
                    let wanted = if key.starts_with("ssl.") {
                        "SSL or SASL_SSL"
                    } else {
                        "SASL_SSL or SASL_PLAINTEXT"
                    };
                    format!("it would not be used; for that, set security.protocol to {wanted}")
                }
            };
            return Err(ConfigError(format!("{}: {problem}", value.origin)));
        }
        if !has_tls && sasl.as_ref().is_some_and(|sasl| sasl.mechanism == Mechanism::Plain) {
            reader.warnings.push(
                "security.protocol SASL_PLAINTEXT with mechanism PLAIN sends the password over the network as it is; use \
                 SASL_SSL, or SCRAM-SHA-512"
                    .into(),
            );
        }
        Ok(Self { tls, sasl, warnings: reader.warnings })
    }
}

/// Takes values out of the properties; what nobody took is found at the end.
struct Reader {
    properties: Properties,
    warnings: Vec<String>,
}

impl Reader {
    /// Whether TLS is spoken, and whether SASL is.
    fn protocol(&mut self) -> Result<(bool, bool), ConfigError> {
        const PROTOCOLS: [(&str, (bool, bool)); 4] = [
            ("PLAINTEXT", (false, false)),
            ("SSL", (true, false)),
            ("SASL_PLAINTEXT", (false, true)),
            ("SASL_SSL", (true, true)),
        ];
        let Some(value) = self.take("security.protocol") else { return Ok((false, false)) };
        one_of(&value, &PROTOCOLS)
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.properties.take(key)
    }

    /// A key that another one makes necessary.
    fn need(&mut self, key: &str, why: &str) -> Result<Value, ConfigError> {
        self.take(key).ok_or_else(|| ConfigError(format!("{key} is not set; {why}")))
    }
}

fn wrong(value: &Value, problem: impl std::fmt::Display) -> ConfigError {
    ConfigError(format!("{}: {problem}", value.origin))
}

/// The meaning of a value that is one of a few words, in any case.
fn one_of<T: Copy>(value: &Value, all: &[(&str, T)]) -> Result<T, ConfigError> {
    let typed = value.text.expose().trim();
    let found = all.iter().find(|(word, _)| word.eq_ignore_ascii_case(typed));
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<&str> = all.iter().map(|(word, _)| *word).collect();
        let hint = match nearest(typed, words.iter().copied()) {
            Some(near) => format!("; did you mean {near}?"),
            None => String::new(),
        };
        wrong(value, format!("`{typed}` is none of {}{hint}", words.join(", ")))
    })
}

#[cfg(test)]
mod tests;
