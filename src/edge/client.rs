//! A blocking Kafka client for control: metadata, topics, configs, the ledger. Slow paths only; data goes through shards.

use crate::config::{Address, Cluster};
use crate::limits::ANSWER_BYTES_MAX;
use crate::wire::control;
use crate::wire::frame::{SIZE_BYTES, frame_bytes};
use crate::wire::versions::{Versions, api_name};
use bytes::Bytes;
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request, StrBytes};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// The newest ApiVersions that is asked for first.
const API_VERSIONS_MAX: i16 = 3;

/// Why a request has no answer. Every one of them but `Unsupported` leaves the connection useless.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(
        "{address} cannot be reached: {cause}; check the address, and that the broker runs and listens there"
    )]
    Unreachable { address: Address, cause: io::Error },
    #[error("{address} closed the connection{hint}")]
    Closed { address: Address, hint: &'static str },
    #[error("{address} did not answer {api} within {} ms", timeout.as_millis())]
    Slow { address: Address, api: String, timeout: Duration },
    #[error("{address} does not answer as a Kafka broker does: {cause}")]
    NotKafka { address: Address, cause: String },
    #[error("{address}: {cause}")]
    Unsupported { address: Address, cause: String },
    #[error("{address}: {cause}")]
    Broken { address: Address, cause: io::Error },
    #[error("broker {0} is not known to the cluster")]
    UnknownBroker(i32),
}

/// One connection, past its handshake.
pub struct Client {
    address: Address,
    stream: TcpStream,
    versions: Versions,
    client_id: String,
    correlation_id: i32,
    timeout: Duration,
}

impl Client {
    /// Connects to the first of the address's IP addresses that answers, and asks which API versions are spoken there.
    pub fn connect(address: &Address, client_id: &str, timeout: Duration) -> Result<Self, ClientError> {
        let stream = dial(address, timeout)
            .map_err(|cause| ClientError::Unreachable { address: address.clone(), cause })?;
        let mut client = Self {
            address: address.clone(),
            stream,
            versions: Versions::default(),
            client_id: client_id.to_owned(),
            correlation_id: 0,
            timeout,
        };
        client.negotiate()?;
        Ok(client)
    }

    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Asks and waits for the answer, in the newest version that both sides speak between `min` and `max`. `request` is made
    /// for that version, since a field that it does not have must not be set.
    pub fn call<R: Request + HeaderVersion>(
        &mut self,
        min: i16,
        max: i16,
        request: impl FnOnce(i16) -> R,
    ) -> Result<R::Response, ClientError>
    where
        R::Response: Decodable + HeaderVersion,
    {
        let Some(version) = self.versions.pick(R::KEY, min, max) else {
            let cause = self.versions.why_not(R::KEY, min, max);
            return Err(ClientError::Unsupported { address: self.address.clone(), cause });
        };
        self.exchange(version, &request(version))
    }

    fn negotiate(&mut self) -> Result<(), ClientError> {
        for version in [API_VERSIONS_MAX, 0] {
            let mut request = ApiVersionsRequest::default();
            if version >= 3 {
                request = request
                    .with_client_software_name(StrBytes::from_static_str("twinlog"))
                    .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
            }
            let frame = self.exchange_frame(version, &request).map_err(|error| match error {
                ClientError::Closed { address, .. } => ClientError::Closed {
                    address,
                    hint: " at the first request; does it expect TLS or SASL on this port?",
                },
                error => error,
            })?;
            if let Some(versions) =
                Versions::read(version, frame).map_err(|bad| self.not_kafka(bad.to_string()))?
            {
                self.versions = versions;
                return Ok(());
            }
        }
        Err(self
            .not_kafka("it does not know ApiVersions; brokers before Kafka 0.10 are not supported".into()))
    }

    fn exchange<R: Request + HeaderVersion>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<R::Response, ClientError>
    where
        R::Response: Decodable + HeaderVersion,
    {
        let frame = self.exchange_frame(version, request)?;
        control::decode(version, frame).map_err(|bad| self.not_kafka(bad.to_string()))
    }

    fn exchange_frame<R: Request + HeaderVersion>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<Bytes, ClientError> {
        let correlation_id = self.correlation_id;
        self.correlation_id = self.correlation_id.wrapping_add(1) & i32::MAX;
        let bytes = control::encode(request, version, correlation_id, &self.client_id);
        self.stream.write_all(&bytes).map_err(|cause| self.broken(R::KEY, cause))?;
        let mut prefix = [0; SIZE_BYTES];
        self.stream.read_exact(&mut prefix).map_err(|cause| self.broken(R::KEY, cause))?;
        let size = frame_bytes(prefix, ANSWER_BYTES_MAX).map_err(|bad| self.not_kafka(bad.to_string()))?;
        // Grows as bytes arrive, not by what the peer announces.
        let mut frame = Vec::new();
        (&self.stream)
            .take(size as u64)
            .read_to_end(&mut frame)
            .map_err(|cause| self.broken(R::KEY, cause))?;
        if frame.len() < size {
            return Err(self.broken(R::KEY, io::ErrorKind::UnexpectedEof.into()));
        }
        match control::correlation_id(&frame) {
            Ok(answered) if answered == correlation_id => Ok(frame.into()),
            Ok(answered) => {
                Err(self.not_kafka(format!("it answered request {answered} instead of {correlation_id}")))
            }
            Err(bad) => Err(self.not_kafka(bad.to_string())),
        }
    }

