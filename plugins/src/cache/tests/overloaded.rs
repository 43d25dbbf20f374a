//! Questions that the server has no time to wait for.

use std::sync::Arc;
use std::time::Duration;

use periplus_core::codes::RecordType;
use periplus_core::plugin::Outcome;
use periplus_core::query::Query;
use tokio::sync::Semaphore;

use super::{OTHER, POSITIVE, World};
use crate::testing::{RUNTIME, delayed, eventually, lines, replies::reply};

const OLD: &str = "answer: example.org. 30 IN A 192.0.2.1";
const FRESH_HIT: &[&str] = &["NOERROR qr aa rd ra", "answer: example.org. 300 IN A 192.0.2.2"];

/// What is said at once; `None`: nothing.
fn at_once(world: &World, query: &Query) -> Option<Vec<String>> {
    let _context = RUNTIME.enter();
    match world.server.dispatch_in_time(query, false) {
        Outcome::Now(answer) => Some(lines(query, &answer)),
        Outcome::Shed => None,
        Outcome::Later(_) => panic!("there is no time to wait"),
    }
}

/// From now on the inner plugin takes a moment.
fn slow(world: &World) {
    world.script(|query| delayed(reply(query, OTHER).into(), Duration::from_millis(1)));
}

/// A world whose entry for `example.org.` is over, and whose inner plugin takes a moment.
fn overdue(options: &str) -> World {
    let world = World::replying(options, POSITIVE);
    world.ask("example.org.");
    world.pass(310);
    slow(&world);
    world
}

#[test]
fn what_is_at_hand_is_answered() {
    let world = World::replying("cache", POSITIVE);
    let query = world.query("example.org.", RecordType::A);
    assert_eq!(at_once(&world, &query).expect("answered"), POSITIVE);
    assert_eq!(at_once(&world, &query).expect("answered")[1], POSITIVE[1]);
    assert_eq!(world.asked(), 1);
}

#[test]
fn a_miss_is_shed_and_nobody_waits_for_it() {
    let world = World::replying("cache", POSITIVE);
    slow(&world);
    let query = world.query("example.org.", RecordType::A);
    for _ in 0..2 {
        assert_eq!(at_once(&world, &query), None);
    }
    // Each has looked for an answer further in: none of them left an exchange to wait for, nor a failure that would be remembered.
    assert_eq!(world.asked(), 2);
    assert_eq!(world.ask_query(&query), OTHER);
}

#[test]
fn nobody_joins_the_exchange_of_another() {
    let gate = Arc::new(Semaphore::new(0));
    let world = World::new("cache", {
        let gate = Arc::clone(&gate);
        move |query| {
            let (gate, query) = (Arc::clone(&gate), query.clone());
            Outcome::later(async move {
                gate.acquire().await.expect("never closed").forget();
                reply(&query, POSITIVE).into()
            })
        }
    });
    let query = world.query("example.org.", RecordType::A);
    let _context = RUNTIME.enter();
    let first = world.server.dispatch(&query);
    assert_eq!(at_once(&world, &query), None);
    gate.add_permits(1);
    assert_eq!(lines(&query, &RUNTIME.block_on(first.wait())), POSITIVE);
    assert_eq!(world.asked(), 1);
}

#[test]
fn an_old_answer_is_better_than_none_and_is_refreshed() {
    let world = overdue("cache");
    let query = world.query("example.org.", RecordType::A);
    assert_eq!(at_once(&world, &query).expect("an old answer")[1], OLD);
    assert_eq!(world.metric("coredns_cache_served_stale_total", None), 1.0);
    assert_eq!(world.metric("coredns_cache_prefetch_total", None), 1.0);
    eventually("it is refreshed", || at_once(&world, &query).unwrap() == FRESH_HIT);
}

#[test]
fn who_would_verify_an_old_answer_gets_it() {
    for options in ["serve_stale 1h verify", "serve_stale 1h verify 500ms"] {
        let world = overdue(&format!("cache {{\n{options}\n}}"));
        let query = world.query("example.org.", RecordType::A);
        let old = at_once(&world, &query).expect("an old answer");
        assert_eq!(old[1], "answer: example.org. 0 IN A 192.0.2.1", "{options}");
        eventually("it is refreshed", || at_once(&world, &query).unwrap() == FRESH_HIT);
    }
}

#[test]
fn without_old_answers_nothing_is_said() {
    let world = overdue("cache {\nserve_stale off\n}");
    let query = world.query("example.org.", RecordType::A);
    assert_eq!(at_once(&world, &query), None);
}
