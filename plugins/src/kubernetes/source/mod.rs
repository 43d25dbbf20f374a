//! Where the objects of the cluster come from.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use periplus_core::setup::Instance;

use super::objects::{Change, Resource};

/// Who takes the objects: the index.
///
/// Called from one task per kind of object; the kinds come independently of each other. Calls must return quickly, as
/// they hold up the connection they come from.
pub trait Sink: Send + Sync + 'static {
    /// One object has changed. Called only for a change: an object that says the same as before is passed over, and what is gone was
    /// there.
    fn apply(&self, change: Change);

    /// A kind of object was read completely, and all of it was applied. Called once per kind.
    fn synced(&self, resource: Resource);
}

/// What to read, and from where.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the objects are.
    pub origin: Origin,
    /// Label selector for Services, Pods and EndpointSlices (`labels`).
    pub labels: Option<String>,
    /// Label selector for Namespaces (`namespace_labels`).
    pub namespace_labels: Option<String>,
    /// Namespaces to serve (`namespaces`). The source reads all of them; whoever answers makes the choice.
    pub namespaces: Vec<String>,
    /// Whether Pods are needed (`pods verified`).
    pub watch_pods: bool,
    /// Whether EndpointSlices are needed (not with `noendpoints`).
    pub watch_endpoints: bool,
    /// Requests per second (`apiserver_qps`); 0: no limit.
    pub qps: f32,
    /// Requests that may come at once within that limit (`apiserver_burst`); 0: 10.
    pub burst: u32,
    /// Requests without an answer yet (`apiserver_max_inflight`); 0: no limit.
    pub max_inflight: u32,
    /// After this time without all data there is a warning in the log (`startup_timeout`).
    pub startup_timeout: Duration,
}

/// Where the objects are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The API server of the cluster that we run in, with the service account of our Pod.
    InCluster,
    /// The API server that a kubeconfig names.
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Its context; `None`: the current one.
        context: Option<String>,
    },
    /// The API server at an address.
    Endpoint {
        /// `https://host:port`, `http://host:port` or `host:port`.
        url: String,
        /// Client certificate, its key, and the certificate authority of the server.
        tls: Option<Tls>,
    },
    /// A manifest, or a folder of manifests, as `kubectl get -o yaml` writes them.
    Snapshot(PathBuf),
}

/// PEM files for TLS; an empty path leaves that part out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Client certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Certificate authority of the server.
    pub authority: PathBuf,
}

/// Why settings cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingsError {}

impl fmt::Display for SettingsError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

/// Checks settings without network: files, certificates, context, selectors. Objects of a snapshot are not read.
pub fn check(_settings: &Settings) -> Result<(), SettingsError> {
    Ok(())
}

/// How a source is doing.
#[derive(Default)]
pub struct SourceState;

impl SourceState {
    /// What is not as it should be, one line each: `services: 403 Forbidden: ... (since 12s)`.
    pub fn remarks(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Registers the tasks that read the objects. They start with the instance and end with it.
pub fn spawn<S: Sink>(
    _settings: Settings,
    _sink: Arc<S>,
    _instance: &mut Instance,
) -> Arc<SourceState> {
    Arc::default()
}
