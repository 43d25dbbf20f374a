use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use periplus_core::codes::RecordType;
use periplus_core::metrics::Registry;
use proptest::prelude::*;

use super::super::objects::*;
use super::*;

fn key(text: &str) -> ObjectKey {
    let (namespace, name) = text.split_once('/').expect("namespace/name");
    ObjectKey { namespace: namespace.into(), name: name.into() }
}

fn service(at: &str, kind: ServiceKind, ports: &[u16]) -> Change {
    let port = |&port| Port { name: format!("p{port}"), protocol: "tcp".into(), port: Some(port) };
    Change::Service(Service { key: key(at), kind, ports: ports.iter().map(port).collect() })
}

fn cluster_ip(at: &str, addresses: &[&str]) -> Change {
    service(
        at,
        ServiceKind::ClusterIp(addresses.iter().map(|a| a.parse().expect("an address")).collect()),
        &[80],
    )
}

fn slice_of(at: &str, service: &str, addresses: &[&str]) -> EndpointSlice {
    let endpoint = |address: &&str| Endpoint {
        addresses: vec![address.parse().expect("an address")],
        hostname: String::new(),
        pod_name: String::new(),
    };
    EndpointSlice {
        key: key(at),
        service: Some(service.into()),
        endpoints: addresses.iter().map(endpoint).collect(),
        ports: Vec::new(),
        last_change: None,
    }
}

fn slice(at: &str, service: &str, addresses: &[&str]) -> Change {
    Change::Slice(slice_of(at, service, addresses))
}

fn index_of(changes: impl IntoIterator<Item = Change>) -> Index {
    let index = Index::new(IndexSettings::default());
    changes.into_iter().for_each(|change| index.apply(change));
    index
}

/// What stands in the index, as text.
#[derive(Debug, Default, PartialEq)]
struct Content {
    services: BTreeMap<String, (String, BTreeSet<String>)>,
    cluster_addresses: BTreeMap<IpAddr, BTreeSet<String>>,
    endpoint_addresses: BTreeMap<IpAddr, BTreeSet<String>>,
    namespaces: BTreeMap<String, bool>,
    pods: BTreeSet<(IpAddr, String)>,
}

fn content(index: &Index) -> Content {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let slice = |slice: &Arc<Slice>| format!("{slice:?}");
    let namespaces = index.namespaces.pin();
    let name_of = |id| {
        namespaces
            .iter()
            .find(|(_, n)| n.id == id)
            .map(|(name, _)| text(name))
            .expect("a namespace")
    };
    let services = index.services.pin();
    let entry = |entry: &ServiceEntry| {
        let sets = entry.address_sets(index.ttl());
        let addresses: Vec<IpAddr> = sets.addresses().collect();
        let said = match entry.kind {
            Kind::Cluster => format!("{:?} {:?} {addresses:?}", entry.kind, entry.ports),
            // The order of endpoints is that in which the slices came.
            _ => format!("{:?} {:?} {:?}", entry.kind, entry.ports, BTreeSet::from_iter(addresses)),
        };
        (said, entry.slices.iter().map(slice).collect())
    };
    Content {
        services: services.iter().map(|(key, value)| (text(key), entry(value))).collect(),
        cluster_addresses: (index.cluster_addresses.all().into_iter())
            .map(|(address, keys)| (address, keys.iter().map(|key| text(key)).collect()))
            .collect(),
        endpoint_addresses: (index.endpoint_addresses.all().into_iter())
            .map(|(address, slices)| (address, slices.iter().map(slice).collect()))
            .collect(),
        namespaces: namespaces
            .iter()
            .map(|(name, namespace)| (text(name), namespace.is_exposed()))
            .collect(),
        pods: {
            let mut pods = BTreeSet::new();
            index.pods.each(|address, namespace| {
                pods.insert((address, name_of(namespace)));
            });
            pods
        },
    }
}

#[test]
fn equal_port_lists_are_kept_once_and_only_while_they_are_used() {
    let port = |number| Port { name: String::new(), protocol: "tcp".into(), port: Some(number) };
    let pack = |number| ports::Ports::pack(&[port(number)]);
    let mut lists = ports::PortLists::default();
    let first = lists.share(pack(80));
    for number in 1000..2000 {
        lists.share(pack(number));
    }
    assert!(lists.len() <= 65, "{}", lists.len());
    assert!(first.is_same(&lists.share(pack(80))));
    assert!(!first.is_same(&pack(80)) && first == pack(80));
}

#[test]
fn a_slice_may_come_before_its_service() {
    let index = index_of([slice("n/s-1", "s", &["10.0.0.1"])]);
    index.service(b"\x01s\x01n", |entry| {
        assert!(matches!(entry.expect("an entry").kind, Kind::Absent))
    });
    index.apply(service("n/s", ServiceKind::Headless, &[80]));
    index.service(b"\x01s\x01n", |entry| {
        let sets = entry.expect("an entry").address_sets(5);
        assert_eq!(
            sets.addresses().collect::<Vec<_>>(),
            ["10.0.0.1".parse::<IpAddr>().expect("an address")]
        );
    });
}

