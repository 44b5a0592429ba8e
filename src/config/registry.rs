//! A Schema Registry's settings, under the names that Confluent's clients have for them.

use super::placeholder::{self, Elsewhere};
use super::properties::Value;
use super::security::{Security, Tls};
use super::{ConfigError, Properties, Secret, nearest};

/// Where a registry is, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// `http(s)://HOST[:PORT][/PATH]`, without a slash at the end.
    pub url: String,
    pub login: Option<RegistryLogin>,
    /// None: the machine's own authorities.
    pub tls: Option<Tls>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryLogin {
    /// `USER:PASSWORD`
    Basic(Secret),
    Bearer(Secret),
}

/// All may begin with `schema.registry.`, as those do that stand among a Kafka client's settings.
const KEYS: [&str; 9] = [
    "url",
    "basic.auth.credentials.source",
    "basic.auth.user.info",
    "bearer.auth.credentials.source",
    "bearer.auth.token",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

impl Registry {
    /// The meaning of a file's properties. `url` counts before theirs. Every error names the place and the key.
    pub fn read(
        url: Option<String>,
        properties: &Properties,
        elsewhere: &dyn Elsewhere,
    ) -> Result<Self, ConfigError> {
        let mut known = known(properties, elsewhere)?;
        let url = match (url, known.take("url")) {
            (Some(url), _) => checked(&url).map_err(ConfigError)?,
            (None, Some(value)) => checked(value.text.expose()).map_err(|problem| wrong(&value, problem))?,
            (None, None) => {
                let problem =
                    "a registry's address is missing; give its URL, or schema.registry.url in its file";
                return Err(ConfigError(problem.into()));
            }
        };
        let login = login(&mut known)?;
        Ok(Self { tls: tls(known, &url, elsewhere)?, url, login })
    }
}

/// The properties under their short names, with their placeholders filled.
fn known(properties: &Properties, elsewhere: &dyn Elsewhere) -> Result<Properties, ConfigError> {
    let mut known = Properties::default();
    for (key, value) in properties.iter() {
        let short = key.strip_prefix("schema.registry.").unwrap_or(key);
        if !KEYS.contains(&short) {
            let hint = match nearest(short, KEYS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("those of a registry are {}", KEYS.join(", ")),
            };
            return Err(wrong(value, format!("there is no setting `{key}`; {hint}")));
        }
        let filled = placeholder::fill(value.text.expose(), elsewhere);
        let filled = filled.map_err(|problem| wrong(value, problem))?;
        known.set(short.to_owned(), filled.into(), value.origin.clone());
    }
    Ok(known)
}

fn checked(url: &str) -> Result<String, String> {
    let url = url.trim().trim_end_matches('/');
    let Some(place) = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")) else {
        return Err("expected a URL that begins with http:// or https://".into());
    };
    if place.contains('@') {
        return Err("there is a password in the URL, where others can see it; put it as basic.auth.user.info into the \
                    registry's file"
            .into());
    }
    if place.is_empty() || place.contains(|c: char| c.is_whitespace() || matches!(c, '?' | '#')) {
        return Err(format!("`{url}` is not of the form http(s)://HOST:PORT"));
    }
    Ok(url.to_owned())
}

fn login(known: &mut Properties) -> Result<Option<RegistryLogin>, ConfigError> {
    for (key, only) in
        [("basic.auth.credentials.source", "USER_INFO"), ("bearer.auth.credentials.source", "STATIC_TOKEN")]
    {
        if let Some(value) = known.take(key).filter(|value| value.text.expose() != only) {
            return Err(wrong(&value, format!("Twinlog takes them only from {only}")));
        }
    }
    match (known.take("basic.auth.user.info"), known.take("bearer.auth.token")) {
        (Some(_), Some(token)) => {
            Err(wrong(&token, "there is basic.auth.user.info, too; leave one of both out"))
        }
        (Some(user), None) if !user.text.expose().contains(':') => {
            Err(wrong(&user, "expected USER:PASSWORD"))
        }
        (Some(user), None) => Ok(Some(RegistryLogin::Basic(user.text))),
        (None, token) => Ok(token.map(|token| RegistryLogin::Bearer(token.text))),
    }
}

