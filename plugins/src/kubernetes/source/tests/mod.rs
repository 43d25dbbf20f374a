//! Tests of the sources, and what they share.

mod decoding;
mod faults;
mod following;
mod limits;
mod outages;
mod rotation;
mod scanning;
mod selectors;
mod settings;
mod snapshots;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use periplus_core::metrics::Registry;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::state::SourceState;
use super::testing::TestApiServer;
use super::{Origin, Settings, Sink, Timing, origin_label, register_state, run};
use crate::kubernetes::objects::{Change, ObjectKey, Resource};

/// A sink that keeps everything.
#[derive(Default)]
pub(super) struct Recorder(Mutex<Recorded>);

#[derive(Clone, Default)]
pub(super) struct Recorded {
    /// What is there now, by kind and name: `Service ns/name`.
    pub(super) objects: BTreeMap<String, Change>,
    /// All changes, in order.
    pub(super) changes: Vec<Change>,
    pub(super) synced: Vec<Resource>,
}

impl Sink for Recorder {
    fn apply(&self, change: Change) {
        let mut recorded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |kind: &str, key: &ObjectKey| format!("{kind} {}/{}", key.namespace, key.name);
        let (name, there) = match &change {
            Change::Service(service) => (named("Service", &service.key), true),
            Change::ServiceGone(key) => (named("Service", key), false),
            Change::Slice(slice) => (named("Slice", &slice.key), true),
            Change::SliceGone(key) => (named("Slice", key), false),
            Change::Namespace(name) => (format!("Namespace {name}"), true),
            Change::NamespaceGone(name) => (format!("Namespace {name}"), false),
            Change::Pod(pod) => (named("Pod", &pod.key), true),
            Change::PodGone(key) => (named("Pod", key), false),
        };
        match there {
            true => drop(recorded.objects.insert(name, change.clone())),
            false => drop(recorded.objects.remove(&name).expect("only what was there is gone")),
        }
        recorded.changes.push(change);
    }

    fn synced(&self, resource: Resource) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).synced.push(resource);
    }
}

impl Recorder {
    pub(super) fn now(&self) -> Recorded {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A source that runs until it is dropped.
pub(super) struct Running {
    pub(super) recorder: Arc<Recorder>,
    pub(super) state: Arc<SourceState>,
    pub(super) registry: Arc<Registry>,
    _stop: DropGuard,
}

pub(super) fn start(settings: Settings) -> Running {
    start_with(settings, fast())
}

pub(super) fn start_with(settings: Settings, timing: Timing) -> Running {
    start_in(Arc::new(Registry::new(1)), settings, timing)
}

/// A source whose metrics are beside those of others.
pub(super) fn start_in(registry: Arc<Registry>, settings: Settings, timing: Timing) -> Running {
    let recorder = Arc::new(Recorder::default());
    let (origin, resources) = (origin_label(&settings.origin), settings.resources());
    let state = Arc::new(SourceState::new(origin, &resources, timing.stale_after()));
    let stop = CancellationToken::new();
    let (sink, shared, metrics) =
        (Arc::clone(&recorder), Arc::clone(&state), Arc::clone(&registry));
    register_state(&registry, &state);
    tokio::spawn(run(settings, timing, sink, shared, metrics, stop.clone()));
    Running { recorder, state, registry, _stop: stop.drop_guard() }
}

/// All the same as in service, only sooner.
pub(super) fn fast() -> Timing {
    Timing {
        answer: Duration::from_secs(1),
        list_silence: Duration::from_millis(500),
        watch: Duration::from_millis(800),
        trial: Duration::from_millis(800),
        suspicion_pause: Duration::from_secs(300),
        watch_grace: Duration::from_millis(500),
        backoff: Duration::from_millis(10),
        backoff_most: Duration::from_millis(100),
        client_pause: Duration::from_millis(50),
        client: Duration::from_secs(1),
        poll: Duration::from_millis(20),
    }
}

/// The same where nothing is to be given up: the machine may stand still for longer than `fast` waits.
pub(super) fn patient() -> Timing {
    let long = Duration::from_secs(60);
    Timing { answer: long, list_silence: long, watch_grace: long, ..fast() }
}

pub(super) fn settings(origin: Origin) -> Settings {
    Settings {
        origin,
        labels: None,
        namespace_labels: None,
        namespaces: Vec::new(),
        watch_pods: false,
        watch_endpoints: true,
        qps: 0.0,
        burst: 0,
        max_inflight: 0,
        startup_timeout: Duration::from_secs(5),
    }
}

pub(super) fn settings_for(server: &TestApiServer) -> Settings {
    settings(Origin::Endpoint { url: server.url(), tls: None })
}

pub(super) fn snapshot_of(path: impl Into<PathBuf>) -> Settings {
    settings(Origin::Snapshot(path.into()))
}

/// Waits until something is so; far longer than it can take.
pub(super) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..5000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("waited in vain until {what}");
}

impl Running {
    pub(super) async fn until_synced(&self) {
        until("the source is synced", || self.state.synced()).await;
    }

    /// Waits until exactly these objects are there.
    pub(super) async fn until_objects(&self, names: &[&str]) {
        let is_so = || self.recorder.now().objects.keys().eq(names.iter());
        for _ in 0..5000 {
            if is_so() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let there: Vec<_> = self.recorder.now().objects.into_keys().collect();
        panic!(
            "waited in vain for {names:?}; there is {there:?}; remarks: {:?}",
            self.state.remarks()
        );
    }

    pub(super) fn sample(&self, line: &str) -> Option<f64> {
        let text = self.registry.expose();
        text.lines().find_map(|it| it.strip_prefix(line)?.trim().parse().ok())
    }
}

pub(super) fn service(namespace: &str, name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": {"tier": name}},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "clusterIPs": [address],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        },
    })
}

pub(super) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

pub(super) fn pod(name: &str, address: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "a"},
        "status": {"phase": "Running", "podIP": address},
    })
}
