//! Kubernetes objects cut down to what DNS needs.
//!
//! Sources (a watch, a folder of manifests) make these and the index takes them; nothing else of an object is ever kept. Names are as the API server has them,
//! which is lower case by its own rules.

use std::net::IpAddr;

/// Which object: namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

/// A `v1.Service`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// Its key.
    pub key: ObjectKey,
    /// What kind of answer it gives.
    pub kind: ServiceKind,
    /// `spec.ports`.
    pub ports: Vec<Port>,
}

/// What kind of answer a Service gives.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ServiceKind {
    /// `spec.clusterIPs` (also NodePort and LoadBalancer); empty when none is assigned yet.
    ClusterIp(Vec<IpAddr>),
    /// `clusterIP: None`.
    Headless,
    /// `spec.type: ExternalName` with its `spec.externalName` as written.
    ExternalName(String),
}

/// One port of a Service or EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Port {
    /// Port name; empty when it has none.
    pub name: String,
    /// Protocol in lower case: `tcp`, `udp`, `sctp`.
    pub protocol: String,
    /// Number; `None` for a slice port without one ("all ports").
    pub port: Option<u16>,
}

/// A `discovery.k8s.io/v1` EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EndpointSlice {
    /// Its key.
    pub key: ObjectKey,
    /// Value of the label `kubernetes.io/service-name`; a slice without it belongs to no service.
    pub service: Option<String>,
    /// Ready endpoints only (`conditions.ready` true or absent).
    pub endpoints: Vec<Endpoint>,
    /// `ports`; empty when the slice has none.
    pub ports: Vec<Port>,
    /// Annotation `endpoints.kubernetes.io/last-change-trigger-time`, as Unix time in nanoseconds.
    pub last_change: Option<i64>,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// All addresses, of both families.
    pub addresses: Vec<IpAddr>,
    /// `hostname`; empty when it has none.
    pub hostname: String,
    /// Name of the target Pod; empty when there is none or it has 64 characters or more.
    pub pod_name: String,
}

/// A `v1.Pod` that has an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pod {
    /// Its key.
    pub key: ObjectKey,
    /// `status.podIP`.
    pub address: IpAddr,
}

/// One change that a source reports. A list ends with `Synced`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// A Service is there or has changed.
    Service(Service),
    /// A Service is gone.
    ServiceGone(ObjectKey),
    /// A slice is there or has changed.
    Slice(EndpointSlice),
    /// A slice is gone.
    SliceGone(ObjectKey),
    /// A Namespace (matching `namespace_labels`) is there.
    Namespace(String),
    /// A Namespace is gone or matches no longer.
    NamespaceGone(String),
    /// A running Pod is there or has changed.
    Pod(Pod),
    /// A Pod is gone, finished or terminating.
    PodGone(ObjectKey),
}

/// The kinds of objects that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// `v1` Services.
    Services,
    /// `discovery.k8s.io/v1` EndpointSlices.
    EndpointSlices,
    /// `v1` Namespaces.
    Namespaces,
    /// `v1` Pods, only with `pods verified`.
    Pods,
}

impl Resource {
    /// The API's own name, in URLs and as the metric label `resource`.
    pub fn name(self) -> &'static str {
        match self {
            Resource::Services => "services",
            Resource::EndpointSlices => "endpointslices",
            Resource::Namespaces => "namespaces",
            Resource::Pods => "pods",
        }
    }
}
