//! Where changes come from: watches on the API server, or a folder of manifests.

use std::path::PathBuf;
use std::sync::Arc;

use periplus_core::setup::Instance;

use super::index::Index;

/// What a source has to know of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where the objects are.
    pub origin: Origin,
    /// Label selector for Services, EndpointSlices and Pods.
    pub labels: Option<String>,
    /// Label selector for Namespaces.
    pub namespace_labels: Option<String>,
    /// Namespaces to answer for; none: all.
    pub namespaces: Vec<String>,
    /// Whether Pods are needed.
    pub watch_pods: bool,
    /// Whether EndpointSlices are needed.
    pub watch_endpoints: bool,
    /// Most requests to the API server in a second, in the long run.
    pub qps: Option<f32>,
    /// Most requests at once.
    pub burst: Option<u32>,
    /// Most requests under way.
    pub max_inflight: Option<u32>,
}

/// Where the objects are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The API server of the cluster this process runs in.
    InCluster,
    /// The API server that a kubeconfig file names.
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The context in it; none: its current one.
        context: Option<String>,
    },
    /// The API server at a URL.
    Endpoint {
        /// The URL.
        url: String,
        /// Client certificate, its key, and the authorities that the server's certificate must come from.
        tls: Option<(PathBuf, PathBuf, PathBuf)>,
    },
    /// A file or folder of manifests.
    Snapshot(PathBuf),
}

/// Registers the tasks that keep an index up to date.
pub fn spawn(_settings: Settings, _index: Arc<Index>, _instance: &mut Instance) {}
