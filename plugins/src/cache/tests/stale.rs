//! Answers from entries whose TTL is over (RFC 8767).

use std::sync::Arc;

use futures::future::join_all;
use periplus_core::codes::{Rcode, RecordType, edns_option, flags};
use periplus_core::plugin::Outcome;
use periplus_core::reply::Failure;
use tokio::sync::Semaphore;

use super::super::shared::MOST_ATTEMPTS;
use super::{NODATA, NXDOMAIN, OTHER, POSITIVE, SERVFAIL, World, changed, with_edns};
use crate::testing::{RUNTIME, lines, replies::reply};

const STALE: &[&str] = &["NOERROR qr aa rd ra", "answer: example.org. 0 IN A 192.0.2.1"];
const FRESH_HIT: &[&str] = &["NOERROR qr aa rd ra", "answer: example.org. 300 IN A 192.0.2.2"];
const FRESH: &[&str] = OTHER;

/// A world whose entry for `example.org.` was over `overdue` seconds ago.
fn overdue(options: &str, overdue: u64) -> World {
    let world = World::replying(options, POSITIVE);
    world.ask("example.org.");
    world.pass(300 + overdue);
    world
}

fn failing(world: &World) {
    world.script(|_| Failure::servfail("scripted", "no answer").into());
}

#[test]
fn an_immediate_stale_answer_is_followed_by_a_refresh() {
    let world = overdue("cache {\nserve_stale\n}", 0);
    world.reply_with(OTHER);
    assert_eq!(world.ask("example.org."), STALE);
    world.after_asked(2);
    assert_eq!(world.ask("example.org."), FRESH_HIT);
    assert_eq!(world.metric("coredns_cache_served_stale_total", None), 1.0);
    assert_eq!(world.metric("coredns_cache_prefetch_total", None), 1.0);
}

#[test]
fn the_window_bounds_how_old_an_answer_may_be() {
    for (seconds, served) in [(0, true), (59, true), (60, false), (61, false)] {
        let world = overdue("cache {\nserve_stale 1m\n}", seconds);
        world.reply_with(OTHER);
        let expected = if served { STALE } else { FRESH };
        assert_eq!(world.ask("example.org."), expected, "{seconds} seconds overdue");
    }
}

#[test]
fn the_ttl_of_stale_answers_can_be_chosen() {
    for (options, ttl) in [
        ("serve_stale 1h immediate 30s", 30),
        ("serve_stale 1h immediate 30s\nkeepttl", 30),
        ("serve_stale\nkeepttl", 300),
        ("serve_stale 1h verify 0 7s", 7),
    ] {
        let world = overdue(&format!("cache {{\n{options}\n}}"), 10);
        failing(&world);
        let expected = format!("answer: example.org. {ttl} IN A 192.0.2.1");
        assert_eq!(world.ask("example.org.")[1], expected, "{options}");
    }
}

#[test]
fn clients_with_edns_are_told_that_the_answer_is_stale() {
    for (script, code) in [(POSITIVE, 3), (NXDOMAIN, 19)] {
        let world = World::replying("cache {\nserve_stale\n}", script);
        let query = with_edns(world.query("example.org.", RecordType::A), false);
        world.answer(&query);
        world.pass(1000);
        failing(&world);
        let query = with_edns(world.query("example.org.", RecordType::A), false);
        let answer = world.answer(&query);
        let opt = answer.reply().and_then(|reply| reply.opt.as_ref()).expect("an OPT record");
        let errors: Vec<_> = opt.options().collect();
        assert_eq!(errors, [(edns_option::EDE, [0, code].as_slice())]);
    }
}

#[test]
fn only_an_answer_or_nxdomain_replaces_a_stale_entry() {
    let cases: &[(&[&str], bool)] = &[
        (OTHER, true),
        (NXDOMAIN, true),
        (NODATA, true),
        (SERVFAIL, false),
        (&["REFUSED qr"], false),
        (&["NOERROR qr tc", "answer: example.org. 300 IN A 192.0.2.2"], false),
    ];
    for &(script, replaces) in cases {
        for options in ["serve_stale", "serve_stale 1h verify", "serve_stale 1h verify 10s"] {
            let world = overdue(&format!("cache {{\n{options}\n}}"), 10);
            world.script(move |query| reply(query, script).into());
            world.ask("example.org.");
            world.after_asked(2);
            failing(&world);
            let stale = world.ask("example.org.") == STALE;
            assert_eq!(stale, !replaces, "{options}: {script:?}");
        }
    }
}

