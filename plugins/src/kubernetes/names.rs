//! What a name below a plugin zone asks for.
//!
//! ```text
//!  _http._tcp.web.default.svc.cluster.local.
//!  \__________/ \_________/ |  \___________/
//!      part         key    tree    zone
//! ```
//!
//! Names are read from right to left (CoreDNS's `parseRequest`), on the wire form in lower case.

use periplus_core::name::NameRef;

use super::index::PortQuery;

/// The kinds of names below a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape<'a> {
    /// The zone itself.
    Apex,
    /// `svc` or `pod`.
    Tree,
    /// `dns-version`.
    DnsVersion,
    /// `ns.dns`.
    NameServer,
    /// `N.svc` or `N.pod`.
    Namespace(Tree, &'a [u8]),
    /// `S.N.svc` and what may stand before it.
    Service(ServiceName<'a>),
    /// `A-B-C-D.N.pod`; labels before that change nothing (as in CoreDNS).
    Pod {
        /// The address label.
        label: &'a [u8],
        /// The namespace.
        namespace: &'a [u8],
    },
    /// No name of the schema.
    Unknown,
}

/// The two halves of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    /// Services.
    Svc,
    /// Pods.
    Pod,
}

/// A service's name or one below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServiceName<'a> {
    /// `S.N` in wire form without an end: the key of the index.
    pub(super) key: &'a [u8],
    /// What stands before it.
    pub(super) part: Part<'a>,
}

/// What is asked of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// All of it.
    Whole,
    /// One endpoint, by its label.
    Endpoint(&'a [u8]),
    /// The ports with a name and a protocol, underscores taken off.
    Port(PortQuery<'a>),
}

/// Most labels that a name of the schema has before the zone.
const MOST_LABELS: usize = 5;

/// Reads a name whose zone begins at byte `zone_offset`.
pub(super) fn parse(name: NameRef<'_>, zone_offset: usize) -> Shape<'_> {
    let wire = &name.as_wire()[..zone_offset];
    let mut starts = [0; MOST_LABELS];
    let mut count = 0;
    let mut at = 0;
    while at < wire.len() {
        let Some(start) = starts.get_mut(count) else { return Shape::Unknown };
        *start = at;
        count += 1;
        at += 1 + usize::from(wire[at]);
    }
    let label = |index: usize| &wire[starts[index] + 1..][..usize::from(wire[starts[index]])];
    let Some(last) = count.checked_sub(1) else { return Shape::Apex };
    let tree = match label(last) {
        b"svc" => Tree::Svc,
        b"pod" => Tree::Pod,
        b"dns-version" if count == 1 => return Shape::DnsVersion,
        b"dns" if count == 2 && label(0) == b"ns" => return Shape::NameServer,
        _ => return Shape::Unknown,
    };
    let Some(namespace) = last.checked_sub(1) else { return Shape::Tree };
    let Some(service) = last.checked_sub(2) else {
        return Shape::Namespace(tree, label(namespace));
    };
    if tree == Tree::Pod {
        return Shape::Pod { label: label(service), namespace: label(namespace) };
    }
    let part = match service {
        0 => Part::Whole,
        1 => Part::Endpoint(label(0)),
        _ => Part::Port(PortQuery { name: bare(label(0)), protocol: bare(label(1)) }),
    };
    Shape::Service(ServiceName { key: &wire[starts[service]..starts[last]], part })
}

/// A port or protocol label without its underscore, which CoreDNS does not insist on.
fn bare(label: &[u8]) -> &[u8] {
    label.strip_prefix(b"_").unwrap_or(label)
}

/// The two labels of a service's key.
pub(super) fn key_labels(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = key;
    std::iter::from_fn(move || {
        let (&length, tail) = rest.split_first()?;
        let (label, tail) = tail.split_at_checked(usize::from(length))?;
        rest = tail;
        Some(label)
    })
}
