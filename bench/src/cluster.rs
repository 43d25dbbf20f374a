//! The cluster that all servers serve: a plain value that zone files and API objects are made from.

use std::net::Ipv4Addr;

/// Services of one namespace.
const SERVICES_PER_NAMESPACE: usize = 50;
/// Endpoints of each service with a cluster address, unless a scenario wants others.
const ENDPOINTS: usize = 3;
/// Most endpoints of one EndpointSlice, as the controller makes them.
pub(crate) const SLICE: usize = 100;
/// The address of the first of all endpoints; the others follow.
const FIRST_ENDPOINT: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);
/// What the namespaces of services begin with whose endpoints are meant to change.
pub(crate) const CHANGING: &str = "changing";
/// The namespace of the headless services.
pub(crate) const HEADLESS: &str = "headless";

/// Namespaces, services and their endpoints, and Pods where a scenario has them.
pub(crate) struct Cluster {
    pub(crate) services: Vec<Service>,
    pub(crate) pods: Vec<Pod>,
}

/// One service with ports `http` (80/TCP) and `metrics` (9090/TCP).
pub(crate) struct Service {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// `None`: headless.
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) endpoints: Vec<Ipv4Addr>,
}

/// A running Pod.
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
}

impl Cluster {
    /// `count` services with cluster addresses and three endpoints each, and the headless services `three` and `many`.
    pub(crate) fn new(count: usize) -> Cluster {
        Cluster::with_endpoints(count, ENDPOINTS)
    }

    /// The same with another number of endpoints.
    pub(crate) fn with_endpoints(count: usize, endpoints: usize) -> Cluster {
        let mut services: Vec<Service> =
            (0..count).map(|index| Service::numbered(index, endpoints)).collect();
        services.push(Service::headless("three", 3, Ipv4Addr::new(10, 200, 0, 1)));
        services.push(Service::headless("many", 300, Ipv4Addr::new(10, 201, 0, 1)));
        Cluster { services, pods: Vec::new() }
    }

    /// Adds Pods: those behind the endpoints of the numbered services first, then others in the same namespaces.
    pub(crate) fn with_pods(mut self, count: usize) -> Cluster {
        let services: Vec<&Service> = self.numbered().collect();
        let pod = |index: usize| {
            let service = services[index / ENDPOINTS % services.len()];
            let address = after(FIRST_ENDPOINT, index);
            let (namespace, name) = (service.namespace.clone(), service.pod_name(address));
            Pod { namespace, name, address }
        };
        self.pods = (0..count).map(pod).collect();
        self
    }

    /// Adds headless services with three endpoints each, for updates to change.
    pub(crate) fn with_changing(mut self, count: usize) -> Cluster {
        self.services.extend((0..count).map(|index| {
            Service {
                namespace: format!("{CHANGING}-{}", index / SERVICES_PER_NAMESPACE),
                name: format!("app-{index}"),
                address: None,
                endpoints: (0..ENDPOINTS)
                    .map(|n| after(Ipv4Addr::new(10, 210, 0, 1), index * ENDPOINTS + n))
                    .collect(),
            }
        }));
        self
    }

    /// Names of all namespaces.
    pub(crate) fn namespaces(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.services.iter().map(|service| &*service.namespace).collect();
        names.dedup();
        names
    }

    /// The services with a cluster address.
    pub(crate) fn numbered(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().filter(|service| service.address.is_some())
    }

    /// The headless service with this name.
    pub(crate) fn headless(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.namespace == HEADLESS && service.name == name)
    }
}

impl Service {
    fn numbered(index: usize, endpoints: usize) -> Service {
        Service {
            namespace: format!("ns-{}", index / SERVICES_PER_NAMESPACE),
            name: format!("svc-{index}"),
            address: Some(after(Ipv4Addr::new(10, 96, 1, 0), index)),
            endpoints: (0..endpoints)
                .map(|n| after(FIRST_ENDPOINT, index * endpoints + n))
                .collect(),
        }
    }

    fn headless(name: &str, count: usize, first: Ipv4Addr) -> Service {
        Service {
            namespace: HEADLESS.into(),
            name: name.into(),
            address: None,
            endpoints: (0..count).map(|n| after(first, n)).collect(),
        }
    }

    /// Its name in DNS.
    pub(crate) fn domain(&self) -> String {
        format!("{}.{}.svc.cluster.local.", self.name, self.namespace)
    }

    /// The name of the Pod behind one of its endpoints.
    pub(crate) fn pod_name(&self, endpoint: Ipv4Addr) -> String {
        format!("{}-6d5f7c9b8-{:05x}", self.name, u32::from(endpoint) & 0xf_ffff)
    }
}

impl Pod {
    /// Its name in DNS.
    pub(crate) fn domain(&self) -> String {
        Pod::domain_of(self.address, &self.namespace)
    }

    /// The name that a Pod with this address would have in a namespace.
    pub(crate) fn domain_of(address: Ipv4Addr, namespace: &str) -> String {
        let [a, b, c, d] = address.octets();
        format!("{a}-{b}-{c}-{d}.{namespace}.pod.cluster.local.")
    }
}

fn after(first: Ipv4Addr, count: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(first) + count as u32)
}
