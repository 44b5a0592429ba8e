//! OAUTHBEARER (RFC 7628): a token that somebody else made out to us.

use crate::config::Secret;
use std::fmt::Write;

const SEPARATOR: char = '\u{1}';

pub(super) fn message(token: &Secret, extensions: &[(String, String)]) -> Secret {
    let mut text = format!("n,,{SEPARATOR}auth=Bearer {}{SEPARATOR}", token.expose());
    for (name, value) in extensions {
        let _ = write!(text, "{name}={value}{SEPARATOR}");
    }
    text.push(SEPARATOR);
    text.into()
}

/// What the broker has against the token. An empty answer means that it took it.
pub(super) fn refusal(answer: &[u8]) -> Option<&[u8]> {
    (!answer.is_empty()).then_some(answer)
}
