//! Services with cluster IPs.

use super::cluster::*;
use super::*;

fn objects() -> Vec<Change> {
    vec![
        namespace("test"),
        cluster_ip("test/web", &["10.96.10.1"], &["http:80/tcp"]),
        slice("test/web-1", "web", &["%web-aaaaa@172.16.1.1", "172.16.1.2"], &["http:8080/tcp"]),
        cluster_ip("test/dual", &["10.96.10.2", "fd00:10::2"], &["http:80/tcp", "https:443/tcp"]),
        cluster_ip("test/six", &["fd00:10::3"], &["http:80/tcp"]),
        cluster_ip("test/unnamed", &["10.96.10.4"], &[":80/tcp"]),
        cluster_ip("test/same-number", &["10.96.10.5"], &["a:80/tcp", "b:80/udp", "c:81/tcp"]),
        cluster_ip("test/no-ports", &["10.96.10.6"], &[]),
        cluster_ip("test/pending", &[], &["http:80/tcp"]),
        cluster_ip("test/named-endpoints", &["10.96.10.7"], &["http:80/tcp"]),
        slice(
            "test/named-endpoints-1",
            "named-endpoints",
            &["node-a@172.16.1.9", "172.16.1.11"],
            &["http:8080/tcp"],
        ),
        cluster_ip("test/svc", &["10.96.10.20"], &["http:80/tcp"]),
        cluster_ip("test/pod", &["10.96.10.21"], &["http:80/tcp"]),
    ]
}

#[test]
fn cluster_ips_are_addresses() {
    Cluster::new(options(), objects()).answers(&[
        ("web.test.svc.cluster.local A", "web.test.svc.cluster.local. 5 A 10.96.10.1"),
        ("web.test.svc.cluster.local AAAA", "NODATA cluster.local."),
        ("Web.TEST.sVc.cluster.LOCAL A", "Web.TEST.sVc.cluster.LOCAL. 5 A 10.96.10.1"),
        ("dual.test.svc.cluster.local A", "dual.test.svc.cluster.local. 5 A 10.96.10.2"),
        ("dual.test.svc.cluster.local AAAA", "dual.test.svc.cluster.local. 5 AAAA fd00:10::2"),
        ("six.test.svc.cluster.local A", "NODATA cluster.local."),
        ("six.test.svc.cluster.local AAAA", "six.test.svc.cluster.local. 5 AAAA fd00:10::3"),
        ("svc.test.svc.cluster.local A", "svc.test.svc.cluster.local. 5 A 10.96.10.20"),
        ("pod.test.svc.cluster.local A", "pod.test.svc.cluster.local. 5 A 10.96.10.21"),
    ]);
}

#[test]
fn other_types_of_a_service_are_no_data() {
    let cluster = Cluster::new(options(), objects());
    for name in [
        "web.test.svc.cluster.local",
        "_http._tcp.web.test.svc.cluster.local",
        "172-16-1-1.web.test.svc.cluster.local",
    ] {
        for rtype in ["TXT", "MX", "CNAME", "PTR", "NS", "SOA", "HTTPS", "ANY", "TYPE65280", "AAAA"]
        {
            assert_eq!(
                cluster.answer(&format!("{name} {rtype}")),
                "NODATA cluster.local.",
                "{name} {rtype}"
            );
        }
    }
}

