//! Names of pods.

use periplus_core::identity::{Holder, Holders};

use super::cluster::*;
use super::*;
use crate::kubernetes::shared::PodMode;

#[test]
fn insecure_pods_are_any_address() {
    let objects = [namespace("test"), pod("test/p", "172.18.0.1")];
    Cluster::new(Options { pods: PodMode::Insecure, ..options() }, objects).answers(&[
        ("1-2-3-4.test.pod.cluster.local A", "1-2-3-4.test.pod.cluster.local. 5 A 1.2.3.4"),
        ("1-2-3-4.test.pod.cluster.local AAAA", "NODATA cluster.local."),
        ("1-2-3-4.test.pod.cluster.local TXT", "NODATA cluster.local."),
        ("1-2-3-4.test.pod.cluster.local PTR", "NODATA cluster.local."),
        (
            "1-2-3-4.Test.pod.Cluster.local SRV",
            "1-2-3-4.Test.pod.Cluster.local. 5 SRV 0 100 0 1-2-3-4.test.pod.Cluster.local. / \
             + 1-2-3-4.test.pod.Cluster.local. 5 A 1.2.3.4",
        ),
        ("fd00--1.test.pod.cluster.local AAAA", "fd00--1.test.pod.cluster.local. 5 AAAA fd00::1"),
        (
            "fd00-0-0-0-0-0-0-1.test.pod.cluster.local AAAA",
            "fd00-0-0-0-0-0-0-1.test.pod.cluster.local. 5 AAAA fd00::1",
        ),
        ("fd00--1.test.pod.cluster.local A", "NODATA cluster.local."),
        ("--1.test.pod.cluster.local AAAA", "--1.test.pod.cluster.local. 5 AAAA ::1"),
        (
            "--ffff-102-304.test.pod.cluster.local A",
            "--ffff-102-304.test.pod.cluster.local. 5 A 1.2.3.4",
        ),
        ("x.1-2-3-4.test.pod.cluster.local A", "x.1-2-3-4.test.pod.cluster.local. 5 A 1.2.3.4"),
        (
            "_p._t.1-2-3-4.test.pod.cluster.local A",
            "_p._t.1-2-3-4.test.pod.cluster.local. 5 A 1.2.3.4",
        ),
        ("a.b.c.1-2-3-4.test.pod.cluster.local A", "NXDOMAIN cluster.local."),
        ("1-2-3.test.pod.cluster.local A", "NXDOMAIN cluster.local."),
        ("1-2-3-256.test.pod.cluster.local A", "NXDOMAIN cluster.local."),
        ("1-2-3-04.test.pod.cluster.local A", "NXDOMAIN cluster.local."),
        ("p.test.pod.cluster.local A", "NXDOMAIN cluster.local."),
        ("1-2-3-4.nope.pod.cluster.local A", "NXDOMAIN cluster.local."),
        ("nope.pod.cluster.local A", "NXDOMAIN cluster.local."),
    ]);
}

#[test]
fn verified_pods_are_there() {
    let objects = [
        namespace("test"),
        namespace("other"),
        pod("test/a", "172.18.0.1"),
        pod("test/six", "fd00:18:5::"),
        pod("other/b", "172.18.0.2"),
        pod("hidden/c", "172.18.0.3"),
        // Two pods on the host's network.
        pod("test/host-1", "192.0.2.2"),
        pod("test/host-2", "192.0.2.2"),
    ];
    let cluster = Cluster::new(Options { pods: PodMode::Verified, ..options() }, objects);
    cluster.answers(&[
        (
            "172-18-0-1.test.pod.cluster.local A",
            "172-18-0-1.test.pod.cluster.local. 5 A 172.18.0.1",
        ),
        ("172-18-0-1.test.pod.cluster.local AAAA", "NODATA cluster.local."),
        ("172-18-0-1.test.pod.cluster.local TXT", "NODATA cluster.local."),
        ("172-18-0-1.other.pod.cluster.local A", "NXDOMAIN cluster.local."),
        ("172-18-0-2.test.pod.cluster.local A", "NXDOMAIN cluster.local."),
        ("172-18-0-3.hidden.pod.cluster.local A", "NXDOMAIN cluster.local."),
        (
            "fd00-18-5--.test.pod.cluster.local AAAA",
            "fd00-18-5--.test.pod.cluster.local. 5 AAAA fd00:18:5::",
        ),
        ("fd00-18-5-0-0-0-0-0.test.pod.cluster.local AAAA", "NXDOMAIN cluster.local."),
        ("fd00-18-5--0.test.pod.cluster.local AAAA", "NXDOMAIN cluster.local."),
        ("192-0-2-2.test.pod.cluster.local A", "192-0-2-2.test.pod.cluster.local. 5 A 192.0.2.2"),
        ("1.0.18.172.in-addr.arpa PTR", "NXDOMAIN in-addr.arpa."),
    ]);
    cluster.index.apply(Change::PodGone(key("test/host-1")));
    cluster.index.apply(pod("test/a", "172.18.0.9"));
    cluster.answers(&[
        ("192-0-2-2.test.pod.cluster.local A", "192-0-2-2.test.pod.cluster.local. 5 A 192.0.2.2"),
        ("172-18-0-1.test.pod.cluster.local A", "NXDOMAIN cluster.local."),
        (
            "172-18-0-9.test.pod.cluster.local A",
            "172-18-0-9.test.pod.cluster.local. 5 A 172.18.0.9",
        ),
    ]);
    cluster.index.apply(Change::PodGone(key("test/host-2")));
    cluster.answers(&[("192-0-2-2.test.pod.cluster.local A", "NXDOMAIN cluster.local.")]);
}

#[test]
fn an_address_is_told_with_the_namespace_of_its_pods() {
    let objects = [
        namespace("test"),
        pod("test/a", "172.18.0.1"),
        pod("test/six", "fd00:18:5::"),
        pod("test/host-1", "192.0.2.2"),
        pod("test/host-2", "192.0.2.2"),
        // Nobody asks for names in it, but its Pods may ask.
        pod("hidden/c", "172.18.0.3"),
        pod("hidden/host", "192.0.2.2"),
    ];
    let cluster = Cluster::new(Options { pods: PodMode::Verified, ..options() }, objects);
    let holder = |address: &str| {
        let address: IpAddr = address.parse().expect("an address");
        let mut holders = Holders::from_iter([(address, Holder::Unknown)]);
        cluster.index.tell_namespaces(&mut holders);
        holders.remove(&address).expect("only holders change")
    };
    assert_eq!(holder("172.18.0.1"), Holder::Namespace("test".into()));
    assert_eq!(holder("fd00:18:5::"), Holder::Namespace("test".into()));
    assert_eq!(holder("172.18.0.3"), Holder::Namespace("hidden".into()));
    assert_eq!(holder("192.0.2.2"), Holder::Several);
    assert_eq!(holder("172.18.0.9"), Holder::Unknown);
    cluster.index.apply(Change::PodGone(key("hidden/host")));
    assert_eq!(holder("192.0.2.2"), Holder::Namespace("test".into()));
    cluster.index.apply(pod("test/a", "172.18.0.9"));
    assert_eq!(holder("172.18.0.1"), Holder::Unknown);
    assert_eq!(holder("172.18.0.9"), Holder::Namespace("test".into()));
}
