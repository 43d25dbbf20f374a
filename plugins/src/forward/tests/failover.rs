//! Several upstreams: whom a question reaches when some of them fail.

use std::net::SocketAddr;
use std::time::Duration;

use periplus_core::codes::{Rcode, RecordType, edns_option};
use periplus_core::edns::Edns;

use super::super::testing::{Refusing, ScriptedUpstream, Step};
use super::{Fixture, PATIENT};
use crate::testing::{eventually, lines, query};

fn addresses(upstreams: &[&ScriptedUpstream]) -> Vec<SocketAddr> {
    upstreams.iter().map(|upstream| upstream.address).collect()
}

#[test]
fn sequential_asks_the_first_while_it_answers() {
    let (one, two) = (ScriptedUpstream::answering(1), ScriptedUpstream::answering(2));
    let fixture = Fixture::new(
        &format!("forward . {{1}} {{2}} {{\npolicy sequential\n{PATIENT}\n}}"),
        &addresses(&[&one, &two]),
    );
    for _ in 0..5 {
        assert_eq!(fixture.short("example.org."), "1");
    }
    assert!(two.asked().is_empty());
}

#[test]
fn round_robin_asks_one_after_the_other() {
    let upstreams = [1, 2, 3].map(ScriptedUpstream::answering);
    let all: Vec<SocketAddr> = upstreams.iter().map(|upstream| upstream.address).collect();
    let text = format!("forward . {{1}} {{2}} {{3}} {{\npolicy round_robin\n{PATIENT}\n}}");
    let fixture = Fixture::new(&text, &all);
    let answers: Vec<String> = (0..6).map(|_| fixture.short("example.org.")).collect();
    assert_eq!(answers, ["2", "3", "1", "2", "3", "1"]);
}

#[test]
fn random_asks_all_of_them_sooner_or_later() {
    let upstreams = [1, 2, 3].map(ScriptedUpstream::answering);
    let all: Vec<SocketAddr> = upstreams.iter().map(|upstream| upstream.address).collect();
    let fixture = Fixture::new("forward . {1} {2} {3}", &all);
    for _ in 0..100 {
        fixture.lines("example.org.");
    }
    assert!(upstreams.iter().all(|upstream| upstream.count("example.org.") > 5));
}

#[test]
fn an_upstream_that_refuses_connections_is_passed_over_at_once() {
    let (refusing, answering) = (Refusing::new(), ScriptedUpstream::answering(2));
    for options in ["", "force_tcp"] {
        // Nobody could wait for `read_timeout`: it is longer than all attempts may take together.
        let fixture = Fixture::new(
            &format!(
                "forward . {{1}} {{2}} {{\npolicy sequential\nread_timeout 30s\n{options}\n}}"
            ),
            &[refusing.address, answering.address],
        );
        assert_eq!(fixture.short("example.org."), "2");
    }
}

#[test]
fn when_all_refuse_the_client_gets_servfail_and_the_reason() {
    let refusing = Refusing::new();
    for (options, text) in
        [("", "read: connection refused"), ("force_tcp", "connect: connection refused")]
    {
        let fixture =
            Fixture::new(&format!("forward . {{1}} {{\n{options}\n}}"), &[refusing.address]);
        let mut asked = query("example.org.", RecordType::A);
        asked.edns = Some(Edns { udp_size: 1232, ..Edns::default() });
        let failure = fixture.failure(&asked);
        assert!(failure.ends_with(text), "{failure}");
        let answer = fixture.ask(&asked);
        assert_eq!(lines(&asked, &answer)[0], "SERVFAIL qr rd");
        let periplus_core::reply::Answer::Failure(failure) = answer else { panic!("{answer:?}") };
        let extended = failure.cause.unwrap().extended.unwrap();
        assert_eq!((extended.code, extended.text.as_str()), (22, "no upstream server answered"));
    }
}

