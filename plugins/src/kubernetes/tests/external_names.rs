//! Services that stand for a name elsewhere.

use std::time::Duration;

use periplus_core::codes::flags;
use periplus_core::name::Name;
use periplus_core::plugin::Outcome;
use periplus_core::record::{Entry, Owner, RecordSet};
use periplus_core::reply::Failure;

use super::cluster::*;
use super::*;
use crate::testing::{delayed, scripted};

/// An upstream that answers with one address, or as the name says.
fn upstream() -> Arc<dyn Plugin> {
    scripted(|query: &Query| {
        let name = query.name().to_string();
        let mut reply = Reply::to(query, "upstream");
        let set = |address: &str| {
            RecordSet::addresses(60, [address.parse().expect("an address")]).expect("one address")
        };
        match (name.as_str(), query.qtype) {
            ("www.ext.test.", RecordType::A) => {
                reply.answer.push(Entry::of_question(set("192.0.2.80")))
            }
            ("www.ext.test.", RecordType::AAAA) => {
                reply.answer.push(Entry::of_question(set("2001:db8::80")))
            }
            ("alias.ext.test.", RecordType::A) => {
                let target: Name = crate::testing::name("www.ext.test");
                reply.answer.push(Entry::of_question(RecordSet::name(
                    RecordType::CNAME,
                    70,
                    target.as_ref(),
                )));
                reply.answer.push(Entry::of(Owner::Name(target), set("192.0.2.80")));
            }
            ("slow.ext.test.", RecordType::A) => {
                reply.answer.push(Entry::of_question(set("192.0.2.90")));
                return delayed(reply.into(), Duration::from_millis(1));
            }
            ("cut.ext.test.", _) => {
                reply.set(flags::TC, true);
                reply.answer.push(Entry::of_question(set("192.0.2.80")));
            }
            ("servfail.ext.test.", _) => return Failure::servfail("upstream", "it is down").into(),
            ("silent.ext.test.", _) => return Outcome::Now(Answer::Silence),
            ("nodata.ext.test.", _) => {}
            _ => reply.rcode = Rcode::NXDOMAIN,
        }
        reply.into()
    })
}

/// The API server takes a label of 64 bytes.
const LONG: &str = "x234567890123456789012345678901234567890123456789012345678901234.ext.test";

fn cluster() -> Cluster {
    let mut objects = vec![
        namespace("test"),
        cluster_ip("test/web", &["10.96.10.1"], &["http:80/tcp"]),
        headless("test/set", &[]),
        slice("test/set-1", "set", &["a@172.17.1.1", "b@172.17.1.2"], &["http:80/tcp"]),
        external_name("hidden/out", "www.ext.test"),
    ];
    let aliases = [
        ("out", "www.ext.test"),
        ("dot", "www.ext.test."),
        ("upper", "WWW.ext.test"),
        ("alias", "alias.ext.test"),
        ("slow", "slow.ext.test"),
        ("cut", "cut.ext.test"),
        ("nx", "nope.ext.test"),
        ("nodata", "nodata.ext.test"),
        ("servfail", "servfail.ext.test"),
        ("silent", "silent.ext.test"),
        ("short", "www"),
        ("in", "web.test.svc.cluster.local"),
        ("in-set", "set.test.svc.cluster.local"),
        ("in-endpoint", "a.set.test.svc.cluster.local"),
        ("in-nx", "nope.test.svc.cluster.local"),
        ("in-apex", "cluster.local"),
        ("in-hidden", "out.hidden.svc.cluster.local"),
        ("in-upper", "Web.Test.svc.cluster.local"),
        ("chain-1", "chain-2.test.svc.cluster.local"),
        ("chain-2", "web.test.svc.cluster.local"),
        ("chain-out-1", "out.test.svc.cluster.local"),
        ("chain-silent", "silent.test.svc.cluster.local"),
        ("loop-a", "loop-b.test.svc.cluster.local"),
        ("loop-b", "loop-a.test.svc.cluster.local"),
        ("self", "self.test.svc.cluster.local"),
        ("below", "x.below.test.svc.cluster.local"),
        ("v4", "192.0.2.7"),
        ("v6", "2001:db8::7"),
        ("bad", "a..b"),
        ("long", LONG),
        ("reverse", "1.10.96.10.in-addr.arpa"),
    ];
    objects.extend(
        aliases.iter().map(|(name, target)| external_name(&format!("test/{name}"), target)),
    );
    for n in 1..=13 {
        let target = if n < 13 { format!("long-{}", n + 1) } else { "web".to_owned() };
        objects.push(external_name(
            &format!("test/long-{n}"),
            &format!("{target}.test.svc.cluster.local"),
        ));
    }
    Cluster::with_next(options(), objects, upstream())
}

