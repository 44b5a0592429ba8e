//! What it takes to be let in by one cluster: its TLS, and logins. The pure parts are [`crate::config::security`] and
//! [`crate::conn::sasl`]; this adds files, random numbers and tokens.

use super::tls;
use super::tokens::Tokens;
use crate::config::Security;
use crate::config::security::{Login as LoginSettings, Mechanism, Sasl};
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
    sasl: Option<SaslAccess>,
}

struct SaslAccess {
    settings: Sasl,
    salted: Arc<SaltedPasswords>,
    tokens: Option<Tokens>,
}

/// Both clusters', the source's first.
pub type Accesses = [Arc<Access>; 2];

impl Access {
    pub fn new(security: &Security) -> Arc<Self> {
        security.warnings.iter().for_each(|warning| warn_once(warning));
        let tls = security.tls.as_ref().map(tls::Context::new);
        let sasl = security.sasl.as_ref().map(|settings| SaslAccess {
            settings: settings.clone(),
            salted: Arc::default(),
            tokens: Tokens::new(settings, security.tls.as_ref()),
        });
        Arc::new(Self { tls, sasl })
    }

    /// For clusters that are spoken to without TLS and SASL.
    pub fn open() -> Arc<Self> {
        Self::new(&Security::default())
    }

    pub fn has_sasl(&self) -> bool {
        self.sasl.is_some()
    }

    /// What the next login needs; None without SASL. May read a file or ask a token endpoint, which blocks.
    pub fn login(&self) -> Result<Option<Login>, String> {
        let Some(SaslAccess { settings, salted, tokens }) = &self.sasl else { return Ok(None) };
        Ok(Some(match (&settings.login, tokens) {
            (LoginSettings::Password { username, password }, _) => {
                let (username, password) = (username.clone(), password.clone());
                match settings.mechanism {
                    Mechanism::Plain => Login::Plain { username, password },
                    mechanism => {
                        let (nonce, salted) = (nonce()?, Arc::clone(salted));
                        Login::Scram { mechanism, username, password, nonce, salted }
                    }
                }
            }
            (LoginSettings::Token { extensions, .. }, Some(tokens)) => {
                Login::OauthBearer { token: tokens.get()?, extensions: extensions.clone() }
            }
            (LoginSettings::Token { .. }, None) => return Err("there is no source of tokens".into()),
        }))
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