#[test]
fn after_a_timeout_the_next_upstream_is_asked() {
    let (silent, answering) = (ScriptedUpstream::silent(), ScriptedUpstream::answering(2));
    let fixture = Fixture::new(
        "forward . {1} {2} {\npolicy sequential\nread_timeout 500ms\nhedge_after 0s\n}",
        &addresses(&[&silent, &answering]),
    );
    let begun = std::time::Instant::now();
    assert_eq!(fixture.short("example.org."), "2");
    assert!(begun.elapsed() >= Duration::from_millis(500));
    assert_eq!(fixture.metric("periplus_forward_hedged_requests_total"), 0.0);
    // In turn: the answering one is asked once, or twice if the machine stood still.
    let answered = answering.count("example.org.");
    assert!((1..=2).contains(&answered), "{answered}");
    eventually("the silent one was asked", || silent.count("example.org.") >= answered);
    assert_eq!(silent.count("example.org."), answered);
}

#[test]
fn an_upstream_that_failed_is_asked_last_until_a_probe_clears_it() {
    let (silent, answering) = (ScriptedUpstream::silent(), ScriptedUpstream::answering(2));
    let fixture = Fixture::new(
        "forward . {1} {2} {\npolicy sequential\nhedge_after 0s\nread_timeout 500ms\nhealth_check 10ms\n}",
        &addresses(&[&silent, &answering]),
    );
    for _ in 0..5 {
        assert_eq!(fixture.short("example.org."), "2");
    }
    // When the machine stands still the other one has failed too; otherwise only the first question found out.
    let failed = answering.count("example.org.") - 5;
    assert!(silent.count("example.org.") <= 1 + 2 * failed, "{failed} attempts on the other one");
    silent.becomes(|asked| vec![Step::Send(asked.address(1))]);
    eventually("the first upstream is asked first again", || fixture.short("example.org.") == "1");
}

#[test]
fn attempts_are_limited_to_two_per_upstream_or_as_configured() {
    for (options, attempts) in
        [("", 4), ("max_connect_attempts 1", 1), ("max_connect_attempts 3", 3)]
    {
        let upstreams = [ScriptedUpstream::silent(), ScriptedUpstream::silent()];
        let fixture = Fixture::new(
            &format!("forward . {{1}} {{2}} {{\nread_timeout 50ms\n{options}\n}}"),
            &[upstreams[0].address, upstreams[1].address],
        );
        assert_eq!(fixture.short("example.org."), "SERVFAIL");
        let count =
            || upstreams.iter().map(|upstream| upstream.count("example.org.")).sum::<usize>();
        eventually("the last one has arrived", || count() >= attempts);
        assert_eq!(count(), attempts, "{options}");
    }
}

#[test]
fn without_a_limit_refusals_do_not_make_a_busy_loop() {
    let refusing = Refusing::new();
    let answering = ScriptedUpstream::new(|asked| {
        if asked.query.flags & 1 == 0 { Vec::new() } else { vec![Step::Send(asked.address(1))] }
    });
    let fixture = Fixture::new(
        "forward . {1} {2} {\nmax_connect_attempts 0\nmax_fails 0\nread_timeout 10ms\npolicy sequential\n}",
        &[refusing.address, answering.address],
    );
    assert_eq!(fixture.short("example.org."), "SERVFAIL");
    // The pauses double from 10 ms on, so that the whole time holds fewer than ten rounds.
    let rounds = answering.count("example.org.");
    assert!((2..=10).contains(&rounds), "{rounds}");
}

#[test]
fn failover_asks_the_others_and_keeps_the_last_reply() {
    let failing = ScriptedUpstream::failing(Rcode::SERVFAIL);
    let refusing = ScriptedUpstream::failing(Rcode::REFUSED);
    let answering = ScriptedUpstream::answering(3);

    let all = addresses(&[&failing, &refusing, &answering]);
    let options = format!("policy sequential\nfailover SERVFAIL REFUSED\n{PATIENT}");
    let fixture = Fixture::new(&format!("forward . {{1}} {{2}} {{3}} {{\n{options}\n}}"), &all);
    assert_eq!(fixture.short("example.org."), "3");

    let fixture = Fixture::new(&format!("forward . {{1}} {{2}} {{\n{options}\n}}"), &all[..2]);
    assert_eq!(fixture.short("example.org."), "REFUSED");

    let fixture = Fixture::new(&format!("forward . {{1}} {{\n{options}\n}}"), &all[..1]);
    let before = failing.count("example.net.");
    assert_eq!(fixture.short("example.net."), "SERVFAIL");
    assert_eq!(failing.count("example.net."), before + 1);
}

