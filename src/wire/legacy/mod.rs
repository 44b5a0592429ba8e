//! What Kafka before 0.11 speaks and modern clusters do not: message sets, made into record batches ([`convert`]), and the few
//! requests that `kafka-protocol` does not have any more ([`requests`]). Fetch of those versions is in [`super::fetch`].

pub mod convert;
mod lz4;
pub mod message;
pub mod requests;

#[cfg(test)]
mod tests;