#[test]
fn a_service_that_changes_kind_or_comes_back_keeps_its_slices() {
    let index = index_of([cluster_ip("n/s", &["10.96.0.1"]), slice("n/s-1", "s", &["10.0.0.1"])]);
    let has_endpoints =
        || index.service(b"\x01s\x01n", |entry| entry.is_some_and(ServiceEntry::has_endpoints));
    for change in [
        service("n/s", ServiceKind::Headless, &[80]),
        Change::ServiceGone(key("n/s")),
        service("n/s", ServiceKind::ExternalName("a.b".into()), &[]),
        cluster_ip("n/s", &["10.96.0.2"]),
    ] {
        index.apply(change.clone());
        assert!(has_endpoints(), "{change:?}");
    }
    assert_eq!(index.services_at("10.96.0.1".parse().expect("an address"), <[_]>::len), 0);
    assert_eq!(index.services_at("10.96.0.2".parse().expect("an address"), <[_]>::len), 1);
}

#[test]
fn what_is_gone_leaves_nothing_behind() {
    let index = index_of([
        Change::Namespace("n".into()),
        cluster_ip("n/s", &["10.96.0.1", "fd00::1"]),
        slice("n/s-1", "s", &["10.0.0.1", "10.0.0.1", "10.0.0.2"]),
        slice("n/t-1", "t", &["10.0.0.1"]),
        Change::Pod(Pod { key: key("n/p"), address: "10.0.0.9".parse().expect("an address") }),
        slice("n/s-1", "s", &["10.0.0.3"]),
        cluster_ip("n/s", &["10.96.0.2"]),
        Change::NamespaceGone("n".into()),
        Change::ServiceGone(key("n/s")),
        Change::SliceGone(key("n/t-1")),
        Change::SliceGone(key("n/s-1")),
        Change::PodGone(key("n/p")),
    ]);
    assert_eq!(content(&index), Content::default());
}

#[test]
fn the_serial_is_the_time_of_the_last_change_that_dns_shows() {
    let now = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&now);
    let index = Index::new(IndexSettings {
        clock: Arc::new(move || Duration::from_secs(clock.load(Ordering::Relaxed))),
        ..IndexSettings::default()
    });
    let pod = |address: &str| {
        Change::Pod(Pod { key: key("n/p"), address: address.parse().expect("an address") })
    };
    let external = |name: &str| service("n/e", ServiceKind::ExternalName(name.into()), &[80]);
    let changed_at =
        EndpointSlice { last_change: Some(7), ..slice_of("n/s-1", "s", &["10.0.0.1"]) };
    let steps = [
        (Change::Namespace("n".into()), false),
        (cluster_ip("n/s", &["10.96.0.1"]), true),
        (cluster_ip("n/s", &["10.96.0.1"]), false),
        // As in CoreDNS, other addresses of the same service do not count.
        (cluster_ip("n/s", &["10.96.0.2"]), false),
        (service("n/s", ServiceKind::ClusterIp(Vec::new()), &[81]), true),
        (external("a.b"), true),
        (external("a.c"), true),
        (slice("n/s-1", "s", &["10.0.0.1"]), true),
        (slice("n/s-1", "s", &["10.0.0.1"]), false),
        (Change::Slice(changed_at), false),
        (slice("n/s-1", "s", &["10.0.0.2"]), true),
        (Change::SliceGone(key("n/s-1")), true),
        (Change::SliceGone(key("n/s-1")), false),
        (pod("10.0.0.5"), true),
        (pod("10.0.0.5"), false),
        (pod("10.0.0.6"), true),
        (Change::PodGone(key("n/p")), true),
        (Change::PodGone(key("n/p")), false),
        (Change::ServiceGone(key("n/e")), true),
        (Change::ServiceGone(key("n/e")), false),
        (Change::NamespaceGone("n".into()), false),
    ];
    assert_eq!(index.serial(), 0);
    for (time, (change, counts)) in (1..).zip(steps) {
        now.store(time, Ordering::Relaxed);
        let before = index.serial();
        index.apply(change.clone());
        assert_eq!(index.serial(), if counts { time as u32 } else { before }, "{change:?}");
    }
}

#[test]
fn changes_of_endpoints_are_timed_once_the_first_list_is_complete() {
    let registry = Registry::new(0);
    let metrics = Metrics::new(&registry);
    let settings =
        IndexSettings { clock: Arc::new(|| Duration::from_secs(100)), ..IndexSettings::default() };
    let index = Index::new(settings).with_metrics(metrics.clone());
    let changed = |service: &str| {
        let last_change = Some(99_500_000_000);
        Change::Slice(EndpointSlice {
            last_change,
            ..slice_of(&format!("n/{service}-1"), service, &["10.0.0.1"])
        })
    };
    index.apply(cluster_ip("n/cluster", &["10.96.0.1"]));
    index.apply(service("n/headless", ServiceKind::Headless, &[]));
    index.apply(changed("cluster"));
    index.synced(Resource::EndpointSlices);
    for service in ["cluster", "headless", "headless", "nobody"] {
        index.apply(changed(service));
    }
    index.apply(slice("n/headless-1", "headless", &["10.0.0.2"]));
    assert_eq!(metrics.cluster_ip.snapshot().1, 0.5);
    assert_eq!(metrics.headless.snapshot().1, 1.0);
}

