//! The only place with sockets, threads, time and files.
// Clocks, threads and environment variables are what this folder is for.
#![allow(clippy::disallowed_methods)]

pub mod client;
pub mod logging;
pub mod progress;
pub mod signals;
