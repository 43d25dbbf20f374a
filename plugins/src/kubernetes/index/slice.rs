//! One EndpointSlice, packed.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use periplus_core::name::MAX_LABEL;

use super::super::dashed;
use super::super::objects::{Endpoint, EndpointSlice, ObjectKey};
use super::ServiceKey;
use super::ports::Ports;

/// The ready endpoints of one EndpointSlice.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    key: Box<[u8]>,
    /// The service it belongs to, whether or not that exists.
    pub(crate) service: Option<ServiceKey>,
    addresses: Box<[IpAddr]>,
    /// The endpoints' names, one for each address with its length before it; no byte at all when every endpoint is named by its
    /// address, which is the rule.
    names: Box<[u8]>,
    /// Ports that all its endpoints have.
    pub(crate) ports: Ports,
}

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
        let mut names = Vec::new();
        let mut addresses = Vec::with_capacity(slice.endpoints.len());
        let any_named = slice.endpoints.iter().any(named);
        for endpoint in &slice.endpoints {
            let name = name_of(endpoint, pod_names);
            for address in &endpoint.addresses {
                addresses.push(*address);
                if any_named {
                    names.push(name.len() as u8);
                    names.extend_from_slice(name.as_bytes());
                }
            }
        }
        Slice {
            key: key_of(&slice.key),
            service,
            addresses: addresses.into(),
            names: names.into(),
            ports: Ports::pack(&slice.ports),
        }
    }

    /// Its endpoints, one for each address.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = EndpointRef<'_>> {
        let mut names: &[u8] = &self.names;
        self.addresses.iter().map(move |&address| {
            let (&length, rest) = names.split_first().unwrap_or((&0, &[]));
            let (name, rest) = rest.split_at_checked(usize::from(length)).unwrap_or_default();
            names = rest;
            EndpointRef { address, name }
        })
    }

    /// Its addresses; one may be there several times.
    pub(crate) fn addresses(&self) -> &[IpAddr] {
        &self.addresses
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
pub(super) fn key_of(key: &ObjectKey) -> Box<[u8]> {
    [key.namespace.as_bytes(), b"/", key.name.as_bytes()].concat().into()
}

/// A slice in a set of slices, found by its key.
pub(super) struct ByKey(pub(super) Arc<Slice>);

impl Borrow<[u8]> for ByKey {
    fn borrow(&self) -> &[u8] {
        &self.0.key
    }
}

impl Hash for ByKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key.hash(state);
    }
}

impl PartialEq for ByKey {
    fn eq(&self, other: &ByKey) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}