#[test]
fn names_that_are_no_labels_are_left_out() {
    let long = "x".repeat(64);
    let index = index_of([
        cluster_ip(&format!("n/{long}"), &["10.96.0.1"]),
        cluster_ip("n/", &["10.96.0.2"]),
    ]);
    assert_eq!(content(&index), Content::default());
}

#[test]
fn readers_see_a_service_before_or_after_a_change() {
    let index = Arc::new(index_of([
        cluster_ip("n/s", &["10.0.0.1", "fd00::1"]),
        slice("n/s-1", "s", &["10.9.9.9"]),
    ]));
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (index, stop) = (Arc::clone(&index), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    index.service(b"\x01s\x01n", |entry| {
                        let entry = entry.expect("the service never goes");
                        assert!(entry.has_endpoints());
                        let last = |rtype| {
                            let set = entry
                                .address_sets(5)
                                .of_type(rtype)
                                .cloned()
                                .expect("both families");
                            set.rdata().next().expect("one address").last().copied()
                        };
                        assert_eq!(last(RecordType::A), last(RecordType::AAAA));
                    });
                }
            })
        })
        .collect();
    for step in 0..2000 {
        let n = step % 100 + 1;
        index.apply(cluster_ip("n/s", &[&format!("10.0.0.{n}"), &format!("fd00::{n:x}")]));
        index.apply(slice("n/s-1", "s", &[&format!("10.9.9.{n}")]));
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.join().expect("readers saw nothing wrong");
    }
}

fn any_change() -> impl Strategy<Value = Change> {
    let at = |names: &'static str| {
        ("[nm]", names).prop_map(|(namespace, name)| ObjectKey { namespace, name })
    };
    let address = || {
        (0_u8..4, any::<bool>()).prop_map(|(n, v4)| {
            if v4 {
                IpAddr::from([10, 0, 0, n])
            } else {
                IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(n)])
            }
        })
    };
    let kind = prop_oneof![
        prop::collection::vec(address(), 0..3).prop_map(ServiceKind::ClusterIp),
        Just(ServiceKind::Headless),
        "[ab]".prop_map(ServiceKind::ExternalName),
    ];
    let endpoint =
        (prop::collection::vec(address(), 1..3), "[h]?").prop_map(|(addresses, hostname)| {
            Endpoint { addresses, hostname, pod_name: String::new() }
        });
    let slice = (at("[xyz]"), prop::option::of("[st]"), prop::collection::vec(endpoint, 0..4))
        .prop_map(|(key, service, endpoints)| EndpointSlice {
            key,
            service,
            endpoints,
            ports: Vec::new(),
            last_change: None,
        });
    prop_oneof![
        (at("[st]"), kind).prop_map(|(key, kind)| Change::Service(Service {
            key,
            kind,
            ports: Vec::new()
        })),
        at("[st]").prop_map(Change::ServiceGone),
        slice.prop_map(Change::Slice),
        at("[xyz]").prop_map(Change::SliceGone),
        "[nm]".prop_map(Change::Namespace),
        "[nm]".prop_map(Change::NamespaceGone),
        (at("[pq]"), address()).prop_map(|(key, address)| Change::Pod(Pod { key, address })),
        at("[pq]").prop_map(Change::PodGone),
    ]
}

/// The changes that are left when each object is named once, in the state in which it ended.
fn last_states(changes: &[Change]) -> Vec<Change> {
    let identity = |change: &Change| match change {
        Change::Service(Service { key, .. }) | Change::ServiceGone(key) => {
            (0, key.namespace.clone(), key.name.clone())
        }
        Change::Slice(EndpointSlice { key, .. }) | Change::SliceGone(key) => {
            (1, key.namespace.clone(), key.name.clone())
        }
        Change::Pod(Pod { key, .. }) | Change::PodGone(key) => {
            (2, key.namespace.clone(), key.name.clone())
        }
        Change::Namespace(name) | Change::NamespaceGone(name) => (3, name.clone(), String::new()),
    };
    let gone = |change: &Change| {
        matches!(
            change,
            Change::ServiceGone(_)
                | Change::SliceGone(_)
                | Change::PodGone(_)
                | Change::NamespaceGone(_)
        )
    };
    let last: BTreeMap<_, _> =
        changes.iter().map(|change| (identity(change), change.clone())).collect();
    last.into_values().filter(|change| !gone(change)).collect()
}

proptest! {
    #[test]
    fn only_the_last_state_of_each_object_matters(changes in prop::collection::vec(any_change(), 0..40)) {
        let fresh = index_of(last_states(&changes));
        prop_assert_eq!(content(&index_of(changes)), content(&fresh));
    }
}
