//! Probes, and upstreams that are down.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use periplus_core::codes::{RecordType, flags};
use periplus_core::metrics::Registry;
use periplus_core::name::Name;
use tokio_util::sync::CancellationToken;

use super::super::message::Asking;
use super::super::metrics::ForwardMetrics;
use super::super::probe::start_probing;
use super::super::settings::{Protocol, Settings};
use super::super::stanza::Stanza;
use super::super::testing::{Asked, Refusing, ScriptedUpstream, Step};
use super::super::upstream::Upstream;
use super::{Fixture, PATIENT, with_paused_clock};
use crate::testing::{eventually, query};

/// What the operator is told when all are down.
const NOBODY: &str = "no healthy proxies";

/// Asks, and gives the text of the failure.
fn failure(fixture: &Fixture) -> String {
    fixture.failure(&query("example.org.", RecordType::A))
}

/// Answers probes, which ask for NS records, and nothing else.
fn only_probes(asked: &Asked) -> Vec<Step> {
    if asked.query.qtype == RecordType::NS {
        vec![Step::Send(asked.address(1))]
    } else {
        Vec::new()
    }
}

fn probes(upstream: &ScriptedUpstream) -> Vec<Asked> {
    upstream.asked().into_iter().filter(|asked| asked.query.qtype == RecordType::NS).collect()
}

#[test]
fn nothing_is_probed_while_all_is_well() {
    let upstream = ScriptedUpstream::answering(1);
    let fixture = Fixture::with_options(&format!("{PATIENT}\nhealth_check 1ms"), &upstream);
    for _ in 0..10 {
        assert_eq!(fixture.short("example.org."), "1");
    }
    assert!(probes(&upstream).is_empty());
}

#[test]
fn a_failed_exchange_starts_probes_that_end_with_the_first_answer() {
    for (options, name, recursion, over_tcp) in [
        ("", ".", true, false),
        ("health_check 10ms no_rec", ".", false, false),
        ("health_check 10ms domain Probe.Example.org", "probe.example.org.", true, false),
        ("health_check 10ms domain a.example no_rec\nforce_tcp", "a.example.", false, true),
    ] {
        let upstream = ScriptedUpstream::new(only_probes);
        let fixture = Fixture::with_options(&format!("read_timeout 50ms\n{options}"), &upstream);
        assert_eq!(fixture.short("example.org."), "SERVFAIL", "{options}");
        eventually("a probe arrives", || !probes(&upstream).is_empty());
        let probe = &probes(&upstream)[0];
        assert_eq!(probe.name(), name, "{options}");
        assert_eq!(probe.query.has(flags::RD), recursion, "{options}");
        assert_eq!(probe.over_tcp(), over_tcp, "{options}");
        assert!(probe.query.edns.is_none());
        // One fails when the machine stands still.
        let failures = || fixture.metric("coredns_proxy_healthcheck_failures_total");
        eventually("one does not fail", || failures() < probes(&upstream).len() as f64);
    }
}

#[test]
fn an_upstream_is_down_after_more_than_max_fails_probes_and_up_after_one_answer() {
    let (one, two) = (ScriptedUpstream::silent(), ScriptedUpstream::answering(2));
    // Silent upstreams refuse TCP probes at once when hung up on, which makes failed probes quick.
    one.becomes(|_| vec![Step::Close]);
    let options = "force_tcp\npolicy sequential\nhealth_check 10ms\nmax_fails 2";
    let fixture = Fixture::new(
        &format!("forward . {{1}} {{2}} {{\n{options}\n{PATIENT}\n}}"),
        &[one.address, two.address],
    );
    assert_eq!(fixture.short("example.org."), "2");
    let failures = || fixture.metric("coredns_proxy_healthcheck_failures_total");
    eventually("three probes have failed", || failures() >= 3.0);
    let before = one.count("example.org.");
    for _ in 0..10 {
        assert_eq!(fixture.short("example.org."), "2");
    }
    assert_eq!(one.count("example.org."), before, "the upstream is down and is not asked");
    one.becomes(|asked| vec![Step::Send(asked.address(1))]);
    eventually("the upstream is asked again", || fixture.short("example.org.") == "1");
}

