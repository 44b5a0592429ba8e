//! Settings of SASL.

use super::kerberos::{self, Kerberos};
use super::{ConfigError, Reader, jaas, one_of, wrong};
use crate::config::Secret;
use crate::config::properties::Value;
use std::collections::BTreeMap;
use std::fmt;

/// How we say who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sasl {
    pub mechanism: Mechanism,
    pub login: Login,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
    OauthBearer,
    /// Kerberos.
    Gssapi,
}

impl Mechanism {
    pub const ALL: [Self; 5] =
        [Self::Plain, Self::ScramSha256, Self::ScramSha512, Self::OauthBearer, Self::Gssapi];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
            Self::Gssapi => "GSSAPI",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the mechanism says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    Password {
        username: String,
        password: Secret,
    },
    Token {
        source: TokenSource,
        /// SASL extensions (KIP-342).
        extensions: Vec<(String, String)>,
    },
    Kerberos(Kerberos),
}

/// Where tokens come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// Read again for every login.
    File(String),
    /// OAuth 2.0, client credentials grant (RFC 6749, section 4.4).
    ClientCredentials { url: String, client_id: String, client_secret: Secret, scope: Option<String> },
}

const TOKEN_URL: &str = "sasl.oauthbearer.token.endpoint.url";
const CLIENT_ID: &str = "sasl.oauthbearer.client.credentials.client.id";
const CLIENT_SECRET: &str = "sasl.oauthbearer.client.credentials.client.secret";
const SCOPE: &str = "sasl.oauthbearer.scope";
/// Of a key beside sasl.jaas.config.
pub(super) const SAID_TWICE: &str = "sasl.jaas.config says the same; leave one of both out";

pub(super) fn read(reader: &mut Reader) -> Result<Sasl, ConfigError> {
    let mechanism = mechanism(reader)?;
    let jaas = match reader.take("sasl.jaas.config") {
        Some(value) => Some(Jaas::read(value, mechanism)?),
        None => None,
    };
    if let Some(handler) = reader.take("sasl.login.callback.handler.class") {
        let is_kafkas = handler.text.expose().ends_with("OAuthBearerLoginCallbackHandler");
        if mechanism != Mechanism::OauthBearer || !is_kafkas {
            return Err(wrong(
                &handler,
                "a Java class cannot log Twinlog in; for OAUTHBEARER with a token endpoint or a token in a file, leave it out",
            ));
        }
    }
    let login = match mechanism {
        Mechanism::OauthBearer => token(reader, jaas)?,
        Mechanism::Gssapi => Login::Kerberos(kerberos::read(reader, jaas)?),
        _ => password(reader, jaas)?,
    };
    Ok(Sasl { mechanism, login })
}

fn mechanism(reader: &mut Reader) -> Result<Mechanism, ConfigError> {
    let names = Mechanism::ALL.map(|mechanism| (mechanism.name(), mechanism));
    let Some(value) = reader.take("sasl.mechanism").or_else(|| reader.take("sasl.mechanisms")) else {
        // What Kafka's clients take when they are not told; then only this shows that it is meant.
        if reader.properties.get(kerberos::SERVICE).is_some() {
            return Ok(Mechanism::Gssapi);
        }
        let names = names.map(|(name, _)| name).join(", ");
        return Err(ConfigError(format!("sasl.mechanism is not set; it is one of {names}")));
    };
    match value.text.expose() {
        "AWS_MSK_IAM" => Err(wrong(
            &value,
            "IAM is not supported; use the listener with SCRAM-SHA-512 or TLS client certificates",
        )),
        _ => one_of(&value, &names),
    }
}

/// A login module that fits the mechanism, and what was written in it.
pub(super) struct Jaas {
    pub(super) value: Value,
    options: BTreeMap<String, String>,
}

