//! Tokens for OAUTHBEARER: out of a file, or from a token endpoint by the client credentials grant (RFC 6749, section 4.4).

use super::{clock, https, tls};
use crate::config::Secret;
use crate::config::security::{Tls, TokenSource};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);
/// A token is replaced when this much of its life is over. A session ends with the token's life, and the next login comes when
/// 85 % of the session are over: then there is a new one.
const USED_PERCENT: i64 = 80;
/// How long a token serves that does not say.
const LIFETIME_UNKNOWN_MS: i64 = 60_000;
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Where one cluster's tokens come from, and the last one.
pub(super) struct Tokens {
    source: TokenSource,
    /// The cluster's own authorities are good for the token endpoint too, beside the machine's.
    tls: Option<tls::Context>,
    last: Mutex<Option<Token>>,
}

#[derive(Clone)]
struct Token {
    text: Secret,
    /// Wall clock, ms.
    renew_at_ms: i64,
    ends_at_ms: i64,
}

impl Tokens {
    pub(super) fn new(source: &TokenSource, tls: Option<&Tls>) -> Self {
        Self { source: source.clone(), tls: tls.map(tls::Context::new), last: Mutex::new(None) }
    }

    /// A token to log in with. Blocks when a new one has to be asked for.
    pub(super) fn get(&self) -> Result<Secret, String> {
        let TokenSource::ClientCredentials { url, client_id, client_secret, scope } = &self.source else {
            return self.read();
        };
        // Whoever comes meanwhile waits for the same answer.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = clock::now().wall_ms;
        if let Some(token) = last.as_ref().filter(|token| now_ms < token.renew_at_ms) {
            return Ok(token.text.clone());
        }
        match self.ask(url, client_id, client_secret, scope.as_deref()) {
            Ok(token) => {
                *last = Some(token.clone());
                Ok(token.text)
            }
            Err(error) => match last.as_ref().filter(|token| now_ms < token.ends_at_ms) {
                Some(token) => {
                    tracing::warn!(error, "no new token for now; the last one serves on");
                    Ok(token.text.clone())
                }
                None => Err(error),
            },
        }
    }

    /// Out of the file.
    fn read(&self) -> Result<Secret, String> {
        let TokenSource::File(path) = &self.source else { return Err("there is no token file".into()) };
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read the token file {path}: {error}"))?;
        match text.trim() {
            "" => Err(format!("the token file {path} is empty")),
            token => Ok(token.into()),
        }
    }

    fn ask(
        &self,
        url: &str,
        client_id: &str,
        client_secret: &Secret,
        scope: Option<&str>,
    ) -> Result<Token, String> {
        let failed = |cause: String| format!("the token endpoint {url}: {cause}");
        let basic = STANDARD.encode(format!("{client_id}:{}", client_secret.expose()));
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(scope.map(|scope| ("scope", scope)));
        let answer = https::agent(self.tls.as_ref(), TIMEOUT)
            .map_err(failed)?
            .post(url)
            .header("Authorization", format!("Basic {basic}"))
            .header("Accept", "application/json")
            .send_form(form);
        let mut answer = answer.map_err(|error| failed(error.to_string()))?;
        let status = answer.status();
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(|error| failed(error.to_string()))?;
        if !status.is_success() {
            return Err(failed(format!(
                "{status}{}; check the client's id, secret and scope",
                refusal(&body)
            )));
        }
        token(&body, clock::now().wall_ms).map_err(failed)
    }
}

/// RFC 6749, section 5.1.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<f64>,
}

/// The claims of a JWT that matter here (RFC 7519), in seconds.
#[derive(Deserialize)]
struct Claims {
    exp: Option<f64>,
}

fn token(body: &[u8], now_ms: i64) -> Result<Token, String> {
    let granted: Granted =
        serde_json::from_slice(body).map_err(|_| "its answer has no access_token".to_owned())?;
    let lifetime_ms = match (granted.expires_in, expiry_ms(&granted.access_token)) {
        (_, Some(exp_ms)) => exp_ms - now_ms,
        (Some(seconds), None) => (seconds * 1e3) as i64,
        (None, None) => LIFETIME_UNKNOWN_MS,
    };
    if lifetime_ms <= 0 {
        return Err("its token has expired already; check the clocks of both machines".into());
    }
    let renew_at_ms = now_ms + lifetime_ms / 100 * USED_PERCENT;
    let ends_at_ms = now_ms.saturating_add(lifetime_ms);
    Ok(Token { text: granted.access_token.into(), renew_at_ms, ends_at_ms })
}