    fn not_kafka(&self, cause: String) -> ClientError {
        ClientError::NotKafka { address: self.address.clone(), cause }
    }

    fn broken(&self, api_key: i16, cause: io::Error) -> ClientError {
        let address = self.address.clone();
        match cause.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                ClientError::Slow { address, api: api_name(api_key), timeout: self.timeout }
            }
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                ClientError::Closed { address, hint: "" }
            }
            _ => ClientError::Broken { address, cause },
        }
    }
}

/// A cluster, spoken to through whichever of its brokers a request needs. Connections are kept, and made anew after errors.
pub struct ClusterClient {
    bootstrap: Vec<Address>,
    brokers: BTreeMap<i32, Address>,
    /// By broker id; -1 is whichever bootstrap or known broker answered.
    clients: BTreeMap<i32, Client>,
    client_id: String,
    timeout: Duration,
}

/// Stands for "any broker" where a broker id is asked for.
pub const ANY_BROKER: i32 = -1;

impl ClusterClient {
    pub fn new(cluster: &Cluster, client_id: &str, timeout: Duration) -> Self {
        Self {
            bootstrap: cluster.bootstrap.clone(),
            brokers: BTreeMap::new(),
            clients: BTreeMap::new(),
            client_id: client_id.to_owned(),
            timeout,
        }
    }

    /// What the cluster's metadata says of its brokers.
    pub fn set_brokers(&mut self, brokers: BTreeMap<i32, Address>) {
        self.clients.retain(|id, client| *id == ANY_BROKER || brokers.get(id) == Some(client.address()));
        self.brokers = brokers;
    }

    pub fn brokers(&self) -> &BTreeMap<i32, Address> {
        &self.brokers
    }

    /// [`Client::call`] to a broker by id, or to [`ANY_BROKER`]. After an error the next call dials again.
    pub fn call<R: Request + HeaderVersion>(
        &mut self,
        broker: i32,
        min: i16,
        max: i16,
        request: impl FnOnce(i16) -> R,
    ) -> Result<R::Response, ClientError>
    where
        R::Response: Decodable + HeaderVersion,
    {
        let answer = self.client(broker)?.call(min, max, request);
        if matches!(&answer, Err(error) if !matches!(error, ClientError::Unsupported { .. })) {
            self.clients.remove(&broker);
        }
        answer
    }

    /// The connection to a broker.
    pub fn client(&mut self, broker: i32) -> Result<&mut Client, ClientError> {
        if !self.clients.contains_key(&broker) {
            let client = self.connect(broker)?;
            self.clients.insert(broker, client);
        }
        self.clients.get_mut(&broker).ok_or(ClientError::UnknownBroker(broker))
    }

    /// Any broker: those of the last metadata first, since bootstrap addresses may be out of date, then the bootstrap list.
    fn connect(&self, broker: i32) -> Result<Client, ClientError> {
        if broker != ANY_BROKER {
            let address = self.brokers.get(&broker).ok_or(ClientError::UnknownBroker(broker))?;
            return Client::connect(address, &self.client_id, self.timeout);
        }
        let mut first_error = None;
        for address in self.brokers.values().chain(&self.bootstrap) {
            match Client::connect(address, &self.client_id, self.timeout) {
                Ok(client) => return Ok(client),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        Err(first_error.unwrap_or(ClientError::UnknownBroker(broker)))
    }
}

/// Tries each of the host's IP addresses.
fn dial(address: &Address, timeout: Duration) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
    for socket_address in (address.host.as_str(), address.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&socket_address, timeout) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(timeout))?;
                stream.set_write_timeout(Some(timeout))?;
                return Ok(stream);
            }
            Err(cause) => last = cause,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// A peer that reads the first request and answers with these bytes.
    fn peer(answer: &'static [u8]) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().into();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer);
        });
        address
    }

    fn complaint(address: &Address) -> String {
        match Client::connect(address, "test", Duration::from_secs(5)) {
            Ok(_) => panic!("that was no broker"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_peer_that_is_no_plaintext_broker_is_named() {
        assert!(complaint(&peer(b"\x15\x03\x03\x00\x02\x02\x46")).contains("TLS"));
        assert!(complaint(&peer(b"HTTP/1.1 400 Bad Request\r\n\r\n")).contains("HTTP"));
        assert!(complaint(&peer(b"\x7f\xff\xff\xff____")).contains("does not answer as a Kafka broker"));
        assert!(complaint(&peer(b"")).contains("does it expect TLS or SASL"));
    }

    #[test]
    fn an_address_where_nobody_listens_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address: Address = listener.local_addr().unwrap().into();
        drop(listener);
        assert!(complaint(&address).contains(&format!("{address} cannot be reached")));
    }
}
