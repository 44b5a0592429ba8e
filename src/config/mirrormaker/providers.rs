//! `config.providers`: what fills the placeholders of a configuration of Kafka Connect in. Their names are the user's choice there;
//! here they are `file` and `env`.

use super::super::{ConfigError, Properties};
use std::collections::BTreeMap;

#[derive(Clone, Copy)]
enum Provider {
    File,
    Directory,
    Environment,
}

/// Each provider's name, and what it is; the error says what is wrong with it, for when it is used.
pub struct Providers(BTreeMap<String, Result<Provider, String>>);

const KEY: &str = "config.providers";

impl Providers {
    pub fn of(properties: &Properties) -> Self {
        let names = properties.get(KEY).map(|value| value.text.expose().to_owned()).unwrap_or_default();
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        Self(names.map(|name| (name.to_owned(), provider(name, properties))).collect())
    }

    /// The text with placeholders as Twinlog has them.
    pub fn translate(&self, text: &str, origin: &str) -> Result<String, ConfigError> {
        let mut translated = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(begin) = rest.find("${") {
            let (before, from) = rest.split_at(begin);
            let Some(end) = from.find('}') else { break };
            translated.push_str(before);
            match from[2..end].split_once(':').and_then(|(name, what)| Some((self.0.get(name)?, what))) {
                Some((Ok(provider), what)) => translated.push_str(&placeholder(*provider, what)),
                Some((Err(problem), _)) => return Err(ConfigError(format!("{origin}: {problem}"))),
                None => translated.push_str(&from[..=end]),
            }
            rest = &from[end + 1..];
        }
        translated.push_str(rest);
        Ok(translated)
    }
}

fn provider(name: &str, properties: &Properties) -> Result<Provider, String> {
    let key = format!("{KEY}.{name}.class");
    let class = properties.get(&key).map_or(name, |value| value.text.expose().trim());
    match class.rsplit('.').next().unwrap_or(class) {
        "FileConfigProvider" | "file" => Ok(Provider::File),
        "DirectoryConfigProvider" | "directory" | "dir" => Ok(Provider::Directory),
        "EnvVarConfigProvider" | "env" => Ok(Provider::Environment),
        _ => Err(format!(
            "the provider `{name}` is a Java class ({class}); there are FileConfigProvider, DirectoryConfigProvider and \
             EnvVarConfigProvider"
        )),
    }
}

fn placeholder(provider: Provider, what: &str) -> String {
    match provider {
        Provider::File => format!("${{file:{what}}}"),
        Provider::Directory => format!("${{file:{}}}", what.replacen(':', "/", 1)),
        Provider::Environment => format!("${{env:{}}}", what.rsplit(':').next().unwrap_or(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_go_by_their_class_and_unknown_ones_are_refused_where_they_are_used() {
        let content = "config.providers = secrets, env,dirs, vault\n\
                       config.providers.secrets.class=org.apache.kafka.common.config.provider.FileConfigProvider\n\
                       config.providers.dirs.class=org.apache.kafka.common.config.provider.DirectoryConfigProvider\n\
                       config.providers.vault.class=com.example.VaultProvider\n";
        let providers = Providers::of(&Properties::from_file("f", content).unwrap());
        for (text, expected) in [
            ("a${secrets:/etc/s.properties:key}b", "a${file:/etc/s.properties:key}b"),
            ("${dirs:/run/secrets:pw}", "${file:/run/secrets/pw}"),
            ("${env:PW} ${env::PW}", "${env:PW} ${env:PW}"),
            ("${other:x} ${open", "${other:x} ${open"),
        ] {
            assert_eq!(providers.translate(text, "f:1: k").unwrap(), expected);
        }
        let error = providers.translate("${vault:a:b}", "f:7: k").unwrap_err();
        assert!(
            error.0.starts_with("f:7: k: the provider `vault` is a Java class (com.example.VaultProvider)"),
            "{error}"
        );
    }
}
