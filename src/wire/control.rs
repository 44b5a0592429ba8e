//! Every API but Fetch and Produce, through the crate `kafka-protocol`; and what a broker needs to read and to answer.

use super::BadFrame;
use super::cursor::Cursor;
use super::frame::SIZE_BYTES;
use super::versions::api_name;
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

/// A request on the wire, size prefix included.
///
/// # Panics
/// When the request sets a field that the version does not have, or the version is none of the crate's.
pub fn encode<R: Request + HeaderVersion>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &str,
) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_string(client_id.to_owned())));
    with_size(|out| {
        header.encode(out, R::header_version(version))?;
        request.encode(out, version)
    })
    .unwrap_or_else(|cause| panic!("{} v{version} cannot be written: {cause}", api_name(R::KEY)))
}

/// An answer that came without its size prefix, its header included. Which request it belongs to is to be looked up first,
/// by [`correlation_id`].
///
/// Not for hostile peers: the crate allocates for the number of elements that an array announces before it has read them.
pub fn decode<T: Decodable + HeaderVersion>(version: i16, mut frame: Bytes) -> Result<T, BadFrame> {
    let size = frame.len();
    let bad = |what: String, left: usize| {
        BadFrame::new(format!("{} v{version}", short_type_name::<T>()), what, size - left)
    };
    let header = ResponseHeader::decode(&mut frame, T::header_version(version));
    let answer = header.and_then(|_| T::decode(&mut frame, version));
    match answer {
        Ok(answer) if frame.is_empty() => Ok(answer),
        Ok(_) => Err(bad("bytes follow the end".into(), frame.len())),
        Err(cause) => Err(bad(cause.to_string(), frame.len())),
    }
}

/// The correlation id of an answer without its size prefix.
pub fn correlation_id(frame: &[u8]) -> Result<i32, BadFrame> {
    Cursor::new(frame).i32().map_err(|_| BadFrame::new("header of an answer", "it is cut short", 0))
}

/// A broker's side: takes the header from the front of a request without its size prefix. What is left is the body, for
/// `Decodable::decode` with `request_api_version`.
pub fn decode_request_header(frame: &mut Bytes) -> Result<RequestHeader, BadFrame> {
    let bad = |what: String| BadFrame::new("header of a request", what, 0);
    let mut start = Cursor::new(frame);
    let (Ok(key), Ok(version)) = (start.i16(), start.i16()) else {
        return Err(bad("it is cut short".into()));
    };
    let api = ApiKey::try_from(key).map_err(|_| bad(format!("there is no API with key {key}")))?;
    RequestHeader::decode(frame, api.request_header_version(version)).map_err(|cause| bad(cause.to_string()))
}

/// A broker's side: an answer on the wire, size prefix included.
///
/// # Panics
/// When the answer sets a field that the version does not have, or the version is none of the crate's.
pub fn encode_response<T: Encodable + HeaderVersion>(answer: &T, version: i16, correlation_id: i32) -> Bytes {
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    with_size(|out| {
        header.encode(out, T::header_version(version))?;
        answer.encode(out, version)
    })
    .unwrap_or_else(|cause| panic!("{} v{version} cannot be written: {cause}", short_type_name::<T>()))
}

fn with_size<E>(write: impl FnOnce(&mut BytesMut) -> Result<(), E>) -> Result<Bytes, E> {
    let mut out = BytesMut::new();
    out.put_i32(0);
    write(&mut out)?;
    let size = i32::try_from(out.len() - SIZE_BYTES).expect("a message fits in 31 bits");
    out[..SIZE_BYTES].copy_from_slice(&size.to_be_bytes());
    Ok(out.freeze())
}

fn short_type_name<T>() -> &'static str {
    let name = std::any::type_name::<T>();
    name.rsplit("::").next().unwrap_or(name)
}
