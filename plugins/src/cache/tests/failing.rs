//! Old answers for when the source fails, without `serve_stale` (RFC 8767).

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use periplus_core::codes::{Rcode, RecordType, flags};
use periplus_core::plugin::Outcome;
use periplus_core::query::Query;
use periplus_core::reply::{Answer, Failure, FailureKind};
use tokio::sync::Semaphore;

use super::{
    NODATA, NXDOMAIN, OTHER, POSITIVE, SERVFAIL, World, changed, extended_errors, odd, settings,
    unresolved, with_edns,
};
use crate::testing::{RUNTIME, delayed, eventually, lines, replies::reply};

const STALE: &[&str] = &["NOERROR qr aa rd ra", "answer: example.org. 30 IN A 192.0.2.1"];
const FRESH_HIT: &[&str] = &["NOERROR qr aa rd ra", "answer: example.org. 300 IN A 192.0.2.2"];

fn overdue(options: &str, overdue: u64) -> World {
    let world = World::replying(options, POSITIVE);
    world.ask("example.org.");
    world.pass(300 + overdue);
    world
}

fn failing(world: &World) {
    world.script(|_| unresolved().into());
}

#[test]
fn while_the_source_answers_an_entry_that_is_over_is_a_miss() {
    let cut: &[&str] = &["NOERROR qr tc", "answer: example.org. 300 IN A 192.0.2.2"];
    for script in [OTHER, NXDOMAIN, NODATA, cut] {
        let expected = World::replying("cache", script).ask("example.org.");
        for delay in [false, true] {
            let world = overdue("cache", 10);
            world.script(move |query| {
                let outcome: Outcome = reply(query, script).into();
                if delay { delayed(outcome, Duration::from_millis(1)) } else { outcome }
            });
            assert_eq!(world.ask("example.org."), expected, "{script:?}");
            assert_eq!(world.metric("coredns_cache_misses_total", None), 2.0);
            assert_eq!(world.metric("coredns_cache_hits_total", Some("success")), 0.0);
            assert_eq!(world.metric("coredns_cache_served_stale_total", None), 0.0);
        }
    }
}

#[test]
fn a_plugin_that_does_not_know_the_name_is_no_failing_source() {
    let world = overdue("cache", 10);
    world.script(|_| Failure::silent(Rcode::SERVFAIL, "hosts").into());
    assert_eq!(world.ask("example.org."), ["SERVFAIL qr rd"]);
    world.script(|_| Failure::servfail("kubernetes", "not synced").into());
    assert_eq!(world.ask("example.org."), ["SERVFAIL qr rd"]);
}

#[test]
fn when_the_source_fails_the_old_answer_is_given() {
    type Script = fn(&Query) -> Outcome;
    let cases: [Script; 5] = [
        |_| unresolved().into(),
        |_| {
            let failure = Failure::servfail("forward", "too many").of_kind(FailureKind::Rejected);
            Failure { rcode: Rcode::REFUSED, ..failure }.into()
        },
        |query| reply(query, SERVFAIL).into(),
        |query| reply(query, &["REFUSED qr"]).into(),
        |_| delayed(unresolved().into(), Duration::from_millis(1)),
    ];
    for options in ["cache", "cache {\nkeepttl\n}", "cache {\nservfail 0\n}"] {
        for (index, script) in cases.into_iter().enumerate() {
            let world = overdue(options, 10);
            world.script(script);
            for _ in 0..3 {
                assert_eq!(world.ask("example.org."), STALE, "{options}: case {index}");
            }
            assert_eq!(world.asked(), 2, "{options}: case {index}");
            assert_eq!(world.metric("coredns_cache_served_stale_total", None), 3.0);
            // Nothing that failed is kept: the next attempt may bring the answer.
            world.pass(3);
            world.reply_with(OTHER);
            assert_eq!(world.ask("example.org."), OTHER, "{options}: case {index}");
        }
    }
}

