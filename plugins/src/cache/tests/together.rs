//! Many who ask the same at the same time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use periplus_core::codes::{Rcode, RecordType, edns_option, flags};
use periplus_core::plugin::{Later, Outcome};
use periplus_core::query::{Query, Transport};
use periplus_core::reply::{Answer, Failure};
use tokio::sync::Semaphore;

use super::{POSITIVE, World, changed, odd, unresolved, with_edns, with_option};
use crate::testing::{RUNTIME, lines, replies::reply};

/// A world whose source answers once for each permit.
fn gated(script: impl Fn(&Query) -> Answer + Send + Sync + 'static) -> (World, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let script = Arc::new(script);
    let world = World::new("cache", {
        let gate = Arc::clone(&gate);
        move |query| {
            let (gate, query, script) = (Arc::clone(&gate), query.clone(), Arc::clone(&script));
            Outcome::later(async move {
                gate.acquire().await.expect("the gate is never closed").forget();
                script(&query)
            })
        }
    });
    (world, gate)
}

fn begin(world: &World, query: &Query) -> Later {
    let _context = RUNTIME.enter();
    match world.server.dispatch(query) {
        Outcome::Later(future) => future,
        Outcome::Now(answer) => panic!("answered at once: {answer:?}"),
        Outcome::Shed => panic!("there is time to wait"),
    }
}

fn finish(futures: Vec<Later>) -> Vec<Answer> {
    let all = async { tokio::time::timeout(Duration::from_secs(30), join_all(futures)).await };
    RUNTIME.block_on(all).expect("nobody is left behind")
}

#[test]
fn ten_thousand_same_questions_are_one_upstream() {
    let (world, gate) = gated(|query| reply(query, POSITIVE).into());
    let queries: Vec<Query> = (0..10_000)
        .map(|index| {
            let spelled = if index % 4 < 2 { "example.org." } else { "EXAMPLE.ORG." };
            let mut query = world.query(spelled, RecordType::A);
            query.id = index;
            if index % 3 == 0 {
                query.flags |= flags::AD;
            }
            if index % 5 > 0 {
                return query;
            }
            let mut query = with_edns(query, false);
            query.edns.as_mut().expect("just set").udp_size += index;
            query
        })
        .collect();
    let futures: Vec<Later> = queries.iter().map(|query| begin(&world, query)).collect();
    assert_eq!(world.asked(), 1);
    gate.add_permits(1);
    for (query, answer) in queries.iter().zip(finish(futures)) {
        let name = query.spelled();
        let expected =
            ["NOERROR qr rd ra".to_owned(), format!("answer: {name} 300 IN A 192.0.2.1")];
        assert_eq!(lines(query, &answer), expected);
    }
    assert_eq!(world.asked(), 1);
    assert_eq!(world.metric("coredns_cache_misses_total", None), 10_000.0);
    assert_eq!(world.metric("coredns_cache_entries", Some("success")), 1.0);
}

#[test]
fn a_failure_is_shared() {
    let (world, gate) = gated(|_| Failure::servfail("scripted", "unreachable").into());
    let query = world.query("example.org.", RecordType::A);
    let futures = (0..5).map(|_| begin(&world, &query)).collect();
    gate.add_permits(1);
    for answer in finish(futures) {
        assert!(matches!(&answer, Answer::Failure(failure) if failure.cause.is_some()));
    }
    assert_eq!(world.asked(), 1);
}

#[test]
fn whoever_waited_for_a_client_that_went_away_asks_for_itself() {
    let (world, gate) = gated(|query| reply(query, POSITIVE).into());
    let query = world.query("example.org.", RecordType::A);
    for _ in 0..10 {
        let leader = begin(&world, &query);
        let waiting: Vec<Later> = (0..3).map(|_| begin(&world, &query)).collect();
        let before = world.asked();
        drop(leader);
        gate.add_permits(1);
        for answer in finish(waiting) {
            assert_eq!(lines(&query, &answer)[1], "answer: example.org. 300 IN A 192.0.2.1");
        }
        assert_eq!(world.asked(), before + 1, "one of them led the others");
        world.pass(300);
        // Each round begins with nothing kept.
        world
            .shared
            .store
            .remove(world.shared.store.question(&query), super::super::side::Side::Success);
    }
}

