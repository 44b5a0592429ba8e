//! What a running link shows over HTTP: metrics, health, and where every partition stands; and, for who has the token, what can be
//! changed of it.
//!
//! [`server`] speaks HTTP, [`answers`] says what is asked for, [`changes`] does what is wished, [`page`] is what a browser shows.

mod answers;
mod changes;
mod page;
mod server;
#[cfg(test)]
mod tests;

pub use changes::Changes;
pub(super) use changes::read_token;

use super::outside::Outside;
use page::Page;
use server::Server;
use std::net::SocketAddr;
use std::sync::Arc;

/// Listens until it is dropped.
pub struct Listener(Server);

impl Listener {
    /// The error says why nobody can listen there.
    pub fn start(address: SocketAddr, outside: &Arc<Outside>, changes: Changes) -> Result<Self, String> {
        let (outside, page) = (Arc::clone(outside), Page::new());
        let server = Server::start(address, move |request| {
            let watch = outside.board.latest();
            match changes.answer(request, watch.as_deref()) {
                Some(answer) => answer,
                None => answers::answer(request, &outside, watch.as_ref(), &page),
            }
        });
        let listener = Self(server.map_err(|error| error.to_string())?);
        tracing::info!("listening on http://{}: {}", listener.0.address(), answers::PATHS.trim_end());
        Ok(listener)
    }
}