#[test]
fn the_operator_is_told_why_the_old_answer_was_given() {
    let world = overdue("cache", 10);
    failing(&world);
    let query = world.query("example.org.", RecordType::A);
    let causes = [(); 2].map(|()| world.answer(&query).cause().map(|cause| cause.text.clone()));
    assert_eq!(causes, [Some("nobody answers".to_owned()), None]);
}

#[test]
fn who_understands_edns_is_told() {
    for (script, code) in [(POSITIVE, 3), (NXDOMAIN, 19)] {
        let world = World::replying("cache", script);
        let ask = || with_edns(world.query("example.org.", RecordType::A), false);
        assert!(extended_errors(&world.answer(&ask())).is_empty());
        world.pass(1900);
        failing(&world);
        // The first time after asking, the second without.
        for _ in 0..2 {
            assert_eq!(extended_errors(&world.answer(&ask())), [code]);
        }
    }
}

#[test]
fn old_answers_are_given_for_an_hour() {
    for (seconds, given) in [(0, true), (3599, true), (3600, false)] {
        let world = overdue("cache", seconds);
        failing(&world);
        assert_eq!(world.ask("example.org.") == STALE, given, "{seconds} seconds overdue");
    }
}

#[test]
fn serve_stale_decides_where_it_is_given() {
    let world = overdue("cache {\nserve_stale off\n}", 10);
    failing(&world);
    assert_eq!(world.ask("example.org."), ["SERVFAIL qr rd"]);
    let world = overdue("cache {\nserve_stale 1m verify 0\n}", 70);
    failing(&world);
    assert_eq!(world.ask("example.org."), ["SERVFAIL qr rd"]);
}

#[test]
fn a_source_that_failed_is_asked_again_after_one_and_a_half_seconds() {
    let world = overdue("cache", 10);
    failing(&world);
    for (pass, asked) in [(0, 2), (500, 2), (999, 2), (1, 3), (1499, 3), (1, 4)] {
        world.wait(Duration::from_millis(pass));
        assert_eq!(world.ask("example.org."), STALE);
        assert_eq!(world.asked(), asked);
    }
    world.reply_with(OTHER);
    world.wait(Duration::from_millis(1500));
    assert_eq!(world.ask("example.org."), OTHER);
    assert_eq!(world.ask("example.org."), FRESH_HIT);
}

#[test]
fn the_end_of_an_outage_is_seen_within_five_seconds() {
    // As long `forward` may refuse to ask anybody after the upstreams are back, as its README says.
    const KNOWN_AFTER: Duration = Duration::from_secs(3);
    const STEP: Duration = Duration::from_millis(50);
    // Two clients, of which one asks for what is known and one for what is not; at all phases of what they were told before.
    for phase in 0..60 {
        let world = overdue("cache", 10);
        failing(&world);
        for _ in 0..100 + phase {
            assert_eq!(world.ask("example.org."), STALE);
            assert_eq!(world.ask("unknown.example.org."), ["SERVFAIL qr rd"]);
            world.wait(STEP);
        }
        let mut waited = Duration::ZERO;
        let mut are_new = [false; 2];
        while are_new != [true; 2] {
            assert!(waited < Duration::from_secs(5), "phase {phase}: {are_new:?}");
            if waited == KNOWN_AFTER {
                world.reply_with(OTHER);
            }
            are_new = ["example.org.", "unknown.example.org."]
                .map(|name| world.ask(name).iter().any(|line| line.ends_with("192.0.2.2")));
            world.wait(STEP);
            waited += STEP;
        }
    }
}

#[test]
fn an_error_that_is_over_is_no_answer() {
    let world = World::replying("cache", SERVFAIL);
    world.ask("example.org.");
    world.pass(10);
    failing(&world);
    assert_eq!(world.ask("example.org."), ["SERVFAIL qr rd"], "the failure, not the kept reply");
}