#[test]
fn ports_of_a_service_have_srv_records() {
    Cluster::new(options(), objects()).answers(&[
        (
            "web.test.svc.cluster.local SRV",
            "web.test.svc.cluster.local. 5 SRV 0 100 80 web.test.svc.cluster.local. / + web.test.svc.cluster.local. 5 A 10.96.10.1",
        ),
        (
            "_http._tcp.Web.test.svc.Cluster.local SRV",
            "_http._tcp.Web.test.svc.Cluster.local. 5 SRV 0 100 80 web.test.svc.Cluster.local. / + web.test.svc.Cluster.local. 5 A 10.96.10.1",
        ),
        (
            "_https._tcp.dual.test.svc.cluster.local SRV",
            "_https._tcp.dual.test.svc.cluster.local. 5 SRV 0 50 443 dual.test.svc.cluster.local. / \
             + dual.test.svc.cluster.local. 5 A 10.96.10.2 / + dual.test.svc.cluster.local. 5 AAAA fd00:10::2",
        ),
        (
            "dual.test.svc.cluster.local SRV",
            "dual.test.svc.cluster.local. 5 SRV 0 25 80 dual.test.svc.cluster.local. / \
             dual.test.svc.cluster.local. 5 SRV 0 25 443 dual.test.svc.cluster.local. / \
             + dual.test.svc.cluster.local. 5 A 10.96.10.2 / + dual.test.svc.cluster.local. 5 AAAA fd00:10::2",
        ),
        // Two ports with one number are one record, but both count for the weight.
        (
            "same-number.test.svc.cluster.local SRV",
            "same-number.test.svc.cluster.local. 5 SRV 0 33 80 same-number.test.svc.cluster.local. / \
             same-number.test.svc.cluster.local. 5 SRV 0 33 81 same-number.test.svc.cluster.local. / \
             + same-number.test.svc.cluster.local. 5 A 10.96.10.5",
        ),
        (
            "unnamed.test.svc.cluster.local SRV",
            "unnamed.test.svc.cluster.local. 5 SRV 0 100 80 unnamed.test.svc.cluster.local. / + unnamed.test.svc.cluster.local. 5 A 10.96.10.4",
        ),
        ("no-ports.test.svc.cluster.local SRV", "NODATA cluster.local."),
        ("no-ports.test.svc.cluster.local A", "no-ports.test.svc.cluster.local. 5 A 10.96.10.6"),
        ("_http._tcp.no-ports.test.svc.cluster.local SRV", "NXDOMAIN cluster.local."),
    ]);
}

#[test]
fn port_names_are_found_in_all_spellings() {
    let http = |name: &str| {
        let record = format!(
            "{name}.web.test.svc.cluster.local. 5 SRV 0 100 80 web.test.svc.cluster.local."
        );
        format!("{record} / + web.test.svc.cluster.local. 5 A 10.96.10.1")
    };
    let cluster = Cluster::new(options(), objects());
    for name in [
        "_http._tcp",
        "http.tcp",
        "_http.tcp",
        "http._tcp",
        "_HTTP._TCP",
        "_._tcp",
        "_http._",
        "_._",
    ] {
        assert_eq!(
            cluster.answer(&format!("{name}.web.test.svc.cluster.local SRV")),
            http(name),
            "{name}"
        );
        let address = format!("{name}.web.test.svc.cluster.local. 5 A 10.96.10.1");
        assert_eq!(cluster.answer(&format!("{name}.web.test.svc.cluster.local A")), address);
    }
    for name in ["_https._tcp", "_http._udp", "__http._tcp", "_http._tcp2", "*._tcp", "any.any"] {
        for rtype in ["SRV", "A", "AAAA", "TXT"] {
            assert_eq!(
                cluster.answer(&format!("{name}.web.test.svc.cluster.local {rtype}")),
                "NXDOMAIN cluster.local."
            );
        }
    }
}

