//! Where the objects of the cluster come from.
//!
//! ```text
//! API server --list, watch--> Reflector (one per kind) --\
//!                              scan -> decode -> Known     >-- Sink (the index)
//! manifests  --every second--> Snapshot ----------------/
//!                              read -> decode -> Known
//! ```
//!
//! A body is cut into objects while it arrives (`scan`), each object is cut down to what DNS needs while it is decoded (`decode`), and
//! compared with what was reported before (`Known`: names and hashes, no objects). What is new goes to the sink at once, on the task that
//! reads the connection; nothing waits for a batch or a timer, and no list is ever held as a whole.
//!
//! Why not `kube::runtime::watcher`: it hands a relist over as a whole to be swapped in, so that two copies exist while that is done,
//! and it decodes into types with all their metadata. What stays with `kube` is what is hard to get right: kubeconfig, TLS, credentials
//! and their rotation.
//!
//! All watches are cluster-wide, also with the option `namespaces`, as in CoreDNS: list and watch rights for the whole cluster are
//! needed, and suffice.

mod backoff;
mod check;
mod client;
mod connection;
mod credentials;
mod decode;
mod event;
mod failure;
mod feed;
mod known;
mod limit;
mod metrics;
#[cfg(any(test, fuzzing))]
pub mod property;
mod reflector;
mod scan;
mod selector;
mod snapshot;
mod state;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod token;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use periplus_core::metrics::Registry;
use periplus_core::setup::TaskFuture;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use check::{SettingsError, check};
pub use metrics::register_state;
#[cfg(any(test, fuzzing))]
pub use snapshot::property as snapshot_property;
pub use state::{ResourceState, SourceState};

use super::objects::{Change, Resource};
use connection::Connection;
use feed::Feed;
use reflector::Reflector;
use snapshot::Snapshot;

/// Where the kubelet puts the service account's files.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

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

impl Origin {
    /// The Pod that the process runs in.
    pub fn in_cluster() -> Origin {
        Origin::InCluster {
            host: std::env::var("KUBERNETES_SERVICE_HOST").ok(),
            port: std::env::var("KUBERNETES_SERVICE_PORT").ok(),
            service_account: SERVICE_ACCOUNT.into(),
        }
    }
}

impl Settings {
    /// The kinds of objects to read.
    fn resources(&self) -> Vec<Resource> {
        let mut resources = vec![Resource::Namespaces, Resource::Services];
        if self.watch_endpoints {
            resources.push(Resource::EndpointSlices);
        }
        if self.watch_pods {
            resources.push(Resource::Pods);
        }
        resources
    }

    /// The label selector of a kind of object.
    fn selector(&self, resource: Resource) -> Option<&str> {
        match resource {
            Resource::Namespaces => self.namespace_labels.as_deref(),
            _ => self.labels.as_deref(),
        }
    }
}

/// Where the objects are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The API server of the cluster that we run in, with the service account of our Pod.
    InCluster {
        /// What the kubelet tells each container of the API server; `None`: we run elsewhere.
        host: Option<String>,
        /// Likewise.
        port: Option<String>,
        /// The folder with the account's token and the certificate authority.
        service_account: PathBuf,
    },
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

/// How long things may take.
#[derive(Clone, Debug)]
pub(crate) struct Timing {
    /// Until the header of an answer.
    pub(crate) answer: Duration,
    /// Between two parts of a list.
    pub(crate) list_silence: Duration,
    /// How long the server is asked to let a watch run; up to a quarter more, by chance.
    ///
    /// The server sends a bookmark shortly before it ends a watch, whatever else happens, so that this is also the
    /// time in which a dead connection is noticed. A watch that goes on from a bookmark costs the server next to nothing.
    pub(crate) watch: Duration,
    /// The same for the first watch after a failure. The bookmark comes two seconds before its end.
    pub(crate) trial: Duration,
    /// Between two lists that are read because a watch ended in an odd way.
    pub(crate) suspicion_pause: Duration,
    /// How much later than asked for the end of a watch may come.
    pub(crate) watch_grace: Duration,
    /// The first wait after a failure.
    pub(crate) backoff: Duration,
    /// The longest wait after failures.
    pub(crate) backoff_most: Duration,
    /// Between two clients: making one reads files, and may run a program.
    pub(crate) client_pause: Duration,
    /// Until one is made.
    pub(crate) client: Duration,
    /// Between two looks at the files of a snapshot.
    pub(crate) poll: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            answer: Duration::from_secs(30),
            list_silence: Duration::from_secs(20),
            watch: Duration::from_secs(30),
            trial: Duration::from_secs(5),
            suspicion_pause: Duration::from_secs(300),
            watch_grace: Duration::from_secs(5),
            backoff: Duration::from_millis(200),
            backoff_most: Duration::from_secs(15),
            client_pause: Duration::from_secs(5),
            client: Duration::from_secs(10),
            poll: Duration::from_secs(1),
        }
    }
}