#[test]
fn with_max_fails_0_nothing_is_probed_and_nothing_is_down() {
    let upstream = ScriptedUpstream::new(|_| vec![Step::Close]);
    let fixture = Fixture::with_options("force_tcp\nmax_fails 0\nhealth_check 1ms", &upstream);
    for _ in 0..5 {
        assert_eq!(fixture.short("example.org."), "SERVFAIL");
    }
    assert_eq!(upstream.count("example.org."), 10);
    assert!(probes(&upstream).is_empty());
}

/// Asks as fast as it can for so long at least, and until something is so. Gives how long that took.
fn ask_for(fixture: &Fixture, time: Duration, is_so: impl Fn() -> bool) -> Duration {
    let begun = Instant::now();
    while begun.elapsed() < time || !is_so() {
        fixture.lines("example.org.");
        assert!(begun.elapsed() < Duration::from_secs(60), "not within a minute");
    }
    begun.elapsed()
}

#[test]
fn when_all_are_down_no_more_is_sent_than_probes_would_be() {
    type Script = fn(&Asked) -> Vec<Step>;
    let scripts: [(Script, &str); 2] =
        [(|_| vec![Step::Close], "force_tcp"), (|_| Vec::new(), "read_timeout 50ms")];
    for (script, options) in scripts {
        let upstreams = [ScriptedUpstream::new(script), ScriptedUpstream::new(script)];
        let fixture = Fixture::new(
            &format!("forward . {{1}} {{2}} {{\n{options}\nmax_fails 1\nhealth_check 200ms\n}}"),
            &[upstreams[0].address, upstreams[1].address],
        );
        eventually("all are down", || failure(&fixture) == NOBODY);
        let answer = fixture.ask(&query("example.org.", RecordType::A));
        let periplus_core::reply::Answer::Failure(failure) = answer else { panic!("{answer:?}") };
        assert_eq!(failure.cause.unwrap().extended.unwrap().code, 22);
        let before = upstreams.each_ref().map(|upstream| upstream.asked().len());
        let sent = || {
            let both = upstreams.iter().zip(before);
            both.map(|(upstream, before)| upstream.asked().split_off(before)).collect::<Vec<_>>()
        };
        let is_probe = |asked: &Asked| asked.query.qtype == RecordType::NS;
        // Probing goes on, and questions are among what is sent.
        let took = ask_for(&fixture, Duration::from_secs(4), || {
            let has_both =
                |sent: &Vec<Asked>| sent.iter().any(is_probe) && !sent.iter().all(is_probe);
            sent().iter().all(has_both)
        });
        for sent in sent() {
            let most = took.as_millis() / 200 + 1;
            assert!(sent.len() as u128 <= most, "{} in {took:?}, {options}", sent.len());
        }
    }
}

#[test]
fn an_upstream_that_answers_questions_but_no_probe_is_found_alive() {
    for options in ["force_tcp", ""] {
        let upstream = ScriptedUpstream::new(|_| vec![Step::Close]);
        let options = format!("{PATIENT}\n{options}\nmax_fails 1\nhealth_check 10ms");
        let fixture = Fixture::with_options(&options, &upstream);
        eventually("the upstream is down", || failure(&fixture) == NOBODY);
        upstream.becomes(|asked| {
            if asked.query.qtype == RecordType::NS {
                vec![Step::Close]
            } else {
                vec![Step::Send(asked.address(1))]
            }
        });
        eventually("a question gets through", || fixture.short("example.org.") == "1");
        for _ in 0..20 {
            assert_eq!(fixture.short("example.org."), "1", "{options}");
        }
    }
}

#[test]
fn upstreams_that_are_back_are_found_without_any_question() {
    let upstream = ScriptedUpstream::silent();
    let fixture = Fixture::with_options("read_timeout 50ms\nmax_fails 1", &upstream);
    eventually("the upstream is down", || failure(&fixture) == NOBODY);
    upstream.becomes(|asked| vec![Step::Send(asked.address(1))]);
    let before = upstream.asked().len();
    // A probe may have been lost just before: 1 s for it, 0.5 s until the next one.
    eventually("a probe is answered", || upstream.asked().len() > before);
    eventually("the upstream is in use", || fixture.short("example.org.") == "1");
}

