//! The only place with sockets, threads, time and files.

pub mod logging;
pub mod progress;
pub mod signals;
