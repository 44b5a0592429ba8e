//! Saying who we are on a connection: SaslHandshake, then the mechanism's own messages in SaslAuthenticate (KIP-43, KIP-152), at
//! the start of a connection and again before the broker's patience with it ends (KIP-368).
//!
//! One small file for each mechanism. Nothing here reads a clock, a file or random numbers, or asks a KDC: a [`Login`] brings
//! what comes of it.

mod gssapi;
mod oauth;
mod plain;
mod scram;

pub use gssapi::{Gssapi, SecurityContext};
pub use scram::SaltedPasswords;

use crate::config::Secret;
use crate::config::security::Mechanism;
use crate::error;
use crate::wire::versions::Versions;
use crate::wire::{BadFrame, control};
use bytes::Bytes;
use kafka_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;
use scram::Scram;
use std::sync::Arc;
use zeroize::Zeroizing;

const HANDSHAKE_KEY: i16 = 17;
/// From 1 on the mechanism's messages travel in SaslAuthenticate requests.
const HANDSHAKE: (i16, i16) = (1, 1);
const AUTHENTICATE_KEY: i16 = 36;
/// From 1 on the broker tells how long it will listen to us.
const AUTHENTICATE: (i16, i16) = (0, 2);
/// A mechanism that needs more messages than this goes in circles.
const ROUNDS_MAX: usize = 4;
const SASL_AUTHENTICATION_FAILED: i16 = 58;
const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
const ILLEGAL_SASL_STATE: i16 = 34;

/// What goes to the broker, a password perhaps.
type Message = Zeroizing<Vec<u8>>;

/// Everything that one login needs.
#[derive(Debug)]
pub enum Login {
    Plain {
        username: String,
        password: Secret,
    },
    Scram {
        /// [`Mechanism::ScramSha256`] or [`Mechanism::ScramSha512`].
        mechanism: Mechanism,
        username: String,
        password: Secret,
        /// Printable characters without comma that nobody can guess, and that were never used before.
        nonce: String,
        /// Shared by all connections to a cluster.
        salted: Arc<SaltedPasswords>,
    },
    OauthBearer {
        token: Secret,
        extensions: Vec<(String, String)>,
    },
    Gssapi(Gssapi),
}

impl Login {
    fn mechanism(&self) -> Mechanism {
        match self {
            Self::Plain { .. } => Mechanism::Plain,
            Self::Scram { mechanism, .. } => *mechanism,
            Self::OauthBearer { .. } => Mechanism::OauthBearer,
            Self::Gssapi(_) => Mechanism::Gssapi,
        }
    }
}

/// Why a login came to nothing. Trying again with the same settings would come to the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    #[error(
        "the broker does not offer SASL mechanism {wanted} on this listener, but {offered}; set sasl.mechanism to one of those"
    )]
    Mechanism { wanted: Mechanism, offered: String },
    #[error(
        "this listener does not use SASL: set security.protocol to PLAINTEXT or SSL, or use the port of a SASL listener"
    )]
    NotSasl,
    #[error("the broker refuses to let us in ({}){}; check {what}", error::name(*code), said(message))]
    Refused { code: i16, message: String, what: &'static str },
    /// It does not know the password, so it is not the broker that it pretends to be, or the password was changed this moment.
    #[error("the broker could not prove that it knows our password; it may be somebody else's machine")]
    NotGenuine,
    #[error(
        "the broker could not prove with Kerberos that it is the one that our ticket is for ({0}); check that its keytab holds the \
         newest key of its principal"
    )]
    Kerberos(String),
    #[error("the broker's side of the login makes no sense: {0}")]
    Senseless(&'static str),
    #[error("{0}")]
    Unsupported(String),
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

impl From<BadFrame> for SaslError {
    fn from(bad: BadFrame) -> Self {
        Self::Unsupported(bad.to_string())
    }
}

/// A login under way.
pub struct Exchange {
    mechanism: Mechanism,
    messages: Messages,
    authenticate_version: i16,
    stage: Stage,
    rounds: usize,
}

enum Messages {
    Plain(Secret),
    Scram(Box<Scram>),
    Oauth { first: Secret, is_refused: bool },
    Gssapi(Gssapi),
}

enum Stage {
    Handshake,
    /// The mechanism's next message.
    Authenticate(Message),
}

/// What an answer brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// [`Exchange::request`] has another one.
    Next,
    /// We are in. The broker asks for another login after this time; 0: never.
    Done { lifetime_ms: u64 },
}

