//! What it takes to be let in by one cluster: its TLS, and logins. The pure parts are [`crate::config::security`] and
//! [`crate::conn::sasl`]; this adds files, random numbers, tokens and tickets.

use super::gssapi::Kerberos;
use super::tls;
use super::tokens::Tokens;
use crate::config::security::{Login as LoginSettings, Mechanism, Sasl, Tls};
use crate::config::{Secret, Security};
use crate::conn::sasl::{Login, SaltedPasswords};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// As many random bits as Kafka's own client takes.
const NONCE_BYTES: usize = 32;

/// One cluster's, shared by all connections to it.
pub struct Access {
    pub tls: Option<tls::Context>,
    logins: Option<Logins>,
}

/// Where logins come from.
enum Logins {
    Plain { username: String, password: Secret },
    Scram { mechanism: Mechanism, username: String, password: Secret, salted: Arc<SaltedPasswords> },
    OauthBearer { tokens: Tokens, extensions: Vec<(String, String)> },
    Kerberos(Kerberos),
}

/// Why there is nothing to log in with.
pub struct NoLogin {
    pub cause: String,
    /// The same may go well a little later.
    pub is_passing: bool,
}

impl From<String> for NoLogin {
    fn from(cause: String) -> Self {
        Self { cause, is_passing: true }
    }
}

/// Both clusters', the source's first.
pub type Accesses = [Arc<Access>; 2];

impl Access {
    pub fn new(security: &Security) -> Arc<Self> {
        security.warnings.iter().for_each(|warning| warn_once(warning));
        let tls = security.tls.as_ref().map(tls::Context::new);
        let logins = security.sasl.as_ref().map(|sasl| Logins::new(sasl, security.tls.as_ref()));
        Arc::new(Self { tls, logins })
    }

    /// For clusters that are spoken to without TLS and SASL.
    pub fn open() -> Arc<Self> {
        Self::new(&Security::default())
    }

    pub fn has_sasl(&self) -> bool {
        self.logins.is_some()
    }

    /// What the next login at this host needs; None without SASL. May read a file, or ask a token endpoint or a KDC, which blocks.
    pub fn login(&self, host: &str) -> Result<Option<Login>, NoLogin> {
        self.logins.as_ref().map(|logins| logins.next(host)).transpose()
    }
}

impl Logins {
    fn new(sasl: &Sasl, tls: Option<&Tls>) -> Self {
        match &sasl.login {
            LoginSettings::Password { username, password } => {
                let (username, password) = (username.clone(), password.clone());
                match sasl.mechanism {
                    Mechanism::Plain => Self::Plain { username, password },
                    mechanism => Self::Scram { mechanism, username, password, salted: Arc::default() },
                }
            }
            LoginSettings::Token { source, extensions } => {
                Self::OauthBearer { tokens: Tokens::new(source, tls), extensions: extensions.clone() }
            }
            LoginSettings::Kerberos(settings) => Self::Kerberos(Kerberos::new(settings)),
        }
    }

    fn next(&self, host: &str) -> Result<Login, NoLogin> {
        Ok(match self {
            Self::Plain { username, password } => {
                Login::Plain { username: username.clone(), password: password.clone() }
            }
            Self::Scram { mechanism, username, password, salted } => Login::Scram {
                mechanism: *mechanism,
                username: username.clone(),
                password: password.clone(),
                nonce: nonce()?,
                salted: Arc::clone(salted),
            },
            Self::OauthBearer { tokens, extensions } => {
                Login::OauthBearer { token: tokens.get()?, extensions: extensions.clone() }
            }
            Self::Kerberos(kerberos) => kerberos.login(host)?,
        })
    }
}

fn nonce() -> Result<String, String> {
    let mut bytes = [0; NONCE_BYTES];
    let random = tls::provider().secure_random;
    random.fill(&mut bytes).map_err(|_| "this machine has no random numbers".to_owned())?;
    Ok(BASE64.encode(bytes))
}

/// A process makes several clients of one cluster; once is enough.
fn warn_once(warning: &str) {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if TOLD.lock().unwrap_or_else(PoisonError::into_inner).insert(warning.to_owned()) {
        tracing::warn!("{warning}");
    }
}
