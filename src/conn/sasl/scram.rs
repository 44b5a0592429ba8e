//! SCRAM-SHA-256 and SCRAM-SHA-512 (RFC 5802, RFC 7677): both sides prove that they know the password, and neither says it.

use super::SaslError;
use crate::config::Secret;
use crate::config::security::Mechanism;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::digest::{Digest, KeyInit};
use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha512};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

/// RFC 7677 and Kafka's `ScramMechanism` ask for no less. A broker that asks for less wants to guess the password.
const ITERATIONS_MIN: u32 = 4_096;
/// A hostile broker could keep us busy for hours. Kafka's own maximum is 16,384.
const ITERATIONS_MAX: u32 = 1_000_000;
/// The header of a client without channel binding, and what stands for it in the last message.
const GS2_HEADER: &str = "n,,";
const CHANNEL_BINDING: &str = "c=biws";

/// What was computed from a password and a salt: thousands of hashes, and the same for every connection, as the broker keeps one
/// salt for each user.
#[derive(Default)]
pub struct SaltedPasswords(Mutex<Option<Salted>>);

#[derive(Clone)]
struct Salted {
    mechanism: Mechanism,
    salt: Vec<u8>,
    iterations: u32,
    password: Secret,
    salted: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for SaltedPasswords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SaltedPasswords")
    }
}

impl SaltedPasswords {
    pub(super) fn get(
        &self,
        mechanism: Mechanism,
        password: &Secret,
        salt: &[u8],
        iterations: u32,
    ) -> Zeroizing<Vec<u8>> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*last
            && last.mechanism == mechanism
            && last.salt == salt
            && last.iterations == iterations
            && last.password == *password
        {
            return last.salted.clone();
        }
        let salted = match mechanism {
            Mechanism::ScramSha256 => Sha256::salt(password, salt, iterations),
            _ => Sha512::salt(password, salt, iterations),
        };
        let (salt, password) = (salt.to_vec(), password.clone());
        *last = Some(Salted { mechanism, salt, iterations, password, salted: salted.clone() });
        salted
    }
}

pub(super) struct Scram {
    mechanism: Mechanism,
    password: Secret,
    nonce: String,
    salted: std::sync::Arc<SaltedPasswords>,
    /// `client-first-message-bare` of the RFC.
    first_bare: String,
    /// What the server must sign, once it has been asked to.
    expected: Option<Vec<u8>>,
    is_done: bool,
}

impl Scram {
    pub(super) fn new(
        mechanism: Mechanism,
        username: String,
        password: Secret,
        nonce: String,
        salted: std::sync::Arc<SaltedPasswords>,
    ) -> Self {
        let name = username.replace('=', "=3D").replace(',', "=2C");
        let first_bare = format!("n={name},r={nonce}");
        Self { mechanism, password, nonce, salted, first_bare, expected: None, is_done: false }
    }

    pub(super) fn first(&self) -> Secret {
        format!("{GS2_HEADER}{}", self.first_bare).into()
    }

    /// The next message, None when the server has proved itself.
    pub(super) fn answer(&mut self, message: &[u8]) -> Result<Option<Secret>, SaslError> {
        let message = std::str::from_utf8(message).map_err(|_| SaslError::Senseless("it is no text"))?;
        match self.expected.take() {
            None if self.is_done => Err(SaslError::Senseless("it says more than there is to say")),
            None => self.server_first(message).map(Some),
            Some(expected) => {
                self.is_done = true;
                server_final(message, &expected).map(|()| None)
            }
        }
    }

    fn server_first(&mut self, message: &str) -> Result<Secret, SaslError> {
        let first = ServerFirst::read(message)?;
        if !first.nonce.starts_with(&self.nonce) || first.nonce.len() == self.nonce.len() {
            return Err(SaslError::Senseless("it answers somebody else's nonce"));
        }
        let salted = self.salted.get(self.mechanism, &self.password, &first.salt, first.iterations);
        let without_proof = format!("{CHANNEL_BINDING},r={}", first.nonce);
        let signed = format!("{},{message},{without_proof}", self.first_bare);
        let (proof, expected) = match self.mechanism {
            Mechanism::ScramSha256 => Sha256::prove(&salted, signed.as_bytes()),
            _ => Sha512::prove(&salted, signed.as_bytes()),
        };
        self.expected = Some(expected);
        Ok(format!("{without_proof},p={}", BASE64.encode(proof)).into())
    }
}

struct ServerFirst<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> ServerFirst<'a> {
    /// `r=NONCE,s=SALT,i=ITERATIONS`, perhaps with extensions behind.
    fn read(message: &'a str) -> Result<Self, SaslError> {
        let mut fields = message.split(',');
        let mut field = |name: &str| {
            let field = fields.next().and_then(|field| field.strip_prefix(name));
            field.ok_or(SaslError::Senseless("its first message is not as it should be"))
        };
        let (nonce, salt, iterations) = (field("r=")?, field("s=")?, field("i=")?);
        let salt = BASE64.decode(salt).map_err(|_| SaslError::Senseless("its salt is not in base64"))?;
        let iterations: u32 =
            iterations.parse().map_err(|_| SaslError::Senseless("its number of iterations is none"))?;
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(SaslError::Senseless(
                "it asks for fewer than 4096 or more than a million iterations",
            ));
        }
        Ok(Self { nonce, salt, iterations })
    }
}

/// `v=SIGNATURE` or `e=ERROR`.
fn server_final(message: &str, expected: &[u8]) -> Result<(), SaslError> {
    let field = message.split(',').next().unwrap_or_default();
    if field.starts_with("e=") {
        return Err(SaslError::Senseless("it refuses us in a way that Kafka does not"));
    }
    let signature = field.strip_prefix("v=").and_then(|text| BASE64.decode(text).ok());
    match signature {
        Some(signature) if signature == expected => Ok(()),
        _ => Err(SaslError::NotGenuine),
    }
}

/// The computations of the RFC's section 3, for one hash function.
trait Hash {
    fn salt(password: &Secret, salt: &[u8], iterations: u32) -> Zeroizing<Vec<u8>>;

    /// `ClientProof` and `ServerSignature` over `AuthMessage`.
    fn prove(salted: &[u8], signed: &[u8]) -> (Vec<u8>, Vec<u8>);
}

macro_rules! hash {
    ($hash:ty, $bytes:literal) => {
        impl Hash for $hash {
            fn salt(password: &Secret, salt: &[u8], iterations: u32) -> Zeroizing<Vec<u8>> {
                let mut salted = Zeroizing::new(vec![0; $bytes]);
                pbkdf2::pbkdf2_hmac::<$hash>(password.expose().as_bytes(), salt, iterations, &mut salted);
                salted
            }

            fn prove(salted: &[u8], signed: &[u8]) -> (Vec<u8>, Vec<u8>) {
                let mac = |key: &[u8], text: &[u8]| {
                    // HMAC takes keys of any length.
                    let mut mac = Hmac::<$hash>::new_from_slice(key).expect("any key will do");
                    mac.update(text);
                    mac.finalize().into_bytes()
                };
                let client_key = mac(salted, b"Client Key");
                let signature = mac(&<$hash>::digest(&client_key), signed);
                let proof = client_key.iter().zip(signature).map(|(key, signed)| key ^ signed).collect();
                (proof, mac(&mac(salted, b"Server Key"), signed).to_vec())
            }
        }
    };
}

hash!(Sha256, 32);
hash!(Sha512, 64);
