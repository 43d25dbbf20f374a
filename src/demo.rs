//! The embedded demo: a small cluster as manifests, and a Corefile that serves it without an API server.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use periplus_core::random;

use crate::source::Source;

const CLUSTER: &str = include_str!("../examples/demo/cluster.yaml");
const COREFILE: &str = include_str!("../examples/demo/Corefile");

/// The cluster's manifests in a temporary directory, which goes with this value.
pub struct Demo {
    directory: PathBuf,
}

impl Demo {
    /// Writes the manifests.
    pub fn new() -> io::Result<Demo> {
        let name = format!("periplus-demo-{:016x}", random::number());
        let directory = std::env::temp_dir().join(name);
        // Fails if anything is there already: in a directory for all, another user may have put a link in its place.
        DirBuilder::new().mode(0o700).create(&directory)?;
        let demo = Demo { directory };
        std::fs::write(demo.manifests(), CLUSTER)?;
        Ok(demo)
    }

    /// The configuration that serves them.
    pub fn source(&self) -> Source {
        let text =
            COREFILE.replace("examples/demo/cluster.yaml", &self.manifests().to_string_lossy());
        Source::Text { name: "demo".into(), text }
    }

    fn manifests(&self) -> PathBuf {
        self.directory.join("cluster.yaml")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
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
