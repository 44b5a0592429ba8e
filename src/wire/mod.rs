//! Bytes of the Kafka protocol. What the data plane touches (Fetch answers, Produce requests, batch headers) is written by
//! hand and never copies a payload; every other API goes through the crate `kafka-protocol` ([`control`]).
