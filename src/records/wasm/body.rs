//! Whether a body is one.

use crate::wire::cursor::{Cursor, Read, Unread};

/// The error says what is wrong, with nothing of the contents.
pub(super) fn check(body: &[u8]) -> Result<(), &'static str> {
    let mut cursor = Cursor::new(body);
    let checked = key_value_headers(&mut cursor);
    match checked {
        Ok(()) if cursor.remaining() > 0 => Err("something stands behind its headers"),
        Ok(()) => Ok(()),
        Err(Unread::Short(_)) => Err("it is cut short"),
        Err(Unread::Bad(what)) => Err(what),
    }
}

fn key_value_headers(cursor: &mut Cursor<'_>) -> Read<()> {
    nullable(cursor)?;
    nullable(cursor)?;
    let headers = length(cursor)?.ok_or(Unread::Bad("its number of headers is negative"))?;
    // However many are announced: each takes bytes, or the body is cut short.
    for _ in 0..headers {
        let key = length(cursor)?.ok_or(Unread::Bad("a header's key is null"))?;
        cursor.bytes(key)?;
        nullable(cursor)?;
    }
    Ok(())
}

fn nullable(cursor: &mut Cursor<'_>) -> Read<()> {
    if let Some(bytes) = length(cursor)? {
        cursor.bytes(bytes)?;
    }
    Ok(())
}

/// None: -1, for null.
fn length(cursor: &mut Cursor<'_>) -> Read<Option<usize>> {
    let coded = cursor.uvarint()?;
    match (coded >> 1) as i32 ^ -((coded & 1) as i32) {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| Unread::Bad("a length is negative")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rebuild::put_zigzag;
    use proptest::prelude::*;

    type Field = Option<Vec<u8>>;

    fn put(body: &mut Vec<u8>, field: Option<&[u8]>) {
        put_zigzag(body, field.map_or(-1, |field| field.len() as i64));
        body.extend(field.unwrap_or_default());
    }

    fn encode(key: &Field, value: &Field, headers: &[(Vec<u8>, Field)]) -> Vec<u8> {
        let mut body = Vec::new();
        put(&mut body, key.as_deref());
        put(&mut body, value.as_deref());
        put_zigzag(&mut body, headers.len() as i64);
        for (key, value) in headers {
            put(&mut body, Some(key));
            put(&mut body, value.as_deref());
        }
        body
    }

    fn field() -> impl Strategy<Value = Field> {
        prop::option::of(prop::collection::vec(any::<u8>(), 0..100))
    }

    proptest! {
        #[test]
        fn a_body_is_one_and_neither_a_part_nor_more_of_it_is(
            key in field(),
            value in field(),
            headers in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..9), field()), 0..5),
        ) {
            let body = encode(&key, &value, &headers);
            prop_assert_eq!(check(&body), Ok(()));
            for cut in 0..body.len() {
                prop_assert_eq!(check(&body[..cut]), Err("it is cut short"));
            }
            prop_assert_eq!(check(&[&body[..], &[0]].concat()), Err("something stands behind its headers"));
        }

        #[test]
        fn any_bytes_have_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = check(&bytes);
        }
    }

    #[test]
    fn what_no_consumer_reads_is_refused() {
        // Lengths as zigzag varints: 1 is -1, 3 is -2.
        let cases: [(&[u8], &str); 6] = [
            (&[], "it is cut short"),
            (&[3, 1, 0], "a length is negative"),
            (&[1, 1, 1], "its number of headers is negative"),
            (&[1, 1, 2, 1, 1], "a header's key is null"),
            (&[1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 1], "it is cut short"),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0, 1, 0], "a varint is longer than 5 bytes"),
        ];
        for (body, problem) in cases {
            assert_eq!(check(body), Err(problem), "{body:?}");
        }
    }
}
