//! Settings of Kerberos (mechanism GSSAPI): those of Java's `Krb5LoginModule`, or a keytab and a principal as librdkafka has them.

use super::sasl::{Jaas, SAID_TWICE};
use super::{ConfigError, Reader, wrong};

/// How we get into a cluster with Kerberos.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kerberos {
    /// The first part of the brokers' principals: `kafka` of kafka/HOST@REALM.
    pub service: String,
    pub tickets: Tickets,
}

/// Where our tickets come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tickets {
    /// From the KDC, with the principal's key in this file.
    Keytab { path: String, principal: String },
    /// Out of a cache that somebody else fills (kinit, k5start).
    Cache {
        /// As the Kerberos library names caches, a path for instance. None: the one that krb5.conf or KRB5CCNAME says.
        name: Option<String>,
        /// None: whoever the cache is for.
        principal: Option<String>,
    },
}

impl Kerberos {
    /// Who we are, as far as the settings say.
    pub fn principal(&self) -> Option<&str> {
        match &self.tickets {
            Tickets::Keytab { principal, .. } => Some(principal),
            Tickets::Cache { principal, .. } => principal.as_deref(),
        }
    }
}

pub(super) const SERVICE: &str = "sasl.kerberos.service.name";
const KEYTAB: &str = "sasl.kerberos.keytab";
const PRINCIPAL: &str = "sasl.kerberos.principal";
/// Options of `Krb5LoginModule` that ask for what happens anyway: nobody is prompted, the keytab is read again for each new ticket
/// and krb5.conf whenever it changed.
const MATTERS_OF_COURSE: [&str; 4] = ["doNotPrompt", "storeKey", "clearPass", "refreshKrb5Config"];

pub(super) fn read(reader: &mut Reader, jaas: Option<Jaas>) -> Result<Kerberos, ConfigError> {
    let set = reader.take(SERVICE);
    let (tickets, in_jaas) = match jaas {
        None => (of_keys(reader)?, None),
        Some(mut jaas) => {
            if let Some(second) = reader.take(KEYTAB).or_else(|| reader.take(PRINCIPAL)) {
                return Err(wrong(&second, SAID_TWICE));
            }
            let service = jaas.take("serviceName");
            (of_module(reader, jaas)?, service)
        }
    };
    let service = match (set, in_jaas) {
        (Some(value), Some(other)) if *value.text.expose() != other => {
            return Err(wrong(
                &value,
                format!("sasl.jaas.config says serviceName=\"{other}\"; leave one of both out"),
            ));
        }
        (Some(value), _) if value.text.expose().contains(['/', '@']) => {
            return Err(wrong(&value, "expected only what stands before the `/` in the brokers' principals"));
        }
        (Some(value), _) => value.text.expose().to_owned(),
        (None, Some(service)) => service,
        (None, None) => {
            return Err(ConfigError(format!(
                "{SERVICE} is not set (nor serviceName in sasl.jaas.config); set it to what stands before the `/` in the \
                 brokers' principals, which is most often kafka"
            )));
        }
    };
    Ok(Kerberos { service, tickets })
}

fn of_keys(reader: &mut Reader) -> Result<Tickets, ConfigError> {
    let principal = reader.take(PRINCIPAL).map(|value| value.text.expose().to_owned());
    Ok(match (reader.take(KEYTAB), principal) {
        (Some(path), Some(principal)) => Tickets::Keytab { path: bare(path.text.expose()), principal },
        (Some(path), None) => {
            return Err(wrong(&path, format!("{PRINCIPAL} must say whose key of it to use")));
        }
        (None, principal) => Tickets::Cache { name: None, principal },
    })
}

fn of_module(reader: &mut Reader, mut jaas: Jaas) -> Result<Tickets, ConfigError> {
    for option in MATTERS_OF_COURSE {
        jaas.take(option);
    }
    let mut is = |option: &str, default: bool| {
        jaas.take(option).map_or(default, |value| value.eq_ignore_ascii_case("true"))
    };
    let (from_keytab, from_cache) = (is("useKeyTab", false), is("useTicketCache", false));
    let (is_initiator, renews, traces) = (is("isInitiator", true), is("renewTGT", false), is("debug", false));
    let warnings = [
        (
            renews,
            "renewTGT: whoever fills the ticket cache renews it (krenew, k5start); Twinlog only reads it",
        ),
        (traces, "debug: set KRB5_TRACE=/dev/stderr in the environment to see what Kerberos does"),
        (from_keytab && from_cache, "useTicketCache: the keytab is used, and no ticket cache is needed"),
    ];
    let told = warnings.iter().filter(|(is_set, _)| *is_set);
    reader.warnings.extend(told.map(|(_, warning)| format!("{}: {warning}", jaas.value.origin)));
    if !is_initiator {
        return Err(wrong(&jaas.value, "isInitiator=false is for brokers; leave it out"));
    }
    for (option, switch, is_on) in
        [("keyTab", "useKeyTab", from_keytab), ("ticketCache", "useTicketCache", from_cache)]
    {
        if !is_on && jaas.take(option).is_some() {
            return Err(wrong(&jaas.value, format!("it has {option}, and no {switch}=true")));
        }
    }
    let tickets = if from_keytab {
        jaas.take("ticketCache");
        Tickets::Keytab { path: bare(&jaas.need("keyTab")?), principal: jaas.need("principal")? }
    } else if from_cache {
        Tickets::Cache { name: jaas.take("ticketCache"), principal: jaas.take("principal") }
    } else {
        return Err(wrong(
            &jaas.value,
            "set useKeyTab=true keyTab=\"…\" principal=\"…\", or useTicketCache=true; nobody is asked for a password",
        ));
    };
    jaas.finish()?;
    Ok(tickets)
}

/// A keytab's path without the type that may stand before it.
fn bare(path: &str) -> String {
    path.strip_prefix("FILE:").unwrap_or(path).to_owned()
}