impl Jaas {
    fn read(value: Value, mechanism: Mechanism) -> Result<Self, ConfigError> {
        let login = jaas::parse(value.text.expose()).map_err(|problem| wrong(&value, problem))?;
        let wanted = match mechanism {
            Mechanism::Plain => "PlainLoginModule",
            Mechanism::ScramSha256 | Mechanism::ScramSha512 => "ScramLoginModule",
            Mechanism::OauthBearer => "OAuthBearerLoginModule",
            Mechanism::Gssapi => "Krb5LoginModule",
        };
        if login.module != wanted {
            let found = login.module;
            return Err(wrong(
                &value,
                format!("sasl.mechanism {mechanism} goes with {wanted}, not with {found}"),
            ));
        }
        Ok(Self { value, options: login.options })
    }

    pub(super) fn take(&mut self, option: &str) -> Option<String> {
        self.options.remove(option)
    }

    pub(super) fn need(&mut self, option: &str) -> Result<String, ConfigError> {
        self.take(option).ok_or_else(|| wrong(&self.value, format!("it has no {option}=\"…\"")))
    }

    /// Every option was understood.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        match self.options.keys().next() {
            Some(name) => Err(wrong(&self.value, format!("its option {name} is not supported"))),
            None => Ok(()),
        }
    }
}

fn password(reader: &mut Reader, jaas: Option<Jaas>) -> Result<Login, ConfigError> {
    let Some(mut jaas) = jaas else {
        let why = "set it and sasl.password, or sasl.jaas.config";
        let username = reader.need("sasl.username", why)?;
        let password = reader.need("sasl.password", "it goes with sasl.username")?;
        return Ok(Login::Password { username: username.text.expose().to_owned(), password: password.text });
    };
    if let Some(second) = reader.take("sasl.username").or_else(|| reader.take("sasl.password")) {
        return Err(wrong(&second, SAID_TWICE));
    }
    let login = Login::Password { username: jaas.need("username")?, password: jaas.need("password")?.into() };
    jaas.finish()?;
    Ok(login)
}

fn token(reader: &mut Reader, jaas: Option<Jaas>) -> Result<Login, ConfigError> {
    let mut jaas = jaas.unwrap_or_else(|| Jaas {
        value: Value { text: "".into(), origin: "sasl.jaas.config".into() },
        options: BTreeMap::new(),
    });
    let mut extensions = Vec::new();
    for (name, value) in std::mem::take(&mut jaas.options) {
        match name.strip_prefix("extension_") {
            Some(name) => extensions.push((name.to_owned(), value)),
            None => drop(jaas.options.insert(name, value)),
        }
    }
    let url = reader.need(
        TOKEN_URL,
        "set it to the token endpoint (https://…), or to a file that holds the token (file:///…)",
    )?;
    let mut either = |key: &str, option: &str| -> Option<Secret> {
        let in_jaas = jaas.take(option).map(Secret::from);
        reader.take(key).map(|value| value.text).or(in_jaas)
    };
    let (id, secret) = (either(CLIENT_ID, "clientId"), either(CLIENT_SECRET, "clientSecret"));
    let scope = either(SCOPE, "scope").map(|scope| scope.expose().to_owned());
    let text = url.text.expose();
    let source = if let Some(path) = text.strip_prefix("file://") {
        TokenSource::File(path.to_owned())
    } else if text.starts_with("https://") || text.starts_with("http://") {
        let missing = |key: &str, option: &str| {
            ConfigError(format!(
                "{key} is not set (nor {option} in sasl.jaas.config); the token endpoint asks for it"
            ))
        };
        TokenSource::ClientCredentials {
            url: text.to_owned(),
            client_id: id.ok_or_else(|| missing(CLIENT_ID, "clientId"))?.expose().to_owned(),
            client_secret: secret.ok_or_else(|| missing(CLIENT_SECRET, "clientSecret"))?,
            scope,
        }
    } else {
        return Err(wrong(&url, "expected https://…, http://… or file:///…"));
    };
    if text.starts_with("http://") {
        reader.warnings.push(format!("{}: the client secret and the token travel unencrypted", url.origin));
    }
    jaas.finish()?;
    Ok(Login::Token { source, extensions })
}
