//! The ports of a Service or EndpointSlice in one piece of memory.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::super::objects::Port;

/// Ports, packed: most lists hold one or two, and their names are short.
///
/// For each port: 1 and the number, or three zeros where it has none; then protocol and name, each with its length before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ports(Option<Arc<[u8]>>);

/// Lists of ports that are in use: most services of a cluster have one of a few, which are kept once.
#[derive(Default)]
pub(super) struct PortLists {
    lists: HashSet<Ports, RandomState>,
    /// When as many are there, those that nobody uses any more are thrown out.
    limit: usize,
}

impl PortLists {
    /// The same list, in the memory of those that are there already.
    pub(super) fn share(&mut self, ports: Ports) -> Ports {
        if let Some(known) = self.lists.get(&ports) {
            return known.clone();
        }
        if self.lists.len() >= self.limit {
            self.lists.retain(Ports::is_shared);
            self.limit = (2 * self.lists.len()).max(64);
        }
        self.lists.insert(ports.clone());
        ports
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lists.len()
    }
}

/// The same, wherever they are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PortsRef<'a>(pub(super) &'a [u8]);

/// One port of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PortRef<'a> {
    /// Empty when it has none.
    pub(crate) name: &'a [u8],
    /// In lower case; empty when the object has no port at all.
    pub(crate) protocol: &'a [u8],
    /// `None` for a port without a number: it is reachable by name and has no SRV record.
    pub(crate) number: Option<u16>,
}

impl Ports {
    pub(super) fn pack(ports: &[Port]) -> Ports {
        let mut packed = Vec::new();
        pack(ports, &mut packed);
        Ports((!packed.is_empty()).then(|| packed.into()))
    }

    #[cfg(test)]
    pub(super) fn is_same(&self, other: &Ports) -> bool {
        self.0.as_ref().zip(other.0.as_ref()).is_some_and(|(one, other)| Arc::ptr_eq(one, other))
    }

    fn is_shared(&self) -> bool {
        self.0.as_ref().is_some_and(|packed| Arc::strong_count(packed) > 1)
    }

    /// The ports that a question for this name and protocol means.
    pub(crate) fn matching(&self, wanted: PortQuery<'_>) -> impl Iterator<Item = PortRef<'_>> {
        PortsRef(self.0.as_deref().unwrap_or_default()).matching(wanted)
    }
}

/// Appends ports, packed; gives their length.
pub(super) fn pack(ports: &[Port], packed: &mut Vec<u8>) -> u32 {
    let start = packed.len();
    for port in ports {
        // Names longer than a label can be asked for by nobody.
        let (Ok(protocol), Ok(name)) =
            (u8::try_from(port.protocol.len()), u8::try_from(port.name.len()))
        else {
            continue;
        };
        packed.push(u8::from(port.port.is_some()));
        packed.extend_from_slice(&port.port.unwrap_or(0).to_be_bytes());
        packed.push(protocol);
        packed.extend_from_slice(port.protocol.as_bytes());
        packed.push(name);
        packed.extend_from_slice(port.name.as_bytes());
    }
    (packed.len() - start) as u32
}

impl<'a> PortsRef<'a> {
    /// The ports in order. An object without ports counts as having one without name, protocol and number, as in CoreDNS: its
    /// addresses stay reachable.
    pub(crate) fn iter(self) -> impl Iterator<Item = PortRef<'a>> {
        let none = self.0.is_empty().then(PortRef::default);
        let mut rest = self.0;
        none.into_iter().chain(std::iter::from_fn(move || next(&mut rest)))
    }

    /// The ports that a question for this name and protocol means.
    pub(crate) fn matching(self, wanted: PortQuery<'_>) -> impl Iterator<Item = PortRef<'a>> {
        self.iter().filter(move |port| wanted.matches(port))
    }
}

fn next<'a>(rest: &mut &'a [u8]) -> Option<PortRef<'a>> {
    let (head, tail) = rest.split_at_checked(3)?;
    let (protocol, tail) = counted(tail)?;
    let (name, tail) = counted(tail)?;
    *rest = tail;
    let number = (head[0] != 0).then(|| u16::from_be_bytes([head[1], head[2]]));
    Some(PortRef { name, protocol, number })
}

fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}

/// A port as a question names it; an empty text means any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PortQuery<'a> {
    /// Port name.
    pub(crate) name: &'a [u8],
    /// Protocol.
    pub(crate) protocol: &'a [u8],
}

impl PortQuery<'_> {
    /// Every port.
    pub(crate) const ANY: PortQuery<'static> = PortQuery { name: b"", protocol: b"" };

    /// Whether every port matches.
    pub(crate) fn is_any(self) -> bool {
        self.name.is_empty() && self.protocol.is_empty()
    }

    fn matches(self, port: &PortRef<'_>) -> bool {
        (self.name.is_empty() || self.name.eq_ignore_ascii_case(port.name))
            && (self.protocol.is_empty() || self.protocol.eq_ignore_ascii_case(port.protocol))
    }
}