#[test]
fn a_protocol_alone_is_no_name() {
    Cluster::new(options(), objects()).answers(&[
        ("_tcp.web.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
        ("_TCP.web.test.svc.cluster.local SRV", "NXDOMAIN cluster.local."),
        ("_udp.web.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
        ("tcp.web.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
        ("_.web.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
        ("_tcp.no-ports.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
    ]);
}

#[test]
fn endpoints_of_a_service_have_names() {
    let table = [
        (
            "172-16-1-2.web.test.svc.cluster.local A",
            "172-16-1-2.web.test.svc.cluster.local. 5 A 172.16.1.2",
        ),
        (
            "172-16-1-2.web.test.svc.cluster.local SRV",
            "172-16-1-2.web.test.svc.cluster.local. 5 SRV 0 100 8080 172-16-1-2.web.test.svc.cluster.local. / \
             + 172-16-1-2.web.test.svc.cluster.local. 5 A 172.16.1.2",
        ),
        (
            "node-a.named-endpoints.test.svc.cluster.local A",
            "node-a.named-endpoints.test.svc.cluster.local. 5 A 172.16.1.9",
        ),
        (
            "Node-A.named-endpoints.test.svc.cluster.local A",
            "Node-A.named-endpoints.test.svc.cluster.local. 5 A 172.16.1.9",
        ),
        // Only one name: the address of an endpoint with a host name names nothing.
        ("172-16-1-9.named-endpoints.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
        (
            "172-16-1-11.named-endpoints.test.svc.cluster.local A",
            "172-16-1-11.named-endpoints.test.svc.cluster.local. 5 A 172.16.1.11",
        ),
        ("172-16-9-9.web.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
        ("web-bbbbb.web.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
    ];
    let cluster = Cluster::new(options(), objects());
    cluster.answers(&table);
    cluster.answers(&[
        (
            "172-16-1-1.web.test.svc.cluster.local A",
            "172-16-1-1.web.test.svc.cluster.local. 5 A 172.16.1.1",
        ),
        ("web-aaaaa.web.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
    ]);
    let cluster = Cluster::new(Options { endpoint_pod_names: true, ..options() }, objects());
    cluster.answers(&table);
    cluster.answers(&[
        ("172-16-1-1.web.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
        (
            "web-aaaaa.web.test.svc.cluster.local A",
            "web-aaaaa.web.test.svc.cluster.local. 5 A 172.16.1.1",
        ),
        (
            "1.1.16.172.in-addr.arpa PTR",
            "1.1.16.172.in-addr.arpa. 5 PTR web-aaaaa.web.test.svc.cluster.local.",
        ),
    ]);
}

#[test]
fn a_service_without_an_address_yet_exists() {
    Cluster::new(options(), objects()).answers(&[
        ("pending.test.svc.cluster.local A", "NODATA cluster.local."),
        ("pending.test.svc.cluster.local CNAME", "NODATA cluster.local."),
        ("pending.test.svc.cluster.local SRV", "NODATA cluster.local."),
        ("_http._tcp.pending.test.svc.cluster.local SRV", "NODATA cluster.local."),
        ("_nope._tcp.pending.test.svc.cluster.local SRV", "NXDOMAIN cluster.local."),
    ]);
}

#[test]
fn services_without_ready_endpoints_can_be_hidden() {
    let cluster = Cluster::new(Options { ignore_empty_service: true, ..options() }, objects());
    cluster.answers(&[
        ("web.test.svc.cluster.local A", "web.test.svc.cluster.local. 5 A 10.96.10.1"),
        ("dual.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
        ("dual.test.svc.cluster.local TXT", "NXDOMAIN cluster.local."),
        ("_http._tcp.dual.test.svc.cluster.local SRV", "NXDOMAIN cluster.local."),
        // Reverse names stay.
        (
            "2.10.96.10.in-addr.arpa PTR",
            "2.10.96.10.in-addr.arpa. 5 PTR dual.test.svc.cluster.local.",
        ),
    ]);
    cluster.index.apply(slice("test/web-1", "web", &[], &["http:8080/tcp"]));
    cluster.answers(&[("web.test.svc.cluster.local A", "NXDOMAIN cluster.local.")]);
    cluster.index.apply(slice("test/web-2", "web", &["172.16.1.1"], &["http:8080/tcp"]));
    cluster
        .answers(&[("web.test.svc.cluster.local A", "web.test.svc.cluster.local. 5 A 10.96.10.1")]);
}
