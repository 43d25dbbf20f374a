//! One line of a watch, read in one go.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::decode::{Decoded, decode};
use crate::kubernetes::objects::Resource;

/// What became of an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It is there or has changed.
    Seen(Decoded),
    /// It is gone.
    Gone(Decoded),
}

/// Reads an event as a server writes it: the type, then the object, which is cut down while it is read. Anything else is an error
/// here, and deserves a second look: bookmarks, errors, odd objects, another order.
pub(super) fn read(resource: Resource, line: &[u8]) -> Result<Event, serde_json::Error> {
    let mut input = serde_json::Deserializer::from_slice(line);
    let event = input.deserialize_map(Line(resource))?;
    input.end().map(|()| event)
}

struct Line(Resource);

impl<'de> Visitor<'de> for Line {
    type Value = Event;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event, A::Error> {
        let mut kind: fn(Decoded) -> Event = Event::Seen;
        match map.next_entry()? {
            Some(("type", "ADDED" | "MODIFIED")) => {}
            Some(("type", "DELETED")) => kind = Event::Gone,
            _ => return Err(A::Error::custom("not the type of an object's event")),
        }
        let Some("object") = map.next_key()? else {
            return Err(A::Error::custom("not an object"));
        };
        let decoded = map.next_value_seed(Object(self.0))?;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(kind(decoded))
    }
}

struct Object(Resource);

impl<'de> DeserializeSeed<'de> for Object {
    type Value = Decoded;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Decoded, D::Error> {
        decode(self.0, input)
    }
}
