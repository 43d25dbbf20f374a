//! From addresses to names.

use periplus_core::name::Name;
use periplus_core::zone::{Fallthrough, Zones};

use super::cluster::*;
use super::*;

fn cluster(options: Options) -> Cluster {
    let objects = [
        namespace("test"),
        namespace("test2"),
        cluster_ip("test/web", &["10.96.10.1", "fd00:10::1"], &["http:80/tcp"]),
        slice(
            "test/web-1",
            "web",
            &["172.16.1.1", "host@172.16.1.2"],
            &["http:80/tcp", "https:443/tcp"],
        ),
        headless("test/set", &[]),
        slice(
            "test/set-4",
            "set",
            &["a@172.16.9.9", "b@172.16.9.9", "172.16.9.8"],
            &["http:80/tcp"],
        ),
        slice("test/set-5", "set", &["a@172.16.9.9"], &["http:81/tcp"]),
        slice("test/set-6", "set", &["fd00:17:4::"], &["http:80/tcp"]),
        cluster_ip("test2/other", &["10.96.10.2"], &[]),
        slice("test2/other-1", "other", &["172.16.9.9", "c@10.96.10.1"], &[]),
        // A slice whose Service is not there still names its endpoints.
        slice("test/orphan-1", "nobody", &["a@172.17.18.1"], &[]),
        slice("test/unlabelled-1", "", &["a@172.17.18.2"], &[]),
        pod("test/p", "172.18.0.1"),
    ];
    Cluster::new(options, objects)
}

#[test]
fn cluster_ips_point_to_their_service() {
    cluster(options()).answers(&[
        ("1.10.96.10.in-addr.arpa PTR", "1.10.96.10.in-addr.arpa. 5 PTR web.test.svc.cluster.local."),
        ("1.10.96.10.IN-addr.ARPA PTR", "1.10.96.10.IN-addr.ARPA. 5 PTR web.test.svc.cluster.local."),
        (
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.d.f.ip6.arpa PTR",
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.d.f.ip6.arpa. 5 PTR web.test.svc.cluster.local.",
        ),
    ]);
}

#[test]
fn endpoint_addresses_point_to_every_endpoint_that_has_them() {
    cluster(options()).answers(&[
        ("1.1.16.172.in-addr.arpa PTR", "1.1.16.172.in-addr.arpa. 5 PTR 172-16-1-1.web.test.svc.cluster.local."),
        ("2.1.16.172.in-addr.arpa PTR", "2.1.16.172.in-addr.arpa. 5 PTR host.web.test.svc.cluster.local."),
        (
            "9.9.16.172.in-addr.arpa PTR",
            "9.9.16.172.in-addr.arpa. 5 PTR a.set.test.svc.cluster.local. / 9.9.16.172.in-addr.arpa. 5 PTR b.set.test.svc.cluster.local. / \
             9.9.16.172.in-addr.arpa. 5 PTR 172-16-9-9.other.test2.svc.cluster.local.",
        ),
        (
            "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.0.0.0.7.1.0.0.0.0.d.f.ip6.arpa PTR",
            "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.0.0.0.7.1.0.0.0.0.d.f.ip6.arpa. 5 PTR fd00-17-4--0.set.test.svc.cluster.local.",
        ),
        ("1.18.17.172.in-addr.arpa PTR", "1.18.17.172.in-addr.arpa. 5 PTR a.nobody.test.svc.cluster.local."),
        ("2.18.17.172.in-addr.arpa PTR", "NXDOMAIN in-addr.arpa."),
    ]);
}

#[test]
fn the_option_namespaces_hides_reverse_names() {
    cluster(Options { namespaces: vec!["test2".into()], ..options() }).answers(&[
        ("1.1.16.172.in-addr.arpa PTR", "NXDOMAIN in-addr.arpa."),
        (
            "9.9.16.172.in-addr.arpa PTR",
            "9.9.16.172.in-addr.arpa. 5 PTR 172-16-9-9.other.test2.svc.cluster.local.",
        ),
        // Where the service with the cluster IP is hidden, endpoints show.
        (
            "1.10.96.10.in-addr.arpa PTR",
            "1.10.96.10.in-addr.arpa. 5 PTR c.other.test2.svc.cluster.local.",
        ),
    ]);
}

