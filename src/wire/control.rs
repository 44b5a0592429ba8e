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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf;
    use kafka_protocol::messages::{MetadataRequest, MetadataResponse};

    #[test]
    fn a_request_and_its_answer_come_back_as_written() {
        for version in 4..=12 {
            let request = MetadataRequest::default().with_allow_auto_topic_creation(false);
            let mut wire = encode(&request, version, 9, "twinlog");
            assert_eq!(wire.get_i32() as usize, wire.len());
            let header = decode_request_header(&mut wire).unwrap();
            assert_eq!((header.request_api_key, header.request_api_version), (3, version));
            assert_eq!((header.correlation_id, header.client_id.as_deref()), (9, Some("twinlog")));
            assert_eq!(MetadataRequest::decode(&mut wire, version).unwrap(), request);

            let answer = MetadataResponse::default().with_controller_id(5.into());
            let frame = encode_response(&answer, version, 9).slice(SIZE_BYTES..);
            assert_eq!(correlation_id(&frame), Ok(9));
            assert_eq!(decode::<MetadataResponse>(version, frame), Ok(answer));
        }
    }

    #[test]
    fn short_and_long_answers_are_refused_with_their_name() {
        let frame = encode_response(&MetadataResponse::default(), 12, 9).slice(SIZE_BYTES..);
        for cut in 0..frame.len() {
            let cause = decode::<MetadataResponse>(12, frame.slice(..cut)).unwrap_err().to_string();
            assert!(cause.starts_with("MetadataResponse v12: "), "{cause}");
        }
        let longer = Bytes::from([&frame[..], &[0]].concat());
        assert!(decode::<MetadataResponse>(12, longer).unwrap_err().to_string().contains("bytes follow"));
        assert!(correlation_id(&frame[..3]).is_err());
    }

    #[test]
    fn a_request_for_no_known_api_is_refused() {
        let mut frame = Bytes::from_static(&[0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert!(decode_request_header(&mut frame).unwrap_err().to_string().contains("32512"));
    }
}
