//! The zone's own name servers.

use super::cluster::*;
use super::*;

fn dns_service(local: &[&str], extra: impl IntoIterator<Item = Change>) -> Cluster {
    let objects = [
        namespace("kube-system"),
        cluster_ip("kube-system/kube-dns", &["10.96.0.10", "fd00::10"], &["dns:53/udp"]),
        slice("kube-system/kube-dns-1", "kube-dns", &["172.16.0.5", "172.16.0.6"], &["dns:53/udp"]),
        slice("kube-system/kube-dns-2", "kube-dns", &["fd00:16::5"], &["dns:53/udp"]),
    ];
    Cluster::with_local_addresses(options(), objects.into_iter().chain(extra), passed_on(), local)
}

const CLUSTER_ADDRESSES: &str = "cluster.local. 5 NS kube-dns.kube-system.svc.cluster.local. / \
    + kube-dns.kube-system.svc.cluster.local. 5 A 10.96.0.10 / + kube-dns.kube-system.svc.cluster.local. 5 AAAA fd00::10";

#[test]
fn name_servers_are_the_service_that_this_machine_is_an_endpoint_of() {
    for local in [&["172.16.0.5"][..], &["172.16.0.5", "fd00:16::5"], &["192.0.2.1", "172.16.0.6"]]
    {
        dns_service(local, []).answers(&[
            ("cluster.local NS", CLUSTER_ADDRESSES),
            ("ns.dns.cluster.local A", "ns.dns.cluster.local. 5 A 10.96.0.10"),
            ("NS.dns.cluster.local AAAA", "NS.dns.cluster.local. 5 AAAA fd00::10"),
            ("ns.dns.Cluster.local A", "ns.dns.Cluster.local. 5 A 10.96.0.10"),
            ("ns.dns.cluster.local SRV", "NODATA cluster.local."),
            ("ns.dns.cluster.local TXT", "NXDOMAIN cluster.local."),
            ("ns.dns.cluster.local NS", "NODATA cluster.local."),
            ("ns.dns.in-addr.arpa A", "ns.dns.in-addr.arpa. 5 A 10.96.0.10"),
            ("svc.cluster.local NS", "NODATA cluster.local."),
        ]);
    }
}

#[test]
fn name_servers_keep_the_spelling_of_the_zone() {
    dns_service(&["172.16.0.5"], []).answers(&[(
        "CLUSTER.local NS",
        "CLUSTER.local. 5 NS kube-dns.kube-system.svc.CLUSTER.local. / + kube-dns.kube-system.svc.CLUSTER.local. 5 A 10.96.0.10 / \
         + kube-dns.kube-system.svc.CLUSTER.local. 5 AAAA fd00::10",
    )]);
}

#[test]
fn name_servers_of_a_headless_service_are_the_endpoints_of_the_slice() {
    let extra = [
        headless("kube-system/kube-dns", &["dns:53/udp"]),
        slice(
            "kube-system/kube-dns-1",
            "kube-dns",
            &["a@172.16.0.5", "172.16.0.6"],
            &["dns:53/udp"],
        ),
    ];
    dns_service(&["172.16.0.5"], extra).answers(&[
        (
            "cluster.local NS",
            "cluster.local. 5 NS a.kube-dns.kube-system.svc.cluster.local. / \
             cluster.local. 5 NS 172-16-0-6.kube-dns.kube-system.svc.cluster.local. / \
             + a.kube-dns.kube-system.svc.cluster.local. 5 A 172.16.0.5 / \
             + 172-16-0-6.kube-dns.kube-system.svc.cluster.local. 5 A 172.16.0.6",
        ),
        (
            "ns.dns.cluster.local A",
            "ns.dns.cluster.local. 5 A 172.16.0.5 / ns.dns.cluster.local. 5 A 172.16.0.6",
        ),
        ("ns.dns.cluster.local AAAA", "NODATA cluster.local."),
    ]);
}

#[test]
fn without_an_endpoint_of_its_own_the_machine_names_itself() {
    dns_service(&["192.0.2.1", "2001:db8::1"], []).answers(&[
        (
            "cluster.local NS",
            "cluster.local. 5 NS ns.dns.cluster.local. / + ns.dns.cluster.local. 5 A 192.0.2.1 / \
             + ns.dns.cluster.local. 5 AAAA 2001:db8::1",
        ),
        ("ns.dns.cluster.local A", "ns.dns.cluster.local. 5 A 192.0.2.1"),
        ("ns.dns.cluster.local AAAA", "ns.dns.cluster.local. 5 AAAA 2001:db8::1"),
    ]);
    // An endpoint of nothing still hides the machine's own addresses.
    let orphan = slice("kube-system/orphan", "nope", &["192.0.2.1"], &[]);
    dns_service(&["192.0.2.1"], [orphan]).answers(&[("cluster.local NS", "NODATA cluster.local.")]);
    dns_service(&[], []).answers(&[
        ("cluster.local NS", "NODATA cluster.local."),
        ("ns.dns.cluster.local A", "NODATA cluster.local."),
    ]);
}

/// As many as fit any message, and no more; with few names, all addresses that fit.
#[test]
fn a_machine_of_many_endpoints_has_bounded_name_servers() {
    let most = 65_535 / 14 + 1;
    let address = |number: usize| format!("10.{}.{}.9", number / 250, number % 250);
    for (names, expected) in [(8000, (most, most)), (2, (2, most))] {
        let endpoints: Vec<_> =
            (0..8000).map(|number| format!("e{}@{}", number % names, address(number))).collect();
        let endpoints: Vec<_> = endpoints.iter().map(String::as_str).collect();
        let extra = [
            headless("kube-system/many", &[]),
            slice("kube-system/many-1", "many", &endpoints, &[]),
        ];
        let cluster = dns_service(&["10.0.0.9"], extra);
        let mut reply = cluster.reply("cluster.local NS");
        let servers = reply.answer.remove(0).set;
        assert_eq!((servers.count(), reply.additional.len()), expected);
        for (number, server) in servers.rdata().enumerate() {
            let expected = format!("e{number}.many.kube-system.svc.cluster.local.");
            assert_eq!(server, name(&expected).as_wire());
        }
        let addresses = cluster.reply("ns.dns.cluster.local A").answer.remove(0).set;
        assert_eq!(addresses.count(), 8000);
    }
}
