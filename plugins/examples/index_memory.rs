//! How much memory the cluster index takes: `cargo run -p periplus-plugins --example index_memory [SERVICES [ENDPOINTS [PODS]]]`.
//!
//! Counts bytes as they are asked for from the allocator; what the allocator adds for itself comes on top.
#![expect(unsafe_code, reason = "counting allocations means being the allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use periplus_plugins::kubernetes::index::{Index, IndexSettings};
use periplus_plugins::kubernetes::objects::{
    Change, Endpoint, EndpointSlice, ObjectKey, Pod, Port, Service, ServiceKind,
};

struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
static BLOCKS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Relaxed);
        BLOCKS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Relaxed);
        BLOCKS.fetch_sub(1, Relaxed);
        // SAFETY: the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() {
    let numbers: Vec<u32> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let number = |index: usize, default| numbers.get(index).copied().unwrap_or(default);
    let (services, endpoints, pods) = (number(0, 10_000), number(1, 30_000), number(2, 50_000));
    let index = Index::new(IndexSettings::default());
    for namespace in 0..services.div_ceil(20) {
        index.apply(Change::Namespace(format!("namespace-{namespace}")));
    }
    report("services", services, || (0..services).for_each(|n| index.apply(service(n))));
    let each = endpoints / services.max(1);
    report("slices", services, || (0..services).for_each(|n| index.apply(slice(n, each))));
    report("the same slices again, one address changed", services, || {
        (0..services).for_each(|n| index.apply(slice(n, each + n % 2)));
        (0..services).for_each(|n| index.apply(slice(n, each)));
    });
    report("pods", pods, || (0..pods).for_each(|n| index.apply(pod(n))));
}

fn report(what: &str, count: u32, work: impl FnOnce()) {
    let before = resident();
    let (bytes, blocks) = (BYTES.load(Relaxed), BLOCKS.load(Relaxed));
    work();
    let bytes = BYTES.load(Relaxed) as i64 - bytes as i64;
    let blocks = BLOCKS.load(Relaxed) as i64 - blocks as i64;
    let each = bytes / i64::from(count.max(1));
    let resident = resident() as i64 - before as i64;
    println!(
        "{count} {what}: {} KiB, {each} bytes each, {blocks} blocks; resident {resident:+} KiB",
        bytes / 1024
    );
}

/// Resident memory in KiB; 0 where the system does not tell.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn key(n: u32) -> ObjectKey {
    ObjectKey { namespace: format!("namespace-{}", n / 20), name: format!("service-{n}") }
}

fn port(port: u16) -> Port {
    Port { name: "http".into(), protocol: "tcp".into(), port: Some(port) }
}

fn service(n: u32) -> Change {
    let address = IpAddr::V4(Ipv4Addr::from(0x0a60_0000 + n));
    Change::Service(Service {
        key: key(n),
        kind: ServiceKind::ClusterIp(vec![address]),
        ports: vec![port(80)],
    })
}

fn slice(n: u32, endpoints: u32) -> Change {
    let ObjectKey { namespace, name } = key(n);
    let endpoint = |k| Endpoint {
        addresses: vec![IpAddr::V4(Ipv4Addr::from(0xac10_0000 + 8 * n + k))],
        hostname: String::new(),
        pod_name: format!("{name}-7d5b8f9c6d-{k:05}"),
    };
    Change::Slice(EndpointSlice {
        endpoints: (0..endpoints).map(endpoint).collect(),
        key: ObjectKey { namespace, name: format!("{name}-abcde") },
        service: Some(name),
        ports: vec![port(8080)],
        last_change: None,
    })
}

fn pod(n: u32) -> Change {
    let key = ObjectKey {
        namespace: format!("namespace-{}", n % 500),
        name: format!("pod-{n}-7d5b8f9c6d-abcde"),
    };
    Change::Pod(Pod { key, address: IpAddr::V4(Ipv4Addr::from(0x0af0_0000 + n)) })
}
