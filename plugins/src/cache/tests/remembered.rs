//! Failures to resolve a question (RFC 9520).

use std::time::Duration;

use periplus_core::codes::{Rcode, RecordType, edns_option};
use periplus_core::encode::failure_reply;
use periplus_core::plugin::Outcome;
use periplus_core::query::Query;
use periplus_core::reply::{Answer, ExtendedError, Failure, FailureKind};

use super::{POSITIVE, SERVFAIL, World, changed, odd, with_edns};
use crate::testing::{name, replies::reply};

fn unresolved() -> Failure {
    let extended = ExtendedError { code: 22, text: "nobody".into() };
    Failure::servfail("scripted", "i/o timeout")
        .with_extended_error(extended)
        .of_kind(FailureKind::Resolution)
}

fn failing(options: &str) -> World {
    World::new(options, |_| unresolved().into())
}

#[test]
fn a_failure_is_told_again_without_asking() {
    let world = failing("cache");
    for spelled in ["example.org.", "Example.ORG.", "example.org."] {
        let query = with_edns(world.query(spelled, RecordType::A), false);
        let answer = world.answer(&query);
        let Answer::Failure(failure) = &answer else { panic!("{answer:?}") };
        assert_eq!(failure.cause.as_ref().map(|cause| cause.text.as_str()), Some("i/o timeout"));
        let reply = failure_reply(&query, failure);
        let opt = reply.opt.as_ref().expect("an OPT record");
        let codes: Vec<u8> = opt.options().map(|(_, data)| data[1]).collect();
        assert!(opt.options().all(|(code, _)| code == edns_option::EDE));
        let first = failure.kind == FailureKind::Resolution;
        assert_eq!(codes, if first { vec![22] } else { vec![22, 13] });
        assert_eq!(first, spelled == "example.org." && world.asked() == 1 && codes.len() == 1);
    }
    assert_eq!(world.asked(), 1);
    assert_eq!(world.metric("coredns_cache_hits_total", Some("denial")), 2.0);
    assert_eq!(world.metric("coredns_cache_misses_total", None), 1.0);
    assert_eq!(world.metric("coredns_cache_entries", Some("denial")), 0.0);
}

#[test]
fn other_questions_are_asked() {
    let world = failing("cache");
    let query = world.query("example.org.", RecordType::A);
    let others = [
        query.clone(),
        changed(query.clone(), |query| query.qtype = RecordType::AAAA),
        with_edns(query.clone(), true),
        changed(query.clone(), |query| query.set_name(name("www.example.org.").as_ref())),
    ];
    let others: Vec<Query> = others.into_iter().chain(odd(&query)).collect();
    for query in &others {
        world.answer(query);
    }
    assert_eq!(world.asked(), others.len());
}

#[test]
fn the_first_failure_holds_for_a_second_and_those_that_follow_for_longer() {
    // Asked every half second.
    for (options, expected) in [
        ("cache", [1, 1, 2, 2, 2, 3, 3, 3, 4]),
        ("cache {\nservfail 1s\n}", [1, 1, 2, 2, 3, 3, 4, 4, 5]),
        ("cache {\nservfail 0\n}", [2, 4, 6, 8, 10, 12, 14, 16, 18]),
    ] {
        let world = failing(options);
        for (halves, asked) in expected.into_iter().enumerate() {
            world.ask("example.org.");
            world.ask("example.org.");
            assert_eq!(world.asked(), asked, "{options}: after {halves} half seconds");
            world.wait(Duration::from_millis(500));
        }
        // Long after it is a first failure again.
        world.pass(60);
        world.ask("example.org.");
        world.pass(1);
        world.reply_with(POSITIVE);
        assert_eq!(world.ask("example.org."), POSITIVE, "{options}");
    }
}

#[test]
fn only_failures_of_resolution_are_remembered() {
    type Script = fn(&Query) -> Outcome;
    let cases: &[(&str, Script, usize)] = &[
        ("cache", |_| Failure::servfail("kubernetes", "not synced").into(), 3),
        ("cache", |_| Failure::silent(Rcode::SERVFAIL, "hosts").into(), 3),
        (
            "cache",
            |_| Failure::servfail("forward", "too many").of_kind(FailureKind::Rejected).into(),
            3,
        ),
        ("cache", |_| Outcome::Now(Answer::Silence), 3),
        ("cache {\ndisable denial\n}", |_| unresolved().into(), 3),
        ("cache {\ndisable success\n}", |_| unresolved().into(), 1),
        ("cache example.net", |_| unresolved().into(), 3),
        // What an upstream says of itself is kept as ever.
        ("cache", |query| reply(query, SERVFAIL).into(), 1),
    ];
    for (index, (options, script, asked)) in cases.iter().enumerate() {
        let world = World::new(options, *script);
        for _ in 0..3 {
            world.ask("example.org.");
        }
        assert_eq!(world.asked(), *asked, "case {index}");
    }
    let world = failing("cache");
    for _ in 0..3 {
        world.answer(&world.query("1.2.", RecordType::HINFO));
    }
    assert_eq!(world.asked(), 3, "the probe of `loop` is asked each time");
}

#[test]
fn what_is_remembered_is_bounded_and_goes_away() {
    let world = failing("cache");
    for index in 0..10_000 {
        world.ask(&format!("n{index}.example.org."));
    }
    let count = world.shared.failures.count();
    assert!((2000..=4096).contains(&count), "{count}");
    assert_eq!(world.ask("n9999.example.org."), ["SERVFAIL qr rd"]);
    assert_eq!(world.asked(), 10_000, "the newest is remembered");
    world.pass(3);
    world.shared.failures.sweep((world.shared.clock)());
    assert_eq!(world.shared.failures.count(), 0);
}