/// What is left is about trust, and a cluster's settings have it too.
fn tls(mut known: Properties, url: &str, elsewhere: &dyn Elsewhere) -> Result<Option<Tls>, ConfigError> {
    let Some(origin) = known.iter().next().map(|(_, value)| value.origin.clone()) else { return Ok(None) };
    if url.starts_with("http://") {
        return Err(ConfigError(format!("{origin}: it would not be used; the URL begins with http://")));
    }
    known.set("security.protocol".into(), "SSL".into(), origin);
    Ok(Security::read(known, elsewhere)?.tls)
}

fn wrong(value: &Value, problem: impl std::fmt::Display) -> ConfigError {
    ConfigError(format!("{}: {problem}", value.origin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::security::Trust;
    use std::io;

    struct Made;

    impl Elsewhere for Made {
        fn file(&self, _: &str) -> io::Result<String> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn variable(&self, name: &str) -> Option<String> {
            (name == "PW").then(|| "hunter2".into())
        }
    }

    fn read(url: Option<&str>, content: &str) -> Result<Registry, String> {
        let properties = Properties::from_file("r", content).unwrap();
        Registry::read(url.map(str::to_owned), &properties, &Made).map_err(|error| error.0)
    }

    #[test]
    fn a_registry_is_where_the_flag_or_the_file_says() {
        let plain = |url: &str| Registry { url: url.into(), login: None, tls: None };
        assert_eq!(read(Some("http://a:8081/"), ""), Ok(plain("http://a:8081")));
        assert_eq!(read(None, "schema.registry.url = https://b/registry"), Ok(plain("https://b/registry")));
        assert_eq!(read(Some("http://a"), "url=http://b"), Ok(plain("http://a")));
    }

    #[test]
    fn logins_and_authorities_come_from_the_file() {
        let user = read(Some("https://a"), "basic.auth.user.info = me:${env:PW}").unwrap();
        assert_eq!(user.login, Some(RegistryLogin::Basic("me:hunter2".into())));
        assert!(!format!("{user:?}").contains("hunter2"));
        let token = "schema.registry.bearer.auth.credentials.source=STATIC_TOKEN\n\
                     schema.registry.bearer.auth.token=t\nschema.registry.ssl.truststore.location=/ca.pem\n\
                     schema.registry.ssl.truststore.type=PEM";
        let token = read(Some("https://a"), token).unwrap();
        assert_eq!(token.login, Some(RegistryLogin::Bearer("t".into())));
        assert!(matches!(token.tls.unwrap().trust, Trust::File(file) if file.path == "/ca.pem"));
    }

    #[test]
    fn what_is_wrong_is_named_and_no_password_is_shown() {
        for (url, content, expected) in [
            (None, "", "give its URL, or schema.registry.url"),
            (Some("a:8081"), "", "begins with http:// or https://"),
            (Some("https://me:hunter2@a"), "", "there is a password in the URL"),
            (Some("http://a b"), "", "is not of the form"),
            (Some("http://a"), "basic.auth.user.inf=x", "r:1: basic.auth.user.inf: there is no setting"),
            (Some("http://a"), "basic.auth.user.info=hunter2", "expected USER:PASSWORD"),
            (
                Some("http://a"),
                "basic.auth.user.info=a:b\nbearer.auth.token=c",
                "r:2: bearer.auth.token: there is",
            ),
            (Some("http://a"), "basic.auth.credentials.source=URL", "only from USER_INFO"),
            (Some("http://a"), "ssl.truststore.location=/ca.pem", "the URL begins with http://"),
            (Some("http://a"), "basic.auth.user.info=${env:NONE}", "no variable NONE"),
        ] {
            let error = read(url, content).unwrap_err();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
        }
    }
}
