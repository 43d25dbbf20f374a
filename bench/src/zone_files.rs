//! The same cluster as zone files, for servers that know nothing of Kubernetes.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Result;
use crate::cluster::Cluster;

/// Zones and the files they are written to.
pub(crate) const ZONES: [(&str, &str); 2] =
    [("cluster.local", "forward.zone"), ("10.in-addr.arpa", "reverse.zone")];

/// Writes both zone files into a directory.
pub(crate) fn write(cluster: &Cluster, directory: &Path) -> Result<()> {
    let [forward, reverse] = ZONES;
    fs::write(directory.join(forward.1), forward_zone(cluster))?;
    fs::write(directory.join(reverse.1), reverse_zone(cluster))?;
    Ok(())
}

fn head(zone: &str) -> String {
    format!(
        "$ORIGIN {zone}.\n$TTL 30\n@ SOA ns.dns.cluster.local. hostmaster.{zone}. 1 7200 1800 86400 30\n@ NS ns.dns.cluster.local.\n"
    )
}

fn forward_zone(cluster: &Cluster) -> String {
    let mut zone = head("cluster.local");
    zone.push_str("ns.dns A 10.96.0.10\n");
    for service in &cluster.services {
        let name = service.domain();
        if let Some(address) = service.address {
            let _ = write!(
                zone,
                "{name} A {address}\n_http._tcp.{name} SRV 0 100 80 {name}\n_metrics._tcp.{name} SRV 0 100 9090 {name}\n"
            );
            continue;
        }
        for address in &service.endpoints {
            let endpoint = address.to_string().replace('.', "-");
            let _ = write!(
                zone,
                "{name} A {address}\n{endpoint}.{name} A {address}\n_http._tcp.{name} SRV 0 1 80 {endpoint}.{name}\n"
            );
        }
    }
    zone
}

fn reverse_zone(cluster: &Cluster) -> String {
    let mut zone = head("10.in-addr.arpa");
    for service in cluster.numbered() {
        if let Some(address) = service.address {
            let [a, b, c, d] = address.octets();
            let _ = writeln!(zone, "{d}.{c}.{b}.{a}.in-addr.arpa. PTR {}", service.domain());
        }
    }
    zone
}
