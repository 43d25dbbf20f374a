//! The embedded demo: a small cluster as manifests, and a Corefile that serves it without an API server.

use std::io;
use std::path::Path;

use crate::source::Source;

const CLUSTER: &str = include_str!("../examples/demo/cluster.yaml");
const COREFILE: &str = include_str!("../examples/demo/Corefile");

/// Writes the cluster's manifests to a temporary directory, and gives the configuration that serves them.
pub fn source() -> io::Result<Source> {
    let directory = std::env::temp_dir().join(format!("periplus-demo-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    std::fs::write(directory.join("cluster.yaml"), CLUSTER)?;
    Ok(configuration(&directory))
}

fn configuration(manifests: &Path) -> Source {
    let text = COREFILE
        .replace("examples/demo/cluster.yaml", &manifests.join("cluster.yaml").to_string_lossy());
    Source::Text { name: "demo".into(), text }
}

/// What to try.
pub fn hints(port: u16) -> String {
    format!(
        "The demo cluster answers on 127.0.0.1:{port}. Try:\n\
         \n\
         \x20   dig @127.0.0.1 -p {port} web.shop.svc.cluster.local\n\
         \x20   dig @127.0.0.1 -p {port} SRV _db._tcp.postgres.shop.svc.cluster.local\n\
         \x20   dig @127.0.0.1 -p {port} -x 10.96.0.10\n"
    )
}
