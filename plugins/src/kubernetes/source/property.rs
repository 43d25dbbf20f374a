//! What holds for everything that an API server may send: asked of random bodies by the fuzzer, and by the tests of those that it keeps.

use std::fmt;
use std::net::IpAddr;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::decode::{Decoded, decode};
use super::known::Known;
use super::scan::{LineScanner, ListScanner, Piece, ScanError};
use crate::kubernetes::index::{Index, IndexSettings};
use crate::kubernetes::objects::{Change, Resource, ServiceKind};

/// `input`: which kind of object and how large the parts are in which it arrives (one byte), then a body.
pub fn holds(input: &[u8]) {
    let [head, body @ ..] = input else { return };
    let resource =
        [Resource::Services, Resource::EndpointSlices, Resource::Namespaces, Resource::Pods]
            [usize::from(head & 3)];
    let size = 1 + usize::from(head >> 2);
    let list = cut_list(body, body.len().max(1));
    assert_eq!(cut_list(body, size), list, "a list in parts of {size} bytes");
    assert_eq!(cut_lines(body, size), cut_lines(body, body.len().max(1)));
    if let (Some(pieces), None) = (pieces_of(body), &list.error) {
        assert_eq!(list.pieces, pieces, "a list as a JSON library reads it");
        assert!(list.ended);
    }

    let objects = list.pieces.iter().filter_map(|(is_item, text)| is_item.then_some(&text[..]));
    let decoded: Vec<Decoded> = std::iter::once(body)
        .chain(objects)
        .filter_map(|text| decode(resource, &mut serde_json::Deserializer::from_slice(text)).ok())
        // The API server allows no such name.
        .filter(|decoded| !decoded.key.namespace.contains('/'))
        .collect();
    come_and_go(resource, decoded);
}

/// Objects that were listed, and then no longer are, leave nothing behind.
fn come_and_go(resource: Resource, decoded: Vec<Decoded>) {
    let index = Index::new(IndexSettings::default());
    let mut known = Known::new(resource);
    let mut changes = Vec::new();
    known.list_begins();
    for change in decoded.into_iter().filter_map(|decoded| known.seen(decoded)) {
        changes.push(change.clone());
        index.apply(change);
    }
    known.list_ended().into_iter().for_each(|change| index.apply(change));
    known.list_begins();
    known.list_ended().into_iter().for_each(|change| index.apply(change));
    assert_eq!(known.len(), 0);
    for change in changes {
        match change {
            Change::Service(service) => {
                if let ServiceKind::ClusterIp(addresses) = service.kind {
                    assert!(addresses.iter().all(|ip| index.services_at(*ip, <[_]>::is_empty)));
                }
            }
            Change::Slice(slice) => {
                let gone = |ip: &IpAddr| index.slices_at(*ip, <[_]>::is_empty);
                assert!(slice.endpoints.iter().flat_map(|one| &one.addresses).all(gone));
            }
            Change::Namespace(name) => assert!(!index.is_exposed(name.as_bytes())),
            Change::Pod(pod) => {
                assert!(!index.has_pod(pod.key.namespace.as_bytes(), pod.address));
            }
            _ => {}
        }
    }
}

/// What a scanner made of a list.
#[derive(Debug, PartialEq, Eq)]
struct Cut {
    /// Whether it is an item, and its text.
    pieces: Vec<(bool, Vec<u8>)>,
    error: Option<ScanError>,
    ended: bool,
}

fn cut_list(body: &[u8], size: usize) -> Cut {
    let mut scanner = ListScanner::default();
    let mut pieces = Vec::new();
    let pushed = body.chunks(size).try_for_each(|chunk| {
        scanner.push(chunk, |piece| {
            pieces.push(match piece {
                Piece::Metadata(text) => (false, text.to_vec()),
                Piece::Item(text) => (true, text.to_vec()),
            });
            Ok::<_, ScanError>(())
        })
    });
    Cut { pieces, error: pushed.err(), ended: scanner.ended() }
}

fn cut_lines(body: &[u8], size: usize) -> Vec<Vec<u8>> {
    let mut scanner = LineScanner::default();
    let mut lines = Vec::new();
    let pushed = body.chunks(size).try_for_each(|chunk| {
        scanner.push(chunk, |line| {
            lines.push(line.to_vec());
            Ok::<_, ScanError>(())
        })
    });
    assert_eq!(pushed, Ok(()));
    lines
}

/// What a JSON library reads; `None` if it is no list of objects, or if its keys are spelled with escapes.
fn pieces_of(body: &[u8]) -> Option<Vec<(bool, Vec<u8>)>> {
    let Members(members) = serde_json::from_slice(body).ok()?;
    let mut pieces = Vec::new();
    if body.contains(&b'\\') {
        return None;
    }
    for (key, value) in members {
        let value = value.get();
        match key.as_str() {
            "metadata" if value.starts_with('{') => pieces.push((false, value.into())),
            "items" => {
                let items: Vec<Box<RawValue>> = serde_json::from_str(value).ok()?;
                for item in items {
                    item.get().starts_with('{').then_some(())?;
                    pieces.push((true, item.get().into()));
                }
            }
            "metadata" => return None,
            _ => {}
        }
    }
    Some(pieces)
}

/// The members of an object in order, those of the same name too.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Members, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        input.deserialize_map(Object)
    }
}

#[test]
fn the_corpus_keeps_to_it() {
    crate::testing::corpus("api_objects").iter().for_each(|input| holds(input));
}