#[test]
fn the_newer_of_two_old_answers_is_given() {
    for (first, second, expected) in
        [(POSITIVE, NXDOMAIN, "NXDOMAIN qr aa rd ra"), (NXDOMAIN, POSITIVE, "NOERROR qr aa rd ra")]
    {
        let world = World::replying("cache", first);
        world.ask("example.org.");
        world.pass(1000);
        world.reply_with(second);
        world.ask("example.org.");
        world.pass(1000);
        failing(&world);
        assert_eq!(world.ask("example.org.")[0], expected);
    }
}

#[test]
fn a_server_error_to_a_prefetch_does_not_stand_before_the_old_answer() {
    let world = World::replying("cache {\nprefetch 1 1m 10%\nservfail 5m\n}", POSITIVE);
    world.ask("example.org.");
    world.reply_with(SERVFAIL);
    world.pass(290);
    world.ask("example.org.");
    world.after_asked(2);
    world.pass(11);
    assert_eq!(world.ask("example.org."), STALE);
}

/// A world with an entry that is over, whose source answers once for each permit, and which waits for it as long as it is told.
fn gated(
    response_timer: Duration,
    script: impl Fn(&Query) -> Outcome + Clone + Send + Sync + 'static,
) -> (World, Arc<Semaphore>) {
    let mut settings = settings("cache");
    let fallback = settings.fallback.as_mut().expect("the default");
    assert_eq!(fallback.response_timer, Duration::from_millis(1800), "RFC 8767 section 5");
    fallback.response_timer = response_timer;
    let world = World::with(settings, "cache", |query| reply(query, POSITIVE).into());
    world.ask("example.org.");
    world.pass(310);
    let gate = Arc::new(Semaphore::new(0));
    world.script({
        let gate = Arc::clone(&gate);
        move |query| {
            let (gate, query, script) = (Arc::clone(&gate), query.clone(), script.clone());
            Outcome::later(async move {
                gate.acquire().await.expect("the gate is never closed").forget();
                script(&query).wait().await
            })
        }
    });
    (world, gate)
}

/// Asks all at once, lets the source answer if it is told to, and waits for the answers.
fn together(world: &World, queries: &[Query], gate: Option<&Semaphore>) -> Vec<Answer> {
    let outcomes: Vec<Outcome> = {
        let _context = RUNTIME.enter();
        queries.iter().map(|query| world.server.dispatch(query)).collect()
    };
    if let Some(gate) = gate {
        gate.add_permits(queries.len());
    }
    let all = join_all(outcomes.into_iter().map(Outcome::wait));
    RUNTIME
        .block_on(async { tokio::time::timeout(Duration::from_secs(30), all).await })
        .expect("nobody is left behind")
}

#[test]
fn a_client_waits_no_longer_than_the_response_timer_and_the_answer_is_kept_for_the_next() {
    let other = |query: &Query| Outcome::from(reply(query, OTHER));
    let (world, gate) = gated(Duration::from_millis(20), other);
    let query = world.query("example.org.", RecordType::A);
    world.pass(1);
    let ask = || lines(&query, &together(&world, std::slice::from_ref(&query), None)[0]);
    for _ in 0..3 {
        assert_eq!(ask(), STALE);
    }
    world.after_asked(3);
    assert_eq!(world.asked(), 3, "once for the client, once in the background");
    assert_ne!(world.last_asked().received, query.received, "which has all the time");
    gate.add_permits(1);
    eventually("the answer is kept", || ask()[1].ends_with("192.0.2.2"));
    assert_eq!(world.asked(), 3);
    eventually("the attempt is over", || {
        world.shared.attempts.available_permits() == super::super::shared::MOST_ATTEMPTS
    });
}