#[test]
fn who_waits_for_clients_that_go_away_one_after_another_is_answered_within_five_seconds() {
    for options in ["cache", "cache {\nserve_stale 1h verify\n}"] {
        let world = World::replying(options, POSITIVE);
        let is_stale = options != "cache";
        if is_stale {
            world.ask("example.org.");
            world.pass(310);
        }
        // As long as `forward` takes at the most.
        world.script(|_| {
            Outcome::later(async {
                tokio::time::sleep(Duration::from_millis(4500)).await;
                unresolved().into()
            })
        });
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().start_paused(true).build().expect("a runtime");
        runtime.block_on(async {
            let query = world.query("example.org.", RecordType::A);
            let begun = tokio::time::Instant::now();
            let mut clients = VecDeque::new();
            for _ in 0..10 {
                let outcome = world.server.dispatch(&query);
                let ended = async move { (outcome.wait().await, begun.elapsed()) };
                clients.push_back(tokio::spawn(ended));
            }
            // Who leads goes away, and the first of those who wait leads the others.
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_millis(900)).await;
                clients.pop_front().expect("some are left").abort();
            }
            assert!(world.asked() >= 5, "{options}");
            for client in clients {
                let (answer, took) = client.await.expect("it has an answer");
                assert!(took < Duration::from_secs(5), "{options}: {took:?}");
                let rcode = if is_stale { "NOERROR" } else { "SERVFAIL" };
                assert!(lines(&query, &answer)[0].starts_with(rcode), "{options}: {answer:?}");
            }
        });
    }
}

#[test]
fn a_reply_cut_for_one_client_is_not_given_to_one_who_can_take_more() {
    let (world, gate) = gated(|query| {
        let mut reply = reply(query, POSITIVE);
        reply.set(flags::TC, query.response_limit() < 4096);
        reply.into()
    });
    let small = with_edns(world.query("example.org.", RecordType::A), false);
    let large = changed(small.clone(), |query| {
        query.edns.as_mut().expect("it has EDNS").udp_size = 4096;
    });
    let futures = vec![begin(&world, &small), begin(&world, &small), begin(&world, &large)];
    assert_eq!(world.asked(), 1);
    gate.add_permits(2);
    let cut: Vec<bool> = finish(futures)
        .iter()
        .map(|answer| answer.reply().expect("a reply").has(flags::TC))
        .collect();
    assert_eq!(cut, [true, true, false]);
    assert_eq!(world.asked(), 2);
}

#[test]
fn different_questions_do_not_wait_for_each_other() {
    let (world, gate) = gated(|query| reply(query, POSITIVE).into());
    let queries = [
        world.query("example.org.", RecordType::A),
        world.query("example.org.", RecordType::AAAA),
        world.query("www.example.org.", RecordType::A),
        with_edns(world.query("example.org.", RecordType::A), true),
        // A lookup that a plugin makes might wait for itself.
        changed(world.query("example.org.", RecordType::A), |query| query.depth = 1),
    ];
    let futures = queries.iter().map(|query| begin(&world, query)).collect();
    assert_eq!(world.asked(), 5);
    gate.add_permits(5);
    finish(futures);
}

#[test]
fn a_probe_that_comes_back_does_not_wait_for_itself() {
    let (world, gate) = gated(|query| reply(query, POSITIVE).into());
    let probe = world.query("1.2.", RecordType::HINFO);
    let futures = (0..3).map(|_| begin(&world, &probe)).collect();
    assert_eq!(world.asked(), 3);
    gate.add_permits(3);
    finish(futures);
}

