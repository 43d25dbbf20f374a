//! Connections that are reused, and questions that wait at the same time.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use periplus_core::codes::{Rcode, RecordType};
use periplus_core::plugin::Outcome;
use periplus_core::reply::Answer;

use super::super::testing::{ScriptedUpstream, Step};
use super::{Fixture, PATIENT};
use crate::testing::{RUNTIME, eventually, query};

fn ports(upstream: &ScriptedUpstream) -> Vec<u16> {
    upstream.asked().iter().map(|asked| asked.from.port()).collect()
}

fn connections(fixture: &Fixture, which: &str, proto: &str) -> f64 {
    let text = fixture.configured.instance.metrics.expose();
    let label = format!("proto=\"{proto}\"");
    let name = format!("coredns_proxy_conn_cache_{which}_total{{");
    let line = text.lines().find(|line| line.starts_with(&name) && line.contains(&label));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("the metric is there")
}

#[test]
fn sockets_are_used_again() {
    for (options, proto) in [("", "udp"), ("force_tcp", "tcp")] {
        let upstream = ScriptedUpstream::answering(1);
        let fixture = Fixture::with_options(&format!("{PATIENT}\n{options}"), &upstream);
        for _ in 0..5 {
            assert_eq!(fixture.short("example.org."), "1");
        }
        let ports = ports(&upstream);
        assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
        assert_eq!(connections(&fixture, "misses", proto), 1.0);
        assert_eq!(connections(&fixture, "hits", proto), 4.0);
    }
}

#[test]
fn a_udp_socket_is_replaced_after_a_hundred_questions() {
    let upstream = ScriptedUpstream::answering(1);
    let fixture = Fixture::with_options(PATIENT, &upstream);
    for _ in 0..250 {
        fixture.lines("example.org.");
    }
    assert_eq!(ports(&upstream).into_iter().collect::<HashSet<_>>().len(), 3);
}

#[test]
fn with_expire_0_no_connection_is_used_again() {
    for (options, proto) in [("expire 0s", "udp"), ("expire 0s\nforce_tcp", "tcp")] {
        let upstream = ScriptedUpstream::answering(1);
        let fixture = Fixture::with_options(&format!("{PATIENT}\n{options}"), &upstream);
        for _ in 0..3 {
            assert_eq!(fixture.short("example.org."), "1");
        }
        assert_eq!(connections(&fixture, "misses", proto), 3.0);
    }
}

#[test]
fn a_connection_older_than_max_age_is_not_used_again() {
    let upstream = ScriptedUpstream::answering(1);
    let fixture = Fixture::with_options(&format!("{PATIENT}\nexpire 1ms\nmax_age 2ms"), &upstream);
    for _ in 0..3 {
        assert_eq!(fixture.short("example.org."), "1");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(connections(&fixture, "misses", "udp"), 3.0);
}

#[test]
fn a_socket_that_was_lied_to_is_not_used_again() {
    let upstream = ScriptedUpstream::new(|asked| {
        vec![Step::Send(asked.lie(|query| query.id = !query.id)), Step::Send(asked.address(1))]
    });
    let fixture = Fixture::with_options(PATIENT, &upstream);
    for _ in 0..3 {
        assert_eq!(fixture.short("example.org."), "1");
    }
    assert_eq!(connections(&fixture, "misses", "udp"), 3.0);
}

#[test]
fn a_second_copy_of_an_answer_does_not_reach_the_next_question() {
    let upstream = ScriptedUpstream::new(|asked| {
        vec![
            Step::Send(asked.address(1)),
            Step::Send(asked.address(66)),
            Step::Send(asked.address(67)),
        ]
    });
    let fixture = Fixture::with_options(PATIENT, &upstream);
    for _ in 0..20 {
        assert_eq!(fixture.short("example.org."), "1");
    }
}

#[test]
fn a_tcp_connection_that_the_upstream_closed_is_replaced_without_a_failure() {
    let upstream = ScriptedUpstream::answering(1);
    let fixture =
        Fixture::with_options(&format!("{PATIENT}\nforce_tcp\nmax_connect_attempts 1"), &upstream);
    for _ in 0..3 {
        assert_eq!(fixture.short("example.org."), "1");
        upstream.hang_up();
    }
    assert_eq!(fixture.metric("coredns_proxy_healthcheck_failures_total"), 0.0);
}

#[test]
fn a_tcp_connection_closed_instead_of_an_answer_is_tried_again_on_a_new_one() {
    let upstream = ScriptedUpstream::answering(1);
    let fixture =
        Fixture::with_options(&format!("{PATIENT}\nforce_tcp\nmax_connect_attempts 1"), &upstream);
    assert_eq!(fixture.short("example.org."), "1");
    let first = upstream.asked()[0].from;
    // The old connection ends when it is used; a new one works.
    upstream.becomes(move |asked| {
        if asked.from == first { vec![Step::Close] } else { vec![Step::Send(asked.address(2))] }
    });
    assert_eq!(fixture.short("example.org."), "2");
}

#[test]
fn servers_added_behind_a_virtual_address_get_their_share_over_tcp() {
    // As kube-proxy does: a connection stays with its server as long as it lives.
    #[derive(Default)]
    struct Relay {
        servers: usize,
        flows: HashMap<u16, usize>,
        counts: [usize; 4],
    }
    let relay = Arc::new(Mutex::new(Relay { servers: 2, ..Relay::default() }));
    let own = Arc::clone(&relay);
    let upstream = ScriptedUpstream::new(move |asked| {
        let mut relay = own.lock().expect("no panic");
        let next = relay.flows.len() % relay.servers;
        let server = *relay.flows.entry(asked.from.port()).or_insert(next);
        relay.counts[server] += 1;
        vec![Step::Send(asked.address(1))]
    });
    let fixture = Fixture::with_options(&format!("{PATIENT}\nforce_tcp"), &upstream);
    let round = async || {
        relay.lock().expect("no panic").counts = [0; 4];
        let mut asked = query("example.org.", RecordType::A);
        asked.received = tokio::time::Instant::now().into_std();
        let outcomes: Vec<Outcome> = (0..20).map(|_| fixture.server.dispatch(&asked)).collect();
        futures::future::join_all(outcomes.into_iter().map(Outcome::wait)).await;
        relay.lock().expect("no panic").counts
    };
    // Five seconds lie between two rounds, but only on the clock.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let counts = runtime.expect("a runtime can be started").block_on(async {
        assert_eq!(round().await[2..], [0, 0]);
        relay.lock().expect("no panic").servers = 4;
        for _ in 0..8 {
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(5)).await;
            tokio::time::resume();
            round().await;
        }
        round().await
    });
    assert!(counts.iter().all(|count| *count >= 3), "{counts:?}");
}