#[test]
fn servfail_is_followed_by_the_next_upstream_unless_the_corefile_names_codes() {
    let failing = ScriptedUpstream::failing(Rcode::SERVFAIL);
    let answering = ScriptedUpstream::answering(2);
    for (options, expected) in [
        ("", "2"),
        ("failover SERVFAIL", "2"),
        // As in CoreDNS, what is not named is an answer.
        ("failover NOTIMP", "SERVFAIL"),
    ] {
        let fixture = Fixture::new(
            &format!("forward . {{1}} {{2}} {{\npolicy sequential\n{PATIENT}\n{options}\n}}"),
            &addresses(&[&failing, &answering]),
        );
        for _ in 0..5 {
            assert_eq!(fixture.short("example.org."), expected, "{options}");
        }
    }
}

#[test]
fn servfail_from_all_is_passed_on_after_each_was_asked_once() {
    let failing = [1, 2, 3].map(|code| {
        ScriptedUpstream::new(move |asked| {
            vec![Step::Send(asked.response_with(|reply| {
                let mut opt = Edns { udp_size: 4096, ..Edns::default() };
                opt.push_option(edns_option::EDE, &[0, code]);
                reply.opt = Some(Box::new(opt));
                reply.rcode = Rcode::SERVFAIL;
            }))]
        })
    });
    for count in 1..=3 {
        let upstreams = &failing[..count];
        let all: Vec<SocketAddr> = upstreams.iter().map(|upstream| upstream.address).collect();
        let text = format!("forward . {{1}} {{2}} {{3}} {{\npolicy sequential\n{PATIENT}\n}}");
        let fixture = Fixture::new(&text, &{
            // A server named twice counts once.
            let mut all = all.clone();
            all.resize(3, all[0]);
            all
        });
        let name = format!("{count}.example.");
        let mut asked = query(&name, RecordType::A);
        asked.edns = Some(Edns { udp_size: 1232, ..Edns::default() });
        let answer = fixture.ask(&asked);
        let reply = answer.reply().expect("the last answer counts");
        let opt = reply.opt.as_ref().expect("the upstream's reason comes with it");
        let code = [0, count as u8];
        assert_eq!(opt.options().collect::<Vec<_>>(), [(edns_option::EDE, &code[..])]);
        assert!(upstreams.iter().all(|upstream| upstream.count(&name) == 1));
    }
}

#[test]
fn a_reply_that_asked_for_failover_is_better_than_no_reply() {
    let failing = ScriptedUpstream::failing(Rcode::REFUSED);
    let closing = ScriptedUpstream::new(|_| vec![Step::Close]);
    let options = "policy sequential\nfailover REFUSED\nforce_tcp\nmax_connect_attempts 1";
    let fixture = Fixture::new(
        &format!("forward . {{1}} {{2}} {{\n{options}\n{PATIENT}\n}}"),
        &addresses(&[&failing, &closing]),
    );
    assert_eq!(fixture.short("example.org."), "REFUSED");
    assert_eq!(closing.count("example.org."), 1);
}

#[test]
fn an_answer_that_comes_after_the_next_upstream_was_asked_is_lost_without_harm() {
    let wait = |time, last| {
        ScriptedUpstream::new(move |asked| {
            vec![Step::Wait(Duration::from_millis(time)), Step::Send(asked.address(last))]
        })
    };
    // The first answer comes while the second one is waited for.
    let (late, slow) = (wait(1100, 1), wait(300, 2));
    let fixture = Fixture::new(
        "forward . {1} {2} {\npolicy sequential\nread_timeout 1s\nmax_fails 0\n}",
        &addresses(&[&late, &slow]),
    );
    // It is in time when the machine stands still just then.
    eventually("the second one's answer counts", || {
        let answer = fixture.short("example.org.");
        assert!(["1", "2"].contains(&answer.as_str()), "{answer}");
        answer == "2"
    });
}