#[test]
fn one_clients_odd_request_fails_for_itself_alone() {
    let (world, gate) = gated(|query| {
        let is_bare = query
            .edns
            .as_ref()
            .is_none_or(|edns| edns.options.is_empty() && (edns.flags, edns.version) == (0, 0));
        let ordinary = query.flags & !flags::AD == flags::RD && is_bare;
        reply(query, if ordinary { POSITIVE } else { &["REFUSED qr"] }).into()
    });
    let query = world.query("example.org.", RecordType::A);
    let odd = odd(&query);
    let queries = || odd.iter().chain([&query]);
    // Of each kind two.
    let futures: Vec<Later> =
        queries().chain(queries()).map(|query| begin(&world, query)).collect();
    let kinds = queries().count();
    assert_eq!(world.asked(), 4);
    gate.add_permits(4);
    let answers = finish(futures);
    for (index, (query, answer)) in queries().chain(queries()).zip(&answers).enumerate() {
        let reply = answer.reply().expect("a reply");
        // The first two kinds are asked as they are; all others are told what usual clients are.
        let is_refused = index % kinds < 2;
        assert_eq!(reply.rcode == Rcode::REFUSED, is_refused, "{query:?}");
        assert!(is_refused || reply.has(flags::RD) == query.has(flags::RD), "{query:?}");
    }
    assert_eq!(world.asked(), 4);
}

#[test]
fn a_question_in_a_thousand_shapes_is_four_upstream() {
    // What is kept, what is cut and therefore is not, and what is no answer.
    let cut: &[&str] = &["NOERROR qr tc rd ra"];
    for script in [POSITIVE, cut, &["REFUSED qr rd"]] {
        let (world, gate) = gated(move |query| reply(query, script).into());
        let query = world.query("example.org.", RecordType::A);
        let mut queries: Vec<Query> =
            (0..1000).map(|length| with_option(query.clone(), 65001, &vec![0; length])).collect();
        queries.push(changed(query.clone(), |query| query.transport = Transport::Tcp));
        queries.push(query);
        for (id, query) in (0..).zip(&mut queries) {
            query.id = id;
        }
        let futures: Vec<Later> = queries.iter().map(|query| begin(&world, query)).collect();
        assert_eq!(world.asked(), 4);
        gate.add_permits(10);
        for (query, answer) in queries.iter().zip(finish(futures)) {
            assert_eq!(lines(query, &answer), script);
        }
    }
}

/// The first one leads the others and gets FORMERR, as does who asked exactly so; then one of the others leads.
fn only_the_first_is_at_fault(world: &World, gate: &Semaphore, queries: &[Query]) {
    let queries: Vec<&Query> = queries.iter().chain(&queries[..1]).collect();
    let futures = queries.iter().map(|query| begin(world, query)).collect();
    assert_eq!(world.asked(), 1);
    gate.add_permits(2);
    let answers = finish(futures);
    let rcodes = answers.iter().map(|answer| answer.reply().expect("a reply").rcode);
    assert!(rcodes.eq([Rcode::FORMERR, Rcode::NOERROR, Rcode::NOERROR, Rcode::FORMERR]));
    assert_eq!(world.asked(), 2);
}

#[test]
fn an_error_for_edns_is_not_for_those_without() {
    let (world, gate) = gated(|query| {
        reply(query, if query.edns.is_some() { &["FORMERR qr"] } else { POSITIVE }).into()
    });
    let query = world.query("example.org.", RecordType::A);
    let queries = [with_edns(query.clone(), false), query.clone(), query];
    only_the_first_is_at_fault(&world, &gate, &queries);
}

#[test]
fn options_of_one_length_are_one_question_but_an_error_to_one_is_not_for_the_others() {
    let (world, gate) = gated(|query| {
        let edns = query.edns.as_ref().expect("all have one");
        let is_bad = edns.options().any(|(_, data)| data == b"bad bad ");
        reply(query, if is_bad { &["FORMERR qr"] } else { POSITIVE }).into()
    });
    let query = world.query("example.org.", RecordType::A);
    let ask = |cookie| with_option(query.clone(), edns_option::COOKIE, cookie);
    let queries = [ask(b"bad bad "), ask(b"12345678"), ask(b"abcdefgh")];
    only_the_first_is_at_fault(&world, &gate, &queries);
}