#[test]
fn a_failed_refresh_leaves_the_stale_answer() {
    for options in ["serve_stale", "serve_stale 1h verify", "serve_stale 1h verify 10s"] {
        let world = overdue(&format!("cache {{\n{options}\n}}"), 10);
        failing(&world);
        for count in 2..5 {
            assert_eq!(world.ask("example.org."), STALE, "{options}");
            world.after_asked(count);
        }
    }
}

#[test]
fn verify_asks_first() {
    for (options, expected) in [
        ("cache {\nserve_stale 1h verify\n}", FRESH),
        // Here the answer is given out of the cache, as in CoreDNS.
        ("cache {\nserve_stale 1h verify 10s\n}", FRESH_HIT),
    ] {
        let world = overdue(options, 10);
        world.reply_with(OTHER);
        assert_eq!(world.ask("example.org."), expected);
        assert_eq!(world.ask("example.org."), FRESH_HIT);
        assert_eq!(world.asked(), 2);
        assert_eq!(world.metric("coredns_cache_served_stale_total", None), 0.0);
    }
}

#[test]
fn verify_gives_up_after_its_timeout_and_the_exchange_goes_on() {
    let world = overdue("cache {\nserve_stale 1h verify 1ms 0 10s\n}", 10);
    let gate = Arc::new(Semaphore::new(0));
    world.script({
        let gate = Arc::clone(&gate);
        move |query| {
            let (gate, query) = (Arc::clone(&gate), query.clone());
            Outcome::later(async move {
                let _ = gate.acquire().await;
                reply(&query, OTHER).into()
            })
        }
    });
    assert_eq!(world.ask("example.org."), STALE);
    // The first exchange is still under way.
    assert_eq!(world.ask("example.org."), STALE);
    assert_eq!(world.asked(), 2);
    gate.add_permits(1);
    crate::testing::eventually("the exchange ends", || world.ask("example.org.") == FRESH_HIT);
    assert_eq!(world.asked(), 2);
}

#[test]
fn a_recheck_time_keeps_a_failing_source_in_peace() {
    for (options, counted) in [
        ("serve_stale 1h immediate 0 30s", 1),
        ("serve_stale 1h verify 0 0 30s", 1),
        ("serve_stale 1h verify 10s 0 30s", 1),
        ("serve_stale 1h verify", 3),
    ] {
        let world = overdue(&format!("cache {{\n{options}\n}}"), 10);
        failing(&world);
        for _ in 0..3 {
            assert_eq!(world.ask("example.org."), STALE, "{options}");
            world.after_asked(2);
            world.pass(9);
        }
        assert_eq!(world.asked(), 1 + counted, "{options}");
        world.pass(9);
        world.ask("example.org.");
        world.after_asked(2 + counted);
        assert_eq!(world.asked(), 2 + counted, "{options}");
    }
}

#[test]
fn the_preferred_positive_answer_outlives_what_does_not_answer() {
    const EMPTY: &[&str] = &["NOERROR qr rd ra"];
    for script in [NXDOMAIN, NODATA, SERVFAIL, EMPTY] {
        for mode in ["immediate", "verify"] {
            let options =
                format!("cache {{\nserve_stale 1h {mode}\nserve_stale_policy prefer_positive\n}}");
            let world = overdue(&options, 10);
            world.script(move |query| reply(query, script).into());
            for count in 2..4 {
                assert_eq!(world.ask("example.org."), STALE, "{mode}: {script:?}");
                world.after_asked(count);
            }
            world.reply_with(OTHER);
            world.ask("example.org.");
            world.after_asked(4);
            assert_eq!(world.ask("example.org."), FRESH_HIT, "{mode}: {script:?}");
        }
    }
}

#[test]
fn without_the_policy_a_fresh_denial_goes_first() {
    let world = overdue("cache {\nserve_stale\n}", 10);
    world.reply_with(NXDOMAIN);
    world.ask("example.org.");
    world.after_asked(2);
    assert_eq!(world.ask("example.org.")[0], "NXDOMAIN qr aa rd ra");
}

