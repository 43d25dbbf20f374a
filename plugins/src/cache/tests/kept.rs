//! What is kept, on which side, for how long, and what else the client sees of that on a miss.

use periplus_core::codes::{Class, Rcode, RecordType, flags, opcode};
use periplus_core::edns::Edns;
use periplus_core::query::Transport;
use periplus_core::reply::{Failure, Reply};

use super::super::side::Side;
use super::{NODATA, NXDOMAIN, OTHER, POSITIVE, SERVFAIL, World, odd, with_edns};
use crate::testing::replies::reply;

/// Options, type asked for, reply from inward, TTL of all records in the reply to the client, and the side it is kept on.
type Case = (&'static str, RecordType, &'static [&'static str], u32, Option<Side>);

const SUCCESS: Option<Side> = Some(Side::Success);
const DENIAL: Option<Side> = Some(Side::Denial);
const A: RecordType = RecordType::A;

#[rustfmt::skip]
const CASES: &[Case] = &[
    // The least TTL of all sections counts, within the limits of the side.
    ("cache", A, &["NOERROR", "answer: example.org. 300 IN A 192.0.2.1"], 300, SUCCESS),
    ("cache", A, &["NOERROR", "answer: example.org. 0 IN A 192.0.2.1"], 5, SUCCESS),
    ("cache", A, &["NOERROR", "answer: example.org. 7200 IN A 192.0.2.1"], 3600, SUCCESS),
    ("cache 30", A, &["NOERROR", "answer: example.org. 300 IN A 192.0.2.1"], 30, SUCCESS),
    ("cache", A, &["NOERROR", "answer: example.org. 300 IN A 192.0.2.1", "additional: b.org. 7 IN A 192.0.2.2"], 7, SUCCESS),
    ("cache {\nsuccess 1 60 20\n}", A, &["NOERROR", "answer: example.org. 3 IN A 192.0.2.1"], 20, SUCCESS),
    ("cache {\nsuccess 1 60 0\n}", A, &["NOERROR", "answer: example.org. 0 IN A 192.0.2.1"], 0, None),
    // The SOA's own TTL counts, its MINIMUM field (5) does not.
    ("cache", A, &["NXDOMAIN", "authority: org. 900 IN SOA ns.org. mail.org. 1 2 3 4 5"], 900, DENIAL),
    ("cache", A, &["NXDOMAIN", "authority: org. 7200 IN SOA ns.org. mail.org. 1 2 3 4 5"], 1800, DENIAL),
    ("cache", A, &["NOERROR", "authority: org. 60 IN SOA ns.org. mail.org. 1 2 3 4 5"], 60, DENIAL),
    ("cache {\ndenial 1 60 40\n}", A, &["NXDOMAIN", "authority: org. 2 IN SOA ns.org. mail.org. 1 2 3 4 5"], 40, DENIAL),
    // A denial without SOA has no TTL.
    ("cache", A, &["NXDOMAIN"], 5, None),
    ("cache", A, &["NXDOMAIN", "authority: org. 60 IN NS ns.org."], 60, None),
    // An empty NOERROR reply without SOA may have its data elsewhere.
    ("cache", A, &["NOERROR"], 5, SUCCESS),
    ("cache", A, &["NOERROR", "additional: example.org. 0 IN A 192.0.2.1"], 5, SUCCESS),
    ("cache", A, &["NOERROR", "additional: example.org. 60 IN A 192.0.2.1"], 60, SUCCESS),
    // A referral is kept for five seconds whatever it says.
    ("cache", A, &["NOERROR", "authority: example.org. 86400 IN NS ns.org."], 5, SUCCESS),
    // Server errors.
    ("cache", A, &["SERVFAIL"], 0, DENIAL),
    ("cache", A, &["NOTIMP"], 0, DENIAL),
    ("cache {\nservfail 0\n}", A, &["SERVFAIL", "authority: org. 60 IN NS ns.org."], 0, None),
    ("cache {\nservfail 2m\n}", A, &["SERVFAIL", "authority: org. 60 IN NS ns.org."], 120, DENIAL),
    // Other errors are none of the cache's business, but their TTLs are capped too.
    ("cache", A, &["REFUSED", "authority: org. 60 IN NS ns.org."], 5, None),
    ("cache", A, &["FORMERR", "authority: org. 60 IN NS ns.org."], 5, None),
    ("cache", A, &["NXDOMAIN", "answer: example.org. 60 IN CNAME b.org.", "authority: org. 60 IN SOA ns.org. mail.org. 1 2 3 4 5"], 5, None),
    // What was cut.
    ("cache", A, &["NOERROR tc", "answer: example.org. 300 IN A 192.0.2.1"], 300, None),
    // CNAME chains.
    ("cache", A, &["NOERROR", "answer: example.org. 9 IN CNAME b.org.", "answer: b.org. 8 IN A 192.0.2.1"], 8, SUCCESS),
    ("cache", A, &["NOERROR", "answer: b.org. 8 IN A 192.0.2.1", "answer: EXAMPLE.org. 9 IN CNAME B.ORG."], 8, SUCCESS),
    ("cache", A, &["NOERROR", "answer: example.org. 9 IN CNAME b.org."], 9, None),
    ("cache", A, &["NOERROR", "answer: example.org. 9 IN CNAME b.org.", "authority: org. 60 IN SOA ns.org. mail.org. 1 2 3 4 5"], 9, DENIAL),
    ("cache", A, &["NOERROR", "answer: example.org. 9 IN CNAME b.org.", "answer: b.org. 9 IN CNAME example.org."], 9, None),
    ("cache", A, &["NOERROR", "answer: example.org. 9 IN CNAME b.org.", "answer: example.org. 9 IN CNAME c.org.", "answer: b.org. 9 IN A 192.0.2.1"], 9, None),
    ("cache", A, &["NOERROR", "answer: example.org. 9 IN CNAME b.org.", "answer: example.org. 9 IN CNAME B.org.", "answer: b.org. 9 IN A 192.0.2.1"], 9, SUCCESS),
    ("cache", A, &["NOERROR", "answer: other.org. 9 IN A 192.0.2.1"], 9, None),
    ("cache", RecordType::CNAME, &["NOERROR", "answer: example.org. 9 IN CNAME b.org."], 9, SUCCESS),
    ("cache", RecordType::ANY, &["NOERROR", "answer: example.org. 9 IN TXT \"x\""], 9, SUCCESS),
    ("cache", RecordType::ANY, &["NOERROR", "answer: other.org. 9 IN TXT \"x\""], 9, None),
    ("cache", A, &["NOERROR", "answer: example.org. 9 CH A 192.0.2.1"], 9, None),
    // Zone transfers.
    ("cache", RecordType::AXFR, &["NOERROR", "answer: example.org. 9 IN NS ns.org."], 5, None),
    // Disabled sides; the TTL is capped all the same.
    ("cache 30 {\ndisable success example.org\n}", A, &["NOERROR", "answer: example.org. 300 IN A 192.0.2.1"], 30, None),
    ("cache 30 {\ndisable denial\n}", A, &["NXDOMAIN", "authority: org. 60 IN SOA ns.org. mail.org. 1 2 3 4 5"], 30, None),
    ("cache 30 {\ndisable denial\n}", A, &["SERVFAIL"], 0, None),
    ("cache 30 {\ndisable denial\ndisable success\n}", A, &["NOERROR", "answer: example.org. 300 IN A 192.0.2.1"], 30, None),
    ("cache 30 {\ndisable success example.net\n}", A, &["NOERROR", "answer: example.org. 300 IN A 192.0.2.1"], 30, SUCCESS),
];

#[test]
fn replies_are_kept_by_kind_and_their_ttls_made_one() {
    for &(options, qtype, script, ttl, side) in CASES {
        let world = World::new(options, move |query| {
            let mut reply = reply(query, script);
            reply.set(flags::QR, true);
            reply.into()
        });
        let answer = world.answer(&world.query("example.org.", qtype));
        let seen = answer.reply().expect("a reply");
        assert!(seen.entries().all(|entry| entry.ttl == ttl), "{options}: {script:?}: {seen:?}");
        for each in Side::BOTH {
            let entries = world.shared.store.entries(each);
            assert_eq!(entries, usize::from(side == Some(each)), "{options}: {script:?}: {each:?}");
        }
    }
}

#[test]
fn a_server_error_is_kept_for_five_seconds() {
    let world = World::replying("cache", SERVFAIL);
    world.ask("example.org.");
    world.pass(4);
    world.ask("example.org.");
    assert_eq!(world.asked(), 1);
    world.pass(1);
    world.ask("example.org.");
    assert_eq!(world.asked(), 2);
}

#[test]
fn what_no_plugin_wrote_is_not_kept() {
    let world = World::new("cache", |_| Failure::silent(Rcode::SERVFAIL, "scripted").into());
    for _ in 0..2 {
        assert_eq!(world.ask("example.org."), ["SERVFAIL qr rd"]);
    }
    assert_eq!(world.asked(), 2);
}

#[test]
fn a_reply_without_the_response_flag_is_dropped_and_counted() {
    let world = World::replying("cache", &["NOERROR", "answer: example.org. 300 IN A 192.0.2.1"]);
    world.ask("example.org.");
    world.ask("example.org.");
    assert_eq!(world.asked(), 2);
    assert_eq!(world.metric("coredns_cache_drops_total", None), 2.0);
}

#[test]
fn a_live_reply_looks_like_any_other_but_is_not_kept() {
    for script in [POSITIVE, NXDOMAIN] {
        let world = World::new("cache 30", move |query| {
            Reply { live: true, ..reply(query, script) }.into()
        });
        for _ in 0..2 {
            let answer = world.answer(&world.query("example.org.", A));
            let ttls: Vec<u32> =
                answer.reply().expect("a reply").entries().map(|entry| entry.ttl).collect();
            assert_eq!(ttls, [30]);
            world.pass(1);
        }
        assert_eq!(world.asked(), 2);
        assert_eq!(Side::BOTH.map(|side| world.shared.store.entries(side)), [0, 0]);
    }
}

#[test]
fn the_opt_record_of_a_reply_ends_here() {
    let world = World::new("cache", |query| {
        let mut reply = reply(query, POSITIVE);
        reply.opt = Some(Box::new(Edns { options: vec![0, 15, 0, 2, 0, 1], ..Edns::default() }));
        reply.into()
    });
    for _ in 0..2 {
        let query = with_edns(world.query("example.org.", A), false);
        assert_eq!(world.answer(&query).reply().map(|reply| reply.opt.is_some()), Some(false));
    }
    assert_eq!(world.asked(), 1);
}

#[test]
fn notifications_are_not_answered_from_the_cache() {
    let world = World::replying("cache", POSITIVE);
    world.ask("example.org.");
    let mut query = world.query("example.org.", A);
    query.flags = u16::from(opcode::NOTIFY) << 11;
    world.answer(&query);
    assert_eq!(world.asked(), 2);
}

#[test]
fn another_class_is_another_question() {
    let world = World::replying("cache", POSITIVE);
    let server = &world.shared.store;
    let mut query = world.query("example.org.", A);
    world.answer(&query);
    query.class = Class::CH;
    assert!(server.view().find(server.question(&query), Side::Success).is_none());
}

#[test]
fn a_chain_too_long_to_follow_is_passed_on_but_not_kept() {
    let world = World::new("cache", |query| {
        let mut lines = vec!["NOERROR qr".to_owned()];
        lines.push("answer: example.org. 60 IN CNAME a0.org.".into());
        lines.extend((0..40).map(|i| format!("answer: a{i}.org. 60 IN CNAME a{}.org.", i + 1)));
        lines.push("answer: a40.org. 60 IN A 192.0.2.1".into());
        reply(query, &lines.iter().map(String::as_str).collect::<Vec<_>>()).into()
    });
    for _ in 0..2 {
        let query = with_edns(world.query("example.org.", A), false);
        let answer = world.answer(&query);
        assert_eq!(answer.reply().map(|reply| reply.answer.len()), Some(42));
    }
    assert_eq!(world.asked(), 2);
}

#[test]
fn what_one_client_is_told_for_the_way_it_asks_is_not_kept_for_all() {
    let referral: &[&str] = &["NOERROR qr ra", "authority: org. 86400 IN NS ns.org."];
    let cases = [
        (referral, false),
        (&["NOERROR qr ra"], false),
        (SERVFAIL, false),
        (&["NOTIMP qr ra"], false),
        (NXDOMAIN, true),
        (NODATA, true),
        (POSITIVE, true),
    ];
    for (script, kept) in cases {
        let query = World::replying("cache", script).query("example.org.", A);
        // Over TCP is usual enough.
        for odd in odd(&query).iter().filter(|odd| odd.transport == Transport::Udp) {
            let world = World::replying("cache", script);
            world.ask_query(odd);
            world.reply_with(OTHER);
            assert_eq!(world.ask("example.org.") != OTHER, kept, "{script:?}: {odd:?}");
        }
    }
}
