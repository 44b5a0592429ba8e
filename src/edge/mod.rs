//! The only place with sockets, threads, time and files.

pub mod client;
pub mod logging;
pub mod progress;
pub mod signals;
