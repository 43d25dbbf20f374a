//! Names that do not depend on services: apex, trees, namespaces, versions; first lists and fallthrough.

use periplus_core::zone::{Fallthrough, Zones};

use super::cluster::*;
use super::*;
use crate::kubernetes::shared::PodMode;

const TYPES: [&str; 7] = ["A", "AAAA", "SRV", "MX", "CNAME", "PTR", "HTTPS"];

fn cluster(options: Options) -> Cluster {
    Cluster::new(
        options,
        [namespace("test"), cluster_ip("test/web", &["10.96.10.1"], &["http:80/tcp"])],
    )
}

#[test]
fn structural_names_exist_without_records() {
    let cluster = cluster(Options { pods: PodMode::Insecure, ..options() });
    for name in [
        "cluster.local",
        "svc.cluster.local",
        "pod.cluster.local",
        "test.svc.cluster.local",
        "test.pod.cluster.local",
    ] {
        for rtype in TYPES.into_iter().chain(["TXT", "ANY", "TYPE65280"]) {
            assert_eq!(
                cluster.answer(&format!("{name} {rtype}")),
                "NODATA cluster.local.",
                "{name} {rtype}"
            );
        }
    }
}

#[test]
fn soa_records_are_at_the_apex_only() {
    cluster(options()).answers(&[
        ("cluster.local SOA", "cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1700000000 7200 1800 86400 5"),
        ("in-addr.arpa SOA", "in-addr.arpa. 5 SOA ns.dns.in-addr.arpa. hostmaster.in-addr.arpa. 1700000000 7200 1800 86400 5"),
        ("svc.cluster.local SOA", "NODATA cluster.local."),
        ("test.svc.cluster.local SOA", "NODATA cluster.local."),
        ("web.test.svc.cluster.local SOA", "NODATA cluster.local."),
        ("nope.test.svc.cluster.local SOA", "NXDOMAIN cluster.local."),
        ("nope.svc.cluster.local SOA", "NXDOMAIN cluster.local."),
        ("x.cluster.local SOA", "NXDOMAIN cluster.local."),
        ("dns-version.cluster.local SOA", "NODATA cluster.local."),
    ]);
}

#[test]
fn the_soa_ttl_is_bounded_and_the_minimum_is_not() {
    cluster(Options { ttl: 3600, ..options() }).answers(&[(
        "cluster.local SOA",
        "cluster.local. 300 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1700000000 7200 1800 86400 3600",
    )]);
    cluster(Options { ttl: 0, ..options() }).answers(&[
        ("cluster.local SOA", "cluster.local. 0 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1700000000 7200 1800 86400 0"),
        ("web.test.svc.cluster.local A", "web.test.svc.cluster.local. 0 A 10.96.10.1"),
    ]);
}

#[test]
fn the_soa_record_keeps_the_spelling_of_the_question() {
    let cluster = cluster(options());
    cluster.answers(&[("Cluster.LOCAL SOA", "Cluster.LOCAL. 5 SOA ns.dns.Cluster.LOCAL. hostmaster.Cluster.LOCAL. 1700000000 7200 1800 86400 5")]);
    assert_eq!(cluster.answer("nope.Cluster.LOCAL A"), "NXDOMAIN Cluster.LOCAL.");
}

#[test]
fn unknown_names_do_not_exist() {
    let cluster = cluster(options());
    let names = [
        "x.cluster.local",
        "nope.svc.cluster.local",
        "nope.test.svc.cluster.local",
        "*.test.svc.cluster.local",
        "any.test.svc.cluster.local",
        "test.pod.cluster.local",
        "10-1-2-3.test.pod.cluster.local",
        "web.nope.svc.cluster.local",
        "a.b.c.web.test.svc.cluster.local",
        "a.b.c.d.web.test.svc.cluster.local",
        "ns.cluster.local",
        "x.dns.cluster.local",
        "a.ns.dns.cluster.local",
        "x.dns-version.cluster.local",
    ];
    for name in names {
        for rtype in TYPES.into_iter().chain(["TXT", "NS", "SOA", "ANY"]) {
            assert_eq!(
                cluster.answer(&format!("{name} {rtype}")),
                "NXDOMAIN cluster.local.",
                "{name} {rtype}"
            );
        }
    }
}

#[test]
fn names_of_the_schema_have_no_other_type() {
    let cluster = cluster(options());
    for rtype in TYPES.into_iter().chain(["TXT", "NS"]).filter(|rtype| *rtype != "TXT") {
        let question = format!("dns-version.cluster.local {rtype}");
        assert_eq!(cluster.answer(&question), "NXDOMAIN cluster.local.", "{question}");
    }
    cluster.answers(&[
        ("dns-version.cluster.local SOA", "NODATA cluster.local."),
        ("dns.cluster.local A", "NXDOMAIN cluster.local."),
        ("dns.cluster.local TXT", "NXDOMAIN cluster.local."),
        ("ns.dns.cluster.local MX", "NODATA cluster.local."),
        ("ns.dns.cluster.local SOA", "NODATA cluster.local."),
        ("ns.dns.cluster.local TXT", "NXDOMAIN cluster.local."),
        ("ns.dns.cluster.local PTR", "NXDOMAIN cluster.local."),
    ]);
}

