//! PLAIN (RFC 4616): name and password as they are.

use crate::config::Secret;

pub(super) fn message(username: &str, password: &Secret) -> Secret {
    format!("\0{username}\0{}", password.expose()).into()
}