#[test]
fn other_addresses_and_names_do_not_exist() {
    cluster(options()).answers(&[
        ("9.10.96.10.in-addr.arpa PTR", "NXDOMAIN in-addr.arpa."),
        ("1.0.18.172.in-addr.arpa PTR", "NXDOMAIN in-addr.arpa."),
        ("1.0.18.172.in-addr.arpa A", "NXDOMAIN in-addr.arpa."),
        ("01.10.96.10.in-addr.arpa PTR", "NXDOMAIN in-addr.arpa."),
        ("+1.10.96.10.in-addr.arpa PTR", "NXDOMAIN in-addr.arpa."),
        ("1.10.96.256.in-addr.arpa PTR", "NXDOMAIN in-addr.arpa."),
        ("x.1.10.96.10.in-addr.arpa PTR", "NXDOMAIN in-addr.arpa."),
        ("x.in-addr.arpa PTR", "NXDOMAIN in-addr.arpa."),
        ("x.svc.in-addr.arpa PTR", "NXDOMAIN in-addr.arpa."),
        ("web.test.svc.in-addr.arpa A", "NXDOMAIN in-addr.arpa."),
        ("1-2-3-4.test.pod.in-addr.arpa A", "NXDOMAIN in-addr.arpa."),
        ("svc.in-addr.arpa A", "NODATA in-addr.arpa."),
    ]);
}

#[test]
fn reverse_names_have_pointers_and_nothing_else() {
    let cluster = cluster(options());
    for name in [
        "10.in-addr.arpa",
        "96.10.in-addr.arpa",
        "1.10.96.10.in-addr.arpa",
        "1.1.16.172.in-addr.arpa",
    ] {
        for rtype in ["A", "AAAA", "TXT", "SRV", "NS", "MX"] {
            let question = format!("{name} {rtype}");
            assert_eq!(cluster.answer(&question), "NXDOMAIN in-addr.arpa.", "{question}");
        }
    }
    cluster.answers(&[
        ("96.10.in-addr.arpa PTR", "NXDOMAIN in-addr.arpa."),
        ("96.10.in-addr.arpa SOA", "NXDOMAIN in-addr.arpa."),
        ("1.10.96.10.in-addr.arpa SOA", "NODATA in-addr.arpa."),
        ("in-addr.arpa PTR", "NODATA in-addr.arpa."),
        ("in-addr.arpa A", "NODATA in-addr.arpa."),
        ("0.d.f.ip6.arpa PTR", "NXDOMAIN ip6.arpa."),
        ("x.d.f.ip6.arpa PTR", "NXDOMAIN ip6.arpa."),
    ]);
}

#[test]
fn forward_names_have_no_pointers() {
    cluster(options()).answers(&[
        ("web.test.svc.cluster.local PTR", "NODATA cluster.local."),
        ("nope.test.svc.cluster.local PTR", "NXDOMAIN cluster.local."),
        ("svc.cluster.local PTR", "NODATA cluster.local."),
        ("1.10.96.10.cluster.local PTR", "NXDOMAIN cluster.local."),
    ]);
}

#[test]
fn only_zones_of_the_plugin_are_reversed() {
    let zones = vec![name("10.96.10.in-addr.arpa."), name("cluster.local.")];
    cluster(Options::new(zones, name("cluster.local."))).answers(&[
        (
            "1.10.96.10.in-addr.arpa PTR",
            "1.10.96.10.in-addr.arpa. 5 PTR web.test.svc.cluster.local.",
        ),
        ("1.1.16.172.in-addr.arpa PTR", "next"),
        ("9.10.96.10.in-addr.arpa PTR", "NXDOMAIN 10.96.10.in-addr.arpa."),
    ]);
}

