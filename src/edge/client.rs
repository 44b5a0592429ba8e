//! A blocking Kafka client for control: metadata, topics, configs, the ledger. Slow paths only; data goes through shards.

use super::clock;
use super::security::{Access, NoLogin};
use super::sys;
use super::tls::{self, CLOSED_IN_HANDSHAKE};
use crate::config::{Address, Cluster};
use crate::conn::login_due_us;
use crate::conn::sasl::{Exchange, SaslError, Step};
use crate::limits::ANSWER_BYTES_MAX;
use crate::wire::frame::{SIZE_BYTES, frame_bytes};
use crate::wire::legacy::requests;
use crate::wire::versions::{Versions, api_name};
use crate::wire::{BadFrame, control};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request, StrBytes};
use rustix::net::RecvFlags;
use rustls::{ClientConnection, StreamOwned};
use std::collections::BTreeMap;
use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

const FETCH_KEY: i16 = 1;
/// The newest ApiVersions that is asked for first.
const API_VERSIONS_MAX: i16 = 3;
/// Memory that is reserved and, on plain connections, never touched.
const SCRATCH_BYTES: usize = 1 << 20;

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
    /// The broker does not let us in, or we do not trust it. As long as nobody changes a setting that stays so.
    #[error("{address}: {cause}")]
    Denied { address: Address, cause: String },
    #[error("{address}: no login: {cause}")]
    NoLogin { address: Address, cause: String },
    #[error("broker {0} is not known to the cluster")]
    UnknownBroker(i32),
}

/// One connection, past its handshake.
pub struct Client {
    address: Address,
    access: Arc<Access>,
    stream: Stream,
    versions: Versions,
    client_id: String,
    correlation_id: i32,
    timeout: Duration,
    /// When the broker wants another login (steady clock, µs).
    login_at_us: u64,
    /// Something else than the handshake was answered.
    has_answers: bool,
    /// Where bytes go that nobody looks at.
    scratch: Box<[u8]>,
}

