//! The API server that the `kubernetes` plugin's own tests use, for tests without a runtime of their own.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::cluster::live::Cluster;

#[path = "../../plugins/src/kubernetes/source/testing/mod.rs"]
#[expect(dead_code, reason = "only its objects are needed here, not its faults")]
mod plugin;

/// An API server in this process; it ends when it is dropped.
pub struct ScriptedApiServer {
    server: plugin::TestApiServer,
    _runtime: Runtime,
}

impl ScriptedApiServer {
    /// Starts one without objects.
    pub fn start() -> ScriptedApiServer {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let server = runtime.block_on(plugin::TestApiServer::start());
        ScriptedApiServer { server, _runtime: runtime }
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        self.server.url()
    }
}

impl Cluster for ScriptedApiServer {
    fn create(&self, object: &Value) {
        self.server.put(collection(object), object.clone());
    }

    fn change(&self, object: &Value) {
        self.server.put(collection(object), object.clone());
    }

    fn delete(&self, object: &Value) {
        let metadata = &object["metadata"];
        let text = |name: &str| metadata[name].as_str().unwrap_or_default();
        self.server.delete(collection(object), &format!("{}/{}", text("namespace"), text("name")));
    }

    fn address(&self) -> SocketAddr {
        self.url().trim_start_matches("http://").parse().expect("an address")
    }

    fn source(&self, port: u16) -> (&'static str, String) {
        ("kubeconfig DIR/source", kubeconfig(port))
    }
}

fn kubeconfig(port: u16) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: tests
  cluster: {{server: 'http://127.0.0.1:{port}'}}
users:
- name: tests
  user: {{}}
contexts:
- name: tests
  context: {{cluster: tests, user: tests}}
current-context: tests
"
    )
}

/// The API's plural of an object's kind.
pub fn collection(object: &Value) -> &'static str {
    match object["kind"].as_str() {
        Some("Namespace") => "namespaces",
        Some("Service") => "services",
        Some("EndpointSlice") => "endpointslices",
        Some("Pod") => "pods",
        other => panic!("tests do not make objects of kind {other:?}"),
    }
}