#[test]
fn no_more_than_max_idle_conns_are_kept() {
    let upstream = ScriptedUpstream::new(|asked| {
        vec![Step::Wait(Duration::from_millis(100)), Step::Send(asked.address(1))]
    });
    let fixture = Fixture::with_options(&format!("{PATIENT}\nmax_idle_conns 1"), &upstream);
    for round in 1..=2 {
        ask_at_once(&fixture, 3);
        assert_eq!(upstream.asked().len(), 3 * round);
    }
    assert_eq!(connections(&fixture, "hits", "udp"), 1.0);
    assert_eq!(connections(&fixture, "misses", "udp"), 5.0);
}

/// Asks several times before any answer can be there, and gives all answers.
fn ask_at_once(fixture: &Fixture, count: usize) -> Vec<Answer> {
    let asked = query("example.org.", RecordType::A);
    let _context = RUNTIME.enter();
    let outcomes: Vec<Outcome> = (0..count).map(|_| fixture.server.dispatch(&asked)).collect();
    let answers = futures::future::join_all(outcomes.into_iter().map(Outcome::wait));
    RUNTIME.block_on(answers)
}

#[test]
fn questions_beyond_max_concurrent_are_refused_and_counted() {
    let upstream = ScriptedUpstream::new(|asked| {
        vec![Step::Wait(Duration::from_millis(100)), Step::Send(asked.address(1))]
    });
    let fixture = Fixture::with_options(&format!("{PATIENT}\nmax_concurrent 2"), &upstream);
    let answers = ask_at_once(&fixture, 5);
    let refused: Vec<&Answer> =
        answers.iter().filter(|answer| answer.rcode() == Some(Rcode::REFUSED)).collect();
    assert_eq!(refused.len(), 3);
    let Answer::Failure(failure) = refused[0] else { panic!("{:?}", refused[0]) };
    let cause = failure.cause.as_ref().unwrap().to_string();
    assert_eq!(cause, "concurrent queries exceeded maximum 2");
    assert_eq!(fixture.metric("coredns_forward_max_concurrent_rejects_total"), 3.0);
    assert_eq!(upstream.asked().len(), 2);

    // The places are free again.
    assert_eq!(fixture.short("example.org."), "1");
}

#[test]
fn nothing_is_asked_for_a_client_that_nobody_waits_for() {
    let upstream = ScriptedUpstream::answering(1);
    let fixture = Fixture::with_options("max_concurrent 1", &upstream);
    let asked = query("example.org.", RecordType::A);
    for _ in 0..3 {
        let _context = RUNTIME.enter();
        let outcome = fixture.server.dispatch_in_time(&asked, false);
        assert!(matches!(outcome, Outcome::Shed), "no place is taken either");
    }
    assert_eq!(fixture.short("example.org."), "1");
    assert_eq!(upstream.asked().len(), 1);
}

#[test]
fn a_question_that_is_given_up_gives_its_place_back() {
    let upstream = ScriptedUpstream::silent();
    let fixture = Fixture::with_options("max_concurrent 1", &upstream);
    let asked = query("example.org.", RecordType::A);
    {
        let _context = RUNTIME.enter();
        let Outcome::Later(future) = fixture.server.dispatch(&asked) else {
            panic!("not forwarded")
        };
        let given_up = RUNTIME
            .block_on(async { tokio::time::timeout(Duration::from_millis(50), future).await });
        assert!(given_up.is_err());
    }
    upstream.becomes(|asked| vec![Step::Send(asked.address(1))]);
    eventually("the place is free", || fixture.short("example.org.") == "1");
}

#[test]
fn many_questions_at_once_each_get_their_own_answer() {
    let upstream = ScriptedUpstream::new(|asked| {
        let last =
            asked.name().split('.').next().and_then(|label| label.parse().ok()).unwrap_or(255);
        vec![
            Step::Wait(Duration::from_millis(u64::from(last) % 7)),
            Step::Send(asked.address(last)),
        ]
    });
    for options in ["", "force_tcp"] {
        let fixture = Fixture::with_options(&format!("{PATIENT}\n{options}"), &upstream);
        for _ in 0..3 {
            let _context = RUNTIME.enter();
            let outcomes = (0..100_u8).map(|last| {
                let asked = query(&format!("{last}.example."), RecordType::A);
                fixture.server.dispatch(&asked).wait()
            });
            let answers = RUNTIME.block_on(futures::future::join_all(outcomes));
            for (last, answer) in answers.iter().enumerate() {
                let reply = answer.reply().expect("an answer");
                let rdata = reply.answer[0].rdata().next().expect("a record");
                assert_eq!(rdata, [192, 0, 2, last as u8]);
            }
        }
    }
}
