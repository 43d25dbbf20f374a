//! From an object as the API writes it to the few fields that DNS needs.
//!
//! The types here name only those fields; everything else is skipped while it is read and never stored. Values that DNS cannot use (an
//! address that is none, a port number out of range) are left out one by one, as an object with one odd field still has names to serve.
//! The fields and their meaning are those of CoreDNS's `plugin/kubernetes/object`. An IPv4 address mapped into IPv6 is IPv4, as Go's
//! `net.IP` has it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use k8s_openapi::jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Visitor};

use crate::kubernetes::objects::{
    Change, Endpoint, EndpointSlice, ObjectKey, Pod, Port, Resource, Service, ServiceKind,
};

/// An object that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    /// Its name.
    pub(super) key: ObjectKey,
    /// `metadata.resourceVersion`; empty in a manifest.
    pub(super) version: String,
    /// What it means.
    pub(super) meaning: Meaning,
}

/// What an object means for DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It is there.
    Present(Change),
    /// It is there, but gives no name: a Pod that has no address or has ended.
    Nameless,
    /// What is known of it stays as it is until it is gone: a Pod that terminates (CoreDNS's `errPodTerminating`).
    Unchanged,
}

/// Reads one object of a kind.
pub(super) fn decode<'de, D: Deserializer<'de>>(
    resource: Resource,
    input: D,
) -> Result<Decoded, D::Error> {
    Ok(match resource {
        Resource::Services => RawService::deserialize(input)?.cut(),
        Resource::EndpointSlices => RawSlice::deserialize(input)?.cut(),
        Resource::Namespaces => RawNamespace::deserialize(input)?.cut(),
        Resource::Pods => RawPod::deserialize(input)?.cut(),
    })
}

/// A field that is null is one that is not there, as for the API server.
pub(super) fn null_is_absent<'de, D, T>(input: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(input).map(Option::unwrap_or_default)
}

/// The change that takes an object away.
pub(super) fn gone(resource: Resource, key: ObjectKey) -> Change {
    match resource {
        Resource::Services => Change::ServiceGone(key),
        Resource::EndpointSlices => Change::SliceGone(key),
        Resource::Namespaces => Change::NamespaceGone(key.name),
        Resource::Pods => Change::PodGone(key),
    }
}

/// `metadata`, with the one label and the one annotation that DNS reads.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMeta {
    #[serde(default, deserialize_with = "null_is_absent")]
    name: String,
    #[serde(default, deserialize_with = "null_is_absent")]
    namespace: String,
    #[serde(default, deserialize_with = "null_is_absent")]
    resource_version: String,
    deletion_timestamp: Option<Exists>,
    labels: Option<RawLabels>,
    annotations: Option<RawAnnotations>,
}

#[derive(serde::Deserialize)]
struct RawLabels {
    #[serde(rename = "kubernetes.io/service-name")]
    service: Option<String>,
}

#[derive(serde::Deserialize)]
struct RawAnnotations {
    #[serde(rename = "endpoints.kubernetes.io/last-change-trigger-time")]
    last_change: Option<Parsed<Timestamp>>,
}

impl RawMeta {
    fn cut(self, meaning: impl FnOnce(&ObjectKey) -> Meaning) -> Decoded {
        let key = ObjectKey { namespace: self.namespace, name: self.name };
        Decoded { meaning: meaning(&key), key, version: self.resource_version }
    }
}

#[derive(serde::Deserialize)]
struct RawService {
    metadata: RawMeta,
    #[serde(default, deserialize_with = "null_is_absent")]
    spec: RawServiceSpec,
}

#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawServiceSpec {
    #[serde(rename = "type")]
    kind: Option<String>,
    external_name: Option<String>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<ClusterIp>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<ClusterIp>>,
    ports: Option<Vec<Option<RawPort>>>,
}

impl RawService {
    fn cut(self) -> Decoded {
        let spec = self.spec;
        // `clusterIP` counts only where `clusterIPs` is missing, and the first value decides whether the Service is headless
        // (CoreDNS's `object.ToService` and `Headless`).
        let addresses = spec.cluster_ips.filter(|list| !list.is_empty());
        let addresses = addresses.unwrap_or_else(|| spec.cluster_ip.into_iter().collect());
        let kind = match (spec.kind.as_deref(), addresses.first()) {
            (Some("ExternalName"), _) => {
                ServiceKind::ExternalName(spec.external_name.unwrap_or_default())
            }
            (_, Some(ClusterIp::None)) => ServiceKind::Headless,
            _ => ServiceKind::ClusterIp(addresses.iter().filter_map(ClusterIp::address).collect()),
        };
        let ports = cut_ports(spec.ports);
        self.metadata
            .cut(|key| Meaning::Present(Change::Service(Service { key: key.clone(), kind, ports })))
    }
}

