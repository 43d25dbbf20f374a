//! Short ways to write objects.

use crate::kubernetes::objects::*;

pub(super) fn key(text: &str) -> ObjectKey {
    let (namespace, name) = text.split_once('/').expect("namespace/name");
    ObjectKey { namespace: namespace.to_owned(), name: name.to_owned() }
}

pub(super) fn namespace(name: &str) -> Change {
    Change::Namespace(name.to_owned())
}

/// `http:80/tcp`; the name may be empty, and the number too.
pub(super) fn ports(texts: &[&str]) -> Vec<Port> {
    let port = |text: &&str| {
        let (name, rest) = text.split_once(':').expect("name:port/protocol");
        let (number, protocol) = rest.split_once('/').expect("port/protocol");
        Port { name: name.to_owned(), protocol: protocol.to_owned(), port: number.parse().ok() }
    };
    texts.iter().map(port).collect()
}

fn service(at: &str, kind: ServiceKind, texts: &[&str]) -> Change {
    Change::Service(Service { key: key(at), kind, ports: ports(texts) })
}

pub(super) fn cluster_ip(at: &str, addresses: &[&str], ports: &[&str]) -> Change {
    let addresses = addresses.iter().map(|address| address.parse().expect("an address")).collect();
    service(at, ServiceKind::ClusterIp(addresses), ports)
}

pub(super) fn headless(at: &str, ports: &[&str]) -> Change {
    service(at, ServiceKind::Headless, ports)
}

pub(super) fn external_name(at: &str, target: &str) -> Change {
    service(at, ServiceKind::ExternalName(target.to_owned()), &[])
}

/// A slice of a service in the same namespace. Endpoints: `address`, `host@address`, or `%pod@address`, several addresses with commas
/// between.
pub(super) fn slice(at: &str, service: &str, endpoints: &[&str], texts: &[&str]) -> Change {
    let endpoint = |text: &&str| {
        let (name, addresses) = text.split_once('@').unwrap_or(("", text));
        let (hostname, pod_name) = match name.strip_prefix('%') {
            Some(pod) => ("", pod),
            None => (name, ""),
        };
        Endpoint {
            addresses: addresses
                .split(',')
                .map(|address| address.parse().expect("an address"))
                .collect(),
            hostname: hostname.to_owned(),
            pod_name: pod_name.to_owned(),
        }
    };
    Change::Slice(EndpointSlice {
        key: key(at),
        service: Some(service.to_owned()).filter(|service| !service.is_empty()),
        endpoints: endpoints.iter().map(endpoint).collect(),
        ports: ports(texts),
        last_change: None,
    })
}

pub(super) fn pod(at: &str, address: &str) -> Change {
    Change::Pod(Pod { key: key(at), address: address.parse().expect("an address") })
}