#[test]
fn the_version_of_the_schema_is_a_text() {
    cluster(options()).answers(&[
        ("dns-version.cluster.local TXT", "dns-version.cluster.local. 28800 TXT 1.1.0"),
        ("DNS-version.cluster.local TXT", "DNS-version.cluster.local. 28800 TXT 1.1.0"),
        ("dns-version.in-addr.arpa TXT", "dns-version.in-addr.arpa. 28800 TXT 1.1.0"),
    ]);
}

#[test]
fn zone_transfers_are_refused() {
    let cluster = cluster(options());
    for name in ["cluster.local", "web.test.svc.cluster.local", "nope.cluster.local"] {
        for rtype in ["AXFR", "IXFR"] {
            assert_eq!(cluster.answer(&format!("{name} {rtype}")), "REFUSED");
        }
    }
}

#[test]
fn other_zones_are_for_the_next_plugin() {
    cluster(options()).answers(&[
        ("example.org A", "next"),
        ("local A", "next"),
        ("xcluster.local A", "next"),
        ("example.org AXFR", "next"),
        (". NS", "next"),
    ]);
}

#[test]
fn the_plugin_can_serve_the_root() {
    let options = Options::new(vec![name(".")], name("."));
    let objects = [namespace("test"), cluster_ip("test/web", &["10.96.10.1"], &["http:80/tcp"])];
    Cluster::new(options, objects).answers(&[
        ("web.test.svc A", "web.test.svc. 5 A 10.96.10.1"),
        (
            "web.test.svc SRV",
            "web.test.svc. 5 SRV 0 100 80 web.test.svc. / + web.test.svc. 5 A 10.96.10.1",
        ),
        ("1.10.96.10.in-addr.arpa PTR", "1.10.96.10.in-addr.arpa. 5 PTR web.test.svc."),
        (". A", "NODATA ."),
        ("nope A", "NXDOMAIN ."),
    ]);
}

#[test]
fn only_listed_namespaces_are_exposed() {
    let objects = [
        namespace("test"),
        namespace("other"),
        cluster_ip("test/web", &["10.96.10.1"], &["http:80/tcp"]),
        cluster_ip("other/web", &["10.96.10.2"], &["http:80/tcp"]),
        cluster_ip("gone/web", &["10.96.10.3"], &["http:80/tcp"]),
    ];
    let options = Options { namespaces: vec!["test".into(), "gone".into()], ..options() };
    Cluster::new(options, objects).answers(&[
        ("web.test.svc.cluster.local A", "web.test.svc.cluster.local. 5 A 10.96.10.1"),
        ("WEB.Test.svc.cluster.local A", "WEB.Test.svc.cluster.local. 5 A 10.96.10.1"),
        ("test.svc.cluster.local A", "NODATA cluster.local."),
        ("web.other.svc.cluster.local A", "NXDOMAIN cluster.local."),
        ("other.svc.cluster.local A", "NXDOMAIN cluster.local."),
        ("other.svc.cluster.local SOA", "NXDOMAIN cluster.local."),
        ("web.gone.svc.cluster.local A", "NXDOMAIN cluster.local."),
        ("gone.svc.cluster.local A", "NXDOMAIN cluster.local."),
        (
            "1.10.96.10.in-addr.arpa PTR",
            "1.10.96.10.in-addr.arpa. 5 PTR web.test.svc.cluster.local.",
        ),
        ("2.10.96.10.in-addr.arpa PTR", "NXDOMAIN in-addr.arpa."),
        ("3.10.96.10.in-addr.arpa PTR", "NXDOMAIN in-addr.arpa."),
    ]);
}

#[test]
fn a_namespace_that_is_hidden_by_its_labels_keeps_its_reverse_names() {
    // With `namespace_labels` sources do not report other namespaces.
    let objects = [cluster_ip("hidden/web", &["10.96.10.3"], &["http:80/tcp"])];
    let options = Options { namespace_labels: Some("visible=yes".into()), ..options() };
    Cluster::new(options, objects).answers(&[
        ("web.hidden.svc.cluster.local A", "NXDOMAIN cluster.local."),
        (
            "3.10.96.10.in-addr.arpa PTR",
            "3.10.96.10.in-addr.arpa. 5 PTR web.hidden.svc.cluster.local.",
        ),
    ]);
}

#[test]
fn listed_namespaces_are_compared_exactly() {
    let options = Options { namespaces: vec!["Test".into()], ..options() };
    cluster(options).answers(&[("web.test.svc.cluster.local A", "NXDOMAIN cluster.local.")]);
}