/// When a JWT ends. None for a token of another kind.
fn expiry_ms(token: &str) -> Option<i64> {
    let claims = token.split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    Some((claims.exp? * 1e3) as i64)
}

/// RFC 6749, section 5.2.
#[derive(Deserialize)]
struct Refused {
    error: Option<String>,
    error_description: Option<String>,
}

fn refusal(body: &[u8]) -> String {
    let Ok(refused) = serde_json::from_slice::<Refused>(body) else { return String::new() };
    let parts = [refused.error, refused.error_description];
    let text: String = parts.into_iter().flatten().map(|part| format!(", {part}")).collect();
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("e30.{}.", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_is_renewed_before_it_ends() {
        let token = |body: &str| token(body.as_bytes(), 1_000_000);
        let opaque = token(r#"{"access_token": "abc", "expires_in": 100, "token_type": "Bearer"}"#).unwrap();
        assert_eq!(
            (opaque.text.expose(), opaque.renew_at_ms, opaque.ends_at_ms),
            ("abc", 1_080_000, 1_100_000)
        );
        // The token's own word counts.
        let own = token(&format!(r#"{{"access_token": "{}", "expires_in": 100}}"#, jwt(r#"{"exp": 1050}"#)))
            .unwrap();
        assert_eq!((own.renew_at_ms, own.ends_at_ms), (1_040_000, 1_050_000));
        let silent = token(r#"{"access_token": "a.b.c"}"#).unwrap();
        assert_eq!(silent.ends_at_ms, 1_000_000 + LIFETIME_UNKNOWN_MS);
        let over = format!(r#"{{"access_token": "{}"}}"#, jwt(r#"{"exp": 999}"#));
        assert!(token(&over).err().unwrap().contains("expired"));
        assert!(token("{}").err().unwrap().contains("access_token"));
        assert!(token("\u{1}").is_err());
        assert!(token(r#"{"access_token": "a", "expires_in": 1e300}"#).unwrap().ends_at_ms > 0);
    }

    /// Answers one request, and gives it.
    fn endpoint(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = String::new();
            while !request.contains("grant_type=") {
                let mut bytes = [0; 4096];
                let n = socket.read(&mut bytes).unwrap();
                request.push_str(std::str::from_utf8(&bytes[..n]).unwrap());
            }
            socket.write_all(answer.as_bytes()).unwrap();
            request
        });
        (url, thread)
    }

    fn tokens(url: String) -> Tokens {
        let source = TokenSource::ClientCredentials {
            url,
            client_id: "me".into(),
            client_secret: "hunter2".into(),
            scope: Some("kafka all".into()),
        };
        Tokens { source, tls: None, last: Mutex::new(None) }
    }

    #[test]
    fn a_token_is_asked_for_once_while_it_is_young() {
        let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 43\r\n\r\n\
                      {\"access_token\": \"abc\", \"expires_in\": 3600}";
        let (url, served) = endpoint(answer);
        let tokens = tokens(url);
        assert_eq!(tokens.get().unwrap().expose(), "abc");
        assert_eq!(tokens.get().unwrap().expose(), "abc");
        let request = served.join().unwrap();
        assert!(request.starts_with("POST /token HTTP/1.1\r\n"), "{request}");
        assert!(request.to_lowercase().contains("authorization: basic bwu6ahvudgvymg=="), "{request}");
        assert!(request.ends_with("grant_type=client_credentials&scope=kafka+all"), "{request}");
    }

    #[test]
    fn an_endpoint_that_refuses_or_is_gone_is_named() {
        let answer = "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 27\r\n\r\n\
                      {\"error\": \"invalid_client\"}";
        let (url, served) = endpoint(answer);
        let refused = tokens(url.clone()).get().unwrap_err();
        assert!(
            refused.contains(&url) && refused.contains("401") && refused.contains("invalid_client"),
            "{refused}"
        );
        assert!(!refused.contains("hunter2"), "{refused}");
        served.join().unwrap();
        assert!(tokens(url.clone()).get().unwrap_err().contains(&url));
    }

    #[test]
    fn a_refusal_is_quoted_without_control_characters() {
        let body = br#"{"error": "invalid_client", "error_description": "no\nsuch client"}"#;
        assert_eq!(refusal(body), ", invalid_client, nosuch client");
        assert_eq!(refusal(b"<html>"), "");
    }
}