#[test]
fn the_target_is_a_cname() {
    cluster().answers(&[
        ("out.test.svc.cluster.local CNAME", "out.test.svc.cluster.local. 5 CNAME www.ext.test."),
        ("OUT.test.svc.cluster.local CNAME", "OUT.test.svc.cluster.local. 5 CNAME www.ext.test."),
        ("dot.test.svc.cluster.local CNAME", "dot.test.svc.cluster.local. 5 CNAME www.ext.test."),
        (
            "upper.test.svc.cluster.local CNAME",
            "upper.test.svc.cluster.local. 5 CNAME WWW.ext.test.",
        ),
        (
            "in.test.svc.cluster.local CNAME",
            "in.test.svc.cluster.local. 5 CNAME web.test.svc.cluster.local.",
        ),
        (
            "self.test.svc.cluster.local CNAME",
            "self.test.svc.cluster.local. 5 CNAME self.test.svc.cluster.local.",
        ),
        (
            "_._.out.test.svc.cluster.local CNAME",
            "_._.out.test.svc.cluster.local. 5 CNAME www.ext.test.",
        ),
        ("out.hidden.svc.cluster.local CNAME", "NXDOMAIN cluster.local."),
    ]);
}

#[test]
fn a_target_elsewhere_is_looked_up() {
    cluster().answers(&[
        ("out.test.svc.cluster.local A", "out.test.svc.cluster.local. 5 CNAME www.ext.test. / www.ext.test. 60 A 192.0.2.80"),
        ("Out.test.svc.cluster.local AAAA", "Out.test.svc.cluster.local. 5 CNAME www.ext.test. / www.ext.test. 60 AAAA 2001:db8::80"),
        ("upper.test.svc.cluster.local A", "upper.test.svc.cluster.local. 5 CNAME WWW.ext.test. / WWW.ext.test. 60 A 192.0.2.80"),
        (
            "alias.test.svc.cluster.local A",
            "alias.test.svc.cluster.local. 5 CNAME alias.ext.test. / alias.ext.test. 70 CNAME www.ext.test. / www.ext.test. 60 A 192.0.2.80",
        ),
        ("slow.test.svc.cluster.local A", "slow.test.svc.cluster.local. 5 CNAME slow.ext.test. / slow.ext.test. 60 A 192.0.2.90"),
        ("cut.test.svc.cluster.local A", "truncated / cut.test.svc.cluster.local. 5 CNAME cut.ext.test. / cut.ext.test. 60 A 192.0.2.80"),
    ]);
}

#[test]
fn a_target_elsewhere_that_cannot_be_resolved_leaves_the_cname() {
    cluster().answers(&[
        ("nx.test.svc.cluster.local A", "nx.test.svc.cluster.local. 5 CNAME nope.ext.test."),
        (
            "nodata.test.svc.cluster.local A",
            "nodata.test.svc.cluster.local. 5 CNAME nodata.ext.test.",
        ),
        (
            "servfail.test.svc.cluster.local A",
            "servfail.test.svc.cluster.local. 5 CNAME servfail.ext.test.",
        ),
        ("short.test.svc.cluster.local A", "short.test.svc.cluster.local. 5 CNAME www."),
        ("silent.test.svc.cluster.local A", "NODATA cluster.local."),
        ("chain-silent.test.svc.cluster.local A", "NODATA cluster.local."),
    ]);
}