#[test]
fn who_waits_for_an_attempt_in_the_background_that_fails_is_given_the_old_answer() {
    let (world, gate) = gated(Duration::from_millis(500), |_| unresolved().into());
    for gate in [None, Some(&*gate)] {
        let query = [world.query("example.org.", RecordType::A)];
        assert_eq!(lines(&query[0], &together(&world, &query, gate)[0]), STALE);
        world.wait(Duration::from_millis(1500));
    }
    assert_eq!(world.asked(), 3, "once for the client, once in the background");
}

#[test]
fn all_who_wait_are_given_the_old_answer_as_they_understand_it() {
    // A source that is slow, and one that fails.
    for (response_timer, asked) in [(Duration::from_millis(20), 3), (Duration::from_secs(60), 2)] {
        let (world, gate) = gated(response_timer, |_| unresolved().into());
        let queries: Vec<Query> = (0..100)
            .map(|index| {
                let query = world.query("example.org.", RecordType::A);
                if index % 2 == 1 { with_edns(query, false) } else { query }
            })
            .collect();
        let answers = together(&world, &queries, (asked == 2).then_some(&gate));
        for (query, answer) in queries.iter().zip(&answers) {
            assert_eq!(lines(query, answer)[..2], *STALE);
            assert_eq!(extended_errors(answer), if query.edns.is_some() { &[3][..] } else { &[] });
        }
        world.after_asked(asked);
        assert_eq!(world.asked(), asked, "the first client's, and one in the background if slow");
    }
}

#[test]
fn one_clients_odd_request_says_nothing_about_the_source() {
    let plain = |query: &Query| query.flags & !flags::AD == flags::RD && query.edns.is_none();
    type Script = fn(&Query) -> Outcome;
    let failures: [Script; 3] = [
        |_| unresolved().into(),
        |query| reply(query, &["REFUSED qr"]).into(),
        |query| delayed(reply(query, SERVFAIL).into(), Duration::from_millis(1)),
    ];
    for failure in failures {
        let query = overdue("cache", 10).query("example.org.", RecordType::A);
        for index in 0..odd(&query).len() {
            let world = overdue("cache", 10);
            let query = world.query("example.org.", RecordType::A);
            let odd = odd(&query).swap_remove(index);
            world.script({
                let odd = odd.clone();
                move |query| {
                    let is_odd = !plain(query) || query.transport == odd.transport && plain(&odd);
                    if is_odd { failure(query) } else { reply(query, OTHER).into() }
                }
            });
            for _ in 0..3 {
                assert_eq!(world.ask_query(&odd)[1], STALE[1], "{odd:?}");
            }
            assert_eq!(world.asked(), 2, "who asks like this leaves the source alone: {odd:?}");
            assert_eq!(world.ask("example.org."), OTHER, "{odd:?}");
        }
    }
}

#[test]
fn a_source_that_understands_no_edns_has_not_failed() {
    let world = overdue("cache", 10);
    world.script(|query| {
        let formerr: &[&str] = &["FORMERR qr"];
        reply(query, if query.edns.is_some() { formerr } else { OTHER }).into()
    });
    let query = world.query("example.org.", RecordType::A);
    assert_eq!(world.ask_query(&with_edns(query.clone(), false))[1], STALE[1]);
    assert_eq!(world.ask_query(&query), OTHER);
}

#[test]
fn a_source_that_drops_an_odd_request_is_not_slow() {
    let (world, _gate) = gated(Duration::from_millis(20), |query| reply(query, OTHER).into());
    let query = world.query("example.org.", RecordType::A);
    let odd = changed(query.clone(), |query| query.flags = 0);
    let ask = |query: &Query| lines(query, &together(&world, std::slice::from_ref(query), None)[0]);
    for _ in 0..2 {
        assert_eq!(ask(&odd)[1], STALE[1]);
    }
    world.after_asked(3);
    assert_eq!(world.asked(), 3, "once for the client, once in the background");
    assert!(world.last_asked().has(flags::RD), "as others would ask");
    assert_eq!(ask(&query), STALE);
    assert_eq!(world.asked(), 3, "this client waits for what is asked in the background");
}