impl Exchange {
    pub fn new(login: Login, versions: &Versions) -> Result<Self, SaslError> {
        let pick = |key, (min, max)| {
            versions
                .pick(key, min, max)
                .ok_or_else(|| SaslError::Unsupported(versions.why_not(key, min, max)))
        };
        pick(HANDSHAKE_KEY, HANDSHAKE)?;
        Ok(Self {
            mechanism: login.mechanism(),
            authenticate_version: pick(AUTHENTICATE_KEY, AUTHENTICATE)?,
            messages: match login {
                Login::Plain { username, password } => Messages::Plain(plain::message(&username, &password)),
                Login::Scram { mechanism, username, password, nonce, salted } => {
                    Messages::Scram(Box::new(Scram::new(mechanism, username, password, nonce, salted)))
                }
                Login::OauthBearer { token, extensions } => {
                    Messages::Oauth { first: oauth::message(&token, &extensions), is_refused: false }
                }
                Login::Gssapi(gssapi) => Messages::Gssapi(gssapi),
            },
            stage: Stage::Handshake,
            rounds: 0,
        })
    }

    /// The next request, size prefix included.
    pub fn request(&self, correlation_id: i32, client_id: &str) -> Bytes {
        match &self.stage {
            Stage::Handshake => {
                let request = SaslHandshakeRequest::default()
                    .with_mechanism(StrBytes::from_static_str(self.mechanism.name()));
                control::encode(&request, HANDSHAKE.1, correlation_id, client_id)
            }
            Stage::Authenticate(message) => {
                let bytes = Bytes::copy_from_slice(message);
                let request = SaslAuthenticateRequest::default().with_auth_bytes(bytes);
                control::encode(&request, self.authenticate_version, correlation_id, client_id)
            }
        }
    }

    /// The API key of what [`Self::request`] gives, for messages.
    pub fn api_key(&self) -> i16 {
        if matches!(self.stage, Stage::Handshake) { HANDSHAKE_KEY } else { AUTHENTICATE_KEY }
    }

    /// The answer to the last request, without its size prefix. Its correlation id is checked by the caller.
    pub fn answer(&mut self, frame: Bytes) -> Result<Step, SaslError> {
        if matches!(self.stage, Stage::Handshake) {
            return self.shaken_hands(&control::decode(HANDSHAKE.1, frame)?);
        }
        let answer: SaslAuthenticateResponse = control::decode(self.authenticate_version, frame)?;
        if answer.error_code != 0 {
            let message = answer.error_message.map(|text| printable(&text)).unwrap_or_default();
            return Err(self.refused(answer.error_code, message));
        }
        self.rounds += 1;
        let next = match &mut self.messages {
            Messages::Plain(_) => None,
            Messages::Scram(scram) => scram.answer(&answer.auth_bytes)?.as_ref().map(bytes),
            Messages::Oauth { is_refused, .. } => match oauth::refusal(&answer.auth_bytes) {
                // RFC 7628, section 3.2.3: the server ends the exchange when it has this.
                Some(_) if !*is_refused => {
                    *is_refused = true;
                    Some(b"\x01".to_vec().into())
                }
                _ => None,
            },
            Messages::Gssapi(gssapi) => gssapi.answer(&answer.auth_bytes)?,
        };
        match next {
            Some(_) if self.rounds >= ROUNDS_MAX => Err(SaslError::Senseless("it goes on and on")),
            Some(message) => {
                self.stage = Stage::Authenticate(message);
                Ok(Step::Next)
            }
            None => {
                let lifetime_ms = u64::try_from(answer.session_lifetime_ms).unwrap_or(0);
                Ok(Step::Done { lifetime_ms })
            }
        }
    }

    fn shaken_hands(&mut self, answer: &SaslHandshakeResponse) -> Result<Step, SaslError> {
        match answer.error_code {
            0 => {}
            UNSUPPORTED_SASL_MECHANISM => {
                let offered: Vec<String> = answer.mechanisms.iter().map(|name| printable(name)).collect();
                return Err(SaslError::Mechanism { wanted: self.mechanism, offered: offered.join(", ") });
            }
            ILLEGAL_SASL_STATE => return Err(SaslError::NotSasl),
            code => return Err(self.refused(code, String::new())),
        }
        self.stage = Stage::Authenticate(match &self.messages {
            Messages::Plain(first) | Messages::Oauth { first, .. } => bytes(first),
            Messages::Scram(scram) => bytes(&scram.first()),
            Messages::Gssapi(gssapi) => gssapi.first(),
        });
        Ok(Step::Next)
    }

    fn refused(&self, code: i16, message: String) -> SaslError {
        let what = match self.mechanism {
            _ if code != SASL_AUTHENTICATION_FAILED => "the broker's server.log",
            Mechanism::OauthBearer => "the token's claims and lifetime, and what the broker expects of them",
            Mechanism::Gssapi => {
                "that the broker's keytab holds the newest key of its principal, both machines' clocks, and the broker's server.log"
            }
            _ => "sasl.username and sasl.password (or sasl.jaas.config)",
        };
        SaslError::Refused { code, message, what }
    }
}

fn bytes(text: &Secret) -> Message {
    text.expose().as_bytes().to_vec().into()
}

/// Text from outside, fit for a log line.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}

#[cfg(test)]
mod tests;