#[test]
fn a_name_that_became_live_is_no_longer_served_stale() {
    for options in ["serve_stale", "serve_stale 1h verify"] {
        let world = overdue(&format!("cache {{\n{options}\n}}"), 10);
        world.script(|query| {
            let mut reply = reply(query, OTHER);
            reply.live = true;
            reply.into()
        });
        world.ask("example.org.");
        world.after_asked(2);
        assert_eq!(world.ask("example.org."), FRESH, "{options}");
    }
}

#[test]
fn a_panic_in_a_refresh_does_not_keep_others_from_refreshing() {
    let world = overdue("cache {\nserve_stale\n}", 10);
    world.script(|_| Outcome::later(async { panic!("a plugin's fault") }));
    world.ask("example.org.");
    world.after_asked(2);
    world.reply_with(OTHER);
    crate::testing::eventually("another refresh", || world.ask("example.org.") == FRESH_HIT);
}

#[test]
fn silence_is_not_a_refresh() {
    let world = overdue("cache {\nserve_stale 1h verify\n}", 10);
    world.script(|_| Outcome::Now(periplus_core::reply::Answer::Silence));
    assert_eq!(world.ask("example.org."), STALE);
    world.script(|_| Failure::silent(Rcode::REFUSED, "scripted").into());
    assert_eq!(world.ask("example.org."), STALE);
}

#[test]
fn who_verifies_the_same_asks_once() {
    const REFUSED: &[&str] = &["REFUSED qr"];
    for (options, script, address) in [
        ("serve_stale 1h verify", OTHER, "192.0.2.2"),
        ("serve_stale 1h verify 10s", OTHER, "192.0.2.2"),
        ("serve_stale 1h verify", REFUSED, "192.0.2.1"),
        ("serve_stale 1h verify 10s", REFUSED, "192.0.2.1"),
    ] {
        let world = overdue(&format!("cache {{\n{options}\n}}"), 10);
        let gate = Arc::new(Semaphore::new(0));
        world.script({
            let gate = Arc::clone(&gate);
            move |query| {
                let (gate, query) = (Arc::clone(&gate), query.clone());
                Outcome::later(async move {
                    let _ = gate.acquire().await;
                    reply(&query, script).into()
                })
            }
        });
        let query = world.query("example.org.", RecordType::A);
        let outcomes: Vec<Outcome> = {
            let _context = RUNTIME.enter();
            (0..100).map(|_| world.server.dispatch(&query)).collect()
        };
        world.after_asked(2);
        gate.add_permits(1);
        let all = join_all(outcomes.into_iter().map(Outcome::wait));
        for answer in RUNTIME.block_on(all) {
            let answer = lines(&query, &answer);
            assert!(answer[1].ends_with(address), "{options}: {answer:?}");
        }
        assert_eq!(world.asked(), 2, "{options}: {script:?}");
    }
}

#[test]
fn exchanges_that_go_on_without_a_client_are_bounded() {
    for options in ["serve_stale", "serve_stale 1h verify 10s", "serve_stale 1h verify 10s 0 30s"] {
        let world = overdue(&format!("cache {{\n{options}\n}}"), 10);
        world.reply_with(OTHER);
        let attempts = Arc::clone(&world.shared.attempts);
        let all = attempts.try_acquire_many(MOST_ATTEMPTS as u32).expect("nobody has one");
        for _ in 0..3 {
            assert_eq!(world.ask("example.org."), STALE, "{options}");
        }
        assert_eq!(world.asked(), 1, "{options}");
        drop(all);
        world.ask("example.org.");
        world.after_asked(2);
        assert_eq!(world.ask("example.org."), FRESH_HIT, "{options}");
    }
}

#[test]
fn one_clients_odd_request_does_not_keep_others_from_what_is_new() {
    for options in [
        "serve_stale 1h immediate 0 30s",
        "serve_stale 1h verify 0 0 30s",
        "serve_stale 1h verify 10s 0 30s",
    ] {
        let world = overdue(&format!("cache {{\n{options}\n}}"), 10);
        world.script(|query| {
            let refused: &[&str] = &["REFUSED qr"];
            reply(query, if query.has(flags::RD) { OTHER } else { refused }).into()
        });
        let query = world.query("example.org.", RecordType::A);
        let odd = changed(query, |query| query.flags = 0);
        assert_eq!(world.ask_query(&odd)[1], STALE[1], "{options}");
        world.after_asked(2);
        assert!(world.ask("example.org.")[1].ends_with("192.0.2.2"), "{options}");
    }
}
