//! A name of the cluster is answered without an allocation: counted, from request bytes to response bytes.
//!
//! This is a binary of its own because it is its own allocator.
#![expect(unsafe_code, reason = "counting allocations means being the allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use periplus_core::codes::RecordType;
use periplus_core::corefile::parse;
use periplus_core::encode::Compressor;
use periplus_core::metrics::Registry;
use periplus_core::name::Name;
use periplus_core::output::Output;
use periplus_core::query::Query;
use periplus_core::server::{Block, Response, Server, ServerParts};
use periplus_core::setup::{BlockConfig, Instance, Setup};
use periplus_plugins::kubernetes;
use tokio_util::sync::CancellationToken;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MANIFESTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: default}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.10.1, clusterIPs: [10.96.10.1], ports: [{name: http, port: 80, protocol: TCP}]}
---
apiVersion: v1
kind: Service
metadata: {name: set, namespace: default}
spec: {clusterIP: None, clusterIPs: [None], ports: [{name: http, port: 80, protocol: TCP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: set-1, namespace: default, labels: {kubernetes.io/service-name: set}}
addressType: IPv4
endpoints: [{addresses: [172.17.1.1], hostname: a}, {addresses: [172.17.1.2]}]
ports: [{name: http, port: 80, protocol: TCP}]
"#;

#[test]
fn names_of_the_cluster_are_answered_without_an_allocation() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("cluster.yaml"), MANIFESTS)
        .expect("a manifest can be written");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _context = runtime.enter();
    let stop = CancellationToken::new();
    let server = serve(&format!("snapshot {}", folder.path().display()), &stop);
    // Question and number of answers.
    let table = [
        ("web.default.svc.cluster.local", RecordType::A, 1),
        ("Web.Default.svc.cluster.local", RecordType::A, 1),
        ("_http._tcp.web.default.svc.cluster.local", RecordType::A, 1),
        ("set.default.svc.cluster.local", RecordType::A, 2),
        // NODATA and NXDOMAIN carry the shared SOA record.
        ("web.default.svc.cluster.local", RecordType::AAAA, 0),
        ("web.default.svc.cluster.local", RecordType::HTTPS, 0),
        ("nope.default.svc.cluster.local", RecordType::A, 0),
        ("web.default.svc.cluster.local.default.svc.cluster.local", RecordType::A, 0),
        ("www.example.org.cluster.local", RecordType::AAAA, 0),
    ];
    for (name, rtype, answers) in table {
        let request = request(name, rtype);
        let (mut query, mut compressor) = (Query::empty(), Compressor::new());
        let mut out = Vec::with_capacity(4096);
        let mut ask = || {
            out.clear();
            let before = ALLOCATIONS.get();
            let response = server.respond(&request, &mut query, true, &mut compressor, &mut out);
            let allocations = ALLOCATIONS.get() - before;
            assert!(matches!(response, Response::Ready), "{name} {rtype}");
            (allocations, out[7])
        };
        // The first time may set up what the thread keeps.
        ask();
        assert_eq!(ask(), (0, answers), "{name} {rtype}");
    }
    stop.cancel();
}

/// A server with nothing but the plugin, once it has read the manifests.
fn serve(options: &str, stop: &CancellationToken) -> Arc<Server> {
    let text =
        format!(".:53 {{\nkubernetes cluster.local in-addr.arpa ip6.arpa {{\n{options}\n}}\n}}\n");
    let root = std::env::temp_dir();
    let Ok(corefile) = parse("Corefile", &text, &root) else {
        panic!("the Corefile is good: {text}")
    };
    let mut block = BlockConfig {
        keys: Vec::new(),
        zones: vec![Name::root()],
        directives: vec!["kubernetes"],
        root: root.clone(),
        bind: None,
        debug: false,
        any_class: false,
    };
    let registry = Arc::new(Registry::new(1));
    let panics = registry.counter("coredns_panics_total", "", &[]);
    let mut instance = Instance::new(registry, Output::new(std::io::sink()), &root);
    let directives: Vec<_> = corefile.blocks[0].occurrences("kubernetes").collect();
    let mut setup = Setup { directives: &directives, block: &mut block, instance: &mut instance };
    let Ok(Some(plugin)) = kubernetes::setup(&mut setup) else {
        panic!("the directive is good: {options}")
    };
    for task in instance.take_tasks() {
        tokio::spawn((task.make)(stop.clone()));
    }
    let start = Instant::now();
    while !instance.readiness.checks().iter().all(|(_, check)| check().ready) {
        assert!(start.elapsed() < Duration::from_secs(10), "the manifests are not read");
        std::thread::sleep(Duration::from_millis(5));
    }
    Arc::new(Server::new(ServerParts {
        label: "dns://:53".into(),
        zones: vec![(Name::root(), Arc::new(Block::new(vec![plugin])))],
        any_class: false,
        fatal_panics: None,
        panics,
        dropped: Vec::new(),
    }))
}

/// A request as a stub resolver sends it, without EDNS.
fn request(name: &str, rtype: RecordType) -> Vec<u8> {
    let mut message = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(Name::parse(name).expect("a name").as_wire());
    message.extend_from_slice(&rtype.0.to_be_bytes());
    message.extend_from_slice(&[0, 1]);
    message
}