/// What requests go through.
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Client {
    /// Connects to the first of the address's IP addresses that answers, asks which API versions are spoken there, and logs in.
    pub fn connect(
        address: &Address,
        access: &Arc<Access>,
        client_id: &str,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        let dial = || Self::dial(address, access, client_id, timeout);
        let mut client = dial()?;
        let refused = match client.negotiate() {
            Ok(()) => return client.log_in().map(|()| client),
            Err(refused) => refused,
        };
        if !matches!(refused, ClientError::Closed { .. }) || access.has_sasl() {
            return Err(refused);
        }
        // It may be too old for the question; newer brokers close this connection, too.
        let Ok(mut client) = dial() else { return Err(refused) };
        let correlation_id = client.next_correlation_id();
        let question = requests::are_you_old(correlation_id, client_id);
        client.exchange_bytes(FETCH_KEY, correlation_id, &question).map_err(|_| refused)?;
        client.versions = Versions::before_api_versions();
        Ok(client)
    }

    fn dial(
        address: &Address,
        access: &Arc<Access>,
        client_id: &str,
        timeout: Duration,
    ) -> Result<Self, ClientError> {
        let stream = dial(address, timeout)
            .map_err(|cause| ClientError::Unreachable { address: address.clone(), cause })?;
        let stream = match &access.tls {
            None => Stream::Plain(stream),
            Some(tls) => Stream::Tls(Box::new(secure(address, tls, stream, timeout)?)),
        };
        Ok(Self {
            address: address.clone(),
            access: Arc::clone(access),
            stream,
            versions: Versions::default(),
            client_id: client_id.to_owned(),
            correlation_id: 0,
            timeout,
            login_at_us: u64::MAX,
            has_answers: false,
            scratch: vec![0; SCRATCH_BYTES].into(),
        })
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
        let version = self.pick(R::KEY, min, max)?;
        if self.is_login_due() {
            self.log_in()?;
        }
        let answer = self.exchange(version, &request(version)).map_err(|error| match error {
            ClientError::Closed { address, .. } if !self.has_answers && !self.access.has_sasl() => {
                ClientError::Closed {
                    address,
                    hint: " at the first request; does it expect SASL on this port?",
                }
            }
            error => error,
        });
        self.has_answers = true;
        answer
    }

    /// As [`Self::call`], for what is written and read somewhere else: `ask` gets the version, the correlation id and the client
    /// id, `read` the version and the answer.
    pub fn call_by<T>(
        &mut self,
        (api_key, min, max): (i16, i16, i16),
        ask: impl FnOnce(i16, i32, &str) -> Bytes,
        read: impl FnOnce(i16, Bytes) -> Result<T, BadFrame>,
    ) -> Result<T, ClientError> {
        let version = self.pick(api_key, min, max)?;
        if self.is_login_due() {
            self.log_in()?;
        }
        let correlation_id = self.next_correlation_id();
        let request = ask(version, correlation_id, &self.client_id);
        let frame = self.exchange_bytes(api_key, correlation_id, &request)?;
        self.has_answers = true;
        read(version, frame).map_err(|bad| self.not_kafka(bad.to_string()))
    }

    /// The newest version of an API that both sides speak.
    pub fn pick(&self, api_key: i16, min: i16, max: i16) -> Result<i16, ClientError> {
        self.versions.pick(api_key, min, max).ok_or_else(|| ClientError::Unsupported {
            address: self.address.clone(),
            cause: self.versions.why_not(api_key, min, max),
        })
    }

    /// Whether the broker wants to know again who we are, before the next request and with no answer under way.
    pub fn is_login_due(&self) -> bool {
        clock::now().mono_us >= self.login_at_us
    }

    /// Says who we are, if the cluster wants to know.
    pub fn log_in(&mut self) -> Result<(), ClientError> {
        let address = self.address.clone();
        let login = self.access.login(&address.host);
        let login = login.map_err(|NoLogin { cause, is_passing }| match is_passing {
            true => ClientError::NoLogin { address: address.clone(), cause },
            false => ClientError::Denied { address: address.clone(), cause },
        })?;
        let Some(login) = login else { return Ok(()) };
        let denied =
            |error: SaslError| ClientError::Denied { address: address.clone(), cause: error.to_string() };
        let mut exchange = Exchange::new(login, &self.versions).map_err(denied)?;
        loop {
            let correlation_id = self.next_correlation_id();
            let request = exchange.request(correlation_id, &self.client_id);
            let answer = self.exchange_bytes(exchange.api_key(), correlation_id, &request)?;
            if let Step::Done { lifetime_ms } = exchange.answer(answer).map_err(denied)? {
                self.login_at_us = login_due_us(clock::now(), lifetime_ms);
                return Ok(());
            }
        }
    }

    // For requests that are made, and answers that are read, somewhere else.

    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    pub fn send(&mut self, api_key: i16, request: &[u8]) -> Result<(), ClientError> {
        let sent = self.stream.write_all(request).and_then(|()| self.stream.flush());
        sent.map_err(|cause| self.broken(api_key, cause))
    }

    /// Waits for bytes, and puts those that are there into the spare capacity of `into`, `at_most` of them.
    pub fn receive(&mut self, api_key: i16, into: &mut BytesMut, at_most: usize) -> Result<(), ClientError> {
        let received = match &mut self.stream {
            Stream::Plain(stream) => {
                sys::receive(stream.as_fd(), into, at_most, RecvFlags::empty()).map_err(io::Error::from)
            }
            Stream::Tls(stream) => {
                let room = self.scratch.len().min(at_most).min(into.capacity() - into.len());
                stream
                    .read(&mut self.scratch[..room])
                    .inspect(|n| into.extend_from_slice(&self.scratch[..*n]))
            }
        };
        self.counted(api_key, received).map(|_| ())
    }

    /// Waits for bytes, and drops those that are there, `at_most` of them. On a plain connection they never leave the kernel.
    pub fn discard(&mut self, api_key: i16, at_most: usize) -> Result<usize, ClientError> {
        let room = self.scratch.len().min(at_most);
        let scratch = &mut self.scratch[..room];
        let dropped = match &mut self.stream {
            // TCP takes so many bytes for received and copies none of them: see tcp(7). That costs less than splicing them
            // away, and waiting in the kernel for all of them costs more.
            Stream::Plain(stream) => {
                rustix::net::recv(stream, scratch, RecvFlags::TRUNC).map(|(_, n)| n).map_err(io::Error::from)
            }
            Stream::Tls(stream) => stream.read(scratch),
        };
        self.counted(api_key, dropped)
    }

    fn counted(&self, api_key: i16, received: io::Result<usize>) -> Result<usize, ClientError> {
        match received {
            Ok(0) => Err(self.broken(api_key, io::ErrorKind::UnexpectedEof.into())),
            Ok(n) => Ok(n),
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(cause) => Err(self.broken(api_key, cause)),
        }
    }

    /// Whether writing and reading return at once when they would have to wait.
    pub fn set_nonblocking(&mut self, is_nonblocking: bool) -> io::Result<()> {
        self.stream.socket().set_nonblocking(is_nonblocking)
    }

    /// The socket, to wait for.
    pub fn socket(&self) -> &TcpStream {
        self.stream.socket()
    }

    /// Whether something that was taken for sending is still here.
    pub fn has_unsent(&self) -> bool {
        matches!(&self.stream, Stream::Tls(stream) if stream.conn.wants_write())
    }

    /// As much as the socket takes.
    pub fn write_raw(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.write_vectored(slices)
    }

    pub fn flush_raw(&mut self) -> io::Result<()> {
        self.stream.flush()
    }

    /// What there is.
    pub fn read_raw(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }

    /// What went wrong with the connection while it was used for this API.
    pub fn explain(&self, api_key: i16, cause: io::Error) -> ClientError {
        self.broken(api_key, cause)
    }

    pub fn next_correlation_id(&mut self) -> i32 {
        let correlation_id = self.correlation_id;
        self.correlation_id = self.correlation_id.wrapping_add(1) & i32::MAX;
        correlation_id
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
        Err(self.not_kafka("it knows no version of ApiVersions".into()))
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
        let correlation_id = self.next_correlation_id();
        let bytes = control::encode(request, version, correlation_id, &self.client_id);
        self.exchange_bytes(R::KEY, correlation_id, &bytes)
    }

    fn exchange_bytes(
        &mut self,
        api_key: i16,
        correlation_id: i32,
        request: &[u8],
    ) -> Result<Bytes, ClientError> {
        let mut prefix = [0; SIZE_BYTES];
        let sent = self.stream.write_all(request).and_then(|()| self.stream.flush());
        // A broker that ends the connection may have said why.
        let read = self.stream.read_exact(&mut prefix);
        let is_told = matches!(&read, Err(cause) if cause.kind() == io::ErrorKind::InvalidData);
        let begun = if is_told { read } else { sent.and(read) };
        begun.map_err(|cause| self.broken(api_key, cause))?;
        let size = frame_bytes(prefix, ANSWER_BYTES_MAX).map_err(|bad| self.not_kafka(bad.to_string()))?;
        // Grows as bytes arrive, not by what the peer announces.
        let mut frame = Vec::new();
        let read = (&mut self.stream).take(size as u64).read_to_end(&mut frame);
        read.map_err(|cause| self.broken(api_key, cause))?;
        if frame.len() < size {
            return Err(self.broken(api_key, io::ErrorKind::UnexpectedEof.into()));
        }
        match control::correlation_id(&frame) {
            Ok(answered) if answered == correlation_id => Ok(frame.into()),
            Ok(answered) => {
                Err(self.not_kafka(format!("it answered request {answered} instead of {correlation_id}")))
            }
            Err(bad) => Err(self.not_kafka(bad.to_string())),
        }
    }

    pub fn not_kafka(&self, cause: String) -> ClientError {
        ClientError::NotKafka { address: self.address.clone(), cause }
    }

    fn broken(&self, api_key: i16, cause: io::Error) -> ClientError {
        let address = self.address.clone();
        if let (Some(tls), Some(error)) = (&self.access.tls, of_tls(&cause)) {
            return ClientError::Denied { address, cause: tls.explain(error) };
        }
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
    access: Arc<Access>,
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
            access: Access::new(&cluster.security),
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
        self.noted(broker, answer)
    }

    /// [`Client::call_by`] to a broker by id.
    pub fn call_by<T>(
        &mut self,
        broker: i32,
        api: (i16, i16, i16),
        ask: impl FnOnce(i16, i32, &str) -> Bytes,
        read: impl FnOnce(i16, Bytes) -> Result<T, BadFrame>,
    ) -> Result<T, ClientError> {
        let answer = self.client(broker)?.call_by(api, ask, read);
        self.noted(broker, answer)
    }

    fn noted<T>(&mut self, broker: i32, answer: Result<T, ClientError>) -> Result<T, ClientError> {
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

    /// The connection to a broker, taken away, to be used otherwise than for calls. Meanwhile calls go through another one.
    pub fn lend(&mut self, broker: i32) -> Result<Client, ClientError> {
        self.clients.remove(&broker).map_or_else(|| self.connect(broker), Ok)
    }

    /// A lent connection, on which no answer is under way.
    pub fn give_back(&mut self, broker: i32, client: Client) {
        if self.brokers.get(&broker) == Some(client.address()) {
            self.clients.insert(broker, client);
        }
    }

    /// Any broker: those of the last metadata first, since bootstrap addresses may be out of date, then the bootstrap list.
    fn connect(&self, broker: i32) -> Result<Client, ClientError> {
        if broker != ANY_BROKER {
            let address = self.brokers.get(&broker).ok_or(ClientError::UnknownBroker(broker))?;
            return Client::connect(address, &self.access, &self.client_id, self.timeout);
        }
        let mut first_error = None;
        for address in self.brokers.values().chain(&self.bootstrap) {
            match Client::connect(address, &self.access, &self.client_id, self.timeout) {
                Ok(client) => return Ok(client),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        Err(first_error.unwrap_or(ClientError::UnknownBroker(broker)))
    }
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(buffer),
            Self::Tls(stream) => stream.write(buffer),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write_vectored(slices),
            Self::Tls(stream) => stream.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// Puts TLS on a connection.
fn secure(
    address: &Address,
    tls: &tls::Context,
    mut stream: TcpStream,
    timeout: Duration,
) -> Result<StreamOwned<ClientConnection, TcpStream>, ClientError> {
    let denied = |cause: String| ClientError::Denied { address: address.clone(), cause };
    let (config, name) = (tls.config().map_err(denied)?, tls::server_name(address).map_err(denied)?);
    let mut connection = ClientConnection::new(config, name).map_err(|error| denied(tls.explain(&error)))?;
    while connection.is_handshaking() {
        if let Err(cause) = connection.complete_io(&mut stream) {
            let address = address.clone();
            return Err(match (of_tls(&cause), cause.kind()) {
                (Some(error), _) => denied(tls.explain(error)),
                (None, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    ClientError::Slow { address, api: "the TLS handshake".into(), timeout }
                }
                (
                    None,
                    io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe,
                ) => denied(CLOSED_IN_HANDSHAKE.into()),
                (None, _) => ClientError::Broken { address, cause },
            });
        }
    }
    Ok(StreamOwned::new(connection, stream))
}

/// The error of TLS that an error of a stream is about.
fn of_tls(cause: &io::Error) -> Option<&rustls::Error> {
    cause.get_ref().and_then(|inner| inner.downcast_ref())
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
        match Client::connect(address, &Access::open(), "test", Duration::from_secs(5)) {
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
    fn a_broker_that_does_not_know_api_versions_is_taken_for_an_old_one_when_it_says_so() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address: Address = listener.local_addr().unwrap().into();
        let answers: [&[u8]; 4] = [b"", b"\0\0\0\x08\0\0\0\0\0\0\0\0", b"", b""];
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(answer);
                // Until the other side has read it.
                let _ = if answer.is_empty() { Ok(0) } else { stream.read(&mut [0; 1024]) };
            }
        });
        let old = Client::connect(&address, &Access::open(), "test", Duration::from_secs(5)).unwrap();
        assert_eq!(*old.versions(), Versions::before_api_versions());
        drop(old);
        assert!(complaint(&address).contains("does it expect TLS or SASL"), "nor does it answer that");
    }

    #[test]
    fn an_address_where_nobody_listens_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address: Address = listener.local_addr().unwrap().into();
        drop(listener);
        assert!(complaint(&address).contains(&format!("{address} cannot be reached")));
    }
}
