//! One EndpointSlice, packed.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use periplus_core::name::MAX_LABEL;
use smallvec::SmallVec;

use super::super::dashed;
use super::super::objects::{Endpoint, EndpointSlice, ObjectKey};
use super::ServiceKey;
use super::ports::{self, PortsRef};

/// The ready endpoints of one EndpointSlice, in two pieces of memory.
#[derive(PartialEq, Eq)]
pub(crate) struct Slice {
    /// The service it belongs to, whether or not that exists.
    pub(crate) service: Option<ServiceKey>,
    /// Bytes of one address; the key, with its length in two bytes before it; the addresses; the ports; the endpoints' names, one for each
    /// address with its length before it, or no byte at all when every endpoint is named by its address, which is the rule.
    packed: Box<[u8]>,
    ports_length: u32,
    /// How many addresses.
    count: u32,
}

/// Where the key begins.
const KEY_AT: usize = 3;

/// Bytes of an address where all are IPv4, and where not: 4 or 6, and 16 bytes, of which IPv4 leaves 12 zero.
const NARROW: usize = 4;
const WIDE: usize = 17;

/// One address of a slice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndpointRef<'a> {
    /// The address.
    pub(crate) address: IpAddr,
    /// Host name, or Pod name with `endpoint_pod_names`; empty when its address names it.
    pub(crate) name: &'a [u8],
}

impl Slice {
    pub(super) fn pack(
        slice: &EndpointSlice,
        service: Option<ServiceKey>,
        pod_names: bool,
    ) -> Slice {
        let named = |endpoint: &Endpoint| !name_of(endpoint, pod_names).is_empty();
        let addresses = || slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
        let width = if addresses().all(IpAddr::is_ipv4) { NARROW } else { WIDE };
        let count = addresses().count();
        let mut packed = Vec::with_capacity(128 + width * count);
        packed.extend_from_slice(&[width as u8, 0, 0]);
        write_key(&slice.key, &mut packed);
        let key_length = (packed.len() - KEY_AT) as u16;
        packed[1..KEY_AT].copy_from_slice(&key_length.to_be_bytes());
        addresses().for_each(|address| write_address(*address, width, &mut packed));
        let ports_length = ports::pack(&slice.ports, &mut packed);
        if slice.endpoints.iter().any(named) {
            for endpoint in &slice.endpoints {
                let name = name_of(endpoint, pod_names);
                for _ in &endpoint.addresses {
                    packed.push(name.len() as u8);
                    packed.extend_from_slice(name.as_bytes());
                }
            }
        }
        let count = count as u32;
        Slice { service, packed: packed.into(), ports_length, count }
    }

    /// Its endpoints, one for each address.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = EndpointRef<'_>> {
        let mut names = &self.packed[self.ports_at() + self.ports_length as usize..];
        self.addresses().map(move |address| {
            let (&length, rest) = names.split_first().unwrap_or((&0, &[]));
            let (name, rest) = rest.split_at_checked(usize::from(length)).unwrap_or_default();
            names = rest;
            EndpointRef { address, name }
        })
    }

    /// Its addresses; one may be there several times.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let bytes = &self.packed[self.addresses_at()..self.ports_at()];
        bytes.chunks_exact(self.width()).map(read_address)
    }

    /// Whether no endpoint is ready.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Ports that all its endpoints have.
    pub(crate) fn ports(&self) -> PortsRef<'_> {
        let start = self.ports_at();
        PortsRef(&self.packed[start..start + self.ports_length as usize])
    }

    /// Namespace and name.
    fn key(&self) -> &[u8] {
        &self.packed[KEY_AT..self.addresses_at()]
    }

    fn width(&self) -> usize {
        usize::from(self.packed[0])
    }

    /// Where the key ends and the addresses begin.
    fn addresses_at(&self) -> usize {
        KEY_AT + usize::from(u16::from_be_bytes([self.packed[1], self.packed[2]]))
    }

    /// Where the addresses end and the ports begin.
    fn ports_at(&self) -> usize {
        self.addresses_at() + self.count as usize * self.width()
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slice")
            .field("key", &String::from_utf8_lossy(self.key()))
            .field("service", &self.service)
            .field("endpoints", &self.endpoints().collect::<Vec<_>>())
            .field("ports", &self.ports().iter().collect::<Vec<_>>())
            .finish()
    }
}