#[test]
fn names_without_an_answer_fall_through_where_the_option_says_so() {
    let zones =
        Fallthrough::Zones(Zones::new([name("in-addr.arpa"), name("nope.svc.cluster.local")]));
    cluster(Options { fallthrough: zones, ..options() }).answers(&[
        ("9.9.9.9.in-addr.arpa PTR", "next"),
        ("9.9.9.9.in-addr.arpa SOA", "next"),
        ("9.9.in-addr.arpa PTR", "next"),
        ("1.10.96.10.in-addr.arpa A", "next"),
        (
            "1.10.96.10.in-addr.arpa PTR",
            "1.10.96.10.in-addr.arpa. 5 PTR web.test.svc.cluster.local.",
        ),
        ("in-addr.arpa PTR", "NODATA in-addr.arpa."),
        ("web.nope.svc.cluster.local A", "next"),
        ("x.cluster.local A", "NXDOMAIN cluster.local."),
        ("1.ip6.arpa PTR", "NXDOMAIN ip6.arpa."),
    ]);
}

#[test]
fn the_longest_zone_decides() {
    let zones = vec![name("local."), name("cluster.local.")];
    let objects = || [namespace("test"), cluster_ip("test/web", &["10.96.10.1"], &["http:80/tcp"])];
    Cluster::new(Options::new(zones, name("local.")), objects()).answers(&[
        ("web.test.svc.local A", "web.test.svc.local. 5 A 10.96.10.1"),
        ("web.test.svc.cluster.local A", "web.test.svc.cluster.local. 5 A 10.96.10.1"),
        ("nope.cluster.local A", "NXDOMAIN cluster.local."),
        ("nope.local A", "NXDOMAIN local."),
    ]);
}

#[test]
fn before_the_first_lists_are_complete_nothing_is_denied() {
    let index = |options: &Options| Arc::new(Index::new(options.index_settings()));
    let options = Options { pods: PodMode::Verified, ..options() };
    let index = index(&options);
    let shared = options.shared(Arc::clone(&index), Vec::new());
    let plugin = Kubernetes(Arc::new(shared));
    let cluster = Cluster {
        server: server(vec![Arc::new(plugin), passed_on()]),
        index,
        clock: Arc::default(),
    };
    cluster.answers(&[
        ("cluster.local SOA", "cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 0 7200 1800 86400 5"),
        ("web.test.svc.cluster.local A", "SERVFAIL cluster.local."),
        ("x.cluster.local TXT", "SERVFAIL cluster.local."),
        ("dns.cluster.local A", "SERVFAIL cluster.local."),
        ("1.10.96.10.in-addr.arpa PTR", "SERVFAIL in-addr.arpa."),
        ("cluster.local A", "NODATA cluster.local."),
        ("svc.cluster.local A", "NODATA cluster.local."),
    ]);
    cluster.index.apply(namespace("test"));
    cluster.index.apply(cluster_ip("test/web", &["10.96.10.1"], &["http:80/tcp"]));
    for (alias, target) in [("in", "later"), ("alias", "in"), ("self", "self"), ("whole", "web")] {
        let target = format!("{target}.test.svc.cluster.local");
        cluster.index.apply(external_name(&format!("test/{alias}"), &target));
    }
    cluster.answers(&[
        ("web.test.svc.cluster.local A", "web.test.svc.cluster.local. 5 A 10.96.10.1"),
        ("in.test.svc.cluster.local A", "SERVFAIL cluster.local."),
        ("alias.test.svc.cluster.local AAAA", "SERVFAIL cluster.local."),
        (
            "in.test.svc.cluster.local CNAME",
            "in.test.svc.cluster.local. 5 CNAME later.test.svc.cluster.local.",
        ),
        ("self.test.svc.cluster.local A", "NODATA cluster.local."),
        ("whole.test.svc.cluster.local AAAA", "NODATA cluster.local."),
    ]);
    for resource in [Resource::Services, Resource::Namespaces, Resource::EndpointSlices] {
        cluster.index.synced(resource);
        assert!(!cluster.index.is_synced());
        cluster.answers(&[("nope.test.svc.cluster.local A", "SERVFAIL cluster.local.")]);
    }
    cluster.index.synced(Resource::Pods);
    cluster.answers(&[
        ("nope.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
        ("in.test.svc.cluster.local A", "NODATA cluster.local."),
    ]);
}

#[test]
fn before_the_first_lists_are_complete_names_still_fall_through() {
    let options = Options { fallthrough: Fallthrough::Zones(Zones::new([name(".")])), ..options() };
    let index = Arc::new(Index::new(options.index_settings()));
    let plugin = Kubernetes(Arc::new(options.shared(Arc::clone(&index), Vec::new())));
    let cluster = Cluster {
        server: server(vec![Arc::new(plugin), passed_on()]),
        index,
        clock: Arc::default(),
    };
    cluster.answers(&[
        ("web.test.svc.cluster.local A", "next"),
        ("cluster.local A", "NODATA cluster.local."),
    ]);
}

#[test]
fn the_soa_record_follows_the_serial() {
    let cluster = cluster(options());
    let soa = |serial: u64| {
        format!(
            "cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. {serial} 7200 1800 86400 5"
        )
    };
    for step in [0, 1, 1, 60] {
        cluster.clock.store(NOW + step, Ordering::Relaxed);
        cluster.index.apply(cluster_ip("test/new", &[], &[&format!("p:{step}/tcp")]));
        assert_eq!(cluster.answer("cluster.local SOA"), soa(NOW + step));
    }
}
