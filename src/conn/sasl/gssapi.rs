//! GSSAPI (RFC 4752) with Kerberos: tokens until both sides have proved who they are, then the broker's offer of security layers,
//! of which Kafka has none. TLS is what protects the data.

use super::{Message, SaslError};
use std::fmt;

/// A security context with one broker (RFC 2743), past its first token. What it does is computed, and waits for nobody: whatever
/// had to be asked of a KDC was asked for that token. Errors are the library's own words.
pub trait SecurityContext: Send {
    /// Takes the broker's token, and gives the next one for it; empty: there is none.
    fn step(&mut self, token: &[u8]) -> Result<Vec<u8>, String>;

    /// Both sides have proved who they are; messages can be wrapped.
    fn is_established(&self) -> bool;

    /// Protected against changes, but for everybody to read.
    fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, String>;

    fn unwrap(&mut self, message: &[u8]) -> Result<Vec<u8>, String>;
}

/// Of the bit mask of security layers: none.
const NO_LAYER: u8 = 1;
/// What we choose: no layer, hence no wrapped messages of any size. No name behind it: we are who the ticket says.
const CHOICE: [u8; 4] = [NO_LAYER, 0, 0, 0];

/// A login for which there is a ticket.
pub struct Gssapi {
    context: Box<dyn SecurityContext>,
    first: Message,
    awaited: Awaited,
}

/// What the broker is to send.
enum Awaited {
    Token,
    Offer,
    Nothing,
}

impl Gssapi {
    /// `first` is the context's first token.
    pub fn new(context: Box<dyn SecurityContext>, first: Vec<u8>) -> Self {
        Self { context, first: first.into(), awaited: Awaited::Token }
    }

    pub(super) fn first(&self) -> Message {
        self.first.clone()
    }

    /// The next message, None when the broker has let us in.
    pub(super) fn answer(&mut self, message: &[u8]) -> Result<Option<Message>, SaslError> {
        let next = match self.awaited {
            Awaited::Token => {
                let token = self.context.step(message).map_err(SaslError::Kerberos)?;
                if self.context.is_established() {
                    self.awaited = Awaited::Offer;
                }
                token
            }
            Awaited::Offer => {
                let offer = self.context.unwrap(message).map_err(SaslError::Kerberos)?;
                match offer[..] {
                    [layers, _, _, _] if layers & NO_LAYER != 0 => {}
                    [_, _, _, _] => {
                        return Err(SaslError::Senseless("it insists on a security layer of GSSAPI"));
                    }
                    _ => {
                        return Err(SaslError::Senseless(
                            "its offer of security layers is not four bytes long",
                        ));
                    }
                }
                self.awaited = Awaited::Nothing;
                self.context.wrap(&CHOICE).map_err(SaslError::Kerberos)?
            }
            Awaited::Nothing if message.is_empty() => return Ok(None),
            Awaited::Nothing => return Err(SaslError::Senseless("it says more than there is to say")),
        };
        Ok(Some(next.into()))
    }
}

impl fmt::Debug for Gssapi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gssapi")
    }
}