fn write_address(address: IpAddr, width: usize, packed: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) if width == NARROW => packed.extend_from_slice(&address.octets()),
        IpAddr::V4(address) => {
            packed.push(4);
            packed.extend_from_slice(&address.octets());
            packed.extend_from_slice(&[0; 12]);
        }
        IpAddr::V6(address) => {
            packed.push(6);
            packed.extend_from_slice(&address.octets());
        }
    }
}

fn read_address(bytes: &[u8]) -> IpAddr {
    match *bytes {
        [a, b, c, d] | [4, a, b, c, d, ..] => IpAddr::from([a, b, c, d]),
        _ => {
            let octets: [u8; 16] = bytes.last_chunk().copied().unwrap_or_default();
            IpAddr::from(octets)
        }
    }
}

/// The name CoreDNS gives an endpoint; empty when it is named by its address.
fn name_of(endpoint: &Endpoint, pod_names: bool) -> &str {
    let usable = |name: &&str| !name.is_empty() && name.len() <= MAX_LABEL;
    let pod_name = Some(endpoint.pod_name.as_str()).filter(|_| pod_names);
    Some(endpoint.hostname.as_str()).filter(usable).or(pod_name.filter(usable)).unwrap_or_default()
}

impl EndpointRef<'_> {
    /// Calls `then` with the label that names the endpoint.
    pub(crate) fn with_label<R>(&self, then: impl FnOnce(&[u8]) -> R) -> R {
        if self.name.is_empty() {
            then(dashed::endpoint_label(self.address).as_bytes())
        } else {
            then(self.name)
        }
    }
}

/// Which endpoints of a service a question means.
#[derive(Clone, Copy, Debug)]
pub(crate) enum EndpointQuery<'a> {
    /// All of them.
    All,
    /// Those with a name.
    Named {
        /// The name.
        label: &'a [u8],
        /// The address that names an endpoint so if it has no other name.
        address: Option<IpAddr>,
    },
}

impl<'a> EndpointQuery<'a> {
    /// The endpoints that a label in lower case names.
    pub(crate) fn named(label: &'a [u8]) -> EndpointQuery<'a> {
        // Only the one canonical spelling names an endpoint.
        let is_canonical = |address: &IpAddr| dashed::endpoint_label(*address).as_bytes() == label;
        EndpointQuery::Named { label, address: dashed::address(label).filter(is_canonical) }
    }

    /// Whether it means this endpoint.
    pub(crate) fn matches(self, endpoint: &EndpointRef<'_>) -> bool {
        match self {
            EndpointQuery::All => true,
            EndpointQuery::Named { address, .. } if endpoint.name.is_empty() => {
                address == Some(endpoint.address)
            }
            EndpointQuery::Named { label, .. } => endpoint.name.eq_ignore_ascii_case(label),
        }
    }
}

/// Namespace and name of a slice in one text; neither can hold a slash.
pub(super) fn key_of(key: &ObjectKey) -> SmallVec<[u8; 128]> {
    let mut text = SmallVec::new();
    write_key(key, &mut text);
    text
}

/// The API server takes names of at most 253 bytes; what would not fit the length that is kept is cut.
fn write_key(key: &ObjectKey, text: &mut impl Extend<u8>) {
    let parts = [key.namespace.as_bytes(), b"/", key.name.as_bytes()];
    text.extend(parts.into_iter().flatten().copied().take(usize::from(u16::MAX)));
}

/// A slice in a set of slices, found by its key.
pub(super) struct ByKey(pub(super) Arc<Slice>);

impl Borrow<[u8]> for ByKey {
    fn borrow(&self) -> &[u8] {
        self.0.key()
    }
}

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key().hash(state);
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &ByKey) -> bool {
        self.0.key() == other.0.key()
    }
}

impl Eq for ByKey {}
