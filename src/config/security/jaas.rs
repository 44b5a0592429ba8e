//! `sasl.jaas.config`: one login module, its control flag, and options in the grammar of Java's `JaasConfig`:
//! `CLASS required NAME="VALUE" … ;`

use std::collections::BTreeMap;

/// The module's class without its package, and its options.
pub(super) struct Login {
    pub(super) module: String,
    pub(super) options: BTreeMap<String, String>,
}

const FLAGS: [&str; 4] = ["required", "requisite", "sufficient", "optional"];

/// Errors say what was expected and never quote the text, which holds a password.
pub(super) fn parse(text: &str) -> Result<Login, String> {
    let mut words = words(text)?.into_iter();
    let Some(Word::Text(class)) = words.next() else {
        return Err("expected the class of a login module first".into());
    };
    let flag = match words.next() {
        Some(Word::Text(flag)) => flag.to_ascii_lowercase(),
        _ => String::new(),
    };
    if !FLAGS.contains(&flag.as_str()) {
        return Err("expected `required` behind the class of the login module".into());
    }
    let mut options = BTreeMap::new();
    loop {
        let name = match words.next() {
            Some(Word::Semicolon) => break,
            Some(Word::Text(name)) => name,
            Some(Word::Equals) => return Err("there is a `=` without a name before it".into()),
            None => return Err("expected `;` at its end".into()),
        };
        match (words.next(), words.next()) {
            (Some(Word::Equals), Some(Word::Text(value))) => options.insert(name, value),
            _ => return Err(format!("expected {name}=\"VALUE\"")),
        };
    }
    if words.next().is_some() {
        return Err("there is more than one login module in it; Kafka allows one".into());
    }
    let module = class.rsplit('.').next().unwrap_or_default().to_owned();
    Ok(Login { module, options })
}

#[derive(PartialEq, Eq)]
enum Word {
    Text(String),
    Equals,
    Semicolon,
}

fn words(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {}
            '=' => words.push(Word::Equals),
            ';' => words.push(Word::Semicolon),
            quote @ ('"' | '\'') => {
                let mut value = String::new();
                loop {
                    match chars.next() {
                        None => return Err("a quote is not closed".into()),
                        Some(c) if c == quote => break,
                        Some('\\') => value.extend(chars.next().map(unescaped)),
                        Some(c) => value.push(c),
                    }
                }
                words.push(Word::Text(value));
            }
            c => {
                let mut word = String::from(c);
                while let Some(c) =
                    chars.next_if(|c| !c.is_whitespace() && !matches!(c, '=' | ';' | '"' | '\''))
                {
                    word.push(c);
                }
                words.push(Word::Text(word));
            }
        }
    }
    Ok(words)
}

/// As `java.io.StreamTokenizer` reads a quoted string.
fn unescaped(c: char) -> char {
    match c {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn modules_and_options_are_read() {
        let text = "org.apache.kafka.common.security.scram.ScramLoginModule required\n  username=\"al ice\" \
                    password='a\"b;=\\\\c' tokenauth=true;";
        let login = parse(text).unwrap();
        assert_eq!(login.module, "ScramLoginModule");
        let options: Vec<_> = login.options.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(options, [("password", "a\"b;=\\c"), ("tokenauth", "true"), ("username", "al ice")]);
        assert!(parse("M REQUIRED;").unwrap().options.is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_without_showing_the_password() {
        for (text, expected) in [
            ("", "class"),
            ("M username=\"hunter2\";", "required"),
            ("M required username=\"hunter2\"", "`;`"),
            ("M required username=;", "username=\"VALUE\""),
            ("M required password=\"hunter2;", "quote"),
            ("M required a=hunter2; N required;", "more than one"),
            ("M required = hunter2;", "without a name"),
        ] {
            let Err(error) = parse(text) else { panic!("{text} was read") };
            assert!(error.contains(expected) && !error.contains("hunter2"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "\\PC*|[a =;\"'\\\\]{0,40}") {
            let _ = parse(&text);
        }
    }
}