#[test]
fn a_target_in_the_zone_is_followed_to_its_addresses() {
    cluster().answers(&[
        ("in.test.svc.cluster.local A", "in.test.svc.cluster.local. 5 CNAME web.test.svc.cluster.local. / web.test.svc.cluster.local. 5 A 10.96.10.1"),
        (
            "in-upper.test.svc.cluster.local A",
            "in-upper.test.svc.cluster.local. 5 CNAME Web.Test.svc.cluster.local. / Web.Test.svc.cluster.local. 5 A 10.96.10.1",
        ),
        (
            "in-set.test.svc.cluster.local A",
            "in-set.test.svc.cluster.local. 5 CNAME set.test.svc.cluster.local. / set.test.svc.cluster.local. 5 A 172.17.1.1 / \
             set.test.svc.cluster.local. 5 A 172.17.1.2",
        ),
        ("in-endpoint.test.svc.cluster.local A", "in-endpoint.test.svc.cluster.local. 5 CNAME a.set.test.svc.cluster.local. / a.set.test.svc.cluster.local. 5 A 172.17.1.1"),
        (
            "chain-1.test.svc.cluster.local A",
            "chain-1.test.svc.cluster.local. 5 CNAME chain-2.test.svc.cluster.local. / chain-2.test.svc.cluster.local. 5 CNAME web.test.svc.cluster.local. / \
             web.test.svc.cluster.local. 5 A 10.96.10.1",
        ),
        (
            "chain-out-1.test.svc.cluster.local A",
            "chain-out-1.test.svc.cluster.local. 5 CNAME out.test.svc.cluster.local. / out.test.svc.cluster.local. 5 CNAME www.ext.test. / \
             www.ext.test. 60 A 192.0.2.80",
        ),
        // Another zone of the same plugin is elsewhere.
        ("reverse.test.svc.cluster.local A", "reverse.test.svc.cluster.local. 5 CNAME 1.10.96.10.in-addr.arpa."),
    ]);
}

#[test]
fn a_chain_in_the_zone_that_leads_nowhere_is_no_data() {
    let cluster = cluster();
    for name in
        ["in-nx", "in-apex", "in-hidden", "loop-a", "loop-b", "self", "below", "long-1", "long-2"]
    {
        assert_eq!(
            cluster.answer(&format!("{name}.test.svc.cluster.local A")),
            "NODATA cluster.local.",
            "{name}"
        );
    }
    cluster.answers(&[("in.test.svc.cluster.local AAAA", "NODATA cluster.local.")]);
}

#[test]
fn eleven_aliases_are_followed() {
    let answer = cluster().answer("long-3.test.svc.cluster.local A");
    assert_eq!(answer.matches(" CNAME ").count(), 11);
    assert!(answer.ends_with("web.test.svc.cluster.local. 5 A 10.96.10.1"), "{answer}");
}

#[test]
fn other_types_and_names_below_have_nothing() {
    let cluster = cluster();
    for rtype in ["SRV", "TXT", "MX", "NS", "PTR", "SOA", "HTTPS", "ANY"] {
        assert_eq!(
            cluster.answer(&format!("out.test.svc.cluster.local {rtype}")),
            "NODATA cluster.local.",
            "{rtype}"
        );
    }
    for name in ["x.out", "_http._tcp.out", "_tcp.out", "v4", "v6", "x.long"] {
        for rtype in ["A", "CNAME", "SRV", "TXT"] {
            assert_eq!(
                cluster.answer(&format!("{name}.test.svc.cluster.local {rtype}")),
                "NXDOMAIN cluster.local.",
                "{name} {rtype}"
            );
        }
    }
}

#[test]
fn a_target_that_cannot_be_sent_is_no_data() {
    let cluster = cluster();
    for name in ["bad", "long", "_._.long"] {
        for rtype in ["A", "AAAA", "CNAME", "SRV", "TXT", "MX"] {
            assert_eq!(
                cluster.answer(&format!("{name}.test.svc.cluster.local {rtype}")),
                "NODATA cluster.local.",
                "{name} {rtype}"
            );
        }
    }
}
