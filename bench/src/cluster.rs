//! The cluster that all servers serve: a plain value that zone files and API objects are made from.

use std::net::Ipv4Addr;

/// Services of one namespace.
const SERVICES_PER_NAMESPACE: usize = 50;
/// Endpoints of each service with a cluster address.
const ENDPOINTS: usize = 3;
/// Most endpoints of one EndpointSlice, as the controller makes them.
pub(crate) const SLICE: usize = 100;
/// The namespace of the headless services.
pub(crate) const HEADLESS: &str = "headless";

/// Namespaces, services and their endpoints.
pub(crate) struct Cluster {
    pub(crate) services: Vec<Service>,
}

/// One service with ports `http` (80/TCP) and `metrics` (9090/TCP).
pub(crate) struct Service {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// `None`: headless.
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) endpoints: Vec<Ipv4Addr>,
}

impl Cluster {
    /// `count` services with cluster addresses and three endpoints each, and the headless services `three` and `many`.
    pub(crate) fn new(count: usize) -> Cluster {
        let mut services: Vec<Service> = (0..count).map(Service::numbered).collect();
        services.push(Service::headless("three", 3, Ipv4Addr::new(10, 200, 0, 1)));
        services.push(Service::headless("many", 300, Ipv4Addr::new(10, 201, 0, 1)));
        Cluster { services }
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
    fn numbered(index: usize) -> Service {
        Service {
            namespace: format!("ns-{}", index / SERVICES_PER_NAMESPACE),
            name: format!("svc-{index}"),
            address: Some(after(Ipv4Addr::new(10, 96, 1, 0), index)),
            endpoints: (0..ENDPOINTS)
                .map(|n| after(Ipv4Addr::new(10, 244, 0, 1), index * ENDPOINTS + n))
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
}

fn after(first: Ipv4Addr, count: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(first) + count as u32)
}
