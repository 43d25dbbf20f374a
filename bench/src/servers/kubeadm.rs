//! Periplus and CoreDNS, both with the Corefile that kubeadm writes.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::{Kind, Purpose, Recipe, free_port};
use crate::Result;

/// The Corefile as kubeadm writes it, but for ports, the API server, the upstream, and one more directive.
pub(crate) fn corefile(
    source: &str,
    pods: &str,
    upstream: SocketAddr,
    ports: Ports,
    directive: Option<&str>,
) -> String {
    let Ports { dns, health, ready, metrics } = ports;
    let directive = directive.map(|directive| format!("\n    {directive}")).unwrap_or_default();
    format!(
        ".:{dns} {{
    errors{directive}
    health :{health} {{
       lameduck 5s
    }}
    ready :{ready}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
       {source}
       pods {pods}
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }}
    prometheus :{metrics}
    forward . {upstream} {{
       max_concurrent 1000
    }}
    cache 30 {{
       disable success cluster.local
       disable denial cluster.local
    }}
    loop
    reload
    loadbalance
}}
"
    )
}

/// Ports of one server.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) dns: u16,
    pub(crate) health: u16,
    pub(crate) ready: u16,
    pub(crate) metrics: u16,
}

/// Writes the Corefile; as many workers for Periplus as the server has CPUs, which is one nearly always. CoreDNS sees that by itself.
pub(super) fn recipe(
    kind: Kind,
    program: PathBuf,
    purpose: &Purpose<'_>,
    dns: SocketAddr,
    directory: &Path,
) -> Result<Recipe> {
    let ports =
        Ports { dns: dns.port(), health: free_port()?, ready: free_port()?, metrics: free_port()? };
    let source = format!("endpoint http://{}", purpose.api.address);
    let pods = if purpose.cluster.pods.is_empty() { "insecure" } else { "verified" };
    let path = directory.join("Corefile");
    fs::write(
        &path,
        corefile(&source, pods, purpose.upstream, ports, purpose.scenario.directive()),
    )?;
    let mut arguments = vec!["-conf".to_owned(), path.to_string_lossy().into_owned()];
    if kind == Kind::Periplus && crate::process::can_pin() {
        arguments.extend(["--workers".to_owned(), purpose.workers.to_string()]);
    }
    let environment = vec![("GOMAXPROCS", purpose.workers.to_string())];
    let ready = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, ports.ready)));
    Ok(Recipe { program, arguments, environment, ready })
}
