//! The only place with sockets, threads, time and files.
