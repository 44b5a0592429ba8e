//! Fields within JSON texts. A text is searched and cut, never built anew: what no step names stays byte for byte, the order of
//! fields, the digits of numbers and the spaces included.

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// Schema Registry's serializers write this many bytes before the text: a 0, which no JSON begins with, and the schema's id.
const FRAME_BYTES: usize = 5;

/// Where a field stands in a text, by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Which of the objects searched it stands in; they are counted in the order of the text.
    object: usize,
    /// Where the object's last other field before it ends, if there is one.
    after: Option<usize>,
    /// With its quotation marks.
    pub name: Range<usize>,
    pub value: Range<usize>,
}

/// The bytes before a text, and the text.
pub(super) fn split_frame(bytes: &[u8]) -> (&[u8], &[u8]) {
    let frame = if bytes.first() == Some(&0) { FRAME_BYTES.min(bytes.len()) } else { 0 };
    bytes.split_at(frame)
}

/// Every field of this name that stands in the objects on the way to it, in the order of the text. A list on the way stands for
/// all of its elements. The error says where the text is no JSON, and shows nothing of it.
pub(super) fn find(text: &[u8], way: &[String], name: &str, found: &mut Vec<Found>) -> Result<(), String> {
    found.clear();
    let mut search = Search { text, name, found, objects: 0 };
    let mut json = serde_json::Deserializer::from_slice(text);
    let outcome = Level { search: &mut search, way }.deserialize(&mut json).and_then(|()| json.end());
    outcome.map_err(|error| format!("is no JSON (line {}, column {})", error.line(), error.column()))
}

/// A string's content. None of other values.
pub(super) fn string(value: &[u8]) -> Option<Cow<'_, str>> {
    unquoted(std::str::from_utf8(value).ok()?)
}

fn unquoted(string: &str) -> Option<Cow<'_, str>> {
    let content = string.strip_prefix('"')?.strip_suffix('"')?;
    if content.contains('\\') {
        return serde_json::from_str(string).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(content))
}

/// The text with other names or values in the fields' places.
pub(super) fn replace<'a>(
    text: &[u8],
    places: impl Iterator<Item = &'a Range<usize>>,
    with: &str,
    out: &mut Vec<u8>,
) {
    let mut copied = 0;
    for place in places {
        out.extend(&text[copied..place.start]);
        out.extend(with.as_bytes());
        copied = place.end;
    }
    out.extend(&text[copied..]);
}

/// The text without the fields.
pub(super) fn remove(text: &[u8], found: &[Found], out: &mut Vec<u8>) {
    let mut copied = 0;
    for each in found {
        // With the comma before it, or else with the one behind it.
        let (start, end) = match each.after {
            Some(before) => (before, each.value.end),
            None => (each.name.start, next_field(text, each.value.end)),
        };
        out.extend(&text[copied..start.max(copied)]);
        copied = end;
    }
    out.extend(&text[copied..]);
}

/// Whether two fields, found on the same way, share an object.
pub(super) fn share_an_object(some: &[Found], others: &[Found]) -> bool {
    some.iter().any(|one| others.binary_search_by_key(&one.object, |other| other.object).is_ok())
}

fn next_field(text: &[u8], value_end: usize) -> usize {
    let spaces = |from: usize| text[from..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let comma = value_end + spaces(value_end);
    match text.get(comma) {
        Some(b',') => comma + 1 + spaces(comma + 1),
        _ => value_end,
    }
}

struct Search<'a> {
    text: &'a [u8],
    name: &'a str,
    found: &'a mut Vec<Found>,
    objects: usize,
}

impl Search<'_> {
    /// Where a piece of the text stands in it.
    fn place(&self, piece: &RawValue) -> Range<usize> {
        let start = piece.get().as_ptr().addr() - self.text.as_ptr().addr();
        start..start + piece.get().len()
    }
}

/// A value, and the way from there on.
struct Level<'s, 'a> {
    search: &'s mut Search<'a>,
    way: &'a [String],
}

impl<'de> DeserializeSeed<'de> for Level<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let Level { search, way } = self;
        let object = search.objects;
        search.objects += 1;
        let (wanted, way) = match way.split_first() {
            Some((next, way)) => (next.as_str(), Some(way)),
            None => (search.name, None),
        };
        let mut after = None;
        while let Some(key) = fields.next_key::<&RawValue>()? {
            let is_wanted = unquoted(key.get()).is_some_and(|name| name == wanted);
            if let Some(way) = way.filter(|_| is_wanted) {
                fields.next_value_seed(Level { search: &mut *search, way })?;
                continue;
            }
            let value = search.place(fields.next_value::<&RawValue>()?);
            if is_wanted {
                search.found.push(Found { object, after, name: search.place(key), value });
            } else {
                after = Some(value.end);
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let Level { search, way } = self;
        while elements.next_element_seed(Level { search: &mut *search, way })?.is_some() {}
        Ok(())
    }

    // Any other value has no fields.

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}