#[test]
fn blocks_that_share_their_data_point_into_their_own_zones() {
    let one = cluster(options());
    // The end of one zone is the whole of another.
    let others = ["foo.test.", "local.", "x.cluster.local."].map(|zone| {
        let zones = vec![name(zone), name("in-addr.arpa."), name("ip6.arpa.")];
        (zone, one.beside(Options::new(zones, name(zone))))
    });
    let answer = |cluster: &Cluster, address: &str, service: &str, zone: &str| {
        let question = format!("{address}.in-addr.arpa PTR");
        let expected = format!("{address}.in-addr.arpa. 5 PTR {service}.svc.{zone}");
        assert_eq!(cluster.answer(&question), expected);
    };
    for _ in 0..2 {
        answer(&one, "1.10.96.10", "web.test", "cluster.local.");
        for (zone, other) in &others {
            answer(other, "1.10.96.10", "web.test", zone);
            answer(other, "2.1.16.172", "host.web.test", zone);
        }
    }
}

#[test]
fn a_zone_of_one_address_has_its_pointers() {
    let zones = [
        "cluster.local.",
        "1.10.96.10.in-addr.arpa.",
        "1.1.16.172.in-addr.arpa.",
        "9.10.96.10.in-addr.arpa.",
        "10.in-addr.arpa.",
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.d.f.ip6.arpa.",
    ];
    let options = || Options::new(zones.map(name).to_vec(), name("cluster.local."));
    cluster(options()).answers(&[
        ("1.10.96.10.in-addr.arpa PTR", "1.10.96.10.in-addr.arpa. 5 PTR web.test.svc.cluster.local."),
        ("1.1.16.172.in-addr.arpa PTR", "1.1.16.172.in-addr.arpa. 5 PTR 172-16-1-1.web.test.svc.cluster.local."),
        (
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.d.f.ip6.arpa PTR",
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.d.f.ip6.arpa. 5 PTR web.test.svc.cluster.local.",
        ),
        ("1.10.96.10.in-addr.arpa A", "NODATA 1.10.96.10.in-addr.arpa."),
        ("x.1.10.96.10.in-addr.arpa PTR", "NXDOMAIN 1.10.96.10.in-addr.arpa."),
        // Nobody has this address, but the zone is there.
        ("9.10.96.10.in-addr.arpa PTR", "NODATA 9.10.96.10.in-addr.arpa."),
        ("10.in-addr.arpa PTR", "NODATA 10.in-addr.arpa."),
    ]);
    let fallthrough = Fallthrough::Zones(Zones::new([Name::root()]));
    cluster(Options { fallthrough, ..options() }).answers(&[
        ("9.10.96.10.in-addr.arpa PTR", "next"),
        ("10.in-addr.arpa PTR", "NODATA 10.in-addr.arpa."),
    ]);
}

/// Each name once and in order, and no more than what fits any message.
#[test]
fn an_address_of_many_endpoints_has_bounded_pointers() {
    let name_of = |number: usize| format!("e{number:05}");
    let slices = (0..8).map(|number| {
        // Every slice begins with what the one before ended with.
        let names = (number * 1000_usize).saturating_sub(10)..number * 1000 + 1000;
        let endpoints: Vec<_> =
            names.map(|number| format!("{}@10.9.9.9", name_of(number))).collect();
        let endpoints: Vec<_> = endpoints.iter().map(String::as_str).collect();
        slice(&format!("test/many-{number}"), "many", &endpoints, &[])
    });
    let cluster = Cluster::new(options(), slices);
    let set = cluster.reply("9.9.9.10.in-addr.arpa PTR").answer.remove(0).set;
    assert_eq!(set.count(), 65_535 / 14 + 1);
    for (number, target) in set.rdata().enumerate() {
        let expected = format!("{}.many.test.svc.cluster.local.", name_of(number));
        assert_eq!(target, name(&expected).as_wire());
    }
}