impl Timing {
    /// Without a sign for this long, the data may be old: one watch has passed without even a bookmark.
    fn stale_after(&self) -> Duration {
        self.watch + self.watch / 4 + 2 * self.watch_grace
    }
}

/// The tasks that read the objects, from when they are started until the value is dropped.
pub struct Source {
    state: Arc<SourceState>,
    tasks: Mutex<Option<TaskFuture>>,
    /// Stops the tasks when the value is dropped.
    _stop: DropGuard,
}

impl Source {
    /// Not started yet.
    pub fn new<S: Sink>(settings: Settings, sink: Arc<S>, registry: &Arc<Registry>) -> Source {
        let timing = Timing::default();
        let state = Arc::new(SourceState::new(
            origin_label(&settings.origin),
            &settings.resources(),
            timing.stale_after(),
        ));
        let stop = CancellationToken::new();
        let (shared, registry) = (Arc::clone(&state), Arc::clone(registry));
        let tasks = run(settings, timing, sink, shared, registry, stop.clone());
        Source { state, tasks: Mutex::new(Some(Box::pin(tasks))), _stop: stop.drop_guard() }
    }

    /// How it is doing.
    pub fn state(&self) -> &Arc<SourceState> {
        &self.state
    }

    /// Starts the tasks, if that was not done before. Needs a runtime.
    pub fn start(&self) {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(tasks) = tasks {
            tokio::spawn(tasks);
        }
    }
}

/// Reads objects until it is stopped.
pub(crate) async fn run<S: Sink>(
    settings: Settings,
    timing: Timing,
    sink: Arc<S>,
    state: Arc<SourceState>,
    registry: Arc<Registry>,
    stop: CancellationToken,
) {
    let feed = |resource| Feed::new(resource, Arc::clone(&sink), Arc::clone(&state), &registry);
    let mut tasks = tokio::task::JoinSet::new();
    match &settings.origin {
        Origin::Snapshot(path) => {
            let feeds = settings.resources().into_iter().map(feed).collect();
            tasks.spawn(Snapshot::new(path.clone(), &settings, timing.clone(), feeds).run());
        }
        _ => {
            let connection = Arc::new(Connection::new(&settings, &timing, &registry));
            for resource in settings.resources() {
                let selector = settings.selector(resource);
                let connection = Arc::clone(&connection);
                tasks.spawn(
                    Reflector::new(feed(resource), connection, selector, timing.clone()).run(),
                );
            }
        }
    }
    tasks.spawn(say_when_late(Arc::clone(&state), settings.startup_timeout));
    // Dropping the set ends the tasks where they wait.
    stop.cancelled().await;
}

/// One line when the objects are not there in time. CoreDNS holds back its sockets until then; here they are open all the time, and
/// until the objects are there the names of the cluster are SERVFAIL, or after a reload what they were before it.
async fn say_when_late(state: Arc<SourceState>, patience: Duration) {
    tokio::time::sleep(patience).await;
    if !state.synced() {
        let remarks = state.remarks().join("; ");
        tracing::warn!("plugin/kubernetes: unsynced Kubernetes API after {patience:?}: {remarks}");
    }
}

fn origin_label(origin: &Origin) -> String {
    match origin {
        Origin::InCluster { .. } => "cluster".to_owned(),
        Origin::Kubeconfig { path, context } => match context {
            Some(context) => format!("{}#{context}", path.display()),
            None => path.display().to_string(),
        },
        Origin::Endpoint { url, .. } => url.clone(),
        Origin::Snapshot(path) => path.display().to_string(),
    }
}
