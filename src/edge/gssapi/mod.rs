//! Kerberos: tickets for a cluster's brokers, and security contexts with them, by MIT Kerberos' library.
//!
//! [`library`] is the library in safe clothes, [`explain`] makes one line of what it complains about. Of a login only the first
//! token may need a KDC, so that is made by [`Kerberos::login`], which blocks; the others are made on the shards.

mod explain;
mod library;

use super::clock;
use super::security::NoLogin;
use crate::config::security::{Kerberos as Settings, Tickets};
use crate::conn::sasl::{Gssapi, Login, SecurityContext};
use library::{Context, Failure, Gss, Kind};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

/// One cluster's.
pub(super) struct Kerberos {
    settings: Settings,
    /// Where the tickets are: for a keytab in this process' memory, where nothing else has any.
    cache: Option<String>,
    turn: Arc<Turn>,
}

/// Held while a cache is looked into or filled.
#[derive(Default)]
struct Turn(Mutex<Option<Silence>>);

/// A KDC did not answer, which takes it a while to be sure of.
struct Silence {
    /// Steady clock, µs.
    at_us: u64,
    line: String,
}

impl Kerberos {
    pub(super) fn new(settings: &Settings) -> Self {
        let cache = match &settings.tickets {
            Tickets::Keytab { path, principal } => Some(format!("MEMORY:twinlog:{principal}:{path}")),
            Tickets::Cache { name, .. } => name.clone(),
        };
        let turn = turn(cache.as_deref());
        Self { settings: settings.clone(), cache, turn }
    }

    /// The begin of a login to the broker at `host`. Blocks while a KDC is asked: for a keytab once in half of a ticket's life, and
    /// once in it for every broker.
    pub(super) fn login(&self, host: &str) -> Result<Login, NoLogin> {
        let lasting = |cause| NoLogin { cause, is_passing: false };
        let gss = Gss::load().map_err(lasting)?;
        let store = self.store().map_err(lasting)?;
        let came_us = clock::now().mono_us;
        // Whoever comes meanwhile waits for the same tickets, or for the same silence.
        let mut silence = self.turn.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(silence) = silence.as_ref().filter(|silence| came_us <= silence.at_us) {
            return Err(silence.line.clone().into());
        }
        let first = || -> Result<_, Failure> {
            let us = self.settings.principal().map(|name| gss.name(name, Kind::Principal)).transpose()?;
            let credential = gss.acquire(us.as_ref(), &store)?;
            let broker = gss.name(&format!("{}@{host}", self.settings.service), Kind::ServiceAtHost)?;
            let mut context = Context::new(credential, broker);
            let token = context.step(&[])?;
            Ok((context, token))
        };
        let (context, token) = first().map_err(|failure| {
            let line = explain::explain(&failure, &self.settings, host);
            if !explain::is_silence(&failure) {
                return lasting(line);
            }
            *silence = Some(Silence { at_us: clock::now().mono_us, line: line.clone() });
            line.into()
        })?;
        Ok(Login::Gssapi(Gssapi::new(Box::new(context), token)))
    }

    /// Where the library finds tickets, and the key for new ones.
    fn store(&self) -> Result<Vec<(&'static CStr, CString)>, String> {
        let mut store = Vec::new();
        if let Some(cache) = &self.cache {
            store.push((c"ccache", c_string(cache)?));
        }
        if let Tickets::Keytab { path, .. } = &self.settings.tickets {
            File::open(path).map_err(|error| format!("cannot read the keytab {path}: {error}"))?;
            store.push((c"client_keytab", c_string(path)?));
        }
        Ok(store)
    }
}

impl SecurityContext for Context {
    fn step(&mut self, token: &[u8]) -> Result<Vec<u8>, String> {
        self.step(token).map_err(|failure| failure.text)
    }

    fn is_established(&self) -> bool {
        self.is_established()
    }

    fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
        self.wrap(message).map_err(|failure| failure.text)
    }

    fn unwrap(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
        self.unwrap(message).map_err(|failure| failure.text)
    }
}

/// The lock for a cache. A process makes several clients of one cluster, which share its tickets.
fn turn(cache: Option<&str>) -> Arc<Turn> {
    static TURNS: Mutex<BTreeMap<Option<String>, Arc<Turn>>> = Mutex::new(BTreeMap::new());
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(turns.entry(cache.map(str::to_owned)).or_default())
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| format!("`{}` has a zero byte in it", text.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keytab(path: &str) -> Kerberos {
        let tickets = Tickets::Keytab { path: path.into(), principal: "mirror@EAST.EXAMPLE".into() };
        Kerberos::new(&Settings { service: "kafka".into(), tickets })
    }

    #[test]
    fn a_keytab_that_cannot_be_read_is_named() {
        let error = keytab("/nowhere/mirror.keytab").store().unwrap_err();
        assert!(error.starts_with("cannot read the keytab /nowhere/mirror.keytab: No such file"), "{error}");
        assert!(keytab("a\0b").store().is_err());
    }

    #[test]
    fn clusters_share_tickets_only_where_key_and_principal_are_the_same() {
        let (one, same, other) = (keytab("/a"), keytab("/a"), keytab("/b"));
        assert!(Arc::ptr_eq(&one.turn, &same.turn) && one.cache == same.cache);
        assert!(!Arc::ptr_eq(&one.turn, &other.turn) && one.cache != other.cache);
    }

    /// The library itself, where it is installed: a file that is no keytab gets no ticket, and the line says what to do.
    #[test]
    fn what_the_library_complains_about_becomes_a_line() {
        if Gss::load().is_err() {
            return;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let Err(no_login) = keytab(file.path().to_str().unwrap()).login("127.0.0.1") else {
            panic!("a login")
        };
        let line = no_login.cause;
        assert!(line.starts_with("Kerberos: ") && line.contains("; ") && !line.contains('\n'), "{line}");
    }
}
