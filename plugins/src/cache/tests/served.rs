//! What a client gets from the cache.

use periplus_core::codes::{Class, RecordType, flags};
use periplus_core::query::{Query, Transport};

use super::{NODATA, NXDOMAIN, OTHER, POSITIVE, SERVFAIL, World, changed, with_edns};

const MISS: &[&str] = &["NOERROR qr rd ra", "answer: example.org. 300 IN A 192.0.2.1"];

fn hit(ttl: u32) -> Vec<String> {
    vec!["NOERROR qr aa rd ra".into(), format!("answer: example.org. {ttl} IN A 192.0.2.1")]
}

#[test]
fn the_ttl_counts_down_and_then_the_source_is_asked_again() {
    let world = World::replying("cache", POSITIVE);
    assert_eq!(world.ask("example.org."), MISS);
    for (seconds, ttl) in [(0, 300), (1, 299), (289, 10), (9, 1)] {
        world.pass(seconds);
        assert_eq!(world.ask("example.org."), hit(ttl));
    }
    assert_eq!(world.asked(), 1);
    world.pass(1);
    assert_eq!(world.ask("example.org."), MISS);
    assert_eq!(world.asked(), 2);
}

#[test]
fn keepttl_leaves_the_ttl_as_it_was() {
    let world = World::replying("cache {\nkeepttl\n}", POSITIVE);
    world.ask("example.org.");
    world.pass(299);
    assert_eq!(world.ask("example.org."), hit(300));
    world.pass(1);
    world.ask("example.org.");
    assert_eq!(world.asked(), 2);
}

#[test]
fn every_kind_of_kept_reply_is_given_again() {
    let cases: &[(&[&str], &[&str])] = &[
        (
            NXDOMAIN,
            &["NXDOMAIN qr aa rd ra", "authority: org. 899 IN SOA ns.org. mail.org. 1 2 3 4 5"],
        ),
        (
            NODATA,
            &[
                "NOERROR qr aa rd ra",
                "authority: example.org. 899 IN SOA ns.org. mail.org. 1 2 3 4 5",
            ],
        ),
        (SERVFAIL, &["SERVFAIL qr aa rd ra"]),
        (
            &[
                "NOERROR qr rd",
                "answer: example.org. 20 IN CNAME a.example.net.",
                "answer: a.example.net. 10 IN A 192.0.2.1",
                "authority: example.net. 30 IN NS ns.example.net.",
                "additional: ns.example.net. 40 IN A 192.0.2.53",
            ],
            &[
                "NOERROR qr aa rd",
                "answer: example.org. 9 IN CNAME a.example.net.",
                "answer: a.example.net. 9 IN A 192.0.2.1",
                "authority: example.net. 9 IN NS ns.example.net.",
                "additional: ns.example.net. 9 IN A 192.0.2.53",
            ],
        ),
    ];
    for &(reply, expected) in cases {
        let world =
            World::new("cache", move |query| crate::testing::replies::reply(query, reply).into());
        world.ask("example.org.");
        world.pass(1);
        assert_eq!(world.ask("example.org."), expected);
        assert_eq!(world.asked(), 1);
    }
}

#[test]
fn the_reply_is_the_clients_own() {
    let world = World::replying("cache", POSITIVE);
    world.ask("example.org.");
    let mut query = world.query("eXaMpLe.OrG.", RecordType::A);
    query.flags = 0;
    let lines = world.ask_query(&query);
    assert_eq!(lines, ["NOERROR qr aa ra", "answer: eXaMpLe.OrG. 300 IN A 192.0.2.1"]);
    assert_eq!(world.asked(), 1);
}

#[test]
fn authenticated_data_is_told_only_to_those_who_ask() {
    type Change = fn(Query) -> Query;
    let options: &[(Change, bool)] = &[
        (|query| query, false),
        (|query| with_edns(query, false), false),
        (|query| with_edns(query, true), true),
        (
            |mut query| {
                query.flags |= flags::AD;
                query
            },
            true,
        ),
    ];
    for (change, told) in options {
        let world = World::replying(
            "cache",
            &["NOERROR qr rd ra ad", "answer: example.org. 300 IN A 192.0.2.1"],
        );
        let query = change(world.query("example.org.", RecordType::A));
        for _ in 0..2 {
            let answer = world.answer(&query);
            assert_eq!(answer.reply().expect("a reply").has(flags::AD), *told);
        }
        assert_eq!(world.asked(), 1);
        assert!(world.last_asked().has(flags::AD), "upstreams are always asked for AD");
    }
}

#[test]
fn all_that_changes_the_answer_is_part_of_the_question() {
    let world = World::replying("cache", POSITIVE);
    let plain = || world.query("example.org.", RecordType::A);
    let others: Vec<Query> = vec![
        plain(),
        world.query("www.example.org.", RecordType::A),
        world.query("example.org.", RecordType::MX),
        changed(plain(), |query| query.class = Class::CH),
        changed(plain(), |query| query.flags |= flags::CD),
        with_edns(plain(), true),
    ];
    let question = |query| world.shared.store.question(query);
    for (index, one) in others.iter().enumerate() {
        for (other_index, other) in others.iter().enumerate() {
            let same = question(one).to_owned().is(question(other));
            assert_eq!(same, index == other_index, "{index} and {other_index}");
        }
    }
    let same = [
        changed(plain(), |query| query.flags = flags::AD),
        changed(plain(), |query| query.transport = Transport::Tcp),
        with_edns(plain(), false),
        world.query("EXAMPLE.org.", RecordType::A),
    ];
    for query in &same {
        assert!(question(&others[0]).to_owned().is(question(query)));
    }
}

#[test]
fn names_outside_the_zones_pass_by_unchanged() {
    let world = World::replying(
        "cache 10 example.org",
        &["NOERROR qr rd ra ad", "answer: example.net. 300 IN A 192.0.2.1"],
    );
    for _ in 0..2 {
        assert_eq!(
            world.ask("example.net."),
            ["NOERROR qr rd ra ad", "answer: example.net. 300 IN A 192.0.2.1"]
        );
    }
    assert_eq!(world.asked(), 2);
    assert_eq!(world.metric("coredns_cache_requests_total", None), 0.0);
}

#[test]
fn a_denial_goes_before_an_answer_but_a_server_failure_does_not() {
    for (refreshed, first) in
        [(NXDOMAIN, "NXDOMAIN qr aa rd ra"), (SERVFAIL, "NOERROR qr aa rd ra")]
    {
        let world = World::replying("cache {\nprefetch 1 1m 90%\n}", POSITIVE);
        world.ask("example.org.");
        world.pass(31);
        world.reply_with(refreshed);
        world.ask("example.org.");
        world.after_asked(2);
        assert_eq!(world.ask("example.org.")[0], first);
    }
}

#[test]
fn a_refreshed_answer_removes_the_denial() {
    let world = World::replying("cache {\nprefetch 1 1m 90%\n}", NXDOMAIN);
    world.ask("example.org.");
    world.reply_with(OTHER);
    world.pass(91);
    world.ask("example.org.");
    world.after_asked(2);
    assert_eq!(
        world.ask("example.org."),
        ["NOERROR qr aa rd ra", "answer: example.org. 300 IN A 192.0.2.2"]
    );
    assert_eq!(world.metric("coredns_cache_entries", Some("denial")), 0.0);
}
