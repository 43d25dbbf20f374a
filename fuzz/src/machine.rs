//! A server in this process, without sockets, whose upstream says what a target wants.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use periplus::configuration::{self, Surroundings};
use periplus::source::Source;
use periplus_core::corefile::Diagnostics;
use periplus_core::decode::decode;
use periplus_core::encode::Compressor;
use periplus_core::metrics::Registry;
use periplus_core::output::Output;
use periplus_core::plugin::{Next, Outcome, Plugin};
use periplus_core::query::{Query, Transport};
use periplus_core::reply::{Answer, Failure};
use periplus_core::server::{Response, Server};
use periplus_core::setup::{Instance, PluginKind, Setup};
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// How long a snapshot may take to be read.
const PATIENCE: Duration = Duration::from_secs(20);

/// A configuration in force.
pub struct Machine {
    server: Arc<Server>,
    runtime: tokio::runtime::Runtime,
    kept: RefCell<(Query, Compressor)>,
    _instance: Instance,
}

impl Machine {
    /// Starts a Corefile. Its `forward` asks nobody: `upstream` gives the response message, or none for an upstream that is silent.
    pub fn start(
        corefile: &str,
        upstream: impl FnMut(&Query) -> Option<Vec<u8>> + 'static,
    ) -> Machine {
        UPSTREAM.set(Some(Box::new(upstream)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let entered = runtime.enter();
        let source = Source::Text { name: "Corefile".into(), text: corefile.to_owned() };
        let loaded = configuration::load(&source, &surroundings(plugins()));
        let (_, configuration) = loaded.unwrap_or_else(|failed| panic!("{failed}"));
        let mut instance = configuration.instance;
        let server = configuration.servers.into_values().next().expect("there is a server block");
        runtime.block_on(ready(&mut instance));
        drop(entered);
        let kept = RefCell::new((Query::empty(), Compressor::new()));
        Machine { server, runtime, kept, _instance: instance }
    }

    /// The response to a request message.
    pub fn ask(&self, message: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let (query, compressor) = &mut *self.kept.borrow_mut();
        query.transport = transport;
        query.peer = SocketAddr::from(([127, 0, 0, 1], 40_000));
        query.local = SocketAddr::from(([127, 0, 0, 1], 53));
        query.received = Instant::now();
        let mut response = Vec::new();
        let _entered = self.runtime.enter();
        match self.server.respond(message, query, true, compressor, &mut response) {
            Response::Ready => Some(response),
            Response::Silence | Response::Shed => None,
            Response::Later(mut waiting) => {
                let answer = self.runtime.block_on(waiting.answer());
                waiting.encode(&answer, compressor, &mut response).then_some(response)
            }
        }
    }
}

/// What a Corefile is set up with.
pub fn surroundings(plugins: &'static [PluginKind]) -> Surroundings {
    // Standard output is emptied by a thread, so there is one for all.
    static OUTPUT: OnceLock<Arc<Output>> = OnceLock::new();
    Surroundings::new(
        plugins,
        53,
        std::env::temp_dir(),
        Arc::new(Registry::new(1)),
        Arc::clone(OUTPUT.get_or_init(|| Output::new(std::io::sink()))),
    )
}

/// All plugins, with another `forward`.
fn plugins() -> &'static [PluginKind] {
    static PLUGINS: OnceLock<Vec<PluginKind>> = OnceLock::new();
    PLUGINS.get_or_init(|| {
        let kinds = periplus_plugins::ORDER.iter();
        let replaced = kinds.map(|kind| PluginKind {
            name: kind.name,
            setup: if kind.name == "forward" { Upstream::setup } else { kind.setup },
        });
        replaced.collect()
    })
}

type Respond = Box<dyn FnMut(&Query) -> Option<Vec<u8>>>;

thread_local! {
    static UPSTREAM: RefCell<Option<Respond>> = const { RefCell::new(None) };
}

struct Upstream;

impl Upstream {
    fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
        setup.block.any_class = true;
        Ok(Some(Arc::new(Upstream)))
    }
}

impl Plugin for Upstream {
    fn name(&self) -> &'static str {
        "forward"
    }

    fn handle(&self, query: &Query, _: Next<'_>) -> Outcome {
        let message =
            UPSTREAM.with_borrow_mut(|upstream| upstream.as_mut().and_then(|ask| ask(query)));
        let response = message.and_then(|message| decode(&message, query, "forward").ok());
        let answer = match response {
            Some(response) => Answer::Reply(response.reply),
            None => Failure::servfail("forward", "the upstream is silent").into(),
        };
        // Both ways of answering are to be seen.
        if query.id & 1 == 0 {
            return answer.into();
        }
        Outcome::later(async {
            tokio::task::yield_now().await;
            answer
        })
    }
}

/// Runs the background tasks until all plugins are ready.
async fn ready(instance: &mut Instance) {
    let stop = CancellationToken::new();
    for task in instance.take_tasks() {
        tokio::spawn((task.make)(stop.clone()));
    }
    let begun = Instant::now();
    while !instance.readiness.checks().iter().all(|(_, check)| check().ready) {
        assert!(begun.elapsed() < PATIENCE, "the snapshot was not read in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A cluster with a service of each kind, one of them too large for a datagram.
pub fn cluster() -> tempfile::NamedTempFile {
    let object = |kind: &str, version: &str, name: &str, rest: serde_json::Value| {
        let mut object = rest;
        object["kind"] = json!(kind);
        object["apiVersion"] = json!(version);
        object["metadata"]["name"] = json!(name);
        if kind != "Namespace" {
            object["metadata"]["namespace"] = json!("shop");
        }
        object
    };
    let port = json!([{"name": "http", "protocol": "TCP", "port": 80}, {"name": "dns", "protocol": "UDP", "port": 53}]);
    let endpoints: Vec<_> = (1..=60)
        .map(|number| {
            json!({"addresses": [format!("10.244.1.{number}")], "targetRef": {"kind": "Pod", "name": format!("many-{number}")}})
        })
        .collect();
    let slice = |service: &str, endpoints: serde_json::Value| {
        object(
            "EndpointSlice",
            "discovery.k8s.io/v1",
            &format!("{service}-1"),
            json!({
                "metadata": {"labels": {"kubernetes.io/service-name": service}},
                "addressType": "IPv4", "endpoints": endpoints, "ports": port,
            }),
        )
    };
    let service =
        |name: &str, spec: serde_json::Value| object("Service", "v1", name, json!({"spec": spec}));
    let items = [
        object("Namespace", "v1", "shop", json!({})),
        service("web", json!({"clusterIPs": ["10.96.0.1", "fd00::1"], "ports": port})),
        service("many", json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": port})),
        slice("many", json!(endpoints)),
        service("db", json!({"clusterIP": "None", "clusterIPs": ["None"], "ports": port})),
        slice("db", json!([{"addresses": ["10.244.2.1"], "hostname": "db-0"}])),
        service(
            "away",
            json!({"type": "ExternalName", "externalName": "web.shop.svc.cluster.local"}),
        ),
        service("out", json!({"type": "ExternalName", "externalName": "a.hosts.test"})),
        object(
            "Pod",
            "v1",
            "many-1",
            json!({"status": {"phase": "Running", "podIP": "10.244.1.1"}}),
        ),
    ];
    let file = tempfile::Builder::new().suffix(".json").tempfile().expect("a file can be made");
    let list = json!({"kind": "List", "apiVersion": "v1", "items": items});
    std::fs::write(file.path(), list.to_string()).expect("the file can be written");
    file
}
