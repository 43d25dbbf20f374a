//! Services without cluster IPs: their endpoints.

use super::cluster::*;
use super::*;

fn objects() -> Vec<Change> {
    vec![
        namespace("test"),
        headless("test/set", &["http:80/tcp"]),
        slice("test/set-1", "set", &["a@172.17.1.1", "b@172.17.1.2"], &["http:80/tcp"]),
        slice("test/set-2", "set", &["c@172.17.1.3"], &["http:80/tcp"]),
        headless("test/plain", &["http:80/tcp"]),
        slice("test/plain-1", "plain", &["172.17.2.1", "172.17.2.2"], &["http:80/tcp"]),
        headless("test/dual", &["http:80/tcp"]),
        slice("test/dual-4", "dual", &["a@172.17.3.1"], &["http:80/tcp"]),
        slice("test/dual-6", "dual", &["a@fd00:17:3::1"], &["http:80/tcp"]),
        headless("test/six", &["http:80/tcp"]),
        slice("test/six-1", "six", &["fd00:17:4::1", "fd00:17:4::", "::1:2"], &["http:80/tcp"]),
        headless("test/empty", &["http:80/tcp"]),
        slice("test/empty-1", "empty", &[], &["http:80/tcp"]),
        headless("test/no-slices", &["http:80/tcp"]),
        headless("test/no-ports", &[]),
        slice("test/no-ports-1", "no-ports", &["a@172.17.8.1", "172.17.8.2"], &[]),
        headless("test/unnamed", &[":80/tcp"]),
        slice("test/unnamed-1", "unnamed", &["a@172.17.9.1"], &[":8080/tcp"]),
        headless("test/ports", &[]),
        slice(
            "test/ports-1",
            "ports",
            &["a@172.17.10.1"],
            &["http:80/tcp", "dns:53/udp", "dns-tcp:53/tcp"],
        ),
        headless("test/different", &[]),
        slice("test/different-1", "different", &["a@172.17.11.1"], &["http:8080/tcp"]),
        slice(
            "test/different-2",
            "different",
            &["b@172.17.11.2"],
            &["http:9090/tcp", "admin:1/tcp"],
        ),
        headless("test/no-number", &[]),
        slice("test/no-number-1", "no-number", &["a@172.17.11.3"], &["any:-/tcp"]),
        headless("test/same-host", &[]),
        slice(
            "test/same-host-1",
            "same-host",
            &["dup@172.17.12.1", "dup@172.17.12.2"],
            &["http:80/tcp"],
        ),
        slice(
            "test/same-host-2",
            "same-host",
            &["dup@172.17.12.1", "other@172.17.12.3"],
            &["http:80/tcp"],
        ),
        headless("test/several", &[]),
        slice("test/several-1", "several", &["a@172.17.16.1,172.17.16.2"], &["http:80/tcp"]),
        slice("test/orphan-1", "nobody", &["a@172.17.18.1"], &["http:80/tcp"]),
        slice("test/unlabelled-1", "", &["a@172.17.18.2"], &["http:80/tcp"]),
    ]
}

fn cluster() -> Cluster {
    Cluster::new(options(), objects())
}

#[test]
fn endpoints_are_the_addresses_of_the_service() {
    cluster().answers(&[
        (
            "set.test.svc.cluster.local A",
            "set.test.svc.cluster.local. 5 A 172.17.1.1 / set.test.svc.cluster.local. 5 A 172.17.1.2 / set.test.svc.cluster.local. 5 A 172.17.1.3",
        ),
        ("set.test.svc.cluster.local AAAA", "NODATA cluster.local."),
        ("dual.test.svc.cluster.local A", "dual.test.svc.cluster.local. 5 A 172.17.3.1"),
        ("dual.test.svc.cluster.local AAAA", "dual.test.svc.cluster.local. 5 AAAA fd00:17:3::1"),
        ("six.test.svc.cluster.local A", "NODATA cluster.local."),
        (
            "same-host.test.svc.cluster.local A",
            "same-host.test.svc.cluster.local. 5 A 172.17.12.1 / same-host.test.svc.cluster.local. 5 A 172.17.12.2 / \
             same-host.test.svc.cluster.local. 5 A 172.17.12.3",
        ),
        ("no-ports.test.svc.cluster.local A", "no-ports.test.svc.cluster.local. 5 A 172.17.8.1 / no-ports.test.svc.cluster.local. 5 A 172.17.8.2"),
        ("several.test.svc.cluster.local A", "several.test.svc.cluster.local. 5 A 172.17.16.1 / several.test.svc.cluster.local. 5 A 172.17.16.2"),
    ]);
}