#[test]
fn with_failfast_nobody_is_asked_when_all_are_down() {
    let upstream = ScriptedUpstream::new(|_| vec![Step::Close]);
    let fixture = Fixture::with_options(
        "force_tcp\nmax_fails 1\nhealth_check 10ms\nfailfast_all_unhealthy_upstreams",
        &upstream,
    );
    eventually("the upstream is down", || failure(&fixture) == NOBODY);
    let before = upstream.count("example.org.");
    for _ in 0..10 {
        assert_eq!(failure(&fixture), NOBODY);
    }
    assert_eq!(upstream.count("example.org."), before);
}

#[test]
fn a_dead_upstream_is_probed_by_one_task_however_many_questions_fail() {
    let upstream = ScriptedUpstream::silent();
    let fixture = Fixture::with_options("read_timeout 20ms\nmax_connect_attempts 1", &upstream);
    for _ in 0..10 {
        assert_eq!(fixture.short("example.org."), "SERVFAIL");
    }
    // Each probe waits for a second, so that one task cannot send many in this time.
    assert!(probes(&upstream).len() <= 5, "{} probes", probes(&upstream).len());
}

#[test]
fn a_probe_that_fails_on_this_machine_says_nothing_about_the_upstream() {
    let refusing = Refusing::new();
    // Nobody has an address of this network (RFC 5737), so no socket can be bound to it.
    let nobodys: IpAddr = [192, 0, 2, 1].into();
    for protocol in [Protocol::AsAsked, Protocol::Tcp] {
        for (source, is_down) in [(None, true), (Some(nobodys), false)] {
            let settings = Settings { protocol, source, ..Settings::new(Name::root()) };
            let registry = Arc::new(Registry::new(1));
            let upstream = Arc::new(Upstream::new(refusing.address, Arc::new(settings), &registry));
            with_paused_clock(async {
                start_probing(&upstream, &CancellationToken::new());
                tokio::time::sleep(Duration::from_secs(60)).await;
            });
            let failures = upstream.health.failures.load(Ordering::Relaxed);
            assert_eq!(failures > 2, is_down, "{failures} failures, {protocol:?}");
            assert_eq!(failures == 0, !is_down, "{failures} failures, {protocol:?}");
            assert!(upstream.health.is_suspect(), "probing goes on");
        }
    }
}

#[test]
fn who_is_given_less_time_than_read_timeout_is_not_blamed_for_being_silent() {
    let silent = ScriptedUpstream::silent();
    for (read_timeout, left, is_blamed) in [
        (1000, 4500, true),
        (2000, 2000, true),
        (2000, 1900, false),
        (2000, 200, false),
        // The time of no attempt is that long.
        (30_000, 4400, true),
        (30_000, 1000, false),
    ] {
        for protocol in [Protocol::AsAsked, Protocol::Tcp] {
            let settings = Arc::new(Settings {
                protocol,
                read_timeout: Duration::from_millis(read_timeout),
                hedge_after: None,
                max_attempts: Some(1),
                ..Settings::new(Name::root())
            });
            let registry = Arc::new(Registry::new(1));
            let upstream =
                Arc::new(Upstream::new(silent.address, Arc::clone(&settings), &registry));
            let metrics = Arc::new(ForwardMetrics::new(&registry));
            let stanza = Stanza::new(settings, vec![Arc::clone(&upstream)], metrics);
            let asked = Arc::new(query("example.org.", RecordType::A));
            let asking = Asking { query: asked, authenticated: false };
            with_paused_clock(async {
                let now = tokio::time::Instant::now();
                stanza.ask(&asking, now, now + Duration::from_millis(left), true).await;
            });
            let suspect = upstream.health.is_suspect();
            assert_eq!(suspect, is_blamed, "{left} ms of {read_timeout} ms, {protocol:?}");
        }
    }
}