#[derive(serde::Deserialize)]
struct RawSlice {
    metadata: RawMeta,
    endpoints: Option<Vec<Option<RawEndpoint>>>,
    ports: Option<Vec<Option<RawPort>>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEndpoint {
    addresses: Option<Vec<Parsed<IpAddr>>>,
    conditions: Option<RawConditions>,
    hostname: Option<String>,
    target_ref: Option<RawTarget>,
}

#[derive(serde::Deserialize)]
struct RawConditions {
    ready: Option<bool>,
}

#[derive(serde::Deserialize)]
struct RawTarget {
    #[serde(default, deserialize_with = "null_is_absent")]
    name: String,
}

/// The longest name that is a DNS label (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

impl RawSlice {
    fn cut(mut self) -> Decoded {
        let service = self.metadata.labels.take().and_then(|labels| labels.service);
        let last_change =
            self.metadata.annotations.take().and_then(|annotations| annotations.last_change?.0);
        let ready = |endpoint: &RawEndpoint| {
            endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
        };
        let endpoints = self.endpoints.into_iter().flatten().flatten();
        let endpoints = endpoints.filter(ready).map(RawEndpoint::cut).collect();
        let ports = cut_ports(self.ports);
        self.metadata.cut(|key| {
            Meaning::Present(Change::Slice(EndpointSlice {
                key: key.clone(),
                service,
                endpoints,
                ports,
                last_change: last_change.and_then(|time| i64::try_from(time.as_nanosecond()).ok()),
            }))
        })
    }
}

impl RawEndpoint {
    fn cut(self) -> Endpoint {
        Endpoint {
            addresses: self
                .addresses
                .into_iter()
                .flatten()
                .filter_map(|address| Some(address.0?.to_canonical()))
                .collect(),
            hostname: self.hostname.unwrap_or_default(),
            pod_name: self
                .target_ref
                .map(|target| target.name)
                .filter(|name| name.len() <= MAX_LABEL)
                .unwrap_or_default(),
        }
    }
}

#[derive(serde::Deserialize)]
struct RawPort {
    name: Option<String>,
    protocol: Option<String>,
    port: Option<i64>,
}

/// A port without a protocol is TCP, the API's own default.
fn cut_ports(ports: Option<Vec<Option<RawPort>>>) -> Vec<Port> {
    let cut = |port: RawPort| Port {
        name: port.name.unwrap_or_default(),
        protocol: port
            .protocol
            .filter(|name| !name.is_empty())
            .map_or_else(|| "tcp".to_owned(), |name| name.to_ascii_lowercase()),
        port: port.port.and_then(|number| u16::try_from(number).ok()),
    };
    ports.into_iter().flatten().flatten().map(cut).collect()
}

#[derive(serde::Deserialize)]
struct RawNamespace {
    metadata: RawMeta,
}

impl RawNamespace {
    fn cut(self) -> Decoded {
        self.metadata.cut(|key| Meaning::Present(Change::Namespace(key.name.clone())))
    }
}

#[derive(serde::Deserialize)]
struct RawPod {
    metadata: RawMeta,
    #[serde(default, deserialize_with = "null_is_absent")]
    status: RawPodStatus,
}

#[derive(Default, serde::Deserialize)]
struct RawPodStatus {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    address: Option<Parsed<IpAddr>>,
}

impl RawPod {
    fn cut(self) -> Decoded {
        let terminating = self.metadata.deletion_timestamp.is_some();
        // The watch asks for the other phases only; a manifest can have any.
        let ended =
            matches!(self.status.phase.as_deref(), Some("Succeeded" | "Failed" | "Unknown"));
        let address = self.status.address.and_then(|address| Some(address.0?.to_canonical()));
        self.metadata.cut(|key| match address {
            _ if ended => Meaning::Nameless,
            _ if terminating => Meaning::Unchanged,
            Some(address) => Meaning::Present(Change::Pod(Pod { key: key.clone(), address })),
            None => Meaning::Nameless,
        })
    }
}

/// A value of `clusterIPs`.
enum ClusterIp {
    Address(IpAddr),
    /// The word `None`: headless.
    None,
    /// Nothing assigned yet, or nothing that is an address.
    Unassigned,
}

impl ClusterIp {
    fn address(&self) -> Option<IpAddr> {
        match self {
            ClusterIp::Address(address) => Some(*address),
            _ => None,
        }
    }
}

impl FromStr for ClusterIp {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<ClusterIp, Self::Err> {
        Ok(match text {
            "None" => ClusterIp::None,
            text => text.parse().map_or(ClusterIp::Unassigned, |address: IpAddr| {
                ClusterIp::Address(address.to_canonical())
            }),
        })
    }
}

impl<'de> Deserialize<'de> for ClusterIp {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<ClusterIp, D::Error> {
        Ok(Parsed::deserialize(input)?.0.unwrap_or(ClusterIp::Unassigned))
    }
}

/// A string read as `T` where it stands; `None` if it is no `T`.
struct Parsed<T>(Option<T>);

impl<'de, T: FromStr> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Parsed<T>, D::Error> {
        struct Text<T>(std::marker::PhantomData<T>);
        impl<T: FromStr> Visitor<'_> for Text<T> {
            type Value = Parsed<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, text: &str) -> Result<Parsed<T>, E> {
                Ok(Parsed(text.parse().ok()))
            }
        }
        input.deserialize_str(Text(std::marker::PhantomData))
    }
}

/// Something other than null.
struct Exists;

impl<'de> Deserialize<'de> for Exists {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Exists, D::Error> {
        serde::de::IgnoredAny::deserialize(input).map(|_| Exists)
    }
}