#[test]
fn a_service_without_ready_endpoints_does_not_exist() {
    let cluster = cluster();
    for name in ["empty", "no-slices", "nobody", "_http._tcp.empty", "a.empty", "_tcp.empty"] {
        for rtype in ["A", "AAAA", "SRV", "TXT", "MX", "SOA"] {
            assert_eq!(
                cluster.answer(&format!("{name}.test.svc.cluster.local {rtype}")),
                "NXDOMAIN cluster.local.",
                "{name} {rtype}"
            );
        }
    }
}

#[test]
fn without_endpoints_watched_nothing_headless_exists() {
    let objects = objects().into_iter().filter(|change| !matches!(change, Change::Slice(_)));
    Cluster::new(Options { no_endpoints: true, ..options() }, objects).answers(&[
        ("set.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
        ("a.set.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
    ]);
}

#[test]
fn endpoints_have_names() {
    cluster().answers(&[
        ("a.set.test.svc.cluster.local A", "a.set.test.svc.cluster.local. 5 A 172.17.1.1"),
        ("A.Set.test.svc.cluster.local A", "A.Set.test.svc.cluster.local. 5 A 172.17.1.1"),
        ("c.set.test.svc.cluster.local A", "c.set.test.svc.cluster.local. 5 A 172.17.1.3"),
        ("d.set.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
        ("172-17-1-1.set.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
        ("172-17-2-1.plain.test.svc.cluster.local A", "172-17-2-1.plain.test.svc.cluster.local. 5 A 172.17.2.1"),
        ("a.dual.test.svc.cluster.local A", "a.dual.test.svc.cluster.local. 5 A 172.17.3.1"),
        ("a.dual.test.svc.cluster.local AAAA", "a.dual.test.svc.cluster.local. 5 AAAA fd00:17:3::1"),
        ("a.set.test.svc.cluster.local AAAA", "NODATA cluster.local."),
        ("fd00-17-4--1.six.test.svc.cluster.local AAAA", "fd00-17-4--1.six.test.svc.cluster.local. 5 AAAA fd00:17:4::1"),
        ("FD00-17-4--1.six.test.svc.cluster.local AAAA", "FD00-17-4--1.six.test.svc.cluster.local. 5 AAAA fd00:17:4::1"),
        // No label ends in a dash.
        ("fd00-17-4--0.six.test.svc.cluster.local AAAA", "fd00-17-4--0.six.test.svc.cluster.local. 5 AAAA fd00:17:4::"),
        ("fd00-17-4--.six.test.svc.cluster.local AAAA", "NXDOMAIN cluster.local."),
        ("--1-2.six.test.svc.cluster.local AAAA", "--1-2.six.test.svc.cluster.local. 5 AAAA ::1:2"),
        ("fd00-17-4-0-0-0-0-1.six.test.svc.cluster.local AAAA", "NXDOMAIN cluster.local."),
        (
            "dup.same-host.test.svc.cluster.local A",
            "dup.same-host.test.svc.cluster.local. 5 A 172.17.12.1 / dup.same-host.test.svc.cluster.local. 5 A 172.17.12.2",
        ),
        ("a.several.test.svc.cluster.local A", "a.several.test.svc.cluster.local. 5 A 172.17.16.1 / a.several.test.svc.cluster.local. 5 A 172.17.16.2"),
    ]);
}

#[test]
fn ports_of_endpoints_have_srv_records() {
    cluster().answers(&[
        (
            "_http._tcp.set.test.svc.cluster.local SRV",
            "_http._tcp.set.test.svc.cluster.local. 5 SRV 0 33 80 a.set.test.svc.cluster.local. / \
             _http._tcp.set.test.svc.cluster.local. 5 SRV 0 33 80 b.set.test.svc.cluster.local. / \
             _http._tcp.set.test.svc.cluster.local. 5 SRV 0 33 80 c.set.test.svc.cluster.local. / \
             + a.set.test.svc.cluster.local. 5 A 172.17.1.1 / + b.set.test.svc.cluster.local. 5 A 172.17.1.2 / + c.set.test.svc.cluster.local. 5 A 172.17.1.3",
        ),
        (
            "_http._tcp.Plain.test.svc.cluster.LOCAL SRV",
            "_http._tcp.Plain.test.svc.cluster.LOCAL. 5 SRV 0 50 80 172-17-2-1.plain.test.svc.cluster.LOCAL. / \
             _http._tcp.Plain.test.svc.cluster.LOCAL. 5 SRV 0 50 80 172-17-2-2.plain.test.svc.cluster.LOCAL. / \
             + 172-17-2-1.plain.test.svc.cluster.LOCAL. 5 A 172.17.2.1 / + 172-17-2-2.plain.test.svc.cluster.LOCAL. 5 A 172.17.2.2",
        ),
        (
            "dual.test.svc.cluster.local SRV",
            "dual.test.svc.cluster.local. 5 SRV 0 50 80 a.dual.test.svc.cluster.local. / \
             + a.dual.test.svc.cluster.local. 5 A 172.17.3.1 / + a.dual.test.svc.cluster.local. 5 AAAA fd00:17:3::1",
        ),
        (
            "a.ports.test.svc.cluster.local SRV",
            "a.ports.test.svc.cluster.local. 5 SRV 0 33 80 a.ports.test.svc.cluster.local. / \
             a.ports.test.svc.cluster.local. 5 SRV 0 33 53 a.ports.test.svc.cluster.local. / + a.ports.test.svc.cluster.local. 5 A 172.17.10.1",
        ),
        (
            "_http._tcp.different.test.svc.cluster.local SRV",
            "_http._tcp.different.test.svc.cluster.local. 5 SRV 0 50 8080 a.different.test.svc.cluster.local. / \
             _http._tcp.different.test.svc.cluster.local. 5 SRV 0 50 9090 b.different.test.svc.cluster.local. / \
             + a.different.test.svc.cluster.local. 5 A 172.17.11.1 / + b.different.test.svc.cluster.local. 5 A 172.17.11.2",
        ),
        ("_admin._tcp.different.test.svc.cluster.local A", "_admin._tcp.different.test.svc.cluster.local. 5 A 172.17.11.2"),
        ("_admin._tcp.different.test.svc.cluster.local AAAA", "NODATA cluster.local."),
        ("_admin._udp.different.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
        (
            "unnamed.test.svc.cluster.local SRV",
            "unnamed.test.svc.cluster.local. 5 SRV 0 100 8080 a.unnamed.test.svc.cluster.local. / + a.unnamed.test.svc.cluster.local. 5 A 172.17.9.1",
        ),
        (
            "_._tcp.unnamed.test.svc.cluster.local SRV",
            "_._tcp.unnamed.test.svc.cluster.local. 5 SRV 0 100 8080 a.unnamed.test.svc.cluster.local. / + a.unnamed.test.svc.cluster.local. 5 A 172.17.9.1",
        ),
        // Duplicate targets are dropped after the weight was computed.
        (
            "same-host.test.svc.cluster.local SRV",
            "same-host.test.svc.cluster.local. 5 SRV 0 25 80 dup.same-host.test.svc.cluster.local. / \
             same-host.test.svc.cluster.local. 5 SRV 0 25 80 other.same-host.test.svc.cluster.local. / \
             + dup.same-host.test.svc.cluster.local. 5 A 172.17.12.1 / + dup.same-host.test.svc.cluster.local. 5 A 172.17.12.2 / \
             + other.same-host.test.svc.cluster.local. 5 A 172.17.12.3",
        ),
        ("no-ports.test.svc.cluster.local SRV", "NODATA cluster.local."),
        ("a.no-ports.test.svc.cluster.local SRV", "NODATA cluster.local."),
        ("_http._tcp.no-ports.test.svc.cluster.local SRV", "NXDOMAIN cluster.local."),
        ("no-number.test.svc.cluster.local SRV", "NODATA cluster.local."),
        ("_any._tcp.no-number.test.svc.cluster.local SRV", "NODATA cluster.local."),
        ("_any._tcp.no-number.test.svc.cluster.local A", "_any._tcp.no-number.test.svc.cluster.local. 5 A 172.17.11.3"),
    ]);
}

#[test]
fn other_types_are_no_data() {
    let cluster = cluster();
    for name in ["set", "a.set", "_http._tcp.set"] {
        for rtype in ["TXT", "MX", "CNAME", "PTR", "NS", "SOA", "HTTPS", "ANY"] {
            let question = format!("{name}.test.svc.cluster.local {rtype}");
            assert_eq!(cluster.answer(&question), "NODATA cluster.local.", "{question}");
        }
    }
    cluster.answers(&[
        ("_tcp.set.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
        ("_udp.set.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
    ]);
}

#[test]
fn the_weight_is_a_share_of_a_hundred_and_at_least_one() {
    for (count, weight) in [(1, 100), (3, 33), (6, 16), (99, 1), (150, 1)] {
        let endpoints: Vec<String> = (0..count).map(|n| format!("172.20.1.{n}")).collect();
        let endpoints: Vec<&str> = endpoints.iter().map(String::as_str).collect();
        let objects = [
            namespace("test"),
            headless("test/x", &[]),
            slice("test/x-1", "x", &endpoints, &["http:80/tcp"]),
        ];
        let cluster = Cluster::new(options(), objects);
        let mut query = query("x.test.svc.cluster.local", RecordType::SRV);
        query.transport = periplus_core::query::Transport::Tcp;
        let answer = ask(&cluster.server, &query);
        let reply = answer.reply().expect("a reply");
        assert_eq!(reply.answer[0].set.count(), count);
        assert_eq!(reply.additional.len(), count);
        let weights = reply.answer[0].rdata().map(|rdata| u16::from_be_bytes([rdata[2], rdata[3]]));
        assert!(weights.into_iter().all(|found| found == weight), "{count} endpoints");
    }
}

#[test]
fn a_slice_belongs_to_the_service_that_its_label_spells() {
    let objects = [
        namespace("test"),
        headless("test/set", &[]),
        slice("test/set-1", "SET", &["a@172.17.1.1"], &["http:80/tcp"]),
    ];
    Cluster::new(options(), objects).answers(&[
        ("set.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
        ("a.SET.test.svc.cluster.local A", "NXDOMAIN cluster.local."),
        (
            "1.1.17.172.in-addr.arpa PTR",
            "1.1.17.172.in-addr.arpa. 5 PTR a.SET.test.svc.cluster.local.",
        ),
    ]);
}

#[test]
fn a_host_name_that_is_the_address_of_another_endpoint_makes_one_srv_record() {
    let objects = [
        namespace("test"),
        headless("test/set", &[]),
        slice(
            "test/set-1",
            "set",
            &["172-17-1-2@172.17.1.1", "172.17.1.2", "172-17-1-3@172.17.1.3"],
            &["http:80/tcp"],
        ),
    ];
    Cluster::new(options(), objects).answers(&[(
        "set.test.svc.cluster.local SRV",
        "set.test.svc.cluster.local. 5 SRV 0 33 80 172-17-1-2.set.test.svc.cluster.local. / \
         set.test.svc.cluster.local. 5 SRV 0 33 80 172-17-1-3.set.test.svc.cluster.local. / \
         + 172-17-1-2.set.test.svc.cluster.local. 5 A 172.17.1.1 / + 172-17-1-2.set.test.svc.cluster.local. 5 A 172.17.1.2 / \
         + 172-17-1-3.set.test.svc.cluster.local. 5 A 172.17.1.3",
    )]);
}

#[test]
fn a_service_may_have_thousands_of_ports() {
    let texts: Vec<String> =
        (10_000..15_000).map(|port| format!("rtp-{port}:{port}/udp")).collect();
    let ports: Vec<&str> = texts.iter().map(String::as_str).collect();
    let objects = [
        namespace("test"),
        cluster_ip("test/media", &["10.96.10.1"], &ports),
        headless("test/set", &[]),
        slice("test/set-1", "set", &["a@172.17.1.1", "172.17.1.2"], &ports),
    ];
    let cluster = Cluster::new(options(), objects);
    cluster.answers(&[
        (
            "_rtp-14999._udp.media.test.svc.cluster.local SRV",
            "_rtp-14999._udp.media.test.svc.cluster.local. 5 SRV 0 100 14999 media.test.svc.cluster.local. / \
             + media.test.svc.cluster.local. 5 A 10.96.10.1",
        ),
        (
            "_rtp-14999._udp.set.test.svc.cluster.local A",
            "_rtp-14999._udp.set.test.svc.cluster.local. 5 A 172.17.1.1 / _rtp-14999._udp.set.test.svc.cluster.local. 5 A 172.17.1.2",
        ),
        ("a.set.test.svc.cluster.local A", "a.set.test.svc.cluster.local. 5 A 172.17.1.1"),
    ]);
    // No answer is made larger than a message can be.
    for service in ["media", "set"] {
        let query = query(&format!("{service}.test.svc.cluster.local"), RecordType::SRV);
        let answer = ask(&cluster.server, &query);
        let length = answer.reply().expect("records").answer[0].set.rdata_length();
        assert!((60_000..70_000).contains(&length), "{service}: {length}");
    }
}
